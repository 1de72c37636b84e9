//! Names in the file system: made whole or not at all, and removed without a trace.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::Command;

use linkspan_netns::{Error, NetNs};
use nix::fcntl::{Flock, FlockArg};
use nix::mount::{MsFlags, mount};

use crate::lab;

#[test]
fn a_pin_keeps_the_namespace_alive() {
    lab::in_private("pin::a_pin_keeps_the_namespace_alive", || {
        let cookie = NetNs::create("/run/a/b/web").unwrap().cookie();
        assert_eq!(NetNs::open("/run/a/b/web").unwrap().cookie(), cookie);
        NetNs::unpin("/run/a/b/web").unwrap();
        assert_eq!(tree("/run"), ["/run/a", "/run/a/b"]);
    });
}

#[test]
fn the_namespace_outlives_its_pin_while_it_is_held() {
    lab::in_private("pin::the_namespace_outlives_its_pin_while_it_is_held", || {
        let netns = NetNs::create("/run/web").unwrap();
        NetNs::unpin("/run/web").unwrap();
        let inside = netns.run(|| NetNs::current().unwrap().cookie()).unwrap();
        assert_eq!(inside, netns.cookie());
    });
}

#[test]
fn an_anonymous_namespace_can_be_pinned_later_and_twice() {
    lab::in_private("pin::an_anonymous_namespace_can_be_pinned_later_and_twice", || {
        let netns = NetNs::create_anonymous().unwrap();
        assert_eq!(netns.place(), None);
        for path in ["/run/one", "/run/two"] {
            let pinned = netns.pin(path).unwrap();
            assert_eq!(pinned.place().unwrap().find().unwrap().unwrap().cookie(), netns.cookie());
        }
        NetNs::unpin("/run/one").unwrap();
        assert_eq!(NetNs::open("/run/two").unwrap().cookie(), netns.cookie());
    });
}

#[test]
fn a_taken_path_is_refused_and_left_alone() {
    lab::in_private("pin::a_taken_path_is_refused_and_left_alone", || {
        fs::write("/run/file", "kept").unwrap();
        symlink("/run/nowhere", "/run/link").unwrap();
        let cookie = NetNs::create("/run/web").unwrap().cookie();
        let before = tree("/run");
        for path in ["/run/file", "/run/link", "/run/web", "/run"] {
            let refusal = NetNs::create(path).unwrap_err();
            assert_eq!(refusal.to_string(), format!("`{path}` exists"));
        }
        assert!(matches!(NetNs::create("/"), Err(Error::Exists { .. })));
        assert_eq!(tree("/run"), before);
        assert_eq!(fs::read("/run/file").unwrap(), b"kept");
        assert_eq!(NetNs::open("/run/web").unwrap().cookie(), cookie);
    });
}

#[test]
fn a_refusal_on_the_way_leaves_no_folder() {
    lab::in_private("pin::a_refusal_on_the_way_leaves_no_folder", || {
        let long = "x".repeat(300);
        for path in ["/run/a/b/".to_owned() + &long, format!("/run/c/{long}/web")] {
            let refusal = NetNs::create(&path).unwrap_err();
            assert!(matches!(refusal, Error::Pin { path: named, .. } if named == Path::new(&path)));
            assert_eq!(tree("/run"), [""; 0]);
        }
        fs::write("/run/file", "").unwrap();
        assert!(matches!(NetNs::create("/run/file/web"), Err(Error::Pin { .. })));
        assert_eq!(tree("/run"), ["/run/file"]);
    });
}

#[test]
fn a_refused_mount_leaves_no_file_and_no_folder() {
    lab::without_mounts("pin::a_refused_mount_leaves_no_file_and_no_folder", || {
        let folder = std::env::temp_dir().join(format!("linkspan-netns-{}", std::process::id()));
        fs::create_dir(&folder).unwrap();
        let refusal = NetNs::create(folder.join("a/b/web")).unwrap_err();
        let left = tree(folder.to_str().unwrap());
        fs::remove_dir_all(&folder).unwrap();
        assert!(matches!(refusal, Error::Pin { .. }), "{refusal}");
        assert_eq!(left, [""; 0]);
    });
}

