//! What the running kernel makes of plans, in namespaces of the tests' own.

mod lab;
mod paper;
#[path = "../wishes.rs"]
mod wishes;
