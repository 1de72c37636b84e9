//! Where packets go on paper: the same by both firewalls, and answered where they pass.

use crate::samples;
use linkspan_nat_rules::foreign::Foreign;
use linkspan_nat_rules::iptables::Family;
use linkspan_nat_rules::walk::{
    Exit, Packet, Route, Routes, Routing, Rules, Source, State, Verdict, Walk, walk,
};
use linkspan_nat_rules::{Access, Change, Destination, Egress, Instance, Network, Publish, Ruleset};
use linkspan_net_types::{IfName, Port, Protocol};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;
use std::collections::BTreeMap;
use std::net::IpAddr;

const LINKSPAN: fn() -> Instance = Instance::default;

pub(crate) fn link(name: &str) -> IfName {
    name.parse().unwrap()
}

/// Three networks with bridges `ls-1` to `ls-3`, the gateway being `.1` of each, and two links outward.
pub(crate) fn routes() -> Routes {
    let outside = Routes::new()
        .with_link(link("eth0"), "192.0.2.1/24".parse().unwrap())
        .with_link(link("eth0"), "2001:db8::1/64".parse().unwrap())
        .with_link(link("eth1"), "198.51.100.1/24".parse().unwrap())
        .with_link(link("eth1"), "2001:db8:1::1/64".parse().unwrap())
        .with_route("0.0.0.0/0".parse().unwrap(), link("eth0"))
        .with_route("::/0".parse().unwrap(), link("eth0"));
    (1..4).fold(outside, |routes, n| {
        let bridge = link(&format!("ls-{n}"));
        routes
            .with_link(bridge, format!("10.0.{n}.1/24").parse().unwrap())
            .with_link(bridge, format!("fd00:{n}::1/64").parse().unwrap())
    })
}

fn port(number: u16) -> Port {
    Port::new(number).unwrap()
}

fn network(number: u8) -> impl Strategy<Value = Network> {
    use Access::{Internal, Nat, Routed, Unprotected};
    let fixed = Egress::Fixed { v4: Some([192, 0, 2, 1].into()), v6: Some("2001:db8::1".parse().unwrap()) };
    let egress = select(vec![Egress::Masquerade, Egress::Masquerade, Egress::Keep, fixed]);
    let access = select(vec![Nat, Nat, Unprotected, Routed, Internal]);
    (access, egress, any::<(bool, bool, bool)>()).prop_map(
        move |(access, egress, (neighbours, trusts, v6))| {
            let network = Network::new(link(&format!("ls-{number}")))
                .with_subnet(format!("10.0.{number}.0/24").parse().unwrap())
                .with_access(access)
                .with_egress(egress)
                .with_neighbours(neighbours);
            let network = if trusts { network.with_trusted(link("eth1")) } else { network };
            match v6 {
                true => network.with_subnet(format!("fd00:{number}::/64").parse().unwrap()),
                false => network,
            }
        },
    )
}

fn publish() -> impl Strategy<Value = Publish> {
    let numbers = (1u8..4, 2u8..4, select(vec![80u16, 81]), select(vec![8080u16, 8081, 80]));
    (numbers, any::<bool>(), select(vec![Protocol::Tcp, Protocol::Udp]), 0u8..5).prop_map(
        |((network, host, inside, outside), v6, protocol, way)| {
            let to = Destination::new(container(network, host, v6), port(inside));
            let at = |four: &str, six: &str| {
                let address = if v6 { six } else { four };
                Publish::nat(protocol, port(outside), to).at(address.parse().unwrap()).unwrap()
            };
            match way {
                0 => Publish::routed(protocol, to, link(&format!("ls-{network}"))),
                1 => at("127.0.0.1", "2001:db8::1"),
                2 => at("192.0.2.1", "fd00:2::1"),
                _ => Publish::nat(protocol, port(outside), to),
            }
        },
    )
}

fn container(network: u8, host: u8, v6: bool) -> IpAddr {
    let text = if v6 { format!("fd00:{network}::{host}") } else { format!("10.0.{network}.{host}") };
    text.parse().unwrap()
}

prop_compose! {
    fn ruleset()(one in network(1), two in network(2), three in network(3), some in 1usize..8, ports in vec(publish(), 0..6)) -> Ruleset {
        let chosen = [one, two, three].into_iter().enumerate().filter(|(i, _)| *i == 0 || some >> i & 1 == 1);
        let rules = chosen.fold(Change::new(), |change, (_, network)| change.add_network(network));
        let rules = Ruleset::new().after(&rules).unwrap();
        let leads = |port: &Publish| {
            rules.networks().any(|network| network.subnets().any(|subnet| subnet.contains(&port.to().address())))
        };
        let ports: Vec<_> = ports.into_iter().filter(leads).collect();
        // Of two ports that contradict each other the first is there.
        ports.into_iter().fold(rules, |rules, port| rules.after(&Change::new().publish(port)).unwrap_or(rules))
    }
}

