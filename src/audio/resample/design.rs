//! The low-pass filters and how they are dealt out over the lines, all computed at compile time.
//!
//! The filter runs, in thought, at the lowest common multiple of both rates; input sample `IN m + i` stands there at
//! `K m + i K / IN` and output sample `OUT m + j` at `K m + j K / OUT`, where `K` times 8 kHz is that rate. What lies
//! between them is the tap that joins them.

use wide::i16x8;

use super::{HISTORY, lanes::RUN};

/// How one line of the output is made from the lines of the input.
#[derive(Debug)]
pub(super) struct Stream<const IN: usize> {
    /// It is this input line, so many samples later.
    pub(super) copied: Option<(usize, usize)>,
    /// Otherwise the sum of these, one for each input line,
    pub(super) filters: [Filter; IN],
    /// divided by two to this power.
    pub(super) shift: u32,
}

/// A filter over one line; without taps where the low-pass is zero.
#[derive(Clone, Copy, Debug)]
pub(super) struct Filter {
    /// Where in a line the window of the first output begins.
    pub(super) begin: usize,
    /// Oldest sample first, in pairs, each four times over as the vector unit wants them.
    pub(super) taps: [i16x8; PAIRS_MAX],
    pub(super) pairs: usize,
}

const PAIRS_MAX: usize = HISTORY / 2;

/// Kaiser's shape, for 80 dB with room for the rounding of the taps.
const BETA: f64 = 8.8;

/// The filters from `8 * IN` to `8 * OUT` kHz.
pub(super) const fn filters<const IN: usize, const OUT: usize>() -> [Stream<IN>; OUT] {
    let plan = Plan::new(IN, OUT);
    let mut streams = [const { Stream::none() }; OUT];
    let mut output = 0;
    while output < OUT {
        let stream = &mut streams[output];
        stream.shift = plan.shift;
        let mut input = 0;
        while input < IN {
            stream.filters[input] = plan.filter(input, output);
            let whole = plan.only_tap(input, output);
            if let Some(delay) = whole {
                stream.copied = Some((input, delay));
            }
            input += 1;
        }
        output += 1;
    }
    streams
}

impl<const IN: usize> Stream<IN> {
    const fn none() -> Self {
        Self {
            copied: None,
            filters: [Filter::NONE; IN],
            shift: 0,
        }
    }
}

impl Filter {
    const NONE: Self = Self {
        begin: 0,
        taps: [i16x8::ZERO; PAIRS_MAX],
        pairs: 0,
    };
}

/// What a pair of rates asks for.
struct Plan {
    inputs: usize,
    outputs: usize,
    /// Samples of the common rate per sample of a line.
    common: usize,
    /// Every how many taps one is zero.
    band: usize,
    /// What a tap is multiplied with before it is rounded: two to the power of `shift` or just below it, and as much as
    /// makes up for the zeros stuffed between the input's samples.
    scale: f64,
    shift: u32,
}

impl Plan {
    const fn new(inputs: usize, outputs: usize) -> Self {
        let common = if inputs == 1 || outputs == 1 {
            inputs * outputs
        } else {
            6
        };
        let band = if common == 2 { 2 } else { 3 };
        // As fine as the largest tap and the sums of a run allow.
        let shift = if outputs == 1 { 16 } else { 15 };
        // From 16 to 8 kHz the largest tap is a half, which would not quite fit.
        let one = if inputs == 2 && outputs == 1 {
            65_534.0
        } else {
            (1 << shift) as f64
        };
        Self {
            inputs,
            outputs,
            common,
            band,
            scale: one * (common / inputs) as f64,
            shift,
        }
    }

    /// Taps of a line's longest filter.
    const fn taps(&self) -> usize {
        self.length().div_ceil(self.common)
    }

    /// Taps of the whole low-pass: symmetric about one, and just short of filling its phases.
    const fn length(&self) -> usize {
        HISTORY * self.band - 1
    }

