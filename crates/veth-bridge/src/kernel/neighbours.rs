//! Waiting until neighbours can find what was just made.

use super::observe;
use linkspan_net_types::IfIndex;
use linkspan_netlink::Socket;
use std::net::Ipv6Addr;
use std::time::Duration;

/// How long a queue of the kernel is waited for, and how often it is looked at: it mostly needs no time at all.
const LOOKS: u32 = 200;
const BETWEEN: Duration = Duration::from_micros(100);

/// Waits until neighbours can find a link's IPv6 addresses.
///
/// An address is there at once, but its group of solicited nodes (RFC 4291, section 2.7.1) is joined by a
/// queue, also without a search for duplicates. A neighbour that asks before gets no answer, and asks again
/// after a second. Where the queue takes long, only that is lost, so there is no error.
pub(super) fn wait(socket: &mut Socket, link: IfIndex, addresses: &[Ipv6Addr]) {
    let wanted: Vec<_> = addresses.iter().copied().map(solicited_nodes).collect();
    for _ in 0..LOOKS {
        match observe::groups(socket, link) {
            Ok(joined) if !wanted.iter().all(|group| joined.contains(group)) => std::thread::sleep(BETWEEN),
            _ => return,
        }
    }
}

/// `ff02::1:ff00:0/104` and the last three bytes of the address.
fn solicited_nodes(address: Ipv6Addr) -> Ipv6Addr {
    let [.., a, b, c] = address.octets();
    Ipv6Addr::from([0xff, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0xff, a, b, c])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_asked_for_in_the_group_of_its_last_three_bytes() {
        let group = solicited_nodes("4037::01:800:200e:8c6c".parse().unwrap());
        assert_eq!(group, "ff02::1:ff0e:8c6c".parse::<Ipv6Addr>().unwrap());
    }
}
