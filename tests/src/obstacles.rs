//! Each change of an attach meets something real that stands in its way: it is refused by name, and nothing stays.

use crate::private::{in_private, in_private_with};
use crate::program::{run, tool};
use crate::snapshot::Snapshot;
use crate::world::{Case, World, container, with_each_firewall};
use linkspan::{Container, Endpoint, Firewall, NetNs, Network, Publish};
use std::fs;
use std::net::TcpListener;
use std::os::unix::fs::symlink;

/// Attaches a container whose namespace was prepared with an obstacle, and expects its words.
#[track_caller]
fn check(world: &World, netns: &NetNs, wanted: &Container, words: &str) {
    let before = (Snapshot::take(), netns.run(Snapshot::take).unwrap());
    let refused = world.host.attach(netns, wanted).expect_err(words);
    let told = chain(&refused);
    assert!(told.contains(words), "{}: {told}", world.case);
    assert!(refused.left_behind().is_empty(), "{}: {told}", world.case);
    before.0.assert_unchanged(words);
    netns.run(|| before.1.assert_unchanged(words)).unwrap();
}

fn chain(error: &dyn std::error::Error) -> String {
    error.source().map_or_else(|| error.to_string(), |source| format!("{error}: {}", chain(source)))
}

fn web(network: &linkspan::DefinedNetwork) -> Container {
    container("web").on(Endpoint::of(network)).publish(Publish::tcp(80).at(8080))
}

/// What stands in the namespace before it is attached, and the words of the refusal.
const INSIDE: [(&str, &str); 4] = [
    ("ip link add eth0 type veth peer name other", "`eth0`"),
    (
        "ip link add other type veth peer name another; ip addr add 10.88.1.9/16 dev other",
        "10.88.1.2/24 overlaps",
    ),
    (
        "ip link add other type veth peer name another; ip link set other up; ip addr add 192.168.9.2/24 dev other; \
         ip route add default via 192.168.9.1",
        "default route",
    ),
    ("ip link add eth0 type bridge", "`eth0`"),
];

#[test]
fn what_stands_in_a_container_is_named_and_left_alone() {
    in_private(|| {
        with_each_firewall(|world| {
            let network = world.network(1);
            for (obstacle, words) in INSIDE {
                let netns = NetNs::create_anonymous().unwrap();
                netns.run(|| obstacle.split(';').for_each(|line| drop(tool(line.trim())))).unwrap();
                check(world, &netns, &web(&network), words);
            }
        });
    });
}

#[test]
fn a_program_that_has_the_port_keeps_it() {
    in_private(|| {
        with_each_firewall(|world| {
            let network = world.network(1);
            let netns = NetNs::create_anonymous().unwrap();
            let there = TcpListener::bind("0.0.0.0:8080").unwrap();
            check(world, &netns, &web(&network), "0.0.0.0:8080/tcp");
            drop(there);
            world.host.attach(&netns, &web(&network)).unwrap();
        });
    });
}

#[test]
fn a_full_bridge_is_told_before_any_change() {
    in_private(|| {
        with_each_firewall(|world| {
            let network = world.network(1);
            let pairs = (0..1023).map(|n| format!("link add a{n} type veth peer name b{n}\n"));
            let ports = (0..1023).map(|n| format!("link set a{n} master {}\n", network.link()));
            let file = format!("/run/{}.batch", world.case.firewall);
            fs::write(&file, pairs.chain(ports).collect::<String>()).unwrap();
            tool(&format!("ip -batch {file}"));
            let netns = NetNs::create_anonymous().unwrap();
            check(world, &netns, &web(&network), "full");
        });
    });
}

#[test]
fn a_bridge_that_someone_replaced_is_not_taken_over() {
    in_private(|| {
        with_each_firewall(|world| {
            let network = world.network(1);
            for kind in ["bridge", "ifb"] {
                tool(&format!("ip link delete {}", network.link()));
                tool(&format!("ip link add {} type {kind}", network.link()));
                let netns = NetNs::create_anonymous().unwrap();
                let refused = world.host.attach(&netns, &web(&network)).expect_err(kind);
                assert!(chain(&refused).contains(network.link().as_str()), "{refused}");
                assert!(tool(&format!("ip -d link show {}", network.link())).contains(kind));
            }
        });
    });
}

#[test]
fn a_table_of_our_name_that_is_not_ours_is_left_alone() {
    in_private(|| {
        with_each_firewall(|world| {
            if world.case.firewall != Firewall::Nftables {
                return;
            }
            tool("nft add table inet linkspan");
            let before = Snapshot::take();
            let wanted = Network::bridge("web".parse().unwrap());
            let refused = world.host.create_network(&wanted).expect_err("a foreign table");
            assert!(chain(&refused).contains("inet linkspan"), "{}", chain(&refused));
            before.assert_unchanged("a foreign table");
        });
    });
}

#[test]
fn without_ip6tables_networks_without_ipv6_are_made_and_others_refused() {
    in_private_with(&["iptables", "which"], || {
        let world = World::new(Case { firewall: Firewall::Iptables, ..Case::USUAL });
        fs::create_dir("/run/bin").unwrap();
        for program in ["iptables-save", "iptables-restore"] {
            let path = tool(&format!("which {program}"));
            symlink(path.trim(), format!("/run/bin/{program}")).unwrap();
        }
        let create =
            |words: &str| run(world.command(&format!("network create {words}")).env("PATH", "/run/bin"));
        create("four").ok();
        let refused = create("six --ipv6 --subnet fd88:6::/64");
        assert_eq!(refused.code(), Some(1), "{refused}");
        let said = "IPv6 rules are wanted, but IPv6 or ip6tables is missing";
        assert!(refused.err.contains(said), "{refused}");
        assert_eq!(world.host.networks().unwrap().len(), 1);
    });
}
