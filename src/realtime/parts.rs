//! The agent's audio as it arrives: which utterance a piece belongs to, and how much of it has come.
//!
//! A content part of a response is an utterance to the playout. It stays here until its last packet has left, because
//! until then the caller may interrupt it, and the server must be told where: in this machine's own count of the bytes
//! that came, never beyond them.

use std::collections::VecDeque;

use crate::audio::{Heard, Utterance};

use super::{
    audio::AudioFormat,
    event::{ClientEvent, PartName},
};

/// Utterances that may be unheard at once; past it the oldest is forgotten and can no longer be truncated, so that the
/// model takes it for heard.
const PARTS_MAX: usize = 64;

/// The numbers from here on are those of the gateway's own prompts; no utterance of a session gets one.
const RESERVED: u32 = u32::MAX - 3;

/// The utterances whose audio has not all been heard.
#[derive(Debug)]
pub(super) struct Parts {
    format: AudioFormat,
    parts: VecDeque<Part>,
    next: u32,
}

/// Where a piece of audio lies while it is turned from one form into another. It holds nothing between two calls, so that
/// many sessions may share one.
#[derive(Debug, Default)]
pub struct Scratch {
    pub(super) bytes: Vec<u8>,
    pub(super) pcm: Vec<i16>,
}

#[derive(Debug)]
struct Part {
    utterance: Utterance,
    response: String,
    item: String,
    content_index: u32,
    bytes_received: u64,
    /// The first half of a sample that a delta ended in.
    odd: Option<u8>,
    /// No more audio comes.
    closed: bool,
}

/// Base64 that cannot be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Undecodable;

/// Where an utterance was cut off, in the server's terms.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Cut {
    item: String,
    content_index: u32,
    audio_end_ms: u32,
}

impl Parts {
    /// None yet.
    pub fn new(format: AudioFormat) -> Self {
        Self {
            format,
            parts: VecDeque::new(),
            next: 0,
        }
    }

    /// How the bytes of all parts are to be read; set before any has come.
    pub fn set_format(&mut self, format: AudioFormat) {
        self.format = format;
    }

    /// Takes in one piece of audio; its samples are left in `scratch`.
    pub fn receive(
        &mut self,
        name: &PartName<'_>,
        audio: &str,
        scratch: &mut Scratch,
    ) -> Result<Utterance, Undecodable> {
        let Scratch { bytes, pcm } = scratch;
        bytes.clear();
        pcm.clear();
        decode(audio, bytes)?;
        let index = self.position(name).unwrap_or_else(|| self.open(name));
        let part = &mut self.parts[index];
        part.bytes_received = part.bytes_received.saturating_add(bytes.len() as u64);
        part.odd = self.format.decode(part.odd, bytes, pcm);
        Ok(part.utterance)
    }

    /// Nothing the agent said is left to be heard.
    pub fn is_empty(&self) -> bool {
        self.parts.is_empty()
    }

    /// The responses with audio left to be heard.
    pub fn responses(&self) -> impl Iterator<Item = &str> {
        self.parts.iter().map(|part| part.response.as_str())
    }

    /// No more audio comes for this part.
    pub fn close(&mut self, name: &PartName<'_>) -> Option<Utterance> {
        let index = self.position(name)?;
        self.parts[index].close()
    }

    /// No more audio comes for any part of this response.
    pub fn close_response(&mut self, response: &str) -> Vec<Utterance> {
        self.parts
            .iter_mut()
            .filter(|part| part.response == response)
            .filter_map(Part::close)
            .collect()
    }

    /// The last packet of an utterance has left. One that may still grow is kept, for its count must go on.
    pub fn finished(&mut self, utterance: Utterance) {
        self.parts.retain(|part| part.utterance != utterance || !part.closed);
    }

    /// Where this utterance was cut off; none when it is unknown or was heard to its end.
    pub fn cut(&self, heard: &Heard) -> Option<Cut> {
        let part = self.parts.iter().find(|part| part.utterance == heard.utterance)?;
        if heard.complete && part.closed {
            return None;
        }
        Some(Cut {
            item: part.item.clone(),
            content_index: part.content_index,
            audio_end_ms: heard.sent_ms.min(part.received_ms(self.format)),
        })
    }

    /// The response an utterance is part of.
    pub fn response_of(&self, utterance: Utterance) -> Option<&str> {
        let part = self.parts.iter().find(|part| part.utterance == utterance)?;
        Some(&part.response)
    }

    /// Forgets everything: it was cut off.
    pub fn clear(&mut self) {
        self.parts.clear();
    }

    fn position(&self, name: &PartName<'_>) -> Option<usize> {
        // The newest is nearly always the one.
        self.parts.iter().rposition(|part| part.is(name))
    }

    fn open(&mut self, name: &PartName<'_>) -> usize {
        if self.parts.len() >= PARTS_MAX {
            self.parts.pop_front();
        }
        let utterance = Utterance(self.next);
        self.next = self.next.wrapping_add(1) % RESERVED;
        self.parts.push_back(Part {
            utterance,
            response: name.response.clone().into_owned(),
            item: name.item.clone().into_owned(),
            content_index: name.content_index,
            bytes_received: 0,
            odd: None,
            closed: false,
        });
        self.parts.len() - 1
    }
}

