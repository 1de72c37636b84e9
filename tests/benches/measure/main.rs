//! Measures linkspan beside a floor of raw netlink messages, and beside whatever else is installed here.
//!
//! `cargo xtask bench` builds and starts it, and turns what it prints into tables. Every contestant works on a host
//! of its own in namespaces of this process, on one thread and in turns; nothing of the machine is touched.

// A program speaks on standard output; the libraries do not.
#![allow(clippy::print_stdout, clippy::print_stderr)]

mod attach;
mod connect;
mod contest;
mod first;
mod floor;
mod hosts;
mod iptables;
mod leases;
mod other;
mod parallel;
mod peers;
mod pooled;
mod ports;
mod present;
mod process;
mod proxy;
mod report;
mod spot;
mod world;

use std::env;
use std::process::ExitCode;

use present::Crowds;
use world::Trouble;

fn main() -> ExitCode {
    // Cargo adds this word to those of the caller.
    let words: Vec<String> = env::args().skip(1).filter(|word| word != "--bench").collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let done = match *words {
        [BRIEF, ref sections @ ..] => sections.iter().try_for_each(|section| measure(section, Crowds::Small)),
        ref sections => sections.iter().try_for_each(|section| measure(section, Crowds::Large)),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(trouble) => {
            eprintln!("{}: {}", words.join(" "), chain(&*trouble));
            ExitCode::FAILURE
        }
    }
}

/// The word by which others are not asked for crowds that take them many minutes to make.
const BRIEF: &str = "--brief";

fn measure(section: &str, crowds: Crowds) -> Result<(), Trouble> {
    report::section(section);
    match section {
        "attach" => attach::measure(),
        "pooled" => pooled::measure(),
        "process" => process::measure(),
        "parallel" => parallel::measure(),
        "present" => present::measure(crowds),
        "ports" => ports::measure(),
        "leases" => leases::measure(),
        "first" => first::measure(),
        _ => Err("there is no such section".into()),
    }
}

/// An error and what it comes from.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        text = format!("{text}: {error}");
        source = error.source();
    }
    text
}
