//! Elements of the map of ports (`linux/netfilter/nf_tables.h`).

use std::net::Ipv4Addr;

use nix::libc;

use super::netlink::{CREATE, Netlink};

const BEGIN: u16 = 0x10;
const END: u16 = 0x11;
/// `NFNL_SUBSYS_NFTABLES`, and the messages of it.
const NFTABLES: u16 = 10;
const NEW_ELEMENTS: u16 = NFTABLES << 8 | 12;
const DELETE_ELEMENTS: u16 = NFTABLES << 8 | 14;
const TABLE: u16 = 1;
const SET: u16 = 2;
const ELEMENTS: u16 = 3;
const LIST_ELEM: u16 = 1;
const KEY: u16 = 1;
const DATA: u16 = 2;
const VALUE: u16 = 1;
/// The length of an attribute has 16 bits.
const IN_A_MESSAGE: usize = 500;
/// The port of the container.
const INSIDE: u16 = 80;

pub(super) fn add(to: &mut Netlink, first: u16, count: u16, container: Ipv4Addr) {
    transaction(to, NEW_ELEMENTS, CREATE, first, count, |to| {
        let mut value = [0; 8];
        value[..4].copy_from_slice(&container.octets());
        value[4..6].copy_from_slice(&INSIDE.to_be_bytes());
        to.nest(DATA, |to| to.attribute(VALUE, &value));
    });
}

pub(super) fn remove(to: &mut Netlink, first: u16, count: u16) {
    transaction(to, DELETE_ELEMENTS, 0, first, count, |_| ());
}

fn transaction(
    to: &mut Netlink,
    kind: u16,
    flags: u16,
    first: u16,
    count: u16,
    value: impl Fn(&mut Netlink),
) {
    let ports: Vec<u16> = (first..first.saturating_add(count)).collect();
    edge(to, BEGIN);
    for ports in ports.chunks(IN_A_MESSAGE) {
        to.message(kind, flags, &[libc::AF_INET.to_ne_bytes()[0], 0, 0, 0]);
        to.text(TABLE, "pub");
        to.text(SET, "ports");
        to.nest(ELEMENTS, |to| ports.iter().for_each(|port| element(to, *port, &value)));
    }
    edge(to, END);
}

fn element(to: &mut Netlink, port: u16, value: impl FnOnce(&mut Netlink)) {
    let [high, low] = port.to_be_bytes();
    let key = [6, 0, 0, 0, high, low, 0, 0];
    to.nest(LIST_ELEM, |to| {
        to.nest(KEY, |to| to.attribute(VALUE, &key));
        value(to);
    });
}

fn edge(to: &mut Netlink, kind: u16) {
    let [high, low] = NFTABLES.to_be_bytes();
    to.message(kind, 0, &[0, 0, high, low]);
}
