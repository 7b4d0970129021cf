//! Is somebody speaking? Energy against an adaptive noise floor, one verdict per 10 ms.
//!
//! The floor falls quickly and climbs slowly, and far more slowly while it is being called voice: a steady tone stays
//! voice for about a minute, a fan that starts is noise after that. Energy is measured as the variance of every third
//! sample at 24 kHz (every second at 16 kHz, every one at 8 kHz), so that a DC offset does not count and a frame costs
//! 80 multiplications. The detector says nothing about turns: how much voice makes a start, and how much silence an
//! end, is its owner's affair.

use super::{SampleRate, level};

/// How readily sound counts as voice.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct VoiceSettings {
    /// 0 takes nearly everything for voice, 1 only loud speech; 0.5 suits a telephone. Values outside are clamped.
    pub threshold: f32,
}

impl Default for VoiceSettings {
    fn default() -> Self {
        Self { threshold: 0.5 }
    }
}

/// Feeds on samples in any portions and judges each completed 10 ms.
#[derive(Clone, Debug)]
pub struct VoiceDetector {
    rate: SampleRate,
    /// How far above the floor voice begins and ends, as energy ratios; the gap keeps a verdict from flickering.
    begin_ratio: f32,
    end_ratio: f32,
    /// Energy below which nothing is voice, whatever the floor.
    energy_min: f32,
    floor: f32,
    floor_min: f32,
    floor_max: f32,
    voiced: bool,
    frame: Frame,
}

/// Length of one judged frame.
pub const FRAME_MS: u32 = 10;

const FLOOR_MIN_DBFS: f32 = -75.0;
const FLOOR_START_DBFS: f32 = -60.0;
/// The floor never climbs above this, so that speech at a normal level is voice in any din.
const FLOOR_MAX_DBFS: f32 = -35.0;
/// Share of the distance the floor falls per frame: a pause of 100 ms is enough to find it.
const FALL: f32 = 0.2;
/// Share of the distance it climbs per frame while the frame is not voice: about one second.
const CLIMB: f32 = 0.01;
/// Growth per frame while the frame is voice: 0.4 dB a second.
const CREEP: f32 = 1.000_92;

impl VoiceDetector {
    /// A detector for one stream.
    pub fn new(rate: SampleRate, settings: VoiceSettings) -> Self {
        let threshold = settings.threshold.clamp(0.0, 1.0);
        let begin_db = 6.0 + 8.0 * threshold;
        Self {
            rate,
            begin_ratio: 10f32.powf(begin_db / 10.0),
            end_ratio: 10f32.powf((begin_db - 3.0) / 10.0),
            energy_min: energy(-60.0 + 30.0 * threshold),
            floor: energy(FLOOR_START_DBFS),
            floor_min: energy(FLOOR_MIN_DBFS),
            floor_max: energy(FLOOR_MAX_DBFS),
            voiced: false,
            frame: Frame::default(),
        }
    }

    /// Takes samples in any portion; true when the last completed frame is voice.
    pub fn push(&mut self, pcm: &[i16]) -> bool {
        self.push_frames(pcm, |_| ());
        self.voiced
    }

    /// As [`push`](Self::push), telling the verdict on each frame completed by these samples, in order.
    pub fn push_frames(&mut self, mut pcm: &[i16], mut verdict: impl FnMut(bool)) {
        let frame_len = self.rate.per_ms() * FRAME_MS as usize;
        while !pcm.is_empty() {
            let (now, later) = pcm.split_at(pcm.len().min(frame_len - self.frame.taken));
            self.frame.add(now, self.stride());
            pcm = later;
            if self.frame.taken == frame_len {
                let energy = std::mem::take(&mut self.frame).energy();
                verdict(self.judge(energy));
            }
        }
    }

    /// The verdict on the last completed frame.
    pub fn voiced(&self) -> bool {
        self.voiced
    }

    fn judge(&mut self, energy: f32) -> bool {
        let ratio = if self.voiced { self.end_ratio } else { self.begin_ratio };
        self.voiced = energy > self.energy_min && energy > self.floor * ratio;
        self.follow(energy);
        self.voiced
    }

    fn follow(&mut self, energy: f32) {
        let next = match self.voiced {
            _ if energy < self.floor => self.floor + FALL * (energy - self.floor),
            true => self.floor * CREEP,
            false => self.floor + CLIMB * (energy - self.floor),
        };
        self.floor = next.clamp(self.floor_min, self.floor_max);
    }

    fn stride(&self) -> usize {
        self.rate.per_ms() / SampleRate::Hz8000.per_ms()
    }
}

/// The sums of one frame under way.
#[derive(Clone, Debug, Default)]
struct Frame {
    taken: usize,
    counted: u32,
    sum: i32,
    /// The squares' lower and upper 16 bits apart: both sums stay within 32 bits, which the compiler adds side by side.
    squares_low: u32,
    squares_high: u32,
}

impl Frame {
    fn add(&mut self, pcm: &[i16], stride: usize) {
        // Portions may end anywhere: the stride carries on from the frame's first sample.
        let first = (stride - self.taken % stride) % stride;
        self.taken += pcm.len();
        let pcm = pcm.get(first..).unwrap_or(&[]);
        match stride {
            2 => self.add_first_of::<2>(pcm),
            3 => self.add_first_of::<3>(pcm),
            _ => self.add_first_of::<1>(pcm),
        }
    }

