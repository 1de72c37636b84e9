//! The writing of a plan.

use crate::address::link_local;
use crate::paper::default_route;
use crate::{
    AddressGeneration, Bridge, Group, Link, Original, Place, Plan, PortFlags, Seen, Side, Step, Veth,
};
use ipnet::IpNet;
use linkspan_net_types::{IfName, Mac, Mtu};

/// Steps, and what would be seen after them: each step is only taken where it changes that.
pub(crate) struct Draft {
    seen: Seen,
    steps: Vec<Step>,
}

impl From<&Seen> for Draft {
    fn from(seen: &Seen) -> Self {
        Self { seen: seen.clone(), steps: Vec::new() }
    }
}

impl Draft {
    pub(crate) fn plan(self) -> Plan {
        self.steps.into()
    }

    pub(crate) const fn is_empty(&self) -> bool {
        self.steps.is_empty()
    }

    pub(crate) fn push(&mut self, step: Step) {
        self.seen.take(&step);
        self.steps.push(step);
    }

    pub(crate) fn link(&self, at: &Place) -> Option<&Link> {
        let space = match at.side {
            Side::Host => Some(&self.seen.host),
            Side::Container => self.seen.container.as_ref(),
        };
        space?.links.get(at.link.as_str())
    }

    fn push_where(&mut self, at: Place, differs: impl FnOnce(&Link) -> bool, step: Step) {
        if self.link(&at).is_some_and(differs) {
            self.push(step);
        }
    }

    /// The host end is up before the container's: what it still lacks would otherwise be seen from inside.
    pub(crate) fn host_end(&mut self, wanted: &Veth) {
        let host = wanted.host();
        let at = Place::host(*host.name());
        self.in_line(at, host.mac(), wanted.mtu(), wanted.group());
        self.stop_automatic_ipv6(at);
        if let Some(port) = host.bridge_port() {
            let (port, bridge) = (*host.name(), *port.bridge());
            self.push_where(
                at,
                |l| l.master.as_deref() != Some(bridge.as_str()),
                Step::Join { port, bridge },
            );
            let flags = self.port_flags(wanted);
            self.push_where(at, |link| link.port != Some(flags), Step::SetPort { port, flags });
        }
        self.set_up(at);
        self.add_addresses_with_link_local(at, host.addresses(), host.mac());
    }

    pub(crate) fn inside_end(&mut self, wanted: &Veth) {
        let inside = wanted.inside();
        let at = Place::container(*inside.name());
        self.set_up(Place::container("lo".parse().expect("two letters are a name")));
        let (mac, mtu) = (inside.mac(), wanted.mtu());
        self.push_where(at, |link| link.mac != Some(mac), Step::SetMac { at, mac });
        self.push_where(at, |link| link.mtu != mtu.get(), Step::SetMtu { at, mtu });
        self.stop_automatic_ipv6(at);
        self.set_up(at);
        self.add_addresses_with_link_local(at, inside.addresses(), inside.mac());
        for gateway in inside.gateways() {
            let route = default_route(inside.name(), gateway);
            if self.seen.container.as_ref().is_some_and(|space| !space.default_routes.contains(&route)) {
                self.push(Step::AddDefaultRoute { link: *inside.name(), gateway });
            }
        }
    }

    /// With bridge netfilter on, a translated packet leaves by the port it came in by, and an isolated port
    /// would lose what its neighbours' published ports answer; with it off, isolation is the bridge's to do.
    fn port_flags(&self, wanted: &Veth) -> PortFlags {
        let Some(port) = wanted.host().bridge_port() else { return PortFlags::default() };
        let hairpin = self.seen.calls_iptables(port.bridge());
        PortFlags { hairpin, isolated: port.is_isolated() && !hairpin }
    }

    pub(crate) fn in_line(&mut self, at: Place, mac: Mac, mtu: Mtu, group: Option<Group>) {
        self.push_where(at, |link| link.mac != Some(mac), Step::SetMac { at, mac });
        self.push_where(at, |link| link.mtu != mtu.get(), Step::SetMtu { at, mtu });
        if let Some(group) = group {
            self.push_where(at, |link| link.group != Some(group), Step::SetGroup { at, group });
        }
    }

    pub(crate) fn stop_automatic_ipv6(&mut self, at: Place) {
        let automatic = |link: &Link| link.ipv6.is_some_and(|v6| v6.generation != AddressGeneration::None);
        self.push_where(at, automatic, Step::StopAutomaticIpv6 { at });
    }

    pub(crate) fn ignore_routers(&mut self, link: IfName) {
        let hears = |link: &Link| link.ipv6.is_some_and(|v6| v6.hears_routers);
        self.push_where(Place::host(link), hears, Step::IgnoreRouters { link });
    }

    pub(crate) fn route_localnet(&mut self, link: IfName, on: bool) {
        let off = |link: &Link| on && !link.route_localnet;
        self.push_where(Place::host(link), off, Step::SetRouteLocalnet { link, on });
    }

    pub(crate) fn set_up(&mut self, at: Place) {
        self.push_where(at, |link| !link.up, Step::SetUp { at });
    }

    pub(crate) fn add_addresses(&mut self, at: Place, addresses: &[IpNet]) {
        for &address in addresses {
            self.push_where(at, |link| !link.addresses.contains(&address), Step::AddAddress { at, address });
        }
    }

    /// IPv6 needs a link-local address, which the kernel does not make here.
    pub(crate) fn add_addresses_with_link_local(&mut self, at: Place, addresses: &[IpNet], mac: Mac) {
        self.add_addresses(at, addresses);
        if addresses.iter().any(|address| matches!(address, IpNet::V6(_))) {
            self.add_addresses(at, &[link_local(mac).into()]);
        }
    }

    /// Takes away what was added. What else differs by now is its owner's doing; and it stays up, for what may hang
    /// on it meanwhile.
    pub(crate) fn give_back(&mut self, wanted: &Bridge, original: &Original) {
        let link = *wanted.name();
        let at = Place::host(link);
        for &address in
            wanted.addresses().iter().rev().filter(|address| !original.addresses.contains(address))
        {
            self.push_where(
                at,
                |link| link.addresses.contains(&address),
                Step::RemoveAddress { at, address },
            );
        }
        let ours = wanted.route_localnet() && !original.route_localnet;
        let off = Step::SetRouteLocalnet { link, on: false };
        self.push_where(at, |link| ours && link.route_localnet, off);
    }
}
