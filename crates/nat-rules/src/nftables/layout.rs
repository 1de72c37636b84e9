//! The rules that are the same on every host, as data: sets, and chains whose rules look things up in them.
//!
//! Text and netlink messages are both written from here. What a network or a port adds are elements.

use super::Set;

/// The version of the layout, by which an empty chain of the table is named (`layout_4`); another set, chain
/// or rule is another version.
///
/// A table of an older layout is made one of this layout where it stands, in one transaction: chains and
/// sets that are missing are made, the rules of each chain that differ are written, and all elements, the
/// user's rules and what else a user put into the table stay. What is in a table of a newer layout is not
/// for this version to judge.
pub const LAYOUT: u32 = 4;

/// A part of a set's key or of what it leads to, with the datatype numbers that nft gives them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Type {
    Link,
    Address4,
    Address6,
    Protocol,
    Port,
}

impl Type {
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Link => "ifname",
            Self::Address4 => "ipv4_addr",
            Self::Address6 => "ipv6_addr",
            Self::Protocol => "inet_proto",
            Self::Port => "inet_service",
        }
    }
}

/// What a map leads to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Leads {
    Verdict,
    To(&'static [Type]),
}

/// What a set is made of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Shape {
    pub(crate) name: &'static str,
    pub(crate) key: &'static [Type],
    /// Its first part is a subnet.
    pub(crate) interval: bool,
    /// What a map leads to; `None` for a set.
    pub(crate) leads: Option<Leads>,
}

const fn set(name: &'static str, key: &'static [Type]) -> Shape {
    Shape { name, key, interval: false, leads: None }
}

const fn subnets(name: &'static str, key: &'static [Type]) -> Shape {
    Shape { name, key, interval: true, leads: None }
}

const fn map(name: &'static str, key: &'static [Type], leads: Leads) -> Shape {
    Shape { name, key, interval: false, leads: Some(leads) }
}

impl Set {
    /// In the order in which they are made.
    pub(crate) const ALL: [Self; 21] = [
        Self::Bridges,
        Self::Internal,
        Self::Isolated,
        Self::Own4,
        Self::Guard4,
        Self::Trusted4,
        Self::Masq4,
        Self::Open4,
        Self::Pub4,
        Self::Pub4At,
        Self::Snat4,
        Self::Own6,
        Self::Guard6,
        Self::Trusted6,
        Self::Masq6,
        Self::Open6,
        Self::Pub6,
        Self::Pub6At,
        Self::Snat6,
        Self::Same,
        Self::To,
    ];

    pub(crate) const fn shape(self) -> Shape {
        use Type::{Address4, Address6, Link, Port, Protocol};
        match self {
            Self::Bridges => set("bridges", &[Link]),
            Self::Internal => set("internal", &[Link]),
            Self::Isolated => set("isolated", &[Link]),
            Self::Own4 => subnets("own4", &[Address4, Link]),
            Self::Own6 => subnets("own6", &[Address6, Link]),
            Self::Guard4 => subnets("guard4", &[Address4]),
            Self::Guard6 => subnets("guard6", &[Address6]),
            Self::Trusted4 => subnets("trusted4", &[Address4, Link]),
            Self::Trusted6 => subnets("trusted6", &[Address6, Link]),
            Self::Masq4 => subnets("masq4", &[Address4]),
            Self::Masq6 => subnets("masq6", &[Address6]),
            Self::Open4 => set("open4", &[Address4, Protocol, Port]),
            Self::Open6 => set("open6", &[Address6, Protocol, Port]),
            Self::Pub4 => map("pub4", &[Protocol, Port], Leads::To(&[Address4, Port])),
            Self::Pub6 => map("pub6", &[Protocol, Port], Leads::To(&[Address6, Port])),
            Self::Pub4At => map("pub4at", &[Address4, Protocol, Port], Leads::To(&[Address4, Port])),
            Self::Pub6At => map("pub6at", &[Address6, Protocol, Port], Leads::To(&[Address6, Port])),
            Self::Snat4 => Shape { interval: true, ..map("snat4", &[Address4], Leads::To(&[Address4])) },
            Self::Snat6 => Shape { interval: true, ..map("snat6", &[Address6], Leads::To(&[Address6])) },
            Self::Same => map("same", &[Link, Link], Leads::Verdict),
            Self::To => map("to", &[Link], Leads::Verdict),
        }
    }
}

