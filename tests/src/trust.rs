//! Links of the host that a network trusts lead to what is published, and to nothing else.

use crate::private::in_private;
use crate::program::tool;
use crate::traffic::{reaches, reaches_none, serve};
use crate::world::{Family, Member, World, container, everywhere, with_each_firewall};
use linkspan::{Container, DefinedNetwork, Endpoint, Network, Protocol, Publish};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};

/// A network that is made by the command, with these further words.
fn network(world: &World, number: u8, words: &str) -> DefinedNetwork {
    let subnets = format!("--subnet 10.88.{number}.0/24 --subnet fd88:{number}::/64");
    world.linkspan(&format!("network create net-{number} {subnets} {words}")).ok();
    let name = format!("net-{number}");
    world.host.networks().unwrap().into_iter().find(|network| network.name().as_str() == name).unwrap()
}

/// A container that serves three ports, of which 80 is published at 127.0.0.1, 81 everywhere, and 82 not.
fn web(world: &World, name: &str, network: &DefinedNetwork, at: u16) -> Member {
    let local = |by| Publish::new(by, 80).at(at).on(IpAddr::V4(Ipv4Addr::LOCALHOST));
    let open = |by| Publish::new(by, 81).at(at + 1);
    let ports = [Protocol::Tcp, Protocol::Udp].into_iter().flat_map(|by| [local(by), open(by)]);
    let web = world.container(&ports.fold(container(name).on(Endpoint::of(network)), Container::publish));
    (80..83).for_each(|port| serve(web.netns(), port));
    web
}

#[test]
fn a_trusted_interface_leads_to_published_ports_at_the_containers_own_addresses() {
    in_private(|| {
        everywhere(|world| {
            let trusting = network(world, 1, "--trusted-interface wg0 --trusted-interface uplink");
            let other = network(world, 2, "--trusted-interface wg0");
            let (web, shut) = (web(world, "web", &trusting, 8080), web(world, "shut", &other, 8090));
            let route = |family: Family, subnet: &str| {
                tool(&format!("ip route add {subnet} via {}", world.host_address(family)));
            };
            let routes = || {
                route(Family::V4, "10.88.0.0/16");
                route(Family::V6, "fd88::/16");
            };
            world.remote().run(routes).unwrap();

            let reached = [web.at(Family::V4, 80), web.at(Family::V4, 81), web.at(Family::V6, 81)];
            for to in reached {
                let client = if to.is_ipv4() { Family::V4 } else { Family::V6 };
                assert_eq!(reaches(world.remote(), to), world.remote_address(client));
            }
            // By the host too, as ever.
            reaches(world.remote(), SocketAddr::new(world.host_address(Family::V4), 8081));
            reaches(&world.here, SocketAddr::new(Ipv4Addr::LOCALHOST.into(), 8080));

            let closed = [web.at(Family::V6, 80), web.at(Family::V4, 82), web.at(Family::V6, 82)];
            let others = [shut.at(Family::V4, 81), shut.at(Family::V6, 81)];
            let closed = closed.into_iter().chain(others).map(|to| (world.remote(), to));
            let neighbour = (shut.netns(), web.at(Family::V4, 81));
            reaches_none(&closed.chain([neighbour]).collect::<Vec<_>>());
        });
    });
}

#[test]
fn trusted_interfaces_are_shown_and_kept() {
    in_private(|| {
        with_each_firewall(|world| {
            network(world, 1, "--trusted-interface uplink");
            let shown = world.linkspan("network inspect net-1").ok();
            assert!(shown.contains("\"uplink\""), "{shown}");
            assert_eq!(world.linkspan("reconcile --json").ok(), "[]\n");
            let same = Network::bridge("net-1".parse().unwrap()).ipv6();
            world.host.ensure_network(&same).unwrap();
            let differs = world.host.ensure_network(&same.trust("wg0".parse().unwrap())).unwrap_err();
            let expected =
                "network `net-1` exists with other gateway mode, icc, egress or trusted interfaces";
            assert_eq!(differs.to_string(), expected);
        });
    });
}
