use super::sight::{Asker, Sight, Standing, Uplink, temporary};
use super::*;
use crate::plan::{self, Firewall, RulesPlan};
use crate::{Attachment, DefinedNetwork, Garbage, Reconciled};
use linkspan_nat_rules::foreign::Foreign;
use linkspan_nat_rules::{Change, Instance, Ruleset, iptables};
use linkspan_veth_bridge::{self as links, Link, Route, Seen, Snapshot};
use serde_json::json;

use std::collections::BTreeSet;

fn network() -> DefinedNetwork {
    let value = json!({
        "id": "0a1b2c3d4e5f", "name": "web", "link": "ls-web", "mtu": null, "labels": {},
        "subnets": [{ "net": "10.88.1.0/24", "gateway": "10.88.1.1" }, { "net": "fd88:1::/64", "gateway": "fd88:1::1" }],
    });
    serde_json::from_value(value).unwrap()
}

fn container() -> Attachment {
    let value = json!({
        "id": "00c0ffee00c0ffee", "name": "web-1", "namespace": { "cookie": 7, "place": null },
        "endpoints": [{
            "network": "web", "network_id": "0a1b2c3d4e5f", "bridge": "ls-web", "link": "eth0",
            "host_link": "vethls000000001", "host_mac": "fe:00:00:00:00:01", "mac": "02:42:0a:58:01:02",
            "mtu": 1500, "addresses": ["10.88.1.2/24", "fd88:1::2/64"], "gateways": ["10.88.1.1", "fd88:1::1"],
        }],
        "published": [{
            "protocol": "tcp", "host": { "address": null, "port": 8080 }, "port": 80, "to": ["10.88.1.2", "fd88:1::2"],
        }],
    });
    serde_json::from_value(value).unwrap()
}

/// An uplink with a default route of each family, and the bridge.
fn snapshot() -> Snapshot {
    let link = |addresses: &[&str]| {
        let addresses = addresses.iter().map(|address| address.parse().unwrap()).collect();
        Link { mtu: 1500, up: true, addresses, ..Link::default() }
    };
    let links = [
        ("eth0", link(&["192.0.2.1/24", "2001:db8::1/64"])),
        ("ls-web", link(&["10.88.1.1/24", "fd88:1::1/64"])),
    ];
    let default = |destination: &str, gateway: &str| Route {
        destination: destination.parse().unwrap(),
        gateway: Some(gateway.parse().unwrap()),
        link: Some("eth0".to_owned()),
        metric: 0,
    };
    Snapshot {
        links: links.map(|(name, link)| (name.to_owned(), link)).into(),
        routes: [default("0.0.0.0/0", "192.0.2.254"), default("::/0", "fe80::1")].into(),
    }
}

/// Nothing but these rules.
fn lacks(rules: RulesPlan) -> Reconciled {
    let (rebuilt, containers, left) = (Vec::new(), Vec::new(), Vec::new());
    Reconciled { rebuilt, rules, links: links::Plan::default(), containers, left }
}

fn nothing() -> Garbage {
    Garbage {
        unfinished: Vec::new(),
        dead: Vec::new(),
        host_ends: Vec::new(),
        bridges: Vec::new(),
        rules: RulesPlan::None,
        leases: Vec::new(),
        books: Vec::new(),
        reservations: Vec::new(),
        claims: Vec::new(),
        damaged: Vec::new(),
        unseen: Vec::new(),
        unread: Vec::new(),
    }
}

