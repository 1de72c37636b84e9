//! Where one machine sends packets, and from which address, as its kernel would.

use super::{Doubt, Obstacle, Place};
use ipnet::IpNet;
use linkspan_nat_rules::walk::{Route, Routing, Walk};
use linkspan_net_types::IfName;
use linkspan_veth_bridge::survey::{LinkAddress, Lookup, PolicyRule, RouteKind, Survey, TableRoute};
use std::net::{IpAddr, Ipv6Addr};

/// `RT_SCOPE_LINK` and `RT_SCOPE_HOST` of `linux/rtnetlink.h`.
const SCOPE_LINK: u8 = 253;
const SCOPE_HOST: u8 = 254;

/// Why a packet goes no further.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Stop {
    By(Obstacle),
    Untold(Doubt),
}

/// The routes of one machine.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Routed<'a> {
    pub(crate) at: &'a Place,
    pub(crate) survey: &'a Survey,
}

impl Routing for Routed<'_> {
    fn route(&self, target: IpAddr) -> Route {
        self.sending(target).and_then(|route| self.leads(route)).unwrap_or(Route::Nowhere)
    }

    fn own(&self, link: IfName, target: IpAddr) -> Option<IpAddr> {
        let next = self.sending(target).ok().and_then(|route| route.gateway).unwrap_or(target);
        match target {
            IpAddr::V4(_) => self.select_v4(Some(link.as_str()), Some(next)),
            IpAddr::V6(target) => self.select_v6(Some(link.as_str()), target),
        }
    }

    fn arriving(&self, link: IfName, source: IpAddr, target: IpAddr) -> Option<Route> {
        Some(self.taking(link, source, target).unwrap_or(Route::Nowhere))
    }

    fn leaving(&self, source: IpAddr, target: IpAddr) -> Option<Route> {
        let route = self.find(None, Some(source), target).and_then(|route| self.leads(route));
        Some(route.unwrap_or(Route::Nowhere))
    }
}

