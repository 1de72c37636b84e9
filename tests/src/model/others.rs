//! Others on the host: whose containers they are, and who breaks things.

use super::facts::{OTHER_MAC, stranger};
use super::paper::Paper;
use super::seen::{Seen, attempt};
use super::step::{Door, Harm, Net, Who};
use crate::program::tool;
use crate::traffic::PATIENCE;
use crate::world::World;
use linkspan::NetNs;
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::net::{TcpListener, UdpSocket};
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

/// Links of others with names like ours.
pub(super) const THEIRS: [&str; 3] = ["vethls000000001", "x1", "ls-0123456789ab"];

/// A program that has a port.
#[derive(Debug)]
enum Program {
    Tcp { _socket: TcpListener },
    Udp { _socket: UdpSocket },
}

/// What others have on the host.
#[derive(Debug)]
pub(super) struct Others {
    /// Whose namespace is that of the container without a file.
    process: Option<Child>,
    programs: BTreeMap<Door, Program>,
    links: BTreeSet<String>,
}

impl Others {
    /// Makes what is like ours, and the roads by which the remote machine would come to our networks.
    pub(super) fn arrive(world: &World) -> Self {
        for line in [
            "ip link add vethls000000001 type veth peer name x1",
            "ip link add ls-0123456789ab type bridge",
            "ip address add 198.18.0.1/24 dev ls-0123456789ab",
            "ip route add 198.18.99.0/24 via 192.0.2.2",
        ] {
            tool(line);
        }
        let roads =
            ["10.88.0.0/16 via 192.0.2.1", "172.17.0.0/16 via 192.0.2.1", "fd88::/16 via 2001:db8::1"];
        world.remote().run(|| roads.map(|road| tool(&format!("ip route add {road}")))).unwrap();
        // The first file of a namespace makes their folder a mount of its own, which stays.
        NetNs::create(path(Who::P0)).unwrap();
        NetNs::unpin(path(Who::P0)).unwrap();
        Self { process: None, programs: BTreeMap::new(), links: THEIRS.map(str::to_owned).into() }
    }

    /// Whether a link is theirs.
    pub(super) fn have(&self, link: &str) -> bool {
        self.links.contains(link)
    }

    /// Programs end, and bridges go that took the place of ours.
    pub(super) fn leave(&mut self) {
        self.programs.clear();
        for link in self.links.iter().filter(|link| !THEIRS.contains(&link.as_str())) {
            tool(&format!("ip link delete {link}"));
        }
        self.links = THEIRS.map(str::to_owned).into();
    }

    /// The namespace of a container, where it has one.
    pub(super) fn namespace_of(&self, who: Who) -> Option<NetNs> {
        match (who, &self.process) {
            (Who::P3, None) => None,
            (Who::P3, Some(process)) => NetNs::of_pid(process.id().to_string().parse().ok()?).ok(),
            _ => NetNs::open(path(who)).ok(),
        }
    }

    /// Makes a container's namespace where it has none, and says where it is as `attach` has it.
    pub(super) fn place(&mut self, who: Who, world: &World) -> String {
        if who != Who::P3 {
            if self.namespace_of(who).is_none() {
                NetNs::create(path(who)).unwrap();
            }
            return format!("--netns {}", path(who));
        }
        let start = || {
            let mut program = Command::new("sleep");
            // Whoever reads what the test writes does not wait for it.
            program.arg("infinity").stdout(Stdio::null()).stderr(Stdio::null());
            world.lab.program(program).unwrap()
        };
        format!("--pid {}", self.process.get_or_insert_with(start).id())
    }

    /// Does it, where there is something to do it to.
    pub(super) fn harm(&mut self, harm: Harm, world: &World, paper: &Paper, seen: &Seen) {
        match harm {
            Harm::Vanish(who) => self.end(who, seen),
            Harm::Reboot => self.reboot(world, paper, seen),
            Harm::FlushRules => flush(world),
            Harm::DeleteBridge(net) if paper.is_up(net) => self.delete(&seen.bridges[&net]),
            Harm::Usurp(net) if paper.is_up(net) => self.usurp(&seen.bridges[&net]),
            Harm::Squat(who) if paper.is_outside(who) => {
                self.place(who, world);
                self.inside(who, "link add eth0 type veth peer name x0");
            }
            Harm::Listen(door) => self.listen(door),
            Harm::LoseRecord(_) | Harm::LoseClaims | Harm::LoseLeases(_) => lose(harm, paper, seen),
            Harm::EmptyBridge(_) | Harm::BridgeDown(_) | Harm::Stranger(_) => harm_bridge(harm, paper, seen),
            harm => self.harm_container(harm, paper, seen),
        }
    }

