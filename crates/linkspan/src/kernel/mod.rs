//! The door: what the plans say is looked up and performed here.

mod attach;
mod damage;
mod defining;
mod detach;
mod doctor;
mod ending;
mod explain;
mod firewall;
mod gc;
mod home;
mod host;
mod mode;
mod networks;
mod ports;
mod rebuild;
mod reconcile;
mod records;
mod removal;
mod reservations;
mod state;
mod target;
mod undone;
mod up;
mod view;
mod warm;

pub use detach::Detached;
pub use host::{Builder, Host, Notice};
pub use mode::{Mode, Prepared};
