//! Detaching and repair: one path, from the record and what is seen, whoever began it.

use crate::attachment::AttachmentRecord;
use crate::kernel::attach::owner;
use crate::kernel::home::{file, network_of};
use crate::kernel::host::Host;
use crate::kernel::undone::Undone;
use crate::plan;
use crate::{
    Addresses, AttachedEndpoint, Attachment, AttachmentId, ContainerName, Error, Namespace, Residue,
};
use linkspan_nat_rules::Change;
use linkspan_net_types::IfName;
use linkspan_netns::Place;
use linkspan_records::{self as records, Record, Taken};
use linkspan_veth_bridge as links;

/// What detaching came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Detached {
    /// It was attached, and is no more.
    Gone,
    /// There was no such attachment; that is as good.
    Absent,
}

/// What is known of a container that is on record.
#[derive(Debug)]
pub(crate) enum Life {
    Lives,
    Gone,
    /// Its place cannot be looked at, so it may well live.
    Unseen(linkspan_netns::Error),
}

impl Host {
    /// Takes a namespace off its networks: rules, links, leases, record. Its other links stay, and so does
    /// the namespace itself; the guests of a container that shared it keep `lo`.
    ///
    /// It needs nothing but the id, works from any process and also after a crash, and may be repeated. Whoever ends
    /// the namespace too is done sooner with [`detach_and_end`](Self::detach_and_end).
    ///
    /// # Errors
    /// [`Error::LeftBehind`] where something could not be removed: everything else was, and the next call
    /// of any process tries again.
    pub fn detach(&self, id: AttachmentId) -> Result<Detached, Error> {
        self.detach_with(id, Addresses::Free)
    }

    /// Detaches, and says what becomes of the container's addresses.
    ///
    /// They are kept one network after the other before anything else is done, so whoever is killed then leaves the
    /// container attached, with addresses kept on some of its networks: detaching it once more keeps the others, and
    /// [`release_address`](Self::release_address) lets go of them.
    ///
    /// # Errors
    /// As [`detach`](Self::detach); and where its addresses cannot be kept, [`Error::Records`] before any change.
    ///
    /// ```no_run
    /// use linkspan::{Addresses, Host};
    ///
    /// let host = Host::open()?;
    /// // Whoever is attached as `web-1` next has the same addresses.
    /// host.detach_with(host.find("web-1")?.id(), Addresses::Keep)?;
    /// # Ok::<(), linkspan::Error>(())
    /// ```
    pub fn detach_with(&self, id: AttachmentId, addresses: Addresses) -> Result<Detached, Error> {
        self.remove(|taken_back| {
            // Who may not touch the links is told so before anything is marked.
            self.links(|_| Ok::<_, Error>(()))?;
            self.detach_within(id, addresses, taken_back)
        })
    }

    /// Detaches, knowing what the dead left that was taken back before.
    pub(crate) fn detach_within(
        &self,
        id: AttachmentId,
        addresses: Addresses,
        taken_back: &[AttachmentId],
    ) -> Result<Detached, Error> {
        // It is in the one folder, or on its way away in the other, in the hands of someone alive or not.
        for folder in [&self.run.attachments, &self.run.pending] {
            if let Some(record) = self.run.wait_attachment(folder, &file(id))? {
                self.keep_where_wanted(addresses, std::slice::from_ref(&record))?;
                return self.take_back(record).map(|()| Detached::Gone);
            }
        }
        Ok(if taken_back.contains(&id) { Detached::Gone } else { Detached::Absent })
    }

    /// Detaches many, which takes little longer than one: the kernel waits for a grace period with each removal of a
    /// link, and with this one for all.
    ///
    /// Those that are not attached are passed over; that is as good.
    ///
    /// # Errors
    /// As [`detach`](Self::detach), with everything that stayed of all of them: none is in the way of another.
    pub fn detach_all(&self, ids: &[AttachmentId]) -> Result<(), Error> {
        self.detach_all_with(ids, Addresses::Free)
    }

