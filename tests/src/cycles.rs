//! What comes and goes a thousand times leaves a long-lived process, its folders and its host as they were.

use crate::length::length;
use crate::private::{in_private, in_private_with};
use crate::snapshot::Snapshot;
use crate::world::{Case, World, container};
use linkspan::{Container, DefinedNetwork, Endpoint, Error, Firewall, NetNs, Network, Publish};
use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::thread::{self, sleep};
use std::time::Duration;

/// How many threads of the process work at once: the kernel waits for a grace period with each removal of a link,
/// and with those of several at the same time.
const THREADS: usize = 8;
/// What the process may have open besides: sockets that it keeps for the next time, of each kind as many as it had
/// in use at once.
const SOCKETS: usize = 3 * THREADS;
/// What the kernel may track besides: links that come and go send packets of their own.
const FLOWS: u64 = 20;
/// What the process may have in memory besides, in pages of 4 KiB: what it freed is not all given back.
const PAGES: u64 = 1024;
/// What the process may have allocated besides after each half, in bytes: less than 32 for each of five hundred. What it
/// keeps for the next time, it keeps after one of the halves.
const ALLOCATED: i64 = 16 << 10;
/// How long a ledger may be, in bytes: it is written anew when it is longer than 32 KiB and than four times what it need
/// be.
const LEDGER: u64 = 33 << 10;

/// What a process and its host have that is counted.
#[derive(Debug)]
struct Vitals {
    descriptors: usize,
    threads: usize,
    pages: u64,
    /// All files of the run folder but ledgers, and how long each is.
    files: BTreeMap<PathBuf, u64>,
    /// The length of the longest ledger.
    ledger: u64,
    tracked: u64,
    host: Snapshot,
}

impl Vitals {
    fn take() -> Self {
        let count = |folder: &str| fs::read_dir(folder).unwrap().count();
        let number = |path: &str, word: usize| {
            let text = fs::read_to_string(path).unwrap_or_default();
            text.split_whitespace().nth(word).map_or(0, |word| word.parse().unwrap())
        };
        let (ledgers, files) =
            sizes(Path::new("/run/linkspan")).into_iter().partition(|(path, _)| is_ledger(path));
        let ledgers: BTreeMap<PathBuf, u64> = ledgers;
        Self {
            descriptors: count("/proc/self/fd"),
            threads: threads(),
            pages: number("/proc/self/statm", 1),
            files,
            ledger: ledgers.into_values().max().unwrap_or_default(),
            tracked: number("/proc/sys/net/netfilter/nf_conntrack_count", 0),
            host: Snapshot::take(),
        }
    }

    #[track_caller]
    fn assert_still(&self, after: &str) {
        let current = Self::take();
        let Self { descriptors, threads, pages, files, ledger, tracked, .. } = current;
        println!(
            "{after}: {descriptors} descriptors, {threads} threads, {pages} pages, a ledger of {ledger} bytes"
        );
        assert_eq!((threads, &files), (self.threads, &self.files), "threads, files");
        assert!(
            descriptors <= self.descriptors + SOCKETS,
            "{descriptors} descriptors were {}",
            self.descriptors
        );
        assert!(tracked <= self.tracked + FLOWS, "{tracked} flows were {}", self.tracked);
        assert!(pages < self.pages + PAGES, "{pages} pages were {}", self.pages);
        assert!(ledger < LEDGER, "a ledger of {ledger} bytes");
        self.host.assert_unchanged(after);
    }
}

/// How many threads there are, when those that ended are gone.
fn threads() -> usize {
    let count = || fs::read_dir("/proc/self/task").unwrap().count();
    let mut last = count();
    for _ in 0..100 {
        sleep(Duration::from_millis(5));
        last = last.min(count());
    }
    last
}

/// All files below a folder, and how long they are.
fn sizes(folder: &Path) -> BTreeMap<PathBuf, u64> {
    let mut sizes = BTreeMap::new();
    for entry in fs::read_dir(folder).unwrap().map(Result::unwrap) {
        match entry.file_type().unwrap().is_dir() {
            true => sizes.append(&mut self::sizes(&entry.path())),
            false => _ = sizes.insert(entry.path(), entry.metadata().unwrap().size()),
        }
    }
    sizes
}

/// Whether a file is a ledger, or the lock file of one, which is as long and holds nothing.
fn is_ledger(path: &Path) -> bool {
    ["leases", "claims", ".claims.lock"]
        .iter()
        .any(|ledger| path.starts_with(Path::new("/run/linkspan").join(ledger)))
}

/// The bytes that the process has allocated and not freed.
fn allocated() -> i64 {
    // SAFETY: it reads and writes nothing of ours, and the C library locks each of its arenas.
    #[allow(unsafe_code)]
    let info = unsafe { nix::libc::mallinfo2() };
    i64::try_from(info.uordblks + info.hblkhd).unwrap()
}

/// How many bytes more are allocated when this is done, and its threads are gone.
fn grown(work: impl FnOnce()) -> i64 {
    let before = allocated();
    work();
    threads();
    allocated() - before
}

/// Does it a few times, looks, does it so often, and looks again.
#[track_caller]
fn settles(often: usize, after: &str, work: impl Fn(usize)) {
    work(2);
    let before = Vitals::take();
    let halves = [often / 2, often - often / 2].map(|half| grown(|| work(half)));
    before.assert_still(after);
    println!("allocated besides after each half: {halves:?}");
    assert!(halves.iter().any(|half| *half < ALLOCATED), "{halves:?} bytes more after each half");
}

