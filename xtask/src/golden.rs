//! `golden`: rule sets and plans held against the text that is committed.

use std::io;

use crate::cargo::{self, cargo};
use crate::outcome::Outcome;

/// What to do where they differ.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mode {
    Compare,
    /// Rewrite the files: the diff is the review.
    Bless,
}

/// Runs the tests that have `golden` in their name.
pub(crate) fn run(mode: Mode) -> io::Result<Outcome> {
    let mut command = cargo(["test", "--workspace", "--all-features", "golden"]);
    if mode == Mode::Bless {
        command.env(cargo::BLESS, "1");
    }
    let mut outcome = cargo::test(&mut command)?;
    if outcome.total() == 0 {
        outcome += Outcome::failed("no test has `golden` in its name".to_owned());
    }
    Ok(outcome)
}
