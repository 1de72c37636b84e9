//! A host with namespaces to attach, and what can happen to it.

use crate::program::{PATIENCE, Ran, run, tool};
use crate::snapshot::Snapshot;
use crate::world::{Case, World};
use linkspan::{Firewall, NetNs, NetworkId};
use std::fs;
use std::path::PathBuf;
use std::process::Command;
use std::thread::sleep;
use std::time::{Duration, Instant};

// No letter of an id is among them, so that none of them is taken for the beginning of one.
const CONTAINERS: [&str; 3] = ["x", "y", "z"];
/// One whose namespace nobody holds but by its pin, and what that is.
const ENDING: &str = "q";
const PIN: &str = "/run/netns/q";
const NETWORKS: &str = "web db own bridge";

/// The host of the calling thread.
pub(super) struct Ground {
    pub(super) world: World,
    containers: Vec<NetNs>,
}

impl Ground {
    pub(super) fn new(firewall: Firewall) -> Self {
        let world = World::new(Case { firewall, ..Case::USUAL });
        let pin = |name| NetNs::create(format!("/run/netns/{name}")).unwrap();
        Self { world, containers: CONTAINERS.into_iter().map(pin).collect() }
    }

    /// Looks at the host, and into the containers, once the kernel has come to rest.
    pub(super) fn look(&self) -> Snapshot {
        // Who is killed between two calls leaves the file that the pin was mounted on, which is as good as gone. What is
        // mounted cannot be removed.
        let _ = fs::remove_file(PIN);
        let until = Instant::now() + PATIENCE;
        loop {
            let seen = Snapshot::take_with(&self.containers);
            if !seen.has_a_dying_link() || Instant::now() > until {
                return seen;
            }
            sleep(Duration::from_millis(20));
        }
    }

    /// Takes away whatever is on record; where the records are damaged, once that is mended.
    pub(super) fn clear(&self) -> Result<(), String> {
        let remove = [
            format!("detach {} {ENDING} job", CONTAINERS.join(" ")),
            format!("network rm --force {NETWORKS}"),
        ];
        let mend = ["gc", "reconcile", "gc"];
        if let Err(refused) = self.run_all(&remove) {
            // What cannot be mended either is told by what follows.
            mend.iter().for_each(|line| drop(self.world.linkspan(line)));
            self.run_all(&remove).map_err(|again| format!("{refused}\nand after a repair:\n{again}"))?;
        }
        NetNs::unpin(PIN).unwrap();
        if !lacks_link("br0") {
            self.tool("ip link delete br0");
        }
        Ok(())
    }

    fn run_all(&self, lines: &[String]) -> Result<(), String> {
        lines.iter().try_for_each(|line| match self.world.linkspan(line) {
            ran if ran.code() == Some(0) => Ok(()),
            ran => Err(format!("a plain `{line}` is refused: {ran}")),
        })
    }

    #[track_caller]
    pub(super) fn linkspan(&self, line: &str) {
        let ran: Ran = self.world.linkspan(line);
        assert_eq!(ran.code(), Some(0), "{line}: {ran}");
    }

    pub(super) fn tool(&self, line: &str) {
        tool(line);
    }

    pub(super) fn write(&self, path: &str, text: &str) {
        fs::write(path, text).unwrap();
    }

    pub(super) fn inside(&self, container: &str, line: &str) {
        let place = CONTAINERS.iter().position(|name| *name == container).unwrap();
        self.containers[place].run(|| tool(line)).unwrap();
    }

    /// The host starts again: nothing of ours is there but the definitions.
    pub(super) fn reboot(&self) {
        for network in self.world.host.networks().unwrap() {
            tool(&format!("ip link delete {}", network.link()));
        }
        self.world.flush_rules();
        fs::remove_dir_all("/run/linkspan").unwrap();
    }

    pub(super) fn delete_bridge(&self, network: &str) {
        let networks = self.world.host.networks().unwrap();
        let bridge = networks.iter().find(|there| there.name().as_str() == network).unwrap().link();
        tool(&format!("ip link delete {bridge}"));
    }

    pub(super) fn delete_link_of(&self, container: &str) {
        let link = self.world.host.find(container).unwrap().endpoints()[0].host_link();
        tool(&format!("ip link delete {link}"));
    }

    /// Attaches a namespace that then goes, as with a runtime that crashes.
    pub(super) fn attach_and_die(&self, name: &str, options: &str) {
        let path = format!("/run/netns/{name}");
        let netns = NetNs::create(&path).unwrap();
        self.linkspan(&format!("attach {name} --netns {path} {options}"));
        let endpoints = self.world.host.find(name).unwrap().endpoints().to_vec();
        NetNs::unpin(&path).unwrap();
        drop(netns);
        // The kernel takes its time with the links of a namespace that is gone.
        let until = Instant::now() + PATIENCE;
        while !endpoints.iter().all(|endpoint| lacks_link(endpoint.host_link().as_ref())) {
            assert!(Instant::now() < until, "the links of {name} stay");
            sleep(Duration::from_millis(10));
        }
    }

    /// Attaches the one that is to end, in a namespace of its own.
    pub(super) fn attach_ending(&self, options: &str) {
        drop(NetNs::create(PIN).unwrap());
        self.linkspan(&format!("attach {ENDING} --netns {PIN} {options}"));
    }

    pub(super) fn lose_record(&self, container: &str) {
        fs::remove_file(self.record(container)).unwrap();
    }

    pub(super) fn tear_record(&self, container: &str) {
        fs::write(self.record(container), "{\"version\":1,\"id\":\"").unwrap();
    }

    /// Makes an attachment one that a killed process left under way.
    pub(super) fn leave_pending(&self, container: &str) {
        let record = self.record(container);
        let pending = PathBuf::from("/run/linkspan/pending").join(record.file_name().unwrap());
        fs::rename(record, pending).unwrap();
    }

    pub(super) fn lose_network(&self, network: &str) {
        fs::remove_file(self.up(network)).unwrap();
        fs::remove_file(format!("/var/lib/linkspan/networks/{network}")).unwrap();
    }

    /// Where it is on record that a network is up.
    pub(super) fn up(&self, network: &str) -> String {
        format!("/run/linkspan/up/network-{}", self.id_of(network))
    }

    /// Where the leases of a network are.
    pub(super) fn leases(&self, network: &str) -> String {
        format!("/run/linkspan/leases/{}", self.id_of(network))
    }

    fn id_of(&self, network: &str) -> NetworkId {
        let networks = self.world.host.networks().unwrap();
        networks.iter().find(|there| there.name().as_str() == network).unwrap().id()
    }

    /// Someone takes some of our rules away.
    pub(super) fn take_rules(&self) {
        match self.world.case.firewall {
            Firewall::Iptables => {
                tool("iptables -F LINKSPAN-FORWARD");
                tool("ip6tables -t nat -F LINKSPAN-POST")
            }
            _ => tool("nft flush set inet linkspan masq4") + &tool("nft flush chain inet linkspan forward"),
        };
    }

    fn record(&self, container: &str) -> PathBuf {
        let id = self.world.host.find(container).unwrap().id();
        PathBuf::from(format!("/run/linkspan/attachments/{id}"))
    }
}

fn lacks_link(name: &str) -> bool {
    run(Command::new("ip").args(["link", "show", name])).code() != Some(0)
}
