use crate::{Error, NetworkId, NetworkName};
use ipnet::{IpNet, Ipv4Net};
use linkspan_ipam::{Pools, Subnet, ula_subnet};
use linkspan_net_types::{IfName, Mtu};
use linkspan_records::Document;
use linkspan_veth_bridge::Original;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// The subnet of the default bridge, which no other network is given (Docker's).
const DEFAULT_SUBNET: Ipv4Net = Ipv4Net::new_assert(Ipv4Addr::new(172, 17, 0, 0), 16);

/// What a network is wanted to be; all but the name is optional.
///
/// ```
/// use linkspan::Network;
///
/// let web = Network::bridge("web".parse()?).subnet("10.88.0.0/24".parse()?);
/// let both = Network::bridge("both".parse()?).ipv6(); // subnets from the pools
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Network {
    name: NetworkName,
    ipv4: Option<Subnet>,
    ipv6: WantedIpv6,
    mtu: Option<Mtu>,
    link: Option<IfName>,
    labels: BTreeMap<String, String>,
    gateway: Option<GatewayMode>,
    neighbours: Option<Neighbours>,
    egress: Option<Egress>,
    #[serde(default)]
    trusted: BTreeSet<IfName>,
}

/// Who can talk to whom, and from which address.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Policy {
    pub(crate) gateway: GatewayMode,
    pub(crate) neighbours: Neighbours,
    pub(crate) egress: Egress,
    pub(crate) trusted: BTreeSet<IfName>,
}

/// What the gateway of a network does with packets from and to other places than the network itself.
///
/// Other networks are kept apart in every mode; they reach published ports through the host's address.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum GatewayMode {
    /// Containers go out with an address of the host, and are reached at published ports of the host only.
    #[default]
    Nat,
    /// As [`Nat`](Self::Nat), but containers are reached at their own addresses as well, published or not.
    NatUnprotected,
    /// Containers go out and are reached at their own addresses, at published ports only; ICMP passes.
    Routed,
    /// No way out, and no way in from outside the host: Docker's `--internal`. The host reaches the
    /// containers, and the gateway answers them.
    Internal,
    /// As [`Internal`](Self::Internal), and the host has no address on the network either: its containers reach
    /// nothing of the host, whatever they route.
    Isolated,
}

impl GatewayMode {
    /// Whether there is a way out.
    pub(crate) const fn leads_out(self) -> bool {
        !matches!(self, Self::Internal | Self::Isolated)
    }
}

/// Whether the containers of a network reach each other.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Neighbours {
    /// They do.
    #[default]
    Reachable,
    /// They reach only what others publish, by the host's address: Docker's `--icc=false`.
    PublishedOnly,
}

/// Which source address packets have that leave by a gateway that translates.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Egress {
    /// The one of the link that they leave by.
    #[default]
    Masquerade,
    /// These, whatever link they leave by; a family without one is masqueraded.
    Fixed {
        /// The source of IPv4 packets.
        ipv4: Option<Ipv4Addr>,
        /// The source of IPv6 packets.
        ipv6: Option<Ipv6Addr>,
    },
    /// Their own.
    Keep,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
enum WantedIpv6 {
    None,
    FromPool,
    Subnet(Subnet),
}

impl Network {
    /// A bridge network with an IPv4 subnet from the pools.
    pub const fn bridge(name: NetworkName) -> Self {
        Self {
            name,
            ipv4: None,
            ipv6: WantedIpv6::None,
            mtu: None,
            link: None,
            labels: BTreeMap::new(),
            gateway: None,
            neighbours: None,
            egress: None,
            trusted: BTreeSet::new(),
        }
    }

    /// Asks for this subnet, with its gateway, range and reserved addresses; one of each family can be
    /// asked for, and an IPv6 subnet switches IPv6 on.
    #[must_use]
    pub fn subnet(mut self, subnet: Subnet) -> Self {
        match subnet.net() {
            IpNet::V4(_) => self.ipv4 = Some(subnet),
            IpNet::V6(_) => self.ipv6 = WantedIpv6::Subnet(subnet),
        }
        self
    }

    /// Asks for IPv6; without a subnet it is a /64 that this machine always has (RFC 4193).
    #[must_use]
    pub fn ipv6(mut self) -> Self {
        if self.ipv6 == WantedIpv6::None {
            self.ipv6 = WantedIpv6::FromPool;
        }
        self
    }

