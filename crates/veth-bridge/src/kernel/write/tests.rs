use super::*;
use netlink_packet_core::{NetlinkMessage, NetlinkPayload};
use netlink_packet_route::RouteNetlinkMessage;
use std::os::fd::AsFd;

/// A step's message with index 5 and the namespace that is open as 0.
fn message(change: &Step) -> Vec<u8> {
    let mut batch = Batch::new();
    let netns = std::io::stdin();
    step(&mut batch, change, Context { index: IfIndex::new(5), netns: Some(netns.as_fd()) });
    batch.bytes().to_vec()
}

/// What an independent reader finds in a step's message.
fn found(change: &Step) -> String {
    let bytes = message(change);
    let read = NetlinkMessage::<RouteNetlinkMessage>::deserialize(&bytes).unwrap();
    let mut again = vec![0; read.buffer_len()];
    read.serialize(&mut again);
    // Byte for byte the same, but for the flag of a nest (`NLA_F_NESTED`), which that one does not set.
    assert!(
        bytes.iter().zip(&again).all(|(a, b)| a == b || *a == b | 0x80),
        "{change}\n{bytes:?}\n{again:?}"
    );
    assert_eq!(bytes.len(), again.len(), "{change}");
    let NetlinkPayload::InnerMessage(inner) = read.payload else { panic!("{change}") };
    match inner {
        RouteNetlinkMessage::NewLink(link) => {
            format!("set {:?} of {:?} {:?}", link.header.flags, link.header.change_mask, link.attributes)
        }
        RouteNetlinkMessage::DelLink(link) => format!("delete {:?}", link.attributes),
        RouteNetlinkMessage::NewAddress(address) => {
            let header = &address.header;
            format!(
                "add /{} {:?} at {} {:?}",
                header.prefix_len, header.flags, header.index, address.attributes
            )
        }
        RouteNetlinkMessage::DelAddress(address) => format!("delete {:?}", address.attributes),
        RouteNetlinkMessage::NewRoute(route) => {
            let header = &route.header;
            let place = (header.table, header.protocol, header.kind, header.destination_prefix_length);
            format!("{place:?} {:?}", route.attributes)
        }
        other => format!("{other:?}"),
    }
}

/// The step, as its stored form says it, and what is found in its message.
#[track_caller]
fn check(change: &str, expected: &str) {
    let step = serde_json::from_str(change).unwrap();
    assert_eq!(found(&step), expected, "{step}");
}

#[test]
fn links_are_made_with_all_that_they_need() {
    check(
        r#"{"CreateBridge": {"name": "br0", "mac": "02:42:00:00:00:01", "group": 7}}"#,
        r#"set LinkFlags(0x0) of LinkFlags(0x0) [IfName("br0"), Address([2, 66, 0, 0, 0, 1]), Group(7), LinkInfo([Kind(Bridge)])]"#,
    );
    let pair = r#"{"CreateVeth": {"host": "vethls0", "host_mac": "02:42:00:00:00:01", "inside": "eth0",
        "inside_mac": "02:42:00:00:00:02", "mtu": 1500, "group": 7, "bridge": "br0"}}"#;
    let found = found(&serde_json::from_str(pair).unwrap());
    let (host, inside) = found.split_once("Peer").unwrap();
    assert_eq!(
        host,
        r#"set LinkFlags(0x0) of LinkFlags(0x0) [IfName("vethls0"), Address([2, 66, 0, 0, 0, 1]), Mtu(1500), NumTxQueues(1), NumRxQueues(1), Group(7), Controller(5), LinkInfo([Kind(Veth), Data(Veth("#,
    );
    let peer = r#"[IfName("eth0"), Address([2, 66, 0, 0, 0, 2]), Mtu(1500), NumTxQueues(1), NumRxQueues(1), NetNsFd(0)]"#;
    assert!(inside.contains(peer), "{inside}");
}

