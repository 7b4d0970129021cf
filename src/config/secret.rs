//! Secrets: where they come from, and what came from there. They are never shown.

use std::{collections::BTreeMap, fmt, io};

use super::bounds::SECRET_BYTES_MAX;

/// A key or a password that comes from the environment or from a file.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret {
    source: SecretSource,
    value: Option<String>,
}

/// Where a secret comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SecretSource {
    /// A variable of the environment, by name.
    Env(String),
    /// A file, by path.
    File(String),
}

impl Secret {
    /// A secret that nobody has fetched yet.
    pub(super) fn unresolved(source: SecretSource) -> Self {
        Self { source, value: None }
    }

    /// The secret itself; empty while nobody has fetched it, which only happens where nothing uses it.
    pub fn reveal(&self) -> &str {
        self.value.as_deref().unwrap_or_default()
    }

    /// Where it comes from.
    pub fn source(&self) -> &SecretSource {
        &self.source
    }

    /// Whether it has been fetched.
    pub fn is_resolved(&self) -> bool {
        self.value.is_some()
    }

    /// Fetches it, or says why that cannot be.
    pub(super) fn resolve(
        &mut self,
        env: &BTreeMap<String, String>,
        read_file: &dyn Fn(&str) -> io::Result<String>,
    ) -> Result<(), String> {
        self.fetch(env, read_file, sound)
    }

    /// Fetches one that is a text of several lines, such as a private key.
    pub(super) fn resolve_text(
        &mut self,
        env: &BTreeMap<String, String>,
        read_file: &dyn Fn(&str) -> io::Result<String>,
    ) -> Result<(), String> {
        self.fetch(env, read_file, Ok)
    }

    fn fetch(
        &mut self,
        env: &BTreeMap<String, String>,
        read_file: &dyn Fn(&str) -> io::Result<String>,
        check: impl Fn(String) -> Result<String, String>,
    ) -> Result<(), String> {
        let value = match &self.source {
            SecretSource::Env(name) => env.get(name).cloned().ok_or_else(|| "is not set".to_owned()),
            SecretSource::File(path) => read_file(path).map_err(|error| format!("cannot be read: {error}")),
        };
        let value = value
            .and_then(check)
            .map_err(|fault| format!("{} {fault}", self.source.described()))?;
        self.value = Some(value);
        Ok(())
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "Secret({self})")
    }
}

/// Shows the source alone.
impl fmt::Display for Secret {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = if self.is_resolved() { "***" } else { "not fetched" };
        write!(out, "{}, {state}", self.source)
    }
}

impl SecretSource {
    /// Reads `env:NAME` or `file:PATH`. A value that stands in a variable of ours is the secret itself, because that
    /// is an environment too.
    pub(super) fn read(text: &str, variable: Option<&str>) -> Result<Self, String> {
        match (text.split_once(':'), variable) {
            (Some(("env", name)), _) => env_source(name),
            (Some(("file", "")), _) => Err("names no file: write \"file:PATH\"".to_owned()),
            (Some(("file", path)), _) => Ok(Self::File(path.to_owned())),
            (_, Some(variable)) => Ok(Self::Env(variable.to_owned())),
            (_, None) => Err(
                "holds a plain secret: secrets come only from the environment or from a file; write \
                              \"env:NAME\" or \"file:PATH\""
                    .to_owned(),
            ),
        }
    }

    fn described(&self) -> String {
        match self {
            Self::Env(name) => format!("needs the environment variable {name}, which"),
            Self::File(path) => format!("needs the file {}, which", path.escape_debug()),
        }
    }
}

impl fmt::Display for SecretSource {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Env(name) => write!(out, "env:{name}"),
            Self::File(path) => write!(out, "file:{path}"),
        }
    }
}

/// What is no variable's name may be the secret itself, so it is not shown.
fn env_source(name: &str) -> Result<SecretSource, String> {
    let good = |letter: char| letter.is_ascii_alphanumeric() || letter == '_';
    if name.is_empty() || !name.chars().all(good) {
        return Err("names no environment variable: write \"env:NAME\" with letters, digits and \"_\"".to_owned());
    }
    Ok(SecretSource::Env(name.to_owned()))
}

/// Editors end files with a line break, which belongs to no secret.
fn sound(mut value: String) -> Result<String, String> {
    value.truncate(value.trim_end_matches(['\r', '\n']).len());
    match value.as_str() {
        "" => Err("is empty".to_owned()),
        long if long.len() > SECRET_BYTES_MAX => Err(format!("is longer than {SECRET_BYTES_MAX} bytes")),
        odd if odd.contains(|letter: char| letter.is_control()) => Err("holds control characters".to_owned()),
        _ => Ok(value),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_is_never_shown() {
        let mut secret = Secret::unresolved(SecretSource::Env("KEY".to_owned()));
        assert_eq!(format!("{secret:?}"), "Secret(env:KEY, not fetched)");
        secret.resolve(&env("hunter2"), &no_file).unwrap();
        assert_eq!(secret.reveal(), "hunter2");
        assert_eq!(format!("{secret} {secret:?} {secret:#?}").matches("hunter2").count(), 0);
        assert_eq!(secret.to_string(), "env:KEY, ***");
    }

    #[test]
    fn the_line_break_at_the_end_of_a_file_is_not_part_of_the_secret() {
        let mut secret = Secret::unresolved(SecretSource::File("/key".to_owned()));
        secret
            .resolve(&BTreeMap::new(), &|_| Ok("hunter2\r\n".to_owned()))
            .unwrap();
        assert_eq!(secret.reveal(), "hunter2");
    }

    #[test]
    fn what_cannot_be_a_secret_is_refused_without_showing_it() {
        for (value, fault) in [
            ("", "is empty"),
            ("\n", "is empty"),
            ("a\nb", "holds control characters"),
            (&"x".repeat(SECRET_BYTES_MAX + 1), "is longer than 4096 bytes"),
        ] {
            let mut secret = Secret::unresolved(SecretSource::Env("KEY".to_owned()));
            let error = secret.resolve(&env(value), &no_file).unwrap_err();
            assert_eq!(error, format!("needs the environment variable KEY, which {fault}"));
        }
    }

    #[test]
    fn a_file_that_cannot_be_read_is_named() {
        let mut secret = Secret::unresolved(SecretSource::File("/key".to_owned()));
        let error = secret.resolve(&BTreeMap::new(), &no_file).unwrap_err();
        assert_eq!(error, "needs the file /key, which cannot be read: entity not found");
    }

    #[test]
    fn sources_read_as_they_are_written() {
        for text in ["env:KEY", "file:/run/key"] {
            assert_eq!(SecretSource::read(text, None).unwrap().to_string(), text);
        }
        let direct = SecretSource::read("hunter2", Some("PATCHCORD__BACKENDS__X__API_KEY")).unwrap();
        assert_eq!(direct, SecretSource::Env("PATCHCORD__BACKENDS__X__API_KEY".to_owned()));
    }

    #[test]
    fn plain_secrets_and_bad_sources_are_refused_without_showing_them() {
        for text in ["hunter2", "env:", "env:hunter-2", "file:", "http://hunter2"] {
            let fault = SecretSource::read(text, None).unwrap_err();
            assert!(!fault.contains("hunter"), "{fault}");
        }
    }

    fn env(value: &str) -> BTreeMap<String, String> {
        BTreeMap::from([("KEY".to_owned(), value.to_owned())])
    }

    fn no_file(_: &str) -> io::Result<String> {
        Err(io::ErrorKind::NotFound.into())
    }
}
