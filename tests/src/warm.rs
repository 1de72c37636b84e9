//! Containers that are made ahead: handed out, made when there are none, bounded, and gone with who made them.

use crate::length::length;
use crate::private::{in_private, in_private_with};
use crate::program::{run, tool};
use crate::snapshot::Snapshot;
use crate::strace::{Effect, Fault, itself_broken, was_broken};
use crate::traffic::{reaches, serve};
use crate::world::{Case, Family, World, container, with_each_firewall};
use linkspan::{Container, DefinedNetwork, Endpoint, Error, Host, NetNs, Publish};
use std::env;
use std::fs;
use std::net::TcpListener;
use std::sync::Mutex;
use std::thread;
use std::time::{Duration, Instant};

/// A container of this name that publishes its port 80.
fn wanted(name: &str, network: &DefinedNetwork, port: u16) -> Container {
    let ports = [Publish::tcp(80), Publish::udp(80)].map(|publish| publish.at(port));
    ports.into_iter().fold(container(name).on(Endpoint::of(network)), Container::publish)
}

/// The names of the host ends that are there.
fn host_ends() -> Vec<String> {
    let links = tool("ip -o link show type veth");
    let names = links.lines().filter_map(|line| line.split(": ").nth(1)?.split('@').next());
    names.filter(|name| name.starts_with("vethls")).map(str::to_owned).collect()
}

/// What is made ahead, on record.
fn waiting() -> usize {
    fs::read_dir("/run/linkspan/warm").map_or(0, Iterator::count)
}

#[test]
fn what_was_made_ahead_is_handed_out_whole_and_leaves_nothing() {
    in_private(|| {
        with_each_firewall(|world| {
            let network = world.network(1);
            let endpoint = Endpoint::of(&network);
            // With its first port a bridge gets routes that stay.
            world.host.warm(std::slice::from_ref(&endpoint), 1).unwrap();
            world.host.cool().unwrap();
            let before = Snapshot::take();
            assert_eq!(world.host.warm(&[endpoint], 2).unwrap(), 2);
            let made = host_ends();
            assert_eq!((made.len(), waiting()), (2, 2));
            let (netns, attachment) = world.host.attach_warm(&wanted("web", &network, 8080)).unwrap();
            assert_eq!((host_ends(), waiting()), (made, 1));
            serve(&netns, 80);
            for family in Family::BOTH {
                reaches(world.remote(), (world.host_address(family), 8080).into());
            }
            assert_eq!(world.host.find("web").unwrap(), attachment);
            let netns = netns.pin("/run/netns/web").unwrap();
            world.host.hand_over(attachment.id(), &netns).unwrap();
            assert_eq!(world.linkspan("reconcile").ok(), "the host is as the records say\n");
            world.linkspan("detach web").ok();
            NetNs::unpin("/run/netns/web").unwrap();
            world.host.cool().unwrap();
            tool("umount /run/netns");
            fs::remove_dir("/run/netns").unwrap();
            before.assert_unchanged("all is cool");
        });
    });
}

#[test]
fn with_nothing_left_a_container_is_made_when_it_is_wanted() {
    in_private(|| {
        let world = World::new(Case::USUAL);
        let network = world.network(1);
        world.host.warm(&[Endpoint::of(&network)], 1).unwrap();
        let kept: Vec<_> = [8000, 8001, 8002]
            .into_iter()
            .map(|port| {
                let (netns, _) =
                    world.host.attach_warm(&wanted(&format!("c{port}"), &network, port)).unwrap();
                serve(&netns, 80);
                reaches(&world.here, (world.host_address(Family::V4), port).into());
                netns
            })
            .collect();
        assert_eq!((host_ends().len(), kept.len(), waiting()), (3, 3, 0));
    });
}

#[test]
fn however_many_make_ahead_no_more_wait_than_are_wanted() {
    in_private(|| {
        let world = World::new(Case::USUAL);
        let network = world.network(1);
        let (host, endpoint) = (&world.host, [Endpoint::of(&network)]);
        let made = || {
            let warm = || host.warm(&endpoint, 5).unwrap();
            thread::scope(|scope| {
                let threads: Vec<_> = (0..4).map(|_| scope.spawn(warm)).collect();
                threads.into_iter().map(|thread| thread.join().unwrap()).sum::<usize>()
            })
        };
        assert_eq!((made(), host_ends().len()), (5, 5));
        let _taken = host.attach_warm(&wanted("web", &network, 8080)).unwrap();
        assert_eq!((made(), host_ends().len(), waiting()), (1, 6, 5));
        // One of another kind has a bound of its own.
        assert_eq!((host.warm(&[], 3).unwrap(), host.warm(&[], 3).unwrap()), (3, 0));
    });
}

#[test]
fn what_is_refused_before_it_is_touched_waits_on() {
    in_private(|| {
        let world = World::new(Case::USUAL);
        let network = world.network(1);
        let _other = world.container(&wanted("other", &network, 8080));
        world.host.warm(&[Endpoint::of(&network)], 1).unwrap();
        let before = Snapshot::take();
        let refused = world.host.attach_warm(&wanted("web", &network, 8080)).unwrap_err();
        assert!(matches!(refused, Error::PortTaken { .. }), "{refused}");
        before.assert_unchanged("a refusal");
        let program = TcpListener::bind("0.0.0.0:8081").unwrap();
        let refused = world.host.attach_warm(&wanted("web", &network, 8081)).unwrap_err();
        assert!(matches!(refused, Error::PortBusy { .. }), "{refused}");
        drop(program);
        before.assert_unchanged("a refusal by a program");
        let made = host_ends();
        let _web = world.host.attach_warm(&wanted("web", &network, 8081)).unwrap();
        assert_eq!((host_ends(), waiting()), (made, 0));
    });
}

