use crate::publish::Front;
use crate::{Error, Network, Publish, Way};
use ipnet::IpNet;
use linkspan_net_types::IfName;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// All networks and published ports of an instance; no two of them contradict each other.
///
/// ```
/// use linkspan_nat_rules::{Change, Network, Ruleset};
///
/// let web = Network::new("ls-web".parse()?).with_subnet("10.88.1.0/24".parse()?);
/// let rules = Ruleset::new().after(&Change::new().add_network(web.clone()))?;
/// assert_eq!(rules.networks().count(), 1);
///
/// let clash = Network::new("ls-db".parse()?).with_subnet("10.88.0.0/16".parse()?);
/// assert!(rules.after(&Change::new().add_network(clash)).is_err());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Lists", into = "Lists")]
pub struct Ruleset {
    networks: BTreeMap<IfName, Network>,
    published: BTreeMap<Front, Publish>,
}

impl Ruleset {
    /// No networks and no ports.
    pub const fn new() -> Self {
        Self { networks: BTreeMap::new(), published: BTreeMap::new() }
    }

    /// What is there once the change is made: what it removes goes first, then what it adds comes.
    ///
    /// Removing what is not there and adding what is there already changes nothing.
    ///
    /// # Errors
    /// [`Error::BridgeTaken`], [`Error::Overlap`] and [`Error::PortTaken`] where what is added contradicts
    /// what is there.
    pub fn after(&self, change: &Change) -> Result<Self, Error> {
        let mut rules = self.clone();
        for publish in change.withdrawn.iter().filter(|p| self.published.get(&p.front()) == Some(p)) {
            rules.published.remove(&publish.front());
        }
        for network in change.removed.iter().filter(|n| self.networks.get(&n.bridge()) == Some(n)) {
            rules.networks.remove(&network.bridge());
        }
        change.added.iter().try_for_each(|network| rules.add(network))?;
        change.published.iter().try_for_each(|publish| rules.publish(publish))?;
        Ok(rules)
    }

    /// The networks, by the names of their bridges.
    pub fn networks(&self) -> impl Iterator<Item = &Network> {
        self.networks.values()
    }

    /// The published ports, by address of the host, protocol and port.
    pub fn published(&self) -> impl Iterator<Item = &Publish> {
        self.published.values()
    }

    /// Whether nothing is in it.
    pub fn is_empty(&self) -> bool {
        self.networks.is_empty() && self.published.is_empty()
    }

    fn add(&mut self, network: &Network) -> Result<(), Error> {
        let bridge = network.bridge();
        match self.networks.get(&bridge) {
            Some(there) if there == network => return Ok(()),
            Some(_) => return Err(Error::BridgeTaken { bridge }),
            None => {}
        }
        let held = |there: &Network| there.subnets().map(|s| (s, there.bridge())).collect::<Vec<_>>();
        let mut taken: Vec<_> = self.networks.values().flat_map(held).collect();
        for subnet in network.subnets() {
            refuse_overlap(subnet, bridge, &taken)?;
            taken.push((subnet, bridge));
        }
        self.networks.insert(bridge, network.clone());
        Ok(())
    }

    fn publish(&mut self, publish: &Publish) -> Result<(), Error> {
        let there = *self.published.entry(publish.front()).or_insert(*publish);
        match publish.way() {
            Way::Nat { at, port } if there.to() != publish.to() => {
                Err(Error::PortTaken { protocol: publish.protocol(), at, port, holder: there.to() })
            }
            Way::Routed { bridge } if there != *publish => Err(Error::BridgeTaken { bridge }),
            _ => Ok(()),
        }
    }
}

/// Refuses a subnet that shares an address with one of those that are held.
pub(crate) fn refuse_overlap(subnet: IpNet, bridge: IfName, held: &[(IpNet, IfName)]) -> Result<(), Error> {
    let overlaps = |other: &IpNet| other.contains(&subnet) || subnet.contains(other);
    match held.iter().find(|(other, _)| overlaps(other)) {
        Some(&(other, holder)) => Err(Error::Overlap { subnet, bridge, other, holder }),
        None => Ok(()),
    }
}

