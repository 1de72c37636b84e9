//! Links that a network trusts, by packets.

use crate::lab::{has, in_private, run};
use crate::samples::network;
use crate::traffic::{Firewall, OUTSIDE, Topology, ask};
use linkspan_nat_rules::{Change, Ruleset};

fn ready() -> bool {
    run("mount -t tmpfs tmpfs /run");
    has("iptables")
}

/// A machine outside reaches a container by its own address through a link that the network trusts, and
/// through no other.
fn a_trusted_link_leads_inside(firewall: Firewall) {
    let Topology { outside, .. } = &Topology::new();
    let client = outside.asker(OUTSIDE, 4000);
    let answer = |trusted: Option<&str>| {
        let web = network("ls-a", &["10.88.1.0/24"]);
        let web = trusted.iter().fold(web, |web, link| web.with_trusted(link.parse().unwrap()));
        firewall.load(&Ruleset::new().after(&Change::new().add_network(web)).unwrap());
        ask(&client, "10.88.1.2:81")
    };
    assert_eq!(answer(None), None);
    assert_eq!(answer(Some("up1")), None);
    assert_eq!(answer(Some("up0")).as_deref(), Some("a"));
}

#[test]
fn a_trusted_link_leads_inside_with_nftables() {
    in_private("trust::a_trusted_link_leads_inside_with_nftables", || {
        if ready() {
            a_trusted_link_leads_inside(Firewall::Nftables);
        }
    });
}

#[test]
fn a_trusted_link_leads_inside_with_iptables() {
    in_private("trust::a_trusted_link_leads_inside_with_iptables", || {
        if ready() {
            a_trusted_link_leads_inside(Firewall::Iptables);
        }
    });
}
