//! What is read of routing is what `ip` was told.

use crate::lab::{NetNs, in_private_with_ip};
use linkspan_veth_bridge::kernel::{Inside, Links};
use linkspan_veth_bridge::survey::{BridgePort, CallsNetfilter, RouteKind, Survey};
use std::os::fd::AsFd;
use std::thread::sleep;
use std::time::{Duration, Instant};

const COMMANDS: [&str; 17] = [
    "link set lo up",
    "link add br0 type bridge nf_call_ip6tables 1",
    "link add port type veth peer name far",
    "link set br0 addrgenmode none",
    "link set port addrgenmode none",
    "link set far addrgenmode none",
    "link set port master br0",
    "link set port type bridge_slave hairpin on isolated on",
    "link set br0 up",
    "link set port up",
    "link set far up",
    "address add 10.0.0.1/24 dev br0",
    "address add 10.0.0.2/24 dev br0",
    "address add fd00::1/64 dev br0 nodad",
    "route add 192.0.2.0/24 via 10.0.0.9 src 10.0.0.2 metric 7 table 100",
    "route add unreachable 198.51.100.0/24",
    "rule add from 10.0.0.0/8 iif br0 lookup 100 priority 50",
];

fn made() -> (NetNs, Survey) {
    let host = NetNs::new();
    COMMANDS.iter().for_each(|command| drop(host.ip(command)));
    host.set("ipv4/conf/br0/rp_filter", "2");
    host.set("ipv4/conf/all/rp_filter", "1");
    host.set("ipv4/conf/br0/route_localnet", "1");
    host.set("ipv4/ip_forward", "1");
    let mut links = Links::open_in(host.as_fd()).unwrap();
    until("the port forwards and the address has its route", || is_settled(&links.survey().unwrap()));
    let survey = links.survey().unwrap();
    (host, survey)
}

/// The kernel finds carriers and gives IPv6 addresses their routes in its own time (`net/core/link_watch.c`,
/// `net/ipv6/addrconf.c`).
fn is_settled(survey: &Survey) -> bool {
    let v6 = "fd00::1".parse::<std::net::IpAddr>().unwrap();
    let forwards = survey.links["port"].port.is_some_and(|port| port.forwards);
    let mut own = survey.routes.iter().filter(|route| route.kind == RouteKind::Local);
    forwards && own.any(|route| route.destination.addr() == v6)
}

#[test]
fn all_that_decides_where_packets_go_is_read() {
    in_private_with_ip("survey::all_that_decides_where_packets_go_is_read", || {
        let (host, survey) = made();
        let (bridge, port) = (&survey.links["br0"], &survey.links["port"]);
        assert!(bridge.up && bridge.forwarding && bridge.route_localnet && !bridge.accept_local);
        assert_eq!((bridge.rp_filter, survey.settings.rp_filter), (2, 1));
        assert_eq!(bridge.bridge, Some(CallsNetfilter { v4: false, v6: true }));
        assert_eq!(port.master.as_deref(), Some("br0"));
        assert_eq!(port.port, Some(BridgePort { forwards: true, hairpin: true, isolated: true }));
        assert!(survey.links["lo"].loopback && survey.links["far"].port.is_none());

        let of = |text: &str| {
            let address: std::net::IpAddr = text.parse().unwrap();
            survey.addresses.iter().find(|a| a.address == address).unwrap()
        };
        assert_eq!((of("10.0.0.1").secondary, of("10.0.0.2").secondary), (false, true));
        assert_eq!(of("10.0.0.1").reaches, "10.0.0.0/24".parse().unwrap());
        assert!(!of("fd00::1").tentative);

        let told = |table: u32| {
            let routes = survey.routes.iter().filter(|route| route.table == table);
            routes.map(ToString::to_string).collect::<Vec<_>>()
        };
        assert_eq!(told(100), ["192.0.2.0/24 via 10.0.0.9 dev br0"]);
        assert!(told(254).contains(&"unreachable 198.51.100.0/24".to_owned()));
        assert!(told(255).contains(&"local 10.0.0.1/32 dev br0".to_owned()), "{:?}", told(255));
        let marked = survey.routes.iter().find(|route| route.table == 100).unwrap();
        assert_eq!((marked.metric, marked.source), (7, Some("10.0.0.2".parse().unwrap())));
        let own = survey.routes.iter().filter(|route| route.kind == RouteKind::Local);
        assert!(own.clone().any(|route| route.destination.addr() == of("fd00::1").address));

        let rules: Vec<_> = survey.rules.iter().map(ToString::to_string).collect();
        let usual = ["32766: from all lookup main", "32767: from all lookup default"];
        assert_eq!(rules[..2], ["0: from all lookup local", "50: from 10.0.0.0/8 iif br0 lookup 100"]);
        assert_eq!(rules[2..4], usual);
        assert_eq!(rules[4..], ["0: from all lookup local", usual[0]]);
        assert!(survey.rules.iter().all(|rule| !rule.conditional));

        let inside = Inside::open(host.as_fd()).unwrap().survey().unwrap();
        assert_eq!(inside, survey);
    });
}

#[test]
fn a_port_whose_other_end_is_down_does_not_forward() {
    in_private_with_ip("survey::a_port_whose_other_end_is_down_does_not_forward", || {
        let (host, _) = made();
        let mut links = Links::open_in(host.as_fd()).unwrap();
        let mut forwards = || links.survey().unwrap().links["port"].port.unwrap().forwards;
        until("the port forwards", &mut forwards);
        host.ip("link set far down");
        until("the port is shut", || !forwards());
    });
}

/// Waits for what the kernel does in its own time.
#[track_caller]
fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let end = Instant::now() + Duration::from_secs(20);
    while !holds() {
        assert!(Instant::now() < end, "{what}");
        sleep(Duration::from_millis(5));
    }
}

#[test]
fn what_looks_at_more_than_addresses_is_conditional() {
    in_private_with_ip("survey::what_looks_at_more_than_addresses_is_conditional", || {
        let (host, _) = made();
        for rule in ["fwmark 1", "not from 10.0.0.0/8", "ipproto tcp", "uidrange 0-0", "dport 80"] {
            host.ip(&format!("rule add {rule} lookup 100 priority 60"));
            let survey = Links::open_in(host.as_fd()).unwrap().survey().unwrap();
            let told = survey.rules.iter().find(|told| told.priority == 60).unwrap();
            assert!(told.conditional, "{rule}: {told}");
            host.ip("rule delete priority 60");
        }
        host.ip("route add 203.0.113.0/24 nexthop via 10.0.0.7 nexthop via 10.0.0.8");
        let survey = Links::open_in(host.as_fd()).unwrap().survey().unwrap();
        let several = survey.routes.iter().find(|r| r.destination == "203.0.113.0/24".parse().unwrap());
        assert!(several.unwrap().conditional);
    });
}
