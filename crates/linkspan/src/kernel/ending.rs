//! Detaching a container whose namespace ends with it: the kernel removes the links, and nobody waits for it.

use crate::attachment::AttachmentRecord;
use crate::claims::Claim;
use crate::kernel::detach::{Detached, is_of_a_process};
use crate::kernel::home::file;
use crate::kernel::host::Host;
use crate::plan;
use crate::{Addresses, Attachment, AttachmentId, Error, Residue};
use linkspan_netns::{NetNs, Place};
use linkspan_records::Record;

impl Host {
    /// Takes a namespace off its networks and ends it, without waiting for its links to be removed, which takes
    /// [`detach`](Self::detach) some ten milliseconds for the kernel's grace period.
    ///
    /// The rules go, the host ends are switched off, so that the container is cut off when this returns, and then the
    /// namespace is let go of: the pin that `netns` was made or found by, and the value itself. Where another namespace
    /// is pinned there meanwhile, that one stays. Its links go when the kernel comes to it, within some hundred
    /// milliseconds; names of links are never given again, so nothing waits for them.
    ///
    /// End the container's programs first. A namespace that something else holds, such as a program in it, another pin
    /// or an open file, lives on with links that lead nowhere, until that goes or [`gc`](Self::gc) removes them.
    ///
    /// It may be repeated. Where the attachment is gone already, the namespace is ended alone. Whoever is killed at it may
    /// leave the pin, or the empty file that it was mounted on: the pin was the caller's to make, and is no record of
    /// ours, so [`gc`](Self::gc) does not look for it.
    ///
    /// # Errors
    /// [`Error::OtherNamespace`] where `netns` is not what was attached, [`Error::NamespaceTaken`] where that is gone and
    /// another attachment has `netns`: nothing of either was touched. Otherwise as [`detach`](Self::detach), with
    /// [`Residue::Namespace`] where the pin stayed.
    ///
    /// # Examples
    /// ```no_run
    /// use linkspan::{Container, Endpoint, Host, NetNs, Network};
    ///
    /// let host = Host::open()?;
    /// let web = host.ensure_network(&Network::bridge("web".parse()?))?;
    /// let netns = NetNs::create("/run/netns/web-1")?;
    /// let attachment = host.attach(&netns, &Container::new("web-1".parse()?).on(Endpoint::of(&web)))?;
    /// host.detach_and_end(attachment.id(), netns)?; // the pin is gone
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn detach_and_end(&self, id: AttachmentId, netns: NetNs) -> Result<Detached, Error> {
        let done = self.remove(|taken_back| {
            self.links(|_| Ok::<_, Error>(()))?;
            let record = self.run.attachments.wait_record::<AttachmentRecord>(&file(id))?;
            let attached = record.and_then(|record| Some((record.value().attachment.clone()?, record)));
            match attached {
                Some((attachment, _)) if attachment.namespace.cookie != netns.cookie() => {
                    Err(Error::OtherNamespace { name: attachment.name })
                }
                Some((attachment, record)) => self.end(record, &attachment, &netns).map(|()| Detached::Gone),
                None => {
                    self.refuse_of_another(id, &netns)?;
                    let detached = self.detach_within(id, Addresses::Free, taken_back)?;
                    end(&netns).map(|()| detached)
                }
            }
        });
        // The last that holds it, as a rule: the kernel may begin.
        drop(netns);
        done
    }

    /// Refuses a namespace that another attachment has: a name in the file system may have passed to it.
    fn refuse_of_another(&self, id: AttachmentId, netns: &NetNs) -> Result<(), Error> {
        let holders = self.run.claims().lock()?.state().holders(&Claim::Namespace(netns.cookie()));
        for holder in holders.into_iter().filter(|holder| *holder != id) {
            // One that is not on record holds nothing.
            if let Some(name) = self.name_of(holder)? {
                return Err(Error::NamespaceTaken { holder: name.to_string() });
            }
        }
        Ok(())
    }

    /// Cuts a container off and ends its namespace. The record stays until both are done: whoever finds it removes
    /// what there still is.
    fn end(
        &self,
        mut record: Record<AttachmentRecord>,
        attachment: &Attachment,
        netns: &NetNs,
    ) -> Result<(), Error> {
        self.mark_leaving(&mut record);
        if self.cut_off(attachment).is_err() {
            // Removing the links says what is in the way, if anything still is.
            self.undo(record)?;
            return end(netns);
        }
        match end(netns) {
            Ok(()) => self.forget_attachment(record),
            // It lives on, and shall not keep what leads to the bridge.
            Err(stayed) => Err(stayed.after(self.undo(record))),
        }
    }

    fn cut_off(&self, attachment: &Attachment) -> Result<(), Error> {
        self.withdraw(attachment)?;
        let Some(look) = plan::look_at_ends(attachment) else { return Ok(()) };
        self.links(|door| {
            let seen = door.observe(&look, None)?;
            door.apply(&plan::cut_off(attachment, &seen), None).map_err(Error::from)
        })
    }
}

/// Removes the pin of a namespace, if it still has it. Others may hold it by other means; this was the caller's.
pub(crate) fn end(netns: &NetNs) -> Result<(), Error> {
    let pin = netns.place().filter(|place| !is_of_a_process(place));
    let Some(Place::Path(pin)) = pin else { return Ok(()) };
    let stayed = |refused| Error::from(refused).leaving(Residue::Namespace { pin: pin.clone() });
    netns.unpin_from(pin).map_err(stayed)
}
