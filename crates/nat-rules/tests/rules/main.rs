//! The rules as others see them: golden text, laws on paper, and what the kernel makes of them.

// A panic here is a failed test, and a reason to skip is for whoever runs it.
#![allow(clippy::unwrap_used, clippy::panic, clippy::print_stdout)]

#[cfg(feature = "kernel")]
mod conntrack;
mod foreign;
mod golden;
mod injection;
#[cfg(feature = "kernel")]
mod iptables;
#[cfg(feature = "kernel")]
mod lab;
mod laws;
#[cfg(feature = "kernel")]
mod nftables;
#[cfg(feature = "kernel")]
mod others;
#[cfg(feature = "kernel")]
mod random;
mod samples;
#[cfg(feature = "kernel")]
mod traffic;
#[cfg(feature = "kernel")]
mod trust;
mod walk;
