//! The files of the run folder and the state folder, as anybody's program, disk or crash may have left them.

use crate::ledger;
use crate::target::Target;
use crate::{kernel, told};
use linkspan::lab::Lab;
use linkspan::{
    Addresses, Attachment, Container, DefinedNetwork, Endpoint, Host, NetNs, Network, Publish, Question,
    Reservation,
};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::error::Error;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::{env, fs, io};

const FOLDERS: [&str; 2] = ["/run/linkspan", "/var/lib/linkspan"];
/// The file of a ledger that is edited, as its lock file says how long it was.
const LEASES: &str = "/run/linkspan/leases";

/// What is done with the files; an input's first two bytes are places here.
const ACTIONS: [(Action, Addresses); 12] = [
    (look, Addresses::Keep),
    (plans, Addresses::Keep),
    (explain, Addresses::Keep),
    (repair, Addresses::Keep),
    (reconcile, Addresses::Keep),
    (gc, Addresses::Keep),
    (attach, Addresses::Keep),
    (detach, Addresses::Free),
    (create_network, Addresses::Keep),
    (remove_network, Addresses::Free),
    (detach_keeping, Addresses::Keep),
    (release, Addresses::Free),
];

type Action = fn(&Host, &NetNs) -> Result<Vec<IpAddr>, Box<dyn Error>>;

/// A host with two networks, two containers, and one that comes back, and its files.
#[derive(Debug)]
pub struct Files {
    _lab: Lab,
    visitor: NetNs,
    _containers: [NetNs; 2],
    tree: BTreeMap<PathBuf, Vec<u8>>,
    /// What is edited, in an order that is the same each time.
    places: Vec<PathBuf>,
    aliases: Vec<Alias>,
    /// The addresses of the container that comes back.
    kept: BTreeSet<IpAddr>,
}

