//! What holds for all rules, on paper.

use crate::samples;
use linkspan_nat_rules::iptables::{self, Family};
use linkspan_nat_rules::nftables::{self, Seen};
use linkspan_nat_rules::{
    Access, Change, Destination, Egress, Error, Instance, Network, Publish, Ruleset, Way,
};
use linkspan_net_types::{IfName, Port, Protocol};
use proptest::collection::btree_map;
use proptest::prelude::*;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

const LINKSPAN: fn() -> Instance = Instance::default;

fn access() -> impl Strategy<Value = Access> {
    use Access::{Internal, Nat, Routed, Unprotected};
    prop_oneof![Just(Nat), Just(Unprotected), Just(Routed), Just(Internal)]
}

fn egress() -> impl Strategy<Value = Egress> {
    let fixed = any::<(Option<Ipv4Addr>, Option<Ipv6Addr>)>();
    prop_oneof![
        Just(Egress::Masquerade),
        Just(Egress::Keep),
        fixed.prop_map(|(v4, v6)| Egress::Fixed { v4, v6 })
    ]
}

/// The network of this number; two numbers are two bridges and disjoint subnets.
fn network(number: u8) -> impl Strategy<Value = Network> {
    (access(), egress(), any::<(bool, bool, bool, bool, bool)>()).prop_map(
        move |(access, egress, (v4, v6, neighbours, uplink, other))| {
            let four = v4.then(|| format!("10.{number}.0.0/16").parse().unwrap());
            let six = v6.then(|| format!("fd00:{number:x}::/64").parse().unwrap());
            let fresh = Network::new(format!("ls-{number}").parse().unwrap());
            let trusted = [(uplink, "eth1"), (other, "ls-1")].into_iter().filter(|(on, _)| *on);
            let fresh = trusted.fold(fresh, |n, (_, link)| n.with_trusted(link.parse().unwrap()));
            four.into_iter()
                .chain(six)
                .fold(fresh, Network::with_subnet)
                .with_access(access)
                .with_egress(egress)
                .with_neighbours(neighbours)
        },
    )
}

/// A port whose number is `port`, so that two numbers never meet.
fn publish(port: u16) -> impl Strategy<Value = Publish> {
    let protocol = prop::sample::select(&Protocol::ALL[..]);
    (protocol, any::<(bool, u8, u8, Option<bool>)>()).prop_map(move |(protocol, (v6, bridge, host, at))| {
        let port = Port::new(port).unwrap();
        let address: IpAddr = match v6 {
            true => Ipv6Addr::new(0xfd00, bridge.into(), 0, 0, 0, 0, 0, host.into()).into(),
            false => Ipv4Addr::new(10, bridge, 0, host).into(),
        };
        let to = Destination::new(address, port);
        let local: IpAddr = if v6 { [0x2001, 0xdb8, 0, 0, 0, 0, 0, 1].into() } else { [127, 0, 0, 1].into() };
        match at {
            None => Publish::nat(protocol, port, to),
            Some(true) => Publish::nat(protocol, port, to).at(local).unwrap(),
            Some(false) => Publish::routed(protocol, to, format!("ls-{bridge}").parse().unwrap()),
        }
    })
}

/// Two sets of rules that have nothing in common; each has a network.
fn disjoint() -> impl Strategy<Value = (Ruleset, Ruleset)> {
    let networks = btree_map(any::<u8>(), Just(()), 2..8)
        .prop_flat_map(|n| n.into_keys().map(network).collect::<Vec<_>>());
    let ports = btree_map(1..u16::MAX, Just(()), 0..20)
        .prop_flat_map(|n| n.into_keys().map(publish).collect::<Vec<_>>());
    (networks, ports, any::<prop::sample::Index>()).prop_map(|(networks, ports, cut)| {
        let (half, port) = (1 + cut.index(networks.len() - 1), cut.index(ports.len() + 1));
        (ruleset(&networks[..half], &ports[..port]), ruleset(&networks[half..], &ports[port..]))
    })
}

fn ruleset(networks: &[Network], ports: &[Publish]) -> Ruleset {
    Ruleset::new().after(&addition(networks, ports)).unwrap()
}

fn addition(networks: &[Network], ports: &[Publish]) -> Change {
    networks.iter().cloned().fold(Change::new(), Change::add_network).publish_all(ports.iter().copied())
}

fn all_of(rules: &Ruleset) -> Change {
    Change::between(&Ruleset::new(), rules)
}

/// What the chains look like once a plan was carried out, as `iptables-save` would show it.
fn loaded(rules: &Ruleset) -> iptables::Seen {
    let text = |family| iptables::text(LINKSPAN(), rules, family);
    iptables::Seen::read(LINKSPAN(), &text(Family::V4), Some(&text(Family::V6)))
}