#[test]
fn links_are_deleted_by_name_or_group() {
    check(r#"{"DeleteBridge": {"name": "br0"}}"#, r#"delete [IfName("br0")]"#);
    check(r#"{"DeleteVeth": {"host": "vethls0", "inside": "eth0"}}"#, r#"delete [IfName("vethls0")]"#);
    check(r#"{"DeleteGroup": {"group": 7}}"#, "delete [Group(7)]");
}

#[test]
fn a_link_is_configured_by_name() {
    let at = r#""at": {"side": "Host", "link": "v"}"#;
    check(&format!(r#"{{"SetUp": {{{at}}}}}"#), r#"set LinkFlags(Up) of LinkFlags(Up) [IfName("v")]"#);
    check(&format!(r#"{{"SetDown": {{{at}}}}}"#), r#"set LinkFlags(0x0) of LinkFlags(Up) [IfName("v")]"#);
    let quiet = "set LinkFlags(0x0) of LinkFlags(0x0)";
    check(
        &format!(r#"{{"SetMac": {{{at}, "mac": "02:42:00:00:00:01"}}}}"#),
        &format!(r#"{quiet} [IfName("v"), Address([2, 66, 0, 0, 0, 1])]"#),
    );
    check(
        &format!(r#"{{"SetMtu": {{{at}, "mtu": 1400}}}}"#),
        &format!(r#"{quiet} [IfName("v"), Mtu(1400)]"#),
    );
    check(
        &format!(r#"{{"SetGroup": {{{at}, "group": 7}}}}"#),
        &format!(r#"{quiet} [IfName("v"), Group(7)]"#),
    );
    check(
        &format!(r#"{{"StopAutomaticIpv6": {{{at}}}}}"#),
        &format!(r#"{quiet} [IfName("v"), AfSpecUnspec([Inet6([AddrGenMode(None)])])]"#),
    );
    check(r#"{"Join": {"port": "v", "bridge": "br0"}}"#, &format!(r#"{quiet} [IfName("v"), Controller(5)]"#));
    check(
        r#"{"SetPort": {"port": "v", "flags": {"hairpin": true, "isolated": false}}}"#,
        &format!(
            r#"{quiet} [IfName("v"), LinkInfo([PortKind(Bridge), PortData(BridgePort([HairpinMode(true), Isolated(false)]))])]"#
        ),
    );
}

#[test]
fn an_address_has_a_broadcast_in_ipv4_and_no_search_for_duplicates_in_ipv6() {
    let add = |address: &str| {
        format!(r#"{{"AddAddress": {{"at": {{"side": "Container", "link": "v"}}, "address": "{address}"}}}}"#)
    };
    check(
        &add("10.0.0.1/24"),
        "add /24 AddressHeaderFlags(0x0) at 5 [Local(10.0.0.1), Address(10.0.0.1), Broadcast(10.0.0.255)]",
    );
    check(&add("10.0.0.1/31"), "add /31 AddressHeaderFlags(0x0) at 5 [Local(10.0.0.1), Address(10.0.0.1)]");
    check(&add("fd00::1/64"), "add /64 AddressHeaderFlags(Nodad) at 5 [Local(fd00::1), Address(fd00::1)]");
    check(
        r#"{"RemoveAddress": {"at": {"side": "Host", "link": "v"}, "address": "fd00::1/64"}}"#,
        "delete [Local(fd00::1), Address(fd00::1)]",
    );
}

#[test]
fn a_default_route_is_one_of_the_main_table() {
    check(
        r#"{"AddDefaultRoute": {"link": "v", "gateway": "10.0.0.1"}}"#,
        "(254, Static, Unicast, 0) [Gateway(Inet(10.0.0.1)), Oif(5)]",
    );
    check(
        r#"{"ReplaceDefaultRoute": {"link": "v", "gateway": "fd00::1"}}"#,
        "(254, Static, Unicast, 0) [Gateway(Inet6(fd00::1)), Oif(5)]",
    );
}

/// The other reader takes this nest for the array that a dump has, so the bytes speak for themselves.
#[test]
fn route_localnet_is_one_number_of_the_links_ipv4_settings() {
    let on: Step = serde_json::from_str(r#"{"SetRouteLocalnet": {"link": "v", "on": true}}"#).unwrap();
    let bytes = message(&on);
    let [nest, inet, conf, number] = [[20u16, 26 | 0x8000], [16, 2 | 0x8000], [12, 1 | 0x8000], [8, 26]];
    let expected: Vec<u8> =
        [nest, inet, conf, number].iter().flatten().flat_map(|n| n.to_ne_bytes()).collect();
    assert_eq!(bytes[bytes.len() - 20..], [expected, 1u32.to_ne_bytes().to_vec()].concat());
}

#[test]
fn a_setting_is_no_message() {
    assert!(message(&Step::IgnoreRouters { link: "v".parse().unwrap() }).is_empty());
    assert!(message(&Step::EnableForwarding { family: crate::Family::V4 }).is_empty());
}
