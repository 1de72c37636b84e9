use crate::claims::{Claim, HostPort};
use crate::mark;
use crate::network::within;
use crate::{
    AttachmentId, Container, ContainerName, DefinedNetwork, Error, GatewayMode, Neighbours, NetworkId,
    NetworkName, Publish,
};
use ipnet::IpNet;
use linkspan_ipam::Subnet;
use linkspan_nat_rules as rules;
use linkspan_net_types::{IfName, Mac, Mtu, Port, Protocol};
use linkspan_netns::{Cookie, Place};
use linkspan_records::Document;
use linkspan_veth_bridge as links;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::net::{IpAddr, SocketAddr};

/// A namespace on its networks, as it is on record.
///
/// It says everything that detaching needs, and has no destructor: a container outlives the process that
/// attached it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Attachment {
    pub(crate) id: AttachmentId,
    pub(crate) name: ContainerName,
    pub(crate) namespace: Namespace,
    pub(crate) endpoints: Vec<AttachedEndpoint>,
    pub(crate) published: Vec<Published>,
}

impl Attachment {
    /// Its id, which is all that detaching needs.
    pub const fn id(&self) -> AttachmentId {
        self.id
    }

    /// The name of the container.
    pub const fn name(&self) -> &ContainerName {
        &self.name
    }

    /// The namespace of the container.
    pub const fn namespace(&self) -> &Namespace {
        &self.namespace
    }

    /// Its endpoints, one for each network, in the order of their links.
    pub fn endpoints(&self) -> &[AttachedEndpoint] {
        &self.endpoints
    }

    /// Its published ports.
    pub fn published(&self) -> &[Published] {
        &self.published
    }

    /// What nobody else can have as long as it is attached.
    pub(crate) fn claims(&self) -> impl Iterator<Item = Claim> + '_ {
        let own = [Claim::Name(self.name.clone()), Claim::Namespace(self.namespace.cookie)];
        let port = |published: &Published| {
            let HostSide { address, port } = published.host?;
            Some(Claim::Port(HostPort { protocol: published.protocol, port, address }))
        };
        own.into_iter().chain(self.published.iter().filter_map(port))
    }

    /// The same without a way out.
    pub(crate) fn unrouted(mut self) -> Self {
        self.endpoints.iter_mut().for_each(|endpoint| endpoint.gateways.clear());
        self
    }

    /// The rules that its published ports are.
    pub(crate) fn rules(&self) -> Result<Vec<rules::Publish>, rules::Error> {
        rules_of(&self.published)
    }
}

/// The namespace of a container.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Namespace {
    pub(crate) cookie: Cookie,
    pub(crate) place: Option<Place>,
}

impl Namespace {
    /// Which one it is: the kernel never gives a cookie again, as it does inodes.
    pub const fn cookie(&self) -> Cookie {
        self.cookie
    }

    /// Where it can be found; `None` where the one who attached it had nothing but a file descriptor.
    pub const fn place(&self) -> Option<&Place> {
        self.place.as_ref()
    }
}

/// What a container has on one network.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AttachedEndpoint {
    pub(crate) network: NetworkName,
    pub(crate) network_id: NetworkId,
    pub(crate) bridge: IfName,
    /// The bridge keeps it from other such ports, where bridge netfilter does not.
    #[serde(default)]
    pub(crate) isolated: bool,
    pub(crate) link: IfName,
    pub(crate) host_link: IfName,
    pub(crate) host_mac: Mac,
    pub(crate) mac: Mac,
    pub(crate) mtu: Mtu,
    pub(crate) addresses: Vec<IpNet>,
    pub(crate) gateways: Vec<IpAddr>,
}

impl AttachedEndpoint {
    /// The network that it is on.
    pub const fn network(&self) -> &NetworkName {
        &self.network
    }

    /// The name of its link in the container.
    pub const fn link(&self) -> IfName {
        self.link
    }

    /// The name of its link on the host, a port of the network's bridge.
    pub const fn host_link(&self) -> IfName {
        self.host_link
    }

    /// The MAC address of its link in the container.
    pub const fn mac(&self) -> Mac {
        self.mac
    }

    /// The MTU of both its links.
    pub const fn mtu(&self) -> Mtu {
        self.mtu
    }

    /// Its addresses, each with the length of its subnet's prefix, IPv4 first.
    pub fn addresses(&self) -> &[IpNet] {
        &self.addresses
    }

