//! The last step before a packet: samples to a payload, and what is sent when there is nothing to say.
//!
//! Samples that stand at another rate than the line's, because the codec changed while they waited, are brought to it
//! here. The new filter starts from the last samples that left, so that it carries on where they ended.

use super::settings::Silence;
use crate::{
    audio::{Comfort, Encoder, Resampler, SampleRate},
    sdp::Format,
};

/// Encodes what leaves.
#[derive(Debug)]
pub(super) struct Coder {
    format: Option<Format>,
    session: SampleRate,
    encoder: Option<Encoder>,
    /// The rate of the samples handed in.
    source: SampleRate,
    /// From theirs to the line's, when it is another.
    resampler: Option<Resampler>,
    /// How far it is behind, as long as that has not been made up for: in samples handed in.
    ahead: usize,
    /// The last samples handed in.
    recent: Vec<i16>,
    silence: Silence,
    comfort: Option<Comfort>,
    /// The encoder found nothing worth sending (DTX): the next words say that they begin.
    resting: bool,
    /// Since something was sent, while we are silent.
    unsent_ms: u32,
    sound: Vec<i16>,
    payload: Vec<u8>,
}

/// What came of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Coded {
    Audio {
        /// After the encoder had found nothing worth sending.
        resumes: bool,
    },
    Noise,
    Nothing,
}

/// While nothing is said and nothing sent, a packet now and then: address translators forget an idle port after half a
/// minute, and some far ends hang up.
const KEEP_ALIVE_MS: u32 = 10_000;
/// As much as a filter remembers, and more.
const RECENT_MS: usize = 10;
/// Louder than this (a peak, not a mean) it is worth a marker after a rest.
const AUDIBLE: u16 = 200;

impl Coder {
    pub(super) fn new(silence: Silence) -> Self {
        Self {
            format: None,
            session: SampleRate::Hz24000,
            encoder: None,
            source: SampleRate::Hz8000,
            resampler: None,
            ahead: 0,
            recent: Vec::new(),
            silence,
            comfort: None,
            resting: false,
            unsent_ms: 0,
            sound: Vec::new(),
            payload: Vec::new(),
        }
    }

    /// What is sent from now on. Without an encoder nothing is: the sound of a codec that cannot be set up would be
    /// noise.
    pub(super) fn set_format(&mut self, format: &Format, session: SampleRate) {
        self.session = session;
        let same = |encoder: &Encoder| {
            encoder.rate() == format.codec.line_rate(session)
                && self
                    .format
                    .is_some_and(|old| old.codec == format.codec && old.opus == format.opus)
        };
        if !self.encoder.as_ref().is_some_and(same) {
            self.encoder = Encoder::new(format.codec, session, format.opus).ok();
            self.resting = false;
            let on = self.comfort.is_some();
            self.comfort = None;
            self.set_comfort(on);
        }
        self.format = Some(*format);
    }

    pub(super) fn set_session_rate(&mut self, session: SampleRate) {
        match self.format {
            Some(format) => self.set_format(&format, session),
            None => self.session = session,
        }
    }

    /// The rate of the line.
    pub(super) fn rate(&self) -> SampleRate {
        self.encoder.as_ref().map_or(SampleRate::Hz8000, Encoder::rate)
    }

    /// The rate of the samples handed in from now on.
    pub(super) fn take_from(&mut self, source: SampleRate) {
        let line = self.rate();
        if source != self.source {
            self.recent.clear();
        }
        self.source = source;
        self.ahead = 0;
        self.resampler = (source != line).then(|| Resampler::new(source, line));
        if let Some(resampler) = &mut self.resampler
            && !self.recent.is_empty()
        {
            self.ahead = delay(source, line);
            self.sound.clear();
            resampler.process(&self.recent, &mut self.sound);
        }
    }

    /// How many samples more than a packet time the next packet needs, so that its sound goes on where the last ended.
    pub(super) fn ahead(&self) -> usize {
        self.ahead
    }

