//! `[recording]`: where recordings of calls go, and in which form.

use std::{path::PathBuf, time::Duration};

use super::{effective::Writer, recording_upload::RecordingUpload, secret::Secret, section::Section};

const DEFAULT: &str = "recordings";

const FORMATS: &[(&str, RecordingFormat)] = &[("wav", RecordingFormat::Wav), ("ogg", RecordingFormat::Ogg)];

const DAY: u64 = 24 * 60 * 60;

/// Ten years.
const RETENTION_DAYS_MAX: u64 = 3_660;

/// A pebibyte.
const SIZE_MB_MAX: u64 = 1 << 30;

/// Settings of `[recording]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Recording {
    /// The folder; made when the first recording begins.
    pub path: PathBuf,
    /// What the files are.
    pub format: RecordingFormat,
    /// What they are sealed with; none leaves them as they are.
    pub key: Option<Secret>,
    /// How long they are kept; none keeps them for ever.
    pub retention: Option<Duration>,
    /// How many bytes they may take together; none sets no bound.
    pub size_max: Option<u64>,
    /// Where they are uploaded to; none leaves them where they are.
    pub upload: Option<RecordingUpload>,
}

/// What a recording's file is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum RecordingFormat {
    /// RIFF/WAVE, PCM of 16 bits.
    #[default]
    Wav,
    /// Opus in Ogg.
    Ogg,
}

impl RecordingFormat {
    /// Its name, which is also how its files end.
    pub fn word(self) -> &'static str {
        match self {
            Self::Wav => "wav",
            Self::Ogg => "ogg",
        }
    }
}

impl Default for Recording {
    fn default() -> Self {
        Self {
            path: PathBuf::from(DEFAULT),
            format: RecordingFormat::default(),
            key: None,
            retention: None,
            size_max: None,
            upload: None,
        }
    }
}

impl Recording {
    pub(super) fn read(mut section: Section<'_>) -> Self {
        let positive = |number: &u64| *number > 0;
        let recording = Self {
            path: PathBuf::from(section.text("path", DEFAULT)),
            format: section.choice("format", FORMATS, RecordingFormat::default()),
            key: section.secret("key"),
            retention: section
                .optional_whole("retention_days", 0..=RETENTION_DAYS_MAX, "days")
                .filter(positive)
                .map(|days| Duration::from_secs(days * DAY)),
            size_max: section
                .optional_whole("size_mb_max", 0..=SIZE_MB_MAX, "MB")
                .filter(positive)
                .map(|mb| mb << 20),
            upload: RecordingUpload::read(section.inner("upload")),
        };
        if recording.path.as_os_str().is_empty() {
            section.wrong("path", "names no folder: recordings have to go somewhere");
        }
        section.finish();
        recording
    }

    pub(super) fn write(&self, out: &mut Writer) {
        out.table("[recording]");
        out.text("path", self.path.display());
        out.text("format", self.format.word());
        out.secret("key", self.key.as_ref());
        out.whole("retention_days", self.retention.map_or(0, |kept| kept.as_secs() / DAY));
        out.whole("size_mb_max", self.size_max.map_or(0, |bytes| bytes >> 20));
        RecordingUpload::write(self.upload.as_ref(), out);
    }

    /// The key, or what is wrong with it. One that has not been fetched is none.
    pub fn key_bytes(&self) -> Result<Option<[u8; 32]>, String> {
        match self.key.as_ref().filter(|key| key.is_resolved()) {
            Some(key) => read_key(key.reveal()).map(Some),
            None => Ok(None),
        }
    }
}

/// A key of 32 bytes, written as 64 hexadecimal digits or in base64. No message shows it.
pub fn read_key(text: &str) -> Result<[u8; 32], String> {
    let digits = |text: &str| {
        let pair = |at: usize| u8::from_str_radix(text.get(2 * at..2 * at + 2)?, 16).ok();
        (0..32).map(pair).collect::<Option<Vec<u8>>>()
    };
    let bytes = match text.len() {
        64 if text.bytes().all(|byte| byte.is_ascii_hexdigit()) => digits(text),
        _ => base64_simd::STANDARD.decode_to_vec(text).ok(),
    };
    bytes
        .and_then(|bytes| bytes.try_into().ok())
        .ok_or_else(|| "is not a key: it needs 32 bytes as 64 hexadecimal digits or in base64; make one with \"openssl rand -hex 32\"".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::tests::{problems, read};

    #[test]
    fn nothing_is_sealed_bounded_or_deleted_unless_told() {
        assert_eq!(read("").recording, Recording::default());
        let recording = read("[recording]\nretention_days = 30\nsize_mb_max = 100").recording;
        assert_eq!(recording.retention, Some(Duration::from_secs(30 * DAY)));
        assert_eq!(recording.size_max, Some(100 << 20));
    }

    #[test]
    fn keys_are_32_bytes_in_hexadecimal_or_base64() {
        let hex = "0123456789abcdefABCDEF0123456789".repeat(2);
        let base64 = base64_simd::STANDARD.encode_to_string([7; 32]);
        assert_eq!(read_key(&hex).unwrap()[..2], [0x01, 0x23]);
        assert_eq!(read_key(&base64).unwrap(), [7; 32]);
        for bad in [
            "",
            "00",
            &hex[1..],
            &format!("{}zz", &hex[2..]),
            "aGVsbG8=",
            &format!("+1{}", &hex[2..]),
        ] {
            assert!(read_key(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_secret_that_is_no_key_is_refused_without_showing_it() {
        let problems = problems("[recording]\nkey = \"env:PASSWORD\"");
        assert_eq!(problems.len(), 1);
        assert!(
            problems[0].starts_with("f.toml:2:7: recording.key is not a key:"),
            "{problems:?}"
        );
        assert!(!problems[0].contains("hunter2"));
    }

    #[test]
    fn a_folder_has_a_name() {
        assert_eq!(
            problems("[recording]\npath = \"\""),
            ["f.toml:2:8: recording.path names no folder: recordings have to go somewhere"]
        );
    }
}
