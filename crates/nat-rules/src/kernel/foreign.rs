//! What others have loaded: their tables of nftables and iptables, read and never written.

mod expression;
mod set;
mod words;

use super::{HEADER, Iptables, table};
use crate::foreign::Foreign;
use crate::iptables::Family;
use crate::netfilter::{Base, Chain, Family as Of, Hook, Kind as ChainKind, Rule, Table};
use crate::{Error, Instance};
use linkspan_net_types::Errno;
use linkspan_netlink::{Attributes, Batch, Family as Protocol, Flags, Kind, Reply, Socket};
use set::Sets;
use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::os::fd::BorrowedFd;

const GET_TABLE: Kind = Kind::nftables(1);
const GET_CHAIN: Kind = Kind::nftables(4);
const GET_RULE: Kind = Kind::nftables(7);
const GET_SET: Kind = Kind::nftables(10);
const GET_ELEMENTS: Kind = Kind::nftables(13);
/// `RTM_GETLINK`, `IFLA_IFNAME` and the size of `struct ifinfomsg`, of `linux/rtnetlink.h` and `linux/if_link.h`.
const GET_LINK: Kind = Kind::new(18);
const LINK_NAME: u16 = 3;
const LINK_HEADER: usize = 16;

/// `NFTA_TABLE_NAME`, and the table's name in messages about what is in it.
const TABLE: u16 = 1;
/// `NFTA_CHAIN_NAME`, `_HOOK`, `_POLICY`, `_TYPE`; `NFTA_HOOK_HOOKNUM`, `_PRIORITY`, `_DEV`, `_DEVS`.
const CHAIN_NAME: u16 = 3;
const CHAIN_HOOK: u16 = 4;
const CHAIN_POLICY: u16 = 5;
const CHAIN_TYPE: u16 = 7;
const HOOK_NUMBER: u16 = 1;
const HOOK_PRIORITY: u16 = 2;
const HOOK_LINK: u16 = 3;
const HOOK_LINKS: u16 = 4;
/// `NFTA_RULE_CHAIN`, `_EXPRESSIONS`, `_USERDATA`.
const RULE_CHAIN: u16 = 2;
const RULE_EXPRESSIONS: u16 = 4;
const RULE_USERDATA: u16 = 7;

/// The rules that others have loaded in a network namespace.
///
/// It dumps nftables by netlink, and runs `iptables-save` and `ip6tables-save`, and those of the legacy
/// variant where its tables are there too. It changes nothing.
#[derive(Debug)]
pub struct Others {
    instance: Instance,
    nftables: Socket,
    routes: Socket,
    iptables: Iptables,
}

impl Others {
    /// Opens the calling thread's network namespace, as this instance sees it.
    ///
    /// # Errors
    /// [`Error::Netlink`].
    pub fn open(instance: Instance) -> Result<Self, Error> {
        let (nftables, routes) = (Socket::open(Protocol::Netfilter)?, Socket::open(Protocol::Route)?);
        Ok(Self { instance, nftables, routes, iptables: Iptables::open(instance) })
    }

    /// Opens this network namespace, as this instance sees it.
    ///
    /// # Errors
    /// [`Error::Netlink`]; [`Error::Run`] where the descriptor cannot be copied.
    pub fn open_in(instance: Instance, namespace: BorrowedFd<'_>) -> Result<Self, Error> {
        let nftables = Socket::open_in(namespace, Protocol::Netfilter)?;
        let routes = Socket::open_in(namespace, Protocol::Route)?;
        Ok(Self { instance, nftables, routes, iptables: Iptables::open_in(instance, namespace)? })
    }

    /// The same taking no more than so many bytes of answers: who has a namespace of his own decides how much is in it.
    #[must_use]
    pub fn within(self, bytes: usize) -> Self {
        Self { nftables: self.nftables.within(bytes), routes: self.routes.within(bytes), ..self }
    }

