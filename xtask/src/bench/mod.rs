//! `bench`: how fast linkspan is, beside what the kernel cannot avoid and beside what else is installed.
//!
//! The measuring is done by a program of the packet-level tests, `tests/benches/measure`, which is built for it alone:
//! it needs the whole facade, optimised, and the other tasks should not wait for that. Here is what its numbers
//! come to.

mod machine;
mod measured;
mod statistics;
mod table;

use std::fmt;
use std::io;
use std::process::{Command, Stdio};
use std::str::FromStr;

use crate::cargo::cargo;
use crate::tools;
use machine::Machine;
use measured::Section;

/// What can be measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Subject {
    Ports,
}

impl Subject {
    const ALL: [Self; 1] = [Self::Ports];

    const fn as_str(self) -> &'static str {
        match self {
            Self::Ports => "ports",
        }
    }
}

impl fmt::Display for Subject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Subject {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        Self::ALL.into_iter().find(|subject| subject.as_str() == text).ok_or(())
    }
}

/// Measures these subjects, or all where none is named, and prints what came of each.
pub(crate) fn run(subjects: &[Subject]) -> io::Result<()> {
    tools::ensure()?;
    build()?;
    println!("{}", Machine::look()?);
    let subjects = if subjects.is_empty() { &Subject::ALL } else { subjects };
    for subject in subjects {
        println!("\n{}", table::of(&measure(*subject)?));
    }
    Ok(())
}

/// The measuring program, and how it is run.
const PROGRAM: [&str; 6] = ["bench", "--quiet", "-p", "linkspan-tests", "--bench", "measure"];

fn build() -> io::Result<()> {
    succeeded(&mut cargo(["build", "--release", "--quiet", "-p", "linkspan-cli"]))?;
    succeeded(cargo(PROGRAM).arg("--no-run"))
}

fn succeeded(command: &mut Command) -> io::Result<()> {
    if command.status()?.success() { Ok(()) } else { Err(io::Error::other(format!("{command:?} failed"))) }
}

fn measure(subject: Subject) -> io::Result<Section> {
    let ran = cargo(PROGRAM).args(["--", subject.as_str()]).stderr(Stdio::inherit()).output()?;
    if !ran.status.success() {
        return Err(io::Error::other(format!("{subject} could not be measured")));
    }
    measured::read(&String::from_utf8_lossy(&ran.stdout)).map_err(io::Error::other)
}
