//! Files that were damaged are named, with a way forward, and never begun anew while they say who has what.

use crate::answer::Answer;
use crate::length::length;
use crate::private::in_private;
use crate::program::{Ran, tool};
use crate::snapshot::Snapshot;
use crate::world::{Case, World};
use linkspan::NetNs;
use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, Permissions};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

/// What becomes of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Damage {
    Emptied,
    CutInHalf,
    Overwritten,
    /// One bit is another.
    Flipped,
    /// More than is ever read.
    Huge,
    /// A folder stands in its place.
    Folder,
    /// A FIFO does, which nobody writes to.
    Fifo,
    /// A symbolic link does, to a file of others.
    Link,
    /// Its permissions are taken, which root does not need.
    Closed,
}

impl Damage {
    const ALL: [Self; 9] = [
        Self::Emptied,
        Self::Folder,
        Self::Overwritten,
        Self::Link,
        Self::CutInHalf,
        Self::Huge,
        Self::Flipped,
        Self::Fifo,
        Self::Closed,
    ];
    /// Those that are of the content alone.
    const OF_CONTENT: [Self; 3] = [Self::Emptied, Self::CutInHalf, Self::Overwritten];

    fn happen(self, path: &str) {
        let whole = fs::read(path).unwrap_or_default();
        let third = whole.len() / 3;
        clear(path);
        match self {
            Self::Emptied => fs::write(path, "").unwrap(),
            Self::CutInHalf => fs::write(path, &whole[..whole.len() / 2]).unwrap(),
            Self::Overwritten => fs::write(path, b"\x00\xff{{{\n").unwrap(),
            Self::Flipped => {
                let flip = |(at, byte): (usize, u8)| if at == third { byte ^ 0x40 } else { byte };
                fs::write(path, whole.into_iter().enumerate().map(flip).collect::<Vec<_>>()).unwrap();
            }
            Self::Huge => fs::File::create(path).unwrap().set_len(65 << 20).unwrap(),
            Self::Folder => fs::create_dir(path).unwrap(),
            Self::Fifo => drop(tool(&format!("mkfifo {path}"))),
            Self::Link => symlink("/etc/hostname", path).unwrap(),
            Self::Closed => {
                fs::write(path, whole).unwrap();
                fs::set_permissions(path, Permissions::from_mode(0o000)).unwrap();
            }
        }
    }
}

/// Removes whatever stands there.
fn clear(path: &str) {
    let _ = fs::remove_dir(path).or_else(|_| fs::remove_file(path));
}

/// One container on a network of its own, which keeps an address for another, and the files that tell of them.
struct Scene {
    world: World,
    _netns: NetNs,
    attachment: String,
    network: String,
}

impl Scene {
    fn new() -> Self {
        let world = World::new(Case::USUAL);
        world.linkspan("network create web --subnet 10.88.0.0/24").ok();
        let attach = |name: &str, options: &str| {
            let netns = NetNs::create(format!("/run/netns/{name}")).unwrap();
            world.linkspan(&format!("attach {name} --netns /run/netns/{name} --network web {options}")).ok();
            netns
        };
        let netns = attach("a", "-p 8000:80");
        attach("kept", "");
        world.linkspan("detach --keep-address kept").ok();
        let attachment = world.host.find("a").unwrap().id().to_string();
        let network = world.host.networks().unwrap()[0].id().to_string();
        Self { world, _netns: netns, attachment, network }
    }

    /// Those that tell something; all but the last are written anew by `reconcile`.
    fn files(&self) -> [String; 7] {
        [
            "/run/linkspan/host".to_owned(),
            "/run/linkspan/claims".to_owned(),
            format!("/run/linkspan/leases/{}", self.network),
            format!("/var/lib/linkspan/reservations/{}", self.network),
            format!("/run/linkspan/up/network-{}", self.network),
            "/var/lib/linkspan/networks/web".to_owned(),
            format!("/run/linkspan/attachments/{}", self.attachment),
        ]
    }

    /// Those that operations lock, and two that a killed process left.
    fn others(&self) -> [String; 8] {
        [
            "/run/linkspan/locks/.host.lock".to_owned(),
            "/run/linkspan/.claims.lock".to_owned(),
            format!("/run/linkspan/leases/.{}.lock", self.network),
            format!("/run/linkspan/locks/.network-{}.lock", self.network),
            "/var/lib/linkspan/.networks.lock.lock".to_owned(),
            "/var/lib/linkspan/.reservations.lock.lock".to_owned(),
            "/run/linkspan/pending/00c0ffee00c0ffee".to_owned(),
            "/run/linkspan/pending/network-00c0ffee00c0".to_owned(),
        ]
    }

