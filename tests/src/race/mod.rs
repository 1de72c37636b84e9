//! Many processes at once.

mod book;
mod crowd;
mod deed;
mod doer;
mod place;

use crate::length::length;
use crate::private::{in_private, lacks, skip};
use crate::program::Ran;
use crate::snapshot::Snapshot;
use crate::world::{Case, World, with_each_firewall};
use crowd::crowd;
use doer::Doer;
use linkspan::{Firewall, Host, NetNs};
use std::collections::BTreeSet;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

/// How many processes work at the same time.
const PROCESSES: usize = 8;

/// Runs the command once for each number below `count`, eight processes at a time.
fn at_once(world: &World, count: usize, line: impl Fn(usize) -> String + Sync) -> Vec<Ran> {
    let next = AtomicUsize::new(0);
    let work = || {
        let mut ran = Vec::new();
        loop {
            match next.fetch_add(1, Ordering::Relaxed) {
                number if number < count => ran.push(world.linkspan(&line(number))),
                _ => return ran,
            }
        }
    };
    thread::scope(|scope| {
        let workers: Vec<_> = (0..PROCESSES).map(|_| scope.spawn(work)).collect();
        workers.into_iter().flat_map(|worker| worker.join().unwrap()).collect()
    })
}

/// Attaches this many namespaces and detaches them again.
fn attach_and_detach(world: &World, count: usize) {
    let path = |number| format!("/run/netns/c{number}");
    let _netns: Vec<_> = (0..count).map(|number| NetNs::create(path(number)).unwrap()).collect();
    let before = Snapshot::take();
    let attach = |number| format!("attach c{number} --netns {} -p {}:80", path(number), 10_000 + number);
    at_once(world, count, attach).into_iter().for_each(|ran| drop(ran.ok()));
    let attachments = world.host.attachments().unwrap();
    let addresses: BTreeSet<_> = attachments.iter().map(|a| a.endpoints()[0].address()).collect();
    let links: BTreeSet<_> = attachments.iter().map(|a| a.endpoints()[0].host_link()).collect();
    assert_eq!((attachments.len(), addresses.len(), links.len()), (count, count, count));
    at_once(world, count, |number| format!("detach c{number}")).into_iter().for_each(|ran| drop(ran.ok()));
    before.assert_unchanged("the last detach");
}

#[test]
fn two_hundred_attaches_by_eight_processes_get_two_hundred_addresses() {
    in_private(|| attach_and_detach(&World::new(Case::USUAL), 200));
}

#[test]
fn forty_attaches_by_eight_processes_get_forty_addresses_with_iptables() {
    // Fewer than with nftables: each rewrites the rules of all, one process at a time, by four programs.
    in_private(|| {
        with_each_firewall(|world| {
            if world.case.firewall == Firewall::Iptables {
                attach_and_detach(world, 40);
            }
        });
    });
}

#[test]
fn of_eight_processes_one_gets_a_port_a_name_a_network() {
    in_private(|| {
        with_each_firewall(|world| {
            let netns = |number| format!("/run/netns/c{number}");
            let _netns: Vec<_> = (0..PROCESSES).map(|n| NetNs::create(netns(n)).unwrap()).collect();
            let before = Snapshot::take();
            let one_wins = |line: &(dyn Fn(usize) -> String + Sync), lost: &str| {
                let ran = at_once(world, PROCESSES, line);
                let (won, others): (Vec<_>, Vec<_>) = ran.iter().partition(|ran| ran.status.success());
                assert_eq!(won.len(), 1, "{ran:?}");
                others
                    .iter()
                    .for_each(|ran| assert!(ran.code() == Some(1) && ran.err.contains(lost), "{ran}"));
            };
            one_wins(&|n| format!("attach c{n} --netns {} -p 8080:80", netns(n)), "8080/tcp is published by");
            world.clear();
            before.assert_unchanged("a fight for a port");
            one_wins(&|n| format!("attach web --netns {}", netns(n)), "name `web` is taken");
            world.clear();
            before.assert_unchanged("a fight for a name");
            one_wins(&|n| format!("attach c{n} --netns {}", netns(0)), "attached already");
            world.clear();
            before.assert_unchanged("a fight for a namespace");
            one_wins(&|_| "network create a".to_owned(), "network `a` exists");
            world.clear();
            before.assert_unchanged("a fight for a network");
        });
    });
}

