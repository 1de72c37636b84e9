//! Who reaches whom, and who does not, whatever they route.

use crate::private::in_private;
use crate::program::tool;
use crate::publishing::route_localhost;
use crate::traffic::{DOUBT, PATIENCE, ping, reaches, reaches_none, serve, serve_at};
use crate::world::{Case, Family, everywhere, gateway};
use linkspan::Firewall;
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
                tool("nft flush ruleset");
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
            tool("nft flush ruleset");
            ways.into_iter().for_each(|(from, to)| _ = reaches(from, to));
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
