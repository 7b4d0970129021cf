//! A caller's sound with a number in every packet, so that what a backend is told can be held against what was said,
//! sample by sample.
//!
//! The first samples of a packet are a mark and the packet's number, as the quietest codes of G.711 µ-law, which no
//! detector takes for a voice. Between a caller and a session that both speak µ-law they come through unchanged.

use crate::audio::Law;

/// Samples of a packet, which are bytes as well.
pub const PACKET: usize = 160;

/// Peak of the voice, at least and at most.
const VOICE_PEAKS: (i16, i16) = (2_000, 8_000);

/// From this peak on a packet holds voice.
const LOUD: u16 = 1_500;

/// No voice has two neighbours as quiet as these.
const MARK: [u8; 4] = [0x70, 0x74, 0x70, 0x74];

/// Nothing is as quiet as this with a digit in its lower half.
const DIGIT: u8 = 0xf0;

/// Digits of a number, with four bits each.
const DIGITS: usize = 5;

/// Bytes of mark and number.
const CODE: usize = MARK.len() + DIGITS;

/// Bytes kept of one session: four minutes. What comes after that is not looked at.
const BYTES_MAX: usize = 240 * 8_000;

/// The samples of a silent packet behind its code.
const SILENCE: u8 = 0xff;

/// The payload of the packet of this number.
pub fn payload(number: u32, voiced: bool) -> Vec<u8> {
    let mut payload = if voiced { voice(number) } else { vec![SILENCE; PACKET] };
    let digits = (0..DIGITS).map(|digit| DIGIT | (number >> (4 * digit) & 0xf) as u8);
    let code = MARK.into_iter().chain(digits);
    payload.iter_mut().zip(code).for_each(|(byte, code)| *byte = code);
    payload
}

/// Noise, which resembles nothing else, and never as quiet as a mark.
fn voice(seed: u32) -> Vec<u8> {
    let mut state = seed.wrapping_mul(2_654_435_761) | 1;
    let (low, high) = VOICE_PEAKS;
    let mut sample = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        let loud = low + ((state >> 8) % u32::from(high.abs_diff(low))) as i16;
        if state >> 31 == 0 { loud } else { -loud }
    };
    let pcm: Vec<i16> = (0..PACKET).map(|_| sample()).collect();
    let mut code = Vec::new();
    Law::Mu.encode(&pcm, &mut code);
    code
}

/// What a session was told of a caller.
#[derive(Debug, Default)]
pub struct Told {
    bytes: Vec<u8>,
    looked: usize,
    /// The packets in it.
    pub packets: Vec<ToldPacket>,
}

/// A packet as a session was told of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ToldPacket {
    /// Its number.
    pub number: u32,
    /// Bytes that were told before it.
    pub place: usize,
    /// When its beginning came.
    pub at: u64,
    /// Whether there is voice in it.
    pub voiced: bool,
}

impl Told {
    /// More came, at this time; the packets that begin in it.
    pub fn push(&mut self, at: u64, bytes: &[u8]) -> std::ops::Range<usize> {
        let known = self.packets.len();
        let room = BYTES_MAX.saturating_sub(self.bytes.len());
        self.bytes.extend_from_slice(&bytes[..bytes.len().min(room)]);
        while self.looked + CODE <= self.bytes.len() {
            let place = self.looked;
            let number = number(&self.bytes[place..]);
            self.looked += if number.is_some() { CODE } else { 1 };
            if let Some(number) = number {
                let end = self.bytes.len().min(place + PACKET);
                let voiced = is_voiced(&self.bytes[place + CODE..end]);
                self.packets.push(ToldPacket {
                    number,
                    place,
                    at,
                    voiced,
                });
            }
        }
        known..self.packets.len()
    }

    /// Samples that lie between two packets and were said, less those that were told: more than none were lost, fewer
    /// were told twice. Within one session, all of these are nought.
    pub fn missing(&self) -> i64 {
        let missing = |pair: &[ToldPacket]| {
            let said = (i64::from(pair[1].number) - i64::from(pair[0].number)) * PACKET as i64;
            (said - (pair[1].place - pair[0].place) as i64).abs()
        };
        self.packets.windows(2).map(missing).sum()
    }

    /// The same where this session is followed by another.
    pub fn missing_before(&self, next: &Self) -> Option<i64> {
        let (last, first) = (self.packets.last()?, next.packets.first()?);
        let said = (i64::from(first.number) - i64::from(last.number)) * PACKET as i64;
        let told = self.bytes.len() - last.place + first.place;
        Some(said - told as i64)
    }
}

fn number(bytes: &[u8]) -> Option<u32> {
    let digits = bytes.strip_prefix(&MARK)?.get(..DIGITS)?;
    let all = digits.iter().all(|digit| digit & DIGIT == DIGIT);
    let number = digits
        .iter()
        .rev()
        .fold(0, |sum, digit| sum << 4 | u32::from(digit & 0xf));
    all.then_some(number)
}

fn is_voiced(code: &[u8]) -> bool {
    let mut pcm = Vec::new();
    Law::Mu.decode(code, &mut pcm);
    pcm.iter().any(|sample| sample.unsigned_abs() >= LOUD)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_packet_is_found_with_its_number_however_the_sound_is_cut() {
        let sound: Vec<u8> = (70_000..70_050).flat_map(|n| payload(n, n % 2 == 0)).collect();
        for cut in [1, 7, 160, 161, 480, 8_000] {
            let mut told = Told::default();
            for part in sound.chunks(cut) {
                told.push(5, part);
            }
            let numbers: Vec<u32> = told.packets.iter().map(|packet| packet.number).collect();
            assert_eq!(numbers, (70_000..70_050).collect::<Vec<u32>>(), "{cut}");
            assert_eq!(told.missing(), 0);
        }
    }

    #[test]
    fn voice_is_told_from_silence_and_survives_its_law() {
        let mut told = Told::default();
        for (number, voiced) in [(1, false), (2, true), (3, false)] {
            let (mut pcm, mut again) = (Vec::new(), Vec::new());
            Law::Mu.decode(&payload(number, voiced), &mut pcm);
            Law::Mu.encode(&pcm, &mut again);
            let new = told.push(u64::from(number), &again);
            assert_eq!(told.packets[new][0].voiced, voiced);
        }
    }

    #[test]
    fn what_is_lost_or_told_twice_between_two_sessions_is_counted_to_the_sample() {
        let said: Vec<u8> = (0..20).flat_map(|n| payload(n, true)).collect();
        for (until, from, missing) in [(800, 800, 0), (800, 960, 160), (800, 803, 3), (800, 640, -160)] {
            let (mut before, mut after) = (Told::default(), Told::default());
            before.push(1, &said[..until]);
            after.push(2, &said[from..]);
            assert_eq!(before.missing_before(&after), Some(missing), "{until} {from}");
        }
        let mut torn = Told::default();
        torn.push(1, &said[..320]);
        torn.push(2, &said[480..]);
        assert_eq!(torn.missing(), 160);
        assert_eq!(torn.missing_before(&Told::default()), None);
    }
}
