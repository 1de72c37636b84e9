//! The ways in which each system call goes wrong.

use crate::calls::{BEYOND, LASTING, REFUSALS, SWALLOWED};
use crate::strace::Effect;
use linkspan::Firewall;

/// One way in which the calls of one name go wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Way {
    pub(super) call: &'static str,
    pub(super) effect: Effect,
    /// From one call on, and not at one alone.
    pub(super) lasting: bool,
}

impl Way {
    /// Every way there is, in a fixed order.
    pub(super) fn all() -> Vec<Self> {
        let refusals = REFUSALS.iter().flat_map(|(call, errors)| {
            errors.iter().map(|error| Self { call, effect: Effect::Refused(error), lasting: false })
        });
        let lasting =
            LASTING.map(|(call, error)| Self { call, effect: Effect::Refused(error), lasting: true });
        let names = REFUSALS.iter().map(|(call, _)| *call).chain(BEYOND);
        let kills = names.map(|call| Self { call, effect: Effect::Killed, lasting: false });
        refusals.chain(lasting).chain(kills).collect()
    }

    /// Whether it reaches what is linkspan's in this command. Where `run` waits for its program, `signal-hook` wakes it by
    /// a byte between two sockets of the process, which no kernel refuses, and which it takes for granted.
    pub(super) fn is_of(self, line: &str) -> bool {
        let wakes = match self.effect {
            Effect::Refused("EAGAIN") => self.call == "recvfrom",
            Effect::Refused(_) => self.call == "sendto" && line.contains("container:"),
            Effect::Killed => false,
        };
        !(wakes && line.starts_with("run "))
    }

    /// Whether it can be told where this firewall carries the rules.
    pub(super) fn is_told_with(self, firewall: Firewall) -> bool {
        let swallowed = |(call, error)| self.call == call && self.effect == Effect::Refused(error);
        firewall != Firewall::Iptables || !SWALLOWED.into_iter().any(swallowed)
    }
}
