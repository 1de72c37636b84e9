//! Tracked connections that a change of the rules leaves behind.
//!
//! Only the first packet of a connection meets the rules that translate: the rest of it goes where that one
//! went. A port that has another owner is reached by those who asked it before only once the kernel has
//! forgotten their connections; no other connection may be touched.
//!
//! ```
//! use linkspan_nat_rules::conntrack::Stale;
//! use linkspan_nat_rules::{Change, Destination, Publish};
//! use linkspan_net_types::{Port, Protocol};
//!
//! let port = Port::new(53).ok_or("a port")?;
//! let at = |address: &str| address.parse().map(|a| Publish::nat(Protocol::Udp, port, Destination::new(a, port)));
//! let moved = Change::new().withdraw(at("10.88.1.2")?).publish(at("10.88.1.3")?);
//! assert!(!Stale::after(&moved).is_empty());
//! assert!(Stale::after(&Change::new()).is_empty());
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

use crate::{Change, Destination, Publish, Way};
use linkspan_net_types::{Port, Protocol};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};

/// A tracked connection, as far as published ports go.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Flow {
    pub(crate) protocol: Protocol,
    pub(crate) from: SocketAddr,
    pub(crate) to: SocketAddr,
    pub(crate) answered_by: SocketAddr,
    /// Where it goes was translated: `IPS_DST_NAT`.
    pub(crate) translated: bool,
    /// An answer was seen: `IPS_SEEN_REPLY`.
    pub(crate) answered: bool,
}

impl Flow {
    /// The transport protocol.
    pub const fn protocol(&self) -> Protocol {
        self.protocol
    }

    /// Who opened it.
    pub const fn from(&self) -> SocketAddr {
        self.from
    }

    /// Where its packets are sent to, before any translation.
    pub const fn to(&self) -> SocketAddr {
        self.to
    }

    /// Who answers it, behind any translation.
    pub const fn answered_by(&self) -> SocketAddr {
        self.answered_by
    }
}

impl fmt::Display for Flow {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { protocol, from, to, answered_by, .. } = self;
        write!(f, "{protocol} {from} -> {to}")?;
        if to == answered_by { Ok(()) } else { write!(f, " -> {answered_by}") }
    }
}

/// Which tracked connections a change of the rules leaves behind.
///
/// Of a port that is withdrawn, the UDP flows that were led to its container, or passed to its own address: who
/// has that address next would be reached by them without having published anything. Of a port that is
/// published, what came to the host before and was led nowhere: UDP flows, and connections of the other
/// protocols that nobody answered, such as a SYN between the claim of a port and its rule; and the UDP flows that were
/// led to anybody else, who has the port no more, whoever took it from him. A connection that a server of the host
/// answered stays, also where it once had the port.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Stale {
    left: BTreeMap<Place, Vec<Left>>,
}

/// What all stale flows of a port have in common.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Place {
    v6: bool,
    protocol: Protocol,
    port: Port,
}

/// Flows to a port of the host at one of its addresses, `None` being each of them; or to a container's own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Left {
    /// They were led there.
    Led(Option<IpAddr>, Destination),
    /// They were led nowhere.
    Unled(Option<IpAddr>),
    /// They were led to anybody else.
    Misled(Option<IpAddr>, Destination),
    /// They went there without translation.
    Direct(Destination),
}

impl Stale {
    /// What is left behind once this change is made.
    pub fn after(change: &Change) -> Self {
        let mut stale = Self::default();
        let (come, gone) = (of(change.published()), of(change.withdrawn()));
        for publish in gone.difference(&come).filter(|publish| publish.protocol() == Protocol::Udp) {
            let to = publish.to();
            match publish.way() {
                Way::Nat { at, port } => stale.add(publish, port, Left::Led(at, to)),
                Way::Routed { .. } => stale.add(publish, to.port(), Left::Direct(to)),
            }
        }
        for publish in come.difference(&gone) {
            // What was sent to a container's own address and did not pass is not tracked.
            if let Way::Nat { at, port } = publish.way() {
                stale.add(publish, port, Left::Unled(at));
                if publish.protocol() == Protocol::Udp {
                    stale.add(publish, port, Left::Misled(at, publish.to()));
                }
            }
        }
        stale
    }

    /// Whether no connection can be left behind.
    pub fn is_empty(&self) -> bool {
        self.left.is_empty()
    }

    /// Whether this is such a connection; `is_host` says whether an address is one of the host's.
    pub fn has(&self, flow: &Flow, mut is_host: impl FnMut(IpAddr) -> bool) -> bool {
        let (address, Some(port)) = (flow.to.ip(), Port::new(flow.to.port())) else { return false };
        let place = Place { v6: address.is_ipv6(), protocol: flow.protocol, port };
        // Nothing leads ::1 off the host.
        let is_at = |at: Option<IpAddr>| at.map_or(address != Ipv6Addr::LOCALHOST, |at| at == address);
        self.left.get(&place).into_iter().flatten().any(|left| match *left {
            Left::Led(at, to) => is_at(at) && flow.translated && flow.answered_by == socket(to),
            Left::Unled(at) => {
                let open = flow.protocol == Protocol::Udp || !flow.answered;
                is_at(at) && !flow.translated && open && is_host(address)
            }
            Left::Misled(at, to) => {
                is_at(at) && flow.translated && flow.answered_by != socket(to) && is_host(address)
            }
            Left::Direct(to) => !flow.translated && flow.to == socket(to),
        })
    }

