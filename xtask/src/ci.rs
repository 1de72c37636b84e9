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
    outcome += part("lints", lint::run());
    outcome += part("documentation", docs::run());
    outcome += part("dependencies", deny::run());
    outcome += part("tests", test::run(None));
    if user::rights()? == Rights::Root {
        outcome += part("tests as an ordinary user", test::run(Some(Uid::NOBODY)));
    }
    Ok(outcome)
}

/// Says how a part went; one that could not be done has failed, and the next ones are done all the same.
fn part(name: &str, outcome: io::Result<Outcome>) -> Outcome {
    let mut outcome = outcome.unwrap_or_else(|error| Outcome::failed(error.to_string()));
    println!("\n== {name}: {outcome}");
    for failure in &mut outcome.failed {
        *failure = format!("{name}: {failure}");
    }
    outcome
}
