use crate::batch::Run;
use crate::home;
use crate::reply::{Answer, Received, messages};
use crate::{Batch, Error, Refusal, Reply};
use linkspan_net_types::Errno;
use netlink_sys::SocketAddr;
use nix::sched::{CloneFlags, setns};
use nix::sys::socket::{MsgFlags, recv, setsockopt, sockopt};
use nix::sys::stat::fstat;
use nix::sys::time::TimeVal;
use std::cell::Cell;
use std::fmt;
use std::fs;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::MetadataExt;

/// The kernel answers within microseconds; a lock held by someone's mass removal may take seconds.
const PATIENCE: TimeVal = TimeVal::new(30, 0);
/// The kernel fills at most 32 KiB of a datagram of a dump (`NLMSG_GOODSIZE` and `min_dump_alloc`).
const DATAGRAM: usize = 64 * 1024;
/// More acknowledgements or errors than this overflow a socket's default receive buffer.
const RUN: usize = 64;
/// A batch of 10,000 elements takes about 1 MiB on its way.
const SEND_BUFFER: usize = 16 * 1024 * 1024;
const ATTEMPTS: usize = 8;
/// The network namespace of the calling thread.
const OWN: &str = "/proc/thread-self/ns/net";

/// Which part of the kernel a socket speaks to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Family {
    /// `NETLINK_ROUTE`: links, addresses, routes, neighbours.
    Route,
    /// `NETLINK_NETFILTER`: nftables, conntrack.
    Netfilter,
}

impl Family {
    const fn protocol(self) -> isize {
        match self {
            Self::Route => netlink_sys::protocols::NETLINK_ROUTE,
            Self::Netfilter => netlink_sys::protocols::NETLINK_NETFILTER,
        }
    }
}

/// A netlink socket; it works in the namespace that it was opened in.
///
/// One asks at a time: what was sent is answered before the call returns. Closing a netfilter socket
/// after a removal waits for an RCU grace period of the kernel, so a long-lived process keeps it.
pub struct Socket {
    inner: netlink_sys::Socket,
    family: Family,
    sequence: u32,
    /// So many bytes of answers are still taken.
    left: usize,
}

thread_local! {
    /// What this thread receives into. Many a socket is asked just once, and would pay more for as much fresh memory
    /// than for the answer.
    static BUFFER: Cell<Vec<u8>> = const { Cell::new(Vec::new()) };
}

impl Socket {
    /// Opens a socket in the namespace of the calling thread.
    ///
    /// # Errors
    /// [`Error::Open`].
    pub fn open(family: Family) -> Result<Self, Error> {
        let inner = netlink_sys::Socket::new(family.protocol()).map_err(Error::Open)?;
        inner.set_ext_ack(true).map_err(Error::Open)?;
        inner.set_cap_ack(true).map_err(Error::Open)?;
        if family == Family::Route {
            inner.set_netlink_get_strict_chk(true).map_err(Error::Open)?;
        }
        // Else whoever has CAP_NET_ADMIN in the namespace could answer in the kernel's place.
        inner.connect(&SocketAddr::new(0, 0)).map_err(Error::Open)?;
        setsockopt(&inner, sockopt::ReceiveTimeout, &PATIENCE).map_err(|e| Error::Open(e.into()))?;
        Ok(Self { inner, family, sequence: 0, left: usize::MAX })
    }

    /// Opens the network namespace that the socket is in, without a way through `/proc` (`SIOCGSKNS`, Linux 4.9).
    ///
    /// # Errors
    /// Permission is denied without `CAP_NET_ADMIN` there.
    pub fn netns(&self) -> io::Result<OwnedFd> {
        home::of(self.inner.as_fd())
    }

    /// The same taking no more than so many bytes of answers, of all questions together: who has a namespace of his
    /// own decides how much is in it.
    ///
    /// After more the socket is of no further use.
    #[must_use]
    pub fn within(self, bytes: usize) -> Self {
        Self { left: bytes, ..self }
    }

