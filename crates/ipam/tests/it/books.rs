//! Lease books, within one process.

use std::collections::BTreeMap;
use std::fs;
use std::net::IpAddr;

use linkspan_ipam::{Error, LeaseBook, Leases, Lessee, Owner, Wanted};
use proptest::prelude::{any, prop, proptest};

use crate::scratch::{Scratch, owner, subnet};

fn lease(book: &LeaseBook, net: &str, name: &str) -> Result<IpAddr, Error> {
    book.lease(&subnet(net), &owner(name), Wanted::Any, &mut |_| true)
}

#[test]
fn a_book_is_shared_between_threads() {
    fn shared<T: Send + Sync>() {}
    shared::<LeaseBook>();
}

#[test]
fn a_book_holds_both_families() {
    let scratch = Scratch::create();
    let book = scratch.book();
    let four = lease(&book, "10.0.0.0/24", "web").unwrap();
    let six = lease(&book, "fd00::/64", "web").unwrap();
    assert_eq!(book.addresses_of(&owner("web")).unwrap(), [four, six]);
    assert_eq!((book.len().unwrap(), book.is_empty().unwrap()), (2, false));
    assert_eq!(book.owner_of(six).unwrap(), Some(owner("web")));
    assert_eq!(book.release_all(&owner("web")).unwrap(), [four, six]);
    assert!(book.owners().unwrap().is_empty() && book.is_empty().unwrap());
}

#[test]
fn only_its_owner_gives_an_address_back() {
    let scratch = Scratch::create();
    let book = scratch.book();
    let address = lease(&book, "10.0.0.0/24", "web").unwrap();
    assert!(!book.release(address, &owner("db")).unwrap());
    assert!(book.release(address, &owner("web")).unwrap());
    assert!(!book.release(address, &owner("web")).unwrap());
}

#[test]
fn what_one_book_leases_another_sees() {
    let scratch = Scratch::create();
    let (mine, yours) = (scratch.book(), scratch.book());
    assert_eq!(lease(&mine, "10.0.0.0/24", "web").unwrap().to_string(), "10.0.0.2");
    assert_eq!(lease(&yours, "10.0.0.0/24", "db").unwrap().to_string(), "10.0.0.3");
    assert_eq!(mine.owners().unwrap(), [owner("db"), owner("web")]);
    yours.release_all(&owner("web")).unwrap();
    assert_eq!(lease(&mine, "10.0.0.0/24", "cache").unwrap().to_string(), "10.0.0.2");
}

#[test]
fn a_book_follows_the_reservations_that_are_on_record_elsewhere() {
    let scratch = Scratch::create();
    let (book, net) = (scratch.book(), subnet("10.0.0.0/24"));
    let lease = |run: &str, name: &str, kept: &[(&str, &str)]| {
        let kept = kept.iter().map(|(address, name)| (address.parse().unwrap(), owner(name))).collect();
        let (run, name) = (owner(run), owner(name));
        let lessee = Lessee::of(&run).named(&name);
        book.lease_with::<Error>(|| Ok(kept), &net, lessee, Wanted::Any, &mut |_| true).unwrap().to_string()
    };
    assert_eq!(lease("1", "db", &[("10.0.0.2", "web")]), "10.0.0.3");
    assert_eq!(lease("2", "web", &[("10.0.0.2", "web")]), "10.0.0.2");
    book.release_all(&owner("2")).unwrap();
    assert_eq!(lease("3", "db", &[]), "10.0.0.2");
    book.follow::<Error>(|| Ok([("10.0.0.9".parse().unwrap(), owner("web"))].into())).unwrap();
    let snapshot = scratch.book().snapshot().unwrap();
    assert_eq!(snapshot.reservations().count(), 1);
    let refused = book.follow(|| Err::<BTreeMap<_, _>, _>(Error::Owner { text: "?".into() }));
    assert!(matches!(refused, Err(Error::Owner { .. })));
    assert_eq!(scratch.book().snapshot().unwrap(), snapshot);
}

#[test]
fn a_reservation_outlives_the_lease_and_the_process() {
    let scratch = Scratch::create();
    let address = lease(&scratch.book(), "10.0.0.0/24", "web").unwrap();
    scratch.book().keep(address, &owner("web")).unwrap();
    scratch.book().release_all(&owner("web")).unwrap();
    assert!(matches!(scratch.book().keep(address, &owner("db")), Err(Error::Kept { .. })));
    assert_eq!(lease(&scratch.book(), "10.0.0.0/24", "db").unwrap().to_string(), "10.0.0.3");
    assert_eq!(lease(&scratch.book(), "10.0.0.0/24", "web").unwrap(), address);
    assert_eq!(scratch.book().snapshot().unwrap().reservations().count(), 1);
    assert_eq!(scratch.book().release_reservation(address).unwrap(), Some(owner("web")));
    assert_eq!(scratch.book().release_reservation(address).unwrap(), None);
}

#[test]
fn the_lease_of_a_dead_owner_is_free_for_who_wants_it() {
    let scratch = Scratch::create();
    let book = scratch.book();
    let address = lease(&book, "10.0.0.0/30", "web").unwrap();
    let net = subnet("10.0.0.0/30");
    for wanted in [Wanted::Any, Wanted::This(address)] {
        assert!(book.lease(&net, &owner("db"), wanted, &mut |_| true).is_err());
    }
    let mut alive = |holder: &Owner| *holder != owner("web");
    assert_eq!(book.lease(&net, &owner("db"), Wanted::Any, &mut alive).unwrap(), address);
    assert_eq!(scratch.book().owners().unwrap(), [owner("db")]);
}

