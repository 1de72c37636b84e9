//! Removing what nobody needs any more.

use crate::attachment::AttachmentRecord;
use crate::gc::{Collected, Garbage, Lessees, Survey, garbage};
use crate::kernel::attach::owner;
use crate::kernel::damage::{or_damage, undamaged};
use crate::kernel::detach::Life;
use crate::kernel::home::{Readable, file, network_of};
use crate::kernel::host::Host;
use crate::kernel::undone::Undone;
use crate::plan::{NetworkRecord, RulesPlan};
use crate::{Attachment, AttachmentId, ContainerName, Error, Residue, mark};
use linkspan_ipam::Owner;
use linkspan_nat_rules::Change;
use linkspan_net_types::{IfName, Mtu};
use linkspan_records::{FileName, Folder, Taken};
use linkspan_veth_bridge::kernel::Links;
use linkspan_veth_bridge::{self as links, Look};
use std::collections::BTreeSet;
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};

impl Host {
    /// Says what [`gc`](Self::gc) would remove at this moment, and changes nothing.
    ///
    /// # Errors
    /// As [`gc`](Self::gc).
    pub fn plan_gc(&self) -> Result<Garbage, Error> {
        self.forget_older_boots()?;
        let here = self.run.stay()?;
        let planned = self.survey(&mut Undone::default()).map(garbage);
        self.run.leave(here)?;
        planned
    }

    /// Removes what nobody needs any more: attachments whose container is gone, what killed processes left, and the
    /// links, rules, leases, claims and files of this instance that no record wants. Nothing of others is touched. An
    /// address that is kept stays so ([`Addresses::Keep`](crate::Addresses::Keep)) as long as its network is defined.
    ///
    /// A container is gone when its namespace is not where it was, or, where it has no place, when its host ends are
    /// gone; one that cannot be looked at stays ([`Garbage::unseen`]). Links are known by their MAC
    /// ([`Garbage::orphans`]). What cannot be removed is told ([`Collected::left`]) and stays on record. Leases that cannot
    /// be read stay ([`Garbage::unread`]). No other operation is at work meanwhile. A run folder with containers that was
    /// removed by hand is a run folder without records: their links are orphans then.
    ///
    /// # Errors
    /// [`Error::Records`] where definitions cannot be read, a record is of another version, or that of
    /// a network which is defined and in use is damaged or gone;
    /// [`Error::Rules`] where the table of our name is someone else's; [`Error::RunFolder`]. Nothing was removed then.
    pub fn gc(&self) -> Result<Collected, Error> {
        let alone = self.run.alone(&self.identity)?;
        let collected = self.collect();
        self.tidy_after(alone, collected, |collected| collected.left)
    }

    fn collect(&self) -> Result<Collected, Error> {
        let mut unseen = Undone::default();
        let garbage = garbage(self.survey(&mut unseen)?);
        // Definitions that cannot be locked are found out before anything goes.
        drop(self.state.try_lock()?);
        let mut undone = Undone::default();
        self.remove_orphans(&garbage, &mut undone);
        if undone.is_whole() {
            self.remove_damaged(&garbage, &mut undone);
        }
        undone.merge(self.take_back_pending());
        undone.merge(self.release_all_dead(&garbage));
        if undone.is_whole() {
            undone.note(Residue::Records { of: self.run.path() }, self.forget_strays(&garbage));
        }
        undone.merge(unseen.finish());
        Ok(Collected { garbage, left: undone.into_left() })
    }

    /// Links and rules first: what a damaged record stood for is gone before the record is.
    fn remove_orphans(&self, garbage: &Garbage, undone: &mut Undone) {
        if !garbage.rules.is_empty() {
            let pruned = self.prune();
            undone.note(Residue::Rules { of: self.instance().to_string() }, pruned);
        }
        if !garbage.host_ends.is_empty() {
            let names: Vec<_> = garbage.host_ends.iter().map(ToString::to_string).collect();
            let deleted = self.delete_together(&garbage.host_ends);
            undone.note(Residue::Links { names: names.join(", ") }, deleted);
        }
        for name in &garbage.bridges {
            undone.note(Residue::Link(*name), self.delete_bridge(*name));
        }
    }

    fn delete_bridge(&self, name: IfName) -> Result<(), Error> {
        let ours = links::Bridge::new(name, mark::of_bridge(self.instance(), name), Mtu::ETHERNET);
        self.links(|door| {
            let seen = door.observe(&Look::at(name), None)?;
            door.apply(&links::plan::remove_bridge(&ours, &seen), None).map_err(Error::from)
        })
    }

    fn prune(&self) -> Result<(), Error> {
        let lock = self.lock_rules()?;
        let pruned = self.rules.prune(self.netns.as_fd(), &lock, &self.run.rules_of(Readable::Undamaged)?)?;
        let gone = Change::new().withdraw_all(pruned.withdrawn().iter().copied());
        Ok(self.rules.forget_flows(self.netns.as_fd(), &gone)?)
    }

    fn remove_damaged(&self, garbage: &Garbage, undone: &mut Undone) {
        for path in &garbage.damaged {
            let of = path.display().to_string();
            undone.note(Residue::Records { of }, self.run.remove_damaged(path));
        }
    }

