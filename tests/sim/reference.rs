//! What may leave as RTP: an independent account of the agent's words, byte by byte.
//!
//! It is told what the session said and what was cut off, and it is shown every packet. A packet must carry the next words,
//! or rest when there are none. Where words are as silent as rest several places in them are possible, so all possible
//! places are followed; how much of an item was heard is known up to that.

use std::collections::BTreeSet;

use patchcord::audio::{Downsampler, Law};

use crate::mouth::FRAME;

/// The account of one leg.
#[derive(Debug)]
pub struct Reference {
    law: Law,
    /// What each code means.
    linear: [i16; 256],
    downsampler: Downsampler,
    /// The words since the last cut, encoded.
    words: Vec<u8>,
    items: Vec<Item>,
    /// How far into the words the caller may be.
    places: BTreeSet<usize>,
    /// Packets since there was something to say after there had been nothing.
    fresh: u32,
    /// The next packet may fade out what was cut off.
    fades: bool,
    /// The caller hears a sign of life instead of silence.
    pub comfort: bool,
    /// The gateway says something of its own.
    pub prompting: bool,
}

#[derive(Debug)]
struct Item {
    id: String,
    from: usize,
}

/// Bytes of a ramp between words and rest.
const RAMP: usize = 40;
/// Bytes at the beginning of an item that depend on what the resampler still held.
const BLUR: usize = 80;
/// Packets that words may be waited for although they have begun to come.
const GATHERING_MAX: u32 = 3;
/// Words that must go out at once.
const ENOUGH: usize = 2 * FRAME;

impl Reference {
    /// Nothing was said.
    pub fn new(law: Law) -> Self {
        Self {
            law,
            linear: table(law),
            downsampler: Downsampler::new(),
            words: Vec::new(),
            items: Vec::new(),
            places: BTreeSet::from([0]),
            fresh: 0,
            fades: false,
            comfort: false,
            prompting: false,
        }
    }

    /// Words are encoded like this from now on.
    pub fn set_law(&mut self, law: Law) {
        (self.law, self.linear) = (law, table(law));
    }

    /// The session said more of an item, at 24 kHz.
    pub fn say(&mut self, id: &str, pcm: &[i16]) {
        if self.places.contains(&self.words.len()) {
            self.fresh = 0;
        }
        if self.items.last().is_none_or(|item| item.id != id) {
            self.begin(id);
        }
        let mut narrow = Vec::new();
        self.downsampler.process(pcm, &mut narrow);
        self.law.encode(&narrow, &mut self.words);
    }

    /// The same, as it is coded on the line.
    pub fn say_coded(&mut self, id: &str, code: &[u8]) {
        if self.places.contains(&self.words.len()) {
            self.fresh = 0;
        }
        if self.items.last().is_none_or(|item| item.id != id) {
            self.begin(id);
        }
        // Two codes mean nothing at all; only one of them is sent.
        let mut pcm = Vec::new();
        self.law.decode(code, &mut pcm);
        self.law.encode(&pcm, &mut self.words);
    }

    /// How much of an item may have been heard, in milliseconds.
    pub fn heard_ms(&self, id: &str) -> Vec<u64> {
        let Some(index) = self.items.iter().position(|item| item.id == id) else {
            return Vec::new();
        };
        let from = self.items[index].from;
        let end = self.items.get(index + 1).map_or(self.words.len(), |next| next.from);
        let places = self.places.iter().flat_map(|place| [*place, place + RAMP]);
        places.map(|place| (place.clamp(from, end) - from) as u64 / 8).collect()
    }

    /// What has not left is not wanted any more.
    pub fn cut(&mut self) {
        self.forget();
        self.fades = true;
    }

    /// Nothing leaves for a while; what was being faded out is not heard.
    pub fn hold(&mut self) {
        self.fades = false;
        self.fresh = 0;
    }

