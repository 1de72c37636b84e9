//! The door against the running kernel, in private namespaces.
#![cfg(feature = "kernel")]
#![allow(clippy::unwrap_used, clippy::panic, clippy::print_stdout, reason = "a test fails by a panic")]

mod identity;
mod lab;
mod pin;
mod place;
mod run;
mod sandbox;
