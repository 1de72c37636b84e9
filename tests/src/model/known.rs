//! Sequences that went wrong once, as they are printed.

use super::step::Step::{self, Break, Do, Kill};
use super::step::{At, Deed, Doors, Harm, Net, On, Who};
use Deed::{Attach, Create, Reconcile};
use Doors::Shut;
use Harm::{LinkMac, LoseLeases, LoseRecord, Usurp};
use Net::{Bridge, N1};
use On::One;
use Who::{P0, P1};

pub(super) const KNOWN: &[&[Step]] = &[
    // Leases whose file is gone are written anew.
    &[Do(Create(N1)), Do(Attach(P0, One(N1), Shut)), Break(LoseLeases(N1)), Do(Reconcile)],
    // The draft of a definition goes with what else a killed command left.
    &[Kill(Create(N1), At("write", 3))],
    &[Kill(Create(N1), At("fsync", 1))],
    // Nobody is put on a bridge of others in the place of ours.
    &[Do(Attach(P0, One(Bridge), Shut)), Break(Usurp(Bridge)), Do(Reconcile)],
    // What others changed of a container's link comes back, its MAC too.
    &[Do(Attach(P1, One(Bridge), Shut)), Break(LinkMac(P1)), Do(Reconcile)],
    // It stays where nothing tells of the container any more.
    &[Do(Attach(P1, One(Bridge), Shut)), Break(LinkMac(P1)), Break(LoseRecord(P1))],
];
