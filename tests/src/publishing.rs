//! Published ports are reached from everywhere, and the server sees who asks.

use crate::private::in_private;
use crate::program::tool;
use crate::traffic::{Question, reaches, reaches_none, serve, serve_at};
use crate::world::{Family, Member, World, container, everywhere, with_each_firewall};
use linkspan::{Container, DefinedNetwork, Detached, Endpoint, Protocol, Publish};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};

const INSIDE: u16 = 80;
const OUTSIDE: u16 = 8080;
const LOCALHOST: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

/// A wish for a container that publishes its port 80, TCP and UDP, as `publish` says.
fn wanted(network: &DefinedNetwork, publish: impl Fn(Publish) -> Publish) -> Container {
    let ports = [Protocol::Tcp, Protocol::Udp].map(|by| publish(Publish::new(by, INSIDE)));
    ports.into_iter().fold(container("web").on(Endpoint::of(network)), Container::publish)
}

/// A container that serves port 80, published at 8080.
fn web(world: &World, network: &DefinedNetwork) -> Member {
    let web = world.container(&wanted(network, |port| port.at(OUTSIDE)));
    serve(web.netns(), INSIDE);
    web
}

/// The published port at the host's address towards the remote machine.
fn outside(world: &World, family: Family) -> SocketAddr {
    SocketAddr::new(world.host_address(family), OUTSIDE)
}

#[test]
fn a_port_at_localhost_answers_the_host_alone_whatever_a_remote_machine_routes() {
    in_private(|| {
        everywhere(|world| {
            let network = world.network(1);
            let web = world.container(&wanted(&network, |port| port.at(OUTSIDE).on(LOCALHOST)));
            serve(web.netns(), INSIDE);
            let neighbour = world.member("neighbour", &network);
            world.remote().run(|| route_localhost(world.host_address(Family::V4))).unwrap();
            let port = SocketAddr::new(LOCALHOST, OUTSIDE);
            let check = || {
                reaches(&world.here, port);
                let outside = SocketAddr::new(world.host_address(Family::V4), OUTSIDE);
                let none = [(world.remote(), port), (world.remote(), outside), (neighbour.netns(), outside)];
                reaches_none(&none);
            };
            check();
            // A witness that the remote machine's packets arrive: a service of the host that is let through.
            tool("sysctl -q net.ipv4.conf.uplink.route_localnet=1");
            serve_at(&world.here, SocketAddr::new(LOCALHOST, 9));
            reaches(world.remote(), SocketAddr::new(LOCALHOST, 9));
            check();
        });
    });
}

/// Takes 127.0.0.0/8 from the machine of the calling thread, and sends it elsewhere.
pub(crate) fn route_localhost(gateway: IpAddr) {
    // An address of one's own is never accepted as a source from outside, so it goes.
    tool("ip -4 address flush dev lo");
    tool(&format!("ip route add 127.0.0.0/8 via {gateway}"));
    tool("sysctl -q net.ipv4.conf.all.route_localnet=1");
}

#[test]
fn a_range_of_ports_answers_port_by_port() {
    in_private(|| {
        with_each_firewall(|world| {
            let network = world.network(1);
            let ports = Publish::parse("9000-9002:80-82").unwrap().into_iter();
            let ports = ports.chain(Publish::parse("9000-9002:80-82/udp").unwrap());
            let web =
                world.container(&ports.fold(container("web").on(Endpoint::of(&network)), Container::publish));
            serve(web.netns(), 82);
            reaches(world.remote(), SocketAddr::new(world.host_address(Family::V4), 9002));
            let closed = SocketAddr::new(world.host_address(Family::V4), 9001);
            reaches_none(&[(world.remote(), closed)]);
        });
    });
}

#[test]
fn a_port_without_a_number_gets_a_free_one() {
    in_private(|| {
        with_each_firewall(|world| {
            let web = world.container(&wanted(&world.network(1), |port| port));
            serve(web.netns(), INSIDE);
            for published in web.attachment.published() {
                let to =
                    SocketAddr::new(world.host_address(Family::V6), published.host().unwrap().port().get());
                Question { from: world.remote(), by: published.protocol(), to }.is_answered();
            }
        });
    });
}

#[test]
fn a_withdrawn_port_answers_no_more_and_is_free_at_once() {
    in_private(|| {
        with_each_firewall(|world| {
            let network = world.network(1);
            let first = web(world, &network);
            reaches(world.remote(), outside(world, Family::V4));
            assert_eq!(world.host.detach(first.attachment.id()).unwrap(), Detached::Gone);
            reaches_none(&[(world.remote(), outside(world, Family::V4))]);
            let _second = web(world, &network);
            reaches(world.remote(), outside(world, Family::V4));
        });
    });
}

#[test]
fn the_first_connection_does_not_wait() {
    in_private(|| {
        with_each_firewall(|world| {
            let network = world.network(1);
            let mut waited = 0;
            for _ in 0..10 {
                let web = web(world, &network);
                let begin = std::time::Instant::now();
                Question { from: world.remote(), by: Protocol::Tcp, to: outside(world, Family::V4) }
                    .is_answered();
                // A lost first packet is sent again after a second.
                waited += usize::from(begin.elapsed().as_millis() > 900);
                world.host.detach(web.attachment.id()).unwrap();
            }
            // On a machine that is busy with other things a packet may be late by itself.
            assert!(waited < 3, "{waited} of 10 had to wait");
        });
    });
}
