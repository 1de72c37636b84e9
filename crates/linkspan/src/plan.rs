//! Decides: what is wanted and what is seen in, the change of the whole host out. Nothing here looks or acts.

use crate::id::hash;
use crate::mark;
use crate::{AttachedEndpoint, Attachment, DefinedNetwork, Egress, Error, GatewayMode, Neighbours};
use linkspan_nat_rules::{self as rules, Instance, iptables, nftables};
use linkspan_net_types::{IfName, Mtu};
use linkspan_records::Document;
use linkspan_veth_bridge::{self as links, Ownership, Seen};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// Which of the kernel's packet filters carries the rules.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Firewall {
    /// nftables, spoken natively.
    Nftables,
    /// `iptables-restore` and `ip6tables-restore`. Where the latter is missing, networks without IPv6 have rules of
    /// IPv4 alone, and others cannot be made.
    Iptables,
    /// No rules: nothing is published, masqueraded or kept apart.
    None,
}

impl fmt::Display for Firewall {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Nftables => "nftables",
            Self::Iptables => "iptables",
            Self::None => "none",
        })
    }
}

impl std::str::FromStr for Firewall {
    type Err = ParseFirewallError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let all = [Self::Nftables, Self::Iptables, Self::None];
        all.into_iter().find(|firewall| firewall.to_string() == text).ok_or(ParseFirewallError)
    }
}

/// A text is not `nftables`, `iptables` or `none`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a firewall is nftables, iptables or none")]
pub struct ParseFirewallError;

/// What attaching a namespace would change, or did.
///
/// Its text is one line for each step, in their order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plan {
    pub(crate) networks: Vec<NetworkPlan>,
    pub(crate) attachment: Attachment,
    pub(crate) links: links::Plan,
    pub(crate) rules: RulesPlan,
    pub(crate) spent: Spent,
}

/// Whether a plan, or a copy of it, was applied: its id and the names of its links are not given again.
#[derive(Clone, Debug, Default)]
pub(crate) struct Spent(Arc<AtomicBool>);

impl Spent {
    /// Spends it, and says whether it was spent before.
    pub(crate) fn spend(&self) -> bool {
        self.0.swap(true, Ordering::Relaxed)
    }
}

impl PartialEq for Spent {
    /// It is no part of what would change.
    fn eq(&self, _: &Self) -> bool {
        true
    }
}

impl Eq for Spent {}

impl Plan {
    /// What is made first, of the networks that are not there or not whole. Their rules are among the plan's own.
    pub fn networks(&self) -> &[NetworkPlan] {
        &self.networks
    }

    /// The record that there will be.
    pub const fn attachment(&self) -> &Attachment {
        &self.attachment
    }

    /// The links, addresses and routes.
    pub const fn links(&self) -> &links::Plan {
        &self.links
    }

    /// The rules.
    pub const fn rules(&self) -> &RulesPlan {
        &self.rules
    }
}

impl fmt::Display for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.networks.iter().try_for_each(|network| network.fmt(f))?;
        write!(f, "{}{}", self.links, self.rules)
    }
}

/// What bringing a network up would change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NetworkPlan {
    pub(crate) network: DefinedNetwork,
    pub(crate) rules: RulesPlan,
    pub(crate) links: links::Plan,
}

impl NetworkPlan {
    /// The network.
    pub const fn network(&self) -> &DefinedNetwork {
        &self.network
    }

    /// Its rules, which come first: what keeps it apart is there before its link.
    pub const fn rules(&self) -> &RulesPlan {
        &self.rules
    }

    /// Its bridge, and forwarding where that was off.
    pub const fn links(&self) -> &links::Plan {
        &self.links
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.rules.is_empty() && self.links.is_empty()
    }
}

impl fmt::Display for NetworkPlan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}", self.rules, self.links)
    }
}

/// The change of the rules, as the firewall in use takes it.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum RulesPlan {
    /// There is no firewall.
    None,
    /// One transaction of nftables.
    Nftables(nftables::Plan),
    /// One run of `iptables-restore` for each family.
    Iptables(iptables::Plan),
}

impl RulesPlan {
    /// The ports that lead nowhere after it, of those that were published by address translation.
    pub(crate) fn withdrawn(&self) -> &[rules::Publish] {
        match self {
            Self::None => &[],
            Self::Nftables(plan) => plan.withdrawn(),
            Self::Iptables(plan) => plan.withdrawn(),
        }
    }

