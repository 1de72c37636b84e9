//! One who stands still in the midst of his work keeps nobody else from theirs, but for the moments in which he
//! changes what all share; and he goes on as if nothing had been.

use crate::length::length;
use crate::private::in_private_with;
use crate::program::end_of;
use crate::snapshot::Snapshot;
use crate::strace::{Stopped, calls, stopped};
use crate::traffic::{Question, serve};
use crate::world::{Case, Family, World};
use linkspan::{NetNs, Network, Protocol};
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::process::{Child, Stdio};
use std::sync::Mutex;
use std::thread;
use std::time::{Duration, Instant};

/// How many worlds work on one list of calls.
const WORKERS: usize = 4;
/// Minutes: whoever takes so long waits for ever.
const PATIENCE: Duration = Duration::from_secs(300);

const ATTACH: &str = "attach web --netns /run/netns/web --network a -p 8000:80";
const DETACH: &str = "detach web";
// No id begins like its name.
const CREATE: &str = "network create made --subnet 10.88.4.0/24";
const REMOVE: &str = "network rm made";

/// The calls after which a command is stopped in every run of the tests: each of them, or one of so many. What a
/// command holds changes with `flock` alone.
const SHORT: [(&str, usize); 6] =
    [("flock", 1), ("sendto", 6), ("renameat", 2), ("unlinkat", 2), ("write", 5), ("openat", 20)];

/// The same where a network is made or removed.
const SHORTER: [(&str, usize); 1] = [("flock", 3)];

/// What others do while one stands still, each with what it may have to wait for.
const OTHERS: [(&str, &[Shared]); 6] = [
    ("attach far --netns /run/netns/far --network b -p 8001:80", &[Shared::Claims]),
    ("attach near --netns /run/netns/near --network a -p 8002:80", &[Shared::Claims, Shared::LeasesOfA]),
    ("detach old", &[Shared::Claims, Shared::LeasesOfA]),
    ("network create c --subnet 10.88.3.0/24", &[Shared::Definitions]),
    ("ps", &[]),
    ("network ls", &[]),
];

/// What only one at a time can change.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Shared {
    /// Names, namespaces and ports.
    Claims,
    LeasesOfA,
    /// Which networks there are.
    Definitions,
    /// The run folder, which is made one's own or emptied.
    Host,
}

/// A host with two networks, a container, and a namespace for each that is to come.
struct Bench {
    world: World,
    before: Snapshot,
    leases_of_a: String,
    _netns: [NetNs; 4],
}

impl Bench {
    fn new() -> Self {
        let world = World::new(Case::USUAL);
        for (network, subnet) in [("a", "10.88.1.0/24"), ("b", "10.88.2.0/24")] {
            world.linkspan(&format!("network create {network} --subnet {subnet}")).ok();
        }
        let netns = ["web", "near", "far", "old"].map(|name| {
            let netns = NetNs::create(format!("/run/netns/{name}")).unwrap();
            serve(&netns, 80);
            netns
        });
        let leases_of_a = format!("/run/linkspan/leases/.{}.lock", world.host.networks().unwrap()[0].id());
        // With its first port a bridge gets routes that stay.
        for (number, network) in ["a", "b"].into_iter().enumerate() {
            world
                .linkspan(&format!(
                    "attach first --netns /run/netns/web --network {network} -p 808{number}:80"
                ))
                .ok();
            world.linkspan("detach first").ok();
        }
        let bench = Self { before: Snapshot::take(), world, leases_of_a, _netns: netns };
        bench.begin();
        bench
    }

    fn begin(&self) {
        self.world.linkspan("attach old --netns /run/netns/old --network a -p 8003:80").ok();
    }

    /// Makes what the command removes.
    fn prepare(&self, line: &str) {
        match line {
            DETACH => drop(self.world.linkspan(ATTACH).ok()),
            REMOVE => drop(self.world.linkspan(CREATE).ok()),
            _ => {}
        }
    }

    /// What the stopped one holds of what all share.
    fn held(&self, stopped: &Stopped) -> BTreeSet<Shared> {
        let files = [
            (Shared::Claims, "/run/linkspan/.claims.lock"),
            (Shared::LeasesOfA, &self.leases_of_a),
            (Shared::Definitions, "/var/lib/linkspan/.networks.lock.lock"),
            (Shared::Host, "/run/linkspan/locks/.host.lock"),
        ];
        let locks = stopped.locks();
        let is_held = |path: &str| fs::metadata(path).is_ok_and(|file| locks.contains(&file.ino()));
        files.into_iter().filter(|(_, path)| is_held(path)).map(|(shared, _)| shared).collect()
    }

    fn start(&self, line: &str) -> Child {
        let mut command = self.world.command(line);
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap()
    }

    fn answers(&self, port: u16) -> Result<(), String> {
        let to = (self.world.host_address(Family::V4), port).into();
        let question = Question { from: self.world.remote(), by: Protocol::Tcp, to };
        question.answer().map(drop).map_err(|error| format!("{to} does not answer: {error}"))
    }