    /// Detaches many, and says what becomes of their addresses.
    ///
    /// # Errors
    /// As [`detach_all`](Self::detach_all); and where their addresses cannot be kept, [`Error::Records`] before any
    /// change. Those that others are at work on come after the rest, each by itself: where only theirs cannot be kept,
    /// they stay attached, and [`Error::LeftBehind`] names them.
    pub fn detach_all_with(&self, ids: &[AttachmentId], addresses: Addresses) -> Result<(), Error> {
        let (mut undone, mut at_work) = (Undone::default(), Vec::new());
        let idle = self.remove(|_| {
            self.links(|_| Ok::<_, Error>(()))?;
            self.detach_idle(ids, addresses, &mut at_work)
        });
        match idle {
            done @ (Ok(()) | Err(Error::LeftBehind { refused: None, .. })) => {
                undone.merge(done);
            }
            Err(refused) => return Err(refused),
        }
        // Whoever holds one of them may wait for another, so nothing is held while they are waited for.
        for id in at_work {
            undone.note(Residue::Records { of: id.to_string() }, self.detach_with(id, addresses).map(drop));
        }
        undone.finish()
    }

    /// Detaches those that nobody else is at work on, and gathers the others.
    fn detach_idle(
        &self,
        ids: &[AttachmentId],
        addresses: Addresses,
        at_work: &mut Vec<AttachmentId>,
    ) -> Result<(), Error> {
        let (mut undone, mut idle) = (Undone::default(), Vec::new());
        for id in ids {
            match self.run.take_confirmed(&file(*id)) {
                Ok(Taken::Here(record)) => idle.push(record),
                Ok(Taken::Busy | Taken::Absent) => at_work.push(*id),
                Err(refused) => undone.note(Residue::Records { of: id.to_string() }, Err(refused.into())),
            }
        }
        self.keep_where_wanted(addresses, &idle)?;
        undone.merge(self.take_back_all(idle));
        undone.finish()
    }

    /// Before anything goes: an address whose lease has ended is anybody's.
    fn keep_where_wanted(
        &self,
        addresses: Addresses,
        records: &[Record<AttachmentRecord>],
    ) -> Result<(), Error> {
        match addresses {
            Addresses::Free => Ok(()),
            Addresses::Keep => {
                self.keep_addresses(records.iter().filter_map(|record| record.value().attachment.as_ref()))
            }
        }
    }

    /// Takes back whatever a record may have come to; what stays is tried again by the next caller.
    pub(crate) fn take_back(&self, mut record: Record<AttachmentRecord>) -> Result<(), Error> {
        self.mark_leaving(&mut record);
        self.undo(record)
    }

    /// Takes back many. What is slow to remove goes in one go: the rules in one change, and the links as a group,
    /// since the kernel waits for a grace period with each removal.
    pub(crate) fn take_back_all(&self, mut records: Vec<Record<AttachmentRecord>>) -> Result<(), Error> {
        records.iter_mut().for_each(|record| self.mark_leaving(record));
        let attachments: Vec<_> = records.iter().filter_map(|r| r.value().attachment.clone()).collect();
        let together = attachments.len() > 1 && self.clear_together(&attachments).is_ok();
        let mut undone = Undone::default();
        for record in records {
            let of = record.value().name.to_string();
            // Where one was in the way of all, each is seen to by itself: what is gone is gone.
            let done = if together { self.forget_attachment(record) } else { self.undo(record) };
            undone.note(Residue::Records { of }, done);
        }
        undone.finish()
    }

    pub(crate) fn mark_leaving(&self, record: &mut Record<AttachmentRecord>) {
        // One that is taken back is in `pending` already, where the next caller finds it.
        let _ = record.move_to(&self.run.pending);
        if !record.value().leaving {
            // A record that cannot be written, on a full disk say, is no reason to leave the rest.
            let _ = record.append(AttachmentRecord { leaving: true, ..record.value().clone() });
        }
    }

    fn clear_together(&self, attachments: &[Attachment]) -> Result<(), Error> {
        let rules = attachments.iter().map(Attachment::rules).collect::<Result<Vec<_>, _>>()?;
        self.remove_rules(&Change::new().withdraw_all(rules.into_iter().flatten()))?;
        let ends = attachments.iter().flat_map(|attachment| &attachment.endpoints);
        self.delete_together(&ends.map(AttachedEndpoint::host_link).collect::<Vec<_>>())
    }

    /// Deletes host ends of pairs, by a group that is theirs alone.
    pub(crate) fn delete_together(&self, host_ends: &[IfName]) -> Result<(), Error> {
        let seed = self.moment()?.nanoseconds;
        self.links(|door| {
            let links = door.snapshot()?.links;
            let group = plan::free_group(seed, &links);
            let host = links::Space { links, ..links::Space::default() };
            let seen = links::Seen { host, ..links::Seen::default() };
            let plan = links::plan::detach_together(host_ends, group, &seen);
            door.apply(&plan, None).map_err(Error::from)
        })
    }

