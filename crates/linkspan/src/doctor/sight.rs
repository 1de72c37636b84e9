//! What was looked at.

use super::{Diagnosis, Finding, Problem};
use crate::plan::{NetworkRecord, RulesPlan};
use crate::{Attachment, Error, Firewall, Garbage};
use linkspan_nat_rules::foreign::Foreign;
use linkspan_nat_rules::{self as rules, Instance, Ruleset};
use linkspan_veth_bridge::{self as links, Seen, Snapshot};
use std::io;
use std::path::PathBuf;

/// All that was looked at.
#[derive(Debug)]
pub(crate) struct Sight {
    pub(crate) instance: Instance,
    pub(crate) firewall: Firewall,
    /// The folders that were not the default.
    pub(crate) folders: [Option<PathBuf>; 2],
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
}

/// How the host stands to the records.
#[derive(Debug)]
pub(crate) enum Standing {
    /// This is what `reconcile` would bring back.
    Lacks(RulesPlan, links::Plan),
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

/// What a host of someone else means for a diagnosis.
///
/// # Errors
/// Every other refusal is none of the host's, but of looking at it.
#[cfg(feature = "kernel")]
pub(crate) fn unwelcome(refused: Error) -> Result<Diagnosis, Error> {
    match refused {
        Error::RunFolder { path, what, there, wanted } => {
            let problem = Problem::RunFolder { path, what: what.to_owned(), there, wanted };
            Ok(vec![Finding::wrong(problem, None)].into())
        }
        refused => Err(refused),
    }
}

/// What planning to reconcile came to.
///
/// # Errors
/// Every refusal that is not of the plan, but of looking.
#[cfg(feature = "kernel")]
pub(crate) fn standing(planned: Result<(RulesPlan, links::Plan), Error>) -> Result<Standing, Error> {
    use crate::Error::{Links, Rules};
    Ok(Standing::Blocked(match planned {
        Ok((rules, links)) => return Ok(Standing::Lacks(rules, links)),
        Err(Rules(rules::Error::Run { program, source })) if source.kind() == io::ErrorKind::NotFound => {
            Problem::ProgramMissing { program: program.to_owned() }
        }
        Err(Rules(
            why @ (rules::Error::ForeignTable { .. } | rules::Error::Layout { .. } | rules::Error::NoIpv6),
        )) => Problem::InTheWay { what: why.to_string() },
        Err(Links(
            why @ (links::Error::NotABridge { .. }
            | links::Error::NotOurs { .. }
            | links::Error::NoBridge { .. }),
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
    /// Whether the packet filter sees what bridges forward.
    pub(super) fn is_filtered(&self, v4: bool) -> bool {
        let host = self.settings.bridge_netfilter;
        (if v4 { host.iptables } else { host.ip6tables }) == Some(true)
    }

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
