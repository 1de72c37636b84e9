//! What linkspan does to real packets, files and processes, seen from outside: through the facade and the
//! command alone.
//!
//! A test starts itself again in namespaces of its own (`private`) and stands there in a `world`: a host, a
//! remote machine at the other end of a cable, and whatever containers it makes. `traffic` flows between
//! them, `program` runs the command, `answer` compares what it says, `snapshot` says whether the host is as it
//! was before, `beside` whether rules of others are, which stand in every world, `strace` breaks system calls,
//! `dice` is thrown, `length` says how long a test may take. The other modules are the facts, one subject each.
//!
//! The command is taken from where cargo puts it: `cargo build -p linkspan-cli` comes first, as it does in
//! `cargo xtask test`.

#[cfg(test)]
mod answer;
#[cfg(test)]
mod beside;
#[cfg(test)]
mod calls;
#[cfg(test)]
mod dice;
#[cfg(test)]
mod length;
#[cfg(test)]
mod private;
#[cfg(test)]
mod program;
#[cfg(test)]
mod snapshot;
#[cfg(test)]
mod strace;
#[cfg(test)]
mod traffic;
#[cfg(test)]
mod world;

#[cfg(test)]
mod attach_new;
#[cfg(test)]
mod breakage;
#[cfg(test)]
mod coexistence;
#[cfg(test)]
mod command;
#[cfg(test)]
mod crowded;
#[cfg(test)]
mod cycles;
#[cfg(test)]
mod damage;
#[cfg(test)]
mod deaths;
#[cfg(test)]
mod differential;
#[cfg(test)]
mod doctor;
#[cfg(test)]
mod durability;
#[cfg(test)]
mod ending;
#[cfg(test)]
mod endpoints;
#[cfg(test)]
mod explain;
#[cfg(test)]
mod faults;
#[cfg(test)]
mod flows;
#[cfg(test)]
mod full_disk;
#[cfg(test)]
mod input;
#[cfg(test)]
mod instructions;
#[cfg(test)]
mod isolation;
#[cfg(test)]
mod matrix;
#[cfg(test)]
mod model;
#[cfg(test)]
mod modes;
#[cfg(test)]
mod obstacles;
#[cfg(test)]
mod orphan;
#[cfg(test)]
mod plan;
#[cfg(test)]
mod publishing;
#[cfg(test)]
mod race;
#[cfg(test)]
mod readme;
#[cfg(test)]
mod reboot;
#[cfg(test)]
mod recovery;
#[cfg(test)]
mod recovery_killed;
#[cfg(test)]
mod removal;
#[cfg(test)]
mod reservations;
#[cfg(test)]
mod security;
#[cfg(test)]
mod standstill;
#[cfg(test)]
mod state_files;
#[cfg(test)]
mod trust;
#[cfg(test)]
mod warm;
