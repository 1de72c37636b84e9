//! A private machine with a remote peer, for demonstrations and tests.
//!
//! [`Lab::enter`] moves the calling thread into namespaces of its own, where it may make networks without
//! touching the machine, as any user: a network namespace that plays the host, folders of its own over
//! `/run` and `/var/lib`, and another machine at the other end of a cable.
//!
//! ```
//! use linkspan::lab::Lab;
//!
//! let lab = Lab::enter()?;
//! let answer = lab.remote().run(|| std::net::UdpSocket::bind("192.0.2.2:0").is_ok())?;
//! assert!(answer);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

use ipnet::IpNet;
use linkspan_net_types::{IfName, Mac, Mtu};
use linkspan_netns::{Isolation, NetNs, Sandbox};
use linkspan_veth_bridge::kernel::{Inside, Links};
use linkspan_veth_bridge::{self as links, HostEnd, InsideEnd, Look, Place, Step, Veth, plan};
use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, unshare};
use nix::unistd::{getegid, geteuid};
use std::io;
use std::net::IpAddr;
use std::os::fd::AsFd;
use std::process::{Child, Command};

/// The host's addresses at the cable to the remote machine (RFC 5737 and RFC 3849, for documentation).
pub const HOST: [&str; 2] = ["192.0.2.1/24", "2001:db8::1/64"];
/// The remote machine's addresses.
pub const REMOTE: [&str; 2] = ["192.0.2.2/24", "2001:db8::2/64"];

/// A machine of one's own, as long as the thread that entered it lives.
#[derive(Debug)]
pub struct Lab {
    remote: Sandbox,
}

/// Why there is no lab.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The kernel made no namespaces; without privilege, it may have been told not to, or the process has
    /// several threads.
    #[error("cannot make private namespaces")]
    Unshare(#[source] io::Error),
    /// The user could not be made root of the namespaces.
    #[error("cannot map the user into its namespace")]
    Map(#[source] io::Error),
    /// A folder could not be covered by a private one.
    #[error("cannot mount a private {folder}")]
    Mount {
        /// The folder.
        folder: &'static str,
        /// The kernel's reason.
        source: io::Error,
    },
    /// The remote machine could not be made.
    #[error("cannot make the remote machine")]
    Remote(#[from] linkspan_netns::Error),
    /// The cable could not be laid.
    #[error("cannot lay the cable to the remote machine")]
    Cable(#[from] links::Error),
    /// The kernel refused the cable.
    #[error("cannot lay the cable to the remote machine")]
    Lay(#[from] links::kernel::ApplyError),
}

impl Lab {
    /// Moves the calling thread into a machine of its own; threads and processes that it starts are there too.
    ///
    /// An ordinary user can do so from a process of one thread, where the machine lets users make namespaces.
    ///
    /// # Errors
    /// [`Error::Unshare`] where it may not.
    pub fn enter() -> Result<Self, Error> {
        leave_the_machine()?;
        cover("/run")?;
        cover("/var/lib")?;
        Self::wire()
    }

    /// The remote machine: work can be done and programs started there.
    pub const fn remote(&self) -> &Sandbox {
        &self.remote
    }

    /// Starts a program on the host, in a network namespace of its own that has nothing but a `lo` that is down:
    /// what someone's runtime would hand over.
    ///
    /// # Errors
    /// As [`Command::spawn`]; a namespace that cannot be made is among them.
    pub fn program(&self, command: Command) -> io::Result<Child> {
        Sandbox::start(Isolation::own_network()).map_err(io::Error::other)?.spawn(command)
    }

    /// The host's addresses at the cable, IPv4 first.
    pub fn host_addresses(&self) -> [IpAddr; 2] {
        HOST.map(|address| net(address).addr())
    }

    /// The remote machine's addresses, IPv4 first.
    pub fn remote_addresses(&self) -> [IpAddr; 2] {
        REMOTE.map(|address| net(address).addr())
    }

    /// Lays the cable: the host is the end that has the default route, as a host has towards the world.
    fn wire() -> Result<Self, Error> {
        let remote = Sandbox::start(Isolation::own_network())?;
        let here = NetNs::current()?;
        let far = HostEnd::point_to_point(name("uplink"), mac(REMOTE[0]), REMOTE.map(net).to_vec());
        let near = InsideEnd::new(name("uplink"), mac(HOST[0]));
        let near = HOST.map(net).into_iter().fold(near, InsideEnd::with_address);
        let near = REMOTE.map(net).into_iter().fold(near, |near, far| near.with_gateway(far.addr()));
        let cable = Veth::new(far, near, Mtu::ETHERNET);
        let mut door = Links::open_in(remote.netns().as_fd())?;
        let mut inside = Inside::open(here.as_fd())?;
        let seen = door.observe(&Look::at_veth(&cable), Some(&mut inside))?;
        let lo = links::Plan::from(vec![Step::SetUp { at: Place::host(name("lo")) }]);
        door.apply(&lo.then(plan::attach(&cable, &seen)?), Some(&mut inside))?;
        Ok(Self { remote })
    }
}

fn leave_the_machine() -> Result<(), Error> {
    let root = geteuid().is_root();
    let (user, group) = (geteuid(), getegid());
    let spaces = CloneFlags::CLONE_NEWNET | CloneFlags::CLONE_NEWNS | CloneFlags::CLONE_NEWUTS;
    let spaces = if root { spaces } else { spaces | CloneFlags::CLONE_NEWUSER };
    unshare(spaces).map_err(|e| Error::Unshare(e.into()))?;
    if !root {
        let write =
            |file: &str, text: String| std::fs::write(format!("/proc/self/{file}"), text).map_err(Error::Map);
        write("setgroups", "deny".to_owned())?;
        write("uid_map", format!("0 {user} 1"))?;
        write("gid_map", format!("0 {group} 1"))?;
    }
    let private = MsFlags::MS_REC | MsFlags::MS_PRIVATE;
    mount(None::<&str>, "/", None::<&str>, private, None::<&str>)
        .map_err(|e| Error::Mount { folder: "/", source: e.into() })
}

fn cover(folder: &'static str) -> Result<(), Error> {
    mount(Some("tmpfs"), folder, Some("tmpfs"), MsFlags::empty(), Some("mode=755"))
        .map_err(|e| Error::Mount { folder, source: e.into() })
}

fn name(text: &str) -> IfName {
    text.parse().expect("a few letters are a name")
}

fn net(text: &str) -> IpNet {
    text.parse().expect("the lab's addresses are addresses")
}

fn mac(address: &str) -> Mac {
    Mac::of_address(net(address).addr())
}
