//! Certificates and keys as PEM texts: read, and found to belong together. Both `check` and the sockets read them here.

use std::{fmt, sync::Arc};

use rustls::{
    Error, InconsistentKeys,
    crypto::ring,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
    sign::CertifiedKey,
};

/// A certificate chain with its key.
#[derive(Clone)]
pub struct Identity(Arc<CertifiedKey>);

/// Which of the two texts is wrong, and how. The text goes on after the name of the setting.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum IdentityFault {
    /// The certificate's.
    Certificate(String),
    /// The key's.
    Key(String),
}

impl Identity {
    /// Reads a chain, the certificate itself first, and its key.
    pub fn read(certificate: &str, key: &str) -> Result<Self, IdentityFault> {
        let chain = authorities(certificate).map_err(IdentityFault::Certificate)?;
        let key = PrivateKeyDer::from_pem_slice(key.as_bytes())
            .map_err(|error| IdentityFault::Key(format!("holds no PEM private key ({error})")))?;
        let pair = CertifiedKey::from_der(chain, key, &ring::default_provider());
        pair.map(|pair| Self(Arc::new(pair))).map_err(|error| match error {
            Error::InconsistentKeys(InconsistentKeys::KeyMismatch) => {
                IdentityFault::Key("does not belong to the certificate".to_owned())
            }
            Error::InvalidCertificate(_) => IdentityFault::Certificate(format!("cannot be used ({error})")),
            other => IdentityFault::Key(format!("cannot be used ({other})")),
        })
    }

    /// The pair, for a TLS library.
    pub fn pair(&self) -> Arc<CertifiedKey> {
        self.0.clone()
    }
}

impl fmt::Debug for Identity {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("Identity(hidden)")
    }
}

/// The certificates in a PEM text, at least one.
pub fn authorities(text: &str) -> Result<Vec<CertificateDer<'static>>, String> {
    let certificates: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(text.as_bytes()).collect();
    match certificates {
        Ok(certificates) if certificates.is_empty() => Err("holds no PEM certificate".to_owned()),
        Ok(certificates) => Ok(certificates),
        Err(error) => Err(format!("holds a broken PEM certificate ({error})")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_certificate_and_its_key_are_read_and_anothers_key_is_refused() {
        let [a, b] = ["a", "b"].map(|name| rcgen::generate_simple_self_signed([name.to_owned()]).unwrap());
        let certificate = a.cert.pem();
        assert_eq!(
            Identity::read(&certificate, &a.signing_key.serialize_pem())
                .unwrap()
                .pair()
                .cert
                .len(),
            1
        );
        assert_eq!(
            Identity::read(&certificate, &b.signing_key.serialize_pem()).unwrap_err(),
            IdentityFault::Key("does not belong to the certificate".to_owned())
        );
    }

    #[test]
    fn texts_that_hold_neither_are_told_apart() {
        let pair = rcgen::generate_simple_self_signed(["a".to_owned()]).unwrap();
        let (certificate, key) = (pair.cert.pem(), pair.signing_key.serialize_pem());
        let fault = |certificate: &str, key: &str| Identity::read(certificate, key).unwrap_err();
        assert!(matches!(fault(&key, &key), IdentityFault::Certificate(text) if text == "holds no PEM certificate"));
        assert!(matches!(fault(&certificate, &certificate), IdentityFault::Key(_)));
        assert!(matches!(
            fault(&certificate.replace('M', "*"), &key),
            IdentityFault::Certificate(_)
        ));
    }
}
