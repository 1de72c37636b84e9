use linkspan_net_types::Errno;
use std::fmt;
use std::io;

/// What kept a batch or a request from its answer.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The socket could not be made or set up.
    #[error("cannot open a netlink socket")]
    Open(#[source] io::Error),
    /// The thread that opens the socket could not enter the namespace.
    #[error("cannot enter the network namespace")]
    Enter(#[source] io::Error),
    /// The batch, or the rest of one of more than 64 messages, did not leave: what did may have been done.
    #[error("cannot send to the kernel")]
    Send(#[source] io::Error),
    /// The answer could not be read; what was sent may have been done.
    #[error("cannot receive from the kernel")]
    Receive(#[source] io::Error),
    /// The kernel did not answer in 30 seconds; what was sent may have been done.
    #[error("the kernel did not answer in time")]
    TimedOut,
    /// Answers were lost because there were too many (`ENOBUFS`); what was sent may have been done.
    #[error("the kernel's answers did not fit into the socket")]
    Overrun,
    /// A dump changed under each of several attempts to read it (`NLM_F_DUMP_INTR`).
    #[error("what was listed changed while it was read, each time again")]
    Unsteady,
    /// There is more to read than the socket takes ([`Socket::within`](crate::Socket::within)); the rest was not read.
    #[error("there is more to read than anyone should have")]
    Endless,
    /// An answer of the kernel is not a netlink message.
    #[error("the kernel's answer is not a netlink message")]
    Malformed,
    /// An attribute of a message is longer than the 65,535 bytes its length field can say; nothing was sent.
    #[error("a message holds an attribute of more than 65535 bytes")]
    Oversized,
    /// The kernel refused these messages of the batch, first one first.
    ///
    /// Of a route batch the others were done; of a nftables batch nothing was.
    #[error("{}", Listed(.0))]
    Refused(Vec<Refusal>),
}

impl Error {
    /// The reason of the first refusal, where the kernel refused.
    pub fn errno(&self) -> Option<Errno> {
        match self {
            Self::Refused(refusals) => refusals.first().map(|refusal| refusal.errno),
            _ => None,
        }
    }
}

/// One message that the kernel refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// The place of the message in its batch, from 0.
    pub message: usize,
    /// The reason.
    pub errno: Errno,
    /// The kernel's own words (`NLMSGERR_ATTR_MSG`), where it gave any.
    pub text: Option<String>,
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.text {
            Some(text) => write!(f, "{} ({text})", self.errno),
            None => self.errno.fmt(f),
        }
    }
}

struct Listed<'a>(&'a [Refusal]);

impl fmt::Display for Listed<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the kernel refused")?;
        for (i, refusal) in self.0.iter().enumerate() {
            write!(f, "{} message {}: {refusal}", if i == 0 { "" } else { "," }, refusal.message)?;
        }
        Ok(())
    }
}
