//! Finding a namespace again, or that it is gone.

use std::fs;
use std::os::unix::process::parent_id;
use std::path::Path;
use std::process::Command;

use linkspan_netns::{Error, NetNs, Pid, Place, StartTime};

use crate::lab;

#[test]
fn a_pin_is_found_until_it_is_removed() {
    lab::in_private("place::a_pin_is_found_until_it_is_removed", || {
        let netns = NetNs::create("/run/netns/web").unwrap();
        let place = netns.place().unwrap();
        assert_eq!(place, &Place::Path("/run/netns/web".into()));
        assert_eq!(place.find().unwrap().unwrap().cookie(), netns.cookie());
        NetNs::unpin("/run/netns/web").unwrap();
        assert!(place.find().unwrap().is_none());
    });
}

#[test]
fn another_namespace_at_the_same_path_has_another_cookie() {
    lab::in_private("place::another_namespace_at_the_same_path_has_another_cookie", || {
        let cookie = NetNs::create("/run/netns/web").unwrap().cookie();
        NetNs::unpin("/run/netns/web").unwrap();
        let next = NetNs::create("/run/netns/web").unwrap();
        let found = next.place().unwrap().find().unwrap().unwrap();
        assert_eq!(found.cookie(), next.cookie());
        assert_ne!(found.cookie(), cookie);
    });
}

#[test]
fn a_path_with_something_else_on_it_is_gone() {
    lab::in_private("place::a_path_with_something_else_on_it_is_gone", || {
        fs::write("/run/left", "").unwrap();
        for path in ["/run/left", "/run/left/below", "/run", "/run/nothing", "/proc/self/ns/uts"] {
            assert!(Place::Path(path.into()).find().unwrap().is_none(), "{path}");
        }
    });
}

#[test]
fn a_relative_path_is_found_from_any_folder() {
    lab::in_private("place::a_relative_path_is_found_from_any_folder", || {
        fs::create_dir("/run/pins").unwrap();
        std::env::set_current_dir("/run/pins").unwrap();
        let netns = NetNs::create("web").unwrap();
        std::env::set_current_dir("/").unwrap();
        assert_eq!(netns.place(), Some(&Place::Path("/run/pins/web".into())));
        assert_eq!(NetNs::open("run/pins/web").unwrap().place(), netns.place());
        NetNs::unpin("run/pins/web").unwrap();
    });
}

#[test]
fn a_process_is_found_as_long_as_it_runs() {
    lab::in_private("place::a_process_is_found_as_long_as_it_runs", || {
        let mut child = Command::new("sleep").arg("100").spawn().unwrap();
        let pid = Pid::new(child.id()).unwrap();
        let netns = NetNs::open(format!("/proc/{pid}/ns/net")).unwrap();
        assert_eq!(netns.cookie(), NetNs::current().unwrap().cookie());
        let place = netns.place().unwrap();
        assert!(matches!(place, Place::Process { pid: found, .. } if *found == pid));
        assert!(place.find().unwrap().is_some());

        child.kill().unwrap();
        lab::eventually("a process that nobody has waited for yet is gone", || {
            place.find().unwrap().is_none()
        });
        child.wait().unwrap();
        assert!(place.find().unwrap().is_none());
        assert!(matches!(NetNs::of_pid(pid), Err(Error::NoProcess { pid: named }) if named == pid));
    });
}

#[test]
fn a_process_with_another_start_time_is_gone() {
    let own = NetNs::of_pid(Pid::new(std::process::id()).unwrap()).unwrap();
    let Some(Place::Process { pid, start_time }) = own.place().cloned() else {
        panic!("{:?} is no process", own.place());
    };
    assert!(Place::Process { pid, start_time }.find().unwrap().is_some());
    let start_time = StartTime::new(start_time.get() + 1);
    assert!(Place::Process { pid, start_time }.find().unwrap().is_none());
}

#[test]
fn a_place_survives_being_stored() {
    let own = NetNs::current().unwrap();
    let stored = serde_json::to_string(own.place().unwrap()).unwrap();
    let place: Place = serde_json::from_str(&stored).unwrap();
    assert_eq!(place.find().unwrap().unwrap().cookie(), own.cookie());
}

#[test]
fn what_may_not_be_looked_at_is_an_error_and_not_gone() {
    lab::without_mounts("place::what_may_not_be_looked_at_is_an_error_and_not_gone", || {
        let outside = format!("/proc/{}/ns/net", parent_id());
        let refusal = Place::Path(outside.clone().into()).find().unwrap_err();
        assert!(matches!(refusal, Error::Open { path, .. } if path == Path::new(&outside)));
    });
}

#[test]
fn a_number_that_passed_to_a_process_of_another_user_is_gone() {
    lab::without_mounts("place::a_number_that_passed_to_a_process_of_another_user_is_gone", || {
        let (pid, start_time) = (Pid::new(parent_id()).unwrap(), StartTime::new(0));
        assert!(Place::Process { pid, start_time }.find().unwrap().is_none());
    });
}
