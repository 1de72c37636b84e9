//! A packet under way from machine to machine, and its answer back.

use super::model::{Machine, Model, Plugged};
use super::question::Service;
use super::routing::Stop;
use super::{Answer, Arrival, Deed, Doubt, Leg, Obstacle, Place, Step, Way};
use crate::{Attachment, AttachmentId};
use linkspan_nat_rules::foreign::{Judgement, judge};
use linkspan_nat_rules::walk::{Exit, Packet, RuleRef, Verdict, Walk, walk};
use linkspan_net_types::IfName;
use std::net::IpAddr;

/// So many machines are passed before the routes are taken for a circle.
const LONGEST: usize = 16;

/// Why a way is not known to its end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum End {
    Stopped {
        by: Obstacle,
        mend: Option<String>,
    },
    Untold(Doubt),
    /// The inside of this container has to be looked at first.
    Unseen(AttachmentId),
}

impl From<Stop> for End {
    fn from(stop: Stop) -> Self {
        match stop {
            Stop::By(by) => Self::Stopped { mend: by.mend(), by },
            Stop::Untold(doubt) => Self::Untold(doubt),
        }
    }
}

impl From<Stop> for Answer {
    fn from(stop: Stop) -> Self {
        match stop {
            Stop::By(by) => Self::StoppedBy { mend: by.mend(), by },
            Stop::Untold(by) => Self::CannotTell { by },
        }
    }
}

impl From<Obstacle> for End {
    fn from(by: Obstacle) -> Self {
        Self::from(Stop::By(by))
    }
}

/// Where a packet is.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Spot<'a> {
    Host,
    Inside(&'a Attachment),
}

impl PartialEq for Spot<'_> {
    fn eq(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Host, Self::Host) => true,
            (Self::Inside(one), Self::Inside(other)) => one.id == other.id,
            _ => false,
        }
    }
}

impl Spot<'_> {
    pub(crate) fn place(self) -> Place {
        match self {
            Self::Host => Place::Host,
            Self::Inside(of) => Place::Container(of.name.clone()),
        }
    }
}

/// Where a packet begins or ends.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Edge<'a> {
    At(Spot<'a>),
    /// With another machine, behind this link of the host.
    Outside(IfName),
}

impl Edge<'_> {
    fn arrival(self) -> Arrival {
        match self {
            Self::At(Spot::Host) => Arrival::Host,
            Self::At(Spot::Inside(of)) => Arrival::Container(of.name.clone()),
            Self::Outside(link) => Arrival::Link(link),
        }
    }
}

/// Who has an address on a bridge.
#[derive(Clone, Copy, Debug)]
enum Holder<'a> {
    /// The bridge's own machine.
    Host,
    Endpoint(Plugged<'a>),
    /// Whoever is behind a port that is not on record.
    Stranger,
}

/// How a frame came to the host.
#[derive(Clone, Copy, Debug)]
struct Frame<'a> {
    bridge: IfName,
    /// The port, where it is of a container.
    port: Option<Plugged<'a>>,
    to: Holder<'a>,
}

/// What a machine knows of a connection since its first packet.
struct Known<'a> {
    spot: Spot<'a>,
    walked: Walk,
}

/// A packet and its answer, as they are followed.
struct Journey<'a> {
    model: &'a Model,
    leg: Leg,
    known: Vec<Known<'a>>,
    trace: Vec<Step>,
}

/// Follows a packet and its answer; `Err` where a container has to be looked at first.
pub(crate) fn way(
    model: &Model,
    start: Edge<'_>,
    packet: Packet,
    service: Option<Service>,
) -> Result<Way, AttachmentId> {
    let mut journey = Journey { model, leg: Leg::Request, known: Vec::new(), trace: Vec::new() };
    let answer = match journey.there_and_back(start, packet) {
        Ok(to) => Answer::Passes { to },
        Err(End::Stopped { by, mend }) => Answer::StoppedBy { by, mend },
        Err(End::Untold(by)) => Answer::CannotTell { by },
        Err(End::Unseen(id)) => return Err(id),
    };
    let (source, target) = (packet.source(), packet.target());
    let Journey { leg, trace, .. } = journey;
    Ok(Way { source, target, service, answer, leg, trace })
}

