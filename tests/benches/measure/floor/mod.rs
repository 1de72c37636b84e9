//! What the kernel cannot avoid: the same container, by raw messages and nothing else.
//!
//! No records, no locks, no looks, no way back: one `sendmsg` makes the pair and the whole container side, another
//! one puts the element of a port. It is what linkspan is measured against, so it shares no code with it.

mod element;
mod link;
mod netlink;

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::net::Ipv4Addr;
use std::os::fd::AsRawFd;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use nix::mount::{MntFlags, MsFlags, mount, umount2};
use nix::net::if_::if_nametoindex;
use nix::sched::{CloneFlags, unshare};

use crate::spot::Spot;
use netlink::Netlink;

/// Where the folders with the pins of the namespaces are.
const PINS: &str = "/run/floor";
const BRIDGE: &str = "floor0";
/// The port of the host that the first container publishes; the next one's is the next.
const FIRST_PORT: u16 = 40_000;

/// As many rules as translation needs, and a map that has one element for each port.
const RULES: &str = r#"table ip pub {
  map ports { type inet_proto . inet_service : ipv4_addr . inet_service; }
  chain pre { type nat hook prerouting priority -100; fib daddr type local dnat ip to meta l4proto . th dport map @ports; }
  chain out { type nat hook output priority -100; fib daddr type local dnat ip to meta l4proto . th dport map @ports; }
  chain post { type nat hook postrouting priority 100;
    ip saddr 10.99.0.0/16 oifname != "floor0" masquerade;
    oifname "floor0" ct status dnat ip saddr { 10.99.0.0/16, 127.0.0.0/8 } masquerade; }
}"#;

/// A bridge and a table, and the sockets that work on them.
#[derive(Debug)]
pub(crate) struct Floor {
    host: Spot,
    pins: PathBuf,
    bridge: u32,
    route: Netlink,
    netfilter: Netlink,
    carrier: link::Carrier,
}

impl Floor {
    /// Makes the bridge and the rules where the calling thread is; this is what its folder is called.
    pub(crate) fn build(name: &str) -> io::Result<Self> {
        let mut route = Netlink::route()?;
        link::bridge(&mut route, BRIDGE);
        route.flush()?;
        let bridge = if_nametoindex(BRIDGE)?;
        link::address(&mut route, bridge, Ipv4Addr::new(10, 99, 0, 1));
        route.flush()?;
        fs::write("/proc/sys/net/ipv4/ip_forward", "1")?;
        nft(RULES)?;
        let pins = Path::new(PINS).join(name);
        fs::create_dir_all(&pins)?;
        let (netfilter, carrier) = (Netlink::netfilter()?, link::Carrier::open()?);
        Ok(Self { host: Spot::here()?, pins, bridge, route, netfilter, carrier })
    }

    /// Where a container's namespace is pinned.
    pub(crate) fn path(&self, number: u16) -> PathBuf {
        self.pins.join(number.to_string())
    }

    /// Opens the sockets of a floor that another process built where the calling thread is, and that pins nothing.
    #[allow(dead_code)] // by the measuring program, beside which it stands as a program of its own
    pub(crate) fn find() -> io::Result<Self> {
        Self::found(PathBuf::new())
    }

    /// The same with sockets of its own, for another thread that stands on the same host.
    pub(crate) fn another(&self) -> io::Result<Self> {
        Self::found(self.pins.clone())
    }

    fn found(pins: PathBuf) -> io::Result<Self> {
        let (route, netfilter, carrier) = (Netlink::route()?, Netlink::netfilter()?, link::Carrier::open()?);
        Ok(Self { host: Spot::here()?, pins, bridge: if_nametoindex(BRIDGE)?, route, netfilter, carrier })
    }

    /// Makes a namespace, pins it, and attaches it; the calling thread comes back from it.
    pub(crate) fn attach(&mut self, number: u16) -> io::Result<()> {
        let attached = unshare(CloneFlags::CLONE_NEWNET)
            .map_err(io::Error::from)
            .and_then(|()| pin(&self.path(number)))
            .and_then(|()| self.attach_from_inside(number));
        self.host.enter()?;
        attached
    }