#[test]
fn a_pair_that_someone_deleted_meanwhile_is_made_again() {
    in_private(|| {
        let world = World::new(Case::USUAL);
        let network = world.network(1);
        world.host.warm(&[Endpoint::of(&network)], 1).unwrap();
        host_ends().iter().for_each(|end| drop(tool(&format!("ip link delete {end}"))));
        let (netns, _attachment) = world.host.attach_warm(&wanted("web", &network, 8080)).unwrap();
        assert_eq!(host_ends().len(), 1);
        serve(&netns, 80);
        reaches(world.remote(), (world.host_address(Family::V4), 8080).into());
    });
}

#[test]
fn a_network_that_is_made_again_takes_what_was_made_ahead() {
    in_private(|| {
        let world = World::new(Case::USUAL);
        let network = world.network(1);
        world.host.warm(&[Endpoint::of(&network)], 1).unwrap();
        let made = host_ends();
        world.host.remove_network(network.name()).unwrap();
        let refused = world.host.attach_warm(&wanted("web", &network, 8080)).unwrap_err();
        assert!(matches!(refused, Error::NoSuchNetwork { .. }), "{refused}");
        let network = world.network(1);
        let (netns, _) = world.host.attach_warm(&wanted("web", &network, 8080)).unwrap();
        assert_eq!(host_ends(), made);
        serve(&netns, 80);
        reaches(world.remote(), (world.host_address(Family::V4), 8080).into());
    });
}

#[test]
fn what_a_program_left_is_named_by_plan_gc_and_removed_by_gc() {
    in_private(|| {
        let world = World::new(Case::USUAL);
        let network = world.network(1);
        // With its first port a bridge gets routes that stay.
        world.host.warm(&[Endpoint::of(&network)], 1).unwrap();
        world.host.cool().unwrap();
        let before = Snapshot::take();
        let short_lived = Host::builder().firewall(world.case.firewall).open().unwrap();
        short_lived.warm(&[Endpoint::of(&network)], 2).unwrap();
        // Whose owner lives is not garbage.
        assert_eq!(world.linkspan("gc").ok(), "nothing to remove\n");
        assert_eq!(waiting(), 2);
        drop(short_lived);
        let planned = world.linkspan("plan gc").ok();
        assert_eq!(planned.matches("`warm-").count(), 2, "{planned}");
        world.linkspan("gc").ok();
        assert_eq!((host_ends().len(), waiting()), (0, 0));
        before.assert_unchanged("gc");
    });
}

/// The kernel removes a namespace when it comes to it.
const PATIENCE: Duration = Duration::from_secs(60);

/// Tells the test below that it is the program that is killed.
const KILLED: &str = "LINKSPAN_WARM";
const TEST: &str = "warm::whoever_is_killed_while_it_makes_ahead_or_hands_out_leaves_nothing_after_gc";

/// The calls that change anything outside the process, and of how many of each one is broken in every run of the tests.
const CHANGING: [(&str, usize); 5] =
    [("ftruncate", 2), ("renameat", 3), ("sendto", 8), ("unlinkat", 3), ("write", 8)];

/// Makes ahead, hands out, and ends the rest.
fn work() {
    let host = Host::open().unwrap();
    let network = host.networks().unwrap().remove(0);
    host.warm(&[Endpoint::of(&network)], 2).unwrap();
    let (netns, attachment) = host.attach_warm(&wanted("web", &network, 8080)).unwrap();
    host.detach_and_end(attachment.id(), netns).unwrap();
    host.cool().unwrap();
}

#[test]
fn whoever_is_killed_while_it_makes_ahead_or_hands_out_leaves_nothing_after_gc() {
    if env::var_os(KILLED).is_some() {
        return work();
    }
    in_private_with(&["strace"], || {
        let next = Mutex::new(CHANGING.into_iter());
        let sweep = || {
            let world = World::new(Case::USUAL);
            let network = world.network(1);
            world.host.warm(&[Endpoint::of(&network)], 1).unwrap();
            world.host.cool().unwrap();
            let before = Snapshot::take();
            let mut killed = 0;
            loop {
                let Some((call, stride)) = next.lock().unwrap().next() else { return killed };
                for nth in (2..).step_by(length(stride, 1)) {
                    let fault = Fault { call, effect: Effect::Killed, nth, lasting: false };
                    let ran = run(&mut itself_broken(fault, TEST, KILLED));
                    assert_eq!(ran.code().is_none(), was_broken(), "{fault}: {ran}");
                    assert!(matches!(ran.code(), Some(0) | None), "{fault}: {ran}");
                    collect(&world, &before, fault);
                    if ran.code().is_some() {
                        break;
                    }
                    killed += 1;
                }
            }
        };
        let killed: usize = thread::scope(|scope| {
            let sweeps: Vec<_> = (0..2).map(|_| scope.spawn(sweep)).collect();
            sweeps.into_iter().map(|sweep| sweep.join().unwrap()).sum()
        });
        println!("killed {killed} times");
        assert!(killed > CHANGING.len());
    });
}

/// Removes what was left. What was handed out has no place but the program, so it is known to be gone when the kernel
/// has removed its links.
fn collect(world: &World, before: &Snapshot, fault: Fault) {
    let start = Instant::now();
    loop {
        world.linkspan("gc").ok();
        let Some(change) = before.change() else { return };
        assert!(start.elapsed() < PATIENCE, "the host is not as it was, after {fault}:\n{change}");
        thread::sleep(Duration::from_millis(20));
    }
}