/// Who sends, who is sent to, and how.
pub(crate) fn packet() -> impl Strategy<Value = Packet> {
    let from = prop_oneof![
        Just(None),
        (1u8..4, 2u8..4)
            .prop_map(|(network, host)| Some((link(&format!("ls-{network}")), Some((network, host))))),
        select(vec!["eth0", "eth1"]).prop_map(|name| Some((link(name), None))),
    ];
    let address = |v6: bool| {
        let (own, far) = match v6 {
            false => (["192.0.2.1", "127.0.0.1", "10.0.2.1", "10.0.3.1"], ["203.0.113.9", "198.51.100.9"]),
            true => (["2001:db8::1", "::1", "fd00:2::1", "fd00:1::1"], ["2001:db8:9::9", "2001:db8:1::9"]),
        };
        let fixed: Vec<IpAddr> = own.iter().chain(&far).map(|text| text.parse().unwrap()).collect();
        prop_oneof![select(fixed), (1u8..4, 2u8..4).prop_map(move |(n, h)| container(n, h, v6))]
    };
    let protocol = select(vec![Some(Protocol::Tcp), Some(Protocol::Udp), None]);
    let rest = (from, protocol, select(vec![80, 81, 8080, 8081]), any::<bool>());
    (any::<bool>(), rest).prop_flat_map(move |(v6, rest)| (address(v6), Just((v6, rest)))).prop_map(
        |(target, (v6, (from, protocol, number, filtered)))| {
            let sender = match from {
                Some((_, Some((network, host)))) => container(network, host, v6),
                Some((_, None)) if v6 => "2001:db8:9::7".parse().unwrap(),
                Some((_, None)) => "203.0.113.7".parse().unwrap(),
                None => own_source(target),
            };
            let packet = match protocol {
                Some(protocol) => Packet::to_port(sender, target, protocol, port(number)),
                None => Packet::ping(sender, target),
            };
            let packet = packet.unwrap();
            let Some((name, of)) = from else { return packet };
            let neighbour =
                of.is_some_and(|(network, _)| (2..4).any(|host| target == container(network, host, v6)));
            let packet = packet.from_link(name);
            if neighbour { packet.bridged(filtered) } else { packet }
        },
    )
}

/// The source that the kernel chooses for the host's own packets.
fn own_source(target: IpAddr) -> IpAddr {
    match routes().route(target) {
        Route::Link(link) => routes().own(link, target).unwrap(),
        _ => target,
    }
}

