//! What is different with which backend: plain data, one row for each vendor and dialect.
//!
//! The dialects ask these fields and never a vendor's name. How a connection is opened is here as well, for whoever
//! dials it. What a configuration may override is the driver's business.

use crate::audio::{Law, SampleRate};

use super::{audio::AudioFormat, dialect::Dialect};

/// What is different with one backend.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Quirks {
    /// How it is shown the key.
    pub auth: Auth,
    /// The query parameter that names the model; none: the session does.
    pub model_key: Option<&'static str>,
    /// The query parameter that names the session, which is ours to choose.
    pub id_key: Option<&'static str>,
    /// Headers that the handshake must have.
    pub headers: &'static [(&'static str, &'static str)],
    /// In a `ga` session, voice and turn detection stand at the top and not under `audio`.
    pub top_level: bool,
    /// A tool's name, description and parameters stand in a `function` of their own.
    pub nested_tools: bool,
    /// It takes the caller's audio in this format alone, whatever it speaks in.
    pub input_format: Option<AudioFormat>,
    /// The words for formats, of the caller's audio, in dialects that have words for them. The first is written.
    pub input_words: &'static [FormatWord],
    /// The same, of the agent's audio.
    pub output_words: &'static [FormatWord],
    /// It repeats its formats when it confirms a session. One that does not is taken at its word.
    pub repeats_formats: bool,
    /// It takes being told how much of the agent was heard.
    pub truncates: bool,
    /// It may name its tool calls only at the end of the response.
    pub calls_in_done: bool,
    /// Its events may have the names of the `beta` dialect.
    pub beta_names: bool,
    /// Events of its own that ask nothing of us.
    pub noted: &'static [&'static str],
}

/// How a backend is shown the key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Auth {
    /// As `Authorization` with this scheme.
    Scheme(&'static str),
    /// As a header of this name.
    Header(&'static str),
    /// As a query parameter of this name.
    Query(&'static str),
}

/// A format and its word.
pub type FormatWord = (&'static str, AudioFormat);

const PCM_16K: AudioFormat = AudioFormat::Pcm16(SampleRate::Hz16000);
const MU: AudioFormat = AudioFormat::G711(Law::Mu);
const A: AudioFormat = AudioFormat::G711(Law::A);

/// The words of the `beta` dialect as it was.
const BETA_WORDS: &[FormatWord] = &[("pcm16", AudioFormat::PCM_24K), ("g711_ulaw", MU), ("g711_alaw", A)];

/// What the handshake of the `beta` dialect says.
const BETA_HEADER: &[(&str, &str)] = &[("OpenAI-Beta", "realtime=v1")];

/// The dialects as they were written down.
const GA: Quirks = Quirks {
    auth: Auth::Scheme("Bearer"),
    model_key: Some("model"),
    id_key: None,
    headers: &[],
    top_level: false,
    nested_tools: false,
    input_format: None,
    input_words: BETA_WORDS,
    output_words: BETA_WORDS,
    repeats_formats: true,
    truncates: true,
    calls_in_done: false,
    beta_names: false,
    noted: &[],
};

const BETA: Quirks = Quirks {
    headers: BETA_HEADER,
    beta_names: true,
    ..GA
};

const LIVE: Quirks = Quirks { model_key: None, ..GA };

/// The table, by vendor and dialect.
const ROWS: &[(&str, Dialect, Quirks)] = &[
    ("openai", Dialect::Ga, GA),
    ("openai", Dialect::Beta, BETA),
    ("openai", Dialect::Live, LIVE),
    (
        "azure",
        Dialect::Ga,
        Quirks {
            auth: Auth::Header("api-key"),
            ..GA
        },
    ),
    (
        "azure",
        Dialect::Beta,
        Quirks {
            auth: Auth::Header("api-key"),
            model_key: Some("deployment"),
            headers: &[],
            ..BETA
        },
    ),
    (
        "azure",
        Dialect::Live,
        Quirks {
            auth: Auth::Header("api-key"),
            ..LIVE
        },
    ),
    (
        "xai",
        Dialect::Ga,
        Quirks {
            top_level: true,
            repeats_formats: false,
            calls_in_done: true,
            beta_names: true,
            noted: &["conversation.item.input_audio_transcription.updated"],
            ..GA
        },
    ),
    (
        "localai",
        Dialect::Ga,
        Quirks {
            repeats_formats: false,
            beta_names: true,
            noted: &["localai.classifier.result"],
            ..GA
        },
    ),
    (
        "speaches",
        Dialect::Beta,
        Quirks {
            headers: &[],
            truncates: false,
            repeats_formats: false,
            ..BETA
        },
    ),
    (
        "dashscope",
        Dialect::Beta,
        Quirks {
            headers: &[],
            nested_tools: true,
            input_format: Some(PCM_16K),
            input_words: &[("pcm", PCM_16K), ("pcm16", PCM_16K)],
            output_words: &[("pcm", AudioFormat::PCM_24K), ("pcm24", AudioFormat::PCM_24K)],
            repeats_formats: false,
            truncates: false,
            ..BETA
        },
    ),
    (
        "inworld",
        Dialect::Ga,
        Quirks {
            auth: Auth::Scheme("Basic"),
            model_key: None,
            id_key: Some("key"),
            repeats_formats: false,
            ..GA
        },
    ),
];

impl Quirks {
    /// Those of a vendor in a dialect; none when the vendor does not speak it.
    pub fn of(vendor: &str, dialect: Dialect) -> Option<Self> {
        let row = ROWS
            .iter()
            .find(|(name, spoken, _)| *name == vendor && *spoken == dialect);
        row.map(|(_, _, quirks)| *quirks)
    }

    /// What the server takes the caller's audio for when this was asked for.
    pub(super) fn input_format(&self, wanted: AudioFormat) -> AudioFormat {
        self.input_format.unwrap_or(wanted)
    }
}

impl Default for Quirks {
    fn default() -> Self {
        GA
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_row_can_spell_the_formats_it_needs() {
        for (vendor, dialect, quirks) in ROWS.iter().filter(|(_, dialect, _)| *dialect == Dialect::Beta) {
            let input = quirks.input_format(AudioFormat::PCM_24K);
            let spells = |words: &[FormatWord], format| words.iter().any(|(_, known)| *known == format);
            assert!(spells(quirks.input_words, input), "{vendor} {dialect:?}");
            assert!(
                spells(quirks.output_words, AudioFormat::PCM_24K),
                "{vendor} {dialect:?}"
            );
        }
    }

    #[test]
    fn a_vendor_has_one_row_for_each_dialect() {
        for (index, (vendor, dialect, _)) in ROWS.iter().enumerate() {
            let again = ROWS[..index]
                .iter()
                .any(|(name, spoken, _)| name == vendor && spoken == dialect);
            assert!(!again, "{vendor} {dialect:?}");
        }
        assert_eq!(Quirks::of("xai", Dialect::Live), None);
    }
}
