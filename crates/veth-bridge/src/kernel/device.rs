//! Requests about one device, which take no lock of the kernel's and no message (netdevice(7)).

use linkspan_net_types::{Errno, IfIndex, IfName};
use nix::libc;
use std::os::fd::{AsRawFd, BorrowedFd};

/// Of `linux/sockios.h`; libc types them as glibc's `ioctl` wants them, which is not what musl's does.
const SIOCGIFINDEX: libc::Ioctl = 0x8933;
const SIOCETHTOOL: libc::Ioctl = 0x8946;
/// `ETHTOOL_GLINK` of `linux/ethtool.h`.
const ETHTOOL_GLINK: u32 = 0xa;

/// `struct ethtool_value` of `linux/ethtool.h`.
#[repr(C)]
struct EthtoolValue {
    command: u32,
    data: u32,
}

/// The index of the link of this name, in the namespace of this socket; `ENODEV` where there is none.
pub(super) fn index(socket: BorrowedFd<'_>, link: &IfName) -> Result<IfIndex, Errno> {
    let mut request = request(link, libc::__c_anonymous_ifr_ifru { ifru_ifindex: 0 });
    ask(socket, SIOCGIFINDEX, &mut request)?;
    answered_index(&request).ok_or(Errno::ENODEV)
}

/// Lets the kernel act on a link's carrier at once rather than later in a work queue.
///
/// Asking for the carrier runs what is queued for the link: a bridge's port starts to forward, and the bridge
/// gets a carrier of its own. Packets that win the race against the queue are lost, and the first connection
/// then waits for a second. Where it fails, only that is lost, so there is no error.
pub(super) fn settle(socket: BorrowedFd<'_>, link: &IfName) {
    let mut value = EthtoolValue { command: ETHTOOL_GLINK, data: 0 };
    let data = libc::__c_anonymous_ifr_ifru { ifru_data: (&raw mut value).cast() };
    let _ = ask(socket, SIOCETHTOOL, &mut request(link, data));
}

fn request(link: &IfName, ifr_ifru: libc::__c_anonymous_ifr_ifru) -> libc::ifreq {
    let mut ifr_name = [0; libc::IFNAMSIZ];
    for (to, from) in ifr_name.iter_mut().zip(link.as_str().bytes()) {
        // The sign of a `c_char` is the machine's.
        *to = libc::c_char::from_ne_bytes([from]);
    }
    libc::ifreq { ifr_name, ifr_ifru }
}

#[allow(unsafe_code)]
fn answered_index(request: &libc::ifreq) -> Option<IfIndex> {
    // SAFETY: every bit pattern of the union is an integer, and all its bytes are written: `request` began as
    // the index 0, and the kernel copies whole requests.
    let index = unsafe { request.ifr_ifru.ifru_ifindex };
    u32::try_from(index).ok().and_then(IfIndex::new)
}

#[allow(unsafe_code)]
fn ask(socket: BorrowedFd<'_>, what: libc::Ioctl, request: &mut libc::ifreq) -> Result<(), Errno> {
    // SAFETY: SIOCGIFINDEX and SIOCETHTOOL, which are all that is asked here, read and write the `ifreq` that is
    // borrowed for the call; the latter also the `ethtool_value` of `settle`, which outlives it.
    let done = unsafe { libc::ioctl(socket.as_raw_fd(), what, request) };
    nix::errno::Errno::result(done).map(drop).map_err(|errno| Errno::new(errno as i32))
}
