//! The tasks of this repository: `cargo xtask NAME`.
//!
//! A task prints what it runs, goes on after a failure, and ends with one line that counts what passed, failed
//! and was skipped. `ci` is all of them, as `.ci/run` runs it.

// A command speaks on standard output; the libraries do not.
#![allow(clippy::print_stdout)]

mod bench;
mod cargo;
mod ci;
mod deny;
mod docs;
mod e2e;
mod fuzz;
mod golden;
mod lint;
mod outcome;
mod pure_halves;
mod skips;
mod soak;
mod task;
mod test;
mod tools;
mod transcript;
mod user;

use std::io;
use std::process::ExitCode;

use outcome::Outcome;
use task::Task;

fn main() -> ExitCode {
    match Task::parse(std::env::args().skip(1)) {
        Ok(task) => report(perform(task)),
        Err(error) => {
            println!("error: {error}\n\n{}", task::HELP);
            ExitCode::from(2)
        }
    }
}

/// Tasks that have nothing to count return an empty outcome.
fn perform(task: Task) -> io::Result<Outcome> {
    match task {
        Task::Help => {
            println!("{}", task::HELP);
            Ok(Outcome::default())
        }
        Task::Test { user } => test::run(user),
        Task::EndToEnd { filter } => e2e::run(filter.as_deref()),
        Task::Soak { part } => soak::run(part.as_deref()),
        Task::Fuzz { time } => fuzz::run(time),
        Task::Golden(mode) => golden::run(mode),
        Task::Docs => docs::run(),
        Task::Bench(wish) => bench::run(&wish).map(|()| Outcome::default()),
        Task::Ci => ci::run(),
    }
}

fn report(outcome: io::Result<Outcome>) -> ExitCode {
    let outcome = outcome.unwrap_or_else(|error| Outcome::failed(error.to_string()));
    if outcome != Outcome::default() {
        print!("\n{}", outcome.details());
        println!("{outcome}");
    }
    if outcome.succeeded() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
