use super::{Layer, Link, Stage, priority};
use crate::walk::{Carried, State};
use linkspan_net_types::Port;
use std::collections::BTreeMap;
use std::net::IpAddr;

/// Something that a rule looks at, as the bytes that the kernel compares.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Field {
    /// The name of the link, in 16 bytes.
    In,
    Out,
    /// Its number, in the host's order.
    InIndex,
    OutIndex,
    /// `NFPROTO_IPV4` or `NFPROTO_IPV6`.
    Family,
    /// The EtherType, of a packet or frame.
    EtherType,
    /// What the packet carries.
    Protocol,
    /// Octets of the packet's own header.
    Network {
        offset: usize,
        length: usize,
    },
    /// Octets of the header behind it.
    Transport {
        offset: usize,
        length: usize,
    },
    /// State, status and direction in connection tracking, the first two in the host's order.
    State,
    Status,
    Direction,
    /// The kind of the target's and the source's address (`RTN_*` of `linux/rtnetlink.h`).
    TargetType,
    SourceType,
    /// Whether the way back to the source is the link by which the packet came.
    ReversePath,
    /// A number that the rule itself says.
    Constant(Vec<u8>),
    /// Of which nothing is known.
    Other {
        name: String,
        length: usize,
    },
}

/// A byte of a field, of which the bits of a mask are known; the others are zero here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Byte {
    value: u8,
    known: u8,
}

impl Byte {
    const UNKNOWN: Self = Self { value: 0, known: 0 };

    const fn new(value: u8) -> Self {
        Self { value, known: u8::MAX }
    }

    /// With each bit that is not known as zero, and as one.
    const fn edges(self) -> (u8, u8) {
        (self.value, self.value | !self.known)
    }

    const fn masked(self, mask: u8) -> Self {
        Self { value: self.value & mask, known: self.known | !mask }
    }

    const fn is(self, wanted: u8) -> Truth {
        match ((self.value ^ wanted) & self.known, self.known) {
            (0, u8::MAX) => Truth::Yes,
            (0, _) => Truth::Unknown,
            _ => Truth::No,
        }
    }
}

/// Whether something holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Truth {
    Yes,
    No,
    Unknown,
}

/// A condition of a rule.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Test {
    /// The parts, one behind the other, are in one of these ranges.
    Is { parts: Vec<Part>, ranges: Vec<Range>, inverted: bool },
    /// One of these holds.
    Any { tests: Vec<Self>, inverted: bool },
    /// It looks at something that is not known.
    Unknown,
}

/// A field, of which only the bits of a mask count.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Part {
    pub(crate) field: Field,
    pub(crate) mask: Option<Vec<u8>>,
}

/// The first and last value of each part; a value with fewer bytes than the field stands for its beginning.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Range(pub(crate) Vec<(Vec<u8>, Vec<u8>)>);

impl Field {
    /// Whether its bytes are in the order of a number, or of letters.
    #[cfg(feature = "kernel")]
    pub(crate) const fn is_ordered(&self) -> bool {
        matches!(
            self,
            Self::Network { .. } | Self::Transport { .. } | Self::Protocol | Self::Family | Self::EtherType
        )
    }
}

impl Truth {
    pub(crate) const fn inverted(self, really: bool) -> Self {
        match (self, really) {
            (Self::Yes, true) => Self::No,
            (Self::No, true) => Self::Yes,
            (truth, _) => truth,
        }
    }

    fn all(truths: impl IntoIterator<Item = Self>) -> Self {
        let mut all = Self::Yes;
        for truth in truths {
            match truth {
                Self::No => return Self::No,
                Self::Unknown => all = Self::Unknown,
                Self::Yes => {}
            }
        }
        all
    }

    pub(crate) fn any(truths: impl IntoIterator<Item = Self>) -> Self {
        Self::all(truths.into_iter().map(|truth| truth.inverted(true))).inverted(true)
    }
}

impl From<bool> for Truth {
    fn from(holds: bool) -> Self {
        if holds { Self::Yes } else { Self::No }
    }
}

impl Range {
    /// Just this value, of one part.
    pub(crate) fn exactly(value: impl Into<Vec<u8>>) -> Self {
        let value = value.into();
        Self(vec![(value.clone(), value)])
    }

