//! What outlives a reboot: definitions and kept addresses, and nothing of who was attached.

use crate::private::in_private;
use crate::program::{Ran, run, tool};
use crate::world::{Case, World};
use linkspan::NetNs;
use std::fs;
use std::path::PathBuf;
use std::sync::Mutex;
use std::thread;

/// The disk of a machine: its folders are those of every boot.
struct Disk {
    path: PathBuf,
}

impl Disk {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("linkspan-reboot-{name}-{}", std::process::id()));
        fs::create_dir(&path).unwrap();
        Self { path }
    }

    /// Boots: another network namespace, another `/run`, and another id of the boot.
    fn boot(&self, number: u8, run_folder: &str, live: impl Fn(&Boot<'_>) + Sync) {
        let start = || {
            let world = World::new(Case::USUAL);
            let id = self.path.join(format!("boot-{number}"));
            fs::write(&id, format!("00000000-0000-4000-8000-{number:012x}\n")).unwrap();
            tool(&format!("mount --bind {} /proc/sys/kernel/random/boot_id", id.display()));
            live(&Boot { world, disk: self, run_folder });
        };
        thread::scope(|scope| scope.spawn(start).join().unwrap());
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.path);
    }
}

/// A machine from its start to its end.
struct Boot<'a> {
    world: World,
    disk: &'a Disk,
    run_folder: &'a str,
}

impl Boot<'_> {
    fn linkspan(&self, line: &str) -> Ran {
        let mut command = self.world.command(line);
        command.env("LINKSPAN_STATE_DIR", self.disk.path.join("state"));
        command.env("LINKSPAN_RUN_DIR", self.disk.path.join(self.run_folder));
        run(&mut command)
    }

    /// Attaches a namespace made for it, and returns what `ps` says of its addresses.
    fn attach(&self, name: &str, options: &str) -> String {
        NetNs::create(format!("/run/netns/{name}")).unwrap();
        self.linkspan(&format!("attach {name} --netns /run/netns/{name} {options}")).ok();
        let listed = self.linkspan("ps").ok();
        let line = listed.lines().find(|line| line.starts_with(&format!("{name} "))).unwrap().to_owned();
        line.split("   ").map(str::trim).filter(|cell| !cell.is_empty()).nth(3).unwrap().to_owned()
    }
}

/// What there is of the network on the host: its bridge and its rules.
fn on_host() -> [String; 3] {
    let words = |line: &str| {
        let text = tool(line);
        text.split_whitespace().map(str::to_owned).collect::<Vec<_>>()
    };
    let shown = words("ip -br address show dev br-web");
    let addresses = shown.iter().filter(|word| word.contains('/') && !word.starts_with("fe80"));
    let addresses = addresses.cloned().collect::<Vec<_>>().join(" ");
    let link = words("ip -o link show br-web");
    let mtu = link.windows(2).find(|pair| pair[0] == "mtu").unwrap()[1].clone();
    [addresses, mtu, tool("nft list table inet linkspan")]
}

#[test]
fn networks_come_back_as_they_were_with_their_first_container_and_keep_their_addresses() {
    const CREATE: &str = "network create web --subnet 10.88.0.0/24 --gateway 10.88.0.254 --subnet fd88::/64 \
        --icc=false --mtu 1400 --bridge-name br-web --label a=b --snat 192.0.2.77";
    in_private(|| {
        let disk = Disk::new("definitions");
        let before = Mutex::new(None);
        disk.boot(1, "run-1", |boot| {
            boot.linkspan(CREATE).ok();
            assert_eq!(boot.attach("kept", "--network web"), "10.88.0.1, fd88::2");
            boot.linkspan("detach --keep-address kept").ok();
            assert_eq!(boot.attach("a", "--network web"), "10.88.0.2, fd88::3");
            let seen = on_host();
            boot.linkspan("network create idle").ok();
            assert_eq!(boot.attach("d", "--ip 172.17.0.9"), "172.17.0.9");
            boot.linkspan("detach --keep-address d").ok();
            *before.lock().unwrap() = Some((boot.linkspan("network ls --json").ok(), seen));
        });
        let (listed, seen) = before.into_inner().unwrap().unwrap();
        disk.boot(2, "run-2", |boot| {
            assert_eq!(boot.linkspan("network ls --json").ok(), listed);
            assert_eq!(boot.linkspan("ps").ok().lines().count(), 1);
            let links = tool("ip -br link show");
            assert!(!links.contains("br-web") && !links.contains("ls-"), "{links}");
            assert_eq!(boot.attach("a", "--network web"), "10.88.0.2, fd88::3");
            assert_eq!(on_host(), seen);
            let links = tool("ip -br link show");
            assert!(!links.contains("ls-"), "nobody asked for the other one: {links}");
            assert_eq!(boot.attach("kept", "--network web"), "10.88.0.1, fd88::2");
            assert_eq!(boot.attach("e", ""), "172.17.0.2");
            assert_eq!(boot.attach("d", ""), "172.17.0.9");
            assert_eq!(boot.linkspan("network ls --json").ok(), listed);
            assert_eq!(boot.linkspan("gc").ok(), "nothing to remove\n");
        });
    });
}

