//! What the workspace depends on, held against `deny.toml`; part of `ci`.

use std::io;

use crate::cargo::{cargo, step};
use crate::outcome::Outcome;

/// The version that is installed; it compiles for some minutes.
const PACKAGE: &str = "cargo-deny@0.20.2";

/// Checks licences, sources and duplicates, with a `cargo-deny` that is installed first if there is none.
pub(crate) fn run() -> io::Result<Outcome> {
    let mut outcome = Outcome::default();
    if !cargo(["deny", "--version"]).output()?.status.success() {
        outcome += step("cargo-deny", &mut cargo(["install", "--quiet", "--locked", PACKAGE]))?;
    }
    outcome += step("deny", &mut cargo(["deny", "check", "bans", "licenses", "sources"]))?;
    Ok(outcome)
}
