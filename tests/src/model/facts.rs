//! What a host on paper means for the eye: facts, in the words that `seen` has for them too.

use super::paper::{Container, Level, Paper};
use super::step::{Door, Harm, Net, Who};
use std::collections::BTreeSet;
use std::net::IpAddr;

/// The MAC that others give a link of ours (RFC 7042, for documentation).
pub(super) const OTHER_MAC: &str = "02:00:5e:00:53:01";

/// What nobody has finished.
pub(super) const PENDING: &str = "something is pending";

type Facts = BTreeSet<String>;

/// What has to be seen, and what may be.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Expected {
    pub(super) must: Facts,
    pub(super) may: Facts,
}

impl Expected {
    /// What differs from what is seen, a line each.
    pub(super) fn differences(&self, seen: &Facts) -> Vec<String> {
        let missing = self.must.difference(seen).map(|fact| format!("missing: {fact}"));
        let odd = seen.iter().filter(|fact| !self.must.contains(*fact) && !self.may.contains(*fact));
        missing.chain(odd.map(|fact| format!("not expected: {fact}"))).collect()
    }
}

/// What is to be seen of a host.
pub(super) fn of(paper: &Paper) -> Expected {
    let (mut must, mut may) = (whole(paper), paper.hurt.clone());
    must.retain(|fact| !may.contains(fact));
    let orphans = paper.orphans.iter().flat_map(|(who, orphan)| container(paper, *who, orphan));
    let orphans: Facts = orphans.collect();
    let other_mac = |fact: &String| Some(has_mac(fact.split_once(" has mac ")?.0, OTHER_MAC));
    // Others may have changed it before the record was lost.
    may.extend(paper.hurt.union(&orphans).filter_map(other_mac));
    may.extend(orphans);
    Expected { must, may }
}

/// What there would be to see had nobody taken anything.
pub(super) fn whole(paper: &Paper) -> Facts {
    let networks = paper.networks.iter().flat_map(|(net, level)| network(paper, *net, *level));
    let containers = paper.containers.iter().flat_map(|(who, there)| container(paper, *who, there));
    let strangers = paper.strangers.iter().map(|net| has(net, stranger(*net)));
    let squatters = paper.squatted.iter().flat_map(|who| [someone(*who, "eth0"), someone(*who, "x0")]);
    let kept = paper.kept.iter().flat_map(|((net, number), who)| {
        let addresses = net.addresses(*number).into_iter();
        addresses.map(move |(address, _)| keeps(*net, address, who))
    });
    networks.chain(containers).chain(strangers).chain(squatters).chain(kept).collect()
}

fn network(paper: &Paper, net: Net, level: Level) -> Facts {
    let mut facts = Facts::from([format!("{net} is defined")]);
    if level == Level::Up {
        facts.insert(format!("{net} is up on file"));
        facts.extend(rules_of_network(net));
        if !paper.usurped.contains(&net) {
            facts.extend(bridge(net));
        }
    }
    facts
}

/// The bridge of a network.
pub(super) fn bridge(net: Net) -> Facts {
    let gateways = net.addresses(1).into_iter().map(|address| has(net, address));
    gateways.chain([format!("{net} has a bridge of mtu 1500"), is_up(net)]).collect()
}

fn rules_of_network(net: Net) -> Facts {
    let guarded = net.subnets().into_iter().map(|subnet| format!("rules guard {subnet}"));
    let out = net.subnets().into_iter().filter(|_| !net.is_internal());
    let masqueraded = out.map(|subnet| format!("rules masquerade {subnet}"));
    let kept = net.is_internal().then(|| format!("rules keep {net} inside"));
    guarded.chain(masqueraded).chain(kept).chain([format!("rules know {net}")]).collect()
}

fn container(paper: &Paper, who: Who, there: &Container) -> Facts {
    let mut facts = rules_of_container(there);
    facts.insert(record(who, there));
    if there.alive {
        facts.extend((0..there.on.len()).flat_map(|place| link(paper, who, there, place)));
        facts.extend(routes(who, there));
    }
    facts
}

fn record(who: Who, there: &Container) -> String {
    let addresses = there.on.iter().flat_map(|(net, number)| net.addresses(*number));
    let addresses: Vec<_> = addresses.map(|(address, _)| address.to_string()).collect();
    format!("{who} is on record at {}", addresses.join(", "))
}

fn rules_of_container(there: &Container) -> Facts {
    let Some((net, number)) = there.gateway() else { return Facts::new() };
    let leads = |door: &Door| {
        let to = net.addresses(number).into_iter().map(|(address, _)| address);
        let to = to.filter(|address| door.host_address().is_none() || address.is_ipv4());
        to.map(|address| leads(door.protocol(), door.host_address(), door.port(), address))
            .collect::<Vec<_>>()
    };
    there.doors.list().iter().flat_map(leads).collect()
}

/// A link of a container, with the host's end of it.
fn link(paper: &Paper, who: Who, there: &Container, place: usize) -> Facts {
    let (net, number) = there.on[place];
    let eth = format!("{who} eth{place}");
    let addresses = net.addresses(number).into_iter().map(|address| has(&eth, address));
    let mac = mac_of(net, number);
    let own =
        [format!("{eth} has mtu 1500"), has_mac(&eth, &mac), is_up(&eth), port(paper, who, there, place)];
    addresses.chain(own).collect()
}

fn port(paper: &Paper, who: Who, there: &Container, place: usize) -> String {
    let hairpin = if paper.case.bridge_netfilter { "on" } else { "off" };
    is_port(&format!("{who} eth{place}"), there.on[place].0, hairpin)
}

