//! The objects inside the server's events, read as loose JSON: they come once a turn, and servers differ in them.

use serde_json::Value;

use crate::audio::{Law, SampleRate};
use crate::realtime::{
    audio::AudioFormat,
    event::{FormatView, ServerError, SessionView},
    usage::{Transcription, Usage},
};

use super::EVENT_ID_PREFIX;

/// The longest id that is kept. Real ones are under 40 bytes; a longer one makes its event malformed.
const ID_BYTES_MAX: usize = 256;

/// The longest word or sentence of the server's that is kept, in bytes; the rest is cut off.
const WORDS_BYTES_MAX: usize = 1024;

pub fn member_id<'v>(object: Option<&'v Value>, member: &str) -> Option<&'v str> {
    object?.get(member)?.as_str().filter(|id| is_id(id))
}

pub fn is_id(id: &str) -> bool {
    !id.is_empty() && id.len() <= ID_BYTES_MAX
}

pub fn session_view(session: Option<&Value>) -> SessionView {
    let at = |path: &str| session.and_then(|session| session.pointer(path));
    SessionView {
        input_format: audio_format(at("/audio/input/format")),
        output_format: audio_format(at("/audio/output/format")),
        interrupt_response: at("/audio/input/turn_detection/interrupt_response").and_then(Value::as_bool),
    }
}

fn audio_format(format: Option<&Value>) -> FormatView {
    let Some(format) = format.filter(|format| !format.is_null()) else {
        return FormatView::Absent;
    };
    match known_format(format) {
        Some(known) => FormatView::Known(known),
        None => FormatView::Other(words(&format.to_string())),
    }
}

/// A server that does not repeat the rate means the usual one: 24 kHz, or what G.711 always has.
fn known_format(format: &Value) -> Option<AudioFormat> {
    let rate = format.get("rate").filter(|rate| !rate.is_null()).map(Value::as_f64);
    let is = |hz: f64| rate == Some(Some(hz));
    match format.get("type")?.as_str()? {
        "audio/pcm" if rate.is_none() || is(24_000.0) => Some(AudioFormat::PCM_24K),
        "audio/pcm" if is(16_000.0) => Some(AudioFormat::Pcm16(SampleRate::Hz16000)),
        "audio/pcmu" if rate.is_none() || is(8_000.0) => Some(AudioFormat::G711(Law::Mu)),
        "audio/pcma" if rate.is_none() || is(8_000.0) => Some(AudioFormat::G711(Law::A)),
        _ => None,
    }
}

pub fn usage(usage: &Value) -> Usage {
    let tokens = |path: &str| usage.pointer(path).and_then(Value::as_u64);
    let given = |path: &str| tokens(path).unwrap_or(0);
    let input_audio_tokens = given("/input_token_details/audio_tokens");
    let input_image_tokens = given("/input_token_details/image_tokens");
    let output_audio_tokens = given("/output_token_details/audio_tokens");
    // A server that does not say how much was text says how much there was.
    let rest = |total: &str, others: u64| given(total).saturating_sub(others);
    let input_text = tokens("/input_token_details/text_tokens");
    let output_text = tokens("/output_token_details/text_tokens");
    let cached = |kind: &str| given(&format!("/input_token_details/cached_tokens_details/{kind}"));
    let (cached_text_tokens, cached_audio_tokens) = (cached("text_tokens"), cached("audio_tokens"));
    let cached_image_tokens = cached("image_tokens");
    let cached_tokens = tokens("/input_token_details/cached_tokens");
    Usage {
        input_text_tokens: input_text
            .unwrap_or_else(|| rest("/input_tokens", input_audio_tokens.saturating_add(input_image_tokens))),
        input_audio_tokens,
        input_image_tokens,
        cached_tokens: cached_tokens.unwrap_or(
            cached_text_tokens
                .saturating_add(cached_audio_tokens)
                .saturating_add(cached_image_tokens),
        ),
        cached_text_tokens,
        cached_audio_tokens,
        cached_image_tokens,
        output_text_tokens: output_text.unwrap_or_else(|| rest("/output_tokens", output_audio_tokens)),
        output_audio_tokens,
        transcription: Transcription::default(),
    }
}

