//! The expressions of a rule, read back into what they test and do. Registers hold what was loaded last.

use super::set::{Element, Set, Sets};
use super::words::{self, Words};
use crate::netfilter::{Act, Decision, Field, Nat, Part, Range, Rule, Test};
use linkspan_net_types::Port;
use linkspan_netlink::{Attribute, Attributes};
use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// `NFTA_EXPR_NAME`, `_DATA`; `NFTA_DATA_VALUE`, `_VERDICT`; `NFTA_VERDICT_CODE`, `_CHAIN`.
const NAME: u16 = 1;
const DATA: u16 = 2;
const VALUE: u16 = 1;
const VERDICT: u16 = 2;
const CODE: u16 = 1;
const CHAIN: u16 = 2;
/// A value is at most `NFT_DATA_VALUE_MAXLEN` bytes long, and there are sixteen registers of four.
const LONGEST: u32 = 64;
const REGISTERS: u32 = 16;
/// `NFPROTO_IPV4`, `NFPROTO_IPV6`.
const IPV4: u8 = 2;
const IPV6: u8 = 10;

/// What a register holds, and how many bytes of it.
#[derive(Clone, Debug)]
struct Loaded {
    part: Part,
    length: usize,
}

/// What a map made of a key, in the registers from this word on.
struct Mapped<'a> {
    at: u32,
    set: &'a Set,
    key: Vec<Part>,
    ranges: Vec<Range>,
}

impl Mapped<'_> {
    /// The bytes of an element's value that lie in the registers from this one on, to their end.
    fn value<'b>(&self, element: &'b Element, register: Option<u32>) -> Option<&'b [u8]> {
        let from = place(register?)?.checked_sub(self.at)?;
        element.value.as_ref()?.get(usize::try_from(from).ok()? * 4..)
    }
}

/// Reads one rule.
pub(super) struct Reader<'a> {
    family: u8,
    table: &'a str,
    sets: &'a Sets,
    registers: BTreeMap<u32, Loaded>,
    mapped: Option<Mapped<'a>>,
    tests: Vec<Test>,
    act: Act,
    words: Words,
}

/// The act and the words of a verdict.
pub(super) fn verdict(data: &Attributes<'_>) -> Option<(Act, String)> {
    let verdict = data.get(VERDICT)?.nested();
    let chain = || verdict.get(CHAIN).and_then(|chain| chain.text()).unwrap_or_default().to_owned();
    // NF_DROP, NF_ACCEPT; NFT_CONTINUE and NFT_BREAK, NFT_JUMP, NFT_GOTO, NFT_RETURN.
    Some(match verdict.get(CODE)?.be32()?.cast_signed() {
        0 => (Act::Drop, "drop".to_owned()),
        1 => (Act::Accept, "accept".to_owned()),
        -1 | -2 => (Act::Continue, "continue".to_owned()),
        -3 => (Act::Jump(chain()), format!("jump {}", chain())),
        -4 => (Act::Goto(chain()), format!("goto {}", chain())),
        -5 => (Act::Return, "return".to_owned()),
        _ => (Act::Unknown, "queue".to_owned()),
    })
}

impl<'a> Reader<'a> {
    pub(super) fn new(family: u8, table: &'a str, sets: &'a Sets) -> Self {
        let (registers, tests) = (BTreeMap::new(), Vec::new());
        let (mapped, act, words) = (None, Act::Continue, Words::of(family));
        Self { family, table, sets, registers, mapped, tests, act, words }
    }

