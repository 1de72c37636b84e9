//! Breaks system calls of the unmodified command, one at a time.

use crate::program::{PATIENCE, Ran, end_of, run, run_within, signal, try_signal};
use crate::world::World;
use std::collections::BTreeMap;
use std::env;
use std::fmt;
use std::fs;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, sleep};
use std::time::{Duration, Instant};

/// What happens at one system call of a command.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Effect {
    /// The kernel refuses it, with the error of this name.
    Refused(&'static str),
    /// The process is killed before it.
    Killed,
}

/// A system call that goes wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Fault {
    /// Its name.
    pub(crate) call: &'static str,
    pub(crate) effect: Effect,
    /// Which one of this name, from 1. Each thread and each program that the command starts counts its own, so of
    /// several it is the first that comes to so many: what another makes is broken only where it makes more of it.
    ///
    /// With nftables other threads open a socket in a container's namespace, by the same calls each time, and in `run`
    /// one makes the namespace and starts the program; nothing of the host is changed by them. With iptables the
    /// programs that follow the first one are in its shadow.
    pub(crate) nth: usize,
    /// It goes wrong from then on, as when a disk is full.
    pub(crate) lasting: bool,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { call, nth, .. } = self;
        match self.effect {
            Effect::Refused(error) => write!(f, "{call}:error={error}:when={nth}")?,
            Effect::Killed => write!(f, "{call}:signal=KILL:when={nth}")?,
        }
        f.write_str(if self.lasting { "+" } else { "" })
    }
}

/// Where strace writes, one file for each world: `/run` is a world's own.
const TRACE: &str = "/run/trace";

/// Runs the command with this fault; `None` where it comes to its end without reaching the fault.
pub(crate) fn broken(world: &World, fault: Fault, line: &str) -> Option<Ran> {
    let ran =
        traced(world, &["-e", &format!("inject={fault}"), "-e", &format!("trace={}", fault.call)], line);
    let trace = fs::read_to_string(TRACE).unwrap();
    fs::remove_file(TRACE).unwrap();
    let happened = match fault.effect {
        Effect::Refused(_) => trace.contains("(INJECTED)"),
        Effect::Killed => trace.contains("+++ killed by SIGKILL"),
    };
    happened.then_some(ran)
}

/// The system calls that the command makes, as the kernel's names for them, and the most that one of its threads or
/// programs makes of each.
pub(crate) fn calls(world: &World, line: &str) -> BTreeMap<String, usize> {
    // However it ends.
    drop(traced(world, &[], line));
    let trace = fs::read_to_string(TRACE).unwrap();
    fs::remove_file(TRACE).unwrap();
    let mut counts = BTreeMap::<_, usize>::new();
    for line in trace.lines() {
        let Some((thread, rest)) = line.split_once(' ') else { continue };
        let name = rest.trim_start().split('(').next().unwrap_or_default();
        if rest.contains('(') && name.starts_with(|c: char| c.is_ascii_lowercase()) {
            *counts.entry((name.to_owned(), thread.to_owned())).or_default() += 1;
        }
    }
    let mut most = BTreeMap::new();
    for ((name, _), count) in counts {
        let there = most.entry(name).or_default();
        *there = count.max(*there);
    }
    most
}

fn traced(world: &World, options: &[&str], line: &str) -> Ran {
    run(&mut tracing(world, TRACE, options, line))
}

/// Runs the command with this fault, also beside others in one world; whether it reached the fault, its end says.
pub(crate) fn broken_among_others(world: &World, fault: Fault, line: &str, patience: Duration) -> Ran {
    let options = ["-e", &format!("inject={fault}"), "-e", &format!("trace={}", fault.call)];
    run_within(&mut tracing(world, "/dev/null", &options, line), patience)
}

fn tracing(world: &World, trace: &str, options: &[&str], line: &str) -> Command {
    let command = world.command(line);
    let mut strace = Command::new("strace");
    strace.args(["-f", "-q", "-o", trace]).args(options);
    strace.arg(command.get_program()).args(command.get_args());
    strace.envs(command.get_envs().filter_map(|(name, value)| Some((name, value?))));
    strace
}

/// This program as one that does what a test tells it to, with this fault: the test is found by its name, and by the
/// variable it knows that it is the one that is broken.
pub(crate) fn itself_broken(fault: Fault, test: &str, variable: &str) -> Command {
    let mut strace = Command::new("strace");
    let (inject, trace) = (format!("inject={fault}"), format!("trace={}", fault.call));
    strace.args(["-f", "-q", "-o", TRACE, "-e", &inject, "-e", &trace]);
    strace.arg(env::current_exe().unwrap()).args([test, "--exact", "--test-threads=1"]);
    strace.env(variable, "1");
    strace
}

/// Whether that program reached its fault.
pub(crate) fn was_broken() -> bool {
    let trace = fs::read_to_string(TRACE).unwrap();
    fs::remove_file(TRACE).unwrap();
    trace.contains("(INJECTED)") || trace.contains("+++ killed by SIGKILL")
}

/// A command that stands still in the midst of its work.
pub(crate) struct Stopped {
    strace: Child,
    process: i64,
}

/// Starts the command and stops it after one system call; `None` where it comes to its end without reaching it.
pub(crate) fn stopped(world: &World, call: &str, nth: usize, line: &str) -> Option<Stopped> {
    let inject = format!("inject={call}:signal=STOP:when={nth}");
    let mut command = tracing(world, TRACE, &["-e", &inject, "-e", &format!("trace={call}")], line);
    let mut strace =
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
    let until = Instant::now() + PATIENCE;
    loop {
        assert!(Instant::now() < until, "{line} neither ends nor comes to {call} {nth}");
        let ended = strace.try_wait().unwrap().is_some();
        let trace = fs::read_to_string(TRACE).unwrap_or_default();
        if let Some(thread) = trace.lines().find(|line| line.contains("--- stopped by SIGSTOP ---")) {
            let process = process_of(thread.split_whitespace().next().expect("a line begins with a thread"));
            return Some(Stopped { strace, process });
        }
        if ended {
            fs::remove_file(TRACE).unwrap();
            return None;
        }
        sleep(Duration::from_millis(2));
    }
}

