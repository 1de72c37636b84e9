//! Whatever system call of whatever operation is refused or is the last one, the host is as before, or the
//! operation is done, or what stayed is told and goes.
//!
//! `operations` is the table of what the command does, `ways` of what a system call may come back with, `judge`
//! compares the host with what it was and with what it has to become, and what is said with what is said where
//! nothing is broken. None of them knows what an operation does, so a step that is added is broken with the
//! others.
//!
//! Of several threads and programs that make a call, the first to come to so many of it is broken
//! ([`Fault::nth`](crate::strace::Fault)); that each of iptables' programs fails, `faults` plays by programs of their
//! names.
//!
//! Everything takes hours (`LINKSPAN_STRIDE=1`). `cargo xtask soak breakage` takes one fault of eight, every night
//! others, so that eight nights take each; a run of the tests takes one of many, and other ones with another
//! `LINKSPAN_SEED=NUMBER`. `LINKSPAN_OPERATION=WORDS` takes the operations with these words in their names alone.

mod ground;
mod judge;
mod operations;
mod sweep;
mod ways;

use crate::calls::is_known;
use crate::private::in_private_with;
use crate::strace::calls;
use ground::Ground;
use linkspan::Firewall;
use operations::{OPERATIONS, Operation};
use std::thread;
use sweep::sweep;

#[test]
fn every_operation_that_is_broken_anywhere_is_done_or_undone_with_nftables() {
    in_private_with(&["strace", "nft"], || sweep(Firewall::Nftables));
}

#[test]
fn every_operation_that_is_broken_anywhere_is_done_or_undone_with_iptables() {
    in_private_with(&["strace", "nft", "iptables", "ip6tables"], || sweep(Firewall::Iptables));
}

#[test]
fn every_system_call_of_every_operation_can_be_broken() {
    in_private_with(&["strace", "nft", "iptables", "ip6tables"], || {
        let look = |firewall, operation: &Operation| {
            let ground = Ground::new(firewall);
            (operation.prepare)(&ground);
            let calls = calls(&ground.world, operation.line);
            let unknown: Vec<_> = calls.keys().filter(|call| !is_known(call)).collect();
            assert!(unknown.is_empty(), "{firewall}: {}: {unknown:?}", operation.name);
        };
        for firewall in [Firewall::Nftables, Firewall::Iptables] {
            for operation in OPERATIONS {
                thread::scope(|scope| scope.spawn(|| look(firewall, operation)).join().unwrap());
            }
        }
    });
}
