//! Between machines: links, and bridges that take frames from port to port.

use super::spot::{End, Spot};
use super::{Journey, stopped};
use crate::Attachment;
use crate::explain::model::Plugged;
use crate::explain::{Deed, Doubt, Obstacle, Place};
use linkspan_nat_rules::walk::{Packet, Verdict, Walk, walk};
use linkspan_net_types::IfName;
use std::net::IpAddr;

/// Who has an address on a bridge.
#[derive(Clone, Copy, Debug)]
pub(super) enum Holder<'a> {
    /// The bridge's own machine.
    Host,
    Endpoint(Plugged<'a>),
    /// Whoever is behind a port that is not on record.
    Stranger,
}

/// How a frame came to the host.
#[derive(Clone, Copy, Debug)]
pub(super) struct Frame<'a> {
    pub(super) bridge: IfName,
    /// The port, where it is of a container.
    pub(super) port: Option<Plugged<'a>>,
    pub(super) to: Holder<'a>,
    /// The next hop, where a container sent it.
    pub(super) next: Option<IpAddr>,
}

impl<'a> Journey<'a> {
    /// Out of a container by one of its links, to the bridge that the other end is a port of.
    pub(super) fn leave_container(
        &mut self,
        of: &'a Attachment,
        link: IfName,
        walked: &Walk,
    ) -> Result<Frame<'a>, End> {
        let spot = Spot::Inside(of);
        let (machine, at) = (self.machine(spot)?, spot.place());
        self.note_route(spot, walked)?;
        let Some(endpoint) = of.endpoints.iter().find(|endpoint| endpoint.link == link) else {
            return Err(End::Untold(Doubt::Link { of: of.name.clone(), link: link.to_string() }));
        };
        self.is_up(spot, link.as_str())?;
        self.is_up(Spot::Host, endpoint.host_link.as_str())?;
        let missing = || Obstacle::LinkMissing { at: Place::Host, link: endpoint.host_link.to_string() };
        let master =
            self.model.host.link(endpoint.host_link.as_str()).and_then(|link| link.master.as_deref());
        let master = master.ok_or_else(missing)?;
        let bridge: IfName = master.parse().map_err(|_| missing())?;
        let port = self.model.plugged(master).find(|plugged| plugged.port == endpoint.host_link);
        let port = port.ok_or_else(missing)?;
        self.is_up(Spot::Host, master)?;
        forwards(&port)?;
        self.asks_on(spot, link, walked)?;
        let next = machine.routed(&at).next_hop(walked);
        let nobody = || Obstacle::Nobody { at: at.clone(), link: link.to_string(), address: next };
        let to = self.holder(bridge, next)?.ok_or_else(nobody)?;
        Ok(Frame { bridge, port: Some(port), to, next: Some(next) })
    }

    /// Out of the host by one of its links: to an endpoint, or to another machine.
    pub(super) fn leave_host(
        &mut self,
        link: IfName,
        walked: &Walk,
        frame: Option<Frame<'a>>,
    ) -> Result<Option<Plugged<'a>>, End> {
        self.is_up(Spot::Host, link.as_str())?;
        if let Some(frame) = frame.filter(|frame| stays(frame, walked, link)) {
            let to = match frame.to {
                Holder::Endpoint(to) => Some(self.cross(&frame, to)?),
                Holder::Host | Holder::Stranger => None,
            };
            return self.finds(&frame, walked.packet().source()).map(|()| to);
        }
        self.note_route(Spot::Host, walked)?;
        self.asks_on(Spot::Host, link, walked)?;
        if !self.model.bridges.contains(&link) {
            return Ok(None);
        }
        let next = self.model.host.routed(&Place::Host).next_hop(walked);
        match self.holder(link, next)? {
            Some(Holder::Stranger) => Ok(None),
            Some(Holder::Endpoint(to)) => match frame.filter(|frame| self.turns_back(frame, walked, link)) {
                Some(frame) => self.cross(&frame, to).map(Some),
                None => forwards(&to).map(|()| Some(to)),
            },
            Some(Holder::Host) | None => {
                let link = link.to_string();
                Err(Obstacle::Nobody { at: Place::Host, link, address: next }.into())
            }
        }
    }

    fn note_route(&mut self, spot: Spot<'a>, walked: &Walk) -> Result<(), End> {
        let place = spot.place();
        if let Ok(route) = self.machine(spot)?.routed(&place).taken(walked) {
            self.note(spot, Deed::Route(route.to_string()));
        }
        Ok(())
    }

    /// Whether the machine can ask for neighbours on a link by which a packet leaves.
    fn asks_on(&self, spot: Spot<'a>, link: IfName, walked: &Walk) -> Result<(), End> {
        let at = spot.place();
        let routed = self.machine(spot)?.routed(&at);
        match walked.sent_from(&routed) {
            Some(source) => Ok(routed.asks_on(link, source)?),
            None => Ok(()),
        }
    }

    /// Whether neighbours find each other past the rules that see the frames of their bridge (RFC 4861). Only what
    /// stops them for certain is told: a rule that looks for ports would take their checksum for one.
    fn finds(&mut self, frame: &Frame<'a>, source: IpAddr) -> Result<(), End> {
        let (IpAddr::V6(source), Some(IpAddr::V6(next))) = (source, frame.next) else { return Ok(()) };
        for packet in [Packet::solicitation(source, next), Packet::advertisement(next, source)] {
            let (machine, packet) = (&self.model.host, self.as_frame(packet, frame));
            let walked = walk(&machine.rules, &packet, &machine.routed(&Place::Host));
            if matches!(walked.verdict(), Verdict::StoppedBy(_)) {
                self.note(Spot::Host, Deed::Search { packet: packet.to_string() });
                return Err(stopped(machine, &Place::Host, &walked));
            }
        }
        Ok(())
    }

    /// From port to port of a bridge (`should_deliver` of `net/bridge/br_forward.c`).
    pub(super) fn cross(&mut self, frame: &Frame<'a>, to: Plugged<'a>) -> Result<Plugged<'a>, End> {
        forwards(&to)?;
        let Some(from) = frame.port else { return Ok(to) };
        if from.port == to.port && !to.flags.hairpin {
            return Err(Obstacle::Hairpin { port: to.port.to_string() }.into());
        }
        if from.flags.isolated && to.flags.isolated {
            let ports = [from.port.to_string(), to.port.to_string()];
            return Err(Obstacle::Isolated { bridge: frame.bridge.to_string(), ports }.into());
        }
        let (bridge, from, to_port) = (frame.bridge.to_string(), from.port.to_string(), to.port.to_string());
        self.note(Spot::Host, Deed::Bridge { bridge, from, to: to_port });
        Ok(to)
    }

    /// Whether a packet that was translated while it was a frame never left its bridge.
    pub(super) fn turns_back(&self, frame: &Frame<'_>, walked: &Walk, link: IfName) -> bool {
        frame.bridge == link
            && walked.target() != walked.packet().target()
            && self.shows(link, walked.packet().target())
    }

    /// Who has an address on a bridge.
    pub(super) fn holder(&self, bridge: IfName, address: IpAddr) -> Result<Option<Holder<'a>>, End> {
        let (model, name) = (self.model, bridge.as_str());
        if model.host.answers_for(address, name) {
            return Ok(Some(Holder::Host));
        }
        let on_record = |plugged: &Plugged<'_>| {
            plugged.of.endpoints.iter().any(|e| e.addresses.iter().any(|own| own.addr() == address))
        };
        let mut plugged: Vec<_> = model.plugged(name).collect();
        plugged.sort_by_key(|plugged| !on_record(plugged));
        for endpoint in plugged {
            let answers = match self.machine(Spot::Inside(endpoint.of)) {
                Ok(machine) => machine.answers_for(address, endpoint.inside.as_str()),
                Err(End::Untold(doubt)) if on_record(&endpoint) => return Err(End::Untold(doubt)),
                Err(End::Untold(_)) => false,
                Err(end) => return Err(end),
            };
            if answers {
                return Ok(Some(Holder::Endpoint(endpoint)));
            }
        }
        Ok(model.stranger(name).map(|_| Holder::Stranger))
    }

    pub(super) fn is_up(&self, spot: Spot<'a>, link: &str) -> Result<(), End> {
        let (at, name) = (spot.place(), link.to_owned());
        match self.machine(spot)?.link(link) {
            Some(link) if link.up => Ok(()),
            Some(_) => Err(Obstacle::LinkDown { at, link: name }.into()),
            None => Err(Obstacle::LinkMissing { at, link: name }.into()),
        }
    }

    /// Whether the host's packet filter sees the frames of a bridge that carry such an address.
    pub(super) fn shows(&self, bridge: IfName, address: IpAddr) -> bool {
        let own = self.model.host.link(bridge.as_str()).and_then(|link| link.bridge);
        own.is_some_and(|own| own.of(address) || self.model.host.survey.settings.calls_netfilter.of(address))
    }

    /// The packet as it comes to the host in a frame, or by a link that has none.
    pub(super) fn as_frame(&self, packet: Packet, frame: &Frame<'_>) -> Packet {
        let (packet, shown) = (packet.from_link(frame.bridge), self.shows(frame.bridge, packet.target()));
        if is_to_host(frame) { packet.routed(shown) } else { packet.bridged(shown) }
    }
}

/// Whether a frame that is not for the host goes on as it came.
pub(super) fn stays(frame: &Frame<'_>, walked: &Walk, link: IfName) -> bool {
    !is_to_host(frame) && frame.bridge == link && walked.target() == walked.packet().target()
}

pub(super) const fn is_to_host(frame: &Frame<'_>) -> bool {
    matches!(frame.to, Holder::Host)
}

pub(super) fn forwards(port: &Plugged<'_>) -> Result<(), End> {
    let name = port.port.to_string();
    match (port.up, port.flags.forwards) {
        (true, true) => Ok(()),
        (false, _) => Err(Obstacle::LinkDown { at: Place::Host, link: name }.into()),
        (true, false) => Err(Obstacle::PortBlocked { port: name }.into()),
    }
}