    /// Whether nothing changes.
    pub fn is_empty(&self) -> bool {
        match self {
            Self::None => true,
            Self::Nftables(plan) => plan.is_empty(),
            Self::Iptables(plan) => plan.is_empty(),
        }
    }
}

impl fmt::Display for RulesPlan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::None => Ok(()),
            Self::Nftables(plan) => plan.fmt(f),
            Self::Iptables(plan) => plan.fmt(f),
        }
    }
}

/// The file of a network that is up, or on its way there or away.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct NetworkRecord {
    pub(crate) network: DefinedNetwork,
    pub(crate) bridge: links::Bridge,
    pub(crate) rules: rules::Network,
    /// Its rules are no longer wanted.
    pub(crate) leaving: bool,
    /// Its definition goes with it: it was just being made, or is being removed.
    pub(crate) forget: bool,
}

impl Document for NetworkRecord {
    const VERSION: u32 = 1;
}

/// What a network is on this host, before it is brought up.
pub(crate) fn network(
    instance: Instance,
    network: &DefinedNetwork,
    firewall: Firewall,
    uplink: Option<Mtu>,
    seen: &Seen,
) -> Result<NetworkRecord, Error> {
    let mtu = network.mtu.or(uplink).unwrap_or_default();
    let bridge = links::Bridge::new(network.link, mark::of_bridge(instance, network.link), mtu);
    let bridge = network.gateways().fold(bridge, links::Bridge::with_address);
    // A loopback source is let through to the bridge only where the rules keep containers from using it.
    let bridge = if firewall == Firewall::None { bridge } else { bridge.with_route_localnet() };
    let bridge = bridge.with_ownership(ownership(instance, network, seen)?);
    Ok(NetworkRecord {
        bridge,
        rules: rules_of(network),
        network: network.clone(),
        leaving: false,
        forget: false,
    })
}

/// A bridge that is there is adopted where the user named it, unless it is one that we made and lost the record of. Of
/// one that was adopted before, what it had then is its own.
fn ownership(instance: Instance, network: &DefinedNetwork, seen: &Seen) -> Result<Ownership, Error> {
    let there = seen.host.links.get(network.link.as_str());
    let made_by_us = there.is_some_and(|link| mark::is_ours(instance, network.link, link));
    if made_by_us || !network.link_given {
        return Ok(Ownership::Ours);
    }
    match (Ownership::of(&network.link, seen)?, &network.adopted) {
        (Ownership::Adopted(_), Some(before)) => Ok(Ownership::Adopted(before.original.clone())),
        (seen, _) => Ok(seen),
    }
}

pub(crate) fn rules_of(network: &DefinedNetwork) -> rules::Network {
    let access = match network.policy.gateway {
        GatewayMode::Nat => rules::Access::Nat,
        GatewayMode::NatUnprotected => rules::Access::Unprotected,
        GatewayMode::Routed => rules::Access::Routed,
        GatewayMode::Internal => rules::Access::Internal,
        GatewayMode::Isolated => rules::Access::Isolated,
    };
    let egress = match network.policy.egress {
        Egress::Masquerade => rules::Egress::Masquerade,
        Egress::Fixed { ipv4, ipv6 } => rules::Egress::Fixed { v4: ipv4, v6: ipv6 },
        Egress::Keep => rules::Egress::Keep,
    };
    let rules = rules::Network::new(network.link).with_access(access).with_egress(egress);
    let rules = rules.with_neighbours(network.policy.neighbours == Neighbours::Reachable);
    let rules = network.trusted().fold(rules, rules::Network::with_trusted);
    network.subnets.iter().fold(rules, |rules, subnet| rules.with_subnet(subnet.net()))
}

/// The links of a network that is brought up, with the forwarding it needs unless the host's policy is to
/// leave that alone.
pub(crate) fn bring_up(record: &NetworkRecord, forwarding: bool, seen: &Seen) -> Result<links::Plan, Error> {
    let bridge = links::plan::bridge(&record.bridge, seen)?;
    let forwarding = forwarding && record.network.policy.gateway.leads_out();
    let families: Vec<_> =
        [(links::Family::V4, record.network.has_ipv4()), (links::Family::V6, record.network.has_ipv6())]
            .into_iter()
            .filter_map(|(family, has)| (has && forwarding).then_some(family))
            .collect();
    // Last: it is never switched off again, and whoever is refused the bridge has no need of it.
    Ok(bridge.then(links::plan::forwarding(&families, seen)))
}