    /// Attaches other containers, which want one thing each that the first one has.
    fn rivals(&self) -> [Ran; 3] {
        let _netns = NetNs::create("/run/netns/b").unwrap();
        let lines = ["b --network web --ip 10.88.0.2", "b --network web -p 8000:80", "a --network web"];
        let ran = lines.map(|line| self.world.linkspan(&format!("attach --netns /run/netns/b {line}")));
        NetNs::unpin("/run/netns/b").unwrap();
        ran
    }

    /// Every command that can be asked again and again: what it makes is taken away once the file is whole.
    fn ask(&self, path: &str, damage: Damage, answers: &BTreeMap<&str, Answer>) {
        for line in CHANGING.into_iter().chain(LOOKING) {
            let whole = fs::read(path).ok();
            let before = state();
            damage.happen(path);
            let ran = self.world.linkspan(line);
            let what = format!("{path} {damage:?}: {line}");
            is_answer(&ran, path, &what);
            if damage == Damage::Closed {
                mode(path, 0o600);
            } else {
                clear(path);
                whole.iter().for_each(|whole| fs::write(path, whole).unwrap());
            }
            match answers.get(line) {
                _ if ran.code() == Some(1) => assert_eq!(state(), before, "{what}: {ran}"),
                Some(answer) => {
                    assert_eq!(state(), before, "{what}: {ran}");
                    let said = [&*ran.out, &*ran.err].iter().any(|text| names(text, path));
                    assert!(said || Answer::of(&ran) == *answer, "{what}: not {answer:?}, but {ran}");
                }
                None => self.take_back(line, &what),
            }
        }
    }

    /// Takes away what a line made, and looks whether it could be made.
    fn take_back(&self, line: &str, what: &str) {
        if line.starts_with("attach") {
            let address = self.world.host.find("b").unwrap().endpoints()[0].address().addr().to_string();
            assert!(!["10.88.0.2", "10.88.0.3"].contains(&&*address), "{what}: {address}");
            self.world.linkspan("detach b").ok();
        } else {
            assert_eq!(line, "network create other", "{what} is done though `a` is on the network");
            self.world.linkspan("network rm other").ok();
        }
    }

    /// What is said where no file is damaged.
    fn answers(&self) -> BTreeMap<&'static str, Answer> {
        let answer = |line| {
            let ran = self.world.linkspan(line);
            assert_eq!(ran.code(), Some(0), "{line}: {ran}");
            (line, Answer::of(&ran))
        };
        LOOKING.into_iter().map(answer).collect()
    }
}

/// Those that make or take away something.
const CHANGING: [&str; 6] = [
    "attach b --netns /run/netns/b --network web",
    "attach b --netns /run/netns/b --network web --ip 10.88.0.2",
    "attach b --netns /run/netns/b --network web --ip 10.88.0.3",
    "attach b --netns /run/netns/b",
    "network create other",
    "network rm web",
];

/// Those that change nothing, whatever they say.
const LOOKING: [&str; 9] = [
    "plan attach b --netns /run/netns/b --network web",
    "network ls --json",
    "network inspect web",
    "ps",
    "inspect a",
    "port a",
    "plan gc",
    "plan reconcile",
    "explain a host",
];

/// The names of the links and of the files, but for locks.
fn state() -> BTreeSet<String> {
    let links = tool("ip -br link show");
    let links = links.lines().filter_map(|line| line.split_whitespace().next()).map(str::to_owned);
    let files = tool("find /run/linkspan /var/lib/linkspan -not -name *.lock");
    let files: Vec<_> = files.lines().map(str::to_owned).collect();
    links.chain(files).collect()
}

/// It works, or is refused in one line that names the file, or because the first container has what is wanted.
#[track_caller]
fn is_answer(ran: &Ran, path: &str, what: &str) {
    let last = ran.err.lines().last().unwrap_or_default();
    let held = ["taken by", "kept for", "in use by"].iter().any(|why| last.contains(why));
    let refused = ran.code() == Some(1) && (names(last, path) || held);
    assert!(ran.code() == Some(0) || refused, "{what}: {ran}");
}

/// Whether a text names a file, or the one that it is the lock of: a lock says how long that is.
fn names(text: &str, path: &str) -> bool {
    let lock = path.rsplit_once("/.").and_then(|(folder, lock)| Some((folder, lock.strip_suffix(".lock")?)));
    text.contains(path) || lock.is_some_and(|(folder, of)| text.contains(&format!("{folder}/{of}")))
}