impl<'a> Journey<'a> {
    fn there_and_back(&mut self, start: Edge<'a>, packet: Packet) -> Result<Arrival, End> {
        let (end, frame) = match start {
            Edge::At(spot) => self.follow(spot, packet, None)?,
            Edge::Outside(link) => {
                let frame = Frame { bridge: link, port: None, to: Holder::Host };
                self.follow(Spot::Host, self.as_frame(packet, &frame), Some(frame))?
            }
        };
        self.is_there(end)?;
        let spot = match end {
            Edge::At(spot) => spot,
            Edge::Outside(_) => Spot::Host,
        };
        let known = self.known.iter().rev().find(|known| known.spot == spot);
        // Where netfilter does not see the frames of a bridge, nothing is known of them.
        let answer = match known {
            Some(known) => self.expected(known)?,
            None => return Ok(end.arrival()),
        };
        self.leg = Leg::Answer;
        let (back, _) = match (end, frame) {
            (Edge::At(spot), _) => self.follow(spot, answer, None)?,
            (Edge::Outside(link), frame) => {
                let came = frame.and_then(|frame| frame.port).map_or(Holder::Host, Holder::Endpoint);
                let frame = Frame { bridge: link, port: None, to: came };
                self.follow(Spot::Host, self.as_frame(answer, &frame), Some(frame))?
            }
        };
        match (start, back) {
            (Edge::Outside(_), Edge::Outside(_)) => Ok(end.arrival()),
            (start, back) if start == back => Ok(end.arrival()),
            _ => Err(Obstacle::AnswerFrom { address: answer.source() }.into()),
        }
    }

    /// Whether a packet comes out where the address is that it was sent or led to, as far as it is on record.
    fn is_there(&self, end: Edge<'a>) -> Result<(), End> {
        let target = self.known.last().map(|known| known.walked.target());
        match target.and_then(|target| self.model.holder(target)) {
            Some(of) if end != Edge::At(Spot::Inside(of)) => {
                Err(Obstacle::Elsewhere { to: end.arrival() }.into())
            }
            _ => Ok(()),
        }
    }

    /// From machine to machine, to where it ends; with the frame as which it left, where it left to outside.
    fn follow(
        &mut self,
        mut spot: Spot<'a>,
        mut packet: Packet,
        mut frame: Option<Frame<'a>>,
    ) -> Result<(Edge<'a>, Option<Frame<'a>>), End> {
        for _ in 0..LONGEST {
            let (walked, exit) = self.walk(spot, packet, frame.as_ref())?;
            let Exit::Link(link) = exit else {
                self.is_expected(spot, packet)?;
                return Ok((Edge::At(spot), None));
            };
            let onward = self.onward(spot, &walked)?;
            match spot {
                Spot::Inside(of) => {
                    let left = self.leave_container(of, link, &walked)?;
                    (spot, packet) =
                        (Spot::Host, self.received(Spot::Host, self.as_frame(onward, &left), &left));
                    frame = Some(left);
                }
                Spot::Host => match self.leave_host(link, &walked, frame)? {
                    None => {
                        self.is_answer(onward)?;
                        return Ok((Edge::Outside(link), frame.filter(|frame| stays(frame, &walked, link))));
                    }
                    Some(plugged) => {
                        let left = Frame { bridge: link, port: None, to: Holder::Endpoint(plugged) };
                        let onward = onward.from_link(plugged.inside).routed(false);
                        spot = Spot::Inside(plugged.of);
                        packet = self.received(spot, onward, &left);
                        frame = None;
                    }
                },
            }
        }
        Err(End::Untold(Doubt::Circle))
    }

