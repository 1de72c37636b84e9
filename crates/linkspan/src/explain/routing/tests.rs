use super::*;
use linkspan_veth_bridge::survey::SurveyedLink;

/// A machine in the words of `ip`: `link NAME [up] [rp=N]`, `address LINK NET`, `route [TABLE:]ROUTE`,
/// `rule PRIORITY: ...`, `set NAME`. The usual rules, and what follows from addresses, are there.
fn machine(lines: &str) -> Survey {
    let mut survey = Survey::default();
    for v6 in [false, true] {
        survey.rules.push(rule(v6, 0, 255));
        survey.rules.push(rule(v6, 32766, 254));
    }
    lines.split(';').map(str::trim).filter(|line| !line.is_empty()).for_each(|line| tell(&mut survey, line));
    survey.rules.sort_by_key(|rule| (rule.v6, rule.priority));
    survey
}

fn rule(v6: bool, priority: u32, table: u32) -> PolicyRule {
    let lookup = Lookup::Table(table);
    PolicyRule { v6, priority, from: None, to: None, input: None, lookup, conditional: false }
}

fn tell(survey: &mut Survey, line: &str) {
    let words: Vec<_> = line.split(' ').collect();
    match words[..] {
        ["link", name, ..] => {
            let number = |prefix: &str| words.iter().find_map(|w| w.strip_prefix(prefix)?.parse().ok());
            let link = SurveyedLink {
                up: true,
                forwarding: words.contains(&"forwarding"),
                route_localnet: words.contains(&"route_localnet"),
                rp_filter: number("rp=").unwrap_or(0),
                ..SurveyedLink::default()
            };
            survey.links.insert(name.to_owned(), link);
        }
        ["address", link, net, ..] => give(survey, link, net.parse().unwrap(), words.contains(&"secondary")),
        ["route", kind, destination, "via", gateway, "dev", link] => {
            let gateway = Some(gateway.parse().unwrap());
            survey.routes.push(TableRoute { gateway, ..route(kind, destination, Some(link)) });
        }
        ["route", kind, destination, "dev", link] => survey.routes.push(route(kind, destination, Some(link))),
        ["route", kind, destination] => survey.routes.push(route(kind, destination, None)),
        ["rule", priority, "from", from, "table", table] => survey.rules.push(PolicyRule {
            from: Some(from.parse().unwrap()),
            ..rule(from.contains(':'), priority.parse().unwrap(), table.parse().unwrap())
        }),
        ["rule", priority, "marked", "table", table] => survey.rules.push(PolicyRule {
            conditional: true,
            ..rule(false, priority.parse().unwrap(), table.parse().unwrap())
        }),
        _ => panic!("{line}"),
    }
}

fn give(survey: &mut Survey, link: &str, net: IpNet, secondary: bool) {
    let host = IpNet::from(net.addr());
    let own = TableRoute { table: 255, ..route("local", &host.to_string(), Some(link)) };
    survey.routes.push(own);
    let on_link =
        TableRoute { source: Some(net.addr()), ..route("unicast", &net.trunc().to_string(), Some(link)) };
    survey.routes.push(on_link);
    survey.addresses.push(LinkAddress {
        link: link.to_owned(),
        address: net.addr(),
        reaches: net.trunc(),
        scope: 0,
        secondary,
        deprecated: false,
        tentative: false,
    });
}

/// A route of the main table, or of the one whose number is before its kind.
fn route(kind: &str, destination: &str, link: Option<&str>) -> TableRoute {
    let (table, kind) = kind.split_once(':').unwrap_or(("254", kind));
    let kind = match kind {
        "unicast" => RouteKind::Unicast,
        "local" => RouteKind::Local,
        "throw" => RouteKind::Throw,
        "blackhole" => RouteKind::Blackhole,
        other => panic!("{other}"),
    };
    TableRoute {
        table: table.parse().unwrap(),
        kind,
        destination: destination.parse().unwrap(),
        gateway: None,
        link: link.map(str::to_owned),
        metric: 0,
        source: None,
        conditional: false,
    }
}