/// Whether it is refused because the first container has it.
fn is_held(ran: &Ran) -> bool {
    ran.code() == Some(1) && ["taken by", "published by"].iter().any(|why| ran.err.contains(why))
}

/// Whether it is refused in one line that names the file.
fn is_told(ran: &Ran, path: &str) -> bool {
    ran.code() == Some(1) && ran.err.contains(path) && ran.err.lines().count() == 1
}

/// Plays each scene on one of two threads, each on a host of its own.
fn by_twos<T: Sync>(cases: &[T], play: impl Fn(&T) + Sync) {
    let next = AtomicUsize::new(0);
    let work = || {
        while let Some(case) = cases.get(next.fetch_add(1, Ordering::Relaxed)) {
            play(case);
        }
    };
    thread::scope(|scope| [scope.spawn(work), scope.spawn(work)].map(|thread| thread.join().unwrap()));
}

/// Every one of the damages, or in the short form a few for each file, others for the next.
fn damages(file: usize) -> Vec<Damage> {
    let all = Damage::ALL;
    let few = length(3, all.len());
    (0..few).map(|nth| all[(file * few + nth) % all.len()]).collect()
}

#[test]
fn whatever_happens_to_a_file_every_command_works_or_names_it_and_changes_nothing() {
    in_private(|| {
        by_twos(&[0, 1, 2, 3, 4], |part: &usize| {
            let scene = Scene::new();
            let netns = NetNs::create("/run/netns/b").unwrap();
            // It stays, and would be planned before the first one alone.
            netns.run(|| tool("ip link set lo up")).unwrap();
            let answers = scene.answers();
            let files = [&scene.files()[..], &scene.others()[..]].concat();
            for (file, path) in files.iter().enumerate().filter(|(file, _)| file % 5 == *part) {
                damages(file).into_iter().for_each(|damage| scene.ask(path, damage, &answers));
            }
        });
    });
}

#[test]
fn whatever_happens_to_a_file_there_is_a_way_to_leave_nothing() {
    const LINES: [&str; 6] = [
        "detach a",
        "detach --keep-address a",
        "network rm --force web",
        "network release web 10.88.0.3",
        "gc",
        "reconcile",
    ];
    let cases: Vec<_> = (0..15_usize)
        .flat_map(|file| LINES.into_iter().enumerate().map(move |(nth, line)| (file, nth, line)))
        .filter(|(file, nth, _)| length((file + nth) % 3 == 0, true))
        .collect();
    in_private(|| {
        by_twos(&cases, |(file, nth, line)| {
            let scene = Scene::new();
            let (files, others) = (scene.files(), scene.others());
            let path = files.iter().chain(&others).nth(*file).unwrap();
            let damage = Damage::ALL[(file + nth) % Damage::ALL.len()];
            damage.happen(path);
            let (before, what) = (state(), format!("{path} {damage:?}: {line}"));
            let ran = scene.world.linkspan(line);
            match ran.code() {
                Some(0) => {}
                Some(1) => {
                    is_answer(&ran, path, &what);
                    assert_eq!(state(), before, "{what}: {ran}");
                }
                // Removal goes on after a failure, and names what stayed.
                code => assert!(code == Some(3) && ran.err.contains(path), "{what}: {ran}"),
            }
            if matches!(damage, Damage::Folder | Damage::Fifo | Damage::Link) {
                clear(path);
            }
            // What the remedies say, whichever it was.
            for line in ["reconcile", "gc", "reconcile", "detach a", "network rm --force web", "gc"] {
                let _ = scene.world.linkspan(line);
            }
            let left: Vec<_> = state().into_iter().filter(|name| !before.contains(name)).collect();
            assert!(left.is_empty(), "{what}: {left:?}");
            let links = tool("ip -br link show");
            assert!(!links.contains("ls-") && !links.contains("vethls"), "{what}: {links}");
            assert_eq!(scene.world.linkspan("gc").ok(), "nothing to remove\n", "{what}");
            assert!(scene.world.linkspan("network ls --json").ok().contains("\"none\""));
        });
    });
}