#[test]
fn removing_what_is_gone_is_fine() {
    lab::in_private("pin::removing_what_is_gone_is_fine", || {
        fs::write("/run/file", "").unwrap();
        for path in ["/run/web", "/run/no/folder", "/run/file/web"] {
            NetNs::unpin(path).unwrap();
            NetNs::unpin(path).unwrap();
        }
        NetNs::create("/run/web").unwrap();
        NetNs::unpin("/run/web").unwrap();
        NetNs::unpin("/run/web").unwrap();
        assert_eq!(tree("/run"), ["/run/file"]);
    });
}

#[test]
fn the_empty_file_of_a_killed_pin_is_removed() {
    lab::in_private("pin::the_empty_file_of_a_killed_pin_is_removed", || {
        fs::write("/run/web", "").unwrap();
        NetNs::unpin("/run/web").unwrap();
        NetNs::create("/run/web").unwrap();
    });
}

#[test]
fn what_is_no_pin_is_not_removed() {
    lab::in_private("pin::what_is_no_pin_is_not_removed", || {
        NetNs::create("/run/web").unwrap();
        fs::write("/run/file", "kept").unwrap();
        symlink("/run/web", "/run/link").unwrap();
        fs::create_dir("/run/folder").unwrap();
        let before = tree("/run");
        for path in ["/run/file", "/run/link", "/run/folder", "/run", "/proc/self/ns/net"] {
            let refusal = NetNs::unpin(path).unwrap_err();
            assert_eq!(refusal.to_string(), format!("`{path}` is not a pin"));
        }
        assert_eq!(tree("/run"), before);
        assert!(NetNs::open("/run/web").is_ok());
    });
}

#[test]
fn a_pin_doubled_by_a_mount_over_it_is_removed_whole() {
    lab::in_private("pin::a_pin_doubled_by_a_mount_over_it_is_removed_whole", || {
        let netns = NetNs::create("/run/web").unwrap();
        bind("/run/web", "/run/web");
        assert_eq!(lab::mounts("self", Path::new("/run/web")).len(), 2);
        NetNs::unpin("/run/web").unwrap();
        assert_eq!(lab::mounts("self", Path::new("/run/web")).len(), 0);
        assert_eq!(tree("/run"), [""; 0]);
        drop(netns);
    });
}

#[test]
fn a_namespace_is_unpinned_from_where_it_is_and_another_stays_where_it_was() {
    lab::in_private("pin::a_namespace_is_unpinned_from_where_it_is_and_another_stays_where_it_was", || {
        let first = NetNs::create("/run/web").unwrap();
        NetNs::unpin("/run/web").unwrap();
        let second = NetNs::create("/run/web").unwrap();
        first.unpin_from("/run/web").unwrap();
        assert_eq!(NetNs::open("/run/web").unwrap().cookie(), second.cookie());
        bind("/run/web", "/run/web");
        second.unpin_from("/run/web").unwrap();
        assert_eq!(tree("/run"), [""; 0]);
        second.unpin_from("/run/web").unwrap();
        fs::write("/run/file", "kept").unwrap();
        assert!(matches!(second.unpin_from("/run/file"), Err(Error::NotAPin { .. })));
    });
}

#[test]
fn who_holds_the_lock_of_the_shared_folder_keeps_nobody_for_ever() {
    lab::in_private("pin::who_holds_the_lock_of_the_shared_folder_keeps_nobody_for_ever", || {
        fs::create_dir("/run/netns").unwrap();
        let folder = fs::File::open("/run/netns").unwrap();
        let lock = Flock::lock(folder, FlockArg::LockExclusiveNonblock).unwrap();
        let refusal = NetNs::create("/run/netns/web").unwrap_err();
        assert_eq!(refusal.to_string(), "somebody else holds the lock of `/run/netns`");
        assert_eq!(tree("/run"), ["/run/netns"]);
        drop(lock);
        NetNs::create("/run/netns/web").unwrap();
    });
}