    /// Reads all tables.
    ///
    /// Where the tables of legacy iptables are there but its program is not, what they do cannot be told;
    /// where it cannot be known whether they are there, [`Foreign::unlisted`] says so.
    ///
    /// # Errors
    /// [`Error::Netlink`], [`Error::Run`], [`Error::Failed`] and [`Error::LeftOut`].
    pub fn look(&mut self) -> Result<Foreign, Error> {
        let mut foreign = Foreign::new(self.instance).with_links(self.links()?);
        // First: what the programs list is among it, and they list it however long it is.
        let tables = self.tables()?;
        let mut covered = BTreeSet::new();
        for (family, of) in [(Family::V4, Of::Ip), (Family::V6, Of::Ip6)] {
            let text = or_nothing(self.iptables.saved(family))?;
            // What that variant has is in nftables too, where it is harder to read.
            if text.contains("(nf_tables)") {
                covered.extend(
                    text.lines().filter_map(|line| line.strip_prefix('*')).map(|n| (of, n.to_owned())),
                );
            }
            foreign = foreign.with_saved(family, &text);
            if text.contains("(nf_tables)") || text.is_empty() {
                foreign = self.with_legacy(foreign, family)?;
            }
        }
        let dumped = tables.into_iter().filter(|t| !covered.contains(&(t.family, t.name.clone())));
        Ok(dumped.fold(foreign, Foreign::with_table))
    }

    /// Asking for the tables of the legacy variant would make them, so the kernel is asked first.
    fn with_legacy(&self, foreign: Foreign, family: Family) -> Result<Foreign, Error> {
        let (names, program) = match family {
            Family::V4 => ("/proc/thread-self/net/ip_tables_names", "iptables-legacy-save"),
            Family::V6 => ("/proc/thread-self/net/ip6_tables_names", "ip6tables-legacy-save"),
        };
        let names = match self.iptables.read(names) {
            Ok(names) if names.is_empty() => return Ok(foreign),
            Ok(names) => names,
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(foreign),
            // It is the host's root's to read, not that of a user namespace.
            Err(_) => return Ok(foreign.with_unlisted(family)),
        };
        let text = or_nothing(self.iptables.saved_by(program))?;
        match text.is_empty() {
            false => Ok(foreign.with_legacy(family, &text)),
            true => Ok(names.lines().fold(foreign, |foreign, name| foreign.with_unread(family, name))),
        }
    }

    fn links(&mut self) -> Result<BTreeMap<u32, String>, Error> {
        let mut batch = Batch::new();
        batch.push(GET_LINK, Flags::DUMP, |body| body.bytes(&[0; LINK_HEADER]));
        let link = |reply: &Reply| {
            let index = reply.payload().get(4..8)?.first_chunk()?;
            let name = reply.attributes(LINK_HEADER).get(LINK_NAME)?.text()?.to_owned();
            Some((u32::from_ne_bytes(*index), name))
        };
        Ok(self.routes.request(&mut batch)?.iter().filter_map(link).collect())
    }

    fn tables(&mut self) -> Result<Vec<Table>, Error> {
        let tables = match self.dump(GET_TABLE) {
            // The kernel has no nftables.
            Err(e) if matches!(e.errno(), Some(Errno::EINVAL | Errno::EOPNOTSUPP)) => return Ok(Vec::new()),
            tables => tables?,
        };
        let (chains, rules) = (self.dump(GET_CHAIN)?, self.dump(GET_RULE)?);
        let mut sets = Sets::default();
        for reply in self.dump(GET_SET)? {
            let elements = self.elements(&reply)?;
            sets.add(reply.payload(), elements.iter().map(Reply::payload));
        }
        let payloads =
            |replies: &[Reply]| replies.iter().map(|reply| reply.payload().to_vec()).collect::<Vec<_>>();
        Ok(read(&payloads(&tables), &payloads(&chains), &payloads(&rules), &sets))
    }

