//! What one 20 ms frame costs in every codec, between every pair of rates, and in what listens to it.
//!
//! Beside our Opus stand libopus's own calls with the same settings, so that the price of the wrapping can be seen.

use std::hint::black_box;
use std::time::Instant;

use audiopus::{
    Application, Bitrate, Channels, MutSignals, Signal,
    coder::{Decoder as RawDecoder, Encoder as RawEncoder},
    packet::Packet,
};
use patchcord::audio::{
    Codec, Decoder, DtmfDetector, Encoder, OpusWishes, Resampler, SampleRate, VoiceDetector, VoiceSettings,
};

const RATES: [SampleRate; 3] = [SampleRate::Hz8000, SampleRate::Hz16000, SampleRate::Hz24000];

/// How often all frames are played.
const ROUNDS: usize = 30;
/// Frames between two looks at the clock, so that the looking does not count.
const PIECE: usize = 5;
/// Frames of sound that are played again and again: two seconds.
const FRAMES: usize = 100;

/// Prints the tables.
pub fn print() {
    println!("One 20 ms frame, best ns");
    println!("{:>24} {:>12} {:>12}", "codec", "encode", "decode");
    for codec in [Codec::Pcmu, Codec::Pcma, Codec::G722] {
        row(codec.name(), ours(codec, SampleRate::Hz24000, None));
    }
    for rate in RATES {
        for complexity in [0, 5, 9] {
            let name = format!("opus {} kHz, effort {complexity}", rate.hz() / 1_000);
            let (ours, raw) = (ours(Codec::Opus, rate, Some(complexity)), libopus(rate, complexity));
            row(&name, ours);
            row("libopus alone", raw);
            println!("{:>24} {:>12.3} {:>12.3}", "times", ours.0 / raw.0, ours.1 / raw.1);
        }
    }
    println!("{:>24} {:>12} {:>12} {:>12}", "from \\ to", "8 kHz", "16 kHz", "24 kHz");
    for from in RATES {
        let [narrow, wide, full] = RATES.map(|to| resampler(from, to));
        println!("{:>20} kHz {narrow:>12.0} {wide:>12.0} {full:>12.0}", from.hz() / 1_000);
    }
    println!("{:>24} {:>12} {:>12} {:>12}", "listening", "8 kHz", "16 kHz", "24 kHz");
    let [narrow, wide, full] = RATES.map(voice_detector);
    println!("{:>24} {narrow:>12.0} {wide:>12.0} {full:>12.0}", "voice");
    let [narrow, wide, full] = RATES.map(keys);
    println!("{:>24} {narrow:>12.0} {wide:>12.0} {full:>12.0}", "keys");
}

fn row(name: &str, (encode, decode): (f64, f64)) {
    println!("{name:>24} {encode:>12.0} {decode:>12.0}");
}

fn ours(codec: Codec, session: SampleRate, complexity: Option<u8>) -> (f64, f64) {
    let mut encoder = Encoder::new(codec, session, OpusWishes::default()).unwrap();
    let mut decoder = Decoder::new(codec, session).unwrap();
    complexity
        .into_iter()
        .for_each(|complexity| encoder.set_complexity(complexity));
    let frames = frames(encoder.rate());
    let mut payload = Vec::with_capacity(2_000);
    let payloads: Vec<Vec<u8>> = frames
        .iter()
        .map(|frame| {
            payload.clear();
            encoder.encode(frame, &mut payload);
            payload.clone()
        })
        .collect();
    let encode = best(|index| {
        payload.clear();
        encoder.encode(&frames[index], &mut payload);
        black_box(&payload);
    });
    let mut pcm = Vec::with_capacity(2_000);
    let decode = best(|index| {
        pcm.clear();
        decoder.decode(&payloads[index], &mut pcm).unwrap();
        black_box(&pcm);
    });
    (encode, decode)
}

/// The same by the library's calls, into buffers of the right size.
fn libopus(rate: SampleRate, complexity: u8) -> (f64, f64) {
    let (library, bits) = match rate {
        SampleRate::Hz8000 => (audiopus::SampleRate::Hz8000, 16_000),
        SampleRate::Hz16000 => (audiopus::SampleRate::Hz16000, 24_000),
        SampleRate::Hz24000 => (audiopus::SampleRate::Hz24000, 32_000),
    };
    let mut encoder = RawEncoder::new(library, Channels::Mono, Application::Voip).unwrap();
    encoder.set_signal(Signal::Voice).unwrap();
    encoder.set_complexity(complexity).unwrap();
    encoder.set_bitrate(Bitrate::BitsPerSecond(bits)).unwrap();
    let mut decoder = RawDecoder::new(library, Channels::Mono).unwrap();
    let frames = frames(rate);
    let mut payload = [0; 1_275];
    let payloads: Vec<Vec<u8>> = frames
        .iter()
        .map(|frame| {
            let length = encoder.encode(frame, &mut payload).unwrap();
            payload[..length].to_vec()
        })
        .collect();
    let encode = best(|index| {
        black_box(encoder.encode(&frames[index], &mut payload).unwrap());
    });
    let mut pcm = vec![0_i16; 20 * rate.per_ms()];
    let decode = best(|index| {
        let packet = Packet::try_from(&payloads[index][..]).unwrap();
        black_box(
            decoder
                .decode(Some(packet), MutSignals::try_from(&mut pcm[..]).unwrap(), false)
                .unwrap(),
        );
    });
    (encode, decode)
}

fn resampler(from: SampleRate, to: SampleRate) -> f64 {
    let mut resampler = Resampler::new(from, to);
    let frames = frames(from);
    let mut out = Vec::with_capacity(1_000);
    best(|index| {
        out.clear();
        resampler.process(&frames[index], &mut out);
        black_box(&out);
    })
}

fn voice_detector(rate: SampleRate) -> f64 {
    let mut detector = VoiceDetector::new(rate, VoiceSettings::default());
    let frames = frames(rate);
    best(|index| {
        black_box(detector.push(&frames[index]));
    })
}

fn keys(rate: SampleRate) -> f64 {
    let mut detector = DtmfDetector::new(rate);
    let frames = frames(rate);
    best(|index| {
        black_box(detector.push(&frames[index]));
    })
}

/// Nanoseconds per call: every frame's fastest of all rounds, on average. Short pieces find the machine undisturbed.
fn best(mut call: impl FnMut(usize)) -> f64 {
    let mut fastest = [f64::MAX; FRAMES / PIECE];
    for _ in 0..ROUNDS {
        for (piece, fastest) in fastest.iter_mut().enumerate() {
            let started = Instant::now();
            (PIECE * piece..PIECE * (piece + 1)).for_each(&mut call);
            *fastest = fastest.min(started.elapsed().as_nanos() as f64);
        }
    }
    fastest.iter().sum::<f64>() / FRAMES as f64
}

/// A buzz with overtones whose pitch and loudness move as those of a voice.
fn frames(rate: SampleRate) -> Vec<Vec<i16>> {
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
    let frame = 20 * rate.per_ms();
    let pcm: Vec<i16> = (0..FRAMES * frame).map(sample).collect();
    pcm.chunks(frame).map(<[i16]>::to_vec).collect()
}