/// A chain of the table.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Chain {
    /// For the user's own rules, which see forwarded packets first: `INSTANCE-user`.
    User,
    /// Between neighbours that reach only each other's published ports.
    DnatOnly,
    /// To a network behind address translation.
    ToNat,
    /// To a routed network.
    ToRouted,
    /// To a network whose every port is open.
    ToOpen,
    /// Where published ports lead.
    Publish,
    /// Before connection tracking.
    Early,
    /// What the host passes on.
    Forward,
    /// The way to published ports from outside.
    Prerouting,
    /// The way to published ports from the host itself.
    Output,
    /// The source of what leaves.
    Postrouting,
}

/// Where the kernel enters a chain: `NF_INET_*` of `linux/netfilter.h`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Hook {
    pub(crate) kind: &'static str,
    pub(crate) name: &'static str,
    pub(crate) number: u32,
    pub(crate) priority: i32,
    /// As nft prints it.
    pub(crate) priority_name: &'static str,
}

/// A part of a packet, or of what the kernel knows of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Field {
    In,
    Out,
    Source4,
    Source6,
    Target4,
    Target6,
    Protocol,
    Port,
}

impl Field {
    pub(crate) const fn text(self) -> &'static str {
        match self {
            Self::In => "iifname",
            Self::Out => "oifname",
            Self::Source4 => "ip saddr",
            Self::Source6 => "ip6 saddr",
            Self::Target4 => "ip daddr",
            Self::Target6 => "ip6 daddr",
            Self::Protocol => "meta l4proto",
            Self::Port => "th dport",
        }
    }
}

