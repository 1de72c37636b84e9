//! What the kernel would make of a step, on paper.

use crate::{
    AddressGeneration, BridgeFacts, Family, Ipv6Setup, Link, LinkKind, Place, Plan, PortFlags, Route, Seen,
    Side, Space, Step,
};
use ipnet::{IpNet, Ipv4Net, Ipv6Net};
use linkspan_net_types::{IfName, Mac, Mtu};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// The metric that the kernel gives an IPv6 route without one (`IP6_RT_PRIO_USER`).
const METRIC_V6: u32 = 1024;

impl Seen {
    /// What would be seen once this plan had been performed.
    ///
    /// A step that the kernel would refuse because its link is not there changes nothing. A container that
    /// was not looked at stays unknown. What the kernel does later by itself is left out: an adopted bridge gets its
    /// own link-local address once it has a carrier.
    ///
    /// ```
    /// use linkspan_veth_bridge::{Bridge, Mac, Mtu, Seen, plan};
    ///
    /// let bridge = Bridge::new("br-web".parse()?, Mac::of_address("10.88.0.1".parse()?), Mtu::ETHERNET);
    /// let before = Seen::default();
    /// let made = before.after(&plan::bridge(&bridge, &before)?);
    /// assert!(made.host.links["br-web"].up);
    /// assert_eq!(made.after(&plan::remove_bridge(&bridge, &made)), before);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn after(&self, plan: &Plan) -> Self {
        let mut seen = self.clone();
        plan.steps().iter().for_each(|step| seen.take(step));
        seen
    }

    /// Writes one step down.
    pub(crate) fn take(&mut self, step: &Step) {
        match step {
            Step::CreateBridge { .. } | Step::CreateVeth { .. } => self.create(step),
            Step::DeleteBridge { .. } | Step::DeleteVeth { .. } | Step::DeleteGroup { .. } => {
                self.delete(step);
            }
            Step::AddDefaultRoute { link, gateway } | Step::ReplaceDefaultRoute { link, gateway } => {
                self.route(link, *gateway);
            }
            Step::EnableForwarding { family: Family::V4 } => self.forwarding.v4 = true,
            Step::EnableForwarding { family: Family::V6 } => {
                self.forwarding.v6 = self.forwarding.v6.map(|_| true);
            }
            Step::Join { port, bridge } => self.join(port, bridge),
            _ => self.configure(step),
        }
    }

    fn create(&mut self, step: &Step) {
        let ipv6 = |mtu: Mtu| (self.has_ipv6() && mtu.carries_ipv6()).then_some(Ipv6Setup::DEFAULT);
        match *step {
            Step::CreateBridge { name, mac, group } => {
                let kind = LinkKind::Bridge(BridgeFacts::default());
                let ipv6 = ipv6(Mtu::ETHERNET);
                let link = Link { group, ipv6, ..Link::fresh(kind, mac, Mtu::ETHERNET) };
                self.host.links.insert(name.to_string(), link);
            }
            Step::CreateVeth { host, host_mac, inside, inside_mac, mtu, group, bridge } => {
                let ipv6 = ipv6(mtu);
                let end = |mac| Link { ipv6, ..Link::fresh(LinkKind::Veth, mac, mtu) };
                self.host.links.insert(host.to_string(), Link { group, ..end(host_mac) });
                if let Some(space) = &mut self.container {
                    space.links.insert(inside.to_string(), end(inside_mac));
                }
                if let Some(bridge) = bridge {
                    self.join(&host, &bridge);
                }
            }
            _ => {}
        }
    }

    fn delete(&mut self, step: &Step) {
        match step {
            Step::DeleteBridge { name } => {
                self.host.links.remove(name.as_str());
                for port in
                    self.host.links.values_mut().filter(|p| p.master.as_deref() == Some(name.as_str()))
                {
                    (port.master, port.port) = (None, None);
                }
            }
            Step::DeleteVeth { host, inside } => {
                self.delete_from_host(host.as_str());
                if let Some(space) = &mut self.container {
                    space.links.remove(inside.as_str());
                    space.default_routes.retain(|route| route.link.as_deref() != Some(inside.as_str()));
                }
            }
            Step::DeleteGroup { group } => {
                let members = self.host.links.iter().filter(|(_, link)| link.group == Some(*group));
                let names: Vec<_> = members.map(|(name, _)| name.clone()).collect();
                names.iter().for_each(|name| self.delete_from_host(name));
            }
            _ => {}
        }
    }

    fn delete_from_host(&mut self, name: &str) {
        let Some(link) = self.host.links.remove(name) else { return };
        if let Some(ports) = link.master.and_then(|master| self.host.ports_of(&master)) {
            *ports = ports.saturating_sub(1);
        }
    }

    fn join(&mut self, port: &IfName, bridge: &IfName) {
        let Some(link) = self.host.links.get_mut(port.as_str()) else { return };
        let before = link.master.replace(bridge.to_string());
        link.port = Some(PortFlags::default());
        if let Some(ports) = before.and_then(|master| self.host.ports_of(&master)) {
            *ports = ports.saturating_sub(1);
        }
        if let Some(ports) = self.host.ports_of(bridge.as_str()) {
            *ports += 1;
        }
    }

    fn route(&mut self, link: &IfName, gateway: IpAddr) {
        let Some(space) = &mut self.container else { return };
        let route = default_route(link, gateway);
        space.default_routes.retain(|r| (r.destination, r.metric) != (route.destination, route.metric));
        space.default_routes.insert(route);
    }

    fn configure(&mut self, step: &Step) {
        let Some(at) = step.place() else { return };
        let Some(link) = self.link_mut(&at) else { return };
        match step {
            Step::SetGroup { group, .. } => link.group = Some(*group),
            Step::SetMac { mac, .. } => link.mac = Some(*mac),
            Step::SetMtu { mtu, .. } => link.resize(*mtu),
            Step::SetUp { .. } => link.switch_on(&at.link),
            Step::SetDown { .. } => link.switch_off(),
            Step::SetPort { flags, .. } => link.port = Some(*flags),
            Step::SetRouteLocalnet { on, .. } => link.route_localnet = *on,
            Step::StopAutomaticIpv6 { .. } => {
                link.set_up_ipv6(|ipv6| ipv6.generation = AddressGeneration::None);
            }
            Step::IgnoreRouters { .. } => link.set_up_ipv6(|ipv6| ipv6.hears_routers = false),
            Step::AddAddress { address, .. } => drop(link.addresses.insert(*address)),
            Step::RemoveAddress { address, .. } => drop(link.addresses.remove(address)),
            _ => {}
        }
        if matches!(step, Step::SetMtu { .. }) && link.ipv6.is_none() && link.mtu >= 1280 && self.has_ipv6() {
            self.link_mut(&at).into_iter().for_each(|link| link.ipv6 = Some(Ipv6Setup::DEFAULT));
        }
    }

    fn link_mut(&mut self, at: &Place) -> Option<&mut Link> {
        let space = match at.side {
            Side::Host => Some(&mut self.host),
            Side::Container => self.container.as_mut(),
        };
        space?.links.get_mut(at.link.as_str())
    }
}

