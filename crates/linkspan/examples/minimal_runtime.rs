//! The smallest container runtime: a program in namespaces of its own, a network, a published port.
//!
//! The network is ready before the program's first instruction, and gone after its last one, also where it
//! could not be started. As an ordinary user, or with `--lab`, it all happens on a private machine:
//!
//! ```console
//! $ cargo run -p linkspan --features lab --example minimal_runtime -- --lab 8080:80 ip address
//! ```

// An example has nothing but its words to show.
#![allow(clippy::print_stdout)]

use linkspan::lab::Lab;
use linkspan::{Container, Endpoint, Host, Mode, NetNs, NetworkName, Pid, Prepared, Publish};
use std::os::unix::fs::MetadataExt;
use std::process::{Command, ExitCode, ExitStatus};

type Anything = Box<dyn std::error::Error>;

fn main() -> Result<ExitCode, Anything> {
    let mut words: Vec<String> = std::env::args().skip(1).collect();
    let in_lab = words.first().is_some_and(|word| word == "--lab");
    words.drain(..usize::from(in_lab));
    let [ports, program, arguments @ ..] = &words[..] else {
        return Err("usage: minimal_runtime [--lab] [HOSTPORT:]PORT[/PROTO] COMMAND [ARG...]".into());
    };
    let published = Publish::parse(ports)?;
    // A lab is entered by a process of one thread, so this comes before anything that starts one.
    let ordinary_user = std::fs::metadata("/proc/self")?.uid() != 0;
    let _lab = if in_lab || ordinary_user { Some(Lab::enter()?) } else { None };

    let mut command = Command::new(program);
    command.args(arguments);
    let status = run(&Host::open()?, published, command)?;
    Ok(ExitCode::from(status.code().and_then(|code| u8::try_from(code).ok()).unwrap_or(u8::MAX)))
}

/// Runs one container, from attaching to detaching.
fn run(host: &Host, published: Vec<Publish>, command: Command) -> Result<ExitStatus, Anything> {
    let name = format!("minimal-{}", std::process::id()).parse()?;
    let wanted = Container::new(name).on(Endpoint::new(NetworkName::default_bridge()));
    let wanted = published.into_iter().fold(wanted, Container::publish);

    // A network namespace and a thread in it, attached to the bridge; with a hostname, a UTS namespace too.
    // Where this is refused, nothing is left behind.
    let prepared = host.prepare(&Mode::Bridge, &wanted, Some("minimal".parse()?))?;
    let attachment = prepared.attachment().ok_or("bridge mode attaches")?;
    for endpoint in attachment.endpoints() {
        println!("{} has {} on network {}", endpoint.link(), endpoint.address(), endpoint.network());
    }
    for port in attachment.published() {
        println!("{port}");
    }

    // Detaching needs nothing but the id; any process could do it, at any time.
    let ended = supervise(host, &prepared, command);
    host.detach(attachment.id())?;
    ended
}

/// Starts the program in the prepared namespaces, and waits for it.
fn supervise(host: &Host, prepared: &Prepared, command: Command) -> Result<ExitStatus, Anything> {
    let mut child = prepared.spawn(command)?;
    // From now on the namespace is found with the program: should this runtime be killed, others still see
    // whether the container lives. One that has ended already has no namespace, and need not be found.
    let netns = Pid::new(child.id()).and_then(|pid| NetNs::of_pid(pid).ok());
    if let (Some(attachment), Some(netns)) = (prepared.attachment(), netns) {
        host.hand_over(attachment.id(), &netns)?;
    }
    Ok(child.wait()?)
}
