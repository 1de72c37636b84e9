//! What a lease book promises: to one process and to several.
#![cfg(feature = "kernel")]

#[cfg(test)]
mod books;
#[cfg(test)]
mod processes;
#[cfg(test)]
mod scratch;
