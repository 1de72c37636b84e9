use super::Family;
use super::chain::{Chain, Table};
use super::line::{Act, Carries, Line, State};
use crate::network::Source;
use crate::{Access, Destination, Instance, Network, Publish, Ruleset, Way};
use ipnet::{IpNet, Ipv4Net, Ipv6Net};
use linkspan_net_types::{IfName, Port, Protocol};
use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

/// The whole of these rules as `iptables-save` or `ip6tables-save` prints what is ours.
///
/// It is empty where there are no rules. A network is in the text of both families: a bridge without a subnet
/// of one is closed to that family, as it is by [`crate::nftables`].
pub fn text(instance: Instance, rules: &Ruleset, family: Family) -> String {
    let mut text = String::new();
    if rules.is_empty() {
        return text;
    }
    let rules = Rules::of(rules, family);
    for table in Table::ALL {
        let declared = table.chains().iter().map(|c| format!(":{} - [0:0]\n", c.of(instance)));
        let jumps = table.chains().iter().map(|c| format!("-A {}\n", c.of(instance).jump()));
        text.extend([format!("*{}\n", table.name())]);
        text.extend(declared.chain(jumps));
        text.extend(rules.of_table(table, instance));
        text.push_str("COMMIT\n");
    }
    text
}

/// The rules of each chain of ours, in their order.
pub(super) struct Rules {
    chains: BTreeMap<Chain, Vec<String>>,
}

impl Rules {
    pub(super) fn of(rules: &Ruleset, family: Family) -> Self {
        Self { chains: Writer { rules, family }.chains() }
    }

    pub(super) fn of_chain(&self, chain: Chain) -> &[String] {
        self.chains.get(&chain).map_or(&[], Vec::as_slice)
    }

    /// The rules of a table as commands.
    pub(super) fn of_table(&self, table: Table, instance: Instance) -> impl Iterator<Item = String> {
        let of_chain = move |&chain: &Chain| {
            let name = chain.of(instance);
            self.of_chain(chain).iter().map(move |rule| format!("-A {name} {rule}\n"))
        };
        table.chains().iter().flat_map(of_chain)
    }
}

impl Family {
    pub(super) const fn is_of(self, address: IpAddr) -> bool {
        matches!((self, address), (Self::V4, IpAddr::V4(_)) | (Self::V6, IpAddr::V6(_)))
    }

    /// Whether a network or a port is of this family, so that it cannot do without rules of it.
    pub(super) fn is_needed(self, rules: &Ruleset) -> bool {
        rules.networks().any(|network| self.subnets(network).next().is_some())
            || rules.published().any(|publish| self.is_of(publish.to().address()))
    }

    fn subnets(self, network: &Network) -> impl Iterator<Item = IpNet> {
        network.subnets().filter(move |subnet| self.is_of(subnet.addr()))
    }

    const fn icmp(self) -> Carries {
        match self {
            Self::V4 => Carries::Icmp,
            Self::V6 => Carries::Icmp6,
        }
    }
}

/// 127.0.0.0/8.
fn loopback() -> IpNet {
    Ipv4Net::new_assert(Ipv4Addr::new(127, 0, 0, 0), 8).into()
}

fn any() -> Line {
    Line::default()
}

struct Writer<'a> {
    rules: &'a Ruleset,
    family: Family,
}