    /// Whether an item was certainly not heard to its end.
    pub fn unheard(&self) -> impl Iterator<Item = &str> {
        let heard = self.places.last().copied().unwrap_or_default() + RAMP;
        let ends = self
            .items
            .iter()
            .skip(1)
            .map(|item| item.from)
            .chain([self.words.len()]);
        self.items
            .iter()
            .zip(ends)
            .filter(move |(_, end)| heard < *end)
            .map(|(item, _)| item.id.as_str())
    }

    /// Whether this may be how much of an item was heard.
    pub fn may_have_heard(&self, id: &str, ms: u64) -> bool {
        let Some(index) = self.items.iter().position(|item| item.id == id) else {
            return false;
        };
        let from = self.items[index].from;
        let end = self.items.get(index + 1).map_or(self.words.len(), |next| next.from);
        let heard = |place: usize| place.clamp(from, end) - from;
        // The faded end of a cut counts before it leaves.
        let faded = self
            .places
            .iter()
            .flat_map(|place| [*place, (place + RAMP).min(self.words.len())]);
        faded.map(heard).any(|bytes| bytes as u64 / 8 == ms)
    }

    /// How much of an item may have been heard, for people.
    pub fn describe(&self, id: &str) -> String {
        let item = self.items.iter().find(|item| item.id == id);
        format!(
            "{item:?}, {} bytes of words, heard up to {:?}",
            self.words.len(),
            self.places
        )
    }

    /// A packet left. False when it carries what it should not.
    pub fn packet(&mut self, payload: &[u8]) -> bool {
        if self.prompting {
            return true;
        }
        self.fresh = self.fresh.saturating_add(1);
        let fades = std::mem::take(&mut self.fades) && self.rests(payload.get(RAMP..).unwrap_or_default());
        let rests = fades || self.rests(payload);
        let mut places = BTreeSet::new();
        for &place in &self.places {
            let left = self.words.len() - place;
            if rests && (fades || left < ENOUGH || self.fresh <= GATHERING_MAX) {
                places.insert(place);
            }
            if left > 0 && self.says(payload, place) {
                places.insert(place + left.min(FRAME));
            }
        }
        let fits = !places.is_empty();
        if fits {
            self.places = places;
        }
        fits
    }

    fn begin(&mut self, id: &str) {
        if self.places.iter().all(|place| *place == self.words.len()) {
            self.forget();
        }
        self.items.push(Item {
            id: id.to_owned(),
            from: self.words.len(),
        });
    }

    fn forget(&mut self) {
        self.words.clear();
        self.items.clear();
        self.places = BTreeSet::from([0]);
        self.downsampler.reset();
    }

    fn rests(&self, payload: &[u8]) -> bool {
        self.comfort || payload.iter().all(|code| self.linear(*code).abs() <= 8)
    }

    /// Whether a packet carries the words from here on, ramped at its edges, and rest after them.
    fn says(&self, payload: &[u8], place: usize) -> bool {
        let words = &self.words[place..self.words.len().min(place + payload.len())];
        let alike = words.iter().zip(payload).enumerate().all(|(at, (word, code))| {
            let ramp = at < RAMP || at + RAMP >= words.len();
            word == code || (ramp && self.is_softer(*code, *word)) || self.is_blurred(place + at)
        });
        alike && payload[words.len()..].iter().all(|code| self.linear(*code).abs() <= 8)
    }

    fn is_blurred(&self, place: usize) -> bool {
        self.items
            .iter()
            .any(|item| (item.from..item.from + BLUR).contains(&place))
    }

    fn is_softer(&self, code: u8, word: u8) -> bool {
        self.linear(code).abs() <= self.linear(word).abs()
    }

    fn linear(&self, code: u8) -> i32 {
        i32::from(self.linear[usize::from(code)])
    }
}

fn table(law: Law) -> [i16; 256] {
    let codes: Vec<u8> = (0..=u8::MAX).collect();
    let mut pcm = Vec::with_capacity(256);
    law.decode(&codes, &mut pcm);
    std::array::from_fn(|code| pcm[code])
}
