//! Folders and names that tests use.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

use linkspan_ipam::{LeaseBook, Owner, Subnet};
use linkspan_records::Folder;

/// A folder of its own for each test, removed when it is dropped.
pub(crate) struct Scratch {
    path: PathBuf,
}

impl Scratch {
    pub(crate) fn create() -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        Self { path: std::env::temp_dir().join(format!("linkspan-ipam-{}-{count}", std::process::id())) }
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    pub(crate) fn book(&self) -> LeaseBook {
        book(&self.path)
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.path);
    }
}

pub(crate) fn book(path: &Path) -> LeaseBook {
    LeaseBook::open(&Folder::open(path).unwrap(), &"book".parse().unwrap())
}

pub(crate) fn owner(text: &str) -> Owner {
    text.parse().unwrap()
}

pub(crate) fn subnet(text: &str) -> Subnet {
    Subnet::new(text.parse().unwrap()).unwrap()
}
