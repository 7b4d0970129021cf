//! How callers and backend make and recognise each other's sound.
//!
//! A caller holds its tone all the time; every tenth packet is four times as loud, which marks the packet for the
//! backend. The agent speaks for 4.8 s, then is silent for 0.4 s, so that each beginning can be timed.

/// Peak of a voice.
pub const PEAK: f32 = 4_000.0;

/// Peak of a marked packet.
pub const MARK_PEAK: f32 = 16_000.0;

/// Every so many packets one is marked.
pub const MARK_EVERY: u64 = 10;

/// The root mean square between that of a voice and that of a mark, on the ear's logarithmic scale.
const MARK_RMS: f32 = 5_657.0;

/// From this peak on a packet holds voice.
const VOICE_PEAK: u16 = 1_000;

/// Whether this stretch is a marked one.
pub fn is_mark(pcm: &[i16]) -> bool {
    let sum: f32 = pcm.iter().map(|&sample| f32::from(sample) * f32::from(sample)).sum();
    sum > MARK_RMS * MARK_RMS * pcm.len().max(1) as f32
}

/// Whether there is voice, not silence or comfort noise.
pub fn is_voice(pcm: &[i16]) -> bool {
    pcm.iter().any(|sample| sample.unsigned_abs() >= VOICE_PEAK)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::bench::pitch::pcm;

    #[test]
    fn a_mark_is_told_from_voice_and_from_the_edge_of_a_mark() {
        let (voice, mark) = (pcm(440.0, 24_000, PEAK, 480), pcm(440.0, 24_000, MARK_PEAK, 480));
        assert!(is_mark(&mark) && !is_mark(&voice) && !is_mark(&[]));
        // A filter moves the end of the mark by a millisecond into what follows.
        let edge: Vec<i16> = mark[..24].iter().chain(&voice[24..]).copied().collect();
        assert!(!is_mark(&edge));
    }

    #[test]
    fn comfort_noise_is_no_voice() {
        assert!(is_voice(&pcm(440.0, 8_000, PEAK, 160)));
        assert!(!is_voice(&pcm(440.0, 8_000, 300.0, 160)) && !is_voice(&[]));
        assert!(is_voice(&[i16::MIN]));
    }
}
