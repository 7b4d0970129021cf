//! One session's reading and writing: between the neutral events and its dialect, with its backend's quirks.
//!
//! It keeps what a dialect needs to remember from one event to the next: the live one has no turns, and they are found
//! in its audio here. What the events mean is the business of [`Machine`](super::Machine).

use std::{collections::VecDeque, time::Instant};

use crate::audio::Resampler;

use super::{
    audio::AudioFormat,
    beta,
    dialect::Dialect,
    event::{ClientEvent, FormatView, Malformed, ServerEvent, SessionView},
    fields, ga, live,
    quirks::Quirks,
};

/// How one session is understood.
#[derive(Debug)]
pub(super) struct Interpreter {
    dialect: Dialect,
    quirks: Quirks,
    /// The format that was asked for last.
    asked: AudioFormat,
    /// Brings the caller's audio to the rate that the server takes.
    resampler: Resampler,
    resampled: Vec<i16>,
    live: live::Stream,
    implied: VecDeque<ServerEvent<'static>>,
    /// Members that nobody here knows, of the event last read.
    unknown_fields: u32,
}

impl Interpreter {
    pub fn new(dialect: Dialect, quirks: Quirks) -> Self {
        Self {
            dialect,
            quirks,
            asked: AudioFormat::PCM_24K,
            resampler: Resampler::Same,
            resampled: Vec::new(),
            live: live::Stream::default(),
            implied: VecDeque::new(),
            unknown_fields: 0,
        }
    }

    /// Whether responses are asked for; without them a wish for one is words in the agent's ear.
    pub fn has_responses(&self) -> bool {
        self.dialect.has_responses()
    }

    /// Whether the server can be told of a session more than once what it is to be.
    pub fn can_reconfigure(&self) -> bool {
        self.dialect.has_updates()
    }

    /// Reads one text frame of the server. What it says between the lines is in [`Self::implied`] and comes first.
    pub fn read<'a>(&mut self, now: Instant, text: &'a str) -> Result<ServerEvent<'a>, Malformed> {
        let event = match self.dialect {
            Dialect::Ga | Dialect::Beta => ga::read(text, &self.quirks)?,
            Dialect::Live => self.live.read(now, text, &mut self.implied)?,
        };
        if !is_stream(&event) {
            self.unknown_fields = fields::unknown(text);
        }
        Ok(match event {
            ServerEvent::SessionUpdated(view) => ServerEvent::SessionUpdated(self.translated(view)),
            ServerEvent::ResponseDone(done) => {
                self.implied.extend(done.calls.iter().map(|call| ServerEvent::ToolCall {
                    response: done.id.clone().into(),
                    call: call.id.clone().into(),
                    name: call.name.clone().into(),
                    arguments: call.arguments.clone().into(),
                }));
                ServerEvent::ResponseDone(done)
            }
            event => event,
        })
    }

    /// How many members of the event last read are not known, if there are any.
    pub fn take_unknown_fields(&mut self) -> Option<u32> {
        Some(std::mem::take(&mut self.unknown_fields)).filter(|count| *count > 0)
    }

    /// What follows from what was read or from the time.
    pub fn implied(&mut self) -> Option<ServerEvent<'static>> {
        self.implied.pop_front()
    }

    /// Takes in that time has passed.
    pub fn handle_timeout(&mut self, now: Instant) {
        self.live.handle_timeout(now, &mut self.implied);
    }

    /// When [`Self::handle_timeout`] wants to be called.
    pub fn poll_timeout(&self) -> Option<Instant> {
        self.live.poll_timeout()
    }

    /// Writes one client event; none when the server has nothing like it. `event_id` comes back in the server's error
    /// when this event fails.
    pub fn write(&mut self, event_id: u64, event: &ClientEvent<'_>) -> Option<String> {
        if let ClientEvent::Configure(_, format) = event {
            self.asked = *format;
            let taken = self.quirks.input_format(*format);
            self.resampler = Resampler::new(format.rate(), taken.rate());
        }
        match self.dialect {
            Dialect::Ga => ga::write(event_id, event, &self.quirks),
            Dialect::Beta => beta::write(event_id, event, &self.quirks),
            Dialect::Live => self.live.write(event_id, event),
        }
    }

    /// Writes one frame of caller audio over what was in `text`.
    pub fn write_append(&mut self, format: AudioFormat, pcm: &[i16], scratch: &mut Vec<u8>, text: &mut String) {
        let taken = self.quirks.input_format(format);
        let pcm = if taken.rate() == format.rate() {
            pcm
        } else {
            self.resampled.clear();
            self.resampler.process(pcm, &mut self.resampled);
            &self.resampled
        };
        match self.dialect {
            Dialect::Ga | Dialect::Beta => ga::write_append(taken, pcm, scratch, text),
            Dialect::Live => live::write_append(taken, pcm, scratch, text),
        }
    }

    /// The server's formats as they are on this side: the caller's audio is brought to its rate here, and a server that
    /// does not repeat what it took is taken at its word.
    fn translated(&self, mut view: SessionView) -> SessionView {
        let silent = |format: &FormatView| *format == FormatView::Absent && !self.quirks.repeats_formats;
        let taken = FormatView::Known(self.quirks.input_format(self.asked));
        if view.input_format == taken || silent(&view.input_format) {
            view.input_format = FormatView::Known(self.asked);
        }
        if silent(&view.output_format) {
            view.output_format = FormatView::Known(self.asked);
        }
        view
    }
}