    /// Asks for this MTU; without it, links have that of the default route's device.
    #[must_use]
    pub const fn mtu(mut self, mtu: Mtu) -> Self {
        self.mtu = Some(mtu);
        self
    }

    /// Asks for this name of the bridge. A bridge of that name that is there already is adopted: it gets
    /// the gateway addresses, and it is never removed.
    #[must_use]
    pub const fn link(mut self, name: IfName) -> Self {
        self.link = Some(name);
        self
    }

    /// Says what its gateway does; by default [`GatewayMode::Nat`].
    #[must_use]
    pub const fn gateway_mode(mut self, mode: GatewayMode) -> Self {
        self.gateway = Some(mode);
        self
    }

    /// Says whether its containers reach each other; by default they do.
    #[must_use]
    pub const fn neighbours(mut self, neighbours: Neighbours) -> Self {
        self.neighbours = Some(neighbours);
        self
    }

    /// Says which source address packets have that leave it; by default they are masqueraded.
    #[must_use]
    pub const fn egress(mut self, egress: Egress) -> Self {
        self.egress = Some(egress);
        self
    }

    /// Lets packets that come by this link of the host reach published ports at the containers' own addresses,
    /// without translation: Docker's `com.docker.network.bridge.trusted_host_interfaces`. Several can be asked
    /// for.
    ///
    /// It holds wherever the port is published, at 127.0.0.1 say, and for [`GatewayMode::Nat`] alone: the other
    /// modes open what they open to every link. The link need not be there.
    #[must_use]
    pub fn trust(mut self, link: IfName) -> Self {
        self.trusted.insert(link);
        self
    }

    /// Notes something that linkspan keeps and shows but does not read.
    #[must_use]
    pub fn label(mut self, key: impl Into<String>, value: impl Into<String>) -> Self {
        self.labels.insert(key.into(), value.into());
        self
    }

    /// Its name.
    pub const fn name(&self) -> &NetworkName {
        &self.name
    }

    pub(crate) const fn wanted_ipv4(&self) -> Option<&Subnet> {
        self.ipv4.as_ref()
    }

    pub(crate) const fn wanted_ipv6(&self) -> Option<&Subnet> {
        match &self.ipv6 {
            WantedIpv6::Subnet(subnet) => Some(subnet),
            WantedIpv6::None | WantedIpv6::FromPool => None,
        }
    }

    pub(crate) fn has_ipv6(&self) -> bool {
        self.ipv6 != WantedIpv6::None
    }

    /// Whether its IPv6 subnet is made of the machine's id.
    pub(crate) fn needs_machine_id(&self) -> bool {
        self.ipv6 == WantedIpv6::FromPool
    }

    /// What was asked for, and the rest as it is there.
    fn policy(&self, there: &Policy) -> Policy {
        Policy {
            gateway: self.gateway.unwrap_or(there.gateway),
            neighbours: self.neighbours.unwrap_or(there.neighbours),
            egress: self.egress.unwrap_or(there.egress),
            trusted: if self.trusted.is_empty() { &there.trusted } else { &self.trusted }.clone(),
        }
    }

    /// The first wish that the network on record does not grant.
    pub(crate) fn difference(&self, there: &DefinedNetwork) -> Option<Difference> {
        let subnets = || self.wanted_ipv4().into_iter().chain(self.wanted_ipv6());
        let link = self.link.is_some_and(|link| link != there.link);
        let mtu = self.mtu.is_some() && self.mtu != there.mtu;
        if subnets().any(|subnet| !there.subnets.contains(subnet)) || self.has_ipv6() != there.has_ipv6() {
            Some(Difference::Subnet)
        } else if link {
            Some(Difference::Link)
        } else if mtu {
            Some(Difference::Mtu)
        } else if self.policy(&there.policy) != there.policy {
            Some(Difference::Policy)
        } else {
            let has = |(key, value): (&String, &String)| there.labels.get(key) == Some(value);
            (!self.labels.iter().all(has)).then_some(Difference::Labels)
        }
    }
}

