//! Folders and values that tests use.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

use linkspan_records::{Document, FileName, Folder};
use serde::{Deserialize, Serialize};

/// A folder of its own for each test, removed when it is dropped.
pub(crate) struct Scratch {
    path: PathBuf,
}

impl Scratch {
    pub(crate) fn create() -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let path = std::env::temp_dir().join(format!("linkspan-records-{}-{count}", std::process::id()));
        Self { path }
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    pub(crate) fn folder(&self) -> Folder {
        Folder::open(&self.path).unwrap()
    }

    /// Everything in the folder, dot files included.
    pub(crate) fn files(&self) -> Vec<String> {
        let entries = std::fs::read_dir(&self.path).unwrap();
        let mut files: Vec<_> =
            entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        files.sort();
        files
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.path);
    }
}

pub(crate) fn name(text: &str) -> FileName {
    text.parse().unwrap()
}

#[derive(Serialize, Deserialize, PartialEq, Debug, Clone)]
pub(crate) struct Note {
    pub(crate) text: String,
}

impl Document for Note {
    const VERSION: u32 = 1;
}

pub(crate) fn note(text: &str) -> Note {
    Note { text: text.to_owned() }
}
