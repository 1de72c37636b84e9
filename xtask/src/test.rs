//! `test`: everything.

use std::io;
use std::path::{Path, PathBuf};
use std::{env, fs};

use crate::cargo::{self, cargo, step, workspace};
use crate::outcome::{Outcome, Skip};
use crate::skips::{self, Rights};
use crate::user::{self, Home, Uid};
use crate::{pure_halves, tools};

/// Runs every test, as `user` if there is one, else with the rights that this process has.
pub(crate) fn run(user: Option<Uid>) -> io::Result<Outcome> {
    let missing = tools::ensure()?;
    let mut outcome = build_command()?;
    let tests = match user {
        Some(user) => test_as(user)?,
        None => cargo::test(&mut cargo(SELECTION))?,
    };
    let rights = if user.is_some() { Rights::User } else { user::rights()? };
    outcome += compare_skips(&skips::without(&tests.skips, &missing), rights)?;
    outcome += tests;
    outcome += pure_halves::check()?;
    Ok(outcome)
}

/// Builds the `linkspan` command, which tests start.
pub(crate) fn build_command() -> io::Result<Outcome> {
    step("the linkspan command", &mut cargo(["build", "-p", "linkspan-cli"]))
}

const SELECTION: [&str; 3] = ["test", "--workspace", "--all-features"];

fn test_as(user: Uid) -> io::Result<Outcome> {
    if user::rights()? != Rights::Root {
        return Err(io::Error::other("only root can run tests as another user"));
    }
    for path in [workspace().join("Cargo.toml"), binary("linkspan")?] {
        require_reach(user, &path)?;
    }
    let home = Home::create(user)?;
    let runner = home.runner(&user::host_target()?);
    let options = ["--config", &runner];
    cargo::test(&mut cargo(SELECTION.into_iter().chain(options)))
}

fn require_reach(user: Uid, path: &Path) -> io::Result<()> {
    if user.can_reach(path)? {
        return Ok(());
    }
    let path = path.display();
    Err(io::Error::other(format!(
        "the user of the tests cannot read {path}: keep the checkout where every user can"
    )))
}

/// A binary of the workspace: they lie beside this one.
fn binary(name: &str) -> io::Result<PathBuf> {
    Ok(env::current_exe()?.with_file_name(name))
}

fn compare_skips(skipped: &[Skip], rights: Rights) -> io::Result<Outcome> {
    let listed = skips::parse(&fs::read_to_string(workspace().join("tests/skips.txt"))?, rights);
    let differences = skips::compare(&listed.map_err(io::Error::other)?, skipped);
    Ok(Outcome { failed: differences.iter().map(ToString::to_string).collect(), ..Outcome::default() })
}
