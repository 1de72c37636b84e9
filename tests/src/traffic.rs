//! Servers that say who asked, and clients that ask.

use linkspan::{NetNs, Protocol};
use nix::sys::socket::{AddressFamily, SockFlag, SockProtocol, SockType, SockaddrStorage, bind, socket};
use std::fmt;
use std::fs;
use std::io::{self, Read, Write};
use std::net::{IpAddr, Ipv6Addr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::os::fd::AsRawFd;
use std::thread;
use std::time::Duration;

/// How long an answer may take that has to come.
pub(crate) const PATIENCE: Duration = Duration::from_secs(15);
/// How long an answer is waited for that must not come. Packets of one machine take microseconds; the first
/// repetition of a lost one would come after a second.
pub(crate) const DOUBT: Duration = Duration::from_millis(300);

/// The protocols that this kernel always carries.
pub(crate) const PROTOCOLS: [Protocol; 2] = [Protocol::Tcp, Protocol::Udp];

/// Serves TCP and UDP at a port of every address of the namespace, to the end of the process.
///
/// It answers with the address that it sees the client come from.
pub(crate) fn serve(netns: &NetNs, port: u16) {
    serve_at(netns, SocketAddr::new(Ipv6Addr::UNSPECIFIED.into(), port));
}

/// Serves TCP and UDP at one address.
pub(crate) fn serve_at(netns: &NetNs, at: SocketAddr) {
    let bind = || Ok::<_, io::Error>((TcpListener::bind(at)?, UdpSocket::bind(at)?));
    let (tcp, udp) = netns.run(bind).unwrap().unwrap();
    thread::spawn(move || {
        for mut client in tcp.incoming().flatten() {
            let seen = client.peer_addr().map(|peer| peer.ip().to_canonical().to_string());
            // A client that went away has no use for an answer.
            let _ = seen.and_then(|seen| client.write_all(seen.as_bytes()));
        }
    });
    thread::spawn(move || {
        let mut question = [0; 64];
        while let Ok((_, client)) = udp.recv_from(&mut question) {
            let _ = udp.send_to(client.ip().to_canonical().to_string().as_bytes(), client);
        }
    });
}

/// A question from one machine to a port of another.
#[derive(Clone, Copy)]
pub(crate) struct Question<'a> {
    pub(crate) from: &'a NetNs,
    pub(crate) by: Protocol,
    pub(crate) to: SocketAddr,
}

impl fmt::Debug for Question<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {} from {:?}", self.by, self.to, self.from.place())
    }
}

impl Question<'_> {
    /// The client's address, as the server saw it.
    pub(crate) fn ask(self, patience: Duration) -> io::Result<IpAddr> {
        let answer = self.from.run(|| match self.by {
            Protocol::Udp => ask_udp(self.to, patience),
            _ => ask_tcp(self.to, patience),
        });
        let answer = answer.map_err(io::Error::other)??;
        answer.parse().map_err(|_| io::Error::other(format!("answer {answer:?}")))
    }

    /// Asks, and returns the client's address as the server saw it, or why there is none.
    pub(crate) fn answer(self) -> io::Result<IpAddr> {
        self.ask(PATIENCE)
    }

    /// Asks, and returns the client's address as the server saw it.
    #[track_caller]
    pub(crate) fn is_answered(self) -> IpAddr {
        self.answer().unwrap_or_else(|error| panic!("{self:?}: no answer: {error}"))
    }
}

fn ask_tcp(to: SocketAddr, patience: Duration) -> io::Result<String> {
    let mut stream = TcpStream::connect_timeout(&to, patience)?;
    stream.set_read_timeout(Some(patience))?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    Ok(answer)
}

fn ask_udp(to: SocketAddr, patience: Duration) -> io::Result<String> {
    let any = if to.is_ipv4() { "0.0.0.0:0" } else { "[::]:0" };
    let socket = UdpSocket::bind(any)?;
    socket.connect(to)?;
    socket.set_read_timeout(Some(patience))?;
    socket.send(b"?")?;
    let mut answer = [0; 64];
    let length = socket.recv(&mut answer)?;
    Ok(String::from_utf8_lossy(&answer[..length]).into_owned())
}

/// Asks once by each protocol; both must be answered, by a server that sees the same client.
#[track_caller]
pub(crate) fn reaches(from: &NetNs, to: SocketAddr) -> IpAddr {
    let [tcp, udp] = PROTOCOLS.map(|by| Question { from, by, to }.is_answered());
    assert_eq!(tcp, udp, "tcp and udp to {to} come from different addresses");
    tcp
}

/// Asks by each protocol and at once; nothing must be answered.
#[track_caller]
pub(crate) fn reaches_none(ways: &[(&NetNs, SocketAddr)]) {
    let each = ways.iter().flat_map(|(from, to)| PROTOCOLS.map(|by| Question { from, by, to: *to }));
    let answered: Vec<_> = thread::scope(|scope| {
        let asked: Vec<_> = each.map(|way| scope.spawn(move || (way, way.ask(DOUBT)))).collect();
        asked.into_iter().map(|asked| asked.join().unwrap()).filter(|(_, answer)| answer.is_ok()).collect()
    });
    assert!(answered.is_empty(), "reached: {answered:?}");
}

/// Lets root of a user namespace, who may be an ordinary user elsewhere, ping from the calling thread's namespace.
pub(crate) fn allow_ping() -> io::Result<()> {
    fs::write("/proc/sys/net/ipv4/ping_group_range", "0 0")
}

/// A socket for echoes (RFC 792, RFC 4443), to which the kernel adds identifier and checksum.
pub(crate) fn ping_socket(to: IpAddr) -> io::Result<UdpSocket> {
    ping_socket_from(None, to)
}

/// The same at one address of several.
pub(crate) fn ping_socket_from(source: Option<IpAddr>, to: IpAddr) -> io::Result<UdpSocket> {
    let (family, by) = match to {
        IpAddr::V4(_) => (AddressFamily::Inet, SockProtocol::Icmp),
        IpAddr::V6(_) => (AddressFamily::Inet6, SockProtocol::IcmpV6),
    };
    let socket = UdpSocket::from(socket(family, SockType::Datagram, SockFlag::SOCK_CLOEXEC, by)?);
    if let Some(source) = source {
        bind(socket.as_raw_fd(), &SockaddrStorage::from(SocketAddr::new(source, 0)))?;
    }
    socket.connect(SocketAddr::new(to, 0))?;
    Ok(socket)
}

/// What is sent through it.
pub(crate) const fn echo_request(to: IpAddr) -> [u8; 8] {
    [if to.is_ipv4() { 8 } else { 128 }, 0, 0, 0, 0, 0, 0, 1]
}
