//! A host and a container without anything, and the doors to both.

use crate::lab::NetNs;
use linkspan_veth_bridge::kernel::{ApplyError, Inside, Links};
use linkspan_veth_bridge::{
    Bridge, HostEnd, InsideEnd, Look, Mac, Mtu, Plan, Port, Seen, Snapshot, Veth, plan,
};
use std::os::fd::AsFd;

pub(crate) struct World {
    pub(crate) host: NetNs,
    pub(crate) container: NetNs,
    pub(crate) links: Links,
    pub(crate) inside: Inside,
    pub(crate) look: Look,
}

impl World {
    pub(crate) fn new() -> Self {
        Self::looking_at(Look::at("br-test".parse().unwrap()).and("vethls0".parse().unwrap()))
    }

    pub(crate) fn looking_at(look: Look) -> Self {
        let (host, container) = (NetNs::new(), NetNs::new());
        let links = Links::open_in(host.as_fd()).unwrap();
        let inside = Inside::open(container.as_fd()).unwrap();
        Self { host, container, links, inside, look }
    }

    /// The same host with the bridge made.
    pub(crate) fn with_bridge(bridge: &Bridge) -> Self {
        let mut world = Self::new();
        let plan = plan::bridge(bridge, &world.see()).unwrap();
        world.apply(&plan).unwrap();
        world
    }

    pub(crate) fn see(&mut self) -> Seen {
        self.links.observe(&self.look, Some(&mut self.inside)).unwrap()
    }

    pub(crate) fn apply(&mut self, plan: &Plan) -> Result<(), ApplyError> {
        self.links.apply(plan, Some(&mut self.inside))
    }

    /// Plans and performs an attach.
    pub(crate) fn attach(&mut self, wanted: &Veth) {
        let plan = plan::attach(wanted, &self.see()).unwrap();
        self.apply(&plan).unwrap();
    }

    /// Everything of the host, and of the container but `lo`, which stays on.
    pub(crate) fn snapshot(&mut self) -> (Snapshot, Snapshot) {
        let mut inside = self.inside.snapshot().unwrap();
        inside.links.remove("lo");
        (self.links.snapshot().unwrap(), inside)
    }
}

/// `br-test` with 10.88.0.1/24 and, on demand, fd88::1/64.
pub(crate) fn bridge(v6: bool) -> Bridge {
    let mac = Mac::of_address("10.88.0.1".parse().unwrap());
    let bridge = Bridge::new("br-test".parse().unwrap(), mac, Mtu::ETHERNET)
        .with_address("10.88.0.1/24".parse().unwrap());
    if v6 { bridge.with_address("fd88::1/64".parse().unwrap()) } else { bridge }
}

/// `eth0` with 10.88.0.2/24 and, on demand, fd88::2/64, with default routes by the bridge.
pub(crate) fn web(v6: bool) -> Veth {
    let port = Port::of("br-test".parse().unwrap());
    let host = HostEnd::port("vethls0".parse().unwrap(), "02:aa:00:00:00:01".parse().unwrap(), port);
    let inside = InsideEnd::new("eth0".parse().unwrap(), Mac::of_address("10.88.0.2".parse().unwrap()))
        .with_address("10.88.0.2/24".parse().unwrap())
        .with_gateway("10.88.0.1".parse().unwrap());
    let inside = if v6 {
        inside.with_address("fd88::2/64".parse().unwrap()).with_gateway("fd88::1".parse().unwrap())
    } else {
        inside
    };
    Veth::new(host, inside, Mtu::ETHERNET)
}