    /// A container's namespace ends, and some time after it the kernel takes its links.
    pub(super) fn end(&mut self, who: Who, seen: &Seen) {
        if who == Who::P3 {
            self.stop();
        } else {
            // One that was never made is gone already.
            drop(NetNs::unpin(path(who)));
        }
        let until = Instant::now() + PATIENCE;
        for (_, link) in seen.host_ends.iter().filter(|((whose, _), _)| *whose == who) {
            while attempt(&format!("ip link show dev {link}")).status.success() {
                assert!(Instant::now() < until, "{link} of {who} outlives its namespace");
                sleep(Duration::from_millis(5));
            }
        }
    }

    fn stop(&mut self) {
        if let Some(mut process) = self.process.take() {
            process.kill().unwrap();
            process.wait().unwrap();
        }
    }

    /// Nothing of ours is left but the definitions.
    fn reboot(&mut self, world: &World, paper: &Paper, seen: &Seen) {
        Who::ALL.into_iter().for_each(|who| self.end(who, seen));
        paper.networks.keys().chain(&paper.usurped).filter_map(|net| seen.bridges.get(net)).for_each(
            |link| {
                self.delete(link);
            },
        );
        flush(world);
        drop(fs::remove_dir_all("/run/linkspan"));
    }

    fn delete(&mut self, link: &str) {
        attempt(&format!("ip link delete {link}"));
        self.links.remove(link);
    }

    fn usurp(&mut self, link: &str) {
        self.delete(link);
        tool(&format!("ip link add {link} type bridge"));
        self.links.insert(link.to_owned());
    }

    fn listen(&mut self, door: Door) {
        if self.programs.remove(&door).is_some() {
            return;
        }
        let at = (door.host_address().unwrap_or("0.0.0.0"), door.port());
        let program = match door.protocol() {
            "udp" => Program::Udp { _socket: UdpSocket::bind(at).unwrap() },
            _ => Program::Tcp { _socket: TcpListener::bind(at).unwrap() },
        };
        self.programs.insert(door, program);
    }

    /// What is done to the first link of a container.
    fn harm_container(&self, harm: Harm, paper: &Paper, seen: &Seen) {
        let lives = |who: Who| paper.living().any(|(other, _)| other == who);
        let on_host = |who: Who, words: &str| {
            if let Some(link) = seen.host_ends.get(&(who, "eth0".to_owned())).filter(|_| lives(who)) {
                attempt(&format!("ip link {}", words.replace("LINK", link)));
            }
        };
        let inside = |who: Who, words: &str| {
            if lives(who) {
                self.inside(who, words);
            }
        };
        match harm {
            Harm::DeleteLink(who) => on_host(who, "delete LINK"),
            Harm::Unplug(who) => on_host(who, "set LINK nomaster"),
            Harm::HostEndDown(who) => on_host(who, "set LINK down"),
            Harm::LinkDown(who) => inside(who, "link set eth0 down"),
            Harm::LinkMac(who) => inside(who, &format!("link set eth0 address {OTHER_MAC}")),
            Harm::LinkAddress(who) => inside(who, "-4 address flush dev eth0"),
            Harm::LinkRoutes(who) => {
                inside(who, "-4 route flush default");
                inside(who, "-6 route flush default");
            }
            _ => {}
        }
    }

    fn inside(&self, who: Who, words: &str) {
        if let Some(netns) = self.namespace_of(who) {
            netns.run(|| drop(attempt(&format!("ip {words}")))).unwrap();
        }
    }
}

impl Drop for Others {
    fn drop(&mut self) {
        if let Some(mut process) = self.process.take() {
            drop(process.kill().and_then(|()| process.wait()));
        }
    }
}

fn path(who: Who) -> String {
    format!("/run/netns/{who}")
}

fn flush(world: &World) {
    world.assert_others_unchanged("what was done till then");
    world.flush_rules();
}

fn harm_bridge(harm: Harm, paper: &Paper, seen: &Seen) {
    let on = |net: Net, words: &str| {
        if paper.is_up(net) && !paper.usurped.contains(&net) {
            attempt(&format!("ip {}", words.replace("LINK", &seen.bridges[&net])));
        }
    };
    match harm {
        Harm::EmptyBridge(net) => on(net, "address flush dev LINK"),
        Harm::BridgeDown(net) => on(net, "link set LINK down"),
        Harm::Stranger(net) if paper.has_bridge(net) => {
            let (address, length) = stranger(net);
            on(net, &format!("address add {address}/{length} dev LINK"));
        }
        _ => {}
    }
}

/// Removes a file of ours.
fn lose(harm: Harm, paper: &Paper, seen: &Seen) {
    let used = |net: Net| paper.containers.values().any(|there| there.is_on(net));
    let file = match harm {
        Harm::LoseRecord(who) if paper.containers.contains_key(&who) => {
            format!("attachments/{}", seen.ids[&who.to_string()])
        }
        Harm::LoseClaims if !paper.containers.is_empty() => "claims".to_owned(),
        Harm::LoseLeases(net) if used(net) => {
            format!("leases/{}", seen.bridges[&net].trim_start_matches("ls-"))
        }
        _ => return,
    };
    // What is lost already is lost.
    drop(fs::remove_file(format!("/run/linkspan/{file}")));
}