    /// Its IPv4 address where it has one, else its IPv6 address.
    pub fn address(&self) -> IpNet {
        // Every network has a subnet, so every endpoint has an address.
        self.addresses.first().copied().unwrap_or_else(|| IpNet::from(IpAddr::from([0, 0, 0, 0])))
    }

    /// The gateways that the container's default routes go by; empty where another endpoint has them.
    pub fn gateways(&self) -> &[IpAddr] {
        &self.gateways
    }

    /// Its address in this subnet.
    pub(crate) fn address_in(&self, subnet: &Subnet) -> Option<IpAddr> {
        self.addresses.iter().map(IpNet::addr).find(|address| subnet.net().contains(address))
    }

    /// The pair of links that it is.
    pub(crate) fn veth(&self) -> links::Veth {
        let port = links::Port::of(self.bridge);
        let port = if self.isolated { port.isolated() } else { port };
        let inside = links::InsideEnd::new(self.link, self.mac);
        let inside = self.addresses.iter().fold(inside, |inside, address| inside.with_address(*address));
        let inside = self.gateways.iter().fold(inside, |inside, gateway| inside.with_gateway(*gateway));
        links::Veth::new(links::HostEnd::port(self.host_link, self.host_mac, port), inside, self.mtu)
    }
}

/// A port of the container that others reach, by a port of the host or, on a routed network, at its own address.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Published {
    pub(crate) protocol: Protocol,
    pub(crate) port: Port,
    pub(crate) host: Option<HostSide>,
    pub(crate) to: Vec<IpAddr>,
    #[serde(default)]
    pub(crate) open: Vec<OpenAddress>,
    #[serde(default)]
    pub(crate) trusted: Vec<OpenAddress>,
}

/// Where the host answers for a port of a container.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HostSide {
    pub(crate) address: Option<IpAddr>,
    pub(crate) port: Port,
}

/// An address of a container at which the port is reached directly, and the bridge that it is behind.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct OpenAddress {
    pub(crate) address: IpAddr,
    pub(crate) bridge: IfName,
}

impl HostSide {
    /// The address of the host; `None` for every address of both families.
    pub const fn address(&self) -> Option<IpAddr> {
        self.address
    }

    /// The port of the host.
    pub const fn port(&self) -> Port {
        self.port
    }
}

impl Published {
    /// The transport protocol.
    pub const fn protocol(&self) -> Protocol {
        self.protocol
    }

    /// The port of the container.
    pub const fn port(&self) -> Port {
        self.port
    }

    /// Where the host answers; `None` where the container's networks are all routed.
    pub const fn host(&self) -> Option<&HostSide> {
        self.host.as_ref()
    }

    /// The addresses of the container that the host's port leads to, one of each family at most.
    pub fn to(&self) -> &[IpAddr] {
        &self.to
    }

    /// The addresses of the container at which the port is reached directly, one of each family at most.
    pub fn open(&self) -> impl Iterator<Item = IpAddr> + '_ {
        self.open.iter().map(|open| open.address)
    }

    /// The addresses of the container at which the port is reached directly as well, by the links of the host
    /// that its network trusts, one of each family at most.
    pub fn trusted(&self) -> impl Iterator<Item = IpAddr> + '_ {
        self.trusted.iter().map(|open| open.address)
    }

    fn rules(&self) -> impl Iterator<Item = Result<rules::Publish, rules::Error>> + '_ {
        let translated =
            self.host.iter().flat_map(move |host| self.to.iter().map(move |to| self.translated(host, *to)));
        let open = self.open.iter().chain(&self.trusted).map(|open| {
            let to = rules::Destination::new(open.address, self.port);
            Ok(rules::Publish::routed(self.protocol, to, open.bridge))
        });
        translated.chain(open)
    }

    fn translated(&self, host: &HostSide, to: IpAddr) -> Result<rules::Publish, rules::Error> {
        let publish = rules::Publish::nat(self.protocol, host.port, rules::Destination::new(to, self.port));
        host.address.map_or(Ok(publish), |at| publish.at(at))
    }
}

