//! A gRPC server on a thread of its own.
//!
//! A sample server has one thread with one runtime, so the CPU time of the thread is that of the
//! server, and reports about the host can subtract it.

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::thread::JoinHandle;
use std::time::Duration;

use nix::sys::resource::{UsageWho, getrusage};
use nix::sys::time::TimeValLike;
use tokio_util::sync::CancellationToken;
use tonic::transport::server::{Router, TcpIncoming};

/// Maximum number of bytes in flight per stream. With the default of 64 KiB, a chunk of 2 MB would
/// wait for its reader thirty times.
pub(super) const WINDOW_BYTES: u32 = 4 << 20;

/// A server that answers until it is stopped or dropped.
#[derive(Debug)]
pub struct Running {
    address: SocketAddr,
    stop: CancellationToken,
    thread: Option<JoinHandle<Result<Duration, ServerError>>>,
}

/// Why a sample server failed.
#[derive(Debug, thiserror::Error)]
pub enum ServerError {
    /// The address is in use, or not an address of this machine.
    #[error("cannot listen: {0}")]
    Listen(#[source] io::Error),
    /// The thread, its runtime or its accounts failed.
    #[error("cannot run the server's thread: {0}")]
    Thread(#[source] io::Error),
    /// The listener failed while the server was running.
    #[error("cannot serve: {0}")]
    Serve(#[from] tonic::transport::Error),
    /// A defect of the server.
    #[error("the server's thread panicked")]
    Panicked,
}

impl Running {
    /// Serves `router` on `address`; port 0 selects a free one. Connections are accepted when this
    /// returns.
    pub fn start(name: &str, address: SocketAddr, router: Router) -> Result<Self, ServerError> {
        let listener = TcpListener::bind(address).map_err(ServerError::Listen)?;
        listener
            .set_nonblocking(true)
            .map_err(ServerError::Listen)?;
        let address = listener.local_addr().map_err(ServerError::Listen)?;
        let stop = CancellationToken::new();
        let stopped = stop.clone();
        let thread = std::thread::Builder::new()
            .name(name.to_owned())
            .spawn(move || serve(listener, router, stopped))
            .map_err(ServerError::Thread)?;
        Ok(Self {
            address,
            stop,
            thread: Some(thread),
        })
    }

    /// The address it listens on.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Its URL for a client's configuration.
    #[must_use]
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Closes all connections, even within a stream, and returns the CPU time of the server's
    /// thread.
    ///
    /// # Errors
    /// If the server has failed before.
    pub fn stop(mut self) -> Result<Duration, ServerError> {
        self.stop.cancel();
        let thread = self.thread.take().ok_or(ServerError::Panicked)?;
        thread.join().map_err(|_| ServerError::Panicked)?
    }
}

impl Drop for Running {
    /// Stops the server without waiting for it.
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

/// Main function of a server's thread.
fn serve(
    listener: TcpListener,
    router: Router,
    stopped: CancellationToken,
) -> Result<Duration, ServerError> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(ServerError::Thread)?;
    runtime.block_on(async {
        let listener = tokio::net::TcpListener::from_std(listener).map_err(ServerError::Listen)?;
        // Sends answers at once instead of waiting for the reader's acknowledgement.
        let incoming = TcpIncoming::from(listener).with_nodelay(Some(true));
        tokio::select! {
            served = router.serve_with_incoming(incoming) => served.map_err(ServerError::from),
            () = stopped.cancelled() => Ok(()),
        }
    })?;
    // Ends the connections, which are tasks of the runtime.
    drop(runtime);
    let usage =
        getrusage(UsageWho::RUSAGE_THREAD).map_err(|error| ServerError::Thread(error.into()))?;
    let micros = (usage.user_time() + usage.system_time()).num_microseconds();
    Ok(Duration::from_micros(micros.unsigned_abs()))
}
