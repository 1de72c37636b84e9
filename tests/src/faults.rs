//! A refusal of any system call leaves the host as it was, or is told; and so does a kill.
//!
//! The short form leaves out some refusals of calls that are made many times; kills are all there.

use crate::calls::{CHANGING, LASTING, REFUSALS, SWALLOWED, is_known};
use crate::length::length;
use crate::private::in_private_with;
use crate::program::{Ran, run};
use crate::snapshot::Snapshot;
use crate::strace::{Effect, Fault, broken, calls};
use crate::traffic::{Question, serve};
use crate::world::{Case, Family, World};
use linkspan::{Error, Firewall, NetNs, Protocol};
use std::cell::Cell;
use std::env;
use std::fs::{self, Permissions};
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt;
use std::sync::Mutex;
use std::thread;

/// How many worlds work on one list of faults: they wait for the kernel most of the time.
const WORKERS: usize = 4;

const ATTACH: &str = "attach web --netns /run/netns/web -p 8080:80";
const DETACH: &str = "detach web";

/// Calls that only look: with nftables they are all broken, and with iptables, whose own programs make
/// hundreds more of them, they would take minutes to say the same.
const READING: [&str; 15] = [
    "access",
    "fcntl",
    "fstatfs",
    "getdents64",
    "getrandom",
    "getsockname",
    "getsockopt",
    "lseek",
    "newfstatat",
    "pread64",
    "prlimit64",
    "read",
    "readlink",
    "setsockopt",
    "statx",
];

/// A world whose container waits to be attached, and what its host looks like till then.
struct Bench {
    world: World,
    before: Snapshot,
    /// Whether the command that is judged could not write at all.
    mute: Cell<bool>,
    _netns: NetNs,
}

impl Bench {
    fn new(firewall: Firewall) -> Self {
        let world = World::new(Case { firewall, ..Case::USUAL });
        let netns = NetNs::create("/run/netns/web").unwrap();
        serve(&netns, 80);
        // Once there and back, so that what iptables and forwarding leave is there already.
        world.linkspan(ATTACH).ok();
        world.linkspan(DETACH).ok();
        let before = Snapshot::take();
        Self { world, before, mute: Cell::new(false), _netns: netns }
    }

    /// Whether the container is on record, in which case it must be whole.
    fn is_attached(&self) -> Result<bool, String> {
        match self.world.host.find("web") {
            Err(Error::NoSuchAttachment { .. }) => Ok(false),
            Err(error) => Err(format!("the records cannot be read: {error:?}")),
            Ok(_) => self.is_whole().map(|()| true),
        }
    }

    fn is_whole(&self) -> Result<(), String> {
        // The default network has IPv4 alone.
        let to = SocketAddr::new(self.world.host_address(Family::V4), 8080);
        let question = Question { from: self.world.remote(), by: Protocol::Tcp, to };
        let answer = question.answer().map(drop);
        answer.map_err(|error| format!("attached, but {to} does not answer: {error}"))
    }

    fn is_as_before(&self) -> Result<(), String> {
        self.before.change().map_or(Ok(()), Err)
    }

    /// Judges an attach that was broken, and goes back to where there is none.
    fn judge_attach(&self, ran: &Ran) -> Result<(), String> {
        match ran.code() {
            Some(0) => match self.is_attached()? {
                true => self.detach(),
                false => Err("exit 0, but nothing is on record".to_owned()),
            },
            Some(3) => self.is_told(ran).and_then(|()| self.detach()),
            // A library or a program that cannot be loaded has a status of its own.
            Some(1 | 126 | 127) => self.is_as_before(),
            _ => Err("neither done nor refused".to_owned()),
        }
    }

    /// Judges a detach that was broken, and goes back to where there is none.
    fn judge_detach(&self, ran: &Ran) -> Result<(), String> {
        match ran.code() {
            Some(0) => self.is_as_before(),
            Some(3) => self.is_told(ran).and_then(|()| self.detach()),
            Some(1 | 126 | 127) => match self.is_attached()? {
                true => self.detach(),
                false => Err("refused, but it is off the record".to_owned()),
            },
            _ => Err("neither done nor refused".to_owned()),
        }
    }

    /// After a kill the container is whole, or its name, its namespace and its port can be used again.
    fn judge_killed(&self) -> Result<(), String> {
        if !self.is_attached()? {
            let ran = self.world.linkspan(ATTACH);
            if ran.code() != Some(0) {
                return Err(format!("the next attach is refused: {ran}"));
            }
            self.is_whole()?;
        }
        self.detach()
    }

