//! Signals that `run` gets for its program.

use crate::fault::Fault;
use nix::libc::siginfo_t;
use nix::sys::signal::Signal;
use nix::unistd::{getpid, getsid};
use signal_hook::iterator::SignalsInfo;
use signal_hook::iterator::exfiltrator::raw::WithRawSiginfo;
use signal_hook::{SigId, flag, low_level};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

/// What is passed on; the first four tell a program that has not started yet to stay away.
const PASSED_ON: [Signal; 8] = [
    Signal::SIGHUP,
    Signal::SIGINT,
    Signal::SIGQUIT,
    Signal::SIGTERM,
    Signal::SIGUSR1,
    Signal::SIGUSR2,
    Signal::SIGWINCH,
    Signal::SIGCONT,
];

/// Those that tell us to stop. Of a second one of the first two we end; the third may come twice at once, since
/// timeout(1) sends it to its child and to its group.
const TELLING: [Signal; 3] = [Signal::SIGINT, Signal::SIGQUIT, Signal::SIGTERM];

/// Catches signals from now on, until the process ends: no first signal can end it half-way.
#[derive(Debug)]
pub(crate) struct Signals {
    caught: SignalsInfo<WithRawSiginfo>,
    telling: Vec<Signal>,
    /// Whether we were told to stop while there was no program to pass it on to.
    told: Arc<AtomicBool>,
}

/// As long as it is there, who tells us to stop a second time ends us at once, as if nothing were caught.
#[derive(Debug)]
#[must_use = "once it is dropped, all signals are caught"]
pub(crate) struct Impatience(Vec<SigId>);

impl Drop for Impatience {
    fn drop(&mut self) {
        for id in self.0.drain(..) {
            low_level::unregister(id);
        }
    }
}

/// A signal that came.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Caught {
    pub(crate) signal: Signal,
    /// The program has it already: the terminal sends to every process in its foreground.
    pub(crate) shared: bool,
}

impl Signals {
    /// Starts to catch what is passed on, and the end of a child. A signal that is ignored already, as
    /// `nohup` has it, is left alone, since the program inherits that.
    pub(crate) fn catch() -> Result<Self, Fault> {
        let ignored = ignored(&std::fs::read_to_string("/proc/self/status").map_err(Fault::Signals)?);
        let is_heeded = |signal: &Signal| ignored & bit(*signal) == 0;
        let heeded = PASSED_ON.into_iter().filter(is_heeded);
        let numbers = heeded.chain([Signal::SIGCHLD]).map(|signal| signal as i32);
        let caught = SignalsInfo::new(numbers).map_err(Fault::Signals)?;
        let telling = TELLING.into_iter().filter(is_heeded).collect();
        Ok(Self { caught, telling, told: Arc::default() })
    }

    /// For work that may have to wait for others for as long as they like.
    pub(crate) fn end_when_told_twice(&self) -> Result<Impatience, Fault> {
        let mut impatience = Impatience(Vec::new());
        for signal in &self.telling {
            let (number, told) = (*signal as i32, || Arc::clone(&self.told));
            // In this order, or the first one would end us.
            if TELLING[..2].contains(signal) {
                let ends = flag::register_conditional_default(number, told()).map_err(Fault::Signals)?;
                impatience.0.push(ends);
            }
            impatience.0.push(flag::register(number, told()).map_err(Fault::Signals)?);
        }
        Ok(impatience)
    }

    /// What came meanwhile.
    pub(crate) fn pending(&mut self) -> impl Iterator<Item = Caught> {
        self.caught.pending().filter_map(|info| caught(&info))
    }

    /// Waits until a signal came; the end of a child is one, though it is not among what is returned.
    pub(crate) fn wait(&mut self) -> impl Iterator<Item = Caught> {
        self.caught.wait().filter_map(|info| caught(&info))
    }
}

/// Whether a signal says that there is no need to start.
pub(crate) fn tells_to_stop(signal: Signal) -> bool {
    PASSED_ON[..4].contains(&signal)
}

fn caught(info: &siginfo_t) -> Option<Caught> {
    let signal = Signal::try_from(info.si_signo).ok().filter(|signal| PASSED_ON.contains(signal))?;
    Some(Caught { signal, shared: info.si_code == SI_KERNEL && !is_hangup_of_leader(signal) })
}

/// The kernel itself: a terminal (asm-generic/siginfo.h).
const SI_KERNEL: i32 = 0x80;

/// A terminal that hangs up tells the session's leader alone (`tty_signal_session_leader`).
fn is_hangup_of_leader(signal: Signal) -> bool {
    signal == Signal::SIGHUP && getsid(None).is_ok_and(|leader| leader == getpid())
}

/// The ignored signals, as `proc_pid_status(5)` says them: bit 0 is signal 1.
fn ignored(status: &str) -> u64 {
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok()).unwrap_or_default()
}

const fn bit(signal: Signal) -> u64 {
    1 << (signal as i32 - 1)
}

/// Sends a signal to a child that was not waited for yet: until then its number is its own.
pub(crate) fn send(child: u32, signal: Signal) {
    let Ok(pid) = i32::try_from(child) else { return };
    // A program that became another user may be none that we can signal; then it is its user's to end.
    let _ = nix::sys::signal::kill(nix::unistd::Pid::from_raw(pid), signal);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_ignored_is_read() {
        let mask = ignored("Name:\tlinkspan\nSigBlk:\t0000000000000000\nSigIgn:\t0000000000001001\n");
        assert_ne!(mask & bit(Signal::SIGHUP), 0);
        assert_ne!(mask & bit(Signal::SIGPIPE), 0);
        assert_eq!(mask & bit(Signal::SIGTERM), 0);
        assert_eq!(ignored(""), 0);
    }
}
