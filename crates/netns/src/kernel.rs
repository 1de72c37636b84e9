//! The door to the running kernel.

mod identity;
mod netns;
mod pin;
mod procfs;
mod sandbox;
mod visit;

pub use netns::NetNs;
pub use sandbox::{Isolation, Sandbox};