#[test]
fn of_many_that_make_one_pin_one_succeeds_and_all_may_remove_it() {
    lab::in_private("pin::of_many_that_make_one_pin_one_succeeds_and_all_may_remove_it", || {
        for _ in 0..10 {
            let made = in_parallel(|| match NetNs::create("/run/netns/web") {
                Ok(_) => true,
                Err(Error::Exists { .. }) => false,
                Err(other) => panic!("{other:?}"),
            });
            assert_eq!(made.into_iter().filter(|made| *made).count(), 1);
            in_parallel(|| NetNs::unpin("/run/netns/web").unwrap());
            assert_eq!(tree("/run"), ["/run/netns"]);
        }
        assert_eq!(lab::mounts("self", Path::new("/run/netns")).len(), 1);
    });
}

fn in_parallel<T: Send>(work: impl Fn() -> T + Sync) -> Vec<T> {
    std::thread::scope(|scope| {
        let threads: Vec<_> = (0..8).map(|_| scope.spawn(&work)).collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    })
}

#[test]
fn copies_in_other_mount_namespaces_go_with_the_pin() {
    lab::in_private("pin::copies_in_other_mount_namespaces_go_with_the_pin", || {
        NetNs::create("/run/web").unwrap();
        let mut other = Command::new("unshare")
            .args(["--mount", "--propagation", "private", "sleep", "100"])
            .spawn()
            .unwrap();
        let process = other.id().to_string();
        lab::eventually("the other mount namespace has its copy", || {
            fs::read_to_string(format!("/proc/{process}/comm")).unwrap() == "sleep\n"
        });
        assert_eq!(lab::mounts(&process, Path::new("/run/web")).len(), 1);
        NetNs::unpin("/run/web").unwrap();
        assert_eq!(lab::mounts(&process, Path::new("/run/web")).len(), 0);
        other.kill().unwrap();
        other.wait().unwrap();
    });
}

#[test]
fn ip_netns_shares_its_folder_with_us() {
    lab::in_private("pin::ip_netns_shares_its_folder_with_us", || {
        if Command::new("ip").arg("-V").output().is_err() {
            return lab::skip("`ip` is not installed");
        }
        let ours = NetNs::create("/run/netns/ours").unwrap();
        ip(&["netns", "add", "theirs"]);
        assert_eq!(lab::mounts("self", Path::new("/run/netns/ours")).len(), 1);
        assert!(NetNs::open("/run/netns/theirs").is_ok());
        NetNs::unpin("/run/netns/theirs").unwrap();
        ip(&["netns", "del", "ours"]);
        assert!(ours.place().unwrap().find().unwrap().is_none());
        assert_eq!(tree("/run"), ["/run/netns"]);
    });
}

#[test]
fn only_the_folder_of_ip_netns_becomes_a_mount() {
    lab::in_private("pin::only_the_folder_of_ip_netns_becomes_a_mount", || {
        NetNs::create("/run/other/web").unwrap();
        NetNs::create("/run/netns/web").unwrap();
        assert_eq!(lab::mounts("self", Path::new("/run/other")).len(), 0);
        let folder = lab::mounts("self", Path::new("/run/netns"));
        assert!(folder.len() == 1 && folder[0].contains(" shared:"), "{folder:?}");
    });
}

fn ip(arguments: &[&str]) {
    assert!(Command::new("ip").args(arguments).status().unwrap().success(), "ip {arguments:?}");
}

fn bind(source: &str, target: &str) {
    mount(Some(source), target, None::<&str>, MsFlags::MS_BIND, None::<&str>).unwrap();
}

/// Lists everything below a folder, sorted.
fn tree(folder: &str) -> Vec<String> {
    let mut paths = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let entry = entry.unwrap();
        let path = entry.path().to_str().unwrap().to_owned();
        if entry.file_type().unwrap().is_dir() {
            paths.extend(tree(&path));
        }
        paths.push(path);
    }
    paths.sort();
    paths
}
