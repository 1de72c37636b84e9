use linkspan_net_types::{ParsePortError, ParseProtocolError, Port, Protocol};
use serde::{Deserialize, Serialize};
use std::fmt;
use std::net::{AddrParseError, IpAddr};

/// A wish that a port of the container answers at a port of the host.
///
/// ```
/// use linkspan::Publish;
///
/// let web = Publish::tcp(80).at(8080);
/// assert_eq!(web.to_string(), "8080:80/tcp");
/// assert_eq!(Publish::parse("127.0.0.1:5300:53/udp")?[0], Publish::udp(53).at(5300).on("127.0.0.1".parse()?));
/// assert_eq!(Publish::parse("8000-8002:80-82")?.len(), 3);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Publish {
    protocol: Protocol,
    port: u16,
    host_port: Option<Port>,
    host_address: Option<IpAddr>,
}

impl Publish {
    /// A port of the container, by protocol; attaching refuses port 0, which is none.
    pub const fn new(protocol: Protocol, port: u16) -> Self {
        Self { protocol, port, host_port: None, host_address: None }
    }

    /// A TCP port of the container.
    pub const fn tcp(port: u16) -> Self {
        Self::new(Protocol::Tcp, port)
    }

    /// A UDP port of the container.
    pub const fn udp(port: u16) -> Self {
        Self::new(Protocol::Udp, port)
    }

    /// Asks for this port of the host; without it, or with 0, a free one of
    /// `net.ipv4.ip_local_port_range` is found.
    #[must_use]
    pub const fn at(mut self, host_port: u16) -> Self {
        self.host_port = Port::new(host_port);
        self
    }

    /// Answers at this address of the host only; `0.0.0.0` and `::` mean every address of their family.
    #[must_use]
    pub const fn on(mut self, host_address: IpAddr) -> Self {
        self.host_address = Some(host_address);
        self
    }

    /// The transport protocol.
    pub const fn protocol(&self) -> Protocol {
        self.protocol
    }

    /// The port of the container; `None` for 0.
    pub const fn port(&self) -> Option<Port> {
        Port::new(self.port)
    }

    /// Whether it is a port that rules can carry.
    pub(crate) const fn is_carried(&self) -> bool {
        self.port != 0 && !matches!(self.protocol, Protocol::Sctp)
    }

    /// The port of the host that was asked for.
    pub const fn host_port(&self) -> Option<Port> {
        self.host_port
    }

    /// The address of the host that was asked for.
    pub const fn host_address(&self) -> Option<IpAddr> {
        self.host_address
    }

    /// Reads Docker's words: `[HOSTIP:][HOSTPORT:]PORT[/PROTO]`, with an IPv6 address in brackets and
    /// ranges of equal length, of which each port becomes one value.
    ///
    /// # Errors
    /// [`ParsePublishError`] says which part is wrong.
    pub fn parse(text: &str) -> Result<Vec<Self>, ParsePublishError> {
        let (ports, protocol) = match text.rsplit_once('/') {
            Some((ports, protocol)) => (ports, protocol.parse().map_err(ParsePublishError::Protocol)?),
            None => (text, Protocol::Tcp),
        };
        let (front, inside) = ports.rsplit_once(':').map_or((None, ports), |(f, i)| (Some(f), i));
        let inside = Range::parse(inside).map_err(ParsePublishError::Port)?;
        let (address, outside) = front.map_or(Ok((None, None)), host_part)?;
        match outside {
            Some(outside) if outside.len() != inside.len() => {
                Err(ParsePublishError::Lengths { host: outside.len(), container: inside.len() })
            }
            _ => Ok(inside
                .ports()
                .enumerate()
                .map(|(i, port)| Self {
                    protocol,
                    port,
                    host_port: outside.and_then(|outside| outside.ports().nth(i)).and_then(Port::new),
                    host_address: address,
                })
                .collect()),
        }
    }
}

/// Reads `HOSTPORT`, `HOSTIP:HOSTPORT` or `HOSTIP:` with nothing behind.
fn host_part(text: &str) -> Result<(Option<IpAddr>, Option<Range>), ParsePublishError> {
    let (address, ports) = match text.rsplit_once(':') {
        // `[::1]:8080` ends its address with a bracket; `::1` without one is read as no port.
        Some((address, ports)) if !ports.contains(']') => (Some(address), ports),
        _ if text.starts_with('[') || text.parse::<IpAddr>().is_ok() => (Some(text), ""),
        _ => (None, text),
    };
    let bare = address.map(|a| a.strip_prefix('[').and_then(|a| a.strip_suffix(']')).unwrap_or(a));
    let address = bare.map(str::parse).transpose().map_err(ParsePublishError::Address)?;
    let ports = Some(ports).filter(|p| !p.is_empty() && *p != "0").map(Range::parse);
    Ok((address, ports.transpose().map_err(ParsePublishError::HostPort)?))
}

