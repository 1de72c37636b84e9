//! Looking at all that a diagnosis needs.

use crate::Error;
use crate::doctor::{Asker, Diagnosis, Sight, Standing, Uplink, diagnose, standing, temporary, unseen};
use crate::kernel::host::{Host, read};
use crate::plan::NetworkRecord;
use linkspan_nat_rules::kernel::Others;
use linkspan_net_types::IfName;
use linkspan_veth_bridge::Look;
use linkspan_veth_bridge::kernel::Links;
use std::collections::BTreeSet;
use std::fs;
use std::os::fd::AsFd;
use std::path::Path;

/// `uname -r`.
const RELEASE: &str = "/proc/sys/kernel/osrelease";
/// The settings of IPv6 by link, and the IPv6 addresses, of the calling thread's network namespace.
const IPV6: &str = "/proc/sys/net/ipv6/conf";
const ADDRESSES: &str = "/proc/thread-self/net/if_inet6";

impl Host {
    /// Looks for what breaks the promises of networks and published ports, and for what differs from the records.
    ///
    /// It changes nothing. Of traffic it judges packets that stand for all: the way out by the default route, neighbours,
    /// the host, and each published port from outside and from its neighbours. Nobody's rules can be told from
    /// outside the host, and a program that does not listen is none of its business.
    ///
    /// # Errors
    /// [`Error::Records`], [`Error::Links`], [`Error::Rules`] where something cannot be looked at. What is wrong is
    /// no error.
    ///
    #[cfg_attr(feature = "lab", doc = "```")]
    #[cfg_attr(not(feature = "lab"), doc = "```ignore")]
    /// use linkspan::Host;
    ///
    /// # let lab = linkspan::lab::Lab::enter()?;
    /// for finding in Host::open()?.doctor()?.findings() {
    ///     println!("{}", finding.problem());
    ///     finding.mend().inspect(|command| println!("    {command}"));
    /// }
    /// # assert!(Host::open()?.doctor()?.is_healthy());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn doctor(&self) -> Result<Diagnosis, Error> {
        match self.sight() {
            Ok(sight) => Ok(sight.as_ref().map_or_else(Diagnosis::default, diagnose)),
            Err(refused) => unseen(&self.asker(), refused, self.plan_gc()),
        }
    }

    fn asker(&self) -> Asker {
        let (instance, firewall) = (self.instance(), self.firewall());
        Asker { instance, firewall, folders: self.settings.folders() }
    }

    /// All that a diagnosis needs; `None` after a reboot, when what is on record says nothing.
    fn sight(&self) -> Result<Option<Sight>, Error> {
        if !self.run.admits(&self.identity)? {
            return Ok(None);
        }
        let (networks, attachments) = (self.networks_up()?, self.attachments()?);
        let standing = standing(self.plan_reconcile())?;
        let garbage = match standing {
            Standing::Lacks(_) => Some(self.plan_gc()?),
            Standing::Blocked(_) => None,
        };
        let bridges: Vec<_> = networks.iter().map(|record| record.network.link).collect();
        Ok(Some(Sight {
            asker: self.asker(),
            release: read(RELEASE)?,
            networks,
            attachments,
            garbage,
            rules: self.run.rules()?,
            snapshot: self.links(Links::snapshot)?,
            settings: self.links(|door| door.observe(&Look::default(), None))?,
            foreign: Others::open_in(self.instance(), self.netns.as_fd())?.look()?,
            standing,
            uplinks: self.netns.run(uplinks)?,
            without_ipv6: self.netns.run(|| without_ipv6(bridges))?,
        }))
    }

    /// The records of the networks that are up.
    fn networks_up(&self) -> Result<Vec<NetworkRecord>, Error> {
        let mut records = Vec::new();
        for name in self.run.up.names()? {
            records.extend(self.run.up.peek_record::<NetworkRecord>(&name)?);
        }
        Ok(records)
    }
}

/// Those links of the calling thread's namespace on which the kernel carries no IPv6.
fn without_ipv6(links: Vec<IfName>) -> BTreeSet<IfName> {
    let setting = |link: &IfName| read(Path::new(IPV6).join(link.as_str()).join("disable_ipv6"));
    links.into_iter().filter(|link| setting(link).is_ok_and(|value| value == "1")).collect()
}

/// The links with an IPv6 address that ends with time, as those of routers do, in the calling thread's namespace.
fn uplinks() -> Vec<Uplink> {
    let addresses = fs::read_to_string(ADDRESSES).unwrap_or_default();
    let links: BTreeSet<_> = addresses.lines().filter_map(temporary).collect();
    let number =
        |link: &str, setting| read(Path::new(IPV6).join(link).join(setting)).ok()?.parse::<u32>().ok();
    let uplink = |link: String| {
        let (forwards, accept_ra) = (number(&link, "forwarding")? != 0, number(&link, "accept_ra")?);
        Some(Uplink { link, forwards, accept_ra })
    };
    links.into_iter().filter_map(uplink).collect()
}
