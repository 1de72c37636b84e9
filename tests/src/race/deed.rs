//! What somebody may do at random.

use crate::dice::Dice;
use std::net::IpAddr;

/// How many names, namespaces, networks and ports there are to quarrel about.
pub(super) const NAMES: usize = 20;
pub(super) const NAMESPACES: usize = 20;
const NETWORKS: usize = 4;
/// The network that everybody is on who wishes for none.
const DEFAULT: &str = "bridge";
const PORTS: usize = 10;

/// One operation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Deed {
    Attach(Wish),
    /// A container that lives as long as a program in it.
    Run {
        network: String,
        port: Option<u16>,
    },
    Detach {
        name: String,
    },
    /// Detach, and let no other name have its addresses.
    Keep {
        name: String,
    },
    /// Let go of an address that is kept.
    Release(Kept),
    Create {
        network: String,
    },
    Remove {
        network: String,
    },
    RemoveWithAll {
        network: String,
    },
    /// The namespace ends without being detached, and another is at its place.
    Vanish {
        netns: usize,
    },
    List,
    Repair,
    Gc,
    Reconcile,
    /// Asks somebody who is certain to be there by a port of the host.
    Ask,
}

/// An address of a network, and for which name it is kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Kept {
    pub(super) network: String,
    pub(super) address: IpAddr,
    pub(super) name: String,
}

/// A wish for a container.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Wish {
    pub(super) name: String,
    pub(super) netns: usize,
    pub(super) networks: Vec<String>,
    pub(super) address: Option<String>,
    /// Ports of the host, all leading to port 80; `None` is any.
    pub(super) ports: Vec<Option<u16>>,
}

impl Deed {
    /// Draws one; the names are of those that are there, and of the addresses that are kept one is released.
    pub(super) fn draw(dice: &mut Dice, there: &[String], kept: &[Kept]) -> Self {
        match dice.below(100) {
            0..48 => Self::Attach(Wish::draw(dice)),
            48..50 if !kept.is_empty() => Self::Release(dice.pick(kept)),
            48..57 => Self::Detach { name: name_of(dice, there) },
            57..62 => Self::Keep { name: name_of(dice, there) },
            62..69 => Self::Create { network: network(dice) },
            69..72 => Self::Remove { network: network(dice) },
            72..73 => Self::RemoveWithAll { network: network(dice) },
            73..77 => Self::Run { network: any_network(dice), port: dice.happens(30).then(|| port(dice)) },
            77..79 => Self::Vanish { netns: dice.below(NAMESPACES) },
            79..81 => Self::List,
            81..83 => Self::Repair,
            83..85 => Self::Gc,
            85..87 => Self::Reconcile,
            _ => Self::Ask,
        }
    }

    /// Whether a process that is killed at it leaves anything.
    pub(super) const fn changes(&self) -> bool {
        !matches!(self, Self::List | Self::Ask | Self::Vanish { .. })
    }

    /// The words of the command; none where the command has none for it.
    pub(super) fn line(&self) -> Option<String> {
        Some(match self {
            Self::Attach(wish) => wish.line(),
            Self::Run { network, port } => {
                let publish = port.map(|port| format!("-p {port}:80")).unwrap_or_default();
                format!("run --network {network} {publish} -- true")
            }
            Self::Detach { name } => format!("detach {name}"),
            Self::Keep { name } => format!("detach --keep-address {name}"),
            Self::Release(Kept { network, address, .. }) => format!("network release {network} {address}"),
            Self::Create { network } => format!("network create {network} --subnet {}", subnet(network)),
            Self::Remove { network } => format!("network rm {network}"),
            Self::RemoveWithAll { network } => format!("network rm --force {network}"),
            Self::List => "network ls".to_owned(),
            Self::Repair => "ps".to_owned(),
            Self::Gc => "gc".to_owned(),
            Self::Reconcile => "reconcile".to_owned(),
            Self::Vanish { .. } | Self::Ask => return None,
        })
    }
}

impl Wish {
    fn draw(dice: &mut Dice) -> Self {
        let mut networks = vec![any_network(dice)];
        let second = any_network(dice);
        if dice.happens(25) && !networks.contains(&second) {
            networks.push(second);
        }
        let address = (networks.len() == 1 && networks[0] != DEFAULT && dice.happens(25))
            .then(|| format!("{}.{}", prefix(&networks[0]), 2 + dice.below(5)));
        let mut ports: Vec<_> = (0..dice.below(3)).map(|_| dice.happens(80).then(|| port(dice))).collect();
        ports.dedup();
        let (name, netns) = (name_of(dice, &[]), dice.below(NAMESPACES));
        Self { name, netns, networks, address, ports }
    }

    fn line(&self) -> String {
        let networks = self.networks.iter().map(|network| format!("--network {network}"));
        let address = self.address.iter().map(|address| format!("--ip {address}"));
        let ports = self.ports.iter().map(|port| match port {
            Some(port) => format!("-p {port}:80"),
            None => "-p 80".to_owned(),
        });
        let options: Vec<_> = networks.chain(address).chain(ports).collect();
        format!("attach {} --netns {} {}", self.name, path(self.netns), options.join(" "))
    }
}

/// Where a namespace is.
pub(super) fn path(netns: usize) -> String {
    format!("/run/netns/n{netns}")
}

/// One who is there as a rule, else anybody.
fn name_of(dice: &mut Dice, there: &[String]) -> String {
    match there.is_empty() || dice.happens(20) {
        // No id begins like that: a name that nobody has may be the beginning of an id.
        true => format!("p{}", dice.below(NAMES)),
        false => there[dice.below(there.len())].clone(),
    }
}

fn network(dice: &mut Dice) -> String {
    format!("net-{}", dice.below(NETWORKS))
}

fn any_network(dice: &mut Dice) -> String {
    if dice.happens(25) { DEFAULT.to_owned() } else { network(dice) }
}

/// Every network that there can be.
pub(super) fn networks() -> impl Iterator<Item = String> {
    (0..NETWORKS).map(|number| format!("net-{number}")).chain([DEFAULT.to_owned()])
}

fn port(dice: &mut Dice) -> u16 {
    8000 + u16::try_from(dice.below(PORTS)).expect("there are few")
}

fn prefix(network: &str) -> String {
    format!("10.88.{}", network.trim_start_matches("net-"))
}

/// The subnet of a network: always the same one, so that its addresses are had again and again.
pub(super) fn subnet(network: &str) -> String {
    format!("{}.0/24", prefix(network))
}
