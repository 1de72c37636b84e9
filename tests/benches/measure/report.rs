//! What was measured, as lines for `cargo xtask bench`, which says what they come to.
//!
//! ```text
//! section NAME
//! times   OPERATION SIZE CONTESTANT NANOSECONDS,NANOSECONDS...
//! fact    TEXT
//! absent  CONTESTANT REASON
//! ```
//!
//! Words are separated by tabs.

use crate::contest::Times;

pub(crate) fn section(name: &str) {
    println!("section\t{name}");
}

/// An operation at a size of the host; the first contestant is what the others are compared with.
pub(crate) fn operation<'a>(operation: &str, size: u16, contestants: impl IntoIterator<Item = &'a Times>) {
    for Times { who, times } in contestants {
        let times: Vec<_> = times.iter().map(|time| time.as_nanos().to_string()).collect();
        println!("times\t{operation}\t{size}\t{who}\t{}", times.join(","));
    }
}

pub(crate) fn fact(text: &str) {
    println!("fact\t{text}");
}

/// Who is not among the contestants, and why.
pub(crate) fn absent(who: &str, reason: &str) {
    println!("absent\t{who}\t{reason}");
}