/// The process that a thread is of.
fn process_of(thread: &str) -> i64 {
    let status = fs::read_to_string(format!("/proc/{thread}/status")).unwrap();
    let process = status.lines().find_map(|line| line.strip_prefix("Tgid:")).unwrap();
    process.trim().parse().unwrap()
}

impl Stopped {
    /// The inodes of the files that it keeps locked for itself alone.
    pub(crate) fn locks(&self) -> Vec<u64> {
        let all = fs::read_to_string("/proc/locks").unwrap();
        all.lines().filter_map(|line| locked_by(self.process, line)).collect()
    }

    /// Lets it go on.
    pub(crate) fn release(&self) {
        signal("CONT", self.process);
    }

    /// Lets it go on to its end, and returns what it said.
    pub(crate) fn goes_on(self) -> Result<Ran, String> {
        let ended = AtomicBool::new(false);
        let go_on = || {
            // Each of its threads stops where it comes to so many calls.
            while !ended.load(Ordering::Relaxed) && try_signal("CONT", self.process) {
                sleep(Duration::from_millis(20));
            }
        };
        let ran = thread::scope(|scope| {
            scope.spawn(go_on);
            let ran = end_of(self.strace, PATIENCE);
            ended.store(true, Ordering::Relaxed);
            ran
        });
        let trace = || fs::read_to_string(TRACE).unwrap_or_default();
        let ran = ran.ok_or_else(|| format!("does not go on:\n{}", trace()))?;
        fs::remove_file(TRACE).unwrap();
        Ok(ran)
    }
}

/// The inode of a file that the process has locked for itself, by a line of `/proc/locks`:
/// `1: FLOCK ADVISORY WRITE PID MAJOR:MINOR:INODE 0 EOF`, with an arrow where the lock is waited for.
fn locked_by(process: i64, line: &str) -> Option<u64> {
    let words: Vec<_> = line.split_whitespace().collect();
    let [_, "FLOCK", _, "WRITE", pid, file, ..] = words[..] else { return None };
    if pid.parse() != Ok(process) {
        return None;
    }
    file.rsplit(':').next()?.parse().ok()
}

/// Runs the command, and counts the bytes that the kernel's networking answers it.
#[track_caller]
pub(crate) fn answered(world: &World, line: &str) -> u64 {
    let trace = trace(world, &["-e", "trace=recvfrom,recvmsg"], line);
    let returned = |line: &str| line.rsplit_once(" = ")?.1.parse::<u64>().ok();
    trace.lines().filter_map(returned).sum()
}

/// The calls that make descriptors, of a command, that let programs have them which it starts.
#[track_caller]
pub(crate) fn inherited(world: &World, line: &str) -> Vec<String> {
    const MAKING: &str = "trace=execve,open,openat,openat2,creat,socket,socketpair,accept,accept4,pipe,pipe2,dup,dup2,dup3,\
                          memfd_create,eventfd2,epoll_create1,inotify_init1,timerfd_create,signalfd4,fcntl";
    let trace = joined(&trace(world, &["-e", MAKING], line));
    // What a program that it starts makes is that program's own.
    let process = |line: &str| line.split_whitespace().next().map(str::to_owned);
    let begins = |line: &&str| line.contains(" execve(");
    let programs: Vec<_> = trace.lines().skip(1).filter(begins).map(process).collect();
    let is_own = |line: &&str| !begins(line) && !programs.contains(&process(line));
    let makes = |line: &&str| {
        let made = line.rsplit_once(" = ").is_some_and(|(_, fd)| fd.parse::<u32>().is_ok());
        made && (!line.contains(" fcntl(") || line.contains("F_DUPFD"))
    };
    let inherited = |line: &&str| is_own(line) && makes(line) && !line.contains("CLOEXEC");
    trace.lines().filter(inherited).map(str::to_owned).collect()
}

/// A trace in which no other thread comes between a call and what it returns.
fn joined(trace: &str) -> String {
    let mut begun = BTreeMap::new();
    let mut whole = String::new();
    for line in trace.lines() {
        let thread = line.split_whitespace().next().unwrap_or_default();
        if let Some(call) = line.strip_suffix("<unfinished ...>") {
            begun.insert(thread, call);
            continue;
        }
        match line.split_once(" resumed>").and_then(|(_, rest)| Some((begun.remove(thread)?, rest))) {
            Some((call, rest)) => whole.extend([call, rest, "\n"]),
            None => whole.extend([line, "\n"]),
        }
    }
    whole
}

/// The calls with which a command that is refused opens this file.
pub(crate) fn opened(world: &World, line: &str, path: &str) -> Vec<String> {
    traced(world, &["-e", "trace=open,openat,openat2"], line);
    let trace = fs::read_to_string(TRACE).unwrap();
    fs::remove_file(TRACE).unwrap();
    trace.lines().filter(|line| line.contains(path)).map(str::to_owned).collect()
}

/// What strace writes of a command that ends well.
#[track_caller]
fn trace(world: &World, options: &[&str], line: &str) -> String {
    traced(world, options, line).ok();
    let trace = fs::read_to_string(TRACE).unwrap();
    fs::remove_file(TRACE).unwrap();
    trace
}
