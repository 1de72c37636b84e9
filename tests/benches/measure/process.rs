//! One process for each call, as a runtime without a daemon works. The namespaces are there before.

use std::env;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::contest::{Contestant, interleave, timed};
use crate::floor::{self, Floor};
use crate::hosts::{Linkspan, REAPED, Raw};
use crate::peers::{Peer, port};
use crate::report;
use crate::world::{Trouble, World};

/// The word by which this program becomes the floor's.
pub(crate) const FLOOR: &str = "floor";
const NUMBER: u16 = 0;
/// One that takes a hundred milliseconds takes fewer turns.
const SELDOM: usize = 5;

pub(crate) fn measure() -> Result<(), Trouble> {
    let [a, b] = [World::enter()?, World::enter()?];
    let mut peers = Peer::all()?;
    let (floor, linkspan) = (Raw::build(a, "floor")?, Linkspan::open(b, "process")?);
    let (this, command) = (env::current_exe()?, command_of_linkspan()?);
    peers.iter().try_for_each(Peer::prepare)?;
    let mut contestants = vec![
        Contestant::new("floor", || {
            floor.world.host.enter()?;
            let netns = Namespace::make("floor")?;
            let run = |verb| run(Command::new(&this).args([FLOOR, verb]).arg(&netns.0));
            let (attach, ()) = timed(|| run("attach"))?;
            let (detach, ()) = timed(|| run("detach"))?;
            Ok([attach, detach])
        })
        .resting(REAPED),
        Contestant::new("linkspan", || {
            linkspan.world.host.enter()?;
            let netns = Namespace::make("linkspan")?;
            let run = |words: &[&str]| {
                run(linkspan.product.on_its_folders(&mut Command::new(&command)).args(words))
            };
            let publish = format!("{}:80", port(NUMBER));
            let path = netns.0.to_string_lossy();
            let (attach, ()) =
                timed(|| run(&["attach", "one", "--netns", &path, "--network", "bench", "-p", &publish]))?;
            let (detach, ()) = timed(|| run(&["detach", "one"]))?;
            Ok([attach, detach])
        })
        .resting(REAPED),
    ];
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
    report::operation("attach, a process", 0, &attach);
    report::operation("detach, a process", 0, &detach);
    Ok(())
}

/// What this program does where it is started as the floor's.
pub(crate) fn as_floor(verb: &str, netns: &Path) -> Result<(), Trouble> {
    let mut floor = Floor::find()?;
    match verb {
        "attach" => Ok(floor.attach_at(netns, NUMBER)?),
        "detach" => Ok(floor.remove(NUMBER)?),
        _ => Err("the floor attaches and detaches".into()),
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

/// Beside the folder of this program, where cargo puts it.
fn command_of_linkspan() -> Result<PathBuf, Trouble> {
    let this = env::current_exe()?;
    let path = this.ancestors().nth(2).ok_or("no folder")?.join("linkspan");
    if path.is_file() { Ok(path) } else { Err(format!("{} is missing", path.display()).into()) }
}

fn run(command: &mut Command) -> io::Result<()> {
    let status = command.stdin(Stdio::null()).stdout(Stdio::null()).status()?;
    if status.success() { Ok(()) } else { Err(io::Error::other(format!("{command:?} failed"))) }
}
