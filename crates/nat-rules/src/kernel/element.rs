//! Elements of sets and maps as the kernel takes and gives them.

use super::{HEADER, LIST_ELEM, inet};
use crate::nftables::layout::{Leads, Type};
use crate::nftables::text::Named;
use crate::nftables::{Cell, Chain, Element, Set, Slot, Value};
use crate::{Destination, Instance};
use ipnet::IpNet;
use linkspan_net_types::{IfName, Port, Protocol};
use linkspan_netlink::{Attributes, Body, Reply};
use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// `NFTA_SET_ELEM_LIST_TABLE`, `_SET`, `_ELEMENTS`.
const TABLE: u16 = 1;
const SET: u16 = 2;
const ELEMENTS: u16 = 3;
/// `NFTA_SET_ELEM_KEY`, `_DATA`, `_FLAGS`, `_KEY_END`.
const KEY: u16 = 1;
const DATA: u16 = 2;
const FLAGS: u16 = 3;
const KEY_END: u16 = 10;
/// `NFT_SET_ELEM_INTERVAL_END`.
const INTERVAL_END: u32 = 1;
/// `NFTA_DATA_VALUE`, `NFTA_DATA_VERDICT`; `NFTA_VERDICT_CODE`, `_CHAIN`.
const VALUE: u16 = 1;
const VERDICT: u16 = 2;
const CODE: u16 = 1;
const CHAIN: u16 = 2;

/// `NF_ACCEPT` of `linux/netfilter.h` and `NFT_GOTO`.
const ACCEPT: i32 = 1;
const GOTO: i32 = -4;

/// The code of a verdict as it travels.
pub(super) const fn verdict_of(code: i32) -> u32 {
    code.cast_unsigned()
}

/// Writes a verdict, of the rule or of an element.
pub(super) fn verdict(body: &mut Body<'_>, code: u32, chain: Option<&str>) {
    body.nest(VERDICT, |body| {
        body.be32(CODE, code);
        if let Some(chain) = chain {
            body.text(CHAIN, chain);
        }
    });
}

/// Names the set that a message is about.
pub(super) fn of_set(body: &mut Body<'_>, instance: Instance, set: Set) {
    inet(body);
    body.text(TABLE, instance.as_str());
    body.text(SET, set.as_str());
}

/// Writes elements of one set.
pub(super) fn write<'a>(
    body: &mut Body<'_>,
    instance: Instance,
    set: Set,
    elements: impl Iterator<Item = &'a Element>,
) {
    of_set(body, instance, set);
    body.nest(ELEMENTS, |body| elements.for_each(|element| write_one(body, element, instance)));
}

/// Writes the question for one place of a set.
pub(super) fn ask(body: &mut Body<'_>, instance: Instance, slot: &Slot) {
    let ends_apart = slot.set.shape().interval && slot.key.len() == 1;
    of_set(body, instance, slot.set);
    body.nest(ELEMENTS, |body| {
        body.nest(LIST_ELEM, |body| value(body, KEY, &bytes(&slot.key, Edge::First)));
        // The first value behind may begin another interval, which the kernel would name instead; from the
        // last value within, it finds the end.
        if ends_apart && slot.key.first().and_then(behind).is_some() {
            body.nest(LIST_ELEM, |body| {
                body.be32(FLAGS, INTERVAL_END);
                value(body, KEY, &bytes(&slot.key, Edge::Last));
            });
        }
    });
}

/// The elements in answers about several sets.
pub(super) fn read_all(replies: Vec<Reply>) -> Vec<(Slot, Value)> {
    let mut answers: BTreeMap<Set, Vec<Reply>> = BTreeMap::new();
    for reply in replies {
        let name = reply.attributes(HEADER).get(SET).and_then(|name| name.text()).unwrap_or_default();
        if let Some(set) = Set::ALL.into_iter().find(|set| set.as_str() == name) {
            answers.entry(set).or_default().push(reply);
        }
    }
    answers.iter().flat_map(|(set, replies)| read(*set, replies)).collect()
}

