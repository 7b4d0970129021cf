//! G.722 at 64 kbit/s: 16 kHz samples in two bands of adaptive differential code, two samples to an octet.
//!
//! Written after the recommendation (ITU-T G.722, 1988), whose block names the comments give; its arithmetic is
//! followed to the bit, with two table look-ups where it computes: the step size (SCALEL, SCALEH) and the inverse
//! quantisers. The lower band takes six bits of an octet, the upper band two; the modes that give bits of the lower
//! band to data are not used by RTP.

use wide::{CmpEq, i16x8, i32x8};

/// Octets to samples.
#[derive(Clone, Debug)]
pub struct G722Decoder {
    low: Band,
    high: Band,
    /// Sums and differences of the bands, after those of the octets before.
    sums: [i16; HISTORY + BLOCK],
    differences: [i16; HISTORY + BLOCK],
}

/// Samples to octets.
#[derive(Clone, Debug)]
pub struct G722Encoder {
    low: Band,
    high: Band,
    /// Even and odd samples, after those before.
    even: [i16; HISTORY + BLOCK],
    odd: [i16; HISTORY + BLOCK],
    /// A sample without its second half.
    single: Option<i16>,
}

/// Octets handled at a time: 10 ms.
const BLOCK: usize = 80;
/// Taps of each half of the mirror filters.
const TAPS: usize = 12;
const HISTORY: usize = TAPS - 1;

impl G722Decoder {
    /// From silence.
    pub fn new() -> Self {
        Self {
            low: Band::new(LOW_STEPS[0]),
            high: Band::new(HIGH_STEPS[0]),
            sums: [0; HISTORY + BLOCK],
            differences: [0; HISTORY + BLOCK],
        }
    }

    /// Appends two samples per octet.
    pub fn decode(&mut self, octets: &[u8], out: &mut Vec<i16>) {
        out.reserve(2 * octets.len());
        for block in octets.chunks(BLOCK) {
            let slots = self.sums[HISTORY..].iter_mut().zip(&mut self.differences[HISTORY..]);
            for (&octet, (sum, difference)) in block.iter().zip(slots) {
                let low = self.low.decode_low(octet & 0x3F);
                let high = self.high.decode_high(octet >> 6);
                *sum = (low + high) as i16;
                *difference = (low - high) as i16;
            }
            let pairs = self.differences.windows(TAPS).zip(self.sums.windows(TAPS));
            out.extend(pairs.take(block.len()).flat_map(|(differences, sums)| {
                [
                    saturated(dot(differences, &MIRRORED) >> 11),
                    saturated(dot(sums, &MIRROR) >> 11),
                ]
            }));
            shift(&mut self.sums, block.len());
            shift(&mut self.differences, block.len());
        }
    }
}

impl Default for G722Decoder {
    fn default() -> Self {
        Self::new()
    }
}

impl G722Encoder {
    /// From silence.
    pub fn new() -> Self {
        Self {
            low: Band::new(LOW_STEPS[0]),
            high: Band::new(HIGH_STEPS[0]),
            even: [0; HISTORY + BLOCK],
            odd: [0; HISTORY + BLOCK],
            single: None,
        }
    }

    /// Appends an octet per two samples; an odd one out waits for the next call.
    pub fn encode(&mut self, mut pcm: &[i16], out: &mut Vec<u8>) {
        if let (Some(first), [second, later @ ..]) = (self.single, pcm) {
            self.single = None;
            self.block(&[[first, *second]], out);
            pcm = later;
        }
        let (pairs, left) = pcm.as_chunks();
        pairs.chunks(BLOCK).for_each(|block| self.block(block, out));
        self.single = left.first().copied().or(self.single);
    }

    fn block(&mut self, pairs: &[[i16; 2]], out: &mut Vec<u8>) {
        let slots = self.even[HISTORY..].iter_mut().zip(&mut self.odd[HISTORY..]);
        for (&[first, second], (even, odd)) in pairs.iter().zip(slots) {
            (*even, *odd) = (first, second);
        }
        let windows = self.even.windows(TAPS).zip(self.odd.windows(TAPS)).take(pairs.len());
        out.extend(windows.map(|(even, odd)| {
            let (even, odd) = (dot(even, &MIRROR), dot(odd, &MIRRORED));
            let low = self.low.encode_low(limited((odd + even) >> 14));
            let high = self.high.encode_high(limited((odd - even) >> 14));
            high << 6 | low
        }));
        shift(&mut self.even, pairs.len());
        shift(&mut self.odd, pairs.len());
    }
}