/// In what a wanted network differs from the one of its name on record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Difference {
    /// Its subnets.
    Subnet,
    /// The name of its bridge.
    Link,
    /// Its MTU.
    Mtu,
    /// Its gateway mode, its neighbours, its egress, or the links that it trusts.
    Policy,
    /// Its labels.
    Labels,
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Subnet => "subnets",
            Self::Link => "bridge name",
            Self::Mtu => "mtu",
            Self::Policy => "gateway mode, icc, egress or trusted interfaces",
            Self::Labels => "labels",
        })
    }
}

/// A network on record: every wish is decided.
///
/// It outlives its attachments and a reboot.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DefinedNetwork {
    pub(crate) id: NetworkId,
    pub(crate) name: NetworkName,
    pub(crate) link: IfName,
    pub(crate) subnets: Vec<Subnet>,
    pub(crate) mtu: Option<Mtu>,
    pub(crate) labels: BTreeMap<String, String>,
    #[serde(default)]
    pub(crate) policy: Policy,
    /// The bridge was named by the user, so one that is there already is adopted.
    #[serde(default)]
    pub(crate) link_given: bool,
    /// What that bridge had before this network was brought up on it, as long as it is: the record that says so may be
    /// lost.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) adopted: Option<Adopted>,
}

/// What a bridge of others had at a time, which says nothing of another boot.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Adopted {
    pub(crate) boot: String,
    pub(crate) original: Original,
}

impl Document for DefinedNetwork {
    const VERSION: u32 = 1;
}

impl DefinedNetwork {
    /// Its id.
    pub const fn id(&self) -> NetworkId {
        self.id
    }

    /// Its name.
    pub const fn name(&self) -> &NetworkName {
        &self.name
    }

    /// The name of its bridge.
    pub const fn link(&self) -> IfName {
        self.link
    }

    /// Its subnets, IPv4 first.
    pub fn subnets(&self) -> &[Subnet] {
        &self.subnets
    }

    /// The MTU that was asked for.
    pub const fn mtu(&self) -> Option<Mtu> {
        self.mtu
    }

    /// What its gateway does.
    pub const fn gateway_mode(&self) -> GatewayMode {
        self.policy.gateway
    }

    /// Whether its containers reach each other.
    pub const fn neighbours(&self) -> Neighbours {
        self.policy.neighbours
    }

    /// Which source address packets have that leave it.
    pub const fn egress(&self) -> Egress {
        self.policy.egress
    }

    /// The links of the host from which published ports are reached at the containers' own addresses.
    pub fn trusted(&self) -> impl Iterator<Item = IfName> + '_ {
        self.policy.trusted.iter().copied()
    }

    /// What was noted of it.
    pub const fn labels(&self) -> &BTreeMap<String, String> {
        &self.labels
    }

    /// Whether it has an IPv6 subnet.
    pub fn has_ipv6(&self) -> bool {
        self.subnets.iter().any(|subnet| matches!(subnet.net(), IpNet::V6(_)))
    }

    /// Whether it has an IPv4 subnet.
    pub fn has_ipv4(&self) -> bool {
        self.subnets.iter().any(|subnet| matches!(subnet.net(), IpNet::V4(_)))
    }

    /// The gateways, each with the length of its subnet's prefix, as its bridge has them.
    pub fn gateways(&self) -> impl Iterator<Item = IpNet> + '_ {
        let isolated = self.policy.gateway == GatewayMode::Isolated;
        self.subnets.iter().filter(move |_| !isolated).map(|subnet| within(subnet, subnet.gateway()))
    }

    /// The subnet that this address is of.
    pub(crate) fn subnet_of(&self, address: IpAddr) -> Option<&Subnet> {
        self.subnets.iter().find(|subnet| subnet.net().contains(&address))
    }
}

/// This address with the length of the subnet's prefix.
pub(crate) fn within(subnet: &Subnet, address: IpAddr) -> IpNet {
    IpNet::new(address, subnet.net().prefix_len()).unwrap_or_else(|_| IpNet::from(address))
}

/// What is around a network that is being decided.
#[derive(Clone, Debug, Default)]
pub(crate) struct Surroundings {
    /// The other networks on record.
    pub(crate) others: Vec<DefinedNetwork>,
    /// What the host reaches without a gateway.
    pub(crate) on_link: Vec<IpNet>,
    /// Where the host asks for names.
    pub(crate) nameservers: Vec<IpAddr>,
    /// The machine's id, where an IPv6 subnet is to be made of it.
    pub(crate) machine_id: Vec<u8>,
}

