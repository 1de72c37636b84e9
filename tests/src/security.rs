//! Nobody else makes us write where we should not, and nobody gets what is ours.

use crate::private::in_private;
use crate::program::tool;
use crate::snapshot::Snapshot;
use crate::world::{Case, World};
use linkspan::NetNs;
use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;

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
        ["/run/linkspan", "/var/lib/linkspan"].iter().for_each(|folder| is_private(Path::new(folder)));
    });
}

#[test]
fn what_is_no_namespace_or_our_own_is_refused_and_not_touched() {
    in_private(|| {
        let world = World::new(Case::USUAL);
        symlink("/proc/self/ns/net", "/run/own").unwrap();
        symlink("/run/nowhere", "/run/dangling").unwrap();
        fs::write("/run/file", "mine").unwrap();
        let before = Snapshot::take();
        for path in [
            "/run/file",
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
fn links_in_the_place_of_our_folders_and_files_are_not_followed() {
    in_private(|| {
        let world = World::new(Case::USUAL);
        let _netns = NetNs::create("/run/netns/a").unwrap();
        for (folder, files) in [
            ("/run/linkspan", ["host", "claims", ".claims.lock"]),
            ("/var/lib/linkspan/networks", ["bridge", ".bridge.draft", "x"]),
        ] {
            fs::create_dir_all("/run/theirs").unwrap();
            fs::write("/run/theirs/file", "theirs").unwrap();
            for file in files {
                fs::create_dir_all(folder).unwrap();
                fs::set_permissions(folder, PermissionsExt::from_mode(0o700)).unwrap();
                let place = Path::new(folder).join(file);
                let _ = fs::remove_file(&place);
                symlink("/run/theirs/file", &place).unwrap();
                world.linkspan("attach a --netns /run/netns/a");
                world.linkspan("detach a");
                assert_eq!(fs::read_to_string("/run/theirs/file").unwrap(), "theirs", "{}", place.display());
                fs::remove_file(&place).ok();
            }
            fs::remove_dir_all(folder).unwrap();
            symlink("/run/theirs", folder).unwrap();
            let ran = world.linkspan("attach a --netns /run/netns/a");
            assert!(ran.code() == Some(1) && ran.err.contains(folder), "{folder}: {ran}");
            assert_eq!(fs::read_dir("/run/theirs").unwrap().count(), 1);
            fs::remove_file(folder).unwrap();
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
