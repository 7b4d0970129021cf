//! The handshake that makes SRTP keys on the media path (DTLS 1.2, RFC 5763 and RFC 5764).
//!
//! The only module that names `rtc-dtls`. An [`Identity`] is our certificate, one for the whole process; a
//! [`Handshake`] is one association of one leg. Both certificates are signed by nobody: each side knows the other's by
//! the fingerprint in its description, and one that does not fit ends the handshake. Our client asks for what our
//! server asks for: a certificate, and one of the SRTP profiles we speak.
//!
//! Datagrams and the time go in, datagrams come out. What `rtc-dtls` draws for itself is randomness, as any TLS library
//! does. It is shown no more than a bounded number of datagrams, because it keeps what it cannot use yet.

use std::{
    collections::VecDeque,
    fmt, io,
    net::{Ipv4Addr, SocketAddr},
    sync::Arc,
    time::{Duration, Instant},
};

use rtc_dtls::{
    config::{ClientAuthType, ConfigBuilder, HandshakeConfig},
    crypto::Certificate,
    crypto_provider::{RTCCryptoProvider, default_provider},
    endpoint::{Endpoint, EndpointEvent},
    extension::extension_use_srtp::SrtpProtectionProfile,
    state::State,
};
use sha2::{Digest, Sha256, Sha384, Sha512};
use subtle::ConstantTimeEq;
use thiserror::Error;

use super::srtp::{MasterKey, Suite};

/// Our certificate and its key.
#[derive(Clone)]
pub struct Identity {
    certificate: Certificate,
    provider: Arc<dyn RTCCryptoProvider>,
    fingerprint: Fingerprint,
}

/// What a certificate is known by (RFC 8122).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fingerprint {
    hash: Hash,
    bytes: Vec<u8>,
}

/// A hash function that is good enough for a fingerprint. MD5 and SHA-1 are not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hash {
    /// `sha-256`
    Sha256,
    /// `sha-384`
    Sha384,
    /// `sha-512`
    Sha512,
}

/// One association of one leg, from the first datagram to the last.
pub struct Handshake {
    endpoint: Endpoint,
    phase: Phase,
    /// When we give up.
    until: Instant,
    datagrams: u32,
    outbox: VecDeque<Vec<u8>>,
    /// What we said last, all of it.
    last_flight: Vec<Vec<u8>>,
    /// When to say that again ourselves.
    repeat_at: Option<Instant>,
    /// Something went wrong that did not end it.
    stumbled: bool,
}

/// What a handshake came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Keys {
    /// Protects what we send.
    pub ours: MasterKey,
    /// Protects what comes.
    pub theirs: MasterKey,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Shaking,
    /// Keys were made; a far end that did not hear our last words may ask for them again.
    Done,
    Over,
}

/// Why there are no keys; its text is its word.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("{}", self.word())]
pub enum Failure {
    /// The far end was not heard, or not to the end.
    Timeout,
    /// The far end's certificate is not the one its description names.
    Fingerprint,
    /// The far end ended the handshake.
    Refused,
    /// The two sides have no cipher or no SRTP profile in common, or what came makes no sense.
    Failed,
}

impl Failure {
    /// The same in log, metric and record.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Timeout => "dtls_timeout",
            Self::Fingerprint => "dtls_fingerprint",
            Self::Refused => "dtls_refused",
            Self::Failed => "dtls_failed",
        }
    }
}

