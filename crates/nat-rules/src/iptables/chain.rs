use crate::Instance;
use std::fmt;

/// A table of iptables that rules of ours are in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Table {
    Raw,
    Filter,
    Nat,
}

impl Table {
    /// What forbids comes before what publishes.
    pub(super) const ALL: [Self; 3] = [Self::Raw, Self::Filter, Self::Nat];

    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Raw => "raw",
            Self::Filter => "filter",
            Self::Nat => "nat",
        }
    }

    pub(super) const fn chains(self) -> &'static [Chain] {
        match self {
            Self::Raw => &[Chain::Pre],
            Self::Filter => &[Chain::User, Chain::Forward],
            Self::Nat => &[Chain::Dnat, Chain::DnatOut, Chain::Post],
        }
    }

    /// Whether our jumps go before what is there: a foreign rule that accepts must not skip what forbids.
    pub(super) const fn comes_first(self) -> bool {
        !matches!(self, Self::Nat)
    }
}

/// A chain of ours.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Chain {
    Pre,
    User,
    Forward,
    Dnat,
    DnatOut,
    Post,
}

impl Chain {
    pub(super) const fn of(self, instance: Instance) -> Named {
        Named { chain: self, instance }
    }

    /// The condition and the chain of the kernel under which it is entered.
    const fn entrance(self) -> &'static str {
        match self {
            Self::Pre => "PREROUTING",
            Self::User | Self::Forward => "FORWARD",
            Self::Dnat => "PREROUTING -m addrtype --dst-type LOCAL",
            Self::DnatOut => "OUTPUT -m addrtype --dst-type LOCAL",
            Self::Post => "POSTROUTING",
        }
    }
}

/// A chain by the name it has for an instance.
#[derive(Clone, Copy)]
pub(super) struct Named {
    chain: Chain,
    instance: Instance,
}

impl Named {
    /// The jump that enters it, without the command before it.
    pub(super) fn jump(self) -> String {
        format!("{} -j {self}", self.chain.entrance())
    }
}

impl fmt::Display for Named {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let suffix = match self.chain {
            Chain::User => return write!(f, "{}-user", self.instance),
            Chain::Pre => "PRE",
            Chain::Forward => "FORWARD",
            Chain::Dnat => "DNAT",
            Chain::DnatOut => "DNAT-OUT",
            Chain::Post => "POST",
        };
        write!(f, "{}-{suffix}", self.instance.as_str().to_ascii_uppercase())
    }
}