    /// From the one to the other, of one part.
    pub(crate) fn between(first: impl Into<Vec<u8>>, last: impl Into<Vec<u8>>) -> Self {
        Self(vec![(first.into(), last.into())])
    }

    fn holds(&self, values: &[Vec<Byte>]) -> Truth {
        match self.0.len() == values.len() {
            true => Truth::all(self.0.iter().zip(values).map(|((first, last), v)| within(v, first, last))),
            false => Truth::Unknown,
        }
    }
}

fn within(value: &[Byte], first: &[u8], last: &[u8]) -> Truth {
    if first == last {
        return Truth::all(value.iter().zip(first).map(|(byte, wanted)| byte.is(*wanted)));
    }
    // In a key of several parts each is padded.
    let cut = |edge: &[u8]| edge.get(..value.len()).unwrap_or(edge).to_vec();
    let (first, last) = (cut(first), cut(last));
    let (least, most): (Vec<u8>, Vec<u8>) = value.iter().map(|byte| byte.edges()).unzip();
    match (first <= least && most <= last, most < first || last < least) {
        (true, _) => Truth::Yes,
        (_, true) => Truth::No,
        _ => Truth::Unknown,
    }
}

impl Part {
    pub(crate) const fn of(field: Field) -> Self {
        Self { field, mask: None }
    }

    /// What the rule compares; `Err` where the kernel ends the rule without a match.
    fn value(&self, sight: &Sight<'_>) -> Result<Vec<Byte>, NoMatch> {
        let mut value = sight.value(&self.field)?;
        for (byte, mask) in value.iter_mut().zip(self.mask.iter().flatten()) {
            *byte = byte.masked(*mask);
        }
        Ok(value)
    }
}

impl Test {
    /// The field is in one of these ranges.
    pub(crate) fn of(field: Field, ranges: Vec<Range>) -> Self {
        Self::Is { parts: vec![Part::of(field)], ranges, inverted: false }
    }

    /// The bits of a mask have this value.
    pub(crate) fn masked(field: Field, mask: Vec<u8>, value: Vec<u8>) -> Self {
        let ranges = vec![Range::exactly(value)];
        Self::Is { parts: vec![Part { field, mask: Some(mask) }], ranges, inverted: false }
    }

    /// The field has one of the bits of a mask.
    pub(crate) fn has_bit(field: Field, mask: Vec<u8>) -> Self {
        let ranges = vec![Range::exactly(vec![0; mask.len()])];
        Self::Is { parts: vec![Part { field, mask: Some(mask) }], ranges, inverted: true }
    }

    pub(crate) fn invert(self, really: bool) -> Self {
        match self {
            Self::Is { parts, ranges, inverted } => Self::Is { parts, ranges, inverted: inverted ^ really },
            Self::Any { tests, inverted } => Self::Any { tests, inverted: inverted ^ really },
            Self::Unknown => Self::Unknown,
        }
    }

    pub(crate) fn holds(&self, sight: &Sight<'_>) -> Truth {
        match self {
            Self::Unknown => Truth::Unknown,
            Self::Any { tests, inverted } => {
                Truth::any(tests.iter().map(|test| test.holds(sight))).inverted(*inverted)
            }
            Self::Is { parts, ranges, inverted } => match values(parts, sight) {
                Ok(values) => Truth::any(ranges.iter().map(|range| range.holds(&values))).inverted(*inverted),
                Err(NoMatch) => Truth::No,
            },
        }
    }
}

/// Which of these ranges the parts are in, by the order of the ranges: `Ok(None)` where in none.
pub(crate) fn find(parts: &[Part], ranges: &[Range], sight: &Sight<'_>) -> Result<Option<usize>, Doubt> {
    let Ok(values) = values(parts, sight) else { return Ok(None) };
    let mut doubt = false;
    for (i, range) in ranges.iter().enumerate() {
        match range.holds(&values) {
            Truth::Yes => return Ok(Some(i)),
            Truth::No => {}
            Truth::Unknown => doubt = true,
        }
    }
    if doubt { Err(Doubt) } else { Ok(None) }
}