const HOST: &str = "link eth0 forwarding; link br0 forwarding route_localnet; link eth1; \
    address eth0 192.0.2.1/24; address eth0 192.0.2.7/24 secondary; address br0 10.0.0.1/24; address br0 fd00::1/64; \
    address eth0 2001:db8::1/64; address eth1 198.51.100.1/24; route unicast 0.0.0.0/0 via 192.0.2.2 dev eth0; \
    route unicast ::/0 via 2001:db8::2 dev eth0; route blackhole 203.0.113.0/24";

fn told<T: std::fmt::Debug>(answer: Result<T, Stop>, said: impl Fn(T) -> String) -> String {
    match answer {
        Ok(answer) => said(answer),
        Err(Stop::By(obstacle)) => obstacle.to_string(),
        Err(Stop::Untold(doubt)) => format!("cannot tell: {doubt}"),
    }
}

/// Where the host takes a packet that arrives by a link.
#[track_caller]
fn check_taken(more: &str, packet: &str, expected: &str) {
    let survey = machine(&format!("{HOST}; {more}"));
    let routed = Routed { at: &Place::Host, survey: &survey };
    let [link, source, target] = packet.split(' ').collect::<Vec<_>>()[..] else { panic!("{packet}") };
    let taken = routed.taking(link.parse().unwrap(), source.parse().unwrap(), target.parse().unwrap());
    assert_eq!(told(taken, |route| format!("{route:?}")), expected, "{more}: {packet}");
}

#[test]
fn what_arrives_is_taken_as_the_kernel_takes_it() {
    check_taken("", "br0 10.0.0.2 192.0.2.1", "Host");
    check_taken("", "br0 10.0.0.2 8.8.8.8", "Link(IfName(eth0))");
    check_taken("", "eth0 192.0.2.9 10.0.0.2", "Link(IfName(br0))");
    check_taken(
        "",
        "br0 fd00::2 2001:db8:9::9",
        "the host, which passes nothing on: net.ipv6.conf.all.forwarding is 0",
    );
    check_taken(
        "",
        "eth1 198.51.100.9 10.0.0.2",
        "the host, which passes nothing on: net.ipv4.ip_forward is 0",
    );
    check_taken("", "eth1 198.51.100.9 192.0.2.1", "Host");
    check_taken("", "br0 10.0.0.2 203.0.113.9", "route `blackhole 203.0.113.0/24` of the host");
    let martian = |address: &str, link: &str| {
        format!("the routes of the host: {address} never arrives by link `{link}`")
    };
    check_taken("", "eth0 192.0.2.9 127.0.0.1", &martian("127.0.0.1", "eth0"));
    check_taken("", "br0 10.0.0.2 ::1", &martian("::1", "br0"));
    check_taken("", "eth0 127.0.0.1 10.0.0.2", &martian("127.0.0.1", "eth0"));
    check_taken("", "br0 192.0.2.1 8.8.8.8", &martian("192.0.2.1", "br0"));
}

#[test]
fn a_reverse_path_is_asked_for_where_a_link_wants_it() {
    let refused =
        |link: &str| format!("rp_filter of the host: the way back to 8.8.8.8 is not by link `{link}`");
    check_taken("", "br0 8.8.8.8 192.0.2.1", "Host");
    check_taken("link br0 rp=1", "br0 8.8.8.8 192.0.2.1", &refused("br0"));
    check_taken("link br0 rp=2", "br0 8.8.8.8 192.0.2.1", "Host");
    check_taken("link eth0 rp=1", "eth0 8.8.8.8 192.0.2.1", "Host");
    let nowhere = "rp_filter of the host: the way back to 203.0.113.9 is not by link `eth0`";
    check_taken("link eth0 rp=2", "eth0 203.0.113.9 192.0.2.1", nowhere);
}

#[test]
fn rules_of_routing_are_asked_in_their_order() {
    let elsewhere = "rule 9 from 10.0.0.0/24 table 100; route 100:unicast 0.0.0.0/0 dev eth1";
    check_taken(elsewhere, "br0 10.0.0.2 8.8.8.8", "Link(IfName(eth1))");
    check_taken(elsewhere, "eth0 192.0.2.9 8.8.8.8", "Link(IfName(eth0))");
    // Where its table says nothing, the next rule is asked, whether it holds or not.
    let silent = "rule 9 marked table 100; route 100:throw 0.0.0.0/0";
    check_taken(silent, "br0 10.0.0.2 8.8.8.8", "Link(IfName(eth0))");
    let policy = "cannot tell: the host routes by policy: `9: from all ... lookup 100`";
    let marked = "rule 9 marked table 100; route 100:unicast 0.0.0.0/0 dev eth1";
    check_taken(marked, "br0 10.0.0.2 8.8.8.8", policy);
    check_taken(marked, "br0 10.0.0.2 192.0.2.1", "Host");
}

