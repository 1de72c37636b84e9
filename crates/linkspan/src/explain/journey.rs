//! A packet under way from machine to machine, and its answer back.

mod frames;
mod spot;

use super::model::{Machine, Model};
use super::question::Service;
use super::{Answer, Arrival, Deed, Doubt, Leg, Obstacle, Place, Step, Way};
use crate::AttachmentId;
use frames::{Frame, Holder, is_to_host, stays};
use linkspan_nat_rules::foreign::{Judgement, judge};
use linkspan_nat_rules::walk::{Exit, Packet, Verdict, Walk, walk};
use linkspan_net_types::IfName;
pub(crate) use spot::{Edge, End, Spot};

/// So many machines are passed before the routes are taken for a circle.
const LONGEST: usize = 16;

/// What a machine knows of a connection since its first packet.
struct Known<'a> {
    spot: Spot<'a>,
    walked: Walk,
}

/// A machine, the packet as it gets there, and the frame that it is in.
type Next<'a> = (Spot<'a>, Packet, Option<Frame<'a>>);

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
                let frame = Frame { bridge: link, port: None, to: Holder::Host, next: None };
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
        let back = self.follow_back(end, frame, answer)?;
        match (start, back) {
            (Edge::Outside(_), Edge::Outside(_)) => Ok(end.arrival()),
            (start, back) if start == back => Ok(end.arrival()),
            _ => Err(Obstacle::AnswerFrom { address: answer.source() }.into()),
        }
    }

    /// From where the first packet came out; another machine answers as the frame went, back to its port.
    fn follow_back(
        &mut self,
        end: Edge<'a>,
        frame: Option<Frame<'a>>,
        answer: Packet,
    ) -> Result<Edge<'a>, End> {
        let (back, _) = match end {
            Edge::At(spot) => self.follow(spot, answer, None)?,
            Edge::Outside(link) => {
                let came = frame.and_then(|frame| frame.port).map_or(Holder::Host, Holder::Endpoint);
                let frame = Frame { bridge: link, port: None, to: came, next: None };
                self.follow(Spot::Host, self.as_frame(answer, &frame), Some(frame))?
            }
        };
        Ok(back)
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
            match self.next(spot, link, &walked, frame)? {
                Some(next) => (spot, packet, frame) = next,
                None => return Ok((Edge::Outside(link), frame.filter(|frame| stays(frame, &walked, link)))),
            }
        }
        Err(End::Untold(Doubt::Circle))
    }

    /// The next machine, with the packet as it gets there; `None` where that is another's.
    fn next(
        &mut self,
        spot: Spot<'a>,
        link: IfName,
        walked: &Walk,
        frame: Option<Frame<'a>>,
    ) -> Result<Option<Next<'a>>, End> {
        let onward = self.onward(spot, walked)?;
        if let Spot::Inside(of) = spot {
            let left = self.leave_container(of, link, walked)?;
            let packet = self.received(Spot::Host, self.as_frame(onward, &left), &left);
            return Ok(Some((Spot::Host, packet, Some(left))));
        }
        let Some(plugged) = self.leave_host(link, walked, frame)? else {
            if onward.source() == onward.target() {
                let (link, address) = (link.to_string(), onward.target());
                return Err(Obstacle::BackToSource { link, address }.into());
            }
            return self.is_answer(onward).map(|()| None);
        };
        let left = Frame { bridge: link, port: None, to: Holder::Endpoint(plugged), next: None };
        let (spot, onward) = (Spot::Inside(plugged.of), onward.from_link(plugged.inside).routed(false));
        Ok(Some((spot, self.received(spot, onward, &left), None)))
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
        let packet = if self.is_known(spot, packet) { packet.repeated() } else { packet };
        let walked = walk(&machine.rules, &packet, &routed);
        let stops = usize::from(matches!(walked.verdict(), Verdict::StoppedBy(_)));
        let last = walked.trace().len().saturating_sub(stops);
        let acted = walked.trace().iter().take(last);
        acted.for_each(|rule| self.note(spot, Deed::Rule(rule.clone())));
        let exit = match walked.verdict() {
            Verdict::Passes(exit) => *exit,
            Verdict::NoRoute(target) => {
                return Err(routed.refusal(packet.link(), packet.source(), *target).into());
            }
            _ => return Err(stopped(machine, &place, &walked)),
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

    /// Whether a machine has seen the packet before, on its way through another.
    fn is_known(&self, spot: Spot<'a>, packet: Packet) -> bool {
        let mut seen =
            self.known.iter().filter(|known| known.spot == spot).map(|known| known.walked.packet());
        self.leg == Leg::Request && seen.any(|seen| seen.coming_as(&packet).repeated() == packet.repeated())
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

/// Whose rule stops it: our own, or someone else's, which may be mended where it is the host's.
fn stopped(machine: &Machine, place: &Place, walked: &Walk) -> End {
    let at = place.clone();
    let rule = match walked.verdict() {
        Verdict::StoppedBy(rule) => rule.clone(),
        Verdict::CannotTell(rule) => return End::Untold(Doubt::Rule { at, rule: rule.clone() }),
        _ => return End::Untold(Doubt::Circle),
    };
    if at != Place::Host {
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
