//! How loud a stretch of samples is.

/// What `dbfs` answers for digital silence.
pub const SILENCE_DBFS: f32 = -96.0;

/// Root mean square in sample units, 0 for an empty slice.
pub fn rms(pcm: &[i16]) -> f32 {
    if pcm.is_empty() {
        return 0.0;
    }
    let sum: f64 = pcm.iter().map(|&sample| f64::from(sample) * f64::from(sample)).sum();
    (sum / pcm.len() as f64).sqrt() as f32
}

/// RMS level against a full-scale square wave: a full-scale sine is -3 dBFS. Never below [`SILENCE_DBFS`].
pub fn dbfs(pcm: &[i16]) -> f32 {
    (20.0 * (rms(pcm) / 32_768.0).log10()).max(SILENCE_DBFS)
}

/// The RMS in sample units of a level in dBFS.
pub fn amplitude(dbfs: f32) -> f32 {
    32_768.0 * 10f32.powf(dbfs / 20.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_square_wave_at_full_scale_is_zero_dbfs() {
        assert!(dbfs(&[i16::MIN; 100]).abs() < 0.001);
        assert!((rms(&[3, -3, 3, -3]) - 3.0).abs() < 1e-6);
    }

    #[test]
    fn silence_and_emptiness_have_a_floor() {
        assert_eq!(dbfs(&[]), SILENCE_DBFS);
        assert_eq!(dbfs(&[0; 80]), SILENCE_DBFS);
    }

    #[test]
    fn amplitude_is_the_inverse_of_dbfs() {
        let sample = amplitude(-20.0).round() as i16;
        assert!((dbfs(&[sample; 10]) + 20.0).abs() < 0.01);
    }
}
