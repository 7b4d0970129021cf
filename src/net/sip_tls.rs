//! TLS for SIP, on both sides: our certificate, whom we believe, and reading both again when their files change.
//!
//! As a server we demand a certificate when authorities for clients are named. As a client we verify that the server is
//! who the caller says (RFC 5922), and show our certificate where it is asked for. TLS 1.2 and 1.3, nothing unverified.

use std::{
    fs, io,
    path::Path,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant, SystemTime},
};

use rustls::{
    ClientConfig, RootCertStore, ServerConfig, crypto::ring, pki_types::ServerName, server::WebPkiClientVerifier,
    sign::SingleCertAndKey,
};
use tokio::net::TcpStream;
use tokio_rustls::{TlsAcceptor, TlsConnector};

use super::{Stream, tls::native_roots};
use crate::config::{Identity, IdentityFault, SecretSource, SipTls as Settings, authorities};

/// How often the files are looked at, when connections come: a renewed certificate is in use this much later.
const LOOK_EVERY: Duration = Duration::from_secs(60);

/// What TLS connections of SIP are made with.
pub struct SipTls {
    settings: Settings,
    native: RootCertStore,
    state: Mutex<State>,
}

struct State {
    loaded: Loaded,
    changed: Vec<Option<SystemTime>>,
    looked: Instant,
}

#[derive(Clone)]
struct Loaded {
    /// None without a certificate.
    server: Option<Arc<ServerConfig>>,
    client: Arc<ClientConfig>,
}

/// TLS for SIP cannot be set up.
#[derive(Debug, thiserror::Error)]
pub enum SipTlsError {
    /// A file cannot be read.
    #[error("the file {path} cannot be read: {cause}")]
    File {
        /// Which file.
        path: String,
        /// What the system says.
        cause: io::Error,
    },
    /// What is in it will not do.
    #[error("[sip.tls] {key} {fault}")]
    Content {
        /// The setting.
        key: &'static str,
        /// What is wrong.
        fault: String,
    },
    /// The TLS library refuses the authorities for clients.
    #[error("[sip.tls] client_ca will not do: {0}")]
    Clients(#[from] rustls::server::VerifierBuilderError),
    /// The TLS library refuses its own settings.
    #[error("TLS cannot be set up: {0}")]
    Settings(#[from] rustls::Error),
}

impl SipTls {
    /// Reads the files the settings name, and the machine's authorities.
    pub fn new(settings: Settings) -> Result<Self, SipTlsError> {
        let native = native_roots();
        let changed = changed(&settings);
        let loaded = load(&settings, &native)?;
        let state = State {
            loaded,
            changed,
            looked: Instant::now(),
        };
        Ok(Self {
            settings,
            native,
            state: Mutex::new(state),
        })
    }

    /// Secures a connection that came to us, or says why that cannot be.
    pub async fn accept(&self, stream: TcpStream) -> Result<Stream, String> {
        let server = self.current(Instant::now()).server.ok_or("we have no certificate")?;
        let accepted = TlsAcceptor::from(server).accept(stream).await;
        accepted.map(Stream::from).map_err(|error| error.to_string())
    }

    /// Secures a connection we opened to the server of this name, or says why that cannot be.
    pub async fn connect(&self, name: &str, stream: TcpStream) -> Result<Stream, String> {
        let name = ServerName::try_from(name.to_owned()).map_err(|error| error.to_string())?;
        let client = self.current(Instant::now()).client;
        let connected = TlsConnector::from(client).connect(name, stream).await;
        connected.map(Stream::from).map_err(|error| error.to_string())
    }

    /// What was loaded last. Files that have changed are read again; when they will not do, what there was goes on.
    fn current(&self, now: Instant) -> Loaded {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if now.saturating_duration_since(state.looked) >= LOOK_EVERY {
            state.looked = now;
            let changed = changed(&self.settings);
            if changed != state.changed {
                state.changed = changed;
                match load(&self.settings, &self.native) {
                    Ok(loaded) => {
                        state.loaded = loaded;
                        tracing::info!("the certificates of SIP have been read again");
                    }
                    Err(error) => tracing::error!(%error, "the changed certificates of SIP are not used"),
                }
            }
        }
        state.loaded.clone()
    }
}

impl std::fmt::Debug for SipTls {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("SipTls").finish_non_exhaustive()
    }
}

/// When each file was changed last.
fn changed(settings: &Settings) -> Vec<Option<SystemTime>> {
    let key = settings.key.as_ref().map(|key| key.source());
    let key = match key {
        Some(SecretSource::File(path)) => path.as_str(),
        _ => "",
    };
    let files = [settings.certificate.as_str(), key, &settings.client_ca, &settings.ca];
    let changed = |path: &str| fs::metadata(path).and_then(|file| file.modified()).ok();
    files.into_iter().map(changed).collect()
}

fn load(settings: &Settings, native: &RootCertStore) -> Result<Loaded, SipTlsError> {
    let identity = identity(settings)?;
    let server = identity
        .as_ref()
        .map(|identity| server(settings, identity))
        .transpose()?;
    Ok(Loaded {
        server: server.map(Arc::new),
        client: Arc::new(client(settings, native.clone(), identity.as_ref())?),
    })
}

fn identity(settings: &Settings) -> Result<Option<Identity>, SipTlsError> {
    let Some(key) = settings.key.as_ref().filter(|_| settings.has_identity()) else {
        return Ok(None);
    };
    let certificate = read(&settings.certificate)?;
    let key = match key.source() {
        SecretSource::File(path) => read(path)?,
        SecretSource::Env(_) => key.reveal().to_owned(),
    };
    let identity = Identity::read(&certificate, &key).map_err(|fault| match fault {
        IdentityFault::Certificate(fault) => content("certificate", fault),
        IdentityFault::Key(fault) => content("key", fault),
    });
    identity.map(Some)
}

fn server(settings: &Settings, identity: &Identity) -> Result<ServerConfig, SipTlsError> {
    let provider = Arc::new(ring::default_provider());
    let builder = ServerConfig::builder_with_provider(provider.clone()).with_safe_default_protocol_versions()?;
    let builder = match settings.client_ca.as_str() {
        "" => builder.with_no_client_auth(),
        path => {
            let mut roots = RootCertStore::empty();
            believe(&mut roots, "client_ca", path)?;
            let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider);
            builder.with_client_cert_verifier(verifier.build()?)
        }
    };
    Ok(builder.with_cert_resolver(Arc::new(SingleCertAndKey::from(identity.pair()))))
}