/// From which address a packet is sent.
#[track_caller]
fn check_source(more: &str, target: &str, expected: &str) {
    let survey = machine(&format!("{HOST}; {more}"));
    let routed = Routed { at: &Place::Host, survey: &survey };
    let source = routed.source(target.parse().unwrap());
    assert_eq!(told(source, |source| source.to_string()), expected, "{more}: {target}");
}

#[test]
fn a_source_is_chosen_as_the_kernel_chooses_it() {
    check_source("", "10.0.0.2", "10.0.0.1");
    check_source("", "8.8.8.8", "192.0.2.1");
    check_source("", "192.0.2.1", "192.0.2.1");
    check_source("", "fd00::2", "fd00::1");
    check_source("", "2001:db8:9::9", "2001:db8::1");
    // The label of the target comes before the link, where neither link is the one it leaves by.
    check_source("route unicast fd09::/16 dev eth1", "fd09::9", "fd00::1");
    check_source("route unicast 172.16.0.0/12 dev eth1", "172.16.0.1", "198.51.100.1");
    check_source("", "203.0.113.9", "route `blackhole 203.0.113.0/24` of the host");
    let bare = Survey { rules: machine("").rules, ..Survey::default() };
    let routed = Routed { at: &Place::Host, survey: &bare };
    let nowhere = told(routed.source("8.8.8.8".parse().unwrap()), |source| source.to_string());
    assert_eq!(nowhere, "the routes of the host: none leads to 8.8.8.8");
}

#[test]
fn masquerade_takes_the_address_that_reaches_the_next_hop() {
    let survey = machine(&format!(
        "{HOST}; address eth0 172.16.0.1/24; route unicast 8.0.0.0/8 via 172.16.0.9 dev eth0"
    ));
    let routed = Routed { at: &Place::Host, survey: &survey };
    let own =
        |target: &str| routed.own("eth0".parse().unwrap(), target.parse().unwrap()).unwrap().to_string();
    assert_eq!(own("8.8.8.8"), "172.16.0.1");
    assert_eq!(own("9.9.9.9"), "192.0.2.1");
    assert_eq!(own("2001:db8:9::9"), "2001:db8::1");
}

#[test]
fn neighbours_of_ipv6_are_asked_for_from_an_address_of_the_link() {
    let survey = machine(
        "link eth0 up; link eth1 up; link eth2 up; address eth0 fd88:1::2/64; address eth1 fe80::1/64; address eth2 10.88.2.2/24",
    );
    let place = Place::Host;
    let routed = Routed { at: &place, survey: &survey };
    let asks = |link: &str, source: &str| routed.asks_on(link.parse().unwrap(), source.parse().unwrap());
    assert_eq!(asks("eth0", "fd88:1::2"), Ok(()));
    assert_eq!(asks("eth1", "fd88:1::2"), Ok(()));
    assert_eq!(asks("eth2", "10.88.1.2"), Ok(()));
    let (at, link) = (Place::Host, "eth2".to_owned());
    assert_eq!(asks("eth2", "fd88:1::2"), Err(Stop::By(Obstacle::Unaddressed { at, link })));
}

#[test]
fn a_packet_of_the_hosts_own_is_routed_by_its_source_too() {
    let survey = machine(
        "link br0 up; link eth1 up; address br0 10.0.0.1/24; address eth1 192.0.2.1/24; rule 9 from 10.0.0.0/24 table 100; route 100:unicast 0.0.0.0/0 dev eth1",
    );
    let place = Place::Host;
    let routed = Routed { at: &place, survey: &survey };
    let [gateway, inside, other] =
        ["10.0.0.1", "10.0.0.2", "192.0.2.1"].map(|address| address.parse().unwrap());
    assert_eq!(routed.source(inside), Ok(gateway));
    assert_eq!(routed.leaving(gateway, inside), Some(Route::Link("eth1".parse().unwrap())));
    assert_eq!(routed.leaving(other, inside), Some(Route::Link("br0".parse().unwrap())));
}
