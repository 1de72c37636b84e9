//! All records of the run folder, for those who compare them with the host.

use crate::attachment::AttachmentRecord;
use crate::kernel::damage::undamaged;
use crate::kernel::home::{Readable, Run, network_file, network_of};
use crate::plan::NetworkRecord;
use crate::{AttachedEndpoint, Attachment, AttachmentId, ContainerName, Error, NetworkId};
use linkspan_nat_rules::{Change, Ruleset};
use linkspan_net_types::IfName;
use linkspan_records::{self as records, Document, FileName, Folder, Record, Taken};
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

/// Who is on each of some networks.
pub(crate) type UsersOfNetworks = BTreeMap<NetworkId, BTreeSet<ContainerName>>;

/// Notes what networks an attachment is on.
fn note_user(users: &mut UsersOfNetworks, Attachment { name, endpoints, .. }: &Attachment) {
    for endpoint in endpoints {
        users.entry(endpoint.network_id).or_default().insert(name.clone());
    }
}

/// What the records name.
#[derive(Debug, Default)]
pub(crate) struct Records {
    pub(crate) confirmed: Vec<Attachment>,
    pub(crate) attachments: BTreeSet<AttachmentId>,
    pub(crate) networks: BTreeSet<NetworkId>,
    pub(crate) links: BTreeSet<IfName>,
    pub(crate) damaged: Vec<PathBuf>,
}

impl Records {
    fn take_attachment(&mut self, record: &AttachmentRecord) {
        self.attachments.insert(record.id);
        self.links
            .extend(record.attachment.iter().flat_map(|a| &a.endpoints).map(AttachedEndpoint::host_link));
    }

    fn take_network(&mut self, record: &NetworkRecord) {
        self.networks.insert(record.network.id);
        self.links.insert(record.network.link);
    }

    /// What a file says; one that is damaged is noted, with its path.
    fn read<T: Document>(&mut self, folder: &Folder, name: &FileName) -> Result<Option<T>, Error> {
        self.unless_damaged(folder, name, folder.peek_record(name))
    }

    /// What was read of a file, in the same way.
    fn unless_damaged<T>(
        &mut self,
        folder: &Folder,
        name: &FileName,
        read: Result<Option<T>, records::Error>,
    ) -> Result<Option<T>, Error> {
        match read {
            Err(refused) if refused.is_damage() => {
                self.damaged.push(folder.path().join(name.as_str()));
                Ok(None)
            }
            read => Ok(read?),
        }
    }
}

/// All rules that records want, as a change of none.
#[derive(Debug)]
pub(crate) struct WantedRules {
    pub(crate) change: Change,
    /// Networks that somebody is on and of which no record tells: their rules are not among these.
    pub(crate) lost: UsersOfNetworks,
}

impl Run {
    /// Reads the record of an attachment in this folder.
    ///
    /// # Errors
    /// As for a torn file, where a record that is confirmed says no attachment: its first line was there before anything
    /// was made, and by itself would say that nothing was.
    pub(crate) fn peek_attachment(
        &self,
        folder: &Folder,
        name: &FileName,
    ) -> Result<Option<AttachmentRecord>, records::Error> {
        let record = folder.peek_record::<AttachmentRecord>(name)?;
        record.map(|record| self.refuse_cut(folder, name, &record).map(|()| record)).transpose()
    }

    /// Takes the record of an attachment that is confirmed, in the same way.
    pub(crate) fn take_confirmed(&self, name: &FileName) -> Result<Taken<AttachmentRecord>, records::Error> {
        let taken = self.attachments.take_record(name)?;
        if let Taken::Here(record) = &taken {
            self.refuse_cut(&self.attachments, name, record.value())?;
        }
        Ok(taken)
    }

    /// Waits for the record of an attachment in this folder, in the same way.
    pub(crate) fn wait_attachment(
        &self,
        folder: &Folder,
        name: &FileName,
    ) -> Result<Option<Record<AttachmentRecord>>, records::Error> {
        let record = folder.wait_record::<AttachmentRecord>(name)?;
        record.map(|record| self.refuse_cut(folder, name, record.value()).map(|()| record)).transpose()
    }

    fn refuse_cut(
        &self,
        folder: &Folder,
        name: &FileName,
        record: &AttachmentRecord,
    ) -> Result<(), records::Error> {
        let is_cut = record.attachment.is_none() && folder.path() == self.attachments.path();
        if is_cut { Err(records::Error::Torn { path: folder.path().join(name.as_str()) }) } else { Ok(()) }
    }

    /// The networks that attachments are on by their records, and that have no record themselves which can be read.
    pub(crate) fn lost(&self) -> Result<UsersOfNetworks, Error> {
        let (mut lost, on_record) = (self.networks_in_use()?, self.networks_on_record()?);
        lost.retain(|network, _| !on_record.contains(network));
        if !lost.is_empty() {
            // Between the two looks, somebody may have detached the last one, and the network may have gone.
            let in_use = self.networks_in_use()?;
            lost.retain(|network, _| in_use.contains_key(network));
        }
        Ok(lost)
    }

