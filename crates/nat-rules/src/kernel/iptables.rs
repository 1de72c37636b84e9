use super::{HEADER, table};
use crate::iptables::shortfall::{self, Counted, NFTABLES, Place, Variant};
use crate::iptables::{Family, Plan, Seen, plan};
use crate::{Error, Instance, Ruleset};
use linkspan_net_types::Errno;
use linkspan_netlink::{Batch, Family as Netlink, Flags, Reply, Socket};
use nix::fcntl::{FcntlArg, FdFlag, fcntl};
use nix::sched::{CloneFlags, setns, unshare};
use nix::sys::memfd::{MFdFlags, memfd_create};
use std::fs::{self, File};
use std::io::{self, Read as _, Seek as _, Write as _};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::process::{Command, Output};
use std::thread;

/// How often a listing is asked for: one that lacks rules may have been overtaken by someone who writes, and where many
/// write, many are. It takes some milliseconds.
const LISTINGS: usize = 50;

/// For how long `iptables-restore` waits for the lock of all who write by iptables.
const LOCK_SECONDS: &str = "30";

/// The chains of an instance in the iptables of a network namespace.
///
/// It runs `iptables-save`, `iptables-restore` and their IPv6 twins, found by `PATH`, so it works with
/// either variant of them. What it makes is a whole table at a time: whoever looks and then applies holds a
/// lock that the other processes of the instance take too.
#[derive(Debug)]
pub struct Iptables {
    instance: Instance,
    /// The namespace that programs are run in; `None` for the caller's own.
    namespace: Option<OwnedFd>,
    /// What the programs keep open.
    kept: Option<OwnedFd>,
}

impl Iptables {
    /// Opens the iptables of the network namespace of whichever thread calls it later.
    pub const fn open(instance: Instance) -> Self {
        Self { instance, namespace: None, kept: None }
    }

    /// Opens the iptables of this network namespace.
    ///
    /// # Errors
    /// [`Error::Run`] where the descriptor cannot be copied.
    pub fn open_in(instance: Instance, namespace: BorrowedFd<'_>) -> Result<Self, Error> {
        let copied = namespace.try_clone_to_owned();
        let namespace = copied.map_err(|source| Error::Run { program: Family::V4.saves(), source })?;
        Ok(Self { instance, namespace: Some(namespace), kept: None })
    }

    /// Has every program that it runs keep this file open: a lock of flock(2) on it ends with the last of them, should
    /// their caller be killed while one of them still writes. Whatever the process closes while one runs stays open until
    /// that one ends.
    ///
    /// # Errors
    /// [`Error::Run`] where the descriptor cannot be copied.
    pub fn keeping(self, file: BorrowedFd<'_>) -> Result<Self, Error> {
        let copied = file.try_clone_to_owned();
        let kept = copied.map_err(|source| Error::Run { program: Family::V4.restores(), source })?;
        Ok(Self { kept: Some(kept), ..self })
    }

    /// Sees the chains of the instance. IPv6 counts as missing where the kernel or the program is.
    ///
    /// # Errors
    /// [`Error::Run`] and [`Error::Failed`]; [`Error::LeftOut`] where the program lists less than there is.
    pub fn look(&self) -> Result<Seen, Error> {
        let v4 = self.saved(Family::V4)?;
        let v6 = match self.saved(Family::V6) {
            Err(Error::Run { source, .. }) if source.kind() == io::ErrorKind::NotFound => None,
            saved => Some(saved?),
        };
        Ok(Seen::read(self.instance, &v4, v6.as_deref()))
    }

    /// Carries out a plan, IPv4 first. Each table is a transaction; the first one that is refused ends it.
    ///
    /// # Errors
    /// [`Error::Run`]; [`Error::Failed`] with the line that was refused.
    pub fn apply(&self, plan: &Plan) -> Result<(), Error> {
        for family in [Family::V4, Family::V6] {
            let script = plan.script(family);
            if !script.is_empty() {
                self.run(family.restores(), &["-w", LOCK_SECONDS, "--noflush"], script)?;
            }
        }
        Ok(())
    }

    /// Makes the chains hold just these rules. Returns what was done; the plan is empty where they do.
    ///
    /// # Errors
    /// As [`plan`], [`Self::look`] and [`Self::apply`].
    pub fn reconcile(&self, rules: &Ruleset) -> Result<Plan, Error> {
        let plan = plan(self.instance, rules, &self.look()?)?;
        self.apply(&plan)?;
        Ok(plan)
    }

