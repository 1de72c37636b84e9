//! The table with its sets, chains and rules as messages.

use super::expression;
use super::{LIST_ELEM, inet};
use crate::Instance;
use crate::nftables::layout::{Hook, Leads, Type};
use crate::nftables::text::{COMMENT, Named, Ruled, marker};
use crate::nftables::{Chain, LAYOUT, Set, Step};
use linkspan_netlink::{Attributes, Batch, Body, Flags, Kind, Reply};

pub(super) const NEW_TABLE: Kind = Kind::nftables(0);
pub(super) const GET_TABLE: Kind = Kind::nftables(1);
pub(super) const DELETE_TABLE: Kind = Kind::nftables(2);
const NEW_CHAIN: Kind = Kind::nftables(3);
pub(super) const GET_CHAIN: Kind = Kind::nftables(4);
const DELETE_CHAIN: Kind = Kind::nftables(5);
const NEW_RULE: Kind = Kind::nftables(6);
pub(super) const GET_RULE: Kind = Kind::nftables(7);
const DELETE_RULE: Kind = Kind::nftables(8);
const NEW_SET: Kind = Kind::nftables(9);

/// `NFTA_TABLE_NAME`, `NFTA_CHAIN_TABLE`, `NFTA_RULE_TABLE` and `NFTA_SET_TABLE` are all 1.
pub(super) const TABLE: u16 = 1;
/// `NFTA_TABLE_FLAGS`, `NFT_TABLE_F_DORMANT`.
const FLAGS: u16 = 2;
const DORMANT: u32 = 1;
/// `NFTA_TABLE_USERDATA`.
const USERDATA: u16 = 6;
/// `NFTA_CHAIN_NAME`, `_HOOK`, `_POLICY`, `_TYPE`.
pub(super) const CHAIN_NAME: u16 = 3;
pub(super) const CHAIN_HOOK: u16 = 4;
pub(super) const CHAIN_POLICY: u16 = 5;
pub(super) const CHAIN_TYPE: u16 = 7;
/// `NFTA_RULE_CHAIN`, `_EXPRESSIONS`.
pub(super) const RULE_CHAIN: u16 = 2;
pub(super) const RULE_EXPRESSIONS: u16 = 4;
/// `NFTA_SET_NAME`, `_FLAGS`, `_KEY_TYPE`, `_KEY_LEN`, `_DATA_TYPE`, `_DATA_LEN`, `_DESC`, `_ID`, `_USERDATA`.
const SET_NAME: u16 = 2;
const SET_FLAGS: u16 = 3;
const SET_KEY_TYPE: u16 = 4;
const SET_KEY_LENGTH: u16 = 5;
const SET_DATA_TYPE: u16 = 6;
const SET_DATA_LENGTH: u16 = 7;
const SET_DESCRIPTION: u16 = 9;
const SET_ID: u16 = 10;
const SET_USERDATA: u16 = 13;
/// `NFTA_SET_DESC_CONCAT`, `NFTA_SET_FIELD_LEN`.
const CONCAT_FIELDS: u16 = 2;
const FIELD_LENGTH: u16 = 1;
/// `NFT_SET_INTERVAL`, `NFT_SET_MAP`, `NFT_SET_CONCAT`.
const INTERVAL: u32 = 4;
const MAP: u32 = 8;
const CONCAT: u32 = 0x80;
/// `NFT_DATA_VERDICT`.
const VERDICT: u32 = 0xffff_ff00;
/// `NFTNL_UDATA_TABLE_COMMENT` and `NFTNL_UDATA_SET_KEYBYTEORDER` of libnftnl's `udata.h`, by which nft
/// reads back what it prints.
const TABLE_COMMENT: u8 = 0;
const KEY_BYTE_ORDER: u8 = 0;

/// Makes the whole table; refused where a table of that name is there.
pub(super) fn make(batch: &mut Batch, instance: Instance) {
    batch.push(NEW_TABLE, Flags::CREATE | Flags::EXCL, |body| {
        named(body, instance);
        body.attr(USERDATA, &userdata(TABLE_COMMENT, &[COMMENT.as_bytes(), b"\0"].concat()));
    });
    make_plain(batch, instance, &marker(LAYOUT));
    make_sets(batch, instance);
    Chain::ALL.into_iter().for_each(|chain| make_chain(batch, instance, chain));
    Chain::ALL.into_iter().for_each(|chain| make_rules(batch, instance, chain));
}

