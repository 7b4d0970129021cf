//! `patchcord recording`: what is to be done with recordings by hand.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, BufReader, BufWriter, Write},
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
    process::ExitCode,
};

use anyhow::Context;
use clap::{Args, Subcommand};

use super::{EXIT_RUNTIME, EXIT_USAGE, check, say};
use crate::{
    config,
    store::recording::{Key, mend_wav, unseal},
};

/// The variable that holds the key, unless the configuration says where it is.
const KEY_VARIABLE: &str = "PATCHCORD_RECORDING_KEY";

/// `patchcord recording …`
#[derive(Debug, Args)]
pub struct Recording {
    #[command(subcommand)]
    task: Task,
}

#[derive(Debug, Subcommand)]
enum Task {
    /// Open a sealed recording. What is sound of one that was cut off is written all the same, and the command exits with 1.
    Decrypt {
        /// The sealed file.
        file: PathBuf,
        /// Where to write it; by default beside it, without ".sealed".
        #[arg(long, value_name = "FILE")]
        out: Option<PathBuf>,
        /// The configuration file that names the key (`[recording] key`); without it the key is in PATCHCORD_RECORDING_KEY.
        #[arg(long, value_name = "FILE")]
        config: Option<PathBuf>,
    },
}

/// Does what is asked.
pub fn run(recording: &Recording) -> ExitCode {
    let Task::Decrypt { file, out, config } = &recording.task;
    let key = match key(config.as_deref()) {
        Ok(key) => key,
        Err(fault) => {
            eprintln!("patchcord: {fault}");
            return ExitCode::from(EXIT_USAGE);
        }
    };
    let out = out.clone().unwrap_or_else(|| file.with_extension(""));
    match decrypt(file, &out, &key) {
        Ok(bytes) => {
            say(&format!("{}: {bytes} bytes", out.display()));
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("patchcord: {}: {error:#}", file.display());
            ExitCode::from(EXIT_RUNTIME)
        }
    }
}

fn key(config: Option<&Path>) -> Result<Key, String> {
    let bytes = match config {
        Some(path) => {
            let config = check::load_config(Some(path)).map_err(|unusable| unusable.to_string())?;
            let key = config.recording.key_bytes()?;
            key.ok_or_else(|| format!("{} names no [recording] key", path.display()))?
        }
        None => {
            let text = std::env::var(KEY_VARIABLE);
            let text =
                text.map_err(|_| format!("name the configuration with --config, or put the key into {KEY_VARIABLE}"))?;
            config::read_recording_key(&text).map_err(|fault| format!("{KEY_VARIABLE} {fault}"))?
        }
    };
    Ok(Key::new(bytes))
}

/// Writes what is sealed in one file to another, for the eyes of its owner alone, and never over something.
fn decrypt(file: &Path, out: &Path, key: &Key) -> anyhow::Result<u64> {
    let sealed = BufReader::new(File::open(file)?);
    let create = OpenOptions::new()
        .read(true)
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(out);
    let mut plain = BufWriter::new(create.with_context(|| out.display().to_string())?);
    let unsealed = unseal(sealed, key, &mut plain);
    let done = finish(plain).with_context(|| out.display().to_string());
    if fs::metadata(out).is_ok_and(|metadata| metadata.len() == 0) {
        // Nothing opened, so there is nothing to keep.
        let _ = fs::remove_file(out);
    }
    let bytes = unsealed?;
    done?;
    Ok(bytes)
}

/// A sealed WAV does not know how long it is; this one does.
fn finish(mut plain: BufWriter<File>) -> io::Result<()> {
    plain.flush()?;
    mend_wav(plain.get_mut())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_written_over_and_nothing_is_left_of_a_key_that_does_not_fit() {
        let folder = std::env::temp_dir().join(format!("patchcord-{}-decrypt", std::process::id()));
        fs::create_dir_all(&folder).unwrap();
        let (file, out) = (folder.join("a.wav.sealed"), folder.join("a.wav"));
        fs::write(
            &file,
            "not sealed at all, but long enough to be taken for the head of something that is sealed",
        )
        .unwrap();
        let key = Key::new([1; 32]);
        assert!(
            decrypt(&file, &out, &key)
                .unwrap_err()
                .to_string()
                .contains("not a sealed recording")
        );
        assert!(!out.exists());
        fs::write(&out, "mine").unwrap();
        assert!(decrypt(&file, &out, &key).is_err());
        assert_eq!(fs::read_to_string(&out).unwrap(), "mine");
        fs::remove_dir_all(&folder).unwrap();
    }
}
