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
mod signals;
mod wish;

use args::{Cli, Command, Forwarding, Global};
use clap::Parser;
use fault::Fault;
use linkspan::Host;
use output::Output;
use std::process::ExitCode;

fn main() -> ExitCode {
    match Cli::try_parse() {
        Ok(Cli { global, command: Command::Run(wanted) }) => {
            let ended = open(&global).and_then(|host| run::run(&host, &wanted));
            ended.map_or_else(|fault| fault::exit(&fault, fault.status_of_run()), ExitCode::from)
        }
        Ok(cli) => finish(perform(&cli.global, &cli.command)),
        Err(error) if error.use_stderr() => finish(Err(fault::of_clap(&error))),
        Err(help) => finish(output::write(&help.render().to_string()).map_err(Fault::Print)),
    }
}

fn finish(done: Result<(), Fault>) -> ExitCode {
    done.map_or_else(|fault| fault::exit(&fault, fault.status()), |()| ExitCode::SUCCESS)
}

fn perform(global: &Global, command: &Command) -> Result<(), Fault> {
    let out = Output { json: global.json };
    // The demo makes a host of its own, and has to come before anything that starts a thread.
    if let Command::Demo = command {
        return demo::demo(builder(global), out);
    }
    let host = open(global)?;
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

fn open(global: &Global) -> Result<Host, Fault> {
    let builder = global.run_dir.iter().fold(builder(global), linkspan::Builder::run_dir);
    Ok(global.state_dir.iter().fold(builder, linkspan::Builder::state_dir).open()?)
}

/// A host with the flags that are not about folders.
fn builder(global: &Global) -> linkspan::Builder {
    let builder = global.instance.into_iter().fold(Host::builder(), linkspan::Builder::instance);
    let builder = global.firewall.into_iter().fold(builder, linkspan::Builder::firewall);
    match global.forwarding {
        Forwarding::Auto => builder,
        Forwarding::Off => builder.leave_forwarding(),
    }
}