/// What the messages of [`make`] are about, in their order and in the words of nft.
pub(super) fn parts(instance: Instance) -> impl Iterator<Item = String> {
    let named = move |chain| Named { chain, instance };
    let plain =
        [format!("add table inet {instance}"), format!("add chain inet {instance} {}", marker(LAYOUT))];
    let set = move |set: Set| {
        let word = if set.shape().leads.is_some() { "map" } else { "set" };
        format!("add {word} inet {instance} {}", set.as_str())
    };
    let chain = move |chain| format!("add chain inet {instance} {}", named(chain));
    let rules = move |chain: Chain| {
        let text =
            move |rule| format!("add rule inet {instance} {} {}", named(chain), Ruled { rule, instance });
        chain.rules().iter().map(text)
    };
    let (sets, chains) = (Set::ALL.into_iter().map(set), Chain::ALL.into_iter().map(chain));
    plain.into_iter().chain(sets).chain(chains).chain(Chain::ALL.into_iter().flat_map(rules))
}

/// Fails where the table does not say that it has this layout, and with it the whole transaction.
pub(super) fn require_layout(batch: &mut Batch, instance: Instance) {
    // The chain is empty, so its flush does nothing. Its handle would not tell: each table counts its own.
    flush(batch, instance, &marker(LAYOUT));
}

/// Puts the chain that says this layout in place of the one that says another.
pub(super) fn swap(batch: &mut Batch, instance: Instance, from: u32) {
    // One that is not there is made, so that it can be deleted.
    make_plain(batch, instance, &marker(from));
    delete_chain(batch, instance, &marker(from));
    make_plain(batch, instance, &marker(LAYOUT));
}

/// Puts chains back, and whatever they need that is not there.
pub(super) fn mend(batch: &mut Batch, instance: Instance, steps: &[Step]) {
    for step in steps {
        if let Step::Remake(chain) = step {
            let name = Named { chain: *chain, instance }.to_string();
            flush(batch, instance, &name);
            delete_chain(batch, instance, &name);
        }
    }
    make_sets(batch, instance);
    Chain::ALL.into_iter().for_each(|chain| make_chain(batch, instance, chain));
    for step in steps {
        match step {
            Step::Rewrite(chain) if *chain != Chain::User => {
                flush(batch, instance, &Named { chain: *chain, instance }.to_string());
                make_rules(batch, instance, *chain);
            }
            Step::Remake(chain) => make_rules(batch, instance, *chain),
            _ => {}
        }
    }
}

fn flush(batch: &mut Batch, instance: Instance, chain: &str) {
    batch.push(DELETE_RULE, Flags::NONE, |body| {
        named(body, instance);
        body.text(RULE_CHAIN, chain);
    });
}

fn delete_chain(batch: &mut Batch, instance: Instance, name: &str) {
    batch.push(DELETE_CHAIN, Flags::NONE, |body| {
        named(body, instance);
        body.text(CHAIN_NAME, name);
    });
}

/// Names the table that a message is about.
pub(super) fn named(body: &mut Body<'_>, instance: Instance) {
    inet(body);
    body.text(TABLE, instance.as_str());
}

/// Ends the sleep that a flag puts a table to.
pub(super) fn wake(batch: &mut Batch, instance: Instance) {
    batch.push(NEW_TABLE, Flags::NONE, |body| {
        named(body, instance);
        body.be32(FLAGS, 0);
    });
}

/// Whether the kernel passes the chains of a table by.
pub(super) fn is_asleep(table: &Attributes<'_>) -> bool {
    let flags = table.get(FLAGS).and_then(|flags| flags.be32());
    flags.is_some_and(|flags| flags & DORMANT != 0)
}

/// Whether a table was made by us.
pub(super) fn is_ours(reply: &Reply) -> bool {
    let mut rest = reply.attributes(super::HEADER).get(USERDATA).map_or(&[][..], |data| data.payload());
    while let [kind, length, behind @ ..] = rest {
        let Some((text, others)) = behind.split_at_checked(usize::from(*length)) else { return false };
        if *kind == TABLE_COMMENT {
            return text.strip_suffix(b"\0") == Some(COMMENT.as_bytes());
        }
        rest = others;
    }
    false
}

fn userdata(kind: u8, value: &[u8]) -> Vec<u8> {
    let length = u8::try_from(value.len()).unwrap_or(u8::MAX);
    [&[kind, length], value].concat()
}

