use linkspan_net_types::{ParsePortError, ParseProtocolError, Port, Protocol};
use serde::{Deserialize, Serialize};
use std::fmt;
use std::net::IpAddr;

/// Who asks for what: the first packet of a connection, or an ICMP echo request where no port is given.
///
/// ```
/// use linkspan::{Port, Protocol, Question, Sender, Target};
///
/// let question = Question::parse("web", "[fd88::2]:80/udp")?;
/// assert_eq!(question.from(), &Sender::Container("web".to_owned()));
/// assert_eq!(question.to(), &Target::Address("fd88::2".parse()?));
/// assert_eq!(question.service(), Some((Protocol::Udp, Port::new(80).ok_or("a port")?)));
///
/// let ping = Question::new(Sender::Host, Target::Outside);
/// assert_eq!(ping, Question::parse("host", "outside")?);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Question {
    from: Sender,
    to: Target,
    pub(super) service: Option<Service>,
}

/// What is asked for of the target.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Service {
    pub(super) protocol: Protocol,
    pub(super) port: Port,
}

/// Who sends the first packet.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Sender {
    /// The host itself.
    Host,
    /// Another machine, with this address; without one, the one that the default route leads to.
    ///
    /// It arrives by the link by which the host would send to it. An address of a container or of the host stands
    /// for that container, or for the host, sending from it.
    Outside(Option<IpAddr>),
    /// A container by its name, its id, or the beginning of its id, as [`Host::find`](crate::Host::find) takes it.
    Container(String),
}

/// Whom the first packet is sent to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Target {
    /// The host, at the address by which the sender knows it: a container's gateway, the one of the link that
    /// leads outside, the host's own loopback address.
    Host,
    /// Another machine: the one that the default route leads to.
    Outside,
    /// Whoever has this address.
    Address(IpAddr),
    /// A container, at each of its addresses, by its name, its id, or the beginning of its id.
    Container(String),
}

impl Question {
    /// Asks for an ICMP echo request, and its reply.
    pub const fn new(from: Sender, to: Target) -> Self {
        Self { from, to, service: None }
    }

    /// Asks for a connection to this port instead.
    #[must_use]
    pub const fn at(mut self, protocol: Protocol, port: Port) -> Self {
        self.service = Some(Service { protocol, port });
        self
    }

    /// Reads the words of the command: `host`, `outside`, an address or a container; behind the target `:PORT` or
    /// `:PORT/PROTO`, with an IPv6 address in brackets then. Without PROTO it is TCP.
    ///
    /// # Errors
    /// [`ParseQuestionError`] says which part is wrong.
    pub fn parse(from: &str, to: &str) -> Result<Self, ParseQuestionError> {
        let (to, service) = split(to)?;
        Ok(Self { from: sender(from)?, to: target(to)?, service })
    }

    /// Who sends.
    pub const fn from(&self) -> &Sender {
        &self.from
    }

    /// Whom it is sent to.
    pub const fn to(&self) -> &Target {
        &self.to
    }

    /// The port that is asked for; `None` for an ICMP echo request.
    pub const fn service(&self) -> Option<(Protocol, Port)> {
        match self.service {
            Some(Service { protocol, port }) => Some((protocol, port)),
            None => None,
        }
    }
}

/// The target's word, and what is behind it.
fn split(text: &str) -> Result<(&str, Option<Service>), ParseQuestionError> {
    let whole = (text, None);
    let (word, service) = match text.strip_prefix('[') {
        Some(rest) => match rest.split_once(']').ok_or(ParseQuestionError::Bracket)? {
            (address, "") => return Ok((address, None)),
            (address, behind) => (address, behind.strip_prefix(':').ok_or(ParseQuestionError::Bracket)?),
        },
        // Without brackets, colons are those of the address.
        None if text.parse::<IpAddr>().is_ok() => return Ok(whole),
        None => match text.split_once(':') {
            Some(parts) => parts,
            None => return Ok(whole),
        },
    };
    let (port, protocol) = service.split_once('/').map_or((service, None), |(port, p)| (port, Some(p)));
    let protocol = protocol.map_or(Ok(Protocol::Tcp), str::parse).map_err(ParseQuestionError::Protocol)?;
    let port = port.parse().map_err(ParseQuestionError::Port)?;
    Ok((word, Some(Service { protocol, port })))
}

fn sender(word: &str) -> Result<Sender, ParseQuestionError> {
    Ok(match (word, word.parse()) {
        ("host", _) => Sender::Host,
        ("outside", _) => Sender::Outside(None),
        (_, Ok(address)) => Sender::Outside(Some(unicast(address)?)),
        (name, Err(_)) => Sender::Container(named(name)?),
    })
}

fn target(word: &str) -> Result<Target, ParseQuestionError> {
    Ok(match (word, word.parse()) {
        ("host", _) => Target::Host,
        ("outside", _) => Target::Outside,
        (_, Ok(address)) => Target::Address(unicast(address)?),
        (name, Err(_)) => Target::Container(named(name)?),
    })
}

/// Names and ids are letters, digits, `_`, `.` and `-`: what holds anything else is a mistyped address.
fn named(word: &str) -> Result<String, ParseQuestionError> {
    let inside = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '.' | '-');
    match word {
        "" => Err(ParseQuestionError::Empty),
        name if name.chars().all(inside) => Ok(name.to_owned()),
        name => Err(ParseQuestionError::Name(name.to_owned())),
    }
}