    /// A sign of life in place of silence.
    pub(super) fn set_comfort(&mut self, on: bool) {
        match (on, &self.comfort) {
            (true, None) => self.comfort = Some(Comfort::at(self.rate())),
            (true, Some(_)) => {}
            (false, _) => self.comfort = None,
        }
    }

    /// Encodes a packet.
    pub(super) fn code(&mut self, pcm: &[i16]) -> Coded {
        self.unsent_ms = 0;
        self.remember(pcm);
        match &mut self.resampler {
            None => encode(&mut self.encoder, &mut self.resting, pcm, &mut self.payload),
            Some(resampler) => {
                self.sound.clear();
                resampler.process(pcm, &mut self.sound);
                let skipped = self.sound.len() * std::mem::take(&mut self.ahead) / pcm.len().max(1);
                self.sound.drain(..skipped);
                encode(&mut self.encoder, &mut self.resting, &self.sound, &mut self.payload)
            }
        }
    }

    /// A packet time in which nothing is said; the first after words says so.
    pub(super) fn silence(&mut self, ms: u32, begins: bool) -> Coded {
        if self.silence == Silence::Stop && self.comfort.is_none() {
            let alive = self.unsent_ms >= KEEP_ALIVE_MS;
            self.unsent_ms = if alive { ms } else { self.unsent_ms.saturating_add(ms) };
            if begins || alive {
                self.still(ms);
                return Coded::Noise;
            }
            self.sound.clear();
            self.sound.resize(ms as usize * self.rate().per_ms(), 0);
            return Coded::Nothing;
        }
        self.still(ms)
    }

    pub(super) fn payload(&self) -> &[u8] {
        &self.payload
    }

    /// The samples of the silence last encoded.
    pub(super) fn stillness(&self) -> &[i16] {
        &self.sound
    }

    /// Encodes silence, or the sign of life.
    fn still(&mut self, ms: u32) -> Coded {
        let rate = self.rate();
        let len = ms as usize * rate.per_ms();
        self.sound.clear();
        self.sound.resize(len, 0);
        if let Some(comfort) = &mut self.comfort {
            comfort.fill(&mut self.sound);
        }
        self.recent.clear();
        encode(&mut self.encoder, &mut self.resting, &self.sound, &mut self.payload)
    }

    fn remember(&mut self, pcm: &[i16]) {
        let kept = pcm.len().saturating_sub(RECENT_MS * self.source.per_ms());
        self.recent.clear();
        self.recent.extend_from_slice(&pcm[kept..]);
    }
}

/// How many samples a filter holds back: where the peak of its answer to a click comes.
fn delay(source: SampleRate, line: SampleRate) -> usize {
    let mut click = vec![0; RECENT_MS * source.per_ms()];
    click[0] = i16::MAX;
    let mut answer = Vec::new();
    Resampler::new(source, line).process(&click, &mut answer);
    let peak = answer
        .iter()
        .enumerate()
        .max_by_key(|(_, sample)| sample.unsigned_abs());
    let samples = peak.map_or(0, |(at, _)| at) * source.per_ms() / line.per_ms();
    // In whole groups: the rates are to each other as numbers up to three.
    samples.next_multiple_of(source.per_ms() / SampleRate::Hz8000.per_ms())
}

fn encode(encoder: &mut Option<Encoder>, resting: &mut bool, pcm: &[i16], payload: &mut Vec<u8>) -> Coded {
    payload.clear();
    let Some(encoder) = encoder else {
        return Coded::Nothing;
    };
    encoder.encode(pcm, payload);
    if payload.is_empty() {
        *resting = true;
        return Coded::Nothing;
    }
    let resumes = *resting && pcm.iter().any(|sample| sample.unsigned_abs() > AUDIBLE);
    *resting &= !resumes;
    Coded::Audio { resumes }
}