/// A host where all is well.
fn sight() -> Sight {
    let network =
        plan::network(Instance::default(), &network(), Firewall::Nftables, None, &Seen::default()).unwrap();
    let change = Change::new().add_network(network.rules.clone()).publish_all(container().rules().unwrap());
    let forwarding = links::Forwarding { v4: true, v6: Some(true) };
    Sight {
        asker: Asker { instance: Instance::default(), firewall: Firewall::Nftables, folders: [None, None] },
        release: "6.18.0".to_owned(),
        networks: vec![network],
        attachments: vec![container()],
        garbage: Some(nothing()),
        rules: Ruleset::new().after(&change).unwrap(),
        snapshot: snapshot(),
        settings: Seen { forwarding, ..Seen::default() },
        foreign: Foreign::new(Instance::default()),
        standing: Standing::Lacks(lacks(RulesPlan::None)),
        uplinks: Vec::new(),
        without_ipv6: BTreeSet::new(),
    }
}

/// What is said of a host that differs from one where all is well.
fn check(change: impl FnOnce(&mut Sight), expected: &str) {
    let mut sight = sight();
    change(&mut sight);
    let diagnosis = diagnose(&sight);
    assert_eq!(diagnosis.to_string(), format!("{expected}\n"));
    let stored = serde_json::to_string(&diagnosis).unwrap();
    assert_eq!(serde_json::from_str::<Diagnosis>(&stored).unwrap(), diagnosis, "{stored}");
}

#[test]
fn nothing_is_wrong_where_all_is_well() {
    check(|_| {}, "nothing is wrong");
}

#[test]
fn a_kernel_that_is_too_old_is_told_by_its_release() {
    let old = |release: &'static str| {
        check(
            |sight| sight.release = release.to_owned(),
            &format!("wrong: kernel {release} is older than 5.14"),
        );
    };
    old("5.13.19-generic");
    old("4.18.0-553.el8");
    let fine = |release: &'static str| check(|sight| sight.release = release.to_owned(), "nothing is wrong");
    fine("5.14.0");
    fine("6.1-rc3");
    fine("a kernel");
}

fn saved(sight: &mut Sight, family: iptables::Family, text: &str) {
    sight.foreign = sight.foreign.clone().with_saved(family, text);
}

const POLICY: &str =
    "*filter\n:FORWARD DROP [0:0]\n:DOCKER-USER - [0:0]\n-A FORWARD -j DOCKER-USER\nCOMMIT\n";

#[test]
fn one_rule_is_one_finding_that_names_all_it_breaks() {
    check(
        |sight| saved(sight, iptables::Family::V4, POLICY),
        "wrong: foreign rule `-P FORWARD DROP` in chain `FORWARD` of table `iptables filter` stops \
         the way out of network `web`, published port 8080/tcp of `web-1` from outside, \
         published port 8080/tcp of `web-1` from its neighbours; \
         mended by: iptables -I DOCKER-USER -i ls-web -j ACCEPT && iptables -I DOCKER-USER -o ls-web -j ACCEPT",
    );
    check(
        |sight| saved(sight, iptables::Family::V4, "*filter\n:OUTPUT DROP [0:0]\nCOMMIT\n"),
        "wrong: foreign rule `-P OUTPUT DROP` in chain `OUTPUT` of table `iptables filter` stops \
         the host's way to network `web`; mended by: iptables -I OUTPUT -o ls-web -p tcp --dport 80 -j ACCEPT",
    );
}

#[test]
fn neighbours_meet_foreign_rules_where_bridge_netfilter_is_on() {
    let rule = "*filter\n:FORWARD ACCEPT [0:0]\n-A FORWARD -i ls-web -o ls-web -m conntrack --ctstate NEW -j DROP\nCOMMIT\n";
    let stops = |filtered: bool, what: &str| {
        let breaks = format!(
            "wrong: foreign rule `-A FORWARD -i ls-web -o ls-web -m conntrack --ctstate NEW -j DROP` in chain `FORWARD` \
             of table `iptables filter` stops {what}; mended by: iptables -I FORWARD -i ls-web -j ACCEPT"
        );
        let change = |sight: &mut Sight| {
            sight.settings.bridge_netfilter.iptables = Some(filtered);
            saved(sight, iptables::Family::V4, rule);
        };
        check(change, &breaks);
    };
    stops(false, "published port 8080/tcp of `web-1` from its neighbours");
    stops(true, "neighbours on network `web`, published port 8080/tcp of `web-1` from its neighbours");
}