    fn dump(&mut self, kind: Kind) -> Result<Vec<Reply>, linkspan_netlink::Error> {
        let mut batch = Batch::new();
        // NFPROTO_UNSPEC: all families.
        batch.push(kind, Flags::DUMP, |body| body.bytes(&[0; HEADER]));
        self.nftables.request(&mut batch)
    }

    /// The elements of a set that was dumped; none where it is gone by now.
    fn elements(&mut self, set: &Reply) -> Result<Vec<Reply>, Error> {
        let Some((family, table, name)) = set::name(set.payload()) else { return Ok(Vec::new()) };
        let mut batch = Batch::new();
        batch.push(GET_ELEMENTS, Flags::DUMP, |body| {
            body.bytes(&[family, 0, 0, 0]);
            body.text(1, &table);
            body.text(2, &name);
        });
        match self.nftables.request(&mut batch) {
            Err(e) if e.errno() == Some(Errno::ENOENT) => Ok(Vec::new()),
            replies => Ok(replies?),
        }
    }
}

/// What a program printed; nothing where it or the family is missing.
fn or_nothing(saved: Result<String, Error>) -> Result<String, Error> {
    match saved {
        Err(Error::Run { source, .. }) if source.kind() == io::ErrorKind::NotFound => Ok(String::new()),
        saved => saved,
    }
}

/// Reads the payloads of dumped messages. No bytes make it fail: what is not understood is passed over, or
/// becomes something that cannot be told.
fn read(tables: &[Vec<u8>], chains: &[Vec<u8>], rules: &[Vec<u8>], sets: &Sets) -> Vec<Table> {
    let mut read: BTreeMap<(u8, String), Table> =
        tables.iter().filter_map(|payload| table(payload)).collect();
    for payload in chains {
        let Some((key, name, chain)) = chain(payload) else { continue };
        if let Some(table) = read.get_mut(&key) {
            table.chains.insert(name, chain);
        }
    }
    for payload in rules {
        let Some((key, name, rule)) = rule(payload, sets) else { continue };
        if let Some(chain) = read.get_mut(&key).and_then(|table| table.chains.get_mut(&name)) {
            chain.rules.push(rule);
        }
    }
    read.into_values().collect()
}

/// The family of a message, and its attributes.
fn message(payload: &[u8]) -> Option<(u8, Attributes<'_>)> {
    Some((*payload.first()?, Attributes::new(payload.get(HEADER..)?)))
}

fn text(attributes: &Attributes<'_>, kind: u16) -> Option<String> {
    Some(attributes.get(kind)?.text()?.to_owned())
}

fn table(payload: &[u8]) -> Option<((u8, String), Table)> {
    let (number, attributes) = message(payload)?;
    let name = text(&attributes, TABLE)?;
    let family = family(number).filter(|_| !table::is_asleep(&attributes))?;
    Some(((number, name.clone()), Table { family, name, chains: BTreeMap::new() }))
}

/// `NFPROTO_*` of `linux/netfilter.h`; ARP carries nothing of ours.
const fn family(number: u8) -> Option<Of> {
    match number {
        1 => Some(Of::Inet),
        2 => Some(Of::Ip),
        5 => Some(Of::Netdev),
        7 => Some(Of::Bridge),
        10 => Some(Of::Ip6),
        _ => None,
    }
}

type Named<T> = ((u8, String), String, T);

fn chain(payload: &[u8]) -> Option<Named<Chain>> {
    let (number, attributes) = message(payload)?;
    let (table, name) = (text(&attributes, TABLE)?, text(&attributes, CHAIN_NAME)?);
    let base = attributes.get(CHAIN_HOOK).and_then(|hook| base(family(number)?, &attributes, &hook.nested()));
    Some(((number, table), name, Chain { base, rules: Vec::new() }))
}