impl Default for G722Encoder {
    fn default() -> Self {
        Self::new()
    }
}

/// Half of the 24 taps of the quadrature mirror filters (RECA, RECB); the other half mirrors it.
const MIRROR: [i16; TAPS] = [3, -11, 12, 32, -210, 951, 3876, -805, 362, -156, 53, -11];
const MIRRORED: [i16; TAPS] = [-11, 53, -156, 362, -805, 3876, 951, -210, 32, 12, -11, 3];

fn dot(samples: &[i16], taps: &[i16; TAPS]) -> i32 {
    let products = samples
        .iter()
        .zip(taps)
        .map(|(&sample, &tap)| i32::from(sample) * i32::from(tap));
    products.sum()
}

fn shift(samples: &mut [i16; HISTORY + BLOCK], len: usize) {
    samples.copy_within(len..len + HISTORY, 0);
}

/// One band: the step size of its quantiser and its predictor of two poles and six zeros.
#[derive(Clone, Debug)]
struct Band {
    /// The quantiser's step size, and what it follows from: NBL or NBH.
    step: i32,
    log_step: i32,
    /// What the next sample is expected to be, and the zeros' part in it.
    expected: i32,
    expected_by_zeros: i32,
    /// The poles' coefficients AL1 and AL2.
    poles: [i32; 2],
    /// Twice the last two reconstructed samples.
    rebuilt: [i32; 2],
    /// The last two partly reconstructed signals' signs: 0 or -1.
    signs: [i32; 2],
    /// The zeros' coefficients BL1 to BL6; the last two lanes stay nothing.
    zeros: i16x8,
    /// Twice the last quantised differences, the newest first; six of them count.
    differences: i16x8,
}

/// How far a coefficient moves at a time.
const STEP: i16x8 = i16x8::new([128, 128, 128, 128, 128, 128, 0, 0]);

impl Band {
    const fn new(step: i16) -> Self {
        Self {
            step: step as i32,
            log_step: 0,
            expected: 0,
            expected_by_zeros: 0,
            poles: [0; 2],
            rebuilt: [0; 2],
            signs: [0; 2],
            zeros: i16x8::ZERO,
            differences: i16x8::ZERO,
        }
    }

    #[inline]
    fn decode_low(&mut self, code: u8) -> i32 {
        // INVQBL, RECONS, LIMIT
        let fine = (self.step * i32::from(LOW_6_BITS[usize::from(code & 0x3F)])) >> 15;
        let sample = limited(self.expected + fine);
        self.adapt_low(code);
        sample
    }

    #[inline]
    fn decode_high(&mut self, code: u8) -> i32 {
        let expected = self.expected;
        let difference = self.adapt_high(code);
        limited(expected + difference)
    }

    #[inline]
    fn encode_low(&mut self, sample: i32) -> u8 {
        // SUBTRA, QUANTL
        let difference = i32::from(saturated(sample - self.expected));
        let magnitude = if difference < 0 { !difference } else { difference };
        // A level is reached when magnitude >= level * step / 4096 in whole numbers.
        let reached = (((magnitude as u32 + 1) << 12) - 1) / self.step as u32;
        let level = usize::from(LOW_REACHED[(reached as usize).min(LOW_REACHED.len() - 1)]);
        let code = LOW_CODES[usize::from(difference < 0)][level];
        self.adapt_low(code);
        code
    }

    #[inline]
    fn encode_high(&mut self, sample: i32) -> u8 {
        // SUBTRA, QUANTH
        let difference = i32::from(saturated(sample - self.expected));
        let magnitude = if difference < 0 { !difference } else { difference };
        let outer = magnitude >= (564 * self.step) >> 12;
        let code = match (difference < 0, outer) {
            (true, false) => 1,
            (true, true) => 0,
            (false, false) => 3,
            (false, true) => 2,
        };
        self.adapt_high(code);
        code
    }

