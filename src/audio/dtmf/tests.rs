//! What Q.24 and Bellcore's talk-off tests ask, with sounds made here and the operator's own voice.

use super::*;

const RATES: [SampleRate; 3] = [SampleRate::Hz8000, SampleRate::Hz16000, SampleRate::Hz24000];

#[test]
fn every_key_is_told_once_at_every_rate() {
    for rate in RATES {
        let mut line = Line::new(rate);
        for key in KEYS.into_iter().flatten() {
            line.press(key, Press::default());
            line.silence(40);
        }
        assert_eq!(line.heard(), "123A456B789C*0#D", "{rate:?}");
    }
}

#[test]
fn the_shortest_keys_and_pauses_do() {
    // Every place of a key against the windows.
    for lead in 0..16 {
        let mut line = Line::new(RATE);
        line.silence(100 + lead);
        for key in "5505A".chars() {
            line.hold(key, 40);
            line.silence(40);
        }
        assert_eq!(line.heard(), "5505A", "{lead}");
    }
}

#[test]
fn a_key_is_told_within_48_ms_and_not_again_while_held() {
    let mut line = Line::new(RATE);
    line.silence(100);
    line.hold('7', 5_000);
    let frames: Vec<Option<char>> = line.frames();
    assert_eq!(frames.iter().flatten().count(), 1);
    let told_ms = (frames.iter().position(Option::is_some).unwrap() + 1) * 20;
    assert!(told_ms <= 100 + 60, "{told_ms}");
}

#[test]
fn too_short_a_tone_is_no_key() {
    for ms in [5, 10, 15, 20, 23] {
        for lead in 0..16 {
            let mut line = Line::new(RATE);
            line.silence(100 + lead);
            line.hold('5', ms);
            line.silence(100);
            assert_eq!(line.heard(), "", "{ms} ms after {lead}");
        }
    }
}

#[test]
fn an_interruption_of_10_ms_is_still_the_same_key() {
    for lead in 0..16 {
        let mut line = Line::new(RATE);
        line.silence(100 + lead);
        line.hold('5', 60);
        line.silence(10);
        line.hold('5', 60);
        line.silence(100);
        assert_eq!(line.heard(), "5", "{lead}");
    }
}

#[test]
fn twist_of_eight_decibels_either_way_is_taken_and_of_twelve_is_not() {
    for key in KEYS.into_iter().flatten() {
        for (twist_db, expected) in [(8.0, true), (-8.0, true), (12.0, false), (-12.0, false)] {
            let mut line = Line::new(RATE);
            line.press(
                key,
                Press {
                    twist_db,
                    ..Press::default()
                },
            );
            line.silence(60);
            assert_eq!(!line.heard().is_empty(), expected, "{key} {twist_db} dB");
        }
    }
}

#[test]
fn pitch_within_one_and_a_half_percent_is_taken_and_beyond_three_and_a_half_is_not() {
    for key in KEYS.into_iter().flatten() {
        for (low, high, expected) in [
            (1.5, 1.5, true),
            (-1.5, 1.5, true),
            (1.5, -1.5, true),
            (-1.5, -1.5, true),
            (3.5, 0.0, false),
            (-3.5, 0.0, false),
            (0.0, 3.5, false),
            (0.0, -3.5, false),
        ] {
            let mut line = Line::new(RATE);
            line.press(
                key,
                Press {
                    off_percent: [low, high],
                    ms: 60,
                    ..Press::default()
                },
            );
            line.silence(60);
            assert_eq!(!line.heard().is_empty(), expected, "{key} {low} % {high} %");
        }
    }
}

#[test]
fn noise_fifteen_decibels_below_changes_nothing() {
    for rate in RATES {
        for twist_db in [0.0, 4.0, -4.0] {
            let mut line = Line::new(rate);
            for _ in 0..20 {
                for key in KEYS.into_iter().flatten() {
                    line.press(
                        key,
                        Press {
                            twist_db,
                            ..Press::default()
                        },
                    );
                    line.silence(60);
                }
            }
            line.add_noise(-16.0 - 15.0);
            assert_eq!(line.heard(), "123A456B789C*0#D".repeat(20), "{rate:?} {twist_db}");
        }
    }
}

#[test]
fn soft_and_loud_keys_are_taken_and_inaudible_ones_are_not() {
    for (dbfs, expected) in [(-4.0, "5"), (-10.0, "5"), (-30.0, "5"), (-36.0, "5"), (-48.0, "")] {
        let mut line = Line::new(RATE);
        line.press(
            '5',
            Press {
                dbfs,
                ..Press::default()
            },
        );
        line.silence(60);
        assert_eq!(line.heard(), expected, "{dbfs}");
    }
}

