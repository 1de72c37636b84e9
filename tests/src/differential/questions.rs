//! What is asked about a host that is there.

use super::topology::REMOTE_ADDRESSES;
use crate::dice::Dice;
use linkspan::{Attachment, Host, IpNet, Protocol};
use std::fmt;
use std::net::IpAddr;

/// A port of the host that nobody publishes, and one of containers.
const UNPUBLISHED: u16 = 7000;

/// In the words of `linkspan explain`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Asked {
    pub(super) from: String,
    pub(super) to: String,
}

impl Asked {
    pub(super) fn new(from: &str, to: &str) -> Self {
        Self { from: from.to_owned(), to: to.to_owned() }
    }

    fn is_from_outside(&self) -> bool {
        self.from == "outside" || self.from.parse::<IpAddr>().is_ok()
    }

    /// What the remote machine asks itself or its neighbours never comes to the host.
    fn stays_outside(&self) -> bool {
        let at_home = REMOTE_ADDRESSES.iter().chain(&["outside", "::1"]);
        at_home.into_iter().any(|home| self.to.starts_with(home) || self.to.starts_with(&format!("[{home}]")))
    }
}

impl fmt::Display for Asked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "linkspan explain {} {}", self.from, self.to)
    }
}

/// What there is to ask for.
#[derive(Debug)]
pub(super) struct Sights {
    containers: Vec<Attachment>,
    gateways: Vec<IpAddr>,
}

/// What an address stands for, which says what is worth asking there.
enum Place<'a> {
    Host,
    Container(&'a Attachment),
    Elsewhere,
}

impl Sights {
    pub(super) fn of(host: &Host) -> Self {
        let networks = host.networks().unwrap();
        let gateways = networks.iter().flat_map(|network| network.gateways().map(|gateway| gateway.addr()));
        Self { containers: host.attachments().unwrap(), gateways: gateways.collect() }
    }

    /// The ports at which containers are reached by those of the host.
    pub(super) fn ports(&self) -> impl Iterator<Item = u16> {
        self.containers.iter().flat_map(Attachment::published).map(|port| port.port().get())
    }

    /// Some questions, each once.
    pub(super) fn questions(&self, dice: &mut Dice, count: usize) -> Vec<Asked> {
        let mut questions: Vec<_> = (0..count).map(|_| self.question(dice)).collect();
        questions.retain(|asked| !(asked.is_from_outside() && asked.stays_outside()));
        questions.sort();
        questions.dedup();
        questions
    }

    fn question(&self, dice: &mut Dice) -> Asked {
        let (target, place) = self.target(dice);
        let family = target.parse::<IpAddr>().map(|target| target.is_ipv4());
        let from = match (dice.below(10), family) {
            (0 | 1, _) => "host".to_owned(),
            (3, Ok(true)) => dice.one(&["192.0.2.2", "198.51.100.9"]).to_owned(),
            (3, Ok(false)) => dice.one(&["2001:db8::2", "2001:db8:9::9"]).to_owned(),
            (2 | 3, _) => "outside".to_owned(),
            _ if self.containers.is_empty() => "outside".to_owned(),
            _ => self.container(dice).name().to_string(),
        };
        let service = self.service(dice, &place);
        let to = match (target.contains(':'), service) {
            (_, None) => target,
            (false, Some((by, port))) => format!("{target}:{port}/{by}"),
            (true, Some((by, port))) => format!("[{target}]:{port}/{by}"),
        };
        Asked { from, to }
    }

    fn container(&self, dice: &mut Dice) -> &Attachment {
        &self.containers[dice.below(self.containers.len())]
    }

    fn target(&self, dice: &mut Dice) -> (String, Place<'_>) {
        let known = |words: &str, place| (words.to_owned(), place);
        match dice.below(20) {
            0 => known("host", Place::Host),
            1..=5 => known(
                dice.one(&["192.0.2.1", "192.0.2.1", "192.0.2.7", "2001:db8::1", "2001:db8::7"]),
                Place::Host,
            ),
            6 => known(dice.one(&["127.0.0.1", "127.0.0.5", "::1"]), Place::Host),
            7 => known("outside", Place::Elsewhere),
            8 => known(dice.one(&REMOTE_ADDRESSES), Place::Elsewhere),
            9 => known(dice.one(&["10.88.0.77", "fd88::77", "10.88.0.99", "10.88.1.99"]), Place::Elsewhere),
            10 | 11 if !self.gateways.is_empty() => (dice.pick(&self.gateways).to_string(), Place::Host),
            _ if self.containers.is_empty() => known("host", Place::Host),
            12 | 13 => {
                let container = self.container(dice);
                (container.name().to_string(), Place::Container(container))
            }
            _ => {
                let container = self.container(dice);
                let addresses: Vec<_> = container
                    .endpoints()
                    .iter()
                    .flat_map(|e| e.addresses().iter().map(IpNet::addr))
                    .collect();
                match addresses.is_empty() {
                    true => (container.name().to_string(), Place::Container(container)),
                    false => (dice.pick(&addresses).to_string(), Place::Container(container)),
                }
            }
        }
    }

    fn service(&self, dice: &mut Dice, place: &Place<'_>) -> Option<(Protocol, u16)> {
        let other = |dice: &mut Dice| (dice.pick(&[Protocol::Tcp, Protocol::Udp]), UNPUBLISHED);
        if dice.happens(12) {
            return None;
        }
        let ports: Vec<_> = match place {
            Place::Host => {
                let published = self.containers.iter().flat_map(Attachment::published);
                published.filter_map(|port| Some((port.protocol(), port.host()?.port().get()))).collect()
            }
            Place::Container(container) => {
                container.published().iter().map(|port| (port.protocol(), port.port().get())).collect()
            }
            Place::Elsewhere => Vec::new(),
        };
        match ports.is_empty() || dice.happens(25) {
            true => Some(other(dice)),
            false => Some(dice.pick(&ports)),
        }
    }
}
