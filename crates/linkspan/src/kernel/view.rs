//! Everything at once, for those who compare: no operation needs it.

use crate::Error;
use crate::kernel::host::Host;
use crate::plan::Firewall;
use crate::view::View;
use linkspan_nat_rules::iptables::text as iptables_text;
use linkspan_nat_rules::{iptables, nftables};
use linkspan_netns::NetNs;
use linkspan_veth_bridge::kernel::{Inside, Links};
use linkspan_veth_bridge::{Look, Route, Seen, Snapshot, Space};
use std::os::fd::AsFd;

impl Host {
    /// Looks at the whole host, and at a container where one is given.
    ///
    /// # Errors
    /// [`Error::Links`], [`Error::Rules`].
    pub fn view(&self, container: Option<&NetNs>) -> Result<View, Error> {
        let inside =
            container.map(|netns| Ok::<_, Error>(Inside::open(netns.as_fd())?.snapshot()?)).transpose()?;
        let host = self.links(Links::snapshot)?;
        let settings = self.links(|door| door.observe(&Look::default(), None))?;
        let rules = match self.firewall() {
            Firewall::Nftables => Some(self.rules.look_at_all(self.netns.as_fd())?),
            Firewall::Iptables | Firewall::None => None,
        };
        Ok(View { links: Seen { host: space(host), container: inside.map(space), ..settings }, rules })
    }

    /// The rules that the records want, as `nft list table` or `iptables-save` print them.
    ///
    /// # Errors
    /// [`Error::Records`].
    pub fn rules_text(&self) -> Result<String, Error> {
        let (instance, rules) = (self.instance(), self.run.rules()?);
        Ok(match self.firewall() {
            Firewall::Nftables => nftables::text(instance, &rules),
            Firewall::Iptables => {
                let families = [iptables::Family::V4, iptables::Family::V6];
                families.map(|family| iptables_text(instance, &rules, family)).concat()
            }
            Firewall::None => String::new(),
        })
    }
}

fn space(snapshot: Snapshot) -> Space {
    let default_routes = snapshot.routes.into_iter().filter(Route::is_default).collect();
    Space { links: snapshot.links, default_routes }
}
