//! Folders and documents.

use std::fs::{self, Permissions};
use std::os::unix::fs::{PermissionsExt as _, symlink};

use linkspan_records::{Durability, Error, Folder, MAX_DOCUMENT};
use proptest::prelude::proptest;

use crate::scratch::{Note, Scratch, name, note};

fn mode(path: &std::path::Path) -> u32 {
    fs::symlink_metadata(path).unwrap().permissions().mode() & 0o7777
}

/// Puts these bytes where a note is expected and tells what reading it says.
fn check(bytes: &[u8], expected: &str) {
    let scratch = Scratch::create();
    let folder = scratch.folder();
    fs::write(scratch.path().join("web"), bytes).unwrap();
    let told = match folder.read::<Note>(&name("web")) {
        Ok(Some(note)) => note.text,
        Ok(None) => "absent".into(),
        Err(error) => error.to_string().replace(scratch.path().to_str().unwrap(), "RUN"),
    };
    assert_eq!(told, expected);
    assert_eq!(fs::read(scratch.path().join("web")).unwrap(), bytes, "reading changes nothing");
}

#[test]
fn a_folder_is_made_with_its_parents_for_its_owner_alone() {
    let scratch = Scratch::create();
    let path = scratch.path().join("a/b/c");
    assert!(Folder::find(&path).unwrap().is_none());
    let folder = Folder::open(&path).unwrap();
    assert_eq!((mode(&path), folder.path()), (0o700, path.as_path()));
    let sub = folder.folder(&name("sub")).unwrap();
    assert_eq!(mode(sub.path()), 0o700);
    sub.write(&name("x"), &note("x"), Durability::Memory).unwrap();
    assert_eq!(mode(&sub.path().join("x")), 0o600);
    assert!(folder.find_folder(&name("sub")).unwrap().is_some());
    assert!(folder.find_folder(&name("other")).unwrap().is_none());
}

#[test]
fn what_a_newer_program_put_into_a_document_stays_where_it_is_written_again() {
    let scratch = Scratch::create();
    let folder = scratch.folder();
    folder.rewrite(&name("web"), &note("first"), Durability::Disk).unwrap();
    let path = scratch.path().join("web");
    let whole = fs::read_to_string(&path).unwrap();
    fs::write(&path, whole.replace("\"text\":", "\"later\":[7],\"text\":")).unwrap();
    folder.rewrite(&name("web"), &note("second"), Durability::Disk).unwrap();
    assert_eq!(folder.read::<Note>(&name("web")).unwrap(), Some(note("second")));
    assert!(fs::read_to_string(&path).unwrap().contains("\"later\":[7]"));
    fs::write(&path, "{").unwrap();
    let refused = folder.rewrite(&name("web"), &note("third"), Durability::Disk);
    assert!(matches!(refused, Err(Error::Torn { .. })));
    assert_eq!(fs::read_to_string(&path).unwrap(), "{");
}

#[test]
fn a_symbolic_link_is_no_folder() {
    let scratch = Scratch::create();
    let folder = scratch.folder();
    symlink("/tmp", scratch.path().join("link")).unwrap();
    let opened = Folder::open(&scratch.path().join("link"));
    assert!(matches!(opened, Err(Error::NotAFolder { path }) if path.ends_with("link")));
    assert!(matches!(folder.folder(&name("link")), Err(Error::NotAFolder { .. })));
}

#[test]
fn a_file_is_no_folder() {
    let scratch = Scratch::create();
    let folder = scratch.folder();
    folder.write(&name("x"), &note("x"), Durability::Memory).unwrap();
    assert!(matches!(folder.folder(&name("x")), Err(Error::NotAFolder { .. })));
}

#[test]
fn a_folder_that_others_may_write_to_is_refused() {
    let scratch = Scratch::create();
    drop(scratch.folder());
    for exposed in [0o770, 0o702, 0o1777] {
        fs::set_permissions(scratch.path(), Permissions::from_mode(exposed)).unwrap();
        let opened = Folder::open(scratch.path());
        assert!(matches!(opened, Err(Error::Exposed { mode, .. }) if mode == exposed), "{exposed:o}");
    }
    fs::set_permissions(scratch.path(), Permissions::from_mode(0o755)).unwrap();
    Folder::open(scratch.path()).unwrap();
}

#[test]
fn a_folder_of_another_user_is_refused() {
    let other = std::path::Path::new("/");
    let owner = std::os::unix::fs::MetadataExt::uid(&fs::metadata(other).unwrap());
    let scratch = Scratch::create();
    drop(scratch.folder());
    let own = std::os::unix::fs::MetadataExt::uid(&fs::metadata(scratch.path()).unwrap());
    let (foreign, expected) = if owner == own {
        if std::os::unix::fs::chown(scratch.path(), Some(own + 1), None).is_err() {
            println!("skipped: every folder here belongs to this user, and it may not give one away");
            return;
        }
        (scratch.path(), own + 1)
    } else {
        (other, owner)
    };
    assert!(matches!(Folder::open(foreign), Err(Error::Foreign { owner, .. }) if owner == expected));
}