/// Events that come many times a second, and those that are not known at all.
fn is_stream(event: &ServerEvent<'_>) -> bool {
    matches!(
        event,
        ServerEvent::AudioDelta { .. }
            | ServerEvent::AgentTranscriptDelta { .. }
            | ServerEvent::CallerTranscriptDelta { .. }
            | ServerEvent::ToolArgumentsDelta { .. }
            | ServerEvent::Unknown
    )
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use serde_json::{Value, json};

    use super::*;
    use crate::{audio::SampleRate, realtime::Settings};

    #[test]
    fn a_caller_is_brought_to_the_rate_the_backend_hears_at() {
        let mut interpreter = of("dashscope", Dialect::Beta);
        let (mut scratch, mut text) = (Vec::new(), String::new());
        for _ in 0..2 {
            interpreter.write_append(AudioFormat::PCM_24K, &[0; 480], &mut scratch, &mut text);
        }
        let json: Value = serde_json::from_str(&text).unwrap();
        let audio = base64_simd::STANDARD
            .decode_to_vec(json["audio"].as_str().unwrap())
            .unwrap();
        assert_eq!(audio.len(), 20 * AudioFormat::Pcm16(SampleRate::Hz16000).bytes_per_ms());
        let confirmed = json!({ "input_audio_format": "pcm", "output_audio_format": "pcm" });
        assert_eq!(view(&mut interpreter, &confirmed), both(AudioFormat::PCM_24K));
    }

    #[test]
    fn only_a_backend_known_for_it_need_not_repeat_its_formats() {
        assert_eq!(
            view(&mut of("xai", Dialect::Ga), &json!({})),
            both(AudioFormat::PCM_24K)
        );
        let absent = (FormatView::Absent, FormatView::Absent);
        assert_eq!(view(&mut of("openai", Dialect::Ga), &json!({})), absent);
    }

    #[test]
    fn calls_told_at_the_end_of_a_response_come_before_its_end() {
        let call = json!({ "type": "function_call", "call_id": "c", "name": "f", "arguments": "{}" });
        let done = json!({ "type": "response.done", "response": { "id": "r", "output": [call] } }).to_string();
        let mut interpreter = of("xai", Dialect::Ga);
        let event = interpreter.read(Instant::now(), &done).unwrap();
        assert!(matches!(event, ServerEvent::ResponseDone(_)));
        assert!(matches!(interpreter.implied(), Some(ServerEvent::ToolCall { call, .. }) if call == "c"));
        let mut interpreter = of("openai", Dialect::Ga);
        interpreter
            .read(Instant::now() + Duration::from_secs(1), &done)
            .unwrap();
        assert_eq!(interpreter.implied(), None);
    }

    fn of(vendor: &str, dialect: Dialect) -> Interpreter {
        let mut interpreter = Interpreter::new(dialect, Quirks::of(vendor, dialect).unwrap());
        let settings = Settings::default();
        interpreter.write(1, &ClientEvent::Configure(&settings, AudioFormat::PCM_24K));
        interpreter
    }

    fn view(interpreter: &mut Interpreter, session: &Value) -> (FormatView, FormatView) {
        let text = json!({ "type": "session.updated", "session": session }).to_string();
        match interpreter.read(Instant::now(), &text) {
            Ok(ServerEvent::SessionUpdated(view)) => (view.input_format, view.output_format),
            other => panic!("{other:?}"),
        }
    }

    fn both(format: AudioFormat) -> (FormatView, FormatView) {
        (FormatView::Known(format), FormatView::Known(format))
    }
}
