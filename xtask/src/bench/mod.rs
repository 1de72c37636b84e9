//! `bench`: how fast linkspan is, beside what the kernel cannot avoid and beside what else is installed.
//!
//! The measuring is done by a program of the packet-level tests, `tests/benches/measure`, which is built for it alone:
//! it needs the whole facade, optimised, and the other tasks should not wait for that. Here is what its numbers
//! come to.

mod json;
mod machine;
mod measured;
mod plot;
mod readme;
mod statistics;
mod table;
mod wish;

use std::fs;
use std::io;
use std::process::{Command, Stdio};

use crate::cargo::{cargo, workspace};
use crate::lint;
use crate::skips::Rights;
use crate::user;
use machine::Machine;
use measured::Section;
use wish::{Length, Output};
pub(crate) use wish::{Subject, Wish};

/// Measures what is wished, one subject after the other, and says what came of it.
pub(crate) fn run(wish: &Wish) -> io::Result<()> {
    build()?;
    let machine = Machine::look()?;
    match wish.output {
        Output::Text => {
            println!("{machine}");
            let show = |section: Section| println!("\n{}", table::of(&section));
            wish.subjects().try_for_each(|subject| measure(subject, wish.length).map(show))
        }
        Output::Json => {
            println!("{}", json::of(&machine, &measure_all(wish)?));
            Ok(())
        }
        Output::Readme => write(&machine, &measure_all(wish)?),
    }
}

/// The page that shows the table, and the picture beside the measuring program.
fn write(machine: &Machine, sections: &[Section]) -> io::Result<()> {
    let readme = workspace().join("README.md");
    let page = readme::with(&fs::read_to_string(&readme)?, &readme::table(machine, sections));
    fs::write(readme, page.ok_or_else(|| io::Error::other("the README has no place for the table"))?)?;
    fs::write(workspace().join(readme::PICTURE), plot::of(sections))
}

fn measure_all(wish: &Wish) -> io::Result<Vec<Section>> {
    wish.subjects().map(|subject| measure(subject, wish.length)).collect()
}

/// The measuring program, and how it is run.
const PROGRAM: [&str; 6] = ["bench", "--quiet", "-p", "linkspan-tests", "--bench", "measure"];

fn build() -> io::Result<()> {
    build_programs(&[])?;
    let linked = user::host_target()?.replace("gnu", "musl");
    if lint::has_library_for(&linked)? {
        build_programs(&["--target", &linked])?;
    }
    succeeded(cargo(PROGRAM).arg("--no-run"))
}

/// The command, and the floor of a process.
fn build_programs(target: &[&str]) -> io::Result<()> {
    const COMMAND: [&str; 5] = ["build", "--release", "--quiet", "-p", "linkspan-cli"];
    const FLOOR: [&str; 7] = ["build", "--release", "--quiet", "-p", "linkspan-tests", "--example", "floor"];
    succeeded(cargo(COMMAND).args(target))?;
    succeeded(cargo(FLOOR).args(target))
}

fn succeeded(command: &mut Command) -> io::Result<()> {
    if command.status()?.success() { Ok(()) } else { Err(io::Error::other(format!("{command:?} failed"))) }
}

/// The option that makes cargo start the program as root of a user namespace, which is all the rights that it needs.
fn as_root_of_a_namespace(target: &str) -> String {
    let words = ["unshare", "--user", "--map-root-user", "--net", "--mount", "--"];
    format!("target.{target}.runner={words:?}")
}

fn measure(subject: Subject, length: Length) -> io::Result<Section> {
    let brief = (length == Length::Brief).then_some("--brief");
    let mut program = cargo(PROGRAM);
    if user::rights()? == Rights::User {
        program.args(["--config", &as_root_of_a_namespace(&user::host_target()?)]);
    }
    let ran = program.arg("--").args(brief).arg(subject.as_str()).stderr(Stdio::inherit()).output()?;
    if !ran.status.success() {
        return Err(io::Error::other(format!("{subject} could not be measured")));
    }
    measured::read(&String::from_utf8_lossy(&ran.stdout)).map_err(io::Error::other)
}
