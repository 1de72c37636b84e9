use ipnet::IpNet;
use linkspan_net_types::IfName;
use serde::{Deserialize, Serialize};
use std::net::IpAddr;

/// How the host routes: what a walk asks for where the kernel would look in its tables.
pub trait Routing {
    /// Where a packet to this address goes.
    fn route(&self, target: IpAddr) -> Route;

    /// The host's own address on this link by which it reaches the target; what masquerade takes.
    fn own(&self, link: IfName, target: IpAddr) -> Option<IpAddr>;

    /// Where a packet goes that arrives by this link, which may be refused because of its source or its link.
    ///
    /// `None`, as this default says, has it go by [`Self::route`], and a loopback address be refused but from a
    /// bridge of ours.
    fn arriving(&self, link: IfName, source: IpAddr, target: IpAddr) -> Option<Route> {
        let _ = (link, source, target);
        None
    }

    /// Where a packet of the host's own goes that has this source.
    ///
    /// `None`, as this default says, has it go by [`Self::route`].
    fn leaving(&self, source: IpAddr, target: IpAddr) -> Option<Route> {
        let _ = (source, target);
        None
    }
}

/// Where a packet goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Route {
    /// To the host itself: the address is one of its own.
    Host,
    /// Out by this link.
    Link(IfName),
    /// Nowhere: there is no route.
    Nowhere,
}

/// Routes as data: the longest prefix wins, and the loopback addresses are the host's own.
///
/// ```
/// use linkspan_nat_rules::walk::{Route, Routes, Routing};
///
/// let routes = Routes::new()
///     .with_link("ls-web".parse()?, "10.88.1.1/24".parse()?)
///     .with_link("eth0".parse()?, "192.0.2.1/24".parse()?)
///     .with_route("0.0.0.0/0".parse()?, "eth0".parse()?);
/// assert_eq!(routes.route("10.88.1.1".parse()?), Route::Host);
/// assert_eq!(routes.route("10.88.1.2".parse()?), Route::Link("ls-web".parse()?));
/// assert_eq!(routes.route("198.51.100.7".parse()?), Route::Link("eth0".parse()?));
/// assert_eq!(routes.own("eth0".parse()?, "198.51.100.7".parse()?), Some("192.0.2.1".parse()?));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Routes {
    own: Vec<(IfName, IpNet)>,
    routes: Vec<(IpNet, IfName)>,
}

impl Routes {
    /// No routes but the loopback addresses.
    pub const fn new() -> Self {
        Self { own: Vec::new(), routes: Vec::new() }
    }

    /// The same with a link that has this address, and the route to its subnet.
    #[must_use]
    pub fn with_link(mut self, link: IfName, address: IpNet) -> Self {
        self.own.push((link, address));
        self.routes.push((address.trunc(), link));
        self
    }

    /// The same with one more route.
    #[must_use]
    pub fn with_route(mut self, to: IpNet, link: IfName) -> Self {
        self.routes.push((to.trunc(), link));
        self
    }
}

impl Routing for Routes {
    fn route(&self, target: IpAddr) -> Route {
        if target.is_loopback() || self.own.iter().any(|(_, own)| own.addr() == target) {
            return Route::Host;
        }
        let matching = self.routes.iter().filter(|(to, _)| to.contains(&target));
        matching.max_by_key(|(to, _)| to.prefix_len()).map_or(Route::Nowhere, |(_, link)| Route::Link(*link))
    }

    fn own(&self, link: IfName, target: IpAddr) -> Option<IpAddr> {
        let on_link = || self.own.iter().filter(|(name, _)| *name == link).map(|(_, own)| own);
        let near = on_link().find(|own| own.contains(&target));
        let family = || on_link().find(|own| own.addr().is_ipv4() == target.is_ipv4());
        near.or_else(family).map(IpNet::addr)
    }
}
