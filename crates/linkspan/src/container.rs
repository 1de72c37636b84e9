use crate::{ContainerName, DefinedNetwork, Error, NetworkName, Publish};
use linkspan_net_types::{IfName, Mac};
use serde::{Deserialize, Serialize};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// What a container is wanted to have: a name, an endpoint on each of its networks, published ports.
///
/// Publishing belongs to the container: its ports are reached through the network that its default
/// route goes by.
///
/// ```
/// use linkspan::{Container, Endpoint, NetworkName, Publish};
///
/// let wanted = Container::new("web-1".parse()?)
///     .on(Endpoint::new(NetworkName::default_bridge()))
///     .publish(Publish::tcp(80).at(8080));
/// assert_eq!(wanted.name().as_str(), "web-1");
/// # Ok::<(), linkspan::ParseNameError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Container {
    name: ContainerName,
    endpoints: Vec<Endpoint>,
    published: Vec<Publish>,
}

impl Container {
    /// A container without endpoints: it has `lo` and nothing else.
    pub const fn new(name: ContainerName) -> Self {
        Self { name, endpoints: Vec::new(), published: Vec::new() }
    }

    /// Adds an endpoint; the first one is `eth0`, the next `eth1`, unless named otherwise.
    #[must_use]
    pub fn on(mut self, endpoint: Endpoint) -> Self {
        self.endpoints.push(endpoint);
        self
    }

    /// Adds a published port. Where the container's default route goes by a routed network, it is reached at the
    /// container's own address, and a port or address of the host that was asked for is not taken.
    #[must_use]
    pub fn publish(mut self, publish: Publish) -> Self {
        self.published.push(publish);
        self
    }

    /// Its name.
    pub const fn name(&self) -> &ContainerName {
        &self.name
    }

    /// Its endpoints, in the order of their links.
    pub fn endpoints(&self) -> &[Endpoint] {
        &self.endpoints
    }

    /// The ports that are to be published.
    pub fn published(&self) -> &[Publish] {
        &self.published
    }
}

/// What a container is wanted to have on one network; all but the network is optional.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Endpoint {
    network: NetworkName,
    ipv4: Option<Ipv4Addr>,
    ipv6: Option<Ipv6Addr>,
    mac: Option<Mac>,
    link: Option<IfName>,
}

impl Endpoint {
    /// An endpoint on the network of this name.
    pub const fn new(network: NetworkName) -> Self {
        Self { network, ipv4: None, ipv6: None, mac: None, link: None }
    }

    /// An endpoint on this network.
    pub fn of(network: &DefinedNetwork) -> Self {
        Self::new(network.name().clone())
    }

    /// Asks for this address; one of each family can be asked for. Without it, the lowest free one is given.
    #[must_use]
    pub const fn address(mut self, address: IpAddr) -> Self {
        match address {
            IpAddr::V4(v4) => self.ipv4 = Some(v4),
            IpAddr::V6(v6) => self.ipv6 = Some(v6),
        }
        self
    }

    /// Asks for this MAC address; without it, it is made of the IP address.
    #[must_use]
    pub const fn mac(mut self, mac: Mac) -> Self {
        self.mac = Some(mac);
        self
    }

    /// Asks for this name of the link inside; without it, it is `eth0`, `eth1` ...
    #[must_use]
    pub const fn link(mut self, name: IfName) -> Self {
        self.link = Some(name);
        self
    }

    /// The network that it is on.
    pub const fn network(&self) -> &NetworkName {
        &self.network
    }

    /// The address asked for, of the family of `like`.
    pub(crate) fn wanted_address(&self, like: IpAddr) -> Option<IpAddr> {
        match like {
            IpAddr::V4(_) => self.ipv4.map(IpAddr::V4),
            IpAddr::V6(_) => self.ipv6.map(IpAddr::V6),
        }
    }

    /// Its network among these, which has to have a subnet for every address asked for.
    pub(crate) fn network_among<'a>(
        &self,
        networks: &'a [DefinedNetwork],
    ) -> Result<&'a DefinedNetwork, Error> {
        let network = networks.iter().find(|network| *network.name() == self.network);
        let network = network.ok_or_else(|| Error::NoSuchNetwork { name: self.network.clone() })?;
        let family = |v4| network.subnets().iter().any(|subnet| subnet.gateway().is_ipv4() == v4);
        match self.addresses().find(|address| !family(address.is_ipv4())) {
            Some(address) => Err(Error::NoSubnet { network: network.name().clone(), address }),
            None => Ok(network),
        }
    }

    /// Every address asked for.
    pub fn addresses(&self) -> impl Iterator<Item = IpAddr> + use<> {
        [self.ipv4.map(IpAddr::V4), self.ipv6.map(IpAddr::V6)].into_iter().flatten()
    }

    /// The MAC address asked for.
    pub const fn wanted_mac(&self) -> Option<Mac> {
        self.mac
    }

    /// The name of the link inside that is asked for.
    pub const fn wanted_link(&self) -> Option<IfName> {
        self.link
    }
}
