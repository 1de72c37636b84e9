//! `e2e`: the packet-level tests alone.

use std::io;

use crate::cargo::{self, cargo};
use crate::outcome::Outcome;
use crate::{test, tools};

/// Runs the packet-level tests whose name contains `filter`.
pub(crate) fn run(filter: Option<&str>) -> io::Result<Outcome> {
    tools::ensure()?;
    let mut outcome = test::build_command()?;
    let selection = ["test", "-p", "linkspan-tests", "--all-features"];
    let tests = cargo::test(&mut cargo(selection.into_iter().chain(filter)))?;
    if tests.total() == 0 {
        outcome += Outcome::failed(format!("no test is named `{}`", filter.unwrap_or_default()));
    }
    outcome += tests;
    Ok(outcome)
}