/// What writing down the caller's words took: tokens or seconds.
pub fn transcription_usage(usage: &Value) -> Usage {
    let tokens = |path: &str| usage.pointer(path).and_then(Value::as_u64);
    let audio = tokens("/input_token_details/audio_tokens");
    let text = tokens("/input_token_details/text_tokens");
    // What is transcribed is audio, unless the server says otherwise.
    let heard = || tokens("/input_tokens").unwrap_or(0).saturating_sub(text.unwrap_or(0));
    let seconds = usage.get("seconds").and_then(Value::as_f64).unwrap_or(0.0);
    Usage {
        transcription: Transcription {
            input_text_tokens: text.unwrap_or(0),
            input_audio_tokens: audio.unwrap_or_else(heard),
            output_tokens: tokens("/output_tokens").unwrap_or(0),
            // The cast takes what is below zero, or no number, for none.
            heard_ms: (seconds * 1_000.0).round() as u64,
        },
        ..Usage::default()
    }
}

pub fn server_error(error: Option<&Value>) -> ServerError {
    let word = |member: &str| {
        error
            .and_then(|error| error.get(member))
            .map(words_of)
            .unwrap_or_default()
    };
    let event_id = error.and_then(|error| error.get("event_id")).and_then(Value::as_str);
    ServerError {
        kind: word("type"),
        code: word("code"),
        message: word("message"),
        event_id: event_id
            .and_then(|id| id.strip_prefix(EVENT_ID_PREFIX))
            .and_then(|number| number.parse().ok()),
    }
}

/// Some servers number their codes.
fn words_of(value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        Value::String(text) => words(text),
        other => words(&other.to_string()),
    }
}

pub fn words(text: &str) -> String {
    text[..text.floor_char_boundary(WORDS_BYTES_MAX)].to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn formats_are_told_apart() {
        let format = |text: &str| audio_format(Some(&serde_json::from_str(text).unwrap()));
        assert_eq!(
            format(r#"{"type":"audio/pcm","rate":24000}"#),
            known(AudioFormat::PCM_24K)
        );
        assert_eq!(format(r#"{"type":"audio/pcm"}"#), known(AudioFormat::PCM_24K));
        assert_eq!(
            format(r#"{"type":"audio/pcm","rate":16000}"#),
            known(AudioFormat::Pcm16(SampleRate::Hz16000))
        );
        assert_eq!(
            format(r#"{"type":"audio/pcm","rate":44100}"#),
            other(r#"{"rate":44100,"type":"audio/pcm"}"#)
        );
        assert_eq!(format(r#"{"type":"audio/pcmu"}"#), known(AudioFormat::G711(Law::Mu)));
        assert_eq!(
            format(r#"{"type":"audio/pcma","rate":8000}"#),
            known(AudioFormat::G711(Law::A))
        );
        assert_eq!(format(r#""pcm16""#), other(r#""pcm16""#));
        assert_eq!(audio_format(None), FormatView::Absent);
    }

    #[test]
    fn tokens_are_told_by_kind_and_text_is_what_is_left() {
        let read = |text: &str| usage(&serde_json::from_str(text).unwrap());
        let all = read(
            r#"{"input_tokens":60,"output_tokens":9,"input_token_details":{"audio_tokens":40,"image_tokens":5,
                "cached_tokens":30,"cached_tokens_details":{"text_tokens":10,"audio_tokens":19,"image_tokens":1}},
                "output_token_details":{"text_tokens":2,"audio_tokens":7}}"#,
        );
        assert_eq!(
            all.kinds().map(|(_, tokens)| tokens),
            [15, 40, 5, 30, 10, 19, 1, 2, 7, 0, 0, 0]
        );
        let plain = read(r#"{"input_token_details":{"cached_tokens_details":{"text_tokens":3}}}"#);
        assert_eq!((plain.cached_tokens, plain.cached_text_tokens), (3, 3));
    }

    #[test]
    fn a_transcription_is_counted_in_tokens_or_by_its_length() {
        let read = |text: &str| transcription_usage(&serde_json::from_str(text).unwrap()).transcription;
        let tokens = read(
            r#"{"type":"tokens","input_tokens":14,"output_tokens":6,"input_token_details":{"text_tokens":4,"audio_tokens":10}}"#,
        );
        assert_eq!(
            (
                tokens.input_text_tokens,
                tokens.input_audio_tokens,
                tokens.output_tokens,
                tokens.heard_ms
            ),
            (4, 10, 6, 0)
        );
        assert_eq!(read(r#"{"input_tokens":14,"output_tokens":6}"#).input_audio_tokens, 14);
        assert_eq!(read(r#"{"type":"duration","seconds":2.5}"#).heard_ms, 2_500);
        assert_eq!(read(r#"{"type":"duration","seconds":-1}"#), Transcription::default());
    }

    fn known(format: AudioFormat) -> FormatView {
        FormatView::Known(format)
    }

    fn other(text: &str) -> FormatView {
        FormatView::Other(text.to_owned())
    }
}
