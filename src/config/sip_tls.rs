//! `[sip.tls]`: who we are to peers that connect over TLS or secure WebSocket, and whom we believe.

use std::{collections::BTreeMap, io};

use super::{
    effective::Writer,
    identity::{Identity, IdentityFault, authorities},
    place::Path,
    problem::Report,
    secret::Secret,
    section::Section,
};

/// Settings of `[sip.tls]`. The files are read when the settings are found good, and again by whoever uses them.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct SipTls {
    /// The file of our certificate chain; empty: we have none.
    pub certificate: String,
    /// Its key.
    pub key: Option<Secret>,
    /// The file of the authorities that clients' certificates must come from; empty: clients show none.
    pub client_ca: String,
    /// The file of authorities believed besides the machine's when we connect; empty: none.
    pub ca: String,
}

impl SipTls {
    pub(super) fn read(mut section: Section<'_>) -> Self {
        let gives_key = section.gives("key");
        let tls = Self {
            certificate: section.text("certificate", ""),
            key: section.secret("key"),
            client_ca: section.text("client_ca", ""),
            ca: section.text("ca", ""),
        };
        match (tls.certificate.is_empty(), &tls.key) {
            (false, None) if !gives_key => section.wrong("certificate", "has no \"key\" beside it"),
            (true, Some(_)) => section.wrong("key", "has no \"certificate\" beside it"),
            _ => {}
        }
        if tls.certificate.is_empty() && !tls.client_ca.is_empty() {
            section.wrong(
                "client_ca",
                "has no \"certificate\" beside it: without one nobody can connect",
            );
        }
        section.finish();
        tls
    }

    pub(super) fn write(&self, out: &mut Writer) {
        out.table("[sip.tls]");
        out.text("certificate", &self.certificate);
        out.secret("key", self.key.as_ref());
        out.text("client_ca", &self.client_ca);
        out.text("ca", &self.ca);
    }

    /// Whether we can be somebody's TLS server.
    pub fn has_identity(&self) -> bool {
        !self.certificate.is_empty() && self.key.is_some()
    }

    /// Reads the files, and says which of them will not do.
    pub(super) fn resolve(
        &mut self,
        report: &mut Report,
        env: &BTreeMap<String, String>,
        read_file: &dyn Fn(&str) -> io::Result<String>,
    ) {
        let place = Path::default().key("sip").key("tls");
        let mut wrong = |key: &str, fault: String| {
            let path = place.key(key);
            report.value(&path, format!("{path} {fault}"));
        };
        let read = |path: &str| read_file(path).map_err(|error| needs(path, &format!("cannot be read: {error}")));
        for (key, path) in [("client_ca", &self.client_ca), ("ca", &self.ca)] {
            let texts = (!path.is_empty()).then(|| read(path));
            let read = texts.map(|text| text.and_then(|text| authorities(&text).map_err(|fault| needs(path, &fault))));
            if let Some(Err(fault)) = read {
                wrong(key, fault);
            }
        }
        let Some(key) = self.key.as_mut().filter(|_| !self.certificate.is_empty()) else {
            return;
        };
        match (read(&self.certificate), key.resolve_text(env, read_file)) {
            (Ok(certificate), Ok(())) => match Identity::read(&certificate, key.reveal()) {
                Err(IdentityFault::Certificate(fault)) => wrong("certificate", needs(&self.certificate, &fault)),
                Err(IdentityFault::Key(fault)) => wrong("key", fault),
                Ok(_) => {}
            },
            (certificate, key) => {
                certificate
                    .err()
                    .into_iter()
                    .for_each(|fault| wrong("certificate", fault));
                key.err().into_iter().for_each(|fault| wrong("key", fault));
            }
        }
    }
}

fn needs(path: &str, fault: &str) -> String {
    format!("needs the file {}, which {fault}", path.escape_debug())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Config, Problems, load, tests::problems};

    const SETTINGS: &str = "[sip]\nlisten = [\"tls:127.0.0.1:0\"]\n[sip.tls]\ncertificate = \"c.pem\"\nkey = \"file:k.pem\"\nclient_ca = \"ca.pem\"\n";

    #[test]
    fn files_that_belong_together_are_taken_and_the_key_is_not_shown() {
        let pair = rcgen::generate_simple_self_signed(["a".to_owned()]).unwrap();
        let (certificate, key) = (pair.cert.pem(), pair.signing_key.serialize_pem());
        let config = load_with(SETTINGS, &certificate, &key).unwrap();
        assert!(config.sip.tls.has_identity());
        assert_eq!(config.sip.tls.key.as_ref().unwrap().reveal().trim(), key.trim());
        let shown = format!("{config:?}{}", config.effective_toml());
        assert!(!shown.contains("PRIVATE") && shown.contains("key = \"file:k.pem\" # ***"));
    }

    #[test]
    fn each_file_that_will_not_do_is_told_at_its_place() {
        let pair = rcgen::generate_simple_self_signed(["a".to_owned()]).unwrap();
        let (certificate, key) = (pair.cert.pem(), pair.signing_key.serialize_pem());
        let other = rcgen::generate_simple_self_signed(["b".to_owned()])
            .unwrap()
            .signing_key
            .serialize_pem();
        let told = |certificate: &str, key: &str| load_with(SETTINGS, certificate, key).unwrap_err().to_string();
        let mismatch = told(&certificate, &other);
        assert!(
            mismatch.contains("f.toml:5:7: sip.tls.key does not belong to the certificate"),
            "{mismatch}"
        );
        let empty = told("", &key);
        assert!(
            empty.contains("f.toml:4:15: sip.tls.certificate needs the file c.pem, which holds no PEM certificate")
                && empty.contains("f.toml:6:13: sip.tls.client_ca needs the file ca.pem, which holds no PEM"),
            "{empty}"
        );
        let gone = load("f.toml", SETTINGS, &BTreeMap::new(), &|_| {
            Err(io::ErrorKind::NotFound.into())
        });
        let gone = gone.unwrap_err().to_string();
        assert!(
            gone.contains("c.pem, which cannot be read") && gone.contains("k.pem, which cannot be read"),
            "{gone}"
        );
    }

    #[test]
    fn half_of_an_identity_is_refused() {
        assert_eq!(
            problems("[sip.tls]\ncertificate = \"c.pem\""),
            ["f.toml:2:15: sip.tls.certificate has no \"key\" beside it"]
        );
        assert_eq!(
            problems("[sip.tls]\nkey = \"file:k.pem\""),
            ["f.toml:2:7: sip.tls.key has no \"certificate\" beside it"]
        );
        assert_eq!(
            problems("[sip]\nlisten = [\"wss:0.0.0.0:443\"]"),
            ["f.toml:2:10: sip.listen names wss:0.0.0.0:443, which needs \"certificate\" and \"key\" in [sip.tls]"]
        );
    }

    fn load_with(settings: &str, certificate: &str, key: &str) -> Result<Config, Problems> {
        let read = |path: &str| match path {
            "k.pem" => Ok(key.to_owned()),
            _ => Ok(certificate.to_owned()),
        };
        load("f.toml", settings, &BTreeMap::new(), &read)
    }
}
