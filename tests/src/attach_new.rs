//! Containers whose namespace is made with them: whole, or not there at all.

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
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

const PIN: &str = "/run/netns/web";

/// A container that publishes its port 80.
fn wanted(name: &str, network: &DefinedNetwork, port: u16) -> Container {
    let ports = [Publish::tcp(80), Publish::udp(80)].map(|publish| publish.at(port));
    ports.into_iter().fold(container(name).on(Endpoint::of(network)), Container::publish)
}

/// The host before, but for what the first pin of all and the first port of a bridge leave.
fn before(world: &World, network: &DefinedNetwork) -> Snapshot {
    let (netns, attachment) = world.host.attach_new(PIN, &wanted("web", network, 8080)).unwrap();
    world.host.detach(attachment.id()).unwrap();
    drop(netns);
    NetNs::unpin(PIN).unwrap();
    Snapshot::take()
}

#[test]
fn a_container_and_its_namespace_come_at_once() {
    in_private(|| {
        with_each_firewall(|world| {
            let network = world.network(1);
            let before = before(world, &network);
            let (netns, attachment) = world.host.attach_new(PIN, &wanted("web", &network, 8080)).unwrap();
            assert_eq!(NetNs::open(PIN).unwrap().cookie(), netns.cookie());
            assert_eq!(world.host.find("web").unwrap(), attachment);
            assert_eq!(attachment.namespace().place(), netns.place());
            serve(&netns, 80);
            for family in Family::BOTH {
                reaches(world.remote(), (world.host_address(family), 8080).into());
            }
            assert_eq!(world.linkspan("reconcile").ok(), "the host is as the records say\n");
            let again = world.host.attach(&netns, &wanted("other", &network, 8081));
            assert!(matches!(again, Err(Error::NamespaceTaken { .. })), "{again:?}");
            // The server holds the namespace, which else would end with its pin.
            world.host.detach(attachment.id()).unwrap();
            NetNs::unpin(PIN).unwrap();
            before.assert_unchanged("it went");
        });
    });
}

