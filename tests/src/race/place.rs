//! Namespaces that somebody makes, and ends without telling anybody.

use super::deed::path;
use linkspan::NetNs;
use nix::sys::socket::{Shutdown, shutdown};
use std::io::{self, Read, Write};
use std::net::{Ipv6Addr, SocketAddr, TcpListener, TcpStream};
use std::os::fd::AsRawFd;
use std::thread;
use std::time::Duration;

/// How long one answer may take.
const PATIENCE: Duration = Duration::from_secs(1);

/// A namespace at a path, with a server at port 80 that says which namespace it is in.
pub(super) struct Place {
    number: usize,
    server: TcpListener,
}

impl Place {
    pub(super) fn make(number: usize) -> Self {
        let netns = NetNs::create(path(number)).unwrap();
        let bind = || TcpListener::bind((Ipv6Addr::UNSPECIFIED, 80));
        let server = netns.run(bind).unwrap().unwrap();
        let (twin, name) = (server.try_clone().unwrap(), netns.cookie().to_string());
        thread::spawn(move || {
            while let Ok((mut client, _)) = twin.accept() {
                // A client that went away has no use for an answer.
                let _ = client.write_all(name.as_bytes());
            }
        });
        Self { number, server }
    }

    /// Ends the namespace, and makes another in its place.
    pub(super) fn replace(&mut self) {
        NetNs::unpin(path(self.number)).unwrap();
        *self = Self::make(self.number);
    }

    /// Which namespace answers there.
    pub(super) fn ask(at: SocketAddr) -> io::Result<String> {
        let mut stream = TcpStream::connect_timeout(&at, PATIENCE)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer)?;
        Ok(answer)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        // Its thread waits for clients, and the socket would keep the namespace.
        shutdown(self.server.as_raw_fd(), Shutdown::Both).unwrap();
    }
}
