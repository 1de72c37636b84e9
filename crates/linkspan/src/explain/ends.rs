//! What a question means on this host: where the packets begin, and which addresses they go to.

use super::journey::{Edge, Spot, way};
use super::model::Model;
use super::question::Service;
use super::routing::Routed;
use super::{Answer, Doubt, Explanation, Leg, Obstacle, Place, Question, Sender, Target, Way};
use crate::{AttachedEndpoint, Attachment, AttachmentId, Error};
use ipnet::IpNet;
use linkspan_nat_rules::walk::{Packet, Route, Routing as _};
use linkspan_net_types::IfName;
use linkspan_veth_bridge::survey::RouteKind;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// A question whose containers are found.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Asked<'a> {
    pub(crate) question: &'a Question,
    /// The container that sends.
    pub(crate) from: Option<AttachmentId>,
    /// The container that it is sent to.
    pub(crate) to: Option<AttachmentId>,
}

/// Why there is no explanation.
#[derive(Debug)]
pub(crate) enum Lack {
    /// The inside of this container has to be looked at first.
    Unseen(AttachmentId),
    /// The question has no answer.
    Refused(Error),
}

impl From<AttachmentId> for Lack {
    fn from(id: AttachmentId) -> Self {
        Self::Unseen(id)
    }
}

/// Answers a question.
pub(crate) fn explain(model: &Model, asked: &Asked<'_>) -> Result<Explanation, Lack> {
    let start = start(model, asked);
    let targets = targets(model, asked, start)?;
    let from = match asked.question.from() {
        Sender::Outside(Some(address)) => Some(*address),
        _ => None,
    };
    let fitting = targets.iter().filter(|to| from.is_none_or(|from| from.is_ipv4() == to.is_ipv4()));
    let ways =
        fitting.map(|to| one_way(model, asked.question, start, from, *to)).collect::<Result<Vec<_>, _>>()?;
    match (ways.is_empty(), from, targets.first()) {
        (true, Some(from), Some(to)) => Err(Lack::Refused(Error::Families { from, to: *to })),
        (true, ..) => Err(Lack::Refused(Error::NoAddress { of: asked.question.to().to_string() })),
        (false, ..) => Ok(Explanation { ways, repairs: Vec::new(), doubt: None }),
    }
}

/// Where the packets begin; another machine's come by the link that leads to it, which is known for each of them.
#[derive(Clone, Copy, Debug)]
enum Start<'a> {
    At(Spot<'a>),
    Outside,
}

fn start<'a>(model: &'a Model, asked: &Asked<'_>) -> Start<'a> {
    let inside = |of| Start::At(Spot::Inside(of));
    match asked.question.from() {
        Sender::Host => Start::At(Spot::Host),
        Sender::Container(_) => asked.from.and_then(|id| model.attachment(id)).map_or(Start::Outside, inside),
        Sender::Outside(None) => Start::Outside,
        Sender::Outside(Some(address)) => match model.holder(*address) {
            Some(of) => inside(of),
            None if host(model).route(*address) == Route::Host => Start::At(Spot::Host),
            None => Start::Outside,
        },
    }
}

const fn host(model: &Model) -> Routed<'_> {
    model.host.routed(&Place::Host)
}

fn one_way(
    model: &Model,
    question: &Question,
    start: Start<'_>,
    from: Option<IpAddr>,
    to: IpAddr,
) -> Result<Way, AttachmentId> {
    let begun = match start {
        Start::At(spot) => source(model, spot, from, to)?.map(|source| (Edge::At(spot), source)),
        Start::Outside => {
            let source = from.unwrap_or_else(|| beyond(model, to.is_ipv4()));
            uplink(model, source).map(|link| (Edge::Outside(link), source))
        }
    };
    let service = question.service;
    let unsent =
        |source, answer| Way { source, target: to, service, answer, leg: Leg::Request, trace: Vec::new() };
    let (edge, source) = match begun {
        Ok(begun) => begun,
        Err(answer) => return Ok(unsent(from.unwrap_or_else(|| none(to)), answer)),
    };
    let packet = match service {
        Some(Service { protocol, port }) => Packet::to_port(source, to, protocol, port),
        None => Packet::ping(source, to),
    };
    match packet {
        Some(packet) => way(model, edge, packet, service),
        None => Ok(unsent(source, stopped(Obstacle::NoRoute { at: Place::Host, to }))),
    }
}

const fn stopped(by: Obstacle) -> Answer {
    Answer::StoppedBy { by, mend: None }
}

/// The address of a sender that has none.
const fn none(to: IpAddr) -> IpAddr {
    match to {
        IpAddr::V4(_) => IpAddr::V4(Ipv4Addr::UNSPECIFIED),
        IpAddr::V6(_) => IpAddr::V6(Ipv6Addr::UNSPECIFIED),
    }
}

/// The source that a machine sends from; `Err` where it sends nothing.
fn source(
    model: &Model,
    spot: Spot<'_>,
    from: Option<IpAddr>,
    to: IpAddr,
) -> Result<Result<IpAddr, Answer>, AttachmentId> {
    let place = spot.place();
    let routed = match spot {
        Spot::Host => model.host.routed(&place),
        Spot::Inside(of) => match model.inside.get(&of.id) {
            None => return Err(of.id),
            Some(None) => {
                return Ok(Err(Answer::CannotTell { by: Doubt::Namespace { of: of.name.clone() } }));
            }
            Some(Some(machine)) => machine.routed(&place),
        },
    };
    Ok(routed.source(to).map(|chosen| from.unwrap_or(chosen)).map_err(Answer::from))
}

/// The link by which another machine's packets arrive.
fn uplink(model: &Model, source: IpAddr) -> Result<IfName, Answer> {
    let routed = host(model);
    match routed.route(source) {
        Route::Link(link) => Ok(link),
        _ => Err(routed.refusal(None, source, source).into()),
    }
}