    fn is_told(&self, ran: &Ran) -> Result<(), String> {
        if self.mute.get() {
            // Nothing can be written, this line neither.
            return Ok(());
        }
        let ways = ["left behind: ", "what was told is done, but its answer cannot be written: "];
        let told = ways.iter().any(|way| ran.err.contains(way)) && ran.err.lines().count() == 1;
        told.then_some(()).ok_or_else(|| "exit 3 without a line that names what stayed".to_owned())
    }

    /// A plain detach takes back whatever there is.
    fn detach(&self) -> Result<(), String> {
        let ran = self.world.linkspan(DETACH);
        match ran.code() {
            Some(0) => self.is_as_before().map_err(|change| format!("after a plain detach:\n{change}")),
            _ => Err(format!("a plain detach is refused: {ran}")),
        }
    }
}

/// One command, and what may break of it.
struct Sweep {
    firewall: Firewall,
    /// Attach, or else detach.
    attach: bool,
    effects: Vec<(&'static str, Effect)>,
    lasting: bool,
    /// One of so many calls of a name is broken, at least one of each name.
    stride: usize,
}

impl Sweep {
    /// Breaks the calls of the list, the first of a name, those after it, until there is none left to break.
    #[track_caller]
    fn run(&self) {
        let next = Mutex::new(self.effects.iter());
        let tally = Mutex::new((0, Vec::new()));
        let worker = || {
            let mut bench = Bench::new(self.firewall);
            loop {
                let Some((call, effect)) = next.lock().unwrap().next().copied() else { return };
                for nth in (1..).step_by(self.stride) {
                    let fault = Fault { call, effect, nth, lasting: self.lasting };
                    match self.one(&bench, fault) {
                        Ok(true) => tally.lock().unwrap().0 += 1,
                        Ok(false) => break,
                        Err(said) => {
                            let mut tally = tally.lock().unwrap();
                            tally.0 += 1;
                            tally.1.push(said);
                            drop(tally);
                            bench = Bench::new(self.firewall);
                        }
                    }
                }
            }
        };
        thread::scope(|scope| (0..WORKERS).for_each(|_| drop(scope.spawn(worker))));
        let (broken, wrong) = tally.into_inner().unwrap();
        println!("{broken} system calls broken");
        assert!(broken > 0, "nothing was broken");
        assert!(wrong.is_empty(), "{} of {broken} went wrong:\n{}", wrong.len(), wrong.join("\n"));
    }

