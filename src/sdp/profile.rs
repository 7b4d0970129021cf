//! The transport of an `m=` line: whether packets are protected, and how keys are made.

use std::fmt;

/// A transport we know.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Profile {
    /// Whether packets are protected.
    pub keying: Keying,
    /// Whether the far end takes early feedback (AVPF, RFC 4585). We send none; it costs nothing to agree.
    pub feedback: bool,
}

/// Whether packets are protected, as the transport alone tells.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Keying {
    /// They are not, unless keys are offered all the same (RFC 8643).
    #[default]
    Plain,
    /// They are; keys come with the description, or by DTLS as some older software writes it.
    Srtp,
    /// They are, and keys are made by DTLS.
    Dtls,
}

const NAMES: [(&str, Keying, bool); 6] = [
    ("RTP/AVP", Keying::Plain, false),
    ("RTP/AVPF", Keying::Plain, true),
    ("RTP/SAVP", Keying::Srtp, false),
    ("RTP/SAVPF", Keying::Srtp, true),
    ("UDP/TLS/RTP/SAVP", Keying::Dtls, false),
    ("UDP/TLS/RTP/SAVPF", Keying::Dtls, true),
];

impl Profile {
    /// The transport of this name, in any case.
    pub fn read(name: &str) -> Option<Self> {
        let known = NAMES.iter().find(|(known, ..)| known.eq_ignore_ascii_case(name));
        known.map(|&(_, keying, feedback)| Self { keying, feedback })
    }

    /// Its name.
    pub fn name(self) -> &'static str {
        let named = NAMES
            .iter()
            .find(|&&(_, keying, feedback)| (keying, feedback) == (self.keying, self.feedback));
        named.map_or("RTP/AVP", |(name, ..)| name)
    }
}

impl From<Keying> for Profile {
    fn from(keying: Keying) -> Self {
        Self {
            keying,
            feedback: false,
        }
    }
}

impl fmt::Display for Profile {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(self.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_profile_is_known_by_its_name_in_any_case() {
        for (name, keying, feedback) in NAMES {
            let profile = Profile { keying, feedback };
            assert_eq!(Profile::read(&name.to_lowercase()), Some(profile));
            assert_eq!(profile.name(), name);
        }
        for unknown in ["", "RTP/XAVP", "udptl", "TCP/TLS/RTP/SAVP", "RTP/AVP "] {
            assert_eq!(Profile::read(unknown), None, "{unknown}");
        }
    }
}
