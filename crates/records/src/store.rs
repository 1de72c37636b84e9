//! The door to the outside: files and folders, by descriptor.

mod draft;
mod folder;
mod kept;
mod ledger;
mod listing;
mod lock;
mod log;
mod record;
mod tail;

pub use folder::{Durability, Folder};
pub use kept::Kept;
pub use ledger::{Ledger, Locked, MAX_LEDGER};
pub use lock::{Access, Lock};
pub use record::{Record, Taken};
