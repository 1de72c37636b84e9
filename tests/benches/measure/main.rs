//! Measures linkspan beside a floor of raw netlink messages, and beside whatever else is installed here.
//!
//! `cargo xtask bench` builds and starts it, and turns what it prints into tables. Every contestant works on a host
//! of its own in namespaces of this process, on one thread and in turns; nothing of the machine is touched.

// A program speaks on standard output; the libraries do not.
#![allow(clippy::print_stdout, clippy::print_stderr)]

mod connect;
mod contest;
mod floor;
mod iptables;
mod ports;
mod report;
mod world;

use std::env;
use std::process::ExitCode;

use world::Trouble;

fn main() -> ExitCode {
    // Cargo adds this word to those of the caller.
    let sections: Vec<String> = env::args().skip(1).filter(|word| word != "--bench").collect();
    for section in sections {
        if let Err(trouble) = measure(&section) {
            eprintln!("{section}: {}", chain(&*trouble));
            return ExitCode::FAILURE;
        }
    }
    ExitCode::SUCCESS
}

fn measure(section: &str) -> Result<(), Trouble> {
    report::section(section);
    match section {
        "ports" => ports::measure(),
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
