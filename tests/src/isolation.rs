//! Who reaches whom, and who does not, whatever they route.

use crate::private::{in_private, in_private_with};
use crate::program::tool;
use crate::traffic::{DOUBT, PATIENCE, reaches, reaches_none, serve};
use crate::world::{Family, Member, World, container, everywhere, set_up, with_each_firewall};
use linkspan::{
    Container, DefinedNetwork, Endpoint, Firewall, Neighbours, NetNs, Network, Protocol, Publish,
};
use nix::sys::socket::sockopt::Ipv6MulticastHops;
use nix::sys::socket::{AddressFamily, SockFlag, SockProtocol, SockType, setsockopt, socket};
use std::io;
use std::net::{IpAddr, Ipv6Addr, SocketAddr, SocketAddrV6, UdpSocket};
use std::thread;
use std::time::Instant;

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

/// A container that serves a port and publishes it at this one.
fn publishing(world: &World, name: &str, network: &DefinedNetwork, at: u16) -> Member {
    let ports = [Protocol::Tcp, Protocol::Udp].map(|by| Publish::new(by, PORT).at(at));
    let wanted = container(name).on(Endpoint::of(network));
    let member = world.container(&ports.into_iter().fold(wanted, Container::publish));
    serve(member.netns(), PORT);
    member
}

/// A published port, by the host's addresses towards the remote machine.
fn published(world: &World, port: u16) -> [SocketAddr; 2] {
    Family::BOTH.map(|family| SocketAddr::new(world.host_address(family), port))
}

/// Adds a rule of both families to the user's chain.
fn tell_user_chain(world: &World, at: [IpAddr; 2], nft: &str, iptables: &str) {
    for (address, family, program) in [(at[0], "ip", "iptables"), (at[1], "ip6", "ip6tables")] {
        tool(&match world.case.firewall {
            Firewall::Iptables => format!("{program} -A linkspan-user -d {address} -j {iptables}"),
            _ => format!("nft add rule inet linkspan linkspan-user {family} daddr {address} {nft}"),
        });
    }
}

#[test]
fn the_users_chain_comes_before_all_that_lets_packets_in_or_keeps_networks_apart() {
    in_private(|| {
        everywhere(|world| {
            let network = world.network(1);
            let [shut, open] =
                [("shut", 8081), ("open", 8082)].map(|(name, port)| publishing(world, name, &network, port));
            let stranger = world.member("stranger", &world.network(2));
            let published = published(world, 8081);
            let direct = Family::BOTH.map(|family| open.at(family, PORT));
            for (published, direct) in published.into_iter().zip(direct) {
                reaches(world.remote(), published);
                reaches_none(&[(stranger.netns(), direct)]);
            }
            tell_user_chain(world, Family::BOTH.map(|family| shut.address(family)), "drop", "DROP");
            tell_user_chain(world, Family::BOTH.map(|family| open.address(family)), "accept", "ACCEPT");
            reaches_none(&published.map(|to| (world.remote(), to)));
            direct.into_iter().for_each(|to| _ = reaches(stranger.netns(), to));
            // What is dropped before it would be forwarded is dropped for good.
            route_everything(world.remote(), Family::BOTH.map(|family| world.host_address(family)));
            reaches_none(&direct.map(|to| (world.remote(), to)));
        });
    });
}

/// Makes the host the way to everything.
fn route_everything(machine: &NetNs, gateways: [IpAddr; 2]) {
    for gateway in gateways {
        machine.run(|| tool(&format!("ip route add default via {gateway}"))).unwrap();
    }
}

#[test]
fn no_policy_of_forward_opens_a_containers_own_address() {
    in_private_with(&["iptables", "ip6tables"], || {
        everywhere(|world| {
            let network = world.network(1);
            let one = publishing(world, "one", &network, 8080);
            let two = world.member("two", &world.network(2));
            route_everything(world.remote(), Family::BOTH.map(|family| world.host_address(family)));
            let check = || {
                let ways = Family::BOTH.map(|family| one.at(family, PORT));
                reaches_none(&ways.map(|to| (world.remote(), to)));
                reaches_none(&ways.map(|to| (two.netns(), to)));
            };
            for policy in ["DROP", "ACCEPT"] {
                for program in ["iptables", "ip6tables"] {
                    tool(&format!("{program} -P FORWARD {policy}"));
                }
                check();
                if world.case.firewall == Firewall::Iptables {
                    // What is accepted in the same chain never comes to its policy.
                    published(world, 8080).into_iter().for_each(|to| _ = reaches(world.remote(), to));
                }
            }
        });
    });
}