fn unicast(address: IpAddr) -> Result<IpAddr, ParseQuestionError> {
    let link_local = matches!(address, IpAddr::V6(v6) if v6.is_unicast_link_local());
    let broadcast = matches!(address, IpAddr::V4(v4) if v4.is_broadcast());
    match address {
        address if link_local => Err(ParseQuestionError::LinkLocal(address)),
        address if broadcast || address.is_multicast() || address.is_unspecified() => {
            Err(ParseQuestionError::NotUnicast(address))
        }
        address => Ok(address),
    }
}

/// Why two words are not a question.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ParseQuestionError {
    /// A word is empty.
    #[error("`host`, `outside`, an address or a container is needed")]
    Empty,
    /// A word is neither an address nor the name or id of a container.
    #[error("`{0}` is neither an address nor a container")]
    Name(String),
    /// The bracket of an IPv6 address is not closed, or something else than a port is behind it.
    #[error("an address in brackets is written [ADDRESS] or [ADDRESS]:PORT")]
    Bracket,
    /// The port is wrong.
    #[error("the port is wrong")]
    Port(#[source] ParsePortError),
    /// The protocol is wrong.
    #[error("the protocol is wrong")]
    Protocol(#[source] ParseProtocolError),
    /// A broadcast or multicast address, or the one that stands for none.
    #[error("{0} is no address of one machine")]
    NotUnicast(IpAddr),
    /// An IPv6 address that means another machine on each link (RFC 4291).
    #[error("link-local address {0} says nothing without a link")]
    LinkLocal(IpAddr),
}

impl fmt::Display for Question {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} -> ", self.from)?;
        match (&self.to, self.service()) {
            (to, None) => to.fmt(f),
            (Target::Address(IpAddr::V6(v6)), Some((protocol, port))) => {
                write!(f, "[{v6}]:{port}/{protocol}")
            }
            (to, Some((protocol, port))) => write!(f, "{to}:{port}/{protocol}"),
        }
    }
}

impl fmt::Display for Sender {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Host => f.write_str("host"),
            Self::Outside(None) => f.write_str("outside"),
            Self::Outside(Some(address)) => address.fmt(f),
            Self::Container(name) => f.write_str(name),
        }
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Host => f.write_str("host"),
            Self::Outside => f.write_str("outside"),
            Self::Address(address) => address.fmt(f),
            Self::Container(name) => f.write_str(name),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn check(from: &str, to: &str, expected: &str) {
        let shown = match Question::parse(from, to) {
            Ok(question) => question.to_string(),
            Err(error) => error.to_string(),
        };
        assert_eq!(shown, expected, "{from:?} {to:?}");
    }

    #[test]
    fn the_words_of_the_command_are_understood() {
        check("host", "outside", "host -> outside");
        check("outside", "host:8080", "outside -> host:8080/tcp");
        check("web-1", "0a1b2c:53/udp", "web-1 -> 0a1b2c:53/udp");
        check("198.51.100.7", "10.88.0.2:80", "198.51.100.7 -> 10.88.0.2:80/tcp");
        check("fd00::7", "fd88::2", "fd00::7 -> fd88::2");
        check("web", "[fd88::2]", "web -> fd88::2");
        check("web", "[fd88::2]:80", "web -> [fd88::2]:80/tcp");
        check("web", "127.0.0.1:80/sctp", "web -> 127.0.0.1:80/sctp");
    }

    #[test]
    fn what_is_wrong_is_named() {
        let empty = "`host`, `outside`, an address or a container is needed";
        let bracket = "an address in brackets is written [ADDRESS] or [ADDRESS]:PORT";
        check("", "web", empty);
        check("web", "", empty);
        check("web", ":80", empty);
        check("a b", "web", "`a b` is neither an address nor a container");
        check("fd00::x", "web", "`fd00::x` is neither an address nor a container");
        check("web", "fd88::2:http", "the port is wrong");
        check("web", "[fd88::2", bracket);
        check("web", "[fd88::2]80", bracket);
        check("web", "db:0", "the port is wrong");
        check("web", "db:80/icmp", "the protocol is wrong");
        check("web", "255.255.255.255", "255.255.255.255 is no address of one machine");
        check("web", "[::]:80", ":: is no address of one machine");
        check("ff02::1", "web", "ff02::1 is no address of one machine");
        check("web", "fe80::1", "link-local address fe80::1 says nothing without a link");
    }

    proptest! {
        #[test]
        fn no_text_panics(from in ".{0,20}", to in "[a-f0-9.:/\\[\\]-]{0,30}") {
            let _ = Question::parse(&from, &to);
        }

        #[test]
        fn text_round_trips(
            from in "host|outside|web|10\\.0\\.0\\.9|fd00::9",
            to in "host|outside|db|10\\.0\\.0\\.1|fd00::1",
            port in 0..=u16::MAX,
            udp: bool,
        ) {
            let question = Question::parse(&from, &to).unwrap();
            let protocol = if udp { Protocol::Udp } else { Protocol::Tcp };
            let question = Port::new(port).into_iter().fold(question, |q, port| q.at(protocol, port));
            let text = question.to_string();
            let (from, to) = text.split_once(" -> ").unwrap();
            prop_assert_eq!(Question::parse(from, to).unwrap(), question.clone());
            let json = serde_json::to_string(&question).unwrap();
            prop_assert_eq!(serde_json::from_str::<Question>(&json).unwrap(), question);
        }
    }
}