    /// INVQAL, LOGSCL, SCALEL: the predictor sees four bits of six.
    #[inline]
    fn adapt_low(&mut self, code: u8) {
        let index = usize::from(code >> 2 & 15);
        let difference = (self.step * i32::from(LOW_4_BITS[index])) >> 15;
        self.log_step = (((self.log_step * 127) >> 7) + i32::from(LOW_LOG_STEPS[index])).clamp(0, LOW_LOG_STEP_MAX);
        self.step = i32::from(LOW_STEPS[(self.log_step >> 6) as usize]);
        self.predict(difference);
    }

    /// INVQAH, LOGSCH, SCALEH.
    #[inline]
    fn adapt_high(&mut self, code: u8) -> i32 {
        let index = usize::from(code & 3);
        let difference = (self.step * i32::from(HIGH_2_BITS[index])) >> 15;
        self.log_step = (((self.log_step * 127) >> 7) + i32::from(HIGH_LOG_STEPS[index])).clamp(0, HIGH_LOG_STEP_MAX);
        self.step = i32::from(HIGH_STEPS[(self.log_step >> 6) as usize]);
        self.predict(difference);
        difference
    }

    /// Block 4: takes a quantised difference and says what comes next.
    #[inline]
    fn predict(&mut self, difference: i32) {
        // RECONS, PARREC
        let rebuilt = i32::from(saturated(self.expected + difference));
        let sign = (self.expected_by_zeros + difference) >> 31;
        self.adapt_poles(sign);
        self.adapt_zeros(difference);
        // DELAYA
        self.signs = [sign, self.signs[0]];
        self.rebuilt = [i32::from(saturated(2 * rebuilt)), self.rebuilt[0]];
        // FILTEP, FILTEZ, PREDIC
        let poles = ((self.poles[0] * self.rebuilt[0]) >> 15) + ((self.poles[1] * self.rebuilt[1]) >> 15);
        let products: i32x8 = self.zeros.mul_widen(self.differences) >> 15;
        let zeros = products.reduce_add();
        self.expected_by_zeros = i32::from(saturated(zeros));
        self.expected = i32::from(saturated(i32::from(saturated(poles)) + self.expected_by_zeros));
    }

    /// UPPOL2, UPPOL1.
    #[inline]
    fn adapt_poles(&mut self, sign: i32) {
        let [first, second] = self.poles;
        let turned = |past: i32, amount: i32| if sign == past { amount } else { -amount };
        let slope = turned(self.signs[0], -i32::from(saturated(4 * first))).min(32_767) >> 7;
        let second = (slope + turned(self.signs[1], 128) + ((second * 32_512) >> 15)).clamp(-12_288, 12_288);
        let limit = 15_360 - second;
        let first = (turned(self.signs[0], 192) + ((first * 32_640) >> 15)).clamp(-limit, limit);
        self.poles = [first, second];
    }

    /// UPZERO, DELAYA. A coefficient shrinks by its 256th, rounded up, and never leaves 16 bits.
    #[inline]
    fn adapt_zeros(&mut self, difference: i32) {
        let differs = (self.differences ^ i16x8::splat(difference as i16)) >> 15;
        let step = if difference == 0 { i16x8::ZERO } else { STEP };
        let whole = (self.zeros & i16x8::splat(255)).cmp_eq(i16x8::ZERO);
        let shrunk = self.zeros - (self.zeros >> 8) - i16x8::ONE - whole;
        self.zeros = shrunk + ((step ^ differs) - differs);
        let [a, b, c, d, e, f, g, _] = self.differences.to_array();
        self.differences = i16x8::new([saturated(2 * difference), a, b, c, d, e, f, g]);
    }
}

/// LIMIT: a band has 15 bits.
#[inline]
fn limited(value: i32) -> i32 {
    value.clamp(-16_384, 16_383)
}

#[inline]
fn saturated(value: i32) -> i16 {
    value.clamp(i32::from(i16::MIN), i32::from(i16::MAX)) as i16
}

/// Where the next code of the lower band begins, in 4096ths of the step (Q6).
const LOW_LEVELS: [usize; 29] = [
    35, 72, 110, 150, 190, 233, 276, 323, 370, 422, 473, 530, 587, 650, 714, 786, 858, 940, 1_023, 1_121, 1_219, 1_339,
    1_458, 1_612, 1_765, 1_980, 2_195, 2_557, 2_919,
];

