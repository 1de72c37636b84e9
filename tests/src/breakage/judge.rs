//! What may come of an operation that was broken: it is done, or the host is as before, or what stayed is told.

use super::ground::Ground;
use super::operations::{Form, Operation};
use crate::answer::Answer;
use crate::program::{PATIENCE, Ran};
use crate::snapshot::{Likeness, Snapshot};
use crate::strace::{Effect, Fault, broken, calls};
use linkspan::Firewall;
use std::collections::BTreeMap;
use std::thread::sleep;
use std::time::{Duration, Instant};

/// A host that is ready for an operation, and what comes of it where nothing is broken.
pub(super) struct Bench {
    operation: &'static Operation,
    ground: Ground,
    before: Snapshot,
    origin: Likeness,
    complete: Likeness,
    /// With the network up that the operation brings up and takes down again.
    raised: Option<Likeness>,
    answer: Answer,
    /// The system calls of the operation, each with how often one thread or program makes it.
    pub(super) calls: BTreeMap<String, usize>,
}

impl Bench {
    /// Goes there and back once before it looks, so that what iptables and forwarding leave is there already.
    pub(super) fn new(operation: &'static Operation, firewall: Firewall) -> Result<Self, String> {
        let ground = Ground::new(firewall);
        (operation.prepare)(&ground);
        let calls = calls(&ground.world, operation.line);
        ground.clear()?;
        (operation.prepare)(&ground);
        let before = ground.look();
        let plain = ground.world.linkspan(operation.line);
        let (origin, complete) = (before.likeness(), ground.look().likeness());
        let (answer, raised) = (Answer::of(&plain), None);
        let mut bench = Self { operation, ground, before, origin, complete, raised, answer, calls };
        if plain.code() != Some(operation.status) {
            return Err(format!("nothing is broken, but: {plain}"));
        }
        if matches!(operation.form, Form::Passing | Form::Raising(_)) && bench.origin != bench.complete {
            let change = bench.origin.change_to(&bench.complete).unwrap_or_default();
            return Err(format!("something stays though nothing is broken:\n{change}"));
        }
        if let Form::Raising(line) = operation.form {
            bench.ground.linkspan(line);
            bench.raised = Some(bench.ground.look().likeness());
        }
        bench.go_back()?;
        Ok(bench)
    }

    /// Whether there was anything to break, and what was wrong with what came of it.
    pub(super) fn one(&mut self, fault: Fault) -> Result<bool, String> {
        let ran = broken(&self.ground.world, fault, self.operation.line);
        let judged = match (&ran, fault.effect) {
            (None, _) => self.is_complete(&self.ground.look()),
            (Some(_), Effect::Killed) => self.is_finished_by_next(),
            // What `signal-hook` takes for granted of its own sockets, no kernel refuses; it ends `run` as a kill does.
            (Some(ran), _) if ran.err.contains("signal-hook") => self.is_finished_by_next(),
            // Whom nobody listens to has nothing to tell, but what could not be written to its own files.
            (Some(ran), Effect::Refused("EPIPE"))
                if fault.call == "write" && self.operation.form == Form::Passing && !is_told(ran) =>
            {
                self.is_complete(&self.ground.look())
            }
            // Where nothing can be written, the line that tells it cannot either.
            (Some(ran), _) => self.judge_refused(ran, fault.lasting && fault.call == "write"),
        };
        let judged = judged.and_then(|()| self.go_back()).map(|()| ran.is_some());
        let shown = ran.map_or_else(|| "not reached".to_owned(), |ran| ran.to_string());
        judged.map_err(|wrong| {
            format!("{}: {fault}: {shown}\n  {}", self.operation.name, wrong.replace('\n', "\n  "))
        })
    }