#[test]
fn tones_of_the_network_are_no_keys() {
    for tones in [
        [350.0, 440.0],
        [440.0, 480.0],
        [480.0, 620.0],
        [425.0, 425.0],
        [1_100.0, 1_100.0],
        [2_100.0, 2_100.0],
    ] {
        let mut line = Line::new(RATE);
        line.tones(tones, [-16.0, -16.0], 3_000);
        assert_eq!(line.heard(), "", "{tones:?}");
    }
    // One tone of a key alone, and with its second harmonic.
    for hz in HZ {
        let mut line = Line::new(RATE);
        line.tones([hz, hz * 2.0], [-16.0, -22.0], 1_000);
        assert_eq!(line.heard(), "", "{hz}");
    }
}

#[test]
fn an_hour_of_voices_is_no_key() {
    let mut voice = Voice::new();
    let mut detector = DtmfDetector::new(RATE);
    let mut frame = [0; 160];
    let mut told = Vec::new();
    for index in 0..3_600 * 50 {
        voice.speak(&mut frame);
        told.extend(detector.push(&frame).map(|key| (index / 50, key)));
    }
    assert!(told.is_empty(), "{told:?}");
}

/// The clips are a real synthesiser's speech; at other speeds they are other voices.
#[test]
fn the_operators_voice_is_no_key_at_any_pitch() {
    const CLIPS: [&[u8]; 4] = [
        include_bytes!("../../operator/clips/greeting.ulaw"),
        include_bytes!("../../operator/clips/goodbye.ulaw"),
        include_bytes!("../../operator/clips/okay.ulaw"),
        include_bytes!("../../operator/clips/pressed_5.ulaw"),
    ];
    for clip in CLIPS {
        let mut pcm = Vec::new();
        crate::audio::Law::Mu.decode(clip, &mut pcm);
        for percent in (50..200).step_by(3) {
            let mut detector = DtmfDetector::new(RATE);
            let faster: Vec<i16> = (0..pcm.len() * 100 / percent).map(|n| pcm[n * percent / 100]).collect();
            let told: Vec<char> = faster.chunks(160).filter_map(|frame| detector.push(frame)).collect();
            assert!(told.is_empty(), "{percent} %: {told:?}");
        }
    }
}

#[test]
fn portions_of_any_size_tell_the_same() {
    let mut line = Line::new(SampleRate::Hz24000);
    for key in "1337".chars() {
        line.press(key, Press::default());
        line.silence(50);
    }
    for portion in [1, 7, 240, 480, 999] {
        let mut detector = DtmfDetector::new(SampleRate::Hz24000);
        let told: String = line
            .pcm
            .chunks(portion)
            .filter_map(|part| detector.push(part))
            .collect();
        assert_eq!(told, "1337", "{portion}");
    }
}

/// How a key is pressed.
#[derive(Clone, Copy)]
struct Press {
    ms: usize,
    /// Of each tone before the twist.
    dbfs: f64,
    /// How much the column's tone is louder.
    twist_db: f64,
    /// How much row and column are off their pitch.
    off_percent: [f64; 2],
}

impl Default for Press {
    fn default() -> Self {
        Self {
            ms: 50,
            dbfs: -16.0,
            twist_db: 0.0,
            off_percent: [0.0; 2],
        }
    }
}

/// A line with sounds on it.
struct Line {
    rate: SampleRate,
    pcm: Vec<i16>,
}

impl Line {
    fn new(rate: SampleRate) -> Self {
        Self { rate, pcm: Vec::new() }
    }

    fn hold(&mut self, key: char, ms: usize) {
        self.press(key, Press { ms, ..Press::default() });
    }

    fn press(&mut self, key: char, press: Press) {
        let place = KEYS.iter().flatten().position(|&other| other == key).unwrap();
        let [low, high] = press.off_percent.map(|percent| 1.0 + percent / 100.0);
        let tones = [HZ[place / 4] * low, HZ[4 + place % 4] * high];
        let levels = [press.dbfs - press.twist_db / 2.0, press.dbfs + press.twist_db / 2.0];
        self.tones(tones, levels, press.ms);
    }

    fn tones(&mut self, hz: [f64; 2], dbfs: [f64; 2], ms: usize) {
        let rate = f64::from(self.rate.hz());
        let peaks = dbfs.map(|dbfs| 32_768.0 * 10_f64.powf(dbfs / 20.0) * std::f64::consts::SQRT_2);
        let tone =
            |n: usize, tone: usize| peaks[tone] * (std::f64::consts::TAU * hz[tone] * n as f64 / rate + 0.7).sin();
        self.pcm
            .extend((0..ms * self.rate.per_ms()).map(|n| (tone(n, 0) + tone(n, 1)) as i16));
    }

