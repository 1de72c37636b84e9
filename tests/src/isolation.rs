//! Who reaches whom, and who does not, whatever they route.

use crate::private::in_private;
use crate::program::tool;
use crate::traffic::{reaches, reaches_none, serve};
use crate::world::{Family, container, everywhere};
use linkspan::{Endpoint, Neighbours, Network};
use std::net::SocketAddr;

const PORT: u16 = 7000;

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
            world.flush_rules();
            reaches(world.remote(), service);
        });
    });
}