    /// Stops the command there, lets others do everything, lets it go on, and looks at what came of all;
    /// `None` where it came to its end first.
    fn stop(&self, line: &str, call: &str, nth: usize) -> Result<Option<BTreeSet<Shared>>, String> {
        self.prepare(line);
        let Some(stopped) = stopped(&self.world, call, nth, line) else {
            self.world.linkspan(DETACH).ok();
            self.world.linkspan("network rm --force made").ok();
            return Ok(None);
        };
        let held = self.held(&stopped);
        let mut waiting = Vec::new();
        for (other, waits_for) in OTHERS {
            let started = self.start(other);
            match waits_for.iter().chain(&[Shared::Host]).any(|shared| held.contains(shared)) {
                true => waiting.push((other, started)),
                false => done(other, started)?,
            }
        }
        if !held.contains(&Shared::Host) {
            self.ensure(&stopped)?;
        }
        // These two wait until nobody is at work.
        waiting.extend(["gc", "reconcile"].map(|line| (line, self.start(line))));
        let ran = stopped.goes_on()?;
        if ran.code() != Some(0) {
            return Err(format!("went on to {ran}"));
        }
        waiting.into_iter().try_for_each(|(other, started)| done(other, started))?;
        self.judge(line).map(|()| Some(held))
    }

    /// A program that uses the facade says for each container which networks it needs; they are up.
    fn ensure(&self, stopped: &Stopped) -> Result<(), String> {
        let both = ["a", "b"].map(|name| Network::bridge(name.parse().unwrap()));
        let work = || both.iter().try_for_each(|network| self.world.host.ensure_network(network).map(drop));
        thread::scope(|scope| {
            let ensured = scope.spawn(work);
            let until = Instant::now() + PATIENCE;
            while !ensured.is_finished() {
                if Instant::now() > until {
                    // Or it would be waited for to no end.
                    stopped.release();
                    return Err("networks that are up are waited for".to_owned());
                }
                thread::sleep(Duration::from_millis(2));
            }
            ensured.join().unwrap().map_err(|error| format!("{error:?}"))
        })
    }

    /// Everybody has what he was told that he has; and when all are gone, the host is as it was.
    fn judge(&self, line: &str) -> Result<(), String> {
        let attached = if line == ATTACH { &[8000, 8001, 8002][..] } else { &[8001, 8002] };
        attached.iter().try_for_each(|port| self.answers(*port))?;
        let on_record = self.world.host.attachments().unwrap();
        if on_record.len() != attached.len() {
            return Err(format!("on record are {on_record:?}"));
        }
        let missing = self.world.linkspan("reconcile").ok();
        if missing != "the host is as the records say\n" {
            return Err(missing);
        }
        self.world.linkspan("detach web near far").ok();
        self.world.linkspan("network rm --force c made").ok();
        self.before.change().map_or(Ok(()), Err)?;
        self.begin();
        Ok(())
    }
}

/// Waits for the end of one whom nobody keeps.
fn done(line: &str, by: Child) -> Result<(), String> {
    let Some(ran) = end_of(by, PATIENCE) else { return Err(format!("{line} does not end")) };
    if ran.code() == Some(0) { Ok(()) } else { Err(format!("{line}: {ran}")) }
}

/// Stops the command everywhere, each time in the midst of others' work.
fn stopped_everywhere(line: &str, short: &[(&str, usize)]) {
    let short = short.iter().map(|(call, stride)| ((*call).to_owned(), *stride)).collect();
    let list: Vec<_> = length(Some(short), None).unwrap_or_else(|| calls_of(line));
    let (next, tally) = (Mutex::new(list.into_iter()), Mutex::new(BTreeMap::new()));
    let wrong = Mutex::new(Vec::new());
    let worker = || {
        let Some(mut task) = next.lock().unwrap().next() else { return };
        let bench = Bench::new();
        loop {
            let (call, stride) = task;
            for nth in (1..).step_by(stride) {
                match bench.stop(line, &call, nth) {
                    Ok(Some(held)) => *tally.lock().unwrap().entry(held).or_insert(0) += 1,
                    Ok(None) => break,
                    Err(said) => return wrong.lock().unwrap().push(format!("{call} {nth}: {said}")),
                }
            }
            task = match next.lock().unwrap().next() {
                Some(task) => task,
                None => return,
            };
        }
    };
    thread::scope(|scope| (0..WORKERS).for_each(|_| drop(scope.spawn(worker))));
    println!("{line}: stops, by what was held: {:?}", tally.into_inner().unwrap());
    let wrong = wrong.into_inner().unwrap();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// The calls that it makes, but for those that end it, each of them.
fn calls_of(line: &str) -> Vec<(String, usize)> {
    let look = || {
        let bench = Bench::new();
        bench.prepare(line);
        calls(&bench.world, line)
    };
    let calls = thread::scope(|scope| scope.spawn(look).join().unwrap());
    let work = calls.into_keys().filter(|call| !["exit", "exit_group"].contains(&call.as_str()));
    work.map(|call| (call, 1)).collect()
}

#[test]
fn an_attach_that_stands_still_keeps_nobody_but_for_what_all_share() {
    in_private_with(&["strace"], || stopped_everywhere(ATTACH, &SHORT));
}

#[test]
fn a_detach_that_stands_still_keeps_nobody_but_for_what_all_share() {
    in_private_with(&["strace"], || stopped_everywhere(DETACH, &SHORT));
}

#[test]
fn who_makes_or_removes_a_network_and_stands_still_keeps_those_from_networks_who_do_the_same() {
    in_private_with(&["strace"], || {
        for line in [CREATE, REMOVE] {
            stopped_everywhere(line, &SHORTER);
        }
    });
}