fn make_sets(batch: &mut Batch, instance: Instance) {
    for (number, set) in (1..).zip(Set::ALL) {
        batch.push(NEW_SET, Flags::CREATE, |body| {
            named(body, instance);
            write_set(body, set, number);
        });
    }
}

fn write_set(body: &mut Body<'_>, set: Set, number: u32) {
    let shape = set.shape();
    let ranges = shape.interval && shape.key.len() > 1;
    let flags = [(shape.interval, INTERVAL), (shape.leads.is_some(), MAP), (ranges, CONCAT)];
    body.text(SET_NAME, shape.name);
    body.be32(SET_FLAGS, flags.iter().filter(|(on, _)| *on).map(|(_, flag)| flag).sum());
    body.be32(SET_KEY_TYPE, concat(shape.key));
    body.be32(SET_KEY_LENGTH, length(shape.key));
    match shape.leads {
        None => {}
        Some(Leads::Verdict) => body.be32(SET_DATA_TYPE, VERDICT),
        Some(Leads::To(types)) => {
            body.be32(SET_DATA_TYPE, concat(types));
            body.be32(SET_DATA_LENGTH, length(types));
        }
    }
    if ranges {
        body.nest(SET_DESCRIPTION, |body| body.nest(CONCAT_FIELDS, |body| write_fields(body, shape.key)));
    }
    body.be32(SET_ID, number);
    body.attr(SET_USERDATA, &userdata(KEY_BYTE_ORDER, &byte_order(shape.key).to_ne_bytes()));
}

fn write_fields(body: &mut Body<'_>, types: &[Type]) {
    types.iter().for_each(|kind| body.nest(LIST_ELEM, |body| body.be32(FIELD_LENGTH, kind.bytes())));
}

/// The datatype number of several parts together.
fn concat(types: &[Type]) -> u32 {
    types.iter().fold(0, |number, kind| number << 6 | kind.number())
}

/// Each part of several is padded to four bytes.
fn length(types: &[Type]) -> u32 {
    types.iter().map(|kind| kind.bytes().next_multiple_of(4)).sum()
}

/// `enum byteorder` of nft's `datatype.h`: 1 is the host's, 2 is the network's, 0 neither.
const fn byte_order(types: &[Type]) -> u32 {
    match types {
        [Type::Link] => 1,
        [_] => 2,
        _ => 0,
    }
}

impl Type {
    /// Its number in `enum datatypes` of nft's `datatype.h`.
    const fn number(self) -> u32 {
        match self {
            Self::Address4 => 7,
            Self::Address6 => 8,
            Self::Protocol => 12,
            Self::Port => 13,
            Self::Link => 41,
        }
    }

    const fn bytes(self) -> u32 {
        match self {
            Self::Link | Self::Address6 => 16,
            Self::Address4 => 4,
            Self::Protocol => 1,
            Self::Port => 2,
        }
    }
}

fn make_chain(batch: &mut Batch, instance: Instance, chain: Chain) {
    let name = Named { chain, instance }.to_string();
    let Some(hook) = chain.hook() else { return make_plain(batch, instance, &name) };
    batch.push(NEW_CHAIN, Flags::CREATE, |body| {
        named(body, instance);
        body.text(CHAIN_NAME, &name);
        write_hook(body, hook);
    });
}

/// Makes a chain that only rules enter, where it is not there.
fn make_plain(batch: &mut Batch, instance: Instance, name: &str) {
    batch.push(NEW_CHAIN, Flags::CREATE, |body| {
        named(body, instance);
        body.text(CHAIN_NAME, name);
    });
}

fn write_hook(body: &mut Body<'_>, hook: Hook) {
    body.text(CHAIN_TYPE, hook.kind);
    // NF_ACCEPT of linux/netfilter.h.
    body.be32(CHAIN_POLICY, 1);
    body.nest(CHAIN_HOOK, |body| {
        body.be32(1, hook.number);
        body.be32(2, hook.priority.cast_unsigned());
    });
}

fn make_rules(batch: &mut Batch, instance: Instance, chain: Chain) {
    let name = Named { chain, instance }.to_string();
    for rule in chain.rules() {
        batch.push(NEW_RULE, Flags::CREATE | Flags::APPEND, |body| {
            named(body, instance);
            body.text(RULE_CHAIN, &name);
            body.nest(RULE_EXPRESSIONS, |body| expression::write(body, rule, instance));
        });
    }
}
