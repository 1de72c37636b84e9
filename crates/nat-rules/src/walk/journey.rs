use super::packet::{Connection, Way};
use super::{Carried, Exit, Packet, Route, Routing, RuleRef, Rules, Source, State, Verdict, Walk};
use crate::netfilter::{Hook, Layer, Link, Nat, Stage, priority};
use linkspan_net_types::{IfName, Port};
use std::net::IpAddr;
use std::ops::RangeInclusive;

/// The chains of a hook before a translation of the target, with that which translates it, and those behind.
const BEFORE_TARGET: RangeInclusive<i32> = i32::MIN..=priority::TARGET;
const BEHIND_TARGET: RangeInclusive<i32> = priority::TARGET + 1..=i32::MAX;
/// The same of the source.
const BEFORE_SOURCE: RangeInclusive<i32> = i32::MIN..=priority::SOURCE;
const BEHIND_SOURCE: RangeInclusive<i32> = priority::SOURCE + 1..=i32::MAX;
const ALL: RangeInclusive<i32> = i32::MIN..=i32::MAX;

/// A packet under way, in the order of hooks of `net/ipv4/ip_input.c`, `ip_forward.c` and `ip_output.c`.
pub(super) struct Journey<'a> {
    rules: &'a Rules,
    routing: &'a dyn Routing,
    packet: Packet,
    /// What is left of it to be known and done.
    source: Source,
    /// What it was masqueraded with, where that is known.
    masqueraded: Option<IpAddr>,
    target: IpAddr,
    carried: Carried,
    published: bool,
    hidden: bool,
    /// The kernel still has to decide on the translation of the target.
    asks_target: bool,
    trace: Vec<RuleRef>,
    stages: Vec<Stage>,
    /// A rule that may have stopped it.
    doubt: Option<RuleRef>,
}

/// A hook with the links that a packet has there.
#[derive(Clone, Copy)]
struct At(Hook, Link, Link);

impl<'a> Journey<'a> {
    pub(super) fn of(rules: &'a Rules, packet: &Packet, routing: &'a dyn Routing) -> Self {
        let Packet { source, target, carried, connection, .. } = *packet;
        Self {
            rules,
            routing,
            packet: *packet,
            source: Source::Kept(source),
            masqueraded: None,
            target,
            carried,
            published: connection.published,
            hidden: connection.hidden,
            asks_target: connection.state == State::New && !connection.decided,
            trace: Vec::new(),
            stages: Vec::new(),
            doubt: None,
        }
    }

    pub(super) fn finish(mut self) -> Walk {
        let exit = match (self.packet.from, self.packet.way) {
            (None, _) => self.leave_host(),
            (Some(link), Way::Routed { filtered }) => self.come_in(link, filtered),
            (Some(link), Way::Bridged { filtered }) => self.cross(link, filtered),
        };
        let named = |stage: &Stage| [stage.input.name(), stage.output.name()];
        let mut bridges: Vec<_> = self.stages.iter().flat_map(named).flatten().collect();
        bridges.retain(|link| self.rules.has_bridge(*link));
        let verdict = match (exit, self.doubt) {
            (Ok(_), Some(doubt)) => Verdict::CannotTell(doubt),
            (Ok(exit), None) => Verdict::Passes(exit),
            (Err(verdict), _) => verdict,
        };
        Walk {
            packet: self.packet,
            verdict,
            trace: self.trace,
            source: self.source,
            target: self.target,
            carried: self.carried,
            published: self.published,
            stages: self.stages,
            bridges,
        }
    }

    /// From a link, to the host or to be passed on.
    fn come_in(&mut self, link: IfName, filtered: bool) -> Result<Exit, Verdict> {
        let input = Link::Named(link);
        let bridge = self.rules.has_bridge(link);
        if bridge {
            self.frame(At(Hook::Prerouting, Link::Unknown, Link::Absent))?;
        }
        if bridge && filtered {
            self.lead(At(Hook::Prerouting, input, Link::Absent))?;
            if self.is_turned_back(link) {
                return self.leave_bridge(link, filtered);
            }
            self.come_through(link)?;
        } else {
            if bridge {
                self.frame(At(Hook::Input, Link::Unknown, Link::Absent))?;
            }
            self.see(At(Hook::Ingress, input, Link::Absent), ALL, false)?;
            self.lead(At(Hook::Prerouting, input, Link::Absent))?;
        }
        self.take(link)
    }

    /// From a bridge to the host, where the rules of packets have seen it already.
    fn come_through(&mut self, link: IfName) -> Result<(), Verdict> {
        self.frame(At(Hook::Input, Link::Unknown, Link::Absent))?;
        self.see(At(Hook::Ingress, Link::Named(link), Link::Absent), ALL, false).map(|_| ())
    }