fn client(
    settings: &Settings,
    mut roots: RootCertStore,
    identity: Option<&Identity>,
) -> Result<ClientConfig, SipTlsError> {
    if !settings.ca.is_empty() {
        believe(&mut roots, "ca", &settings.ca)?;
    }
    let builder = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()?
        .with_root_certificates(roots);
    Ok(match identity {
        Some(identity) => builder.with_client_cert_resolver(Arc::new(SingleCertAndKey::from(identity.pair()))),
        None => builder.with_no_client_auth(),
    })
}

fn believe(roots: &mut RootCertStore, key: &'static str, path: &str) -> Result<(), SipTlsError> {
    let certificates = authorities(&read(path)?).map_err(|fault| content(key, fault))?;
    for certificate in certificates {
        roots
            .add(certificate)
            .map_err(|error| content(key, error.to_string()))?;
    }
    Ok(())
}

fn content(key: &'static str, fault: String) -> SipTlsError {
    SipTlsError::Content { key, fault }
}

fn read(path: &str) -> Result<String, SipTlsError> {
    fs::read_to_string(Path::new(path)).map_err(|cause| SipTlsError::File {
        path: path.to_owned(),
        cause,
    })
}

#[cfg(test)]
mod tests {
    use std::{collections::BTreeMap, path::PathBuf};

    use super::*;
    use crate::config;

    #[test]
    fn a_renewed_certificate_is_used_within_a_minute_and_a_broken_one_never() {
        let files = Files::new();
        files.renew(1);
        let tls = SipTls::new(files.settings()).unwrap();
        let used = |now| Arc::as_ptr(&tls.current(now).server.unwrap());
        let start = Instant::now();
        let first = used(start);
        files.renew(2);
        assert_eq!(used(start + LOOK_EVERY / 2), first);
        let second = used(start + 2 * LOOK_EVERY);
        assert_ne!(second, first);
        files.write("pair.pem", "broken", 3);
        assert_eq!(used(start + 4 * LOOK_EVERY), second);
        files.renew(4);
        assert_ne!(used(start + 6 * LOOK_EVERY), second);
    }

    #[test]
    fn without_a_certificate_we_are_nobodys_server() {
        let tls = SipTls::new(Settings::default()).unwrap();
        assert!(tls.current(Instant::now()).server.is_none());
    }

    #[test]
    fn a_file_that_has_gone_since_is_named() {
        let files = Files::new();
        files.renew(1);
        let settings = files.settings();
        drop(files);
        let error = SipTls::new(settings).unwrap_err().to_string();
        assert!(error.contains("pair.pem cannot be read"), "{error}");
    }

    struct Files(PathBuf);

    impl Files {
        fn new() -> Self {
            let unique = format!(
                "patchcord-sip-tls-{}-{:016x}",
                std::process::id(),
                getrandom::u64().unwrap()
            );
            let folder = std::env::temp_dir().join(unique);
            fs::create_dir_all(&folder).unwrap();
            Self(folder)
        }

        /// A new pair, of files that were changed at this second.
        fn renew(&self, second: u64) {
            let pair = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
            self.write("pair.key", &pair.signing_key.serialize_pem(), second);
            self.write("pair.pem", &pair.cert.pem(), second);
        }

        fn write(&self, name: &str, text: &str, second: u64) {
            let path = self.0.join(name);
            fs::write(&path, text).unwrap();
            let file = fs::File::options().write(true).open(path).unwrap();
            file.set_modified(SystemTime::UNIX_EPOCH + Duration::from_secs(second))
                .unwrap();
        }

        fn settings(&self) -> Settings {
            let folder = self.0.display();
            let text = format!("[sip.tls]\ncertificate = \"{folder}/pair.pem\"\nkey = \"file:{folder}/pair.key\"\n");
            let read = |path: &str| fs::read_to_string(path);
            config::load("f.toml", &text, &BTreeMap::new(), &read).unwrap().sip.tls
        }
    }

    impl Drop for Files {
        fn drop(&mut self) {
            // Left over in the temporary directory it would only be litter.
            let _ = fs::remove_dir_all(&self.0);
        }
    }
}
