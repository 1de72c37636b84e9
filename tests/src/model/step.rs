//! What can happen on a host: what someone tells the command, and what happens to it.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// The networks that there can be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Net {
    /// The default one, which is there as long as someone is on it.
    Bridge,
    /// IPv4, with a way out.
    N1,
    /// Both families, with a way out.
    N2,
    /// IPv4, internal, with room for one container.
    N3,
}

impl Net {
    pub(super) const ALL: [Self; 4] = [Self::Bridge, Self::N1, Self::N2, Self::N3];
    pub(super) const MADE: [Self; 3] = [Self::N1, Self::N2, Self::N3];

    /// What `network create` is told.
    pub(super) const fn options(self) -> &'static str {
        match self {
            Self::Bridge => "",
            Self::N1 => "--subnet 10.88.1.0/29",
            Self::N2 => "--subnet 10.88.2.0/29 --subnet fd88:2::/64",
            Self::N3 => "--subnet 10.88.3.0/30 --internal",
        }
    }

    pub(super) const fn is_internal(self) -> bool {
        matches!(self, Self::N3)
    }

    pub(super) const fn has_ipv6(self) -> bool {
        matches!(self, Self::N2)
    }

    /// The length of its IPv4 prefix.
    const fn length(self) -> u8 {
        match self {
            Self::Bridge => 16,
            Self::N1 | Self::N2 => 29,
            Self::N3 => 30,
        }
    }

    /// The numbers of the addresses that are handed out: not the network's own, the gateway's, the broadcast.
    pub(super) const fn hosts(self) -> std::ops::Range<u16> {
        match self {
            Self::Bridge => 2..0xffff,
            Self::N1 | Self::N2 => 2..7,
            Self::N3 => 2..3,
        }
    }

    /// The subnets, as their base addresses and the lengths of their prefixes.
    fn bases(self) -> Vec<(IpAddr, u8)> {
        let v4 = match self {
            Self::Bridge => Ipv4Addr::new(172, 17, 0, 0),
            Self::N1 => Ipv4Addr::new(10, 88, 1, 0),
            Self::N2 => Ipv4Addr::new(10, 88, 2, 0),
            Self::N3 => Ipv4Addr::new(10, 88, 3, 0),
        };
        let v6 = Ipv6Addr::new(0xfd88, 2, 0, 0, 0, 0, 0, 0);
        let v6 = self.has_ipv6().then_some((v6.into(), 64));
        [(v4.into(), self.length())].into_iter().chain(v6).collect()
    }

    /// The subnets as text.
    pub(super) fn subnets(self) -> Vec<String> {
        self.bases().into_iter().map(|(base, length)| format!("{base}/{length}")).collect()
    }

    /// The addresses of this number, IPv4 first, each with the length of its prefix.
    pub(super) fn addresses(self, number: u16) -> Vec<(IpAddr, u8)> {
        let nth = |(base, length)| match base {
            IpAddr::V4(base) => (Ipv4Addr::from(u32::from(base) + u32::from(number)).into(), length),
            IpAddr::V6(base) => (Ipv6Addr::from(u128::from(base) + u128::from(number)).into(), length),
        };
        self.bases().into_iter().map(nth).collect()
    }
}

impl fmt::Display for Net {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Bridge => "bridge",
            Self::N1 => "n1",
            Self::N2 => "n2",
            Self::N3 => "n3",
        })
    }
}

/// The containers that there can be. No id begins like the name of one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Who {
    P0,
    P1,
    P2,
    /// Its namespace is that of a process, and goes with it. Those of the others are files.
    P3,
}

impl Who {
    pub(super) const ALL: [Self; 4] = [Self::P0, Self::P1, Self::P2, Self::P3];
}

impl fmt::Display for Who {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::P0 => "p0",
            Self::P1 => "p1",
            Self::P2 => "p2",
            Self::P3 => "p3",
        })
    }
}

/// The ports that can be published.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Door {
    Web,
    Dns,
    /// To the host alone.
    Local,
}

impl Door {
    pub(super) const ALL: [Self; 3] = [Self::Web, Self::Dns, Self::Local];

    pub(super) const fn protocol(self) -> &'static str {
        match self {
            Self::Web | Self::Local => "tcp",
            Self::Dns => "udp",
        }
    }

    pub(super) const fn port(self) -> u16 {
        match self {
            Self::Web => 8000,
            Self::Dns => 8001,
            Self::Local => 8002,
        }
    }

    /// The one address of the host where it is.
    pub(super) const fn host_address(self) -> Option<&'static str> {
        match self {
            Self::Local => Some("127.0.0.1"),
            Self::Web | Self::Dns => None,
        }
    }

    /// What `attach` is told.
    pub(super) fn option(self) -> String {
        let at = self.host_address().map(|address| format!("{address}:")).unwrap_or_default();
        format!("-p {at}{}:80/{}", self.port(), self.protocol())
    }
}

/// Which of them one container publishes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Doors {
    Shut,
    Web,
    Dns,
    Local,
    All,
}

impl Doors {
    pub(super) const EACH: [Self; 5] = [Self::Shut, Self::Web, Self::Dns, Self::Local, Self::All];

    pub(super) const fn list(self) -> &'static [Door] {
        match self {
            Self::Shut => &[],
            Self::Web => &[Door::Web],
            Self::Dns => &[Door::Dns],
            Self::Local => &[Door::Local],
            Self::All => &Door::ALL,
        }
    }
}

/// The networks of one container, in the order of its links.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum On {
    One(Net),
    Two(Net, Net),
}

impl On {
    pub(super) fn list(self) -> Vec<Net> {
        match self {
            Self::One(net) => vec![net],
            Self::Two(first, second) => vec![first, second],
        }
    }
}

/// What the command is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Deed {
    Create(Net),
    Remove(Net),
    /// Remove with everyone who is on it.
    Force(Net),
    Attach(Who, On, Doors),
    Detach(Who),
    DetachBoth(Who, Who),
    DetachAll,
    /// Detach, and let nobody else have its addresses.
    Keep(Who),
    /// Let go of the address of this number, of a network of IPv4 alone.
    Release(Net, u16),
    Gc,
    Reconcile,
}

/// What others do to a host.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Harm {
    /// The container's namespace ends.
    Vanish(Who),
    /// The machine restarts.
    Reboot,
    FlushRules,
    DeleteBridge(Net),
    EmptyBridge(Net),
    BridgeDown(Net),
    /// An address that is not ours, on a bridge of ours.
    Stranger(Net),
    /// Another bridge in the place of ours.
    Usurp(Net),
    DeleteLink(Who),
    Unplug(Who),
    HostEndDown(Who),
    LinkDown(Who),
    LinkMac(Who),
    LinkAddress(Who),
    LinkRoutes(Who),
    /// A link of the name that ours would have, in a container that is not attached.
    Squat(Who),
    /// A program comes that has the port, or goes.
    Listen(Door),
    /// The file of an attachment is removed.
    LoseRecord(Who),
    LoseClaims,
    LoseLeases(Net),
}

/// A system call at which a command can be killed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct At(pub(super) &'static str, pub(super) usize);

/// One thing that happens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step {
    Do(Deed),
    Kill(Deed, At),
    Break(Harm),
}
