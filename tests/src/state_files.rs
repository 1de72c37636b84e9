//! Files that were damaged are named, with a way forward, and never begun anew while they say who has what.

use crate::private::in_private;
use crate::program::{Ran, tool};
use crate::snapshot::Snapshot;
use crate::world::{Case, World};
use linkspan::NetNs;
use std::fs;

/// What is made of a file's content.
type Damage = fn(&[u8]) -> Vec<u8>;

const DAMAGES: [Damage; 4] = [
    |_| Vec::new(),
    |whole| whole[..whole.len() / 2].to_vec(),
    |_| b"\x00\xff{{{\n".to_vec(),
    |whole| {
        let mut flipped = whole.to_vec();
        let middle = flipped.len() / 3;
        flipped[middle] ^= 0x40;
        flipped
    },
];

/// One container on a network of its own, and the files that tell of them.
struct Scene {
    world: World,
    _netns: NetNs,
    attachment: String,
    network: String,
}

impl Scene {
    fn new() -> Self {
        let world = World::new(Case::USUAL);
        world.linkspan("network create web --subnet 10.88.0.0/24").ok();
        let netns = NetNs::create("/run/netns/a").unwrap();
        world.linkspan("attach a --netns /run/netns/a --network web -p 8000:80").ok();
        let attachment = world.host.find("a").unwrap().id().to_string();
        let network = world.host.networks().unwrap()[0].id().to_string();
        Self { world, _netns: netns, attachment, network }
    }

    fn files(&self) -> [String; 6] {
        [
            "/run/linkspan/host".to_owned(),
            "/run/linkspan/claims".to_owned(),
            format!("/run/linkspan/leases/{}", self.network),
            format!("/run/linkspan/up/network-{}", self.network),
            "/var/lib/linkspan/networks/web".to_owned(),
            format!("/run/linkspan/attachments/{}", self.attachment),
        ]
    }

    /// Attaches other containers, which want one thing each that the first one has.
    fn rivals(&self) -> [Ran; 3] {
        let _netns = NetNs::create("/run/netns/b").unwrap();
        let lines = ["b --network web --ip 10.88.0.2", "b --network web -p 8000:80", "a --network web"];
        let ran = lines.map(|line| self.world.linkspan(&format!("attach --netns /run/netns/b {line}")));
        NetNs::unpin("/run/netns/b").unwrap();
        ran
    }
}

/// Whether it is refused because the first container has it.
fn is_held(ran: &Ran) -> bool {
    ran.code() == Some(1) && ["taken by", "published by"].iter().any(|why| ran.err.contains(why))
}

/// Whether it is refused in one line that names the file.
fn is_told(ran: &Ran, path: &str) -> bool {
    ran.code() == Some(1) && ran.err.contains(path) && ran.err.lines().count() == 1
}

#[test]
fn a_damaged_file_is_named_with_its_remedy_and_its_addresses_are_not_given_away() {
    in_private(|| {
        let scene = Scene::new();
        for path in scene.files() {
            let whole = fs::read(&path).unwrap();
            for damage in DAMAGES {
                fs::write(&path, damage(&whole)).unwrap();
                for ran in scene.rivals() {
                    let told = ran.err.contains(&path)
                        && ["reconcile", "gc"].iter().any(|way| ran.err.contains(way));
                    // Where the leases cannot be read, what was begun stays on record and is named.
                    let refused = [Some(1), Some(3)].contains(&ran.code());
                    assert!(refused && (told || is_held(&ran)), "{path}: {ran}");
                }
                fs::write(&path, &whole).unwrap();
            }
        }
    });
}

#[test]
fn reconcile_writes_anew_what_other_files_tell() {
    in_private(|| {
        let scene = Scene::new();
        for path in &scene.files()[..5] {
            let whole = fs::read(path).unwrap();
            for damage in &DAMAGES[..3] {
                fs::write(path, damage(&whole)).unwrap();
                let said = scene.world.linkspan("reconcile").ok();
                let told = said.contains(&format!("rebuild {path}\n"));
                assert!(told, "{path}: {said}");
                assert_eq!(scene.world.linkspan("reconcile").ok(), "the host is as the records say\n");
                assert!(scene.rivals().iter().all(is_held), "{path}");
            }
        }
        scene.world.linkspan("detach a").ok();
        scene.world.linkspan("network rm web").ok();
        assert!(!tool("ip link show").contains("ls-"));
    });
}

