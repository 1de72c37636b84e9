//! Disks that are full and folders that nobody can write to: nothing is begun there, and all can be freed.

use crate::private::in_private;
use crate::program::tool;
use crate::snapshot::Snapshot;
use crate::world::{Case, World};
use linkspan::NetNs;
use std::fs::{self, File};
use std::io::Write;

const FOLDERS: [&str; 2] = ["/run/linkspan", "/var/lib/linkspan"];

/// What makes something. No id begins like `y`: what is not there may be the beginning of one that is.
const MAKING: [&str; 3] = [
    "attach y --netns /run/netns/y",
    "attach y --netns /run/netns/y --network web -p 8080:80",
    "network create other",
];

/// A host whose folders are small disks of their own, with two containers on a network.
fn world() -> (World, [NetNs; 3]) {
    let world = World::new(Case::USUAL);
    for folder in FOLDERS {
        fs::create_dir_all(folder).unwrap();
        tool(&format!("mount -t tmpfs -o size=64k,mode=700 tmpfs {folder}"));
    }
    let netns = ["a", "y", "c"].map(|name| NetNs::create(format!("/run/netns/{name}")).unwrap());
    world.linkspan("network create web --subnet 10.88.0.0/24 --subnet fd88::/64").ok();
    for name in ["a", "c"] {
        world.linkspan(&format!("attach {name} --netns /run/netns/{name} --network web -p 80")).ok();
    }
    // The lock files are there from here on.
    for line in MAKING {
        world.linkspan(line).ok();
        world.linkspan("detach y").ok();
    }
    world.linkspan("network rm other").ok();
    (world, netns)
}

/// Fills a disk to its last byte.
fn fill(folder: &str) {
    let mut file = File::create(format!("{folder}/.fill.lock")).unwrap();
    while file.write_all(&[0; 4096]).is_ok() {}
    assert!(file.write_all(&[0; 4096]).is_err());
}

fn drain(folder: &str) {
    fs::remove_file(format!("{folder}/.fill.lock")).unwrap();
}

/// Each is refused in one line that names the folder and says why, and changes nothing.
#[track_caller]
fn are_refused(world: &World, lines: &[&str], folder: &str, why: &str) {
    let before = Snapshot::take();
    for line in lines {
        let ran = world.linkspan(line);
        let told = ran.err.contains(folder) && ran.err.contains(why) && ran.err.lines().count() == 1;
        assert!(ran.code() == Some(1) && told, "{folder}: {line}: {ran}");
    }
    before.assert_unchanged(&format!("refusals with {folder}"));
}

#[test]
fn nothing_is_begun_on_a_full_disk() {
    in_private(|| {
        let (world, _netns) = world();
        let full = "No space left on device";
        fill(FOLDERS[0]);
        are_refused(&world, &MAKING, FOLDERS[0], full);
        drain(FOLDERS[0]);
        fill(FOLDERS[1]);
        // The network is up, so that attaching to it writes nothing there.
        are_refused(&world, &[MAKING[0], MAKING[2], "detach --keep-address a"], FOLDERS[1], full);
        for line in ["ps", "network ls", "doctor", "reconcile", "gc", "inspect a", "port a"] {
            world.linkspan(line).ok();
        }
        drain(FOLDERS[1]);
    });
}

#[test]
fn nothing_is_changed_where_a_folder_is_read_only() {
    in_private(|| {
        let (world, _netns) = world();
        let changing = |folder: usize| match folder {
            0 => {
                vec![MAKING[0], MAKING[1], MAKING[2], "detach a", "network rm --force web", "gc", "reconcile"]
            }
            _ => vec![MAKING[0], MAKING[2], "detach --keep-address a", "network rm --force web", "gc"],
        };
        for (number, folder) in FOLDERS.into_iter().enumerate() {
            tool(&format!("mount -o remount,bind,ro {folder}"));
            are_refused(&world, &changing(number), folder, "Read-only file system");
            for line in ["ps", "network ls"] {
                world.linkspan(line).ok();
            }
            tool(&format!("mount -o remount,bind,rw {folder}"));
        }
    });
}

#[test]
fn all_can_be_freed_though_every_disk_is_full() {
    in_private(|| {
        let (world, [a, _y, c]) = world();
        world.linkspan("network create other").ok();
        FOLDERS.into_iter().for_each(fill);
        NetNs::unpin("/run/netns/c").unwrap();
        drop(c);
        assert!(world.linkspan("gc").ok().contains("detach `c` "));
        assert_eq!(world.linkspan("detach a").ok(), "a\n");
        world.linkspan("network rm other").ok();
        world.linkspan("network rm web").ok();
        a.run(|| assert!(!tool("ip -br link show").contains("eth0"))).unwrap();
        let links = tool("ip -br link show");
        assert!(!links.contains("ls-") && !links.contains("vethls"), "{links}");
        FOLDERS.into_iter().for_each(drain);
        let files = tool("find /run/linkspan /var/lib/linkspan -type f -not -name *.lock");
        assert_eq!(files, "");
        assert_eq!(world.linkspan("gc").ok(), "nothing to remove\n");
    });
}
