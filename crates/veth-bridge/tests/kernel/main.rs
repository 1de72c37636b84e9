//! What the running kernel makes of plans, in namespaces of the tests' own.
#![allow(clippy::unwrap_used, clippy::panic, clippy::print_stdout, reason = "a test fails by a panic")]

mod container;
mod host;
mod lab;
mod paper;
mod refusal;
mod survey;
#[path = "../wishes/mod.rs"]
mod wishes;
mod world;
