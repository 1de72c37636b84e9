//! Packets and rules to hold what comes in against.

use linkspan_nat_rules::foreign::{Foreign, judge, objections};
use linkspan_nat_rules::walk::{Packet, Routes, Rules, walk};
use linkspan_nat_rules::{Change, Destination, Instance, Network, Publish, Ruleset};
use linkspan_net_types::{IfName, Port, Protocol};
use std::net::IpAddr;

/// The bridge of the network that [`rules`] are about.
pub(crate) const BRIDGE: &str = "ls-web";

pub(crate) fn name(text: &str) -> IfName {
    text.parse().expect("a few letters are a name")
}

fn address(text: &str) -> IpAddr {
    text.parse().expect("the addresses here are addresses")
}

pub(crate) fn port(number: u16) -> Port {
    Port::new(number).expect("no port here is 0")
}

/// A network, and three ports that are published.
pub(crate) fn change() -> Change {
    let network = Network::new(name(BRIDGE))
        .with_subnet("10.88.1.0/24".parse().expect("a subnet"))
        .with_subnet("fd88:1::/64".parse().expect("a subnet"));
    let to = |text| Destination::new(address(text), port(80));
    let local = Publish::nat(Protocol::Udp, port(53), to("10.88.1.3")).at(address("127.0.0.1"));
    Change::new()
        .add_network(network)
        .publish(Publish::nat(Protocol::Tcp, port(8080), to("10.88.1.2")))
        .publish(Publish::nat(Protocol::Udp, port(8080), to("fd88:1::2")))
        .publish(local.expect("one family"))
}

/// The rules that this change leads to.
pub(crate) fn rules() -> Ruleset {
    Ruleset::new().after(&change()).expect("one network is in nobody's way")
}

fn routes() -> Routes {
    let net = |text: &str| text.parse().expect("the nets here are nets");
    Routes::new()
        .with_link(name(BRIDGE), net("10.88.1.1/24"))
        .with_link(name(BRIDGE), net("fd88:1::1/64"))
        .with_link(name("eth0"), net("192.0.2.1/24"))
        .with_link(name("eth0"), net("2001:db8::1/64"))
        .with_route(net("0.0.0.0/0"), name("eth0"))
        .with_route(net("::/0"), name("eth0"))
}

/// From and to the container, the host and another machine, of both families.
fn packets() -> impl Iterator<Item = Packet> {
    let ends = [
        ("10.88.1.2", "198.51.100.7", BRIDGE),
        ("198.51.100.7", "192.0.2.1", "eth0"),
        ("10.88.1.2", "10.88.1.3", BRIDGE),
        ("192.0.2.1", "10.88.1.2", ""),
        ("fd88:1::2", "2001:db8:9::9", BRIDGE),
        ("2001:db8:9::9", "2001:db8::1", "eth0"),
    ];
    ends.into_iter().flat_map(|(from, to, link)| {
        let (from, to) = (address(from), address(to));
        let tcp = Packet::to_port(from, to, Protocol::Tcp, port(8080));
        let udp = Packet::to_port(from, to, Protocol::Udp, port(53));
        let arriving = move |packet: Packet| match link {
            "" => packet,
            link => packet.from_link(name(link)),
        };
        [tcp, udp, Packet::ping(from, to)].into_iter().flatten().map(arriving)
    })
}

/// Takes packets through what was seen, alone and with our own rules, and tells what becomes of them.
pub(crate) fn judge_all(foreign: &Foreign) {
    let (rules, routes) = (rules(), routes());
    let own = Rules::nftables(Instance::default(), &rules).with_user_rules(foreign);
    let lines = Rules::iptables(Instance::default(), &rules).with_user_rules(foreign);
    let everything = Rules::everything(foreign.clone(), [name(BRIDGE)]);
    for packet in packets() {
        let walked = walk(&own, &packet, &routes);
        crate::assert_one_line(&walked);
        crate::assert_one_line(judge(foreign, &walked));
        let _ = objections(foreign, &walked).count();
        crate::assert_one_line(walk(&lines, &packet, &routes));
        let through = walk(&everything, &packet.bridged(true), &routes);
        crate::assert_one_line(&through);
        let through = walk(&everything, &packet, &routes);
        crate::assert_one_line(&through);
        if let Some(answer) = through.answer(&routes) {
            crate::assert_one_line(walk(&everything, &answer, &routes));
        }
    }
}

/// Takes packets through rules of ours.
pub(crate) fn walk_all(rules: &Rules) {
    for packet in packets() {
        crate::assert_one_line(walk(rules, &packet, &routes()));
    }
}
