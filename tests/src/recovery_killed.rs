//! Repair that is killed at any step is finished by the next one.

use crate::private::in_private_with;
use crate::program::tool;
use crate::snapshot::Snapshot;
use crate::strace::{Effect, Fault, broken};
use crate::traffic::{Question, serve};
use crate::world::{Case, Family, World};
use linkspan::{Attachment, NetNs, Protocol};
use std::collections::BTreeSet;
use std::fs;
use std::thread;

/// The calls by which files are changed.
const OF_FILES: [&str; 4] = ["ftruncate", "renameat", "unlinkat", "write"];
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

    /// Attaches containers of these names for a moment, where that is not refused, and says how many were: each has a
    /// name and an address of its own.
    fn attach_where_it_may_be(&self, names: &[&str], fault: &str) -> usize {
        let pin = |nth: usize| format!("/run/netns/other{nth}");
        let netns: Vec<_> = (0..names.len()).map(|nth| NetNs::create(pin(nth)).unwrap()).collect();
        for (nth, name) in names.iter().enumerate() {
            let ran = self.world.linkspan(&format!("attach {name} --netns {} --network web", pin(nth)));
            assert!(matches!(ran.code(), Some(0 | 1)), "{fault}: {ran}");
        }
        let all = self.world.host.attachments().unwrap();
        let addresses: BTreeSet<_> = all.iter().map(|one| one.endpoints()[0].address()).collect();
        let taken: BTreeSet<_> = all.iter().map(Attachment::name).collect();
        assert!(addresses.len() == all.len() && taken.len() == all.len(), "{fault}: {all:?}");
        let others: Vec<_> = all.iter().filter(|one| one.name().as_str() != "living").collect();
        others.iter().for_each(|one| drop(self.world.linkspan(&format!("detach {}", one.name())).ok()));
        drop(netns);
        (0..names.len()).for_each(|nth| NetNs::unpin(pin(nth)).unwrap());
        others.len()
    }

    fn is_reachable(&self) {
        let to = (self.world.host_address(Family::V4), 8000).into();
        Question { from: self.world.remote(), by: Protocol::Tcp, to }.answer().unwrap();
    }
}

fn id_of_network(world: &World) -> String {
    world.host.networks().unwrap()[0].id().to_string()
}

/// Kills the command at each of these calls, each time after a wreck was made, and has it judged.
fn killed_at(
    calls: &[&'static str],
    line: &str,
    wreck: impl Fn(&World) + Sync,
    judge: impl Fn(&Bench, &str) + Sync,
) {
    let (wreck, judge) = (&wreck, &judge);
    thread::scope(|scope| {
        let sweep = |call: &'static str| {
            let bench = Bench::new();
            for nth in 1.. {
                wreck(&bench.world);
                let fault = Fault { call, effect: Effect::Killed, nth, lasting: false };
                let killed = broken(&bench.world, fault, line).is_some();
                judge(&bench, &fault.to_string());
                if !killed {
                    return nth;
                }
            }
            0
        };
        let sweeps: Vec<_> = calls.iter().map(|call| scope.spawn(move || sweep(call))).collect();
        let broken: usize = sweeps.into_iter().map(|sweep| sweep.join().unwrap() - 1).sum();
        assert!(broken >= calls.len(), "only {broken} calls were broken");
    });
}

#[test]
fn a_gc_that_is_killed_anywhere_is_finished_by_the_next() {
    in_private_with(&["strace"], || {
        killed_at(
            &CHANGING,
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
                bench.world.linkspan("gc").ok();
                bench.before.assert_unchanged(fault);
                assert_eq!(bench.world.linkspan("gc").ok(), "nothing to remove\n", "{fault}");
            },
        );
    });
}

#[test]
fn a_reconcile_that_is_killed_anywhere_is_finished_by_the_next() {
    in_private_with(&["strace", "nft"], || {
        killed_at(
            &CHANGING,
            "reconcile",
            |world| {
                let bridge = world.host.networks().unwrap()[0].link();
                tool(&format!("ip link delete {bridge}"));
                tool("nft flush set inet linkspan masq4");
                fs::write("/run/linkspan/claims", "").unwrap();
            },
            |bench, fault| {
                bench.world.linkspan("reconcile").ok();
                bench.is_reachable();
                let said = bench.world.linkspan("reconcile").ok();
                assert_eq!(said, "the host is as the records say\n", "{fault}");
            },
        );
    });
}

/// Kills the repair of a file at every change of a file, and nothing is given twice, neither in between nor
/// after the next one.
fn gives_nothing_twice(path: impl Fn(&World) -> String + Sync, text: &str, between: &[&str]) {
    let wreck = |world: &World| fs::write(path(world), text).unwrap();
    killed_at(&OF_FILES, "reconcile", wreck, |bench, fault| {
        let fault = &format!("{} was {text:?}, {fault}", path(&bench.world));
        bench.attach_where_it_may_be(between, fault);
        bench.world.linkspan("reconcile").ok();
        assert_eq!(bench.world.linkspan("gc").ok(), "nothing to remove\n", "{fault}");
        assert_eq!(bench.attach_where_it_may_be(&["living", "one", "two"], fault), 2, "{fault}");
        bench.is_reachable();
        assert_eq!(bench.world.linkspan("reconcile").ok(), "the host is as the records say\n", "{fault}");
    });
}

#[test]
fn a_repair_of_claims_that_is_killed_gives_no_name_twice() {
    in_private_with(&["strace"], || {
        let path = |_: &World| "/run/linkspan/claims".to_owned();
        ["", "?"].iter().for_each(|text| gives_nothing_twice(path, text, &["early"]));
    });
}

#[test]
fn a_repair_of_leases_that_is_killed_gives_no_address_twice() {
    in_private_with(&["strace"], || {
        let path = |world: &World| format!("/run/linkspan/leases/{}", id_of_network(world));
        ["", "?"].iter().for_each(|text| gives_nothing_twice(path, text, &["early"]));
    });
}

#[test]
fn a_repair_of_the_record_of_a_network_that_is_killed_leaves_it_up() {
    in_private_with(&["strace"], || {
        let path = |world: &World| format!("/run/linkspan/up/network-{}", id_of_network(world));
        gives_nothing_twice(path, "", &[]);
    });
}