fn base(family: Of, chain: &Attributes<'_>, hook: &Attributes<'_>) -> Option<Base> {
    // NF_DROP is 0.
    let drops = chain.get(CHAIN_POLICY).and_then(|policy| policy.be32()) == Some(0);
    let one = hook.get(HOOK_LINK).and_then(|link| link.text());
    let several = hook.get(HOOK_LINKS).map(|links| links.nested()).into_iter().flatten();
    let several: Vec<_> = several.filter_map(|link| Some(link.text()?.to_owned())).collect();
    Some(Base {
        kind: if text(chain, CHAIN_TYPE)? == "nat" { ChainKind::Nat } else { ChainKind::Filter },
        hook: hook_of(family, hook.get(HOOK_NUMBER)?.be32()?)?,
        priority: hook.get(HOOK_PRIORITY)?.be32()?.cast_signed(),
        links: if several.is_empty() { one.map(str::to_owned).into_iter().collect() } else { several },
        drops,
        policy: if drops { "policy drop" } else { "policy accept" }.to_owned(),
    })
}

/// `NF_INET_*`, `NF_BR_*` of `linux/netfilter_bridge.h`, which are the same, and `NF_NETDEV_*`.
const fn hook_of(family: Of, number: u32) -> Option<Hook> {
    match (family, number) {
        (Of::Netdev, 0) | (Of::Inet, 5) => Some(Hook::Ingress),
        (Of::Netdev, 1) => Some(Hook::Egress),
        (Of::Netdev, _) => None,
        (_, 0) => Some(Hook::Prerouting),
        (_, 1) => Some(Hook::Input),
        (_, 2) => Some(Hook::Forward),
        (_, 3) => Some(Hook::Output),
        (_, 4) => Some(Hook::Postrouting),
        _ => None,
    }
}

fn rule(payload: &[u8], sets: &Sets) -> Option<Named<Rule>> {
    let (number, attributes) = message(payload)?;
    let (table, chain) = (text(&attributes, TABLE)?, text(&attributes, RULE_CHAIN)?);
    let expressions = attributes.get(RULE_EXPRESSIONS).map(|list| list.nested());
    let reader = expression::Reader::new(number, &table, sets);
    let mut rule = reader.read(expressions.into_iter().flatten());
    if let Some(comment) = attributes.get(RULE_USERDATA).and_then(|data| comment(data.payload())) {
        rule.text = format!("{} comment \"{comment}\"", rule.text).trim_start().to_owned();
    }
    Some(((number, table), chain, rule))
}

