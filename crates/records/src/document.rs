//! One value as one line of JSON that carries its version first.

use std::path::PathBuf;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::Error;
use crate::unknown::Unknown;

/// The largest document, and the largest record with all its phases: 32 MiB, which is tens of thousands of items.
pub const MAX_DOCUMENT: u64 = 32 << 20;

/// The largest phase of a record, a quarter of [`MAX_DOCUMENT`]: what was made has room left to be marked as going.
pub const MAX_PHASE: u64 = MAX_DOCUMENT / 4;

/// A value that is kept in a file, as a JSON object whose first member is `"version"`.
///
/// Implement it for structs with named fields, none of them named `version`. A file of another version is an
/// error ([`Error::Version`]); a member that the type does not know is ignored.
///
/// ```
/// #[derive(serde::Serialize, serde::Deserialize)]
/// struct Lease { owner: String }
///
/// impl linkspan_records::Document for Lease {
///     const VERSION: u32 = 1;
/// }
/// ```
pub trait Document: Serialize + DeserializeOwned {
    /// The version of the format: raised when a program that reads this one would misread the next.
    const VERSION: u32;
}

/// Why bytes are not a document.
#[derive(Debug)]
pub(crate) enum Fault {
    Torn,
    Garbage(serde_json::Error),
    Version { found: u64, known: u32 },
    Unwritable(serde_json::Error),
}

impl Fault {
    /// Names the file that the bytes came from or would go to.
    pub(crate) fn at(self, path: PathBuf) -> Error {
        match self {
            Self::Torn => Error::Torn { path },
            Self::Garbage(source) => Error::Garbage { path, source: source.into() },
            Self::Version { found, known } => Error::Version { path, found, known },
            Self::Unwritable(source) => Error::Unwritable { path, source: source.into() },
        }
    }
}

/// Writes the value as one line, the line break included.
pub(crate) fn encode<T: Document>(value: &T) -> Result<Vec<u8>, Fault> {
    #[derive(Serialize)]
    struct Versioned<'a, T> {
        version: u32,
        #[serde(flatten)]
        value: &'a T,
    }
    let mut line =
        serde_json::to_vec(&Versioned { version: T::VERSION, value }).map_err(Fault::Unwritable)?;
    line.push(b'\n');
    Ok(line)
}

/// Writes the value as one line, with what another version has put beside it.
pub(crate) fn encode_with<T: Document>(value: &T, left: &Unknown) -> Result<Vec<u8>, Fault> {
    let line = encode(value)?;
    if left.is_nothing() {
        return Ok(line);
    }
    let mut document: Value = serde_json::from_slice(&line).map_err(Fault::Unwritable)?;
    left.carry_into(&mut document);
    let mut line = serde_json::to_vec(&document).map_err(Fault::Unwritable)?;
    line.push(b'\n');
    Ok(line)
}

/// What a document says that its type does not know.
pub(crate) fn left_of<T: Document>(bytes: &[u8], value: &T) -> Result<Unknown, Fault> {
    let understood = encode(value)?;
    if understood.trim_ascii_end() == bytes.trim_ascii_end() {
        // As this version writes it, which is the rule: nobody needs to look into ten thousand members.
        return Ok(Unknown::default());
    }
    let understood = serde_json::from_slice(&understood).map_err(Fault::Unwritable)?;
    Ok(Unknown::of(parse(bytes)?, understood))
}

/// Reads what [`encode`] wrote; the line break is optional.
pub(crate) fn decode<T: Document>(bytes: &[u8]) -> Result<T, Fault> {
    // Read by itself first: a newer version may have members that this type would misread.
    #[derive(Deserialize)]
    struct Versioned {
        version: u64,
    }
    let found = parse::<Versioned>(bytes)?.version;
    if found == u64::from(T::VERSION) {
        parse(bytes)
    } else {
        Err(Fault::Version { found, known: T::VERSION })
    }
}

fn parse<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, Fault> {
    serde_json::from_slice(bytes)
        .map_err(|error| if error.is_eof() { Fault::Torn } else { Fault::Garbage(error) })
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::{any, proptest};
    use serde::{Deserialize, Serialize};

    use super::{Document, Fault, decode, encode};

    #[derive(Serialize, Deserialize, PartialEq, Debug, Clone)]
    struct Note {
        text: String,
        by_number: BTreeMap<u32, Option<i64>>,
    }

    impl Document for Note {
        const VERSION: u32 = 3;
    }

    fn check(bytes: &str, expected: &str) {
        let told = match decode::<Note>(bytes.as_bytes()) {
            Ok(note) => note.text,
            Err(Fault::Torn) => "torn".into(),
            Err(Fault::Garbage(_)) => "garbage".into(),
            Err(Fault::Version { found, known }) => format!("{found}, not {known}"),
            Err(Fault::Unwritable(_)) => "unwritable".into(),
        };
        assert_eq!(told, expected, "{bytes}");
    }

    #[test]
    fn a_document_is_one_line_with_the_version_first() {
        let note = Note { text: "a\nb".into(), by_number: BTreeMap::from([(7, None)]) };
        let line = String::from_utf8(encode(&note).unwrap()).unwrap();
        assert_eq!(line, "{\"version\":3,\"text\":\"a\\nb\",\"by_number\":{\"7\":null}}\n");
    }

    #[test]
    fn another_version_is_refused_even_where_its_members_would_do() {
        check(r#"{"version":4,"text":"x","by_number":{}}"#, "4, not 3");
        check(r#"{"version":2,"text":"x","by_number":{}}"#, "2, not 3");
        check(r#"{"version":18446744073709551615}"#, "18446744073709551615, not 3");
    }

    #[test]
    fn unknown_members_are_ignored() {
        check(r#"{"version":3,"later":[1,2],"text":"x","by_number":{}}"#, "x");
    }

    #[test]
    fn torn_and_foreign_bytes_are_told_apart() {
        check("", "torn");
        check("\n", "torn");
        check(r#"{"version":3,"te"#, "torn");
        check("hello", "garbage");
        check(r#"{"text":"x"}"#, "garbage");
        check(r#"{"version":-1}"#, "garbage");
        check(r#"{"version":3,"text":7,"by_number":{}}"#, "garbage");
        check("{\"version\":3,\"text\":\"x\",\"by_number\":{}} trailing", "garbage");
    }

    #[test]
    fn a_value_that_is_no_object_cannot_be_written() {
        #[derive(Serialize, Deserialize)]
        struct Bare(u32);
        impl Document for Bare {
            const VERSION: u32 = 1;
        }
        assert!(matches!(encode(&Bare(1)), Err(Fault::Unwritable(_))));
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_again(text: String, by_number: BTreeMap<u32, Option<i64>>) {
            let note = Note { text, by_number };
            assert_eq!(decode::<Note>(&encode(&note).unwrap()).unwrap(), note);
        }

        #[test]
        fn every_proper_prefix_is_torn(text: String, cut in any::<proptest::sample::Index>()) {
            let line = encode(&Note { text, by_number: BTreeMap::new() }).unwrap();
            let object = &line[..line.len() - 1];
            assert!(matches!(decode::<Note>(&object[..cut.index(object.len())]), Err(Fault::Torn | Fault::Garbage(_))));
        }

        #[test]
        fn arbitrary_bytes_never_panic(bytes: Vec<u8>) {
            let _ = decode::<Note>(&bytes);
        }
    }
}