/// A bridge of someone else, with a machine on it.
fn foreign(world: &World, number: u8) -> NetNs {
    let (bridge, port) = (format!("foreign{number}"), format!("port{number}"));
    let machine = world.machine(&port);
    tool(&format!("ip link add {bridge} type bridge"));
    tool(&format!("ip link set {port} master {bridge}"));
    set_up(&bridge);
    for subnet in [format!("10.77.{number}."), format!("fd77:{number}::")] {
        let length = if subnet.contains(':') { 64 } else { 24 };
        tool(&format!("ip address add {subnet}1/{length} dev {bridge} nodad"));
        let join = || {
            tool(&format!("ip address add {subnet}2/{length} dev eth0 nodad"));
            tool(&format!("ip route add default via {subnet}1"));
        };
        machine.run(join).unwrap();
    }
    serve(&machine, PORT);
    machine
}

#[test]
fn bridges_of_others_forward_as_before() {
    in_private(|| {
        everywhere(|world| {
            tool("sysctl -q net.ipv4.conf.all.forwarding=1 net.ipv6.conf.all.forwarding=1");
            let [one, two] = [1, 2].map(|number| foreign(world, number));
            let check = || {
                for [first, second] in [["10.77.1.2", "10.77.2.2"], ["fd77:1::2", "fd77:2::2"]] {
                    let [first, second] = [first, second].map(|address| address.parse::<IpAddr>().unwrap());
                    assert_eq!(reaches(&one, SocketAddr::new(second, PORT)), first);
                    assert_eq!(reaches(&two, SocketAddr::new(first, PORT)), second);
                }
            };
            check();
            let published =
                container("web").on(Endpoint::of(&world.network(1))).publish(Publish::tcp(80).at(8080));
            let _web = world.container(&published);
            check();
            world.clear();
            check();
        });
    });
}

#[test]
fn a_router_that_a_container_plays_is_not_heard() {
    in_private(|| {
        with_each_firewall(|world| {
            // As a host that has its own address from a router needs it.
            tool("sysctl -q net.ipv6.conf.default.accept_ra=2");
            let network = world.network(1);
            let member = world.member("router", &network);
            let routes = || {
                member.netns().run(advertise).unwrap().unwrap();
                tool(&format!("ip -6 route show default dev {}", network.link()))
            };
            routes();
            thread::sleep(DOUBT);
            assert_eq!(routes(), "");
            // The host would hear it.
            tool(&format!("sysctl -q net.ipv6.conf.{}.accept_ra=2", network.link()));
            let begin = Instant::now();
            while routes().is_empty() {
                assert!(begin.elapsed() < PATIENCE, "nobody hears the router");
                thread::sleep(DOUBT / 10);
            }
        });
    });
}

/// Says that the machine of the calling thread is a router for half an hour (RFC 4861, 4.2).
fn advertise() -> io::Result<()> {
    let flags = SockFlag::SOCK_CLOEXEC;
    let socket = socket(AddressFamily::Inet6, SockType::Raw, flags, SockProtocol::IcmpV6)?;
    setsockopt(&socket, Ipv6MulticastHops, &255)?;
    let lifetime = 1800_u16.to_be_bytes();
    let advertisement = [134, 0, 0, 0, 64, 0, lifetime[0], lifetime[1], 0, 0, 0, 0, 0, 0, 0, 0];
    let link = tool("ip -o link show dev eth0").split(':').next().unwrap().parse().unwrap();
    let everyone = SocketAddrV6::new(Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 1), 0, 0, link);
    UdpSocket::from(socket).send_to(&advertisement, everyone).map(drop)
}
