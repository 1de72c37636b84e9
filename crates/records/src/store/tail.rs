//! The end of a file that grows by whole lines.

use std::fs::File;
use std::io::{self, Write as _};

/// Where the whole lines of a file end; what may follow was not written to its end.
#[derive(Debug, Default)]
pub(crate) struct Tail {
    pub(crate) end: u64,
    torn: bool,
}

/// How far a file goes, in bytes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Extent {
    /// Where its whole lines end.
    pub(crate) whole: u64,
    /// Where the file ends: not before its whole lines.
    pub(crate) size: u64,
}

impl Tail {
    /// Describes a file of whole lines that ends here.
    pub(crate) fn at(end: u64) -> Self {
        Self { end, torn: false }
    }

    /// Ends the file where its whole lines do. Only a holder of the file's lock may call this.
    pub(crate) fn cut(file: &File, extent: Extent) -> io::Result<Self> {
        let mut tail = Self { end: extent.whole, torn: extent.size > extent.whole };
        tail.mend(file)?;
        Ok(tail)
    }

    /// Appends all the bytes or none, with one write(2) as a rule.
    pub(crate) fn append(&mut self, mut file: &File, bytes: &[u8]) -> io::Result<()> {
        self.mend(file)?;
        self.torn = true;
        if let Err(error) = file.write_all(bytes) {
            // The write's own error says more; a cut that fails too is made up for by the next append.
            let _ = self.mend(file);
            return Err(error);
        }
        self.torn = false;
        self.end += bytes.len() as u64;
        Ok(())
    }

    fn mend(&mut self, file: &File) -> io::Result<()> {
        if self.torn {
            file.set_len(self.end)?;
            self.torn = false;
        }
        Ok(())
    }
}
