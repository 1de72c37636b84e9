//! What is promised to packets. It names no firewall, no bridge netfilter, no family and no transport protocol:
//! the promise is the same with each.
//!
//! Where a container publishes ports, they are 80 by TCP and by UDP; 81 is served and not published.

use linkspan::GatewayMode;

/// A container at its own address.
///
/// `all` is every port and ping, `published` is published ports and ping, `ports` is published ports alone. A
/// closed network is an internal or an isolated one, and to neighbours with `icc=false` it makes no difference by
/// which way they route. A network that trusts a link of the host trusts the machines behind it.
const DIRECTLY: Table = Table(
    "
                        nat   nat-trusting  nat-unprotected  routed     internal  isolated
    outside             -     -             all              published  -         -
    trusted             -     ports         all              published  -         -
    host                all   all           all              all        all       -
    itself              all   all           all              all        all       all
    neighbour           all   all           all              all        all       all
    icc-false-neighbour -     -             -                -          -         -
    other-network       -     -             all              published  -         -
    closed-network      -     -             -                -          -         -
    ",
);

/// A port of the host that a container publishes: at which address of the host it is published, and at which it is
/// asked for. `gateway` is the host's address on any network of ours. A trusted link is outside like any other.
///
/// Containers publish so on networks that translate, `nat` and `nat-unprotected`, with `icc=false` too; on others a
/// port of the host leads nowhere.
const BY_THE_HOST: Table = Table(
    "
                            outside  host  itself  neighbour  other-network  closed-network
    anywhere/uplink         yes      yes   yes     yes        yes            -
    anywhere/gateway        yes      yes   yes     yes        yes            -
    anywhere/127.0.0.1      -        yes   -       -          -              -
    anywhere/127.0.0.2      -        yes   -       -          -              -
    uplink/uplink           yes      yes   yes     yes        yes            -
    uplink/gateway          -        -     -       -          -              -
    uplink/127.0.0.1        -        -     -       -          -              -
    uplink/127.0.0.2        -        -     -       -          -              -
    127.0.0.1/uplink        -        -     -       -          -              -
    127.0.0.1/gateway       -        -     -       -          -              -
    127.0.0.1/127.0.0.1     -        yes   -       -          -              -
    127.0.0.1/127.0.0.2     -        -     -       -          -              -
    127.0.0.2/uplink        -        -     -       -          -              -
    127.0.0.2/gateway       -        -     -       -          -              -
    127.0.0.2/127.0.0.1     -        -     -       -          -              -
    127.0.0.2/127.0.0.2     -        yes   -       -          -              -
    ",
);

/// What is no container: a server outside, and what the host itself serves, at the address by which it goes
/// outside, at the gateway of the asker's network, and on its loopback addresses only.
const ELSEWHERE: Table = Table(
    "
                     outside  uplink  gateway  loopback
    outside          yes      yes     yes      -
    nat              yes      yes     yes      -
    nat-unprotected  yes      yes     yes      -
    routed           yes      yes     yes      -
    internal         -        yes     yes      -
    isolated         -        -       -        -
    ",
);

/// As whom a server sees the asker: by its `own` address, by that of the host's `link` towards the server, by any
/// address of the `host`, or by the one that `--snat` names.
///
/// A container that asks in other networks, or outside, is there by how its network goes out.
const SEEN_AS: Table = Table(
    "
                    directly  by-the-host
    outside         own       own
    trusted         own       own
    host            link      host
    itself          own       link
    neighbour       own       link
    masquerade      link      link
    no-masquerade   own       own
    routed          own       own
    snat            snat      snat
    ",
);

/// Words in rows and columns, each with a name.
struct Table(&'static str);

impl Table {
    fn word(&self, row: &str, column: &str) -> &'static str {
        let mut lines =
            self.0.lines().map(str::split_whitespace).filter(|words| words.clone().next().is_some());
        let place = lines.next().and_then(|mut names| names.position(|name| name == column));
        let words = lines.find_map(|mut words| (words.next() == Some(row)).then_some(words));
        let word = place.zip(words).and_then(|(place, mut words)| words.nth(place));
        word.unwrap_or_else(|| panic!("the table has no {row}, {column}"))
    }
}

/// What a network is, as far as packets are concerned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Kind {
    pub(crate) mode: GatewayMode,
    pub(crate) neighbours: bool,
    pub(crate) out: Out,
    pub(crate) ipv6: bool,
    /// It trusts the link of the host to the machine that is so called.
    pub(crate) trusting: bool,
}

