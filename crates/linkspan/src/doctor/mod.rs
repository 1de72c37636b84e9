//! What is wrong with the host: promises that something breaks, and what differs from the records.
//!
//! It says what can be known by looking, and changes nothing.

mod examine;
mod promise;
mod sight;
mod traffic;

#[cfg(feature = "kernel")]
pub(crate) use examine::diagnose;
pub use promise::{Promise, PublishedPort};
#[cfg(feature = "kernel")]
pub(crate) use sight::{Asker, Sight, Standing, Uplink, standing, temporary, unseen};

use crate::NetworkName;
use linkspan_nat_rules::walk::RuleRef;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::path::PathBuf;

/// What was found; nothing where all is well.
///
/// Its `Display` is the text of `linkspan doctor`: a line for each finding, the worst first, and where none is worse
/// than a note, that nothing is wrong.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Diagnosis {
    findings: Vec<Finding>,
}

impl Diagnosis {
    /// What was found, the worst first.
    pub fn findings(&self) -> &[Finding] {
        &self.findings
    }

    /// Whether nothing is worse than a note.
    pub fn is_healthy(&self) -> bool {
        self.findings.iter().all(|finding| finding.severity == Severity::Note)
    }
}

impl From<Vec<Finding>> for Diagnosis {
    fn from(mut findings: Vec<Finding>) -> Self {
        findings.sort_by_key(|finding| finding.severity);
        Self { findings }
    }
}

impl fmt::Display for Diagnosis {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.findings.iter().try_for_each(|finding| writeln!(f, "{finding}"))?;
        if self.is_healthy() { writeln!(f, "nothing is wrong") } else { Ok(()) }
    }
}

/// One thing that was found.
///
/// Its `Display` is one line.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Finding {
    severity: Severity,
    #[serde(flatten)]
    problem: Problem,
    mend: Option<String>,
}

impl Finding {
    const fn wrong(problem: Problem, mend: Option<String>) -> Self {
        Self { severity: Severity::Wrong, problem, mend }
    }

    /// How bad it is.
    pub const fn severity(&self) -> Severity {
        self.severity
    }

    /// What it is.
    pub const fn problem(&self) -> &Problem {
        &self.problem
    }

    /// The command that mends it, for a shell of the host's root; `None` where none is known.
    pub fn mend(&self) -> Option<&str> {
        self.mend.as_deref()
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { severity, problem, mend } = self;
        write!(f, "{severity}: {problem}")?;
        mend.iter().try_for_each(|mend| write!(f, "; mended by: {mend}"))
    }
}

/// How bad a finding is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Severity {
    /// A promise is broken.
    Wrong,
    /// A promise may be broken, or will be.
    Doubtful,
    /// It is good to know.
    Note,
}

impl fmt::Display for Severity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Wrong => "wrong",
            Self::Doubtful => "doubtful",
            Self::Note => "note",
        })
    }
}

/// What can be wrong.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "problem", rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Problem {
    /// The run folder belongs to another instance, network namespace or firewall, so nothing else can be known.
    RunFolder {
        /// The folder.
        path: PathBuf,
        /// In what it differs.
        what: String,
        /// What it says.
        there: String,
        /// What was expected.
        wanted: String,
    },
    /// A record is empty, cut off or overwritten, so nothing else can be known.
    Damaged {
        /// Which one, and how.
        what: String,
    },
    /// The kernel is older than the oldest that is supported.
    KernelTooOld {
        /// Its release, as `uname -r` has it.
        release: String,
    },
    /// A rule of someone else stops what was promised. Nothing of ours helps there: it is mended where it stands.
    Stopped {
        /// The rule, or the policy of the chain.
        #[serde(flatten)]
        rule: RuleRef,
        /// What it breaks.
        breaks: Vec<Promise>,
    },
    /// A rule of someone else may stop what was promised: it decides by something that is not known, or leads the
    /// packet elsewhere.
    Unknown {
        /// The rule.
        #[serde(flatten)]
        rule: RuleRef,
        /// What it may break.
        breaks: Vec<Promise>,
    },
    /// There may be rules of legacy iptables: only the root of the initial user namespace may ask.
    Unlisted {
        /// `iptables` or `ip6tables`.
        program: String,
    },
    /// The host passes nothing on between its links, which these networks need.
    ForwardingOff {
        /// The setting that is 0.
        setting: String,
        /// The networks.
        networks: Vec<NetworkName>,
    },
    /// The kernel carries no IPv6 on the bridge of a network that has it.
    Ipv6Off {
        /// The setting that is 1.
        setting: String,
        /// The network.
        network: NetworkName,
    },
    /// Since the host forwards IPv6, it hears no router on this link any more, and loses the addresses and routes
    /// that it has of one when their time is over (`accept_ra` of the kernel's ip-sysctl).
    RouterUnheard {
        /// The link.
        link: String,
    },
    /// Rules, bridges or ports are not what the records say.
    Differs {
        /// What `reconcile` would do, a line each.
        steps: Vec<String>,
    },
    /// What is not as the records say cannot be brought back: something else stands there.
    InTheWay {
        /// What that is.
        what: String,
    },
    /// A program that the iptables firewall needs is missing.
    ProgramMissing {
        /// Its name.
        program: String,
    },
    /// There is something that nobody needs any more: of containers that are gone and were never detached, of what
    /// killed processes began, or of no record at all.
    Garbage {
        /// What `gc` would do, a line each.
        steps: Vec<String>,
    },
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::RunFolder { path, what, there, wanted } => {
                write!(f, "run folder {} belongs to another {what}: {there}, not {wanted}", path.display())
            }
            Self::Damaged { what } => write!(f, "a record cannot be read: {what}"),
            Self::KernelTooOld { release } => write!(f, "kernel {release} is older than {}", examine::OLDEST),
            Self::Stopped { rule, breaks } => write!(f, "foreign rule {rule} stops {}", Few(breaks)),
            Self::Unknown { rule, breaks } => {
                write!(f, "what foreign rule {rule} does is not known, and it may stop {}", Few(breaks))
            }
            Self::Unlisted { program } => {
                write!(f, "only the host's root may ask whether there are rules of {program}-legacy")
            }
            Self::ForwardingOff { setting, networks } => {
                write!(f, "{setting} is 0, so the host passes nothing on of {}", Few(networks))
            }
            Self::Ipv6Off { setting, network } => {
                write!(f, "{setting} is 1, so network `{network}` has no IPv6")
            }
            Self::RouterUnheard { link } => write!(
                f,
                "link `{link}` loses the IPv6 addresses and routes that a router gave it: the host forwards, and \
                 net.ipv6.conf.{link}.accept_ra is 1"
            ),
            Self::Differs { steps } => write!(f, "the host differs from the records: {}", Few(steps)),
            Self::InTheWay { what } => write!(f, "the host cannot be made what the records say: {what}"),
            Self::ProgramMissing { program } => write!(f, "program `{program}` is missing"),
            Self::Garbage { steps } => write!(f, "there is something that nobody needs: {}", Few(steps)),
        }
    }
}

/// The first of a list: a host may have thousands of published ports.
struct Few<'a, T>(&'a [T]);

impl<T: fmt::Display> fmt::Display for Few<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const SHOWN: usize = 6;
        let shown: Vec<_> = self.0.iter().take(SHOWN).map(ToString::to_string).collect();
        f.write_str(&shown.join(", "))?;
        match self.0.len().saturating_sub(SHOWN) {
            0 => Ok(()),
            more => write!(f, " and {more} more"),
        }
    }
}

#[cfg(test)]
#[cfg(feature = "kernel")]
mod tests;