#[test]
fn a_document_is_read_as_it_was_written_last() {
    let scratch = Scratch::create();
    let folder = scratch.folder();
    assert_eq!(folder.read::<Note>(&name("web")).unwrap(), None);
    for durability in [Durability::Memory, Durability::Disk] {
        folder.write(&name("web"), &note("first"), durability).unwrap();
        folder.write(&name("web"), &note("second"), durability).unwrap();
        assert_eq!(folder.read(&name("web")).unwrap(), Some(note("second")));
    }
    assert_eq!(scratch.files(), ["web"], "no draft stays");
    assert!(folder.remove(&name("web")).unwrap());
    assert!(!folder.remove(&name("web")).unwrap());
}

#[test]
fn what_is_no_document_is_an_error_with_its_path_and_is_left_alone() {
    check(b"", "`RUN/web` is empty or torn");
    check(b"{\"version\":1,\"te", "`RUN/web` is empty or torn");
    check(b"\0\0\0\0", "cannot understand `RUN/web`");
    check(b"{\"version\":2}", "`RUN/web` has version 2, this program reads version 1");
    let too_many = usize::try_from(MAX_DOCUMENT).unwrap() + 1;
    check(&vec![b' '; too_many], "`RUN/web` is larger than 33554432 bytes");
    check(b"{\"version\":1,\"text\":\"good\",\"more\":1}", "good");
}

#[test]
fn only_regular_files_are_read() {
    let scratch = Scratch::create();
    let folder = scratch.folder();
    fs::write(scratch.path().join("target"), b"{\"version\":1,\"text\":\"x\"}").unwrap();
    symlink("target", scratch.path().join("link")).unwrap();
    folder.folder(&name("sub")).unwrap();
    for wrong in ["link", "sub"] {
        let read = folder.read::<Note>(&name(wrong));
        assert!(matches!(&read, Err(Error::NotAFile { path }) if path.ends_with(wrong)), "{read:?}");
    }
}

#[test]
fn a_document_that_could_not_be_read_again_is_not_written() {
    let scratch = Scratch::create();
    let folder = scratch.folder();
    folder.write(&name("web"), &note("small"), Durability::Memory).unwrap();
    let large = note(&"x".repeat(usize::try_from(MAX_DOCUMENT).unwrap()));
    let written = folder.write(&name("web"), &large, Durability::Memory);
    assert!(matches!(written, Err(Error::TooLarge { limit: MAX_DOCUMENT, .. })));
    assert_eq!(folder.read(&name("web")).unwrap(), Some(note("small")));
}

#[test]
fn names_are_sorted_and_leave_out_dot_files_folders_and_foreign_names() {
    let scratch = Scratch::create();
    let folder = scratch.folder();
    assert!(folder.is_empty().unwrap());
    fs::write(scratch.path().join(".web.draft"), b"").unwrap();
    assert!(folder.is_empty().unwrap(), "dot files do not count");
    for text in ["b", "a", "c.1"] {
        folder.write(&name(text), &note("x"), Durability::Memory).unwrap();
    }
    folder.folder(&name("sub")).unwrap();
    fs::write(scratch.path().join("not ours"), b"").unwrap();
    assert_eq!(folder.names().unwrap(), [name("a"), name("b"), name("c.1"), name("sub")]);
    assert_eq!(folder.folders().unwrap(), [name("sub")]);
    assert!(!folder.is_empty().unwrap());
}

#[test]
fn the_draft_of_a_killed_writer_is_reused_or_swept() {
    let scratch = Scratch::create();
    let folder = scratch.folder();
    for left in [".web.draft", ".db.draft"] {
        fs::write(scratch.path().join(left), b"much longer than what is written next {{{{{{{{{{").unwrap();
    }
    folder.write(&name("web"), &note("x"), Durability::Memory).unwrap();
    assert_eq!(folder.read(&name("web")).unwrap(), Some(note("x")));
    assert_eq!(folder.sweep().unwrap(), 1);
    assert_eq!(scratch.files(), ["web"]);
}

#[test]
fn a_subfolder_goes_only_when_nobody_has_anything_in_it() {
    let scratch = Scratch::create();
    let folder = scratch.folder();
    let sub = folder.folder(&name("sub")).unwrap();
    sub.write(&name("x"), &note("x"), Durability::Memory).unwrap();
    assert!(!folder.remove_folder_if_empty(&name("sub")).unwrap());
    sub.remove(&name("x")).unwrap();

    let lock = sub.lock(&name("x"), linkspan_records::Access::Exclusive).unwrap();
    assert!(!folder.remove_folder_if_empty(&name("sub")).unwrap(), "a lock is held in it");
    drop(lock);
    fs::write(sub.path().join(".y.draft"), b"").unwrap();
    assert!(folder.remove_folder_if_empty(&name("sub")).unwrap());
    assert!(folder.remove_folder_if_empty(&name("sub")).unwrap(), "absence is success");
    assert!(scratch.files().is_empty());
}

proptest! {
    #[test]
    fn reading_arbitrary_bytes_never_panics(bytes: Vec<u8>) {
        let scratch = Scratch::create();
        let folder = scratch.folder();
        fs::write(scratch.path().join("web"), bytes).unwrap();
        let _ = folder.read::<Note>(&name("web"));
        let _ = folder.peek_record::<Note>(&name("web"));
        let _ = folder.take_record::<Note>(&name("web"));
    }
}
