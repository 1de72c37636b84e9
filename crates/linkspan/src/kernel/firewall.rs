use crate::plan::{Firewall, RulesPlan};
use linkspan_nat_rules::conntrack::Stale;
use linkspan_nat_rules::kernel::{Conntrack, Iptables, Nftables};
use linkspan_nat_rules::{Change, Error, Instance, Publish, Ruleset, iptables, nftables};
use linkspan_net_types::Protocol;
use linkspan_records::Lock;
use std::borrow::Cow;
use std::os::fd::{AsFd as _, BorrowedFd};
use std::sync::{Mutex, PoisonError};

/// The rules of the host, whichever firewall carries them.
///
/// nftables is told what changes; iptables can only be told all that there is to be, so `whole` says that.
#[derive(Debug)]
pub(crate) struct Rules {
    instance: Instance,
    firewall: Firewall,
    /// Closing such a socket after a removal waits for the kernel, so they are kept.
    idle: Mutex<Vec<Nftables>>,
    idle_conntrack: Mutex<Vec<Conntrack>>,
}

/// Held by whoever changes the rules. With iptables nobody else does meanwhile, and neither does a program that is left of
/// one who was killed: such programs hold it too.
#[derive(Debug)]
pub(crate) struct RulesLock(Option<Lock>);

impl RulesLock {
    /// iptables is rewritten whole, one at a time.
    pub(crate) const fn of_iptables(lock: Lock) -> Self {
        Self(Some(lock))
    }

    /// nftables changes what it is told, and each change by itself.
    pub(crate) const NONE: Self = Self(None);
}

impl Rules {
    pub(crate) const fn new(instance: Instance, firewall: Firewall) -> Self {
        Self { instance, firewall, idle: Mutex::new(Vec::new()), idle_conntrack: Mutex::new(Vec::new()) }
    }

    /// Finds out whether the firewall can be spoken to at all.
    pub(crate) fn probe(&self, host: BorrowedFd<'_>) -> Result<(), Error> {
        match self.firewall {
            Firewall::Iptables => Iptables::open_in(self.instance, host)?.look().map(drop),
            // A refusal of nftables comes with the first change, and leaves nothing.
            Firewall::Nftables | Firewall::None => Ok(()),
        }
    }

