//! The turns in a stream that has none.
//!
//! The agent's audio comes without end, silence included. What is loud begins an utterance, a pause ends it, and only
//! what lies between is played: else nobody would ever be done listening. Words come in pieces and are put together at
//! those same pauses.

use std::{
    borrow::Cow,
    collections::VecDeque,
    time::{Duration, Instant},
};

use crate::{
    audio::{Law, level},
    realtime::{
        audio::AudioFormat,
        event::{ClientEvent, Malformed, PartName, ResponseDone, ServerEvent},
        history::TEXT_BYTES_MAX,
        usage::Usage,
    },
};

use super::{
    delegation::Delegation,
    reader::{self, Said, Words},
    writer,
};

/// What is louder than this is the agent's voice: voices are 20 dB above it, and the silence of a model far below.
const VOICE_DBFS: f32 = -50.0;

/// A pause this long ends an utterance; breath between sentences is shorter.
const PAUSE: Duration = Duration::from_millis(500);

/// The same after the caller cut in: what comes after is something new.
const PAUSE_CUT: Duration = Duration::from_millis(100);

/// An agent that goes on without any pause is taken to have begun something new after this much more audio: else what
/// it answers would not be heard.
const CUT_MAX: Duration = Duration::from_millis(400);

/// When nothing at all comes for this long the utterance is over as well.
const STALL: Duration = Duration::from_secs(1);

/// Words that nobody added to for this long were all.
const WORDS_REST: Duration = Duration::from_secs(2);

/// Two words of the caller with more than this between them are two turns.
const TURN_GAP_MS: u64 = 1_500;

/// Silence in front of an utterance: what comes in real time is played that much later, so that a delta may be late.
const LEAD_MS: usize = 60;

/// The stream of one session.
#[derive(Debug)]
pub struct Stream {
    format: AudioFormat,
    delegation: Delegation,
    open: Option<Utterance>,
    /// Utterances so far, for their names.
    uttered: u64,
    /// How much came since the caller cut in, if they did; the pause that ends the utterance is then a short one.
    cut: Option<Duration>,
    agent: Spoken,
    caller: Spoken,
    /// The session was told at its start what was said before it.
    remembers: bool,
    bytes: Vec<u8>,
    pcm: Vec<i16>,
}

/// What the agent is saying.
#[derive(Debug)]
struct Utterance {
    name: String,
    quiet: Duration,
    heard_at: Instant,
}

/// Words on their way to becoming a transcript.
#[derive(Debug, Default)]
struct Spoken {
    text: String,
    end_ms: u64,
    added_at: Option<Instant>,
}

impl Default for Stream {
    fn default() -> Self {
        Self {
            format: AudioFormat::PCM_24K,
            delegation: Delegation::default(),
            open: None,
            uttered: 0,
            cut: None,
            agent: Spoken::default(),
            caller: Spoken::default(),
            remembers: false,
            bytes: Vec::new(),
            pcm: Vec::new(),
        }
    }
}

type Implied = VecDeque<ServerEvent<'static>>;

