//! Through our encoder and our decoder, and across with libopus at 48 kHz.

use super::*;
use crate::audio::{Tone, level};

const RATES: [SampleRate; 3] = [SampleRate::Hz8000, SampleRate::Hz16000, SampleRate::Hz24000];

#[test]
fn a_tone_comes_through_at_every_rate_and_packet_length() {
    for rate in RATES {
        for ms in [10, 20, 30, 40, 50, 60] {
            let mut encoder = OpusEncoder::new(rate, OpusWishes::default()).unwrap();
            let mut decoder = OpusDecoder::new(rate).unwrap();
            let mut out = Vec::new();
            for frame in speech(rate, 1_200).chunks(ms * rate.per_ms()) {
                let mut payload = Vec::new();
                encoder.encode(frame, &mut payload);
                assert_eq!(decoder.samples(&payload), frame.len(), "{rate:?} {ms} ms");
                let before = out.len();
                decoder.decode(&payload, &mut out).unwrap();
                assert_eq!(out.len() - before, frame.len(), "{rate:?} {ms} ms");
            }
            let level = level::dbfs(&out[out.len() / 2..]);
            assert!((level + 20.0).abs() < 1.5, "{rate:?} {ms} ms: {level}");
        }
    }
}

/// What the far end most often does: a decoder at 48 kHz.
#[test]
fn a_decoder_at_48_khz_hears_the_same() {
    for rate in RATES {
        let mut encoder = OpusEncoder::new(rate, OpusWishes::default()).unwrap();
        let mut far = Decoder::new(audiopus::SampleRate::Hz48000, Channels::Stereo).unwrap();
        let mut heard = Vec::new();
        for frame in speech(rate, 1_000).chunks(20 * rate.per_ms()) {
            let mut payload = Vec::new();
            encoder.encode(frame, &mut payload);
            let mut pcm = [0_i16; 2 * 960];
            let packet = Packet::try_from(&payload[..]).unwrap();
            let samples = far
                .decode(Some(packet), MutSignals::try_from(&mut pcm[..]).unwrap(), false)
                .unwrap();
            assert_eq!(samples, 960);
            heard.extend(pcm.as_chunks::<2>().0.iter().map(|[left, _]| *left));
        }
        let heard = &heard[24_000..];
        assert!(
            (level::dbfs(heard) + 20.0).abs() < 1.5,
            "{rate:?}: {}",
            level::dbfs(heard)
        );
    }
}

#[test]
fn stereo_is_mixed_down() {
    let far =
        audiopus::coder::Encoder::new(audiopus::SampleRate::Hz48000, Channels::Stereo, Application::Audio).unwrap();
    let mut decoder = OpusDecoder::new(SampleRate::Hz24000).unwrap();
    let (mut tone, mut out) = (Tone::new(SampleRate::Hz16000, 300.0, -14.0), Vec::new());
    for _ in 0..50 {
        // Only the left side speaks.
        let pcm: Vec<i16> = (0..960).flat_map(|_| [tone.sample() as i16, 0]).collect();
        let mut payload = [0; 1_275];
        let length = far.encode(&pcm, &mut payload).unwrap();
        decoder.decode(&payload[..length], &mut out).unwrap();
    }
    assert_eq!(out.len(), 50 * 480);
    let level = level::dbfs(&out[12_000..]);
    assert!((level + 20.0).abs() < 1.5, "half of the left side: {level}");
}

