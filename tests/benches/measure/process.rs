//! One process for each call, as a runtime without a daemon works. The namespaces are there before.

use std::env;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::contest::{Contestant, interleave, timed};
use crate::floor;
use crate::hosts::{Linkspan, REAPED, Raw};
use crate::peers::{Peer, port};
use crate::report;
use crate::world::{Trouble, World};

const NUMBER: u16 = 0;
/// One that takes a hundred milliseconds takes fewer turns.
const SELDOM: usize = 5;

pub(crate) fn measure() -> Result<(), Trouble> {
    let mut peers = Peer::all()?;
    let loaded = Programs::beside(".")?.ok_or("the programs were not built")?;
    let linked = Programs::beside(STATIC)?;
    peers.iter().try_for_each(Peer::prepare)?;
    let [a, b, c, d] = [World::enter()?, World::enter()?, World::enter()?, World::enter()?];
    let (of_loaded, of_linked) = (Hosts::make(a, b, "process")?, Hosts::make(c, d, "static")?);
    let mut contestants = of_loaded.contestants(&loaded, ["floor", "linkspan"]);
    if let Some(linked) = &linked {
        contestants.extend(of_linked.contestants(linked, ["floor, static", "linkspan, static"]));
    }
    for peer in &mut peers {
        let turn = Contestant::new(peer.who(), move || {
            peer.world.host.enter()?;
            let netns = Namespace::make("peer")?;
            let (attach, ()) = timed(|| peer.attach(&netns.0, NUMBER))?;
            let (detach, ()) = timed(|| peer.detach(&netns.0, NUMBER))?;
            Ok([attach, detach])
        });
        contestants.push(turn.resting(REAPED).every(SELDOM));
    }
    let [attach, detach] = interleave(60, contestants)?;
    for (operation, times) in [("attach", attach), ("detach", detach)] {
        let (linked, loaded): (Vec<_>, Vec<_>) = times.into_iter().partition(|t| t.who.ends_with("static"));
        report::operation(&format!("{operation}, a process"), 0, &loaded);
        report::operation(&format!("{operation}, a static process"), 0, &linked);
    }
    if linked.is_none() {
        report::absent(
            "linkspan, static",
            concat!("`rustup target add ", env!("STATIC_TARGET"), "` makes it possible"),
        );
    }
    Ok(())
}

/// A host for the floor, and one for linkspan.
struct Hosts {
    floor: Raw,
    linkspan: Linkspan,
}

impl Hosts {
    /// Of worlds of which none is entered any more: their folders are where the last one's are.
    fn make(a: World, b: World, name: &'static str) -> Result<Self, Trouble> {
        Ok(Self { floor: Raw::build(a, name)?, linkspan: Linkspan::open(b, name)? })
    }

    fn contestants<'a>(&'a self, programs: &'a Programs, who: [&'static str; 2]) -> Vec<Contestant<'a, 2>> {
        let Self { floor, linkspan } = self;
        let product = &linkspan.product;
        let floor = Contestant::new(who[0], || {
            floor.world.host.enter()?;
            let netns = Namespace::make("floor")?;
            let run = |verb| run(Command::new(&programs.floor).arg(verb).arg(&netns.0));
            let (attach, ()) = timed(|| run("attach"))?;
            let (detach, ()) = timed(|| run("detach"))?;
            Ok([attach, detach])
        });
        let linkspan = Contestant::new(who[1], || {
            linkspan.world.host.enter()?;
            let netns = Namespace::make("linkspan")?;
            let run = |words: &[&str]| {
                run(product.on_its_folders(&mut Command::new(&programs.linkspan)).args(words))
            };
            let publish = format!("{}:80", port(NUMBER));
            let path = netns.0.to_string_lossy();
            let (attach, ()) =
                timed(|| run(&["attach", "one", "--netns", &path, "--network", "bench", "-p", &publish]))?;
            let (detach, ()) = timed(|| run(&["detach", "one"]))?;
            Ok([attach, detach])
        });
        vec![floor.resting(REAPED), linkspan.resting(REAPED)]
    }
}

/// A namespace below `/run/netns`, where all programs look, as long as this value.
pub(crate) struct Namespace(pub(crate) PathBuf);

impl Namespace {
    pub(crate) fn make(name: &str) -> io::Result<Self> {
        fs::create_dir_all("/run/netns")?;
        let path = Path::new("/run/netns").join(format!("bench-{name}"));
        floor::make_namespace(&path)?;
        Ok(Self(path))
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        // The next one of this name would say so.
        let _ = floor::unpin(&self.0);
    }
}

/// Programs of one C library: what xtask built for the machine as it is, or for one C library in them, which then needs
/// no loading.
struct Programs {
    floor: PathBuf,
    linkspan: PathBuf,
}

/// Where cargo puts what is linked statically, beside the rest.
const STATIC: &str = concat!("../", env!("STATIC_TARGET"), "/release");

impl Programs {
    /// Beside the folder of this program, or where this path leads from there; installed, which is to say copied: the
    /// pages of a file that a linker wrote lie apart, and are slower to come by.
    fn beside(path: &str) -> Result<Option<Self>, Trouble> {
        let this = env::current_exe()?;
        let folder = this.ancestors().nth(2).ok_or("no folder")?.join(path);
        let built = ["examples/floor", "linkspan"].map(|program| folder.join(program));
        if !built.iter().all(|program| program.is_file()) {
            return Ok(None);
        }
        let [floor, linkspan] = ["installed-floor", "installed-linkspan"].map(|program| folder.join(program));
        for (from, to) in built.iter().zip([&floor, &linkspan]) {
            // Written over, it would keep its pages.
            let _ = fs::remove_file(to);
            fs::copy(from, to)?;
        }
        Ok(Some(Self { floor, linkspan }))
    }
}

fn run(command: &mut Command) -> io::Result<()> {
    let status = command.stdin(Stdio::null()).stdout(Stdio::null()).status()?;
    if status.success() { Ok(()) } else { Err(io::Error::other(format!("{command:?} failed"))) }
}
