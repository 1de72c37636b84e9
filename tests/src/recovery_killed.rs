//! Repair that is killed at any step is finished by the next one.

use crate::private::in_private_with;
use crate::program::tool;
use crate::snapshot::Snapshot;
use crate::strace::{Effect, Fault, broken};
use crate::traffic::{Question, serve};
use crate::world::{Case, Family, World};
use linkspan::{NetNs, Protocol};
use std::fs;
use std::thread;

/// The calls of a repair that change anything outside the process.
const CHANGING: [&str; 6] = ["ftruncate", "renameat", "sendto", "unlinkat", "write", "exit_group"];

/// A network with a container that lives, and what the host looks like with it.
struct Bench {
    world: World,
    before: Snapshot,
    _living: NetNs,
}

impl Bench {
    fn new() -> Self {
        let world = World::new(Case::USUAL);
        world.linkspan("network create web --subnet 10.88.0.0/24").ok();
        let living = NetNs::create("/run/netns/living").unwrap();
        world.linkspan("attach living --netns /run/netns/living --network web -p 8000:80").ok();
        serve(&living, 80);
        let before = Snapshot::take();
        Self { world, before, _living: living }
    }

    fn is_reachable(&self) {
        let to = (self.world.host_address(Family::V4), 8000).into();
        Question { from: self.world.remote(), by: Protocol::Tcp, to }.answer().unwrap();
    }
}

/// Kills the command at each changing call, each time after a wreck was made, and has the next one repair it.
fn killed_everywhere(line: &str, wreck: impl Fn(&World) + Sync, judge: impl Fn(&Bench, &str) + Sync) {
    let (wreck, judge) = (&wreck, &judge);
    thread::scope(|scope| {
        let sweep = |call: &'static str| {
            let bench = Bench::new();
            for nth in 1.. {
                wreck(&bench.world);
                let fault = Fault { call, effect: Effect::Killed, nth, lasting: false };
                let killed = broken(&bench.world, fault, line).is_some();
                bench.world.linkspan(line).ok();
                judge(&bench, &fault.to_string());
                if !killed {
                    return nth;
                }
            }
            0
        };
        let sweeps: Vec<_> = CHANGING.iter().map(|call| scope.spawn(move || sweep(call))).collect();
        let broken: usize = sweeps.into_iter().map(|sweep| sweep.join().unwrap() - 1).sum();
        assert!(broken > CHANGING.len(), "only {broken} calls were broken");
    });
}

#[test]
fn a_gc_that_is_killed_anywhere_is_finished_by_the_next() {
    in_private_with(&["strace"], || {
        killed_everywhere(
            "gc",
            |world| {
                for name in ["a", "b", "lost"] {
                    let netns = NetNs::create(format!("/run/netns/{name}")).unwrap();
                    world
                        .linkspan(&format!("attach {name} --netns /run/netns/{name} --network web -p 80"))
                        .ok();
                    if name == "lost" {
                        let id = world.host.find(name).unwrap().id();
                        fs::remove_file(format!("/run/linkspan/attachments/{id}")).unwrap();
                    }
                    NetNs::unpin(format!("/run/netns/{name}")).unwrap();
                    drop(netns);
                }
            },
            |bench, fault| {
                bench.before.assert_unchanged(fault);
                assert_eq!(bench.world.linkspan("gc").ok(), "nothing to remove\n", "{fault}");
            },
        );
    });
}

#[test]
fn a_reconcile_that_is_killed_anywhere_is_finished_by_the_next() {
    in_private_with(&["strace", "nft"], || {
        killed_everywhere(
            "reconcile",
            |world| {
                let bridge = world.host.networks().unwrap()[0].link();
                tool(&format!("ip link delete {bridge}"));
                tool("nft flush set inet linkspan masq4");
                fs::write("/run/linkspan/claims", "").unwrap();
            },
            |bench, fault| {
                bench.is_reachable();
                let said = bench.world.linkspan("reconcile").ok();
                assert_eq!(said, "the host is as the records say\n", "{fault}");
            },
        );
    });
}