proptest! {
    #[test]
    fn apply_then_undo_is_nothing((there, more) in disjoint()) {
        for seen in [Seen::default(), Seen::of(&there)] {
            let there = nftables::plan(LINKSPAN(), &all_of(&more), &seen).unwrap();
            let after = seen.after(&there);
            let undo = nftables::plan(LINKSPAN(), &all_of(&more).inverse(), &after).unwrap();
            prop_assert_eq!(after.after(&undo), seen);
        }
    }

    #[test]
    fn doing_anything_twice_is_fine((there, more) in disjoint()) {
        for change in [all_of(&more), all_of(&there).inverse(), Change::between(&there, &more)] {
            let once = Seen::of(&there).after(&nftables::plan(LINKSPAN(), &change, &Seen::of(&there)).unwrap());
            prop_assert!(nftables::plan(LINKSPAN(), &change, &once).unwrap().is_empty(), "{:?}", change);
        }
    }

    #[test]
    fn a_change_on_paper_is_the_change_of_the_rules((from, to) in disjoint()) {
        let change = Change::between(&from, &to);
        prop_assert_eq!(&from.after(&change).unwrap(), &to);
        prop_assert_eq!(&to.after(&change.inverse()).unwrap(), &from);
        let plan = nftables::plan(LINKSPAN(), &change, &Seen::of(&from)).unwrap();
        prop_assert_eq!(Seen::of(&from).after(&plan), Seen::of(&to));
    }

    #[test]
    fn reconcile_brings_back_exactly_the_difference((there, wanted) in disjoint()) {
        for seen in [Seen::default(), Seen::of(&there), Seen::of(&wanted)] {
            let plan = nftables::reconcile(LINKSPAN(), &wanted, &seen).unwrap();
            prop_assert_eq!(plan.is_empty(), seen == Seen::of(&wanted));
            prop_assert_eq!(seen.after(&plan), Seen::of(&wanted));
        }
        let gone = nftables::reconcile(LINKSPAN(), &Ruleset::new(), &Seen::of(&there)).unwrap();
        prop_assert_eq!(gone.to_string(), "delete table inet linkspan\n");
    }

    #[test]
    fn text_depends_on_nothing_but_the_rules((a, b) in disjoint()) {
        let (networks, ports): (Vec<_>, Vec<_>) =
            (b.networks().cloned().collect(), b.published().copied().collect());
        let forwards = a.after(&addition(&networks, &ports)).unwrap();
        let backwards = b.after(&all_of(&a)).unwrap();
        prop_assert_eq!(nftables::text(LINKSPAN(), &forwards), nftables::text(LINKSPAN(), &backwards));
        for family in [Family::V4, Family::V6] {
            let text = |rules| iptables::text(LINKSPAN(), rules, family);
            prop_assert_eq!(text(&forwards), text(&backwards));
        }
    }

    #[test]
    fn what_iptables_shows_needs_no_plan((a, b) in disjoint()) {
        let nothing = Ruleset::new();
        for (wanted, same) in [(&a, true), (&b, false), (&nothing, false)] {
            let plan = iptables::plan(LINKSPAN(), wanted, &loaded(&a)).unwrap();
            prop_assert_eq!((plan.is_empty(), plan.to_string().is_empty()), (same, same));
        }
        let foreign = iptables::Seen::read("other".parse().unwrap(), "", Some(""));
        prop_assert!(iptables::plan("other".parse().unwrap(), &Ruleset::new(), &foreign).unwrap().is_empty());
    }

    #[test]
    fn no_name_becomes_a_rule(name in "\\PC{1,15}", rest in ".{0,4}") {
        let Ok(bridge) = format!("{name}{rest}").parse::<IfName>() else { return Ok(()) };
        let plain = |c: char| c.is_ascii_alphanumeric() || "_.@-".contains(c);
        let rules = ruleset(&[Network::new(bridge).with_subnet("10.0.0.0/24".parse().unwrap())], &[]);
        let usual = ruleset(&[samples::network("x", &["10.0.0.0/24"])], &[]);
        prop_assert!(bridge.as_str().chars().all(plain));
        let (nft, ipt) = (nftables::text(LINKSPAN(), &rules), iptables::text(LINKSPAN(), &rules, Family::V4));
        prop_assert_eq!(nft.lines().count(), nftables::text(LINKSPAN(), &usual).lines().count());
        let words = |text: &str| text.split_whitespace().count();
        prop_assert_eq!(words(&ipt), words(&iptables::text(LINKSPAN(), &usual, Family::V4)));
    }

    #[test]
    fn rules_are_stored_and_read((a, b) in disjoint()) {
        let change = Change::between(&a, &b);
        let stored = serde_json::to_string(&(&a, &change)).unwrap();
        prop_assert_eq!(serde_json::from_str::<(Ruleset, Change)>(&stored).unwrap(), (a, change));
    }

    #[test]
    fn no_text_of_iptables_save_is_too_strange(text in ".*", lines in prop::collection::vec("(:|-A |\\*)?(raw|LINKSPAN-PRE|linkspan-user|-j| )*", 0..9)) {
        let _ = iptables::Seen::read(LINKSPAN(), &text, Some(&lines.join("\n")));
    }
}

