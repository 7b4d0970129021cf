//! Who runs a backend, as far as a configuration has to know: what it speaks, and in which formats.
//!
//! How a vendor spells things is the business of the realtime module, which looks it up by the same word.

use super::backend::{BackendAudio, Dialect};

/// Who runs a backend.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Vendor {
    /// OpenAI, and whoever does exactly as they do.
    #[default]
    OpenAi,
    /// Azure.
    Azure,
    /// xAI.
    Xai,
    /// LocalAI.
    LocalAi,
    /// speaches.
    Speaches,
    /// Alibaba Cloud's DashScope.
    DashScope,
    /// Inworld.
    Inworld,
}

/// What there is to know of a vendor.
struct Row {
    vendor: Vendor,
    word: &'static str,
    /// What it speaks; the first unless another is asked for.
    dialects: &'static [Dialect],
    /// What its audio may be; when G.711 is not among it, "auto" is the first.
    audio: &'static [BackendAudio],
}

const ANY: &[BackendAudio] = &[
    BackendAudio::Auto,
    BackendAudio::Pcm16,
    BackendAudio::Pcm16At16Khz,
    BackendAudio::G711,
];
const PCM: &[BackendAudio] = &[BackendAudio::Pcm16, BackendAudio::Pcm16At16Khz];
const PCM_24K: &[BackendAudio] = &[BackendAudio::Pcm16];

const ROWS: &[Row] = &[
    Row {
        vendor: Vendor::OpenAi,
        word: "openai",
        dialects: &[Dialect::Ga, Dialect::Beta, Dialect::Live],
        audio: ANY,
    },
    Row {
        vendor: Vendor::Azure,
        word: "azure",
        dialects: &[Dialect::Ga, Dialect::Beta, Dialect::Live],
        audio: ANY,
    },
    Row {
        vendor: Vendor::Xai,
        word: "xai",
        dialects: &[Dialect::Ga],
        audio: ANY,
    },
    Row {
        vendor: Vendor::LocalAi,
        word: "localai",
        dialects: &[Dialect::Ga],
        audio: PCM,
    },
    Row {
        vendor: Vendor::Speaches,
        word: "speaches",
        dialects: &[Dialect::Beta],
        audio: PCM_24K,
    },
    Row {
        vendor: Vendor::DashScope,
        word: "dashscope",
        dialects: &[Dialect::Beta],
        audio: PCM_24K,
    },
    Row {
        vendor: Vendor::Inworld,
        word: "inworld",
        dialects: &[Dialect::Ga],
        audio: ANY,
    },
];

impl Vendor {
    /// All there are.
    pub fn all() -> impl Iterator<Item = Self> {
        ROWS.iter().map(|row| row.vendor)
    }

    /// The vendors by their words.
    pub(super) fn words() -> Vec<(&'static str, Self)> {
        ROWS.iter().map(|row| (row.word, row.vendor)).collect()
    }

    /// The word for it in the configuration.
    pub fn word(self) -> &'static str {
        self.row().map_or("openai", |row| row.word)
    }

    /// What it speaks, and what it speaks unless it is told otherwise first.
    pub fn dialects(self) -> &'static [Dialect] {
        self.row().map_or(&[], |row| row.dialects)
    }

    /// The audio it is asked for when this is wanted, or what it takes instead.
    pub(super) fn audio(self, wanted: BackendAudio) -> Result<BackendAudio, &'static [BackendAudio]> {
        let taken = self.row().map_or(ANY, |row| row.audio);
        match (taken.contains(&wanted), wanted) {
            (true, wanted) => Ok(wanted),
            (false, BackendAudio::Auto) => Ok(taken.first().copied().unwrap_or_default()),
            (false, _) => Err(taken),
        }
    }

    fn row(self) -> Option<&'static Row> {
        ROWS.iter().find(|row| row.vendor == self)
    }
}