    pub(super) fn read<'b>(mut self, expressions: impl Iterator<Item = Attribute<'b>>) -> Rule {
        for expression in expressions {
            let expression = expression.nested();
            let name = expression.get(NAME).and_then(|name| name.text()).unwrap_or_default();
            let data = expression.get(DATA).map_or(Attributes::new(&[]), |data| data.nested());
            if self.expression(name, &data).is_none() {
                self.doubt(&format!("[{name}]"));
            }
        }
        Rule { text: self.words.finish(), tests: self.tests, act: self.act }
    }

    /// `None` where it is not understood.
    fn expression(&mut self, name: &str, data: &Attributes<'_>) -> Option<()> {
        let number = |kind| data.get(kind).and_then(|number| number.be32());
        match name {
            "immediate" => self.immediate(data)?,
            "meta" => match (number(1), number(3)) {
                (Some(to), None) => self.load(to, meta(number(2)?))?,
                _ => self.words.push("meta set"),
            },
            "ct" => match (number(1), number(4)) {
                (Some(to), None) => self.load(to, connection(number(2)?, data.get(3).is_some()))?,
                _ => self.words.push("ct set"),
            },
            "payload" => self.payload(data)?,
            "exthdr" => match number(1) {
                Some(to) => {
                    let length = usize::try_from(number(4)?).ok()?;
                    self.load(to, (other("exthdr", length), length))?;
                }
                None => self.words.push("exthdr set"),
            },
            "fib" => self.load(number(1)?, fib(number(2)?, number(3)?))?,
            "bitwise" => self.mask(data)?,
            "cmp" => self.compare(number(1)?, number(2)?, data)?,
            "range" => self.range(number(1)?, number(2)? == 0, data)?,
            "lookup" => self.look_up(data)?,
            "counter" | "last" => {}
            "log" => self.words.push("log"),
            "dup" => self.words.push("dup"),
            // A set that a packet adds to may be full, and may hold a limit.
            "dynset" if data.get(7).is_none() && data.get(10).is_none() => self.words.push("update"),
            "reject" => self.decide(Act::Drop, "reject"),
            "notrack" => self.decide(Act::Unknown, "notrack"),
            "masq" => self.decide(Act::Nat(Nat::Masquerade), "masquerade"),
            "redir" => self.decide(Act::Nat(Nat::Target(None)), "redirect"),
            "nat" => self.translate(data)?,
            "queue" | "fwd" | "tproxy" | "synproxy" => self.decide(Act::Unknown, name),
            // Counters, helpers, timeouts, marks and expectations let every packet pass.
            "objref" if matches!(number(1), Some(1 | 3 | 7 | 8 | 9)) => {}
            "match" => self.doubt(&format!("xt match {}", data.get(NAME)?.text()?)),
            "target" => self.target(data.get(NAME)?.text()?),
            _ => return None,
        }
        Some(())
    }

    fn decide(&mut self, act: Act, words: &str) {
        if self.act != Act::Unknown {
            self.act = act;
        }
        self.words.push(words);
    }

    /// Something was tested that is not known, or loaded.
    fn doubt(&mut self, words: &str) {
        self.registers.clear();
        self.test(Test::Unknown, words);
    }

    fn test(&mut self, test: Test, words: &str) {
        self.tests.push(test);
        self.words.push(words);
    }

    /// A target of iptables that nftables cannot say.
    fn target(&mut self, name: &str) {
        let act = match name {
            "REJECT" => Act::Drop,
            "LOG" | "NFLOG" | "MARK" | "CONNMARK" | "TCPMSS" | "CHECKSUM" | "SET" => Act::Continue,
            "MASQUERADE" => Act::Nat(Nat::Masquerade),
            "SNAT" => Act::Nat(Nat::Source(None)),
            "DNAT" | "REDIRECT" | "NETMAP" => Act::Nat(Nat::Target(None)),
            _ => Act::Unknown,
        };
        self.decide(act, &format!("xt target {name}"));
    }

    fn immediate(&mut self, data: &Attributes<'_>) -> Option<()> {
        let (to, data) = (data.get(1)?.be32()?, data.get(2)?.nested());
        if let Some((act, words)) = verdict(&data) {
            self.decide(act, &words);
            return Some(());
        }
        let value = data.get(VALUE)?.payload();
        self.load(to, (Field::Constant(value.to_vec()), value.len()))
    }

    fn load(&mut self, to: u32, (field, length): (Field, usize)) -> Option<()> {
        let place = place(to)?;
        let behind = place + u32::try_from(length).ok()?.div_ceil(4);
        self.registers.retain(|at, _| !(place..behind).contains(at));
        self.mapped = self.mapped.take().filter(|mapped| !(place..behind).contains(&mapped.at));
        self.registers.insert(place, Loaded { part: Part::of(field), length });
        Some(())
    }

    /// NFTA_PAYLOAD_DREG, _BASE, _OFFSET, _LEN, _SREG.
    fn payload(&mut self, data: &Attributes<'_>) -> Option<()> {
        let number = |kind| data.get(kind).and_then(|number| number.be32());
        let offset = usize::try_from(number(3)?).ok()?;
        let length = usize::try_from(number(4).filter(|n| *n <= LONGEST)?).ok()?;
        // NFT_PAYLOAD_LL_HEADER, _NETWORK_HEADER, _TRANSPORT_HEADER.
        let field = match number(2)? {
            0 if (offset, length) == (12, 2) => Field::EtherType,
            1 => Field::Network { offset, length },
            2 => Field::Transport { offset, length },
            _ => other("ether", length),
        };
        match (number(1), field) {
            (Some(to), field) => self.load(to, (field, length))?,
            // Addresses and ports lie there; what is before them leads nowhere else.
            (None, Field::Network { offset: ..8, .. }) => self.words.push("payload set"),
            (None, _) => self.decide(Act::Unknown, "payload set"),
        }
        Some(())
    }

    /// NFTA_BITWISE_SREG, _DREG, _LEN, _MASK, _XOR, _OP.
    fn mask(&mut self, data: &Attributes<'_>) -> Option<()> {
        let value = |kind| Some(data.get(kind)?.nested().get(VALUE)?.payload().to_vec());
        let (from, to) = (place(data.get(1)?.be32()?)?, data.get(2)?.be32()?);
        let (mask, flip): (Vec<u8>, Vec<u8>) = (value(4)?, value(5)?);
        let shifts = data.get(6).and_then(|op| op.be32()).unwrap_or(0) != 0;
        let loaded = self.registers.get(&from).cloned()?;
        if shifts || flip.iter().any(|byte| *byte != 0) || mask.len() != loaded.length {
            self.registers.clear();
            let length = loaded.length;
            return self.load(to, (other("bitwise", length), length));
        }
        self.load(to, (loaded.part.field, loaded.length))?;
        let both = |before: Vec<u8>| before.iter().zip(&mask).map(|(a, b)| a & b).collect();
        let mask = loaded.part.mask.map_or(mask.clone(), both);
        self.registers.get_mut(&place(to)?)?.part.mask = Some(mask);
        Some(())
    }

    /// The parts that lie in the registers from this one on, as many as have this length together.
    fn parts(&self, from: u32, length: usize) -> Option<Vec<Loaded>> {
        let (mut at, mut parts, mut covered) = (place(from)?, Vec::new(), 0);
        while covered < length {
            let loaded = self.registers.get(&at)?;
            let words = u32::try_from(loaded.length).ok()?.div_ceil(4).max(1);
            at = Some(at + words).filter(|at| *at <= REGISTERS)?;
            covered += loaded.length.next_multiple_of(4).max(4);
            parts.push(loaded.clone());
        }
        Some(parts)
    }

    fn one(&self, from: u32) -> Option<Loaded> {
        self.registers.get(&place(from)?).cloned()
    }

    /// NFTA_CMP_SREG, _OP, _DATA.
    fn compare(&mut self, from: u32, how: u32, data: &Attributes<'_>) -> Option<()> {
        let value = data.get(3)?.nested().get(VALUE)?.payload().to_vec();
        let Loaded { part, .. } = self.one(from).filter(|loaded| value.len() <= loaded.length)?;
        let (least, most) = (vec![0; value.len()], vec![u8::MAX; value.len()]);
        let ordered = part.field.is_ordered();
        // NFT_CMP_EQ, _NEQ, _LT, _LTE, _GT, _GTE.
        let (range, inverted) = match how {
            0 | 1 => (Range::exactly(value.clone()), how == 1),
            2 | 5 if ordered => (Range::between(value.clone(), most), how == 2),
            3 | 4 if ordered => (Range::between(least, value.clone()), how == 4),
            _ => return None,
        };
        let words = self.words.comparison(&part, how, &value);
        self.words.implies(&part, how, &value);
        self.test(Test::Is { parts: vec![part], ranges: vec![range], inverted }, &words);
        Some(())
    }

    /// NFTA_RANGE_SREG, _OP, _FROM_DATA, _TO_DATA.
    fn range(&mut self, from: u32, inside: bool, data: &Attributes<'_>) -> Option<()> {
        let value = |kind| Some(data.get(kind)?.nested().get(VALUE)?.payload().to_vec());
        let (first, last): (Vec<u8>, Vec<u8>) = (value(3)?, value(4)?);
        let Loaded { part, .. } = self.one(from).filter(|loaded| loaded.part.field.is_ordered())?;
        let words = self.words.range(&part, !inside, (&first, &last));
        let ranges = vec![Range::between(first, last)];
        self.test(Test::Is { parts: vec![part], ranges, inverted: !inside }, &words);
        Some(())
    }

    /// NFTA_LOOKUP_SET, _SREG, _DREG, _FLAGS.
    fn look_up(&mut self, data: &Attributes<'_>) -> Option<()> {
        let name = data.get(1)?.text()?;
        let (from, to) = (data.get(2)?.be32()?, data.get(3).and_then(|to| to.be32()));
        let inverted = data.get(5).and_then(|flags| flags.be32()).unwrap_or(0) & 1 != 0;
        let set = self.sets.get(self.family, self.table, name)?;
        let loaded = self.parts(from, set.key_length)?;
        let lengths: Vec<_> = loaded.iter().map(|loaded| loaded.length).collect();
        let parts: Vec<_> = loaded.into_iter().map(|loaded| loaded.part).collect();
        let ranges: Vec<_> = set.elements.iter().map(|element| element.range(&lengths)).collect();
        let named = if set.anonymous { None } else { Some(name) };
        match to {
            None => {
                let words = self.words.set(&parts, inverted, named, &ranges);
                let all = set.otherwise.is_some();
                let test = Test::Is { parts, ranges, inverted };
                self.test(if all { Test::Unknown } else { test }, &words);
            }
            Some(0) => {
                let words = self.words.map(&parts, named, &ranges, &set.elements);
                self.decide(Act::Decide(decision(set, parts, ranges)), &words);
            }
            Some(to) => {
                let words = self.words.set(&parts, false, named, &ranges);
                let test = Test::Is { parts, ranges, inverted: false };
                let key = test.clone();
                self.test(if set.otherwise.is_some() { Test::Unknown } else { test }, &words);
                self.registers.clear();
                self.load(to, (other("map", 4), 4))?;
                if let (Test::Is { parts: key, ranges, .. }, None) = (key, &set.otherwise) {
                    self.mapped = Some(Mapped { at: place(to)?, set, key, ranges });
                }
            }
        }
        Some(())
    }

    /// NFTA_NAT_TYPE, _FAMILY, _REG_ADDR_MIN, _REG_ADDR_MAX, _REG_PROTO_MIN.
    fn translate(&mut self, data: &Attributes<'_>) -> Option<()> {
        let number = |kind| data.get(kind).and_then(|number| number.be32());
        // In a table of both families it passes over packets of the other one.
        let family =
            number(2).and_then(|family| u8::try_from(family).ok()).filter(|f| [IPV4, IPV6].contains(f));
        if let Some(family) = family {
            self.tests.push(Test::of(Field::Family, vec![Range::exactly([family])]));
        }
        let single = |(first, last): (u16, u16)| number(last).is_none() || number(first) == number(last);
        if let Some(mapped) = self.mapped.take().filter(|_| [(3, 4), (5, 6)].into_iter().all(single)) {
            return self.translate_by(&mapped, family, (number(1)?, number(3), number(5)));
        }
        let constant = |kind| match self.one(number(kind)?)?.part.field {
            Field::Constant(bytes) => Some(bytes),
            _ => None,
        };
        let ranges = matches!((number(3), number(4)), (Some(first), Some(last)) if first != last);
        let address = constant(3).filter(|_| !ranges).and_then(|bytes| address(&bytes));
        let port = constant(5).and_then(|bytes| Port::new(u16::from_be_bytes(*bytes.first_chunk()?)));
        let untold = number(5).is_some() && port.is_none();
        // NFT_NAT_SNAT is 0.
        let (nat, word) = match number(1)? {
            0 => (Nat::Source(address), "snat"),
            _ => (Nat::Target(address.map(|address| (address, port)).filter(|_| !untold)), "dnat"),
        };
        let to = address.map_or(String::new(), |address| format!(" to {address}"));
        let port = port.map_or(String::new(), |port| format!(" port {port}"));
        self.decide(Act::Nat(nat), &format!("{word}{to}{port}"));
        Some(())
    }

    /// By a map: each element is a translation of its own.
    fn translate_by(
        &mut self,
        mapped: &Mapped<'_>,
        family: Option<u8>,
        (kind, address_in, port_in): (u32, Option<u32>, Option<u32>),
    ) -> Option<()> {
        let length = if family.unwrap_or(self.family) == IPV6 { 16 } else { 4 };
        let act = |element: &Element| {
            let to = mapped.value(element, address_in).and_then(|bytes| address(bytes.get(..length)?));
            let port = mapped.value(element, port_in).and_then(|bytes| bytes.first_chunk());
            let port = port.and_then(|bytes| Port::new(u16::from_be_bytes(*bytes)));
            let untold = port_in.is_some() && port.is_none();
            // NFT_NAT_SNAT is 0.
            Act::Nat(match kind {
                0 => Nat::Source(to),
                _ => Nat::Target(to.map(|to| (to, port)).filter(|_| !untold)),
            })
        };
        let acts = mapped.set.elements.iter().map(act).collect();
        let (key, ranges) = (mapped.key.clone(), mapped.ranges.clone());
        if self.act != Act::Unknown {
            self.act = Act::Decide(Decision { key, ranges, acts, otherwise: None });
        }
        self.words.translation(if kind == 0 { "snat" } else { "dnat" }, family);
        Some(())
    }
}