#[test]
fn a_folder_that_cannot_be_trusted_is_named_by_every_command() {
    in_private(|| {
        let scene = Scene::new();
        let before = state();
        let folders = ["/run/linkspan", "/var/lib/linkspan"].into_iter().flat_map(|root| {
            let parts = match root {
                "/run/linkspan" => &["", "/attachments", "/pending", "/warm", "/up", "/leases", "/locks"][..],
                _ => &["", "/networks", "/reservations"][..],
            };
            parts.iter().map(move |part| format!("{root}{part}"))
        });
        let told = |folder: &str, why: &str| {
            for line in
                ["ps", "network ls", "attach b --netns /run/netns/a", "gc", "reconcile", "doctor", "detach a"]
            {
                let ran = scene.world.linkspan(line);
                assert!(is_told(&ran, folder) && ran.err.contains(why), "{folder}: {line}: {ran}");
            }
        };
        for folder in folders {
            mode(&folder, 0o777);
            told(&folder, "is writable by others");
            mode(&folder, 0o700);
            let aside = format!("{folder}.aside");
            fs::rename(&folder, &aside).unwrap();
            fs::write(&folder, "").unwrap();
            told(&folder, "is not a folder");
            fs::remove_file(&folder).unwrap();
            fs::rename(aside, folder).unwrap();
        }
        assert_eq!(state(), before);
    });
}

fn mode(path: &str, mode: u32) {
    fs::set_permissions(path, Permissions::from_mode(mode)).unwrap();
}

#[test]
fn what_was_known_of_a_network_by_two_damaged_files_is_removed_step_by_step() {
    in_private(|| {
        let scene = Scene::new();
        let (definition, up) = (&scene.files()[5], &scene.files()[4]);
        [definition, up].iter().for_each(|path| fs::write(path, "").unwrap());
        assert!(is_told(&scene.world.linkspan("reconcile"), definition));
        let ran = scene.world.linkspan("network rm web");
        assert!(ran.code() == Some(1) && ran.err.contains("in use by `a`"), "{ran}");
        scene.world.linkspan("network rm --force web").ok();
        let ran = scene.world.linkspan("reconcile");
        assert!(is_told(&ran, up) && ran.err.contains("gc removes it where it is not"), "{ran}");
        let said = scene.world.linkspan("gc").ok();
        assert!(said.contains("delete bridge ls-") && said.contains(up.as_str()), "{said}");
        assert!(!tool("ip -br link show").contains("ls-"));
        assert_eq!(scene.world.linkspan("gc").ok(), "nothing to remove\n");
    });
}

#[test]
fn claims_and_a_record_that_are_both_damaged_are_put_right_by_gc_and_then_by_reconcile() {
    in_private(|| {
        let scene = Scene::new();
        let (claims, record) = (&scene.files()[1], &scene.files()[6]);
        [claims, record].iter().for_each(|path| fs::write(path, "").unwrap());
        assert!(is_told(&scene.world.linkspan("reconcile"), record));
        let ran = scene.world.linkspan("gc");
        assert!(
            ran.code() == Some(0) && ran.out.contains(record.as_str()) && ran.err.contains(claims),
            "{ran}"
        );
        assert_eq!(scene.world.linkspan("reconcile").ok(), format!("rebuild {claims}\n"));
        scene.world.linkspan("attach a --netns /run/netns/a --network web -p 8000:80").ok();
        scene.world.linkspan("detach a").ok();
        assert_eq!(scene.world.linkspan("gc").ok(), "nothing to remove\n");
    });
}

#[test]
fn reconcile_writes_anew_what_other_files_tell() {
    in_private(|| {
        let scene = Scene::new();
        for path in &scene.files()[..6] {
            for damage in Damage::OF_CONTENT {
                damage.happen(path);
                let said = scene.world.linkspan("reconcile").ok();
                let told = said.contains(&format!("rebuild {path}\n"));
                assert!(told, "{path}: {said}");
                assert_eq!(scene.world.linkspan("reconcile").ok(), "the host is as the records say\n");
                assert!(scene.rivals().iter().all(is_held), "{path}");
            }
        }
        scene.world.linkspan("detach a").ok();
        scene.world.linkspan("network rm --force web").ok();
        assert!(!tool("ip link show").contains("ls-"));
    });
}

#[test]
fn reconcile_writes_anew_what_was_removed_of_who_has_what() {
    in_private(|| {
        let scene = Scene::new();
        for path in &[0, 1, 2, 5].map(|file: usize| scene.files()[file].clone()) {
            fs::remove_file(path).unwrap();
            assert!(is_told(&scene.world.linkspan("plan reconcile"), path), "{path}");
            assert_eq!(scene.world.linkspan("reconcile").ok(), format!("rebuild {path}\n"));
            assert_eq!(scene.world.linkspan("reconcile").ok(), "the host is as the records say\n");
            assert!(scene.rivals().iter().all(is_held), "{path}");
        }
    });
}

