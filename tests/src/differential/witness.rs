//! Machines that answer with their names, and clients that hear who answered.

use crate::traffic::{echo_request, ping_socket_from};
use linkspan::{NetNs, Port, Protocol};
use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::socket::sockopt::Ipv6RecvPacketInfo;
use nix::sys::socket::{
    AddressFamily, ControlMessage, ControlMessageOwned, MsgFlags, SockFlag, SockType, SockaddrIn6,
    SockaddrStorage, bind, connect, recvmsg, sendmsg, setsockopt, socket,
};
use std::collections::BTreeSet;
use std::io::{self, IoSlice, IoSliceMut, Read, Write};
use std::net::{IpAddr, Ipv6Addr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::os::unix::net::UnixStream;
use std::thread;
use std::time::{Duration, Instant};

/// After this time a datagram that was not answered is sent again.
const AGAIN: Duration = Duration::from_secs(1);

/// Serves TCP and UDP at ports of every address of some machines, as long as it lives.
#[derive(Debug)]
pub(super) struct Servers {
    stop: UnixStream,
    thread: Option<thread::JoinHandle<()>>,
}

#[derive(Debug)]
struct Server {
    name: String,
    tcp: TcpListener,
    udp: UdpSocket,
}

impl Servers {
    pub(super) fn start(machines: &[(String, NetNs)], ports: &BTreeSet<u16>) -> Self {
        let of = |(name, netns): &(String, NetNs)| {
            let open = || ports.iter().map(|port| Server::open(name, *port)).collect::<io::Result<Vec<_>>>();
            netns.run(open).unwrap().unwrap_or_else(|error| panic!("{name} does not serve: {error}"))
        };
        let servers: Vec<_> = machines.iter().flat_map(of).collect();
        let (stop, stopped) = UnixStream::pair().unwrap();
        let thread = Some(thread::spawn(move || serve(&servers, stopped.as_fd())));
        Self { stop, thread }
    }
}

impl Drop for Servers {
    fn drop(&mut self) {
        // It ends with its other end, which says so by itself.
        let _ = self.stop.shutdown(std::net::Shutdown::Both);
        self.thread.take().map(thread::JoinHandle::join);
    }
}

/// Answers until the other end of `stop` is closed.
fn serve(servers: &[Server], stop: BorrowedFd<'_>) {
    let fds = servers.iter().flat_map(|server| [server.tcp.as_fd(), server.udp.as_fd()]);
    let mut polled: Vec<_> = fds.chain([stop]).map(|fd| PollFd::new(fd, PollFlags::POLLIN)).collect();
    loop {
        match poll(&mut polled, PollTimeout::NONE) {
            Err(Errno::EINTR) => continue,
            polled => polled.unwrap(),
        };
        let ready: Vec<_> = polled.iter().map(|fd| fd.any().unwrap_or(false)).collect();
        if ready[2 * servers.len()] {
            return;
        }
        for (server, ready) in servers.iter().zip(ready.chunks(2)) {
            // A client that went away has no use for an answer.
            let _ = ready[0].then(|| server.answer_stream());
            let _ = ready[1].then(|| server.answer_datagram());
        }
    }
}

impl Server {
    fn open(name: &str, port: u16) -> io::Result<Self> {
        let at = SocketAddr::new(Ipv6Addr::UNSPECIFIED.into(), port);
        let (tcp, udp) = (TcpListener::bind(at)?, UdpSocket::bind(at)?);
        tcp.set_nonblocking(true)?;
        setsockopt(&udp, Ipv6RecvPacketInfo, &true)?;
        Ok(Self { name: name.to_owned(), tcp, udp })
    }

    fn answer(&self, client: IpAddr) -> String {
        format!("{} {}", self.name, client.to_canonical())
    }

    fn answer_stream(&self) -> io::Result<()> {
        let (mut stream, client) = self.tcp.accept()?;
        stream.write_all(self.answer(client.ip()).as_bytes())
    }

    /// Answers from the address that was asked, which is not always the one that the kernel would take.
    fn answer_datagram(&self) -> io::Result<()> {
        let mut question = [0; 64];
        let mut into = [IoSliceMut::new(&mut question)];
        let mut space = nix::cmsg_space!(nix::libc::in6_pktinfo);
        let (at, nothing) = (self.udp.as_raw_fd(), MsgFlags::MSG_DONTWAIT);
        let message = recvmsg::<SockaddrIn6>(at, &mut into, Some(&mut space), nothing)?;
        let asked = message.cmsgs()?.find_map(|note| match note {
            ControlMessageOwned::Ipv6PacketInfo(asked) => Some(asked),
            _ => None,
        });
        let (Some(mut asked), Some(client)) = (asked, message.address) else { return Ok(()) };
        // Routes decide by which link it leaves.
        asked.ipi6_ifindex = 0;
        let answer = self.answer(client.ip().into());
        let notes = [ControlMessage::Ipv6PacketInfo(&asked)];
        sendmsg(at, &[IoSlice::new(answer.as_bytes())], &notes, nothing, Some(&client))?;
        Ok(())
    }
}

/// A packet to be sent.
#[derive(Clone, Copy, Debug)]
pub(super) struct Letter<'a> {
    pub(super) from: &'a NetNs,
    /// From this address of several.
    pub(super) source: Option<IpAddr>,
    pub(super) to: IpAddr,
    /// A ping without it.
    pub(super) service: Option<(Protocol, Port)>,
}

