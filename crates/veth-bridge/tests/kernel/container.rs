//! The container's side: addresses, readiness, repair.

use crate::lab::{in_private, in_private_with_ip};
use crate::world::{World, bridge, web};
use linkspan_veth_bridge::plan;
use std::fs;
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream};
use std::time::{Duration, Instant};

/// A connection that had to wait took the second after which an unanswered first packet is sent again.
const WAITED: Duration = Duration::from_millis(900);

/// Connects from the container to the host's address and back, right after an attach, and says how long each took.
#[track_caller]
fn check_connects(world: &World, gateway: &str, own: &str) -> [Duration; 2] {
    let (gateway, own): (IpAddr, IpAddr) = (gateway.parse().unwrap(), own.parse().unwrap());
    let at_host = world.host.run(|| TcpListener::bind((gateway, 7000)).unwrap());
    let inside = world.container.run(|| TcpListener::bind((own, 7001)).unwrap());
    let connect = |to: SocketAddr| {
        move || {
            let begin = Instant::now();
            TcpStream::connect_timeout(&to, Duration::from_secs(20)).map(|_| begin.elapsed())
        }
    };
    let there = world.container.run(connect(at_host.local_addr().unwrap()));
    let back = world.host.run(connect(inside.local_addr().unwrap()));
    [there.expect("the container reaches the host"), back.expect("the host reaches the container")]
}

#[test]
fn the_first_connection_does_not_wait() {
    in_private("container::the_first_connection_does_not_wait", || {
        let mut waited = 0;
        for round in 0..20 {
            let mut world = World::with_bridge(&bridge(true));
            world.attach(&web(true));
            // Whichever family is asked first must not have warmed the path for the other.
            let families = [("fd88::1", "fd88::2"), ("10.88.0.1", "10.88.0.2")];
            for n in 0..2 {
                let (gateway, own) = families[(round + n) % 2];
                waited += check_connects(&world, gateway, own).iter().filter(|took| **took > WAITED).count();
            }
        }
        // On a machine that is busy with other things a packet may be late by itself.
        assert!(waited < 8, "{waited} of 80 had to wait");
    });
}

#[test]
fn ipv6_is_usable_at_once() {
    in_private_with_ip("container::ipv6_is_usable_at_once", || {
        let mut world = World::with_bridge(&bridge(true));
        world.attach(&web(true));
        for space in [&world.container, &world.host] {
            assert_eq!(space.ip("-6 address show tentative"), "");
        }
        check_connects(&world, "fd88::1", "fd88::2");
    });
}

#[test]
fn a_container_without_ipv6_has_no_address_of_it_at_all() {
    in_private("container::a_container_without_ipv6_has_no_address_of_it_at_all", || {
        let mut world = World::with_bridge(&bridge(false));
        world.attach(&web(false));
        check_connects(&world, "10.88.0.1", "10.88.0.2");
        // Long enough for an address that the kernel would still have been working on.
        std::thread::sleep(Duration::from_millis(200));
        let addresses = || fs::read_to_string("/proc/thread-self/net/if_inet6").unwrap();
        let inside = world.container.run(addresses);
        assert!(inside.lines().all(|line| line.ends_with(" lo")), "{inside}");
        assert_eq!(world.host.run(addresses), "", "nor has the host for its sake");
    });
}

#[test]
fn an_ipv4_address_has_its_broadcast() {
    in_private_with_ip("container::an_ipv4_address_has_its_broadcast", || {
        let mut world = World::with_bridge(&bridge(false));
        world.attach(&web(false));
        let shown = world.container.ip("-4 address show dev eth0");
        assert!(shown.contains("inet 10.88.0.2/24 brd 10.88.0.255 scope global eth0"), "{shown}");
    });
}

#[test]
fn the_bridge_hears_no_router() {
    in_private("container::the_bridge_hears_no_router", || {
        let world = World::with_bridge(&bridge(true));
        let setting = || fs::read_to_string("/proc/sys/net/ipv6/conf/br-test/accept_ra").unwrap();
        assert_eq!(world.host.run(setting).trim(), "0");
    });
}