fn decision(set: &Set, key: Vec<Part>, ranges: Vec<Range>) -> Decision {
    let act = |leads: &Option<Act>| leads.clone().unwrap_or(Act::Unknown);
    let acts = set.elements.iter().map(|Element { leads, .. }| act(leads)).collect();
    Decision { key, ranges, acts, otherwise: set.otherwise.as_ref().map(|leads| Box::new(act(leads))) }
}

/// The first word of a register: `NFT_REG_1` to `NFT_REG_4` are of 16 bytes, `NFT_REG32_00` to `_15` of 4.
const fn place(register: u32) -> Option<u32> {
    match register {
        1..=4 => Some((register - 1) * 4),
        8..=23 => Some(register - 8),
        _ => None,
    }
}

fn other(name: &str, length: usize) -> Field {
    Field::Other { name: name.to_owned(), length }
}

/// `NFT_META_*`, with the length of each.
fn meta(key: u32) -> (Field, usize) {
    match key {
        1 => (Field::EtherType, 2),
        4 => (Field::InIndex, 4),
        5 => (Field::OutIndex, 4),
        6 => (Field::In, 16),
        7 => (Field::Out, 16),
        15 => (Field::Family, 1),
        16 => (Field::Protocol, 1),
        key => {
            let length = if matches!(key, 17 | 18 | 26 | 27) { 16 } else { 4 };
            (other(words::meta(key), length), length)
        }
    }
}

