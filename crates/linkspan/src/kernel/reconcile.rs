//! Making the host what the records say, and telling the difference.

use crate::kernel::host::Host;
use crate::plan::{self, NetworkRecord, Reconciled, RulesPlan};
use crate::{Error, Firewall};
use linkspan_veth_bridge::{self as links, Look};
use std::os::fd::AsFd;

impl Host {
    /// Makes the rules, and the bridges of networks that are up, what the records say.
    ///
    /// It brings back just what is missing, and says what that was; where nothing is, nothing is done. No
    /// other operation is at work meanwhile.
    ///
    /// # Errors
    /// [`Error::Rules`] where the table of our name is someone else's; [`Error::Links`] where the name of a
    /// bridge is now another link's.
    pub fn reconcile(&self) -> Result<Reconciled, Error> {
        self.repair()?;
        let alone = self.run.alone(&self.identity)?;
        let done = self.reconcile_alone();
        let left = self.run.leave(alone);
        done.and_then(|done| left.map(|()| done))
    }

    fn reconcile_alone(&self) -> Result<Reconciled, Error> {
        let rules = self.reconcile_rules()?;
        let mut links = links::Plan::from(Vec::new());
        for name in self.run.up.names()? {
            if let Some(record) = self.run.up.peek_record::<NetworkRecord>(&name)? {
                links = links.then(self.mend_bridge(&record)?);
            }
        }
        Ok(Reconciled { rules, links })
    }

    fn reconcile_rules(&self) -> Result<RulesPlan, Error> {
        let wanted = self.run.rules()?;
        Ok(match self.firewall() {
            Firewall::None => RulesPlan::None,
            Firewall::Nftables => RulesPlan::Nftables(self.rules.reconcile(self.netns.as_fd(), &wanted)?),
            Firewall::Iptables => RulesPlan::Iptables(self.rules.rewrite(self.netns.as_fd(), &wanted)?),
        })
    }

    fn mend_bridge(&self, record: &NetworkRecord) -> Result<links::Plan, Error> {
        let seen = self.links(|door| door.observe(&Look::at_bridge(&record.bridge), None))?;
        let plan = plan::bring_up(record, self.settings.forwarding, &seen)?;
        self.links(|door| door.apply(&plan, None).map_err(Error::from))?;
        self.notice(&plan);
        Ok(plan)
    }
}
