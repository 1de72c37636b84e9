use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

/// The Ethernet address of one link: unicast and not zero.
///
/// ```
/// use linkspan_net_types::Mac;
///
/// let mac: Mac = "02:42:0a:58:00:02".parse()?;
/// assert_eq!(mac, Mac::of_address("10.88.0.2".parse().unwrap()));
/// assert!("01:00:5e:00:00:01".parse::<Mac>().is_err()); // a multicast group
/// # Ok::<(), linkspan_net_types::ParseMacError>(())
/// ```
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Mac([u8; 6]);

impl Mac {
    /// The address of a container with this IP address: `02:42` and its last four bytes.
    ///
    /// The same IP address always has the same MAC, as with Docker, so the neighbours of a replaced
    /// container reach the one that follows at once.
    pub fn of_address(address: IpAddr) -> Self {
        let [a, b, c, d] = match address {
            IpAddr::V4(v4) => v4.octets(),
            IpAddr::V6(v6) => {
                let [.., a, b, c, d] = v6.octets();
                [a, b, c, d]
            }
        };
        Self([0x02, 0x42, a, b, c, d])
    }

    /// The address with these bytes; `None` for a group (lowest bit of the first byte) or all zeros.
    pub fn from_bytes(bytes: [u8; 6]) -> Option<Self> {
        (bytes[0] & 1 == 0 && bytes != [0; 6]).then_some(Self(bytes))
    }

    /// Its six bytes, as on the wire.
    pub const fn bytes(self) -> [u8; 6] {
        self.0
    }
}

/// Why a text is not the address of a link.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ParseMacError {
    /// It is not six pairs of hexadecimal digits with `:` between them.
    Form,
    /// It names a group of links, or none (all zeros).
    NotUnicast,
}

impl fmt::Display for ParseMacError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Form => "a MAC address is six pairs of hexadecimal digits, such as 02:42:0a:58:00:02",
            Self::NotUnicast => "the MAC address of a link is neither a group's nor all zeros",
        })
    }
}

impl std::error::Error for ParseMacError {}

impl FromStr for Mac {
    type Err = ParseMacError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let mut bytes = [0; 6];
        let mut pairs = text.split(':');
        for byte in &mut bytes {
            let pair = pairs.next().filter(|p| p.len() == 2 && p.bytes().all(|c| c.is_ascii_hexdigit()));
            *byte = pair.and_then(|p| u8::from_str_radix(p, 16).ok()).ok_or(ParseMacError::Form)?;
        }
        match pairs.next() {
            None => Self::from_bytes(bytes).ok_or(ParseMacError::NotUnicast),
            Some(_) => Err(ParseMacError::Form),
        }
    }
}

impl fmt::Display for Mac {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [a, b, c, d, e, g] = self.0;
        write!(f, "{a:02x}:{b:02x}:{c:02x}:{d:02x}:{e:02x}:{g:02x}")
    }
}

impl fmt::Debug for Mac {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Mac({self})")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn only_a_links_own_address_is_one() {
        let check = |text: &str, expected| assert_eq!(text.parse::<Mac>().err(), expected, "{text:?}");
        check("02:42:AC:11:00:02", None);
        check("00:00:00:00:00:00", Some(ParseMacError::NotUnicast));
        check("ff:ff:ff:ff:ff:ff", Some(ParseMacError::NotUnicast));
        for text in
            ["", "02:42", "02:42:ac:11:00:02:03", "2:42:ac:11:0:2", "+2:42:ac:11:00:02", "02-42-ac-11-00-02"]
        {
            check(text, Some(ParseMacError::Form));
        }
    }

    #[test]
    fn an_ipv6_address_lends_its_last_four_bytes() {
        assert_eq!(Mac::of_address("fd00::a:b".parse().unwrap()).to_string(), "02:42:00:0a:00:0b");
    }

    proptest! {
        #[test]
        fn addresses_round_trip(bytes: [u8; 6]) {
            if let Some(mac) = Mac::from_bytes(bytes) {
                prop_assert_eq!(mac.to_string().parse(), Ok(mac));
            }
        }

        #[test]
        fn no_text_panics(text in ".*") {
            let _ = text.parse::<Mac>();
        }
    }
}
