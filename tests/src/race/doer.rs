//! Who does it: the command, each time as a process of its own, or a thread with the facade.

use super::crowd::id;
use super::deed::{Deed, Wish, path, subnet};
use crate::dice::Dice;
use crate::program::run_within;
use crate::world::{World, container};
use linkspan::{AttachmentId, Container, Endpoint, Error, Host, Mode, NetNs, Network, Publish};
use std::process::{Command, Stdio};
use std::thread::sleep;
use std::time::Duration;

/// Minutes: whoever takes so long waits for ever.
pub(super) const PATIENCE: Duration = Duration::from_secs(600);

/// One way to do it.
pub(super) enum Doer<'a> {
    /// Processes, of which some are killed.
    Commands(&'a World),
    Host(&'a Host),
}

/// What came of it.
pub(super) enum Outcome {
    Done(Option<AttachmentId>),
    Refused(String),
    Killed,
}

impl Doer<'_> {
    pub(super) fn perform(&self, dice: &mut Dice, deed: &Deed) -> Result<Outcome, String> {
        match self {
            Self::Host(host) => match on(host, deed) {
                Ok(id) => Ok(Outcome::Done(id)),
                Err(refused) if refused.left_behind().is_empty() => Ok(Outcome::Refused(chain(&refused))),
                Err(refused) => Err(format!("{deed:?}: {refused:?}")),
            },
            Self::Commands(world) => {
                let line = deed.line().expect("what is no command is done elsewhere");
                let killed = deed.changes() && dice.happens(8);
                let after = killed.then(|| Duration::from_micros(dice.roll() % 30_000));
                after.map_or_else(|| ended(world, &line), |after| killed_after(world.command(&line), after))
            }
        }
    }
}

fn ended(world: &World, line: &str) -> Result<Outcome, String> {
    let ran = run_within(&mut world.command(line), PATIENCE);
    match ran.code() {
        Some(0) => Ok(Outcome::Done(id(&ran.out))),
        Some(1 | 125) => Ok(Outcome::Refused(ran.err)),
        _ => Err(format!("{line}: {ran}")),
    }
}

fn killed_after(mut command: Command, after: Duration) -> Result<Outcome, String> {
    let mut child = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    sleep(after);
    // One that has ended is not there to be killed, but was not waited for: its number is no other's.
    child.kill().unwrap();
    child.wait().unwrap();
    Ok(Outcome::Killed)
}

fn on(host: &Host, deed: &Deed) -> Result<Option<AttachmentId>, Error> {
    let network = |name: &str| name.parse().unwrap();
    match deed {
        Deed::Attach(wish) => {
            return host.attach(&NetNs::open(path(wish.netns))?, &wish.container()).map(|a| Some(a.id()));
        }
        Deed::Run { network: on, port } => {
            let wanted = container("run").on(Endpoint::new(network(on)));
            let wanted = port.iter().fold(wanted, |c, port| c.publish(Publish::tcp(80).at(*port)));
            let prepared = host.prepare(&Mode::Bridge, &wanted, None)?;
            host.detach(prepared.attachment().expect("bridge mode attaches").id())?;
        }
        Deed::Detach { name } => drop(host.detach_named(&name.parse().unwrap())?),
        Deed::Create { network: name } => {
            let wanted = Network::bridge(network(name)).subnet(subnet(name).parse().unwrap());
            host.create_network(&wanted)?;
        }
        Deed::Remove { network: name } => host.remove_network(&network(name))?,
        Deed::RemoveWithAll { network: name } => host.remove_network_and_attachments(&network(name))?,
        Deed::List => drop((host.attachments()?, host.networks()?)),
        Deed::Repair => host.repair()?,
        Deed::Gc => drop(host.gc()?),
        Deed::Reconcile => drop(host.reconcile()?),
        Deed::Vanish { .. } | Deed::Ask => {}
    }
    Ok(None)
}

impl Wish {
    fn container(&self) -> Container {
        let mut wanted = container(&self.name);
        for network in &self.networks {
            let endpoint = Endpoint::new(network.parse().unwrap());
            let address = self.address.iter().map(|address| address.parse().unwrap());
            wanted = wanted.on(address.fold(endpoint, Endpoint::address));
        }
        for port in &self.ports {
            let publish = Publish::tcp(80);
            wanted = wanted.publish(port.map_or(publish, |port| publish.at(port)));
        }
        wanted
    }
}

fn chain(error: &dyn std::error::Error) -> String {
    error.source().map_or_else(|| error.to_string(), |source| format!("{error}: {}", chain(source)))
}
