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
mod run;
mod settings;
mod signals;
mod wish;

use args::{Cli, Command};
use clap::Parser;
use fault::Fault;
use output::Output;
use settings::Settings;
use std::process::ExitCode;

fn main() -> ExitCode {
    match Cli::try_parse() {
        Ok(Cli { global, command: Command::Run(wanted) }) => {
            let ended = Settings::of(global).and_then(|settings| run::run(&settings.open()?, &wanted));
            ended.map_or_else(|fault| fault::exit(&fault, fault.status_of_run()), ExitCode::from)
        }
        Ok(Cli { global, command }) => {
            let out = Output { json: global.json };
            finish(Settings::of(global).and_then(|settings| perform(&settings, &command, out)))
        }
        Err(error) if error.use_stderr() => finish(Err(fault::of_clap(&error))),
        Err(help) => finish(output::write(&help.render().to_string()).map_err(Fault::Print)),
    }
}

fn finish(done: Result<(), Fault>) -> ExitCode {
    done.map_or_else(|fault| fault::exit(&fault, fault.status()), |()| ExitCode::SUCCESS)
}

fn perform(settings: &Settings, command: &Command, out: Output) -> Result<(), Fault> {
    // The demo makes a host of its own, and has to come before anything that starts a thread.
    if let Command::Demo = command {
        return demo::demo(settings.builder(), out);
    }
    let host = settings.open()?;
    match command {
        Command::Network(command) => network::perform(&host, command, out),
        Command::Attach(wanted) => container::attach(&host, wanted, out),
        Command::Detach { name } => container::detach(&host, name, out),
        Command::Ps => container::list(&host, out),
        Command::Inspect { name } => container::inspect(&host, name, out),
        Command::Port { name } => container::port(&host, name, out),
        Command::Plan(planned) => plan::plan(&host, planned, out),
        Command::Run(_) | Command::Demo => Ok(()),
    }
}