/// What a killed process left before the reboot.
const LEFT: &str = "run/pending/00c0ffee00c0ffee";

/// A disk with a run folder, `run`, of a boot that ended with two containers attached and an address kept.
fn left_behind(name: &str) -> Disk {
    let disk = Disk::new(name);
    disk.boot(1, "run", |boot| {
        boot.linkspan("network create web --subnet 10.88.0.0/24").ok();
        assert_eq!(boot.attach("a", "--network web -p 8000:80"), "10.88.0.2");
        assert_eq!(boot.attach("b", "--network web"), "10.88.0.3");
        assert_eq!(boot.attach("kept", "--network web"), "10.88.0.4");
        boot.linkspan("detach --keep-address kept").ok();
        fs::write(disk.path.join(LEFT), "{").unwrap();
    });
    disk
}

#[test]
fn whichever_command_comes_first_after_a_reboot_finds_nobody_in_a_run_folder_that_was_not_emptied() {
    // Each with how it ends, what it says of what there is, and what it says of what there was.
    const LINES: [(&str, i32, &str, &[&str]); 11] = [
        ("ps", 0, "NAME", &["web", "10.88"]),
        ("port a", 1, "", &[]),
        ("inspect a", 1, "", &[]),
        ("explain a host", 1, "", &[]),
        ("plan gc", 0, "nothing would change", &["web", "00c0ffee"]),
        ("gc", 0, "nothing to remove", &["web", "00c0ffee"]),
        ("plan reconcile", 0, "nothing would change", &["web", "10.88"]),
        ("reconcile", 0, "the host is as the records say", &["web", "10.88"]),
        ("doctor", 0, "", &["web", "10.88"]),
        ("plan attach a --netns /run/netns/c --network web -p 8000:80", 0, "10.88.0.2/24", &[]),
        ("plan attach c --netns /run/netns/c --network web --ip 10.88.0.4", 1, "", &[]),
    ];
    in_private(|| {
        let (disk, wrong) = (left_behind("first"), Mutex::new(Vec::new()));
        for (nth, (line, code, there, gone)) in (2..).zip(LINES) {
            let folder = format!("run-{nth}");
            let [from, to] = ["run", &folder].map(|name| disk.path.join(name).display().to_string());
            tool(&format!("cp -a {from} {to}"));
            disk.boot(nth, &folder, |boot| {
                NetNs::create("/run/netns/c").unwrap();
                let ran = boot.linkspan(line);
                let is_right = ran.code() == Some(code) && ran.out.contains(there);
                if !is_right || gone.iter().any(|word| ran.out.contains(word)) {
                    wrong.lock().unwrap().push(format!("{line}: {ran}"));
                }
            });
        }
        let wrong = wrong.into_inner().unwrap();
        assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    });
}

#[test]
fn a_run_folder_that_a_reboot_did_not_empty_says_nothing() {
    in_private(|| {
        let disk = left_behind("run");
        disk.boot(2, "run", |boot| {
            // The port, the name and the address are anybody's, but for what is kept.
            assert_eq!(boot.attach("b", "--network web -p 8000:80"), "10.88.0.2");
            assert_eq!(boot.attach("c", "--network web"), "10.88.0.3");
            assert_eq!(boot.attach("e", "--network web"), "10.88.0.5");
            assert_eq!(boot.attach("kept", "--network web"), "10.88.0.4");
            assert!(!disk.path.join(LEFT).exists());
            assert_eq!(boot.linkspan("gc").ok(), "nothing to remove\n");
            boot.linkspan("network rm --force web").ok();
            let files =
                tool(&format!("find {} -type f -not -name *.lock -not -name boot-*", disk.path.display()));
            assert_eq!(files, "");
        });
    });
}
