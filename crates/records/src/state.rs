//! What a ledger's entries add up to.

use std::fmt::Display;
use std::str::FromStr;

/// A state that is the sum of a history of entries.
///
/// Two laws hold for every implementation: the text of an entry, read again, is the same entry; and applying
/// [`entries`](Self::entries) to the default gives an equal state. An entry's text holds no line break.
///
/// ```
/// use linkspan_records::State;
///
/// #[derive(Default)]
/// struct Sum(i64);
///
/// impl State for Sum {
///     type Entry = i64;
///     const VERSION: u32 = 1;
///     fn apply(&mut self, entry: &i64) { self.0 = self.0.wrapping_add(*entry); }
///     fn entries(&self) -> Vec<i64> { if self.0 == 0 { vec![] } else { vec![self.0] } }
/// }
/// ```
pub trait State: Default {
    /// One change, kept as one line of text.
    type Entry: Display + FromStr;

    /// The version of the entries' text: raised when a program that reads this one would misread the next.
    const VERSION: u32;

    /// Takes one change into the state. It came from a file: it must not panic, whatever it says.
    fn apply(&mut self, entry: &Self::Entry);

    /// Returns the shortest history that gives this state.
    fn entries(&self) -> Vec<Self::Entry>;
}