    fn silence(&mut self, ms: usize) {
        self.pcm.resize(self.pcm.len() + ms * self.rate.per_ms(), 0);
    }

    fn add_noise(&mut self, dbfs: f64) {
        // A uniform value of peak p has an RMS of p / sqrt(3).
        let peak = 32_768.0 * 10_f64.powf(dbfs / 20.0) * 3_f64.sqrt();
        let mut noise = Noise(5);
        for sample in &mut self.pcm {
            *sample = sample.saturating_add((noise.next() * peak) as i16);
        }
    }

    fn frames(&self) -> Vec<Option<char>> {
        let mut detector = DtmfDetector::new(self.rate);
        let frames = self.pcm.chunks(20 * self.rate.per_ms());
        frames.map(|frame| detector.push(frame)).collect()
    }

    fn heard(&self) -> String {
        self.frames().into_iter().flatten().collect()
    }
}

/// Linear congruential, -1 to 1.
struct Noise(u32);

impl Noise {
    fn next(&mut self) -> f64 {
        self.0 = self.0.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        f64::from(self.0 as i32) / f64::from(1_u32 << 31)
    }
}

/// A source and four formants, which glide from sound to sound; every few seconds another speaker, from a deep man to a
/// child, and now and then a whistle, whose lone tone comes closest to a key's.
struct Voice {
    noise: Noise,
    phase: f64,
    pitch: f64,
    formants: [[f64; 2]; 4],
    now: [f64; 4],
    target: [f64; 4],
    left: usize,
    voiced: bool,
    loud: f64,
    speaker: f64,
}

impl Voice {
    fn new() -> Self {
        Self {
            noise: Noise(1),
            phase: 0.0,
            pitch: 120.0,
            formants: [[0.0; 2]; 4],
            now: [500.0, 1_500.0, 2_500.0, 3_500.0],
            target: [500.0, 1_500.0, 2_500.0, 3_500.0],
            left: 0,
            voiced: true,
            loud: 0.0,
            speaker: 1.0,
        }
    }

    fn speak(&mut self, frame: &mut [i16]) {
        for samples in frame.chunks_mut(40) {
            self.left = self.left.checked_sub(1).unwrap_or_else(|| self.next_sound());
            for (now, target) in self.now.iter_mut().zip(self.target) {
                *now += 0.12 * (target - *now);
            }
            self.pitch *= 1.0 + 0.01 * self.noise.next();
            let poles = self.now.map(|hz| {
                let radius = (-std::f64::consts::PI * (50.0 + hz * 0.03) / 8_000.0).exp();
                (
                    2.0 * radius * (std::f64::consts::TAU * hz.min(3_900.0) / 8_000.0).cos(),
                    -radius * radius,
                )
            });
            for sample in samples {
                *sample = self.sample(&poles);
            }
        }
    }

    fn sample(&mut self, poles: &[(f64, f64); 4]) -> i16 {
        self.phase += self.pitch / 8_000.0;
        let pulse = if self.phase >= 1.0 { 1.0 } else { 0.0 };
        self.phase = self.phase.fract();
        let mut sound = self.loud
            * if self.voiced {
                pulse + 0.003 * self.noise.next()
            } else {
                0.1 * self.noise.next()
            };
        for ((first, second), memory) in poles.iter().zip(&mut self.formants) {
            let out = sound * (1.0 - first - second) + first * memory[0] + second * memory[1];
            *memory = [out, memory[0]];
            sound = out;
        }
        (sound * 40_000.0).clamp(-32_000.0, 32_000.0) as i16
    }

    fn next_sound(&mut self) -> usize {
        let mut dice = |low: f64, high: f64| low + (self.noise.next() + 1.0) / 2.0 * (high - low);
        if dice(0.0, 1.0) < 0.02 {
            self.speaker = dice(0.8, 1.5);
            self.pitch = dice(80.0, 350.0);
        }
        self.pitch = self.pitch.clamp(70.0, 500.0);
        let speaker = self.speaker;
        self.target = [
            dice(250.0, 900.0),
            dice(800.0, 2_400.0),
            dice(2_000.0, 3_000.0),
            dice(3_000.0, 3_700.0),
        ]
        .map(|hz| hz * speaker);
        self.voiced = dice(0.0, 1.0) < 0.75;
        self.loud = if dice(0.0, 1.0) < 0.15 { 0.0 } else { dice(0.2, 3.0) };
        dice(6.0, 60.0) as usize
    }
}