/// How packets leave a network that translates.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Out {
    Masquerade,
    NoMasquerade,
    Snat,
}

impl Kind {
    pub(crate) const fn new(mode: GatewayMode) -> Self {
        Self { mode, neighbours: true, out: Out::Masquerade, ipv6: true, trusting: false }
    }

    /// With `icc=false`.
    pub(crate) const fn quiet(mode: GatewayMode) -> Self {
        Self { neighbours: false, ..Self::new(mode) }
    }

    pub(crate) const fn is_closed(self) -> bool {
        matches!(self.mode, GatewayMode::Internal | GatewayMode::Isolated)
    }

    /// Whether its published ports are ports of the host.
    pub(crate) const fn translates(self) -> bool {
        matches!(self.mode, GatewayMode::Nat | GatewayMode::NatUnprotected)
    }

    /// The command's word for its mode.
    pub(crate) fn mode(self) -> &'static str {
        match self.mode {
            GatewayMode::Nat => "nat",
            GatewayMode::NatUnprotected => "nat-unprotected",
            GatewayMode::Routed => "routed",
            GatewayMode::Internal => "internal",
            GatewayMode::Isolated => "isolated",
            other => panic!("nothing is promised of {other:?}"),
        }
    }

    fn column(self) -> &'static str {
        if self.trusting { "nat-trusting" } else { self.mode() }
    }

    fn out(self) -> &'static str {
        match (self.mode, self.out) {
            (GatewayMode::Routed, _) => "routed",
            (_, Out::Masquerade) => "masquerade",
            (_, Out::NoMasquerade) => "no-masquerade",
            (_, Out::Snat) => "snat",
        }
    }
}

/// Who asks, as the asked container's network sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Asker {
    Outside,
    /// A machine outside, by a link that some networks trust.
    Trusted,
    Host,
    Itself,
    Neighbour,
    /// A container of another network.
    Other(Kind),
}

impl Asker {
    fn word(self) -> &'static str {
        match self {
            Self::Outside => "outside",
            Self::Trusted => "trusted",
            Self::Host => "host",
            Self::Itself => "itself",
            Self::Neighbour => "neighbour",
            Self::Other(kind) if kind.is_closed() => "closed-network",
            Self::Other(_) => "other-network",
        }
    }

    fn seen(self, way: &str) -> Promise {
        let row = if let Self::Other(kind) = self { kind.out() } else { self.word() };
        seen(row, way)
    }
}

/// What is asked of a container at its own address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Service {
    Published,
    Unpublished,
    Ping,
}

/// What comes of a question.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Promise {
    /// It never arrives, and is never answered.
    Nothing,
    /// It is answered, by a server that sees the asker so.
    Answer(Face),
}

/// By which address a server sees who asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Face {
    Own,
    Link,
    Host,
    Snat,
}

fn seen(row: &str, way: &str) -> Promise {
    Promise::Answer(match SEEN_AS.word(row, way) {
        "own" => Face::Own,
        "link" => Face::Link,
        "host" => Face::Host,
        "snat" => Face::Snat,
        word => panic!("nobody is seen as {word}"),
    })
}

/// Asks a container of this network at its own address.
pub(crate) fn directly(asker: Asker, of: Kind, service: Service) -> Promise {
    let row = match asker {
        Asker::Neighbour if !of.neighbours => "icc-false-neighbour",
        asker => asker.word(),
    };
    match (DIRECTLY.word(row, of.column()), service) {
        ("-", _) | ("published" | "ports", Service::Unpublished) | ("ports", Service::Ping) => {
            Promise::Nothing
        }
        ("all" | "published" | "ports", _) => asker.seen("directly"),
        (word, _) => panic!("nobody knows what {word} lets in"),
    }
}

/// Asks for a port of the host that a container of this network publishes.
pub(crate) fn by_the_host(asker: Asker, of: Kind, published: &str, asked: &str) -> Promise {
    let column = if asker == Asker::Trusted { "outside" } else { asker.word() };
    match BY_THE_HOST.word(&format!("{published}/{asked}"), column) {
        "yes" if of.translates() => asker.seen("by-the-host"),
        _ => Promise::Nothing,
    }
}

/// Asks from outside, or from a container of this network, what is no container.
pub(crate) fn elsewhere(asker: Option<Kind>, target: &str) -> Promise {
    match (ELSEWHERE.word(asker.map_or("outside", Kind::mode), target), asker) {
        ("yes", Some(kind)) if target == "outside" => seen(kind.out(), "directly"),
        ("yes", _) => Promise::Answer(Face::Own),
        _ => Promise::Nothing,
    }
}
