//! `ci`: all that holds a change back.

use std::io;

use crate::cargo::{cargo, step};
use crate::outcome::Outcome;
use crate::skips::Rights;
use crate::user::{self, Uid};
use crate::{deny, docs, lint, test};

/// Runs every check, also after one failed; the tests once as root and once as an ordinary user where it can.
pub(crate) fn run() -> io::Result<Outcome> {
    let mut outcome = step("Cargo.lock", &mut cargo(["fetch", "--quiet", "--locked"]))?;
    for check in [lint::run, docs::run, deny::run, || test::run(None)] {
        outcome += or_failed(check());
    }
    if user::rights()? == Rights::Root {
        outcome += or_failed(test::run(Some(Uid::NOBODY)));
    }
    Ok(outcome)
}

/// A check that could not be made has failed, and the next ones are made all the same.
fn or_failed(check: io::Result<Outcome>) -> Outcome {
    check.unwrap_or_else(|error| Outcome::failed(error.to_string()))
}
