//! Breaks system calls of the unmodified command, one at a time.

use crate::program::{Ran, run};
use crate::world::World;
use std::fmt;
use std::fs;
use std::process::Command;

/// What happens at one system call of a command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
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
    /// Which one of this name, from 1; each thread and each program that the command starts counts its own.
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

/// The system calls that the command makes, as the kernel's names for them.
pub(crate) fn calls(world: &World, line: &str) -> Vec<String> {
    traced(world, &[], line).ok();
    let trace = fs::read_to_string(TRACE).unwrap();
    fs::remove_file(TRACE).unwrap();
    let name = |line: &str| {
        let call = line.split_whitespace().nth(1)?.split_once('(')?.0;
        Some(call.to_owned()).filter(|call| call.starts_with(|c: char| c.is_ascii_lowercase()))
    };
    let mut names: Vec<_> = trace.lines().filter_map(name).collect();
    names.sort();
    names.dedup();
    names
}

fn traced(world: &World, options: &[&str], line: &str) -> Ran {
    let command = world.command(line);
    let mut strace = Command::new("strace");
    strace.args(["-f", "-q", "-o", TRACE]).args(options);
    strace.arg(command.get_program()).args(command.get_args());
    strace.envs(command.get_envs().filter_map(|(name, value)| Some((name, value?))));
    run(&mut strace)
}