/// How long a handshake may take. Whoever waits longer for a voice has hung up.
pub const HANDSHAKE_MAX: Duration = Duration::from_secs(10);
/// How long an answer may take before we say it again: RFC 6347 begins with a second, and speech does not wait.
const RETRANSMIT: Duration = Duration::from_millis(500);
/// Datagrams one association is shown; past it they are dropped, and an unfinished handshake runs into its time limit.
/// An undisturbed one takes five.
const DATAGRAMS_MAX: u32 = 256;
/// The profiles we speak, the one we like best first (RFC 5764 section 4.1.2, RFC 7714 section 14.2).
const PROFILES: [SrtpProtectionProfile; 4] = [
    SrtpProtectionProfile::Srtp_Aead_Aes_256_Gcm,
    SrtpProtectionProfile::Srtp_Aead_Aes_128_Gcm,
    SrtpProtectionProfile::Srtp_Aes128_Cm_Hmac_Sha1_80,
    SrtpProtectionProfile::Srtp_Aes128_Cm_Hmac_Sha1_32,
];
/// Under this label both sides make the same secret (RFC 5764 section 4.2).
const EXPORT_LABEL: &str = "EXTRACTOR-dtls_srtp";
/// `rtc-dtls` tells associations apart by address. We have one, whose address others watch over.
const PEER: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 1);

impl Identity {
    /// Makes a key and signs a certificate with it.
    pub fn generate() -> Result<Self, Failure> {
        let provider = default_provider().map_err(|_| Failure::Failed)?;
        let names = [env!("CARGO_PKG_NAME").to_owned()];
        let certificate = Certificate::generate_self_signed(names, provider.crypto()).map_err(|_| Failure::Failed)?;
        let der = certificate.certificate.first().ok_or(Failure::Failed)?;
        let fingerprint = Fingerprint {
            hash: Hash::Sha256,
            bytes: Hash::Sha256.of(der),
        };
        Ok(Self {
            certificate,
            provider,
            fingerprint,
        })
    }

    /// What descriptions name it by.
    pub fn fingerprint(&self) -> &Fingerprint {
        &self.fingerprint
    }

    fn config(&self, active: bool, expected: Fingerprint) -> Result<HandshakeConfig, Failure> {
        ConfigBuilder::default()
            .with_crypto_provider(self.provider.clone())
            .with_certificates(vec![self.certificate.clone()])
            .with_srtp_protection_profiles(PROFILES.to_vec())
            .with_client_auth(ClientAuthType::RequireAnyClientCert)
            .with_flight_interval(RETRANSMIT)
            // No authority vouches for these certificates; what does is the fingerprint.
            .with_insecure_skip_verify(true)
            .with_verify_peer_certificate(Some(Arc::new(move |chain, _| {
                let known = chain.first().is_some_and(|certificate| expected.fits(certificate));
                if known {
                    Ok(())
                } else {
                    Err(io::Error::other(FINGERPRINT_DIFFERS).into())
                }
            })))
            .build(active, Some(PEER))
            .map_err(|_| Failure::Failed)
    }
}

/// How the check of a certificate tells its caller, through a library's errors.
const FINGERPRINT_DIFFERS: &str = "the certificate is not the one of the description";

impl Fingerprint {
    /// Nothing when the hash function is not known or its length is another.
    pub fn new(hash: &str, bytes: &[u8]) -> Option<Self> {
        let hash = Hash::from_name(hash)?;
        (bytes.len() == hash.byte_len()).then(|| Self {
            hash,
            bytes: bytes.to_vec(),
        })
    }

    /// The name of the hash function, as descriptions write it.
    pub fn algorithm(&self) -> &'static str {
        self.hash.name()
    }

    /// The hash.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    fn fits(&self, certificate: &[u8]) -> bool {
        self.hash.of(certificate).ct_eq(&self.bytes).into()
    }
}

impl Hash {
    /// By its name in any case.
    pub fn from_name(name: &str) -> Option<Self> {
        let all = [Self::Sha256, Self::Sha384, Self::Sha512];
        all.into_iter().find(|hash| hash.name().eq_ignore_ascii_case(name))
    }

    /// Its name in descriptions.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Sha256 => "sha-256",
            Self::Sha384 => "sha-384",
            Self::Sha512 => "sha-512",
        }
    }

    const fn byte_len(self) -> usize {
        match self {
            Self::Sha256 => 32,
            Self::Sha384 => 48,
            Self::Sha512 => 64,
        }
    }

    fn of(self, bytes: &[u8]) -> Vec<u8> {
        match self {
            Self::Sha256 => Sha256::digest(bytes).to_vec(),
            Self::Sha384 => Sha384::digest(bytes).to_vec(),
            Self::Sha512 => Sha512::digest(bytes).to_vec(),
        }
    }
}

