use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::fmt;
use std::str::FromStr;

/// Chains such as `DOCKER-FORWARD`, `KUBE-FORWARD` and `CNI-FORWARD` belong to these programs.
const TAKEN: [&str; 3] = ["cni", "docker", "kube"];
const LONGEST: usize = 12;

/// Whose rules they are: 1 to 12 of `a-z`, `0-9` and `-`, beginning with a letter.
///
/// It names the nftables table, the chain for the user's own rules (`linkspan-user`) and, in capitals, the
/// iptables chains, so several programs keep their rules apart on one host. Names whose iptables chains
/// belong to Docker, Kubernetes or the CNI plugins are refused.
///
/// ```
/// use linkspan_nat_rules::Instance;
///
/// assert_eq!(Instance::default().as_str(), "linkspan");
/// assert!("ci-runner".parse::<Instance>().is_ok());
/// assert!("Web".parse::<Instance>().is_err());
/// assert!("docker".parse::<Instance>().is_err());
/// ```
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Instance {
    bytes: [u8; LONGEST],
    length: u8,
}

impl Instance {
    /// Its text.
    pub fn as_str(&self) -> &str {
        // `from_str` let only ASCII in.
        str::from_utf8(&self.bytes[..usize::from(self.length)]).unwrap_or_default()
    }
}

impl Default for Instance {
    /// `linkspan`.
    fn default() -> Self {
        Self { bytes: *b"linkspan\0\0\0\0", length: 8 }
    }
}

/// Why a text is not the name of an instance.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ParseInstanceError {
    /// It has no bytes or more than 12; their number is given.
    #[error("an instance has 1 to 12 bytes, not {0}")]
    Length(usize),
    /// It begins with this character, which is no letter from `a` to `z`.
    #[error("an instance begins with a letter from a to z, not {0:?}")]
    Start(char),
    /// It holds this character.
    #[error("an instance holds a-z, 0-9 and `-`, not {0:?}")]
    Character(char),
    /// Its iptables chains would be those of another program.
    #[error("an instance is not called as a program with iptables chains of its own")]
    Taken,
}

impl FromStr for Instance {
    type Err = ParseInstanceError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let strange = |c: &char| !(c.is_ascii_lowercase() || c.is_ascii_digit() || *c == '-');
        if let Some(c) = text.chars().find(strange) {
            return Err(ParseInstanceError::Character(c));
        }
        if let Some(c) = text.chars().next().filter(|c| !c.is_ascii_lowercase()) {
            return Err(ParseInstanceError::Start(c));
        }
        if TAKEN.contains(&text) {
            return Err(ParseInstanceError::Taken);
        }
        let length = u8::try_from(text.len()).ok().filter(|&n| (1..=LONGEST).contains(&usize::from(n)));
        let Some(length) = length else { return Err(ParseInstanceError::Length(text.len())) };
        let mut bytes = [0; LONGEST];
        bytes[..text.len()].copy_from_slice(text.as_bytes());
        Ok(Self { bytes, length })
    }
}

impl fmt::Display for Instance {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl fmt::Debug for Instance {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Instance({self})")
    }
}

impl Serialize for Instance {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Instance {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ParseInstanceError::{Character, Length, Start, Taken};

    fn check(text: &str, expected: Result<(), ParseInstanceError>) {
        assert_eq!(text.parse::<Instance>().map(|i| assert_eq!(i.as_str(), text)), expected, "{text:?}");
    }

    #[test]
    fn an_instance_is_a_word_that_every_firewall_takes() {
        check("linkspan", Ok(()));
        check("a", Ok(()));
        check("twelve-bytes", Ok(()));
        check("", Err(Length(0)));
        check("thirteen-byte", Err(Length(13)));
        check("1st", Err(Start('1')));
        check("-j", Err(Start('-')));
        check("kube", Err(Taken));
        for c in ['A', '_', ' ', '\n', '"', '{', ';', 'é', '\0'] {
            check(&format!("a{c}b"), Err(Character(c)));
        }
    }

    #[test]
    fn it_is_stored_as_its_text() {
        assert_eq!(serde_json::to_string(&Instance::default()).unwrap(), "\"linkspan\"");
        assert!(serde_json::from_str::<Instance>("\"a b\"").is_err());
    }
}