    /// Whether there was anything to break, and what was wrong with what came of it.
    fn one(&self, bench: &Bench, fault: Fault) -> Result<bool, String> {
        let line = if self.attach { ATTACH } else { DETACH };
        bench.mute.set(fault.lasting && fault.call == "write");
        if !self.attach {
            bench.world.linkspan(ATTACH).ok();
        }
        let Some(ran) = broken(&bench.world, fault, line) else {
            // It came to its end, and everything is as after a plain one.
            return bench.detach().map(|()| false);
        };
        let judged = match (fault.effect, self.attach) {
            (Effect::Killed, _) => bench.judge_killed(),
            (_, true) => bench.judge_attach(&ran),
            (_, false) => bench.judge_detach(&ran),
        };
        judged.map(|()| true).map_err(|wrong| format!("{fault}: {ran}\n  {}", wrong.replace('\n', "\n  ")))
    }
}

/// The likeliest refusal of each call.
fn refusals() -> impl Iterator<Item = (&'static str, &'static str)> {
    REFUSALS.iter().map(|(call, errors)| (*call, errors[0]))
}

fn effects(refusals: impl Iterator<Item = (&'static str, &'static str)>) -> Vec<(&'static str, Effect)> {
    refusals.map(|(call, error)| (call, Effect::Refused(error))).collect()
}

/// What is refused where iptables carries the rules.
fn refusals_with_iptables() -> impl Iterator<Item = (&'static str, &'static str)> {
    refusals().filter(|refusal| !READING.contains(&refusal.0) && !SWALLOWED.contains(refusal))
}

/// Any call is refused once.
fn refused(firewall: Firewall, attach: bool) -> Sweep {
    let (effects, stride) = match firewall {
        Firewall::Iptables => (effects(refusals_with_iptables()), length(20, 1)),
        Firewall::Nftables | Firewall::None => (effects(refusals()), length(6, 1)),
    };
    Sweep { firewall, attach, effects, lasting: false, stride }
}

#[test]
fn every_system_call_of_attach_and_detach_is_broken_somewhere() {
    in_private_with(&["strace"], || {
        for firewall in [Firewall::Nftables, Firewall::Iptables] {
            thread::scope(|scope| {
                scope.spawn(|| {
                    let bench = Bench::new(firewall);
                    for line in [ATTACH, DETACH] {
                        let calls = calls(&bench.world, line);
                        let unknown: Vec<_> = calls.keys().filter(|c| !is_known(c)).collect();
                        assert!(unknown.is_empty(), "{firewall}: {line}: {unknown:?}");
                    }
                });
            });
        }
    });
}

#[test]
fn an_attach_that_is_refused_anything_leaves_the_host_as_it_was_with_nftables() {
    in_private_with(&["strace"], || {
        refused(Firewall::Nftables, true).run();
    });
}

#[test]
fn an_attach_that_is_refused_anything_leaves_the_host_as_it_was_with_iptables() {
    in_private_with(&["strace", "iptables"], || {
        refused(Firewall::Iptables, true).run();
    });
}

#[test]
fn a_detach_that_is_refused_anything_is_whole_or_told_with_nftables() {
    in_private_with(&["strace"], || {
        refused(Firewall::Nftables, false).run();
    });
}

#[test]
fn a_detach_that_is_refused_anything_is_whole_or_told_with_iptables() {
    in_private_with(&["strace", "iptables"], || {
        refused(Firewall::Iptables, false).run();
    });
}

/// What iptables carries the rules with, and how it can fail before it did anything.
const PROGRAMS: [&str; 4] = ["iptables-save", "ip6tables-save", "iptables-restore", "ip6tables-restore"];
const FAILURES: [&str; 2] = ["exit 4", "kill -s KILL $$"];

#[test]
fn a_program_of_iptables_that_fails_is_as_any_refusal() {
    in_private_with(&["iptables", "ip6tables"], || {
        let bench = Bench::new(Firewall::Iptables);
        for (program, failure) in PROGRAMS.iter().flat_map(|program| FAILURES.map(|how| (program, how))) {
            let ran = failing(&bench.world, program, failure, ATTACH);
            assert_ne!(ran.code(), Some(0), "{program}: {failure}");
            bench.judge_attach(&ran).unwrap_or_else(|wrong| panic!("{program}: {failure}: {ran}\n{wrong}"));
            bench.world.linkspan(ATTACH).ok();
            let ran = failing(&bench.world, program, failure, DETACH);
            assert_ne!(ran.code(), Some(0), "{program}: {failure}");
            bench.judge_detach(&ran).unwrap_or_else(|wrong| panic!("{program}: {failure}: {ran}\n{wrong}"));
        }
    });
}

/// Runs the command where a program of this name does nothing but fail.
fn failing(world: &World, program: &str, failure: &str, line: &str) -> Ran {
    const FOLDER: &str = "/run/failing";
    let path = format!("{FOLDER}/{program}");
    fs::create_dir_all(FOLDER).unwrap();
    fs::write(&path, format!("#!/bin/sh\n{failure}\n")).unwrap();
    fs::set_permissions(&path, Permissions::from_mode(0o755)).unwrap();
    let search = format!("{FOLDER}:{}", env::var("PATH").unwrap_or_default());
    let ran = run(world.command(line).env("PATH", search));
    fs::remove_file(path).unwrap();
    ran
}

#[test]
fn what_goes_wrong_for_good_while_attaching_is_told() {
    in_private_with(&["strace"], || {
        let effects = effects(LASTING.into_iter());
        Sweep { firewall: Firewall::Nftables, attach: true, effects, lasting: true, stride: 1 }.run();
    });
}

#[test]
fn what_goes_wrong_for_good_while_detaching_is_told() {
    in_private_with(&["strace"], || {
        let effects = effects(LASTING.into_iter());
        Sweep { firewall: Firewall::Nftables, attach: false, effects, lasting: true, stride: 1 }.run();
    });
}

#[test]
fn an_attach_that_is_killed_is_whole_or_gone_for_the_next_command() {
    in_private_with(&["strace"], || {
        let effects = CHANGING.map(|call| (call, Effect::Killed)).to_vec();
        Sweep { firewall: Firewall::Nftables, attach: true, effects, lasting: false, stride: 1 }.run();
    });
}

#[test]
fn a_detach_that_is_killed_is_whole_or_gone_for_the_next_command() {
    in_private_with(&["strace"], || {
        let effects = CHANGING.map(|call| (call, Effect::Killed)).to_vec();
        Sweep { firewall: Firewall::Nftables, attach: false, effects, lasting: false, stride: 1 }.run();
    });
}
