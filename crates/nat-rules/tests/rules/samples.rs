//! One set of rules for each option, and one with all of them.

use linkspan_nat_rules::{Access, Change, Destination, Egress, Network, Publish, Ruleset};
use linkspan_net_types::{Port, Protocol};

pub(crate) struct Sample {
    pub(crate) name: &'static str,
    pub(crate) rules: Ruleset,
}

pub(crate) fn all() -> Vec<Sample> {
    let sample = |name, change: Change| Sample { name, rules: Ruleset::new().after(&change).unwrap() };
    vec![
        sample("nothing", Change::new()),
        sample("nat", nat(Change::new())),
        sample("ranges", ranges(Change::new())),
        sample("v4-only", Change::new().add_network(network("ls-four", &["10.88.7.0/24"]))),
        sample("v6-only", Change::new().add_network(network("ls-six", &["fd88:7::/64"]))),
        sample("fixed-source", fixed(Change::new())),
        sample("keep-source", kept(Change::new())),
        sample("internal", internal(Change::new())),
        sample("no-neighbours", quiet(Change::new())),
        sample("routed", routed(Change::new())),
        sample("unprotected", open(Change::new())),
        sample("trusted", trusted(Change::new())),
        sample("everything", trusted(open(routed(quiet(internal(kept(fixed(nat(Change::new()))))))))),
    ]
}

pub(crate) fn network(bridge: &str, subnets: &[&str]) -> Network {
    let fresh = Network::new(bridge.parse().unwrap());
    subnets.iter().fold(fresh, |network, subnet| network.with_subnet(subnet.parse().unwrap()))
}

pub(crate) fn publish(protocol: Protocol, port: u16, to: &str, to_port: u16) -> Publish {
    Publish::nat(protocol, Port::new(port).unwrap(), destination(to, to_port))
}

pub(crate) fn destination(address: &str, port: u16) -> Destination {
    Destination::new(address.parse().unwrap(), Port::new(port).unwrap())
}

fn nat(change: Change) -> Change {
    change
        .add_network(network("ls-86f7e437", &["10.88.1.0/24", "fd88:1::/64"]))
        .publish(publish(Protocol::Tcp, 8080, "10.88.1.2", 80))
        .publish(publish(Protocol::Udp, 8081, "10.88.1.2", 81))
        .publish(publish(Protocol::Tcp, 8080, "fd88:1::2", 80))
        .publish(publish(Protocol::Udp, 8081, "fd88:1::2", 81).at("2001:db8::1".parse().unwrap()).unwrap())
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

fn fixed(change: Change) -> Change {
    let egress =
        Egress::Fixed { v4: Some([192, 168, 120, 2].into()), v6: Some("2001:db8::2".parse().unwrap()) };
    change
        .add_network(network("ls-e9d71f5e", &["10.88.2.0/24", "fd88:2::/64"]).with_egress(egress))
        .publish(publish(Protocol::Tcp, 8083, "10.88.2.2", 80).at([127, 0, 0, 1].into()).unwrap())
        .publish(publish(Protocol::Tcp, 8084, "10.88.2.2", 80).at([192, 0, 2, 1].into()).unwrap())
}

fn kept(change: Change) -> Change {
    change.add_network(network("ls-0ade7c2c", &["10.88.8.0/24"]).with_egress(Egress::Keep))
}

fn internal(change: Change) -> Change {
    change.add_network(network("ls-af10ef20", &["10.88.3.0/24"]).with_access(Access::Internal))
}

fn quiet(change: Change) -> Change {
    change.add_network(network("ls-58bdb05d", &["10.88.4.0/24"]).with_neighbours(false))
}

fn routed(change: Change) -> Change {
    let bridge = "ls-fd01c0d7".parse().unwrap();
    let opened = |to| Publish::routed(Protocol::Tcp, destination(to, 80), bridge);
    change
        .add_network(network("ls-fd01c0d7", &["10.88.5.0/24", "fd88:5::/64"]).with_access(Access::Routed))
        .publish_all([opened("10.88.5.2"), opened("fd88:5::2")])
}

fn open(change: Change) -> Change {
    change.add_network(network("ls-5fc7e38b", &["10.88.6.0/24"]).with_access(Access::Unprotected))
}

fn trusted(change: Change) -> Change {
    let own = network("ls-77d0c1ab", &["10.88.10.0/24", "fd88:10::/64"]);
    let keeps = network("ls-2f6b9e04", &["10.88.11.0/24"]).with_egress(Egress::Keep);
    change
        .add_network(own.with_trusted("eth1".parse().unwrap()).with_trusted("wg0".parse().unwrap()))
        .add_network(keeps.with_trusted("eth1".parse().unwrap()))
}