    /// Takes back what killed processes left under way, and tells what stays of it.
    fn take_back_pending(&self) -> Result<(), Error> {
        let mut records = Vec::new();
        for name in self.run.pending.names()?.iter().filter(|name| network_of(name).is_none()) {
            if let Taken::Here(record) = self.run.pending.take_record(name)? {
                records.push(record);
            }
        }
        records.extend(self.abandoned()?);
        let taken_back = self.take_back_all(records);
        let networks = self.take_back_every_network();
        let mut undone = Undone::default();
        undone.merge(taken_back);
        undone.merge(networks);
        undone.finish()
    }

    fn release_all_dead(&self, garbage: &Garbage) -> Result<(), Error> {
        let mut records = Vec::new();
        for dead in &garbage.dead {
            if let Taken::Here(record) = self.run.take_confirmed(&file(dead.id))? {
                records.push(record);
            }
        }
        self.take_back_all(records)
    }

    fn forget_strays(&self, garbage: &Garbage) -> Result<(), Error> {
        for (network, stray) in &garbage.leases {
            self.run.book(*network).release_all(&owner(*stray))?;
        }
        garbage.books.iter().try_for_each(|network| self.run.forget_book(*network))?;
        garbage.reservations.iter().try_for_each(|network| self.state.forget_reservations(*network))?;
        garbage.claims.iter().try_for_each(|stray| self.free_claims(*stray))?;
        self.state.sweep()?;
        self.run.sweep()
    }

    /// Looks at everything that may be garbage; of what is on record, a living process's work in progress is not. Why a
    /// container cannot be looked at is noted.
    fn survey(&self, unlooked: &mut Undone) -> Result<Survey, Error> {
        let mut unheard_of = self.unheard_of()?;
        let defined = self.state.all()?.into_iter().map(|network| network.id).collect();
        let records = self.run.survey(&defined)?;
        let (mut dead, mut unseen) = (Vec::new(), Vec::new());
        for attachment in records.confirmed {
            match self.life_of(&attachment)? {
                Life::Lives => {}
                Life::Gone => dead.push(attachment),
                Life::Unseen(why) => {
                    unlooked.note(Residue::Records { of: attachment.name.to_string() }, Err(why.into()));
                    unseen.push(attachment.name);
                }
            }
        }
        let lives = |name: &ContainerName| dead.iter().all(|dead: &Attachment| dead.name != *name);
        unheard_of.retain(|_, users| users.iter().any(lives));
        let rules = if unheard_of.is_empty() { self.surplus()? } else { RulesPlan::None };
        Ok(Survey {
            instance: self.instance(),
            unfinished: self.unfinished()?,
            dead,
            unseen,
            attachments: records.attachments,
            networks: records.networks.into_iter().chain(defined).chain(unheard_of.into_keys()).collect(),
            recorded: records.links,
            links: self.links(Links::snapshot)?.links,
            rules,
            lessees: self.lessees()?,
            keeping: self.state.keeping()?,
            claimants: self.claimants()?,
            damaged: records.damaged,
        })
    }

    /// What our table holds that no record wants.
    fn surplus(&self) -> Result<RulesPlan, Error> {
        Ok(self.rules.plan_prune(self.netns.as_fd(), &self.run.rules_of(Readable::Undamaged)?)?)
    }

    fn claimants(&self) -> Result<Result<Vec<AttachmentId>, PathBuf>, Error> {
        let mut claims = self.run.claims();
        let read = or_damage(claims.lock())?;
        Ok(read.map(|claims| claims.state().claimants().collect()).map_err(|damage| path_of(&damage)))
    }

    fn lessees(&self) -> Result<Vec<Lessees>, Error> {
        let ids =
            |owners: Vec<Owner>| owners.iter().filter_map(|owner| owner.as_str().parse().ok()).collect();
        let mut all = Vec::new();
        for network in self.run.books_on_file()? {
            let owners = or_damage(self.run.book(network).owners())?;
            all.push((network, owners.map(ids).map_err(|damage| path_of(&damage))));
        }
        Ok(all)
    }

    /// What killed processes were at work on: a record that can be locked has no living owner.
    fn unfinished(&self) -> Result<Vec<String>, Error> {
        let mut names = BTreeSet::new();
        for folder in [&self.run.pending, &self.run.warm] {
            for file in folder.names()? {
                // A damaged one is among what is damaged.
                names.extend(undamaged(name_of_the_dead(folder, &file))?);
            }
        }
        Ok(names.into_iter().collect())
    }
}

fn path_of(damage: &linkspan_records::Error) -> PathBuf {
    damage.path().map(Path::to_owned).unwrap_or_default()
}

fn name_of_the_dead(folder: &Folder, file: &FileName) -> Result<Option<String>, linkspan_records::Error> {
    Ok(match network_of(file) {
        Some(_) => folder.peek_free::<NetworkRecord>(file)?.map(|record| record.network.name.to_string()),
        None => folder.peek_free::<AttachmentRecord>(file)?.map(|record| record.name.to_string()),
    })
}
