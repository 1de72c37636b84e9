//! A false kernel: it answers on netlink sockets in the place of the real one.
//!
//! The program defines `send` and `recv`, and so the linker never looks for those of the C library. As long as a
//! conversation is [played](play), what is sent on a netlink socket is answered with its [lines](Line); else, and on
//! every other socket, both do what they always do. The product is not told, and cannot know.

use nix::libc::{self, c_int, c_void, size_t, ssize_t};
use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// The size of `struct nlmsghdr`.
pub(crate) const HEADER: usize = 16;
const ERROR: u16 = 2;
const DONE: u16 = 3;
/// `NLM_F_ACK` and `NLM_F_DUMP`.
const ACK: u16 = 4;
const DUMP: u16 = 0x300;

/// What is received next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Line {
    /// A datagram, in which sequence numbers count from the first message that was sent.
    Datagram(Vec<u8>),
    /// An error of the system call.
    Fails(i32),
}

#[derive(Debug)]
enum Room {
    /// The real kernel answers.
    Closed,
    Played {
        lines: VecDeque<Line>,
        sent: Sent,
    },
    Recorded {
        heard: Vec<Vec<u8>>,
        sent: Sent,
    },
}

/// What was sent last.
#[derive(Clone, Copy, Debug, Default)]
struct Sent {
    first: u32,
    /// The message that is answered when all is done.
    asks: Option<u32>,
    dump: bool,
}

static ROOM: Mutex<Room> = Mutex::new(Room::Closed);

fn room() -> MutexGuard<'static, Room> {
    ROOM.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Does work of which the kernel answers just this, and returns what was left to say. When there is nothing more to
/// say, it says yes to everything, and that every list is empty.
pub fn play<T>(lines: Vec<Line>, work: impl FnOnce() -> T) -> (T, Vec<Line>) {
    *room() = Room::Played { lines: lines.into(), sent: Sent::default() };
    let done = work();
    match std::mem::replace(&mut *room(), Room::Closed) {
        Room::Played { lines, .. } => (done, lines.into()),
        Room::Closed | Room::Recorded { .. } => (done, Vec::new()),
    }
}

/// Does work with the real kernel, and returns the datagrams that it answered.
pub fn record<T>(work: impl FnOnce() -> T) -> (T, Vec<Vec<u8>>) {
    *room() = Room::Recorded { heard: Vec::new(), sent: Sent::default() };
    let done = work();
    match std::mem::replace(&mut *room(), Room::Closed) {
        Room::Recorded { heard, .. } => (done, heard),
        Room::Closed | Room::Played { .. } => (done, Vec::new()),
    }
}

impl Sent {
    fn read(bytes: &[u8]) -> Self {
        let mut sent: Option<Self> = None;
        each_sequence(bytes, |flags, place| {
            let number = u32::from_ne_bytes([place[0], place[1], place[2], place[3]]);
            let before = sent.unwrap_or(Self { first: number, ..Self::default() });
            let dump = flags & DUMP == DUMP;
            let asks = (dump || flags & ACK != 0).then_some(number);
            sent = Some(Self { asks: asks.or(before.asks), dump, ..before });
        });
        sent.unwrap_or_default()
    }

    /// What the real kernel says when all is done, once; whoever waits for more waits in vain.
    fn answer(&mut self) -> Line {
        let Some(asked) = self.asks.take() else { return Line::Fails(libc::EAGAIN) };
        let kind = if self.dump { DONE } else { ERROR };
        let payload: &[u8] = if self.dump { &[0; 4] } else { &[0; 20] };
        let length = u32::try_from(HEADER + payload.len()).unwrap_or(0);
        let head = [&length.to_ne_bytes()[..], &kind.to_ne_bytes(), &[0; 2], &asked.to_ne_bytes(), &[0; 4]];
        Line::Datagram([&head.concat(), payload].concat())
    }
}

/// Visits the flags and the sequence number of each whole message.
fn each_sequence(bytes: &[u8], mut visit: impl FnMut(u16, &mut [u8; 4])) {
    let mut copy = bytes.to_vec();
    each_sequence_of(&mut copy, &mut visit);
}

