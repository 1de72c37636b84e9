//! What is planned, case by case.
#![allow(clippy::unwrap_used, reason = "a test fails by a panic")]

use linkspan_veth_bridge::{
    Bridge, BridgeFacts, BridgeNetfilter, Error, Forwarding, Group, HostEnd, InsideEnd, Ipv6Setup, Link,
    LinkKind, Mac, Mtu, Ownership, Plan, Port, Route, Seen, Space, Veth, plan,
};

/// A host with bridge `br0` and a container with `lo`, both with IPv6.
fn seen() -> Seen {
    let ipv6 = Some(Ipv6Setup::DEFAULT);
    let bridge =
        Link { kind: LinkKind::Bridge(BridgeFacts::default()), mtu: 1500, up: true, ipv6, ..Link::default() };
    let lo = Link { mtu: 65536, ipv6, ..Link::default() };
    Seen {
        host: Space { links: [("br0".to_owned(), bridge)].into(), ..Space::default() },
        container: Some(Space { links: [("lo".to_owned(), lo)].into(), ..Space::default() }),
        forwarding: Forwarding { v4: false, v6: Some(false) },
        bridge_netfilter: BridgeNetfilter { iptables: Some(false), ip6tables: Some(false) },
    }
}

/// The same with something changed.
fn seen_with(change: impl FnOnce(&mut Seen)) -> Seen {
    let mut seen = seen();
    change(&mut seen);
    seen
}

fn host_link(seen: &mut Seen, name: &str, link: Link) {
    seen.host.links.insert(name.to_owned(), link);
}

fn inside_link(seen: &mut Seen, name: &str, kind: LinkKind, address: &str) {
    let link = Link { kind, addresses: [address.parse().unwrap()].into(), ..Link::default() };
    seen.container.as_mut().unwrap().links.insert(name.to_owned(), link);
}

fn bridge(name: &str) -> Bridge {
    Bridge::new(name.parse().unwrap(), "02:42:0a:58:00:01".parse().unwrap(), Mtu::ETHERNET)
}

fn port(port: Port) -> HostEnd {
    HostEnd::port("vethls0".parse().unwrap(), "02:aa:00:00:00:01".parse().unwrap(), port)
}

fn br0() -> Port {
    Port::of("br0".parse().unwrap())
}

/// `eth0` with these addresses and gateways.
fn inside(addresses: &[&str], gateways: &[&str]) -> InsideEnd {
    let end = InsideEnd::new("eth0".parse().unwrap(), Mac::of_address("10.88.0.2".parse().unwrap()));
    let end = addresses.iter().fold(end, |end, address| end.with_address(address.parse().unwrap()));
    gateways.iter().fold(end, |end, gateway| end.with_gateway(gateway.parse().unwrap()))
}

fn web() -> Veth {
    Veth::new(port(br0()), inside(&["10.88.0.2/24"], &["10.88.0.1"]), Mtu::ETHERNET)
}

/// A plan as its lines, or a refusal as its text, against what is expected.
#[track_caller]
fn check(planned: Result<Plan, Error>, expected: &str) {
    let text = match planned {
        Ok(plan) => plan.to_string(),
        Err(error) => format!("refused: {error}"),
    };
    let lines: Vec<_> = text.lines().collect();
    let expected: Vec<_> = expected.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
    assert_eq!(lines, expected);
}

#[test]
fn a_bridge_of_ours_is_configured_whole() {
    let wanted = bridge("br1")
        .with_address("10.88.0.1/24".parse().unwrap())
        .with_address("fd88::1/64".parse().unwrap())
        .with_group(Group::new(7).unwrap())
        .with_route_localnet();
    check(
        plan::bridge(&wanted, &seen()),
        "create bridge br1 mac 02:42:0a:58:00:01 group 7
         set br1 addrgenmode none
         set br1 accept_ra off
         set br1 route_localnet on
         add address 10.88.0.1/24 to br1
         add address fd88::1/64 to br1
         add address fe80::42:aff:fe58:1/64 to br1
         set br1 up",
    );
}

#[test]
fn a_bridge_without_ipv6_in_the_kernel_has_no_step_of_ipv6() {
    let seen = seen_with(|seen| seen.forwarding.v6 = None);
    let wanted = bridge("br1").with_address("10.88.0.1/24".parse().unwrap());
    check(
        plan::bridge(&wanted, &seen),
        "create bridge br1 mac 02:42:0a:58:00:01
         add address 10.88.0.1/24 to br1
         set br1 up",
    );
    let wanted = wanted.with_address("fd88::1/64".parse().unwrap());
    check(plan::bridge(&wanted, &seen), "refused: `br1` cannot have IPv6, which the kernel lacks");
}

