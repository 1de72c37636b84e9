//! Another floor, which says whether ours is as low as it can be.
//!
//! `LINKSPAN_FLOOR` names the program. `PROGRAM shell COMMAND` makes a host of its own and runs the command on it;
//! `PROGRAM serve` then attaches the container of a number at a line `a NUMBER`, and detaches it, waiting for its links, at
//! `d NUMBER 0`, and answers each with a line.

use std::env;
use std::io::{BufRead, BufReader, Write};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use crate::contest::{Contestant, timed};
use crate::hosts::REAPED;
use crate::world::Trouble;

pub(crate) struct Other {
    program: Child,
    to: ChildStdin,
    from: BufReader<ChildStdout>,
}

impl Other {
    /// Starts it where it is named.
    pub(crate) fn start() -> Result<Option<Self>, Trouble> {
        let Ok(program) = env::var("LINKSPAN_FLOOR") else { return Ok(None) };
        let mut command = Command::new(&program);
        command.args(["shell", &format!("exec '{program}' serve")]);
        let mut program = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
        let to = program.stdin.take().ok_or("its input is not ours")?;
        let from = BufReader::new(program.stdout.take().ok_or("its output is not ours")?);
        Ok(Some(Self { program, to, from }))
    }

    /// Attaches and detaches one container, round after round.
    pub(crate) fn comes_and_goes(&mut self) -> Contestant<'_, 2> {
        let round = || {
            let (attach, ()) = timed(|| self.tell("a 0"))?;
            let (detach, ()) = timed(|| self.tell("d 0 0"))?;
            Ok([attach, detach])
        };
        Contestant::new("another floor", round).resting(REAPED)
    }

    fn tell(&mut self, line: &str) -> Result<(), Trouble> {
        writeln!(self.to, "{line}")?;
        let mut answer = String::new();
        self.from.read_line(&mut answer)?;
        if answer == "ok\n" { Ok(()) } else { Err(format!("another floor answers {answer:?}").into()) }
    }
}

impl Drop for Other {
    fn drop(&mut self) {
        // It works in namespaces of its own, which end with it.
        let _ = self.program.kill();
        let _ = self.program.wait();
    }
}
