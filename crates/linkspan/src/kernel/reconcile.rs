//! Making the host what the records say, and telling the difference.

use crate::kernel::host::Host;
use crate::kernel::undone::Undone;
use crate::plan::{self, NetworkRecord, RulesPlan};
use crate::{Attachment, Error, Mended, NetworkId, NetworkName, Reconciled, Residue};
use linkspan_nat_rules::Change;
use linkspan_netns::NetNs;
use linkspan_veth_bridge::kernel::Inside;
use linkspan_veth_bridge::{self as links, Look, Seen};
use std::collections::BTreeSet;
use std::os::fd::AsFd;
use std::path::PathBuf;

/// What is missing of the links.
#[derive(Debug, Default)]
struct Missing {
    networks: Planned,
    containers: Vec<(Attachment, links::Plan)>,
}

/// What is missing of networks.
type Planned = Vec<(NetworkName, links::Plan)>;

impl Host {
    /// Says what [`reconcile`](Self::reconcile) would bring back at this moment, and changes nothing.
    ///
    /// # Errors
    /// As [`reconcile`](Self::reconcile); and [`Error::Records`] where a file is damaged that it would rebuild.
    pub fn plan_reconcile(&self) -> Result<Reconciled, Error> {
        self.forget_older_boots()?;
        self.refuse_damage()?;
        let mut undone = Undone::default();
        let rules = match self.knows_all_rules(&mut undone)? {
            true => self.rules.plan_reconcile(self.netns.as_fd(), &self.run.rules()?)?,
            false => RulesPlan::None,
        };
        let missing = self.missing(&mut undone)?;
        Ok(told(rules, missing, undone))
    }

    /// Makes the rules, the bridges of networks that are up, and the links of attachments what the records say:
    /// addresses, routes, ports of bridges and their flags.
    ///
    /// Files that are damaged come first, and are written anew from what the others say: claims and leases from the
    /// attachments, the definition of a network from the record that it is up, that record from the definition, and
    /// whose folder it is from the caller, who may then have taken over what is of an older boot. Those that are gone are
    /// missed too, but for the record of a network that nobody is on.
    ///
    /// It brings back just what is missing, and says what that was; where nothing is, nothing is done. What cannot be
    /// brought back is told ([`Reconciled::left`]), and the rest is. A container whose namespace is gone is left to
    /// [`gc`](Self::gc); where its namespace cannot be found, its links are mended on the host's side. No other
    /// operation is at work meanwhile.
    ///
    /// # Errors
    /// [`Error::Rules`] where the table of our name is someone else's; [`Error::Records`] where a record cannot be
    /// read that nothing else tells of.
    pub fn reconcile(&self) -> Result<Reconciled, Error> {
        let (alone, ours) = self.run.alone_mending(&self.identity)?;
        let done = self.reconcile_alone(ours);
        self.tidy_after(alone, done, |done| done.left)
    }

    fn reconcile_alone(&self, ours: Option<PathBuf>) -> Result<Reconciled, Error> {
        let (mut undone, mut rebuilt) = (Undone::default(), ours.into_iter().collect());
        let mut rules = RulesPlan::None;
        let performed = match self.mend_all(&mut rebuilt, &mut rules, &mut undone) {
            Ok(performed) => performed,
            Err(refused) if rebuilt.is_empty() && rules.is_empty() && undone.is_whole() => {
                return Err(refused);
            }
            Err(refused) => {
                // What was mended before is told with it.
                undone.note(Residue::Missing { of: self.instance().to_string() }, Err(refused));
                Missing::default()
            }
        };
        Ok(Reconciled { rebuilt, ..told(rules, performed, undone) })
    }

    fn mend_all(
        &self,
        rebuilt: &mut Vec<PathBuf>,
        rules: &mut RulesPlan,
        undone: &mut Undone,
    ) -> Result<Missing, Error> {
        self.rebuild(rebuilt)?;
        self.rebuild_reservations(rebuilt, undone)?;
        self.take_back_the_dead()?;
        if self.knows_all_rules(undone)? {
            self.reconcile_rules(rules)?;
        }
        let missing = self.missing(undone)?;
        Ok(self.bring_back(missing, undone))
    }

    /// Datagrams that came while rules were missing find their way again, as they do when a port is published.
    fn reconcile_rules(&self, done: &mut RulesPlan) -> Result<(), Error> {
        let (lock, wanted) = (self.lock_rules()?, self.run.rules()?);
        *done = self.rules.reconcile(self.netns.as_fd(), &lock, &wanted)?;
        if done.is_empty() {
            return Ok(());
        }
        let gone = Change::new().withdraw_all(done.withdrawn().iter().copied());
        let change = gone.publish_all(wanted.published().copied());
        Ok(self.rules.forget_flows(self.netns.as_fd(), &change)?)
    }

    /// Whether every rule that is wanted is on record; where one is not, none is changed, which is told.
    fn knows_all_rules(&self, undone: &mut Undone) -> Result<bool, Error> {
        let by: Vec<_> = self.unheard_of()?.into_values().flatten().collect();
        if by.is_empty() {
            return Ok(true);
        }
        undone.note(Residue::Missing { of: self.instance().to_string() }, Err(Error::NetworkLost { by }));
        Ok(false)
    }

