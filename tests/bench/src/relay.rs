//! What stands between host and server: a network that takes its time, or the end of TLS for a
//! server that has none. Relays are at work on the same cores as all else, so each way through one
//! has to be compared with another way through one.

use std::collections::VecDeque;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::{Duration, Instant};
use std::{io, thread};

use tokio::io::{AsyncReadExt, AsyncWriteExt, copy_bidirectional_with_sizes};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};

/// What is read at once.
const PORTION: usize = 128 << 10;

/// Bytes that a network has under way in one direction: more than a time of its own and the speed
/// of any server call for.
const UNDER_WAY: usize = 16 << 20;

/// The certificate of the tests' databases, and its key.
pub(crate) const CERTIFICATE: &str = include_str!("../../support/pem/database/server.pem");
pub(crate) const KEY: &str = include_str!("../../support/pem/database/server.key");

/// What a client asks before it begins with TLS, and the answer.
const ASKS_FOR_TLS: [u8; 8] = [0, 0, 0, 8, 4, 210, 22, 47];
const YES: &[u8] = b"S";

/// Passes everything on to a Unix socket; with `tls`, decrypted and encrypted. Returns where it
/// listens. Ends with the process.
pub(crate) async fn start(server: PathBuf, tls: bool) -> anyhow::Result<SocketAddr> {
    let listener = tokio::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
    let address = listener.local_addr()?;
    let chain = CertificateDer::pem_slice_iter(CERTIFICATE.as_bytes());
    let config = ServerConfig::builder()
        .with_no_client_auth()
        .with_single_cert(
            chain.collect::<Result<_, _>>()?,
            PrivateKeyDer::from_pem_slice(KEY.as_bytes())?,
        )?;
    let acceptor = tls.then(|| TlsAcceptor::from(Arc::new(config)));
    tokio::spawn(async move {
        while let Ok((client, _)) = listener.accept().await {
            let (server, acceptor) = (server.clone(), acceptor.clone());
            tokio::spawn(async move {
                // A client that goes is no error.
                pass_on(client, &server, acceptor).await.ok();
            });
        }
    });
    Ok(address)
}

async fn pass_on(
    mut client: tokio::net::TcpStream,
    server: &Path,
    acceptor: Option<TlsAcceptor>,
) -> io::Result<()> {
    client.set_nodelay(true)?;
    let mut server = tokio::net::UnixStream::connect(server).await?;
    let Some(acceptor) = acceptor else {
        copy_bidirectional_with_sizes(&mut client, &mut server, PORTION, PORTION).await?;
        return Ok(());
    };
    let mut asked = [0; ASKS_FOR_TLS.len()];
    client.read_exact(&mut asked).await?;
    if asked != ASKS_FOR_TLS {
        return Err(io::Error::other("the client does not want TLS"));
    }
    client.write_all(YES).await?;
    let mut client = acceptor.accept(client).await?;
    copy_bidirectional_with_sizes(&mut client, &mut server, PORTION, PORTION).await?;
    Ok(())
}

/// Passes everything on to a Unix socket after some time: as long each way, however much is under
/// way. Threads, because the timers of asynchronous tasks are too coarse. Returns where it
/// listens. Ends with the process.
pub(crate) fn start_far(server: PathBuf, delay: Duration) -> anyhow::Result<SocketAddr> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    let address = listener.local_addr()?;
    thread::spawn(move || {
        for client in listener.incoming().flatten() {
            // A server that is not there closes the connection, as it would itself.
            connect(client, &server, delay).ok();
        }
    });
    Ok(address)
}

fn connect(client: TcpStream, server: &Path, delay: Duration) -> io::Result<()> {
    client.set_nodelay(true)?;
    let server = UnixStream::connect(server)?;
    let (from, to, ended) = (
        client.try_clone()?,
        server.try_clone()?,
        server.try_clone()?,
    );
    travel(from, to, delay, move || ended.shutdown(Shutdown::Write));
    let ended = client.try_clone()?;
    travel(server, client, delay, move || {
        ended.shutdown(Shutdown::Write)
    });
    Ok(())
}

/// One direction: what is under way, each piece with the time at which it arrives; the last one is
/// empty.
#[derive(Default)]
struct Road {
    pieces: Mutex<VecDeque<(Instant, Vec<u8>)>>,
    changed: Condvar,
}

impl Road {
    fn enter(&self, arrives: Instant, piece: Vec<u8>) {
        let mut pieces = self.pieces.lock().unwrap_or_else(PoisonError::into_inner);
        while pieces.iter().map(|(_, piece)| piece.len()).sum::<usize>() > UNDER_WAY {
            pieces = self
                .changed
                .wait(pieces)
                .unwrap_or_else(PoisonError::into_inner);
        }
        pieces.push_back((arrives, piece));
        self.changed.notify_all();
    }

    fn leave(&self) -> (Instant, Vec<u8>) {
        let mut pieces = self.pieces.lock().unwrap_or_else(PoisonError::into_inner);
        loop {
            if let Some(piece) = pieces.pop_front() {
                self.changed.notify_all();
                return piece;
            }
            pieces = self
                .changed
                .wait(pieces)
                .unwrap_or_else(PoisonError::into_inner);
        }
    }
}

fn travel(
    mut from: impl Read + Send + 'static,
    mut to: impl Write + Send + 'static,
    delay: Duration,
    end: impl FnOnce() -> io::Result<()> + Send + 'static,
) {
    let entry = Arc::new(Road::default());
    let exit = Arc::clone(&entry);
    thread::spawn(move || {
        let mut buffer = vec![0; PORTION];
        loop {
            // An error is an end as well.
            let read = from.read(&mut buffer).unwrap_or(0);
            let piece = buffer.get(..read).unwrap_or_default().to_vec();
            entry.enter(Instant::now() + delay, piece);
            if read == 0 {
                return;
            }
        }
    });
    thread::spawn(move || {
        loop {
            let (arrives, piece) = exit.leave();
            thread::sleep(arrives.saturating_duration_since(Instant::now()));
            if piece.is_empty() || to.write_all(&piece).is_err() {
                end().ok();
                return;
            }
        }
    });
}

#[cfg(test)]
mod tests {
    use std::os::unix::net::UnixListener;

    use super::*;

    #[test]
    fn all_of_it_arrives_no_sooner_than_the_network_takes() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("socket");
        let listener = UnixListener::bind(&path).unwrap();
        let delay = Duration::from_millis(20);
        let address = start_far(path, delay).unwrap();
        let sent: Vec<u8> = (0..1_000_000u32).map(|byte| byte as u8).collect();
        let mut client = TcpStream::connect(address).unwrap();
        let (mut server, _) = listener.accept().unwrap();
        let began = Instant::now();
        let mut writer = client.try_clone().unwrap();
        let (away, copy) = (sent.clone(), sent.clone());
        let writing = thread::spawn(move || {
            writer.write_all(&away).unwrap();
            writer.shutdown(Shutdown::Write).unwrap();
        });
        let mut received = Vec::new();
        server.read_to_end(&mut received).unwrap();
        assert!(received == copy && began.elapsed() >= delay);
        writing.join().unwrap();
        server.write_all(b"back").unwrap();
        drop(server);
        let mut back = Vec::new();
        client.read_to_end(&mut back).unwrap();
        assert!(back == b"back" && began.elapsed() >= 2 * delay);
    }
}
