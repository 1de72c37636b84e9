//! Who has which address: in memory, and in a file that several processes share.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};

use linkspan_ipam::{AddressSet, LeaseBook, Owner, Subnet, Wanted};
use linkspan_records::Folder;
use nix::fcntl::{Flock, FlockArg};

use crate::contest::{Contestant, interleave, timed};
use crate::peers;
use crate::report;
use crate::world::{Trouble, World};

const SUBNET: &str = "10.88.0.0/16";
/// How many are leased already; the last one leaves few of a /16.
const SIZES: [u16; 3] = [0, 1000, 65_000];
/// So many at once, since one is faster than a clock.
const MANY: usize = 500;
/// A program that is started each time takes milliseconds.
const SELDOM: usize = 20;

pub(crate) fn measure() -> Result<(), Trouble> {
    let _world = World::enter()?;
    SIZES.into_iter().try_for_each(in_memory)?;
    SIZES.into_iter().try_for_each(in_a_file)
}

fn in_memory(size: u16) -> Result<(), Trouble> {
    let subnet: Subnet = SUBNET.parse()?;
    let mut bits = Bits::full_to(usize::from(size) + 2);
    let mut set = AddressSet::new();
    (0..size).try_for_each(|_| set.take_lowest(&subnet).map(drop))?;
    let [take, give] = interleave(
        200,
        vec![
            Contestant::new("floor", || {
                let (take, taken) = timed(|| Ok::<_, Trouble>([(); MANY].map(|()| bits.take())))?;
                let (give, ()) = timed(|| bits.give_all(&taken))?;
                Ok([take, give])
            }),
            Contestant::new("linkspan", || {
                let (take, taken) =
                    timed(|| (0..MANY).map(|_| set.take_lowest(&subnet)).collect::<Result<Vec<_>, _>>())?;
                let (give, _) =
                    timed(|| Ok::<_, Trouble>(taken.iter().filter(|address| set.remove(**address)).count()))?;
                Ok([take, give])
            }),
        ],
    )?;
    report::operation("take 500 addresses, in memory", size, &take);
    report::operation("give them back, in memory", size, &give);
    Ok(())
}

/// The least that knows who is free: a bit each, and where the search begins.
struct Bits {
    words: Vec<u64>,
    first: usize,
}

impl Bits {
    fn full_to(taken: usize) -> Self {
        let mut bits = Self { words: vec![0; 1024], first: 0 };
        for _ in 0..taken {
            bits.take();
        }
        bits
    }

    fn take(&mut self) -> usize {
        while self.words[self.first] == u64::MAX {
            self.first = (self.first + 1) % self.words.len();
        }
        let bit = self.words[self.first].trailing_ones() as usize;
        self.words[self.first] |= 1 << bit;
        self.first * 64 + bit
    }

    fn give_all(&mut self, taken: &[usize]) -> Result<(), Trouble> {
        for bit in taken {
            self.words[bit / 64] &= !(1 << (bit % 64));
            self.first = self.first.min(bit / 64);
        }
        Ok(())
    }
}

fn in_a_file(size: u16) -> Result<(), Trouble> {
    let subnet: Subnet = SUBNET.parse()?;
    let book = LeaseBook::open(&Folder::open("/run/bench-leases".as_ref())?, &format!("net-{size}").parse()?);
    let (many, one): (Owner, Owner) = ("many".parse()?, "one".parse()?);
    (0..size).try_for_each(|_| book.lease(&subnet, &many, Wanted::Any, &mut |_| true).map(drop))?;
    let log = OpenOptions::new().append(true).create(true).open("/run/bench-leases.floor")?;
    let mut log = Log(Some(log));
    let mut contestants = vec![
        Contestant::new("floor", || {
            let (lease, ()) = timed(|| log.append(b"lease 10.88.0.2 0123456789abcdef\n"))?;
            let (release, ()) = timed(|| log.append(b"release 10.88.0.2\n"))?;
            Ok([lease, release])
        }),
        Contestant::new("linkspan", || {
            let (lease, address) = timed(|| book.lease(&subnet, &one, Wanted::Any, &mut |_| true))?;
            let (release, _) = timed(|| book.release(address, &one))?;
            Ok([lease, release])
        }),
    ];
    match peers::HostLocal::find() {
        Some(plugin) if size == 0 => contestants.push(
            Contestant::new("host-local", move || {
                let (lease, ()) = timed(|| plugin.lease())?;
                let (release, ()) = timed(|| plugin.release())?;
                Ok([lease, release])
            })
            .every(SELDOM),
        ),
        Some(_) => report::absent("host-local", &format!("{size} leases take it a minute or more to make")),
        None => report::absent("host-local", "not installed"),
    }
    let [lease, release] = interleave(400, contestants)?;
    report::operation("lease, across processes", size, &lease);
    report::operation("release, across processes", size, &release);
    Ok(())
}

/// A log that is locked while a line is written.
struct Log(Option<File>);

impl Log {
    fn append(&mut self, line: &[u8]) -> io::Result<()> {
        let file = self.0.take().ok_or(io::ErrorKind::NotFound)?;
        let mut locked = Flock::lock(file, FlockArg::LockExclusive).map_err(|(_, errno)| errno)?;
        locked.write_all(line)?;
        self.0 = Some(locked.unlock().map_err(|(_, errno)| errno)?);
        Ok(())
    }
}
