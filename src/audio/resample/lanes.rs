//! Filters over a line, sixteen neighbouring outputs at a time.
//!
//! Two taps meet two neighbouring samples, eight of them in one instruction: the even outputs take their samples from
//! one place on, the odd ones from the next. The sums of every eight such pairs are halved before they are joined, so
//! that none leaves 32 bits.

use wide::{i16x8, i32x4};

/// Outputs computed side by side.
pub(super) const LANES: usize = 16;
/// Pairs of taps taken in one go.
pub(super) const RUN: usize = 8;

/// Half the sums of sixteen outputs: the even and the odd of the first eight, then of the last.
pub(super) type Sums = [i32x4; 4];

/// Where the samples of each vector of sums begin.
const BEGIN: [usize; 4] = [0, 1, 8, 9];
/// Samples under the taps of a run.
const WINDOW: usize = 2 * RUN + LANES - 1;

/// Adds the products of a run of taps with the samples from the first one on to the sums of as many outputs as there
/// are.
pub(super) fn add_run(samples: &[i16], taps: &[i16x8; RUN], sums: &mut [Sums]) {
    for (at, sums) in sums.iter_mut().enumerate() {
        let window: &[i16; WINDOW] = samples[at * LANES..].first_chunk().unwrap_or(&[0; WINDOW]);
        let mut now = [i32x4::ZERO; 4];
        for (pair, &taps) in taps.iter().enumerate() {
            for (now, begin) in now.iter_mut().zip(BEGIN) {
                *now += eight(window, begin + 2 * pair).dot(taps);
            }
        }
        for (sum, now) in sums.iter_mut().zip(now) {
            *sum += now >> 1;
        }
    }
}

/// The same with two taps.
pub(super) fn add_pair(samples: &[i16], taps: i16x8, sums: &mut [Sums]) {
    for (at, sums) in sums.iter_mut().enumerate() {
        for (sum, begin) in sums.iter_mut().zip(BEGIN) {
            *sum += eight(samples, at * LANES + begin).dot(taps) >> 1;
        }
    }
}

/// The sums divided by two to the power of `shift`, rounded and saturated.
pub(super) fn round(sums: &[Sums], shift: u32, out: &mut [i16]) {
    let half = i32x4::splat(1 << (shift - 2));
    for (sums, out) in sums.iter().zip(out.as_chunks_mut::<LANES>().0) {
        let rounded: [[i32; 4]; 4] = sums.map(|sum| ((sum + half) >> (shift as i32 - 1)).to_array());
        *out = std::array::from_fn(|lane| {
            let sum = rounded[lane / 8 * 2 + lane % 2][lane % 8 / 2];
            sum.clamp(i32::from(i16::MIN), i32::from(i16::MAX)) as i16
        });
    }
}

#[inline]
fn eight(samples: &[i16], at: usize) -> i16x8 {
    i16x8::new(*samples[at..].first_chunk().unwrap_or(&[0; 8]))
}
