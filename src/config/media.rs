//! `[media]`: RTP ports, worker threads and playout.

use std::{ops::RangeInclusive, time::Duration};

use super::{effective::Writer, section::Section};

/// Media threads; more than any machine this runs on has cores.
const WORKERS_MAX: u64 = 256;

/// Pairs in the whole port space.
const PAIRS_MAX: u64 = 32_767;

/// Settings of `[media]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Media {
    /// The ports of RTP (even) and RTCP (the odd one after it); at least one pair.
    pub ports: RangeInclusive<u16>,
    /// Pairs kept for calls that come in.
    pub inbound_reserve: usize,
    /// Threads; 0 takes one per core.
    pub workers: usize,
    /// How much audio of the agent may wait for its time.
    pub playout_max: Duration,
    /// How long no RTP may come from the caller before the call ends; none waits for ever.
    pub silence_timeout: Option<Duration>,
    /// How long the other side may hear nothing of us before the call ends; none goes on for ever.
    pub unheard_timeout: Option<Duration>,
    /// What the caller is sent while the agent says nothing.
    pub silence: Silence,
}

/// What the caller is sent while the agent says nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Silence {
    /// Packets of silence.
    #[default]
    Send,
    /// Nothing but a packet now and then.
    Stop,
}

const SILENCES: &[(&str, Silence)] = &[("send", Silence::Send), ("stop", Silence::Stop)];

impl Default for Media {
    fn default() -> Self {
        Self {
            ports: 16384..=32767,
            inbound_reserve: 0,
            workers: 0,
            playout_max: Duration::from_secs(120),
            silence_timeout: Some(Duration::from_secs(60)),
            unheard_timeout: Some(Duration::from_secs(60)),
            silence: Silence::default(),
        }
    }
}

impl Media {
    pub(super) fn read(mut section: Section<'_>) -> Self {
        let default = Self::default();
        let mut timeout = |key, default: Option<Duration>| {
            let seconds = section.whole(key, whole_seconds(default), 0..=3600, "s, 0 for never");
            (seconds > 0).then(|| Duration::from_secs(seconds))
        };
        let silence_timeout = timeout("silence_timeout_s", default.silence_timeout);
        let unheard_timeout = timeout("unheard_timeout_s", default.unheard_timeout);
        let media = Self {
            ports: section.parsed("ports", default.ports, read_ports),
            inbound_reserve: section.whole("inbound_reserve", 0, 0..=PAIRS_MAX, "pairs of ports") as usize,
            workers: section.whole("workers", 0, 0..=WORKERS_MAX, "threads, 0 for one per core") as usize,
            playout_max: section.millis("playout_ms_max", default.playout_max, 1_000..=600_000),
            silence_timeout,
            unheard_timeout,
            silence: section.choice("silence", SILENCES, default.silence),
        };
        if media.inbound_reserve > 0 && media.inbound_reserve >= media.pairs() {
            section.wrong("inbound_reserve", "leaves no pair of ports for calls of our own");
        }
        section.finish();
        media
    }

    /// Pairs that the range holds.
    fn pairs(&self) -> usize {
        let first = usize::from(*self.ports.start()).next_multiple_of(2);
        (usize::from(*self.ports.end()) + 1).saturating_sub(first) / 2
    }

    pub(super) fn write(&self, out: &mut Writer) {
        out.table("[media]");
        out.text("ports", format_args!("{}-{}", self.ports.start(), self.ports.end()));
        out.whole("inbound_reserve", self.inbound_reserve);
        out.whole("workers", self.workers);
        out.whole("playout_ms_max", self.playout_max.as_millis());
        out.whole("silence_timeout_s", whole_seconds(self.silence_timeout));
        out.whole("unheard_timeout_s", whole_seconds(self.unheard_timeout));
        let silence = match self.silence {
            Silence::Send => "send",
            Silence::Stop => "stop",
        };
        out.text("silence", silence);
    }
}

fn whole_seconds(timeout: Option<Duration>) -> u64 {
    timeout.map_or(0, |timeout| timeout.as_secs())
}

fn read_ports(text: &str) -> Result<RangeInclusive<u16>, String> {
    let how = "is not a range of ports: write \"LOW-HIGH\", such as \"16384-32767\"";
    let (low, high) = text.split_once('-').ok_or(how)?;
    let port = |text: &str| text.trim().parse::<u16>().ok().filter(|port| *port > 0).ok_or(how);
    let (low, high) = (port(low)?, port(high)?);
    if low > high {
        return Err(format!("runs backwards: did you mean \"{high}-{low}\"?"));
    }
    // RTP takes the even port and RTCP the next one (RFC 3550 section 11).
    match low.checked_next_multiple_of(2).is_some_and(|even| even < high) {
        true => Ok(low..=high),
        false => Err("holds no even port with an odd one after it, so there is room for no call".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::tests::{problems, read};

    #[test]
    fn settings_are_read() {
        let text = "[media]\nports = \"20001-20007\"\ninbound_reserve = 2\nworkers = 3\nplayout_ms_max = 5000\n\
             silence_timeout_s = 0\nunheard_timeout_s = 7\nsilence = \"stop\"";
        let media = Media {
            ports: 20001..=20007,
            inbound_reserve: 2,
            workers: 3,
            playout_max: Duration::from_secs(5),
            silence_timeout: None,
            unheard_timeout: Some(Duration::from_secs(7)),
            silence: Silence::Stop,
        };
        assert_eq!(read(text).media, media);
    }

    #[test]
    fn a_reserve_leaves_something_to_take() {
        assert_eq!(
            problems("[media]\nports = \"20001-20007\"\ninbound_reserve = 3"),
            ["f.toml:3:19: media.inbound_reserve leaves no pair of ports for calls of our own"]
        );
    }

    #[test]
    fn a_range_without_a_pair_has_room_for_no_call() {
        for (ports, fault) in [
            (
                "20000-20000",
                "holds no even port with an odd one after it, so there is room for no call",
            ),
            (
                "20001-20002",
                "holds no even port with an odd one after it, so there is room for no call",
            ),
            (
                "65535-65535",
                "holds no even port with an odd one after it, so there is room for no call",
            ),
            ("300-200", "runs backwards: did you mean \"200-300\"?"),
            (
                "0-100",
                "is not a range of ports: write \"LOW-HIGH\", such as \"16384-32767\"",
            ),
            (
                "16384-99999",
                "is not a range of ports: write \"LOW-HIGH\", such as \"16384-32767\"",
            ),
            (
                "16384",
                "is not a range of ports: write \"LOW-HIGH\", such as \"16384-32767\"",
            ),
        ] {
            let text = format!("[media]\nports = \"{ports}\"");
            assert_eq!(
                problems(&text),
                [format!("f.toml:2:9: media.ports = \"{ports}\" {fault}")]
            );
        }
        assert_eq!(read("[media]\nports = \"65534-65535\"").media.ports, 65534..=65535);
    }

    #[test]
    fn numbers_out_of_range_are_refused_with_the_range() {
        assert_eq!(
            problems("[media]\nworkers = 1000\nplayout_ms_max = 1\nsilence_timeout_s = -1"),
            [
                "f.toml:2:11: media.workers = 1000 is out of range: 0 to 256 threads, 0 for one per core",
                "f.toml:3:18: media.playout_ms_max = 1 is out of range: 1000 to 600000 ms",
                "f.toml:4:21: media.silence_timeout_s = -1 is out of range: 0 to 3600 s, 0 for never",
            ]
        );
    }
}
