//! What a plan says is what happens.

use crate::private::{in_private, in_private_with};
use crate::program::tool;
use crate::snapshot::Snapshot;
use crate::world::{Case, Member, World, container, with_each_firewall};
use linkspan::{
    Attachment, Container, Egress, Endpoint, Error, Firewall, GatewayMode, Neighbours, NetNs, Network, Plan,
    Protocol, Publish, View,
};
use proptest::prelude::*;
use proptest::test_runner::{Config, TestCaseError, TestRunner};
use std::collections::BTreeSet;
use std::net::IpAddr;
use std::thread;

/// How many requests are tried.
const REQUESTS: u32 = 48;

/// What is asked for, and of which host.
#[derive(Clone, Debug)]
struct Request {
    networks: Vec<Shape>,
    ports: Vec<Publish>,
    mac: bool,
    link: bool,
    last_address: bool,
    /// The bridge of the first network was deleted behind our back.
    bridge_gone: bool,
    /// Another container is there already.
    neighbour: bool,
}

/// A network, but for its name and its number.
#[derive(Clone, Debug)]
struct Shape {
    ipv6: bool,
    mtu: Option<u32>,
    mode: GatewayMode,
    neighbours: Neighbours,
    egress: Egress,
}

fn shape() -> impl Strategy<Value = Shape> {
    let modes = [
        GatewayMode::Nat,
        GatewayMode::NatUnprotected,
        GatewayMode::Routed,
        GatewayMode::Internal,
        GatewayMode::Isolated,
    ];
    let mode = prop_oneof![3 => Just(GatewayMode::Nat), 2 => proptest::sample::select(modes.to_vec())];
    let neighbours = proptest::sample::select(vec![Neighbours::Reachable, Neighbours::PublishedOnly]);
    let egress = proptest::sample::select(vec![Egress::Masquerade, Egress::Masquerade, Egress::Keep]);
    let mtu = proptest::option::of(1280_u32..9000);
    (any::<bool>(), mtu, mode, neighbours, egress).prop_map(|(ipv6, mtu, mode, neighbours, egress)| Shape {
        ipv6,
        mtu,
        mode,
        neighbours,
        egress,
    })
}

fn port() -> impl Strategy<Value = Publish> {
    let addresses: Vec<Option<IpAddr>> =
        vec![None, None, Some([127, 0, 0, 1].into()), Some([192, 0, 2, 1].into())];
    let protocol = proptest::sample::select(vec![Protocol::Tcp, Protocol::Udp]);
    // Below the ports that are found where none is given, and rarely the same.
    (
        protocol,
        1..=u16::MAX,
        prop_oneof![1 => Just(0), 4 => 1024_u16..32_000],
        proptest::sample::select(addresses),
    )
        .prop_map(|(by, port, host, address)| {
            let publish = Publish::new(by, port).at(host);
            address.map_or(publish, |address| publish.on(address))
        })
}

fn request() -> impl Strategy<Value = Request> {
    let networks = proptest::collection::vec(shape(), 0..=3);
    let flags = (any::<bool>(), any::<bool>(), any::<bool>(), proptest::bool::weighted(0.2), any::<bool>());
    (networks, proptest::collection::vec(port(), 0..4), flags).prop_map(
        |(networks, ports, (mac, link, last_address, bridge_gone, neighbour))| Request {
            networks,
            ports,
            mac,
            link,
            last_address,
            bridge_gone,
            neighbour,
        },
    )
}

impl Request {
    /// Makes the networks, and says what is wanted of the container.
    fn prepare(&self, world: &World) -> (Container, Vec<Member>) {
        let mut wanted = self.ports.iter().fold(container("web"), |wanted, port| wanted.publish(*port));
        let mut others = Vec::new();
        for (number, shape) in self.networks.iter().enumerate() {
            let network = world.host.ensure_network(&shape.network(number)).unwrap();
            if self.neighbour {
                others.push(world.member(&format!("other-{number}"), &network));
            }
            if self.bridge_gone && number == 0 {
                tool(&format!("ip link delete {}", network.link()));
            }
            wanted = wanted.on(self.endpoint(number, Endpoint::of(&network)));
        }
        (wanted, others)
    }

    fn endpoint(&self, number: usize, endpoint: Endpoint) -> Endpoint {
        let endpoint = match self.mac {
            true => endpoint.mac(format!("02:00:00:00:00:{number:02x}").parse().unwrap()),
            false => endpoint,
        };
        let endpoint = match self.link {
            true => endpoint.link(format!("lan{number}").parse().unwrap()),
            false => endpoint,
        };
        match self.last_address {
            true => endpoint.address(format!("10.88.{number}.254").parse().unwrap()),
            false => endpoint,
        }
    }
}

impl Shape {
    fn network(&self, number: usize) -> Network {
        let network = Network::bridge(format!("net-{number}").parse().unwrap());
        let network = network.subnet(format!("10.88.{number}.0/24").parse().unwrap());
        let network = match self.ipv6 {
            true => network.subnet(format!("fd88:{number}::/64").parse().unwrap()),
            false => network,
        };
        let network = match self.mtu.and_then(linkspan::Mtu::new) {
            Some(mtu) => network.mtu(mtu),
            None => network,
        };
        network.gateway_mode(self.mode).neighbours(self.neighbours).egress(self.egress)
    }
}