fn write_one(body: &mut Body<'_>, element: &Element, instance: Instance) {
    let Slot { set, key } = &element.slot;
    let interval = set.shape().interval;
    // A key of several parts has its last value beside it; of one part, the end is an element of its own,
    // and it is the first value behind.
    let beside = interval && key.len() > 1;
    body.nest(LIST_ELEM, |body| {
        value(body, KEY, &bytes(key, Edge::First));
        if beside {
            value(body, KEY_END, &bytes(key, Edge::Last));
        }
        write_value(body, element.value, instance);
    });
    if let Some(end) = key.first().filter(|_| interval && !beside).and_then(behind) {
        body.nest(LIST_ELEM, |body| {
            body.be32(FLAGS, INTERVAL_END);
            value(body, KEY, &end);
        });
    }
}

fn write_value(body: &mut Body<'_>, leads: Value, instance: Instance) {
    match leads {
        Value::Member => {}
        Value::Accept => body.nest(DATA, |body| verdict(body, verdict_of(ACCEPT), None)),
        Value::Goto(chain) => {
            let name = Named { chain, instance }.to_string();
            body.nest(DATA, |body| verdict(body, verdict_of(GOTO), Some(&name)));
        }
        Value::Address(address) => value(body, DATA, &octets(address)),
        Value::To(to) => {
            let key = [Cell::Address(to.address()), Cell::Port(to.port())];
            value(body, DATA, &bytes(&key, Edge::First));
        }
    }
}

fn value(body: &mut Body<'_>, kind: u16, bytes: &[u8]) {
    body.nest(kind, |body| body.attr(VALUE, bytes));
}

#[derive(Clone, Copy)]
enum Edge {
    First,
    Last,
}

/// The parts of a key, each padded to four bytes.
fn bytes(key: &[Cell], edge: Edge) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(36);
    for cell in key {
        match (*cell, edge) {
            (Cell::Link(name), _) => {
                bytes.extend_from_slice(name.as_str().as_bytes());
                bytes.resize(bytes.len() + 16 - name.as_str().len(), 0);
            }
            (Cell::Address(address), _) => bytes.extend(octets(address)),
            (Cell::Subnet(subnet), Edge::First) => bytes.extend(octets(subnet.network())),
            (Cell::Subnet(subnet), Edge::Last) => bytes.extend(octets(subnet.broadcast())),
            (Cell::Protocol(protocol), _) => bytes.extend([protocol.number(), 0, 0, 0]),
            (Cell::Port(port), _) => bytes.extend([port.get().to_be_bytes(), [0; 2]].concat()),
        }
    }
    bytes
}

pub(super) fn octets(address: IpAddr) -> Vec<u8> {
    match address {
        IpAddr::V4(address) => address.octets().to_vec(),
        IpAddr::V6(address) => address.octets().to_vec(),
    }
}

/// The first address behind a subnet; `None` where the subnet ends with the last address of its family.
fn behind(cell: &Cell) -> Option<Vec<u8>> {
    let Cell::Subnet(subnet) = cell else { return None };
    match subnet.broadcast() {
        IpAddr::V4(last) => last.to_bits().checked_add(1).map(|bits| bits.to_be_bytes().to_vec()),
        IpAddr::V6(last) => last.to_bits().checked_add(1).map(|bits| bits.to_be_bytes().to_vec()),
    }
}

/// The elements of a set in the replies of the kernel; what no element of ours looks like is passed over.
pub(super) fn read(set: Set, replies: &[Reply]) -> Vec<(Slot, Value)> {
    let lists = replies.iter().filter_map(|reply| reply.attributes(HEADER).get(ELEMENTS));
    let mut raw: Vec<_> =
        lists.flat_map(|list| list.nested()).filter_map(|e| Raw::read(&e.nested())).collect();
    if set.shape().interval && set.shape().key.len() == 1 {
        raw.sort_by(|a, b| (&a.key, !a.end).cmp(&(&b.key, !b.end)));
        raw = join(raw);
    }
    raw.iter().filter_map(|raw| Some((Slot { set, key: raw.key(set)? }, raw.value(set)?))).collect()
}

