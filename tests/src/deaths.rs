//! What a dead container had goes to whoever wants it next, however it died.

use crate::private::in_private;
use crate::snapshot::Snapshot;
use crate::world::{World, container, with_each_firewall};
use linkspan::{Attachment, Endpoint, NetNs, Pid, Publish};
use std::fs;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::Duration;

/// How a container is there, and dies without being detached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Death {
    /// Its namespace has no name any more, and ends.
    Unpinned,
    /// Its namespace has no name any more, but someone holds it.
    UnpinnedAndHeld,
    /// Another namespace has its name.
    Replaced,
    /// Its process ended, and its namespace with it.
    Killed,
    /// Its process ended, but someone holds its namespace.
    KilledAndHeld,
    /// Its process ended, and another has its number: the start time tells them apart.
    NumberReused,
    /// It was known by a descriptor alone, and its links went with the namespace.
    Closed,
}

const DEATHS: [Death; 7] = [
    Death::Unpinned,
    Death::UnpinnedAndHeld,
    Death::Replaced,
    Death::Killed,
    Death::KilledAndHeld,
    Death::NumberReused,
    Death::Closed,
];

/// What the next one wants of it.
const WANTED: [&str; 3] =
    ["web --network net-1", "next --network net-1 -p 8080:80", "next --network net-1 --ip 10.88.1.9"];

const PIN: &str = "/run/netns/dying";

/// A program in a namespace of its own.
fn sleeper() -> Child {
    let mut unshare = Command::new("unshare");
    let mut child = unshare.args(["--net", "sleep", "1000"]).stdout(Stdio::null()).spawn().unwrap();
    let own = fs::read_link("/proc/thread-self/ns/net").unwrap();
    // It is in its namespace once it is the program that unshare starts.
    while fs::read_link(format!("/proc/{}/ns/net", child.id())).unwrap() == own {
        assert!(child.try_wait().unwrap().is_none());
        thread::yield_now();
    }
    child
}

fn attach(world: &World, netns: &NetNs) -> Attachment {
    let address = "10.88.1.9".parse().unwrap();
    let endpoint = Endpoint::new("net-1".parse().unwrap()).address(address);
    let wanted = container("web").on(endpoint).publish(Publish::tcp(80).at(8080));
    world.host.attach(netns, &wanted).unwrap()
}

/// What is left of a container that died.
#[derive(Debug, Default)]
struct Left {
    netns: Option<NetNs>,
    process: Option<Child>,
}

impl Drop for Left {
    fn drop(&mut self) {
        if let Some(process) = &mut self.process {
            process.kill().unwrap();
            process.wait().unwrap();
        }
    }
}

/// Lets a container live and die.
fn die(world: &World, death: Death) -> Left {
    match death {
        Death::Unpinned | Death::UnpinnedAndHeld | Death::Replaced => {
            let netns = NetNs::create(PIN).unwrap();
            attach(world, &netns);
            NetNs::unpin(PIN).unwrap();
            let netns = match death {
                Death::Unpinned => None,
                Death::UnpinnedAndHeld => Some(netns),
                _ => Some(NetNs::create(PIN).unwrap()),
            };
            Left { netns, process: None }
        }
        Death::Killed | Death::KilledAndHeld | Death::NumberReused => {
            let mut left = Left { netns: None, process: Some(sleeper()) };
            let number = left.process.as_ref().map(Child::id).and_then(Pid::new).unwrap();
            let netns = NetNs::of_pid(number).unwrap();
            let attachment = attach(world, &netns);
            match death {
                Death::NumberReused => began_later(&attachment),
                _ => drop(Left { netns: None, process: left.process.take() }),
            }
            left.netns = (death == Death::KilledAndHeld).then_some(netns);
            left
        }
        Death::Closed => {
            let netns = NetNs::create_anonymous().unwrap();
            let attachment = attach(world, &NetNs::from_fd(netns.try_clone().unwrap().into()).unwrap());
            drop(netns);
            let link = attachment.endpoints()[0].host_link();
            // The kernel takes the links of a namespace away some time after it.
            while fs::read_to_string("/proc/thread-self/net/dev").unwrap().contains(link.as_str()) {
                thread::sleep(Duration::from_millis(5));
            }
            Left::default()
        }
    }
}

/// Writes on record that the process of a container began at another time than the one that has its number.
fn began_later(attachment: &Attachment) {
    let path = format!("/run/linkspan/attachments/{}", attachment.id());
    let record = fs::read_to_string(&path).unwrap();
    let later = record.replace("\"start_time\":", "\"start_time\":9");
    assert_ne!(later, record);
    fs::write(path, later).unwrap();
}

#[test]
fn what_a_dead_container_had_is_had_by_the_next_who_wants_it() {
    in_private(|| {
        with_each_firewall(|world| {
            world.linkspan("network create net-1 --subnet 10.88.1.0/24").ok();
            let _netns = NetNs::create("/run/netns/living").unwrap();
            // With its first port a bridge gets routes that stay.
            world.linkspan("attach web --netns /run/netns/living --network net-1").ok();
            world.linkspan("detach web").ok();
            let before = Snapshot::take();
            for (death, wanted) in DEATHS.iter().flat_map(|death| WANTED.map(|wanted| (*death, wanted))) {
                let left = die(world, death);
                let attached = world.linkspan(&format!("attach {wanted} --netns /run/netns/living"));
                assert!(attached.status.success(), "{death:?}: {wanted}: {attached}");
                let names: Vec<_> =
                    world.host.attachments().unwrap().iter().map(|a| a.name().to_string()).collect();
                assert_eq!(names, [wanted.split(' ').next().unwrap()], "{death:?}");
                world.linkspan(&format!("detach {}", names[0])).ok();
                drop(left);
                NetNs::unpin(PIN).unwrap();
                before.assert_unchanged(&format!("{death:?}, {wanted}"));
            }
        });
    });
}