impl fmt::Display for Published {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let at = |address: &IpAddr| SocketAddr::new(*address, self.port.get()).to_string();
        let to: Vec<_> = self.to.iter().chain(self.open.iter().map(|open| &open.address)).map(at).collect();
        match &self.host {
            Some(HostSide { address: Some(address), port }) => {
                write!(f, "{}/{} -> ", SocketAddr::new(*address, port.get()), self.protocol)?;
                f.write_str(&to.join(", "))
            }
            Some(HostSide { address: None, port }) => {
                write!(f, "*:{port}/{} -> {}", self.protocol, to.join(", "))
            }
            None => write!(f, "{}/{}", to.join(", "), self.protocol),
        }
    }
}

/// The file of one attachment: the claim before anything else is known, then all of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct AttachmentRecord {
    pub(crate) id: AttachmentId,
    pub(crate) name: ContainerName,
    /// The networks that may hold leases of it.
    pub(crate) networks: Vec<NetworkId>,
    /// It is being detached or taken back: its rules are no longer wanted.
    pub(crate) leaving: bool,
    /// `None` while nothing but leases and claims can have been made.
    pub(crate) attachment: Option<Attachment>,
}

impl Document for AttachmentRecord {
    const VERSION: u32 = 1;
}

/// What is asked for, together with what was claimed for it.
pub(crate) struct Asked<'a> {
    pub(crate) instance: rules::Instance,
    pub(crate) id: AttachmentId,
    pub(crate) wanted: &'a Container,
    pub(crate) networks: &'a [DefinedNetwork],
    /// Those of the host, in the order of the wishes; empty where none is needed.
    pub(crate) ports: &'a [HostPort],
}

impl Asked<'_> {
    /// What comes of it with these addresses, one for each subnet of each wish's network. Links are as large as their
    /// bridge.
    pub(crate) fn granted(self, addresses: Vec<Vec<IpAddr>>, seen: &links::Seen) -> Result<Granted, Error> {
        let mut placed = Vec::new();
        for (wish, addresses) in self.wanted.endpoints().iter().zip(addresses) {
            let network = wish.network_among(self.networks)?;
            let bridge = seen.host.links.get(network.link.as_str());
            let mtu = bridge.and_then(|link| Mtu::new(link.mtu)).or(network.mtu).unwrap_or_default();
            placed.push(Placed { network, mtu, addresses });
        }
        let endpoints = endpoints(self.instance, self.id, self.wanted, &placed);
        let serving = serving(&endpoints, &placed);
        let wishes = self.wanted.published().iter().enumerate();
        let published = wishes.map(|(i, wish)| published(wish, self.ports.get(i), &serving));
        let published = published.collect::<Result<_, _>>()?;
        let Self { id, wanted, .. } = self;
        Ok(Granted { id, name: wanted.name().clone(), endpoints, published })
    }
}

/// All of an attachment but its namespace, which may still be coming.
pub(crate) struct Granted {
    id: AttachmentId,
    name: ContainerName,
    endpoints: Vec<AttachedEndpoint>,
    published: Vec<Published>,
}

impl Granted {
    /// The rules that the published ports will be.
    pub(crate) fn rules(&self) -> Result<Vec<rules::Publish>, rules::Error> {
        rules_of(&self.published)
    }

    /// The attachment in this namespace.
    pub(crate) fn within(self, namespace: Namespace) -> Attachment {
        let Self { id, name, endpoints, published } = self;
        Attachment { id, name, namespace, endpoints, published }
    }
}

fn rules_of(published: &[Published]) -> Result<Vec<rules::Publish>, rules::Error> {
    published.iter().flat_map(Published::rules).collect()
}

/// What is decided about an endpoint.
struct Placed<'a> {
    network: &'a DefinedNetwork,
    mtu: Mtu,
    addresses: Vec<IpAddr>,
}