fn each_sequence_of(mut bytes: &mut [u8], visit: &mut dyn FnMut(u16, &mut [u8; 4])) {
    while let Some((head, _)) = bytes.split_first_chunk_mut::<HEADER>() {
        let length = u32::from_ne_bytes([head[0], head[1], head[2], head[3]]);
        let flags = u16::from_ne_bytes([head[6], head[7]]);
        if let Some(number) = head[8..].first_chunk_mut::<4>() {
            visit(flags, number);
        }
        let length = usize::try_from(length).unwrap_or(usize::MAX).max(HEADER);
        let next = length.checked_next_multiple_of(4).unwrap_or(usize::MAX);
        bytes = bytes.get_mut(next..).unwrap_or_default();
    }
}

fn shifted(datagram: &[u8], by: u32) -> Vec<u8> {
    let mut bytes = datagram.to_vec();
    each_sequence_of(&mut bytes, &mut |_, number| {
        *number = u32::from_ne_bytes(*number).wrapping_add(by).to_ne_bytes();
    });
    bytes
}

fn hear(bytes: &[u8]) -> bool {
    match &mut *room() {
        Room::Closed => false,
        Room::Played { sent, .. } => {
            *sent = Sent::read(bytes);
            true
        }
        Room::Recorded { sent, .. } => {
            *sent = Sent::read(bytes);
            false
        }
    }
}

/// The next line; `None` where the real kernel is to answer.
fn next() -> Option<Line> {
    let Room::Played { lines, sent } = &mut *room() else { return None };
    Some(match lines.pop_front() {
        Some(Line::Datagram(bytes)) => Line::Datagram(shifted(&bytes, sent.first)),
        Some(fails) => fails,
        None => sent.answer(),
    })
}

fn overhear(bytes: &[u8]) {
    if let Room::Recorded { heard, sent } = &mut *room() {
        heard.push(shifted(bytes, sent.first.wrapping_neg()));
    }
}

fn is_netlink(socket: c_int) -> bool {
    let mut domain: c_int = 0;
    let mut length = libc::socklen_t::try_from(size_of::<c_int>()).unwrap_or(0);
    let value = (&raw mut domain).cast::<c_void>();
    // SAFETY: both pointers are to locals that outlive the call, and the length is that of the first.
    #[allow(unsafe_code)]
    let done = unsafe { libc::getsockopt(socket, libc::SOL_SOCKET, libc::SO_DOMAIN, value, &raw mut length) };
    done == 0 && domain == libc::AF_NETLINK
}

/// `send(2)`.
///
/// # Safety
/// As for `send(2)`: the buffer holds so many bytes.
#[allow(unsafe_code)]
#[unsafe(no_mangle)]
pub unsafe extern "C" fn send(socket: c_int, buffer: *const c_void, length: size_t, flags: c_int) -> ssize_t {
    // SAFETY: the caller promises so many bytes.
    let bytes = unsafe { std::slice::from_raw_parts(buffer.cast::<u8>(), length) };
    if is_netlink(socket) && hear(bytes) {
        return ssize_t::try_from(length).unwrap_or(ssize_t::MAX);
    }
    // SAFETY: what the caller promises of `send` is all that `sendto` without a target asks for.
    unsafe { libc::sendto(socket, buffer, length, flags, std::ptr::null(), 0) }
}

/// `recv(2)`.
///
/// # Safety
/// As for `recv(2)`: so many bytes of the buffer may be written.
#[allow(unsafe_code)]
#[unsafe(no_mangle)]
pub unsafe extern "C" fn recv(socket: c_int, buffer: *mut c_void, length: size_t, flags: c_int) -> ssize_t {
    let netlink = is_netlink(socket);
    match netlink.then(next).flatten() {
        Some(Line::Datagram(bytes)) => {
            // SAFETY: the caller lets so many bytes be written.
            let room = unsafe { std::slice::from_raw_parts_mut(buffer.cast::<u8>(), length) };
            room.iter_mut().zip(&bytes).for_each(|(to, from)| *to = *from);
            // As with MSG_TRUNC: how long it was, whatever there was room for.
            ssize_t::try_from(bytes.len()).unwrap_or(ssize_t::MAX)
        }
        Some(Line::Fails(errno)) => {
            nix::errno::Errno::from_raw(errno).set();
            -1
        }
        None => {
            // SAFETY: what the caller promises of `recv` is all that `recvfrom` without a source asks for.
            let got = unsafe {
                libc::recvfrom(socket, buffer, length, flags, std::ptr::null_mut(), std::ptr::null_mut())
            };
            if let (true, Ok(got)) = (netlink, usize::try_from(got)) {
                // SAFETY: so many bytes were just written there.
                overhear(unsafe { std::slice::from_raw_parts(buffer.cast::<u8>(), got.min(length)) });
            }
            got
        }
    }
}