/// What both firewalls can be asked to agree in: the rules have other names.
fn outcome(walk: &Walk) -> (Option<Exit>, bool, IpAddr, Option<Port>, Source) {
    let (exit, stopped) = match walk.verdict() {
        Verdict::Passes(exit) => (Some(*exit), false),
        Verdict::StoppedBy(_) => (None, true),
        _ => (None, false),
    };
    (exit, stopped, walk.target(), walk.port(), walk.source())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn both_firewalls_give_the_same_answer(rules in ruleset(), packets in vec(packet(), 32)) {
        let routes = routes();
        let (nft, ipt) = (Rules::nftables(LINKSPAN(), &rules), Rules::iptables(LINKSPAN(), &rules));
        let saved = |foreign: Foreign, family| {
            let text = linkspan_nat_rules::iptables::text(LINKSPAN(), &rules, family);
            foreign.with_saved(family, &text)
        };
        let seen = [Family::V4, Family::V6].into_iter().fold(Foreign::new(LINKSPAN()), saved);
        let everything = Rules::everything(seen, rules.networks().map(Network::bridge));
        for packet in packets {
            let states = [State::New, State::Established, State::Related];
            for packet in [packet].into_iter().chain(states.map(|state| packet.in_state(state))) {
                let (a, b) = (walk(&nft, &packet, &routes), walk(&ipt, &packet, &routes));
                let (all, ours) = (walk(&everything, &packet, &routes), b.to_string());
                prop_assert_eq!(all.to_string(), ours, "\n{:?}", rules);
                prop_assert_eq!(outcome(&a), outcome(&b), "\n{}\n{}\n{:?}", a, b, rules);
            }
        }
    }

    #[test]
    fn what_passes_is_answered(rules in ruleset(), packets in vec(packet(), 32)) {
        let routes = routes();
        for loaded in [Rules::nftables(LINKSPAN(), &rules), Rules::iptables(LINKSPAN(), &rules)] {
            for packet in &packets {
                let asked = walk(&loaded, packet, &routes);
                let Some(answer) = asked.answer(&routes) else { continue };
                let answered = walk(&loaded, &answer, &routes);
                let passes = matches!(answered.verdict(), Verdict::Passes(_));
                prop_assert!(passes, "\n{}\n{}\n{:?}", asked, answered, rules);
                // The asker sees the address that it asked.
                prop_assert_eq!(answered.target(), packet.source());
                let seen = match answered.source() {
                    Source::Kept(source) | Source::Translated(source) => Some(source),
                    Source::Masqueraded => None,
                };
                prop_assert_eq!(seen, Some(packet.target()), "\n{}\n{}", asked, answered);
            }
        }
    }

    #[test]
    fn no_text_panics(text: String, lines in vec("(\\*|:|-A )?[A-Z!\"-]{0,6}( (-[sdiopmjg]|!|--dport|--ctstate|--dst-type|[0-9./:,]{1,9}|\"|FORWARD)){0,6}", 0..8)) {
        let text = format!("*filter\n:FORWARD DROP [0:0]\n{text}\n{}", lines.join("\n"));
        let packet = Packet::ping("192.0.2.1".parse().unwrap(), "10.0.1.2".parse().unwrap()).unwrap();
        let walked = walk(&Rules::none(LINKSPAN(), &Ruleset::new()), &packet, &routes());
        for family in [Family::V4, Family::V6] {
            let foreign = Foreign::new(LINKSPAN()).with_saved(family, &text);
            let _ = linkspan_nat_rules::foreign::judge(&foreign, &walked);
        }
    }
}

/// A packet in words: `tcp A -> B:80 from LINK`, `ping A -> B`.
pub(crate) fn parse(text: &str) -> Packet {
    let words: Vec<_> = text.split(' ').collect();
    let (source, to) = (words[1].parse().unwrap(), words[3]);
    let packet = match words[0] {
        "ping" => Packet::ping(source, to.parse().unwrap()),
        protocol => {
            let (address, number) = to.rsplit_once(':').unwrap();
            let address = address.trim_matches(['[', ']']).parse().unwrap();
            Packet::to_port(source, address, protocol.parse().unwrap(), number.parse().unwrap())
        }
    };
    let packet = packet.unwrap();
    let packet = words.get(5).map_or(packet, |name| packet.from_link(link(name)));
    if text.contains(" bridged") { packet.bridged(true) } else { packet }
}

fn check(rules: &str, packet: &str, expected: &str) {
    let samples: BTreeMap<_, _> = samples::all().into_iter().map(|s| (s.name, s.rules)).collect();
    let loaded = match rules.split_once(' ') {
        Some(("iptables", name)) => Rules::iptables(LINKSPAN(), &samples[name]),
        _ => Rules::nftables(LINKSPAN(), &samples[rules]),
    };
    let outside = Routes::new()
        .with_link(link("eth0"), "192.0.2.1/24".parse().unwrap())
        .with_route("0.0.0.0/0".parse().unwrap(), link("eth0"));
    let bridges = samples[rules.rsplit(' ').next().unwrap()].networks().flat_map(|network| {
        network.subnets().map(|subnet| (network.bridge(), subnet.hosts().next(), subnet)).collect::<Vec<_>>()
    });
    let routes = bridges.fold(outside, |routes, (bridge, gateway, subnet)| {
        let address = ipnet::IpNet::new(gateway.unwrap(), subnet.prefix_len()).unwrap();
        routes.with_link(bridge, address)
    });
    let walked = walk(&loaded, &parse(packet), &routes);
    let text = walked.to_string();
    assert_eq!(text.split_once(": ").unwrap().1, expected, "{rules}: {packet}");
}