#[test]
fn an_adopted_bridge_only_gets_what_it_lacks() {
    let seen = seen();
    let ownership = Ownership::of(&"br0".parse().unwrap(), &seen).unwrap();
    let wanted = bridge("br0").with_ownership(ownership).with_address("10.88.0.1/24".parse().unwrap());
    check(plan::bridge(&wanted, &seen), "add address 10.88.0.1/24 to br0");
    let made = seen.after(&plan::bridge(&wanted, &seen).unwrap());
    check(Ok(plan::remove_bridge(&wanted, &made)), "remove address 10.88.0.1/24 from br0");
    check(plan::bridge(&wanted, &Seen::default()), "refused: there is no bridge `br0`");
    check(Ok(plan::remove_bridge(&wanted, &Seen::default())), "");
}

#[test]
fn a_link_of_another_kind_is_no_bridge() {
    let seen = seen_with(|seen| host_link(seen, "br1", Link { kind: LinkKind::Veth, ..Link::default() }));
    check(plan::bridge(&bridge("br1"), &seen), "refused: `br1` is a veth and not a bridge");
    check(Ok(plan::remove_bridge(&bridge("br1"), &seen)), "");
    let error = Ownership::of(&"br1".parse().unwrap(), &seen).unwrap_err();
    assert_eq!(error.to_string(), "`br1` is a veth and not a bridge");
}

#[test]
fn what_the_owner_of_an_adopted_bridge_changed_meanwhile_stays() {
    let seen = seen_with(|seen| seen.host.links.get_mut("br0").unwrap().route_localnet = true);
    let ownership = Ownership::of(&"br0".parse().unwrap(), &seen).unwrap();
    let wanted = bridge("br0").with_ownership(ownership).with_route_localnet();
    let mut changed = seen.after(&plan::bridge(&wanted, &seen).unwrap());
    let link = changed.host.links.get_mut("br0").unwrap();
    (link.mtu, link.mac) = (1400, Some("02:de:ad:be:ef:01".parse().unwrap()));
    (link.up, link.route_localnet) = (false, false);
    link.addresses.insert("192.0.2.1/24".parse().unwrap());
    check(Ok(plan::remove_bridge(&wanted, &changed)), "");
}

#[test]
fn an_adopted_bridge_is_given_the_mac_that_it_has_with_whatever_it_lacks() {
    let mac = "02:de:ad:be:ef:01".parse().unwrap();
    let seen = seen_with(|seen| seen.host.links.get_mut("br0").unwrap().mac = Some(mac));
    let ownership = Ownership::of(&"br0".parse().unwrap(), &seen).unwrap();
    let wanted = bridge("br0").with_ownership(ownership);
    check(plan::bridge(&wanted, &seen), "");
    check(
        plan::bridge(&wanted.with_address("10.88.0.1/24".parse().unwrap()), &seen),
        "add address 10.88.0.1/24 to br0
         set br0 mac 02:de:ad:be:ef:01",
    );
}

#[test]
fn a_bridge_that_someone_else_made_in_place_of_ours_is_refused_and_stays() {
    let ours = bridge("br0");
    check(
        plan::bridge(&ours, &seen()),
        "refused: bridge `br0` has no MAC, not 02:42:0a:58:00:01 as ours was made with",
    );
    check(Ok(plan::remove_bridge(&ours, &seen())), "");
    let mac = Some("02:de:ad:be:ef:01".parse().unwrap());
    let others = seen_with(|seen| seen.host.links.get_mut("br0").unwrap().mac = mac);
    check(
        plan::bridge(&ours, &others),
        "refused: bridge `br0` has MAC 02:de:ad:be:ef:01, not 02:42:0a:58:00:01 as ours was made with",
    );
    check(Ok(plan::remove_bridge(&ours, &others)), "");
}

#[test]
fn ipv6_needs_an_mtu_of_1280() {
    let small = Mtu::new(1279).unwrap();
    let wanted = Bridge::new("br1".parse().unwrap(), "02:42:0a:58:00:01".parse().unwrap(), small)
        .with_address("fd88::1/64".parse().unwrap());
    check(
        plan::bridge(&wanted, &seen()),
        "refused: an MTU of 1279 on `br1` is below the 1280 that IPv6 needs",
    );
    let wanted = Veth::new(port(br0()), inside(&["fd88::2/64"], &[]), small);
    check(
        plan::attach(&wanted, &seen()),
        "refused: an MTU of 1279 on `eth0` is below the 1280 that IPv6 needs",
    );
}

#[test]
fn a_container_without_ipv6_gets_no_address_of_it() {
    check(
        plan::attach(&web(), &seen()),
        "create veth vethls0 mac 02:aa:00:00:00:01 to eth0 in the container mac 02:42:0a:58:00:02 mtu 1500 master br0
         set vethls0 addrgenmode none
         set vethls0 up
         set lo in the container up
         set eth0 in the container addrgenmode none
         set eth0 in the container up
         add address 10.88.0.2/24 to eth0 in the container
         add default route via 10.88.0.1 dev eth0 in the container",
    );
}

