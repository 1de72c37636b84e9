//! The least that speaks netlink: one buffer of messages, one `send`, one look at what was refused.

use std::io;
use std::os::fd::{AsRawFd, OwnedFd};

use nix::errno::Errno;
use nix::libc;
use nix::sys::socket::{
    AddressFamily, MsgFlags, SockFlag, SockProtocol, SockType, recv, send, setsockopt, socket, sockopt,
};

const HEADER: usize = 16;
const REQUEST: u16 = 0x1;
/// `NLM_F_CREATE`, and `NLM_F_EXCL` with it.
pub(crate) const CREATE: u16 = 0x400;
pub(crate) const MAKE: u16 = 0x600;
const NESTED: u16 = 0x8000;
const SEND_BUFFER: usize = 16 * 1024 * 1024;
/// Errors are rare: one read is enough to see the first.
const ANSWER: usize = 8192;

/// A socket, and the messages that leave together.
#[derive(Debug)]
pub(crate) struct Netlink {
    socket: OwnedFd,
    buffer: Vec<u8>,
    answer: Box<[u8; ANSWER]>,
    message: usize,
    sequence: u32,
}

impl Netlink {
    pub(crate) fn route() -> io::Result<Self> {
        Self::open(SockProtocol::NetlinkRoute)
    }

    pub(crate) fn netfilter() -> io::Result<Self> {
        let netfilter = Self::open(SockProtocol::NetlinkNetFilter)?;
        // Ten thousand elements leave at once. Without privilege outside of the lab, the machine's limit holds.
        if setsockopt(&netfilter.socket, sockopt::SndBufForce, &SEND_BUFFER).is_err() {
            setsockopt(&netfilter.socket, sockopt::SndBuf, &SEND_BUFFER)?;
        }
        Ok(netfilter)
    }

    fn open(protocol: SockProtocol) -> io::Result<Self> {
        let socket = socket(AddressFamily::Netlink, SockType::Raw, SockFlag::SOCK_CLOEXEC, protocol)?;
        Ok(Self { socket, buffer: Vec::new(), answer: Box::new([0; ANSWER]), message: 0, sequence: 1 })
    }

    /// Begins a message.
    pub(crate) fn message(&mut self, kind: u16, flags: u16, header: &[u8]) {
        self.message = self.buffer.len();
        self.sequence += 1;
        self.buffer.extend_from_slice(&[0; 4]);
        self.buffer.extend_from_slice(&kind.to_ne_bytes());
        self.buffer.extend_from_slice(&(REQUEST | flags).to_ne_bytes());
        self.buffer.extend_from_slice(&self.sequence.to_ne_bytes());
        self.buffer.extend_from_slice(&[0; HEADER - 12]);
        self.bytes(header);
    }

    /// Adds bytes that are no attribute.
    pub(crate) fn bytes(&mut self, bytes: &[u8]) {
        self.buffer.extend_from_slice(bytes);
        self.pad();
    }

    pub(crate) fn attribute(&mut self, kind: u16, bytes: &[u8]) {
        let length = u16::try_from(bytes.len() + 4).unwrap_or(u16::MAX);
        self.buffer.extend_from_slice(&length.to_ne_bytes());
        self.buffer.extend_from_slice(&kind.to_ne_bytes());
        self.bytes(bytes);
    }

    pub(crate) fn number(&mut self, kind: u16, number: u32) {
        self.attribute(kind, &number.to_ne_bytes());
    }

    pub(crate) fn text(&mut self, kind: u16, text: &str) {
        let start = self.buffer.len();
        self.buffer.extend_from_slice(&[0; 4]);
        self.buffer.extend_from_slice(text.as_bytes());
        self.buffer.push(0);
        self.close(start, kind);
        self.pad();
    }

    /// An attribute of attributes.
    pub(crate) fn nest(&mut self, kind: u16, inside: impl FnOnce(&mut Self)) {
        let start = self.buffer.len();
        self.buffer.extend_from_slice(&[0; 4]);
        inside(self);
        self.close(start, kind | NESTED);
    }

    fn close(&mut self, start: usize, kind: u16) {
        let length = u16::try_from(self.buffer.len() - start).unwrap_or(u16::MAX);
        self.buffer[start..start + 2].copy_from_slice(&length.to_ne_bytes());
        self.buffer[start + 2..start + 4].copy_from_slice(&kind.to_ne_bytes());
    }

    /// Aligns to four bytes, and writes the length of the message so far.
    fn pad(&mut self) {
        self.buffer.resize(self.buffer.len().next_multiple_of(4), 0);
        let length = u32::try_from(self.buffer.len() - self.message).unwrap_or(u32::MAX);
        self.buffer[self.message..self.message + 4].copy_from_slice(&length.to_ne_bytes());
    }

    /// Sends all messages at once. The kernel works within `send`, so that whatever it refuses waits here.
    pub(crate) fn flush(&mut self) -> io::Result<()> {
        let sent = send(self.socket.as_raw_fd(), &self.buffer, MsgFlags::empty());
        self.buffer.clear();
        sent?;
        match recv(self.socket.as_raw_fd(), &mut *self.answer, MsgFlags::MSG_DONTWAIT) {
            Err(Errno::EAGAIN) => Ok(()),
            Err(refused) => Err(refused.into()),
            Ok(length) => refusal(&self.answer[..length]),
        }
    }
}

/// The error of the first message that reports one.
fn refusal(mut answers: &[u8]) -> io::Result<()> {
    while let Some((header, rest)) = answers.split_first_chunk::<HEADER>() {
        let [a, b, c, d, kind, ..] = *header;
        let length = usize::try_from(u32::from_ne_bytes([a, b, c, d])).unwrap_or(usize::MAX);
        if let Some(&errno) = rest.first_chunk::<4>()
            && i32::from(kind) == libc::NLMSG_ERROR
            && errno != [0; 4]
        {
            return Err(io::Error::from_raw_os_error(-i32::from_ne_bytes(errno)));
        }
        answers = answers.get(length.next_multiple_of(4).max(HEADER)..).unwrap_or_default();
    }
    Ok(())
}