fn values(parts: &[Part], sight: &Sight<'_>) -> Result<Vec<Vec<Byte>>, NoMatch> {
    parts.iter().map(|part| part.value(sight)).collect()
}

/// That it cannot be told.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Doubt;

/// The kernel ends the rule without a match: the packet has no such thing.
#[derive(Clone, Copy, Debug)]
struct NoMatch;

/// What a chain of one priority sees of a packet.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Sight<'a> {
    pub(crate) stage: &'a Stage,
    pub(crate) priority: i32,
    /// The links of the host by their numbers.
    pub(crate) links: &'a BTreeMap<u32, String>,
}

/// `IP_CT_*` as bits, and `IPS_SRC_NAT`, `IPS_DST_NAT`, `IPS_SRC_NAT_DONE`, `IPS_DST_NAT_DONE` of
/// `linux/netfilter/nf_conntrack_common.h`.
pub(super) mod ct {
    pub(crate) const INVALID: u32 = 1;
    pub(crate) const ESTABLISHED: u32 = 2;
    pub(crate) const RELATED: u32 = 4;
    pub(crate) const NEW: u32 = 8;
    pub(crate) const UNTRACKED: u32 = 64;
    pub(crate) const HIDDEN: u32 = 16;
    pub(crate) const PUBLISHED: u32 = 32;
    pub(crate) const SOURCE_DONE: u32 = 128;
    pub(crate) const TARGET_DONE: u32 = 256;
}

impl Sight<'_> {
    fn value(&self, field: &Field) -> Result<Vec<Byte>, NoMatch> {
        let stage = self.stage;
        let v6 = stage.is_v6();
        Ok(match field {
            Field::In => name(stage.input),
            Field::Out => name(stage.output),
            Field::InIndex => self.index(stage.input),
            Field::OutIndex => self.index(stage.output),
            Field::Family if stage.layer == Layer::Frame => known([7]),
            Field::Family => known([if v6 { 10 } else { 2 }]),
            Field::EtherType => known(if v6 { [0x86, 0xdd] } else { [0x08, 0x00] }),
            Field::Protocol => known([stage.protocol()]),
            Field::Network { offset, length } => slice(&network(stage), *offset, *length),
            Field::Transport { offset, length } => slice(&transport(stage), *offset, *length),
            // Frames have a state only where bridge netfilter, or a module of the bridge's own, tracks them.
            Field::State | Field::Status | Field::Direction if stage.layer == Layer::Frame => {
                vec![Byte::UNKNOWN; 4]
            }
            Field::State => known(self.state().to_ne_bytes()),
            Field::Status | Field::Direction if !self.is_tracked() => return Err(NoMatch),
            Field::Direction => known([u8::from(stage.answers)]),
            Field::Status => status(stage),
            // RTN_LOCAL and RTN_UNICAST.
            Field::TargetType if stage.target.is_multicast() => known(5u32.to_ne_bytes()),
            Field::TargetType => known(if stage.to_host { 2u32 } else { 1 }.to_ne_bytes()),
            Field::SourceType => known(if stage.from_host { 2u32 } else { 1 }.to_ne_bytes()),
            Field::ReversePath => known([u8::from(stage.reversed), 0, 0, 0]),
            Field::Constant(bytes) => known(bytes.iter().copied()),
            Field::Other { length, .. } => vec![Byte::UNKNOWN; *length],
        })
    }

    fn index(&self, link: Link) -> Vec<Byte> {
        let number = |name: &str| self.links.iter().find(|(_, link)| *link == name).map(|(index, _)| *index);
        match link {
            Link::Absent => known([0; 4]),
            Link::Unknown => vec![Byte::UNKNOWN; 4],
            Link::Named(link) => {
                number(link.as_str()).map_or(vec![Byte::UNKNOWN; 4], |n| known(n.to_ne_bytes()))
            }
        }
    }

    const fn is_tracked(&self) -> bool {
        self.is_past_tracking() && !self.stage.carried.is_untracked()
    }

    const fn is_past_tracking(&self) -> bool {
        self.priority > priority::CONNECTIONS || self.stage.again
    }

    /// Before connection tracking, a packet is of no connection, unless it was tracked on its way out.
    const fn state(&self) -> u32 {
        match self.stage.state {
            _ if !self.is_past_tracking() => ct::INVALID,
            _ if self.stage.carried.is_untracked() => ct::UNTRACKED,
            State::New => ct::NEW,
            State::Established => ct::ESTABLISHED,
            State::Related => ct::RELATED,
        }
    }
}