#[test]
fn a_lost_packet_is_recovered_from_the_next_better_than_made_up() {
    let rate = SampleRate::Hz24000;
    let wishes = OpusWishes {
        fec: true,
        ..OpusWishes::default()
    };
    for ms in [20, 40, 60] {
        let mut encoder = OpusEncoder::new(rate, wishes).unwrap();
        encoder.expect_loss(20);
        let payloads: Vec<Vec<u8>> = sweep(rate, 6_000)
            .chunks(ms * rate.per_ms())
            .map(|frame| {
                let mut payload = Vec::new();
                encoder.encode(frame, &mut payload);
                payload
            })
            .collect();
        let whole = played(rate, ms, &payloads, |_, _, _| panic!("nothing is lost"), |_| false);
        let lost = |index: usize| index % 5 == 3;
        let mut recovered = 0;
        let with_fec = played(
            rate,
            ms,
            &payloads,
            |decoder, next, out| match decoder.recover(next, ms * rate.per_ms(), out) {
                true => recovered += 1,
                false => assert!(decoder.conceal(ms * rate.per_ms(), out)),
            },
            lost,
        );
        let without = played(
            rate,
            ms,
            &payloads,
            |decoder, _, out| assert!(decoder.conceal(ms * rate.per_ms(), out)),
            lost,
        );
        assert_eq!(with_fec.len(), whole.len(), "{ms} ms");
        assert!(
            recovered >= payloads.len() / 5 * 8 / 10,
            "{ms} ms: {recovered} of {}",
            payloads.len() / 5
        );
        let (fec, plc) = (distance(&whole, &with_fec), distance(&whole, &without));
        // The longer the hole, the coarser the copy.
        let share = if ms == 20 { 0.5 } else { 0.8 };
        assert!(fec < share * plc, "{ms} ms: {fec} against {plc}");
    }
}

#[test]
fn without_fec_nothing_is_recovered() {
    let rate = SampleRate::Hz24000;
    for (fec, loss) in [(false, 20), (true, 0)] {
        let mut encoder = OpusEncoder::new(
            rate,
            OpusWishes {
                fec,
                ..OpusWishes::default()
            },
        )
        .unwrap();
        encoder.expect_loss(loss);
        let (mut decoder, mut out) = (OpusDecoder::new(rate).unwrap(), Vec::new());
        for frame in speech(rate, 400).chunks(20 * rate.per_ms()) {
            let mut payload = Vec::new();
            encoder.encode(frame, &mut payload);
            assert!(!decoder.recover(&payload, 480, &mut out));
            assert!(out.is_empty());
        }
    }
}

#[test]
fn silence_is_not_sent_when_the_far_end_says_so() {
    let rate = SampleRate::Hz24000;
    for (dtx, expected) in [(false, 200..=200), (true, 1..=40)] {
        let mut encoder = OpusEncoder::new(
            rate,
            OpusWishes {
                dtx,
                ..OpusWishes::default()
            },
        )
        .unwrap();
        let sent = (0..200).filter(|_| {
            let mut payload = Vec::new();
            encoder.encode(&[0; 480], &mut payload);
            !payload.is_empty()
        });
        let sent = sent.count();
        assert!(expected.contains(&sent), "{dtx}: {sent}");
    }
}

#[test]
fn the_bitrate_keeps_to_what_the_far_end_wants() {
    let rate = SampleRate::Hz24000;
    for (bitrate_max, expected) in [
        (None, 24_000..=36_000),
        (Some(12_000), 8_000..=13_500),
        (Some(1), 4_000..=7_500),
    ] {
        for constant_bitrate in [false, true] {
            let wishes = OpusWishes {
                bitrate_max,
                constant_bitrate,
                ..OpusWishes::default()
            };
            let mut encoder = OpusEncoder::new(rate, wishes).unwrap();
            let lengths: Vec<usize> = sweep(rate, 4_000)
                .chunks(480)
                .map(|frame| {
                    let mut payload = Vec::new();
                    encoder.encode(frame, &mut payload);
                    payload.len()
                })
                .collect();
            let bitrate = lengths.iter().sum::<usize>() * 8 / 4;
            assert!(expected.contains(&bitrate), "{wishes:?}: {bitrate}");
            assert!(!constant_bitrate || lengths.iter().all(|&length| length == lengths[0]));
        }
    }
}

#[test]
fn the_band_keeps_to_what_the_far_end_plays() {
    let rate = SampleRate::Hz24000;
    for (hz, band) in [
        (8_000, Bandwidth::Narrowband),
        (16_000, Bandwidth::Wideband),
        (48_000, Bandwidth::Superwideband),
    ] {
        let wishes = OpusWishes {
            playback_hz_max: Some(hz),
            ..OpusWishes::default()
        };
        let mut encoder = OpusEncoder::new(rate, wishes).unwrap();
        let mut payload = Vec::new();
        for frame in sweep(rate, 500).chunks(480) {
            payload.clear();
            encoder.encode(frame, &mut payload);
        }
        assert_eq!(
            packet::bandwidth(Packet::try_from(&payload[..]).unwrap()).unwrap(),
            band,
            "{hz}"
        );
    }
}

