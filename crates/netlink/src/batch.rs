use crate::Family;
use netlink_packet_core as core;
use std::ops::BitOr;

/// `NLA_F_NESTED` of `linux/netlink.h`.
const NESTED: u16 = 0x8000;
/// The size of `struct nlmsghdr`.
pub(crate) const HEADER: usize = 16;

/// What a message is about, as in `nlmsg_type`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Kind(u16);

impl Kind {
    /// `NFNL_MSG_BATCH_BEGIN` of `linux/netfilter/nfnetlink.h`.
    pub const BATCH_BEGIN: Self = Self(0x10);
    /// `NFNL_MSG_BATCH_END` of `linux/netfilter/nfnetlink.h`.
    pub const BATCH_END: Self = Self(0x11);

    /// The kind with this number, such as `RTM_NEWLINK`.
    pub const fn new(number: u16) -> Self {
        Self(number)
    }

    /// The nftables kind with this number, such as `NFT_MSG_NEWTABLE` (`NFNL_SUBSYS_NFTABLES` is 10).
    pub const fn nftables(number: u8) -> Self {
        Self(10 << 8 | number as u16)
    }

    /// The conntrack kind with this number, such as `IPCTNL_MSG_CT_DELETE` (`NFNL_SUBSYS_CTNETLINK` is 1).
    pub const fn conntrack(number: u8) -> Self {
        Self(1 << 8 | number as u16)
    }

    /// Its number.
    pub const fn get(self) -> u16 {
        self.0
    }

    const fn is_batch_edge(self) -> bool {
        matches!(self, Self::BATCH_BEGIN | Self::BATCH_END)
    }
}

/// How a message is meant, as in `nlmsg_flags`; `NLM_F_REQUEST` is always set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Flags(u16);

impl Flags {
    /// No flag.
    pub const NONE: Self = Self(0);
    /// Make what is not there.
    pub const CREATE: Self = Self(core::NLM_F_CREATE);
    /// Refuse where it is there.
    pub const EXCL: Self = Self(core::NLM_F_EXCL);
    /// Replace what is there.
    pub const REPLACE: Self = Self(core::NLM_F_REPLACE);
    /// Put it at the end.
    pub const APPEND: Self = Self(core::NLM_F_APPEND);
    /// List all that fits the question.
    pub const DUMP: Self = Self(core::NLM_F_DUMP);
    /// Send back what was made.
    pub const ECHO: Self = Self(core::NLM_F_ECHO);
}

impl BitOr for Flags {
    type Output = Self;

    fn bitor(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }
}

/// Messages that leave together, as the bytes they leave as.
///
/// Sequence numbers and the request for an acknowledgement are set by the socket that sends it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Batch {
    bytes: Vec<u8>,
    messages: usize,
    oversized: bool,
}

impl Batch {
    /// No messages.
    pub const fn new() -> Self {
        Self { bytes: Vec::new(), messages: 0, oversized: false }
    }

    /// Adds a message, whose body is written by `body`.
    pub fn push(&mut self, kind: Kind, flags: Flags, body: impl FnOnce(&mut Body<'_>)) {
        let start = self.bytes.len();
        self.bytes.extend_from_slice(&[0; 4]);
        self.bytes.extend_from_slice(&kind.0.to_ne_bytes());
        self.bytes.extend_from_slice(&(flags.0 | core::NLM_F_REQUEST).to_ne_bytes());
        self.bytes.extend_from_slice(&[0; 8]);
        body(&mut Body { bytes: &mut self.bytes, oversized: &mut self.oversized });
        let length = u32::try_from(self.bytes.len() - start).unwrap_or(u32::MAX);
        self.bytes[start..start + 4].copy_from_slice(&length.to_ne_bytes());
        self.messages += 1;
    }

    /// How many messages it holds.
    pub const fn len(&self) -> usize {
        self.messages
    }

    /// Whether it holds none.
    pub const fn is_empty(&self) -> bool {
        self.messages == 0
    }

    /// The messages as bytes.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Whether an attribute came out longer than its length field can say.
    pub(crate) const fn is_oversized(&self) -> bool {
        self.oversized
    }

    /// Whether it is done whole or not at all.
    ///
    /// The family must be told: the number of the edge is that of `RTM_NEWLINK`.
    pub(crate) fn is_transaction(&self, family: Family) -> bool {
        let kind = self.bytes.get(4..6).map(|kind| Kind(u16::from_ne_bytes([kind[0], kind[1]])));
        family == Family::Netfilter && kind == Some(Kind::BATCH_BEGIN)
    }

    /// The messages in runs of at most `most`, each with the place of its first message.
    pub(crate) fn runs(&mut self, most: usize) -> impl Iterator<Item = Run<'_>> {
        let mut rest = self.bytes.as_mut_slice();
        let mut first = 0;
        std::iter::from_fn(move || {
            let (end, messages) = measure(rest, most);
            let (bytes, tail) = std::mem::take(&mut rest).split_at_mut(end);
            rest = tail;
            let run = Run { bytes, first, messages };
            first += messages;
            (run.messages > 0).then_some(run)
        })
    }
}