/// `NFT_CT_*`, with the length of each; what is of one direction is not known.
fn connection(key: u32, directed: bool) -> (Field, usize) {
    match key {
        0 => (Field::State, 4),
        1 => (Field::Direction, 1),
        2 => (Field::Status, 4),
        _ => {
            let length = if directed || key == 8 || key == 9 || key == 13 { 16 } else { 4 };
            (other(words::connection(key), length), length)
        }
    }
}

/// `NFT_FIB_RESULT_*` and `NFTA_FIB_F_*`.
fn fib(result: u32, flags: u32) -> (Field, usize) {
    const SOURCE: u32 = 1;
    const TARGET: u32 = 2;
    const MARK: u32 = 4;
    const IN: u32 = 8;
    const PRESENT: u32 = 32;
    match (result, flags) {
        (3, TARGET) => (Field::TargetType, 4),
        (3, SOURCE) => (Field::SourceType, 4),
        // The way back to the source; nothing is known of marks, and hosts that route by them are few.
        (1, flags) if flags & !MARK == SOURCE | IN | PRESENT => (Field::ReversePath, 4),
        _ => (other("fib", 4), 4),
    }
}

fn address(bytes: &[u8]) -> Option<IpAddr> {
    match bytes.len() {
        4 => Some(Ipv4Addr::from(*bytes.first_chunk::<4>()?).into()),
        16 => Some(Ipv6Addr::from(*bytes.first_chunk::<16>()?).into()),
        _ => None,
    }
}