/// A host with one container that stays, so that nothing is tidied up with the last one.
struct Bench {
    world: World,
    network: DefinedNetwork,
    _resident: NetNs,
}

impl Bench {
    fn new(firewall: Firewall) -> Self {
        let world = World::new(Case { firewall, ..Case::USUAL });
        let network = world.network(1);
        let resident = NetNs::create("/run/netns/resident").unwrap();
        let wanted = container("resident").on(Endpoint::of(&network)).publish(Publish::tcp(80).at(8080));
        world.host.attach(&resident, &wanted).unwrap();
        Self { world, network, _resident: resident }
    }

    fn on_network(&self, number: usize) -> Container {
        container(&format!("c{number}")).on(Endpoint::of(&self.network))
    }

    fn wanted(&self, number: usize) -> Container {
        let (port, wanted) = (u16::try_from(9000 + number).unwrap(), self.on_network(number));
        wanted.publish(Publish::tcp(80).at(port)).publish(Publish::udp(80).at(port))
    }

    /// So many rounds of this in each thread, with a namespace of the thread's own.
    fn rounds(&self, rounds: usize, work: impl Fn(usize, &NetNs) + Sync) {
        thread::scope(|scope| {
            for number in 0..THREADS {
                let work = &work;
                scope.spawn(move || {
                    let netns = NetNs::create_anonymous().unwrap();
                    (0..rounds).for_each(|_| work(number, &netns));
                });
            }
        });
    }

    fn cycle(&self, number: usize, netns: &NetNs) {
        let attachment = self.world.host.attach(netns, &self.wanted(number)).unwrap();
        self.world.host.detach(attachment.id()).unwrap();
    }

    fn settles(&self, often: usize, what: &str, work: impl Fn(usize, &NetNs) + Sync) {
        settles(often, &format!("{} times {what}", often * THREADS), |rounds| self.rounds(rounds, &work));
    }
}

/// So many times in each thread, attaches and detaches, and is refused.
fn come_and_go(firewall: Firewall, attached: usize, refused: usize) {
    let bench = Bench::new(firewall);
    bench.settles(attached, "attached and detached", |number, netns| bench.cycle(number, netns));
    bench.settles(refused, "refused for want of a port", |number, netns| {
        let wanted = bench.on_network(number).publish(Publish::tcp(80).at(8080));
        let refused = bench.world.host.attach(netns, &wanted);
        assert!(matches!(refused, Err(Error::PortTaken { .. })), "{refused:?}");
    });
    bench.settles(refused, "refused after the lease", |number, netns| {
        let endpoint = Endpoint::of(&bench.network).link("lo".parse().unwrap());
        let refused = bench.world.host.attach(netns, &container(&format!("c{number}")).on(endpoint));
        assert!(matches!(refused, Err(Error::Links(_))), "{refused:?}");
    });
}

#[test]
fn a_thousand_attaches_and_detaches_leave_a_process_as_it_was_with_nftables() {
    in_private(|| come_and_go(Firewall::Nftables, 125, length(20, 125)));
}

#[test]
fn attaches_and_detaches_leave_a_process_as_it_was_with_iptables() {
    // Fewer than with nftables: each rewrites the rules of all, by four programs.
    in_private_with(&["iptables", "ip6tables"], || {
        come_and_go(Firewall::Iptables, length(3, 125), length(2, 125));
    });
}

#[test]
fn networks_that_come_and_go_leave_a_process_and_its_folders_as_they_were() {
    in_private(|| {
        let bench = Bench::new(Firewall::Nftables);
        let network = Network::bridge("passing".parse().unwrap());
        let own = || {
            let made = bench.world.host.create_network(&network).unwrap();
            bench.world.host.remove_network(made.name()).unwrap();
        };
        // Made and removed by others, and used by this process.
        let netns = NetNs::create_anonymous().unwrap();
        let others = || {
            bench.world.linkspan("network create passing").ok();
            let attached = bench
                .world
                .host
                .attach(&netns, &container("guest").on(Endpoint::new(network.name().clone())));
            bench.world.host.detach(attached.unwrap().id()).unwrap();
            bench.world.linkspan("network rm passing").ok();
        };
        for (work, often, what) in
            [(&own as &dyn Fn(), length(30, 200), "made"), (&others, length(15, 200), "used")]
        {
            settles(often, &format!("{often} networks were {what}"), |rounds| {
                (0..rounds).for_each(|_| work());
            });
        }
    });
}

#[test]
fn commands_that_come_and_go_leave_the_folders_and_the_host_as_they_were() {
    in_private(|| {
        let bench = Bench::new(Firewall::Nftables);
        let _netns = NetNs::create("/run/netns/c").unwrap();
        let cycle = || {
            bench.world.linkspan("attach c --netns /run/netns/c --network net-1 -p 8000:80").ok();
            assert_eq!(bench.world.linkspan("attach d --netns /run/netns/c").code(), Some(1));
            bench.world.linkspan("detach c").ok();
            bench.world.linkspan("run --network net-1 -- true").ok();
        };
        settles(length(25, 1000), "commands came and went", |rounds| (0..rounds).for_each(|_| cycle()));
    });
}