fn refused(change: &Change, expected: &str) {
    let there = ruleset(
        &[samples::network("ls-a", &["10.0.0.0/24"])],
        &[samples::publish(Protocol::Tcp, 80, "10.0.0.2", 80)],
    );
    let check = |error: Option<Error>| assert_eq!(error.map(|e| e.to_string()).as_deref(), Some(expected));
    check(there.after(change).err());
    check(nftables::plan(LINKSPAN(), change, &Seen::of(&there)).err());
}

#[test]
fn a_contradiction_is_refused_on_every_way() {
    let change = Change::new;
    let at = |to| samples::publish(Protocol::Tcp, 80, to, 80);
    refused(&change().publish(at("10.0.0.3")), "port 80/tcp at any address leads to 10.0.0.2:80 already");
    let network = |bridge, subnet| samples::network(bridge, &[subnet]);
    refused(
        &change().add_network(network("ls-b", "10.0.0.128/25")),
        "subnet 10.0.0.128/25 of `ls-b` overlaps 10.0.0.0/24 of `ls-a`",
    );
    refused(&change().add_network(network("ls-a", "10.0.1.0/24")), "bridge `ls-a` has other rules already");
    let kept = network("ls-a", "10.0.0.0/24").with_egress(Egress::Keep);
    refused(&change().add_network(kept), "bridge `ls-a` has other rules already");
}

#[test]
fn what_another_holds_is_not_withdrawn() {
    let at = |to| samples::publish(Protocol::Tcp, 80, to, 80);
    let seen = Seen::of(&ruleset(&[], &[at("10.0.0.2")]));
    let plan = nftables::plan(LINKSPAN(), &Change::new().withdraw(at("10.0.0.3")), &seen).unwrap();
    assert!(plan.is_empty());
}

#[test]
fn what_was_published_is_read_back() {
    for sample in samples::all() {
        let nat = |p: &Publish| matches!(p.way(), Way::Nat { .. });
        let expected: Vec<_> = sample.rules.published().copied().filter(nat).collect();
        let mut seen: Vec<_> = Seen::of(&sample.rules).published().collect();
        seen.sort();
        assert_eq!(seen.len(), expected.len());
        assert!(expected.iter().all(|p| seen.contains(p)));
        assert!(Seen::of(&sample.rules).bridges().eq(sample.rules.networks().map(Network::bridge)));
    }
}

#[test]
fn a_stored_contradiction_is_not_read() {
    let rules = ruleset(&[samples::network("ls-a", &["10.0.0.0/24"])], &[]);
    let stored = serde_json::to_value(&rules).unwrap();
    let mut twice = stored.clone();
    let mut other = stored["networks"][0].clone();
    other["bridge"] = "ls-b".into();
    twice["networks"].as_array_mut().unwrap().push(other);
    assert!(serde_json::from_value::<Ruleset>(stored).is_ok());
    assert!(serde_json::from_value::<Ruleset>(twice).is_err());
}

#[test]
fn missing_ipv6_matters_only_where_it_is_wanted() {
    let seen = iptables::Seen::read(LINKSPAN(), "", None);
    for sample in samples::all() {
        let of_ipv6 = |network: &Network| network.subnets().any(|subnet| subnet.addr().is_ipv6());
        let wanted = sample.rules.networks().any(of_ipv6);
        let plan = iptables::plan(LINKSPAN(), &sample.rules, &seen);
        assert_eq!(matches!(plan, Err(Error::NoIpv6)), wanted, "{}", sample.name);
    }
}

#[test]
fn the_users_chain_is_never_written_once_it_is_there() {
    let rules = ruleset(&[samples::network("ls-a", &["10.0.0.0/24"])], &[]);
    let saved =
        "*filter\n:linkspan-user - [0:0]\n-A FORWARD -j linkspan-user\n-A linkspan-user -j DROP\nCOMMIT\n";
    let seen = iptables::Seen::read(LINKSPAN(), saved, None);
    let plan = iptables::plan(LINKSPAN(), &rules, &seen).unwrap();
    assert!(!plan.script(Family::V4).contains(":linkspan-user"));
    assert!(iptables::plan(LINKSPAN(), &Ruleset::new(), &seen).unwrap().is_empty());
}

#[test]
fn a_chain_that_others_jump_to_is_emptied_but_stays() {
    let saved =
        "*nat\n:LINKSPAN-POST - [0:0]\n-A LINKSPAN-POST -j RETURN\n-A POSTROUTING -o x -j LINKSPAN-POST\n";
    let seen = iptables::Seen::read(LINKSPAN(), saved, None);
    let plan = iptables::plan(LINKSPAN(), &Ruleset::new(), &seen).unwrap();
    assert_eq!(plan.script(Family::V4), "*nat\n:LINKSPAN-POST - [0:0]\nCOMMIT\n");
}
