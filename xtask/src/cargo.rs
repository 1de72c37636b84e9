//! Runs cargo in the workspace.

use std::env;
use std::ffi::OsString;
use std::io::{self, BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::outcome::Outcome;
use crate::transcript::{Show, Transcript};

/// The variable that makes golden tests rewrite their files.
pub(crate) const BLESS: &str = "LINKSPAN_BLESS";

/// The folder of the workspace.
pub(crate) fn workspace() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// A cargo that is going to run in the workspace with these arguments.
pub(crate) fn cargo<'a>(arguments: impl IntoIterator<Item = &'a str>) -> Command {
    let mut command = Command::new(env::var_os("CARGO").unwrap_or_else(|| OsString::from("cargo")));
    command.current_dir(workspace()).args(arguments).env("PATH", search_path());
    // Left over in a shell, it would make tests rewrite what they are to compare.
    command.env_remove(BLESS);
    command
}

/// Runs a command as one step: it passes or it fails.
pub(crate) fn step(name: &str, command: &mut Command) -> io::Result<Outcome> {
    announce(command);
    let status = command.status().map_err(|error| cannot_start(command, &error))?;
    Ok(if status.success() { Outcome::passed() } else { Outcome::failed(name.to_owned()) })
}

/// Runs the tests that `command`, a `cargo test`, selects, and counts them.
pub(crate) fn test(command: &mut Command) -> io::Result<Outcome> {
    command.args(["--no-fail-fast", "--", "--show-output"]);
    announce(command);
    // One pipe for both: cargo's headings, on standard error, say where a test binary's output begins.
    let (reader, writer) = io::pipe()?;
    command.stdout(writer.try_clone()?).stderr(writer);
    let mut child = command.spawn().map_err(|error| cannot_start(command, &error))?;
    // The command keeps the writing ends open until it is given others.
    command.stdout(io::stdout()).stderr(io::stderr());
    let mut transcript = Transcript::new();
    for line in BufReader::new(reader).split(b'\n') {
        let line = line?;
        let line = String::from_utf8_lossy(&line);
        if transcript.read(&line) == Show::Line {
            println!("{line}");
        }
    }
    Ok(transcript.end(child.wait()?.success()))
}

/// Where programs are found: an ordinary user's path may lack the folders of `nft` and `ip`.
pub(crate) fn search_path() -> OsString {
    let mut path = env::var_os("PATH").unwrap_or_default();
    path.push(":/usr/local/sbin:/usr/sbin:/sbin:/usr/bin:/bin");
    path
}

/// Prints what is going to be run.
pub(crate) fn announce(command: &Command) {
    let words = std::iter::once("cargo".into()).chain(command.get_args().map(|word| word.to_string_lossy()));
    println!("\n$ {}", words.collect::<Vec<_>>().join(" "));
}

fn cannot_start(command: &Command, error: &io::Error) -> io::Error {
    io::Error::new(error.kind(), format!("cannot start {}: {error}", command.get_program().display()))
}
