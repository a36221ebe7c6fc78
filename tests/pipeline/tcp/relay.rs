//! Stands between host and server, and counts round trips: how often the client says something
//! after the server has.

use std::io::{Read, Write};
use std::net::{IpAddr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;

use support::anywhere;

/// The round trips of all connections.
#[derive(Clone, Default)]
pub(super) struct Counted(Arc<AtomicU64>);

impl Counted {
    pub(super) fn trips(&self) -> u64 {
        self.0.load(Ordering::SeqCst)
    }
}

/// Relays to PostgreSQL's port at an address. Ends with the test's process.
pub(super) fn start(server: IpAddr) -> (SocketAddr, Counted) {
    let listener = TcpListener::bind(anywhere()).unwrap();
    let (address, counted) = (listener.local_addr().unwrap(), Counted::default());
    let counts = counted.clone();
    thread::spawn(move || {
        for client in listener.incoming().map(Result::unwrap) {
            connect(client, TcpStream::connect((server, 5432)).unwrap(), &counts);
        }
    });
    (address, counted)
}

fn connect(client: TcpStream, server: TcpStream, counts: &Counted) {
    client.set_nodelay(true).unwrap();
    server.set_nodelay(true).unwrap();
    let (from, to) = (client.try_clone().unwrap(), server.try_clone().unwrap());
    let answered = Arc::new(AtomicBool::new(true));
    let (asked, counts) = (Arc::clone(&answered), counts.clone());
    thread::spawn(move || {
        pass_on(from, to, || {
            if asked.swap(false, Ordering::SeqCst) {
                counts.0.fetch_add(1, Ordering::SeqCst);
            }
        });
    });
    thread::spawn(move || pass_on(server, client, || answered.store(true, Ordering::SeqCst)));
}

/// `note` is called before each piece is passed on.
fn pass_on(mut from: TcpStream, mut to: TcpStream, note: impl Fn()) {
    let mut buffer = vec![0; 64 << 10];
    // An error is an end as well.
    while let Ok(read @ 1..) = from.read(&mut buffer) {
        note();
        if to.write_all(&buffer[..read]).is_err() {
            break;
        }
    }
    drop(to.shutdown(Shutdown::Write));
}