/// What differs each time the host is made, and what stands for it in inputs.
type Alias = (String, &'static str);

/// What is done to a file.
#[derive(Clone, Debug)]
enum Edit {
    Replace(Vec<u8>),
    /// Its bytes, and then these.
    Append(Vec<u8>),
    /// A ledger of these texts, each a commit.
    Lines(Vec<u8>),
    /// What a ledger says, and then these texts, as one commit.
    AppendLines(Vec<u8>),
    Cut(usize),
    Remove,
}

impl Target for Files {
    fn begin() -> Result<Self, String> {
        Self::furnish().map_err(|why| told(&*why))
    }

    fn seeds(&mut self) -> Vec<(String, Vec<u8>)> {
        let mut seeds = Vec::new();
        for (place, path) in (0u8..).zip(&self.places) {
            let actual = self.like(path);
            let like = in_general(&self.aliases, &actual);
            let name = in_general(&self.aliases, path.as_os_str().as_encoded_bytes());
            let name = String::from_utf8_lossy(&name).replace('/', "_");
            let whole = [&[0, 5, place, 0][..], &length(&like), &like].concat();
            seeds.push((format!("whole{name}"), whole));
            if let Some(texts) = ledger::texts(&actual) {
                let texts = in_general(&self.aliases, texts.join("\n").as_bytes());
                for (verb, kind) in [("lines", 2), ("more", 3)] {
                    let lines = [&[6, 1, place, kind][..], &length(&texts), &texts].concat();
                    seeds.push((format!("{verb}{name}"), lines));
                }
            }
        }
        seeds
    }

    fn take(&mut self, input: &[u8]) {
        let [first, second, edits @ ..] = input else { return };
        let mut tree = self.tree.clone();
        let mut touched = BTreeSet::new();
        for (path, edit) in self.read(edits) {
            touched.insert(path.clone());
            edit.make(&mut tree, path);
        }
        tree.values().for_each(|file| documents(file));
        self.restore(&tree).expect("a file system in memory takes files");
        let taken = self.taken(&tree, &touched);
        let given = self.act(*first);
        assert!(given.iter().all(|address| !taken.contains(address)), "{given:?} of {taken:?}");
        // What the first made of the files holds what they held, unless it let go of some.
        let given = self.act(*second);
        let kept = place(*first).1 == Addresses::Keep;
        assert!(!kept || given.iter().all(|address| !taken.contains(address)), "then {given:?} of {taken:?}");
    }
}

impl Files {
    /// Does something, and returns the addresses that a container was given. Each sees the files anew, as another
    /// process would.
    fn act(&self, action: u8) -> Vec<IpAddr> {
        let (action, _) = place(action);
        let (done, _) = kernel::play(Vec::new(), || action(&Host::open()?, &self.visitor));
        done.unwrap_or_else(|refused| {
            told(&*refused);
            Vec::new()
        })
    }

    fn furnish() -> Result<Self, Box<dyn Error>> {
        // SAFETY: the process has one thread, as `begin` promises. What is not found cannot be started for each input.
        #[allow(unsafe_code)]
        unsafe {
            env::set_var("PATH", "/nowhere");
        }
        let lab = Lab::enter()?;
        let host = Host::builder().open()?;
        let web = Network::bridge("web".parse()?).subnet("10.88.0.0/24".parse()?).label("a", "b").ipv6();
        let (web, db) = (host.ensure_network(&web)?, Network::bridge("db".parse()?));
        let db = host.ensure_network(&db.subnet("10.88.1.0/29".parse()?))?;
        let containers = [NetNs::create_anonymous()?, NetNs::create_anonymous()?];
        let a = Container::new("a".parse()?).on(Endpoint::of(&web)).publish(Publish::tcp(80).at(8000));
        let b = Container::new("b".parse()?).on(Endpoint::of(&db)).on(Endpoint::of(&web));
        host.attach(&containers[0], &a)?;
        host.attach(&containers[1], &b.publish(Publish::udp(53).at(5300).on([127, 0, 0, 1].into())))?;
        let visitor = NetNs::create_anonymous()?;
        let k = host.attach(&visitor, &Container::new("k".parse()?).on(Endpoint::of(&web)))?;
        host.detach_with(k.id(), Addresses::Keep)?;
        let kept = host.reservations(web.name())?.iter().map(Reservation::address).collect();
        drop(host);
        let mut tree = BTreeMap::new();
        FOLDERS.iter().try_for_each(|folder| gather(Path::new(folder), &mut tree))?;
        let aliases = aliases(&containers)?;
        let mut places = places(&tree);
        places.sort_by_cached_key(|path| in_general(&aliases, path.as_os_str().as_encoded_bytes()));
        Ok(Self { _lab: lab, visitor, _containers: containers, tree, places, aliases, kept })
    }

    /// What belongs at this path: what is there, or what is there of its kind.
    fn like(&self, path: &Path) -> Vec<u8> {
        let name = path.file_name();
        let namesake = || self.tree.iter().find(|(other, _)| other.file_name() == name).map(|(_, file)| file);
        self.tree.get(path).or_else(namesake).cloned().unwrap_or_default()
    }

    fn read(&self, mut bytes: &[u8]) -> Vec<(PathBuf, Edit)> {
        let mut edits = Vec::new();
        while let [place, kind, low, high, rest @ ..] = bytes {
            let length = usize::from(u16::from_le_bytes([*low, *high]));
            let (content, behind) = rest.split_at(length.min(rest.len()));
            let content =
                replaced(content, &self.aliases.iter().map(|(actual, alias)| (*alias, actual.as_str())));
            let edit = match kind % 6 {
                0 => Edit::Replace(content),
                1 => Edit::Append(content),
                2 => Edit::Lines(content),
                3 => Edit::AppendLines(content),
                4 => Edit::Cut(length),
                _ => Edit::Remove,
            };
            edits.push((self.places[usize::from(*place) % self.places.len()].clone(), edit));
            bytes = if matches!(kind % 6, 4 | 5) { rest } else { behind };
        }
        edits
    }

    /// Makes the folders hold just these files.
    fn restore(&self, tree: &BTreeMap<PathBuf, Vec<u8>>) -> io::Result<()> {
        for folder in FOLDERS {
            clear(Path::new(folder))?;
        }
        for (path, file) in tree {
            path.parent().map_or(Ok(()), fs::create_dir_all)?;
            fs::write(path, file)?;
        }
        Ok(())
    }

    /// What nobody else may be given: what is kept, as long as the files that say so are as they were; and where nothing
    /// but leases was edited, those that are there as they were, before the first byte that is not.
    fn taken(&self, tree: &BTreeMap<PathBuf, Vec<u8>>, touched: &BTreeSet<PathBuf>) -> BTreeSet<IpAddr> {
        let within = |folder: &str| touched.iter().all(|path| path.starts_with(folder));
        if !within(LEASES) {
            return if within(FOLDERS[0]) { self.kept.clone() } else { BTreeSet::new() };
        }
        let leases = tree.iter().filter(|(path, _)| path.starts_with(LEASES));
        leases
            .flat_map(|(path, file)| ledger::intact_leases(&self.like(path), file))
            .chain(self.kept.iter().copied())
            .collect()
    }
}

impl Edit {
    fn make(self, tree: &mut BTreeMap<PathBuf, Vec<u8>>, path: PathBuf) {
        match self {
            Self::Replace(content) => _ = tree.insert(path, content),
            Self::Append(content) => tree.entry(path).or_default().extend_from_slice(&content),
            Self::Lines(texts) => _ = tree.insert(path, ledger::write(&texts, true)),
            Self::AppendLines(texts) => {
                tree.entry(path).or_default().extend_from_slice(&ledger::write(&texts, false));
            }
            Self::Cut(length) => tree.entry(path).or_default().truncate(length),
            Self::Remove => _ = tree.remove(&path),
        }
    }
}

/// What this byte stands for, and what becomes of the addresses that others have.
fn place(action: u8) -> (Action, Addresses) {
    ACTIONS[usize::from(action) % ACTIONS.len()]
}

/// The ids, the boot and the namespaces of this host.
fn aliases(containers: &[NetNs; 2]) -> Result<Vec<Alias>, Box<dyn Error>> {
    let host = Host::open()?;
    let network = |name: &str| {
        let network = host.networks()?.into_iter().find(|network| network.name().as_str() == name);
        Ok::<_, linkspan::Error>(network.map(|network| network.id().to_string()).unwrap_or_default())
    };
    let [first, second] = containers;
    Ok(vec![
        (host.find("a")?.id().to_string(), "aaaaaaaaaaaaaaaa"),
        (host.find("b")?.id().to_string(), "bbbbbbbbbbbbbbbb"),
        (network("web")?, "eeeeeeeeeeee"),
        (network("db")?, "dddddddddddd"),
        (fs::read_to_string("/proc/sys/kernel/random/boot_id")?.trim_end().to_owned(), "BOOT"),
        (NetNs::current()?.cookie().to_string(), "9000000000"),
        (first.cookie().to_string(), "9000000001"),
        (second.cookie().to_string(), "9000000002"),
    ])
}

/// The bytes as they are on every host.
fn in_general(aliases: &[Alias], bytes: &[u8]) -> Vec<u8> {
    replaced(bytes, &aliases.iter().map(|(actual, alias)| (actual.as_str(), *alias)))
}

/// The bytes with each of these texts replaced.
fn replaced<'a>(mut bytes: &[u8], words: &(impl Iterator<Item = (&'a str, &'a str)> + Clone)) -> Vec<u8> {
    let mut done = Vec::with_capacity(bytes.len());
    while let Some(first) = bytes.first() {
        let found = words.clone().find(|(from, _)| !from.is_empty() && bytes.starts_with(from.as_bytes()));
        let (from, to) =
            found.map_or((1, std::slice::from_ref(first)), |(from, to)| (from.len(), to.as_bytes()));
        done.extend_from_slice(to);
        bytes = bytes.get(from..).unwrap_or_default();
    }
    done
}

