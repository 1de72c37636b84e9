//! Formatting and lints, part of `ci`.

use std::io;

use crate::cargo::{cargo, step};
use crate::outcome::Outcome;
use crate::pure_halves;

/// Checks the whole workspace, and the subject crates without their door to the kernel.
pub(crate) fn run() -> io::Result<Outcome> {
    let mut outcome = step("format", &mut cargo(["fmt", "--all", "--check"]))?;
    let everything = ["clippy", "--workspace", "--all-targets", "--all-features", "--", "-D", "warnings"];
    outcome += step("clippy", &mut cargo(everything))?;
    for package in pure_halves::CRATES {
        let arguments = ["clippy", "-p", package, "--no-default-features", "--", "-D", "warnings"];
        outcome += step(&format!("clippy of {package} without the kernel"), &mut cargo(arguments))?;
    }
    Ok(outcome)
}
