//! Links that a network trusts, by packets.

use crate::lab::{has, in_private, run};
use crate::samples::{destination, network, publish};
use crate::traffic::{Firewall, OUTSIDE, Topology, ask};
use linkspan_nat_rules::{Change, Egress, Publish, Ruleset};
use linkspan_net_types::Protocol::Udp;

fn ready() -> bool {
    run("mount -t tmpfs tmpfs /run");
    has("iptables")
}

/// A machine outside reaches what a container publishes at the container's own address, through a link that the
/// network trusts and through no other, wherever it is published; what is not published it does not reach.
fn a_trusted_link_leads_to_published_ports(firewall: Firewall) {
    let Topology { outside, a, .. } = &Topology::new();
    a.answer(82, "unpublished");
    let client = outside.asker(OUTSIDE, 4000);
    let host_only = publish(Udp, 8081, "10.88.1.2", 81).at([127, 0, 0, 1].into()).unwrap();
    let direct = Publish::routed(Udp, destination("10.88.1.2", 81), "ls-a".parse().unwrap());
    let load = |trusted: &str, egress| {
        let web =
            network("ls-a", &["10.88.1.0/24"]).with_egress(egress).with_trusted(trusted.parse().unwrap());
        let change = Change::new().add_network(web).publish_all([host_only, direct]);
        firewall.load(&Ruleset::new().after(&change).unwrap());
    };
    // Where the source is kept nothing is dropped before connections are tracked.
    for egress in [Egress::Masquerade, Egress::Keep] {
        load("up1", egress);
        assert_eq!(ask(&client, "10.88.1.2:81"), None);
        load("up0", egress);
        assert_eq!(ask(&client, "10.88.1.2:81").as_deref(), Some("a"));
        assert_eq!(ask(&client, "10.88.1.2:82"), None);
        assert_eq!(ask(&client, "10.88.1.3:81"), None);
        // The flow that passed is tracked, and would pass on.
        firewall.load(&Ruleset::new());
        run("conntrack -F");
    }
}

#[test]
fn a_trusted_link_leads_to_published_ports_with_nftables() {
    in_private("trust::a_trusted_link_leads_to_published_ports_with_nftables", || {
        if ready() && has("conntrack") {
            a_trusted_link_leads_to_published_ports(Firewall::Nftables);
        }
    });
}

#[test]
fn a_trusted_link_leads_to_published_ports_with_iptables() {
    in_private("trust::a_trusted_link_leads_to_published_ports_with_iptables", || {
        if ready() && has("conntrack") {
            a_trusted_link_leads_to_published_ports(Firewall::Iptables);
        }
    });
}