/// `02:42` and the four bytes of the IPv4 address.
fn mac_of(net: Net, number: u16) -> String {
    match net.addresses(number)[0].0 {
        IpAddr::V4(address) => {
            let [a, b, c, d] = address.octets();
            format!("02:42:{a:02x}:{b:02x}:{c:02x}:{d:02x}")
        }
        IpAddr::V6(_) => String::new(),
    }
}

fn routes(who: Who, there: &Container) -> Facts {
    let Some((net, _)) = there.gateway() else { return Facts::new() };
    let link = format!("eth{}", there.place(net));
    net.addresses(1).into_iter().map(|(gateway, _)| goes_out(who, gateway, &link)).collect()
}

/// What a harm takes away, or makes unsure.
pub(super) fn hurt_by(paper: &Paper, harm: Harm) -> Facts {
    match harm {
        Harm::FlushRules => {
            let networks = Net::ALL.into_iter().filter(|net| paper.is_up(*net)).flat_map(rules_of_network);
            networks.chain(paper.containers.values().flat_map(rules_of_container)).collect()
        }
        Harm::DeleteBridge(net) | Harm::Usurp(net) if paper.is_up(net) => {
            bridge(net).into_iter().chain(ports(paper, net)).collect()
        }
        Harm::EmptyBridge(net) if paper.is_up(net) => {
            net.addresses(1).into_iter().map(|address| has(net, address)).collect()
        }
        Harm::BridgeDown(net) if paper.is_up(net) => {
            // The kernel takes IPv6 addresses from a link that goes down.
            let gone = net.addresses(1).into_iter().filter(|(address, _)| address.is_ipv6());
            gone.map(|address| has(net, address)).chain([is_up(net)]).collect()
        }
        harm => hurt_of_container(paper, harm),
    }
}

/// The ports of its bridge.
pub(super) fn ports(paper: &Paper, net: Net) -> Facts {
    let on_it = paper.living().filter(|(_, there)| there.is_on(net));
    on_it.map(|(who, there)| port(paper, who, there, there.place(net))).collect()
}

/// What is taken from the first link of a container.
fn hurt_of_container(paper: &Paper, harm: Harm) -> Facts {
    let (Harm::DeleteLink(who)
    | Harm::Unplug(who)
    | Harm::HostEndDown(who)
    | Harm::LinkDown(who)
    | Harm::LinkMac(who)
    | Harm::LinkAddress(who)
    | Harm::LinkRoutes(who)) = harm
    else {
        return Facts::new();
    };
    let Some(there) = paper.containers.get(&who).filter(|there| there.alive) else { return Facts::new() };
    let (net, number) = there.on[0];
    let eth = format!("{who} eth0");
    let addresses = |v4: bool| {
        let each = net.addresses(number).into_iter().filter(move |(address, _)| !v4 || address.is_ipv4());
        each.map(|address| has(&eth, address)).collect::<Facts>()
    };
    let by_it = there.gateway().is_some_and(|(gateway, _)| gateway == net);
    let routes: Facts = if by_it { routes(who, there) } else { Facts::new() };
    match harm {
        Harm::DeleteLink(_) => link(paper, who, there, 0).union(&routes).cloned().collect(),
        Harm::Unplug(_) | Harm::HostEndDown(_) => [port(paper, who, there, 0)].into(),
        Harm::LinkDown(_) => {
            let v6 = addresses(false).difference(&addresses(true)).cloned().collect::<Vec<_>>();
            v6.into_iter().chain(routes).chain([is_up(&eth)]).collect()
        }
        Harm::LinkMac(_) => [has_mac(&eth, &mac_of(net, number))].into(),
        Harm::LinkAddress(_) => {
            addresses(true).into_iter().chain(routes.into_iter().filter(|r| !r.contains("fd88"))).collect()
        }
        _ => self::routes(who, there),
    }
}

/// The address of others on a bridge.
pub(super) fn stranger(net: Net) -> (IpAddr, u8) {
    let number = net.addresses(1)[0].0.to_string();
    let third = number.split('.').nth(2).and_then(|byte| byte.parse().ok()).unwrap_or_default();
    (IpAddr::from([198, 18, third, 1]), 24)
}

pub(super) fn has(what: impl std::fmt::Display, (address, length): (IpAddr, u8)) -> String {
    format!("{what} has {address}/{length}")
}

pub(super) fn has_mac(link: &str, mac: &str) -> String {
    format!("{link} has mac {mac}")
}

pub(super) fn is_up(what: impl std::fmt::Display) -> String {
    format!("{what} is up")
}

pub(super) fn is_port(link: &str, of: impl std::fmt::Display, hairpin: &str) -> String {
    format!("{link} is a port of {of}, up, hairpin {hairpin}")
}

pub(super) fn goes_out(who: impl std::fmt::Display, gateway: impl std::fmt::Display, link: &str) -> String {
    format!("{who} goes out by {gateway} on {link}")
}

pub(super) fn someone(who: impl std::fmt::Display, link: &str) -> String {
    format!("{who} {link} is someone's")
}

pub(super) fn keeps(net: Net, address: IpAddr, who: impl std::fmt::Display) -> String {
    format!("{net} keeps {address} for {who}")
}

pub(super) fn leads(by: &str, at: Option<&str>, port: impl std::fmt::Display, to: IpAddr) -> String {
    let at = at.map(|address| format!("{address}:")).unwrap_or_default();
    format!("rules lead {by} {at}{port} to {to}")
}