#[test]
fn reconcile_writes_anew_what_was_removed_of_who_has_what() {
    in_private(|| {
        let scene = Scene::new();
        for path in &scene.files()[1..3] {
            fs::remove_file(path).unwrap();
            assert_eq!(scene.world.linkspan("reconcile").ok(), format!("rebuild {path}\n"));
            assert_eq!(scene.world.linkspan("reconcile").ok(), "the host is as the records say\n");
            assert!(scene.rivals().iter().all(is_held), "{path}");
        }
    });
}

#[test]
fn what_only_a_damaged_file_tells_is_removed_when_it_is_said() {
    in_private(|| {
        let Scene { world, attachment, .. } = &Scene::new();
        let path = format!("/run/linkspan/attachments/{attachment}");
        fs::write(&path, "").unwrap();
        let ran = world.linkspan("ps");
        assert!(is_told(&ran, &path) && ran.err.contains("gc removes it"), "{ran}");
        let said = world.linkspan("gc").ok();
        assert!(said.contains("delete veth") && said.contains(&path), "{said}");
        assert!(!tool("ip link show").contains("vethls"));
        fs::write("/var/lib/linkspan/networks/web", "").unwrap();
        let ran = world.linkspan("network ls");
        assert!(is_told(&ran, "/var/lib/linkspan/networks/web") && ran.err.contains("network rm"), "{ran}");
        world.linkspan("network rm web").ok();
        assert!(world.host.networks().unwrap().is_empty());
        assert!(!tool("ip link show").contains("ls-"));
    });
}

#[test]
fn a_file_of_a_newer_program_is_refused_and_never_removed() {
    in_private(|| {
        let scene = Scene::new();
        for path in &scene.files()[3..] {
            let whole = fs::read_to_string(path).unwrap();
            let newer = whole.replace("\"version\":1", "\"version\":1000");
            fs::write(path, &newer).unwrap();
            for line in ["gc", "reconcile"] {
                let ran = scene.world.linkspan(line);
                assert!(is_told(&ran, path) && ran.err.contains("version 1000"), "{path}: {line}: {ran}");
            }
            assert_eq!(fs::read_to_string(path).unwrap(), newer);
            fs::write(path, whole).unwrap();
        }
    });
}

#[test]
fn members_of_a_newer_program_stay_in_a_record() {
    in_private(|| {
        let Scene { world, attachment, .. } = &Scene::new();
        let path = format!("/run/linkspan/attachments/{attachment}");
        let whole = fs::read_to_string(&path).unwrap();
        fs::write(&path, whole.replace("\"leaving\":false", "\"leaving\":false,\"later\":[7]")).unwrap();
        let id = world.host.find("a").unwrap().id();
        world.host.hand_over(id, &NetNs::open("/run/netns/a").unwrap()).unwrap();
        let text = fs::read_to_string(&path).unwrap();
        assert!(text.lines().last().unwrap().contains("\"later\":[7]"), "{text}");
    });
}

#[test]
fn folders_that_cannot_be_written_to_are_told_before_any_change() {
    in_private(|| {
        let world = World::new(Case::USUAL);
        let _netns = NetNs::create("/run/netns/a").unwrap();
        let before = Snapshot::take();
        for folder in ["/run/linkspan", "/var/lib/linkspan"] {
            fs::create_dir_all(folder).unwrap();
            tool(&format!("mount --bind {folder} {folder}"));
            tool(&format!("mount -o remount,ro,bind {folder}"));
            for line in ["network create web", "attach a --netns /run/netns/a"] {
                let ran = world.linkspan(line);
                assert!(is_told(&ran, folder) && ran.err.contains("Read-only file system"), "{line}: {ran}");
            }
            tool(&format!("umount {folder}"));
        }
        before.assert_unchanged("refusals");
    });
}