    /// Opens a socket in this network namespace: here where the calling thread is in it, else on a thread that ends
    /// there.
    ///
    /// # Errors
    /// [`Error::Enter`] where the namespace cannot be entered, [`Error::Open`].
    pub fn open_in(namespace: BorrowedFd<'_>, family: Family) -> Result<Self, Error> {
        let open = || {
            setns(namespace, CloneFlags::CLONE_NEWNET).map_err(|e| Error::Enter(e.into()))?;
            Self::open(family)
        };
        if is_here(namespace) {
            // Entering where one is moves nothing, and tells at once who may not.
            return open();
        }
        std::thread::scope(|scope| {
            let thread = std::thread::Builder::new().spawn_scoped(scope, open).map_err(Error::Enter)?;
            thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
        })
    }

    /// Performs every message of the batch that the kernel takes.
    ///
    /// A route batch is not atomic and goes on after a refusal; a nftables batch, between
    /// [`Kind::BATCH_BEGIN`](crate::Kind::BATCH_BEGIN) and [`Kind::BATCH_END`](crate::Kind::BATCH_END),
    /// is done whole or not at all.
    ///
    /// # Errors
    /// [`Error::Refused`] with each refused message; the others tell whether anything may have been done.
    pub fn send(&mut self, batch: &mut Batch) -> Result<(), Error> {
        let mut refusals = Vec::new();
        for run in self.runs(batch)? {
            self.exchange(run, &mut refusals, &mut |_| {})?;
        }
        refused(refusals)
    }

    /// Asks one question and returns the answer; with [`Flags::DUMP`](crate::Flags::DUMP), the whole list.
    ///
    /// # Errors
    /// [`Error::Refused`]: of what is absent with `ENODEV` or `ENOENT`; [`Error::Unsteady`] where a list
    /// changes faster than it can be read; [`Error::Endless`].
    pub fn request(&mut self, question: &mut Batch) -> Result<Vec<Reply>, Error> {
        for _ in 0..ATTEMPTS {
            let (mut replies, mut refusals, mut steady) = (Vec::new(), Vec::new(), true);
            for run in self.runs(question)? {
                let dump = run.is_dump();
                steady &= self.exchange(run, &mut refusals, &mut |reply| replies.push(reply))? || !dump;
            }
            refused(refusals)?;
            if steady {
                return Ok(replies);
            }
        }
        Err(Error::Unsteady)
    }

