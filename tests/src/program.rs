//! Runs programs to their end, the `linkspan` command above all.

use std::env;
use std::ffi::OsStr;
use std::fmt;
use std::io::{Read, Write};
use std::os::unix::process::ExitStatusExt;
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::thread;
use std::time::{Duration, Instant};

/// No command of ours takes so long, whatever else the machine does.
pub(crate) const PATIENCE: Duration = Duration::from_secs(300);

/// Where cargo puts the command: beside the folder of the test binaries.
pub(crate) fn path_of_linkspan() -> PathBuf {
    beside_linkspan("linkspan")
}

fn beside_linkspan(program: &str) -> PathBuf {
    let test = env::current_exe().unwrap();
    let path = test.ancestors().nth(2).expect("tests are in target/PROFILE/deps").join(program);
    assert!(path.is_file(), "{} is missing: cargo build -p linkspan-cli", path.display());
    path
}

/// The programs of this crate that a line can begin with; they lie beside the tests, as examples.
const OWN: [&str; 1] = ["end"];

/// A command by a line of words: one of this crate's own programs, or linkspan.
pub(crate) fn command(line: &str) -> Command {
    let words = words(line);
    let own = words.first().filter(|first| OWN.contains(&first.as_str()));
    let path = own.map_or_else(path_of_linkspan, |own| beside_linkspan(&format!("examples/{own}")));
    let mut command = Command::new(path);
    command.args(&words[usize::from(own.is_some())..]);
    command
}

/// What came of a program.
#[derive(Debug)]
pub(crate) struct Ran {
    pub(crate) status: ExitStatus,
    pub(crate) out: String,
    pub(crate) err: String,
}

impl Ran {
    /// Its exit status; a program that was killed has none.
    pub(crate) fn code(&self) -> Option<i32> {
        self.status.code()
    }

    /// What it printed, where it ended well.
    #[track_caller]
    pub(crate) fn ok(self) -> String {
        assert!(self.status.success(), "{self}");
        self.out
    }
}

impl fmt::Display for Ran {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.status.code(), self.status.signal()) {
            (Some(code), _) => write!(f, "exit {code}")?,
            (None, signal) => write!(f, "signal {}", signal.unwrap_or_default())?,
        }
        write!(f, ", out: {:?}, err: {:?}", self.out, self.err)
    }
}

/// Runs a program to its end, in the namespaces of the calling thread.
#[track_caller]
pub(crate) fn run(command: &mut Command) -> Ran {
    run_within(command, PATIENCE)
}

/// Runs a program that may take so long.
#[track_caller]
pub(crate) fn run_within(command: &mut Command, patience: Duration) -> Ran {
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let ran = end_of(command.spawn().unwrap(), patience);
    ran.unwrap_or_else(|| panic!("{command:?} does not end"))
}

/// What comes of a child, with what it writes into its pipes; one that does not end in time is killed.
pub(crate) fn end_of(mut child: Child, patience: Duration) -> Option<Ran> {
    let out = child.stdout.take().map(collect);
    let err = child.stderr.take().map(collect);
    let Some(status) = wait(&mut child, patience) else {
        child.kill().unwrap();
        child.wait().unwrap();
        return None;
    };
    // Whoever it started may have them still.
    let text = |pipe: Option<Receiver<String>>| match pipe {
        Some(pipe) => pipe.recv_timeout(patience).ok(),
        None => Some(String::new()),
    };
    Some(Ran { status, out: text(out)?, err: text(err)? })
}

fn collect(mut pipe: impl Read + Send + 'static) -> Receiver<String> {
    let (whole, received) = channel();
    thread::spawn(move || {
        let mut bytes = Vec::new();
        pipe.read_to_end(&mut bytes).unwrap();
        // Who waits no longer has no use for it.
        let _ = whole.send(String::from_utf8_lossy(&bytes).into_owned());
    });
    received
}

/// Waits for a child, but not for ever.
pub(crate) fn wait(child: &mut Child, patience: Duration) -> Option<ExitStatus> {
    let until = Instant::now() + patience;
    loop {
        match child.try_wait().unwrap() {
            None if Instant::now() < until => thread::sleep(Duration::from_millis(2)),
            ended => return ended,
        }
    }
}

/// Runs a tool that must succeed, by a line of words, and returns what it printed.
#[track_caller]
pub(crate) fn tool(line: &str) -> String {
    let mut words = line.split_whitespace();
    let program = words.next().expect("a line names a program");
    let ran = run(Command::new(program).args(words));
    assert!(ran.status.success(), "{line}: {ran}");
    ran.out
}

/// Runs a tool that must succeed with this as its input.
#[track_caller]
pub(crate) fn feed(line: &str, input: &str) {
    ask(line, input);
}

/// Runs a tool that must succeed with this as its input, and returns what it printed.
#[track_caller]
pub(crate) fn ask(line: &str, input: &str) -> String {
    let mut words = line.split_whitespace();
    let mut command = Command::new(words.next().expect("a line names a program"));
    command.args(words).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    child.stdin.take().expect("it is piped").write_all(input.as_bytes()).unwrap();
    let ran = end_of(child, PATIENCE).unwrap_or_else(|| panic!("{line} does not end"));
    assert!(ran.status.success(), "{line}: {ran}");
    ran.out
}

/// The words of a line, those in single quotes as one.
pub(crate) fn words(line: &str) -> Vec<String> {
    let mut words = Vec::new();
    for (index, part) in line.split('\'').enumerate() {
        match index % 2 {
            0 => words.extend(part.split_whitespace().map(str::to_owned)),
            _ => words.push(part.to_owned()),
        }
    }
    words
}

/// Sends a signal, by the name that kill(1) has for it, to a process, or to a group where `to` is negative.
pub(crate) fn signal(name: &str, to: i64) {
    assert!(try_signal(name, to), "kill {name} {to}");
}

/// The same, and whether there was anyone to get it.
pub(crate) fn try_signal(name: &str, to: i64) -> bool {
    let to = to.to_string();
    let words: [&OsStr; 4] = ["-s".as_ref(), name.as_ref(), "--".as_ref(), to.as_ref()];
    Command::new("kill").args(words).stderr(Stdio::null()).status().unwrap().success()
}
