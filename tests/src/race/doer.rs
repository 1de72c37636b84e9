//! Who does it: the command, each time as a process of its own, or a thread with the facade.

use super::crowd::id;
use super::deed::{Deed, Wish, path, subnet};
use crate::dice::Dice;
use crate::private::lacks;
use crate::program::run_within;
use crate::strace::{Effect, Fault, broken_among_others};
use crate::world::{World, container};
use linkspan::{Addresses, AttachmentId, Container, Endpoint, Error, Host, Mode, NetNs, Network, Publish};
use std::time::Duration;

/// Minutes: whoever takes so long waits for ever.
pub(super) const PATIENCE: Duration = Duration::from_secs(600);

/// The calls at which a command is killed: what changes files, or asks the kernel to change something.
const CHANGING: [&str; 5] = ["ftruncate", "renameat", "sendto", "unlinkat", "write"];
/// The last of one name at which it is; few commands make more.
const LAST: usize = 10;

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
    /// It, or a program that it started, was to be killed at a call to which it did not come.
    Spared,
}

impl Doer<'_> {
    pub(super) fn perform(&self, dice: &mut Dice, deed: &Deed) -> Result<Outcome, String> {
        match self {
            Self::Host(host) => match on(host, deed) {
                Ok(id) => Ok(Outcome::Done(id)),
                Err(refused) => {
                    let left: Vec<_> = refused.left_behind().iter().map(|left| chain(&left.source)).collect();
                    match left.iter().all(|why| is_overtaken(deed, why)) {
                        true => Ok(Outcome::Refused(chain(&refused) + &left.join(", "))),
                        false => Err(format!("{deed:?}: {refused:?}")),
                    }
                }
            },
            Self::Commands(world) => {
                let line = deed.line().expect("what is no command is done elsewhere");
                let killed = deed.changes() && dice.happens(8) && lacks(&["strace"]).is_none();
                if killed { killed_at(world, at_work(dice), &line) } else { ended(world, deed, &line) }
            }
        }
    }
}

/// Whether others came to a network while all who were there were removed: it stays for them, and those are off it.
fn is_overtaken(deed: &Deed, why: &str) -> bool {
    matches!(deed, Deed::RemoveWithAll { .. }) && why.contains("is in use by")
}

fn ended(world: &World, deed: &Deed, line: &str) -> Result<Outcome, String> {
    let ran = run_within(&mut world.command(line), PATIENCE);
    match ran.code() {
        Some(0) => Ok(Outcome::Done(id(&ran.out))),
        Some(1 | 125) => Ok(Outcome::Refused(ran.err)),
        Some(3) if is_overtaken(deed, &ran.err) => Ok(Outcome::Refused(ran.err)),
        _ => Err(format!("{line}: {ran}")),
    }
}

/// Kills a command in the midst of its work.
fn at_work(dice: &mut Dice) -> Fault {
    let (call, nth) = (dice.pick(&CHANGING), 1 + dice.below(LAST));
    Fault { call, effect: Effect::Killed, nth, lasting: false }
}

fn killed_at(world: &World, fault: Fault, line: &str) -> Result<Outcome, String> {
    let ran = broken_among_others(world, fault, line, PATIENCE);
    Ok(if ran.code().is_none() { Outcome::Killed } else { Outcome::Spared })
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
        Deed::Keep { name } => {
            if let Some(there) = host.attachments()?.iter().find(|there| there.name().as_str() == name) {
                host.detach_with(there.id(), Addresses::Keep)?;
            }
        }
        Deed::Release(kept) => drop(host.release_address(&network(&kept.network), kept.address)?),
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
