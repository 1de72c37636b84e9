//! Against the running kernel: questions that need no privilege, and refusals of everything else.

use linkspan_netlink::{Batch, Errno, Error, Family, Flags, Kind, Socket};
use std::os::fd::AsFd;

const RTM_NEWLINK: Kind = Kind::new(16);
const RTM_GETLINK: Kind = Kind::new(18);
const RTM_GETADDR: Kind = Kind::new(22);
const IFLA_IFNAME: u16 = 3;

fn link(kind: Kind, flags: Flags, name: &str) -> Batch {
    let mut batch = Batch::new();
    batch.push(kind, flags, |body| {
        body.bytes(&[0; 16]);
        body.text(IFLA_IFNAME, name);
    });
    batch
}

#[test]
fn the_loopback_link_answers_by_name() {
    let mut socket = Socket::open(Family::Route).unwrap();
    let replies = socket.request(&mut link(RTM_GETLINK, Flags::NONE, "lo")).unwrap();
    assert_eq!(replies.len(), 1);
    assert_eq!(replies[0].kind(), RTM_NEWLINK);
    assert_eq!(replies[0].attributes(16).get(IFLA_IFNAME).and_then(|a| a.text()), Some("lo"));
}

#[test]
fn an_absent_link_is_refused_with_its_reason() {
    let mut socket = Socket::open(Family::Route).unwrap();
    let error = socket.request(&mut link(RTM_GETLINK, Flags::NONE, "absent0")).unwrap_err();
    assert_eq!(error.errno(), Some(Errno::ENODEV), "{error}");
}

#[test]
fn a_list_is_read_to_its_end_and_the_socket_is_clean_afterwards() {
    let mut socket = Socket::open(Family::Route).unwrap();
    let mut question = Batch::new();
    question.push(RTM_GETADDR, Flags::DUMP, |body| body.bytes(&[0; 8]));
    for _ in 0..3 {
        let _ = socket.request(&mut question).unwrap();
        assert_eq!(socket.request(&mut link(RTM_GETLINK, Flags::NONE, "lo")).unwrap().len(), 1);
    }
}

#[test]
fn each_refused_message_is_named_by_its_place() {
    let mut socket = Socket::open(Family::Route).unwrap();
    let mut batch = Batch::new();
    for message in 0..130 {
        // Questions are taken from anyone; even ones ask for what is there.
        let name = if message % 2 == 0 { "lo" } else { "absent0" };
        batch.push(RTM_GETLINK, Flags::NONE, |body| {
            body.bytes(&[0; 16]);
            body.text(IFLA_IFNAME, name);
        });
    }
    let Err(Error::Refused(refusals)) = socket.send(&mut batch) else { panic!("refused") };
    let places: Vec<_> = refusals.iter().map(|refusal| refusal.message).collect();
    assert_eq!(places, (0..130).filter(|n| n % 2 == 1).collect::<Vec<_>>());
}

#[test]
fn a_message_that_is_no_link_is_refused_in_the_kernels_words() {
    let mut socket = Socket::open(Family::Route).unwrap();
    let mut batch = Batch::new();
    batch.push(RTM_GETLINK, Flags::NONE, |body| {
        body.bytes(&[0; 16]);
        body.u32(999, 1);
    });
    let Err(Error::Refused(refusals)) = socket.request(&mut batch) else { panic!("refused") };
    assert!(refusals[0].text.is_some(), "{refusals:?}");
}

#[test]
fn an_attribute_of_more_than_64_kib_is_not_sent() {
    let mut socket = Socket::open(Family::Route).unwrap();
    let mut batch = Batch::new();
    batch.push(RTM_GETLINK, Flags::NONE, |body| body.attr(1, &vec![0; 70_000]));
    assert!(matches!(socket.send(&mut batch), Err(Error::Oversized)));
}

#[test]
fn no_messages_are_no_work() {
    assert!(Socket::open(Family::Route).unwrap().send(&mut Batch::new()).is_ok());
}

#[test]
fn what_is_no_namespace_cannot_be_entered() {
    let file = std::fs::File::open("/dev/null").unwrap();
    assert!(matches!(Socket::open_in(file.as_fd(), Family::Route), Err(Error::Enter(_))));
}

#[test]
fn a_change_without_privilege_or_sense_is_refused() {
    // Whoever runs this, a link named `lo` is there already.
    let mut socket = Socket::open(Family::Route).unwrap();
    let error = socket.send(&mut link(RTM_NEWLINK, Flags::CREATE | Flags::EXCL, "lo")).unwrap_err();
    assert!(matches!(error.errno(), Some(Errno::EPERM | Errno::EEXIST)), "{error}");
}
