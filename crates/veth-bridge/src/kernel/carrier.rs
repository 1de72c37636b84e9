//! Readiness of a link that was just switched on.

use linkspan_net_types::IfName;
use nix::libc;
use std::os::fd::{AsRawFd, BorrowedFd};

/// `ETHTOOL_GLINK` of `linux/ethtool.h`.
const ETHTOOL_GLINK: u32 = 0xa;

/// `struct ethtool_value` of `linux/ethtool.h`.
#[repr(C)]
struct EthtoolValue {
    command: u32,
    data: u32,
}

/// Lets the kernel act on a link's carrier at once rather than later in a work queue.
///
/// Asking for the carrier runs what is queued for the link: a bridge's port starts to forward, and the bridge
/// gets a carrier of its own. Packets that win the race against the queue are lost, and the first connection
/// then waits for a second. Where it fails, only that is lost, so there is no error.
pub(super) fn settle(namespace: BorrowedFd<'_>, link: &IfName) {
    let mut value = EthtoolValue { command: ETHTOOL_GLINK, data: 0 };
    let mut request = libc::ifreq {
        ifr_name: [0; libc::IFNAMSIZ],
        ifr_ifru: libc::__c_anonymous_ifr_ifru { ifru_data: (&raw mut value).cast() },
    };
    for (to, from) in request.ifr_name.iter_mut().zip(link.as_str().bytes()) {
        *to = from.cast_signed();
    }
    ask(namespace, &mut request);
}

#[allow(unsafe_code)]
fn ask(namespace: BorrowedFd<'_>, request: &mut libc::ifreq) {
    // SAFETY: SIOCETHTOOL reads and writes the `ifreq`, which is borrowed for the call, and through its
    // `ifru_data` the `ethtool_value` of the caller, which outlives it. The descriptor is open: it is borrowed.
    unsafe { libc::ioctl(namespace.as_raw_fd(), libc::SIOCETHTOOL, request) };
}
