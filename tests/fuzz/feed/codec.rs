//! Payloads of every codec: decoded, recovered from, concealed after; and what listens to the samples.

use patchcord::audio::{Codec, ComfortNoise, Decoder, DtmfDetector, Encoder, OpusWishes, SampleRate};

use super::Work;

/// The longest payload that the format of an input can hold holds so many samples (G.722), or any Opus one.
const SAMPLES_MAX: usize = 2 * 65_535;

/// Most payloads of an input; the rest is left.
const PAYLOADS_MAX: usize = 64;

/// An input is a byte that says codec (two bits) and session rate, then payloads: one byte of what to do, two of
/// length, the payload.
pub fn codec(bytes: &[u8]) {
    let Some((&kind, mut rest)) = bytes.split_first() else {
        return;
    };
    let codec = Codec::ALL[usize::from(kind & 3)];
    let session = [SampleRate::Hz8000, SampleRate::Hz16000, SampleRate::Hz24000][usize::from(kind >> 2) % 3];
    let mut decoder = Decoder::new(codec, session).expect("libopus is there");
    let mut listener = DtmfDetector::new(decoder.rate());
    let mut noise = ComfortNoise::new();
    let mut work = Work::new(PAYLOADS_MAX);
    let mut out = Vec::new();
    while let Some((head, later)) = rest.split_first_chunk::<3>()
        && work.left > 0
    {
        work.step();
        let (payload, later) = later.split_at(later.len().min(usize::from(u16::from_be_bytes([head[1], head[2]]))));
        rest = later;
        out.clear();
        play(&mut decoder, head[0], payload, &mut out);
        listener.push(&out);
        let _ = noise.describe(payload);
        noise.fill(&mut out[..]);
        listener.push(&out);
    }
    encode(codec, session, bytes);
}

fn play(decoder: &mut Decoder, action: u8, payload: &[u8], out: &mut Vec<i16>) {
    let samples = decoder.samples(payload);
    assert!(samples <= SAMPLES_MAX);
    let wanted = usize::from(action >> 2) * 20;
    match action & 3 {
        0 | 1 => match decoder.decode(payload, out) {
            Ok(()) => assert_eq!(out.len(), samples),
            Err(_) => assert!(out.is_empty()),
        },
        2 => {
            let recovered = decoder.recover(payload, wanted, out);
            assert_eq!(out.len(), if recovered { wanted } else { 0 });
        }
        _ => {
            let concealed = decoder.conceal(wanted, out);
            assert_eq!(out.len(), if concealed { wanted } else { 0 });
        }
    }
}

/// The input itself as samples, in packets of every length.
fn encode(codec: Codec, session: SampleRate, bytes: &[u8]) {
    let wishes = OpusWishes {
        bitrate_max: bytes.first_chunk().map(|&bytes| u32::from_le_bytes(bytes)),
        playback_hz_max: bytes.get(4).map(|&khz| u32::from(khz) * 1_000),
        fec: bytes.len().is_multiple_of(2),
        dtx: bytes.len().is_multiple_of(3),
        constant_bitrate: bytes.len().is_multiple_of(5),
    };
    let mut encoder = Encoder::new(codec, session, wishes).expect("libopus is there");
    encoder.expect_loss(bytes.last().copied().unwrap_or(0));
    encoder.set_complexity(0);
    let (pairs, _) = bytes.as_chunks();
    let pcm: Vec<i16> = pairs.iter().copied().map(i16::from_le_bytes).collect();
    let mut payload = Vec::new();
    for ms in [10, 20, 30, 40, 50, 60] {
        for frame in pcm.chunks(ms * encoder.rate().per_ms()).take(4) {
            payload.clear();
            encoder.encode(frame, &mut payload);
        }
    }
}
