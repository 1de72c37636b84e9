//! `linkspan plan`: what a command would change.

use crate::args::{Planned, PlannedNetwork};
use crate::container::{namespace, resolve};
use crate::fault::Fault;
use crate::output::Output;
use crate::recovery::{left_over, note_unseen};
use crate::run;
use crate::wish;
use linkspan::{Attachment, Container, DefinedNetwork, Error, Host, Mode, NetNs};
use serde::Serialize;
use std::ffi::OsString;

/// A plan as JSON: the steps in words, and the record that there would be.
#[derive(Debug, Default, Serialize)]
struct Steps<'a> {
    steps: Vec<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    network: Option<&'a DefinedNetwork>,
    #[serde(skip_serializing_if = "Option::is_none")]
    attachment: Option<&'a Attachment>,
}

pub(crate) fn plan(host: &Host, planned: &Planned, out: Output) -> Result<(), Fault> {
    match planned {
        Planned::Network(PlannedNetwork::Create(args)) => {
            let plan = host.plan_create_network(&wish::network(args)?)?;
            let network = Some(plan.network());
            say(&plan.to_string(), |steps| Steps { steps, network, ..Steps::default() }, out)
        }
        Planned::Network(PlannedNetwork::Other(command)) | Planned::Other(command) => Err(cannot(command)),
        Planned::Reconcile => {
            let reconciled = host.plan_reconcile()?;
            let text = reconciled.to_string();
            let left = reconciled.into_left();
            if !text.is_empty() || left.is_empty() {
                say(&text, |steps| Steps { steps, ..Steps::default() }, out)?;
            }
            left_over(left)
        }
        Planned::Gc => {
            let garbage = host.plan_gc()?;
            note_unseen(&garbage);
            say(&garbage.to_string(), |steps| Steps { steps, ..Steps::default() }, out)
        }
        Planned::Attach(wanted) => {
            let container = wish::attached(wanted.name.clone(), &resolve(host, &wanted.endpoint)?)?;
            attach(host, &namespace(host, &wanted.namespace)?, &container, out)
        }
        Planned::Run(wanted) => {
            let (mode, container) = run::wanted(host, wanted)?;
            match mode {
                // What is planned is the same for every namespace that is as empty as this one.
                Mode::Bridge | Mode::None => attach(host, &empty()?, &container, out),
                _ => say("", |steps| Steps { steps, ..Steps::default() }, out),
            }
        }
    }
}

fn cannot(command: &[OsString]) -> Fault {
    let command = command.first().map_or("this".into(), |command| command.to_string_lossy());
    Fault::Usage(format!("`{command}` cannot be planned, only attach, run, network create, reconcile and gc"))
}

fn attach(host: &Host, netns: &NetNs, container: &Container, out: Output) -> Result<(), Fault> {
    let plan = host.plan_attach(netns, container)?;
    let attachment = Some(plan.attachment());
    say(&plan.to_string(), |steps| Steps { steps, attachment, ..Steps::default() }, out)
}

fn empty() -> Result<NetNs, Fault> {
    Ok(NetNs::create_anonymous().map_err(Error::from)?)
}

fn say<'a>(text: &'a str, steps: impl FnOnce(Vec<&'a str>) -> Steps<'a>, out: Output) -> Result<(), Fault> {
    let shown = if text.is_empty() { "nothing would change\n" } else { text };
    out.show(shown, &steps(text.lines().collect()))
}