    /// Takes back what a record that is marked may have come to.
    pub(crate) fn undo(&self, record: Record<AttachmentRecord>) -> Result<(), Error> {
        let wanted = record.value().clone();
        let of = || wanted.name.to_string();
        let mut undone = Undone::default();
        if let Some(attachment) = &wanted.attachment {
            undone.note(Residue::Rules { of: of() }, self.withdraw(attachment));
            self.remove_links(attachment, &mut undone);
        }
        undone.finish()?;
        self.forget_attachment(record)
    }

    /// Gives back what is left of an attachment without rules and links: leases, claims, the record itself.
    pub(crate) fn forget_attachment(&self, mut record: Record<AttachmentRecord>) -> Result<(), Error> {
        let what = Residue::Records { of: record.value().name.to_string() };
        self.mark_bare(&mut record);
        let released = self.release(record.value());
        released.and_then(|()| Ok(record.remove()?)).map_err(|refused: Error| refused.leaving(what))
    }

    /// Its addresses and ports are anybody's from here on, so whoever goes on with it must not remove their rules.
    fn mark_bare(&self, record: &mut Record<AttachmentRecord>) {
        // Among those that are attached it would be one that was cut.
        if record.value().attachment.is_some() && record.is_in(&self.run.pending) {
            // As above: what cannot be written is no reason to leave the rest.
            let AttachmentRecord { id, name, networks, .. } = record.value();
            let (id, name, networks) = (*id, name.clone(), networks.clone());
            let _ = record.append(AttachmentRecord { id, name, networks, leaving: true, attachment: None });
        }
    }

    pub(crate) fn withdraw(&self, attachment: &Attachment) -> Result<(), Error> {
        self.remove_rules(&Change::new().withdraw_all(attachment.rules()?))
    }

    fn remove_links(&self, attachment: &Attachment, undone: &mut Undone) {
        let Some(look) = plan::look_at_ends(attachment) else { return };
        let removed = self.links(|door| {
            let seen = door.observe(&look, None)?;
            door.apply(&plan::detach(attachment, &seen), None).map_err(Error::from)
        });
        let Err(refused) = removed else { return };
        let links: Vec<_> =
            attachment.endpoints.iter().map(|endpoint| endpoint.host_link.to_string()).collect();
        undone.note(Residue::Links { names: links.join(", ") }, Err(refused));
    }

    fn release(&self, record: &AttachmentRecord) -> Result<(), Error> {
        for network in &record.networks {
            self.run.book(*network).release_all(&owner(record.id))?;
        }
        self.free_claims(record.id)
    }

    /// Whether anything of an attachment is on record: it is attached, on its way there, or on its way off, be it that
    /// something of it stayed and is tried again.
    ///
    /// # Errors
    /// [`Error::Records`] where its record cannot be read.
    pub fn is_on_record(&self, id: AttachmentId) -> Result<bool, Error> {
        self.run.is_on_record(id)
    }

    /// Whether an attachment is on record and its container may still live.
    pub(crate) fn is_alive(&self, id: AttachmentId) -> Result<bool, Error> {
        match self.attachment(id)? {
            Some(attachment) => Ok(!self.is_dead(&attachment)?),
            // Under way, in the hands of someone who lives, or not there at all.
            None => self.run.is_on_record(id),
        }
    }

    /// Whether it is known that a container is gone without having been detached.
    pub(crate) fn is_dead(&self, attachment: &Attachment) -> Result<bool, Error> {
        Ok(matches!(self.life_of(attachment)?, Life::Gone))
    }

    /// A container is gone when its namespace is not where it was, or its host ends are gone, which go with the
    /// namespace.
    pub(crate) fn life_of(&self, attachment: &Attachment) -> Result<Life, Error> {
        let Namespace { cookie, place } = &attachment.namespace;
        let Some(place) = place else { return self.life_by_links(attachment) };
        match place.find() {
            Ok(Some(netns)) if netns.cookie() == *cookie => Ok(Life::Lives),
            // A process that was named by its path may have ended before others in its namespace, or have another
            // descriptor of that number.
            Ok(_) if is_of_a_process(place) => self.life_by_links(attachment),
            Ok(_) => Ok(Life::Gone),
            Err(why) => Ok(Life::Unseen(why)),
        }
    }