    fn machine(&self, spot: Spot<'a>) -> Result<&'a Machine, End> {
        match spot {
            Spot::Host => Ok(&self.model.host),
            Spot::Inside(of) => match self.model.inside.get(&of.id) {
                None => Err(End::Unseen(of.id)),
                Some(None) => Err(End::Untold(Doubt::Namespace { of: of.name.clone() })),
                Some(Some(machine)) => Ok(machine),
            },
        }
    }

    /// Through the rules and routes of one machine.
    fn walk(
        &mut self,
        spot: Spot<'a>,
        packet: Packet,
        frame: Option<&Frame<'a>>,
    ) -> Result<(Walk, Exit), End> {
        let (machine, place) = (self.machine(spot)?, spot.place());
        let routed = machine.routed(&place);
        let walked = walk(&machine.rules, &packet, &routed);
        let stops = match walked.verdict() {
            Verdict::StoppedBy(rule) => Some(rule),
            _ => None,
        };
        let acted = walked.trace().iter().filter(|rule| Some(*rule) != stops);
        acted.for_each(|rule| self.note(spot, Deed::Rule(rule.clone())));
        let exit = match walked.verdict() {
            Verdict::Passes(exit) => *exit,
            Verdict::StoppedBy(rule) => return Err(stopped(machine, &place, rule, &walked)),
            Verdict::NoRoute(target) => {
                return Err(routed.refusal(packet.link(), packet.source(), *target).into());
            }
            Verdict::CannotTell(rule) => {
                return Err(End::Untold(Doubt::Rule { at: place, rule: rule.clone() }));
            }
            _ => return Err(End::Untold(Doubt::Circle)),
        };
        self.leave_loopback(spot, packet, exit)?;
        self.note_changes(spot, &packet, &walked);
        let unseen =
            frame.is_some_and(|frame| !is_to_host(frame) && !self.shows(frame.bridge, packet.target()));
        if self.leg == Leg::Request && !unseen {
            self.known.push(Known { spot, walked: walked.clone() });
        }
        Ok((walked, exit))
    }

    /// What a machine sends to itself goes by its loopback link, and nothing from a loopback address leaves it.
    fn leave_loopback(&self, spot: Spot<'a>, packet: Packet, exit: Exit) -> Result<(), End> {
        let (machine, at) = (self.machine(spot)?, spot.place());
        match (packet.link(), exit) {
            (None, Exit::Host) => match machine.survey.links.iter().find(|(_, link)| link.loopback) {
                Some((name, link)) if !link.up => Err(Obstacle::LinkDown { at, link: name.clone() }.into()),
                _ => Ok(()),
            },
            (None, Exit::Link(link)) => Ok(machine.routed(&at).lets_out(link, packet.source())?),
            _ => Ok(()),
        }
    }

    /// Out of a container by one of its links, to the bridge that the other end is a port of.
    fn leave_container(&mut self, of: &'a Attachment, link: IfName, walked: &Walk) -> Result<Frame<'a>, End> {
        let spot = Spot::Inside(of);
        let (machine, at) = (self.machine(spot)?, spot.place());
        let routed = machine.routed(&at);
        if let Ok(route) = routed.sending(walked.target()) {
            self.note(spot, Deed::Route(route.to_string()));
        }
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
        let next = routed.next_hop(walked.target());
        let nobody = || Obstacle::Nobody { at: at.clone(), link: link.to_string(), address: next };
        let to = self.holder(bridge, next)?.ok_or_else(nobody)?;
        Ok(Frame { bridge, port: Some(port), to })
    }

    /// Out of the host by one of its links: to an endpoint, or to another machine.
    fn leave_host(
        &mut self,
        link: IfName,
        walked: &Walk,
        frame: Option<Frame<'a>>,
    ) -> Result<Option<Plugged<'a>>, End> {
        self.is_up(Spot::Host, link.as_str())?;
        if let Some(frame) = frame.filter(|frame| stays(frame, walked, link)) {
            return match frame.to {
                Holder::Endpoint(to) => self.cross(&frame, to).map(Some),
                Holder::Host | Holder::Stranger => Ok(None),
            };
        }
        let place = Place::Host;
        let routed = self.model.host.routed(&place);
        if let Ok(route) = routed.sending(walked.target()) {
            self.note(Spot::Host, Deed::Route(route.to_string()));
        }
        let bridged = self.model.host.link(link.as_str()).is_some_and(|link| link.bridge.is_some());
        if !bridged || !self.model.bridges.contains(&link) {
            return Ok(None);
        }
        let next = routed.next_hop(walked.target());
        match self.holder(link, next)? {
            Some(Holder::Stranger) => Ok(None),
            Some(Holder::Endpoint(to)) => {
                forwards(&to)?;
                match frame.filter(|frame| self.turns_back(frame, walked, link)) {
                    Some(frame) => self.cross(&frame, to).map(Some),
                    None => Ok(Some(to)),
                }
            }
            Some(Holder::Host) | None => {
                let link = link.to_string();
                Err(Obstacle::Nobody { at: Place::Host, link, address: next }.into())
            }
        }
    }

    /// From port to port of a bridge (`should_deliver` of `net/bridge/br_forward.c`).
    fn cross(&mut self, frame: &Frame<'a>, to: Plugged<'a>) -> Result<Plugged<'a>, End> {
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
    fn turns_back(&self, frame: &Frame<'_>, walked: &Walk, link: IfName) -> bool {
        frame.bridge == link
            && walked.target() != walked.packet().target()
            && self.shows(link, walked.packet().target())
    }

    /// Who has an address on a bridge.
    fn holder(&self, bridge: IfName, address: IpAddr) -> Result<Option<Holder<'a>>, End> {
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

    fn is_up(&self, spot: Spot<'a>, link: &str) -> Result<(), End> {
        let (at, name) = (spot.place(), link.to_owned());
        match self.machine(spot)?.link(link) {
            Some(link) if link.up => Ok(()),
            Some(_) => Err(Obstacle::LinkDown { at, link: name }.into()),
            None => Err(Obstacle::LinkMissing { at, link: name }.into()),
        }
    }

    /// Whether the host's packet filter sees the frames of a bridge that carry such an address.
    fn shows(&self, bridge: IfName, address: IpAddr) -> bool {
        let own = self.model.host.link(bridge.as_str()).and_then(|link| link.bridge);
        own.is_some_and(|own| own.of(address) || self.model.host.survey.settings.calls_netfilter.of(address))
    }

    /// The packet as it comes to the host in a frame, or by a link that has none.
    fn as_frame(&self, packet: Packet, frame: &Frame<'_>) -> Packet {
        let (packet, shown) = (packet.from_link(frame.bridge), self.shows(frame.bridge, packet.target()));
        if is_to_host(frame) { packet.routed(shown) } else { packet.bridged(shown) }
    }

    /// The packet as it leaves a machine.
    fn onward(&self, spot: Spot<'a>, walked: &Walk) -> Result<Packet, End> {
        let place = spot.place();
        let onward = walked.onward(&self.machine(spot)?.routed(&place));
        onward.ok_or_else(|| Obstacle::NoRoute { at: place, to: walked.packet().source() }.into())
    }

    /// The packet as the next machine takes it: where it answers what that machine knows, with what it knows.
    fn received(&self, spot: Spot<'a>, packet: Packet, frame: &Frame<'_>) -> Packet {
        let unseen = spot == Spot::Host && !is_to_host(frame) && !self.shows(frame.bridge, packet.target());
        if self.leg == Leg::Request || unseen {
            return packet;
        }
        let known = self.known.iter().filter(|known| known.spot == spot);
        let mut answers = known.filter_map(|known| self.expected(known).ok());
        let same = answers.find(|e| (e.source(), e.target()) == (packet.source(), packet.target()));
        same.map_or(packet, |answer| answer.coming_as(&packet))
    }

    /// What answers a packet that a machine has seen.
    fn expected(&self, known: &Known<'a>) -> Result<Packet, End> {
        let place = known.spot.place();
        let answer = known.walked.answer(&self.machine(known.spot)?.routed(&place));
        answer.ok_or_else(|| Obstacle::NoRoute { at: place, to: known.walked.packet().source() }.into())
    }

    /// On the way back: whether what comes to the asker is what it waits for.
    fn is_expected(&self, spot: Spot<'a>, packet: Packet) -> Result<(), End> {
        let Some(asker) = self.known.first().filter(|_| self.leg == Leg::Answer) else { return Ok(()) };
        if asker.spot != spot || asker.walked.packet().link().is_some() {
            return Ok(());
        }
        let expected = self.expected(asker)?;
        match (expected.source(), expected.target()) == (packet.source(), packet.target()) {
            true => Ok(()),
            false => Err(Obstacle::AnswerFrom { address: packet.source() }.into()),
        }
    }

    /// On the way back: whether what leaves to another machine is what that machine waits for.
    fn is_answer(&self, onward: Packet) -> Result<(), End> {
        let Some(asker) = self.known.first().filter(|_| self.leg == Leg::Answer) else { return Ok(()) };
        let asked = asker.walked.packet();
        match (onward.source(), onward.target()) == (asked.target(), asked.source()) {
            true => Ok(()),
            false => Err(Obstacle::AnswerFrom { address: onward.source() }.into()),
        }
    }

    fn note(&mut self, spot: Spot<'a>, what: Deed) {
        self.trace.push(Step { leg: self.leg, at: spot.place(), what });
    }

    fn note_changes(&mut self, spot: Spot<'a>, packet: &Packet, walked: &Walk) {
        if walked.target() != packet.target() {
            let (address, port) = (walked.target(), walked.port());
            self.note(spot, Deed::Target { address, port });
        }
        let place = spot.place();
        let Ok(machine) = self.machine(spot) else { return };
        let source = walked.sent_from(&machine.routed(&place));
        if let Some(address) = source.filter(|source| *source != packet.source()) {
            self.note(spot, Deed::Source { address });
        }
    }
}

/// Whether a frame that is not for the host goes on as it came.
fn stays(frame: &Frame<'_>, walked: &Walk, link: IfName) -> bool {
    !is_to_host(frame) && frame.bridge == link && walked.target() == walked.packet().target()
}

const fn is_to_host(frame: &Frame<'_>) -> bool {
    matches!(frame.to, Holder::Host)
}

fn forwards(port: &Plugged<'_>) -> Result<(), End> {
    let name = port.port.to_string();
    match (port.up, port.flags.forwards) {
        (true, true) => Ok(()),
        (false, _) => Err(Obstacle::LinkDown { at: Place::Host, link: name }.into()),
        (true, false) => Err(Obstacle::PortBlocked { port: name }.into()),
    }
}

/// Who stopped it: we ourselves, or someone else, whose rule may be mended where it is the host's.
fn stopped(machine: &Machine, place: &Place, rule: &RuleRef, walked: &Walk) -> End {
    let (at, rule) = (place.clone(), rule.clone());
    if *place != Place::Host {
        return End::Stopped { by: Obstacle::Foreign { at, rule }, mend: None };
    }
    if rule.is_of(machine.rules.instance()) {
        return Obstacle::Rule(rule).into();
    }
    let mend = match judge(&machine.loaded, walked) {
        Judgement::StoppedBy { rule: judged, mend } if judged == rule => mend,
        _ => None,
    };
    End::Stopped { by: Obstacle::Foreign { at, rule }, mend }
}
