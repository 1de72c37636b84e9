//! The names that files of a folder may have.

use std::fmt;
use std::str::FromStr;

use crate::Error;

/// Names a file or a subfolder: 1 to 200 bytes of `[A-Za-z0-9_.-]`, the first of them not a dot.
///
/// Such a name stays inside its folder, fits with this crate's suffixes into the 255 bytes that Linux allows
/// (`NAME_MAX` of `linux/limits.h`), and never collides with the dot files that this crate keeps for itself.
///
/// ```
/// use linkspan_records::FileName;
///
/// assert_eq!("web-1".parse::<FileName>()?.as_str(), "web-1");
/// assert!("../etc/passwd".parse::<FileName>().is_err());
/// # Ok::<(), linkspan_records::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FileName(Box<str>);

impl FileName {
    /// The longest name, in bytes.
    pub const MAX_LEN: usize = 200;

    /// Returns the name as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for FileName {
    type Err = Error;

    /// Reads a name.
    ///
    /// # Errors
    ///
    /// [`Error::Name`] for anything that is not 1 to 200 bytes of `[A-Za-z0-9_.-]` or starts with a dot.
    fn from_str(text: &str) -> Result<Self, Error> {
        let fits = (1..=Self::MAX_LEN).contains(&text.len()) && !text.starts_with('.');
        let plain = text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_.-".contains(&byte));
        if fits && plain { Ok(Self(text.into())) } else { Err(Error::Name { name: text.to_owned() }) }
    }
}

impl fmt::Display for FileName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::FileName;

    fn check(text: &str, accepted: bool) {
        assert_eq!(text.parse::<FileName>().is_ok(), accepted, "{text:?}");
    }

    #[test]
    fn accepts_plain_names() {
        for text in ["a", "web-1", "10.88.0.0_24", "A.b", &"x".repeat(200)] {
            check(text, true);
        }
    }

    #[test]
    fn refuses_what_leaves_the_folder_or_hides_in_it() {
        for text in ["", ".", "..", ".hidden", "a/b", "a b", "a\n", "a\0", "ä", &"x".repeat(201)] {
            check(text, false);
        }
    }
}