impl Writer<'_> {
    fn chains(&self) -> BTreeMap<Chain, Vec<String>> {
        let of_hook = |chain| (chain, self.publishing(chain));
        [(Chain::Pre, self.early()), (Chain::Forward, self.forward()), (Chain::Post, self.leaving())]
            .into_iter()
            .chain([Chain::Dnat, Chain::DnatOut].map(of_hook))
            .collect()
    }

    fn each<L: IntoIterator<Item = String>>(&self, lines: impl Fn(&Network) -> L) -> Vec<String> {
        self.rules.networks().flat_map(lines).collect()
    }

    /// Before connection tracking, in table raw, where no foreign ACCEPT in FORWARD skips it.
    fn early(&self) -> Vec<String> {
        let inside = self.each(|network| {
            let from = any().from(network.bridge());
            let host_only =
                [from.target(loopback()).then(Act::Drop), from.source(loopback()).then(Act::Drop)];
            let host_only = host_only.into_iter().filter(|_| self.family == Family::V4);
            let isolated = network.access() == Access::Isolated;
            let apart = isolated.then(|| from.on_host().then(Act::Drop));
            host_only.chain(apart).chain([from.then(Act::Return)])
        });
        let guarded = |network: &Network| {
            let subnets = self.family.subnets(network).filter(|_| network.is_guarded());
            subnets.map(|subnet| any().target(subnet)).collect::<Vec<_>>()
        };
        let trusted = self.each(|network| {
            let pass = |to: Line| network.trusted().map(move |link| to.from(link).then(Act::Return));
            guarded(network).into_iter().flat_map(pass).collect::<Vec<_>>()
        });
        let shut = self.each(|network| {
            guarded(network).into_iter().map(|to| to.off_host().then(Act::Drop)).collect::<Vec<_>>()
        });
        [inside, trusted, shut].concat()
    }

    /// What forbids by the source comes before what allows by the target; what leaves our bridges for
    /// others is let through at the end.
    fn forward(&self) -> Vec<String> {
        let open = |network: &&Network| !matches!(network.access(), Access::Internal | Access::Isolated);
        let out = |network: &Network| any().from(network.bridge()).then(Act::Accept);
        [
            self.each(same),
            self.each(internal),
            self.each(|network| self.inward(network)),
            self.rules.networks().filter(open).map(out).collect(),
        ]
        .concat()
    }

    /// To one network.
    fn inward(&self, network: &Network) -> Vec<String> {
        let to = any().to(network.bridge());
        let answers = to.state(State::Answer).then(Act::Accept);
        match network.access() {
            Access::Internal | Access::Isolated => Vec::new(),
            Access::Unprotected => vec![answers, to.then(Act::Accept)],
            Access::Nat => {
                let published = to.state(State::Published).then(Act::Accept);
                let trusted = self.trusted(network);
                [answers, published].into_iter().chain(trusted).chain([to.then(Act::Drop)]).collect()
            }
            Access::Routed => {
                let icmp = to.carries(self.family.icmp()).then(Act::Accept);
                let opened = self.opened(network.bridge()).map(|port| port.then(Act::Accept));
                [answers, icmp].into_iter().chain(opened).chain([to.then(Act::Drop)]).collect()
            }
        }
    }

    /// The published ports of a network, from the links that it trusts.
    fn trusted(&self, network: &Network) -> impl Iterator<Item = String> {
        let opened = self.opened(network.bridge());
        opened.flat_map(|port| network.trusted().map(move |link| port.from(link).then(Act::Accept)))
    }

    /// The published ports behind a bridge that are reached at the containers' own addresses.
    fn opened(&self, bridge: IfName) -> impl Iterator<Item = Line> {
        let published = self.published().filter(move |p| p.way() == Way::Routed { bridge });
        published.map(move |publish| {
            let port = Carries::Port(publish.protocol(), publish.to().port());
            any().target(publish.to().address().into()).to(bridge).carries(port)
        })
    }

    fn published(&self) -> impl Iterator<Item = &Publish> {
        self.rules.published().filter(|publish| self.family.is_of(publish.to().address()))
    }

    /// Where published ports lead: those at one address first. From outside nothing leads to 127.0.0.0/8,
    /// and nothing leads ::1 off the host.
    fn publishing(&self, chain: Chain) -> Vec<String> {
        let refused = match (self.family, chain) {
            (Family::V4, Chain::Dnat) => Some(loopback()),
            (Family::V6, Chain::DnatOut) => Some(Ipv6Net::from(Ipv6Addr::LOCALHOST).into()),
            _ => None,
        };
        let of_chain = |at: Option<IpAddr>| at.is_none_or(|a| chain == Chain::DnatOut || !a.is_loopback());
        let (anywhere, at_one): (Vec<_>, Vec<_>) =
            self.runs().into_iter().filter(|run| of_chain(run.at)).partition(|run| run.at.is_none());
        let shut = refused.map(|target| any().target(target).then(Act::Return));
        shut.into_iter().chain(at_one.iter().chain(&anywhere).map(Run::rule)).collect()
    }

    /// The ports that are published by address translation, in runs.
    fn runs(&self) -> Vec<Run> {
        let mut runs: Vec<Run> = Vec::new();
        for publish in self.published() {
            let Some(single) = Run::of(publish) else { continue };
            match runs.last_mut() {
                Some(run) if run.goes_on_with(&single) => run.last = single.last,
                _ => runs.push(single),
            }
        }
        runs
    }

    /// A container that reaches itself or a neighbour by a port of the host would answer past the
    /// translation, so its source is hidden; the rest is how networks go out.
    fn leaving(&self) -> Vec<String> {
        self.each(|network| {
            let bridge = network.bridge();
            let hairpin = |s| any().source(s).to(bridge).state(State::Published).then(Act::Masquerade);
            let host = any().source(loopback()).to(bridge).then(Act::Masquerade);
            let out = |subnet| {
                let line = any().source(subnet).not_to(bridge);
                network.source(subnet).map(|source| match source {
                    Source::Masqueraded => line.then(Act::Masquerade),
                    Source::Fixed(to) => line.then(Act::Snat(to)),
                })
            };
            let hairpins = self.family.subnets(network).map(hairpin);
            let host = Some(host).filter(|_| self.family == Family::V4);
            hairpins.chain(host).chain(self.family.subnets(network).filter_map(out)).collect::<Vec<_>>()
        })
    }
}

