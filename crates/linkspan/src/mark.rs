//! How links of ours are told from those of others: by their addresses.
//!
//! The kernel takes a link's name and its MAC in the message that makes it, so there is no moment at which a link of
//! ours lacks its mark. The MAC is made of the instance and the link's name: 40 bits that nobody has by chance, and
//! that another instance does not have. A group or an alias would do less: any tool of the host may set a group, and
//! the kernel ignores an alias on creation.

use crate::id::hash;
use linkspan_nat_rules::Instance;
use linkspan_net_types::{IfName, Mac};
use linkspan_veth_bridge::{Link, LinkKind};

/// The MAC of a bridge: locally administered and pinned, since a bridge without one takes the lowest of its ports',
/// which come and go.
pub(crate) fn of_bridge(instance: Instance, name: IfName) -> Mac {
    mac(0x02, b"bridge", instance, name)
}

/// The MAC of the host end of a pair: locally administered and given by us, so that no policy of the host changes it
/// later; and never the lowest of a bridge's ports.
pub(crate) fn of_host_end(instance: Instance, name: IfName) -> Mac {
    mac(0xfe, b"host end", instance, name)
}

/// Whether this instance made the link.
pub(crate) fn is_ours(instance: Instance, name: IfName, link: &Link) -> bool {
    let ours = match link.kind {
        LinkKind::Bridge(_) => of_bridge(instance, name),
        LinkKind::Veth => of_host_end(instance, name),
        LinkKind::Other(_) | LinkKind::Device => return false,
    };
    link.mac == Some(ours)
}

fn mac(first: u8, salt: &[u8], instance: Instance, name: IfName) -> Mac {
    let parts = [salt, instance.as_str().as_bytes(), name.as_str().as_bytes()];
    let [_, _, _, a, b, c, d, e] = hash(&parts).to_be_bytes();
    Mac::from_bytes([first, a, b, c, d, e]).expect("an even first byte that is not zero is unicast")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(kind: LinkKind, mac: Mac, expected: bool) {
        let link = Link { kind, mac: Some(mac), ..Link::default() };
        assert_eq!(is_ours(Instance::default(), "ls-web".parse().unwrap(), &link), expected, "{link:?}");
    }

    #[test]
    fn a_link_of_another_name_kind_instance_or_maker_is_not_ours() {
        let (ours, ci) = (Instance::default(), "ci".parse().unwrap());
        let name = "ls-web".parse().unwrap();
        let bridge = || LinkKind::Bridge(linkspan_veth_bridge::BridgeFacts::default());
        check(bridge(), of_bridge(ours, name), true);
        check(LinkKind::Veth, of_host_end(ours, name), true);
        check(bridge(), of_host_end(ours, name), false);
        check(LinkKind::Veth, of_host_end(ours, "vethls1".parse().unwrap()), false);
        check(LinkKind::Veth, of_host_end(ci, name), false);
        check(LinkKind::Device, of_bridge(ours, name), false);
        check(LinkKind::Veth, "02:42:ac:11:00:02".parse().unwrap(), false);
    }
}