/// Ports from the first to the last, both included.
#[derive(Clone, Copy)]
struct Range {
    first: Port,
    last: Port,
}

impl Range {
    fn parse(text: &str) -> Result<Self, ParsePortError> {
        let (first, last) = text.split_once('-').unwrap_or((text, text));
        let (first, last) = (first.parse()?, last.parse()?);
        if first <= last { Ok(Self { first, last }) } else { Err(ParsePortError) }
    }

    fn ports(self) -> impl Iterator<Item = u16> {
        self.first.get()..=self.last.get()
    }

    fn len(self) -> usize {
        self.ports().count()
    }
}

/// Which part of a published port could not be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ParsePublishError {
    /// The port of the container.
    #[error("the container's port is wrong")]
    Port(#[source] ParsePortError),
    /// The port of the host.
    #[error("the host's port is wrong")]
    HostPort(#[source] ParsePortError),
    /// The address of the host.
    #[error("the host's address is wrong")]
    Address(#[source] AddrParseError),
    /// The protocol.
    #[error("the protocol is wrong")]
    Protocol(#[source] ParseProtocolError),
    /// The ranges have different lengths.
    #[error("the host's range has {host} ports and the container's {container}")]
    Lengths {
        /// How many ports of the host were named.
        host: usize,
        /// How many ports of the container were named.
        container: usize,
    },
}

impl fmt::Display for Publish {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.host_address {
            Some(IpAddr::V6(v6)) => write!(f, "[{v6}]:")?,
            Some(IpAddr::V4(v4)) => write!(f, "{v4}:")?,
            None => {}
        }
        match self.host_port {
            Some(port) => write!(f, "{port}:")?,
            None if self.host_address.is_some() => f.write_str(":")?,
            None => {}
        }
        write!(f, "{}/{}", self.port, self.protocol)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn check(text: &str, expected: &str) {
        let shown = match Publish::parse(text) {
            Ok(ports) => ports.iter().map(ToString::to_string).collect::<Vec<_>>().join(" "),
            Err(error) => error.to_string(),
        };
        assert_eq!(shown, expected, "{text:?}");
    }

    #[test]
    fn dockers_words_are_understood() {
        check("80", "80/tcp");
        check("8080:80", "8080:80/tcp");
        check("8080:80/udp", "8080:80/udp");
        check("0:80", "80/tcp");
        check("127.0.0.1:8080:80", "127.0.0.1:8080:80/tcp");
        check("127.0.0.1::80", "127.0.0.1::80/tcp");
        check("[::1]:8080:80/tcp", "[::1]:8080:80/tcp");
        check("[::1]::80", "[::1]::80/tcp");
        check("8000-8001:80-81", "8000:80/tcp 8001:81/tcp");
        check("65534-65535:1-2", "65534:1/tcp 65535:2/tcp");
        check("80-81", "80/tcp 81/tcp");
    }

    #[test]
    fn what_is_wrong_is_named() {
        check("", "the container's port is wrong");
        check("0", "the container's port is wrong");
        check("65536", "the container's port is wrong");
        check("8080:", "the container's port is wrong");
        check("81-80", "the container's port is wrong");
        check("http:80", "the host's port is wrong");
        check("70000:80", "the host's port is wrong");
        check("1.2.3:8080:80", "the host's address is wrong");
        check("8080:80/icmp", "the protocol is wrong");
        check("8000-8002:80-81", "the host's range has 3 ports and the container's 2");
    }

    proptest! {
        #[test]
        fn no_text_panics(text in "[0-9a-f.:/\\[\\]-]{0,30}") {
            let _ = Publish::parse(&text);
        }

        #[test]
        fn text_round_trips(port in 1..=u16::MAX, host: u16, address: Option<IpAddr>, udp: bool) {
            let publish = Publish::new(if udp { Protocol::Udp } else { Protocol::Tcp }, port).at(host);
            let publish = address.map_or(publish, |address| publish.on(address));
            prop_assert_eq!(Publish::parse(&publish.to_string()), Ok(vec![publish]));
        }
    }
}
