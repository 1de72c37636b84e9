//! Why a packet passes or does not: a walk over what was seen of the host, its bridges, its containers and all rules.
//!
//! It says what is, not what should be: what is missing of our own rules is missing here as well.

mod answer;
pub(crate) mod ends;
mod journey;
pub(crate) mod model;
mod question;
mod routing;

pub use answer::{Answer, Arrival, Doubt, Obstacle, Place};
pub use linkspan_nat_rules::walk::RuleRef;
pub use question::{ParseQuestionError, Question, Sender, Target};

use linkspan_net_types::{Port, Protocol};
use question::Service;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::net::{IpAddr, SocketAddr};

/// What becomes of what was asked for: one way for each address that the target can mean.
///
/// Its `Display` is the text of `linkspan explain`: for each way a line with the verdict, the steps in their order,
/// and the command that mends what can be mended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Explanation {
    pub(crate) ways: Vec<Way>,
    pub(crate) repairs: Vec<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) doubt: Option<String>,
}

impl Explanation {
    /// The ways, IPv4 first; never empty.
    pub fn ways(&self) -> &[Way] {
        &self.ways
    }

    /// The steps by which [`Host::reconcile`](crate::Host::reconcile) would make the host what the records say, each a
    /// line; empty where it is. Where there are some, the ways may be as they are because of what they bring back.
    pub fn repairs(&self) -> &[String] {
        &self.repairs
    }

    /// Why it is not known whether the host is what the records say, where it could not be found out.
    pub fn doubt(&self) -> Option<&str> {
        self.doubt.as_deref()
    }
}

/// The way of one packet and its answer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Way {
    source: IpAddr,
    target: IpAddr,
    service: Option<Service>,
    answer: Answer,
    leg: Leg,
    trace: Vec<Step>,
}

impl Way {
    /// The address that the sender sends from.
    pub const fn source(&self) -> IpAddr {
        self.source
    }

    /// The address that it sends to.
    pub const fn target(&self) -> IpAddr {
        self.target
    }

    /// The port that it sends to; `None` for an ICMP echo request.
    pub const fn service(&self) -> Option<(Protocol, Port)> {
        match self.service {
            Some(Service { protocol, port }) => Some((protocol, port)),
            None => None,
        }
    }

    /// What becomes of the packet.
    pub const fn answer(&self) -> &Answer {
        &self.answer
    }

    /// Which of the two packets was the last one that was followed: where the way is stopped at [`Leg::Answer`], the
    /// first packet had arrived.
    pub const fn leg(&self) -> Leg {
        self.leg
    }

    /// What acted on the packet and then on its answer, in that order: routes, bridges, rules, translations.
    pub fn trace(&self) -> &[Step] {
        &self.trace
    }
}

/// Something that acted on a packet.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Step {
    leg: Leg,
    at: Place,
    what: Deed,
}

impl Step {
    /// Whether it acted on the first packet or on its answer.
    pub const fn leg(&self) -> Leg {
        self.leg
    }

    /// Who has it.
    pub const fn at(&self) -> &Place {
        &self.at
    }

    /// What it was.
    pub const fn what(&self) -> &Deed {
        &self.what
    }
}

/// One of the two packets that are followed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Leg {
    /// The first packet.
    Request,
    /// What answers it.
    Answer,
}

/// What a step did.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Deed {
    /// A route was taken, as `ip route` has it.
    Route(String),
    /// A bridge took the frame from one port to another; the bridge itself stands for the host.
    Bridge {
        /// The bridge.
        bridge: String,
        /// The port by which it came.
        from: String,
        /// The port by which it left.
        to: String,
    },
    /// A rule accepted or translated it, or let others decide.
    Rule(RuleRef),
    /// Its target became another one.
    Target {
        /// The address.
        address: IpAddr,
        /// The port, where it has one.
        port: Option<Port>,
    },
    /// Its source became another one.
    Source {
        /// The address.
        address: IpAddr,
    },
    /// Before it can be sent, neighbours of IPv6 have to find each other by this packet (RFC 4861), which does not
    /// pass.
    Search {
        /// The solicitation or the advertisement, such as `solicitation fd00::3 -> ff02::1:ff00:2 from br0`.
        packet: String,
    },
}

impl fmt::Display for Explanation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.ways.iter().try_for_each(|way| way.fmt(f))?;
        if let Some(doubt) = &self.doubt {
            writeln!(f, "whether the host is as on record cannot be told: {doubt}")?;
        }
        if self.repairs.is_empty() {
            return Ok(());
        }
        writeln!(f, "the host is not as on record; mended by: linkspan reconcile")?;
        self.repairs.iter().try_for_each(|step| writeln!(f, "  {step}"))
    }
}

impl fmt::Display for Way {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { source, target, answer, leg, trace, .. } = self;
        match self.service {
            None => write!(f, "ping {source} -> {target}: ")?,
            Some(Service { protocol, port }) => {
                write!(f, "{protocol} {source} -> {}: ", SocketAddr::new(*target, port.get()))?;
            }
        }
        match (leg, answer) {
            (Leg::Answer, Answer::StoppedBy { .. }) => writeln!(f, "arrives, but its answer is {answer}")?,
            _ => writeln!(f, "{answer}")?,
        }
        trace.iter().try_for_each(|step| writeln!(f, "  {step}"))?;
        match answer {
            Answer::StoppedBy { mend: Some(mend), .. } => writeln!(f, "  mended by: {mend}"),
            _ => Ok(()),
        }
    }
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { leg, at, what } = self;
        let leg = if *leg == Leg::Answer { "answer: " } else { "" };
        write!(f, "{leg}{at}: {what}")
    }
}

impl fmt::Display for Deed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Route(route) => write!(f, "route {route}"),
            Self::Bridge { bridge, from, to } => write!(f, "bridge {bridge} from port {from} to {to}"),
            Self::Rule(rule) => write!(f, "rule {rule}"),
            Self::Target { address, port: None } => write!(f, "target becomes {address}"),
            Self::Target { address, port: Some(port) } => write!(f, "target becomes {address} port {port}"),
            Self::Source { address } => write!(f, "source becomes {address}"),
            Self::Search { packet } => write!(f, "neighbours find each other first by {packet}"),
        }
    }
}