    /// The networks that attachments are on, or are to be, and which; what is damaged says nothing.
    fn networks_in_use(&self) -> Result<UsersOfNetworks, Error> {
        let mut users = UsersOfNetworks::new();
        for folder in [&self.pending, &self.attachments, &self.pending] {
            for name in folder.names()?.iter().filter(|name| network_of(name).is_none()) {
                let record = undamaged(self.peek_attachment(folder, name))?;
                let staying = record.filter(|record| !record.leaving).and_then(|record| record.attachment);
                staying.iter().for_each(|attachment| note_user(&mut users, attachment));
            }
        }
        Ok(users)
    }

    fn networks_on_record(&self) -> Result<BTreeSet<NetworkId>, Error> {
        let mut networks = BTreeSet::new();
        for folder in [&self.pending, &self.up, &self.pending] {
            for name in folder.names()?.iter().filter(|name| network_of(name).is_some()) {
                let read = folder.peek_record::<NetworkRecord>(name);
                let is_damaged = read.is_err_and(|refused| refused.is_damage());
                networks.extend(network_of(name).filter(|_| !is_damaged));
            }
        }
        Ok(networks)
    }

    /// Where it is on record that a network is up.
    pub(crate) fn path_of_up(&self, network: NetworkId) -> PathBuf {
        self.up.path().join(network_file(network).as_str())
    }

    /// Reads every record; those that are damaged are named.
    ///
    /// # Errors
    /// [`Error::Records`] where one is of another version, or cannot be opened; and where the record of a network that
    /// is up is damaged, and the network defined, which can mend it.
    pub(crate) fn survey(&self, defined: &BTreeSet<NetworkId>) -> Result<Records, Error> {
        let mut records = Records::default();
        // Confirming moves a record from the one to the other, and taking back moves it back.
        // What is made ahead begins there, moves on when it is handed out, and back when it is taken back.
        for folder in [&self.warm, &self.pending, &self.attachments, &self.pending] {
            for name in folder.names()?.iter().filter(|name| network_of(name).is_none()) {
                let read = self.peek_attachment(folder, name);
                let Some(record) = records.unless_damaged(folder, name, read)? else { continue };
                let confirmed = folder.path() == self.attachments.path();
                records.confirmed.extend(record.attachment.clone().filter(|_| confirmed));
                records.take_attachment(&record);
            }
        }
        for name in self.pending.names()?.iter().filter(|name| network_of(name).is_some()) {
            let record = records.read::<NetworkRecord>(&self.pending, name)?;
            record.iter().for_each(|record| records.take_network(record));
        }
        for name in self.up.names()? {
            let record = match network_of(&name).is_some_and(|network| defined.contains(&network)) {
                true => self.up.peek_record::<NetworkRecord>(&name)?,
                false => records.read(&self.up, &name)?,
            };
            record.iter().for_each(|record| records.take_network(record));
        }
        records.damaged.sort();
        records.damaged.dedup();
        Ok(records)
    }

    /// All rules that the records want.
    pub(crate) fn rules(&self) -> Result<Ruleset, Error> {
        self.rules_of(Readable::All)
    }

    /// All rules that these records want.
    pub(crate) fn rules_of(&self, which: Readable) -> Result<Ruleset, Error> {
        Ok(Ruleset::new().after(&self.wanted(which)?.change)?)
    }

    /// What makes all rules that these records want.
    pub(crate) fn wanted(&self, which: Readable) -> Result<WantedRules, Error> {
        let mut change = Change::new();
        let (mut on_record, mut users) = (BTreeSet::new(), UsersOfNetworks::new());
        // In the order in which a record could slip away from the reader: it is rather seen twice than not at all.
        for folder in [&self.pending, &self.up, &self.pending] {
            for name in folder.names()?.iter().filter(|name| network_of(name).is_some()) {
                let Some(record) = which.of(folder.peek_record::<NetworkRecord>(name))? else { continue };
                on_record.insert(record.network.id);
                if !record.leaving {
                    change = change.add_network(record.rules);
                }
            }
        }
        for folder in [&self.pending, &self.attachments, &self.pending] {
            for name in folder.names()?.iter().filter(|name| network_of(name).is_none()) {
                let record = which.of(self.peek_attachment(folder, name))?;
                if let Some(attachment) = record.filter(|r| !r.leaving).and_then(|r| r.attachment) {
                    note_user(&mut users, &attachment);
                    change = change.publish_all(attachment.rules()?);
                }
            }
        }
        users.retain(|network, _| !on_record.contains(network));
        Ok(WantedRules { change, lost: users })
    }

    /// Removes a record that cannot be read, and nothing else.
    pub(crate) fn remove_damaged(&self, path: &Path) -> Result<(), Error> {
        let name = path.file_name().and_then(|name| name.to_str()).and_then(|name| name.parse().ok());
        let folder = self.of_records().into_iter().find(|folder| Some(folder.path()) == path.parent());
        match folder.zip(name) {
            Some((folder, name)) => Ok(folder.remove(&name).map(drop)?),
            None => Ok(()),
        }
    }
}
