//! What Docker starts for each published port: a process that copies what it hears.

use std::io::Read as _;
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use crate::world::Trouble;

/// Where Debian has it, and others.
const PLACES: [&str; 3] =
    ["/usr/sbin/docker-proxy", "/usr/bin/docker-proxy", "/usr/libexec/docker/docker-proxy"];
/// It says on descriptor 3 when it listens.
const START: &str = r#"exec "$@" 3>&1"#;

/// The program, where it is installed.
pub(crate) fn find() -> Option<PathBuf> {
    PLACES.iter().map(PathBuf::from).find(|path| path.is_file())
}

/// One that listens.
#[derive(Debug)]
pub(crate) struct Proxy(Child);

impl Proxy {
    /// Starts it on the host where the calling thread is.
    pub(crate) fn start(program: &Path, port: u16, to: Ipv4Addr) -> Result<Self, Trouble> {
        let mut command = Command::new("sh");
        command.args(["-c", START, "sh"]).arg(program).args(["-proto", "tcp", "-host-ip", "0.0.0.0"]);
        command.args([
            "-host-port",
            &port.to_string(),
            "-container-ip",
            &to.to_string(),
            "-container-port",
            "80",
        ]);
        let mut child = command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn()?;
        let mut said = [0; 1];
        child.stdout.take().ok_or("no pipe")?.read_exact(&mut said)?;
        if said == *b"0" { Ok(Self(child)) } else { Err("docker-proxy does not listen".into()) }
    }

    pub(crate) fn stop(mut self) -> Result<(), Trouble> {
        self.0.kill()?;
        self.0.wait()?;
        Ok(())
    }
}
