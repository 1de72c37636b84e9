//! Who may hold an address.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::Error;

/// Names whoever holds an address: 1 to 128 bytes of `[A-Za-z0-9_.-]`. Cloning is cheap.
///
/// ```
/// use linkspan_ipam::Owner;
///
/// assert_eq!("web-1".parse::<Owner>()?.as_str(), "web-1");
/// assert!("two words".parse::<Owner>().is_err());
/// # Ok::<(), linkspan_ipam::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Owner(Arc<str>);

impl Owner {
    /// The longest name, in bytes.
    pub const MAX_LEN: usize = 128;

    /// Returns the name as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// Says whether a text is a word that can stand in a line of text: what owners and auxiliary addresses are named by.
pub(crate) fn is_token(text: &str) -> bool {
    (1..=Owner::MAX_LEN).contains(&text.len())
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_.-".contains(&byte))
}

impl FromStr for Owner {
    type Err = Error;

    /// Reads a name.
    ///
    /// # Errors
    ///
    /// [`Error::Owner`] for anything that is not 1 to 128 bytes of `[A-Za-z0-9_.-]`.
    fn from_str(text: &str) -> Result<Self, Error> {
        if is_token(text) { Ok(Self(text.into())) } else { Err(Error::Owner { text: text.to_owned() }) }
    }
}

impl TryFrom<String> for Owner {
    type Error = Error;

    fn try_from(text: String) -> Result<Self, Error> {
        text.parse()
    }
}

impl From<Owner> for String {
    fn from(owner: Owner) -> Self {
        owner.as_str().to_owned()
    }
}

impl fmt::Display for Owner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::Owner;

    fn check(text: &str, accepted: bool) {
        assert_eq!(text.parse::<Owner>().is_ok(), accepted, "{text:?}");
        let stored = serde_json::to_string(text).unwrap();
        assert_eq!(serde_json::from_str::<Owner>(&stored).is_ok(), accepted, "{stored}");
    }

    #[test]
    fn accepts_one_word_of_plain_letters() {
        for text in ["a", "web-1", "0123456789abcdef", ".x_y", &"x".repeat(128)] {
            check(text, true);
        }
    }

    #[test]
    fn refuses_what_would_break_a_line_or_a_column() {
        for text in ["", "a b", "a\n", "a\t", "ä", "a/b", &"x".repeat(129)] {
            check(text, false);
        }
    }
}