    fn add(&mut self, publish: &Publish, port: Port, left: Left) {
        let place = Place { v6: publish.to().address().is_ipv6(), protocol: publish.protocol(), port };
        self.left.entry(place).or_default().push(left);
    }
}

fn of(ports: &[Publish]) -> BTreeSet<Publish> {
    ports.iter().copied().collect()
}

fn socket(to: Destination) -> SocketAddr {
    SocketAddr::new(to.address(), to.port().get())
}

/// A question for tracked connections; what it leaves open, each answer has.
#[cfg(feature = "kernel")]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Question {
    /// Whether of IPv6, and of which protocol.
    pub(crate) kind: Option<(bool, Protocol)>,
    pub(crate) port: Option<Port>,
    pub(crate) translated: Option<bool>,
}

/// For each question the kernel walks through its whole table, which takes as long as to list about this
/// many connections (5 ms where the table has 262,144 buckets, its usual size).
#[cfg(feature = "kernel")]
const LISTED_A_WALK: usize = 4096;

#[cfg(feature = "kernel")]
impl Stale {
    /// The questions that find each stale flow among this many tracked ones: those with the fewest answers,
    /// as long as fewer questions are not cheaper.
    pub(crate) fn questions(&self, tracked: usize) -> Vec<Question> {
        let translated = self.translated();
        let by = |port: fn(&Place) -> Option<Port>| -> Vec<Question> {
            let kind = |place: &Place| Some((place.v6, place.protocol));
            let narrowed = |place| Question { kind: kind(place), port: port(place), translated };
            self.left.keys().map(narrowed).collect::<BTreeSet<_>>().into_iter().collect()
        };
        let pays = |questions: &Vec<_>| tracked / LISTED_A_WALK >= questions.len().saturating_sub(1);
        let all = vec![Question { translated, ..Question::default() }];
        [by(|place| Some(place.port)), by(|_| None)].into_iter().find(pays).unwrap_or(all)
    }