fn length(content: &[u8]) -> [u8; 2] {
    u16::try_from(content.len()).unwrap_or(u16::MAX).to_le_bytes()
}

/// Every file that is there, and what is being made or taken away.
fn places(tree: &BTreeMap<PathBuf, Vec<u8>>) -> Vec<PathBuf> {
    let pending = |path: &PathBuf| {
        let record = path.starts_with("/run/linkspan/attachments") || path.starts_with("/run/linkspan/up");
        let name = path.file_name().filter(|_| record)?;
        Some(Path::new("/run/linkspan/pending").join(name))
    };
    let unlocked = tree.keys().filter(|path| !path.starts_with("/run/linkspan/locks"));
    let pending = tree.keys().filter_map(pending);
    unlocked.cloned().chain(pending).collect()
}

fn gather(folder: &Path, tree: &mut BTreeMap<PathBuf, Vec<u8>>) -> io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        match path.is_dir() {
            true => gather(&path, tree)?,
            false => _ = tree.insert(path.clone(), fs::read(&path)?),
        }
    }
    Ok(())
}

fn clear(folder: &Path) -> io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_dir() { clear(&path)? } else { fs::remove_file(&path)? }
    }
    Ok(())
}

/// What is read of a document is written and read as the same.
fn documents(file: &[u8]) {
    if let Ok(network) = serde_json::from_slice::<DefinedNetwork>(file) {
        let again = serde_json::to_vec(&network).expect("what was read can be written");
        assert_eq!(serde_json::from_slice::<DefinedNetwork>(&again).ok(), Some(network));
    }
    let record = serde_json::from_slice::<Value>(file.split(|&b| b == b'\n').next().unwrap_or_default());
    let attachment = record.ok().and_then(|record| record.get("attachment").cloned());
    if let Some(Ok(attachment)) = attachment.map(serde_json::from_value::<Attachment>) {
        let again = serde_json::to_vec(&attachment).expect("what was read can be written");
        assert_eq!(serde_json::from_slice::<Attachment>(&again).ok(), Some(attachment));
    }
}