impl Handshake {
    /// Begins, when we are the active side, or waits for the far end to begin.
    pub fn new(now: Instant, identity: &Identity, active: bool, expected: Fingerprint) -> Result<Self, Failure> {
        let config = Arc::new(identity.config(active, expected)?);
        let waits_for = (!active).then(|| config.clone());
        let mut endpoint = Endpoint::new(PEER, Default::default(), waits_for);
        if active {
            endpoint.connect(now, PEER, config, None).map_err(|_| Failure::Failed)?;
        }
        let mut handshake = Self {
            endpoint,
            phase: Phase::Shaking,
            until: now + HANDSHAKE_MAX,
            datagrams: 0,
            outbox: VecDeque::new(),
            last_flight: Vec::new(),
            repeat_at: None,
            stumbled: false,
        };
        handshake.collect();
        Ok(handshake)
    }

    /// Takes in a datagram of the far end. Keys come once; a failure is the end.
    pub fn handle_datagram(&mut self, now: Instant, datagram: &[u8]) -> Result<Option<Keys>, Failure> {
        self.datagrams = self.datagrams.saturating_add(1);
        if self.phase == Phase::Over || self.datagrams > DATAGRAMS_MAX {
            return Ok(None);
        }
        let read = self.endpoint.read(now, PEER, None, datagram.into());
        self.collect();
        let (events, error) = match read {
            Ok(events) => (events, None),
            Err(error) => (Vec::new(), Some(error.to_string())),
        };
        if events.iter().any(|event| matches!(event, EndpointEvent::PeerClosed)) {
            return self.closed();
        }
        match error {
            Some(error) if self.phase == Phase::Shaking => self.stumble(&error)?,
            _ => {}
        }
        let done = events
            .iter()
            .any(|event| matches!(event, EndpointEvent::HandshakeComplete));
        if done && self.phase == Phase::Shaking {
            return self.exported().map(Some);
        }
        self.mind_repetition(now);
        Ok(None)
    }

    /// Takes in that time has passed.
    pub fn handle_timeout(&mut self, now: Instant) -> Result<(), Failure> {
        if self.phase != Phase::Shaking {
            return Ok(());
        }
        if now >= self.until {
            let failure = if self.stumbled {
                Failure::Failed
            } else {
                Failure::Timeout
            };
            return Err(self.over(failure));
        }
        // Until the far end has begun there is nobody to repeat anything to.
        let _ = self.endpoint.handle_timeout(PEER, now);
        self.collect();
        if self.repeat_at.is_some_and(|at| now >= at) {
            self.outbox.extend(self.last_flight.iter().cloned());
            self.repeat_at = Some(now + RETRANSMIT);
        }
        Ok(())
    }

    /// When [`handle_timeout`](Self::handle_timeout) wants to be called.
    pub fn poll_timeout(&self) -> Option<Instant> {
        let repeats = [self.endpoint.poll_timeout(&PEER), self.repeat_at];
        let first = repeats.into_iter().flatten().chain([self.until]).min();
        first.filter(|_| self.phase == Phase::Shaking)
    }

    /// The next datagram for the far end.
    pub fn poll_transmit(&mut self) -> Option<Vec<u8>> {
        self.outbox.pop_front()
    }

    /// Says goodbye, if the far end was greeted at all.
    pub fn close(&mut self, now: Instant) {
        if self.phase == Phase::Done {
            self.endpoint.stop(now, PEER);
            self.collect();
        }
        self.phase = Phase::Over;
    }

    fn collect(&mut self) {
        let said = std::iter::from_fn(|| self.endpoint.poll_transmit());
        let said: Vec<_> = said.map(|transmit| transmit.message.to_vec()).collect();
        if !said.is_empty() {
            self.outbox.extend(said.iter().cloned());
            self.last_flight = said;
        }
    }

