//! Which namespace it is, and what is none.

use std::collections::HashMap;
use std::fs::{self, File};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use linkspan_netns::{Cookie, Error, NetNs, Pid};

use crate::lab;

#[test]
fn a_cookie_is_never_given_twice_though_inodes_are() {
    lab::in_private("identity::a_cookie_is_never_given_twice_though_inodes_are", || {
        let mut seen: HashMap<u64, Cookie> = HashMap::new();
        for _ in 0..300 {
            let netns = NetNs::create_anonymous().unwrap();
            let (inode, cookie) = (inode(&netns), netns.cookie());
            assert!(!seen.values().any(|earlier| *earlier == cookie), "cookie {cookie} came twice");
            if seen.insert(inode, cookie).is_some() {
                return;
            }
            drop(netns);
            std::thread::sleep(std::time::Duration::from_millis(5));
        }
        lab::skip("this kernel did not reuse an inode in 300 namespaces");
    });
}

fn inode(netns: &NetNs) -> u64 {
    File::from(netns.as_fd().try_clone_to_owned().unwrap()).metadata().unwrap().ino()
}

#[test]
fn one_namespace_has_one_cookie_however_it_is_found() {
    lab::in_private("identity::one_namespace_has_one_cookie_however_it_is_found", || {
        let created = NetNs::create("/run/netns/web").unwrap();
        let by_path = NetNs::open("/run/netns/web").unwrap();
        let by_fd = NetNs::from_fd(OwnedFd::from(created.try_clone().unwrap())).unwrap();
        assert_eq!(created.cookie(), by_path.cookie());
        assert_eq!(created.cookie(), by_fd.cookie());
        assert_eq!(created.place(), by_path.place());
        assert_eq!(by_fd.place(), None);

        let here = NetNs::current().unwrap();
        let own = Pid::new(std::process::id()).unwrap();
        assert_eq!(here.cookie(), NetNs::of_pid(own).unwrap().cookie());
        assert_ne!(here.cookie(), created.cookie());
    });
}

#[test]
fn the_current_namespace_is_the_one_of_the_thread_that_asks() {
    lab::in_private("identity::the_current_namespace_is_the_one_of_the_thread_that_asks", || {
        let other = NetNs::create_anonymous().unwrap();
        let (cookie, found) = other
            .run(|| {
                let current = NetNs::current().unwrap();
                let by_place = current.place().unwrap().find().unwrap().unwrap();
                (current.cookie(), by_place.cookie())
            })
            .unwrap();
        assert_eq!((cookie, found), (other.cookie(), other.cookie()));
    });
}

#[test]
fn a_file_that_is_no_network_namespace_is_refused() {
    lab::in_private("identity::a_file_that_is_no_network_namespace_is_refused", || {
        fs::write("/run/empty", "").unwrap();
        nix::unistd::mkfifo("/run/fifo", nix::sys::stat::Mode::S_IRWXU).unwrap();
        fs::write("/run/uts", "").unwrap();
        bind("/proc/self/ns/uts", "/run/uts");
        for path in ["/run/empty", "/run/fifo", "/run", "/dev/null", "/proc/self/ns/uts", "/run/uts"] {
            let refusal = NetNs::open(path).unwrap_err();
            assert!(matches!(refusal, Error::NotANetNs { .. }), "{path}: {refusal}");
            let refusal = NetNs::from_fd(File::open("/run/uts").unwrap().into()).unwrap_err();
            assert_eq!(refusal.to_string(), "`/run/uts` is not a network namespace");
        }
    });
}

fn bind(source: &str, target: &str) {
    let none = None::<&str>;
    nix::mount::mount(Some(source), target, none, nix::mount::MsFlags::MS_BIND, none).unwrap();
}

#[test]
fn a_path_to_nothing_names_the_path() {
    let refusal = NetNs::open("/nowhere/web").unwrap_err();
    assert_eq!(refusal.to_string(), "cannot open network namespace `/nowhere/web`");
    assert!(matches!(refusal, Error::Open { path, .. } if path == Path::new("/nowhere/web")));
}