/// Puts beside each start of an interval the last value that is in it.
fn join(sorted: Vec<Raw<'_>>) -> Vec<Raw<'_>> {
    let mut joined: Vec<Raw<'_>> = Vec::new();
    for raw in sorted {
        match joined.last_mut() {
            Some(open) if raw.end && open.last.is_none() => open.last = before(&raw.key),
            _ if raw.end => {}
            _ => joined.push(raw),
        }
    }
    for open in joined.iter_mut().filter(|raw| raw.last.is_none()) {
        open.last = Some(vec![0xff; open.key.len()]);
    }
    joined
}

/// The value before this one.
fn before(key: &[u8]) -> Option<Vec<u8>> {
    match key.len() {
        4 => Some(u32::from_be_bytes(key.try_into().ok()?).checked_sub(1)?.to_be_bytes().to_vec()),
        16 => Some(u128::from_be_bytes(key.try_into().ok()?).checked_sub(1)?.to_be_bytes().to_vec()),
        _ => None,
    }
}

/// An element as the kernel gives it.
struct Raw<'a> {
    key: Vec<u8>,
    last: Option<Vec<u8>>,
    end: bool,
    data: Option<Attributes<'a>>,
}

impl<'a> Raw<'a> {
    fn read(element: &Attributes<'a>) -> Option<Self> {
        let value = |kind| Some(element.get(kind)?.nested().get(VALUE)?.payload().to_vec());
        let flags = element.get(FLAGS).and_then(|flags| flags.be32()).unwrap_or(0);
        Some(Self {
            key: value(KEY)?,
            last: value(KEY_END),
            end: flags & INTERVAL_END != 0,
            data: element.get(DATA).map(|data| data.nested()),
        })
    }

    fn key(&self, set: Set) -> Option<Vec<Cell>> {
        let shape = set.shape();
        let mut cells = cells(shape.key, &self.key)?;
        if let Some(Cell::Address(first)) = cells.first().copied().filter(|_| shape.interval) {
            let last = self::cells(shape.key, self.last.as_deref()?)?;
            let Some(Cell::Address(last)) = last.first().copied() else { return None };
            cells[0] = Cell::Subnet(subnet(first, last)?);
        }
        Some(cells)
    }

    fn value(&self, set: Set) -> Option<Value> {
        match set.shape().leads {
            None => Some(Value::Member),
            Some(Leads::Verdict) => {
                let verdict = self.data.as_ref()?.get(VERDICT)?.nested();
                let code = verdict.get(CODE)?.be32()?;
                let chain = verdict.get(CHAIN).and_then(|chain| chain.text());
                match chain {
                    None => (code == verdict_of(ACCEPT)).then_some(Value::Accept),
                    Some(name) if code == verdict_of(GOTO) => {
                        Chain::ALL.into_iter().find(|chain| chain.fixed_name() == name).map(Value::Goto)
                    }
                    Some(_) => None,
                }
            }
            Some(Leads::To(types)) => {
                let cells = cells(types, self.data.as_ref()?.get(VALUE)?.payload())?;
                match *cells {
                    [Cell::Address(address)] => Some(Value::Address(address)),
                    [Cell::Address(address), Cell::Port(port)] => {
                        Some(Value::To(Destination::new(address, port)))
                    }
                    _ => None,
                }
            }
        }
    }
}

/// The subnet that begins and ends with these addresses.
fn subnet(first: IpAddr, last: IpAddr) -> Option<IpNet> {
    let bits = match (first, last) {
        (IpAddr::V4(a), IpAddr::V4(b)) => (a.to_bits() ^ b.to_bits()).leading_zeros(),
        (IpAddr::V6(a), IpAddr::V6(b)) => (a.to_bits() ^ b.to_bits()).leading_zeros(),
        _ => return None,
    };
    let subnet = IpNet::new(first, u8::try_from(bits).ok()?).ok()?;
    (subnet.network() == first && subnet.broadcast() == last).then_some(subnet)
}

fn cells(types: &[Type], mut bytes: &[u8]) -> Option<Vec<Cell>> {
    let mut cells = Vec::with_capacity(types.len());
    for kind in types {
        let (cell, rest) = kind.read(bytes)?;
        cells.push(cell);
        bytes = rest;
    }
    bytes.is_empty().then_some(cells)
}