    /// Attaches a namespace that is there; the calling thread comes back from it.
    pub(crate) fn attach_at(&mut self, netns: &Path, number: u16) -> io::Result<()> {
        Spot::from(File::open(netns)?).enter()?;
        let attached = self.attach_from_inside(number);
        self.host.enter()?;
        attached
    }

    fn attach_from_inside(&mut self, number: u16) -> io::Result<()> {
        let mut inside = Netlink::route()?;
        let pair = link::Pair { name: &name(number), address: address(number), bridge: self.bridge };
        link::container(&mut inside, &pair, self.host.as_raw_fd());
        inside.flush()?;
        self.carrier.settle(&name(number))?;
        self.carrier.settle(BRIDGE)?;
        self.publish(FIRST_PORT.wrapping_add(number), 1, address(number))
    }

    /// Removes the pair at once and waits for it, then the namespace.
    pub(crate) fn detach(&mut self, number: u16) -> io::Result<()> {
        self.remove(number)?;
        unpin(&self.path(number))
    }

    /// Removes the pair at once and waits for it; the namespace stays.
    pub(crate) fn remove(&mut self, number: u16) -> io::Result<()> {
        self.withdraw(FIRST_PORT.wrapping_add(number), 1)?;
        link::delete(&mut self.route, &name(number));
        self.route.flush()
    }

    /// Takes the pair down, and lets the kernel remove it with the namespace.
    pub(crate) fn detach_fast(&mut self, number: u16) -> io::Result<()> {
        self.withdraw(FIRST_PORT.wrapping_add(number), 1)?;
        link::set_down(&mut self.route, &name(number));
        self.route.flush()?;
        unpin(&self.path(number))
    }

    /// Publishes as many ports from the first one on, as one transaction.
    pub(crate) fn publish(&mut self, first: u16, count: u16, to: Ipv4Addr) -> io::Result<()> {
        element::add(&mut self.netfilter, first, count, to);
        self.netfilter.flush()
    }

    pub(crate) fn withdraw(&mut self, first: u16, count: u16) -> io::Result<()> {
        element::remove(&mut self.netfilter, first, count);
        self.netfilter.flush()
    }
}

/// The address of a container.
pub(crate) fn address(number: u16) -> Ipv4Addr {
    let [high, low] = (number + 2).to_be_bytes();
    Ipv4Addr::new(10, 99, high, low)
}

fn name(number: u16) -> String {
    format!("f{number}")
}

/// Makes a namespace and pins it; the calling thread comes back from it.
pub(crate) fn make_namespace(path: &Path) -> io::Result<()> {
    let here = Spot::here()?;
    unshare(CloneFlags::CLONE_NEWNET)?;
    let pinned = pin(path);
    here.enter()?;
    pinned
}

fn pin(path: &Path) -> io::Result<()> {
    OpenOptions::new().write(true).create_new(true).open(path)?;
    Ok(mount(Some("/proc/thread-self/ns/net"), path, None::<&str>, MsFlags::MS_BIND, None::<&str>)?)
}

/// Lets go of a namespace.
pub(crate) fn unpin(path: &Path) -> io::Result<()> {
    umount2(path, MntFlags::MNT_DETACH)?;
    fs::remove_file(path)
}

/// Loads rules, outside of what is measured.
fn nft(rules: &str) -> io::Result<()> {
    let nft = Command::new("nft").args(["-f", "-"]).stdin(Stdio::piped()).spawn();
    let mut nft = nft.map_err(|error| io::Error::new(error.kind(), format!("cannot start nft: {error}")))?;
    nft.stdin.take().map_or(Ok(()), |mut stdin| stdin.write_all(rules.as_bytes()))?;
    if nft.wait()?.success() { Ok(()) } else { Err(io::Error::other("nft refused the rules of the floor")) }
}