    const fn middle(&self) -> usize {
        self.length() / 2
    }

    /// The place in the low-pass that joins an output with the input `delay` samples of a line before.
    const fn place(&self, input: usize, output: usize, delay: usize) -> Option<usize> {
        let later = delay * self.common + output * self.common / self.outputs;
        let place = later.checked_sub(input * self.common / self.inputs);
        match place {
            Some(place) if place < self.length() => Some(place),
            _ => None,
        }
    }

    /// The delay of the tap that alone makes this output, when there is one: the middle one, when its gain is one.
    const fn only_tap(&self, input: usize, output: usize) -> Option<usize> {
        if self.common / self.inputs != self.band {
            return None;
        }
        let mut delay = 0;
        while delay <= self.taps() {
            match self.place(input, output, delay) {
                Some(place) if place == self.middle() => return Some(delay),
                _ => delay += 1,
            }
        }
        None
    }

    /// From the oldest tap that is not zero to the newest.
    const fn filter(&self, input: usize, output: usize) -> Filter {
        let mut filter = Filter::NONE;
        let (mut oldest, mut newest) = (self.taps(), 0);
        while oldest > newest && self.tap(input, output, oldest) == 0 {
            oldest -= 1;
        }
        while newest < oldest && self.tap(input, output, newest) == 0 {
            newest += 1;
        }
        if self.tap(input, output, oldest) == 0 {
            return filter;
        }
        filter.begin = HISTORY - oldest;
        while newest + 2 * filter.pairs <= oldest {
            let older = self.tap(input, output, oldest - 2 * filter.pairs);
            let newer = match oldest.checked_sub(2 * filter.pairs + 1) {
                Some(delay) if delay >= newest => self.tap(input, output, delay),
                _ => 0,
            };
            filter.taps[filter.pairs] = i16x8::new([older, newer, older, newer, older, newer, older, newer]);
            filter.pairs += 1;
        }
        // Whole runs, of which the last taps may be zero; a single pair stays one.
        if filter.pairs > 1 {
            filter.pairs = filter.pairs.next_multiple_of(RUN);
        }
        filter
    }

    const fn tap(&self, input: usize, output: usize, delay: usize) -> i16 {
        match self.place(input, output, delay) {
            Some(place) => {
                let tap = self.low_pass(place.abs_diff(self.middle()));
                (tap * self.scale + if tap < 0.0 { -0.5 } else { 0.5 }) as i16
            }
            None => 0,
        }
    }

    /// The windowed sinc, `n` taps from its middle. Its sum is one but for less than the rounding of a tap.
    const fn low_pass(&self, n: usize) -> f64 {
        sinc(n, self.band) * kaiser(n, self.middle() + 1)
    }
}

/// sin(pi n / band) / (pi n); the sine takes few values.
const fn sinc(n: usize, band: usize) -> f64 {
    const HALF_SQRT_3: f64 = 0.866_025_403_784_438_6;
    if n == 0 {
        return 1.0 / band as f64;
    }
    let sine = match (band, n % (2 * band)) {
        (2, 1) => 1.0,
        (2, 3) => -1.0,
        (3, 1 | 2) => HALF_SQRT_3,
        (3, 4 | 5) => -HALF_SQRT_3,
        _ => 0.0,
    };
    sine / (std::f64::consts::PI * n as f64)
}

/// The Kaiser window `n` taps from the middle: I0(beta sqrt(1 - r^2)) / I0(beta).
const fn kaiser(n: usize, half: usize) -> f64 {
    let r = n as f64 / half as f64;
    bessel(BETA * BETA * (1.0 - r * r) / 4.0) / bessel(BETA * BETA / 4.0)
}

/// I0 by its series, of twice the root of the argument.
const fn bessel(quarter_square: f64) -> f64 {
    let (mut term, mut sum, mut k) = (1.0, 1.0, 1.0);
    while k < 40.0 {
        term *= quarter_square / (k * k);
        sum += term;
        k += 1.0;
    }
    sum
}
