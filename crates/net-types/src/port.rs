use std::fmt;
use std::num::NonZeroU16;
use std::str::FromStr;

/// A transport port, 1 to 65535.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Port(NonZeroU16);

impl Port {
    /// This port; `None` for 0, which is no port but a wish for any.
    pub const fn new(number: u16) -> Option<Self> {
        match NonZeroU16::new(number) {
            Some(number) => Some(Self(number)),
            None => None,
        }
    }

    /// Its number.
    pub const fn get(self) -> u16 {
        self.0.get()
    }
}

impl fmt::Display for Port {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A text is not a port from 1 to 65535.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ParsePortError;

impl fmt::Display for ParsePortError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a port is a number from 1 to 65535")
    }
}

impl std::error::Error for ParsePortError {}

impl FromStr for Port {
    type Err = ParsePortError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        // `u16::from_str` takes a leading `+`, which no port has.
        let digits = text.bytes().all(|c| c.is_ascii_digit());
        text.parse().ok().filter(|_| digits).map(Self).ok_or(ParsePortError)
    }
}

/// A transport protocol whose ports can be published.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Protocol {
    /// RFC 9293.
    #[default]
    Tcp,
    /// RFC 768.
    Udp,
    /// RFC 9260; not every kernel has it.
    Sctp,
}

impl Protocol {
    /// Every protocol, in the order of their numbers.
    pub const ALL: [Self; 3] = [Self::Tcp, Self::Udp, Self::Sctp];

    /// Its number in the IP header (IANA "Protocol Numbers").
    pub const fn number(self) -> u8 {
        match self {
            Self::Tcp => 6,
            Self::Udp => 17,
            Self::Sctp => 132,
        }
    }

    /// Its name: `tcp`, `udp` or `sctp`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Tcp => "tcp",
            Self::Udp => "udp",
            Self::Sctp => "sctp",
        }
    }
}

impl fmt::Display for Protocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// A text is not `tcp`, `udp` or `sctp`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ParseProtocolError;

impl fmt::Display for ParseProtocolError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a protocol is tcp, udp or sctp")
    }
}

impl std::error::Error for ParseProtocolError {}

impl FromStr for Protocol {
    type Err = ParseProtocolError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::ALL.into_iter().find(|p| p.as_str() == text).ok_or(ParseProtocolError)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn zero_is_no_port() {
        let check =
            |text: &str, expected: Option<u16>| assert_eq!(text.parse().ok().map(Port::get), expected);
        check("1", Some(1));
        check("65535", Some(65535));
        for text in ["0", "65536", "", "-1", "+80", " 80", "http"] {
            check(text, None);
        }
    }

    #[test]
    fn protocols_round_trip() {
        for protocol in Protocol::ALL {
            assert_eq!(protocol.to_string().parse(), Ok(protocol));
        }
        assert_eq!("TCP".parse::<Protocol>(), Err(ParseProtocolError));
    }

    proptest! {
        #[test]
        fn ports_round_trip(number in 1..=u16::MAX) {
            let port = Port::new(number).unwrap();
            prop_assert_eq!(port.to_string().parse(), Ok(port));
        }
    }
}
