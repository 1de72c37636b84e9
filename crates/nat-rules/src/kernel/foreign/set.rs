//! Sets and maps of others, and what is in them.

use super::expression::verdict;
use super::{message, text};
use crate::netfilter::{Act, Range};
use linkspan_netlink::Attributes;
use std::collections::BTreeMap;

/// `NFTA_SET_TABLE`, `_NAME`, `_FLAGS`, `_KEY_LEN`; `NFT_SET_ANONYMOUS`, `NFT_SET_INTERVAL`.
const TABLE: u16 = 1;
const NAME: u16 = 2;
const FLAGS: u16 = 3;
const KEY_LENGTH: u16 = 5;
const ANONYMOUS: u32 = 1;
const INTERVAL: u32 = 4;
/// `NFTA_SET_ELEM_LIST_ELEMENTS`; `NFTA_SET_ELEM_KEY`, `_DATA`, `_FLAGS`, `_KEY_END`; `NFTA_DATA_VALUE`.
const ELEMENTS: u16 = 3;
const ELEMENT_KEY: u16 = 1;
const ELEMENT_DATA: u16 = 2;
const ELEMENT_FLAGS: u16 = 3;
const ELEMENT_KEY_END: u16 = 10;
const VALUE: u16 = 1;
/// `NFT_SET_ELEM_INTERVAL_END`, `NFT_SET_ELEM_CATCHALL`.
const INTERVAL_END: u32 = 1;
const CATCHALL: u32 = 2;

/// The sets of all tables, by family, table and name.
#[derive(Debug, Default)]
pub(super) struct Sets(BTreeMap<(u8, String, String), Set>);

#[derive(Debug)]
pub(super) struct Set {
    pub(super) anonymous: bool,
    pub(super) key_length: usize,
    pub(super) elements: Vec<Element>,
    /// What holds where no element does.
    pub(super) otherwise: Option<Option<Act>>,
}

#[derive(Debug)]
pub(super) struct Element {
    first: Vec<u8>,
    last: Vec<u8>,
    /// The verdict that a map leads to; `None` of a set, or of a map to something else.
    pub(super) leads: Option<Act>,
    /// The value that a map leads to, where it is no verdict.
    pub(super) value: Option<Vec<u8>>,
}

impl Element {
    /// The element as the parts of a key, each padded to four bytes, of these lengths.
    pub(super) fn range(&self, lengths: &[usize]) -> Range {
        let part = |bytes: &[u8], from: usize, length: usize| {
            bytes.get(from..from + length).unwrap_or_default().to_vec()
        };
        let mut from = 0;
        let mut parts = Vec::with_capacity(lengths.len());
        for &length in lengths {
            parts.push((part(&self.first, from, length), part(&self.last, from, length)));
            from += length.next_multiple_of(4);
        }
        Range(parts)
    }
}

/// The family, table and name of a set that was dumped.
pub(super) fn name(payload: &[u8]) -> Option<(u8, String, String)> {
    let (family, attributes) = message(payload)?;
    Some((family, text(&attributes, TABLE)?, text(&attributes, NAME)?))
}

impl Sets {
    /// Adds a set with the lists of its elements.
    pub(super) fn add<'a>(&mut self, set: &[u8], lists: impl Iterator<Item = &'a [u8]>) {
        let (Some(key), Some((_, attributes))) = (name(set), message(set)) else { return };
        let number = |kind| attributes.get(kind).and_then(|number| number.be32()).unwrap_or(0);
        let flags = number(FLAGS);
        let (mut raw, mut otherwise) = (Vec::new(), None);
        for list in lists {
            let elements = message(list).and_then(|(_, list)| list.get(ELEMENTS));
            for element in elements.into_iter().flat_map(|list| list.nested()) {
                match Raw::read(&element.nested()) {
                    Some(element) => raw.push(element),
                    None => otherwise = otherwise.or_else(|| catchall(&element.nested())),
                }
            }
        }
        let elements =
            if flags & INTERVAL == 0 { raw.into_iter().map(Raw::single).collect() } else { paired(raw) };
        let key_length = usize::try_from(number(KEY_LENGTH)).unwrap_or(0);
        self.0.insert(key, Set { anonymous: flags & ANONYMOUS != 0, key_length, elements, otherwise });
    }

    pub(super) fn get(&self, family: u8, table: &str, name: &str) -> Option<&Set> {
        self.0.get(&(family, table.to_owned(), name.to_owned()))
    }
}

/// An element as it is dumped.
struct Raw {
    key: Vec<u8>,
    last: Option<Vec<u8>>,
    ends: bool,
    leads: Option<Act>,
    value: Option<Vec<u8>>,
}

impl Raw {
    fn read(element: &Attributes<'_>) -> Option<Self> {
        let value = |kind| Some(element.get(kind)?.nested().get(VALUE)?.payload().to_vec());
        Some(Self {
            key: value(ELEMENT_KEY)?,
            last: value(ELEMENT_KEY_END),
            ends: flags(element) & INTERVAL_END != 0,
            leads: leads(element),
            value: value(ELEMENT_DATA),
        })
    }

    fn single(self) -> Element {
        let Self { key, last, leads, value, .. } = self;
        Element { last: last.unwrap_or_else(|| key.clone()), first: key, leads, value }
    }
}

fn flags(element: &Attributes<'_>) -> u32 {
    element.get(ELEMENT_FLAGS).and_then(|flags| flags.be32()).unwrap_or(0)
}

fn leads(element: &Attributes<'_>) -> Option<Act> {
    verdict(&element.get(ELEMENT_DATA)?.nested()).map(|(act, _)| act)
}

fn catchall(element: &Attributes<'_>) -> Option<Option<Act>> {
    (flags(element) & CATCHALL != 0).then(|| leads(element))
}

/// Intervals of which the end is an element of its own: the first value that is not in it.
fn paired(mut raw: Vec<Raw>) -> Vec<Element> {
    raw.sort_by(|a, b| (&a.key, !a.ends).cmp(&(&b.key, !b.ends)));
    let mut elements: Vec<Element> = Vec::new();
    let mut open = false;
    for Raw { key, last, ends, leads, value } in raw {
        match (ends, last) {
            (true, _) => {
                if let Some(element) = elements.last_mut().filter(|_| open) {
                    element.last = before(key);
                }
                open = false;
            }
            (false, Some(last)) => elements.push(Element { first: key, last, leads, value }),
            (false, None) => {
                // Without an end, up to the greatest value.
                let last = vec![u8::MAX; key.len()];
                elements.push(Element { first: key, last, leads, value });
                open = true;
            }
        }
    }
    elements
}

/// The value before this one, read as one number.
fn before(mut value: Vec<u8>) -> Vec<u8> {
    for byte in value.iter_mut().rev() {
        let (less, borrowed) = byte.overflowing_sub(1);
        *byte = less;
        if !borrowed {
            break;
        }
    }
    value
}
