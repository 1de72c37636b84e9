//! What a container has on its networks: links, addresses, routes.

use crate::private::in_private;
use crate::program::tool;
use crate::snapshot::Snapshot;
use crate::traffic::{reaches, reaches_none, serve};
use crate::world::{Case, Family, Member, World, container, everywhere, with_each_firewall};
use linkspan::{Endpoint, Network, NetworkId, Publish};
use std::fs;
use std::net::SocketAddr;

/// The words behind the first occurrence of a word.
fn after<'a>(text: &'a str, word: &str) -> Option<&'a str> {
    text.split_whitespace().skip_while(|w| *w != word).nth(1)
}

fn mac_of(member: &Member, link: &str) -> String {
    let text = member.tool(&format!("ip -o link show dev {link}"));
    after(&text, "link/ether").expect("a veth has a mac").to_owned()
}

#[test]
fn a_container_on_two_networks_has_both_and_joins_neither() {
    in_private(|| {
        everywhere(|world| {
            let (first, second) = (world.network(1), world.network(2));
            // Given in this order, which is not that of the names.
            let both = container("both").on(Endpoint::of(&second)).on(Endpoint::of(&first));
            let both =
                world.container(&both.publish(Publish::tcp(80).at(8080)).publish(Publish::udp(80).at(8080)));
            let (one, two) = (world.member("one", &first), world.member("two", &second));
            [&both, &one, &two].iter().for_each(|member| serve(member.netns(), 80));
            assert!(both.tool("ip -o -4 addr show dev eth0").contains(" 10.88.2.2/24 "));
            assert!(both.tool("ip -o -4 addr show dev eth1").contains(" 10.88.1.2/24 "));
            let route = both.tool("ip -4 route show default");
            assert!(route.starts_with("default via 10.88.1.1 dev eth1"), "{route}");
            assert!(both.tool("ip -6 route show default").starts_with("default via fd88:1::1 dev eth1"));
            for family in Family::BOTH {
                reaches(both.netns(), one.at(family, 80));
                reaches(both.netns(), two.at(family, 80));
                reaches(two.netns(), both.at(family, 80));
                reaches(world.remote(), SocketAddr::new(world.host_address(family), 8080));
            }
            reaches_none(&Family::BOTH.map(|family| (one.netns(), two.at(family, 80))));
        });
    });
}

#[test]
fn a_container_of_an_ipv4_network_has_no_ipv6_address_at_all() {
    in_private(|| {
        let world = World::new(Case::USUAL);
        let network = Network::bridge("plain".parse().unwrap()).subnet("10.88.9.0/24".parse().unwrap());
        let member = world.member("plain", &world.host.ensure_network(&network).unwrap());
        // Long enough for addresses of the kernel's own making to appear.
        std::thread::sleep(std::time::Duration::from_millis(100));
        assert_eq!(member.tool("ip -6 -o addr show dev eth0"), "");
        assert_eq!(member.tool("ip -6 route show dev eth0"), "");
    });
}

#[test]
fn an_ipv6_address_is_usable_at_once() {
    in_private(|| {
        let world = World::new(Case::USUAL);
        let member = world.member("six", &world.network(1));
        let addresses = member.tool("ip -6 -o addr show dev eth0");
        assert!(!addresses.contains("tentative"), "{addresses}");
        assert!(addresses.contains("fd88:1::2/64") && addresses.contains("scope link"), "{addresses}");
    });
}

#[test]
fn a_mac_is_made_of_the_address_unless_it_is_given() {
    in_private(|| {
        let world = World::new(Case::USUAL);
        let network = world.network(1);
        assert_eq!(mac_of(&world.member("one", &network), "eth0"), "02:42:0a:58:01:02");
        let given = Endpoint::of(&network).mac("02:00:00:00:00:09".parse().unwrap());
        assert_eq!(mac_of(&world.container(&container("two").on(given)), "eth0"), "02:00:00:00:00:09");
    });
}

#[test]
fn an_address_and_a_link_name_can_be_asked_for() {
    in_private(|| {
        let world = World::new(Case::USUAL);
        let network = world.network(1);
        let asked = Endpoint::of(&network).address("10.88.1.77".parse().unwrap());
        let asked = asked.address("fd88:1::77".parse().unwrap()).link("lan0".parse().unwrap());
        let member = world.container(&container("one").on(asked));
        assert!(member.tool("ip -o -4 addr show dev lan0").contains(" 10.88.1.77/24 brd 10.88.1.255 "));
        assert!(member.tool("ip -o -6 addr show dev lan0").contains(" fd88:1::77/64 "));
    });
}

