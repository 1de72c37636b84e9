//! `end NAME PIN` detaches a container and ends its namespace, as a program does that has the facade in it.
//!
//! The tests break and kill it as they do the command, which has no word for that.
//!
//! Its status is 1 where nothing was changed, and 3 where something was left behind.

use linkspan::{AttachmentId, Error, Firewall, Host, NetNs};
use std::env;
use std::error::Error as Reason;
use std::fs;
use std::io::{Write, stderr};
use std::process::ExitCode;

fn main() -> ExitCode {
    let words: Vec<_> = env::args().skip(1).collect();
    let ended = match &words[..] {
        [name, pin] => end(name, pin),
        _ => return ExitCode::from(2),
    };
    let Err(refused) = ended else { return ExitCode::SUCCESS };
    // Where nothing can be written, the status says it.
    let _ = writeln!(stderr(), "end: {}", chain(&refused));
    ExitCode::from(if refused.left_behind().is_empty() { 1 } else { 3 })
}

fn end(name: &str, pin: &str) -> Result<(), Error> {
    let firewall =
        env::var("LINKSPAN_FIREWALL").ok().and_then(|word| word.parse().ok()).unwrap_or(Firewall::Nftables);
    let host = Host::builder().firewall(firewall).open()?;
    match (attached(&host, name)?, pinned(pin)?) {
        (Some(id), Some(netns)) => host.detach_and_end(id, netns).map(drop),
        (Some(id), None) => {
            host.detach(id)?;
            Ok(NetNs::unpin(pin)?)
        }
        // Someone began before, and what he did not come to is left.
        (None, _) => {
            host.repair()?;
            Ok(NetNs::unpin(pin)?)
        }
    }
}

fn attached(host: &Host, name: &str) -> Result<Option<AttachmentId>, Error> {
    match host.find(name) {
        Err(Error::NoSuchAttachment { .. }) => Ok(None),
        found => found.map(|attachment| Some(attachment.id())),
    }
}

fn pinned(pin: &str) -> Result<Option<NetNs>, Error> {
    match fs::exists(pin) {
        Ok(false) => Ok(None),
        // Also where it cannot be said, which opening it tells of.
        _ => match NetNs::open(pin) {
            // The file of a pin that someone began to remove.
            Err(linkspan_netns::Error::NotANetNs { .. }) => Ok(None),
            opened => Ok(Some(opened?)),
        },
    }
}

/// An error and what it came from.
fn chain(error: &dyn Reason) -> String {
    error.source().map_or_else(|| error.to_string(), |source| format!("{error}: {}", chain(source)))
}