    /// One that has a host end lives; one that never had any lives as long as its place.
    fn life_by_links(&self, attachment: &Attachment) -> Result<Life, Error> {
        let is_gone = match plan::look_at_ends(attachment) {
            Some(look) => {
                let seen = self.links(|door| door.observe(&look, None))?;
                let gone = |end: &AttachedEndpoint| !seen.host.links.contains_key(end.host_link.as_str());
                attachment.endpoints.iter().all(gone)
            }
            None => attachment.namespace.place.is_some(),
        };
        Ok(if is_gone { Life::Gone } else { Life::Lives })
    }

    /// Detaches a dead container, whose runtime never did, and says whether it was one.
    pub(crate) fn release_dead(&self, id: AttachmentId) -> Result<bool, Error> {
        let Some(record) = self.run.wait_attachment(&self.run.attachments, &file(id))? else {
            self.wait_until_it_left(id)?;
            return Ok(!self.run.is_on_record(id)?);
        };
        match &record.value().attachment {
            Some(attachment) if self.is_dead(attachment)? => self.take_back(record).map(|()| true),
            _ => Ok(false),
        }
    }

    /// Waits for whoever takes an attachment away, who waits for no record himself, and goes on where he stopped.
    fn wait_until_it_left(&self, id: AttachmentId) -> Result<(), Error> {
        let under_way = self.run.pending.peek_record::<AttachmentRecord>(&file(id))?;
        if !under_way.is_some_and(|record| record.leaving) {
            return Ok(());
        }
        match self.run.wait_attachment(&self.run.pending, &file(id))? {
            Some(record) => self.take_back(record),
            None => Ok(()),
        }
    }

    /// Tries once more to take back what is under way of a container that nobody is at work on.
    pub(crate) fn leftovers(&self, container: &ContainerName) -> Result<(), Error> {
        for name in self.run.pending.names()?.iter().filter(|name| network_of(name).is_none()) {
            match self.run.pending.take_record::<AttachmentRecord>(name) {
                Ok(Taken::Here(record)) if record.value().name == *container => self.take_back(record)?,
                // The next one may be let read it.
                Err(refused @ records::Error::Io { .. }) => return Err(refused.into()),
                // Whose it is cannot be told; that it is there was.
                Ok(_) | Err(_) => {}
            }
        }
        Ok(())
    }

    /// Takes back what killed processes left under way. Every operation that changes something begins with it;
    /// whoever only looks may want to call it first.
    ///
    /// # Errors
    /// [`Error::Records`] where the records cannot be read. What cannot be taken back stays on record, for the
    /// next call.
    pub fn repair(&self) -> Result<(), Error> {
        self.remove(|_| Ok(()))
    }

    /// Removes the records of an older boot, which say nothing: who plans sees none, as who acts.
    pub(crate) fn forget_older_boots(&self) -> Result<(), Error> {
        if self.run.admits(&self.identity)? {
            return Ok(());
        }
        let here = self.run.enter(&self.identity)?;
        self.run.leave(here)
    }

    /// Takes back what dead processes left under way; what a live one is at is left alone.
    ///
    /// What stays of it is no reason to refuse this one's work.
    pub(crate) fn take_back_the_dead(&self) -> Result<Vec<AttachmentId>, Error> {
        let pending = self.run.pending.names_swept()?;
        let mut taken_back = Vec::new();
        for name in pending.iter().filter(|name| network_of(name).is_none()) {
            match self.run.pending.take_record::<AttachmentRecord>(name) {
                Ok(Taken::Here(record)) => {
                    let id = record.value().id;
                    taken_back.extend(self.take_back(record).is_ok().then_some(id));
                }
                Ok(Taken::Busy | Taken::Absent) => {}
                // It stops nobody else's work, but is told.
                Err(refused) => self.tell_unreadable(&refused),
            }
        }
        if pending.iter().any(|name| network_of(name).is_some()) {
            let _ = self.take_back_dead_networks();
        }
        if !taken_back.is_empty() {
            // It may have been the default network's last one.
            let _ = self.retire_default();
        }
        Ok(taken_back)
    }
}

pub(crate) fn is_of_a_process(place: &Place) -> bool {
    matches!(place, Place::Path(path) if path.starts_with("/proc"))
}
