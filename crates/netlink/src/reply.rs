use crate::batch::HEADER;
use crate::{Attributes, Kind, Refusal};
use linkspan_net_types::Errno;
use netlink_packet_core as core;

/// `NLMSGERR_ATTR_MSG` of `linux/netlink.h`: the kernel's words.
const ATTR_MSG: u16 = 1;

/// One message of an answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reply {
    kind: Kind,
    payload: Vec<u8>,
}

impl Reply {
    /// What it is about.
    pub const fn kind(&self) -> Kind {
        self.kind
    }

    /// Its bytes behind the netlink header.
    pub fn payload(&self) -> &[u8] {
        &self.payload
    }

    /// Its attributes behind a fixed header of this many bytes.
    pub fn attributes(&self, header_length: usize) -> Attributes<'_> {
        Attributes::new(self.payload.get(header_length.next_multiple_of(4)..).unwrap_or_default())
    }
}

/// One received message, as far as the protocol of asking and answering goes.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Answer {
    /// Done; or, of a dump, that is all.
    Done,
    /// Refused.
    Refused { errno: Errno, text: Option<String> },
    /// A message of the answer.
    Reply(Reply),
    /// Nothing that concerns the asker.
    Nothing,
}

pub(crate) struct Received {
    pub(crate) sequence: u32,
    /// A dump was changed while it was read.
    pub(crate) interrupted: bool,
    pub(crate) answer: Answer,
}

/// The messages of one datagram; `None` in place of what is not a message, which ends it.
pub(crate) fn messages(mut datagram: &[u8]) -> impl Iterator<Item = Option<Received>> {
    std::iter::from_fn(move || {
        if datagram.is_empty() {
            return None;
        }
        let Ok(message) = core::NetlinkBuffer::new_checked(datagram) else {
            datagram = &[];
            return Some(None);
        };
        let length = usize::try_from(message.length()).unwrap_or(usize::MAX).next_multiple_of(4);
        let received = Received {
            sequence: message.sequence_number(),
            interrupted: message.flags() & core::NLM_F_DUMP_INTR != 0,
            answer: answer(message.message_type(), message.flags(), message.payload()),
        };
        datagram = datagram.get(length..).unwrap_or_default();
        Some(Some(received))
    })
}

fn answer(kind: u16, flags: u16, payload: &[u8]) -> Answer {
    match kind {
        core::NLMSG_ERROR => verdict(flags, payload, true),
        core::NLMSG_DONE => verdict(flags, payload, false),
        core::NLMSG_NOOP | core::NLMSG_OVERRUN => Answer::Nothing,
        kind => Answer::Reply(Reply { kind: Kind::new(kind), payload: payload.to_vec() }),
    }
}

/// Reads `struct nlmsgerr`, or the number that ends a dump, and the attributes behind it.
fn verdict(flags: u16, payload: &[u8], with_header: bool) -> Answer {
    let code = payload.first_chunk().map_or(0, |&code| i32::from_ne_bytes(code));
    if code == 0 {
        return Answer::Done;
    }
    let behind = match with_header {
        true if flags & core::NLM_F_CAPPED != 0 => 4 + HEADER,
        true => 4 + request_length(payload),
        false => 4,
    };
    let said = flags & core::NLM_F_ACK_TLVS != 0;
    let attributes = Attributes::new(payload.get(behind..).filter(|_| said).unwrap_or_default());
    let text = attributes.get(ATTR_MSG).and_then(|a| a.text()).map(str::to_owned);
    Answer::Refused { errno: Errno::new(code.saturating_neg()), text }
}

/// How long the request is that an uncapped error carries back, with its padding.
fn request_length(payload: &[u8]) -> usize {
    let length = payload.get(4..8).map_or(0, |n| u32::from_ne_bytes([n[0], n[1], n[2], n[3]]));
    usize::try_from(length).unwrap_or(0).next_multiple_of(4)
}

impl Refusal {
    pub(crate) fn of(message: usize, errno: Errno, text: Option<String>) -> Self {
        Self { message, errno, text }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Batch, Flags};
    use proptest::prelude::*;

    /// A message with these flags, as the kernel would send it.
    fn message(kind: u16, flags: u16, payload: &[u8]) -> Vec<u8> {
        let mut batch = Batch::new();
        batch.push(Kind::new(kind), Flags::NONE, |body| body.bytes(payload));
        let mut bytes = batch.bytes().to_vec();
        bytes[6..8].copy_from_slice(&flags.to_ne_bytes());
        bytes
    }

    fn check(bytes: &[u8], expected: &[Option<Answer>]) {
        let seen: Vec<_> = messages(bytes).map(|m| m.map(|m| m.answer)).collect();
        assert_eq!(seen, expected);
    }

    fn refusal(errno: Errno, text: &str) -> Option<Answer> {
        Some(Answer::Refused { errno, text: Some(text.to_owned()).filter(|t| !t.is_empty()) })
    }

    #[test]
    fn the_kernels_words_are_found_behind_a_capped_and_a_whole_request() {
        let words = [&[7, 0, 1, 0][..], b"no\0\0"].concat();
        let capped = [&(-17i32).to_ne_bytes()[..], &[20, 0, 0, 0], &[0; 12], &words].concat();
        check(&message(2, 0x300, &capped), &[refusal(Errno::EEXIST, "no")]);
        check(&message(2, 0x100, &capped), &[refusal(Errno::EEXIST, "")]);
        let whole = [&(-17i32).to_ne_bytes()[..], &[20, 0, 0, 0], &[0; 12], &[9; 4], &words].concat();
        check(&message(2, 0x200, &whole), &[refusal(Errno::EEXIST, "no")]);
        let done = [&(-22i32).to_ne_bytes()[..], &words].concat();
        check(&message(3, 0x202, &done), &[refusal(Errno::EINVAL, "no")]);
    }

    #[test]
    fn zero_is_an_acknowledgement() {
        check(&message(2, 0x100, &[0; 20]), &[Some(Answer::Done)]);
        check(&message(3, 2, &[0; 4]), &[Some(Answer::Done)]);
    }

    #[test]
    fn bytes_that_are_no_message_end_the_datagram() {
        let mut bytes = message(2, 0, &[0; 20]);
        bytes.extend_from_slice(&[1, 2, 3]);
        check(&bytes, &[Some(Answer::Done), None]);
        check(&[0; 16], &[None]);
    }

    proptest! {
        #[test]
        fn no_bytes_panic_or_loop(bytes: Vec<u8>) {
            let _ = messages(&bytes).count();
        }

        #[test]
        fn no_verdict_panics(flags: u16, payload: Vec<u8>, header: bool) {
            let _ = verdict(flags, &payload, header);
        }
    }
}