impl Surroundings {
    /// What a subnet from the pools must not overlap. Routes that split the whole address space in two are
    /// those of a VPN, and would block everything.
    fn taken(&self) -> Vec<IpNet> {
        let others = self.others.iter().flat_map(|other| other.subnets.iter().map(Subnet::net));
        let routes = self.on_link.iter().copied().filter(|route| route.prefix_len() > 1);
        others.chain(routes).chain(self.nameservers.iter().copied().map(IpNet::from)).collect()
    }
}

/// Decides a network: grants every wish or says which one cannot be had.
pub(crate) fn decide(
    wanted: &Network,
    id: NetworkId,
    default_link: IfName,
    around: &Surroundings,
) -> Result<DefinedNetwork, Error> {
    let default = wanted.name.is_default_bridge();
    let link = wanted.link.unwrap_or_else(|| if default { default_link } else { id.link() });
    if let Some(holder) = around.others.iter().find(|other| other.link == link) {
        return Err(Error::LinkTaken { link, holder: holder.name.clone() });
    }
    let mut taken = around.taken();
    if !default {
        taken.push(IpNet::V4(DEFAULT_SUBNET));
    }
    let mut subnets = vec![match &wanted.ipv4 {
        Some(subnet) => apart(subnet, &around.others)?,
        None => Subnet::new(Pools::default().choose(&taken)?)?,
    }];
    match &wanted.ipv6 {
        WantedIpv6::None => {}
        WantedIpv6::Subnet(subnet) => subnets.push(apart(subnet, &around.others)?),
        WantedIpv6::FromPool => subnets.push(Subnet::new(ula_subnet(&around.machine_id, &taken)?.into())?),
    }
    let policy = wanted.policy(&Policy::default());
    let Network { name, mtu, labels, .. } = wanted.clone();
    let link_given = wanted.link.is_some();
    Ok(DefinedNetwork { id, name, link, subnets, mtu, labels, policy, link_given, adopted: None })
}

/// The wanted subnet, where no other network has addresses of it.
fn apart(subnet: &Subnet, others: &[DefinedNetwork]) -> Result<Subnet, Error> {
    let wanted = subnet.net();
    let each = others.iter().flat_map(|other| other.subnets.iter().map(move |s| (s.net(), other)));
    let overlaps = |other: &IpNet| other.contains(&wanted) || wanted.contains(other);
    match each.into_iter().find(|(other, _)| overlaps(other)) {
        Some((other, holder)) => {
            Err(Error::SubnetOverlap { subnet: wanted, other, holder: holder.name.clone() })
        }
        None => Ok(subnet.clone()),
    }
}