/// Where the first `most` messages end, and how many there are.
fn measure(bytes: &[u8], most: usize) -> (usize, usize) {
    let (mut end, mut messages) = (0, 0);
    while let Some(message) = Message::at(bytes, end).filter(|_| messages < most) {
        end += message;
        messages += 1;
    }
    (end, messages)
}

struct Message;

impl Message {
    /// The length of the message at this place, with its padding.
    fn at(bytes: &[u8], place: usize) -> Option<usize> {
        let length = bytes.get(place..)?.first_chunk::<4>()?;
        usize::try_from(u32::from_ne_bytes(*length)).ok().map(|n| n.next_multiple_of(4).max(HEADER))
    }
}

/// Messages that leave in one `sendmsg`.
pub(crate) struct Run<'a> {
    pub(crate) bytes: &'a mut [u8],
    /// The place of its first message in the batch.
    pub(crate) first: usize,
    pub(crate) messages: usize,
}

impl Run<'_> {
    /// Numbers the messages from `sequence` on and asks for an acknowledgement of the last one, but
    /// for the edges of a netfilter batch; returns the number of that one.
    ///
    /// The family must be told: the numbers of the edges are those of `RTM_NEWLINK` and `RTM_DELLINK`.
    pub(crate) fn number(&mut self, sequence: u32, family: Family) -> u32 {
        let (mut place, mut number) = (0, sequence);
        let mut last = (0, sequence);
        while let Some(length) = Message::at(self.bytes, place) {
            self.bytes[place + 8..place + 12].copy_from_slice(&number.to_ne_bytes());
            self.set_flag(place, core::NLM_F_ACK, false);
            let kind = Kind(u16::from_ne_bytes([self.bytes[place + 4], self.bytes[place + 5]]));
            if family == Family::Route || !kind.is_batch_edge() {
                last = (place, number);
            }
            place += length;
            number = number.wrapping_add(1);
        }
        self.set_flag(last.0, core::NLM_F_ACK, true);
        last.1
    }

    /// Whether its first message asks for a list.
    pub(crate) fn is_dump(&self) -> bool {
        let flags = self.bytes.get(6..8).map_or(0, |f| u16::from_ne_bytes([f[0], f[1]]));
        flags & core::NLM_F_DUMP == core::NLM_F_DUMP
    }

    fn set_flag(&mut self, place: usize, flag: u16, on: bool) {
        let Some(field) = self.bytes.get_mut(place + 6..place + 8) else { return };
        let flags = u16::from_ne_bytes([field[0], field[1]]);
        let flags = if on { flags | flag } else { flags & !flag };
        field.copy_from_slice(&flags.to_ne_bytes());
    }
}

/// Writes the body of one message.
#[derive(Debug)]
pub struct Body<'a> {
    bytes: &'a mut Vec<u8>,
    oversized: &'a mut bool,
}

