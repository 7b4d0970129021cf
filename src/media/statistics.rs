//! One leg's figures, as a snapshot.

use std::time::Duration;

use super::{doctor::AilmentSums, quality::Quality};

/// Totals since the leg began, and the present state where that is what a figure means.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Statistics {
    /// RTP packets sent.
    pub packets_sent: u64,
    /// Payload bytes sent.
    pub bytes_sent: u64,
    /// RTP packets taken: from the far end, of a payload type we agreed on.
    pub packets_received: u64,
    /// Their payload bytes.
    pub bytes_received: u64,
    /// Packets that had not come when they were needed.
    pub lost: u64,
    /// Packets that came after they had been given up.
    pub late: u64,
    /// Packets that came twice.
    pub duplicate: u64,
    /// Packets that came before one sent earlier.
    pub reordered: u64,
    /// Audio packets dropped because the far end sends faster than time passes.
    pub excess: u64,
    /// Audio packets that could not be decoded.
    pub undecodable: u64,
    /// Packets from somewhere else than the far end.
    pub foreign: u64,
    /// Datagrams on the RTP or RTCP port that were neither.
    pub malformed: u64,
    /// Packets whose protection did not verify: made with another key, or changed on their way.
    pub srtp_auth_failures: u64,
    /// Protected packets that came before, or too late to tell.
    pub srtp_replays: u64,
    /// RTP of a payload type nobody agreed on, and whatever came before anything was agreed.
    pub unexpected: u64,
    /// Present variation of the far end's transit times.
    pub jitter_ms: f32,
    /// Audio made up for lost packets.
    pub concealed_ms: u64,
    /// Audio of lost packets that the packets behind them carried along (in-band FEC).
    pub recovered_ms: u64,
    /// Silence made up because nothing came.
    pub silence_ms: u64,
    /// Caller audio put in or taken out because the far end's clock is another than ours.
    pub stretched_ms: u64,
    /// Agent audio that left.
    pub spoken_ms: u64,
    /// Agent audio dropped because too much was waiting.
    pub playout_dropped_ms: u64,
    /// Agent audio put in or taken out because the session's clock is another than ours.
    pub playout_stretched_ms: u64,
    /// How often the agent's words ran out in the middle of an utterance.
    pub underruns: u64,
    /// Packet times passed over because we were far too late for them.
    pub ticks_skipped: u64,
    /// Packets the owner did not take in time.
    pub unsent: u64,
    /// Last measured round trip, from RTCP.
    pub round_trip: Option<Duration>,
    /// The longest.
    pub round_trip_max: Option<Duration>,
    /// What the far end says it lost of our packets.
    pub remote_lost: i64,
    /// The share it lost between its last two reports.
    pub remote_fraction_lost: f32,
    /// The jitter it says it sees.
    pub remote_jitter_ms: f32,
    /// RTCP reports sent.
    pub reports_sent: u64,
    /// RTCP reports received. They are no sign that sound comes.
    pub reports_received: u64,
    /// How the call sounds and sounded.
    pub quality: Quality,
    /// What was wrong with the line.
    pub ailments: AilmentSums,
}