    /// The first sample of every group, and of the last, unfinished one.
    fn add_first_of<const N: usize>(&mut self, pcm: &[i16]) {
        let (groups, rest) = pcm.as_chunks::<N>();
        let (mut sum, mut low, mut high) = (0, 0, 0);
        for sample in groups.iter().map(|group| i32::from(group[0])) {
            let square = (sample * sample) as u32;
            sum += sample;
            low += square & 0xFFFF;
            high += square >> 16;
        }
        self.sum += sum;
        self.squares_low += low;
        self.squares_high += high;
        self.counted += groups.len() as u32;
        if N > 1 && !rest.is_empty() {
            self.add_first_of::<1>(&rest[..1]);
        }
    }

    /// Variance in squared sample units.
    fn energy(self) -> f32 {
        let squares = (u64::from(self.squares_high) << 16) + u64::from(self.squares_low);
        let mean = self.sum as f32 / self.counted.max(1) as f32;
        (squares as f32 / self.counted.max(1) as f32 - mean * mean).max(0.0)
    }
}

fn energy(dbfs: f32) -> f32 {
    level::amplitude(dbfs).powi(2)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::audio::tone::Tone;

    #[test]
    fn a_steady_tone_is_voice_for_as_long_as_it_lasts() {
        for rate in [SampleRate::Hz8000, SampleRate::Hz16000, SampleRate::Hz24000] {
            let mut detector = VoiceDetector::new(rate, VoiceSettings::default());
            let verdicts = judge(&mut detector, &tone(rate, 400.0, -20.0, 30_000));
            assert_eq!(verdicts.len(), 3_000);
            assert!(verdicts.iter().all(|&voiced| voiced), "{rate:?}");
            assert!(
                judge(&mut detector, &vec![0; rate.per_ms() * 100])
                    .iter()
                    .all(|&voiced| !voiced)
            );
        }
    }

    #[test]
    fn onset_and_end_are_found_to_the_frame() {
        let rate = SampleRate::Hz24000;
        let mut pcm = vec![0; rate.per_ms() * 500];
        pcm.extend(tone(rate, 1_000.0, -25.0, 200));
        pcm.extend(vec![0; rate.per_ms() * 300]);
        let verdicts = judge(&mut VoiceDetector::new(rate, VoiceSettings::default()), &pcm);
        assert_eq!(verdicts.iter().position(|&voiced| voiced), Some(50));
        assert_eq!(verdicts.iter().rposition(|&voiced| voiced), Some(69));
    }

    #[test]
    fn steady_noise_is_not_voice_and_speech_above_it_is() {
        let rate = SampleRate::Hz8000;
        let mut detector = VoiceDetector::new(rate, VoiceSettings::default());
        let noisy = noise(-48.0, 5_000);
        assert!(judge(&mut detector, &noisy).iter().all(|&voiced| !voiced));
        let floor_dbfs = 10.0 * (detector.floor / (32_768.0 * 32_768.0)).log10();
        assert!((floor_dbfs + 48.0).abs() < 2.0, "{floor_dbfs}");
        assert!(
            judge(&mut detector, &tone(rate, 300.0, -30.0, 500))
                .iter()
                .all(|&voiced| voiced)
        );
        assert!(judge(&mut detector, &noise(-48.0, 500)).iter().all(|&voiced| !voiced));
    }

    #[test]
    fn a_loud_noise_that_never_ends_becomes_the_floor_after_a_minute() {
        let mut detector = VoiceDetector::new(SampleRate::Hz8000, VoiceSettings::default());
        assert!(judge(&mut detector, &noise(-38.0, 1_000)).iter().all(|&voiced| voiced));
        judge(&mut detector, &noise(-38.0, 60_000));
        assert!(!detector.voiced());
        assert!(
            judge(&mut detector, &tone(SampleRate::Hz8000, 300.0, -15.0, 500))
                .iter()
                .all(|&voiced| voiced)
        );
    }

    #[test]
    fn a_dc_offset_is_silence() {
        let mut detector = VoiceDetector::new(SampleRate::Hz8000, VoiceSettings::default());
        assert!(judge(&mut detector, &[4_000; 8_000]).iter().all(|&voiced| !voiced));
    }

    #[test]
    fn portions_of_any_size_give_the_same_verdicts() {
        let rate = SampleRate::Hz24000;
        let mut pcm = tone(rate, 440.0, -20.0, 300);
        pcm.extend(vec![0; rate.per_ms() * 200]);
        let whole = judge(&mut VoiceDetector::new(rate, VoiceSettings::default()), &pcm);
        for portion in [1, 7, 240, 479, 1_000] {
            let mut detector = VoiceDetector::new(rate, VoiceSettings::default());
            let mut verdicts = Vec::new();
            pcm.chunks(portion)
                .for_each(|part| detector.push_frames(part, |voiced| verdicts.push(voiced)));
            assert_eq!(verdicts, whole, "{portion}");
        }
    }

    fn judge(detector: &mut VoiceDetector, pcm: &[i16]) -> Vec<bool> {
        let mut verdicts = Vec::new();
        detector.push_frames(pcm, |voiced| verdicts.push(voiced));
        verdicts
    }

    fn tone(rate: SampleRate, hz: f32, dbfs: f32, ms: usize) -> Vec<i16> {
        let mut pcm = vec![0; rate.per_ms() * ms];
        Tone::new(rate, hz, dbfs).fill(&mut pcm);
        pcm
    }

    fn noise(dbfs: f32, ms: usize) -> Vec<i16> {
        let (mut state, peak) = (1u32, level::amplitude(dbfs) * 1.732);
        let mut next = || {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (state as i32 as f32 / (1u32 << 31) as f32 * peak) as i16
        };
        (0..8 * ms).map(|_| next()).collect()
    }
}
