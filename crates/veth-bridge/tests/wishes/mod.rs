//! Random requests, for the laws on paper and for those that the kernel keeps.

use linkspan_veth_bridge::{Bridge, Family, Group, HostEnd, InsideEnd, IpNet, Mac, Mtu, Port, Veth};
use proptest::prelude::*;

pub(crate) const BRIDGE: &str = "br-test";

/// A bridge, containers' links on it or beside it, and what else belongs to them.
#[derive(Clone, Debug)]
pub(crate) struct Wishes {
    pub(crate) bridge: Bridge,
    pub(crate) veths: Vec<Veth>,
    pub(crate) forwarding: Vec<Family>,
    pub(crate) bridge_netfilter: bool,
}

pub(crate) fn wishes() -> impl Strategy<Value = Wishes> {
    let forwarding = prop::sample::subsequence(vec![Family::V4, Family::V6], 0..=2);
    let bridge = (any::<u8>(), group(), any::<bool>());
    let veths = prop::collection::vec((far_end(), any::<bool>(), any::<u8>(), group()), 1..=3);
    (common(), bridge, veths, forwarding, any::<bool>()).prop_map(
        |(common, bridge, veths, forwarding, bridge_netfilter)| Wishes {
            bridge: common.bridge(bridge),
            veths: veths.into_iter().zip(0..).map(|(raw, n)| common.veth(n, raw)).collect(),
            forwarding,
            bridge_netfilter,
        },
    )
}

#[derive(Clone, Copy, Debug)]
enum FarEnd {
    Port,
    IsolatedPort,
    PointToPoint,
}

fn far_end() -> impl Strategy<Value = FarEnd> {
    prop::sample::select(vec![FarEnd::Port, FarEnd::IsolatedPort, FarEnd::PointToPoint])
}

fn group() -> impl Strategy<Value = Option<Group>> {
    (0..5u32).prop_map(Group::new)
}

/// What the links of one request have in common.
#[derive(Clone, Copy, Debug)]
struct Common {
    v4: bool,
    v6: bool,
    mtu: Mtu,
}

fn common() -> impl Strategy<Value = Common> {
    let families = prop::sample::select(vec![(true, false), (false, true), (true, true)]);
    families.prop_flat_map(|(v4, v6)| {
        let least = if v6 { 1280 } else { 68 };
        let mtu = prop_oneof![Just(1500), least..=65_535u32];
        mtu.prop_map(move |bytes| Common { v4, v6, mtu: Mtu::new(bytes).unwrap() })
    })
}

impl Common {
    fn nets(self, four: &str, six: &str) -> impl Iterator<Item = IpNet> + use<> {
        let chosen = [self.v4.then(|| four.parse().unwrap()), self.v6.then(|| six.parse().unwrap())];
        chosen.into_iter().flatten()
    }

    fn bridge(self, (mac, group, route_localnet): (u8, Option<Group>, bool)) -> Bridge {
        let bare = Bridge::new(BRIDGE.parse().unwrap(), Mac::of_address([10, 88, 0, mac].into()), self.mtu);
        let bare = self.nets("10.88.0.1/24", "fd88::1/64").fold(bare, Bridge::with_address);
        let grouped = group.into_iter().fold(bare, Bridge::with_group);
        if route_localnet { grouped.with_route_localnet() } else { grouped }
    }

    /// The pair number `n`, in subnets of its own; only the first one may have gateways.
    fn veth(self, n: u8, (far_end, gateway, mac, group): (FarEnd, bool, u8, Option<Group>)) -> Veth {
        let near: Vec<_> = self.nets(&format!("10.89.{n}.1/24"), &format!("fd89:{n}::1/64")).collect();
        let bridge = Port::of(BRIDGE.parse().unwrap());
        let name = format!("vethls{n}").parse().unwrap();
        let host_mac = Mac::of_address([1, n, 0, mac].into());
        let host = match far_end {
            FarEnd::Port => HostEnd::port(name, host_mac, bridge),
            FarEnd::IsolatedPort => HostEnd::port(name, host_mac, bridge.isolated()),
            FarEnd::PointToPoint => HostEnd::point_to_point(name, host_mac, near.clone()),
        };
        let inside =
            InsideEnd::new(format!("eth{n}").parse().unwrap(), Mac::of_address([2, n, 0, mac].into()));
        let far = self.nets(&format!("10.89.{n}.2/24"), &format!("fd89:{n}::2/64"));
        let inside = far.fold(inside, InsideEnd::with_address);
        let gateways = near.iter().filter(|_| gateway && n == 0);
        let inside = gateways.fold(inside, |inside, net| inside.with_gateway(net.addr()));
        group.into_iter().fold(Veth::new(host, inside, self.mtu), Veth::with_group)
    }
}