#[test]
fn a_default_network_that_comes_and_goes_under_eight_processes_is_never_missing() {
    in_private(|| {
        with_each_firewall(|world| {
            let before = Snapshot::take();
            let runs = at_once(world, 40, |_| "run -- ip route get 172.17.0.1".to_owned());
            runs.into_iter().for_each(|ran| assert!(ran.code() == Some(0), "{ran}"));
            before.assert_unchanged("forty runs");
        });
    });
}

#[test]
fn eight_processes_that_detach_one_container_all_succeed() {
    in_private(|| {
        with_each_firewall(|world| {
            let _netns = NetNs::create("/run/netns/web").unwrap();
            let before = Snapshot::take();
            for _ in 0..5 {
                world.linkspan("attach web --netns /run/netns/web -p 8080:80").ok();
                at_once(world, PROCESSES, |_| "detach web".to_owned())
                    .into_iter()
                    .for_each(|ran| drop(ran.ok()));
                before.assert_unchanged("eight detaches");
            }
        });
    });
}

#[test]
fn instances_that_start_at_once_do_not_disturb_each_other() {
    in_private(|| {
        with_each_firewall(|world| {
            let path = |number| format!("/run/netns/c{number}");
            let _netns: Vec<_> = (0..PROCESSES).map(|number| NetNs::create(path(number)).unwrap()).collect();
            let before = Snapshot::take();
            let create = |n| format!("--instance i{n} network create net --subnet 10.88.{n}.0/24");
            at_once(world, PROCESSES, create).into_iter().for_each(|ran| drop(ran.ok()));
            let attach = |n| format!("--instance i{n} attach web --netns {} --network net", path(n));
            at_once(world, PROCESSES, attach).into_iter().for_each(|ran| drop(ran.ok()));
            let remove = |n| format!("--instance i{n} network rm --force net");
            at_once(world, PROCESSES, remove).into_iter().for_each(|ran| drop(ran.ok()));
            before.assert_unchanged("eight instances");
        });
    });
}

/// Seeds of one run of the tests; the long form has more.
fn seeds() -> std::ops::RangeInclusive<u64> {
    length(1..=1, 1..=6)
}

#[test]
fn sixteen_processes_that_do_what_they_like_lose_and_leave_nothing_with_nftables() {
    in_private(|| {
        let world = World::new(Case::USUAL);
        let killed: usize = seeds().map(|seed| crowd(&world, vec![Doer::Commands(&world)], 100, seed)).sum();
        match lacks(&["strace"]) {
            Some(reason) => skip(&format!("nobody is killed: {reason}")),
            None => assert!(killed > 0, "nobody was killed at work"),
        }
    });
}

#[test]
fn sixteen_processes_that_do_what_they_like_lose_and_leave_nothing_with_iptables() {
    // Fewer deeds than with nftables: each rewrites the rules of all, one process at a time, by four programs.
    in_private(|| {
        with_each_firewall(|world| {
            if world.case.firewall == Firewall::Iptables {
                for seed in seeds() {
                    crowd(world, vec![Doer::Commands(world)], length(8, 100), seed);
                }
            }
        });
    });
}

#[test]
fn sixteen_threads_with_one_host_or_several_lose_and_leave_nothing() {
    in_private(|| {
        let world = World::new(Case::USUAL);
        let several: Vec<_> = (0..4).map(|_| Host::open().unwrap()).collect();
        for seed in seeds() {
            crowd(&world, vec![Doer::Host(&world.host)], length(30, 200), seed);
            crowd(&world, several.iter().map(Doer::Host).collect(), length(30, 200), seed);
            let mixed = several.iter().map(Doer::Host).chain([Doer::Commands(&world)]);
            crowd(&world, mixed.collect(), length(30, 200), seed);
        }
    });
}
