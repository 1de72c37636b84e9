//! Servers that answer with their name and with whom they see, and note every datagram that arrives.

use linkspan::NetNs;
use std::collections::BTreeMap;
use std::fmt;
use std::io::{self, Write};
use std::net::{IpAddr, SocketAddr, TcpListener, UdpSocket};
use std::str::FromStr;
use std::sync::{Arc, Mutex};
use std::thread;

/// Where a question arrived, and as whose.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Witness {
    pub(crate) server: String,
    pub(crate) client: IpAddr,
}

impl fmt::Display for Witness {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.server, self.client)
    }
}

impl FromStr for Witness {
    type Err = io::Error;

    fn from_str(text: &str) -> io::Result<Self> {
        let wrong = || io::Error::other(format!("answer {text:?}"));
        let (server, client) = text.split_once(' ').ok_or_else(wrong)?;
        Ok(Self { server: server.to_owned(), client: client.parse().map_err(|_| wrong())? })
    }
}

/// The datagrams that arrived anywhere, by the number that each carries.
#[derive(Clone, Debug, Default)]
pub(crate) struct Book(Arc<Mutex<BTreeMap<usize, Witness>>>);

impl Book {
    pub(crate) fn of(&self, number: usize) -> Option<Witness> {
        self.0.lock().unwrap().get(&number).cloned()
    }

    /// Serves TCP and UDP at this address of the namespace, to the end of the process.
    pub(crate) fn serve(&self, netns: &NetNs, name: &str, at: SocketAddr) {
        let bind = || Ok::<_, io::Error>((TcpListener::bind(at)?, UdpSocket::bind(at)?));
        let (tcp, udp) = netns.run(bind).unwrap().unwrap();
        let witness = |server: String| {
            move |peer: SocketAddr| Witness { server: server.clone(), client: peer.ip().to_canonical() }
        };
        let seen = witness(name.to_owned());
        thread::spawn(move || {
            for mut client in tcp.incoming().flatten() {
                let answer = client.peer_addr().map(|peer| seen(peer).to_string());
                // A client that went away has no use for an answer.
                let _ = answer.and_then(|answer| client.write_all(answer.as_bytes()));
            }
        });
        let (seen, book) = (witness(name.to_owned()), self.clone());
        thread::spawn(move || {
            let mut question = [0; 64];
            while let Ok((length, peer)) = udp.recv_from(&mut question) {
                let seen = seen(peer);
                book.note(&question[..length], &seen);
                let _ = udp.send_to(seen.to_string().as_bytes(), peer);
            }
        });
    }

    fn note(&self, question: &[u8], seen: &Witness) {
        if let Some(number) = str::from_utf8(question).ok().and_then(|text| text.parse().ok()) {
            self.0.lock().unwrap().insert(number, seen.clone());
        }
    }
}
