//! The door to the running kernel.

mod identity;
mod maker;
mod netns;
mod pin;
mod procfs;
mod sandbox;
mod visit;
mod worker;

pub use maker::{Maker, Making};
pub use netns::NetNs;
pub use sandbox::{Isolation, Sandbox};