/// Refuses a bridge that someone put in the place of one of ours. One of ours that is down is as good as none: it was
/// never finished, or somebody stopped it.
pub(crate) fn recognise(instance: Instance, networks: &[DefinedNetwork], seen: &Seen) -> Result<(), Error> {
    for network in networks {
        let (name, ours) = (network.link, mark::of_bridge(instance, network.link));
        let there = seen.host.links.get(name.as_str()).ok_or(links::Error::NoBridge { name })?;
        if network.link_given {
            continue;
        }
        if let Some(mac) = there.mac.filter(|mac| *mac != ours) {
            return Err(links::Error::NotOurs { name, mac: Some(mac), ours }.into());
        }
        if !there.up {
            return Err(links::Error::NoBridge { name }.into());
        }
    }
    Ok(())
}

/// The links of an attachment; its bridges must be there.
pub(crate) fn attach(attachment: &Attachment, seen: &Seen) -> Result<links::Plan, Error> {
    let mut plan = if attachment.endpoints.is_empty() { loopback(seen) } else { Vec::new().into() };
    let mut seen = seen.clone();
    for endpoint in &attachment.endpoints {
        let next = links::plan::attach(&endpoint.veth(), &seen)?;
        seen = seen.after(&next);
        plan = plan.then(next);
    }
    Ok(plan)
}

/// All that a container without a network has.
fn loopback(seen: &Seen) -> links::Plan {
    let lo: IfName = "lo".parse().expect("two letters are a name");
    let up = seen.container.as_ref().and_then(|inside| inside.links.get(lo.as_str())).is_some_and(|lo| lo.up);
    let step = links::Step::SetUp { at: links::Place::container(lo) };
    Some(step).filter(|_| !up).into_iter().collect::<Vec<_>>().into()
}

/// What is missing of the links of an attachment: of both ends where the container was looked at, else of the host's.
pub(crate) fn mend(attachment: &Attachment, seen: &Seen) -> Result<links::Plan, Error> {
    if seen.container.is_some() {
        return attach(attachment, seen);
    }
    let ends = attachment.endpoints.iter().map(|endpoint| links::plan::host_end(&endpoint.veth(), seen));
    let plans = ends.collect::<Result<Vec<_>, _>>()?;
    Ok(plans.into_iter().fold(links::Plan::from(Vec::new()), links::Plan::then))
}

/// What takes the links of an attachment away.
pub(crate) fn detach(attachment: &Attachment, seen: &Seen) -> links::Plan {
    let each = attachment.endpoints.iter().map(|endpoint| links::plan::detach(&endpoint.veth(), seen));
    each.fold(links::Plan::from(Vec::new()), links::Plan::then)
}

/// What cuts a container off that ends, whose links the kernel then removes.
pub(crate) fn cut_off(attachment: &Attachment, seen: &Seen) -> links::Plan {
    let each = attachment.endpoints.iter().map(|endpoint| links::plan::cut_off(&endpoint.veth(), seen));
    each.fold(links::Plan::from(Vec::new()), links::Plan::then)
}

/// A group that none of these links is in.
pub(crate) fn free_group(seed: u64, links: &BTreeMap<String, links::Link>) -> links::Group {
    let taken: BTreeSet<_> = links.values().filter_map(|link| link.group).collect();
    let numbered = |n: u64| {
        let [.., a, b, c, d] = hash(&[b"group", &seed.to_be_bytes(), &n.to_be_bytes()]).to_be_bytes();
        links::Group::new(u32::from_be_bytes([a, b, c, d]))
    };
    let mut free = (0..).filter_map(numbered).filter(|group| !taken.contains(group));
    free.next().expect("a host has fewer links than there are groups")
}

/// Where the host ends of an attachment are looked at, to remove them.
pub(crate) fn look_at_ends(attachment: &Attachment) -> Option<links::Look> {
    let ends = attachment.endpoints.iter().map(AttachedEndpoint::host_link);
    looking_at(ends).map(links::Look::alone)
}

/// Where the links of an attachment are looked at.
pub(crate) fn look_at(attachment: &Attachment) -> Option<links::Look> {
    looking_at(attachment.endpoints.iter().flat_map(|e| [e.bridge, e.host_link]))
}

fn looking_at(names: impl Iterator<Item = IfName>) -> Option<links::Look> {
    names.fold(None, |look: Option<links::Look>, name| Some(look.unwrap_or_default().and(name)))
}
