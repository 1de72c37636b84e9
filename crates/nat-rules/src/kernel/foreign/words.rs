//! The words of a rule, near to how nft prints it.

use super::set::Element;
use crate::netfilter::{Act, Field, Part, Range};
use ipnet::IpNet;
use linkspan_net_types::Protocol;
use std::net::IpAddr;

/// So many elements of a set without a name are written.
const ELEMENTS: usize = 6;

/// The words that were found so far.
pub(super) struct Words {
    words: Vec<String>,
    /// The address family that the packet was found to be of, and where that was said.
    family: Option<(u8, Option<usize>)>,
    protocol: Option<(u8, Option<usize>)>,
}

impl Words {
    /// Of a table of this family.
    pub(super) fn of(family: u8) -> Self {
        let family = Some(family).filter(|family| matches!(family, 2 | 10));
        Self { words: Vec::new(), family: family.map(|family| (family, None)), protocol: None }
    }

    pub(super) fn push(&mut self, words: &str) {
        self.words.push(words.to_owned());
    }

    pub(super) fn finish(self) -> String {
        let words: Vec<_> = self.words.into_iter().filter(|word| !word.is_empty()).collect();
        words.join(" ")
    }

    /// A comparison after which the family or the protocol is known.
    pub(super) fn implies(&mut self, part: &Part, how: u32, value: &[u8]) {
        let said = value.first().filter(|_| how == 0).map(|value| (*value, Some(self.words.len())));
        match part.field {
            Field::Family => self.family = said,
            Field::Protocol => self.protocol = said,
            _ => {}
        }
    }

    pub(super) fn comparison(&mut self, part: &Part, how: u32, value: &[u8]) -> String {
        let named = self.field(&part.field);
        let zero = value.iter().all(|byte| *byte == 0);
        match (&part.field, &part.mask) {
            (Field::State | Field::Status, Some(mask)) if how < 2 && zero => {
                format!("{named}{} {}", if how == 1 { "" } else { " !=" }, self.value(&part.field, mask))
            }
            (_, Some(mask)) => match (how, self.subnet(&part.field, value, mask)) {
                (0 | 1, Some(subnet)) => format!("{named}{} {subnet}", operator(how)),
                _ => format!(
                    "{named} & {} {} {}",
                    raw(&part.field, mask),
                    sign(how),
                    self.value(&part.field, value)
                ),
            },
            (_, None) => format!("{named}{} {}", operator(how), self.value(&part.field, value)),
        }
    }

    pub(super) fn range(&mut self, part: &Part, inverted: bool, (first, last): (&[u8], &[u8])) -> String {
        let named = self.field(&part.field);
        let (first, last) = (self.value(&part.field, first), self.value(&part.field, last));
        format!("{named}{} {first}-{last}", if inverted { " !=" } else { "" })
    }

    pub(super) fn set(
        &mut self,
        parts: &[Part],
        inverted: bool,
        name: Option<&str>,
        ranges: &[Range],
    ) -> String {
        let named = self.key(parts);
        let elements = || self.listed(ranges.iter().map(|range| self.element(parts, range)));
        let set = name.map_or_else(elements, |name| format!("@{name}"));
        format!("{named}{} {set}", if inverted { " !=" } else { "" })
    }

    pub(super) fn map(
        &mut self,
        parts: &[Part],
        name: Option<&str>,
        ranges: &[Range],
        elements: &[Element],
    ) -> String {
        let named = self.key(parts);
        let leads = |element: &Element| element.leads.as_ref().map_or_else(String::new, act);
        let pair = |(range, element)| format!("{} : {}", self.element(parts, range), leads(element));
        let listed = || self.listed(ranges.iter().zip(elements).map(pair));
        let map = name.map_or_else(listed, |name| format!("@{name}"));
        format!("{named} vmap {map}")
    }

    /// A translation by the map whose words came last.
    pub(super) fn translation(&mut self, word: &str, family: Option<u8>) {
        let map = self.words.pop().unwrap_or_default().replacen(" @", " map @", 1);
        let family = match family {
            Some(2) => " ip",
            Some(10) => " ip6",
            _ => "",
        };
        self.words.push(format!("{word}{family} to {map}"));
    }

    fn listed(&self, elements: impl Iterator<Item = String>) -> String {
        let mut listed: Vec<_> = elements.take(ELEMENTS + 1).collect();
        if listed.len() > ELEMENTS {
            listed[ELEMENTS] = "...".to_owned();
        }
        format!("{{ {} }}", listed.join(", "))
    }

    fn key(&mut self, parts: &[Part]) -> String {
        let named: Vec<_> = parts.iter().map(|part| self.field(&part.field)).collect();
        named.join(" . ")
    }

    fn element(&self, parts: &[Part], Range(range): &Range) -> String {
        let value = |(part, (first, last)): (&Part, &(Vec<u8>, Vec<u8>))| match first == last {
            true => self.value(&part.field, first),
            false => self.between(&part.field, first, last),
        };
        let values: Vec<_> = parts.iter().zip(range).map(value).collect();
        values.join(" . ")
    }

