//! Refusals by the kernel, and what is left after the opposite plan.

use crate::lab::{NetNs, in_private, in_private_with_ip};
use crate::world::{World, bridge, web};
use linkspan_veth_bridge::{Errno, Error, Family, Look, Place, Plan, Step, plan};
use std::process::Command;

/// Adds ports to `br-test` until it has this many.
fn fill(host: &NetNs, ports: usize) {
    let pairs = (0..ports / 2).map(|n| {
        format!("link add fa{n} type veth peer name fb{n}\nlink set fa{n} master br-test\nlink set fb{n} master br-test\n")
    });
    let odd = "link add odd type veth peer name even\nlink set odd master br-test\n".repeat(ports % 2);
    let file = std::env::temp_dir().join(format!("linkspan-fill-{}", std::process::id()));
    std::fs::write(&file, pairs.collect::<String>() + &odd).unwrap();
    let done = host.run(|| Command::new("ip").arg("-batch").arg(&file).output()).expect("iproute2 has ip");
    std::fs::remove_file(&file).unwrap();
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
}

#[test]
fn the_1024th_port_is_refused_before_any_change() {
    in_private_with_ip("refusal::the_1024th_port_is_refused_before_any_change", || {
        let mut world = World::with_bridge(&bridge(false));
        fill(&world.host, 1022);
        world.look = world.look.clone().counting_ports();
        world.attach(&web(false));
        let detach = plan::detach(&web(false), &world.see());
        world.apply(&detach).unwrap();

        fill_one_more(&world.host);
        let before = world.snapshot();
        let error = plan::attach(&web(false), &world.see()).unwrap_err();
        assert_eq!(error.to_string(), "bridge `br-test` is full: it has 1023 ports");

        // Whoever does not count is refused by the kernel, with the container untouched.
        world.look = Look::at_veth(&web(false));
        let plan = plan::attach(&web(false), &world.see()).unwrap();
        let error = world.apply(&plan).unwrap_err();
        assert_eq!((error.step(), error.errno()), (0, Some(Errno::EXFULL)));
        assert_eq!(world.snapshot(), before);
    });
}

fn fill_one_more(host: &NetNs) {
    host.ip("link add last type veth peer name first");
    host.ip("link set last master br-test");
}

#[derive(Clone, Copy)]
enum Wanted {
    Bridge,
    Attach,
}

/// Plans, lets an obstacle come between, and checks what is refused and that the opposite plan leaves what was
/// there with the obstacle.
#[track_caller]
fn check(wanted: Wanted, obstacle: impl Fn(&World), refused: &str, why: &str) {
    let (bridge, web) = (bridge(true), web(true));
    let mut world = match wanted {
        Wanted::Bridge => World::new(),
        Wanted::Attach => World::with_bridge(&bridge),
    };
    let seen = world.see();
    let plan = match wanted {
        Wanted::Bridge => plan::bridge(&bridge, &seen).unwrap().then(plan::forwarding(&[Family::V4], &seen)),
        Wanted::Attach => plan::attach(&web, &seen).unwrap(),
    };
    obstacle(&world);
    let before = world.snapshot();
    let error = world.apply(&plan).unwrap_err();
    let source = std::error::Error::source(&error).unwrap().to_string();
    assert_eq!(error.to_string(), format!("cannot {refused}"), "{source}");
    assert_eq!(plan.steps()[error.step()], *error.what());
    assert!(source.contains(why), "{refused}: {source}");

    let seen = world.see();
    let undo = match wanted {
        Wanted::Bridge => plan::remove_bridge(&bridge, &seen),
        Wanted::Attach => plan::detach(&web, &seen),
    };
    world.apply(&undo).unwrap();
    assert_eq!(world.snapshot(), before, "{refused}");
}

#[test]
fn a_bridge_that_is_refused_leaves_nothing() {
    in_private_with_ip("refusal::a_bridge_that_is_refused_leaves_nothing", || {
        check(
            Wanted::Bridge,
            |world| drop(world.host.ip("link add br-test type bridge")),
            "create bridge br-test mac 02:42:0a:58:00:01",
            "File exists",
        );
        check(
            Wanted::Bridge,
            |world| world.host.set("ipv6/conf/default/disable_ipv6", "1"),
            "add address fd88::1/64 to br-test",
            "IPv6 is disabled",
        );
    });
}

#[test]
fn a_setting_that_cannot_be_written_leaves_nothing() {
    in_private("refusal::a_setting_that_cannot_be_written_leaves_nothing", || {
        let mount = |arguments: &[&str]| {
            let done = Command::new("mount").args(arguments).output().expect("util-linux has mount");
            assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
        };
        mount(&["--rbind", "/proc/sys", "/proc/sys"]);
        mount(&["-o", "remount,bind,ro", "/proc/sys"]);
        check(
            Wanted::Bridge,
            |_| {},
            "set br-test accept_ra off",
            "/proc/sys/net/ipv6/conf/br-test/accept_ra",
        );
    });
}