#[test]
fn the_rule_that_decides_is_named() {
    let (web, quiet) = ("10.88.1.2", "10.88.4.2");
    check(
        "nat",
        "tcp 203.0.113.7 -> 192.0.2.1:8080 from eth0",
        &format!("passes by ls-86f7e437, led to {web} port 80"),
    );
    check("nat", &format!("tcp {web} -> 203.0.113.7:443 from ls-86f7e437"), "passes by eth0, as masqueraded");
    check(
        "iptables nat",
        &format!("tcp 203.0.113.7 -> {web}:80 from eth0"),
        "stopped by `-A LINKSPAN-PRE -d 10.88.1.0/24 -m addrtype ! --dst-type LOCAL -j DROP` in chain `LINKSPAN-PRE` of table `iptables raw`",
    );
    check(
        "no-neighbours",
        &format!("tcp {quiet} -> 10.88.4.3:80 from ls-58bdb05d bridged"),
        "stopped by `drop` in chain `dnat_only` of table `inet linkspan`",
    );
    check(
        "iptables no-neighbours",
        &format!("tcp {quiet} -> 10.88.4.3:80 from ls-58bdb05d bridged"),
        "stopped by `-A LINKSPAN-FORWARD -i ls-58bdb05d -o ls-58bdb05d -j DROP` in chain `LINKSPAN-FORWARD` of table `iptables filter`",
    );
    check(
        "internal",
        "ping 10.88.3.2 -> 203.0.113.7 from ls-af10ef20",
        "stopped by `iifname @internal drop` in chain `forward` of table `inet linkspan`",
    );
    check(
        "fixed-source",
        "tcp 127.0.0.1 -> 127.0.0.1:8083",
        "passes by ls-e9d71f5e, led to 10.88.2.2 port 80, as masqueraded",
    );
    check("fixed-source", "tcp 203.0.113.7 -> 127.0.0.1:8083 from eth0", "no route to 127.0.0.1");
    check(
        "fixed-source",
        "udp 10.88.2.2 -> 203.0.113.7:53 from ls-e9d71f5e",
        "passes by eth0, as 192.168.120.2",
    );
    check("routed", "tcp 203.0.113.7 -> 10.88.5.2:80 from eth0", "passes by ls-fd01c0d7");
    check(
        "routed",
        "tcp 203.0.113.7 -> 10.88.5.2:81 from eth0",
        "stopped by `drop` in chain `to_routed` of table `inet linkspan`",
    );
}

#[test]
fn what_the_host_sends_to_a_gateway_of_its_own_is_answered() {
    let rules =
        Change::new().add_network(Network::new(link("ls-1")).with_subnet("10.0.1.0/24".parse().unwrap()));
    let rules = Rules::nftables(LINKSPAN(), &Ruleset::new().after(&rules).unwrap());
    let routes = routes().with_link(link("lo"), "127.0.0.1/8".parse().unwrap());
    let asked = walk(&rules, &parse("tcp 10.0.1.1 -> 10.0.1.1:80"), &routes);
    assert_eq!((asked.verdict(), asked.source()), (&Verdict::Passes(Exit::Host), Source::Masqueraded));
    let answer = walk(&rules, &asked.answer(&routes).unwrap(), &routes);
    assert_eq!(answer.verdict(), &Verdict::Passes(Exit::Host));
}

/// Routes of a host that passes nothing on.
struct Closed(Routes);

impl Routing for Closed {
    fn route(&self, target: IpAddr) -> Route {
        self.0.route(target)
    }

    fn own(&self, link: IfName, target: IpAddr) -> Option<IpAddr> {
        self.0.own(link, target)
    }

    fn arriving(&self, _: IfName, _: IpAddr, target: IpAddr) -> Option<Route> {
        Some(self.0.route(target)).filter(|route| *route == Route::Host).or(Some(Route::Nowhere))
    }
}

#[test]
fn a_frame_of_ipv4_that_is_led_to_its_own_bridge_needs_forwarding() {
    let (own, at) = (["10.0.1.2", "fd00:1::2"], ["10.0.1.1:8080", "[fd00:1::1]:8080"]);
    let subnets = ["10.0.1.0/24", "fd00:1::/64"].map(|subnet| subnet.parse().unwrap());
    let network = subnets.into_iter().fold(Network::new(link("ls-1")), Network::with_subnet);
    let published = own
        .map(|to| Publish::nat(Protocol::Tcp, port(8080), Destination::new(to.parse().unwrap(), port(80))));
    let change = published.into_iter().fold(Change::new().add_network(network), Change::publish);
    let rules = Rules::nftables(LINKSPAN(), &Ruleset::new().after(&change).unwrap());
    let verdicts = |routes: &dyn Routing| {
        [0, 1].map(|n| {
            let packet = parse(&format!("tcp {} -> {} from ls-1", own[n], at[n])).routed(true);
            walk(&rules, &packet, routes).verdict().clone()
        })
    };
    let turned = Verdict::Passes(Exit::Link(link("ls-1")));
    assert_eq!(verdicts(&routes()), [turned.clone(), turned.clone()]);
    assert_eq!(verdicts(&Closed(routes())), [Verdict::NoRoute(own[0].parse().unwrap()), turned]);
}
