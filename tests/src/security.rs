//! Nobody else makes us write where we should not, and nobody gets what is ours.

use crate::length::length;
use crate::private::{in_private, in_private_with, skip};
use crate::program::{feed, tool};
use crate::snapshot::Snapshot;
use crate::strace::{inherited, opened};
use crate::traffic::{reaches, serve};
use crate::world::{Case, Family, World};
use linkspan::NetNs;
use std::fs;
use std::os::unix::fs::{PermissionsExt, chown, symlink};
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};

const FOLDERS: [&str; 2] = ["/run/linkspan", "/var/lib/linkspan"];

/// Every folder below has mode 0700 and every file 0600.
fn is_private(path: &Path) {
    let found = fs::symlink_metadata(path).unwrap();
    let expected = if found.is_dir() { 0o700 } else { 0o600 };
    assert_eq!(found.permissions().mode() & 0o7777, expected, "{}", path.display());
    if found.is_dir() {
        fs::read_dir(path).unwrap().for_each(|entry| is_private(&entry.unwrap().path()));
    }
}

#[test]
fn nobody_else_reads_or_writes_our_folders() {
    in_private(|| {
        let world = World::new(Case::USUAL);
        let _netns = NetNs::create("/run/netns/a").unwrap();
        world.linkspan("attach a --netns /run/netns/a -p 8000:80").ok();
        FOLDERS.iter().for_each(|folder| is_private(Path::new(folder)));
    });
}

#[test]
fn what_is_no_namespace_or_our_own_is_refused_and_not_touched() {
    in_private(|| {
        let world = World::new(Case::USUAL);
        symlink("/proc/self/ns/net", "/run/own").unwrap();
        symlink("/run/nowhere", "/run/dangling").unwrap();
        fs::write("/run/file", "mine").unwrap();
        tool("mkfifo /run/fifo");
        let _socket = UnixDatagram::bind("/run/socket").unwrap();
        let before = Snapshot::take();
        for path in [
            "/run/file",
            "/run/fifo",
            "/run/socket",
            "/proc/self/ns/mnt",
            "/proc/self/ns/user",
            "/proc/self/ns/pid",
            "/dev/tty",
            "/run",
            "/run/dangling",
            "/dev/null",
            "/proc/self/ns/uts",
            "/proc/self/ns/net",
            "/run/own",
        ] {
            let ran = world.linkspan(&format!("attach a --netns {path}"));
            assert_eq!((ran.code(), ran.err.lines().count()), (Some(1), 1), "{path}: {ran}");
        }
        before.assert_unchanged("refusals");
    });
}

#[test]
fn a_device_is_not_opened_to_see_whether_it_is_a_namespace() {
    in_private_with(&["strace"], || {
        let world = World::new(Case::USUAL);
        // A watchdog begins to watch, and a tape is rewound, when it is opened.
        let opened = opened(&world, "attach a --netns /dev/zero", "/dev/zero");
        assert!(!opened.is_empty() && opened.iter().all(|line| line.contains("O_PATH")), "{opened:?}");
    });
}

/// A host with a network and a container on it, made anew.
fn begin(world: &World) {
    for folder in FOLDERS {
        fs::remove_file(folder).or_else(|_| fs::remove_dir_all(folder)).ok();
    }
    // Links and rules that nobody has a record of.
    world.linkspan("gc").ok();
    world.linkspan("network create net --subnet 10.88.1.0/24").ok();
    world.linkspan("attach a --netns /run/netns/a --network net -p 8000:80").ok();
}

/// All folders and files that are ours.
fn ours() -> Vec<PathBuf> {
    let mut found: Vec<_> = FOLDERS.iter().map(PathBuf::from).collect();
    let mut next = 0;
    while let Some(path) = found.get(next).cloned() {
        if path.is_dir() {
            found.extend(fs::read_dir(path).unwrap().map(|entry| entry.unwrap().path()));
        }
        next += 1;
    }
    found
}

/// What somebody may put in the place of what is ours.
const STRANGE: [&str; 4] = ["ln -s /run/theirs/file", "ln -s /run/theirs", "mkfifo", "truncate -s 1T"];

/// What is tried then: it comes to an end, and where it is refused it says why.
const TRIED: [&str; 7] = [
    "attach b --netns /run/netns/b --network net",
    "ps",
    "detach a b",
    "gc",
    "reconcile",
    "network create other",
    "network rm --force net",
];

#[test]
fn whatever_stands_in_the_place_of_what_is_ours_is_not_followed_and_keeps_nobody_waiting() {
    in_private(|| {
        let world = World::new(Case::USUAL);
        let _netns = ["a", "b"].map(|name| NetNs::create(format!("/run/netns/{name}")).unwrap());
        fs::create_dir("/run/theirs").unwrap();
        fs::write("/run/theirs/file", "theirs").unwrap();
        begin(&world);
        let number = ours().len();
        assert!(number > 12, "{:?}", ours());
        // Each of them in each place, or one after the other.
        let all = (0..number).flat_map(|place| (0..STRANGE.len()).map(move |strange| (place, strange)));
        let some = all.clone().filter(|(place, strange)| place % STRANGE.len() == *strange);
        for (place, strange) in length(some.collect(), all.collect::<Vec<_>>()) {
            let strange = STRANGE[strange];
            begin(&world);
            let path = ours()[place].clone();
            fs::remove_file(&path).or_else(|_| fs::remove_dir_all(&path)).unwrap();
            tool(&format!("{strange} {}", path.display()));
            for line in TRIED {
                let ran = world.linkspan(line);
                let told = ran.status.success() || !ran.err.is_empty();
                assert!(told && matches!(ran.code(), Some(0 | 1 | 3)), "{strange} {path:?}: {line}: {ran}");
            }
            assert_eq!(fs::read_to_string("/run/theirs/file").unwrap(), "theirs", "{strange} {path:?}");
            assert_eq!(fs::read_dir("/run/theirs").unwrap().count(), 1, "{strange} {path:?}");
        }
    });
}

