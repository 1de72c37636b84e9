/// `NLA_TYPE_MASK` of `linux/netlink.h`: the kind without the nested and byte-order flags.
const TYPE_MASK: u16 = 0x3fff;

/// The attributes of a message, in their order.
///
/// An attribute that is cut short ends the iteration: no bytes make it panic.
///
/// ```
/// use linkspan_netlink::Attributes;
///
/// let bytes = [8, 0, 4, 0, 0xdc, 5, 0, 0, 5, 0, 1, 0, 7, 0, 0, 0, 9, 0, 1];
/// let numbers: Vec<_> = Attributes::new(&bytes).map(|a| (a.kind(), a.u32(), a.u8())).collect();
/// assert_eq!(numbers, [(4, Some(1500), None), (1, None, Some(7))]);
/// ```
#[derive(Clone, Debug)]
pub struct Attributes<'a> {
    rest: &'a [u8],
}

impl<'a> Attributes<'a> {
    /// The attributes that these bytes begin with.
    pub const fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes }
    }

    /// The first attribute of this kind.
    pub fn get(&self, kind: u16) -> Option<Attribute<'a>> {
        self.clone().find(|attribute| attribute.kind == kind)
    }
}

impl<'a> Iterator for Attributes<'a> {
    type Item = Attribute<'a>;

    fn next(&mut self) -> Option<Attribute<'a>> {
        let (head, _) = self.rest.split_first_chunk::<4>()?;
        let length = usize::from(u16::from_ne_bytes([head[0], head[1]]));
        let payload = self.rest.get(4..length)?;
        let kind = u16::from_ne_bytes([head[2], head[3]]) & TYPE_MASK;
        self.rest = self.rest.get(length.next_multiple_of(4)..).unwrap_or_default();
        Some(Attribute { kind, payload })
    }
}

/// One attribute of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Attribute<'a> {
    kind: u16,
    payload: &'a [u8],
}

impl<'a> Attribute<'a> {
    /// Its kind, without the flag bits.
    pub const fn kind(&self) -> u16 {
        self.kind
    }

    /// Its bytes.
    pub const fn payload(&self) -> &'a [u8] {
        self.payload
    }

    /// Its bytes, where there are just as many as asked for.
    pub fn array<const N: usize>(&self) -> Option<[u8; N]> {
        self.payload.try_into().ok()
    }

    /// A byte; `None` where it has another size.
    pub fn u8(&self) -> Option<u8> {
        self.array().map(u8::from_ne_bytes)
    }

    /// A 16-bit number in the host's order; `None` where it has another size.
    pub fn u16(&self) -> Option<u16> {
        self.array().map(u16::from_ne_bytes)
    }

    /// A 32-bit number in the host's order; `None` where it has another size.
    pub fn u32(&self) -> Option<u32> {
        self.array().map(u32::from_ne_bytes)
    }

    /// A 16-bit number in network order; `None` where it has another size.
    pub fn be16(&self) -> Option<u16> {
        self.array().map(u16::from_be_bytes)
    }

    /// A 32-bit number in network order; `None` where it has another size.
    pub fn be32(&self) -> Option<u32> {
        self.array().map(u32::from_be_bytes)
    }

    /// A 64-bit number in network order; `None` where it has another size.
    pub fn be64(&self) -> Option<u64> {
        self.array().map(u64::from_be_bytes)
    }

    /// A text up to its first NUL; `None` where it is not UTF-8.
    pub fn text(&self) -> Option<&'a str> {
        let text = self.payload.split(|&byte| byte == 0).next()?;
        str::from_utf8(text).ok()
    }

    /// The attributes inside.
    pub const fn nested(&self) -> Attributes<'a> {
        Attributes::new(self.payload)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn check(bytes: &[u8], expected: &[(u16, &[u8])]) {
        let seen: Vec<_> = Attributes::new(bytes).map(|a| (a.kind(), a.payload())).collect();
        assert_eq!(seen, expected, "{bytes:?}");
    }

    #[test]
    fn a_cut_attribute_ends_the_list() {
        check(&[], &[]);
        check(&[4, 0, 1], &[]);
        check(&[4, 0, 1, 0], &[(1, &[])]);
        check(&[3, 0, 1, 0], &[]);
        check(&[5, 0, 1, 0, 9], &[(1, &[9])]);
        check(&[6, 0, 1, 0, 9], &[]);
        check(&[5, 0, 1, 0, 9, 0, 0, 0, 255, 255, 2, 0], &[(1, &[9])]);
    }

    #[test]
    fn flag_bits_are_no_part_of_the_kind() {
        check(&[4, 0, 3, 0x80, 4, 0, 3, 0x40], &[(3, &[]), (3, &[])]);
    }

    proptest! {
        #[test]
        fn no_bytes_panic_or_loop(bytes: Vec<u8>) {
            for attribute in Attributes::new(&bytes) {
                let _ = (attribute.u32(), attribute.text(), attribute.nested().count());
            }
        }
    }
}
