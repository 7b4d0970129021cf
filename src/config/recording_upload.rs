//! `[recording.upload]`: the S3-compatible storage that finished recordings go to.

use std::net::IpAddr;

use super::{effective::Writer, secret::Secret, section::Section};

const REGION: &str = "us-east-1";

/// Settings of `[recording.upload]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RecordingUpload {
    /// The storage's address; empty: that of AWS in the region.
    pub endpoint: String,
    /// The bucket.
    pub bucket: String,
    /// Its region.
    pub region: String,
    /// What stands before every name.
    pub prefix: String,
    /// Who we are to the storage; none asks the machine's own identity.
    pub access_key_id: Option<Secret>,
    /// Its secret.
    pub secret_access_key: Option<Secret>,
    /// Whether files stay here as well.
    pub keep_local: bool,
}

impl RecordingUpload {
    /// None without a bucket.
    pub(super) fn read(mut section: Section<'_>) -> Option<Self> {
        let given = section.first_given(&["endpoint", "prefix", "access_key_id", "secret_access_key", "keep_local"]);
        let gives_secrets = [section.gives("access_key_id"), section.gives("secret_access_key")];
        let upload = Self {
            endpoint: section.parsed("endpoint", String::new(), read_endpoint),
            bucket: section.text("bucket", ""),
            region: section.text("region", REGION),
            prefix: section.text("prefix", ""),
            access_key_id: section.secret("access_key_id"),
            secret_access_key: section.secret("secret_access_key"),
            keep_local: section.optional_truth("keep_local").unwrap_or_default(),
        };
        let empty = upload.endpoint.is_empty() && upload.prefix.is_empty() && !upload.keep_local;
        match (&upload.access_key_id, &upload.secret_access_key) {
            (Some(_), None) if !gives_secrets[1] => {
                section.wrong("access_key_id", "has no \"secret_access_key\" beside it");
            }
            (None, Some(_)) if !gives_secrets[0] => {
                section.wrong("secret_access_key", "has no \"access_key_id\" beside it");
            }
            (id, _) if upload.bucket.is_empty() && !(empty && id.is_none()) => {
                section.wrong(
                    given.unwrap_or("bucket"),
                    "has no \"bucket\" beside it: nothing would be uploaded",
                );
            }
            _ => {}
        }
        section.finish();
        Some(upload).filter(|upload| !upload.bucket.is_empty())
    }

    pub(super) fn write(upload: Option<&Self>, out: &mut Writer) {
        let text = |read: fn(&Self) -> &str| upload.map_or("", read);
        out.table("[recording.upload]");
        out.text("endpoint", text(|upload| &upload.endpoint));
        out.text("bucket", text(|upload| &upload.bucket));
        out.text("region", upload.map_or(REGION, |upload| &upload.region));
        out.text("prefix", text(|upload| &upload.prefix));
        out.secret("access_key_id", upload.and_then(|upload| upload.access_key_id.as_ref()));
        out.secret(
            "secret_access_key",
            upload.and_then(|upload| upload.secret_access_key.as_ref()),
        );
        out.whole("keep_local", upload.is_some_and(|upload| upload.keep_local));
    }

    /// Its secrets with their keys.
    pub(super) fn secrets(&mut self) -> impl Iterator<Item = (&'static str, &mut Secret)> {
        let id = self.access_key_id.as_mut().map(|secret| ("access_key_id", secret));
        let key = self
            .secret_access_key
            .as_mut()
            .map(|secret| ("secret_access_key", secret));
        id.into_iter().chain(key)
    }
}

/// What callers say goes over the network in the clear to nobody but this machine.
pub(super) fn read_endpoint(text: &str) -> Result<String, String> {
    let loopback = |host: &str| {
        let host = host.trim_matches(['[', ']']);
        host == "localhost" || host.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
    };
    match text.split_once("://") {
        _ if text.is_empty() => Ok(String::new()),
        Some(("https", rest)) if !rest.is_empty() => Ok(text.to_owned()),
        Some(("http", rest)) if loopback(host_of(rest)) => Ok(text.to_owned()),
        Some(("http", _)) => Err(
            "goes over the network in the clear: write \"https://\"; \"http://\" is for this machine alone".to_owned(),
        ),
        _ => Err("is not an address: write it like \"https://s3.example.com\"".to_owned()),
    }
}

fn host_of(rest: &str) -> &str {
    let authority = rest.split('/').next().unwrap_or_default();
    match authority.strip_prefix('[').and_then(|inner| inner.split_once(']')) {
        Some((host, _)) => host,
        None => authority.split(':').next().unwrap_or_default(),
    }
}

#[cfg(test)]
mod tests {
    use crate::config::tests::{problems, read};

    #[test]
    fn without_a_bucket_nothing_is_uploaded() {
        assert_eq!(read("").recording.upload, None);
        assert_eq!(
            problems("[recording.upload]\nprefix = \"a/\""),
            ["f.toml:2:10: recording.upload.prefix has no \"bucket\" beside it: nothing would be uploaded"]
        );
    }

    #[test]
    fn storage_is_reached_in_the_clear_on_this_machine_alone() {
        for (endpoint, good) in [
            ("https://s3.example.com", true),
            ("http://127.0.0.1:9000", true),
            ("http://[::1]:9000", true),
            ("http://localhost:9000", true),
            ("http://10.0.0.1:9000", false),
            ("http://127.0.0.1.example.com", false),
            ("s3.example.com", false),
        ] {
            let text = format!("[recording.upload]\nbucket = \"b\"\nendpoint = \"{endpoint}\"");
            match good {
                true => assert_eq!(read(&text).recording.upload.unwrap().endpoint, endpoint),
                false => assert_eq!(problems(&text).len(), 1, "{endpoint}"),
            }
        }
    }

    #[test]
    fn credentials_come_in_pairs_and_are_fetched() {
        let text = "[recording.upload]\nbucket = \"b\"\naccess_key_id = \"env:PASSWORD\"\n";
        assert_eq!(
            problems(text),
            ["f.toml:3:17: recording.upload.access_key_id has no \"secret_access_key\" beside it"]
        );
        let upload = read(&format!("{text}secret_access_key = \"env:PASSWORD\""))
            .recording
            .upload
            .unwrap();
        assert!(upload.secret_access_key.unwrap().is_resolved());
    }
}