    fn judge_refused(&self, ran: &Ran, mute: bool) -> Result<(), String> {
        if ran.err.contains("panicked") {
            return Err("it panicked".to_owned());
        }
        let current = self.ground.look();
        let changed = self.before.change_to(&current);
        match (ran.code(), self.operation.form) {
            (Some(0), Form::Passing) if !is_misread(ran) && !self.answer.covers(&Answer::of(ran)) => {
                Err(format!("another answer than {:?}, and nothing told", self.answer.lines))
            }
            (_, Form::Passing) if changed.is_none() => Ok(()),
            (Some(0), Form::Passing) => Err(changed.unwrap_or_default()),
            (Some(0), _) => self.is_complete(&current),
            (Some(1 | 126 | 127), Form::Mending) => self.is_mended(&current),
            // What a refusal could not take back is told, and there is nothing to complete.
            (Some(3), Form::Raising(_)) if mute || is_told(ran) => self.is_finished_by_next(),
            (Some(3 | 125), _) if mute || is_told(ran) => self.is_mended(&current),
            (Some(3), _) => Err("exit 3 without a line that names what stayed".to_owned()),
            // A library or a program that cannot be loaded has a status of its own.
            (Some(1 | 126 | 127), _) => changed.map_or(Ok(()), Err),
            _ => Err(format!("neither done nor refused\n{}", changed.unwrap_or_default())),
        }
    }

    fn is_finished_by_next(&self) -> Result<(), String> {
        let next = self.operation.next;
        let until = Instant::now() + PATIENCE;
        loop {
            let ran = self.ground.world.linkspan(next);
            if ran.code() != Some(0) {
                return Err(format!("the next command, `{next}`, is refused: {ran}"));
            }
            let current = self.ground.look();
            match self.strays(&current) {
                None => return self.is_mended(&current),
                // The links of a namespace that went with its last process go a moment later, and it is dead then.
                Some(_) if next == "gc" && Instant::now() < until => sleep(Duration::from_millis(50)),
                Some(change) => {
                    return Err(format!("after `{next}` it is neither done nor as before:\n{change}"));
                }
            }
        }
    }

    /// What is neither done nor as before.
    fn strays(&self, current: &Snapshot) -> Option<String> {
        let there = current.likeness();
        match self.operation.form {
            Form::Mending => None,
            Form::Parts => there.strays_from(&self.origin, &self.complete),
            _ if there == self.complete || self.raised.as_ref() == Some(&there) => None,
            Form::Whole | Form::Passing => self.origin.change_to(&there),
            Form::Raising(_) => {
                let nearest = self.raised.as_ref().and_then(|raised| there.strays_from(&self.origin, raised));
                nearest.or_else(|| self.origin.change_to(&there))
            }
        }
    }

    /// It can be completed, unless it is.
    fn is_mended(&self, current: &Snapshot) -> Result<(), String> {
        if current.likeness() == self.complete {
            return Ok(());
        }
        let Operation { again, status, .. } = self.operation;
        let ran = self.ground.world.linkspan(again);
        if ran.code() != Some(*status) {
            return Err(format!("it cannot be done once more: {ran}"));
        }
        let current = self.ground.look();
        let wrong = match self.operation.form {
            Form::Raising(_) => self.strays(&current).map_or(Ok(()), Err),
            _ => self.is_complete(&current),
        };
        wrong.map_err(|change| format!("done once more: {change}"))
    }

    fn is_complete(&self, current: &Snapshot) -> Result<(), String> {
        let change = self.complete.change_to(&current.likeness());
        change.map_or(Ok(()), |change| Err(format!("it is not complete:\n{change}")))
    }

    /// Makes the host ready again, where it is not.
    fn go_back(&mut self) -> Result<(), String> {
        if self.before.change_to(&self.ground.look()).is_none() {
            return Ok(());
        }
        self.ground.clear()?;
        (self.operation.prepare)(&self.ground);
        self.before = self.ground.look();
        let change = self.origin.change_to(&self.before.likeness());
        change.map_or(Ok(()), |change| Err(format!("with all removed and made again:\n{change}")))
    }
}

fn is_told(ran: &Ran) -> bool {
    let ways = ["left behind: ", "what was told is done, but its answer cannot be written: "];
    ways.iter().any(|way| ran.err.contains(way))
}

/// Whether `iptables-save` has listed a rule by the oldest revision of its target. So it does, and tells nobody, where it
/// cannot read from the kernel which revisions there are.
fn is_misread(ran: &Ran) -> bool {
    ran.out.contains(" --to-destination :0 --persistent\n")
}