/// The endpoints that a container wants, in their places; `placed` is in the order of the wishes.
fn endpoints(
    instance: rules::Instance,
    id: AttachmentId,
    wanted: &Container,
    placed: &[Placed<'_>],
) -> Vec<AttachedEndpoint> {
    let networks: Vec<_> = placed.iter().map(|placed| placed.network).collect();
    let routes = default_routes(&networks);
    let gateways = |place| routes.iter().filter(move |(of, _)| *of == place).map(|(_, gateway)| *gateway);
    let each = wanted.endpoints().iter().zip(placed).enumerate();
    each.map(|(place, (wish, Placed { network, mtu, addresses }))| AttachedEndpoint {
        network: network.name.clone(),
        network_id: network.id,
        bridge: network.link,
        isolated: network.policy.neighbours == Neighbours::PublishedOnly,
        link: wish.wanted_link().unwrap_or_else(|| default_link(place)),
        host_link: id.host_end(place),
        host_mac: mark::of_host_end(instance, id.host_end(place)),
        mac: wish
            .wanted_mac()
            .or(mac(addresses))
            .unwrap_or_else(|| mark::of_host_end(instance, id.host_end(place))),
        mtu: *mtu,
        addresses: addresses.iter().filter_map(|a| Some(within(network.subnet_of(*a)?, *a))).collect(),
        gateways: gateways(place).collect(),
    })
    .collect()
}

fn mac(addresses: &[IpAddr]) -> Option<Mac> {
    addresses.first().map(|address| Mac::of_address(*address))
}

/// `eth0`, `eth1` ... in the order the networks were given.
fn default_link(place: usize) -> IfName {
    // Nobody has the memory for so many wishes that their number does not fit behind three letters.
    format!("eth{place}").parse().unwrap_or_else(|_| "eth".parse().expect("three letters are a name"))
}

/// Which endpoint has the default route of each family, and its gateway: of the networks that have a way out,
/// a dual-stack one first, then the first by name; IPv4 and IPv6 are chosen apart.
fn default_routes(networks: &[&DefinedNetwork]) -> Vec<(usize, IpAddr)> {
    let of_family = |v4: bool| {
        let gateway = |network: &DefinedNetwork| {
            let gateways = network.gateways().filter(|_| network.policy.gateway.leads_out());
            gateways.map(|gateway| gateway.addr()).find(|gateway| gateway.is_ipv4() == v4)
        };
        let candidates = networks.iter().enumerate().filter_map(|(i, n)| Some((i, *n, gateway(n)?)));
        candidates
            .min_by_key(|(_, network, _)| (!(network.has_ipv4() && network.has_ipv6()), network.name.clone()))
            .map(|(i, _, gateway)| (i, gateway))
    };
    [of_family(true), of_family(false)].into_iter().flatten().collect()
}

/// Whether published ports of a container on these networks are ports of the host: on routed ones they are
/// reached at the container's own address.
pub(crate) fn needs_host_ports(networks: &[&DefinedNetwork]) -> bool {
    let routes = default_routes(networks);
    let routed = |(i, _): &(usize, IpAddr)| networks[*i].policy.gateway == GatewayMode::Routed;
    routes.is_empty() || !routes.iter().all(routed)
}

/// An address that published ports lead to, and by which way.
struct Serving {
    to: OpenAddress,
    way: Way,
}

/// How a container is reached at a published port.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Way {
    /// By the host's.
    Translated,
    /// By the host's, and directly by the links that its network trusts.
    TranslatedAndTrusted,
    /// Directly.
    Routed,
}

impl Way {
    fn of(network: &DefinedNetwork) -> Self {
        match network.policy.gateway {
            GatewayMode::Routed => Self::Routed,
            GatewayMode::Nat if network.trusted().next().is_some() => Self::TranslatedAndTrusted,
            _ => Self::Translated,
        }
    }
}