#[test]
fn links_are_as_large_as_the_uplink_unless_the_network_says_otherwise() {
    in_private(|| {
        let world = World::new(Case::USUAL);
        tool("ip link set uplink mtu 1400");
        let network = world.network(1);
        let member = world.member("one", &network);
        let host_end = member.attachment.endpoints()[0].host_link();
        for link in [network.link(), host_end] {
            assert_eq!(after(&tool(&format!("ip -o link show dev {link}")), "mtu"), Some("1400"));
        }
        assert_eq!(after(&member.tool("ip -o link show dev eth0"), "mtu"), Some("1400"));
        let small = Network::bridge("small".parse().unwrap()).mtu(linkspan::Mtu::new(1300).unwrap());
        let member = world.member("two", &world.host.ensure_network(&small).unwrap());
        assert_eq!(after(&member.tool("ip -o link show dev eth0"), "mtu"), Some("1300"));
    });
}

#[test]
fn addresses_are_handed_out_lowest_first_and_again() {
    in_private(|| {
        with_each_firewall(|world| {
            let network = world.network(1);
            let members: Vec<_> = ["a", "b", "c"].iter().map(|name| world.member(name, &network)).collect();
            let last = |member: &Member| member.address(Family::V4).to_string();
            assert_eq!(members.iter().map(last).collect::<Vec<_>>(), ["10.88.1.2", "10.88.1.3", "10.88.1.4"]);
            world.host.detach(members[1].attachment.id()).unwrap();
            assert_eq!(last(&world.member("d", &network)), "10.88.1.3");
        });
    });
}

#[test]
fn an_adopted_bridge_stays_when_its_network_goes() {
    in_private(|| {
        let world = World::new(Case::USUAL);
        tool("ip link add br-mine type bridge");
        tool("ip link set br-mine up");
        let before = Snapshot::take();
        let network = Network::bridge("mine".parse().unwrap()).link("br-mine".parse().unwrap());
        let network = world.host.ensure_network(&network.subnet("10.88.9.0/24".parse().unwrap())).unwrap();
        let member = world.member("one", &network);
        serve(member.netns(), 80);
        reaches(&world.here, member.at(Family::V4, 80));
        world.clear();
        before.assert_unchanged("a network on a bridge that was there");
    });
}

#[test]
fn an_adopted_bridge_is_left_as_it_was_whatever_was_lost_of_its_records() {
    in_private(|| {
        with_each_firewall(|world| {
            tool("ip link add br-mine type bridge");
            tool("ip link set br-mine addrgenmode none");
            tool("ip link set br-mine up");
            let before = Snapshot::take();
            let record = |id| format!("/run/linkspan/up/network-{id}");
            a_network_comes_and_goes(world, &before, |id| fs::write(record(id), "{\"version\":1,").unwrap());
            a_network_comes_and_goes(world, &before, |id| fs::remove_file(record(id)).unwrap());
            world.linkspan("network create mine --subnet 10.88.9.0/24 --bridge-name br-mine").ok();
            fs::remove_dir_all("/run/linkspan").unwrap();
            world.linkspan("run --network mine -- true").ok();
            world.linkspan("network rm mine").ok();
            before.assert_unchanged("a network on a bridge of others, without its run folder");
            tool("ip link delete br-mine");
        });
    });
}

/// A network is on the bridge of others while its record is lost, and goes.
fn a_network_comes_and_goes(world: &World, before: &Snapshot, lose: impl Fn(NetworkId)) {
    let network = Network::bridge("mine".parse().unwrap()).link("br-mine".parse().unwrap());
    let network = world.host.ensure_network(&network.subnet("10.88.9.0/24".parse().unwrap())).unwrap();
    let member = world.member("one", &network);
    serve(member.netns(), 80);
    lose(network.id());
    world.linkspan("reconcile").ok();
    reaches(&world.here, member.at(Family::V4, 80));
    world.clear();
    before.assert_unchanged("a network on a bridge of others, whose record was lost");
}