impl Stream {
    /// Reads one text frame; what it implies comes before it.
    pub fn read<'a>(
        &mut self,
        now: Instant,
        text: &'a str,
        implied: &mut Implied,
    ) -> Result<ServerEvent<'a>, Malformed> {
        Ok(match reader::read(text)? {
            Said::Audio(audio) => self.audio(now, audio, implied),
            Said::CallerWords(words) => self.caller_words(now, words, implied),
            Said::AgentWords(words) => self.agent_words(now, words),
            Said::Started(view) => ServerEvent::SessionUpdated(view),
            Said::Delegated(event) => self.delegation.take(&event, implied),
            Said::Closed(error, billed) => {
                implied.extend(billed.map(ServerEvent::Billed));
                error.map_or(ServerEvent::Noted, ServerEvent::Error)
            }
            Said::Billed(billed) => billed.map_or(ServerEvent::Noted, ServerEvent::Billed),
            Said::Key(key) => ServerEvent::Key(key),
            Said::Error(error) => ServerEvent::Error(error),
            Said::Noted => ServerEvent::Noted,
            Said::Unknown => ServerEvent::Unknown,
        })
    }

    /// Writes one client event; none when there is nothing like it.
    pub fn write(&mut self, event_id: u64, event: &ClientEvent<'_>) -> Option<String> {
        match event {
            ClientEvent::Configure(settings, format) => {
                self.format = *format;
                self.remembers = !settings.history.is_empty();
            }
            ClientEvent::Recall(_) if self.remembers => return None,
            ClientEvent::Truncate { .. } | ClientEvent::Cancel { .. } => {
                self.cut = self.open.as_ref().map(|_| Duration::ZERO);
            }
            ClientEvent::ToolResult { call, .. } => self.delegation.answer(call),
            ClientEvent::Respond { instructions: None } if !self.delegation.may_go_on() => return None,
            _ => {}
        }
        writer::write(event_id, event)
    }

    /// Takes in that time has passed.
    pub fn handle_timeout(&mut self, now: Instant, implied: &mut Implied) {
        if self.open.as_ref().is_some_and(|open| now >= open.heard_at + STALL) {
            let done = self.close(implied);
            implied.extend(done);
        }
        if self.caller.is_over(now) {
            implied.extend(self.caller_turn());
        }
        if self.open.is_none() && self.agent.is_over(now) {
            implied.extend(self.agent_turn());
        }
    }

    /// When [`Self::handle_timeout`] wants to be called.
    pub fn poll_timeout(&self) -> Option<Instant> {
        let stalled = self.open.as_ref().map(|open| open.heard_at + STALL);
        let agent = self.agent.over_at().filter(|_| self.open.is_none());
        [stalled, self.caller.over_at(), agent].into_iter().flatten().min()
    }

    fn audio<'a>(&mut self, now: Instant, audio: Cow<'a, str>, implied: &mut Implied) -> ServerEvent<'a> {
        let (voiced, length) = self.listen(&audio);
        self.cut = self.cut.map(|since| since + length);
        let pause = if self.cut.is_some() { PAUSE_CUT } else { PAUSE };
        let new = self.cut.is_some_and(|since| since > CUT_MAX);
        let Some(open) = &mut self.open else {
            return match voiced {
                true => self.begin(now, &audio, implied),
                false => ServerEvent::Noted,
            };
        };
        open.heard_at = now;
        open.quiet = if voiced { Duration::ZERO } else { open.quiet + length };
        if open.quiet >= pause || new {
            return self.close(implied).unwrap_or(ServerEvent::Noted);
        }
        let part = part(&open.name);
        ServerEvent::AudioDelta { part, audio }
    }

    /// Whether there is a voice in it, and how long it is. What cannot be read counts as voice, so that it is told of.
    fn listen(&mut self, audio: &str) -> (bool, Duration) {
        self.bytes.clear();
        self.pcm.clear();
        if base64_simd::STANDARD.decode_append(audio, &mut self.bytes).is_err() {
            return (true, Duration::ZERO);
        }
        self.format.decode(None, &self.bytes, &mut self.pcm);
        let ms = self.bytes.len() / self.format.bytes_per_ms();
        (level::dbfs(&self.pcm) > VOICE_DBFS, Duration::from_millis(ms as u64))
    }

    fn begin<'a>(&mut self, now: Instant, audio: &str, implied: &mut Implied) -> ServerEvent<'a> {
        implied.extend(self.caller_turn());
        self.uttered += 1;
        self.cut = None;
        let name = format!("utterance_{}", self.uttered);
        implied.push_back(ServerEvent::ResponseCreated { id: name.clone() });
        let part = part(&name);
        self.open = Some(Utterance {
            name,
            quiet: Duration::ZERO,
            heard_at: now,
        });
        let audio = lead(self.format) + audio;
        ServerEvent::AudioDelta {
            part,
            audio: audio.into(),
        }
    }

    fn close(&mut self, implied: &mut Implied) -> Option<ServerEvent<'static>> {
        let open = self.open.take()?;
        self.cut = None;
        implied.push_back(ServerEvent::AudioDone { part: part(&open.name) });
        let text = self.agent.take();
        if !text.is_empty() {
            implied.push_back(ServerEvent::AgentTranscript {
                part: part(&open.name),
                text: text.into(),
            });
        }
        Some(ServerEvent::ResponseDone(ResponseDone {
            id: open.name,
            status: "completed".to_owned(),
            ..ResponseDone::default()
        }))
    }

    fn caller_words<'a>(&mut self, now: Instant, words: Words<'a>, implied: &mut Implied) -> ServerEvent<'a> {
        if words.start_ms > self.caller.end_ms + TURN_GAP_MS {
            implied.extend(self.caller_turn());
        }
        self.caller.add(now, &words);
        ServerEvent::CallerTranscriptDelta {
            item: self.caller_item().into(),
            text: words.text,
        }
    }

    fn agent_words<'a>(&mut self, now: Instant, words: Words<'a>) -> ServerEvent<'a> {
        self.agent.add(now, &words);
        let part = part(&self.agent_name());
        ServerEvent::AgentTranscriptDelta { part, text: words.text }
    }

    fn caller_turn(&mut self) -> Option<ServerEvent<'static>> {
        let text = self.caller.take();
        (!text.is_empty()).then(|| ServerEvent::CallerTranscript {
            item: self.caller_item().into(),
            text: text.into(),
            usage: Usage::default(),
        })
    }

    fn agent_turn(&mut self) -> Option<ServerEvent<'static>> {
        let text = self.agent.take();
        (!text.is_empty()).then(|| ServerEvent::AgentTranscript {
            part: part(&self.agent_name()),
            text: text.into(),
        })
    }

    fn agent_name(&self) -> String {
        let open = self.open.as_ref().map(|open| open.name.clone());
        open.unwrap_or_else(|| format!("utterance_{}", self.uttered))
    }

    /// The caller's turns are told apart by the agent's between them.
    fn caller_item(&self) -> String {
        format!("turn_{}", self.uttered)
    }
}

impl Spoken {
    fn add(&mut self, now: Instant, words: &Words<'_>) {
        let room = TEXT_BYTES_MAX.saturating_sub(self.text.len());
        self.text.push_str(&words.text[..words.text.floor_char_boundary(room)]);
        self.end_ms = words.end_ms.max(self.end_ms);
        self.added_at = Some(now);
    }

    fn take(&mut self) -> String {
        self.added_at = None;
        std::mem::take(&mut self.text).trim().to_owned()
    }

    fn over_at(&self) -> Option<Instant> {
        self.added_at.map(|at| at + WORDS_REST)
    }

    fn is_over(&self, now: Instant) -> bool {
        self.over_at().is_some_and(|at| now >= at)
    }
}

/// An utterance is a response of one item with one part.
fn part(name: &str) -> PartName<'static> {
    PartName {
        response: name.to_owned().into(),
        item: name.to_owned().into(),
        content_index: 0,
    }
}

/// [`LEAD_MS`] of silence in base64. Its bytes are a multiple of three in every format, so that text can follow.
fn lead(format: AudioFormat) -> String {
    let silence = match format {
        AudioFormat::Pcm16(_) => 0,
        AudioFormat::G711(Law::Mu) => 0xFF,
        AudioFormat::G711(Law::A) => 0xD5,
    };
    base64_simd::STANDARD.encode_to_string(vec![silence; LEAD_MS * format.bytes_per_ms()])
}