#[test]
fn a_container_with_ipv6_gets_its_link_local_address_by_hand() {
    let wanted = Veth::new(port(br0()), inside(&["fd88::2/64"], &["fd88::1"]), Mtu::ETHERNET);
    check(
        plan::attach(&wanted, &seen()),
        "create veth vethls0 mac 02:aa:00:00:00:01 to eth0 in the container mac 02:42:0a:58:00:02 mtu 1500 master br0
         set vethls0 addrgenmode none
         set vethls0 up
         set lo in the container up
         set eth0 in the container addrgenmode none
         set eth0 in the container up
         add address fd88::2/64 to eth0 in the container
         add address fe80::42:aff:fe58:2/64 to eth0 in the container
         add default route via fd88::1 dev eth0 in the container",
    );
}

#[test]
fn a_point_to_point_link_has_addresses_at_both_ends() {
    let near = HostEnd::point_to_point(
        "vethls0".parse().unwrap(),
        "02:aa:00:00:00:01".parse().unwrap(),
        vec!["10.88.0.1/31".parse().unwrap()],
    );
    let wanted = Veth::new(near, inside(&["10.88.0.0/31"], &[]), Mtu::new(576).unwrap());
    let seen = seen_with(|seen| seen.container.as_mut().unwrap().links.get_mut("lo").unwrap().up = true);
    check(
        plan::attach(&wanted, &seen),
        "create veth vethls0 mac 02:aa:00:00:00:01 to eth0 in the container mac 02:42:0a:58:00:02 mtu 576
         set vethls0 up
         add address 10.88.0.1/31 to vethls0
         set eth0 in the container up
         add address 10.88.0.0/31 to eth0 in the container",
    );
}

/// The flags of a port by what bridge netfilter is, what the bridge's own setting is and what is asked for.
#[test]
fn hairpin_follows_bridge_netfilter_and_isolation_yields_to_it() {
    fn check(host: Option<bool>, own: bool, isolated: bool, expected: Option<&str>) {
        let seen = seen_with(|seen| {
            seen.bridge_netfilter = BridgeNetfilter { iptables: host, ip6tables: None };
            let facts = BridgeFacts { calls_iptables: own, ports: None };
            seen.host.links.get_mut("br0").unwrap().kind = LinkKind::Bridge(facts);
        });
        let wanted = if isolated { br0().isolated() } else { br0() };
        let plan = plan::attach(&Veth::new(port(wanted), inside(&[], &[]), Mtu::ETHERNET), &seen).unwrap();
        let flags = plan.steps().iter().map(ToString::to_string).find(|step| step.starts_with("set port"));
        assert_eq!(flags.as_deref(), expected, "{host:?} {own} {isolated}");
    }
    let (hairpin, isolated) =
        ("set port vethls0 hairpin on isolated off", "set port vethls0 hairpin off isolated on");
    check(None, false, false, None);
    check(None, false, true, Some(isolated));
    check(Some(false), false, false, None);
    check(Some(false), false, true, Some(isolated));
    check(Some(true), false, false, Some(hairpin));
    check(Some(true), false, true, Some(hairpin));
    check(Some(false), true, true, Some(hairpin));
    check(None, true, false, Some(hairpin));
}

#[test]
fn a_full_bridge_takes_no_more_ports() {
    fn check(ports: Option<usize>, full: bool) {
        let seen = seen_with(|seen| {
            let facts = BridgeFacts { calls_iptables: false, ports };
            seen.host.links.get_mut("br0").unwrap().kind = LinkKind::Bridge(facts);
        });
        let refused = matches!(plan::attach(&web(), &seen), Err(Error::BridgeFull { .. }));
        assert_eq!(refused, full, "{ports:?}");
    }
    check(None, false);
    check(Some(1022), false);
    check(Some(1023), true);
}

#[test]
fn what_the_container_has_already_is_refused_before_any_change() {
    let name = seen_with(|seen| inside_link(seen, "eth0", LinkKind::Device, "192.0.2.1/24"));
    check(plan::attach(&web(), &name), "refused: the container has a link `eth0` already");
    let subnet = seen_with(|seen| inside_link(seen, "eth1", LinkKind::Veth, "10.88.0.130/25"));
    check(
        plan::attach(&web(), &subnet),
        "refused: address 10.88.0.2/24 overlaps 10.88.0.130/25 of the container's `eth1`",
    );
    let local = seen_with(|seen| inside_link(seen, "eth1", LinkKind::Veth, "fe80::1/64"));
    assert!(plan::attach(&web(), &local).is_ok());
    let route = seen_with(|seen| {
        let route = Route {
            destination: "0.0.0.0/0".parse().unwrap(),
            gateway: Some("192.0.2.9".parse().unwrap()),
            link: Some("eth1".to_owned()),
            metric: 0,
        };
        seen.container.as_mut().unwrap().default_routes.insert(route);
    });
    check(
        plan::attach(&web(), &route),
        "refused: the container has a default route via 192.0.2.9 already, so none via 10.88.0.1",
    );
}