/// Compares what was planned with what is seen, and the kernel's own tools with both.
fn compare(world: &World, planned: &View, netns: &NetNs) {
    let seen = world.host.view(Some(netns)).unwrap();
    let (planned, seen) = (planned.lines(), seen.lines());
    let lost: Vec<_> = planned.difference(&seen).collect();
    let extra: Vec<_> = seen.difference(&planned).collect();
    assert!(lost.is_empty() && extra.is_empty(), "planned: {lost:#?}\nseen: {extra:#?}");
}

/// The rules in force are those that the records say, as the kernel's own tool prints them.
fn compare_rules(world: &World) {
    let wanted = world.host.rules_text().unwrap();
    match world.case.firewall {
        Firewall::Nftables => assert_eq!(words(&tool("nft -s list table inet linkspan")), words(&wanted)),
        _ => {
            let there = tool("iptables-save") + &tool("ip6tables-save");
            let there: BTreeSet<_> = there.lines().collect();
            let missing: Vec<_> =
                wanted.lines().filter(|l| l.starts_with("-A") && !there.contains(l)).collect();
            assert!(missing.is_empty(), "{missing:#?}\nin {there:#?}");
        }
    }
}

/// The words of a rule set in alphabetical order: the kernel lists the elements of a set in an order of its own.
fn words(rules: &str) -> Vec<&str> {
    let mut words: Vec<_> = rules.split([' ', ',', '\t', '\n']).filter(|word| !word.is_empty()).collect();
    words.sort_unstable();
    words
}

/// Whether the request can be granted at all: some ports lead nowhere, or are given twice.
fn plan(world: &World, netns: &NetNs, wanted: &Container) -> Option<Plan> {
    match world.host.plan_attach(netns, wanted) {
        Ok(plan) => Some(plan),
        Err(refused) => {
            let before = Snapshot::take();
            let also = world.host.attach(netns, wanted).expect_err("a plan is refused where the attach is");
            assert_eq!(also.to_string(), refused.to_string());
            before.assert_unchanged("a refused attach");
            None
        }
    }
}

/// What an attachment says, but for what differs from one to the next of the same wishes.
fn but_for_names(attachment: &Attachment) -> String {
    let endpoint = |e: &linkspan::AttachedEndpoint| {
        format!("{} {} {} {:?} {:?}", e.network(), e.link(), e.mac(), e.addresses(), e.gateways())
    };
    let endpoints: Vec<_> = attachment.endpoints().iter().map(endpoint).collect();
    let ports: Vec<_> = attachment.published().iter().map(ToString::to_string).collect();
    format!("{} {endpoints:?} {ports:?}", attachment.name())
}

fn check(world: &World, request: &Request) {
    let start = Snapshot::take();
    let (wanted, others) = request.prepare(world);
    let netns = NetNs::create_anonymous().unwrap();
    if let Some(plan) = plan(world, &netns, &wanted) {
        let before = world.host.view(Some(&netns)).unwrap();
        let applied = world.host.apply(&netns, &wanted, &plan).unwrap();
        assert_eq!(applied, *plan.attachment());
        compare(world, &before.after(&plan), &netns);
        if !world.host.networks().unwrap().is_empty() {
            compare_rules(world);
        }
        world.host.detach(applied.id()).unwrap();
        let attached = world.host.attach(&netns, &wanted).unwrap();
        assert_eq!(but_for_names(&attached), but_for_names(&applied));
    }
    drop(others);
    world.clear();
    start.assert_unchanged("everything is detached and removed");
}

/// Tries one request in a world of its own, so that one that fails can be made smaller.
fn try_one(case: Case, request: &Request) -> Result<(), TestCaseError> {
    let tried = thread::scope(|scope| scope.spawn(|| check(&World::new(case), request)).join());
    tried.map_err(|_| TestCaseError::fail("as said above"))
}

#[test]
fn a_plan_is_true() {
    in_private_with(&["nft"], || {
        with_each_firewall(|world| {
            let limits = Config {
                cases: REQUESTS,
                max_shrink_iters: 64,
                failure_persistence: None,
                ..Config::default()
            };
            let tried = TestRunner::new(limits).run(&request(), |request| try_one(world.case, &request));
            tried.unwrap_or_else(|wrong| panic!("{wrong}"));
        });
    });
}

#[test]
fn a_plan_for_another_moment_is_refused() {
    in_private(|| {
        let world = World::new(Case::USUAL);
        let network = world.network(1);
        let wanted = container("web").on(Endpoint::of(&network)).publish(Publish::tcp(80).at(8080));
        let netns = NetNs::create_anonymous().unwrap();
        let plan = world.host.plan_attach(&netns, &wanted).unwrap();
        netns.run(|| tool("ip link add eth0 type veth peer name eth9")).unwrap();
        let before = Snapshot::take();
        assert!(world.host.apply(&netns, &wanted, &plan).is_err());
        before.assert_unchanged("a stale plan: the link inside");
        netns.run(|| tool("ip link delete eth0")).unwrap();
        tool(&format!("ip link add {} type bridge", plan.attachment().endpoints()[0].host_link()));
        let before = Snapshot::take();
        assert!(world.host.apply(&netns, &wanted, &plan).is_err());
        before.assert_unchanged("a stale plan: the link on the host");
        tool(&format!("ip link delete {}", plan.attachment().endpoints()[0].host_link()));
        let _other = world.member("other", &network);
        let before = Snapshot::take();
        assert!(matches!(world.host.apply(&netns, &wanted, &plan), Err(Error::Stale)));
        before.assert_unchanged("a stale plan: the address");
    });
}
