//! Which codecs, telephone-events and comfort noise both sides speak, and under which payload types.
//!
//! A number means what its `a=rtpmap` says, else what RFC 3551 says. In an answer the offer's numbers are kept, so both
//! sides use the same. In answers to our offers they may differ: what we send carries the far end's numbers, what comes
//! carries ours, and, since some send what they wrote, theirs where it cannot be mistaken for another of ours.

use super::{
    Codec, EventFormat, Format, Local, Negotiated, OpusWishes, Refusal,
    description::{Map, Parameters, Stream},
    opus,
};

/// What is spoken on one stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Formats {
    /// What may come; in a description the first is what its writer likes best.
    pub receive: Vec<Format>,
    /// The telephone-events that may come.
    pub events: Vec<EventFormat>,
    /// Comfort noise.
    pub comfort_noise: Option<u8>,
}

/// What one side sends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Sent {
    /// The codec.
    pub audio: Format,
    /// The telephone-events.
    pub events: Option<EventFormat>,
}

/// The clocks of the telephone-events we offer, with the numbers we like for them.
const EVENT_NUMBERS: [(u32, u8); 2] = [(8_000, 101), (48_000, 110)];
/// The static number of comfort noise (RFC 3551 section 6).
const COMFORT_NOISE: u8 = 13;
/// The clock of comfort noise that goes with G.711 (RFC 3389 section 4).
const COMFORT_NOISE_HZ: u32 = 8_000;
const TELEPHONE_EVENT: &str = "telephone-event";
/// The keys of a telephone, as events (RFC 4733 section 3.2).
const KEYS: &str = "0-15";
/// Numbers that mean what a description says.
const DYNAMIC: std::ops::RangeInclusive<u8> = 96..=127;

/// What a payload type carries.
enum Content {
    Audio(Codec),
    Events(u32),
    Noise,
}

impl Formats {
    /// What we answer an offered stream with: every codec in common, the one we like best first.
    pub(super) fn answering(stream: &Stream, local: &Local) -> Result<(Self, Sent), Refusal> {
        let theirs = Self::listed(stream);
        let wanted = |codec: &Codec| theirs.receive.iter().find(|format| format.codec == *codec).copied();
        let receive: Vec<Format> = local.codecs.iter().filter_map(wanted).collect();
        let audio = *receive.first().ok_or_else(|| no_common_codec(local))?;
        let sent = theirs.sent(audio);
        Ok((theirs.beside(receive, sent.events), sent))
    }

    /// What our offers list, and how the far end's answer to one is understood.
    pub(super) fn offered(local: &Local) -> Self {
        let mut numbers = Numbers::of(local.before.as_deref());
        let receive = local
            .codecs
            .iter()
            .map(|&codec| numbers.audio(codec))
            .collect::<Vec<_>>();
        let used = |clock| receive.iter().any(|format| format.codec.clock_hz() == clock);
        let clocks = EVENT_NUMBERS.into_iter().filter(|&(clock, _)| used(clock));
        let events = clocks.map(|(clock, number)| numbers.events(clock, number)).collect();
        let noise = receive.iter().any(|format| format.codec.law().is_some());
        let comfort_noise = noise.then(|| numbers.comfort_noise());
        Self {
            receive,
            events,
            comfort_noise,
        }
    }

    /// What the far end's answer to our offer leaves of it; it likes best what it lists first.
    pub(super) fn answered(stream: &Stream, local: &Local) -> Result<(Self, Sent), Refusal> {
        let (theirs, ours) = (Self::listed(stream), Self::offered(local));
        let told = |codec| ours.receive.iter().find(move |format| format.codec == codec);
        let chosen: Vec<&Format> = theirs
            .receive
            .iter()
            .filter(|format| told(format.codec).is_some())
            .collect();
        let sent = theirs.sent(**chosen.first().ok_or_else(|| no_common_codec(local))?);
        let as_told = chosen.iter().filter_map(|format| {
            let payload_type = told(format.codec)?.payload_type;
            Some(Format {
                payload_type,
                ..**format
            })
        });
        let taken: Vec<u8> = ours.numbers().collect();
        let as_written = chosen.iter().filter(|format| !taken.contains(&format.payload_type));
        let receive = as_told.chain(as_written.map(|format| **format)).collect();
        let left = theirs.beside(receive, sent.events);
        Ok((left.with_told_events(&ours, &taken), sent))
    }

