//! TCP_NODELAY for the connections to the database.
//!
//! Without it, the end of each `COPY` waits 40 ms: it is a small packet that the kernel holds back
//! until the server has acknowledged the data before it, and the server waits before it does so,
//! hoping for something to send along. sqlx 0.9.0 does not set the option (its issue 4335) and
//! shows nobody the socket, so the socket is found among those of the process, by the port that it
//! is connected to. TLS is on top of the same socket.
//!
//! Another connection of the process to the same port gets the option too, and a number may stand
//! for another socket by the time it is used. Neither does harm: nothing is sent, closed or
//! changed but when small packets leave.

use std::fs;
use std::io;
use std::os::fd::RawFd;

use socket2_by_number::SockRef;

/// The descriptors of this process, on Linux and on macOS.
const DESCRIPTORS: &str = "/dev/fd";

/// Sets the option on all connections of this process to `port`, and reads it back. Returns their
/// number.
///
/// # Errors
/// If no connection is found, or the option is not set on one of them afterwards.
pub(super) fn set(port: u16) -> io::Result<usize> {
    fail::fail_point!("store.no_delay", |_| Err(io::Error::other("a fault")));
    let mut connections = 0;
    for entry in fs::read_dir(DESCRIPTORS)? {
        let descriptor = entry?.file_name();
        let Some(descriptor) = descriptor.to_str().and_then(|it| it.parse::<RawFd>().ok()) else {
            continue;
        };
        let socket = SockRef::from(&descriptor);
        if !leads_to(&socket, port) {
            continue;
        }
        let set = socket.set_nodelay(true).and_then(|()| socket.nodelay());
        match set {
            Ok(true) => connections += 1,
            // Its end came in between.
            _ if !leads_to(&socket, port) => {}
            Ok(false) => return Err(io::Error::other("the socket does not keep TCP_NODELAY")),
            Err(error) => return Err(error),
        }
    }
    if connections == 0 {
        let message = format!("no socket of this process is connected to port {port}");
        return Err(io::Error::other(message));
    }
    Ok(connections)
}

/// True for a TCP connection to the port; false for anything else that a descriptor may be.
fn leads_to(socket: &SockRef<'_>, port: u16) -> bool {
    let peer = socket.peer_addr().ok().and_then(|peer| peer.as_socket());
    peer.is_some_and(|peer| peer.port() == port)
}

#[cfg(test)]
mod tests {
    use std::net::{Ipv6Addr, TcpListener, TcpStream};

    use super::set;

    #[test]
    fn connections_to_the_port_get_it_and_no_others() {
        let here = TcpListener::bind("127.0.0.1:0").unwrap();
        let elsewhere = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = here.local_addr().unwrap().port();
        let nobody = set(port).unwrap_err().to_string();
        assert!(nobody.contains(&format!("port {port}")), "{nobody}");

        let connect = |to: &TcpListener| TcpStream::connect(to.local_addr().unwrap()).unwrap();
        let (one, other, stranger) = (connect(&here), connect(&here), connect(&elsewhere));
        assert!(!one.nodelay().unwrap() && !other.nodelay().unwrap());
        assert_eq!(set(port).unwrap(), 2);
        assert!(one.nodelay().unwrap() && other.nodelay().unwrap());
        assert!(!stranger.nodelay().unwrap());
        // The server's own ends are not connections to the port.
        let (accepted, _) = here.accept().unwrap();
        assert_eq!(set(port).unwrap(), 2);
        assert!(!accepted.nodelay().unwrap());
        drop((one, other));
        assert!(set(port).is_err());
    }

    #[test]
    fn ipv6_is_no_exception() {
        // A machine may have none.
        let Ok(here) = TcpListener::bind((Ipv6Addr::LOCALHOST, 0)) else {
            return;
        };
        let stream = TcpStream::connect(here.local_addr().unwrap()).unwrap();
        assert_eq!(set(here.local_addr().unwrap().port()).unwrap(), 1);
        assert!(stream.nodelay().unwrap());
    }
}
