//! Makes a frame a little shorter or longer without a click: takes out, or repeats, a stretch that resembles what follows
//! it, and overlaps the seam.
//!
//! Two clocks that disagree have to meet somewhere. Where nobody speaks nothing is heard of it; in a voice a whole pitch
//! period more or less passes unnoticed. Both ends of the frame stay as they are, so its neighbours need not know.

use crate::audio::{SampleRate, level};

/// Where a frame may be changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Liberty {
    /// Only where nobody speaks.
    Quiet,
    /// Also where the sound repeats itself.
    Alike,
    /// Anywhere: it is that or worse.
    Any,
}

/// Length of the seam, and the shortest stretch.
const SEAM_MS: usize = 5;
/// The longest stretch.
pub(super) const STRETCH_MS_MAX: usize = 12;
/// At most this loud it is background, in sample units (-50 dBFS).
const QUIET_RMS: f32 = 104.0;
/// From here on (1 is the same) two stretches are alike.
const ALIKE: f32 = 0.8;

/// Takes up to `most` samples out; answers how many.
pub(super) fn shorten(pcm: &mut Vec<i16>, rate: SampleRate, most: usize, liberty: Liberty) -> usize {
    let Some(Stretch { seam, len }) = find(pcm, rate, most, liberty) else {
        return 0;
    };
    for index in 0..seam {
        pcm[index] = mix(pcm[index], pcm[len + index], index + 1, seam + 1);
    }
    pcm.drain(seam..seam + len);
    len
}

/// Puts up to `most` samples in; answers how many.
pub(super) fn lengthen(pcm: &mut Vec<i16>, rate: SampleRate, most: usize, liberty: Liberty) -> usize {
    let Some(Stretch { seam, len }) = find(pcm, rate, most, liberty) else {
        return 0;
    };
    let before = pcm.len();
    pcm.resize(before + len, 0);
    pcm.copy_within(seam..before, seam + len);
    for index in 0..seam {
        pcm[len + index] = mix(pcm[len + index], pcm[index], index + 1, seam + 1);
    }
    len
}

struct Stretch {
    seam: usize,
    len: usize,
}

/// The stretch at the beginning that resembles what follows it most.
fn find(pcm: &[i16], rate: SampleRate, most: usize, liberty: Liberty) -> Option<Stretch> {
    let seam = (SEAM_MS * rate.per_ms()).min(pcm.len() / 4);
    let longest = most.min(STRETCH_MS_MAX * rate.per_ms()).min(pcm.len() - seam);
    if seam == 0 || longest < seam {
        return None;
    }
    let stride = rate.per_ms() / 8;
    let scored = (seam..=longest)
        .step_by(stride)
        .map(|len| (len, likeness(pcm, seam, len)));
    let (len, likeness) = scored.max_by(|left, right| left.1.total_cmp(&right.1))?;
    let allowed =
        liberty == Liberty::Any || level::rms(pcm) <= QUIET_RMS || likeness >= ALIKE && liberty >= Liberty::Alike;
    allowed.then_some(Stretch { seam, len })
}

/// From -1 to 1; silence is like silence.
fn likeness(pcm: &[i16], seam: usize, len: usize) -> f32 {
    let (mut product, mut first, mut second) = (1.0_f32, 1.0_f32, 1.0_f32);
    for (&one, &other) in pcm[..seam].iter().zip(&pcm[len..]) {
        product += f32::from(one) * f32::from(other);
        first += f32::from(one) * f32::from(one);
        second += f32::from(other) * f32::from(other);
    }
    product / (first * second).sqrt()
}

fn mix(old: i16, new: i16, weight: usize, whole: usize) -> i16 {
    let (weight, whole) = (weight as i32, whole as i32);
    ((i32::from(old) * (whole - weight) + i32::from(new) * weight) / whole) as i16
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::media::test_sound::{steepest, tone};

    #[test]
    fn a_tone_loses_and_gains_whole_periods_without_a_step() {
        for rate in [SampleRate::Hz8000, SampleRate::Hz16000, SampleRate::Hz24000] {
            for hz in [110.0, 200.0, 317.0, 1_000.0] {
                for ms in [10, 20, 30, 60] {
                    let whole = tone(rate, hz, ms + 40);
                    let (begin, end) = (20 * rate.per_ms(), (20 + ms) * rate.per_ms());
                    for change in [shorten, lengthen] {
                        let mut frame = whole[begin..end].to_vec();
                        let changed = change(&mut frame, rate, usize::MAX, Liberty::Any);
                        assert!(changed >= 2 * rate.per_ms());
                        let joined = [&whole[..begin], &frame, &whole[end..]].concat();
                        let (worst, usual) = (steepest(&joined), steepest(&whole));
                        assert!(
                            worst as f32 <= 1.5 * usual as f32,
                            "{rate:?} {hz} Hz {ms} ms: {worst} {usual}"
                        );
                        assert_eq!(frame.len().abs_diff(end - begin), changed);
                    }
                }
            }
        }
    }

    #[test]
    fn a_loud_frame_is_left_alone_unless_it_repeats_itself_or_must_go() {
        let mut seed = 1_u32;
        let mut hiss = || {
            seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (seed >> 16) as i16
        };
        let loud: Vec<i16> = (0..160).map(|_| hiss() / 4).collect();
        let quiet: Vec<i16> = loud.iter().map(|sample| sample / 200).collect();
        let change = |pcm: &[i16], liberty| shorten(&mut pcm.to_vec(), SampleRate::Hz8000, usize::MAX, liberty);
        assert_eq!(change(&loud, Liberty::Quiet), 0);
        assert_eq!(change(&loud, Liberty::Alike), 0);
        assert!(change(&loud, Liberty::Any) > 0);
        assert!(change(&quiet, Liberty::Quiet) > 0);
        let voiced = tone(SampleRate::Hz8000, 200.0, 20);
        assert_eq!(change(&voiced, Liberty::Quiet), 0);
        assert!(change(&voiced, Liberty::Alike) > 0);
    }

    #[test]
    fn silence_gives_as_much_as_it_may_and_a_frame_too_short_nothing() {
        let mut silence = vec![0; 160];
        assert_eq!(shorten(&mut silence, SampleRate::Hz8000, 50, Liberty::Quiet), 50);
        assert_eq!(lengthen(&mut silence, SampleRate::Hz8000, 20, Liberty::Quiet), 0);
        for len in 0..4 {
            assert_eq!(shorten(&mut vec![0; len], SampleRate::Hz8000, 99, Liberty::Any), 0);
        }
    }
}
