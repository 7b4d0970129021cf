//! TLS towards the backends: rustls with ring, trusting the machine's certificate authorities.

use std::{
    io,
    path::{Path, PathBuf},
    sync::Arc,
};

use rustls::{
    ClientConfig, RootCertStore,
    crypto::ring,
    pki_types::{CertificateDer, ServerName, pem::PemObject},
};
use tokio::net::TcpStream;
use tokio_rustls::{TlsConnector, client::TlsStream};

use super::connect_error::ConnectError;

/// What a TLS connection needs; cheap to clone, and its clones share resumable sessions.
#[derive(Clone)]
pub struct Tls {
    connector: TlsConnector,
    trusted: usize,
}

/// TLS cannot be set up.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// The file of extra authorities cannot be read.
    #[error("the certificate file {} cannot be read ({cause}): it must hold PEM certificates", path.display())]
    Authorities {
        /// Which file.
        path: PathBuf,
        /// What is wrong with it.
        cause: rustls::pki_types::pem::Error,
    },
    /// The TLS library refuses its own settings.
    #[error("TLS cannot be set up: {0}")]
    Settings(#[from] rustls::Error),
}

/// Makes ring the process's TLS provider. Call it first thing: a second provider in the tree makes rustls panic at its
/// first use otherwise.
pub fn install_crypto_provider() {
    // An error means that one has been installed before, which then stays.
    let _ = ring::default_provider().install_default();
}

/// The authorities this machine trusts.
pub(super) fn native_roots() -> RootCertStore {
    let mut roots = RootCertStore::empty();
    let native = rustls_native_certs::load_native_certs();
    for error in native.errors {
        tracing::warn!(%error, "a certificate authority of this machine cannot be read");
    }
    roots.add_parsable_certificates(native.certs);
    roots
}

impl Tls {
    /// Trusts the machine's authorities, and those in `extra` besides. Reads some hundred files: make it once.
    pub fn new(extra: Option<&Path>) -> Result<Self, TlsError> {
        let mut roots = native_roots();
        if let Some(path) = extra {
            roots.add_parsable_certificates(read(path)?);
        }
        let trusted = roots.len();
        let mut config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()?
            .with_root_certificates(roots)
            .with_no_client_auth();
        // RFC 6455 is HTTP/1.1; a server that would rather speak HTTP/2 must be told.
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        Ok(Self {
            connector: TlsConnector::from(Arc::new(config)),
            trusted,
        })
    }

    /// The same for a library that makes connections of its own.
    pub fn settings(&self) -> ClientConfig {
        self.connector.config().as_ref().clone()
    }

    /// Secures a connection to this host.
    pub(super) async fn connect(&self, host: &str, stream: TcpStream) -> Result<TlsStream<TcpStream>, ConnectError> {
        let explain = |error: io::Error| self.explain(host, &error);
        let name = ServerName::try_from(host.to_owned()).map_err(|error| explain(io::Error::other(error)))?;
        self.connector.connect(name, stream).await.map_err(explain)
    }

    fn explain(&self, host: &str, error: &io::Error) -> ConnectError {
        let host = host.to_owned();
        let cause = match self.trusted {
            0 => format!("{error}; this machine trusts no authority: install ca-certificates"),
            _ => error.to_string(),
        };
        if is_about_the_certificate(error) {
            ConnectError::Certificate { host, cause }
        } else {
            ConnectError::Tls { host, cause }
        }
    }
}

impl std::fmt::Debug for Tls {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("Tls")
            .field("trusted", &self.trusted)
            .finish_non_exhaustive()
    }
}

fn is_about_the_certificate(error: &io::Error) -> bool {
    let tls = error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>());
    matches!(tls, Some(rustls::Error::InvalidCertificate(_)))
}

fn read(path: &Path) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let explained = |cause| TlsError::Authorities {
        path: path.to_owned(),
        cause,
    };
    let certificates: Result<Vec<_>, _> = CertificateDer::pem_file_iter(path).map_err(explained)?.collect();
    match certificates {
        Ok(certificates) if certificates.is_empty() => Err(explained(rustls::pki_types::pem::Error::NoItemsFound)),
        other => other.map_err(explained),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_missing_or_empty_certificate_file_is_named() {
        for path in ["/nonexistent/ca.pem", "/dev/null"] {
            let error = Tls::new(Some(Path::new(path))).unwrap_err().to_string();
            assert!(error.contains(path) && error.contains("PEM"), "{error}");
        }
    }

    #[test]
    fn installing_the_provider_twice_is_harmless() {
        install_crypto_provider();
        install_crypto_provider();
        assert!(rustls::crypto::CryptoProvider::get_default().is_some());
    }
}