/// What must hold for a rule to act.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Match {
    In(&'static [Field], Set),
    NotIn(&'static [Field], Set),
    /// The address begins with these octets.
    Begins(Field, &'static [u8], &'static str),
    /// The transport protocol has this number of IANA "Protocol Numbers".
    Carries(u8, &'static str),
    /// The target is an address of the host.
    ToHost,
    NotToHost,
    /// A published port was translated: `IPS_DST_NAT`, of the connection, so for both directions.
    Published,
    /// It answers, or reports on, a packet that passed.
    Answer,
}

/// What a rule does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Act {
    Accept,
    Drop,
    Return,
    Masquerade,
    Jump(Chain),
    /// What the map says of these fields; nothing where it says nothing.
    Decide(&'static [Field], Set),
    Dnat4(&'static [Field], Set),
    Dnat6(&'static [Field], Set),
    Snat4(&'static [Field], Set),
    Snat6(&'static [Field], Set),
}

/// One rule: it acts where all of its matches hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Rule {
    pub(crate) when: &'static [Match],
    pub(crate) act: Act,
}

const fn rule(when: &'static [Match], act: Act) -> Rule {
    Rule { when, act }
}

impl Chain {
    /// In the order in which they are made: a chain comes after those that it jumps to.
    pub(crate) const ALL: [Self; 11] = [
        Self::User,
        Self::DnatOnly,
        Self::ToNat,
        Self::ToRouted,
        Self::ToOpen,
        Self::Publish,
        Self::Early,
        Self::Forward,
        Self::Prerouting,
        Self::Output,
        Self::Postrouting,
    ];

    pub(crate) const fn hook(self) -> Option<Hook> {
        let (kind, name, number, priority, priority_name) = match self {
            Self::Early => ("filter", "prerouting", 0, -300, "raw"),
            Self::Forward => ("filter", "forward", 2, 0, "filter"),
            Self::Prerouting => ("nat", "prerouting", 0, -100, "dstnat"),
            // nft 1.0.6 takes the name `dstnat` at prerouting only.
            Self::Output => ("nat", "output", 3, -100, "-100"),
            Self::Postrouting => ("nat", "postrouting", 4, 100, "srcnat"),
            _ => return None,
        };
        Some(Hook { kind, name, number, priority, priority_name })
    }

    pub(crate) const fn rules(self) -> &'static [Rule] {
        match self {
            Self::User => &[],
            Self::DnatOnly => DNAT_ONLY,
            Self::ToNat => TO_NAT,
            Self::ToRouted => TO_ROUTED,
            Self::ToOpen => TO_OPEN,
            Self::Publish => PUBLISH,
            Self::Early => EARLY,
            Self::Forward => FORWARD,
            Self::Prerouting => PREROUTING,
            Self::Output => OUTPUT,
            Self::Postrouting => POSTROUTING,
        }
    }
}

/// Between neighbours that reach only each other's published ports.
const DNAT_ONLY: &[Rule] = &[rule(&[Match::Published], Act::Accept), rule(&[], Act::Drop)];

/// To a network behind address translation. That the port was translated, not which port it is, lets a
/// packet in: one that was sent to the container's own address is not accepted, but at a published port from a
/// trusted link.
const TO_NAT: &[Rule] = &[
    rule(&[Match::Answer], Act::Accept),
    rule(&[Match::Published], Act::Accept),
    rule(&[TO_OPEN_PORT4, Match::In(&[Field::Target4, Field::In], Set::Trusted4)], Act::Accept),
    rule(&[TO_OPEN_PORT6, Match::In(&[Field::Target6, Field::In], Set::Trusted6)], Act::Accept),
    rule(&[], Act::Drop),
];

const TO_OPEN_PORT4: Match = Match::In(&[Field::Target4, Field::Protocol, Field::Port], Set::Open4);
const TO_OPEN_PORT6: Match = Match::In(&[Field::Target6, Field::Protocol, Field::Port], Set::Open6);

/// To a network without address translation.
const TO_ROUTED: &[Rule] = &[
    rule(&[Match::Answer], Act::Accept),
    rule(&[Match::Carries(1, "icmp")], Act::Accept),
    rule(&[Match::Carries(58, "ipv6-icmp")], Act::Accept),
    rule(&[TO_OPEN_PORT4], Act::Accept),
    rule(&[TO_OPEN_PORT6], Act::Accept),
    rule(&[], Act::Drop),
];

const TO_OPEN: &[Rule] = &[rule(&[], Act::Accept)];

/// A port at one address goes before the same port at each address; a miss goes on with the next rule.
const PUBLISH: &[Rule] = &[
    rule(&[], Act::Dnat4(&[Field::Target4, Field::Protocol, Field::Port], Set::Pub4At)),
    rule(&[], Act::Dnat6(&[Field::Target6, Field::Protocol, Field::Port], Set::Pub6At)),
    rule(&[], Act::Dnat4(&[Field::Protocol, Field::Port], Set::Pub4)),
    rule(&[], Act::Dnat6(&[Field::Protocol, Field::Port], Set::Pub6)),
];

const LOOPBACK_TARGET: Match = Match::Begins(Field::Target4, &[127], "127.0.0.0/8");
const LOOPBACK_SOURCE: Match = Match::Begins(Field::Source4, &[127], "127.0.0.0/8");
const LOOPBACK6_TARGET: Match =
    Match::Begins(Field::Target6, &[0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1], "::1");
const FROM_BRIDGE: Match = Match::In(&[Field::In], Set::Bridges);
const FROM_OUTSIDE: Match = Match::NotIn(&[Field::In], Set::Bridges);
const TO_GUARDED4: Match = Match::In(&[Field::Target4], Set::Guard4);
const TO_GUARDED6: Match = Match::In(&[Field::Target6], Set::Guard6);
const FROM_UNTRUSTED4: Match = Match::NotIn(&[Field::Target4, Field::In], Set::Trusted4);
const FROM_UNTRUSTED6: Match = Match::NotIn(&[Field::Target6, Field::In], Set::Trusted6);

/// Before connection tracking. With `route_localnet` on a bridge, its containers could reach what the host
/// serves on 127.0.0.0/8, and use a loopback address as their source. From an isolated network, where the host has
/// no address, they could reach its other ones: the kernel answers for each on every link (`arp_ignore` of
/// ip-sysctl). From outside, a container's own address is answered by nothing; what comes from a trusted link is
/// for the forward chain to judge. The gateway's address, which is in the same subnet, stays open.
const EARLY: &[Rule] = &[
    rule(&[FROM_BRIDGE, LOOPBACK_TARGET], Act::Drop),
    rule(&[FROM_BRIDGE, LOOPBACK_SOURCE], Act::Drop),
    rule(&[Match::In(&[Field::In], Set::Isolated), Match::ToHost], Act::Drop),
    rule(&[FROM_OUTSIDE, TO_GUARDED4, Match::NotToHost, FROM_UNTRUSTED4], Act::Drop),
    rule(&[FROM_OUTSIDE, TO_GUARDED6, Match::NotToHost, FROM_UNTRUSTED6], Act::Drop),
];

/// The user's rules come first. What forbids by the source comes before what allows by the target: an
/// internal container's packets would else arrive at another network's published port. What leaves for
/// none of our bridges is not ours to judge.
const FORWARD: &[Rule] = &[
    rule(&[], Act::Jump(Chain::User)),
    rule(&[], Act::Decide(&[Field::In, Field::Out], Set::Same)),
    rule(&[Match::In(&[Field::In], Set::Internal)], Act::Drop),
    rule(&[Match::In(&[Field::Out], Set::Internal)], Act::Drop),
    rule(&[], Act::Decide(&[Field::Out], Set::To)),
];

/// Translation comes before the kernel refuses 127.0.0.0/8 from outside, so another machine that routes
/// 127.0.0.1 to this one would reach ports published there.
const PREROUTING: &[Rule] =
    &[rule(&[LOOPBACK_TARGET], Act::Return), rule(&[Match::ToHost], Act::Jump(Chain::Publish))];

/// The host's own packets. Nothing can lead ::1 off the host: that is for a proxy.
const OUTPUT: &[Rule] =
    &[rule(&[LOOPBACK6_TARGET], Act::Return), rule(&[Match::ToHost], Act::Jump(Chain::Publish))];

/// A container that reaches itself or a neighbour by a port of the host would answer past the translation,
/// so its source is hidden; so is 127.0.0.0/8, where the host itself came from. What stays in its own
/// network keeps its source, also where bridged packets pass here. The rest is how networks go out.
const POSTROUTING: &[Rule] = &[
    rule(&[Match::Published, Match::In(&[Field::Source4, Field::Out], Set::Own4)], Act::Masquerade),
    rule(&[Match::Published, Match::In(&[Field::Source6, Field::Out], Set::Own6)], Act::Masquerade),
    rule(&[Match::In(&[Field::Out], Set::Bridges), LOOPBACK_SOURCE], Act::Masquerade),
    rule(&[Match::In(&[Field::Source4, Field::Out], Set::Own4)], Act::Return),
    rule(&[Match::In(&[Field::Source6, Field::Out], Set::Own6)], Act::Return),
    rule(&[], Act::Snat4(&[Field::Source4], Set::Snat4)),
    rule(&[], Act::Snat6(&[Field::Source6], Set::Snat6)),
    rule(&[Match::In(&[Field::Source4], Set::Masq4)], Act::Masquerade),
    rule(&[Match::In(&[Field::Source6], Set::Masq6)], Act::Masquerade),
];