#[test]
fn a_panic_of_the_caller_leaves_the_book_usable() {
    let scratch = Scratch::create();
    let book = scratch.book();
    lease(&book, "10.0.0.0/30", "web").unwrap();
    let panicked = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        book.lease(&subnet("10.0.0.0/30"), &owner("db"), Wanted::Any, &mut |_| panic!("asked"))
    }));
    assert!(panicked.is_err());
    assert_eq!(book.owners().unwrap(), [owner("web")]);
    assert_eq!(scratch.book().owners().unwrap(), [owner("web")]);
}

#[test]
fn a_removed_book_leaves_no_file() {
    let scratch = Scratch::create();
    let book = scratch.book();
    lease(&book, "10.0.0.0/24", "web").unwrap();
    book.remove().unwrap();
    assert_eq!(fs::read_dir(scratch.path()).unwrap().count(), 0);
    assert_eq!(lease(&book, "10.0.0.0/24", "db").unwrap().to_string(), "10.0.0.2");
}

#[test]
fn leases_take_the_place_of_a_book_that_cannot_be_read() {
    let scratch = Scratch::create();
    let (book, other) = (scratch.book(), scratch.book());
    lease(&book, "10.0.0.0/24", "db").unwrap();
    fs::write(scratch.path().join("book"), "?").unwrap();
    let mut leases = Leases::new();
    leases.lease(&subnet("10.0.0.0/24"), &owner("web"), Wanted::Any).unwrap();
    leases.keep("10.0.0.3".parse().unwrap(), &owner("kept")).unwrap();
    book.replace(&leases).unwrap();
    for book in [book, other] {
        assert_eq!(book.snapshot().unwrap(), leases);
    }
}

#[test]
fn a_book_that_is_none_is_an_error_that_names_the_file() {
    let scratch = Scratch::create();
    let book = scratch.book();
    fs::write(scratch.path().join("book"), "10.0.0.2 web\n").unwrap();
    let error = lease(&book, "10.0.0.0/24", "web").unwrap_err();
    assert_eq!(error.to_string(), "cannot use the lease book");
    let source = std::error::Error::source(&error).unwrap().to_string();
    assert_eq!(source, format!("line 1 of `{}` is corrupt", scratch.path().join("book").display()));
}

#[test]
fn a_long_history_is_compacted_to_what_is_leased() {
    let scratch = Scratch::create();
    let book = scratch.book();
    lease(&book, "10.0.0.0/24", "web").unwrap();
    for _ in 0..2_000 {
        lease(&book, "10.0.0.0/24", "job").unwrap();
        book.release_all(&owner("job")).unwrap();
    }
    assert!(fs::metadata(scratch.path().join("book")).unwrap().len() < 40_000);
    assert_eq!(scratch.book().owners().unwrap(), [owner("web")]);
}

proptest! {
    #[test]
    fn a_book_that_is_opened_again_says_the_same(steps in prop::collection::vec((0..4_u8, 0..6_u8), 0..30)) {
        let scratch = Scratch::create();
        let book = scratch.book();
        for (verb, who) in steps {
            let name = format!("owner-{who}");
            let address = IpAddr::from([10, 0, 0, who + 2]);
            match verb {
                0 => drop(lease(&book, "10.0.0.0/29", &name)),
                1 => drop(book.release_all(&owner(&name)).unwrap()),
                2 => drop(book.keep(address, &owner(&name))),
                _ => drop(book.release_reservation(address).unwrap()),
            }
        }
        assert_eq!(scratch.book().snapshot().unwrap(), book.snapshot().unwrap());
    }

    #[test]
    fn any_cut_loses_at_most_the_last_lease(count in 1..20_usize, cut in any::<prop::sample::Index>()) {
        let scratch = Scratch::create();
        let path = scratch.path().join("book");
        let book = scratch.book();
        let (mut before, mut state) = (0, Leases::new());
        for nth in 0..count {
            state = book.snapshot().unwrap();
            before = fs::metadata(&path).map_or(0, |found| found.len());
            lease(&book, "10.0.0.0/24", &format!("owner-{nth}")).unwrap();
        }
        let last = usize::try_from(fs::metadata(&path).unwrap().len() - before).unwrap();
        let cut = before + u64::try_from(cut.index(last)).unwrap();
        // A writer that is killed while it writes has not come to note how long the book is.
        for (file, len) in [(path, cut), (scratch.path().join(".book.lock"), before)] {
            fs::OpenOptions::new().write(true).open(file).unwrap().set_len(len).unwrap();
        }
        assert_eq!(scratch.book().snapshot().unwrap(), state);
        assert_eq!(book.snapshot().unwrap(), state);
    }

    #[test]
    fn arbitrary_bytes_never_panic(bytes: Vec<u8>, lines in "(lease [0-9a-f:. ]{0,20}\n){0,3}") {
        for text in [bytes.as_slice(), lines.as_bytes()] {
            let scratch = Scratch::create();
            let book = scratch.book();
            fs::create_dir_all(scratch.path()).unwrap();
            fs::write(scratch.path().join("book"), text).unwrap();
            let _ = lease(&book, "10.0.0.0/24", "web");
        }
    }
}