impl Type {
    fn read(self, bytes: &[u8]) -> Option<(Cell, &[u8])> {
        match self {
            Self::Link => {
                let (name, rest) = bytes.split_first_chunk::<16>()?;
                let name = name.split(|&byte| byte == 0).next()?;
                let name: IfName = str::from_utf8(name).ok()?.parse().ok()?;
                Some((Cell::Link(name), rest))
            }
            Self::Address4 => {
                let (octets, rest) = bytes.split_first_chunk::<4>()?;
                Some((Cell::Address(Ipv4Addr::from(*octets).into()), rest))
            }
            Self::Address6 => {
                let (octets, rest) = bytes.split_first_chunk::<16>()?;
                Some((Cell::Address(Ipv6Addr::from(*octets).into()), rest))
            }
            Self::Protocol => {
                let (word, rest) = bytes.split_first_chunk::<4>()?;
                let protocol = Protocol::ALL.into_iter().find(|p| p.number() == word[0])?;
                Some((Cell::Protocol(protocol), rest))
            }
            Self::Port => {
                let (word, rest) = bytes.split_first_chunk::<4>()?;
                Some((Cell::Port(Port::new(u16::from_be_bytes([word[0], word[1]]))?), rest))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::nftables::elements_of;
    use crate::{Access, Change, Network, Publish, Ruleset};
    use linkspan_netlink::{Batch, Flags, Kind};
    use proptest::prelude::*;

    fn rules(subnets: &[&str]) -> Ruleset {
        let fresh = Network::new("ls-web".parse().unwrap());
        let network = subnets.iter().fold(fresh, |network, s| network.with_subnet(s.parse().unwrap()));
        let to = |a: &str| Destination::new(a.parse().unwrap(), Port::new(80).unwrap());
        let publish = |a| Publish::nat(Protocol::Tcp, Port::new(8080).unwrap(), to(a));
        let change = Change::new()
            .add_network(network.with_neighbours(false))
            .add_network(Network::new("ls-in".parse().unwrap()).with_access(Access::Isolated))
            .publish_all([publish("10.0.0.2"), publish("fd00::2")])
            .publish(publish("10.0.0.3").at([127, 0, 0, 1].into()).unwrap())
            .publish(Publish::routed(Protocol::Udp, to("10.0.0.4"), "ls-web".parse().unwrap()));
        Ruleset::new().after(&change).unwrap()
    }

    fn check(subnets: &[&str]) {
        let wanted = elements_of(&rules(subnets));
        for set in Set::ALL {
            let of_set = || wanted.iter().filter(|e| e.set() == set);
            let mut batch = Batch::new();
            batch.push(Kind::nftables(12), Flags::NONE, |b| write(b, Instance::default(), set, of_set()));
            let list = Attributes::new(&batch.bytes()[20..]).get(ELEMENTS).unwrap();
            let raw: Vec<_> = list.nested().filter_map(|e| Raw::read(&e.nested())).collect();
            let joined = if set.shape().key.len() == 1 && set.shape().interval { join(raw) } else { raw };
            let read: Vec<_> = joined.iter().map(|r| (r.key(set).unwrap(), r.value(set).unwrap())).collect();
            let expected: Vec<_> = of_set().map(|e| (e.slot.key.clone(), e.value)).collect();
            assert_eq!(read, expected, "{}", set.as_str());
        }
    }

    #[test]
    fn what_is_written_is_read() {
        check(&["10.0.0.0/24", "10.0.1.0/24", "10.0.4.1/32", "fd00::/64"]);
        check(&["255.255.255.0/24", "ffff::/16"]);
        check(&["0.0.0.0/0"]);
    }

    proptest! {
        #[test]
        fn no_bytes_panic(key in prop::collection::vec(any::<u8>(), 0..40), end: Option<Vec<u8>>, flag: bool) {
            let raw = |key: &[u8]| Raw { key: key.to_vec(), last: end.clone(), end: flag, data: None };
            for set in Set::ALL {
                let _ = raw(&key).key(set);
                let _ = join(vec![raw(&key), raw(&[]), raw(&key)]).iter().filter_map(|r| r.key(set)).count();
            }
        }
    }
}
