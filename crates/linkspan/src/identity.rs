//! Whose a run folder is, decided from what it says of itself.

use crate::plan::Firewall;
use linkspan_nat_rules::Instance;
use linkspan_netns::Cookie;
use linkspan_records::Document;
use serde::{Deserialize, Serialize};

/// Whose a run folder is. A file of an older boot says nothing about this one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Identity {
    pub(crate) instance: Instance,
    pub(crate) boot: String,
    pub(crate) namespace: Cookie,
    pub(crate) firewall: Firewall,
}

impl Document for Identity {
    const VERSION: u32 = 1;
}

/// What the identity on file means for one who comes with another.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Welcome {
    Ours,
    Empty,
    /// There are records, and nothing says whose.
    Lost,
    OlderBoot,
    Other {
        what: &'static str,
        there: String,
        wanted: String,
    },
}

impl Identity {
    /// Judges what is on file; a folder that holds nothing may change its firewall.
    pub(crate) fn judge(&self, there: Option<&Self>, idle: bool) -> Welcome {
        let Some(there) = there else { return if idle { Welcome::Empty } else { Welcome::Lost } };
        let other = |what, there: &dyn ToString, wanted: &dyn ToString| Welcome::Other {
            what,
            there: there.to_string(),
            wanted: wanted.to_string(),
        };
        match there {
            there if there == self => Welcome::Ours,
            Self { boot, .. } if *boot != self.boot => Welcome::OlderBoot,
            _ if idle => Welcome::Empty,
            Self { instance, .. } if *instance != self.instance => {
                other("instance", instance, &self.instance)
            }
            Self { namespace, .. } if *namespace != self.namespace => {
                other("network namespace", namespace, &self.namespace)
            }
            Self { firewall, .. } => other("firewall", firewall, &self.firewall),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn identity(boot: &str, namespace: u64, firewall: Firewall) -> Identity {
        let namespace = Cookie::new(namespace);
        Identity { instance: Instance::default(), boot: boot.to_owned(), namespace, firewall }
    }

    #[test]
    fn a_folder_of_this_boot_belongs_to_one_namespace_and_firewall() {
        let me = identity("b", 1, Firewall::Nftables);
        let check = |there: Option<Identity>, idle: bool, expected: &str| {
            let welcome = match me.judge(there.as_ref(), idle) {
                Welcome::Other { what, there, wanted } => format!("{what}: {there}, not {wanted}"),
                welcome => format!("{welcome:?}"),
            };
            assert_eq!(welcome, expected);
        };
        check(None, true, "Empty");
        check(None, false, "Lost");
        check(Some(me.clone()), false, "Ours");
        check(Some(identity("a", 2, Firewall::Iptables)), false, "OlderBoot");
        check(Some(identity("b", 1, Firewall::Iptables)), true, "Empty");
        check(Some(identity("b", 1, Firewall::Iptables)), false, "firewall: iptables, not nftables");
        check(Some(identity("b", 2, Firewall::Nftables)), false, "network namespace: 2, not 1");
    }
}
