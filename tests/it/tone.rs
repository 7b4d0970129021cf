//! Tones known again where they are heard, and one of 1 kHz written to a file that is to be played.

use std::path::Path;

use patchcord::audio::level;

/// Writes a WAV file of so many seconds.
pub fn write(path: &Path, seconds: u32) {
    let samples = seconds * 8_000;
    let mut file = b"RIFF".to_vec();
    file.extend((36 + 2 * samples).to_le_bytes());
    file.extend(b"WAVEfmt \x10\0\0\0\x01\0\x01\0");
    file.extend(8_000_u32.to_le_bytes());
    file.extend(16_000_u32.to_le_bytes());
    file.extend(b"\x02\0\x10\0data");
    file.extend((2 * samples).to_le_bytes());
    let tone = |at: u32| ((f64::from(at) * 1_000.0 / 8_000.0 * std::f64::consts::TAU).sin() * 6_000.0) as i16;
    file.extend((0..samples).flat_map(|at| tone(at).to_le_bytes()));
    std::fs::write(path, file).unwrap();
}

/// Whether this is the tone of the file.
pub fn is(pcm: &[i16]) -> bool {
    is_at(pcm, 1_000.0)
}

/// Whether this is a tone of this pitch, 8 kHz: nearly all of what is heard lies there, which no speech does.
pub fn is_at(pcm: &[i16], hz: f32) -> bool {
    let (mut real, mut imaginary, mut energy) = (0.0, 0.0, 1.0);
    for (at, sample) in pcm.iter().enumerate() {
        let (sine, cosine) = (at as f64 * f64::from(hz) / 8_000.0 * std::f64::consts::TAU).sin_cos();
        let sample = f64::from(*sample);
        real += sample * cosine;
        imaginary += sample * sine;
        energy += sample * sample;
    }
    let at_pitch = 2.0 * (real * real + imaginary * imaginary) / pcm.len() as f64;
    level::dbfs(pcm) > -30.0 && at_pitch / energy > 0.9
}