    fn between(&self, field: &Field, first: &[u8], last: &[u8]) -> String {
        let mask: Vec<u8> = first.iter().zip(last).map(|(a, b)| !(a ^ b)).collect();
        let written = || format!("{}-{}", self.value(field, first), self.value(field, last));
        let whole = |mask: &&Vec<u8>| first.iter().zip(*mask).all(|(byte, mask)| byte & !mask == 0);
        Some(&mask).filter(whole).and_then(|mask| self.subnet(field, first, mask)).unwrap_or_else(written)
    }

    /// What is looked at; what was said before only to make that possible is taken back.
    fn field(&mut self, field: &Field) -> String {
        match field {
            Field::Network { offset, length } => {
                let v6 = self.is_v6();
                let Some(name) = address_name(v6, *offset, *length) else {
                    return format!("@nh,{},{}", offset * 8, length * 8);
                };
                take_back(&mut self.words, &mut self.family);
                name.to_owned()
            }
            Field::Transport { offset: offset @ (0 | 2), length: 2 } => {
                take_back(&mut self.words, &mut self.protocol);
                let port = if *offset == 0 { "sport" } else { "dport" };
                match self.protocol.map(|(number, _)| protocol(number)) {
                    Some(name) => format!("{name} {port}"),
                    None => format!("th {port}"),
                }
            }
            Field::Transport { offset, length } => format!("@th,{},{}", offset * 8, length * 8),
            Field::In => "iifname".to_owned(),
            Field::Out => "oifname".to_owned(),
            Field::InIndex => "iif".to_owned(),
            Field::OutIndex => "oif".to_owned(),
            Field::Family => "meta nfproto".to_owned(),
            Field::EtherType => "meta protocol".to_owned(),
            Field::Protocol => "meta l4proto".to_owned(),
            Field::State => "ct state".to_owned(),
            Field::Status => "ct status".to_owned(),
            Field::Direction => "ct direction".to_owned(),
            Field::TargetType => "fib daddr type".to_owned(),
            Field::SourceType => "fib saddr type".to_owned(),
            Field::ReversePath => "fib saddr . iif oif".to_owned(),
            Field::Constant(bytes) => format!("0x{}", hex(bytes)),
            Field::Other { name, .. } => name.clone(),
        }
    }

    fn is_v6(&self) -> bool {
        self.family.is_some_and(|(family, _)| family == 10)
    }

    /// An address whose mask is the length of a prefix.
    fn subnet(&self, field: &Field, value: &[u8], mask: &[u8]) -> Option<String> {
        let Field::Network { offset, length } = field else { return None };
        address_name(self.is_v6(), *offset, *length)?;
        let mut whole = [0; 16];
        whole.get_mut(..mask.len())?.copy_from_slice(mask);
        let bits = u128::from_be_bytes(whole);
        let ones =
            u8::try_from(bits.leading_ones()).ok().filter(|ones| u32::from(*ones) == bits.count_ones())?;
        Some(IpNet::new(address(value, self.is_v6())?, ones).ok()?.to_string())
    }

    fn value(&self, field: &Field, value: &[u8]) -> String {
        let number = || value.first_chunk().map(|bytes| u32::from_ne_bytes(*bytes));
        let written = match field {
            Field::In | Field::Out => Some(name(value)),
            Field::InIndex | Field::OutIndex => number().map(|number| number.to_string()),
            Field::Family => value.first().map(|family| family_name(*family)),
            Field::Protocol => value.first().map(|number| protocol(*number)),
            Field::EtherType => match value {
                [0x08, 0x00] => Some("ip".to_owned()),
                [0x86, 0xdd] => Some("ip6".to_owned()),
                [0x08, 0x06] => Some("arp".to_owned()),
                _ => None,
            },
            Field::State => number().map(|bits| names(bits, &STATES)),
            Field::Status => number().map(|bits| names(bits, &STATUSES)),
            Field::TargetType | Field::SourceType => {
                let kind = number().and_then(|number| TYPES.get(usize::try_from(number).ok()?));
                kind.map(|kind| (*kind).to_owned())
            }
            Field::ReversePath => {
                Some(if value.first() == Some(&0) { "missing" } else { "exists" }.to_owned())
            }
            Field::Transport { offset: 0 | 2, length: 2 } => {
                value.first_chunk().map(|port| u16::from_be_bytes(*port).to_string())
            }
            Field::Network { offset, length } => address_name(self.is_v6(), *offset, *length)
                .and_then(|_| address(value, self.is_v6()))
                .map(|address| match (value.len(), address) {
                    (4, IpAddr::V4(_)) | (16, IpAddr::V6(_)) => address.to_string(),
                    (length, address) => format!("{address}/{}", length * 8),
                }),
            _ => None,
        };
        written.unwrap_or_else(|| raw(field, value))
    }
}

fn take_back(words: &mut [String], said: &mut Option<(u8, Option<usize>)>) {
    if let Some((_, at)) = said
        && let Some(word) = at.take().and_then(|at| words.get_mut(at))
    {
        word.clear();
    }
}

