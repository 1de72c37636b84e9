//! What was looked at.

use super::{Diagnosis, Finding, Problem};
use crate::plan::NetworkRecord;
use crate::{Attachment, Error, Firewall, Garbage, Reconciled, Remedy};
use linkspan_ipam as ipam;
use linkspan_nat_rules::foreign::Foreign;
use linkspan_nat_rules::{self as rules, Instance, Ruleset};
use linkspan_net_types::IfName;
use linkspan_veth_bridge::{LinkKind, Seen, Snapshot};
use std::collections::BTreeSet;
use std::io;
use std::path::PathBuf;

/// All that was looked at.
#[derive(Debug)]
pub(crate) struct Sight {
    pub(crate) asker: Asker,
    pub(crate) release: String,
    /// Those that are up.
    pub(crate) networks: Vec<NetworkRecord>,
    pub(crate) attachments: Vec<Attachment>,
    /// Not looked for where our own rules cannot be told from others'.
    pub(crate) garbage: Option<Garbage>,
    /// All rules that the records want.
    pub(crate) rules: Ruleset,
    pub(crate) snapshot: Snapshot,
    /// Forwarding and bridge netfilter; no links.
    pub(crate) settings: Seen,
    pub(crate) foreign: Foreign,
    pub(crate) standing: Standing,
    pub(crate) uplinks: Vec<Uplink>,
    /// The bridges on which the kernel carries no IPv6: `conf/LINK/disable_ipv6`.
    pub(crate) without_ipv6: BTreeSet<IfName>,
}

/// Whose host it is that is looked at.
#[derive(Clone, Debug)]
pub(crate) struct Asker {
    pub(crate) instance: Instance,
    pub(crate) firewall: Firewall,
    /// The run folder and the state folder, where they are not the default.
    pub(crate) folders: [Option<PathBuf>; 2],
}

/// How the host stands to the records.
#[derive(Debug)]
pub(crate) enum Standing {
    /// This is what `reconcile` would bring back.
    Lacks(Reconciled),
    /// It can bring back nothing, because of this.
    Blocked(Problem),
}

/// A link by which IPv6 may be had of a router.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Uplink {
    pub(crate) link: String,
    /// `conf/LINK/forwarding` of IPv6.
    pub(crate) forwards: bool,
    /// `conf/LINK/accept_ra`.
    pub(crate) accept_ra: u32,
}

/// What a refusal to look means: a host of someone else, or records that cannot be read, of which `gc` removes some.
///
/// # Errors
/// Every other refusal is none of the host's, but of looking at it.
#[cfg(feature = "kernel")]
pub(crate) fn unseen(
    asker: &Asker,
    refused: Error,
    garbage: Result<Garbage, Error>,
) -> Result<Diagnosis, Error> {
    let remedy = refused.remedy();
    let problem = match refused {
        Error::RunFolder { path, what, there, wanted } => {
            Problem::RunFolder { path, what: what.to_owned(), there, wanted }
        }
        Error::Records(damage) | Error::Address(ipam::Error::Book(damage)) if damage.is_damage() => {
            Problem::Damaged { what: damage.to_string() }
        }
        refused => return Err(refused),
    };
    let collects = garbage.is_ok_and(|garbage| !garbage.damaged().is_empty());
    let words = match remedy {
        Some(Remedy::Reconcile) => Some("reconcile"),
        Some(Remedy::ReconcileOrCollect) if !collects => Some("reconcile"),
        _ => collects.then_some("gc"),
    };
    Ok(vec![Finding::wrong(problem, words.map(|words| asker.command(words)))].into())
}

/// What planning to reconcile came to.
///
/// # Errors
/// Every refusal that is not of the plan, but of looking.
#[cfg(feature = "kernel")]
pub(crate) fn standing(planned: Result<Reconciled, Error>) -> Result<Standing, Error> {
    use crate::Error::Rules;
    Ok(Standing::Blocked(match planned {
        Ok(reconciled) => return Ok(Standing::Lacks(reconciled)),
        Err(Rules(rules::Error::Run { program, source })) if source.kind() == io::ErrorKind::NotFound => {
            Problem::ProgramMissing { program: program.to_owned() }
        }
        Err(Rules(
            why @ (rules::Error::ForeignTable { .. } | rules::Error::Layout { .. } | rules::Error::NoIpv6),
        )) => Problem::InTheWay { what: why.to_string() },
        Err(refused) => return Err(refused),
    }))
}

/// The link of a line of `/proc/net/if_inet6`, where the line is about a global address that ends with time.
#[cfg(feature = "kernel")]
pub(crate) fn temporary(line: &str) -> Option<String> {
    /// `IFA_F_PERMANENT` of `linux/if_addr.h`.
    const PERMANENT: u32 = 0x80;
    let fields: Vec<_> = line.split_whitespace().collect();
    let [_, _, _, "00", flags, link] = fields[..] else { return None };
    let flags = u32::from_str_radix(flags, 16).ok()?;
    (flags & PERMANENT == 0).then(|| link.to_owned())
}

impl Sight {
    /// Whether the packet filter sees what this bridge forwards.
    pub(super) fn is_filtered(&self, bridge: IfName, v4: bool) -> bool {
        let host = self.settings.bridge_netfilter;
        let own = match self.snapshot.links.get(bridge.as_str()).map(|link| &link.kind) {
            Some(LinkKind::Bridge(facts)) => facts.calls_iptables,
            _ => false,
        };
        own || (if v4 { host.iptables } else { host.ip6tables }) == Some(true)
    }
}

impl Asker {
    /// The command with these words, for this host.
    pub(super) fn command(&self, words: &str) -> String {
        let mut line = "linkspan".to_owned();
        let mut option = |name: &str, value: &str| line.extend([" --", name, " ", &quoted(value)]);
        if self.instance != Instance::default() {
            option("instance", self.instance.as_str());
        }
        if self.firewall != Firewall::Nftables {
            option("firewall", &self.firewall.to_string());
        }
        for (name, folder) in ["run-dir", "state-dir"].into_iter().zip(&self.folders) {
            folder.iter().for_each(|folder| option(name, &folder.display().to_string()));
        }
        format!("{line} {words}")
    }
}

/// A word of a shell.
pub(super) fn quoted(word: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.' | '/' | '=');
    if word.chars().all(plain) { word.to_owned() } else { format!("'{}'", word.replace('\'', "'\\''")) }
}
