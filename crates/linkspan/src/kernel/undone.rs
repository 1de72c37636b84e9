//! What could not be taken back, gathered while the rest goes on.

use crate::{Error, Left, Residue};

/// What could not be undone of something.
#[derive(Debug, Default)]
pub(crate) struct Undone {
    left: Vec<Left>,
}

impl Undone {
    pub(crate) fn note(&mut self, what: Residue, done: Result<(), Error>) {
        match done {
            Ok(()) => {}
            // What it says of itself is more exact.
            Err(Error::LeftBehind { left, refused: None }) => self.left.extend(left),
            Err(source) => self.left.push(Left { what, source: Box::new(source) }),
        }
    }

    /// Notes what another work of several parts says of itself.
    pub(crate) fn merge(&mut self, done: Result<(), Error>) {
        self.note(Residue::Unknown, done);
    }

    pub(crate) const fn is_whole(&self) -> bool {
        self.left.is_empty()
    }

    /// Everything that stayed.
    pub(crate) fn into_left(self) -> Vec<Left> {
        self.left
    }

    /// Everything that stayed, where anything did.
    pub(crate) fn finish(self) -> Result<(), Error> {
        if self.left.is_empty() {
            return Ok(());
        }
        Err(Error::LeftBehind { left: self.left, refused: None })
    }
}