#[test]
fn a_network_whose_definition_is_gone_is_there_and_can_be_removed() {
    in_private(|| {
        let scene = Scene::new();
        let world = &scene.world;
        fs::remove_file(&scene.files()[5]).unwrap();
        assert!(world.linkspan("network ls").ok().contains("10.88.0.0/24"));
        let ran = world.linkspan("network create web");
        assert!(ran.code() == Some(1) && ran.err.contains("web"), "{ran}");
        let ran = world.linkspan("network rm web");
        assert!(ran.code() == Some(1) && ran.err.contains("in use by `a`"), "{ran}");
        assert_eq!(world.linkspan("network release web 10.88.0.3").ok(), "10.88.0.3\n");
        world.linkspan("network rm --force web").ok();
        assert!(!tool("ip link show").contains("ls-"));
        assert_eq!(world.linkspan("gc").ok(), "nothing to remove\n");
    });
}

#[test]
fn what_only_a_damaged_file_tells_is_removed_when_it_is_said() {
    in_private(|| {
        let Scene { world, attachment, .. } = &Scene::new();
        world.linkspan("network release web 10.88.0.3").ok();
        let path = format!("/run/linkspan/attachments/{attachment}");
        let whole = fs::read_to_string(&path).unwrap();
        let first_line = whole.split_inclusive('\n').next().unwrap();
        for cut in [first_line, ""] {
            fs::write(&path, cut).unwrap();
            for line in [
                "ps",
                "inspect a",
                "detach a",
                "network rm web",
                "attach a --netns /run/netns/a --network web",
            ] {
                let ran = world.linkspan(line);
                assert!(is_told(&ran, &path) && ran.err.contains("gc removes it"), "{line}: {ran}");
            }
        }
        let said = world.linkspan("gc").ok();
        assert!(said.contains("delete veth") && said.contains(&path), "{said}");
        assert!(!tool("ip link show").contains("vethls"));
        fs::write("/var/lib/linkspan/networks/web", "").unwrap();
        let ran = world.linkspan("network ls");
        assert!(is_told(&ran, "/var/lib/linkspan/networks/web") && ran.err.contains("network rm"), "{ran}");
        world.linkspan("network rm web").ok();
        assert!(world.host.networks().unwrap().is_empty());
        assert!(!tool("ip link show").contains("ls-"));
    });
}

#[test]
fn a_file_of_a_newer_program_is_refused_and_never_removed() {
    in_private(|| {
        let scene = Scene::new();
        for path in &scene.files()[3..] {
            let whole = fs::read_to_string(path).unwrap();
            let (gc, reconcile) = ("gc", "reconcile");
            let lines = if path.contains("reservations") { [reconcile; 2] } else { [gc, reconcile] };
            let newer = whole.replace("\"version\":1", "\"version\":1000");
            fs::write(path, &newer).unwrap();
            for line in lines {
                let ran = scene.world.linkspan(line);
                assert!(is_told(&ran, path) && ran.err.contains("version 1000"), "{path}: {line}: {ran}");
            }
            assert_eq!(fs::read_to_string(path).unwrap(), newer);
            fs::write(path, whole).unwrap();
        }
    });
}

#[test]
fn members_of_a_newer_program_stay_in_a_record() {
    in_private(|| {
        let Scene { world, attachment, .. } = &Scene::new();
        let path = format!("/run/linkspan/attachments/{attachment}");
        let whole = fs::read_to_string(&path).unwrap();
        fs::write(&path, whole.replace("\"leaving\":false", "\"leaving\":false,\"later\":[7]")).unwrap();
        let id = world.host.find("a").unwrap().id();
        world.host.hand_over(id, &NetNs::open("/run/netns/a").unwrap()).unwrap();
        let text = fs::read_to_string(&path).unwrap();
        assert!(text.lines().last().unwrap().contains("\"later\":[7]"), "{text}");
    });
}

#[test]
fn folders_that_cannot_be_written_to_are_told_before_any_change() {
    in_private(|| {
        let world = World::new(Case::USUAL);
        let _netns = NetNs::create("/run/netns/a").unwrap();
        let before = Snapshot::take();
        for folder in ["/run/linkspan", "/var/lib/linkspan"] {
            fs::create_dir_all(folder).unwrap();
            tool(&format!("mount --bind {folder} {folder}"));
            tool(&format!("mount -o remount,ro,bind {folder}"));
            for line in ["network create web", "attach a --netns /run/netns/a"] {
                let ran = world.linkspan(line);
                assert!(is_told(&ran, folder) && ran.err.contains("Read-only file system"), "{line}: {ran}");
            }
            tool(&format!("umount {folder}"));
        }
        before.assert_unchanged("refusals");
    });
}