impl Body<'_> {
    /// Adds bytes as they are, such as the family's fixed header, padded to four.
    pub fn bytes(&mut self, bytes: &[u8]) {
        self.bytes.extend_from_slice(bytes);
        self.pad();
    }

    /// Adds an attribute.
    pub fn attr(&mut self, kind: u16, payload: &[u8]) {
        self.measured(kind, |body| body.bytes.extend_from_slice(payload));
    }

    /// Adds an attribute of no bytes.
    pub fn flag(&mut self, kind: u16) {
        self.attr(kind, &[]);
    }

    /// Adds a byte.
    pub fn u8(&mut self, kind: u16, number: u8) {
        self.attr(kind, &[number]);
    }

    /// Adds a 16-bit number in the host's order.
    pub fn u16(&mut self, kind: u16, number: u16) {
        self.attr(kind, &number.to_ne_bytes());
    }

    /// Adds a 32-bit number in the host's order.
    pub fn u32(&mut self, kind: u16, number: u32) {
        self.attr(kind, &number.to_ne_bytes());
    }

    /// Adds a 16-bit number in network order.
    pub fn be16(&mut self, kind: u16, number: u16) {
        self.attr(kind, &number.to_be_bytes());
    }

    /// Adds a 32-bit number in network order.
    pub fn be32(&mut self, kind: u16, number: u32) {
        self.attr(kind, &number.to_be_bytes());
    }

    /// Adds a 64-bit number in network order.
    pub fn be64(&mut self, kind: u16, number: u64) {
        self.attr(kind, &number.to_be_bytes());
    }

    /// Adds a text with the NUL that ends it.
    pub fn text(&mut self, kind: u16, text: &str) {
        self.measured(kind, |body| {
            body.bytes.extend_from_slice(text.as_bytes());
            body.bytes.push(0);
        });
    }

    /// Adds an attribute that holds what `inside` writes, marked as nested.
    pub fn nest(&mut self, kind: u16, inside: impl FnOnce(&mut Body<'_>)) {
        self.measured(kind | NESTED, |body| {
            inside(&mut Body { bytes: body.bytes, oversized: body.oversized });
        });
    }

    fn measured(&mut self, kind: u16, payload: impl FnOnce(&mut Self)) {
        let start = self.bytes.len();
        self.bytes.extend_from_slice(&[0; 2]);
        self.bytes.extend_from_slice(&kind.to_ne_bytes());
        payload(self);
        let length = u16::try_from(self.bytes.len() - start);
        *self.oversized |= length.is_err();
        self.bytes[start..start + 2].copy_from_slice(&length.unwrap_or(u16::MAX).to_ne_bytes());
        self.pad();
    }

    fn pad(&mut self) {
        self.bytes.resize(self.bytes.len().next_multiple_of(4), 0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Attributes;
    use proptest::prelude::*;

    fn batch(messages: usize) -> Batch {
        let mut batch = Batch::new();
        for _ in 0..messages {
            batch.push(Kind::new(16), Flags::CREATE | Flags::EXCL, |body| body.bytes(&[0; 16]));
        }
        batch
    }

    #[test]
    fn a_message_has_its_length_kind_and_flags() {
        let mut batch = Batch::new();
        batch.push(Kind::new(16), Flags::CREATE | Flags::EXCL, |body| {
            body.bytes(&[7; 3]);
            body.nest(18, |body| body.text(1, "veth"));
        });
        let expected = [
            &[36, 0, 0, 0, 16, 0, 0x01, 0x06, 0, 0, 0, 0, 0, 0, 0, 0][..],
            &[7, 7, 7, 0, 16, 0, 18, 0x80, 9, 0, 1, 0, b'v', b'e', b't', b'h', 0, 0, 0, 0],
        ];
        assert_eq!(batch.bytes(), expected.concat());
    }

    #[test]
    fn only_the_last_message_is_acknowledged() {
        let mut batch = batch(3);
        let mut runs = batch.runs(64);
        let mut run = runs.next().unwrap();
        assert_eq!(run.number(41, Family::Route), 43);
        let flags: Vec<_> = run.bytes.chunks(32).map(|m| u16::from_ne_bytes([m[6], m[7]]) & 4).collect();
        assert_eq!(flags, [0, 0, 4]);
        assert!(runs.next().is_none());
    }

    #[test]
    fn the_edges_of_a_nftables_batch_are_not_acknowledged() {
        let mut batch = Batch::new();
        for kind in [Kind::BATCH_BEGIN, Kind::nftables(0), Kind::nftables(3), Kind::BATCH_END] {
            batch.push(kind, Flags::NONE, |body| body.bytes(&[0; 4]));
        }
        assert_eq!(batch.runs(usize::MAX).next().unwrap().number(10, Family::Netfilter), 12);
    }

    #[test]
    fn a_long_batch_leaves_in_runs() {
        let mut batch = batch(130);
        let runs: Vec<_> = batch.runs(64).map(|run| (run.first, run.messages, run.bytes.len())).collect();
        assert_eq!(runs, [(0, 64, 64 * 32), (64, 64, 64 * 32), (128, 2, 64)]);
        assert_eq!(Batch::new().runs(64).count(), 0);
    }

    #[test]
    fn only_what_begins_as_a_transaction_is_one() {
        // `RTM_NEWLINK` has the number of `NFNL_MSG_BATCH_BEGIN`.
        assert!(!batch(2).is_transaction(Family::Route));
        assert!(batch(2).is_transaction(Family::Netfilter));
        let mut questions = Batch::new();
        questions.push(Kind::nftables(1), Flags::NONE, |body| body.bytes(&[0; 4]));
        assert!(!questions.is_transaction(Family::Netfilter));
        assert!(!Batch::new().is_transaction(Family::Netfilter));
    }

    #[test]
    fn an_attribute_too_long_for_its_length_is_noticed() {
        let mut batch = Batch::new();
        batch.push(Kind::new(1), Flags::NONE, |body| body.nest(1, |body| body.attr(1, &[0; 65_531])));
        assert!(batch.is_oversized());
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(numbers: Vec<(u16, u32)>, text in "[a-z]{0,9}") {
            let mut batch = Batch::new();
            batch.push(Kind::new(1), Flags::NONE, |body| {
                numbers.iter().for_each(|&(kind, number)| body.u32(kind & 0x3fff, number));
                body.nest(9, |body| body.text(2, &text));
            });
            let read: Vec<_> = Attributes::new(&batch.bytes()[HEADER..]).collect();
            prop_assert_eq!(read.len(), numbers.len() + 1);
            for (attribute, (kind, number)) in read.iter().zip(&numbers) {
                prop_assert_eq!((attribute.kind(), attribute.u32()), (kind & 0x3fff, Some(*number)));
            }
            prop_assert_eq!(read[numbers.len()].nested().next().and_then(|a| a.text()), Some(text.as_str()));
        }
    }
}