    /// Performs the change, and says what it came to: with it goes what is in its way and on no record.
    pub(crate) fn change<'a>(
        &self,
        host: BorrowedFd<'_>,
        lock: &RulesLock,
        change: &'a Change,
        whole: impl FnOnce() -> Result<Ruleset, crate::Error>,
    ) -> Result<Cow<'a, Change>, crate::Error> {
        if change.is_empty() {
            return Ok(Cow::Borrowed(change));
        }
        match self.firewall {
            Firewall::None => {}
            Firewall::Nftables => match self.nftables(host, |door| door.change(change)) {
                Err(Error::PortTaken { .. }) => {
                    let seen = self.nftables(host, |door| door.look(change))?;
                    let clearing = clearing(change, &seen, &whole()?)?;
                    self.nftables(host, |door| door.change(&clearing))?;
                    return Ok(Cow::Owned(clearing));
                }
                made => drop(made?),
            },
            Firewall::Iptables => {
                let door = self.iptables(host, lock)?;
                let plan = iptables::plan(self.instance, &whole()?.after(change)?, &door.look()?)?;
                door.apply(&plan)?;
                // What no record wants goes with the chains that are written anew.
                let gone = plan.withdrawn().iter().copied();
                return Ok(Cow::Owned(change.clone().withdraw_all(gone)));
            }
        }
        Ok(Cow::Borrowed(change))
    }

    /// Plans the change, and changes nothing.
    pub(crate) fn plan(
        &self,
        host: BorrowedFd<'_>,
        change: &Change,
        whole: impl FnOnce() -> Result<Ruleset, crate::Error>,
    ) -> Result<RulesPlan, crate::Error> {
        Ok(match self.firewall {
            Firewall::None => RulesPlan::None,
            Firewall::Nftables => {
                let seen = self.nftables(host, |door| door.look(change))?;
                RulesPlan::Nftables(match nftables::plan(self.instance, change, &seen) {
                    Err(Error::PortTaken { .. }) => {
                        nftables::plan(self.instance, &clearing(change, &seen, &whole()?)?, &seen)?
                    }
                    planned => planned?,
                })
            }
            Firewall::Iptables => {
                let seen = Iptables::open_in(self.instance, host)?.look()?;
                RulesPlan::Iptables(iptables::plan(self.instance, &whole()?.after(change)?, &seen)?)
            }
        })
    }

    /// Makes our rules what is wanted, and says what that took.
    pub(crate) fn reconcile(
        &self,
        host: BorrowedFd<'_>,
        lock: &RulesLock,
        wanted: &Ruleset,
    ) -> Result<RulesPlan, Error> {
        Ok(match self.firewall {
            Firewall::None => RulesPlan::None,
            Firewall::Nftables => RulesPlan::Nftables(self.nftables(host, |door| door.reconcile(wanted))?),
            Firewall::Iptables => RulesPlan::Iptables(self.iptables(host, lock)?.reconcile(wanted)?),
        })
    }

    /// Plans to make our rules what is wanted, and changes nothing.
    pub(crate) fn plan_reconcile(&self, host: BorrowedFd<'_>, wanted: &Ruleset) -> Result<RulesPlan, Error> {
        Ok(match self.firewall {
            Firewall::None => RulesPlan::None,
            Firewall::Nftables => {
                let seen = self.look_at_all(host)?;
                RulesPlan::Nftables(nftables::reconcile(self.instance, wanted, &seen)?)
            }
            Firewall::Iptables => RulesPlan::Iptables(self.plan_rewrite(host, wanted)?),
        })
    }

    /// Takes out of our rules what is not wanted, and says what that was; iptables, which is rewritten whole, gets what
    /// is missing as well.
    pub(crate) fn prune(
        &self,
        host: BorrowedFd<'_>,
        lock: &RulesLock,
        wanted: &Ruleset,
    ) -> Result<RulesPlan, Error> {
        Ok(match self.firewall {
            Firewall::None => RulesPlan::None,
            Firewall::Nftables => RulesPlan::Nftables(self.nftables(host, |door| door.prune(wanted))?),
            Firewall::Iptables => RulesPlan::Iptables(self.iptables(host, lock)?.reconcile(wanted)?),
        })
    }

    /// Plans what [`prune`](Self::prune) does, and changes nothing.
    pub(crate) fn plan_prune(&self, host: BorrowedFd<'_>, wanted: &Ruleset) -> Result<RulesPlan, Error> {
        Ok(match self.firewall {
            Firewall::None => RulesPlan::None,
            Firewall::Nftables => {
                let seen = self.look_at_all(host)?;
                RulesPlan::Nftables(nftables::prune(self.instance, wanted, &seen)?)
            }
            Firewall::Iptables => RulesPlan::Iptables(self.plan_rewrite(host, wanted)?),
        })
    }

    fn plan_rewrite(&self, host: BorrowedFd<'_>, wanted: &Ruleset) -> Result<iptables::Plan, Error> {
        iptables::plan(self.instance, wanted, &Iptables::open_in(self.instance, host)?.look()?)
    }

    fn iptables(&self, host: BorrowedFd<'_>, lock: &RulesLock) -> Result<Iptables, Error> {
        let door = Iptables::open_in(self.instance, host)?;
        match &lock.0 {
            Some(lock) => door.keeping(lock.as_fd()),
            None => Ok(door),
        }
    }

    /// All of our table, where nftables carries the rules.
    pub(crate) fn look_at_all(&self, host: BorrowedFd<'_>) -> Result<nftables::Seen, Error> {
        self.nftables(host, Nftables::look_at_all)
    }

    /// Lets the datagrams of ports that changed their owner find the new one at once.
    ///
    /// TCP needs no such look, which would cost a walk through all that the kernel tracks. Connections to a
    /// container that went are reset by whoever has its address next. And a SYN that came before its port was
    /// published leaves nothing: one that is refused, since nothing listens while a port is claimed, is forgotten
    /// with the refusal (`nf_conntrack_proto_tcp.c`), and one that a rule of INPUT drops never was tracked, so that
    /// it is led to the container when it is sent again. Whoever comes to hold ports by sockets that listen and do
    /// not answer has to have those SYN forgotten, which are tracked for two minutes.
    pub(crate) fn forget_flows(&self, host: BorrowedFd<'_>, change: &Change) -> Result<(), Error> {
        let udp = |publish: &&Publish| publish.protocol() == Protocol::Udp;
        let change = Change::new()
            .withdraw_all(change.withdrawn().iter().filter(udp).copied())
            .publish_all(change.published().iter().filter(udp).copied());
        let stale = Stale::after(&change);
        if stale.is_empty() || self.firewall == Firewall::None {
            return Ok(());
        }
        let idle = self.idle_conntrack.lock().unwrap_or_else(PoisonError::into_inner).pop();
        let mut door = idle.map_or_else(|| Conntrack::open_in(host), Ok)?;
        let forgotten = door.forget(&stale).map(drop);
        if forgotten.is_ok() {
            self.idle_conntrack.lock().unwrap_or_else(PoisonError::into_inner).push(door);
        }
        forgotten
    }

    fn nftables<T>(
        &self,
        host: BorrowedFd<'_>,
        work: impl FnOnce(&mut Nftables) -> Result<T, Error>,
    ) -> Result<T, Error> {
        let idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner).pop();
        let mut door = idle.map_or_else(|| Nftables::open_in(self.instance, host), Ok)?;
        let done = work(&mut door);
        // The kernel may still be answering one that it did not answer in time.
        if !matches!(done, Err(Error::Netlink(_))) {
            self.idle.lock().unwrap_or_else(PoisonError::into_inner).push(door);
        }
        done
    }
}

/// The change, and with it goes what leads its ports elsewhere though no record wants it: a record that someone removed
/// is missed by nobody but the rules.
fn clearing(change: &Change, seen: &nftables::Seen, recorded: &Ruleset) -> Result<Change, Error> {
    recorded.after(change)?;
    Ok(change.clone().withdraw_all(seen.in_the_way(change)))
}