impl<'a> Routed<'a> {
    /// The route by which the machine itself sends to the target, before it has chosen a source.
    pub(crate) fn sending(&self, target: IpAddr) -> Result<&'a TableRoute, Stop> {
        self.find(None, None, target)
    }

    /// The route by which a packet left, whether it came by a link or is the machine's own.
    pub(crate) fn taken(&self, walked: &Walk) -> Result<&'a TableRoute, Stop> {
        let (packet, link) = (walked.packet(), walked.packet().link());
        self.find(link.as_ref().map(IfName::as_str), Some(packet.source()), walked.target())
    }

    /// The next hop of a packet: its target itself where that is on the link.
    pub(crate) fn next_hop(&self, walked: &Walk) -> IpAddr {
        self.taken(walked).ok().and_then(|route| route.gateway).unwrap_or_else(|| walked.target())
    }

    /// Whether it can ask for its neighbours on a link, to send them something with this source (`ndisc_solicit`
    /// of `net/ipv6/ndisc.c`); IPv4 asks from any address or none.
    pub(crate) fn asks_on(&self, link: IfName, source: IpAddr) -> Result<(), Stop> {
        let (at, name) = (self.at.clone(), link.as_str());
        let fits = |own: &LinkAddress| match own.address {
            IpAddr::V6(address) => address.is_unicast_link_local() || own.address == source,
            IpAddr::V4(_) => false,
        };
        let mut own = self.survey.addresses.iter().filter(|own| own.link == name && !own.tentative);
        match source.is_ipv4() || own.any(fits) {
            true => Ok(()),
            false => Err(Stop::By(Obstacle::Unaddressed { at, link: name.to_owned() })),
        }
    }

    /// The source that the machine's kernel gives a packet of its own to the target.
    pub(crate) fn source(&self, target: IpAddr) -> Result<IpAddr, Stop> {
        let route = self.sending(target)?;
        self.leads(route)?;
        let (own, link) = (route.kind == RouteKind::Local, route.link.as_deref());
        let chosen = match target {
            _ if route.source.is_some() => route.source,
            IpAddr::V4(_) if own => Some(target),
            IpAddr::V4(_) => self.select_v4(link, route.gateway),
            IpAddr::V6(target) => self.select_v6(link, target),
        };
        chosen.ok_or_else(|| self.no_route(target))
    }

    /// Where a packet goes that arrives by this link, or why it does not (`ip_route_input_slow` of
    /// `net/ipv4/route.c`, `ip6_rcv_core` and `ip6_forward`).
    pub(crate) fn taking(&self, link: IfName, source: IpAddr, target: IpAddr) -> Result<Route, Stop> {
        let name = link.as_str();
        self.admits(name, source)?;
        self.admits_loopback(name, target)?;
        let route = self.find(Some(name), Some(source), target)?;
        self.returns(name, source)?;
        let leads = self.leads(route)?;
        match leads {
            Route::Link(_) => self.passes_on(name, target).map(|()| leads),
            _ => Ok(leads),
        }
    }

    /// Why a packet goes no further that arrives by a link, or is the machine's own.
    pub(crate) fn refusal(&self, link: Option<IfName>, source: IpAddr, target: IpAddr) -> Stop {
        let route = match link {
            Some(link) => self.taking(link, source, target),
            None => self.find(None, Some(source), target).and_then(|route| self.leads(route)),
        };
        route.err().unwrap_or_else(|| self.no_route(target))
    }

    /// Whether a source may arrive by a link.
    fn admits(&self, link: &str, source: IpAddr) -> Result<(), Stop> {
        self.admits_loopback(link, source)?;
        let own = source.is_ipv4() && self.survey.addresses.iter().any(|own| own.address == source);
        let accepts = self.survey.settings.accept_local || self.is(link, |link| link.accept_local);
        if own && !accepts { Err(self.martian(link, source)) } else { Ok(()) }
    }

    fn admits_loopback(&self, link: &str, address: IpAddr) -> Result<(), Stop> {
        let routed = self.survey.settings.route_localnet || self.is(link, |link| link.route_localnet);
        let admitted = !address.is_loopback() || (address.is_ipv4() && routed);
        if admitted { Ok(()) } else { Err(self.martian(link, address)) }
    }

    /// Whether a packet of this source may leave by a link: one from a loopback address stays on the machine.
    pub(crate) fn lets_out(&self, link: IfName, source: IpAddr) -> Result<(), Stop> {
        self.admits_loopback(link.as_str(), source)
    }

    /// `rp_filter`.
    fn returns(&self, link: &str, source: IpAddr) -> Result<(), Stop> {
        let own = self.survey.links.get(link).map_or(0, |link| link.rp_filter);
        let filter = own.max(self.survey.settings.rp_filter);
        if filter == 0 || source.is_ipv6() {
            return Ok(());
        }
        let back = match self.find(None, None, source) {
            Err(Stop::Untold(doubt)) => return Err(Stop::Untold(doubt)),
            back => back.ok().filter(|back| back.kind == RouteKind::Unicast),
        };
        let same = |back: &TableRoute| filter != 1 || back.link.as_deref() == Some(link);
        match back.is_some_and(same) {
            true => Ok(()),
            false => {
                let (at, link) = (self.at.clone(), link.to_owned());
                Err(Stop::By(Obstacle::ReversePath { at, link, source }))
            }
        }
    }

    fn passes_on(&self, link: &str, target: IpAddr) -> Result<(), Stop> {
        let settings = &self.survey.settings;
        let setting = match target {
            IpAddr::V4(_) if self.is(link, |link| link.forwarding) => return Ok(()),
            IpAddr::V4(_) if settings.forwarding_v4 => format!("net.ipv4.conf.{link}.forwarding"),
            IpAddr::V4(_) => "net.ipv4.ip_forward".to_owned(),
            IpAddr::V6(_) if settings.forwarding_v6 => return Ok(()),
            IpAddr::V6(_) => "net.ipv6.conf.all.forwarding".to_owned(),
        };
        Err(Stop::By(Obstacle::ForwardingOff { at: self.at.clone(), setting }))
    }

    fn is(&self, link: &str, what: impl Fn(&linkspan_veth_bridge::survey::SurveyedLink) -> bool) -> bool {
        self.survey.links.get(link).is_some_and(what)
    }

    fn martian(&self, link: &str, address: IpAddr) -> Stop {
        Stop::By(Obstacle::Martian { at: self.at.clone(), link: link.to_owned(), address })
    }

    fn no_route(&self, to: IpAddr) -> Stop {
        Stop::By(Obstacle::NoRoute { at: self.at.clone(), to })
    }

    /// Where a route leads.
    fn leads(&self, route: &TableRoute) -> Result<Route, Stop> {
        match route.kind {
            RouteKind::Local | RouteKind::Anycast => Ok(Route::Host),
            RouteKind::Unicast => {
                let link = route.link.as_ref().and_then(|link| link.parse().ok());
                let untold = || Doubt::Route { at: self.at.clone(), route: route.to_string() };
                link.map(Route::Link).ok_or_else(|| Stop::Untold(untold()))
            }
            _ => Err(Stop::By(Obstacle::Unreachable { at: self.at.clone(), route: route.to_string() })),
        }
    }

    /// The route that the rules of routing lead to.
    fn find(
        &self,
        input: Option<&str>,
        source: Option<IpAddr>,
        target: IpAddr,
    ) -> Result<&'a TableRoute, Stop> {
        for rule in self.survey.rules.iter().filter(|rule| rule.v6 == target.is_ipv6()) {
            let found = match rule.lookup {
                Lookup::Table(table) => self.best(table, target),
                Lookup::Other(_) => None,
            };
            match (is_for(rule, input, source, target), rule.lookup, found) {
                (Some(false), ..) | (_, Lookup::Table(_), None) => {}
                (Some(true), Lookup::Table(_), Some(route)) if route.conditional => {
                    return Err(Stop::Untold(Doubt::Route { at: self.at.clone(), route: route.to_string() }));
                }
                (Some(true), Lookup::Table(_), Some(route)) => return Ok(route),
                _ => return Err(Stop::Untold(Doubt::Policy { at: self.at.clone(), rule: rule.to_string() })),
            }
        }
        Err(self.no_route(target))
    }

    /// The route of a table: the longest prefix, then the lowest metric.
    fn best(&self, table: u32, target: IpAddr) -> Option<&'a TableRoute> {
        let matching =
            self.survey.routes.iter().filter(|r| r.table == table && r.destination.contains(&target));
        let rank = |route: &&TableRoute| (u8::MAX - route.destination.prefix_len(), route.metric);
        matching.min_by_key(rank).filter(|route| route.kind != RouteKind::Throw)
    }

    /// `inet_select_addr` of `net/ipv4/devinet.c`.
    fn select_v4(&self, link: Option<&str>, next: Option<IpAddr>) -> Option<IpAddr> {
        let first = |a: &&LinkAddress| a.address.is_ipv4() && !a.secondary && a.scope < SCOPE_HOST;
        let all = || self.survey.addresses.iter().filter(first);
        let near = || all().filter(|a| Some(a.link.as_str()) == link);
        let reaching = near().find(|a| next.is_none_or(|next| a.reaches.contains(&next)));
        let elsewhere = || all().find(|a| a.scope < SCOPE_LINK);
        reaching.or_else(|| near().next()).or_else(elsewhere).map(|a| a.address)
    }

    /// `ipv6_dev_get_saddr` of `net/ipv6/addrconf.c` (RFC 6724).
    fn select_v6(&self, link: Option<&str>, target: Ipv6Addr) -> Option<IpAddr> {
        let mut best: Option<(Rank, IpAddr)> = None;
        for own in self.survey.addresses.iter().filter(|own| !own.tentative) {
            let IpAddr::V6(address) = own.address else { continue };
            let rank = Rank::of(address, own, link, target);
            // Of equals, the first.
            if best.is_none_or(|(other, _)| rank > other) {
                best = Some((rank, own.address));
            }
        }
        best.map(|(_, address)| address)
    }
}

