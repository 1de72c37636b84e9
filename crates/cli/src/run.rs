//! `linkspan run`: a program in a namespace of its own, for as long as it runs.

use crate::args::Run;
use crate::container::resolve;
use crate::fault::{Fault, stays, tell};
use crate::signals::{self, Caught, Signals, tells_to_stop};
use crate::wish;
use linkspan::{AttachmentId, Container, ContainerName, Error, Host, Mode, NetNs, Pid, Prepared};
use nix::sys::signal::Signal;
use std::ffi::OsString;
use std::os::unix::process::ExitStatusExt;
use std::process::{Child, Command, ExitStatus};
use std::time::{SystemTime, UNIX_EPOCH};

/// Runs the program and returns its status; whatever happens to it, nothing of ours stays, unless we are ended by force.
pub(crate) fn run(host: &Host, args: &Run) -> Result<u8, Fault> {
    let (mode, container) = wanted(host, args)?;
    // From here on no signal that comes once ends this process: all are passed on to the program, and we clean up.
    let mut signals = Signals::catch()?;
    let impatience = signals.end_when_told_twice()?;
    let prepared = host.prepare(&mode, &container, args.hostname.clone());
    drop(impatience);
    tell(host);
    let prepared = prepared?;
    let id = prepared.attachment().map(linkspan::Attachment::id);
    let ended = supervise(host, &prepared, &args.command, &mut signals);
    // Where it is refused, all signals stay caught, and we clean up all the same.
    let _impatience = signals.end_when_told_twice();
    // The namespace is held meanwhile, so that no link of it goes while it is looked at.
    let detached = id.map_or(Ok(()), |id| host.detach(id).map(drop));
    drop(prepared);
    tell(host);
    detached.map_err(|refused| stays(container.name(), refused))?;
    ended
}

/// What is asked for, under a name that no other has where none is given.
pub(crate) fn wanted(host: &Host, args: &Run) -> Result<(Mode, Container), Fault> {
    let name = args.name.clone().unwrap_or_else(|| name(std::process::id(), SystemTime::now()));
    let (mode, container) = wish::container(name, &resolve(host, &args.endpoint)?)?;
    match (&mode, &args.hostname) {
        (Mode::Bridge | Mode::None, _) | (_, None) => Ok((mode, container)),
        _ => Err(Fault::Usage(format!("--hostname cannot be given with --network {}", mode.as_str()))),
    }
}

/// The process tells apart those of one moment, the moment those of one number.
fn name(process: u32, now: SystemTime) -> ContainerName {
    let moment = now.duration_since(UNIX_EPOCH).unwrap_or_default();
    let moment = moment.as_micros() & u128::from(u32::MAX);
    format!("run-{process}-{moment:08x}").parse().expect("letters, digits and hyphens are a name")
}

fn supervise(
    host: &Host,
    prepared: &Prepared,
    command: &[OsString],
    signals: &mut Signals,
) -> Result<u8, Fault> {
    if let Some(told) = signals.pending().find(|caught| tells_to_stop(caught.signal)) {
        return Ok(status_of_signal(told.signal as i32));
    }
    let mut child = start(prepared, command)?;
    // What came while it was being started came to us alone, or to what was not yet the program.
    signals.pending().for_each(|caught| signals::send(child.id(), caught.signal));
    let id = prepared.attachment().map(linkspan::Attachment::id);
    let ready = id.map_or(Ok(()), |id| hand_over(host, id, &child));
    let waited = ready.and_then(|()| wait(&mut child, signals));
    if waited.is_err() {
        // Without us its network goes: it is better ended than cut off.
        let _ = child.kill();
        let _ = child.wait();
    }
    waited.map(status)
}

fn start(prepared: &Prepared, command: &[OsString]) -> Result<Child, Fault> {
    let (program, arguments) =
        command.split_first().ok_or_else(|| Fault::Usage("no program is given".to_owned()))?;
    let mut command = Command::new(program);
    command.args(arguments);
    prepared.spawn(command).map_err(|source| Fault::Start { program: program.clone(), source })
}

/// Lets the namespace be found with the program, so that it can be detached when we are killed.
fn hand_over(host: &Host, id: AttachmentId, child: &Child) -> Result<(), Fault> {
    let Some(pid) = Pid::new(child.id()) else { return Ok(()) };
    // A program that has ended already, or was detached, has nothing that anyone would look for.
    let Ok(netns) = NetNs::of_pid(pid) else { return Ok(()) };
    match host.hand_over(id, &netns) {
        // It has gone elsewhere by itself, as `ip netns exec` does; we hold the one that is attached.
        Err(Error::OtherNamespace { .. } | Error::NoSuchAttachment { .. }) | Ok(_) => Ok(()),
        Err(refused) => Err(refused.into()),
    }
}

/// Waits for the program, and passes on what comes for it meanwhile.
fn wait(child: &mut Child, signals: &mut Signals) -> Result<ExitStatus, Fault> {
    loop {
        // Asked before each wait: it may have ended before its signal was caught.
        if let Some(status) = child.try_wait().map_err(Fault::Wait)? {
            return Ok(status);
        }
        for Caught { signal, shared } in signals.wait() {
            if !shared {
                signals::send(child.id(), signal);
            }
        }
    }
}

/// The program's status as a shell has it.
fn status(ended: ExitStatus) -> u8 {
    match (ended.code(), ended.signal()) {
        (Some(code), _) => u8::try_from(code).unwrap_or(u8::MAX),
        (None, signal) => status_of_signal(signal.unwrap_or(Signal::SIGKILL as i32)),
    }
}

fn status_of_signal(signal: i32) -> u8 {
    u8::try_from(signal).unwrap_or_default().saturating_add(128)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn statuses_are_those_of_a_shell() {
        assert_eq!(status(ExitStatus::from_raw(0)), 0);
        assert_eq!(status(ExitStatus::from_raw(7 << 8)), 7);
        assert_eq!(status(ExitStatus::from_raw(255 << 8)), 255);
        assert_eq!(status(ExitStatus::from_raw(15)), 143);
        assert_eq!(status_of_signal(64), 192);
    }

    #[test]
    fn a_generated_name_tells_processes_and_moments_apart() {
        let at = |micros| UNIX_EPOCH + Duration::from_micros(micros);
        assert_eq!(name(4711, at(0xabc)).as_str(), "run-4711-00000abc");
        assert_ne!(name(1, at(1)), name(1, at(2)));
        assert_ne!(name(1, at(1)), name(2, at(1)));
    }
}