fn act(act: &Act) -> String {
    match act {
        Act::Accept => "accept".to_owned(),
        Act::Drop => "drop".to_owned(),
        Act::Return => "return".to_owned(),
        Act::Continue => "continue".to_owned(),
        Act::Jump(chain) => format!("jump {chain}"),
        Act::Goto(chain) => format!("goto {chain}"),
        _ => "queue".to_owned(),
    }
}

/// The source or target address at this offset, or the beginning of one.
const fn address_name(v6: bool, offset: usize, length: usize) -> Option<&'static str> {
    match (v6, offset, length) {
        (false, 12, 1..=4) => Some("ip saddr"),
        (false, 16, 1..=4) => Some("ip daddr"),
        (true, 8, 1..=16) => Some("ip6 saddr"),
        (true, 24, 1..=16) => Some("ip6 daddr"),
        _ => None,
    }
}

/// An address of which these are the first bytes.
fn address(value: &[u8], v6: bool) -> Option<IpAddr> {
    let mut bytes = value.to_vec();
    bytes.resize(if v6 { 16 } else { 4 }, 0);
    match v6 {
        true => bytes.first_chunk::<16>().map(|bytes| IpAddr::from(*bytes)),
        false => bytes.first_chunk::<4>().map(|bytes| IpAddr::from(*bytes)),
    }
}

/// The name of a link, or its beginning.
fn name(value: &[u8]) -> String {
    let whole = value.len() == 16 || value.contains(&0);
    let name = value.split(|byte| *byte == 0).next().unwrap_or_default();
    format!("\"{}{}\"", String::from_utf8_lossy(name), if whole { "" } else { "*" })
}

fn family_name(number: u8) -> String {
    match number {
        2 => "ipv4".to_owned(),
        10 => "ipv6".to_owned(),
        number => number.to_string(),
    }
}

fn protocol(number: u8) -> String {
    let ported = || Protocol::ALL.into_iter().find(|protocol| protocol.number() == number);
    match number {
        1 => "icmp".to_owned(),
        58 => "ipv6-icmp".to_owned(),
        number => ported().map_or_else(|| number.to_string(), |protocol| protocol.to_string()),
    }
}

const STATES: [(u32, &str); 5] =
    [(1, "invalid"), (2, "established"), (4, "related"), (8, "new"), (64, "untracked")];
const STATUSES: [(u32, &str); 7] = [
    (1, "expected"),
    (2, "seen-reply"),
    (4, "assured"),
    (8, "confirmed"),
    (16, "snat"),
    (32, "dnat"),
    (512, "dying"),
];
/// `RTN_*` of `linux/rtnetlink.h`.
const TYPES: [&str; 9] = [
    "unspec",
    "unicast",
    "local",
    "broadcast",
    "anycast",
    "multicast",
    "blackhole",
    "unreachable",
    "prohibit",
];

fn names(bits: u32, names: &[(u32, &str)]) -> String {
    let set: Vec<_> = names.iter().filter(|(bit, _)| bits & bit != 0).map(|(_, name)| *name).collect();
    set.join(",")
}

const fn operator(how: u32) -> &'static str {
    match how {
        0 => "",
        1 => " !=",
        2 => " <",
        3 => " <=",
        4 => " >",
        _ => " >=",
    }
}

const fn sign(how: u32) -> &'static str {
    match how {
        0 => "==",
        1 => "!=",
        2 => "<",
        3 => "<=",
        4 => ">",
        _ => ">=",
    }
}

/// Marks and the like are numbers in the host's order, and not bytes of the packet.
fn raw(field: &Field, value: &[u8]) -> String {
    let of_host =
        matches!(field, Field::Other { name, .. } if name.starts_with("meta ") || name.starts_with("ct "));
    match value.first_chunk().filter(|_| of_host && value.len() == 4) {
        Some(number) => format!("0x{:08x}", u32::from_ne_bytes(*number)),
        None => format!("0x{}", hex(value)),
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// `NFT_META_*` that are not judged.
pub(super) const fn meta(key: u32) -> &'static str {
    match key {
        0 => "meta length",
        2 => "meta priority",
        3 => "meta mark",
        8 => "iiftype",
        9 => "oiftype",
        10 => "meta skuid",
        11 => "meta skgid",
        17 => "ibrname",
        18 => "obrname",
        19 => "meta pkttype",
        20 => "meta cpu",
        21 => "iifgroup",
        22 => "oifgroup",
        23 => "meta cgroup",
        26 => "iifkind",
        27 => "oifkind",
        _ => "meta",
    }
}

/// `NFT_CT_*` that are not judged.
pub(super) const fn connection(key: u32) -> &'static str {
    match key {
        3 => "ct mark",
        5 => "ct expiration",
        6 => "ct helper",
        8 => "ct saddr",
        9 => "ct daddr",
        10 => "ct protocol",
        11 => "ct proto-src",
        12 => "ct proto-dst",
        13 => "ct label",
        _ => "ct",
    }
}
