//! Who reaches whom, and who does not, whatever they route.

use crate::private::in_private;
use crate::program::tool;
use crate::publishing::route_localhost;
use crate::traffic::{DOUBT, PATIENCE, ping, reaches, reaches_none, serve, serve_at};
use crate::world::{Case, Family, container, everywhere, gateway};
use linkspan::{Endpoint, Firewall, Neighbours, Network};
use std::net::{Ipv4Addr, SocketAddr};

const PORT: u16 = 7000;

#[test]
fn containers_of_one_network_reach_each_other_as_themselves() {
    in_private(|| {
        everywhere(|world| {
            let network = world.network(1);
            let (one, two) = (world.member("one", &network), world.member("two", &network));
            [&one, &two].iter().for_each(|member| serve(member.netns(), PORT));
            for family in Family::BOTH {
                assert_eq!(reaches(one.netns(), two.at(family, PORT)), one.address(family));
                assert_eq!(reaches(two.netns(), one.at(family, PORT)), two.address(family));
            }
        });
    });
}

#[test]
fn containers_of_two_networks_do_not_reach_each_other() {
    in_private(|| {
        everywhere(|world| {
            let (one, two) = (world.member("one", &world.network(1)), world.member("two", &world.network(2)));
            [&one, &two].iter().for_each(|member| serve(member.netns(), PORT));
            let ways: Vec<_> = Family::BOTH
                .into_iter()
                .flat_map(|f| [(one.netns(), two.at(f, PORT)), (two.netns(), one.at(f, PORT))])
                .collect();
            reaches_none(&ways);
            if world.case == Case::USUAL {
                // The rules are what keeps them apart: the host forwards.
                world.flush_rules();
                ways.into_iter().for_each(|(from, to)| _ = reaches(from, to));
            }
        });
    });
}

#[test]
fn the_host_reaches_containers_as_their_gateway() {
    in_private(|| {
        everywhere(|world| {
            let network = world.network(1);
            let one = world.member("one", &network);
            serve(one.netns(), PORT);
            for family in Family::BOTH {
                assert_eq!(reaches(&world.here, one.at(family, PORT)), gateway(&network, family));
            }
        });
    });
}

#[test]
fn what_leaves_the_host_has_its_address() {
    in_private(|| {
        everywhere(|world| {
            let one = world.member("one", &world.network(1));
            serve(world.remote(), PORT);
            for family in Family::BOTH {
                let seen = reaches(one.netns(), SocketAddr::new(world.remote_address(family), PORT));
                assert_eq!(seen, world.host_address(family));
            }
        });
    });
}

#[test]
fn a_containers_own_address_is_closed_to_machines_outside_whatever_they_route() {
    in_private(|| {
        everywhere(|world| {
            let one = world.member("one", &world.network(1));
            serve(one.netns(), PORT);
            let [v4, v6] = Family::BOTH.map(|family| world.host_address(family));
            let route = || {
                tool(&format!("ip route add 10.88.1.0/24 via {v4}"));
                tool(&format!("ip -6 route add fd88:1::/64 via {v6}"));
            };
            world.remote().run(route).unwrap();
            let ways = Family::BOTH.map(|family| (world.remote(), one.at(family, PORT)));
            reaches_none(&ways);
            // The rules are what closes it: the packets arrive and the answers find their way.
            world.flush_rules();
            ways.into_iter().for_each(|(from, to)| _ = reaches(from, to));
        });
    });
}

#[test]
fn a_network_without_ipv6_is_closed_to_it_whatever_addresses_its_containers_take() {
    in_private(|| {
        everywhere(|world| {
            let wanted = Network::bridge("four".parse().unwrap()).subnet("10.88.1.0/24".parse().unwrap());
            let network = world.host.ensure_network(&wanted.neighbours(Neighbours::PublishedOnly)).unwrap();
            let join = |name| world.container(&container(name).on(Endpoint::of(&network)));
            let (one, two) = (join("one"), join("two"));
            serve(one.netns(), PORT);
            one.tool("ip -6 address add fd99::1/64 dev eth0 nodad");
            one.tool("ip -6 route add default via fd99::ff");
            two.tool("ip -6 address add fd99::2/64 dev eth0 nodad");
            // The host leads there, as far as routes go.
            tool("sysctl -q net.ipv6.conf.all.forwarding=1");
            for address in ["fd99::ff", "fe80::ff"] {
                tool(&format!("ip -6 address add {address}/64 dev {} nodad", network.link()));
            }
            let gateway = world.host_address(Family::V6);
            world.remote().run(|| tool(&format!("ip -6 route add fd99::/64 via {gateway}"))).unwrap();

            let service = SocketAddr::new("fd99::1".parse().unwrap(), PORT);
            let ways = [(world.remote(), service), (two.netns(), service)];
            reaches_none(&ways);
            // The rules are what closes it to machines outside.
            tool("nft flush ruleset");
            reaches(world.remote(), service);
        });
    });
}

#[test]
fn a_container_does_not_reach_what_the_host_serves_on_loopback_whatever_it_routes() {
    in_private(|| {
        everywhere(|world| {
            let network = world.network(1);
            let one = world.member("one", &network);
            let service = SocketAddr::new(Ipv4Addr::LOCALHOST.into(), PORT);
            serve_at(&world.here, service);
            one.netns().run(|| route_localhost(gateway(&network, Family::V4))).unwrap();
            reaches_none(&[(one.netns(), service)]);
            if world.case.firewall == Firewall::Nftables {
                // The packets arrive: without the rule against them they are answered.
                tool("nft flush chain inet linkspan early");
                reaches(one.netns(), service);
            }
        });
    });
}

#[test]
fn a_container_reaches_what_the_host_serves_at_its_gateway() {
    in_private(|| {
        everywhere(|world| {
            let network = world.network(1);
            let one = world.member("one", &network);
            for family in Family::BOTH {
                let service = SocketAddr::new(gateway(&network, family), PORT);
                serve_at(&world.here, service);
                assert_eq!(reaches(one.netns(), service), one.address(family));
            }
        });
    });
}

#[test]
fn pings_are_kept_apart_like_everything_else() {
    in_private(|| {
        everywhere(|world| {
            let (network, other) = (world.network(1), world.network(2));
            let (one, two) = (world.member("one", &network), world.member("two", &network));
            let stranger = world.member("stranger", &other);
            for family in Family::BOTH {
                let near = [two.address(family), gateway(&network, family), world.remote_address(family)];
                let asked = near.map(|to| ping(one.netns(), to, PATIENCE).unwrap());
                assert_eq!(asked, [one.address(family); 3]);
                ping(stranger.netns(), one.address(family), DOUBT).expect_err("networks are kept apart");
            }
        });
    });
}
