//! Against the running kernel: questions that need no privilege, and refusals of everything else.

#![allow(clippy::unwrap_used, clippy::panic, clippy::print_stdout, reason = "a test fails by a panic")]

mod lab;

use lab::in_private;
use linkspan_netlink::{Batch, Errno, Error, Family, Flags, Kind, Socket};
use nix::sys::socket::{
    AddressFamily, MsgFlags, NetlinkAddr, SockFlag, SockProtocol, SockType, getsockname, sendto, setsockopt,
    socket, sockopt,
};
use std::os::fd::{AsFd, AsRawFd};
use std::time::{Duration, Instant};

const RTM_NEWLINK: Kind = Kind::new(16);
const RTM_GETLINK: Kind = Kind::new(18);
const RTM_GETADDR: Kind = Kind::new(22);
const IFLA_IFNAME: u16 = 3;

/// `NFT_MSG_GETTABLE` of `linux/netfilter/nf_tables.h`.
const GETTABLE: Kind = Kind::nftables(1);
const NFTA_TABLE_NAME: u16 = 1;

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
fn a_change_that_is_refused_leaves_the_others_done() {
    in_private("a_change_that_is_refused_leaves_the_others_done", || {
        let mut socket = Socket::open(Family::Route).unwrap();
        let mut batch = link(RTM_NEWLINK, Flags::CREATE | Flags::EXCL, "lo");
        batch.push(RTM_NEWLINK, Flags::NONE, |body| {
            // `lo` has the index 1 in every namespace; IFF_UP, and that this is what changes.
            body.bytes(&[0, 0, 0, 0, 1, 0, 0, 0, 1, 0, 0, 0, 1, 0, 0, 0]);
        });
        let error = socket.send(&mut batch).unwrap_err();
        let Error::Refused(refusals) = &error else { panic!("{error}") };
        assert_eq!((refusals.len(), refusals[0].message), (1, 0), "{error}");
        assert_eq!(error.errno(), Some(Errno::EEXIST));
        let lo = socket.request(&mut link(RTM_GETLINK, Flags::NONE, "lo")).unwrap();
        assert_eq!(lo[0].payload()[8] & 1, 1, "`lo` is up");
    });
}

#[test]
fn any_number_of_questions_to_netfilter_is_answered() {
    in_private("any_number_of_questions_to_netfilter_is_answered", || {
        let mut socket = Socket::open(Family::Netfilter).unwrap();
        let mut questions = Batch::new();
        for _ in 0..5000 {
            questions.push(GETTABLE, Flags::NONE, |body| {
                body.bytes(&[2, 0, 0, 0]);
                body.text(NFTA_TABLE_NAME, "absent");
            });
        }
        let error = socket.send(&mut questions).unwrap_err();
        let Error::Refused(refusals) = error else { panic!("{error}") };
        assert!(refusals.iter().map(|refusal| refusal.message).eq(0..5000));
    });
}

#[test]
fn a_socket_whose_answers_did_not_fit_answers_the_next_question_at_once() {
    let mut socket = Socket::open(Family::Route).unwrap();
    setsockopt(&socket, sockopt::RcvBuf, &1).unwrap();
    let mut questions = Batch::new();
    for _ in 0..64 {
        questions.push(RTM_GETLINK, Flags::NONE, |body| {
            body.bytes(&[0; 16]);
            body.text(IFLA_IFNAME, "absent0");
        });
    }
    let error = socket.send(&mut questions).unwrap_err();
    assert!(matches!(error, Error::Overrun), "{error}");
    let begin = Instant::now();
    let error = socket.request(&mut link(RTM_GETLINK, Flags::NONE, "absent0")).unwrap_err();
    assert_eq!(error.errno(), Some(Errno::ENODEV), "{error}");
    assert!(begin.elapsed() < Duration::from_secs(10));
}

#[test]
fn an_answer_that_is_too_long_is_not_read_to_its_end() {
    let mut links = Batch::new();
    links.push(RTM_GETLINK, Flags::DUMP, |body| body.bytes(&[0; 16]));
    let open = || Socket::open(Family::Route).unwrap();
    let error = open().within(100).request(&mut links).unwrap_err();
    assert!(matches!(error, Error::Endless), "{error}");
    assert!(!open().within(1 << 20).request(&mut links).unwrap().is_empty());
}

#[test]
fn nobody_but_the_kernel_can_answer() {
    in_private("nobody_but_the_kernel_can_answer", || {
        let mut asker = Socket::open(Family::Route).unwrap();
        // The first message that leaves gives a socket its address.
        asker.request(&mut link(RTM_GETLINK, Flags::NONE, "lo")).unwrap();
        let address: NetlinkAddr = getsockname(asker.as_fd().as_raw_fd()).unwrap();
        // `struct nlmsghdr` and `struct nlmsgerr`: the second message is done.
        let done = [&[36, 0, 0, 0, 2, 0, 0, 0, 2, 0, 0, 0, 0, 0, 0, 0][..], &[0; 20]].concat();
        let route = SockProtocol::NetlinkRoute;
        let other = socket(AddressFamily::Netlink, SockType::Raw, SockFlag::SOCK_CLOEXEC, route).unwrap();
        let sent = sendto(other.as_raw_fd(), &done, &address, MsgFlags::empty());
        assert_eq!(sent, Err(nix::errno::Errno::ECONNREFUSED));
        let error = asker.send(&mut link(RTM_NEWLINK, Flags::CREATE | Flags::EXCL, "lo")).unwrap_err();
        assert_eq!(error.errno(), Some(Errno::EEXIST), "{error}");
    });
}
