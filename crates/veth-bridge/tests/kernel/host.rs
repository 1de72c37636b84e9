//! The host's side: bridges of ours and of others.

use crate::lab::{NetNs, has_bridge_netfilter, in_private, in_private_with_ip, skip};
use crate::world::{World, bridge, web};
use linkspan_veth_bridge::kernel::Links;
use linkspan_veth_bridge::{
    Bridge, Error, Family, Group, HostEnd, IfName, InsideEnd, IpNet, Look, Mtu, Ownership, Snapshot, Veth,
    plan,
};
use std::collections::BTreeSet;
use std::os::fd::AsFd;

/// Adopts a bridge that these `ip` commands made, uses it, and gives it back.
#[track_caller]
fn check_adoption(made_by: &[&str]) {
    let mut world = World::new();
    made_by.iter().for_each(|command| drop(world.host.ip(command)));
    let mut before = without_link_local(world.snapshot().0);
    let seen = world.see();
    let ownership = Ownership::of(&"br-test".parse().unwrap(), &seen).unwrap();
    let wanted = bridge(true).with_route_localnet().with_ownership(ownership);

    let plan = plan::bridge(&wanted, &seen).unwrap();
    world.apply(&plan).unwrap();
    let made = world.see();
    assert!(made.host.links["br-test"].up);
    assert!(wanted.addresses().iter().all(|a| made.host.links["br-test"].addresses.contains(a)));
    let veth = web(true);
    world.attach(&veth);
    let detach = plan::detach(&veth, &world.see());
    world.apply(&detach).unwrap();

    let remove = plan::remove_bridge(&wanted, &world.see());
    world.apply(&remove).unwrap();
    if !seen.host.links["br-test"].up {
        before.links.get_mut("br-test").unwrap().up = true;
        // Its own addresses have routes once it is up.
        before.routes = world.snapshot().0.routes;
    }
    assert_eq!(without_link_local(world.snapshot().0), without_link_local(before), "{made_by:?}");
}

/// A snapshot without what the kernel gives someone else's bridge itself, once it has a carrier.
fn without_link_local(mut snapshot: Snapshot) -> Snapshot {
    let local: IpNet = "fe80::/64".parse().unwrap();
    snapshot.routes.retain(|route| route.destination != local);
    snapshot.links.values_mut().for_each(|link| link.addresses.retain(|address| !local.contains(address)));
    snapshot
}

#[test]
fn an_adopted_bridge_is_given_back_without_what_was_added() {
    in_private_with_ip("host::an_adopted_bridge_is_given_back_without_what_was_added", || {
        check_adoption(&["link add br-test type bridge"]);
        check_adoption(&["link add br-test address 02:00:00:00:00:07 type bridge", "link set br-test up"]);
        check_adoption(&["link add br-test type bridge", "address add 10.88.0.1/24 dev br-test"]);
        check_adoption(&[
            "link add br-test type bridge",
            "link set br-test mtu 1400",
            "address add 192.0.2.1/24 dev br-test",
        ]);
    });
}

#[test]
fn a_link_that_is_no_bridge_is_refused_and_left_alone() {
    in_private_with_ip("host::a_link_that_is_no_bridge_is_refused_and_left_alone", || {
        let mut world = World::new();
        world.host.ip("link add br-test type veth peer name other");
        let before = world.snapshot();
        let seen = world.see();
        assert!(matches!(plan::bridge(&bridge(false), &seen), Err(Error::NotABridge { .. })));
        assert!(plan::remove_bridge(&bridge(false), &seen).is_empty());
        assert_eq!(world.snapshot(), before);
    });
}

#[test]
fn the_bridge_keeps_its_mtu_when_its_last_port_leaves() {
    in_private_with_ip("host::the_bridge_keeps_its_mtu_when_its_last_port_leaves", || {
        let mtu = Mtu::new(9000).unwrap();
        let wanted = Bridge::new(*bridge(false).name(), bridge(false).mac(), mtu);
        let mut world = World::with_bridge(&wanted);
        world.host.ip("link add low mtu 1400 type veth peer name other");
        world.host.ip("link set low master br-test");
        world.host.ip("link delete low");
        assert_eq!(world.see().host.links["br-test"].mtu, 9000);
    });
}