#[test]
fn a_damaged_record_of_one_container_keeps_no_other_container_or_network() {
    in_private(|| {
        let scene = Scene::new();
        let world = &scene.world;
        let path = &scene.files()[6];
        let attach = |name: &str, network: &str| {
            let netns = NetNs::create(format!("/run/netns/{name}")).unwrap();
            world.linkspan(&format!("attach {name} --netns /run/netns/{name} --network {network}")).ok();
            (netns, world.host.find(name).unwrap().id().to_string())
        };
        world.linkspan("network create other --subnet 10.88.1.0/24").ok();
        let others = [attach("b", "web"), attach("c", "web"), attach("d", "web"), attach("e", "other")];
        fs::write(path, "?").unwrap();
        let before = state();
        let begin = &scene.attachment[..12];
        for wanted in ["a", &scene.attachment, begin, &format!("a nobody {begin}")] {
            let ran = world.linkspan(&format!("detach {wanted}"));
            let last = ran.err.lines().last().unwrap_or_default();
            assert!(ran.code() == Some(1) && ran.out.is_empty() && last.contains(path.as_str()), "{ran}");
        }
        assert_eq!(world.linkspan("detach nobody").ok(), "");
        assert_eq!(state(), before);
        assert_eq!(world.linkspan(&format!("detach {}", others[0].1)).ok(), "b\n");
        assert_eq!(world.linkspan(&format!("detach {}", &others[1].1[..12])).ok(), "c\n");
        let ran = world.linkspan("detach d a");
        assert!(ran.code() == Some(3) && ran.out == "d\n" && ran.err.contains(path.as_str()), "{ran}");
        assert_eq!(world.linkspan("network rm --force other").ok(), "other\n");
        let before = state();
        let ran = world.linkspan("network rm --force web");
        assert!(is_told(&ran, path), "{ran}");
        assert_eq!(state(), before);
        world.linkspan("gc").ok();
        world.linkspan("network rm --force web").ok();
    });
}

#[test]
fn of_several_containers_those_that_went_are_reported_though_one_stayed() {
    in_private(|| {
        let scene = Scene::new();
        let world = &scene.world;
        world.linkspan("network create other --subnet 10.88.1.0/24").ok();
        let _netns = NetNs::create("/run/netns/b").unwrap();
        world.linkspan("attach b --netns /run/netns/b --network other").ok();
        let path = &scene.files()[2];
        fs::write(path, "?").unwrap();
        let ran = world.linkspan("detach --json a b");
        assert!(ran.code() == Some(3) && ran.err.contains(path.as_str()), "{ran}");
        assert!(ran.out.contains("\"name\":\"b\"") && !ran.out.contains("\"name\":\"a\""), "{ran}");
    });
}

#[test]
fn what_a_killed_process_left_and_cannot_be_read_is_told_with_what_mends_it() {
    let check = |path: &str, remedy: Option<&str>, world: &World| {
        let ran = world.linkspan("detach nobody");
        let told = format!("`{path}`, which a killed process left, cannot be read");
        let told = remedy.map_or(told.clone(), |remedy| format!("{told}; {remedy}"));
        assert!(ran.code() == Some(0) && ran.err.lines().any(|line| line.ends_with(&told)), "{told}: {ran}");
    };
    in_private(|| {
        let scene = Scene::new();
        let records = [
            (&scene.files()[6], "/run/linkspan/pending/00c0ffee00c0ffee"),
            (&scene.files()[4], "/run/linkspan/pending/network-00c0ffee00c0"),
        ];
        for (whole, path) in records {
            fs::write(path, "?").unwrap();
            check(path, Some("gc removes it, with the links and rules that it stood for"), &scene.world);
            let newer = fs::read_to_string(whole).unwrap().replace("\"version\":1", "\"version\":1000");
            fs::write(path, newer).unwrap();
            check(path, None, &scene.world);
            clear(path);
            symlink("/etc/hostname", path).unwrap();
            let by_hand = "it is not linkspan's: remove it, and reconcile and gc do the rest";
            check(path, Some(by_hand), &scene.world);
            clear(path);
        }
    });
}