    /// What all stale flows have in common.
    fn translated(&self) -> Option<bool> {
        let is_led = |left: &Left| matches!(left, Left::Led(..) | Left::Misled(..));
        let mut led = self.left.values().flatten().map(is_led);
        let first = led.next()?;
        led.all(|other| other == first).then_some(first)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ANY: &str = "8081 -> 10.0.0.2:81";
    const ONE: &str = "192.0.2.1:8081 -> 10.0.0.2:81";

    fn publish(protocol: Protocol, text: &str) -> Publish {
        let (front, to) = text.split_once(" -> ").unwrap();
        let to: SocketAddr = to.parse().unwrap();
        let (at, port) = front.rsplit_once(':').map_or((None, front), |(at, port)| (Some(at), port));
        let to = Destination::new(to.ip(), Port::new(to.port()).unwrap());
        let publish = Publish::nat(protocol, port.parse().unwrap(), to);
        at.map_or(publish, |at| publish.at(at.parse().unwrap()).unwrap())
    }

    /// A flow such as `192.0.2.9:4000 -> 192.0.2.1:8081 -> 10.0.0.2:81`, on a host that is 192.0.2.1,
    /// 127.0.0.1 and ::1.
    fn is_stale(change: &Change, protocol: Protocol, flow: &str, answered: bool) -> bool {
        let parts: Vec<SocketAddr> = flow.split(" -> ").map(|part| part.parse().unwrap()).collect();
        let (to, answered_by) = (parts[1], *parts.last().unwrap());
        let translated = parts.len() == 3;
        let flow = Flow { protocol, from: parts[0], to, answered_by, translated, answered };
        let host = ["192.0.2.1", "127.0.0.1", "::1"].map(|a| a.parse::<IpAddr>().unwrap());
        Stale::after(change).has(&flow, |address| host.contains(&address))
    }

    fn check(change: &Change, flow: &str, expected: bool) {
        for answered in [false, true] {
            assert_eq!(is_stale(change, Protocol::Udp, flow, answered), expected, "{flow}");
        }
    }

    #[test]
    fn flows_to_a_withdrawn_port_are_left_behind() {
        let gone = |text| Change::new().withdraw(publish(Protocol::Udp, text));
        check(&gone(ANY), "192.0.2.9:4000 -> 192.0.2.1:8081 -> 10.0.0.2:81", true);
        check(&gone(ONE), "192.0.2.9:4000 -> 192.0.2.1:8081 -> 10.0.0.2:81", true);
        check(&gone(ONE), "192.0.2.9:4000 -> 127.0.0.1:8081 -> 10.0.0.2:81", false);
        check(&gone(ANY), "192.0.2.9:4000 -> 192.0.2.1:8082 -> 10.0.0.2:81", false);
        check(&gone(ANY), "192.0.2.9:4000 -> 192.0.2.1:8081 -> 10.0.0.3:81", false);
        check(&gone(ANY), "192.0.2.9:4000 -> 192.0.2.1:8081 -> 10.0.0.2:82", false);
        check(&gone(ANY), "192.0.2.9:4000 -> 192.0.2.1:8081", false);
        check(&gone(ANY), "192.0.2.1:4000 -> 10.0.0.2:81", false);
    }

    #[test]
    fn flows_from_before_a_port_was_published_are_left_behind() {
        let come = |text| Change::new().publish(publish(Protocol::Udp, text));
        check(&come(ANY), "192.0.2.9:4000 -> 192.0.2.1:8081", true);
        check(&come(ANY), "127.0.0.1:4000 -> 127.0.0.1:8081", true);
        check(&come(ONE), "127.0.0.1:4000 -> 127.0.0.1:8081", false);
        check(&come(ANY), "192.0.2.9:4000 -> 192.0.2.1:8081 -> 10.0.0.3:81", true);
        check(&come(ANY), "192.0.2.9:4000 -> 192.0.2.1:8081 -> 10.0.0.2:81", false);
        check(&come(ANY), "192.0.2.9:4000 -> 198.51.100.1:8081 -> 10.0.0.3:81", false);
        check(&come(ONE), "192.0.2.9:4000 -> 127.0.0.1:8081 -> 10.0.0.3:81", false);
        check(&come(ANY), "10.0.0.2:4000 -> 198.51.100.1:8081", false);
        check(&come("8081 -> [fd00::2]:81"), "[::1]:4000 -> [::1]:8081", false);
    }

    #[test]
    fn flows_to_an_address_that_is_open_no_more_are_left_behind() {
        let to = Destination::new("10.0.0.2".parse().unwrap(), Port::new(81).unwrap());
        let open = |by| Publish::routed(by, to, "ls-a".parse().unwrap());
        let shut = Change::new().withdraw(open(Protocol::Udp));
        check(&shut, "192.0.2.9:4000 -> 10.0.0.2:81", true);
        check(&shut, "192.0.2.9:4000 -> 10.0.0.2:82", false);
        check(&shut, "192.0.2.9:4000 -> 10.0.0.3:81", false);
        check(&shut, "192.0.2.9:4000 -> 192.0.2.1:81 -> 10.0.0.2:81", false);
        assert!(Stale::after(&shut.inverse()).is_empty());
        assert!(Stale::after(&Change::new().withdraw(open(Protocol::Tcp))).is_empty());
    }

    #[test]
    fn a_tcp_connection_is_left_behind_only_where_nobody_answered_it() {
        let come = Change::new().publish(publish(Protocol::Tcp, ANY));
        let from_outside = "192.0.2.9:4000 -> 192.0.2.1:8081";
        assert!(is_stale(&come, Protocol::Tcp, from_outside, false));
        assert!(!is_stale(&come, Protocol::Tcp, from_outside, true));
        assert!(!is_stale(&come, Protocol::Tcp, "192.0.2.9:4000 -> 192.0.2.1:8081 -> 10.0.0.3:81", false));
        assert!(!is_stale(&come, Protocol::Udp, from_outside, false));
        assert!(Stale::after(&come.inverse()).is_empty());
    }

    #[test]
    fn what_comes_and_goes_leaves_nothing_behind() {
        let port = publish(Protocol::Udp, ANY);
        assert!(Stale::after(&Change::new().withdraw(port).publish(port)).is_empty());
        let routed = Publish::routed(Protocol::Udp, port.to(), "ls-a".parse().unwrap());
        assert!(Stale::after(&Change::new().withdraw(routed).publish(routed)).is_empty());
    }

    #[cfg(feature = "kernel")]
    #[test]
    fn few_connections_are_listed_and_many_are_asked_for() {
        let port = |n: u16| publish(Protocol::Udp, &format!("{n} -> 10.0.0.2:81"));
        let check = |change: Change, tracked, expected: &[(bool, bool)]| {
            let questions = Stale::after(&change).questions(tracked);
            let narrow: Vec<_> = questions.iter().map(|q| (q.kind.is_some(), q.port.is_some())).collect();
            assert_eq!(narrow, expected);
        };
        let one = || Change::new().publish(port(1));
        check(one(), 1, &[(true, true)]);
        check(one().publish(port(2)), 1, &[(true, false)]);
        check(one().publish(port(2)), 5000, &[(true, true); 2]);
        let both = || one().publish(publish(Protocol::Tcp, ANY));
        check(both(), 1, &[(false, false)]);
        check(both(), 5000, &[(true, true); 2]);
        check(both().publish(port(2)), 5000, &[(true, false); 2]);
        let translated = |change: &Change| Stale::after(change).questions(0)[0].translated;
        assert_eq!(translated(&one()), None);
        assert_eq!(translated(&Change::new().publish(publish(Protocol::Tcp, ANY))), Some(false));
        assert_eq!(translated(&one().inverse()), Some(true));
        assert_eq!(translated(&one().withdraw(port(2))), None);
    }
}