fn known(bytes: impl IntoIterator<Item = u8>) -> Vec<Byte> {
    bytes.into_iter().map(Byte::new).collect()
}

fn name(link: Link) -> Vec<Byte> {
    let mut bytes = match link {
        Link::Unknown => return vec![Byte::UNKNOWN; 16],
        Link::Absent => Vec::new(),
        Link::Named(name) => known(name.as_str().bytes()),
    };
    bytes.resize(16, Byte::new(0));
    bytes
}

/// Of the bits, those of translation are known.
fn status(stage: &Stage) -> Vec<Byte> {
    // What is translated says that this is decided as well: a connection never has one of these bits alone.
    let published = if stage.published { ct::PUBLISHED | ct::TARGET_DONE } else { 0 };
    let hidden = if stage.hidden { ct::HIDDEN | ct::SOURCE_DONE } else { 0 };
    let bits = published | hidden;
    let known = (ct::PUBLISHED | ct::HIDDEN | bits).to_ne_bytes();
    bits.to_ne_bytes().into_iter().zip(known).map(|(value, known)| Byte { value, known }).collect()
}

fn slice(bytes: &[Byte], offset: usize, length: usize) -> Vec<Byte> {
    (offset..offset.saturating_add(length)).map(|i| bytes.get(i).copied().unwrap_or(Byte::UNKNOWN)).collect()
}

/// The header of RFC 791 or RFC 8200, as far as it is known.
fn network(stage: &Stage) -> Vec<Byte> {
    let v6 = stage.is_v6();
    let (protocol, source, target, length) = if v6 { (6, 8, 24, 16) } else { (9, 12, 16, 4) };
    let mut header = vec![Byte::UNKNOWN; if v6 { 40 } else { 20 }];
    header[protocol] = Byte::new(stage.protocol());
    header[source..source + length].copy_from_slice(&address(stage.source, length));
    header[target..target + length].copy_from_slice(&address(Some(stage.target), length));
    header
}

fn address(address: Option<IpAddr>, length: usize) -> Vec<Byte> {
    match address {
        None => vec![Byte::UNKNOWN; length],
        Some(IpAddr::V4(address)) => known(address.octets()),
        Some(IpAddr::V6(address)) => known(address.octets()),
    }
}

/// The header of RFC 9293, RFC 768, RFC 792 or RFC 4443, as far as it is known.
fn transport(stage: &Stage) -> Vec<Byte> {
    match stage.carried {
        Carried::Ports { source, target, .. } => {
            let mut header = [port(source), port(target)].concat();
            if stage.protocol() == 6 {
                header.resize(13, Byte::UNKNOWN);
                header.push(flags(stage));
            }
            header
        }
        Carried::Echo { reply } => {
            let kind = match (stage.is_v6(), reply) {
                (false, false) => 8,
                (false, true) => 0,
                (true, false) => 128,
                (true, true) => 129,
            };
            known([kind, 0])
        }
        Carried::Neighbour { reply } => known([if reply { 136 } else { 135 }, 0]),
    }
}

/// A port that the sender's kernel chose is 32768 or greater: `net.ipv4.ip_local_port_range` as it is where
/// nobody wrote it.
fn port(port: Option<Port>) -> [Byte; 2] {
    let chosen = [Byte { value: 0x80, known: 0x80 }, Byte::UNKNOWN];
    port.map_or(chosen, |port| port.get().to_be_bytes().map(Byte::new))
}

/// The flags of TCP: the first packet has SYN and no other, what answers it SYN and ACK, all others have ACK.
const fn flags(stage: &Stage) -> Byte {
    match (stage.state, stage.answers) {
        (State::New, _) => Byte::new(0x02),
        (State::Established, true) => Byte::new(0x12),
        (State::Established | State::Related, _) => Byte { value: 0x10, known: 0x10 },
    }
}
