//! The HTTP server: connections and whole requests.

use std::io;
use std::net::SocketAddr;
use std::sync::OnceLock;

use bytes::{Bytes, BytesMut};
use http_body_util::BodyExt as _;
use hyper::body::{Body as _, Incoming};
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use s3s::Body;
use tokio::net::TcpListener;
use tokio::task::AbortHandle;

/// The most memory that a request reserves before its body arrives.
const MAX_RESERVED_BYTES: u64 = 64 << 20;

/// Where the account listens. Dropping it frees the port.
pub(crate) struct Listener {
    pub(crate) address: SocketAddr,
    accepting: OnceLock<AbortHandle>,
}

impl Listener {
    /// Binds a port of the loopback interface, or a free one for 0. Connections wait until [`serve`](Self::serve).
    ///
    /// # Errors
    /// When another process has the port.
    pub(crate) async fn bind(port: u16) -> io::Result<(TcpListener, Self)> {
        let (socket, address) = bind_port(port).await?;
        Ok((socket, Self { address, accepting: OnceLock::new() }))
    }

    /// Serves connections until this listener is dropped.
    pub(crate) fn serve<F, R>(&self, socket: TcpListener, answer: F)
    where
        F: Fn(Request<Incoming>) -> R + Clone + Send + 'static,
        R: Future<Output = Result<Response<Body>, Dropped>> + Send + 'static,
    {
        let task = tokio::spawn(accept(socket, answer));
        let _ = self.accepting.set(task.abort_handle());
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        if let Some(task) = self.accepting.get() {
            task.abort();
        }
    }
}

/// Binds a free port of the loopback interface.
pub(crate) async fn bind() -> (TcpListener, SocketAddr) {
    bind_port(0).await.expect("the loopback interface has a free port")
}

async fn bind_port(port: u16) -> io::Result<(TcpListener, SocketAddr)> {
    let socket = TcpListener::bind(("127.0.0.1", port)).await?;
    let address = socket.local_addr()?;
    Ok((socket, address))
}

/// Accepts connections forever and serves each in a task of its own.
pub(crate) async fn accept<F, R>(socket: TcpListener, answer: F)
where
    F: Fn(Request<Incoming>) -> R + Clone + Send + 'static,
    R: Future<Output = Result<Response<Body>, Dropped>> + Send + 'static,
{
    loop {
        let Ok((stream, _)) = socket.accept().await else {
            continue;
        };
        // Send small answers immediately instead of waiting for a fuller packet.
        let _ = stream.set_nodelay(true);
        let service = hyper::service::service_fn(answer.clone());
        tokio::spawn(async move {
            // An error here is a connection that a fault or its client closed.
            let _ = hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
        });
    }
}

/// The server closes the connection without an answer.
#[derive(Debug, thiserror::Error)]
#[error("the connection was dropped")]
pub(crate) struct Dropped;

/// Reads a whole body into a buffer of its own.
///
/// The frames that hyper returns keep its whole read buffer alive, so they are copied. The buffer has the announced size
/// from the start, unless a client announces more than it is likely to send.
pub(crate) async fn read_body(mut body: Incoming) -> Result<Bytes, Dropped> {
    let announced = body.size_hint().exact().unwrap_or_default();
    let mut bytes = BytesMut::with_capacity(announced.min(MAX_RESERVED_BYTES) as usize);
    while let Some(frame) = body.frame().await {
        if let Ok(data) = frame.map_err(|_| Dropped)?.into_data() {
            bytes.extend_from_slice(&data);
        }
    }
    Ok(bytes.freeze())
}
