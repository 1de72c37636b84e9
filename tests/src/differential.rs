//! What `explain` says equals what packets do: hosts drawn at random, and questions about them.
//!
//! `LINKSPAN_TOPOLOGIES=NUMBER` draws that many hosts instead of the usual ones, with seeds from
//! `LINKSPAN_SEED=NUMBER` on.

mod damage;
mod foreign;
mod known;
mod lines;
mod questions;
mod topology;
mod trial;
mod witness;

use crate::dice::Dice;
use crate::length::{first_seed, length, number};
use crate::private::{in_private_with, lacks};
use crate::snapshot::Snapshot;
use crate::traffic::{DOUBT, PATIENCE};
use crate::world::Case;
use known::{KNOWN, KnownHost};
use questions::Asked;
use std::panic::resume_unwind;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use topology::Topology;
use trial::{Tally, Trial};

/// How many hosts are drawn in a usual run, and in a long one.
const USUAL: (u64, u64) = (120, 2000);
/// How many are drawn to be compared in each case.
const USUAL_ALIKE: (u64, u64) = (20, 300);
/// How many questions are asked of each.
const QUESTIONS: usize = 16;
/// How many hosts there are at once: they mostly wait.
const AT_ONCE: usize = 6;
/// One of so many is looked at before and after it is explained.
const WATCHED: u64 = 16;
const IPTABLES: [&str; 2] = ["iptables", "ip6tables"];
const PROGRAMS: &[&str] = &["ip", "nft", "nsenter", "sh", "sysctl"];
/// How many differences are shown.
const SHOWN: usize = 12;

/// What was found out about one host.
type Compared = (Tally, Vec<String>);

#[test]
fn what_explain_says_is_what_packets_do() {
    in_private_with(PROGRAMS, || with_each_seed(USUAL, explained));
}

#[test]
fn packets_fare_the_same_with_each_firewall_and_bridge_netfilter() {
    in_private_with(PROGRAMS, || with_each_seed(USUAL_ALIKE, alike));
}

#[test]
fn what_was_explained_wrongly_once_is_what_packets_do() {
    in_private_with(PROGRAMS, || {
        let of = |host| Case::possible().into_iter().map(move |case| (case, host));
        let hosts: Vec<_> = KNOWN.iter().flat_map(of).collect();
        let compare = |nth: &(Case, &KnownHost)| {
            let (case, (commands, questions)) = nth;
            let topology = Topology::of(commands);
            let asked: Vec<_> = questions.iter().map(|(from, to)| Asked::new(from, to)).collect();
            apart(|| told(*case, &topology, Trial::build(*case, &topology).compare(&asked)))
        };
        compare_all(&hosts, compare);
    });
}

/// Compares the hosts of as many seeds as are asked for.
fn with_each_seed((usual, long): (u64, u64), compare: impl Fn(u64) -> Compared + Sync) {
    let count = number("LINKSPAN_TOPOLOGIES").unwrap_or_else(|| length(usual, long));
    let first = first_seed(count);
    let seeds: Vec<_> = (first..first + count).collect();
    compare_all(&seeds, |seed| {
        let (tally, differences) = compare(*seed);
        let named = |what| format!("LINKSPAN_SEED={seed} LINKSPAN_TOPOLOGIES=1: {what}");
        (tally, differences.into_iter().map(named).collect())
    });
}

/// Compares hosts, several at once, and shows in what they differ.
fn compare_all<T: Sync>(hosts: &[T], compare: impl Fn(&T) -> Compared + Sync) {
    let next = AtomicUsize::new(0);
    let (total, found) = (Mutex::new(Tally::default()), Mutex::new(Vec::new()));
    let work = || {
        while let Some(host) = hosts.get(next.fetch_add(1, Ordering::Relaxed)) {
            let (tally, differences) = compare(host);
            *total.lock().unwrap() += tally;
            found.lock().unwrap().extend(differences);
        }
    };
    thread::scope(|scope| (0..AT_ONCE).for_each(|_| drop(scope.spawn(work))));
    println!("{} hosts, {}", hosts.len(), total.into_inner().unwrap());
    let found = found.into_inner().unwrap();
    found.iter().take(SHOWN).for_each(|difference| println!("{difference}\n"));
    assert!(found.is_empty(), "{} differences", found.len());
}

/// With the host before each difference.
fn told(case: Case, topology: &Topology, (tally, differences): Compared) -> Compared {
    (tally, differences.iter().map(|difference| format!("{case}\n{topology}{difference}")).collect())
}

/// Runs on a thread of its own, which ends with the host that it moved to.
fn apart<T: Send>(body: impl FnOnce() -> T + Send) -> T {
    thread::scope(|scope| scope.spawn(body).join()).unwrap_or_else(|panic| resume_unwind(panic))
}

/// Asks about a host and its packets.
fn explained(seed: u64) -> Compared {
    let mut dice = Dice::new(seed);
    let cases = Case::possible();
    let case = dice.pick(&cases);
    let iptables = lacks(&IPTABLES).is_none();
    let topology = Topology::marred(dice.clone(), case.firewall, iptables);
    apart(|| {
        let trial = Trial::build(case, &topology);
        let asked = trial.sights().questions(&mut dice, QUESTIONS);
        // The links of a container that is gone go by themselves, some time.
        let watched = seed.is_multiple_of(WATCHED) && trial.is_whole();
        let before = watched.then(Snapshot::take);
        let (tally, mut differences) = trial.compare(&asked);
        differences.extend(before.and_then(|before| before.change()));
        told(case, &topology, (tally, differences))
    })
}

/// Asks the packets of the same host in each case.
fn alike(seed: u64) -> Compared {
    let dice = Dice::new(seed);
    let topology = Topology::plain(dice.clone());
    let heard = |case: &Case, patience| {
        apart(|| {
            let trial = Trial::build(*case, &topology);
            let asked = trial.sights().questions(&mut dice.clone(), QUESTIONS);
            trial.hear(&asked, patience)
        })
    };
    let cases = Case::possible();
    let heard_of = |patience| cases.iter().map(|case| heard(case, patience)).collect::<Vec<_>>();
    let mut heard = heard_of(DOUBT);
    if heard.iter().any(|other| *other != heard[0]) {
        // A machine that has much to do answers late.
        heard = heard_of(PATIENCE);
    }
    let mut differences = Vec::new();
    for (case, other) in cases.iter().zip(&heard).skip(1) {
        let differing = heard[0].iter().zip(other).filter(|(one, other)| one != other);
        differences.extend(
            differing.map(|(one, other)| format!("{topology}{}: {one:?}\n{case}: {other:?}", cases[0])),
        );
    }
    let answered = heard[0].iter().filter(|(_, heard)| heard.is_some()).count();
    (Tally { passes: answered, stopped: heard[0].len() - answered, doubtful: 0 }, differences)
}
