//! The name of a host.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::Error;

/// Names a host: one or more labels of letters, digits and hyphens with dots between them.
///
/// A label has 1 to 63 bytes and neither starts nor ends with a hyphen (RFC 1123, section 2.1); the whole
/// has at most 64 bytes, which is what the kernel keeps (`__NEW_UTS_LEN`, `include/uapi/linux/utsname.h`).
/// Upper and lower case are kept as given. Stored as its text.
///
/// ```
/// use linkspan_netns::Hostname;
///
/// let hostname: Hostname = "web-1.example".parse()?;
/// assert_eq!(hostname.as_str(), "web-1.example");
///
/// let refusal = "web_1".parse::<Hostname>().unwrap_err();
/// assert_eq!(refusal.to_string(), r#"hostname "web_1" has the label "web_1", which is not 1 to 63 letters, digits and inner hyphens"#);
/// # Ok::<(), linkspan_netns::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Hostname(String);

impl Hostname {
    /// The most bytes that a hostname has: what the kernel keeps.
    pub const MAX_BYTES: usize = 64;

    const MAX_LABEL_BYTES: usize = 63;

    /// Returns the name as it was given.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl TryFrom<String> for Hostname {
    type Error = Error;

    fn try_from(hostname: String) -> Result<Self, Error> {
        if hostname.len() > Self::MAX_BYTES {
            return Err(Error::HostnameTooLong { hostname });
        }
        match hostname.split('.').find(|label| !is_label(label)).map(str::to_owned) {
            Some(label) => Err(Error::HostnameLabel { hostname, label }),
            None => Ok(Self(hostname)),
        }
    }
}

fn is_label(label: &str) -> bool {
    (1..=Hostname::MAX_LABEL_BYTES).contains(&label.len())
        && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
        && !label.starts_with('-')
        && !label.ends_with('-')
}

impl FromStr for Hostname {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        text.to_owned().try_into()
    }
}

impl From<Hostname> for String {
    fn from(hostname: Hostname) -> Self {
        hostname.0
    }
}

impl AsRef<str> for Hostname {
    fn as_ref(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Hostname {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[track_caller]
    fn check(text: &str, expected: &str) {
        let found = match text.parse::<Hostname>() {
            Ok(hostname) => hostname.to_string(),
            Err(Error::HostnameLabel { label, .. }) => format!("label {label:?}"),
            Err(Error::HostnameTooLong { .. }) => "too long".to_owned(),
            Err(other) => other.to_string(),
        };
        assert_eq!(found, expected, "of {text:?}");
    }

    #[test]
    fn one_label_is_enough() {
        check("web", "web");
        check("7", "7");
    }

    #[test]
    fn case_is_kept() {
        check("Web-1.Example", "Web-1.Example");
    }

    #[test]
    fn an_empty_label_is_refused() {
        check("", "label \"\"");
        check(".", "label \"\"");
        check("web.", "label \"\"");
        check("a..b", "label \"\"");
    }

    #[test]
    fn a_hyphen_stands_inside_a_label_only() {
        check("-web", "label \"-web\"");
        check("a.web-", "label \"web-\"");
        check("-", "label \"-\"");
        check("a--b", "a--b");
    }

    #[test]
    fn nothing_but_letters_digits_and_hyphens() {
        for bad in ["web_1", "web 1", "web\n", "wéb", "web/1", "web:1", "web\0"] {
            check(bad, &format!("label {bad:?}"));
        }
    }

    #[test]
    fn a_label_has_63_bytes_and_the_whole_64() {
        let label = "a".repeat(63);
        check(&label, &label);
        check(&"a".repeat(64), &format!("label {:?}", "a".repeat(64)));
        let longest = format!("{}.b", "a".repeat(62));
        check(&longest, &longest);
        check(&format!("{label}.b"), "too long");
    }

    #[test]
    fn is_stored_as_text_and_read_with_the_same_rule() {
        let hostname: Hostname = "web-1".parse().unwrap();
        let stored = serde_json::to_string(&hostname).unwrap();
        assert_eq!(stored, "\"web-1\"");
        assert_eq!(serde_json::from_str::<Hostname>(&stored).unwrap(), hostname);
        assert!(serde_json::from_str::<Hostname>("\"web_1\"").is_err());
    }

    proptest! {
        #[test]
        fn any_text_is_kept_whole_or_refused(text in ".{0,70}") {
            if let Ok(hostname) = text.parse::<Hostname>() {
                prop_assert_eq!(hostname.as_str(), text);
            }
        }

        #[test]
        fn every_name_of_short_labels_is_taken(text in "[a-zA-Z0-9]([a-z0-9-]{0,8}[a-z0-9])?(\\.[a-z0-9]{1,10}){0,3}") {
            prop_assert!(text.parse::<Hostname>().is_ok());
        }
    }
}