/// Waits until the kernel has removed the links of a namespace that is gone.
fn wait_for(before: &Snapshot, after: &str) {
    let start = Instant::now();
    while let Some(change) = before.change() {
        assert!(start.elapsed() < PATIENCE, "the host is not as it was, after {after}:\n{change}");
        thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn whatever_is_refused_leaves_no_namespace() {
    in_private(|| {
        with_each_firewall(|world| {
            let network = world.network(1);
            let before = before(world, &network);
            let busy = TcpListener::bind("0.0.0.0:8081").unwrap();
            let refused = world.host.attach_new(PIN, &wanted("web", &network, 8081)).unwrap_err();
            assert!(matches!(refused, Error::PortBusy { .. }), "{refused}");
            drop(busy);
            let nowhere = container("web").on(Endpoint::new("nowhere".parse().unwrap()));
            let refused = world.host.attach_new(PIN, &nowhere).unwrap_err();
            assert!(matches!(refused, Error::NoSuchNetwork { .. }), "{refused}");
            let twice = wanted("web", &network, 8080).on(Endpoint::of(&network));
            let refused = world.host.attach_new(PIN, &twice).unwrap_err();
            assert!(matches!(refused, Error::TwiceOn { .. }), "{refused}");
            let within = container("web").on(Endpoint::of(&network).link("lo".parse().unwrap()));
            let refused = world.host.attach_new(PIN, &within).unwrap_err();
            assert!(matches!(refused, Error::Links(_)), "{refused}");
            let missing = Path::new("/proc/self/nowhere/web");
            let refused = world.host.attach_new(missing, &wanted("web", &network, 8080)).unwrap_err();
            assert!(matches!(refused, Error::Namespace(_)), "{refused}");
            before.assert_unchanged("five refusals");

            fs::write(PIN, "of others").unwrap();
            let refused = world.host.attach_new(PIN, &wanted("web", &network, 8080)).unwrap_err();
            assert!(matches!(refused, Error::Namespace(_)), "{refused}");
            assert_eq!(fs::read_to_string(PIN).unwrap(), "of others");
            fs::remove_file(PIN).unwrap();
            before.assert_unchanged("there was something else");

            let (netns, attachment) = world.host.attach_new(PIN, &wanted("web", &network, 8080)).unwrap();
            let refused = world.host.attach_new("/run/netns/other", &wanted("web", &network, 8081));
            assert!(matches!(refused, Err(Error::NameTaken { .. })), "{refused:?}");
            assert!(!Path::new("/run/netns/other").exists());
            world.host.detach_and_end(attachment.id(), netns).unwrap();
            wait_for(&before, "the name was taken");
        });
    });
}

#[test]
fn a_network_that_is_not_whole_is_mended_for_it() {
    in_private(|| {
        let world = World::new(Case::USUAL);
        let network = world.network(1);
        tool(&format!("ip link delete {}", network.link()));
        let (netns, _attachment) = world.host.attach_new(PIN, &wanted("web", &network, 8080)).unwrap();
        serve(&netns, 80);
        reaches(world.remote(), (world.host_address(Family::V4), 8080).into());
    });
}

#[test]
fn many_at_once_have_a_namespace_each() {
    in_private(|| {
        let world = World::new(Case::USUAL);
        let network = world.network(1);
        let (host, network) = (&world.host, &network);
        let attach = |number: u16| {
            let name = format!("c{number}");
            host.attach_new(format!("/run/netns/{name}"), &wanted(&name, network, 8000 + number)).unwrap().0
        };
        let made: Vec<_> = thread::scope(|scope| {
            let threads: Vec<_> =
                (0..4).map(|part| scope.spawn(move || [attach(2 * part), attach(2 * part + 1)])).collect();
            threads.into_iter().flat_map(|thread| thread.join().unwrap()).collect()
        });
        let mut cookies: Vec<_> = made.iter().map(NetNs::cookie).collect();
        cookies.sort();
        cookies.dedup();
        assert_eq!((cookies.len(), host.attachments().unwrap().len()), (8, 8));
        assert!(made.iter().all(|netns| !netns.is_here()));
    });
}

/// The kernel removes a namespace when it comes to it.
const PATIENCE: Duration = Duration::from_secs(60);

/// Tells the test below that it is the program that is broken.
const BROKEN: &str = "LINKSPAN_ATTACH_NEW";
const TEST: &str = "attach_new::whoever_is_broken_leaves_nothing_but_the_pin_that_it_asked_for";

/// The calls that are broken, how, and of how many of each one in every run of the tests.
const BREAKS: [(&str, Effect, usize); 12] = [
    ("ftruncate", Effect::Killed, 2),
    ("mount", Effect::Killed, 1),
    ("mount", Effect::Refused("ENOMEM"), 1),
    ("renameat", Effect::Killed, 2),
    ("renameat", Effect::Refused("ENOSPC"), 2),
    ("sched_setaffinity", Effect::Refused("EPERM"), 1),
    ("sendto", Effect::Killed, 3),
    ("sendto", Effect::Refused("ENOBUFS"), 3),
    ("setns", Effect::Refused("EPERM"), 1),
    ("unlinkat", Effect::Killed, 2),
    ("unshare", Effect::Refused("ENOSPC"), 1),
    ("write", Effect::Killed, 4),
];

/// Comes and goes, twice; what is refused has left no pin, or says so.
fn work() {
    let host = Host::open().unwrap();
    let network = host.networks().unwrap().remove(0);
    // The second time by the thread of the first, where that is of use. Of each thread the same call is refused.
    for _ in 0..2 {
        match host.attach_new(PIN, &wanted("web", &network, 8080)) {
            // What is in its way is told, and is another test's.
            Ok((netns, attachment)) => drop(host.detach_and_end(attachment.id(), netns)),
            Err(refused) => {
                let told = refused.left_behind().iter().any(|left| left.what.to_string().contains(PIN));
                assert!(told || !Path::new(PIN).exists(), "{refused}");
            }
        }
    }
}

#[test]
fn whoever_is_broken_leaves_nothing_but_the_pin_that_it_asked_for() {
    if env::var_os(BROKEN).is_some() {
        return work();
    }
    in_private_with(&["strace"], || {
        let world = World::new(Case::USUAL);
        let network = world.network(1);
        let before = before(&world, &network);
        for (call, effect, stride) in BREAKS {
            let mut broken = 0;
            for nth in (1..).step_by(length(stride, 1)) {
                let fault = Fault { call, effect, nth, lasting: false };
                let ran = run(&mut itself_broken(fault, TEST, BROKEN));
                let reached = was_broken();
                assert!(matches!(ran.code(), Some(0) | None), "{fault}: {ran}");
                NetNs::unpin(PIN).unwrap();
                world.linkspan("detach web").ok();
                wait_for(&before, &fault.to_string());
                if !reached {
                    break;
                }
                broken += 1;
            }
            println!("{call} {effect:?}: {broken} times");
            assert!(broken > 0, "{call} {effect:?}");
        }
    });
}