    fn runs<'a>(&self, batch: &'a mut Batch) -> Result<impl Iterator<Item = Run<'a>> + use<'a>, Error> {
        if batch.is_oversized() {
            return Err(Error::Oversized);
        }
        // A transaction cannot be cut; the kernel answers it with what it refused and one acknowledgement.
        let most = if batch.is_transaction(self.family) { usize::MAX } else { RUN };
        Ok(batch.runs(most))
    }

    /// Sends one run and reads until its last message is answered; returns whether a list was steady.
    fn exchange(
        &mut self,
        mut run: Run<'_>,
        refusals: &mut Vec<Refusal>,
        take: &mut dyn FnMut(Reply),
    ) -> Result<bool, Error> {
        let first = self.sequence.wrapping_add(1);
        let last = run.number(first, self.family);
        let length = u32::try_from(run.messages).unwrap_or(u32::MAX);
        self.sequence = self.sequence.wrapping_add(length);
        self.transmit(run.bytes)?;
        let mut buffer = BUFFER.take();
        if buffer.is_empty() {
            // Of fresh memory, just what an answer is written to is ever touched.
            buffer = vec![0; DATAGRAM];
        }
        let asked = Asked { run, first, length, last };
        let steady = self.hear(&asked, &mut buffer, refusals, take);
        BUFFER.set(buffer);
        steady
    }

    fn hear(
        &mut self,
        asked: &Asked<'_>,
        buffer: &mut [u8],
        refusals: &mut Vec<Refusal>,
        take: &mut dyn FnMut(Reply),
    ) -> Result<bool, Error> {
        let Asked { ref run, first, length, last } = *asked;
        let (dump, before) = (run.is_dump(), refusals.len());
        let mut steady = true;
        loop {
            // The kernel works inside `sendmsg`, so every verdict but those of a list is there already.
            let only_what_is_there = !dump && refusals.len() > before;
            let Some(size) = self.receive(buffer, only_what_is_there)? else { return Ok(steady) };
            self.left = self.left.checked_sub(size).ok_or(Error::Endless)?;
            for received in messages(&buffer[..size]) {
                let Received { sequence, interrupted, answer } = received.ok_or(Error::Malformed)?;
                let place = sequence.wrapping_sub(first);
                if place >= length {
                    continue; // an answer to someone who gave up waiting
                }
                steady &= !interrupted;
                match answer {
                    Answer::Done if sequence == last => return Ok(steady),
                    Answer::Done | Answer::Nothing => {}
                    Answer::Reply(reply) => take(reply),
                    Answer::Refused { errno, text } => {
                        let message = run.first + usize::try_from(place).unwrap_or(usize::MAX);
                        refusals.push(Refusal::of(message, errno, text));
                        if sequence == last {
                            return Ok(steady);
                        }
                    }
                }
            }
        }
    }

    fn transmit(&self, bytes: &[u8]) -> Result<(), Error> {
        let mut widened = false;
        loop {
            match self.inner.send(bytes, 0) {
                Ok(_) => return Ok(()),
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(e) if e.raw_os_error() == Some(Errno::EMSGSIZE.get()) && !widened => {
                    self.widen();
                    widened = true;
                }
                Err(e) => return Err(Error::Send(e)),
            }
        }
    }

    /// Makes room for a large batch; where even that is refused, sending it says so.
    fn widen(&self) {
        if setsockopt(&self.inner, sockopt::SndBufForce, &SEND_BUFFER).is_err() {
            let _ = setsockopt(&self.inner, sockopt::SndBuf, &SEND_BUFFER);
        }
    }

    /// Reads what is there and drops it: after an overrun the kernel sends nothing before the queue was empty.
    fn drain(&self, buffer: &mut [u8]) {
        loop {
            match recv(self.inner.as_raw_fd(), buffer, MsgFlags::MSG_DONTWAIT) {
                Ok(_) | Err(nix::errno::Errno::EINTR) => {}
                Err(_) => return,
            }
        }
    }

    /// One datagram's size; `None` where nothing is there and `only_what_is_there` is asked for.
    fn receive(&self, buffer: &mut [u8], only_what_is_there: bool) -> Result<Option<usize>, Error> {
        let wait = if only_what_is_there { MsgFlags::MSG_DONTWAIT } else { MsgFlags::empty() };
        loop {
            let received = recv(self.inner.as_raw_fd(), buffer, wait | MsgFlags::MSG_TRUNC);
            match received.map_err(|errno| Errno::new(errno as i32)) {
                Ok(size) if size <= buffer.len() => return Ok(Some(size)),
                Ok(_) => return Err(Error::Malformed),
                Err(Errno::EINTR) => {}
                Err(Errno::EAGAIN) if only_what_is_there => return Ok(None),
                Err(Errno::EAGAIN) => return Err(Error::TimedOut),
                Err(Errno::ENOBUFS) => {
                    self.drain(buffer);
                    return Err(Error::Overrun);
                }
                Err(errno) => return Err(Error::Receive(errno.into())),
            }
        }
    }
}

/// A run that was sent, with the sequence numbers of its messages.
struct Asked<'a> {
    run: Run<'a>,
    first: u32,
    length: u32,
    /// Of the message whose answer is the last one.
    last: u32,
}

/// Whether the calling thread is in this namespace: both are alive while this looks, so the inode decides.
fn is_here(namespace: BorrowedFd<'_>) -> bool {
    let there = fstat(namespace).map(|file| (file.st_dev, file.st_ino));
    fs::metadata(OWN).is_ok_and(|own| there == Ok((own.dev(), own.ino())))
}

fn refused(refusals: Vec<Refusal>) -> Result<(), Error> {
    if refusals.is_empty() { Ok(()) } else { Err(Error::Refused(refusals)) }
}

impl AsFd for Socket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.inner.as_fd()
    }
}

impl fmt::Debug for Socket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Socket").field("family", &self.family).field("sequence", &self.sequence).finish()
    }
}