/// The addresses of the endpoints with the default routes, one of each family.
fn serving(endpoints: &[AttachedEndpoint], placed: &[Placed<'_>]) -> Vec<Serving> {
    let of_family = |v4: bool| {
        let has_route = |e: &AttachedEndpoint| e.gateways.iter().any(|gateway| gateway.is_ipv4() == v4);
        let (endpoint, placed) = endpoints.iter().zip(placed).find(|(endpoint, _)| has_route(endpoint))?;
        let address = endpoint.addresses.iter().map(IpNet::addr).find(|address| address.is_ipv4() == v4)?;
        let to = OpenAddress { address, bridge: endpoint.bridge };
        Some(Serving { to, way: Way::of(placed.network) })
    };
    [of_family(true), of_family(false)].into_iter().flatten().collect()
}

/// The wish as it is granted: it leads to the addresses that are of its host address's family.
fn published(wish: &Publish, host: Option<&HostPort>, serving: &[Serving]) -> Result<Published, Error> {
    let port = wish.port().ok_or(Error::Unpublishable { publish: *wish })?;
    let leads =
        |one: &&Serving| wish.host_address().is_none_or(|at| at.is_ipv4() == one.to.address.is_ipv4());
    let serving: Vec<_> = serving.iter().filter(leads).collect();
    if serving.is_empty() {
        return Err(Error::LeadsNowhere { publish: *wish });
    }
    let by = |ways: &'static [Way]| serving.iter().filter(|one| ways.contains(&one.way)).map(|one| one.to);
    Ok(Published {
        protocol: wish.protocol(),
        port,
        host: host.map(|host| HostSide { address: host.address, port: host.port }),
        to: by(&[Way::Translated, Way::TranslatedAndTrusted]).map(|to| to.address).collect(),
        open: by(&[Way::Routed]).collect(),
        trusted: by(&[Way::TranslatedAndTrusted]).collect(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::network::{Surroundings, decide};
    use crate::{Endpoint, Network, plan};
    use links::{BridgeFacts, Link, LinkKind, Seen, Space};
    use proptest::prelude::*;

    fn network(name: &str, subnets: &[&str]) -> DefinedNetwork {
        let wanted = Network::bridge(name.parse().unwrap());
        let wanted = subnets.iter().fold(wanted, |wanted, subnet| wanted.subnet(subnet.parse().unwrap()));
        let id = NetworkId::of_default(name);
        decide(&wanted, id, id.link(), &Surroundings::default()).unwrap()
    }

    /// A host on which these networks are up, and a container with a `lo` that is down.
    fn seen(networks: &[DefinedNetwork]) -> Seen {
        let bridge = |network: &DefinedNetwork| {
            let kind = LinkKind::Bridge(BridgeFacts::default());
            (network.link.to_string(), Link { kind, mtu: 1400, up: true, ..Link::default() })
        };
        let host = Space { links: networks.iter().map(bridge).collect(), ..Space::default() };
        let lo = ("lo".to_owned(), Link { mtu: 65_536, ..Link::default() });
        let container = Some(Space { links: [lo].into(), ..Space::default() });
        let forwarding = links::Forwarding { v4: true, v6: Some(true) };
        Seen { host, container, forwarding, ..Seen::default() }
    }

    fn grant(
        wanted: &Container,
        networks: &[DefinedNetwork],
        ports: &[HostPort],
    ) -> Result<Attachment, Error> {
        let id = "00000000000000aa".parse().unwrap();
        let namespace = Namespace { cookie: Cookie::new(7), place: None };
        let addresses = wanted.endpoints().iter().map(|wish| {
            let subnets = &wish.network_among(networks).unwrap().subnets;
            subnets.iter().map(|s| s.net().hosts().nth(4).unwrap()).collect()
        });
        let addresses = addresses.collect();
        let instance = rules::Instance::default();
        let granted = Asked { instance, id, wanted, networks, ports }.granted(addresses, &seen(networks))?;
        Ok(granted.within(namespace))
    }

    fn on(networks: &[&str]) -> Container {
        let container = Container::new("web".parse().unwrap());
        networks.iter().fold(container, |c, name| c.on(Endpoint::new(name.parse().unwrap())))
    }

    #[test]
    fn links_are_named_in_the_order_of_the_networks_and_are_as_large_as_their_bridge() {
        let networks = [network("a", &["10.0.0.0/24"]), network("b", &["10.0.1.0/24"])];
        let attachment = grant(&on(&["b", "a"]), &networks, &[]).unwrap();
        let told: Vec<_> =
            attachment.endpoints.iter().map(|e| format!("{} {} {}", e.link, e.network, e.mtu)).collect();
        assert_eq!(told, ["eth0 b 1400", "eth1 a 1400"]);
        assert_eq!(attachment.endpoints[0].mac.to_string(), "02:42:0a:00:01:05");
    }

    #[test]
    fn the_default_routes_go_by_a_dual_stack_network_then_by_name_each_family_apart() {
        let check = |networks: &[DefinedNetwork], order: &[&str], expected: &str| {
            let attachment = grant(&on(order), networks, &[]).unwrap();
            let of = |e: &AttachedEndpoint| {
                e.gateways.iter().map(|g| format!("{} {g}", e.network)).collect::<Vec<_>>()
            };
            let told: Vec<_> = attachment.endpoints.iter().flat_map(of).collect();
            assert_eq!(told.join(", "), expected);
        };
        let (a, b) = (network("a", &["10.0.0.0/24"]), network("b", &["10.0.1.0/24"]));
        let both = network("z", &["10.0.2.0/24", "fd00::/64"]);
        check(&[a.clone(), b.clone()], &["b", "a"], "a 10.0.0.1");
        check(&[a, both.clone(), b], &["b", "z", "a"], "z 10.0.2.1, z fd00::1");
        check(&[both], &["z"], "z 10.0.2.1, z fd00::1");
    }

    #[test]
    fn a_port_leads_to_the_addresses_of_its_family_or_is_refused() {
        let networks = [network("a", &["10.0.0.0/24"]), network("b", &["10.0.1.0/24", "fd00::/64"])];
        let check = |order: &[&str], at: Option<&str>, expected: &str| {
            let at = at.map(|a| a.parse::<IpAddr>().unwrap());
            let publish = at.into_iter().fold(Publish::tcp(80).at(8080), Publish::on);
            let host = HostPort { protocol: Protocol::Tcp, port: Port::new(8080).unwrap(), address: at };
            let told = grant(&on(order).publish(publish), &networks, &[host]);
            assert_eq!(told.map_or_else(|e| e.to_string(), |a| a.published[0].to_string()), expected);
        };
        check(&["a"], None, "*:8080/tcp -> 10.0.0.5:80");
        check(&["a", "b"], None, "*:8080/tcp -> 10.0.1.5:80, [fd00::4]:80");
        check(&["a", "b"], Some("127.0.0.1"), "127.0.0.1:8080/tcp -> 10.0.1.5:80");
        let nowhere = "leads nowhere: the container has no default route of that family";
        check(&["a"], Some("::1"), &format!("port `[::1]:8080:80/tcp` {nowhere}"));
        check(&[], None, &format!("port `8080:80/tcp` {nowhere}"));
    }

    #[test]
    fn a_port_behind_trusted_links_is_one_of_the_containers_own_address_too() {
        let check = |mode: GatewayMode, expected: &[&str]| {
            let mut both = network("z", &["10.0.2.0/24", "fd00::/64"]);
            both.policy.gateway = mode;
            both.policy.trusted.insert("eth1".parse().unwrap());
            let host = HostPort { protocol: Protocol::Tcp, port: Port::new(8080).unwrap(), address: None };
            let granted = grant(&on(&["z"]).publish(Publish::tcp(80).at(8080)), &[both], &[host]).unwrap();
            let rules: Vec<_> = granted.rules().unwrap().iter().map(ToString::to_string).collect();
            assert_eq!(rules, expected);
        };
        let translated = ["8080/tcp -> 10.0.2.5:80", "8080/tcp -> [fd00::4]:80"];
        let bridge = NetworkId::of_default("z").link();
        let own = ["10.0.2.5:80", "[fd00::4]:80"].map(|to| format!("{to}/tcp by {bridge}"));
        let own = [own[0].as_str(), own[1].as_str()];
        check(GatewayMode::Nat, &[translated, own].concat());
        check(GatewayMode::NatUnprotected, &translated);
        check(GatewayMode::Routed, &own);
    }

    #[test]
    fn an_address_of_a_family_that_the_network_lacks_is_refused() {
        let networks = [network("a", &["10.0.0.0/24"])];
        let wish = Endpoint::new("a".parse().unwrap()).address("fd00::5".parse().unwrap());
        let refused = wish.network_among(&networks).unwrap_err();
        assert_eq!(refused.to_string(), "network `a` has no subnet for ip fd00::5");
    }

    proptest! {
        #[test]
        fn what_is_attached_and_detached_on_paper_leaves_the_host_as_it_was(order in Just(["a", "b", "z"]).prop_shuffle(), count in 0..4usize) {
            let networks = [network("a", &["10.0.0.0/24"]), network("b", &["10.0.1.0/24"]), network("z", &["10.0.2.0/24", "fd00::/64"])];
            let before = seen(&networks);
            let attachment = grant(&on(&order[..count.min(3)]), &networks, &[]).unwrap();
            let there = before.after(&plan::attach(&attachment, &before).unwrap());
            prop_assert!(plan::attach(&attachment, &there).unwrap().is_empty(), "attached is attached");
            let after = there.after(&plan::detach(&attachment, &there));
            prop_assert_eq!(after.host, before.host);
        }
    }
}