#[test]
fn what_is_made_up_has_the_length_asked_for() {
    let rate = SampleRate::Hz24000;
    let mut decoder = OpusDecoder::new(rate).unwrap();
    for samples in [1, 59, 60, 240, 479, 480, 1_440, 2_880, 5_000] {
        let mut out = vec![7];
        assert!(decoder.conceal(samples, &mut out));
        assert_eq!(out.len(), 1 + samples);
    }
}

#[test]
fn garbage_is_refused_or_decoded_and_never_more() {
    let mut state = 11_u32;
    let mut random = |bound: u32| {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 8) % bound
    };
    let rate = SampleRate::Hz24000;
    let mut decoder = OpusDecoder::new(rate).unwrap();
    let mut out = Vec::new();
    let (mut read, mut refused) = (0, 0);
    for _ in 0..20_000 {
        let length = random(60);
        let payload: Vec<u8> = (0..length).map(|_| random(256) as u8).collect();
        out.clear();
        let samples = decoder.samples(&payload);
        assert!(samples <= PAYLOAD_MS_MAX * rate.per_ms());
        decoder.recover(&payload, 480, &mut out);
        assert!(out.is_empty() || out.len() == 480);
        out.clear();
        match decoder.decode(&payload, &mut out) {
            Ok(()) => read += 1,
            Err(error) => {
                refused += 1;
                assert_eq!(error, CodecError::BadPayload("opus"));
            }
        }
        assert!(out.len() == samples || out.is_empty());
    }
    assert!(read > 1_000 && refused > 1_000, "{read} {refused}");
    assert_eq!(decoder.decode(&[], &mut out), Err(UNREADABLE));
}

#[test]
fn a_length_that_is_no_frame_gives_no_payload() {
    let mut encoder = OpusEncoder::new(SampleRate::Hz24000, OpusWishes::default()).unwrap();
    let mut payload = Vec::new();
    encoder.encode(&[0; 100], &mut payload);
    assert!(payload.is_empty());
    encoder.encode(&[], &mut payload);
    assert!(payload.is_empty());
}

/// Decodes packets of which some are lost; what fills the hole gets the next payload, and may leave it to the decoder.
fn played(
    rate: SampleRate,
    ms: usize,
    payloads: &[Vec<u8>],
    mut fill: impl FnMut(&mut OpusDecoder, &[u8], &mut Vec<i16>),
    lost: impl Fn(usize) -> bool,
) -> Vec<i16> {
    let (mut decoder, mut out) = (OpusDecoder::new(rate).unwrap(), Vec::new());
    for (index, payload) in payloads.iter().enumerate() {
        match payloads.get(index + 1) {
            Some(next) if lost(index) => fill(&mut decoder, next, &mut out),
            _ => decoder.decode(payload, &mut out).unwrap(),
        }
        assert_eq!(out.len(), (index + 1) * ms * rate.per_ms());
    }
    out
}

fn distance(a: &[i16], b: &[i16]) -> f64 {
    a.iter()
        .zip(b)
        .map(|(&a, &b)| (f64::from(a) - f64::from(b)).powi(2))
        .sum()
}

/// A tone of 400 Hz at -20 dBFS.
fn speech(rate: SampleRate, ms: usize) -> Vec<i16> {
    let mut pcm = vec![0; rate.per_ms() * ms];
    Tone::new(rate, 400.0, -20.0).fill(&mut pcm);
    pcm
}

/// A buzz with overtones whose pitch and level never rest, so that what was cannot be played on.
fn sweep(rate: SampleRate, ms: usize) -> Vec<i16> {
    let mut phase = 0.0_f64;
    let sample = |n: usize| {
        let t = n as f64 / f64::from(rate.hz());
        phase += (140.0 + 60.0 * (t * 9.0).sin()) / f64::from(rate.hz());
        let loud = 0.55 + 0.45 * (t * 23.0).sin();
        let tones: f64 = (1..12)
            .map(|k| (std::f64::consts::TAU * phase * f64::from(k)).sin() / f64::from(k))
            .sum();
        (5_000.0 * loud * tones) as i16
    };
    (0..rate.per_ms() * ms).map(sample).collect()
}