#[test]
fn an_attach_that_is_refused_leaves_nothing() {
    in_private_with_ip("refusal::an_attach_that_is_refused_leaves_nothing", || {
        let create = "create veth vethls0 mac 02:aa:00:00:00:01 to eth0 in the container mac 02:42:0a:58:00:02 mtu 1500 master br-test";
        let host = |command: &'static str| move |world: &World| drop(world.host.ip(command));
        let inside = |command: &'static str| move |world: &World| drop(world.container.ip(command));
        check(Wanted::Attach, host("link delete br-test"), create, "No such device");
        check(Wanted::Attach, inside("link add eth0 type veth peer name eth1"), create, "File exists");
        check(
            Wanted::Attach,
            |world| world.container.set("ipv6/conf/default/disable_ipv6", "1"),
            "add address fd88::2/64 to eth0 in the container",
            "IPv6 is disabled",
        );
        let raced_in = |world: &World| {
            world.container.ip("link add other type veth peer name far");
            world.container.ip("link set far up");
            world.container.ip("link set other up");
            world.container.ip("address add 192.0.2.1/24 dev other");
            world.container.ip("route add default via 192.0.2.2");
        };
        check(
            Wanted::Attach,
            raced_in,
            "add default route via 10.88.0.1 dev eth0 in the container",
            "File exists",
        );
    });
}

/// Every plan of a whole attach is broken off after each of its steps by a step on a link that is not there.
#[test]
fn a_refusal_after_any_step_leaves_nothing() {
    in_private("refusal::a_refusal_after_any_step_leaves_nothing", || {
        let (bridge, web) = (bridge(true), web(true));
        let mut world = World::new();
        let empty = world.see();
        let before = world.snapshot();
        let make = plan::bridge(&bridge, &empty).unwrap();
        let attach = plan::attach(&web, &empty.after(&make)).unwrap();
        let whole = make.then(attach);
        let nowhere = "nowhere".parse().unwrap();
        for place in [Place::host(nowhere), Place::container(nowhere)] {
            for done in 0..=whole.steps().len() {
                let broken = [&whole.steps()[..done], &[Step::SetUp { at: place }]].concat();
                let error = world.apply(&Plan::from(broken)).unwrap_err();
                assert_eq!((error.step(), error.errno()), (done, Some(Errno::ENODEV)));
                let seen = world.see();
                assert_eq!(seen.host, empty.after(&Plan::from(whole.steps()[..done].to_vec())).host);
                let detach = plan::detach(&web, &seen);
                let undo = detach.clone().then(plan::remove_bridge(&bridge, &seen.after(&detach)));
                world.apply(&undo).unwrap();
                assert_eq!(world.snapshot(), before, "after {done} steps");
            }
        }
    });
}

#[test]
fn what_is_gone_already_is_removed() {
    in_private("refusal::what_is_gone_already_is_removed", || {
        let (bridge, web) = (bridge(true), web(true));
        let mut world = World::with_bridge(&bridge);
        world.attach(&web);
        let seen = world.see();
        let detach = plan::detach(&web, &seen).then(plan::remove_bridge(&bridge, &seen));
        world.apply(&detach).unwrap();
        world.apply(&detach).unwrap();
        let address = Step::RemoveAddress {
            at: Place::host("br-test".parse().unwrap()),
            address: "10.88.0.1/24".parse().unwrap(),
        };
        world.apply(&Plan::from(vec![address])).unwrap();
    });
}

#[test]
fn a_bridge_is_made_anew_within_one_plan() {
    in_private("refusal::a_bridge_is_made_anew_within_one_plan", || {
        let bridge = bridge(true);
        let mut world = World::with_bridge(&bridge);
        let whole = world.see();
        let address = Step::RemoveAddress {
            at: Place::host("br-test".parse().unwrap()),
            address: "10.88.0.1/24".parse().unwrap(),
        };
        let remove = Plan::from(vec![address]).then(plan::remove_bridge(&bridge, &whole));
        let make = plan::bridge(&bridge, &whole.after(&remove)).unwrap();
        world.apply(&remove.then(make)).unwrap();
        assert_eq!(world.see(), whole);
    });
}

#[test]
fn a_container_that_was_not_handed_over_is_an_error() {
    in_private("refusal::a_container_that_was_not_handed_over_is_an_error", || {
        let mut world = World::with_bridge(&bridge(false));
        let plan = plan::attach(&web(false), &world.see()).unwrap();
        let before = world.snapshot();
        let error = world.links.apply(&plan, None).unwrap_err();
        let source = std::error::Error::source(&error).unwrap();
        assert!(matches!(source.downcast_ref(), Some(Error::ContainerUnseen)), "{source}");
        assert_eq!(world.snapshot(), before);
    });
}
