//! Laws that plans keep on paper.
#![allow(clippy::unwrap_used, reason = "a test fails by a panic")]

mod wishes;

use linkspan_veth_bridge::{
    AddressGeneration, BridgeFacts, BridgeNetfilter, Forwarding, Ipv6Setup, Link, LinkKind, Ownership, Place,
    Plan, Seen, Space, Step, plan,
};
use proptest::prelude::*;
use wishes::{BRIDGE, Wishes, wishes};

/// A container as the kernel makes it, with `lo` on or off.
fn container(lo_up: bool) -> Space {
    let lo = Link { mtu: 65536, ipv6: Some(Ipv6Setup::DEFAULT), ..Link::default() };
    let mut seen = Seen { container: Some(Space::default()), ..Seen::default() };
    let space = seen.container.as_mut().unwrap();
    space.links.insert("lo".to_owned(), lo);
    if lo_up {
        let up = Step::SetUp { at: Place::container("lo".parse().unwrap()) };
        return seen.after(&Plan::from(vec![up])).container.unwrap();
    }
    seen.container.unwrap()
}

fn host(netfilter: bool, lo_up: bool) -> Seen {
    Seen {
        container: Some(container(lo_up)),
        forwarding: Forwarding { v4: false, v6: Some(false) },
        bridge_netfilter: BridgeNetfilter { iptables: Some(netfilter), ip6tables: None },
        ..Seen::default()
    }
}

/// What is there once everything that is wanted was made.
fn made(wishes: &Wishes, before: &Seen) -> Seen {
    let with_bridge = before.after(&plan::bridge(&wishes.bridge, before).unwrap());
    wishes.veths.iter().fold(with_bridge, |seen, veth| seen.after(&plan::attach(veth, &seen).unwrap()))
}

proptest! {
    #[test]
    fn what_is_made_and_removed_leaves_nothing(wishes in wishes()) {
        let before = host(wishes.bridge_netfilter, true);
        let made = made(&wishes, &before);
        let detached = wishes.veths.iter().fold(made, |seen, veth| seen.after(&plan::detach(veth, &seen)));
        let after = detached.after(&plan::remove_bridge(&wishes.bridge, &detached));
        prop_assert_eq!(after, before);
    }

    #[test]
    fn lo_alone_stays_on(wishes in wishes()) {
        let before = host(wishes.bridge_netfilter, false);
        let made = made(&wishes, &before);
        let detached = wishes.veths.iter().fold(made, |seen, veth| seen.after(&plan::detach(veth, &seen)));
        let after = detached.after(&plan::remove_bridge(&wishes.bridge, &detached));
        prop_assert_eq!(after, host(wishes.bridge_netfilter, true));
    }

    #[test]
    fn a_plan_that_was_performed_has_nothing_left_to_do(wishes in wishes()) {
        let made = made(&wishes, &host(wishes.bridge_netfilter, false));
        prop_assert!(plan::bridge(&wishes.bridge, &made).unwrap().is_empty());
        for veth in &wishes.veths {
            prop_assert!(plan::attach(veth, &made).unwrap().is_empty());
        }
    }

    #[test]
    fn a_plan_that_stopped_anywhere_is_finished_by_the_next(wishes in wishes(), stop: prop::sample::Index) {
        let before = host(wishes.bridge_netfilter, false);
        let before = before.after(&plan::bridge(&wishes.bridge, &before).unwrap());
        let whole = plan::attach(&wishes.veths[0], &before).unwrap();
        let part = Plan::from(whole.steps()[..stop.index(whole.steps().len())].to_vec());
        let halfway = before.after(&part);
        let finished = halfway.after(&plan::attach(&wishes.veths[0], &halfway).unwrap());
        prop_assert_eq!(finished, before.after(&whole));
    }

    #[test]
    fn a_bridge_that_stopped_anywhere_is_finished_by_the_next(wishes in wishes(), stop: prop::sample::Index) {
        let before = host(wishes.bridge_netfilter, false);
        let whole = plan::bridge(&wishes.bridge, &before).unwrap();
        let part = Plan::from(whole.steps()[..stop.index(whole.steps().len())].to_vec());
        let halfway = before.after(&part);
        let finished = halfway.after(&plan::bridge(&wishes.bridge, &halfway).unwrap());
        prop_assert_eq!(finished, before.after(&whole));
    }

    #[test]
    fn an_adopted_bridge_loses_what_was_added_and_stays_up(
        wishes in wishes(), up: bool, route_localnet: bool, has_address: bool, automatic: bool,
    ) {
        let generation = if automatic { AddressGeneration::Eui64 } else { AddressGeneration::None };
        let bridge = Link {
            kind: LinkKind::Bridge(BridgeFacts::default()),
            mac: Some("02:00:00:00:00:09".parse().unwrap()),
            mtu: 1500,
            up,
            addresses: has_address.then_some("10.88.0.1/24".parse().unwrap()).into_iter().collect(),
            route_localnet,
            ipv6: Some(Ipv6Setup { generation, ..Ipv6Setup::DEFAULT }),
            ..Link::default()
        };
        let mut before = host(false, true);
        before.host.links.insert(BRIDGE.to_owned(), bridge);
        let ownership = Ownership::of(&BRIDGE.parse().unwrap(), &before).unwrap();
        let wanted = wishes.bridge.with_ownership(ownership);
        let made = before.after(&plan::bridge(&wanted, &before).unwrap());
        prop_assert!(plan::bridge(&wanted, &made).unwrap().is_empty());
        prop_assert!(made.host.links[BRIDGE].up);
        prop_assert_eq!(made.host.links[BRIDGE].mtu, 1500);
        let mut left = before;
        left.host.links.get_mut(BRIDGE).unwrap().up = true;
        prop_assert_eq!(made.after(&plan::remove_bridge(&wanted, &made)), left);
    }

    #[test]
    fn forwarding_is_switched_on_once_and_never_off(wishes in wishes()) {
        let before = host(false, true);
        let plan = plan::forwarding(&wishes.forwarding, &before);
        let after = before.after(&plan);
        prop_assert_eq!(plan.steps().len(), wishes.forwarding.len());
        prop_assert!(plan::forwarding(&wishes.forwarding, &after).is_empty());
    }

    #[test]
    fn what_is_stored_reads_back_as_it_was(wishes in wishes()) {
        let before = host(wishes.bridge_netfilter, false);
        let made = made(&wishes, &before);
        let plan = plan::bridge(&wishes.bridge, &before).unwrap();
        let text = serde_json::to_string(&(&wishes.bridge, &wishes.veths, &plan, &made)).unwrap();
        prop_assert_eq!(serde_json::from_str::<(_, _, _, _)>(&text).unwrap(), (wishes.bridge, wishes.veths, plan, made));
    }
}
