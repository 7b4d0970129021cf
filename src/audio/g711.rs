//! G.711, both laws, bit-exact to the ITU-T reference (G.191): table lookups in both directions.
//!
//! The compressors only look at the upper 14 (mu) or 12 (A) bits of a sample, so the encoder tables are 16 KiB and 4 KiB
//! instead of 64 KiB each and stay in the cache of a worker that serves hundreds of calls. All tables are built at
//! compile time.

/// Which of the two companding laws.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Law {
    /// PCMU, North America and Japan; RTP payload type 0.
    Mu,
    /// PCMA, everywhere else; RTP payload type 8.
    A,
}

impl Law {
    /// Appends one sample per code byte.
    pub fn decode(self, code: &[u8], out: &mut Vec<i16>) {
        let table = match self {
            Self::Mu => &MU_DECODE,
            Self::A => &A_DECODE,
        };
        out.extend(code.iter().map(|&byte| table[usize::from(byte)]));
    }

    /// Appends one code byte per sample.
    pub fn encode(self, pcm: &[i16], out: &mut Vec<u8>) {
        match self {
            Self::Mu => out.extend(
                pcm.iter()
                    .map(|&sample| MU_ENCODE[usize::from(sample as u16 >> MU_SHIFT)]),
            ),
            Self::A => out.extend(
                pcm.iter()
                    .map(|&sample| A_ENCODE[usize::from(sample as u16 >> A_SHIFT)]),
            ),
        }
    }

    /// The code byte of digital silence.
    pub const fn silence(self) -> u8 {
        match self {
            Self::Mu => 0xFF,
            Self::A => 0xD5,
        }
    }
}

const MU_SHIFT: u32 = 2;
const A_SHIFT: u32 = 4;

static MU_DECODE: [i16; 256] = {
    let mut table = [0; 256];
    let mut code = 0;
    while code < 256 {
        table[code] = mu_expand(code as u8);
        code += 1;
    }
    table
};

static A_DECODE: [i16; 256] = {
    let mut table = [0; 256];
    let mut code = 0;
    while code < 256 {
        table[code] = a_expand(code as u8);
        code += 1;
    }
    table
};

static MU_ENCODE: [u8; 1 << (16 - MU_SHIFT)] = {
    let mut table = [0; 1 << (16 - MU_SHIFT)];
    let mut index = 0;
    while index < table.len() {
        table[index] = mu_compress((index << MU_SHIFT) as u16 as i16);
        index += 1;
    }
    table
};

static A_ENCODE: [u8; 1 << (16 - A_SHIFT)] = {
    let mut table = [0; 1 << (16 - A_SHIFT)];
    let mut index = 0;
    while index < table.len() {
        table[index] = a_compress((index << A_SHIFT) as u16 as i16);
        index += 1;
    }
    table
};

/// The sign bit of both laws; set means positive.
const POSITIVE: u8 = 0x80;
/// Mu-law adds this to every 14-bit magnitude so that segments start at powers of two.
const MU_BIAS: i32 = 33;
/// A-law inverts every other bit on the line.
const A_TOGGLE: u8 = 0x55;

const fn mu_expand(code: u8) -> i16 {
    let inverted = !code as i32;
    let exponent = (inverted >> 4) & 7;
    let step = 8 << exponent;
    let magnitude = (0x80 << exponent) + step * (inverted & 15) + step / 2 - 4 * MU_BIAS;
    (if code & POSITIVE != 0 { magnitude } else { -magnitude }) as i16
}

const fn mu_compress(sample: i16) -> u8 {
    let biased = magnitude(sample, MU_SHIFT) + MU_BIAS;
    let clipped = if biased > 0x1FFF { 0x1FFF } else { biased };
    // 33 is the smallest biased value and lies in segment 1.
    let segment = 27 - clipped.leading_zeros() as i32;
    let code = ((8 - segment) << 4) | (15 - ((clipped >> segment) & 15));
    sign(sample) | code as u8
}

const fn a_expand(code: u8) -> i16 {
    let toggled = (code ^ A_TOGGLE) as i32;
    let exponent = (toggled >> 4) & 7;
    let implied = if exponent > 0 { 16 } else { 0 };
    let step = ((implied + (toggled & 15)) << 4) + 8;
    let magnitude = if exponent > 1 { step << (exponent - 1) } else { step };
    (if code & POSITIVE != 0 { magnitude } else { -magnitude }) as i16
}

const fn a_compress(sample: i16) -> u8 {
    let magnitude = magnitude(sample, A_SHIFT);
    let code = if magnitude < 16 {
        magnitude
    } else {
        let exponent = 28 - magnitude.leading_zeros() as i32;
        (exponent << 4) | ((magnitude >> (exponent - 1)) & 15)
    };
    (sign(sample) | code as u8) ^ A_TOGGLE
}

/// The reference takes the one's complement of a negative sample, so that it depends on the kept bits only.
const fn magnitude(sample: i16, shift: u32) -> i32 {
    (if sample < 0 { !sample } else { sample } >> shift) as i32
}

const fn sign(sample: i16) -> u8 {
    if sample < 0 { 0 } else { POSITIVE }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_code_survives_a_round_trip() {
        for law in [Law::Mu, Law::A] {
            for code in 0..=255u8 {
                let again = encoded(law, decoded(law, code));
                // Mu-law has two zeros; the encoder writes the positive one.
                let expected = if law == Law::Mu && code == 0x7F { 0xFF } else { code };
                assert_eq!(again, expected, "{law:?} {code:#04x}");
            }
        }
    }

    #[test]
    fn known_points_match_the_recommendation() {
        assert_eq!(
            [0x00, 0x80, 0xFF, 0x7F].map(|code| decoded(Law::Mu, code)),
            [-32124, 32124, 0, 0]
        );
        assert_eq!(
            [0x2A, 0xAA, 0xD5, 0x55].map(|code| decoded(Law::A, code)),
            [-32256, 32256, 8, -8]
        );
        assert_eq!(
            [0, i16::MAX, i16::MIN].map(|sample| encoded(Law::Mu, sample)),
            [0xFF, 0x80, 0x00]
        );
        assert_eq!(
            [0, i16::MAX, i16::MIN].map(|sample| encoded(Law::A, sample)),
            [0xD5, 0xAA, 0x2A]
        );
    }

    #[test]
    fn silence_decodes_to_almost_nothing() {
        assert_eq!(decoded(Law::Mu, Law::Mu.silence()), 0);
        assert_eq!(decoded(Law::A, Law::A.silence()), 8);
    }

    #[test]
    fn every_sample_comes_back_within_its_quantising_step() {
        for law in [Law::Mu, Law::A] {
            for sample in i16::MIN..=i16::MAX {
                let error = (i32::from(decoded(law, encoded(law, sample))) - i32::from(sample)).abs();
                // Half a step is at most 1/32 of the magnitude in the upper segments; clipping adds 644 at the very top.
                let allowed =
                    (i32::from(sample).abs() / 31 + 9).max(if sample.unsigned_abs() > 32_000 { 1_025 } else { 0 });
                assert!(error <= allowed, "{law:?} {sample}: off by {error}");
            }
        }
    }

    fn decoded(law: Law, code: u8) -> i16 {
        let mut out = Vec::new();
        law.decode(&[code], &mut out);
        out[0]
    }

    fn encoded(law: Law, sample: i16) -> u8 {
        let mut out = Vec::new();
        law.encode(&[sample], &mut out);
        out[0]
    }
}