/// The addresses behind `nameserver` in the text of a `resolv.conf`.
pub(crate) fn nameservers(text: &str) -> Vec<IpAddr> {
    let address = |line: &str| line.trim().strip_prefix("nameserver")?.trim().parse().ok();
    text.lines().filter_map(address).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id() -> NetworkId {
        "0a1b2c3d4e5f".parse().unwrap()
    }

    fn named(name: &str) -> Network {
        Network::bridge(name.parse().unwrap())
    }

    fn other(name: &str, subnet: &str) -> DefinedNetwork {
        let wanted = named(name).subnet(subnet.parse().unwrap());
        let link = format!("br-{name}").parse().unwrap();
        DefinedNetwork { link, ..decide(&wanted, id(), link, &Surroundings::default()).unwrap() }
    }

    fn around(others: &[(&str, &str)], on_link: &[&str]) -> Surroundings {
        Surroundings {
            others: others.iter().map(|(name, subnet)| other(name, subnet)).collect(),
            on_link: on_link.iter().map(|route| route.parse().unwrap()).collect(),
            nameservers: vec!["172.19.0.53".parse().unwrap()],
            machine_id: b"0123456789abcdef".to_vec(),
        }
    }

    #[track_caller]
    fn check(wanted: &Network, around: &Surroundings, expected: &str) {
        let told = match decide(wanted, id(), "linkspan0".parse().unwrap(), around) {
            Ok(network) => {
                let subnets: Vec<_> = network.subnets.iter().map(|s| s.net().to_string()).collect();
                format!("{} {}", network.link, subnets.join(" "))
            }
            Err(refused) => refused.to_string(),
        };
        assert_eq!(told, expected);
    }

    #[test]
    fn the_default_network_has_the_first_subnet_and_no_other_gets_it() {
        check(&named("bridge"), &around(&[], &[]), "linkspan0 172.17.0.0/16");
        check(&named("web"), &around(&[], &[]), "ls-0a1b2c3d4e5f 172.18.0.0/16");
        check(&named("bridge"), &around(&[], &["172.17.5.0/24"]), "linkspan0 172.18.0.0/16");
    }

    #[test]
    fn subnets_in_use_are_left_out_and_two_halves_of_everything_are_no_use() {
        // 172.19.0.0/16 holds a name server.
        let one = [("a", "172.18.0.0/16")];
        check(&named("web"), &around(&one, &[]), "ls-0a1b2c3d4e5f 172.20.0.0/16");
        check(&named("web"), &around(&one, &["172.20.1.0/24"]), "ls-0a1b2c3d4e5f 172.21.0.0/16");
        check(&named("web"), &around(&[], &["0.0.0.0/1", "128.0.0.0/1"]), "ls-0a1b2c3d4e5f 172.18.0.0/16");
    }

    #[test]
    fn a_wish_that_others_have_is_refused_by_name() {
        let there = around(&[("a", "10.0.0.0/16")], &[]);
        let wanted = |subnet: &str| named("web").subnet(subnet.parse().unwrap());
        check(&wanted("10.0.1.0/24"), &there, "subnet 10.0.1.0/24 overlaps 10.0.0.0/16 of network `a`");
        check(&wanted("10.0.0.0/8"), &there, "subnet 10.0.0.0/8 overlaps 10.0.0.0/16 of network `a`");
        check(&wanted("10.1.0.0/24"), &there, "ls-0a1b2c3d4e5f 10.1.0.0/24");
        check(&named("web").link("br-a".parse().unwrap()), &there, "bridge `br-a` belongs to network `a`");
    }

    #[test]
    fn an_ipv6_subnet_of_the_machine_is_the_same_each_time() {
        let subnet = |around: &Surroundings| {
            let network = decide(&named("web").ipv6(), id(), id().link(), around).unwrap();
            network.subnets[1].net()
        };
        let first = subnet(&around(&[], &[]));
        assert_eq!(subnet(&around(&[], &[])), first);
        assert!(first.to_string().starts_with("fd") && first.prefix_len() == 64);
        let mut taken = around(&[], &[]);
        taken.others.push(other("a", &first.to_string()));
        assert_ne!(subnet(&taken), first);
    }

    #[test]
    fn a_network_on_record_grants_what_it_was_asked_for() {
        let wanted = named("web").subnet("10.0.0.0/24".parse().unwrap()).label("a", "b");
        let there = decide(&wanted, id(), id().link(), &Surroundings::default()).unwrap();
        assert_eq!(wanted.difference(&there), None);
        assert_eq!(named("web").label("a", "b").difference(&there), None);
        let differs = |wanted: &Network| wanted.difference(&there);
        assert_eq!(differs(&named("web")), None);
        assert_eq!(differs(&named("web").label("a", "c")), Some(Difference::Labels));
        assert_eq!(differs(&wanted.clone().ipv6()), Some(Difference::Subnet));
        assert_eq!(differs(&wanted.clone().subnet("10.0.1.0/24".parse().unwrap())), Some(Difference::Subnet));
        let internal = wanted.clone().gateway_mode(GatewayMode::Internal);
        assert_eq!(differs(&internal), Some(Difference::Policy));
        assert_eq!(differs(&wanted.clone().trust("eth1".parse().unwrap())), Some(Difference::Policy));
        assert_eq!(differs(&wanted.clone().mtu(Mtu::ETHERNET)), Some(Difference::Mtu));
        assert_eq!(differs(&wanted.clone().link("br0".parse().unwrap())), Some(Difference::Link));
    }

    #[test]
    fn name_servers_are_read_from_resolv_conf() {
        let text =
            "# nameserver 9.9.9.9\nnameserver 10.0.0.1\n nameserver fd00::1 \nsearch x\nnameserver no\n";
        let expected: [IpAddr; 2] = ["10.0.0.1".parse().unwrap(), "fd00::1".parse().unwrap()];
        assert_eq!(nameservers(text), expected);
    }
}
