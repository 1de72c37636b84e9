//! Asking many questions at once.

use super::witness::Witness;
use crate::traffic::{DOUBT, PATIENCE, echo_request, ping_socket};
use nix::errno::Errno;
use nix::sys::socket::{AddressFamily, SockFlag, SockType, SockaddrStorage, connect, socket};
use std::fmt;
use std::io::{self, Read};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream, UdpSocket};
use std::os::fd::AsRawFd;
use std::thread;
use std::time::{Duration, Instant};

/// A datagram may be lost on a busy machine: it is sent again, as a lost SYN is by the kernel.
const REPETITION: Duration = Duration::from_secs(1);
/// Before something is asked again that did not find its way.
const PAUSE: Duration = Duration::from_millis(100);

/// By which protocol something is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum By {
    Tcp,
    Udp,
    Ping,
}

impl fmt::Display for By {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Tcp => "tcp",
            Self::Udp => "udp",
            Self::Ping => "ping",
        })
    }
}

/// A question with a number of its own.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Question {
    pub(crate) number: usize,
    pub(crate) by: By,
    pub(crate) to: SocketAddr,
    /// An answer is promised.
    pub(crate) hoped: bool,
}

/// What the asker heard.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Answer {
    None,
    /// From a kernel, which does not say whom it saw.
    Echo,
    From(Witness),
}

/// Asks from the namespace of the calling thread, and waits for all the answers.
pub(crate) fn ask(questions: &[Question]) -> Vec<Answer> {
    // Each has a socket of its own, as programs would. One that cannot be sent has its answer: there is no way.
    let mut asked: Vec<_> = questions.iter().map(|question| Some(Asked::new(*question))).collect();
    let begin = Instant::now();
    let mut answers = vec![Answer::None; questions.len()];
    for hoped in [true, false] {
        let those = questions.iter().zip(asked.iter_mut().zip(&mut answers));
        for (question, (asked, answer)) in those.filter(|(question, _)| question.hoped == hoped) {
            let asked = asked.take().expect("each is heard once");
            let heard =
                if hoped { hear(*question, asked, begin + PATIENCE) } else { heard(&asked, begin + DOUBT) };
            *answer = heard.unwrap_or(Answer::None);
        }
    }
    answers
}

fn heard(asked: &io::Result<Asked>, until: Instant) -> io::Result<Answer> {
    asked.as_ref().map_err(copy_of).and_then(|asked| asked.listen(until))
}

fn copy_of(error: &io::Error) -> io::Error {
    error.raw_os_error().map_or_else(|| error.kind().into(), io::Error::from_raw_os_error)
}

/// Asks again where a neighbour was not found in time, as on a busy machine. A refusal is an answer.
fn hear(question: Question, asked: io::Result<Asked>, until: Instant) -> io::Result<Answer> {
    let mut asked = asked;
    loop {
        match heard(&asked, until) {
            Err(error) if is_lost(&error) && Instant::now() < until => {
                thread::sleep(PAUSE);
                asked = Asked::new(question);
            }
            heard => return heard,
        }
    }
}

/// A question under way.
struct Asked {
    question: Question,
    socket: Socket,
}

enum Socket {
    Stream(TcpStream),
    Datagrams(UdpSocket),
}

impl Asked {
    fn new(question: Question) -> io::Result<Self> {
        let socket = match question.by {
            By::Tcp => Socket::Stream(begin_to_connect(question.to)?),
            By::Udp => Socket::Datagrams(connected(question.to)?),
            By::Ping => Socket::Datagrams(ping_socket(question.to.ip())?),
        };
        let asked = Self { question, socket };
        asked.send()?;
        Ok(asked)
    }

    /// Sends the question; that of a stream is that it is opened.
    fn send(&self) -> io::Result<()> {
        match &self.socket {
            Socket::Stream(_) => Ok(()),
            Socket::Datagrams(socket) => socket.send(&self.question.text()).map(drop),
        }
    }

    fn listen(&self, until: Instant) -> io::Result<Answer> {
        match &self.socket {
            Socket::Stream(stream) => read(stream, until),
            Socket::Datagrams(socket) => loop {
                let next = until.min(Instant::now() + REPETITION);
                match self.receive(socket, next) {
                    Err(error) if is_late(&error) && Instant::now() < until => self.send()?,
                    answer => return answer,
                }
            },
        }
    }

    fn receive(&self, socket: &UdpSocket, until: Instant) -> io::Result<Answer> {
        let left = until.saturating_duration_since(Instant::now());
        socket.set_nonblocking(left.is_zero())?;
        socket.set_read_timeout(Some(left).filter(|left| !left.is_zero()))?;
        let mut answer = [0; 128];
        let length = socket.recv(&mut answer)?;
        match self.question.by {
            By::Ping => Ok(Answer::Echo),
            _ => Ok(Answer::From(String::from_utf8_lossy(&answer[..length]).parse()?)),
        }
    }
}

impl Question {
    /// What is sent: the question's number, where it can carry one.
    fn text(self) -> Vec<u8> {
        match self.by {
            By::Ping => echo_request(self.to.ip()).to_vec(),
            By::Tcp | By::Udp => self.number.to_string().into_bytes(),
        }
    }
}

fn connected(to: SocketAddr) -> io::Result<UdpSocket> {
    let any =
        if to.is_ipv4() { IpAddr::V4(Ipv4Addr::UNSPECIFIED) } else { IpAddr::V6(Ipv6Addr::UNSPECIFIED) };
    let socket = UdpSocket::bind((any, 0))?;
    socket.connect(to)?;
    Ok(socket)
}

fn begin_to_connect(to: SocketAddr) -> io::Result<TcpStream> {
    let flags = SockFlag::SOCK_NONBLOCK | SockFlag::SOCK_CLOEXEC;
    let family = if to.is_ipv4() { AddressFamily::Inet } else { AddressFamily::Inet6 };
    let stream = socket(family, SockType::Stream, flags, None)?;
    match connect(stream.as_raw_fd(), &SockaddrStorage::from(to)) {
        Ok(()) | Err(Errno::EINPROGRESS) => Ok(stream.into()),
        Err(error) => Err(error.into()),
    }
}

fn read(mut stream: &TcpStream, until: Instant) -> io::Result<Answer> {
    let left = until.saturating_duration_since(Instant::now());
    stream.set_nonblocking(left.is_zero())?;
    stream.set_read_timeout(Some(left).filter(|left| !left.is_zero()))?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    Ok(Answer::From(answer.parse()?))
}

fn is_lost(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::HostUnreachable || error.raw_os_error() == Some(Errno::ENOBUFS as i32)
}

fn is_late(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut)
}