#[test]
fn forwarding_is_switched_on_from_any_thread() {
    in_private("host::forwarding_is_switched_on_from_any_thread", || {
        let mut world = World::new();
        let plan = plan::forwarding(&[Family::V4, Family::V6], &world.see());
        world.apply(&plan).unwrap();
        let read = || std::fs::read_to_string("/proc/sys/net/ipv4/ip_forward").unwrap();
        assert_eq!(world.host.run(read).trim(), "1");
        assert_eq!(NetNs::new().run(read).trim(), "0");
        assert!(plan::forwarding(&[Family::V4, Family::V6], &world.see()).is_empty());
    });
}

#[test]
fn bridge_netfilter_is_read_anew_and_of_the_host() {
    in_private("host::bridge_netfilter_is_read_anew_and_of_the_host", || {
        let mut world = World::new();
        if !has_bridge_netfilter(&world.host) {
            return skip("no bridge netfilter");
        }
        for (value, expected) in [("0", Some(false)), ("1", Some(true)), ("0", Some(false))] {
            world.host.set("bridge/bridge-nf-call-iptables", value);
            assert_eq!(world.see().bridge_netfilter.iptables, expected);
        }
    });
}

#[test]
fn the_uplink_is_what_the_winning_default_route_uses() {
    in_private_with_ip("host::the_uplink_is_what_the_winning_default_route_uses", || {
        let host = NetNs::new();
        let mut links = Links::open_in(host.as_fd()).unwrap();
        assert_eq!(links.snapshot().unwrap().uplink_mtu(), None);
        for (name, mtu, net, metric) in [("up0", 1400, 1, 200), ("up1", 9000, 2, 100)] {
            host.ip(&format!("link add {name} mtu {mtu} type veth peer name p{name} mtu {mtu}"));
            host.ip(&format!("link set p{name} up"));
            host.ip(&format!("link set {name} up"));
            host.ip(&format!("address add 192.0.{net}.2/24 dev {name}"));
            host.ip(&format!("route add default via 192.0.{net}.1 metric {metric}"));
        }
        let seen = links.snapshot().unwrap();
        assert_eq!(seen.uplink_mtu(), Some(9000));
        assert!(seen.routes.iter().any(|route| route.destination == "192.0.1.0/24".parse().unwrap()));
    });
}

#[test]
fn chosen_pairs_are_deleted_together_and_no_others() {
    in_private("host::chosen_pairs_are_deleted_together_and_no_others", || {
        let names: Vec<IfName> = (0..5).map(|n| format!("vethls{n}").parse().unwrap()).collect();
        let look = names.iter().fold(Look::default(), |look, name| look.and(*name));
        let mut world = World::looking_at(look);
        for (n, name) in (0..).zip(&names) {
            let host =
                HostEnd::point_to_point(*name, format!("02:aa:00:00:00:0{n}").parse().unwrap(), vec![]);
            let inside = InsideEnd::new(
                format!("eth{n}").parse().unwrap(),
                format!("02:ab:00:00:00:0{n}").parse().unwrap(),
            );
            world.attach(&Veth::new(host, inside, Mtu::ETHERNET));
        }
        let seen = world.see();
        let plan = plan::detach_together(&names[1..4], Group::new(77).unwrap(), &seen);
        world.apply(&plan).unwrap();
        let left: BTreeSet<_> = world.see().host.links.into_keys().collect();
        assert_eq!(left, ["vethls0".to_owned(), "vethls4".to_owned()].into());
        world.apply(&plan::detach_together(&names, Group::new(77).unwrap(), &seen)).unwrap();
        assert!(world.see().host.links.is_empty(), "those that had gone are no reason to keep the others");
    });
}
