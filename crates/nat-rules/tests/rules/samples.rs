//! One set of rules for each option, with what it promises, and one with all of them.

use linkspan_nat_rules::{Access, Change, Destination, Egress, Network, Publish, Ruleset};
use linkspan_net_types::{Port, Protocol};

pub(crate) struct Sample {
    pub(crate) name: &'static str,
    /// What whoever asks for the option gets, in one sentence.
    pub(crate) promise: &'static str,
    pub(crate) rules: Ruleset,
}

pub(crate) fn all() -> Vec<Sample> {
    let sample = |(name, promise, change): (_, _, Change)| Sample {
        name,
        promise,
        rules: Ruleset::new().after(&change).unwrap(),
    };
    let parts =
        [by_address_translation(), with_another_source(), by_own_addresses(), with_other_neighbours()];
    let everything = EVERYTHING.iter().fold(Change::new(), |change, add| add(change));
    let whole =
        ("everything", "Networks of every kind on one host keep what each of them promises.", everything);
    parts.concat().into_iter().chain([whole]).map(sample).collect()
}

type Page = (&'static str, &'static str, Change);

/// The networks of one host, which must not have an address in common.
const EVERYTHING: [fn(Change) -> Change; 9] =
    [nat, fixed, kept, internal, isolated, quiet, routed, open, trusted];

fn by_address_translation() -> Vec<Page> {
    let four = network("ls-four", &["10.88.7.0/24"]);
    let six = network("ls-six", &["fd88:7::/64"]);
    vec![
        (
            "nothing",
            "Without networks and ports there are no rules; iptables then has no chains of ours either.",
            Change::new(),
        ),
        (
            "nat",
            "Containers go out with an address of the host, and are reached by published ports of the host alone: \
             from outside, from the host, from other networks, from neighbours and from themselves.",
            nat(Change::new()),
        ),
        (
            "one-address",
            "A port that is published at one address of the host answers at that address alone, and at a loopback \
             address it answers the host alone, whatever other machines route.",
            one_address(Change::new()),
        ),
        (
            "ranges",
            "Ports in a row are an element each with nftables, and one rule with iptables where they keep their \
             numbers.",
            ranges(Change::new()),
        ),
        (
            "v4-only",
            "A network without IPv6 is closed to it, whatever addresses its containers give themselves.",
            Change::new().add_network(four),
        ),
        (
            "v6-only",
            "A network without IPv4 is closed to it, whatever addresses its containers give themselves.",
            Change::new().add_network(six),
        ),
        (
            "trusted",
            "From the links of the host that a network trusts, published ports are reached at the containers' own \
             addresses as well, without translation; other ports and other links stay closed.",
            trusted(Change::new()),
        ),
    ]
}

fn with_another_source() -> Vec<Page> {
    let of_v4 = Egress::Fixed { v4: Some([192, 168, 120, 2].into()), v6: None };
    vec![
        (
            "fixed-source",
            "What goes out has these source addresses, whatever link it leaves by.",
            fixed(Change::new()),
        ),
        (
            "fixed-source-v4",
            "A family without a fixed source is masqueraded.",
            Change::new().add_network(dual("ls-e9d71f5e", 2).with_egress(of_v4)),
        ),
        (
            "keep-source",
            "What goes out keeps its own source address, so answers find their way without translation; the \
             containers' own addresses are closed all the same.",
            kept(Change::new()),
        ),
        (
            "unprotected-fixed-source",
            "Containers are reached at their own addresses, published or not, and go out with a fixed source.",
            Change::new().add_network(
                dual("ls-5fc7e38b", 6).with_access(Access::Unprotected).with_egress(fixed_egress()),
            ),
        ),
        (
            "unprotected-keep-source",
            "Containers are reached at their own addresses, published or not, and go out with them.",
            Change::new().add_network(
                dual("ls-5fc7e38b", 6).with_access(Access::Unprotected).with_egress(Egress::Keep),
            ),
        ),
    ]
}

fn by_own_addresses() -> Vec<Page> {
    vec![
        (
            "routed",
            "Nothing is translated: containers go out with their own addresses, and are reached at them, at \
             published ports and by ICMP.",
            routed(Change::new()),
        ),
        (
            "unprotected",
            "As nat, and every port is reached at the containers' own addresses as well, published or not.",
            open(Change::new()),
        ),
        (
            "internal",
            "No way out, and no way in from outside the host, also not by what other networks publish; the host \
             and the containers of the network reach each other.",
            internal(Change::new()),
        ),
        (
            "isolated",
            "Containers reach each other, and nobody else reaches them or is reached by them, the host included.",
            isolated(Change::new()),
        ),
    ]
}

fn with_other_neighbours() -> Vec<Page> {
    let quiet_and =
        |access| Change::new().add_network(dual("ls-58bdb05d", 4).with_neighbours(false).with_access(access));
    vec![
        (
            "no-neighbours",
            "Containers of the network reach of each other what is published alone, by an address of the host.",
            quiet(Change::new()),
        ),
        (
            "unprotected-no-neighbours",
            "Every port is reached at the containers' own addresses, but not by their neighbours.",
            quiet_and(Access::Unprotected),
        ),
        (
            "routed-no-neighbours",
            "Published ports are reached at the containers' own addresses, but not by their neighbours.",
            quiet_and(Access::Routed),
        ),
        (
            "internal-no-neighbours",
            "Containers reach the host, and nobody else.",
            quiet_and(Access::Internal),
        ),
        ("isolated-no-neighbours", "Containers reach nobody.", quiet_and(Access::Isolated)),
    ]
}