#[test]
fn what_cannot_work_is_refused_before_any_change() {
    let absent = Veth::new(port(Port::of("br1".parse().unwrap())), inside(&[], &[]), Mtu::ETHERNET);
    check(plan::attach(&absent, &seen()), "refused: there is no bridge `br1`");
    let gateway = Veth::new(port(br0()), inside(&["10.88.0.2/24"], &["10.89.0.1"]), Mtu::ETHERNET);
    check(plan::attach(&gateway, &seen()), "refused: gateway 10.89.0.1 is in no subnet of `eth0`");
    let unseen = seen_with(|seen| seen.container = None);
    check(plan::attach(&web(), &unseen), "refused: the container was not looked at");
    let taken = seen_with(|seen| host_link(seen, "vethls0", Link::default()));
    check(plan::attach(&web(), &taken), "refused: `vethls0` is a device and not the host end of a veth pair");
    let strayed =
        seen_with(|seen| host_link(seen, "vethls0", Link { kind: LinkKind::Veth, ..Link::default() }));
    check(
        plan::attach(&web(), &strayed),
        "refused: `vethls0` is there, but its other end `eth0` is not in the container",
    );
}

#[test]
fn what_someone_undid_is_all_that_is_planned_again() {
    let attached = seen().after(&plan::attach(&web(), &seen()).unwrap());
    check(plan::attach(&web(), &attached), "");

    let mut orphan = attached.clone();
    orphan.host.links.get_mut("vethls0").unwrap().master = None;
    check(plan::attach(&web(), &orphan), "set vethls0 master br0");

    let mut bare = attached.clone();
    let container = bare.container.as_mut().unwrap();
    container.links.get_mut("eth0").unwrap().addresses.clear();
    container.default_routes.clear();
    check(
        plan::attach(&web(), &bare),
        "add address 10.88.0.2/24 to eth0 in the container
         add default route via 10.88.0.1 dev eth0 in the container",
    );

    let mut filtered = attached;
    filtered.bridge_netfilter.iptables = Some(true);
    check(plan::attach(&web(), &filtered), "set port vethls0 hairpin on isolated off");
}

#[test]
fn detaching_needs_the_host_end_alone() {
    let mut attached = seen().after(&plan::attach(&web(), &seen()).unwrap());
    attached.container = None;
    check(Ok(plan::detach(&web(), &attached)), "delete veth vethls0 with eth0 in the container");
    check(Ok(plan::cut_off(&web(), &attached)), "set vethls0 down");
    check(Ok(plan::detach(&web(), &seen())), "");
    check(Ok(plan::cut_off(&web(), &seen())), "");
}

#[test]
fn a_default_route_moves_to_another_link_and_back() {
    let second = Veth::new(
        HostEnd::port("vethls1".parse().unwrap(), "02:aa:00:00:00:02".parse().unwrap(), br0()),
        InsideEnd::new("eth1".parse().unwrap(), "02:42:0a:59:00:02".parse().unwrap())
            .with_address("10.89.0.2/24".parse().unwrap()),
        Mtu::ETHERNET,
    );
    let one = seen().after(&plan::attach(&web(), &seen()).unwrap());
    let both = one.after(&plan::attach(&second, &one).unwrap());
    let (eth0, eth1) = ("eth0".parse().unwrap(), "eth1".parse().unwrap());
    let (first, other) = ("10.88.0.1".parse().unwrap(), "10.89.0.1".parse().unwrap());
    check(plan::reroute(&eth0, first, &both), "");
    let there = plan::reroute(&eth1, other, &both).unwrap();
    let moved = both.after(&there);
    check(Ok(there), "replace default route via 10.89.0.1 dev eth1 in the container");
    let back = plan::reroute(&eth0, first, &moved).unwrap();
    assert_eq!(moved.after(&back), both);
    check(plan::reroute(&eth1, first, &both), "refused: gateway 10.88.0.1 is in no subnet of `eth1`");
}

#[test]
fn forwarding_is_planned_where_it_is_off() {
    use linkspan_veth_bridge::Family::{V4, V6};
    check(Ok(plan::forwarding(&[V4, V6], &seen())), "switch IPv4 forwarding on\nswitch IPv6 forwarding on");
    let on = seen_with(|seen| seen.forwarding = Forwarding { v4: true, v6: None });
    check(Ok(plan::forwarding(&[V4, V6], &on)), "");
}