/// How many levels a difference reaches, by its 4096ths of the step.
static LOW_REACHED: [u8; LOW_LEVELS[28] + 1] = {
    let mut reached = [0; LOW_LEVELS[28] + 1];
    let mut level = 0;
    while level < LOW_LEVELS.len() {
        let mut at = LOW_LEVELS[level];
        while at < reached.len() {
            reached[at] = level as u8 + 1;
            at += 1;
        }
        level += 1;
    }
    reached
};

/// The codes of positive and negative differences by how many levels they reach.
const LOW_CODES: [[u8; 30]; 2] = [
    [
        61, 60, 59, 58, 57, 56, 55, 54, 53, 52, 51, 50, 49, 48, 47, 46, 45, 44, 43, 42, 41, 40, 39, 38, 37, 36, 35, 34,
        33, 32,
    ],
    [
        63, 62, 31, 30, 29, 28, 27, 26, 25, 24, 23, 22, 21, 20, 19, 18, 17, 16, 15, 14, 13, 12, 11, 10, 9, 8, 7, 6, 5,
        4,
    ],
];

/// QM6: differences in 32768ths of the step.
const LOW_6_BITS: [i16; 64] = [
    -136, -136, -136, -136, -24_808, -21_904, -19_008, -16_704, -14_984, -13_512, -12_280, -11_192, -10_232, -9_360,
    -8_576, -7_856, -7_192, -6_576, -6_000, -5_456, -4_944, -4_464, -4_008, -3_576, -3_168, -2_776, -2_400, -2_032,
    -1_688, -1_360, -1_040, -728, 24_808, 21_904, 19_008, 16_704, 14_984, 13_512, 12_280, 11_192, 10_232, 9_360, 8_576,
    7_856, 7_192, 6_576, 6_000, 5_456, 4_944, 4_464, 4_008, 3_576, 3_168, 2_776, 2_400, 2_032, 1_688, 1_360, 1_040,
    728, 432, 136, -432, -136,
];

/// QM4.
const LOW_4_BITS: [i16; 16] = [
    0, -20_456, -12_896, -8_968, -6_288, -4_240, -2_584, -1_200, 20_456, 12_896, 8_968, 6_288, 4_240, 2_584, 1_200, 0,
];

/// QM2.
const HIGH_2_BITS: [i16; 4] = [-7_408, -1_616, 7_408, 1_616];

/// WL by way of RL42, and WH by way of RH2: what a code adds to the logarithm of the step.
const LOW_LOG_STEPS: [i16; 16] = [
    -60, 3_042, 1_198, 538, 334, 172, 58, -30, 3_042, 1_198, 538, 334, 172, 58, -30, -60,
];
const HIGH_LOG_STEPS: [i16; 4] = [798, -214, 798, -214];

const LOW_LOG_STEP_MAX: i32 = 18_432;
const HIGH_LOG_STEP_MAX: i32 = 22_528;

/// The steps by the upper bits of their logarithm.
static LOW_STEPS: [i16; (LOW_LOG_STEP_MAX as usize >> 6) + 1] = steps(8);
static HIGH_STEPS: [i16; (HIGH_LOG_STEP_MAX as usize >> 6) + 1] = steps(10);

const fn steps<const N: usize>(shift: u32) -> [i16; N] {
    let mut steps = [0; N];
    let mut index = 0;
    while index < N {
        let octave = (index >> 5) as u32;
        let mantissa = MANTISSAS[index & 31] as i32;
        let step = if octave > shift {
            mantissa << (octave - shift)
        } else {
            mantissa >> (shift - octave)
        };
        steps[index] = (step << 2) as i16;
        index += 1;
    }
    steps
}

/// ILB: 2048 times two to the power of n / 32.
const MANTISSAS: [i16; 32] = [
    2_048, 2_093, 2_139, 2_186, 2_233, 2_282, 2_332, 2_383, 2_435, 2_489, 2_543, 2_599, 2_656, 2_714, 2_774, 2_834,
    2_896, 2_960, 3_025, 3_091, 3_158, 3_228, 3_298, 3_371, 3_444, 3_520, 3_597, 3_676, 3_756, 3_838, 3_922, 4_008,
];

#[cfg(test)]
mod tests;