#[test]
fn a_folder_that_others_can_write_to_is_refused_and_one_that_they_can_read_tells_them_nothing() {
    in_private(|| {
        let world = World::new(Case::USUAL);
        let _netns = NetNs::create("/run/netns/a").unwrap();
        for folder in FOLDERS {
            fs::remove_dir_all(folder).unwrap();
            for mode in [0o777, 0o775, 0o1777, 0o720] {
                fs::create_dir(folder).unwrap();
                fs::set_permissions(folder, PermissionsExt::from_mode(mode)).unwrap();
                let ran = world.linkspan("attach a --netns /run/netns/a");
                assert!(ran.code() == Some(1) && ran.err.contains("writable by others"), "{mode:o}: {ran}");
                assert_eq!(fs::read_dir(folder).unwrap().count(), 0);
                fs::remove_dir(folder).unwrap();
            }
        }
        for folder in FOLDERS {
            fs::remove_dir_all(folder).ok();
            fs::create_dir(folder).unwrap();
            fs::set_permissions(folder, PermissionsExt::from_mode(0o755)).unwrap();
        }
        world.linkspan("attach a --netns /run/netns/a").ok();
        ours().iter().skip(FOLDERS.len()).for_each(|path| is_private(path));
    });
}

#[test]
fn a_folder_of_another_user_is_refused() {
    in_private(|| {
        let world = World::new(Case::USUAL);
        for folder in FOLDERS {
            fs::remove_dir_all(folder).unwrap();
            fs::create_dir(folder).unwrap();
            if chown(folder, Some(65_534), None).is_err() {
                return skip("only root has files of other users");
            }
            let ran = world.linkspan("network ls");
            assert!(ran.code() == Some(1) && ran.err.contains("belongs to user 65534"), "{ran}");
            assert_eq!(fs::read_dir(folder).unwrap().count(), 0);
            fs::remove_dir(folder).unwrap();
        }
    });
}

#[test]
fn every_descriptor_is_closed_in_programs_that_are_run() {
    in_private_with(&["strace"], || {
        let world = World::new(Case::USUAL);
        let _netns = NetNs::create("/run/netns/a").unwrap();
        for line in [
            "attach a --netns /run/netns/a -p 8000:80 -p 8001:81/udp",
            "reconcile",
            "explain a outside",
            "doctor",
            "run -- true",
            "detach a",
            "gc",
        ] {
            let inherited = inherited(&world, line);
            assert!(inherited.is_empty(), "{line}: {inherited:#?}");
        }
    });
}

#[test]
fn programs_that_are_run_get_no_descriptor_of_ours() {
    in_private(|| {
        let world = World::new(Case::USUAL);
        // Whoever runs the tests may have left some open.
        assert_eq!(world.linkspan("run -- ls /proc/self/fd").ok(), tool("ls /proc/self/fd"));
    });
}

#[test]
fn a_file_that_is_too_large_is_refused_by_its_name() {
    in_private(|| {
        let world = World::new(Case::USUAL);
        world.linkspan("network create web").ok();
        let path = "/var/lib/linkspan/networks/web";
        fs::File::options().write(true).open(path).unwrap().set_len(1 << 40).unwrap();
        let ran = world.linkspan("network ls");
        assert!(ran.code() == Some(1) && ran.err.contains(path) && ran.err.contains("larger than"), "{ran}");
    });
}

#[test]
fn a_container_that_has_more_routes_than_anyone_reads_is_mended_on_the_hosts_side() {
    in_private(|| {
        let world = World::new(Case::USUAL);
        let network = world.network(1);
        let [flooded, other] = ["a", "b"].map(|name| world.member(name, &network));
        let route = |n: u32| format!("route add fd00:{:x}:{:x}::/64 dev eth0\n", n >> 16, n & 0xffff);
        let routes = (0..200_000).map(route).collect::<String>();
        flooded.netns().run(|| feed("ip -6 -batch -", &routes)).unwrap();
        for member in [&flooded, &other] {
            tool(&format!("ip link set {} nomaster", member.attachment.endpoints()[0].host_link()));
        }
        let ran = world.linkspan("reconcile");
        assert!(
            ran.code() == Some(3) && ran.err.contains("`a`") && ran.err.contains("more to read than"),
            "{ran}"
        );
        assert!(!ran.err.contains("`b`"), "{ran}");
        assert!(world.linkspan("explain a b").ok().contains("cannot be looked at"));
        assert!(world.linkspan("explain b 10.88.1.99").ok().contains("nobody there has"));
        for member in [&flooded, &other] {
            serve(member.netns(), 80);
            reaches(&world.here, member.at(Family::V4, 80));
        }
        world.linkspan("detach a b").ok();
    });
}
