//! The `linkspan` command: Docker's network words over the `linkspan` library.
//!
//! It reads only the library's public interface: whatever it does, a runtime can do as well.

mod args;
mod container;
mod demo;
mod fault;
mod network;
mod output;
mod plan;
mod recovery;
mod run;
mod settings;
mod signals;
mod wish;

use args::{Cli, Command};
use clap::Parser;
use fault::Fault;
use linkspan::{Addresses, Host, Question};
use output::Output;
use settings::Settings;
use std::env;
use std::mem::ManuallyDrop;
use std::process::ExitCode;

/// A process of three milliseconds has no use for pages that are given back one by one.
#[cfg(target_env = "musl")]
#[global_allocator]
static ALLOCATOR: dlmalloc::GlobalDlmalloc = dlmalloc::GlobalDlmalloc;

fn main() -> ExitCode {
    match args::plain::read(env::args_os().skip(1)).map_or_else(Cli::try_parse, Ok) {
        Ok(Cli { global, command }) => {
            let out = Output { json: global.json };
            let done = Settings::of(global).and_then(|settings| perform(&settings, &command, out));
            let runs = matches!(command, Command::Run(_));
            finish(done, |fault| if runs { fault.status_of_run() } else { fault.status() })
        }
        Err(error) if error.use_stderr() => finish(Err(fault::of_clap(&error)), Fault::status),
        Err(help) => {
            finish(output::write(&help.render().to_string()).map(|()| 0).map_err(Fault::Print), Fault::status)
        }
    }
}

/// Ends with the program's status, or with a line about the fault and its status.
fn finish(done: Result<u8, Fault>, status: impl FnOnce(&Fault) -> u8) -> ExitCode {
    ExitCode::from(done.unwrap_or_else(|fault| {
        fault::note(fault.line());
        status(&fault)
    }))
}

/// Each command opens the host that it works on, and tells what it changed of it at large.
fn perform(settings: &Settings, command: &Command, out: Output) -> Result<u8, Fault> {
    // The demo makes a host of its own, before anything starts a thread.
    if matches!(command, Command::Demo) {
        return demo::demo(settings.builder(), out).map(|()| 0);
    }
    // What it holds open goes with the process.
    let host = ManuallyDrop::new(settings.open()?);
    if command.only_looks() {
        // What a killed command left is not shown, but taken back; who may not do that may look all the same.
        let _ = host.repair();
    }
    let done = match command {
        Command::Network(command) => network::perform(&host, command, out),
        Command::Attach(wanted) => container::attach(&host, wanted, out),
        Command::Detach { names, keep_address } => {
            let addresses = if *keep_address { Addresses::Keep } else { Addresses::Free };
            container::detach(&host, names, addresses, out)
        }
        Command::Run(wanted) => return run::run(&host, wanted),
        Command::Ps => container::list(&host, out),
        Command::Inspect { name } => container::inspect(&host, name, out),
        Command::Port { name } => container::port(&host, name, out),
        Command::Plan(planned) => plan::plan(&host, planned, out),
        Command::Explain { from, to } => explain(&host, from, to, out),
        Command::Reconcile => recovery::reconcile(&host, out),
        Command::Gc => recovery::gc(&host, out),
        Command::Doctor => doctor(&host, out),
        Command::Demo => Ok(()),
    };
    fault::tell(&host);
    done.map(|()| 0)
}

/// `linkspan explain`: for each address that is meant, the verdict and how it comes about.
fn explain(host: &Host, from: &str, to: &str, out: Output) -> Result<(), Fault> {
    let question = Question::parse(from, to).map_err(|why| Fault::Usage(fault::chain(&why)))?;
    let explanation = host.explain(&question)?;
    out.show(&explanation.to_string(), &explanation)
}

/// `linkspan doctor`: a line for each thing that is wrong.
fn doctor(host: &Host, out: Output) -> Result<(), Fault> {
    let found = host.doctor()?;
    out.show(&found.to_string(), &found)
}