/// `NFTNL_UDATA_RULE_COMMENT` of libnftnl's `udata.h` is 0.
fn comment(mut rest: &[u8]) -> Option<&str> {
    while let [kind, length, behind @ ..] = rest {
        let (text, others) = behind.split_at_checked(usize::from(*length))?;
        if *kind == 0 {
            return str::from_utf8(text.strip_suffix(b"\0")?).ok();
        }
        rest = others;
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::foreign::{Judgement, judge};
    use crate::kernel::{element, table};
    use crate::nftables::{Set, elements_of};
    use crate::walk::{Packet, Routes, Rules, Verdict, walk};
    use crate::{Access, Change, Destination, Egress, Network, Publish, Ruleset};
    use ipnet::IpNet;
    use linkspan_net_types::{IfName, Port, Protocol as Carried};
    use proptest::prelude::*;
    use proptest::sample::select;
    use std::net::IpAddr;

    /// The messages of a batch by their kinds, without their headers.
    fn messages(batch: &Batch) -> Vec<(u16, Vec<u8>)> {
        let (mut messages, mut rest) = (Vec::new(), batch.bytes());
        while let Some(length) = rest.first_chunk().map(|bytes| u32::from_ne_bytes(*bytes)) {
            let (message, behind) = rest.split_at(usize::try_from(length).unwrap().next_multiple_of(4));
            messages.push((u16::from_ne_bytes([message[4], message[5]]), message[16..].to_vec()));
            rest = behind;
        }
        messages
    }

    /// Our own table as it would be dumped.
    fn dumped(rules: &Ruleset) -> Vec<Table> {
        let instance = Instance::default();
        let mut batch = Batch::new();
        table::make(&mut batch, instance);
        let all = messages(&batch);
        let of_kind = |kind: u16| -> Vec<_> {
            let kind = Kind::nftables(u8::try_from(kind).unwrap()).get();
            all.iter().filter(|(k, _)| *k == kind).map(|(_, payload)| payload.clone()).collect()
        };
        let wanted = elements_of(rules);
        let mut sets = Sets::default();
        for payload in of_kind(9) {
            let (_, _, name) = set::name(&payload).unwrap();
            let set = Set::ALL.into_iter().find(|set| set.as_str() == name).unwrap();
            let mut batch = Batch::new();
            batch.push(GET_ELEMENTS, Flags::NONE, |body| {
                element::write(body, instance, set, wanted.iter().filter(|e| e.set() == set));
            });
            let list = messages(&batch).remove(0).1;
            sets.add(&payload, [&list[..]].into_iter());
        }
        read(&of_kind(0), &of_kind(3), &of_kind(6), &sets)
    }

    fn rules(access: [Access; 2], egress: Egress, (neighbours, trusts): (bool, bool)) -> Ruleset {
        let network = |number: u8, access| {
            let network = Network::new(format!("ls-{number}").parse().unwrap())
                .with_subnet(format!("10.0.{number}.0/24").parse().unwrap())
                .with_subnet(format!("fd00:{number}::/64").parse().unwrap())
                .with_access(access)
                .with_egress(egress)
                .with_neighbours(neighbours);
            if trusts { network.with_trusted("eth1".parse().unwrap()) } else { network }
        };
        let port = |number| Port::new(number).unwrap();
        let to = |address: &str| Destination::new(address.parse().unwrap(), port(80));
        let change = Change::new()
            .add_network(network(1, access[0]))
            .add_network(network(2, access[1]))
            .publish(Publish::nat(Carried::Tcp, port(8080), to("10.0.1.2")))
            .publish(Publish::nat(Carried::Tcp, port(8080), to("fd00:2::2")))
            .publish(
                Publish::nat(Carried::Tcp, port(8081), to("10.0.2.2")).at([127, 0, 0, 1].into()).unwrap(),
            )
            .publish(Publish::routed(Carried::Udp, to("10.0.1.3"), "ls-1".parse().unwrap()));
        Ruleset::new().after(&change).unwrap()
    }

    fn routes() -> Routes {
        let links = [
            ("ls-1", "10.0.1.1/24"),
            ("ls-1", "fd00:1::1/64"),
            ("ls-2", "10.0.2.1/24"),
            ("ls-2", "fd00:2::1/64"),
            ("eth0", "192.0.2.1/24"),
            ("eth0", "2001:db8::1/64"),
        ];
        let link = |name: &str| name.parse::<IfName>().unwrap();
        let routes = links.into_iter().fold(Routes::new(), |routes, (name, address)| {
            routes.with_link(link(name), address.parse::<IpNet>().unwrap())
        });
        let routes = routes.with_route("0.0.0.0/0".parse().unwrap(), link("eth0"));
        routes.with_route("::/0".parse().unwrap(), link("eth0"))
    }

    fn packet() -> impl Strategy<Value = Packet> {
        let link = select(vec!["", "ls-1", "ls-2", "eth0", "eth1"]);
        let protocol = select(vec![Some(Carried::Tcp), Some(Carried::Udp), None]);
        let numbers = (0..6usize, 0..6usize, select(vec![80, 8080, 8081]));
        (any::<bool>(), link, protocol, numbers).prop_map(|(v6, link, protocol, (from, to, number))| {
            let addresses: [&str; 6] = match v6 {
                false => ["10.0.1.2", "10.0.1.3", "10.0.2.2", "192.0.2.1", "127.0.0.1", "203.0.113.9"],
                true => ["fd00:1::2", "fd00:1::3", "fd00:2::2", "2001:db8::1", "::1", "2001:db8:9::9"],
            };
            let [from, to]: [IpAddr; 2] = [from, to].map(|i| addresses[i].parse().unwrap());
            let packet = match protocol {
                Some(protocol) => Packet::to_port(from, to, protocol, Port::new(number).unwrap()),
                None => Packet::ping(from, to),
            };
            match link.parse() {
                Ok(link) => packet.unwrap().from_link(link),
                Err(_) => packet.unwrap(),
            }
        })
    }

    proptest! {
        #[test]
        fn a_dump_of_our_own_table_does_what_its_layout_does(
            access in select(vec![Access::Nat, Access::Routed, Access::Unprotected, Access::Internal, Access::Isolated]),
            keeps: bool,
            options: (bool, bool),
            packets in prop::collection::vec(packet(), 32),
        ) {
            let egress = if keeps { Egress::Keep } else { Egress::Masquerade };
            let rules = rules([access, Access::Nat], egress, options);
            let own = Rules::nftables(Instance::default(), &rules);
            // Seen by another instance, it is a table like any other.
            let other = Foreign::new("other".parse().unwrap());
            let foreign = dumped(&rules).into_iter().fold(other, Foreign::with_table);
            let ours = dumped(&rules).into_iter().fold(Foreign::new(Instance::default()), Foreign::with_table);
            let everything = Rules::everything(ours, rules.networks().map(Network::bridge));
            for packet in packets {
                let walked = walk(&own, &packet, &routes());
                let dumped = walk(&everything, &packet, &routes());
                prop_assert_eq!(dumped.to_string(), walked.to_string());
                if let Verdict::StoppedBy(rule) = dumped.verdict() {
                    prop_assert!(rule.is_of(Instance::default()) && !rule.is_of("other".parse().unwrap()));
                }
                let judged = judge(&foreign, &walked);
                let stopped = match walked.verdict() {
                    Verdict::StoppedBy(rule) => Some(rule),
                    _ => None,
                };
                match (stopped, &judged) {
                    (None, Judgement::Passes) => {}
                    (Some(stopped), Judgement::StoppedBy { rule, .. }) => {
                        prop_assert_eq!((stopped.table(), stopped.chain()), (rule.table(), rule.chain()));
                        prop_assert_eq!(stopped.rule(), rule.rule());
                    }
                    _ => prop_assert!(false, "{}\n{}", walked, judged),
                }
            }
        }

        #[test]
        fn no_bytes_panic(
            tables: Vec<Vec<u8>>, chains: Vec<Vec<u8>>, rules: Vec<Vec<u8>>, set: Vec<u8>, list: Vec<u8>,
        ) {
            let mut sets = Sets::default();
            sets.add(&set, [&list[..]].into_iter());
            let _ = read(&tables, &chains, &rules, &sets);
        }

        #[test]
        fn no_damage_to_a_dump_panics(bytes: Vec<(prop::sample::Index, prop::sample::Index, u8)>) {
            let mut batch = Batch::new();
            table::make(&mut batch, Instance::default());
            let mut all = messages(&batch);
            for (message, at, byte) in bytes {
                let payload = &mut message.get_mut(&mut all).1;
                if let Some(at) = payload.len().checked_sub(1).map(|_| at.index(payload.len())) {
                    payload[at] = byte;
                }
            }
            let payloads: Vec<_> = all.into_iter().map(|(_, payload)| payload).collect();
            let mut sets = Sets::default();
            payloads.iter().for_each(|payload| sets.add(payload, [&payload[..]].into_iter()));
            let other = Foreign::new("other".parse().unwrap());
            let foreign = read(&payloads, &payloads, &payloads, &sets).into_iter().fold(other, Foreign::with_table);
            let packet = Packet::ping("10.0.1.2".parse().unwrap(), "10.0.2.2".parse().unwrap()).unwrap();
            let walked = walk(&Rules::none(Instance::default(), &Ruleset::new()), &packet, &routes());
            let _ = judge(&foreign, &walked).to_string();
        }
    }
}
