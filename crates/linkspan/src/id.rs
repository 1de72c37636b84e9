use linkspan_net_types::IfName;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;

/// A text is not the id of an attachment or a network.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("an id is {digits} lowercase hexadecimal digits")]
pub struct ParseIdError {
    digits: usize,
}

fn parse(text: &str, digits: usize) -> Result<u64, ParseIdError> {
    let lowercase = text.bytes().all(|c| matches!(c, b'0'..=b'9' | b'a'..=b'f'));
    let number = u64::from_str_radix(text, 16).ok().filter(|_| lowercase && text.len() == digits);
    number.ok_or(ParseIdError { digits })
}

macro_rules! id {
    ($(#[$doc:meta])* $name:ident, $digits:literal) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $name(u64);

        impl FromStr for $name {
            type Err = ParseIdError;

            fn from_str(text: &str) -> Result<Self, Self::Err> {
                parse(text, $digits).map(Self)
            }
        }

        impl TryFrom<String> for $name {
            type Error = ParseIdError;

            fn try_from(text: String) -> Result<Self, Self::Error> {
                text.parse()
            }
        }

        impl From<$name> for String {
            fn from(id: $name) -> Self {
                id.to_string()
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!("{:0", $digits, "x}"), self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{}({self})", stringify!($name))
            }
        }
    };
}

id! {
    /// Which attachment: 16 hexadecimal digits, given by linkspan and never given again before a reboot.
    ///
    /// ```
    /// use linkspan::AttachmentId;
    ///
    /// let id: AttachmentId = "00c0ffee00c0ffee".parse()?;
    /// assert_eq!(id.to_string(), "00c0ffee00c0ffee");
    /// assert!("c0ffee".parse::<AttachmentId>().is_err());
    /// # Ok::<(), linkspan::ParseIdError>(())
    /// ```
    AttachmentId, 16
}

id! {
    /// Which network: 12 hexadecimal digits, given when it is defined.
    ///
    /// ```
    /// use linkspan::NetworkId;
    ///
    /// let id: NetworkId = "0a1b2c3d4e5f".parse()?;
    /// assert_eq!(id.link().as_str(), "ls-0a1b2c3d4e5f");
    /// # Ok::<(), linkspan::ParseIdError>(())
    /// ```
    NetworkId, 12
}

impl AttachmentId {
    /// How many digits at its beginning tell an id from all others with such certainty that what it stands for may be
    /// removed: as many as Docker's short ids have.
    pub const SHORT: usize = 12;
}

/// What an id is made of: what tells instances, boots and moments apart.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Moment<'a> {
    pub(crate) instance: &'a str,
    pub(crate) boot: &'a str,
    /// Nanoseconds of a clock that only goes forward between two reboots.
    pub(crate) nanoseconds: u64,
}

impl Moment<'_> {
    fn hash(self, salt: &str) -> u64 {
        hash(&[
            self.instance.as_bytes(),
            self.boot.as_bytes(),
            salt.as_bytes(),
            &self.nanoseconds.to_be_bytes(),
        ])
    }
}

impl AttachmentId {
    /// The id of the attachment that is begun at this moment.
    pub(crate) fn at(moment: Moment<'_>) -> Self {
        Self(moment.hash("attachment"))
    }

    /// The name of the host end of its endpoint in this place: `vethls` and nine digits.
    ///
    /// A dying link lingers for some time after its removal, so a name is never used again: it is a hash
    /// of the id, which is not either.
    pub(crate) fn host_end(self, endpoint: usize) -> IfName {
        let hash = hash(&[&self.0.to_be_bytes(), &endpoint.to_be_bytes()]);
        format!("vethls{:09x}", hash & 0xf_ffff_ffff).parse().expect("15 letters and digits are a name")
    }
}

impl NetworkId {
    /// The id of the network of this name that is defined at this moment.
    pub(crate) fn at(moment: Moment<'_>, name: &str) -> Self {
        Self(moment.hash(name) >> 16)
    }

    /// The id of an instance's default network, which is the same whenever it is made.
    pub(crate) fn of_default(instance: &str) -> Self {
        Self(hash(&[b"default", instance.as_bytes()]) >> 16)
    }

    /// The name of its bridge, unless it was given one: `ls-` and the id.
    pub fn link(self) -> IfName {
        format!("ls-{self}").parse().expect("15 letters and digits are a name")
    }
}

/// FNV-1a with the finish of SplitMix64: the same on every machine and in every version, as names on
/// record must be, and spread over all its bits.
pub(crate) fn hash(parts: &[&[u8]]) -> u64 {
    let mut hash = 0xcbf2_9ce4_8422_2325_u64;
    for part in parts {
        for &byte in part.iter().chain(&[0xff]) {
            hash = (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
        }
    }
    hash = (hash ^ (hash >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    hash = (hash ^ (hash >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    hash ^ (hash >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    const MOMENT: Moment<'_> = Moment { instance: "linkspan", boot: "b", nanoseconds: 1 };

    #[test]
    fn moments_instances_and_boots_have_ids_of_their_own() {
        let ids = [
            MOMENT,
            Moment { nanoseconds: 2, ..MOMENT },
            Moment { boot: "c", ..MOMENT },
            Moment { instance: "ci", ..MOMENT },
        ];
        assert_eq!(ids.map(AttachmentId::at).iter().collect::<BTreeSet<_>>().len(), ids.len());
    }

    #[test]
    fn a_hundred_thousand_host_ends_have_names_of_their_own() {
        let ids = (0..50_000).map(|nanoseconds| AttachmentId::at(Moment { nanoseconds, ..MOMENT }));
        let names: BTreeSet<_> = ids.flat_map(|id| [id.host_end(0), id.host_end(1)]).collect();
        assert_eq!(names.len(), 100_000);
    }

    proptest! {
        #[test]
        fn ids_round_trip(number: u64) {
            let id = AttachmentId(number);
            prop_assert_eq!(id.to_string().parse(), Ok(id));
            let id = NetworkId(number >> 16);
            prop_assert_eq!(id.to_string().parse(), Ok(id));
            prop_assert!(id.link().as_str().starts_with("ls-"));
        }

        #[test]
        fn no_text_panics(text in ".*") {
            let _ = (text.parse::<AttachmentId>(), text.parse::<NetworkId>());
        }
    }
}