fn look(host: &Host, _: &NetNs) -> Result<Vec<IpAddr>, Box<dyn Error>> {
    for refused in [host.networks().err(), host.attachments().err(), host.find("a").err()] {
        refused.iter().for_each(|why| drop((told(why), why.remedy().map(|remedy| remedy.to_string()))));
    }
    let found = host.doctor()?;
    found.to_string();
    host.view(None)?;
    host.rules_text()?;
    Ok(Vec::new())
}

fn plans(host: &Host, visitor: &NetNs) -> Result<Vec<IpAddr>, Box<dyn Error>> {
    for refused in [host.plan_reconcile().err(), host.plan_gc().err()] {
        refused.iter().for_each(|why| drop(told(why)));
    }
    host.plan_attach(visitor, &wanted()?)?.to_string();
    Ok(Vec::new())
}

fn explain(host: &Host, _: &NetNs) -> Result<Vec<IpAddr>, Box<dyn Error>> {
    host.explain(&Question::parse("a", "b:53/udp")?)?.to_string();
    host.explain(&Question::parse("outside", "host:8000")?)?.to_string();
    Ok(Vec::new())
}

fn repair(host: &Host, _: &NetNs) -> Result<Vec<IpAddr>, Box<dyn Error>> {
    host.repair()?;
    Ok(Vec::new())
}

fn reconcile(host: &Host, _: &NetNs) -> Result<Vec<IpAddr>, Box<dyn Error>> {
    host.reconcile()?.to_string();
    Ok(Vec::new())
}

fn gc(host: &Host, _: &NetNs) -> Result<Vec<IpAddr>, Box<dyn Error>> {
    host.gc()?;
    Ok(Vec::new())
}

fn wanted() -> Result<Container, Box<dyn Error>> {
    let container = Container::new("c".parse()?).on(Endpoint::new("web".parse()?));
    Ok(container.publish(Publish::tcp(80).at(8001)))
}

fn attach(host: &Host, visitor: &NetNs) -> Result<Vec<IpAddr>, Box<dyn Error>> {
    let attachment = host.attach(visitor, &wanted()?)?;
    Ok(attachment.endpoints().iter().map(|endpoint| endpoint.address().addr()).collect())
}

fn detach(host: &Host, _: &NetNs) -> Result<Vec<IpAddr>, Box<dyn Error>> {
    host.detach_named(&"a".parse()?)?;
    Ok(Vec::new())
}

fn create_network(host: &Host, _: &NetNs) -> Result<Vec<IpAddr>, Box<dyn Error>> {
    host.ensure_network(&Network::bridge("new".parse()?))?;
    Ok(Vec::new())
}

fn remove_network(host: &Host, _: &NetNs) -> Result<Vec<IpAddr>, Box<dyn Error>> {
    host.remove_network_and_attachments(&"web".parse()?)?;
    Ok(Vec::new())
}

fn detach_keeping(host: &Host, _: &NetNs) -> Result<Vec<IpAddr>, Box<dyn Error>> {
    host.detach_with(host.find("b")?.id(), Addresses::Keep)?;
    Ok(Vec::new())
}

fn release(host: &Host, _: &NetNs) -> Result<Vec<IpAddr>, Box<dyn Error>> {
    let web = "web".parse()?;
    for kept in host.reservations(&web)? {
        crate::assert_one_line(&kept);
        host.release_address(&web, kept.address())?;
    }
    Ok(Vec::new())
}
