use super::*;
use netlink_packet_core::Emitable;
use netlink_packet_route::link::{
    InfoBridge, InfoBridgePort, InfoData, InfoKind, InfoPortData, InfoPortKind, LinkAttribute, LinkFlags,
    LinkInfo, LinkMessage,
};
use proptest::prelude::*;

/// What is read of a link that an independent writer described.
fn told(up: bool, attributes: Vec<LinkAttribute>) -> Option<Told> {
    let mut message = LinkMessage::default();
    message.header.index = 7;
    message.header.flags = if up { LinkFlags::Up } else { LinkFlags::empty() };
    message.attributes = attributes;
    let mut bytes = vec![0; message.buffer_len()];
    message.emit(&mut bytes);
    link(&bytes)
}

fn named(rest: Vec<LinkAttribute>) -> Vec<LinkAttribute> {
    [vec![LinkAttribute::IfName("lan+1".to_owned())], rest].concat()
}

#[test]
fn a_bridge_is_read_with_its_own_setting() {
    let data = InfoData::Bridge(vec![InfoBridge::NfCallIp6Tables(true)]);
    let info = LinkAttribute::LinkInfo(vec![LinkInfo::Kind(InfoKind::Bridge), LinkInfo::Data(data)]);
    let mac = LinkAttribute::Address(vec![2, 0, 0, 0, 0, 9]);
    let told = told(true, named(vec![mac, LinkAttribute::Mtu(9000), LinkAttribute::Group(3), info])).unwrap();
    let expected = Link {
        kind: LinkKind::Bridge(BridgeFacts { calls_iptables: true, ports: None }),
        mac: Some("02:00:00:00:00:09".parse().unwrap()),
        mtu: 9000,
        up: true,
        group: Group::new(3),
        ..Link::default()
    };
    assert_eq!((told.index.get(), told.name.as_str(), told.master, told.link), (7, "lan+1", None, expected));
}

#[test]
fn a_port_is_read_with_its_flags() {
    let data =
        InfoPortData::BridgePort(vec![InfoBridgePort::HairpinMode(true), InfoBridgePort::Isolated(false)]);
    let info = vec![
        LinkInfo::Kind(InfoKind::Veth),
        LinkInfo::PortKind(InfoPortKind::Bridge),
        LinkInfo::PortData(data),
    ];
    let told = told(false, named(vec![LinkAttribute::Controller(4), LinkAttribute::LinkInfo(info)])).unwrap();
    assert_eq!(told.master, IfIndex::new(4));
    assert_eq!(told.link.kind, LinkKind::Veth);
    assert_eq!(told.link.port, Some(PortFlags { hairpin: true, isolated: false }));
    assert!(!told.link.up);
}

#[test]
fn a_link_without_a_name_is_none() {
    assert_eq!(told(true, vec![LinkAttribute::Mtu(1500)]), None);
}

proptest! {
    #[test]
    fn no_bytes_panic(bytes: Vec<u8>) {
        let _ = (link(&bytes), address(&bytes), group(&bytes), route(&bytes));
    }

    #[test]
    fn no_attributes_panic(head: [u8; 16], attributes in prop::collection::vec((0..40u16, any::<Vec<u8>>()), 0..8)) {
        let mut bytes = head.to_vec();
        for (kind, payload) in attributes {
            bytes.extend(u16::try_from(payload.len() + 4).unwrap().to_ne_bytes());
            bytes.extend(kind.to_ne_bytes());
            bytes.extend(&payload);
            bytes.resize(bytes.len().next_multiple_of(4), 0);
        }
        let _ = (link(&bytes), address(&bytes), group(&bytes), route(&bytes));
    }
}
