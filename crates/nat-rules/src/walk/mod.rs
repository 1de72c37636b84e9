//! Where a packet goes by our own rules: the layout of [`crate::nftables`], or the lines of
//! [`crate::iptables`], run on paper in the kernel's order.
//!
//! It runs the rules that are loaded, not a second telling of them, so that what is explained is what
//! happens, and so that both firewalls can be held against each other. Routes are the caller's to know
//! ([`Routing`]); what others' rules make of the packet on the same way is
//! [`foreign::judge`](crate::foreign::judge)'s to say.
//!
//! It does not follow fragments and tunnels, and knows nothing of the links but their names; policy routing and
//! the reverse path filter are for [`Routing`] to know.
//!
//! ```
//! use linkspan_nat_rules::walk::{Exit, Packet, Routes, Rules, Verdict, walk};
//! use linkspan_nat_rules::{Change, Destination, Instance, Network, Publish, Ruleset};
//! use linkspan_net_types::Protocol;
//!
//! let web = Network::new("ls-web".parse()?).with_subnet("10.88.1.0/24".parse()?);
//! let server = Destination::new("10.88.1.2".parse()?, "80".parse()?);
//! let change = Change::new().add_network(web).publish(Publish::nat(Protocol::Tcp, "8080".parse()?, server));
//! let rules = Rules::nftables(Instance::default(), &Ruleset::new().after(&change)?);
//! let routes = Routes::new()
//!     .with_link("ls-web".parse()?, "10.88.1.1/24".parse()?)
//!     .with_link("eth0".parse()?, "192.0.2.1/24".parse()?);
//!
//! let outside = "192.0.2.9".parse()?;
//! let to = |address: &str, port: &str| {
//!     let packet = Packet::to_port(outside, address.parse().ok()?, Protocol::Tcp, port.parse().ok()?)?;
//!     Some(walk(&rules, &packet.from_link("eth0".parse().ok()?), &routes))
//! };
//! let published = to("192.0.2.1", "8080").ok_or("a packet")?;
//! assert_eq!(*published.verdict(), Verdict::Passes(Exit::Link("ls-web".parse()?)));
//! assert_eq!(published.target(), server.address());
//!
//! let direct = to("10.88.1.2", "80").ok_or("a packet")?;
//! let stopped = direct.verdict().to_string();
//! assert!(stopped.starts_with("stopped by `iifname != @bridges ip daddr @guard4 "));
//! assert!(stopped.ends_with(" drop` in chain `early` of table `inet linkspan`"));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod everything;
mod journey;
mod layout;
mod packet;
mod route;
mod rules;
mod verdict;

pub(crate) use packet::Carried;
pub use packet::{Packet, State};
pub use route::{Route, Routes, Routing};
pub use rules::Rules;
pub use verdict::{Exit, RuleRef, Source, Verdict};

use crate::netfilter::Stage;
use journey::Journey;
use linkspan_net_types::{IfName, Port};
use std::fmt;
use std::net::IpAddr;

/// Follows a packet through our own rules, from where it arrives to where it leaves or ends.
pub fn walk(rules: &Rules, packet: &Packet, routing: &dyn Routing) -> Walk {
    Journey::of(rules, packet, routing).finish()
}

/// One packet's way.
///
/// Its `Display` is one line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Walk {
    packet: Packet,
    verdict: Verdict,
    trace: Vec<RuleRef>,
    source: Source,
    target: IpAddr,
    carried: Carried,
    published: bool,
    stages: Vec<Stage>,
    /// The bridges of ours that it passes.
    bridges: Vec<IfName>,
}

impl Walk {
    /// What becomes of it.
    pub const fn verdict(&self) -> &Verdict {
        &self.verdict
    }

    /// The rules of ours that acted on it, in the order in which they did; where one of them stopped it, the
    /// last.
    pub fn trace(&self) -> &[RuleRef] {
        &self.trace
    }

    /// Its source when it comes out.
    pub const fn source(&self) -> Source {
        self.source
    }

    /// Its target when it comes out: the container's address, where a published port was translated.
    pub const fn target(&self) -> IpAddr {
        self.target
    }

    /// Its target port when it comes out; `None` where it has none or the sender's kernel chose it.
    pub const fn port(&self) -> Option<Port> {
        self.carried.target_port()
    }

    /// The packet that was followed.
    pub const fn packet(&self) -> &Packet {
        &self.packet
    }

    /// Its source when it comes out, where that is known: a masqueraded one is by the link it leaves by, which
    /// is the loopback link of what the host sends to itself.
    pub fn sent_from(&self, routing: &dyn Routing) -> Option<IpAddr> {
        match (self.source, &self.verdict) {
            (Source::Kept(source) | Source::Translated(source), _) => Some(source),
            (Source::Masqueraded, Verdict::Passes(Exit::Link(link))) => routing.own(*link, self.target),
            (Source::Masqueraded, Verdict::Passes(Exit::Host)) => {
                routing.own("lo".parse().ok()?, self.target)
            }
            (Source::Masqueraded, _) => None,
        }
    }

    /// The packet as the next machine gets it, which knows nothing of its connection; `None` where it did not
    /// leave, or with a source that is not known.
    pub fn onward(&self, routing: &dyn Routing) -> Option<Packet> {
        let Verdict::Passes(Exit::Link(_)) = self.verdict else { return None };
        Packet::carrying(self.sent_from(routing)?, self.target, self.carried)
    }

    /// The packet that answers this one, with the translations of this one taken back on its way; `None`
    /// where this one did not pass, or was masqueraded with an address that is not known.
    ///
    /// What passes but is not answered is no connection: walk both, and judge both.
    pub fn answer(&self, routing: &dyn Routing) -> Option<Packet> {
        let Verdict::Passes(exit) = self.verdict else { return None };
        let link = match exit {
            Exit::Host => None,
            Exit::Link(link) => Some(link),
        };
        let target = self.sent_from(routing)?;
        let hidden = !matches!(self.source, Source::Kept(_));
        let asked = self.packet;
        Some(asked.answered(self.target, target, link, self.port(), (self.published, hidden)))
    }

    pub(crate) fn stages(&self) -> &[Stage] {
        &self.stages
    }

    /// Whether this link is a bridge of ours.
    pub(crate) fn is_bridge(&self, link: IfName) -> bool {
        self.bridges.contains(&link)
    }
}

impl fmt::Display for Walk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { packet, verdict, source, target, .. } = self;
        write!(f, "{packet}: {verdict}")?;
        if !matches!(verdict, Verdict::Passes(_)) {
            return Ok(());
        }
        if *target != packet.target {
            write!(f, ", led to {target}")?;
            self.port().map_or(Ok(()), |port| write!(f, " port {port}"))?;
        }
        match source {
            Source::Kept(_) => Ok(()),
            source => write!(f, ", as {source}"),
        }
    }
}