    /// Everything in a stream that we know at all, as it is listed; what repeats counts once, the first time.
    fn listed(stream: &Stream) -> Self {
        let mut listed = Self {
            receive: Vec::new(),
            events: Vec::new(),
            comfort_noise: None,
        };
        for payload_type in stream.payload_types() {
            match content(stream, payload_type) {
                Some(Content::Audio(codec)) => listed.add_audio(stream, codec, payload_type),
                Some(Content::Events(clock_hz)) => listed.add_events(payload_type, clock_hz),
                Some(Content::Noise) => drop(listed.comfort_noise.get_or_insert(payload_type)),
                None => {}
            }
        }
        listed
    }

    fn add_audio(&mut self, stream: &Stream, codec: Codec, payload_type: u8) {
        if self.receive.iter().any(|format| format.codec == codec) {
            return;
        }
        let line = stream.parameters(payload_type).filter(|_| codec == Codec::Opus);
        self.receive.push(Format {
            codec,
            payload_type,
            opus: line.map(opus::wishes).unwrap_or_default(),
        });
    }

    fn add_events(&mut self, payload_type: u8, clock_hz: u32) {
        if self.events.iter().all(|events| events.clock_hz != clock_hz) {
            self.events.push(EventFormat { payload_type, clock_hz });
        }
    }

    /// What goes with a codec: the events at its clock, else whichever there are, telephones' own clock first.
    fn sent(&self, audio: Format) -> Sent {
        let at = |clock| self.events.iter().find(|events| events.clock_hz == clock);
        let events = at(audio.codec.clock_hz())
            .or_else(|| at(COMFORT_NOISE_HZ))
            .or(self.events.first());
        Sent {
            audio,
            events: events.copied(),
        }
    }

    /// What goes beside these codecs: events at their clocks and those we send, and noise beside G.711.
    fn beside(self, receive: Vec<Format>, sent: Option<EventFormat>) -> Self {
        let used = |events: &EventFormat| {
            let clock = |format: &Format| format.codec.clock_hz() == events.clock_hz;
            receive.iter().any(clock) || Some(*events) == sent
        };
        let has_law = receive.iter().any(|format| format.codec.law().is_some());
        Self {
            events: self.events.into_iter().filter(used).collect(),
            comfort_noise: self.comfort_noise.filter(|_| has_law),
            receive,
        }
    }

    /// The events under the numbers we told; under theirs as well where those are free.
    fn with_told_events(mut self, ours: &Self, taken: &[u8]) -> Self {
        let told = self.events.iter().filter_map(|theirs| {
            let same = |events: &&EventFormat| events.clock_hz == theirs.clock_hz;
            ours.events.iter().find(same).copied()
        });
        let mut events: Vec<EventFormat> = told.collect();
        let as_written = |theirs: &&EventFormat| !taken.contains(&theirs.payload_type);
        events.extend(self.events.iter().filter(as_written));
        self.events = events;
        self.comfort_noise = self.comfort_noise.filter(|_| ours.comfort_noise.is_some());
        self
    }

    fn numbers(&self) -> impl Iterator<Item = u8> {
        let audio = self.receive.iter().map(|format| format.payload_type);
        let events = self.events.iter().map(|events| events.payload_type);
        audio.chain(events).chain(self.comfort_noise)
    }

    /// The lines that say all this.
    pub(super) fn lines(&self) -> (Vec<Map>, Vec<Parameters>) {
        let audio = self.receive.iter().map(|format| Map {
            payload_type: format.payload_type,
            name: format.codec.name().to_owned(),
            clock_hz: format.codec.clock_hz(),
            channels: format.codec.channels(),
        });
        let noise = self
            .comfort_noise
            .map(|payload_type| map(payload_type, "CN", COMFORT_NOISE_HZ));
        let events = self.events.iter();
        let events = events.map(|events| map(events.payload_type, TELEPHONE_EVENT, events.clock_hz));
        let opus = self.receive.iter().filter(|format| format.codec == Codec::Opus);
        let opus = opus.map(|format| parameters(format.payload_type, opus::OURS));
        let keys = self.events.iter().map(|events| parameters(events.payload_type, KEYS));
        (audio.chain(noise).chain(events).collect(), opus.chain(keys).collect())
    }
}

