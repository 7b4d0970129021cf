//! `patchcord check`: says what is wrong with the configuration, or prints the settings in effect.
//!
//! This is where the configuration's file, its variables and its secrets' files are read; what they mean is decided in
//! [`config`].

use std::{
    collections::BTreeMap,
    ffi::OsString,
    fs::File,
    io::{self, Read},
    path::{Path, PathBuf},
    process::ExitCode,
};

use super::EXIT_USAGE;
use crate::config::{self, Config, FILE_BYTES_MAX, Problems};

/// Where the configuration is when nobody says where.
const DEFAULT_PATH: &str = "config/patchcord.toml";

/// The variable that says where.
const PATH_VARIABLE: &str = "PATCHCORD_CONFIG";

/// Bytes of a secret's file that are read; one that is longer holds no secret.
const SECRET_FILE_BYTES_MAX: usize = 64 * 1024;

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
    let Some(config) = load_or_explain(path) else { return ExitCode::from(EXIT_USAGE) };
    print!("{}", config.effective_toml());
    ExitCode::SUCCESS
}

/// Loads the settings, or says on standard error why that cannot be.
pub fn load_or_explain(path: Option<&Path>) -> Option<Config> {
    load_config(path).map_err(|unusable| eprintln!("{unusable}")).ok()
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
    std::env::vars_os().map(|(name, value)| (text(name), text(value))).collect()
}