impl Cut {
    /// How the server is told.
    pub fn event(&self) -> ClientEvent<'_> {
        ClientEvent::Truncate {
            item: &self.item,
            content_index: self.content_index,
            audio_end_ms: self.audio_end_ms,
        }
    }
}

impl Part {
    fn is(&self, name: &PartName<'_>) -> bool {
        self.content_index == name.content_index && self.item == name.item && self.response == name.response
    }

    fn close(&mut self) -> Option<Utterance> {
        let was_open = !std::mem::replace(&mut self.closed, true);
        was_open.then_some(self.utterance)
    }

    fn received_ms(&self, format: AudioFormat) -> u32 {
        u32::try_from(self.bytes_received / format.bytes_per_ms() as u64).unwrap_or(u32::MAX)
    }
}

/// Servers differ in whether they pad.
fn decode(audio: &str, bytes: &mut Vec<u8>) -> Result<(), Undecodable> {
    let base64 = if audio.len().is_multiple_of(4) {
        base64_simd::STANDARD
    } else {
        base64_simd::STANDARD_NO_PAD
    };
    base64.decode_append(audio, bytes).map_err(|_| Undecodable)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sample_split_between_two_deltas_is_joined() {
        let mut parts = Parts::new(AudioFormat::PCM_24K);
        assert_eq!(receive(&mut parts, &name("a"), &base64(&[1, 0, 2])).unwrap().1, [1]);
        assert_eq!(
            receive(&mut parts, &name("b"), &base64(&[9, 0])).unwrap().1,
            [9],
            "another part has its own boundary"
        );
        assert_eq!(receive(&mut parts, &name("a"), &base64(&[0])).unwrap().1, [2]);
        assert_eq!(receive(&mut parts, &name("a"), &base64(&[3, 0])).unwrap().1, [3]);
    }

    #[test]
    fn base64_is_read_with_and_without_padding() {
        let mut parts = Parts::new(AudioFormat::PCM_24K);
        assert_eq!(receive(&mut parts, &name("a"), "AQA=").unwrap().1, [1]);
        assert_eq!(receive(&mut parts, &name("a"), "AgA").unwrap().1, [2]);
        assert_eq!(receive(&mut parts, &name("a"), "??"), Err(Undecodable));
    }

    #[test]
    fn each_part_is_one_utterance() {
        let mut parts = Parts::new(AudioFormat::PCM_24K);
        let (a, _) = receive(&mut parts, &name("a"), "").unwrap();
        let (b, _) = receive(&mut parts, &name("b"), "").unwrap();
        assert_ne!(a, b);
        assert_eq!(receive(&mut parts, &name("a"), ""), Ok((a, Vec::new())));
    }

    #[test]
    fn a_cut_never_exceeds_what_came() {
        let mut parts = Parts::new(AudioFormat::PCM_24K);
        let (utterance, _) = receive(&mut parts, &name("a"), &base64(&[0; 48 * 10 + 47])).unwrap();
        let heard = |sent_ms| Heard {
            utterance,
            sent_ms,
            received_ms: 5_000,
            complete: false,
        };
        assert_eq!(parts.cut(&heard(5_000)).unwrap().audio_end_ms, 10);
        assert_eq!(parts.cut(&heard(7)).unwrap().audio_end_ms, 7);
        assert_eq!(parts.cut(&heard(0)).unwrap().audio_end_ms, 0);
    }

    #[test]
    fn an_utterance_stays_until_it_is_closed_and_heard() {
        let mut parts = Parts::new(AudioFormat::PCM_24K);
        let (utterance, _) = receive(&mut parts, &name("a"), "AQA=").unwrap();
        parts.finished(utterance);
        assert!(!parts.is_empty(), "more audio may come");
        assert_eq!(parts.close(&name("a")), Some(utterance));
        assert_eq!(parts.close(&name("a")), None);
        parts.finished(utterance);
        assert!(parts.is_empty());
    }

    #[test]
    fn the_number_of_parts_is_bounded() {
        let mut parts = Parts::new(AudioFormat::PCM_24K);
        for number in 0..PARTS_MAX * 2 {
            receive(&mut parts, &name(&number.to_string()), "AQA=").unwrap();
        }
        assert_eq!(parts.parts.len(), PARTS_MAX);
    }

    fn name(item: &str) -> PartName<'_> {
        PartName {
            response: "r".into(),
            item: item.into(),
            content_index: 0,
        }
    }

    /// The utterance that a piece belongs to, and its samples.
    fn receive(parts: &mut Parts, name: &PartName<'_>, audio: &str) -> Result<(Utterance, Vec<i16>), Undecodable> {
        let mut scratch = Scratch::default();
        let utterance = parts.receive(name, audio, &mut scratch)?;
        Ok((utterance, scratch.pcm))
    }

    fn base64(bytes: &[u8]) -> String {
        base64_simd::STANDARD.encode_to_string(bytes)
    }
}