    /// Plans what is missing: of the bridges first, and of the containers as if those were there.
    fn missing(&self, undone: &mut Undone) -> Result<Missing, Error> {
        let (networks, refused) = self.missing_of_networks(undone)?;
        let bridges = networks.iter().map(|(_, plan)| plan.clone());
        let bridges = bridges.fold(links::Plan::from(Vec::new()), links::Plan::then);
        let mut missing = Missing { networks, containers: Vec::new() };
        for name in self.run.attachments.names()? {
            let record = self.run.peek_attachment(&self.run.attachments, &name)?;
            let Some(attachment) = record.and_then(|record| record.attachment) else { continue };
            let of = attachment.name.to_string();
            let planned = match self.is_dead(&attachment) {
                Ok(false) => self.missing_of_container(&without(&attachment, &refused), &bridges, undone),
                dead => dead.map(|_| links::Plan::from(Vec::new())),
            };
            let planned = planned.map(|plan| missing.containers.push((attachment, plan)));
            undone.note(Residue::Missing { of }, planned);
        }
        missing.networks.retain(|(_, plan)| !plan.is_empty());
        missing.containers.retain(|(_, plan)| !plan.is_empty());
        Ok(missing)
    }

    /// What is missing of each network, and the networks whose bridge cannot be had, which are told.
    fn missing_of_networks(&self, undone: &mut Undone) -> Result<(Planned, BTreeSet<NetworkId>), Error> {
        let (mut planned, mut refused) = (Vec::new(), BTreeSet::new());
        for name in self.run.up.names()? {
            let Some(record) = self.run.up.peek_record::<NetworkRecord>(&name)? else { continue };
            match self.missing_of_network(&record) {
                Ok(plan) => planned.push((record.network.name, plan)),
                Err(why) => {
                    refused.insert(record.network.id);
                    undone.note(Residue::Missing { of: record.network.name.to_string() }, Err(why));
                }
            }
        }
        Ok((planned, refused))
    }

    fn missing_of_network(&self, record: &NetworkRecord) -> Result<links::Plan, Error> {
        let seen = self.links(|door| door.observe(&Look::at_bridge(&record.bridge), None))?;
        plan::bring_up(record, self.settings.forwarding, &seen)
    }

    /// What is missing of a container once the bridges are there; of the host's side alone where the container's is
    /// not as it was, which is told.
    fn missing_of_container(
        &self,
        attachment: &Attachment,
        bridges: &links::Plan,
        undone: &mut Undone,
    ) -> Result<links::Plan, Error> {
        let mut tell =
            |refused| undone.note(Residue::Missing { of: attachment.name.to_string() }, Err(refused));
        let mut inside = self.door_into(attachment).unwrap_or_else(|refused| {
            tell(refused);
            None
        });
        let seen = match self.seen_of(attachment, inside.as_mut()) {
            Err(refused) if inside.is_some() => {
                tell(refused);
                self.seen_of(attachment, None)?
            }
            seen => seen?,
        };
        let seen = seen.after(bridges);
        match plan::mend(attachment, &seen) {
            Err(refused) if seen.container.is_some() => {
                let of_host = plan::mend(attachment, &Seen { container: None, ..seen })?;
                tell(refused);
                Ok(of_host)
            }
            planned => planned,
        }
    }

    /// The namespace of a container, where it can be found.
    fn door_into(&self, attachment: &Attachment) -> Result<Option<Inside>, Error> {
        let open = |netns: NetNs| Inside::open(netns.as_fd()).map_err(Error::from);
        match self.namespace_of(attachment).and_then(open) {
            Err(Error::NamespaceLost { .. }) => Ok(None),
            opened => opened.map(Some),
        }
    }

    fn seen_of(&self, attachment: &Attachment, inside: Option<&mut Inside>) -> Result<Seen, Error> {
        let look = plan::look_at(attachment).unwrap_or_default();
        Ok(self.links(|door| door.observe(&look, inside))?)
    }

    /// Performs what is missing, and returns what of it is done.
    fn bring_back(&self, missing: Missing, undone: &mut Undone) -> Missing {
        let Missing { mut networks, mut containers } = missing;
        networks.retain(|(name, plan)| {
            let done = self.links(|door| door.apply(plan, None).map_err(Error::from));
            if done.is_ok() {
                self.notice(plan);
            }
            noted(Residue::Missing { of: name.to_string() }, done, undone)
        });
        containers.retain(|(attachment, plan)| {
            // Where it could not be had, which was told, the plan is of the host's side alone.
            let mut inside = self.door_into(attachment).unwrap_or_default();
            let done = self.links(|door| door.apply(plan, inside.as_mut()).map_err(Error::from));
            noted(Residue::Missing { of: attachment.name.to_string() }, done, undone)
        });
        Missing { networks, containers }
    }
}

/// An attachment as if it were not on these networks: nobody is put on a bridge that is not as it should be, since
/// another may have made it.
fn without(attachment: &Attachment, networks: &BTreeSet<NetworkId>) -> Attachment {
    let mut attachment = attachment.clone();
    attachment.endpoints.retain(|endpoint| !networks.contains(&endpoint.network_id));
    attachment
}

/// Whether it is done; it is noted where it is not.
fn noted(what: Residue, done: Result<(), Error>, undone: &mut Undone) -> bool {
    let is_done = done.is_ok();
    undone.note(what, done);
    is_done
}

fn told(rules: RulesPlan, missing: Missing, undone: Undone) -> Reconciled {
    let links = missing.networks.into_iter().map(|(_, plan)| plan);
    let links = links.fold(links::Plan::from(Vec::new()), links::Plan::then);
    let mended = |(attachment, links): (Attachment, _)| Mended { name: attachment.name, links };
    let containers = missing.containers.into_iter().map(mended).collect();
    Reconciled { rebuilt: Vec::new(), rules, links, containers, left: undone.into_left() }
}
