//! What is thrown at linkspan, and the laws that it must keep: `cargo xtask soak fuzz`.
//!
//! Everything that linkspan reads and has not written itself just now comes in by one of four ways, and each is a
//! target: the words of the command line, the files of its two folders, the answers of the kernel, and the text of
//! others' rules. A [`Target`] takes any bytes, makes of them what comes in by its way, and drives the public API with
//! it. It panics where a law is broken, as the product does where it should have returned an error.
//!
//! Built by `cargo fuzz`, a target is a program of libFuzzer: guided by what code each input reaches. Built by
//! `cargo build`, it is a program that writes its first inputs, or is given inputs and says what becomes of them:
//!
//! ```text
//! cargo run -p linkspan-fuzz --bin rule_text -- seeds DIR
//! cargo run -p linkspan-fuzz --bin rule_text -- replay FILE|DIR...
//! ```
//!
//! `fuzz/regressions/TARGET/` holds the inputs that found something, and `cargo xtask test` replays them. No input
//! is a hook into the product: files are files, and netlink is answered in the kernel's place ([`kernel`]).

// Targets are programs, and programs speak.
#![allow(clippy::print_stdout, clippy::print_stderr, clippy::exit)]

pub mod kernel;
mod ledger;
pub mod replies;
pub mod rules;
pub mod script;
pub mod state;
mod target;
mod text;
mod traffic;

pub use target::{Target, check, replay};
pub use text::{assert_one_line, told};
