//! A program of iptables that outlives the command that started it keeps the rules until it ends.

use crate::private::in_private_with;
use crate::program::{PATIENCE, end_of};
use crate::snapshot::Snapshot;
use crate::traffic::{Question, serve};
use crate::world::{Case, Family, World};
use linkspan::{Firewall, NetNs, Protocol};
use std::env;
use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{self, Child, Stdio};
use std::thread::{self, sleep};
use std::time::{Duration, Instant};

const ATTACH: &str = "attach killed --netns /run/netns/killed --network web -p 8000:80";
const DETACH: &str = "detach killed";
const OTHER: &str = "attach other --netns /run/netns/other --network web -p 8001:80";

/// Where the program is that is found first, and where it says how far it is.
const FOLDER: &str = "/run/orphan";
const CAME: &str = "/run/orphan/came";
const GO: &str = "/run/orphan/go";
const DONE: &str = "/run/orphan/done";

/// Two namespaces on a host with a network of both families, and what it looks like with nobody attached.
struct Bench {
    world: World,
    before: Snapshot,
    _netns: [NetNs; 2],
}

impl Bench {
    fn new() -> Self {
        let world = World::new(Case { firewall: Firewall::Iptables, ..Case::USUAL });
        world.linkspan("network create web --subnet 10.88.0.0/24 --subnet fd88::/64").ok();
        let netns = ["killed", "other"].map(|name| {
            let netns = NetNs::create(format!("/run/netns/{name}")).unwrap();
            serve(&netns, 80);
            netns
        });
        // Once there and back, so that what iptables and forwarding leave is there already.
        world.linkspan(ATTACH).ok();
        world.linkspan(DETACH).ok();
        Self { before: Snapshot::take(), world, _netns: netns }
    }

    /// Starts the command, and kills it alone once this program of iptables has its script and waits.
    fn kill_over(&self, program: &str, line: &str) {
        fs::create_dir(FOLDER).unwrap();
        let path = format!("{FOLDER}/{program}");
        let script = format!(
            "#!/bin/sh\ncat >{FOLDER}/script\n: >{CAME}\n\
             until [ -e {GO} ]; do [ -e /proc/{} ] || exit; sleep 0.01; done\n\
             PATH=${{PATH#{FOLDER}:}}\n{program} \"$@\" <{FOLDER}/script\n: >{DONE}\n",
            process::id()
        );
        fs::write(&path, script).unwrap();
        fs::set_permissions(&path, Permissions::from_mode(0o755)).unwrap();
        let search = format!("{FOLDER}:{}", env::var("PATH").unwrap());
        let mut command = self.world.command(line);
        command.env("PATH", search).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        let mut killed = command.spawn().unwrap();
        until(&format!("{program} is run by `{line}`"), || Path::new(CAME).exists());
        killed.kill().unwrap();
        killed.wait().unwrap();
    }

    /// Starts another attach, and lets the program go on once that one waits for it, or is done.
    fn go_on_beside_another(&self) {
        let mut command = self.world.command(OTHER);
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
        let mut other = command.spawn().unwrap();
        until("the other one waits or is done", || is_waiting(&other) || other.try_wait().unwrap().is_some());
        fs::write(GO, "").unwrap();
        until("the program ends", || Path::new(DONE).exists());
        let ran = end_of(other, PATIENCE).expect("the other one ends");
        assert_eq!(ran.code(), Some(0), "{ran}");
        fs::remove_dir_all(FOLDER).unwrap();
    }

    /// Each of these families answers at the port of the host.
    fn answers(&self, port: u16, what: &str) {
        for family in Family::BOTH {
            let to = (self.world.host_address(family), port).into();
            let question = Question { from: self.world.remote(), by: Protocol::Tcp, to };
            question.answer().unwrap_or_else(|error| panic!("{what}: {question:?}: {error}"));
        }
    }
}

/// Whether a process waits for a lock, by the lines of `/proc/locks` with an arrow.
fn is_waiting(process: &Child) -> bool {
    let id = process.id().to_string();
    let locks = fs::read_to_string("/proc/locks").unwrap();
    locks.lines().any(|line| {
        let words: Vec<_> = line.split_whitespace().collect();
        matches!(words[..], [_, "->", "FLOCK", _, _, waiting, ..] if waiting == id)
    })
}

#[track_caller]
fn until(what: &str, is_so: impl FnMut() -> bool) {
    let end = Instant::now() + PATIENCE;
    let mut is_so = is_so;
    while !is_so() {
        assert!(Instant::now() < end, "it never is so that {what}");
        sleep(Duration::from_millis(2));
    }
}

#[test]
fn what_a_killed_command_was_writing_with_iptables_undoes_nothing_of_others() {
    const PROGRAMS: [&str; 2] = ["iptables-restore", "ip6tables-restore"];
    in_private_with(&["iptables", "ip6tables"], || {
        let play = |line: &str, program: &str| {
            let (what, bench) = (format!("{program} of `{line}`"), Bench::new());
            let world = &bench.world;
            if line == DETACH {
                world.linkspan(ATTACH).ok();
            }
            bench.kill_over(program, line);
            bench.go_on_beside_another();
            let missing = world.linkspan("reconcile").ok();
            assert_eq!(missing, "the host is as the records say\n", "{what}");
            assert_eq!(world.linkspan("gc").ok(), "nothing to remove\n", "{what}");
            bench.answers(8001, &what);
            world.linkspan(ATTACH).ok();
            bench.answers(8000, &what);
            world.linkspan("detach killed other").ok();
            bench.before.assert_unchanged(&what);
        };
        thread::scope(|scope| {
            for (line, program) in
                [ATTACH, DETACH].iter().flat_map(|line| PROGRAMS.map(|program| (line, program)))
            {
                scope.spawn(|| play(line, program));
            }
        });
    });
}
