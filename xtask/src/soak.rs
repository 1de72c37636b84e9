//! `soak`: the tests that have a longer form, in it.

use std::io;

use crate::cargo::{self, cargo};
use crate::outcome::Outcome;
use crate::{fuzz, test, tools};

/// The variable by which a test knows that it has the night for itself; `tests/src/length.rs` reads it.
const SOAK: &str = "LINKSPAN_SOAK";

/// The modules of `tests/` with a longer form.
const LONGER: [&str; 11] = [
    "breakage",
    "crowded",
    "cycles",
    "differential",
    "faults",
    "model",
    "race",
    "removal",
    "security",
    "standstill",
    "state_files",
];

/// Runs them, or the one that is named, one after the other: each keeps all processors busy by itself.
pub(crate) fn run(part: Option<&str>) -> io::Result<Outcome> {
    tools::ensure()?;
    let mut outcome = test::build_command()?;
    let parts: Vec<&str> = LONGER.into_iter().filter(|name| part.is_none_or(|part| part == *name)).collect();
    if parts.is_empty() {
        outcome += Outcome::failed(format!("`{}` has no longer form", part.unwrap_or_default()));
    }
    for part in parts {
        let mut tests = cargo(["test", "-p", "linkspan-tests", "--all-features", part]);
        outcome += cargo::test(tests.env(SOAK, "1"))?;
    }
    if part.is_none() {
        outcome += fuzz::run(fuzz::USUAL)?;
    }
    Ok(outcome)
}
