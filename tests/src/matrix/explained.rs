//! What is explained of each cell is what its packets do.

use super::ask::{Answer as Heard, By};
use super::cells::Cell;
use super::place::{HIDDEN, OPEN, Place};
use super::{Observed, Outcome};
use crate::world::Family;
use linkspan::explain::{Arrival, Doubt, Leg, Way};
use linkspan::{Answer, Port, Protocol, Question, Sender, Target};
use std::net::IpAddr;

/// The cells of which something else is said than what happened.
pub(crate) fn otherwise(place: &Place<'_>, observed: &[Observed]) -> Vec<String> {
    let questions: Vec<_> = observed.iter().map(|observed| question(place, &observed.cell)).collect();
    let explained = place.world.host.explain_all(&questions).unwrap();
    let pairs = observed.iter().zip(&explained);
    let wrong = pairs.filter(|(observed, explanation)| {
        assert!(explanation.repairs().is_empty(), "{explanation}");
        !explanation.ways().iter().all(|way| is_so(observed, way))
    });
    wrong
        .map(|(Observed { cell, outcome }, explanation)| {
            format!("{}: {cell}: got {outcome}, explained: {explanation}", place.world.case)
        })
        .collect()
}

fn question(place: &Place<'_>, cell: &Cell) -> Question {
    let family = if cell.to.is_ipv4() { Family::V4 } else { Family::V6 };
    let from = match cell.from.as_str() {
        "host" => Sender::Host,
        "outside" => Sender::Outside(Some(place.world.remote_address(family))),
        "trusted" => Sender::Outside(Some(place.trusted_address(family))),
        container => Sender::Container(container.to_owned()),
    };
    let question = Question::new(from, Target::Address(cell.to.ip()));
    let at = |protocol| {
        Port::new(cell.to.port()).into_iter().fold(question.clone(), |q, port| q.at(protocol, port))
    };
    match cell.by {
        By::Tcp => at(Protocol::Tcp),
        By::Udp => at(Protocol::Udp),
        By::Ping => question,
    }
}

fn is_so(Observed { cell, outcome }: &Observed, way: &Way) -> bool {
    match (way.answer(), outcome) {
        (Answer::Passes { .. }, Outcome::Answered(Heard::Echo)) => true,
        (Answer::Passes { to }, Outcome::Answered(Heard::From(witness))) => {
            let server = match to {
                Arrival::Host => "host".to_owned(),
                Arrival::Container(name) => name.to_string(),
                Arrival::Link(link) if link.as_str() == "uplink" => "outside".to_owned(),
                other => other.to_string(),
            };
            server == witness.server
        }
        // It arrives where nobody serves it.
        (Answer::Passes { to: Arrival::Host }, Outcome::Nothing) => !is_served_by_host(cell),
        (Answer::Passes { to: Arrival::Container(name) }, Outcome::Nothing) => {
            name.as_str() == cell.from && cell.to.ip().is_loopback()
        }
        // One of the rules beside ours looks for a port where an echo has its checksum.
        (Answer::CannotTell { by: Doubt::Rule { rule, .. } }, _) => {
            cell.by == By::Ping && rule.rule().starts_with("th dport ")
        }
        (Answer::StoppedBy { .. }, Outcome::Nothing) => way.leg() == Leg::Request || cell.by != By::Udp,
        (Answer::StoppedBy { .. }, Outcome::OneWay(_)) => way.leg() == Leg::Answer,
        _ => false,
    }
}

/// Whether the host serves what is asked for, at this address.
fn is_served_by_host(cell: &Cell) -> bool {
    let localhost = [IpAddr::V4([127, 0, 0, 1].into()), "::1".parse().unwrap()].contains(&cell.to.ip());
    match cell.to.port() {
        OPEN => !cell.to.ip().is_loopback(),
        HIDDEN => localhost,
        _ => false,
    }
}
