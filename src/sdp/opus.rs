//! The `a=fmtp` line of Opus (RFC 7587 section 6.1): what a far end wants of what we send, and what we want of it.
//!
//! We send and take mono: `stereo` and `sprop-stereo` of the far end are its own business, and our line leaves them out,
//! which means that we would rather not.

use super::OpusWishes;

/// Values of `maxaveragebitrate` that mean something; others are ignored (RFC 7587 section 6.1).
const BITRATES: std::ops::RangeInclusive<u32> = 6_000..=510_000;
/// The longest line that is read; a longer one says nothing. A hundred parameters fit, Opus has nine.
const BYTES_MAX: usize = 1024;

/// What we want: nothing above the 12 kHz we can pass on, and the packet before in each packet, for when that is lost.
pub(super) const OURS: &str = "maxplaybackrate=24000;sprop-maxcapturerate=24000;useinbandfec=1";

/// What a far end wants.
pub(super) fn wishes(line: &str) -> OpusWishes {
    let flag = |name| value(line, name).is_some_and(|value| value == "1");
    let number = |name| value(line, name).and_then(|value| value.parse::<u32>().ok());
    OpusWishes {
        bitrate_max: number("maxaveragebitrate").filter(|bitrate| BITRATES.contains(bitrate)),
        playback_hz_max: number("maxplaybackrate").filter(|&hz| hz > 0),
        fec: flag("useinbandfec"),
        dtx: flag("usedtx"),
        constant_bitrate: flag("cbr"),
    }
}

/// The shortest packets a far end takes: never standardised, but browsers say it.
pub(super) fn ptime_ms_min(line: &str) -> u32 {
    value(line, "minptime")
        .and_then(|value| value.parse().ok())
        .unwrap_or_default()
}

fn value<'a>(line: &'a str, name: &str) -> Option<&'a str> {
    if line.len() > BYTES_MAX {
        return None;
    }
    line.split(';').find_map(|parameter| {
        let (key, value) = parameter.split_once('=')?;
        key.trim().eq_ignore_ascii_case(name).then_some(value.trim())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_read_whatever_its_spaces_and_case() {
        let wishes =
            wishes("MaxAverageBitrate=24000; usedtx=1 ;useinbandfec=1;cbr=1; maxplaybackrate = 16000;stereo=1");
        let wanted = OpusWishes {
            bitrate_max: Some(24_000),
            playback_hz_max: Some(16_000),
            fec: true,
            dtx: true,
            constant_bitrate: true,
        };
        assert_eq!(wishes, wanted);
    }

    #[test]
    fn what_makes_no_sense_is_no_wish() {
        for line in [
            "",
            ";;=",
            "maxaveragebitrate",
            "maxaveragebitrate=5999",
            "maxaveragebitrate=510001",
            "maxaveragebitrate=99999999999",
            "maxplaybackrate=0",
            "useinbandfec=2",
            "usedtx=yes",
        ] {
            assert_eq!(wishes(line), OpusWishes::default(), "{line}");
        }
        assert_eq!(
            wishes(&format!("{}usedtx=1", "x;".repeat(BYTES_MAX))),
            OpusWishes::default()
        );
    }

    #[test]
    fn ours_asks_for_fec_and_not_for_stereo() {
        assert!(wishes(OURS).fec && !OURS.contains("stereo"));
        assert_eq!(wishes(OURS).playback_hz_max, Some(24_000));
    }
}