/// Attaches, lets `ip` commands undo something, and checks that planning again mends it.
#[track_caller]
fn check_repair(on_host: &[&str], inside: &[&str]) {
    let (bridge, web) = (bridge(true), web(true));
    let mut world = World::with_bridge(&bridge);
    world.attach(&web);
    let whole = world.snapshot();
    on_host.iter().for_each(|command| drop(world.host.ip(command)));
    inside.iter().for_each(|command| drop(world.container.ip(command)));
    assert_ne!(world.snapshot(), whole, "{on_host:?} {inside:?}");
    let mend = plan::bridge(&bridge, &world.see()).unwrap();
    world.apply(&mend).unwrap();
    world.attach(&web);
    assert_eq!(world.snapshot(), whole, "{on_host:?} {inside:?}");
    assert!(plan::attach(&web, &world.see()).unwrap().is_empty());
}

#[test]
fn what_someone_undid_is_mended() {
    in_private_with_ip("container::what_someone_undid_is_mended", || {
        check_repair(&["link delete br-test"], &[]);
        check_repair(&["link set br-test down"], &[]);
        check_repair(&["link set vethls0 nomaster"], &[]);
        check_repair(&["link set vethls0 down"], &[]);
        check_repair(&["address flush dev br-test"], &[]);
        check_repair(
            &["link set br-test mtu 1400", "link set vethls0 mtu 1400"],
            &["link set eth0 mtu 1400"],
        );
        check_repair(&[], &["link set eth0 address 02:00:5e:00:53:01"]);
        check_repair(&[], &["link set eth0 down"]);
        check_repair(&[], &["address flush dev eth0"]);
        check_repair(&[], &["route delete default"]);
        check_repair(&[], &["-6 route delete default"]);
    });
}

#[test]
fn a_default_route_moves_between_links() {
    in_private_with_ip("container::a_default_route_moves_between_links", || {
        let mut world = World::with_bridge(&bridge(true));
        world.attach(&web(true));
        // Else the kernel gives them addresses some time later.
        world.container.ip("link add eth1 type veth peer name far");
        world.container.ip("link set eth1 addrgenmode none");
        world.container.ip("link set far addrgenmode none");
        world.container.ip("link set far up");
        world.container.ip("link set eth1 up");
        world.container.ip("address add 10.99.0.2/24 dev eth1");
        world.container.ip("-6 address add fd99::2/64 dev eth1 nodad");
        let before = world.see();
        for gateway in ["10.99.0.1", "fd99::1"] {
            let seen = world.see();
            let move_there =
                plan::reroute(&"eth1".parse().unwrap(), gateway.parse().unwrap(), &seen).unwrap();
            world.apply(&move_there).unwrap();
            assert_eq!(world.see(), seen.after(&move_there));
        }
        for gateway in ["10.88.0.1", "fd88::1"] {
            let back =
                plan::reroute(&"eth0".parse().unwrap(), gateway.parse().unwrap(), &world.see()).unwrap();
            world.apply(&back).unwrap();
        }
        assert_eq!(world.see(), before);
    });
}

#[test]
fn a_container_that_is_cut_off_goes_with_its_namespace() {
    in_private("container::a_container_that_is_cut_off_goes_with_its_namespace", || {
        let mut world = World::with_bridge(&bridge(false));
        world.attach(&web(false));
        let cut = plan::cut_off(&web(false), &world.see());
        world.apply(&cut).unwrap();
        let World { mut links, inside, container, look, .. } = world;
        drop((inside, container));
        let gone = |_| {
            std::thread::sleep(Duration::from_millis(10));
            !links.observe(&look, None).unwrap().host.links.contains_key("vethls0")
        };
        assert!((0..500).any(gone), "the kernel did not reap the pair within five seconds");
    });
}