/// Which numbers our offer gives: those that have been in use in the call keep their meaning (RFC 3264 section 8.3.2).
struct Numbers<'a> {
    before: Option<&'a Negotiated>,
    taken: Vec<u8>,
}

impl<'a> Numbers<'a> {
    fn of(before: Option<&'a Negotiated>) -> Self {
        let taken = before.into_iter().flat_map(|before| {
            let audio = before.receive.iter().map(|format| format.payload_type);
            let events = before.events.iter().map(|events| events.payload_type);
            audio.chain(events).chain(before.comfort_noise)
        });
        let taken = taken.collect();
        Self { before, taken }
    }

    fn audio(&mut self, codec: Codec) -> Format {
        let known = |before: &&Negotiated| before.receive.iter().find(|format| format.codec == codec).copied();
        let known = self.before.as_ref().and_then(known);
        let payload_type = known.map_or_else(|| self.free(codec.payload_type()), |format| format.payload_type);
        Format {
            codec,
            payload_type,
            opus: OpusWishes::default(),
        }
    }

    fn events(&mut self, clock_hz: u32, liked: u8) -> EventFormat {
        let known = |before: &&Negotiated| before.events.iter().find(|events| events.clock_hz == clock_hz).copied();
        let known = self.before.as_ref().and_then(known);
        known.unwrap_or_else(|| EventFormat {
            payload_type: self.free(liked),
            clock_hz,
        })
    }

    fn comfort_noise(&mut self) -> u8 {
        let known = self.before.and_then(|before| before.comfort_noise);
        known.unwrap_or_else(|| self.free(COMFORT_NOISE))
    }

    /// The number we like, or a dynamic one that has no meaning yet. There are more of those than formats.
    fn free(&mut self, liked: u8) -> u8 {
        let mut candidates = std::iter::once(liked).chain(DYNAMIC);
        let free = candidates.find(|number| !self.taken.contains(number)).unwrap_or(liked);
        self.taken.push(free);
        free
    }
}

fn content(stream: &Stream, payload_type: u8) -> Option<Content> {
    let Some(map) = stream.map(payload_type) else {
        let is = |codec: &Codec| !DYNAMIC.contains(&payload_type) && codec.payload_type() == payload_type;
        let audio = Codec::ALL.into_iter().find(is).map(Content::Audio);
        return audio.or((payload_type == COMFORT_NOISE).then_some(Content::Noise));
    };
    let named = |name: &str| map.name.eq_ignore_ascii_case(name);
    if named(TELEPHONE_EVENT) {
        let keys = stream.parameters(payload_type).is_none_or(lists_keys);
        return keys.then_some(Content::Events(map.clock_hz));
    }
    if named("CN") && map.clock_hz == COMFORT_NOISE_HZ {
        return Some(Content::Noise);
    }
    let is = |codec: &Codec| named(codec.name()) && map.clock_hz == codec.clock_hz() && has_channels(*codec, map);
    Codec::ALL.into_iter().find(is).map(Content::Audio)
}

/// Opus always says two channels, and some forget to; it is the same Opus.
fn has_channels(codec: Codec, map: &Map) -> bool {
    map.channels == codec.channels() || map.channels == 1
}

/// Whether a list of events, such as `0-11,16`, holds the digits, star and pound; others are for modems.
fn lists_keys(list: &str) -> bool {
    let has = |event: u8| {
        list.split(',').any(|part| {
            let (first, last) = part.split_once('-').unwrap_or((part, part));
            let bounds = first.trim().parse::<u8>().ok().zip(last.trim().parse::<u8>().ok());
            bounds.is_some_and(|(first, last)| (first..=last).contains(&event))
        })
    };
    (0..=11).all(has)
}

fn no_common_codec(local: &Local) -> Refusal {
    let names: Vec<String> = local
        .codecs
        .iter()
        .map(|codec| format!("{}/{}", codec.name(), codec.clock_hz()))
        .collect();
    Refusal::NoCommonCodec(names.join(", "))
}

fn map(payload_type: u8, name: &str, clock_hz: u32) -> Map {
    Map {
        payload_type,
        name: name.to_owned(),
        clock_hz,
        channels: 1,
    }
}

fn parameters(payload_type: u8, text: &str) -> Parameters {
    Parameters {
        payload_type,
        text: text.to_owned(),
    }
}
