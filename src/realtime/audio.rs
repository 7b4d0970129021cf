//! The audio of a session: which format is wanted, and how samples are spelled in its bytes.

use std::fmt;

use crate::audio::{Law, SampleRate};

/// How the bytes of a session's audio become samples, mono.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AudioFormat {
    /// 16 bit, little-endian.
    Pcm16(SampleRate),
    /// G.711 at 8 kHz.
    G711(Law),
}

/// What a backend is asked for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum AudioWish {
    /// G.711 straight through when the leg speaks it and the backend takes it, else 24 kHz.
    #[default]
    Auto,
    /// This rate and nothing else.
    Pcm16(SampleRate),
    /// G.711 whatever the leg speaks, in the leg's law if it has one.
    G711,
}

impl AudioFormat {
    /// What every backend takes.
    pub const PCM_24K: Self = Self::Pcm16(SampleRate::Hz24000);

    /// The rate of its samples.
    pub const fn rate(self) -> SampleRate {
        match self {
            Self::Pcm16(rate) => rate,
            Self::G711(_) => SampleRate::Hz8000,
        }
    }

    /// Bytes of one millisecond.
    pub const fn bytes_per_ms(self) -> usize {
        match self {
            Self::Pcm16(rate) => 2 * rate.per_ms(),
            Self::G711(_) => 8,
        }
    }

    /// Appends the samples of `odd` and `bytes`, and returns the byte left over: the first half of a sample.
    pub fn decode(self, odd: Option<u8>, bytes: &[u8], pcm: &mut Vec<i16>) -> Option<u8> {
        match self {
            Self::Pcm16(_) => decode_pcm(odd, bytes, pcm),
            Self::G711(law) => {
                law.decode(bytes, pcm);
                None
            }
        }
    }

    /// Appends the bytes of samples.
    pub fn encode(self, pcm: &[i16], bytes: &mut Vec<u8>) {
        match self {
            Self::Pcm16(_) => bytes.extend(pcm.iter().flat_map(|sample| sample.to_le_bytes())),
            Self::G711(law) => law.encode(pcm, bytes),
        }
    }
}

impl fmt::Display for AudioFormat {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Pcm16(rate) => write!(formatter, "{} kHz audio/pcm", rate.hz() / 1_000),
            Self::G711(Law::Mu) => formatter.write_str("audio/pcmu"),
            Self::G711(Law::A) => formatter.write_str("audio/pcma"),
        }
    }
}

impl AudioWish {
    /// What to ask for beside a leg of this law, and what then, should the backend not take it.
    pub fn formats(self, leg: Option<Law>) -> (AudioFormat, Option<AudioFormat>) {
        match (self, leg) {
            (Self::Auto, Some(law)) => (AudioFormat::G711(law), Some(AudioFormat::PCM_24K)),
            (Self::Auto, None) => (AudioFormat::PCM_24K, None),
            (Self::Pcm16(rate), _) => (AudioFormat::Pcm16(rate), None),
            (Self::G711, leg) => (AudioFormat::G711(leg.unwrap_or(Law::Mu)), None),
        }
    }
}

fn decode_pcm(odd: Option<u8>, bytes: &[u8], pcm: &mut Vec<i16>) -> Option<u8> {
    let bytes = match (odd, bytes) {
        (Some(low), [high, rest @ ..]) => {
            pcm.push(i16::from_le_bytes([low, *high]));
            rest
        }
        (Some(low), []) => return Some(low),
        (None, bytes) => bytes,
    };
    let (pairs, left) = bytes.as_chunks::<2>();
    pcm.extend(pairs.iter().map(|pair| i16::from_le_bytes(*pair)));
    left.first().copied()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_come_back_as_the_samples_they_were() {
        let pcm: Vec<i16> = (0..480).map(|n: i16| n.wrapping_mul(977)).collect();
        let (mut bytes, mut again) = (Vec::new(), Vec::new());
        AudioFormat::PCM_24K.encode(&pcm, &mut bytes);
        assert_eq!(bytes.len(), 10 * 2 * AudioFormat::PCM_24K.bytes_per_ms());
        assert_eq!(AudioFormat::PCM_24K.decode(None, &bytes, &mut again), None);
        assert_eq!(again, pcm);
    }

    #[test]
    fn every_code_of_a_leg_goes_straight_through() {
        for law in [Law::Mu, Law::A] {
            let codes: Vec<u8> = (0..=255).collect();
            let (mut pcm, mut again) = (Vec::new(), Vec::new());
            law.decode(&codes, &mut pcm);
            AudioFormat::G711(law).encode(&pcm, &mut again);
            // Mu-law has two zeros; the positive one is sent for both.
            let changed = codes.iter().zip(&again).filter(|(code, again)| code != again).count();
            assert_eq!(changed, usize::from(law == Law::Mu));
        }
    }

    #[test]
    fn the_leg_decides_what_auto_asks_for() {
        let mu = (AudioFormat::G711(Law::Mu), Some(AudioFormat::PCM_24K));
        assert_eq!(AudioWish::Auto.formats(Some(Law::Mu)), mu);
        assert_eq!(AudioWish::Auto.formats(None), (AudioFormat::PCM_24K, None));
        assert_eq!(AudioWish::G711.formats(Some(Law::A)), (AudioFormat::G711(Law::A), None));
        let wide = AudioWish::Pcm16(SampleRate::Hz16000);
        assert_eq!(wide.formats(Some(Law::A)).0.rate(), SampleRate::Hz16000);
    }
}
