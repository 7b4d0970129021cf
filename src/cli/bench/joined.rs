//! What callers, backend and kernel measured, put together: which session served which call, and the figures of a step.
//!
//! Callers and sessions find each other by the caller's pitch, which the backend heard; so a call is only counted as
//! right when its own sound came through, and each time is the time of sound that was recognised.

use serde::Serialize;

use super::{
    clock::MS,
    histogram::Histogram,
    pitch::{self, Scale},
    reports::{Heard, HeardCall, Mark, Served, ServedSession},
};
use crate::audio::Codec;

/// A mark that takes longer counts as lost: the next one is then nearer.
const MARK_LATE_MAX: u64 = 190 * MS;

/// A voice that takes longer to be heard counts as unheard.
const VOICE_LATE_MAX: u64 = 2_000 * MS;

/// Three quantiles, in milliseconds, of so many values.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Times {
    /// Values counted.
    pub count: u64,
    /// Half of them do not exceed this.
    pub p50_ms: f64,
    /// 99 of 100 do not.
    pub p99_ms: f64,
    /// 999 of 1,000 do not; the longest when there are fewer.
    pub p999_ms: f64,
}

/// What both ends of the calls say of one step.
#[derive(Debug, Clone, Serialize)]
pub struct Ends {
    /// Calls still going on at the end.
    pub talking: usize,
    /// From a caller's packet sent to the arrival of the append that holds it.
    pub packet_to_append: Option<Times>,
    /// From a response's first delta written to its first packet.
    pub delta_to_packet: Option<Times>,
    /// How far packets were from an even grid.
    pub pacing: Option<Times>,
    /// Between two packets.
    pub packet_delta: Option<Times>,
    /// How late the callers themselves sent.
    pub callers_late: Option<Times>,
    /// Packets the callers sent.
    pub packets_sent: u64,
    /// Packets the callers heard.
    pub packets_heard: u64,
    /// Packets' worth of the callers' sound that was never appended.
    pub lost_in: u64,
    /// Packets of the gateway that never came.
    pub lost_out: u64,
    /// Packets of the gateway that came after a later one, or twice.
    pub reordered_out: u64,
    /// Responses whose voice was not heard, and beginnings of voice that no response explains.
    pub broken_responses: u64,
    /// Marks of the callers that were not heard in time.
    pub marks_lost: u64,
    /// Calls whose caller's pitch, and none else, was heard by one session.
    pub right_pitch_in: usize,
    /// Calls that heard their own session's pitch, and none else.
    pub right_pitch_out: usize,
    /// Calls that listened to it.
    pub listened: usize,
    /// Events of the gateway that do not belong in these calls.
    pub surprises: u64,
}

/// A measurement's beginning and end.
pub type Window = std::ops::Range<u64>;

/// Puts the reports of one measurement together.
pub fn join(heard: &Heard, served: &Served, window: &Window, codec: Codec) -> Ends {
    let scale = Scale::of(codec);
    let mut join = Join {
        window: window.clone(),
        ..Join::default()
    };
    let sessions = by_caller(served, heard.calls.len(), scale);
    for (call, session) in heard.calls.iter().zip(sessions) {
        if let Some(session) = session {
            join.call(call, session, scale);
        }
    }
    Ends {
        talking: heard.calls.iter().filter(|call| call.talking).count(),
        packet_to_append: Times::of(&join.packet_to_append),
        delta_to_packet: Times::of(&join.delta_to_packet),
        pacing: Times::of(&heard.pacing),
        packet_delta: Times::of(&heard.deltas),
        callers_late: Times::of(&heard.lateness),
        packets_sent: heard.sent,
        packets_heard: heard.heard,
        lost_in: join.lost,
        lost_out: heard.lost,
        reordered_out: heard.reordered,
        broken_responses: join.broken_responses,
        marks_lost: join.marks_lost,
        right_pitch_in: join.right_in,
        right_pitch_out: join.right_out,
        listened: heard.calls.iter().filter(|call| call.listened).count(),
        surprises: served.sessions.iter().map(|session| session.surprises).sum(),
    }
}

/// The session that heard each caller; none when it was no session or more than one.
fn by_caller(served: &Served, callers: usize, scale: Scale) -> Vec<Option<&ServedSession>> {
    let mut sessions = vec![None; callers];
    let mut doubled = vec![false; callers];
    for session in &served.sessions {
        let named = session.pitches.iter().find_map(|hz| scale.caller(*hz));
        if let Some(caller) = named.filter(|caller| *caller < callers) {
            doubled[caller] |= sessions[caller].replace(session).is_some();
        }
    }
    let pairs = sessions.into_iter().zip(doubled);
    pairs.map(|(session, doubled)| session.filter(|_| !doubled)).collect()
}

#[derive(Default)]
struct Join {
    window: Window,
    packet_to_append: Histogram,
    delta_to_packet: Histogram,
    lost: u64,
    marks_lost: u64,
    broken_responses: u64,
    right_in: usize,
    right_out: usize,
}

impl Join {
    fn call(&mut self, call: &HeardCall, session: &ServedSession, scale: Scale) {
        let caller = session.pitches.first().and_then(|hz| scale.caller(*hz));
        let same = |hz: &f32| scale.caller(*hz) == caller;
        self.right_in += usize::from(caller.is_some() && session.pitches.iter().all(same));
        let right = |hz: &f32| pitch::is_of_session(*hz, session.speaks_hz);
        self.right_out += usize::from(!call.pitches.is_empty() && call.pitches.iter().all(right));
        self.marks(&call.marks, &session.marks);
        if call.listened {
            self.responses(&session.starts, &call.onsets);
        }
    }