/// What comes and what goes.
///
/// ```
/// use linkspan_nat_rules::{Change, Destination, Publish};
/// use linkspan_net_types::{Port, Protocol};
///
/// let port = Port::new(53).ok_or("a port")?;
/// let at = |address: &str| address.parse().map(|a| Publish::nat(Protocol::Udp, port, Destination::new(a, port)));
/// let moved = Change::new().withdraw(at("10.88.1.2")?).publish(at("10.88.1.3")?);
/// assert_eq!(moved.inverse(), Change::new().withdraw(at("10.88.1.3")?).publish(at("10.88.1.2")?));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Change {
    removed: Vec<Network>,
    withdrawn: Vec<Publish>,
    added: Vec<Network>,
    published: Vec<Publish>,
}

impl Change {
    /// Nothing comes and nothing goes.
    pub const fn new() -> Self {
        Self { removed: Vec::new(), withdrawn: Vec::new(), added: Vec::new(), published: Vec::new() }
    }

    /// What turns the one set of rules into the other.
    pub fn between(from: &Ruleset, to: &Ruleset) -> Self {
        let networks = |a: &Ruleset, b: &Ruleset| -> Vec<_> {
            a.networks().filter(|n| b.networks.get(&n.bridge()) != Some(n)).cloned().collect()
        };
        let published = |a: &Ruleset, b: &Ruleset| -> Vec<_> {
            a.published().filter(|p| b.published.get(&p.front()) != Some(p)).copied().collect()
        };
        Self {
            removed: networks(from, to),
            withdrawn: published(from, to),
            added: networks(to, from),
            published: published(to, from),
        }
    }

    /// The same, and this network comes.
    #[must_use]
    pub fn add_network(mut self, network: Network) -> Self {
        self.added.push(network);
        self
    }

    /// The same, and this network goes.
    #[must_use]
    pub fn remove_network(mut self, network: Network) -> Self {
        self.removed.push(network);
        self
    }

    /// The same, and this port is published.
    #[must_use]
    pub fn publish(self, publish: Publish) -> Self {
        self.publish_all([publish])
    }

    /// The same, and these ports are published.
    #[must_use]
    pub fn publish_all(mut self, published: impl IntoIterator<Item = Publish>) -> Self {
        self.published.extend(published);
        self
    }

    /// The same, and this port is withdrawn.
    #[must_use]
    pub fn withdraw(self, publish: Publish) -> Self {
        self.withdraw_all([publish])
    }

    /// The same, and these ports are withdrawn.
    #[must_use]
    pub fn withdraw_all(mut self, withdrawn: impl IntoIterator<Item = Publish>) -> Self {
        self.withdrawn.extend(withdrawn);
        self
    }

    /// The opposite: what comes goes, and what goes comes.
    #[must_use]
    pub fn inverse(&self) -> Self {
        let Self { removed, withdrawn, added, published } = self.clone();
        Self { removed: added, withdrawn: published, added: removed, published: withdrawn }
    }

    /// The same without the ports that are published.
    #[cfg(feature = "kernel")]
    pub(crate) fn without_published(&self) -> Self {
        let Self { removed, withdrawn, added, .. } = self.clone();
        Self { removed, withdrawn, added, published: Vec::new() }
    }

    /// Whether nothing comes and nothing goes.
    pub fn is_empty(&self) -> bool {
        let Self { removed, withdrawn, added, published } = self;
        removed.is_empty() && withdrawn.is_empty() && added.is_empty() && published.is_empty()
    }

    /// The networks that go.
    pub fn removed(&self) -> &[Network] {
        &self.removed
    }

    /// The ports that are withdrawn.
    pub fn withdrawn(&self) -> &[Publish] {
        &self.withdrawn
    }

    /// The networks that come.
    pub fn added(&self) -> &[Network] {
        &self.added
    }

    /// The ports that are published.
    pub fn published(&self) -> &[Publish] {
        &self.published
    }
}

/// What is stored of a set of rules, before it is known to be free of contradictions.
#[derive(Serialize, Deserialize)]
struct Lists {
    networks: Vec<Network>,
    published: Vec<Publish>,
}

impl TryFrom<Lists> for Ruleset {
    type Error = Error;

    fn try_from(Lists { networks, published }: Lists) -> Result<Self, Error> {
        Self::new().after(&Change { added: networks, published, ..Change::new() })
    }
}

impl From<Ruleset> for Lists {
    fn from(rules: Ruleset) -> Self {
        Self {
            networks: rules.networks.into_values().collect(),
            published: rules.published.into_values().collect(),
        }
    }
}
