//! Work inside, and the caller who stays outside.

use std::net::TcpListener;
use std::panic::{AssertUnwindSafe, catch_unwind};

use linkspan_netns::NetNs;

use crate::lab;

#[test]
fn the_work_is_done_inside_and_the_caller_stays() {
    lab::in_private("run::the_work_is_done_inside_and_the_caller_stays", || {
        let (here, there) = (NetNs::current().unwrap(), NetNs::create_anonymous().unwrap());
        let mut inside = None;
        there.run(|| inside = Some(NetNs::current().unwrap().cookie())).unwrap();
        assert_eq!(inside, Some(there.cookie()));
        assert_eq!(NetNs::current().unwrap().cookie(), here.cookie());
    });
}

#[test]
fn a_panic_inside_reaches_the_caller_who_stays() {
    lab::in_private("run::a_panic_inside_reaches_the_caller_who_stays", || {
        let (here, there) = (NetNs::current().unwrap(), NetNs::create_anonymous().unwrap());
        let panicked = catch_unwind(AssertUnwindSafe(|| there.run(|| panic!("within"))));
        assert_eq!(panicked.unwrap_err().downcast_ref::<&str>(), Some(&"within"));
        assert_eq!(NetNs::current().unwrap().cookie(), here.cookie());
        assert!(there.run(|| ()).is_ok());
    });
}

#[test]
fn an_early_return_inside_reaches_the_caller_who_stays() {
    lab::in_private("run::an_early_return_inside_reaches_the_caller_who_stays", || {
        let (here, there) = (NetNs::current().unwrap(), NetNs::create_anonymous().unwrap());
        let result = there.run(|| {
            std::fs::read("/nowhere")?;
            Ok::<_, std::io::Error>(())
        });
        assert!(result.unwrap().is_err());
        assert_eq!(NetNs::current().unwrap().cookie(), here.cookie());
    });
}

#[test]
fn a_socket_stays_in_the_namespace_it_was_opened_in() {
    lab::in_private("run::a_socket_stays_in_the_namespace_it_was_opened_in", || {
        let bind = || TcpListener::bind(("0.0.0.0", 4711));
        let here = bind().unwrap();
        let there = NetNs::create_anonymous().unwrap();
        let inside = there.run(bind).unwrap().unwrap();
        assert_eq!(inside.local_addr().unwrap(), here.local_addr().unwrap());
        assert!(there.run(bind).unwrap().is_err(), "the port is taken there");
    });
}

#[test]
fn many_threads_work_in_many_namespaces_at_once() {
    lab::in_private("run::many_threads_work_in_many_namespaces_at_once", || {
        let here = NetNs::current().unwrap();
        std::thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| {
                    let there = NetNs::create_anonymous().unwrap();
                    for _ in 0..20 {
                        let inside = there.run(|| NetNs::current().unwrap().cookie()).unwrap();
                        assert_eq!(inside, there.cookie());
                        assert_eq!(NetNs::current().unwrap().cookie(), here.cookie());
                    }
                });
            }
        });
    });
}
