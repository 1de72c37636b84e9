//! `docs`: the documentation of the workspace.

use std::io;

use crate::cargo::{cargo, step};
use crate::outcome::Outcome;

/// Builds it; a warning is an error.
pub(crate) fn run() -> io::Result<Outcome> {
    let mut command = cargo(["doc", "--workspace", "--no-deps", "--all-features"]);
    step("docs", command.env("RUSTDOCFLAGS", "-D warnings"))
}