pub(crate) fn network(bridge: &str, subnets: &[&str]) -> Network {
    let fresh = Network::new(bridge.parse().unwrap());
    subnets.iter().fold(fresh, |network, subnet| network.with_subnet(subnet.parse().unwrap()))
}

/// A network of both families: `10.88.NUMBER.0/24` and `fd88:NUMBER::/64`.
fn dual(bridge: &str, number: u8) -> Network {
    network(bridge, &[&format!("10.88.{number}.0/24"), &format!("fd88:{number}::/64")])
}

pub(crate) fn publish(protocol: Protocol, port: u16, to: &str, to_port: u16) -> Publish {
    Publish::nat(protocol, Port::new(port).unwrap(), destination(to, to_port))
}

pub(crate) fn destination(address: &str, port: u16) -> Destination {
    Destination::new(address.parse().unwrap(), Port::new(port).unwrap())
}

fn nat(change: Change) -> Change {
    change
        .add_network(dual("ls-86f7e437", 1))
        .publish(publish(Protocol::Tcp, 8080, "10.88.1.2", 80))
        .publish(publish(Protocol::Udp, 8081, "10.88.1.2", 81))
        .publish(publish(Protocol::Tcp, 8080, "fd88:1::2", 80))
        .publish(publish(Protocol::Udp, 8081, "fd88:1::2", 81).at("2001:db8::1".parse().unwrap()).unwrap())
}

/// Ports at one address of the host each, the first at a loopback address.
fn at_one_address() -> [Publish; 2] {
    let at =
        |port, address: [u8; 4]| publish(Protocol::Tcp, port, "10.88.2.2", 80).at(address.into()).unwrap();
    [at(8083, [127, 0, 0, 1]), at(8084, [192, 0, 2, 1])]
}

fn one_address(change: Change) -> Change {
    change.add_network(dual("ls-e9d71f5e", 2)).publish_all(at_one_address())
}

fn ranges(change: Change) -> Change {
    let at = |port, to, to_port| publish(Protocol::Tcp, port, to, to_port);
    change
        .add_network(network("ls-range", &["10.88.9.0/24"]))
        .publish_all((7000..7010).map(|n| at(n, "10.88.9.2", n)))
        .publish_all((7010..7012).map(|n| at(n, "10.88.9.3", n)))
        .publish_all((7020..7022).map(|n| at(n, "10.88.9.3", n - 20)))
        .publish(at(7023, "10.88.9.3", 7023))
}

fn fixed_egress() -> Egress {
    Egress::Fixed { v4: Some([192, 168, 120, 2].into()), v6: Some("2001:db8::2".parse().unwrap()) }
}

fn fixed(change: Change) -> Change {
    change.add_network(dual("ls-e9d71f5e", 2).with_egress(fixed_egress())).publish_all(at_one_address())
}

fn kept(change: Change) -> Change {
    change.add_network(network("ls-0ade7c2c", &["10.88.8.0/24"]).with_egress(Egress::Keep))
}

fn internal(change: Change) -> Change {
    change.add_network(network("ls-af10ef20", &["10.88.3.0/24"]).with_access(Access::Internal))
}

fn isolated(change: Change) -> Change {
    change.add_network(dual("ls-31c7be90", 12).with_access(Access::Isolated))
}

fn quiet(change: Change) -> Change {
    change.add_network(network("ls-58bdb05d", &["10.88.4.0/24"]).with_neighbours(false))
}

fn opened(to: &str, port: u16, bridge: &str) -> Publish {
    Publish::routed(Protocol::Tcp, destination(to, port), bridge.parse().unwrap())
}

fn routed(change: Change) -> Change {
    let of_bridge = |to| opened(to, 80, "ls-fd01c0d7");
    change
        .add_network(dual("ls-fd01c0d7", 5).with_access(Access::Routed))
        .publish_all(["10.88.5.2", "fd88:5::2"].map(of_bridge))
}

fn open(change: Change) -> Change {
    change.add_network(network("ls-5fc7e38b", &["10.88.6.0/24"]).with_access(Access::Unprotected))
}

/// The first port is published at a loopback address.
fn trusted(change: Change) -> Change {
    let keeps = network("ls-2f6b9e04", &["10.88.11.0/24"]).with_egress(Egress::Keep);
    let trusting = dual("ls-77d0c1ab", 10).with_trusted("eth1".parse().unwrap());
    let of_host = |port, to| publish(Protocol::Tcp, port, to, 80);
    let of_bridge = |to| opened(to, 80, "ls-77d0c1ab");
    change
        .add_network(trusting.with_trusted("wg0".parse().unwrap()))
        .add_network(keeps.with_trusted("eth1".parse().unwrap()))
        .publish(of_host(8090, "10.88.10.2").at([127, 0, 0, 1].into()).unwrap())
        .publish_all([of_host(8090, "fd88:10::2"), of_host(8091, "10.88.11.2")])
        .publish_all(["10.88.10.2", "fd88:10::2"].map(of_bridge))
        .publish(opened("10.88.11.2", 80, "ls-2f6b9e04"))
}