/// Ports in a row that lead to the same ports of one container, which one rule can say.
struct Run {
    protocol: Protocol,
    at: Option<IpAddr>,
    first: Port,
    last: Port,
    to: Destination,
}

impl Run {
    fn of(publish: &Publish) -> Option<Self> {
        let Way::Nat { at, port } = publish.way() else { return None };
        Some(Self { protocol: publish.protocol(), at, first: port, last: port, to: publish.to() })
    }

    fn goes_on_with(&self, next: &Self) -> bool {
        let alike = |run: &Self| (run.protocol, run.at, run.to.address(), run.to.port() == run.first);
        alike(self) == alike(next)
            && next.to.port() == next.first
            && self.last.get().checked_add(1) == Some(next.first.get())
    }

    /// Reads what [`rule`](Self::rule) wrote, as `iptables-save` prints it.
    fn read(rule: &str) -> Option<Self> {
        let (line, to) = rule.split_once(" -j DNAT --to-destination ")?;
        let (at, carries) = match line.strip_prefix("-d ") {
            Some(rest) => {
                let (at, carries) = rest.split_once(' ')?;
                (Some(at.split_once('/').map_or(at, |(at, _)| at).parse().ok()?), carries)
            }
            None => (None, line),
        };
        let (protocol, ports) = carries.strip_prefix("-p ")?.split_once(" --dport ")?;
        let protocol = protocol.split_once(" -m ")?.0.parse().ok()?;
        let (first, last) = ports.split_once(':').unwrap_or((ports, ports));
        let (first, last) = (first.parse().ok()?, last.parse().ok()?);
        let to = match to.parse::<SocketAddr>() {
            Ok(to) => Destination::new(to.ip(), Port::new(to.port())?),
            Err(_) => Destination::new(to.parse().ok()?, first),
        };
        Some(Self { protocol, at, first, last, to })
    }

    /// Each of its ports.
    fn ports(self) -> impl Iterator<Item = Publish> {
        let Self { protocol, at, first, last, to } = self;
        let keeps = to.port() == first;
        let each = (first.get()..=last.get()).filter_map(Port::new);
        each.filter_map(move |port| {
            let to = if keeps { Destination::new(to.address(), port) } else { to };
            let anywhere = Publish::nat(protocol, port, to);
            at.map_or(Some(anywhere), |at| anywhere.at(at).ok())
        })
    }

    fn rule(&self) -> String {
        let (ports, act) = match self.first == self.last {
            true => (Carries::Port(self.protocol, self.first), Act::Dnat(self.to)),
            // Without a port, the translation keeps it.
            false => (Carries::Ports(self.protocol, self.first, self.last), Act::DnatHost(self.to.address())),
        };
        let line = any().carries(ports);
        self.at.map_or(line, |at| line.target(at.into())).then(act)
    }
}

/// The ports that such a rule publishes; none where it is not one of those that [`Run::rule`] writes.
pub(super) fn published(rule: &str) -> Vec<Publish> {
    Run::read(rule).map(|run| run.ports().collect()).unwrap_or_default()
}

/// From a bridge to itself.
fn same(network: &Network) -> Vec<String> {
    let line = any().from(network.bridge()).to(network.bridge());
    match network.neighbours() {
        true => vec![line.then(Act::Accept)],
        false => vec![line.state(State::Published).then(Act::Accept), line.then(Act::Drop)],
    }
}

/// From and to the bridge of an internal network.
fn internal(network: &Network) -> Vec<String> {
    let bridge = network.bridge();
    match network.access() {
        Access::Internal | Access::Isolated => {
            vec![any().from(bridge).then(Act::Drop), any().to(bridge).then(Act::Drop)]
        }
        _ => Vec::new(),
    }
}
