use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;

/// The longest name: what a file of that name and a few letters more may have.
const LONGEST: usize = 128;

/// Why a text is not the name of a container or a network.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ParseNameError {
    /// It is empty.
    #[error("a name is not empty")]
    Empty,
    /// It is longer than 128 bytes; its length is given.
    #[error("a name has at most {LONGEST} bytes, not {0}")]
    TooLong(usize),
    /// It begins with this character.
    #[error("a name begins with a letter or a digit, not with {0:?}")]
    First(char),
    /// It holds this character.
    #[error("a name holds letters, digits, `_`, `.` and `-`, not {0:?}")]
    Character(char),
}

fn parse(text: &str) -> Result<String, ParseNameError> {
    let first = text.chars().next().ok_or(ParseNameError::Empty)?;
    if !first.is_ascii_alphanumeric() {
        return Err(ParseNameError::First(first));
    }
    let strange = |c: &char| !(c.is_ascii_alphanumeric() || matches!(c, '_' | '.' | '-'));
    match text.chars().find(strange) {
        Some(c) => Err(ParseNameError::Character(c)),
        None if text.len() > LONGEST => Err(ParseNameError::TooLong(text.len())),
        None => Ok(text.to_owned()),
    }
}

macro_rules! name {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $name(String);

        impl $name {
            /// Its text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl FromStr for $name {
            type Err = ParseNameError;

            fn from_str(text: &str) -> Result<Self, Self::Err> {
                parse(text).map(Self)
            }
        }

        impl TryFrom<String> for $name {
            type Error = ParseNameError;

            fn try_from(text: String) -> Result<Self, Self::Error> {
                text.parse()
            }
        }

        impl From<$name> for String {
            fn from(name: $name) -> Self {
                name.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(&self.0)
            }
        }
    };
}

name! {
    /// What people call a container: `[a-zA-Z0-9][a-zA-Z0-9_.-]*`, at most 128 bytes (Docker's rule).
    ///
    /// ```
    /// use linkspan::ContainerName;
    ///
    /// assert!("web-1".parse::<ContainerName>().is_ok());
    /// assert!("../etc".parse::<ContainerName>().is_err());
    /// ```
    ContainerName
}

name! {
    /// What people call a network: `[a-zA-Z0-9][a-zA-Z0-9_.-]*`, at most 128 bytes (Docker's rule).
    ///
    /// `bridge`, `host` and `none` exist always and cannot be made or removed as others are.
    ///
    /// ```
    /// use linkspan::NetworkName;
    ///
    /// assert_eq!("back_end".parse::<NetworkName>()?.as_str(), "back_end");
    /// assert!("".parse::<NetworkName>().is_err());
    /// # Ok::<(), linkspan::ParseNameError>(())
    /// ```
    NetworkName
}

impl NetworkName {
    /// The network that is used where none is named: `bridge`.
    pub fn default_bridge() -> Self {
        Self("bridge".to_owned())
    }

    /// Whether it is the network that is used where none is named.
    pub fn is_default_bridge(&self) -> bool {
        self.0 == "bridge"
    }

    /// Whether it is one of the names that exist always: `bridge`, `host`, `none`.
    pub fn is_reserved(&self) -> bool {
        matches!(self.0.as_str(), "bridge" | "host" | "none")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_safe_as_a_file_and_in_a_rule() {
        let check = |text: &str, expected: Option<ParseNameError>| {
            assert_eq!(parse(text).err(), expected, "{text:?}");
        };
        check("web-1", None);
        check("9.a_B", None);
        check("", Some(ParseNameError::Empty));
        check("-web", Some(ParseNameError::First('-')));
        check(".web", Some(ParseNameError::First('.')));
        check("a/b", Some(ParseNameError::Character('/')));
        check("a b", Some(ParseNameError::Character(' ')));
        check("a\n", Some(ParseNameError::Character('\n')));
        check("é", Some(ParseNameError::First('é')));
        check(&"a".repeat(128), None);
        check(&"a".repeat(129), Some(ParseNameError::TooLong(129)));
    }

    #[test]
    fn a_stored_name_is_parsed_again() {
        assert!(serde_json::from_str::<ContainerName>("\"../x\"").is_err());
        let name: ContainerName = serde_json::from_str("\"x\"").unwrap();
        assert_eq!(serde_json::to_string(&name).unwrap(), "\"x\"");
    }
}