    /// What the program of a family prints that saves its tables: all that there is of them.
    ///
    /// # Errors
    /// [`Error::LeftOut`] where it lacked something each time.
    pub(super) fn saved(&self, family: Family) -> Result<String, Error> {
        let program = family.saves();
        let mut attempts = 0;
        loop {
            let text = self.saved_by(program)?;
            let Some((table, chain)) = self.left_out(family, &text)? else { return Ok(text) };
            attempts += 1;
            if attempts == LISTINGS {
                return Err(Error::LeftOut { program, table, chain });
            }
        }
    }

    /// The first chain that a listing lacks rules of.
    fn left_out(&self, family: Family, text: &str) -> Result<Option<Place>, Error> {
        let variant = Variant::of(text);
        if variant == Variant::Legacy {
            return Ok(None);
        }
        let counted = self.counted(family)?;
        let lacking = shortfall::first(text, &counted).cloned();
        match variant {
            Variant::Unsaid if lacking.is_some() && !self.is_on_nftables(family)? => Ok(None),
            _ => Ok(lacking),
        }
    }

    fn is_on_nftables(&self, family: Family) -> Result<bool, Error> {
        let program = family.saves();
        let said = self.run(program, &["-V"], "")?;
        // It always says which version it is, and does not heed whether that was written.
        match said.is_empty() {
            true => Err(Error::Run { program, source: io::ErrorKind::UnexpectedEof.into() }),
            false => Ok(said.contains(NFTABLES)),
        }
    }

    /// How many rules of a family nftables has, which the programs of that variant write to.
    fn counted(&self, family: Family) -> Result<Counted, Error> {
        let mut socket = match &self.namespace {
            Some(namespace) => Socket::open_in(namespace.as_fd(), Netlink::Netfilter)?,
            None => Socket::open(Netlink::Netfilter)?,
        };
        let mut batch = Batch::new();
        batch.push(table::GET_RULE, Flags::DUMP, |body| body.bytes(&[family.number(), 0, 0, 0]));
        let rules = match socket.request(&mut batch) {
            // The kernel has no nftables.
            Err(e) if matches!(e.errno(), Some(Errno::EINVAL | Errno::EOPNOTSUPP)) => Vec::new(),
            rules => rules?,
        };
        let mut counted = Counted::new();
        rules.iter().filter_map(place_of).for_each(|place| *counted.entry(place).or_default() += 1);
        Ok(counted)
    }

    /// What a program prints that saves tables.
    pub(super) fn saved_by(&self, program: &'static str) -> Result<String, Error> {
        self.run(program, &[], "")
    }

    /// What a file says of the namespace.
    pub(super) fn read(&self, path: &str) -> io::Result<String> {
        self.inside(|| fs::read_to_string(path))
    }

    /// Works on a thread that ends in the namespace that it entered; the caller's thread never moves.
    fn inside<T: Send>(&self, work: impl FnOnce() -> io::Result<T> + Send) -> io::Result<T> {
        let inside = || {
            if let Some(namespace) = &self.namespace {
                setns(namespace.as_fd(), CloneFlags::CLONE_NEWNET)?;
            }
            if let Some(kept) = &self.kept {
                // What another thread starts meanwhile must not have it: the thread's descriptors are its own from here.
                unshare(CloneFlags::CLONE_FILES)?;
                fcntl(kept, FcntlArg::F_SETFD(FdFlag::empty()))?;
            }
            work()
        };
        thread::scope(|scope| {
            let thread = thread::Builder::new().spawn_scoped(scope, inside)?;
            thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
        })
    }

    fn run(&self, program: &'static str, arguments: &[&str], input: &str) -> Result<String, Error> {
        let output = self.inside(|| {
            if program == Family::V6.saves() && !has_ipv6()? {
                return Err(io::ErrorKind::NotFound.into());
            }
            run(program, arguments, input)
        });
        let output = output.map_err(|source| Error::Run { program, source })?;
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        // A table that was written is written; one that is listed without an extension is another.
        if output.status.success() && (!input.is_empty() || !lacks_extension(&said)) {
            return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
        }
        Err(Error::Failed { program, line: refused_line(&said, input), said })
    }
}

/// The chain that a rule of nftables is in.
fn place_of(rule: &Reply) -> Option<Place> {
    let attributes = rule.attributes(HEADER);
    let name = |number| Some(attributes.get(number)?.text()?.to_owned());
    Some((name(table::TABLE)?, name(table::RULE_CHAIN)?))
}

