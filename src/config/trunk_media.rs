//! The keys of `[[trunk]]` and `[registrar]` about media: codecs, packet time, encryption and telephone keys.

use std::fmt;

use super::{
    effective::Writer,
    section::{Section, one_of},
};
use crate::{audio::Codec, rtp::srtp::Suite};

/// G.711 first: it is what telephone networks carry, and costs least. Then what sounds better, by what it costs.
const CODECS: &[(&str, Codec)] = &[
    ("pcmu", Codec::Pcmu),
    ("pcma", Codec::Pcma),
    ("g722", Codec::G722),
    ("opus", Codec::Opus),
];

const SRTP: &[(&str, Srtp)] = &[
    ("off", Srtp::Off),
    ("accepted", Srtp::Accepted),
    ("offered", Srtp::Offered),
    ("required", Srtp::Required),
];

const KEY_WAYS: &[(&str, KeyWay)] = &[
    ("rfc4733", KeyWay::Event),
    ("info", KeyWay::Info),
    ("inband", KeyWay::Tone),
];

const PTIME_MS: u64 = 20;
/// What is sent is cut into pieces of so many milliseconds.
const PTIME_MS_STEP: u64 = 10;

/// How one trunk's audio is sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TrunkMedia {
    /// The codecs we speak with it, the one we like best first; at least one, each once.
    pub codecs: Vec<Codec>,
    /// How many milliseconds of audio each packet holds unless the far end asks for another: 10 to 60, whole tens.
    pub ptime_ms: u32,
    /// Whether its audio is encrypted.
    pub srtp: Srtp,
    /// The suites for keys that stand in the descriptions (SDES), the one we like best first, each once.
    pub srtp_suites: Vec<Suite>,
    /// Whether keys may be made by a handshake on the media path (DTLS).
    pub dtls: bool,
    /// How keys are heard, and pressed: by the first of these ways that the far end takes; at least one, each once.
    pub dtmf: Vec<KeyWay>,
}

/// A way for a telephone key (DTMF) to travel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KeyWay {
    /// As a named event in RTP (RFC 4733).
    Event,
    /// By an INFO inside the call.
    Info,
    /// As its two tones, in the sound itself.
    Tone,
}

/// Whether a trunk's audio is encrypted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Srtp {
    /// Never.
    Off,
    /// When the far end offers it.
    Accepted,
    /// When the far end offers it, or takes our offer of it.
    Offered,
    /// Always.
    Required,
}

impl Default for TrunkMedia {
    fn default() -> Self {
        Self {
            codecs: CODECS.iter().map(|&(_, codec)| codec).collect(),
            ptime_ms: PTIME_MS as u32,
            srtp: Srtp::Accepted,
            srtp_suites: Suite::ALL.to_vec(),
            dtls: true,
            dtmf: vec![KeyWay::Event, KeyWay::Info],
        }
    }
}

impl TrunkMedia {
    pub(super) fn read(section: &mut Section<'_>) -> Self {
        let default = Self::default();
        section.refuse_empty("dtmf", "names no way: leave it out, or name one of them");
        section.refuse_empty("codecs", "names no codec: leave it out, or name one of them");
        let suites = Suite::ALL.map(|suite| (suite.name(), suite));
        let read = Self {
            codecs: section.list("codecs", default.codecs, |word| one_of(word, CODECS)),
            ptime_ms: section.whole("ptime_ms", PTIME_MS, 10..=60, "ms") as u32,
            srtp: section.choice("srtp", SRTP, default.srtp),
            srtp_suites: section.list("srtp_suites", default.srtp_suites, |word| one_of(word, &suites)),
            dtls: section.optional_truth("dtls").unwrap_or(default.dtls),
            dtmf: section.list("dtmf", default.dtmf, |word| one_of(word, KEY_WAYS)),
        };
        if repeats(&read.codecs) {
            section.wrong("codecs", "names a codec twice");
        }
        if repeats(&read.dtmf) {
            section.wrong("dtmf", "names a way twice");
        }
        if repeats(&read.srtp_suites) {
            section.wrong("srtp_suites", "names a suite twice");
        }
        if !u64::from(read.ptime_ms).is_multiple_of(PTIME_MS_STEP) {
            section.wrong("ptime_ms", "is no multiple of 10");
        }
        if read.srtp != Srtp::Off && read.srtp_suites.is_empty() && !read.dtls {
            let text = "is empty, and \"dtls\" is false: there is no way left to encrypt; write srtp = \"off\"";
            section.wrong("srtp_suites", text);
        }
        read
    }

    pub(super) fn write(&self, out: &mut Writer) {
        out.list("codecs", self.codecs.iter().map(|&codec| word(codec)));
        out.whole("ptime_ms", self.ptime_ms);
        out.text("srtp", self.srtp);
        out.list("srtp_suites", self.srtp_suites.iter().map(|suite| suite.name()));
        out.whole("dtls", self.dtls);
        out.list("dtmf", &self.dtmf);
    }

    /// Whether keys would stand readable in descriptions that are sent in the clear.
    pub(super) fn needs_private_signalling(&self) -> bool {
        self.srtp == Srtp::Required && !self.srtp_suites.is_empty()
    }
}

/// In one line, for people.
impl fmt::Display for TrunkMedia {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let codecs: Vec<&str> = self.codecs.iter().map(|&codec| word(codec)).collect();
        write!(
            out,
            "{} in packets of {} ms, SRTP {}",
            codecs.join(", "),
            self.ptime_ms,
            self.srtp
        )?;
        let ways = [("by keys", !self.srtp_suites.is_empty()), ("by DTLS", self.dtls)];
        let ways: Vec<&str> = ways
            .into_iter()
            .filter(|(_, is_on)| *is_on)
            .map(|(way, _)| way)
            .collect();
        match self.srtp {
            Srtp::Off => Ok(()),
            Srtp::Accepted | Srtp::Offered | Srtp::Required => write!(out, " {}", ways.join(" or ")),
        }
    }
}