/// Another machine: the next hop of the default route. Where there is none, an address of the documentation's
/// (RFC 5737, RFC 3849) stands for it.
fn beyond(model: &Model, v4: bool) -> IpAddr {
    let far = match v4 {
        true => IpAddr::V4(Ipv4Addr::new(198, 51, 100, 1)),
        false => IpAddr::V6(Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 1)),
    };
    match host(model).sending(far) {
        Ok(route) if route.destination.prefix_len() == 0 => route.gateway.unwrap_or(far),
        _ => default_gateway(model, v4).unwrap_or(far),
    }
}

/// The next hop of the main table's first default route.
fn default_gateway(model: &Model, v4: bool) -> Option<IpAddr> {
    let defaults = model.host.survey.routes.iter().filter(|route| {
        route.kind == RouteKind::Unicast && route.destination == any(v4) && route.gateway.is_some()
    });
    defaults.min_by_key(|route| route.metric).and_then(|route| route.gateway)
}

fn any(v4: bool) -> IpNet {
    let all = if v4 { IpAddr::V4(Ipv4Addr::UNSPECIFIED) } else { IpAddr::V6(Ipv6Addr::UNSPECIFIED) };
    // A prefix of no bits is one of both families.
    IpNet::new(all, 0).unwrap_or_else(|_| IpNet::from(all))
}

fn leads_out(model: &Model, v4: bool) -> bool {
    model.host.survey.routes.iter().any(|r| r.kind == RouteKind::Unicast && r.destination == any(v4))
}

/// The addresses that the target can mean, IPv4 first.
fn targets(model: &Model, asked: &Asked<'_>, start: Start<'_>) -> Result<Vec<IpAddr>, AttachmentId> {
    let mut targets = match asked.question.to() {
        Target::Address(address) => vec![*address],
        Target::Container(_) => {
            let of = asked.to.and_then(|id| model.attachment(id));
            let all: Vec<_> = of.map_or_else(Vec::new, |of| own_addresses(of).collect());
            let families = families(start);
            let usable = |address: &&IpAddr| families.contains(&address.is_ipv4());
            let usable: Vec<_> = all.iter().filter(usable).copied().collect();
            if usable.is_empty() { all } else { usable }
        }
        Target::Outside => {
            let families = families(start);
            let led: Vec<_> = families.iter().filter(|v4| leads_out(model, **v4)).copied().collect();
            let chosen = if led.is_empty() { families[..1].to_vec() } else { led };
            chosen.into_iter().map(|v4| beyond(model, v4)).collect()
        }
        Target::Host => {
            [true, false].into_iter().filter_map(|v4| host_address(model, start, asked, v4)).collect()
        }
    };
    targets.sort_by_key(IpAddr::is_ipv6);
    Ok(targets)
}

fn own_addresses(of: &Attachment) -> impl Iterator<Item = IpAddr> + '_ {
    of.endpoints.iter().flat_map(AttachedEndpoint::addresses).map(IpNet::addr)
}

/// Whether IPv4 and IPv6 are the sender's: a container has what its endpoints have.
fn families(start: Start<'_>) -> Vec<bool> {
    let both = vec![true, false];
    let Start::At(Spot::Inside(of)) = start else { return both };
    let has = |v4: &bool| own_addresses(of).any(|own| own.is_ipv4() == *v4);
    let own: Vec<_> = both.iter().filter(|v4| has(v4)).copied().collect();
    if own.is_empty() { both } else { own }
}

/// The address by which the sender knows the host.
fn host_address(model: &Model, start: Start<'_>, asked: &Asked<'_>, v4: bool) -> Option<IpAddr> {
    let own = |link: &str| {
        let mut addresses = model.host.survey.addresses.iter();
        let fits = |address: IpAddr| address.is_ipv4() == v4 && !is_link_local(address);
        addresses.find(|own| own.link == link && fits(own.address)).map(|own| own.address)
    };
    match start {
        Start::At(Spot::Host) => own("lo"),
        Start::Outside => {
            let source = match asked.question.from() {
                Sender::Outside(Some(address)) => *address,
                _ => beyond(model, v4),
            };
            match uplink(model, source) {
                Ok(link) => host(model).own(link, source).filter(|own| own.is_ipv4() == v4),
                // That nobody comes in is the answer, and it needs an address to be the answer for.
                Err(_) => outer_address(model, v4),
            }
        }
        Start::At(Spot::Inside(of)) => {
            let gateway =
                of.endpoints.iter().flat_map(|e| &e.gateways).find(|gateway| gateway.is_ipv4() == v4);
            let bridge = || of.endpoints.iter().find_map(|endpoint| own(endpoint.bridge.as_str()));
            let outer = || host(model).source(beyond(model, v4)).ok().or_else(|| outer_address(model, v4));
            let known = families(start).contains(&v4);
            let down = || outer_address(model, v4);
            gateway.copied().or_else(bridge).or_else(outer).or_else(down).filter(|_| known)
        }
    }
}

/// An address of the host that no network of ours has.
fn outer_address(model: &Model, v4: bool) -> Option<IpAddr> {
    let is_outer = |link: &str| model.bridges.iter().all(|bridge| bridge.as_str() != link);
    let fits = |address: IpAddr| address.is_ipv4() == v4 && !address.is_loopback() && !is_link_local(address);
    let mut own = model.host.survey.addresses.iter();
    own.find(|own| is_outer(&own.link) && fits(own.address)).map(|own| own.address)
}

const fn is_link_local(address: IpAddr) -> bool {
    matches!(address, IpAddr::V6(v6) if v6.is_unicast_link_local())
}
