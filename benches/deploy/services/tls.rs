//! TLS in front of the stand-ins, as S3 speaks it: HTTP/1.1 with keep-alive, and sessions that can be resumed.

use std::error::Error;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::rustls::{HandshakeKind, ServerConfig};

/// Where distributions keep the certificates that they trust: Debian and Ubuntu, and Amazon Linux.
const SYSTEM_CERTIFICATES: &[&str] = &["/etc/ssl/certs/ca-certificates.crt", "/etc/pki/tls/certs/ca-bundle.crt"];

/// A certificate for the loopback interface, which signs itself.
pub struct Authority {
    pub config: Arc<ServerConfig>,
    pub certificate: CertificateDer<'static>,
    /// A file with the system's certificates and this one, for `SSL_CERT_FILE`. The function reads as many certificates
    /// as in Lambda.
    pub(super) file: PathBuf,
}

/// The connections of a terminator.
#[derive(Default)]
pub(super) struct Handshakes {
    pub(super) full: AtomicU64,
    pub(super) resumed: AtomicU64,
}

/// A server that decrypts what it gets, and passes it on.
pub(super) struct Terminator {
    pub(super) address: SocketAddr,
    task: JoinHandle<()>,
}

impl Authority {
    /// Makes a certificate and a key.
    ///
    /// # Errors
    /// If they cannot be made or written.
    pub fn new() -> Result<Self, Box<dyn Error>> {
        let made = rcgen::generate_simple_self_signed(["127.0.0.1".to_owned(), "localhost".to_owned()])?;
        let file = std::env::temp_dir().join(format!("dropship-bench-{}.pem", std::process::id()));
        let system = SYSTEM_CERTIFICATES.iter().find_map(|file| std::fs::read_to_string(file).ok());
        std::fs::write(&file, format!("{}\n{}", system.unwrap_or_default(), made.cert.pem()))?;
        let key = PrivateKeyDer::Pkcs8(made.signing_key.serialize_der().into());
        let mut config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()?
            .with_no_client_auth()
            .with_single_cert(vec![made.cert.der().clone()], key)?;
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        Ok(Self { config: Arc::new(config), certificate: made.cert.der().clone(), file })
    }

    /// Starts a terminator in front of an address.
    pub(super) async fn terminate(
        &self,
        to: SocketAddr,
        handshakes: Arc<Handshakes>,
    ) -> Result<Terminator, Box<dyn Error>> {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
        let address = listener.local_addr()?;
        let acceptor = TlsAcceptor::from(self.config.clone());
        let task = tokio::spawn(async move {
            while let Ok((encrypted, _)) = listener.accept().await {
                let (acceptor, handshakes) = (acceptor.clone(), handshakes.clone());
                // A client that goes away ends its connection, and nothing else.
                tokio::spawn(async move { pass_on(encrypted, &acceptor, to, &handshakes).await });
            }
        });
        Ok(Terminator { address, task })
    }
}

impl Drop for Authority {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.file);
    }
}

impl Drop for Terminator {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn pass_on(
    encrypted: TcpStream,
    acceptor: &TlsAcceptor,
    to: SocketAddr,
    handshakes: &Handshakes,
) -> std::io::Result<()> {
    encrypted.set_nodelay(true)?;
    let mut decrypted = acceptor.accept(encrypted).await?;
    let counter = match decrypted.get_ref().1.handshake_kind() {
        Some(HandshakeKind::Resumed) => &handshakes.resumed,
        _ => &handshakes.full,
    };
    counter.fetch_add(1, Ordering::Relaxed);
    let mut plain = TcpStream::connect(to).await?;
    plain.set_nodelay(true)?;
    copy_bidirectional(&mut decrypted, &mut plain).await?;
    Ok(())
}