impl fmt::Display for Srtp {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let named = SRTP.iter().find(|(_, srtp)| srtp == self);
        out.write_str(named.map_or("", |(name, _)| name))
    }
}

impl fmt::Display for KeyWay {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let named = KEY_WAYS.iter().find(|(_, way)| way == self);
        out.write_str(named.map_or("", |(name, _)| name))
    }
}

fn word(codec: Codec) -> &'static str {
    let named = CODECS.iter().find(|(_, known)| *known == codec);
    named.map_or("", |(name, _)| name)
}

fn repeats<T: PartialEq>(items: &[T]) -> bool {
    let mut pairs = items.iter().enumerate();
    pairs.any(|(place, item)| items.iter().take(place).any(|other| other == item))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::tests::{problems, read};

    const TRUNK: &str = "[[trunk]]\nname = \"a\"\nfrom = [\"10.0.0.0/8\"]\n";

    #[test]
    fn a_trunk_speaks_every_codec_and_takes_encryption_unless_told_otherwise() {
        assert_eq!(read(TRUNK).trunks[0].media, TrunkMedia::default());
        let lines = "codecs = [\"opus\", \"g722\", \"pcma\"]\nptime_ms = 40\nsrtp = \"required\"\n\
                     srtp_suites = [\"AEAD_AES_128_GCM\", \"AES_CM_128_HMAC_SHA1_80\"]\ndtls = false\n\
                     dtmf = [\"inband\", \"rfc4733\"]\n";
        let config = read(&format!("{TRUNK}{lines}"));
        let media = TrunkMedia {
            codecs: vec![Codec::Opus, Codec::G722, Codec::Pcma],
            ptime_ms: 40,
            srtp: Srtp::Required,
            srtp_suites: vec![Suite::AeadAes128Gcm, Suite::AesCm128HmacSha1_80],
            dtls: false,
            dtmf: vec![KeyWay::Tone, KeyWay::Event],
        };
        assert_eq!(config.trunks[0].media, media);
        assert!(config.effective_toml().contains(lines));
    }

    #[test]
    fn a_trunk_in_one_line_says_what_it_speaks() {
        let media = read(TRUNK).trunks[0].media.clone();
        assert_eq!(
            media.to_string(),
            "pcmu, pcma, g722, opus in packets of 20 ms, SRTP accepted by keys or by DTLS"
        );
        let media = TrunkMedia {
            srtp: Srtp::Off,
            codecs: vec![Codec::Opus],
            ..media
        };
        assert_eq!(media.to_string(), "opus in packets of 20 ms, SRTP off");
    }

    #[test]
    fn phones_that_register_have_the_same_keys() {
        let text = "[registrar]\ncodecs = [\"opus\", \"pcmu\"]\nsrtp = \"off\"\n\
                    [registrar.users.x]\npassword = \"env:PASSWORD\"";
        let media = read(text).registrar.media;
        assert_eq!((media.codecs, media.srtp), (vec![Codec::Opus, Codec::Pcmu], Srtp::Off));
    }

    #[test]
    fn what_cannot_be_meant_is_refused() {
        for (line, problem) in [
            (
                "codecs = []",
                "f.toml:4:10: trunk[0].codecs names no codec: leave it out, or name one of them",
            ),
            (
                "codecs = [\"pcmu\", \"pcmu\"]",
                "f.toml:4:10: trunk[0].codecs names a codec twice",
            ),
            (
                "codecs = [\"opsu\"]",
                "f.toml:4:11: trunk[0].codecs[0] = \"opsu\" is not known: did you mean \"opus\"?",
            ),
            (
                "dtmf = []",
                "f.toml:4:8: trunk[0].dtmf names no way: leave it out, or name one of them",
            ),
            (
                "dtmf = [\"info\", \"info\"]",
                "f.toml:4:8: trunk[0].dtmf names a way twice",
            ),
            ("ptime_ms = 25", "f.toml:4:12: trunk[0].ptime_ms is no multiple of 10"),
            (
                "ptime_ms = 70",
                "f.toml:4:12: trunk[0].ptime_ms = 70 is out of range: 10 to 60 ms",
            ),
            (
                "srtp = \"require\"",
                "f.toml:4:8: trunk[0].srtp = \"require\" is not known: did you mean \"required\"?",
            ),
            (
                "srtp_suites = []\ndtls = false",
                "f.toml:4:15: trunk[0].srtp_suites is empty, and \"dtls\" is false: there is no way left to encrypt; \
                 write srtp = \"off\"",
            ),
        ] {
            assert_eq!(problems(&format!("{TRUNK}{line}")), [problem]);
        }
        read(&format!("{TRUNK}srtp = \"off\"\nsrtp_suites = []\ndtls = false"));
    }

    #[test]
    fn keys_that_could_be_read_on_the_way_are_warned_of() {
        let warnings = |lines: &str| read(&format!("{TRUNK}{lines}")).warnings();
        assert_eq!(warnings(""), [""; 0]);
        let [warning] = warnings("srtp = \"required\"").try_into().unwrap();
        assert!(warning.starts_with("trunk[0] (\"a\") requires SRTP"), "{warning}");
        assert_eq!(warnings("srtp = \"required\"\ntransports = [\"tls\"]"), [""; 0]);
        assert_eq!(warnings("srtp = \"required\"\nsrtp_suites = []"), [""; 0]);
        let uplink = "srtp = \"required\"\ntransports = [\"tls\"]\nhost = \"192.0.2.1\"\ntransport = \"udp\"";
        assert_eq!(warnings(uplink).len(), 1);
    }
}
