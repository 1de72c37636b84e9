//! Locked, versioned, torn-safe record files that several processes on one host share.
//!
//! Four kinds of file, all in a [`Folder`] that is held open by descriptor, owned by the caller and writable by
//! nobody else:
//!
//! | kind | what it is for | what a crash leaves |
//! |---|---|---|
//! | [document](Folder::write) | one value that is replaced whole | the value before or the value after |
//! | [`Record`] | an operation under way: its owner keeps the file locked and appends a line per phase | the last whole line, unlocked |
//! | [`Ledger`] | a state that many processes change often | every commit but, at most, the last |
//! | [`Lock`] | nothing but exclusion | nothing: the kernel releases it |
//!
//! # What it refuses to do
//!
//! It knows no networks. It never resets a file that it cannot read: a torn document, a version that is not
//! understood and a corrupt ledger are errors that name the path. It follows no symbolic link, waits for no
//! clock, starts no thread, and repairs nothing but the unfinished tail of a record or of a ledger.
//!
//! # Ten lines that work
//!
//! ```
//! use linkspan_records::{Document, Durability, Folder};
//! use serde::{Deserialize, Serialize};
//!
//! #[derive(Serialize, Deserialize, PartialEq, Debug)]
//! struct Bridge { mtu: u32 }
//! impl Document for Bridge { const VERSION: u32 = 1; }
//!
//! # let path = std::env::temp_dir().join(format!("linkspan-records-doc-{}", std::process::id()));
//! let folder = Folder::open(&path)?;
//! folder.write(&"web".parse()?, &Bridge { mtu: 1500 }, Durability::Disk)?;
//! assert_eq!(folder.read(&"web".parse()?)?, Some(Bridge { mtu: 1500 }));
//! assert!(folder.remove(&"web".parse()?)?);
//! # std::fs::remove_dir_all(&path).expect("the example made it");
//! # Ok::<(), linkspan_records::Error>(())
//! ```

#![forbid(unsafe_code)]

mod document;
mod error;
mod line;
mod name;
mod state;
mod store;
mod unknown;

pub use document::{Document, MAX_DOCUMENT, MAX_PHASE};
pub use error::{Action, Error};
pub use name::FileName;
pub use state::State;
pub use store::{Access, Durability, Folder, Kept, Ledger, Lock, Locked, MAX_LEDGER, Record, Taken};