/// What came back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Heard {
    /// The address that the sender's kernel took.
    pub(super) source: IpAddr,
    /// Who answered, and which address that one saw; pings do not tell, nor a connection that falls silent.
    pub(super) by: Option<(String, IpAddr)>,
}

impl Letter<'_> {
    pub(super) fn ask(self, patience: Duration) -> io::Result<Heard> {
        let Some((protocol, port)) = self.service else {
            let source = self.from.run(|| self.ping(patience)).map_err(io::Error::other)??;
            return Ok(Heard { source, by: None });
        };
        let to = SocketAddr::new(self.to, port.get());
        let asked = self.from.run(|| match protocol {
            Protocol::Udp => self.ask_udp(to, patience),
            _ => self.ask_tcp(to, patience),
        });
        let (source, answer) = asked.map_err(io::Error::other)??;
        let by = answer.split_once(' ').map(|(name, seen)| (name.to_owned(), seen.parse().unwrap()));
        Ok(Heard { source, by })
    }

    fn own(self) -> SocketAddr {
        let any = match self.to {
            IpAddr::V4(_) => IpAddr::from([0; 4]),
            IpAddr::V6(_) => IpAddr::from([0; 16]),
        };
        SocketAddr::new(self.source.unwrap_or(any), 0)
    }

    fn ping(self, patience: Duration) -> io::Result<IpAddr> {
        let socket = ping_socket_from(self.source, self.to)?;
        exchange(&socket, &echo_request(self.to), patience)?;
        Ok(socket.local_addr()?.ip())
    }

    fn ask_udp(self, to: SocketAddr, patience: Duration) -> io::Result<(IpAddr, String)> {
        let socket = UdpSocket::bind(self.own())?;
        socket.connect(to)?;
        let answer = exchange(&socket, b"?", patience)?;
        Ok((socket.local_addr()?.ip(), answer))
    }

    fn ask_tcp(self, to: SocketAddr, patience: Duration) -> io::Result<(IpAddr, String)> {
        let family = if to.is_ipv4() { AddressFamily::Inet } else { AddressFamily::Inet6 };
        let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
        let stream = socket(family, SockType::Stream, flags, None)?;
        bind(stream.as_raw_fd(), &SockaddrStorage::from(self.own()))?;
        match connect(stream.as_raw_fd(), &SockaddrStorage::from(to)) {
            Err(Errno::EINPROGRESS) => wait(stream.as_fd(), PollFlags::POLLOUT, Instant::now() + patience)?,
            at_once => at_once?,
        }
        let mut stream = TcpStream::from(stream);
        stream.take_error()?.map_or(Ok(()), Err)?;
        let mut answer = String::new();
        stream.set_nonblocking(false)?;
        stream.set_read_timeout(Some(patience))?;
        // The first packet was answered, whatever becomes of the next ones.
        let _ = stream.read_to_string(&mut answer);
        Ok((stream.local_addr()?.ip(), answer))
    }
}

/// Sends a datagram until one comes back.
fn exchange(socket: &UdpSocket, question: &[u8], patience: Duration) -> io::Result<String> {
    let until = Instant::now() + patience;
    let mut answer = [0; 64];
    loop {
        socket.send(question)?;
        match wait(socket.as_fd(), PollFlags::POLLIN, until.min(Instant::now() + AGAIN)) {
            Err(error) if error.kind() == io::ErrorKind::TimedOut && Instant::now() < until => {}
            waited => {
                waited?;
                let length = socket.recv(&mut answer)?;
                return Ok(String::from_utf8_lossy(&answer[..length]).into_owned());
            }
        }
    }
}

/// Waits for a socket, whatever signals come in between.
fn wait(socket: BorrowedFd<'_>, event: PollFlags, until: Instant) -> io::Result<()> {
    loop {
        let left = until.saturating_duration_since(Instant::now());
        let timeout = PollTimeout::try_from(left).unwrap_or(PollTimeout::MAX);
        match poll(&mut [PollFd::new(socket, event)], timeout) {
            Err(Errno::EINTR) => {}
            Ok(0) => return Err(io::ErrorKind::TimedOut.into()),
            polled => return Ok(polled.map(drop)?),
        }
    }
}