    /// A far end that repeats itself has not heard us, but `rtc-dtls` then puts its own timer away and says nothing
    /// again. What we said last is still right: the far end drops the part of it that it has.
    fn mind_repetition(&mut self, now: Instant) {
        let forgotten = self.phase == Phase::Shaking && self.endpoint.poll_timeout(&PEER).is_none();
        self.repeat_at = match self.repeat_at {
            _ if !forgotten || self.last_flight.is_empty() => None,
            None => Some(now + RETRANSMIT),
            armed => armed,
        };
    }

    /// What cannot be read is passed over, as RFC 6347 section 4.1.2.7 wants; what says no is the end.
    fn stumble(&mut self, error: &str) -> Result<(), Failure> {
        self.stumbled = true;
        if error.contains(FINGERPRINT_DIFFERS) {
            return Err(self.over(Failure::Fingerprint));
        }
        if error.contains("Alert") {
            return Err(self.over(Failure::Refused));
        }
        Ok(())
    }

    fn closed(&mut self) -> Result<Option<Keys>, Failure> {
        match self.phase {
            Phase::Shaking => Err(self.over(Failure::Refused)),
            // It hangs up, or will soon; what protects packets needs no handshake any more.
            Phase::Done | Phase::Over => {
                self.phase = Phase::Over;
                Ok(None)
            }
        }
    }

    fn over(&mut self, failure: Failure) -> Failure {
        self.phase = Phase::Over;
        failure
    }

    fn exported(&mut self) -> Result<Keys, Failure> {
        let keys = self.endpoint.get_connection_state(PEER).and_then(export);
        match keys {
            Some(keys) => {
                self.phase = Phase::Done;
                Ok(keys)
            }
            None => Err(self.over(Failure::Failed)),
        }
    }
}

/// Client's key, server's key, client's salt, server's salt (RFC 5764 section 4.2).
fn export(state: &State) -> Option<Keys> {
    if state.peer_certificates.is_empty() {
        return None;
    }
    let suite = suite(state.srtp_protection_profile())?;
    let (key_len, salt_len) = (suite.key_len(), suite.salt_len());
    let length = 2 * (key_len + salt_len);
    let secret = state.export_keying_material(EXPORT_LABEL, &[], length).ok()?;
    let secret = secret.into_bytes();
    let (keys, salts) = secret.split_at_checked(2 * key_len)?;
    let master = |side: usize| {
        let key = keys.chunks_exact(key_len).nth(side)?;
        let salt = salts.chunks_exact(salt_len).nth(side)?;
        MasterKey::new(suite, &[key, salt].concat()).ok()
    };
    let (client, server) = (master(0)?, master(1)?);
    let (ours, theirs) = if state.is_client() {
        (client, server)
    } else {
        (server, client)
    };
    Some(Keys { ours, theirs })
}

fn suite(profile: SrtpProtectionProfile) -> Option<Suite> {
    match profile {
        SrtpProtectionProfile::Srtp_Aes128_Cm_Hmac_Sha1_80 => Some(Suite::AesCm128HmacSha1_80),
        SrtpProtectionProfile::Srtp_Aes128_Cm_Hmac_Sha1_32 => Some(Suite::AesCm128HmacSha1_32),
        SrtpProtectionProfile::Srtp_Aead_Aes_128_Gcm => Some(Suite::AeadAes128Gcm),
        SrtpProtectionProfile::Srtp_Aead_Aes_256_Gcm => Some(Suite::AeadAes256Gcm),
        _ => None,
    }
}

impl PartialEq for Identity {
    fn eq(&self, other: &Self) -> bool {
        self.fingerprint == other.fingerprint
    }
}

impl Eq for Identity {}

impl fmt::Debug for Identity {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "Identity({:?}, key hidden)", self.fingerprint)
    }
}

impl fmt::Debug for Handshake {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "Handshake({:?})", self.phase)
    }
}

#[cfg(test)]
mod tests;