/// Whether a rule is for a packet; `None` where that hangs on something that is not known.
fn is_for(rule: &PolicyRule, input: Option<&str>, source: Option<IpAddr>, target: IpAddr) -> Option<bool> {
    // A packet of the machine's own is looked up without a source, to find one, and then with it.
    let from = rule.from.is_none_or(|from| source.is_some_and(|source| from.contains(&source)));
    let to = rule.to.is_none_or(|to| to.contains(&target));
    let by = rule.input.as_deref().is_none_or(|link| link == input.unwrap_or("lo"));
    match (rule.conditional, from && to && by) {
        (true, _) => None,
        (false, is_for) => Some(is_for),
    }
}

/// How well an IPv6 address suits, by the rules of RFC 6724 in their order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Rank {
    same: bool,
    scope: i16,
    fresh: bool,
    near: bool,
    label: bool,
    common: u8,
}

impl Rank {
    fn of(address: Ipv6Addr, own: &LinkAddress, link: Option<&str>, target: Ipv6Addr) -> Self {
        let (here, there) = (scope(address), scope(target));
        let common = (u128::from(address) ^ u128::from(target)).leading_zeros();
        Self {
            same: address == target,
            // One as wide as the target's or wider, the narrowest first; else the widest.
            scope: if here >= there { i16::from(there) - i16::from(here) + 64 } else { i16::from(here) - 64 },
            fresh: !own.deprecated,
            near: Some(own.link.as_str()) == link,
            label: label(address) == label(target),
            common: u8::try_from(common).unwrap_or(u8::MAX).min(own.reaches.prefix_len()),
        }
    }
}

/// The scopes of RFC 4291, of unicast addresses.
fn scope(address: Ipv6Addr) -> u8 {
    if address.is_loopback() || address.is_unicast_link_local() { 2 } else { 14 }
}

/// `ip6addrlbl_init_table` of `net/ipv6/addrlabel.c`.
fn label(address: Ipv6Addr) -> u8 {
    const TABLE: [(&str, u8); 9] = [
        ("::1/128", 0),
        ("::ffff:0:0/96", 4),
        ("::/96", 3),
        ("2001:10::/28", 7),
        ("2001::/32", 6),
        ("2002::/16", 2),
        ("3ffe::/16", 12),
        ("fec0::/10", 11),
        ("fc00::/7", 5),
    ];
    let within = |text: &str| text.parse().is_ok_and(|net: IpNet| net.contains(&IpAddr::V6(address)));
    TABLE.iter().find(|(net, _)| within(net)).map_or(1, |(_, label)| *label)
}

#[cfg(test)]
mod tests;
