//! The smallest web server: it answers every request with the address that it came from.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{IpAddr, Ipv6Addr, SocketAddr, TcpListener, TcpStream};
use std::thread;
use std::time::Duration;

/// Longer than anything takes here; a lost packet is sent again after one second.
const PATIENCE: Duration = Duration::from_secs(3);

/// Listens in the namespace that the calling thread is in, and serves until the process ends.
pub(super) fn serve(port: u16) -> io::Result<()> {
    let listener = TcpListener::bind((Ipv6Addr::UNSPECIFIED, port))?;
    thread::Builder::new().name("web".to_owned()).spawn(move || {
        for stream in listener.incoming().flatten() {
            // A client that gives up is none of the server's business.
            let _ = answer(&stream);
        }
    })?;
    Ok(())
}

fn answer(stream: &TcpStream) -> io::Result<()> {
    stream.set_read_timeout(Some(PATIENCE))?;
    let headers = BufReader::new(stream).lines();
    // The headers end with an empty line; nothing that asks here has a body.
    for line in headers {
        if line?.is_empty() {
            break;
        }
    }
    let mut stream = stream;
    let seen = stream.peer_addr()?.ip().to_canonical();
    write!(stream, "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nConnection: close\r\n\r\n{seen}\n")
}

/// Asks a server, and returns the address that it saw.
pub(super) fn ask(server: SocketAddr) -> io::Result<IpAddr> {
    let mut stream = TcpStream::connect_timeout(&server, PATIENCE)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    write!(stream, "GET / HTTP/1.1\r\nHost: {server}\r\nConnection: close\r\n\r\n")?;
    let mut answer = String::new();
    stream.take(4096).read_to_string(&mut answer)?;
    seen(&answer).ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, "not the answer of this server"))
}

/// The body of an answer.
fn seen(answer: &str) -> Option<IpAddr> {
    let (head, body) = answer.split_once("\r\n\r\n")?;
    head.starts_with("HTTP/1.1 200 ").then(|| body.trim_end().parse().ok())?
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_body_is_the_address_that_the_server_saw() {
        assert_eq!(seen("HTTP/1.1 200 OK\r\nA: b\r\n\r\n192.0.2.2\n"), Some(IpAddr::from([192, 0, 2, 2])));
        assert_eq!(seen("HTTP/1.1 500 No\r\n\r\n192.0.2.2\n"), None);
        assert_eq!(seen("192.0.2.2\n"), None);
        assert_eq!(seen(""), None);
    }
}