impl Space {
    fn ports_of(&mut self, bridge: &str) -> Option<&mut usize> {
        match &mut self.links.get_mut(bridge)?.kind {
            LinkKind::Bridge(facts) => facts.ports.as_mut(),
            _ => None,
        }
    }
}

impl Link {
    fn fresh(kind: LinkKind, mac: Mac, mtu: Mtu) -> Self {
        Self { kind, mac: Some(mac), mtu: mtu.get(), ..Self::default() }
    }

    fn set_up_ipv6(&mut self, set: impl FnOnce(&mut Ipv6Setup)) {
        if let Some(ipv6) = &mut self.ipv6 {
            set(ipv6);
        }
    }

    /// The kernel takes IPv6 off a link that has become too small for it.
    fn resize(&mut self, mtu: Mtu) {
        self.mtu = mtu.get();
        if !mtu.carries_ipv6() {
            self.ipv6 = None;
            self.addresses.retain(|address| matches!(address, IpNet::V4(_)));
        }
    }

    fn switch_on(&mut self, name: &IfName) {
        if std::mem::replace(&mut self.up, true) {
            return;
        }
        if name.as_str() == "lo" {
            self.addresses.insert(Ipv4Net::new_assert(Ipv4Addr::LOCALHOST, 8).into());
            self.addresses
                .extend(self.ipv6.map(|_| IpNet::from(Ipv6Net::new_assert(Ipv6Addr::LOCALHOST, 128))));
        }
    }

    /// The kernel forgets the IPv6 addresses of a link that is switched off, and keeps those of IPv4.
    fn switch_off(&mut self) {
        self.up = false;
        self.addresses.retain(|address| matches!(address, IpNet::V4(_)));
    }
}

impl Step {
    /// The link that it configures.
    pub(crate) const fn place(&self) -> Option<Place> {
        match self {
            Self::SetGroup { at, .. }
            | Self::SetMac { at, .. }
            | Self::SetMtu { at, .. }
            | Self::SetUp { at }
            | Self::SetDown { at }
            | Self::StopAutomaticIpv6 { at }
            | Self::AddAddress { at, .. }
            | Self::RemoveAddress { at, .. } => Some(*at),
            Self::SetPort { port: link, .. }
            | Self::Join { port: link, .. }
            | Self::SetRouteLocalnet { link, .. }
            | Self::IgnoreRouters { link } => Some(Place::host(*link)),
            Self::AddDefaultRoute { link, .. } | Self::ReplaceDefaultRoute { link, .. } => {
                Some(Place::container(*link))
            }
            _ => None,
        }
    }
}

/// The default route by this gateway, as the kernel will list it.
pub(crate) fn default_route(link: &IfName, gateway: IpAddr) -> Route {
    let (destination, metric) = match gateway {
        IpAddr::V4(_) => (IpNet::V4(Ipv4Net::default()), 0),
        IpAddr::V6(_) => (IpNet::V6(Ipv6Net::default()), METRIC_V6),
    };
    Route { destination, gateway: Some(gateway), link: Some(link.to_string()), metric }
}