#[test]
fn what_our_iptables_lack_is_told_before_what_others_do() {
    let rules = Ruleset::new();
    let lacking = |sight: &mut Sight| {
        let seen = iptables::Seen::read(Instance::default(), "", None);
        let network = linkspan_nat_rules::Network::new("ls-web".parse().unwrap());
        let wanted = rules.after(&Change::new().add_network(network)).unwrap();
        let plan = iptables::plan(Instance::default(), &wanted, &seen).unwrap();
        sight.asker.firewall = Firewall::Iptables;
        sight.standing = Standing::Lacks(lacks(RulesPlan::Iptables(plan)));
        saved(sight, iptables::Family::V4, POLICY);
    };
    let mut sight = sight();
    lacking(&mut sight);
    let told = diagnose(&sight);
    assert_eq!(told.findings().len(), 1, "{told}");
    assert_eq!(told.findings()[0].mend(), Some("linkspan --firewall iptables reconcile"));
}

#[test]
fn commands_name_the_host_that_is_looked_at() {
    let unfinished = |sight: &mut Sight| {
        sight.garbage = Some(Garbage { unfinished: vec!["web-1".to_owned()], ..nothing() });
    };
    let what = "doubtful: there is something that nobody needs: take back what a killed process was at with `web-1`; \
                mended by: linkspan";
    check(unfinished, &format!("{what} gc"));
    let elsewhere = |sight: &mut Sight| {
        unfinished(sight);
        sight.asker.instance = "ci".parse().unwrap();
        sight.asker.firewall = Firewall::None;
        sight.asker.folders = [Some("/tmp/a run".into()), Some("/tmp/b".into())];
    };
    let options = "--instance ci --firewall none --run-dir '/tmp/a run' --state-dir /tmp/b";
    check(elsewhere, &format!("{what} {options} gc"));
}

#[test]
fn a_router_is_heard_where_the_host_does_not_forward_or_hears_it_all_the_same() {
    let heard = |forwards: bool, accept_ra: u32, expected: &str| {
        let uplink = Uplink { link: "eth0.$1".to_owned(), forwards, accept_ra };
        check(|sight| sight.uplinks.push(uplink), expected);
    };
    heard(false, 1, "nothing is wrong");
    heard(true, 2, "nothing is wrong");
    heard(true, 0, "nothing is wrong");
    heard(
        true,
        1,
        "doubtful: link `eth0.$1` loses the IPv6 addresses and routes that a router gave it: the host forwards, and \
         net.ipv6.conf.eth0.$1.accept_ra is 1; mended by: sysctl -w 'net/ipv6/conf/eth0.$1/accept_ra=2'",
    );
}

#[test]
fn addresses_that_end_with_time_are_told_from_those_that_stay() {
    let line =
        |scope: &str, flags: &str| format!("20010db8000000000000000000000001 02 40 {scope} {flags}     eth0");
    assert_eq!(temporary(&line("00", "00")).as_deref(), Some("eth0"));
    assert_eq!(temporary(&line("00", "01")).as_deref(), Some("eth0"));
    assert_eq!(temporary(&line("00", "80")), None);
    assert_eq!(temporary(&line("20", "00")), None);
    assert_eq!(temporary(""), None);
    assert_eq!(temporary("a b c 00 xx eth0"), None);
}

#[test]
fn a_long_list_is_cut_for_people_alone() {
    let steps = |count: usize| (0..count).map(|number| number.to_string()).collect::<Vec<_>>();
    assert_eq!(
        Problem::Differs { steps: steps(7) }.to_string(),
        "the host differs from the records: 0, 1, 2, 3, 4, 5 and 1 more"
    );
    assert_eq!(Problem::Differs { steps: steps(2) }.to_string(), "the host differs from the records: 0, 1");
}
