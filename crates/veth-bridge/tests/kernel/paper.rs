//! Paper against the kernel.

use crate::lab::{NetNs, has_bridge_netfilter, in_private, skip};
use crate::wishes::{Wishes, wishes};
use linkspan_veth_bridge::kernel::{Inside, Links};
use linkspan_veth_bridge::{Look, Plan, Seen, plan};
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use std::os::fd::AsFd;

/// A host and a container of one request.
struct World {
    links: Links,
    inside: Inside,
    look: Look,
}

impl World {
    fn see(&mut self) -> Seen {
        self.links.observe(&self.look, Some(&mut self.inside)).unwrap()
    }

    /// Performs a plan and checks that what is seen then is what the paper says.
    fn perform(&mut self, before: &Seen, plan: &Plan) -> Result<Seen, TestCaseError> {
        self.links.apply(plan, Some(&mut self.inside)).unwrap();
        let after = self.see();
        prop_assert_eq!(&after, &before.after(plan), "{}", plan);
        Ok(after)
    }
}

fn keeps(wishes: &Wishes) -> Result<(), TestCaseError> {
    let (host, container) = (NetNs::new(), NetNs::new());
    if has_bridge_netfilter(&host) {
        let on = if wishes.bridge_netfilter { "1" } else { "0" };
        host.set("bridge/bridge-nf-call-iptables", on);
        host.set("bridge/bridge-nf-call-ip6tables", on);
    }
    let look = wishes.veths.iter().fold(Look::at_bridge(&wishes.bridge), |l, v| l.and(*v.host().name()));
    let links = Links::open_in(host.as_fd()).unwrap();
    let inside = Inside::open(container.as_fd()).unwrap();
    let mut world = World { links, inside, look };

    let empty = world.see();
    let untouched = (world.links.snapshot().unwrap(), world.inside.snapshot().unwrap());
    let seen = world.perform(&empty, &plan::bridge(&wishes.bridge, &empty).unwrap())?;
    prop_assert!(plan::bridge(&wishes.bridge, &seen).unwrap().is_empty());
    let mut seen = seen;
    for veth in &wishes.veths {
        seen = world.perform(&seen, &plan::attach(veth, &seen).unwrap())?;
        prop_assert!(plan::attach(veth, &seen).unwrap().is_empty());
    }
    for veth in &wishes.veths {
        seen = world.perform(&seen, &plan::detach(veth, &seen))?;
    }
    seen = world.perform(&seen, &plan::remove_bridge(&wishes.bridge, &seen))?;
    prop_assert_eq!(world.links.snapshot().unwrap(), untouched.0);
    let mut inside = world.inside.snapshot().unwrap();
    inside.links.remove("lo"); // stays on
    prop_assert_eq!((inside.links.len(), inside.routes), (0, untouched.1.routes));

    world.perform(&seen, &plan::forwarding(&wishes.forwarding, &seen))?;
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
