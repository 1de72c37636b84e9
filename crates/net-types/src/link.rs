use std::fmt;
use std::num::NonZeroU32;
use std::str::FromStr;

/// The longest name of a link: `IFNAMSIZ` of `linux/if.h` less its terminator.
const LONGEST: usize = 15;

/// The name of a link: 1 to 15 letters, digits, `_`, `.`, `-` or `@`.
///
/// The kernel takes more, but a space, quote, `+`, `*` or `%` means something else to iptables, to nft or
/// to the kernel's own name templates, so such a name is refused here and can never reach them.
///
/// ```
/// use linkspan_net_types::IfName;
///
/// let name: IfName = "eth0".parse()?;
/// assert_eq!(name.as_str(), "eth0");
/// assert!("eth%d".parse::<IfName>().is_err());
/// # Ok::<(), linkspan_net_types::ParseIfNameError>(())
/// ```
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct IfName {
    // Zero padding sorts before every letter, so the derived order is the order of the text.
    bytes: [u8; LONGEST],
    length: u8,
}

impl IfName {
    /// Its text.
    pub fn as_str(&self) -> &str {
        // `from_str` let only ASCII in.
        str::from_utf8(&self.bytes[..usize::from(self.length)]).unwrap_or_default()
    }
}

/// Why a text is not the name of a link.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ParseIfNameError {
    /// It is empty, `.` or `..`.
    Reserved,
    /// It is longer than 15 bytes; its length is given.
    TooLong(usize),
    /// It begins with `-`, which programs take for an option.
    LeadingDash,
    /// It holds this character, which a link's name may not.
    Character(char),
}

impl fmt::Display for ParseIfNameError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Reserved => f.write_str("an interface name is not empty, `.` or `..`"),
            Self::TooLong(length) => write!(f, "an interface name has at most 15 bytes, not {length}"),
            Self::LeadingDash => f.write_str("an interface name does not begin with `-`"),
            Self::Character(c) => write!(f, "an interface name does not hold {c:?}"),
        }
    }
}

impl std::error::Error for ParseIfNameError {}

impl FromStr for IfName {
    type Err = ParseIfNameError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if matches!(text, "" | "." | "..") {
            return Err(ParseIfNameError::Reserved);
        }
        let strange = |c: &char| !(c.is_ascii_alphanumeric() || matches!(c, '_' | '.' | '-' | '@'));
        if let Some(c) = text.chars().find(strange) {
            return Err(ParseIfNameError::Character(c));
        }
        if text.starts_with('-') {
            return Err(ParseIfNameError::LeadingDash);
        }
        let mut bytes = [0; LONGEST];
        let length = u8::try_from(text.len()).ok().filter(|&n| usize::from(n) <= LONGEST);
        let Some(length) = length else { return Err(ParseIfNameError::TooLong(text.len())) };
        bytes[..text.len()].copy_from_slice(text.as_bytes());
        Ok(Self { bytes, length })
    }
}

impl AsRef<str> for IfName {
    fn as_ref(&self) -> &str {
        self.as_str()
    }
}

impl fmt::Display for IfName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl fmt::Debug for IfName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "IfName({})", self.as_str())
    }
}

/// The index of a link in its namespace: 1 to 2^31 - 1 (`ifi_index` is signed in `linux/rtnetlink.h`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct IfIndex(NonZeroU32);

impl IfIndex {
    /// The index of `lo`, which is the first link of every namespace.
    pub const LOOPBACK: Self = Self(NonZeroU32::MIN);

    /// This index; `None` where the kernel could not have given it.
    pub const fn new(index: u32) -> Option<Self> {
        match NonZeroU32::new(index) {
            Some(index) if index.get() <= i32::MAX.cast_unsigned() => Some(Self(index)),
            _ => None,
        }
    }

    /// Its number.
    pub const fn get(self) -> u32 {
        self.0.get()
    }
}

impl fmt::Display for IfIndex {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// The largest packet of a link in bytes, 68 (RFC 791) to 65535.
///
/// IPv6 needs 1280 (RFC 8200, section 5): [`Mtu::carries_ipv6`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Mtu(u16);

impl Mtu {
    /// What Ethernet carries: 1500 bytes.
    pub const ETHERNET: Self = Self(1500);

    /// This many bytes; `None` outside 68 to 65535.
    pub fn new(bytes: u32) -> Option<Self> {
        u16::try_from(bytes).ok().filter(|&bytes| bytes >= 68).map(Self)
    }

    /// Its number of bytes.
    pub const fn get(self) -> u32 {
        self.0 as u32
    }

    /// Whether IPv6 works on a link of this size.
    pub const fn carries_ipv6(self) -> bool {
        self.0 >= 1280
    }
}

impl Default for Mtu {
    /// What Ethernet carries: 1500 bytes.
    fn default() -> Self {
        Self::ETHERNET
    }
}

impl fmt::Display for Mtu {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A text is not a number of bytes from 68 to 65535.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ParseMtuError;

impl fmt::Display for ParseMtuError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an MTU is a number of bytes from 68 to 65535")
    }
}

impl std::error::Error for ParseMtuError {}

impl FromStr for Mtu {
    type Err = ParseMtuError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        text.parse().ok().and_then(Self::new).ok_or(ParseMtuError)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn check(text: &str, expected: Result<(), ParseIfNameError>) {
        assert_eq!(text.parse::<IfName>().map(|name| assert_eq!(name.as_str(), text)), expected, "{text:?}");
    }

    #[test]
    fn a_name_is_what_every_program_takes_for_one() {
        check("lo", Ok(()));
        check("ls-0a1b2c3d4e5f", Ok(()));
        check("eth0.100", Ok(()));
        check("veth@if3", Ok(()));
        check("", Err(ParseIfNameError::Reserved));
        check("..", Err(ParseIfNameError::Reserved));
        check("sixteen-letters-", Err(ParseIfNameError::TooLong(16)));
        check("-j", Err(ParseIfNameError::LeadingDash));
        for c in ['/', ' ', '\n', '\0', '%', '+', '*', '"', '\'', '\\', ':', '!', 'é'] {
            check(&format!("a{c}b"), Err(ParseIfNameError::Character(c)));
        }
    }

    #[test]
    fn an_mtu_has_its_limits() {
        let check = |text: &str, expected: Option<u32>| assert_eq!(text.parse().ok().map(Mtu::get), expected);
        check("68", Some(68));
        check("65535", Some(65535));
        check("67", None);
        check("65536", None);
        check("-1", None);
        check("", None);
        assert!(Mtu::ETHERNET.carries_ipv6() && !Mtu::new(1279).expect("in range").carries_ipv6());
    }

    #[test]
    fn an_index_is_one_the_kernel_gives() {
        assert_eq!(IfIndex::new(0), None);
        assert_eq!(IfIndex::new(1 << 31), None);
        assert_eq!(IfIndex::new(1), Some(IfIndex::LOOPBACK));
    }

    proptest! {
        #[test]
        fn names_round_trip_and_sort_as_their_text(a in "[a-z0-9_.@][a-z0-9_.@-]{0,14}", b in "[a-z0-9_@]{1,15}") {
            prop_assume!(a != "." && a != "..");
            let (x, y): (IfName, IfName) = (a.parse().unwrap(), b.parse().unwrap());
            prop_assert_eq!(x.to_string(), a.clone());
            prop_assert_eq!(x.cmp(&y), a.cmp(&b));
        }

        #[test]
        fn no_text_panics(text in ".*") {
            let _ = text.parse::<IfName>();
            let _ = text.parse::<Mtu>();
        }
    }
}