impl Family {
    /// `NFPROTO_IPV4` and `NFPROTO_IPV6` of `linux/netfilter.h`.
    const fn number(self) -> u8 {
        match self {
            Self::V4 => 2,
            Self::V6 => 10,
        }
    }

    pub(super) const fn saves(self) -> &'static str {
        match self {
            Self::V4 => "iptables-save",
            Self::V6 => "ip6tables-save",
        }
    }

    const fn restores(self) -> &'static str {
        match self {
            Self::V4 => "iptables-restore",
            Self::V6 => "ip6tables-restore",
        }
    }
}

/// Whether the kernel has IPv6.
fn has_ipv6() -> io::Result<bool> {
    fs::exists("/proc/thread-self/net/if_inet6")
}

/// Runs a program whose input and output are files in memory: no pipe can fill up, and nothing has to be
/// written and read at once.
fn run(program: &str, arguments: &[&str], input: &str) -> io::Result<Output> {
    let (mut stdin, mut stdout, mut stderr) = (memory()?, memory()?, memory()?);
    stdin.write_all(input.as_bytes())?;
    stdin.rewind()?;
    let mut taken = stdin.try_clone()?;
    let mut command = Command::new(program);
    command.args(arguments).env("LC_ALL", "C");
    command.stdin(stdin).stdout(stdout.try_clone()?).stderr(stderr.try_clone()?);
    let status = command.spawn()?.wait()?;
    if status.success() && usize::try_from(taken.stream_position()?).is_ok_and(|taken| taken < input.len()) {
        // It takes a failure to read for the end of its input, and says that all went well.
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    Ok(Output { status, stdout: whole(&mut stdout)?, stderr: whole(&mut stderr)? })
}

fn memory() -> io::Result<File> {
    Ok(memfd_create(c"iptables", MFdFlags::MFD_CLOEXEC)?.into())
}

fn whole(file: &mut File) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    file.rewind()?;
    file.read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// The extensions that rules of ours are made of.
const EXTENSIONS: [&str; 10] =
    ["addrtype", "conntrack", "sctp", "standard", "tcp", "udp", "DNAT", "MASQUERADE", "NAT", "SNAT"];

/// Whether a program could not load one of them: it goes on without, and lists rules without what that has to say.
fn lacks_extension(said: &str) -> bool {
    let name =
        |line: &str| Some(line.split_once(".so: ")?.0.rsplit_once("/lib")?.1.split_once('_')?.1.to_owned());
    said.lines().filter_map(name).any(|name| EXTENSIONS.contains(&name.as_str()))
}

/// The line of the input that a program's complaint names by its number, counted from 1.
fn refused_line(said: &str, input: &str) -> Option<String> {
    let mut words = said.split(|c: char| !c.is_ascii_alphanumeric()).filter(|word| !word.is_empty());
    words.find(|word| *word == "line")?;
    let number: usize = words.next()?.parse().ok()?;
    input.lines().nth(number.checked_sub(1)?).map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(said: &str, expected: Option<&str>) {
        assert_eq!(refused_line(said, "*nat\n:X - [0:0]\nCOMMIT\n").as_deref(), expected, "{said}");
    }

    #[test]
    fn an_extension_that_cannot_be_loaded_is_no_success() {
        let cannot =
            "/usr/lib/x86_64-linux-gnu/xtables/libxt_udp.so: cannot read file data: Input/output error";
        assert!(lacks_extension(&format!("# Warning: tables\n{cannot}\n")));
        let of_others = "/usr/lib/xtables/libxt_geoip.so: undefined symbol: geoip";
        let noise = "ERROR: ld.so: object 'x.so' from LD_PRELOAD cannot be preloaded: ignored.";
        for fine in ["", "# Warning: iptables-legacy tables present", noise, of_others] {
            assert!(!lacks_extension(fine), "{fine}");
        }
    }

    #[test]
    fn the_refused_line_is_found_in_the_complaint() {
        check("iptables-restore: line 2 failed", Some(":X - [0:0]"));
        check("Bad argument `x'\nError occurred at line: 3\nTry `iptables-restore -h'", Some("COMMIT"));
        check("iptables-restore v1.8.9 (nf_tables): line 4: no", None);
        check("iptables-restore: line 0 failed", None);
        check("no such thing", None);
    }
}