    fn marks(&mut self, sent: &[Mark], came: &[Mark]) {
        let mut came = came.iter().peekable();
        let mut ends: Option<[(Mark, Mark); 2]> = None;
        for mark in sent {
            while came.next_if(|came| came.at < mark.at).is_some() {}
            let Some(found) = came.next_if(|came| came.at - mark.at < MARK_LATE_MAX) else {
                self.marks_lost += 1;
                continue;
            };
            self.packet_to_append.record(found.at - mark.at);
            let first = ends.map_or((*mark, *found), |[first, _]| first);
            ends = Some([first, (*mark, *found)]);
        }
        if let Some([first, last]) = ends {
            let (sent, came) = (last.0.packet - first.0.packet, last.1.packet - first.1.packet);
            self.lost += sent.saturating_sub(came);
        }
    }

    fn responses(&mut self, starts: &[u64], onsets: &[u64]) {
        let mut explained = 0;
        let window = self.window.clone();
        let counted = |start: &&u64| **start + VOICE_LATE_MAX < window.end;
        for start in starts.iter().filter(counted) {
            let onset = onsets.iter().find(|onset| *onset >= start);
            let onset = onset.filter(|onset| *onset - start < VOICE_LATE_MAX);
            explained += u64::from(onset.is_some());
            match onset {
                Some(onset) if window.contains(start) => self.delta_to_packet.record(onset - start),
                None if window.contains(start) => self.broken_responses += 1,
                _ => {}
            }
        }
        let counted = onsets.iter().filter(|onset| **onset + VOICE_LATE_MAX < window.end);
        self.broken_responses += (counted.count() as u64).saturating_sub(explained);
    }
}

impl Times {
    /// Of these durations; none when there are none.
    pub fn of(histogram: &Histogram) -> Option<Self> {
        let ms = |share| histogram.quantile(share).map(|ns| ns as f64 / MS as f64);
        Some(Self {
            count: histogram.total(),
            p50_ms: ms(0.5)?,
            p99_ms: ms(0.99)?,
            p999_ms: ms(0.999)?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const WINDOW: Window = 0..60_000 * MS;

    #[test]
    fn a_call_is_timed_by_the_sound_that_came_through() {
        let ends = join(&heard(2), &served(&[1, 0]), &WINDOW, Codec::Pcmu);
        assert_eq!((ends.right_pitch_in, ends.right_pitch_out, ends.talking), (2, 2, 2));
        assert_eq!((ends.lost_in, ends.marks_lost, ends.broken_responses), (0, 0, 0));
        let in_ms = ends.packet_to_append.unwrap();
        assert_eq!(
            (in_ms.count, in_ms.p50_ms.round(), in_ms.p999_ms.round()),
            (40, 3.0, 3.0)
        );
        let out_ms = ends.delta_to_packet.unwrap();
        assert_eq!((out_ms.count, out_ms.p99_ms.round()), (10, 15.0));
    }

    #[test]
    fn crossed_lines_are_noticed() {
        // Both sessions hear the same caller.
        let ends = join(&heard(2), &served(&[0, 0]), &WINDOW, Codec::Pcmu);
        assert_eq!((ends.right_pitch_in, ends.right_pitch_out), (0, 0));
        // The callers hear each other's agents.
        let mut crossed = heard(2);
        crossed.calls.swap(0, 1);
        let ends = join(&crossed, &served(&[1, 0]), &WINDOW, Codec::Pcmu);
        assert_eq!((ends.right_pitch_in, ends.right_pitch_out), (2, 0));
    }

    #[test]
    fn what_is_missing_is_counted_as_missing() {
        let mut served = served(&[1, 0]);
        let session = &mut served.sessions[0];
        session.marks.remove(7);
        session.marks.iter_mut().skip(10).for_each(|mark| mark.packet -= 3);
        session.pitches.push(1.0);
        let mut heard = heard(2);
        heard.calls[0].onsets.remove(2);
        heard.calls[1].onsets.insert(3, 13_000 * MS);
        let ends = join(&heard, &served, &WINDOW, Codec::Pcmu);
        assert_eq!((ends.marks_lost, ends.lost_in, ends.right_pitch_in), (1, 3, 1));
        assert_eq!(ends.broken_responses, 2);
    }

    /// Calls that heard session 1 - number.
    fn heard(calls: usize) -> Heard {
        let call = |number: usize| HeardCall {
            talking: true,
            listened: true,
            marks: (0..20).map(|n| mark(n * 10, n * 200)).collect(),
            onsets: (0..5).map(|n| (n * 5_200 + 15) * MS).collect(),
            pitches: vec![pitch::of_session(1 - number); 2],
        };
        Heard {
            calls: (0..calls).map(call).collect(),
            ..Heard::default()
        }
    }

    /// Sessions that heard these callers.
    fn served(callers: &[usize]) -> Served {
        let session = |(number, caller): (usize, &usize)| ServedSession {
            speaks_hz: pitch::of_session(number),
            marks: (0..20).map(|n| mark(5 + n * 10, n * 200 + 3)).collect(),
            starts: (0..5).map(|n| n * 5_200 * MS).collect(),
            pitches: vec![Scale::of(Codec::Pcmu).pitch(*caller); 3],
            surprises: 0,
        };
        Served {
            sessions: callers.iter().enumerate().map(session).collect(),
        }
    }

    fn mark(packet: u64, ms: u64) -> Mark {
        Mark { packet, at: ms * MS }
    }
}