    /// What is translated while it is a frame, to a target behind the same bridge, does not leave the bridge
    /// (`br_nf_pre_routing_finish` of `net/bridge/br_netfilter_hooks.c`); of IPv4 only where it would be passed on.
    fn is_turned_back(&self, link: IfName) -> bool {
        let route = match self.target {
            IpAddr::V4(_) => self.routing.arriving(link, self.packet.source, self.target),
            IpAddr::V6(_) => None,
        };
        let route = route.unwrap_or_else(|| self.routing.route(self.target));
        self.target != self.packet.target && route == Route::Link(link)
    }

    fn take(&mut self, link: IfName) -> Result<Exit, Verdict> {
        let route = match self.routing.arriving(link, self.packet.source, self.target) {
            Some(route) => route,
            None if self.is_martian(link) => Route::Nowhere,
            None => self.routing.route(self.target),
        };
        match route {
            Route::Nowhere => Err(Verdict::NoRoute(self.target)),
            Route::Host => self.arrive(link),
            Route::Link(output) => self.pass_on(link, output),
        }
    }

    /// A loopback address is not taken from a link, but one of IPv4 from a bridge of ours: it has
    /// `route_localnet` for the answers to the host's own 127.0.0.1.
    fn is_martian(&self, link: IfName) -> bool {
        self.target.is_loopback() && (self.target.is_ipv6() || !self.rules.has_bridge(link))
    }

    /// A frame to a neighbour, which stays on its bridge unless it is led elsewhere.
    fn cross(&mut self, link: IfName, filtered: bool) -> Result<Exit, Verdict> {
        self.frame(At(Hook::Prerouting, Link::Unknown, Link::Absent))?;
        if filtered {
            self.lead(At(Hook::Prerouting, Link::Named(link), Link::Absent))?;
            if self.target != self.packet.target && !self.is_turned_back(link) {
                self.come_through(link)?;
                return self.take(link);
            }
        }
        self.leave_bridge(link, filtered)
    }

    fn leave_bridge(&mut self, link: IfName, filtered: bool) -> Result<Exit, Verdict> {
        let bridge = Link::Named(link);
        self.frame(At(Hook::Forward, Link::Unknown, Link::Unknown))?;
        if filtered {
            self.see(At(Hook::Forward, bridge, bridge), ALL, false)?;
        }
        self.frame(At(Hook::Postrouting, Link::Absent, Link::Unknown))?;
        if filtered {
            // `br_nf_post_routing` does not say by which link it came.
            self.hide(At(Hook::Postrouting, Link::Absent, bridge))?;
        }
        Ok(Exit::Link(link))
    }

    fn pass_on(&mut self, input: IfName, output: IfName) -> Result<Exit, Verdict> {
        self.see(At(Hook::Forward, Link::Named(input), Link::Named(output)), ALL, false)?;
        self.leave_by(Link::Named(input), output)
    }

    fn arrive(&mut self, link: IfName) -> Result<Exit, Verdict> {
        self.hide(At(Hook::Input, Link::Named(link), Link::Absent))?;
        Ok(Exit::Host)
    }

    /// From the host itself.
    fn leave_host(&mut self) -> Result<Exit, Verdict> {
        let (output, _) = self.routed()?;
        self.lead(At(Hook::Output, Link::Absent, Link::Named(output)))?;
        match self.routed()? {
            (output, Route::Link(_)) => self.leave_by(Link::Absent, output),
            (loopback, _) => {
                self.leave_by(Link::Absent, loopback)?;
                // It comes in again, with its connection known.
                self.asks_target = false;
                self.lead(At(Hook::Prerouting, Link::Named(loopback), Link::Absent))?;
                self.arrive(loopback)
            }
        }
    }

    /// The link by which the host sends to the target.
    fn routed(&self) -> Result<(IfName, Route), Verdict> {
        let own = self.routing.leaving(self.packet.source, self.target);
        match own.unwrap_or_else(|| self.routing.route(self.target)) {
            Route::Nowhere => Err(Verdict::NoRoute(self.target)),
            route @ Route::Link(output) => Ok((output, route)),
            route @ Route::Host => {
                "lo".parse().map(|lo| (lo, route)).map_err(|_| Verdict::NoRoute(self.target))
            }
        }
    }

    fn leave_by(&mut self, input: Link, output: IfName) -> Result<Exit, Verdict> {
        self.hide(At(Hook::Postrouting, input, Link::Named(output)))?;
        self.see(At(Hook::Egress, Link::Absent, Link::Named(output)), ALL, false)?;
        if self.rules.has_bridge(output) {
            self.frame(At(Hook::Output, Link::Absent, Link::Unknown))?;
            self.frame(At(Hook::Postrouting, Link::Absent, Link::Unknown))?;
        }
        Ok(Exit::Link(output))
    }

    /// Through a hook where the target may be translated.
    fn lead(&mut self, at: At) -> Result<(), Verdict> {
        let translation = self.see(at, BEFORE_TARGET, self.asks_target)?;
        self.asks_target = false;
        if let Some(Nat::Target(Some((address, port)))) = translation {
            self.target = address;
            self.carried = port.map_or(self.carried, |port| self.carried.to(port));
            self.published = true;
        }
        // A connection that is known keeps its translation.
        self.target = self.packet.connection.target.unwrap_or(self.target);
        self.see(at, BEHIND_TARGET, false).map(|_| ())
    }

