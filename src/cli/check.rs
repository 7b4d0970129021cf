//! `patchcord check`: says what is wrong with the configuration, or prints the settings in effect.
//!
//! This is where the configuration's file, its variables and its secrets' files are read; what they mean is decided in
//! [`config`].

use std::{
    collections::BTreeMap,
    ffi::OsString,
    fs::File,
    io::{self, Read, Write},
    path::{Path, PathBuf},
    process::ExitCode,
};

use super::EXIT_USAGE;
use crate::config::{self, Config, FILE_BYTES_MAX, Problems};

/// Where the configuration is when nobody says where.
const DEFAULT_PATH: &str = "config/patchcord.toml";

/// The variable that says where.
const PATH_VARIABLE: &str = "PATCHCORD_CONFIG";

/// Bytes of a secret's or certificates' file that are read; what is longer is cut and found broken. All authorities of a
/// machine in one file are about a quarter of it.
const SECRET_FILE_BYTES_MAX: usize = 1 << 20;

/// Why there are no settings.
#[derive(Debug, thiserror::Error)]
pub enum Unusable {
    /// The file cannot be read.
    #[error("{}: cannot be read: {error}; name another file with --config or {PATH_VARIABLE}", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What stands in the way.
        error: io::Error,
    },
    /// The settings are wrong.
    #[error("{0}")]
    Wrong(Problems),
}

/// Checks the configuration of `patchcord serve`.
pub fn run(path: Option<&Path>) -> ExitCode {
    let Some(config) = load_or_explain(path) else {
        return ExitCode::from(EXIT_USAGE);
    };
    for warning in config.warnings() {
        eprintln!("warning: {warning}");
    }
    // A reader that has seen enough closes the pipe; the settings are good all the same.
    let _ = io::stdout().write_all(config.effective_toml().as_bytes());
    ExitCode::SUCCESS
}

/// Loads the settings, or says on standard error why that cannot be.
pub fn load_or_explain(path: Option<&Path>) -> Option<Config> {
    load_config(path).map_err(|unusable| eprintln!("{unusable}")).ok()
}

/// One backend of these settings with its secrets, or what is wrong with it.
pub fn ready_backend(config: &Config, name: &str) -> Result<config::Backend, String> {
    config.ready_backend(name, &environment(), &read_secret)
}

/// Loads the settings from this file, or from where they are by default.
pub fn load_config(path: Option<&Path>) -> Result<Config, Unusable> {
    let path = match (path, std::env::var_os(PATH_VARIABLE)) {
        (Some(path), _) => path.to_owned(),
        (None, Some(path)) if !path.is_empty() => PathBuf::from(path),
        (None, _) => PathBuf::from(DEFAULT_PATH),
    };
    match read_text(&path, FILE_BYTES_MAX) {
        Ok(text) => config::load(&path.to_string_lossy(), &text, &environment(), &read_secret).map_err(Unusable::Wrong),
        Err(error) => Err(Unusable::Unreadable { path, error }),
    }
}

fn read_secret(path: &str) -> io::Result<String> {
    read_text(Path::new(path), SECRET_FILE_BYTES_MAX)
}

/// One byte more than there may be, so that whoever gets the text can tell that it is too long.
fn read_text(path: &Path, bytes_max: usize) -> io::Result<String> {
    let mut text = Vec::new();
    File::open(path)?.take(bytes_max as u64 + 1).read_to_end(&mut text)?;
    String::from_utf8(text).map_err(|_| io::Error::new(io::ErrorKind::InvalidData, "it is not UTF-8 text"))
}

/// What is not UTF-8 becomes something else that no setting takes.
fn environment() -> BTreeMap<String, String> {
    let text = |text: OsString| text.to_string_lossy().into_owned();
    std::env::vars_os()
        .map(|(name, value)| (text(name), text(value)))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_that_is_not_there_is_named_with_the_way_to_name_another() {
        let error = load_config(Some(Path::new("/no/such.toml"))).unwrap_err().to_string();
        assert!(
            error.starts_with("/no/such.toml: cannot be read: No such file"),
            "{error}"
        );
        assert!(
            error.ends_with("name another file with --config or PATCHCORD_CONFIG"),
            "{error}"
        );
    }

    #[test]
    fn problems_name_the_file_as_it_was_named() {
        let file = Scratch::new("bad", b"[sip]\nlisten = []\n");
        let error = load_config(Some(&file.0)).unwrap_err().to_string();
        assert!(
            error.starts_with(&format!("{}:2:10: sip.listen", file.0.display())),
            "{error}"
        );
    }

    #[test]
    fn files_that_are_no_text_or_too_long_are_refused() {
        let binary = Scratch::new("binary", &[0xFF, 0xFE]);
        let error = load_config(Some(&binary.0)).unwrap_err().to_string();
        assert!(error.contains("cannot be read: it is not UTF-8 text"), "{error}");
        let long = Scratch::new("long", &b"#".repeat(FILE_BYTES_MAX + 9));
        let error = load_config(Some(&long.0)).unwrap_err().to_string();
        assert!(error.contains("the file is longer than"), "{error}");
    }

    #[test]
    fn the_secret_in_a_file_is_read() {
        let key = Scratch::new("key", b"hunter2\n");
        assert_eq!(read_secret(&key.0.to_string_lossy()).unwrap(), "hunter2\n");
        assert!(read_secret("/no/such").is_err());
    }

    /// A file that is there for one test.
    struct Scratch(PathBuf);

    impl Scratch {
        fn new(name: &str, content: &[u8]) -> Self {
            let path = std::env::temp_dir().join(format!("patchcord-check-{}-{name}", std::process::id()));
            std::fs::write(&path, content).unwrap();
            Self(path)
        }
    }

    impl Drop for Scratch {
        fn drop(&mut self) {
            // Left over in the temporary directory it would only be litter.
            let _ = std::fs::remove_file(&self.0);
        }
    }
}
