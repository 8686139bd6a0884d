//! How long a TLS handshake takes on this machine, as the function's clients make it. It waits for nothing, so that its
//! time is CPU time.

use std::error::Error;
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde::Serialize;
use tokio_rustls::rustls::client::ClientConnection;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::ServerName;
use tokio_rustls::rustls::server::ServerConnection;
use tokio_rustls::rustls::{ClientConfig, HandshakeKind, RootCertStore, ServerConfig};

use crate::figures::Spread;
use crate::services::tls::Authority;

/// How often a handshake is made, to take the median.
const REPEATS: usize = 200;

/// The time of one handshake for the client alone.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Handshake {
    pub full: Duration,
    pub resumed: Duration,
}

impl Handshake {
    /// Measures full and resumed handshakes in memory, without a network.
    ///
    /// # Errors
    /// If a handshake fails.
    pub fn measure() -> Result<Self, Box<dyn Error>> {
        let authority = Authority::new()?;
        let mut roots = RootCertStore::empty();
        roots.add(authority.certificate.clone())?;
        let client = || -> Result<Arc<ClientConfig>, Box<dyn Error>> {
            let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
                .with_safe_default_protocol_versions()?
                .with_root_certificates(roots.clone())
                .with_no_client_auth();
            Ok(Arc::new(config))
        };
        let server = || authority.config.clone();
        let full = median(|| shake_hands(client()?, server(), HandshakeKind::Full))?;
        let known = client()?;
        shake_hands(known.clone(), server(), HandshakeKind::Full)?;
        let resumed = median(|| shake_hands(known.clone(), server(), HandshakeKind::Resumed))?;
        Ok(Self { full, resumed })
    }
}

fn median(mut measure: impl FnMut() -> Result<Duration, Box<dyn Error>>) -> Result<Duration, Box<dyn Error>> {
    let times = (0..REPEATS).map(|_| measure()).collect::<Result<Vec<_>, _>>()?;
    Ok(Duration::from_secs_f64(Spread::of(times.iter().map(Duration::as_secs_f64)).median))
}

/// Makes one connection in memory, and returns the time that the client took.
fn shake_hands(
    client: Arc<ClientConfig>,
    server: Arc<ServerConfig>,
    kind: HandshakeKind,
) -> Result<Duration, Box<dyn Error>> {
    let mut taken = Duration::ZERO;
    let started = Instant::now();
    let mut client = ClientConnection::new(client, ServerName::try_from("localhost")?)?;
    taken += started.elapsed();
    let mut server = ServerConnection::new(server)?;
    let (mut to_server, mut to_client) = (Vec::new(), Vec::new());
    loop {
        let started = Instant::now();
        let mut rest = &*to_client;
        while !rest.is_empty() {
            client.read_tls(&mut rest)?;
            client.process_new_packets()?;
        }
        to_server.clear();
        while client.wants_write() {
            client.write_tls(&mut to_server)?;
        }
        taken += started.elapsed();
        if to_server.is_empty() && to_client.is_empty() {
            return if client.handshake_kind() == Some(kind) {
                Ok(taken)
            } else {
                Err("another kind of handshake".into())
            };
        }
        let mut rest = &*to_server;
        while !rest.is_empty() {
            server.read_tls(&mut rest)?;
            server.process_new_packets()?;
        }
        to_client.clear();
        while server.wants_write() {
            server.write_tls(&mut to_client)?;
        }
    }
}