    /// Through the hook where the source may be translated.
    fn hide(&mut self, at: At) -> Result<(), Verdict> {
        let Connection { state, decided, .. } = self.packet.connection;
        let asks = state == State::New && !decided;
        let translation = self.see(at, BEFORE_SOURCE, asks)?;
        match translation {
            Some(Nat::Masquerade) => {
                let At(_, _, output) = at;
                self.source = Source::Masqueraded;
                self.masqueraded = output.name().and_then(|link| self.routing.own(link, self.target));
            }
            Some(Nat::Source(Some(source))) => self.source = Source::Translated(source),
            _ => {}
        }
        self.hidden |= self.source != Source::Kept(self.packet.source);
        self.take_back();
        self.see(at, BEHIND_SOURCE, false).map(|_| ())
    }

    /// Takes back the translation of the target that this packet answers.
    fn take_back(&mut self) {
        if let Some(source) = self.packet.connection.source {
            self.source = Source::Translated(source);
        }
    }

    fn frame(&mut self, at: At) -> Result<(), Verdict> {
        let stage = Stage { layer: Layer::Frame, ..self.stage(at, ALL, false) };
        self.ask(stage).map(|_| ())
    }

    /// Asks the chains of these priorities.
    fn see(
        &mut self,
        at: At,
        priorities: RangeInclusive<i32>,
        asks_nat: bool,
    ) -> Result<Option<Nat>, Verdict> {
        let stage = self.stage(at, priorities, asks_nat);
        self.ask(stage)
    }

    fn ask(&mut self, stage: Stage) -> Result<Option<Nat>, Verdict> {
        let answer = self.rules.at(&stage, &mut self.trace, &mut self.doubt);
        self.stages.push(stage);
        answer
    }

    fn is_reversed(&self) -> bool {
        self.packet.from.is_none_or(|link| self.routing.route(self.packet.source) == Route::Link(link))
    }

    fn stage(&self, At(hook, input, output): At, priorities: RangeInclusive<i32>, asks_nat: bool) -> Stage {
        let Connection { state, answers, .. } = self.packet.connection;
        let source = match self.source {
            Source::Kept(source) | Source::Translated(source) => Some(source),
            Source::Masqueraded => self.masqueraded,
        };
        Stage {
            hook,
            layer: Layer::Packet,
            priorities,
            input,
            output,
            source,
            target: self.target,
            carried: self.carried,
            state,
            answers,
            published: self.published,
            hidden: self.hidden,
            to_host: self.routing.route(self.target) == Route::Host,
            reversed: self.is_reversed(),
            from_host: source.is_none_or(|source| self.routing.route(source) == Route::Host),
            again: self.packet.from.is_none() && matches!(hook, Hook::Prerouting | Hook::Input),
            asks_nat,
        }
    }
}

impl Packet {
    /// What answers this packet, which came out with this target and this source.
    pub(super) fn answered(
        self,
        target: IpAddr,
        source: IpAddr,
        link: Option<IfName>,
        port: Option<Port>,
        (published, hidden): (bool, bool),
    ) -> Self {
        let carried = port.map_or(self.carried, |port| self.carried.to(port)).answer();
        let connection = Connection {
            state: State::Established,
            answers: true,
            source: Some(self.target).filter(|_| published),
            target: Some(self.source).filter(|_| hidden),
            published,
            hidden,
            decided: true,
        };
        Self { source: target, target: source, carried, from: link, way: self.way, connection }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::walk::{Routes, walk};
    use crate::{Change, Instance, Network, Ruleset};
    use linkspan_net_types::Protocol;

    #[test]
    fn rules_behind_a_masquerade_see_the_address_of_the_link() {
        let network = Network::new("ls-web".parse().unwrap()).with_subnet("10.88.1.0/24".parse().unwrap());
        let rules = Ruleset::new().after(&Change::new().add_network(network)).unwrap();
        let routes = Routes::new()
            .with_link("ls-web".parse().unwrap(), "10.88.1.1/24".parse().unwrap())
            .with_link("eth0".parse().unwrap(), "192.0.2.1/24".parse().unwrap());
        let [inside, outside, own] =
            ["10.88.1.2", "192.0.2.9", "192.0.2.1"].map(|address| address.parse().unwrap());
        let packet = Packet::to_port(inside, outside, Protocol::Tcp, "443".parse().unwrap()).unwrap();
        let packet = packet.from_link("ls-web".parse().unwrap());
        let walked = walk(&Rules::nftables(Instance::default(), &rules), &packet, &routes);
        let leaving = walked.stages().iter().filter(|stage| stage.hook == Hook::Postrouting);
        let seen: Vec<_> = leaving.map(|stage| (stage.source, stage.from_host)).collect();
        assert_eq!(seen, [(Some(inside), false), (Some(own), true)]);
    }
}
