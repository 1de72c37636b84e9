//! Paper against the kernel.

use crate::lab::{NetNs, has_bridge_netfilter, in_private, skip};
use crate::wishes::{Wishes, wishes};
use crate::world::World;
use linkspan_veth_bridge::{Look, Plan, Seen, plan};
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};

/// Performs a plan and checks that what is seen then is what the paper says.
fn perform(world: &mut World, before: &Seen, plan: &Plan) -> Result<Seen, TestCaseError> {
    world.apply(plan).unwrap();
    let after = world.see();
    prop_assert_eq!(&after, &before.after(plan), "{}", plan);
    Ok(after)
}

fn keeps(wishes: &Wishes) -> Result<(), TestCaseError> {
    let look = wishes.veths.iter().fold(Look::at_bridge(&wishes.bridge), |l, v| l.and(*v.host().name()));
    let mut world = World::looking_at(look);
    if has_bridge_netfilter(&world.host) {
        let on = if wishes.bridge_netfilter { "1" } else { "0" };
        world.host.set("bridge/bridge-nf-call-iptables", on);
        world.host.set("bridge/bridge-nf-call-ip6tables", on);
    }
    let untouched = world.snapshot();
    let empty = world.see();
    let mut seen = perform(&mut world, &empty, &plan::bridge(&wishes.bridge, &empty).unwrap())?;
    prop_assert!(plan::bridge(&wishes.bridge, &seen).unwrap().is_empty());
    for veth in &wishes.veths {
        seen = perform(&mut world, &seen, &plan::attach(veth, &seen).unwrap())?;
        prop_assert!(plan::attach(veth, &seen).unwrap().is_empty());
    }
    for veth in &wishes.veths {
        seen = perform(&mut world, &seen, &plan::detach(veth, &seen))?;
    }
    seen = perform(&mut world, &seen, &plan::remove_bridge(&wishes.bridge, &seen))?;
    prop_assert_eq!(world.snapshot(), untouched);
    perform(&mut world, &seen, &plan::forwarding(&wishes.forwarding, &seen))?;
    Ok(())
}

#[test]
fn what_is_planned_is_what_is_seen_afterwards() {
    in_private("paper::what_is_planned_is_what_is_seen_afterwards", || {
        if !has_bridge_netfilter(&NetNs::new()) {
            skip("no bridge netfilter; its settings are left as they are");
        }
        let mut runner = TestRunner::new(Config { failure_persistence: None, ..Config::with_cases(48) });
        if let Err(failure) = runner.run(&wishes(), |wishes| keeps(&wishes)) {
            panic!("{failure}");
        }
    });
}
