//! How the call sounds, as an opinion score from 1 to 5, estimated for each direction by the E-model.
//!
//! The simplified rating of ITU-T G.107: `R = 93.2 - Id - Ie,eff`, where `Id` follows from the delay and `Ie,eff` from the
//! codec, the packets lost and how they bunch; for wideband codecs the same on the scale of G.107.1, which ends at 129
//! and is brought back to 100 before it becomes a score. A score of a wideband call and one of a narrowband call are
//! therefore each on a [`Scale`] of their own. It is an estimate from packets: it hears neither noise nor echo.
//!
//! What comes is judged by what had to be concealed, what goes by what the far end reports. Each window is a few
//! seconds; of a call of any length only sums are kept.

use std::time::{Duration, Instant};

use crate::{
    audio::Codec,
    rtp::{
        Losses,
        rtcp::Incoming,
        xr::{UNKNOWN, VoipMetrics},
    },
};

/// Both directions of one leg.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Quality {
    /// What comes from the far end, as the agent hears it.
    pub received: Option<Sound>,
    /// What we send, as the far end says it hears it; nothing until it has reported.
    pub sent: Option<Sound>,
    /// The last round trip measured.
    pub round_trip: Option<Duration>,
}

/// One direction.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Sound {
    /// What it is coded with.
    pub codec: Codec,
    /// The score of the last window.
    pub mos: f32,
    /// The mean over all windows.
    pub mos_mean: f32,
    /// The worst window.
    pub mos_min: f32,
    /// Packets lost of all there should have been, in percent, since the call began.
    pub loss_percent: f32,
    /// Present jitter.
    pub jitter_ms: f32,
}

/// What scores are to be compared with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scale {
    /// Telephone bandwidth: 4.4 is the best there is.
    Narrowband,
    /// Wideband: the best narrowband call would be at about 3.7 here.
    Wideband,
}

impl Scale {
    /// The scale of a codec.
    pub fn of(codec: Codec) -> Self {
        match codec {
            Codec::Pcmu | Codec::Pcma => Self::Narrowband,
            Codec::G722 | Codec::Opus => Self::Wideband,
        }
    }

    /// The word in records and events.
    pub fn word(self) -> &'static str {
        match self {
            Self::Narrowband => "narrowband",
            Self::Wideband => "wideband",
        }
    }
}

/// What one direction suffers.
#[derive(Clone, Copy, Debug)]
struct Path {
    codec: Codec,
    /// Share of packets that are not heard.
    loss: f32,
    burst_ratio: f32,
    /// From mouth to ear.
    delay_ms: f32,
}

impl Path {
    /// The transmission rating, 0 to 100.
    fn rating(&self) -> f32 {
        let (ie, bpl) = impairment(self.codec);
        let loss = self.loss * 100.0;
        let equipment = ie + (95.0 - ie) * loss / (loss / self.burst_ratio + bpl);
        let delay = 0.024 * self.delay_ms + 0.11 * (self.delay_ms - 177.3).max(0.0);
        let rating = match Scale::of(self.codec) {
            Scale::Narrowband => 93.2 - delay - equipment,
            Scale::Wideband => (129.0 - delay - equipment) / 1.29,
        };
        rating.clamp(0.0, 100.0)
    }

    fn mos(&self) -> f32 {
        opinion(self.rating())
    }
}

/// The equipment impairment and the robustness against loss. G.711 with concealment is by ITU-T G.113 appendix I, the
/// impairment of G.722 by its appendix IV. The rest nobody has standardised: our estimates, for concealment as ours is and
/// for Opus at 20 kbit/s and more.
fn impairment(codec: Codec) -> (f32, f32) {
    match codec {
        Codec::Pcmu | Codec::Pcma => (0.0, 25.1),
        Codec::G722 => (13.0, 13.0),
        Codec::Opus => (8.0, 18.0),
    }
}

/// The score of a rating (ITU-T G.107 annex B).
fn opinion(rating: f32) -> f32 {
    let rating = rating.clamp(0.0, 100.0);
    (1.0 + 0.035 * rating + rating * (rating - 60.0) * (100.0 - rating) * 7e-6).clamp(1.0, 4.5)
}

/// What the meter is shown of the receiving side.
#[derive(Clone, Copy, Debug)]
pub(super) struct Received {
    /// Everything so far.
    pub(super) losses: Losses,
    /// Present jitter.
    pub(super) jitter_ms: f32,
    /// The last round trip.
    pub(super) round_trip: Option<Duration>,
}

/// Keeps the scores of one leg.
#[derive(Debug)]
pub(super) struct Meter {
    due: Option<Instant>,
    codec_received: Codec,
    codec_sent: Codec,
    packet_time_ms: u32,
    counted: Losses,
    received: Scores,
    sent: Scores,
    round_trip: Option<Duration>,
    told: Option<(Quality, Instant)>,
}

#[derive(Clone, Copy, Debug, Default)]
struct Scores {
    last: Option<Sound>,
    sum: f64,
    windows: u32,
}

/// The length of a window of what comes; those of what goes are as long as the time between two reports.
const WINDOW: Duration = Duration::from_secs(5);
/// A window with fewer packets, on hold or in a pause of a sender that does not send silence, says nothing.
const WINDOW_PACKETS_MIN: u64 = 25;
/// A change of quality is told no more often than this.
const TELL_EVERY: Duration = Duration::from_secs(10);
/// A smaller change of a score is none.
const MOS_CHANGE: f32 = 0.1;
/// How many times the jitter a far end's buffer is taken to wait.
const FAR_WAIT_PER_JITTER: f32 = 2.0;
/// A far end's buffer waits at least so long.
const FAR_WAIT_MS_MIN: f32 = 20.0;

impl Meter {
    pub(super) fn new() -> Self {
        Self {
            due: None,
            codec_received: Codec::Pcmu,
            codec_sent: Codec::Pcmu,
            packet_time_ms: 20,
            counted: Losses::default(),
            received: Scores::default(),
            sent: Scores::default(),
            round_trip: None,
            told: None,
        }
    }

    /// New terms.
    pub(super) fn apply(&mut self, now: Instant, sent: Codec, packet_time_ms: u32) {
        self.due.get_or_insert(now + WINDOW);
        self.codec_sent = sent;
        self.packet_time_ms = packet_time_ms;
    }

    /// What comes is coded with this, which may change from packet to packet.
    pub(super) fn set_received(&mut self, codec: Codec) {
        self.codec_received = codec;
    }

    /// Whether a window is over.
    pub(super) fn is_due(&self, now: Instant) -> bool {
        self.due.is_some_and(|due| now >= due)
    }

    /// A window is over. What to tell, if it is worth telling.
    pub(super) fn close_window(&mut self, now: Instant, received: &Received) -> Option<Quality> {
        self.due = Some(now + WINDOW);
        self.round_trip = received.round_trip;
        let window = received.losses.since(&self.counted);
        self.counted = received.losses;
        if window.expected() >= WINDOW_PACKETS_MIN {
            let path = Path {
                codec: self.codec_received,
                loss: window.share(),
                burst_ratio: window.burst_ratio(),
                // Only a gap makes a packet wait here, so jitter costs what it is.
                delay_ms: self.travel_ms(received.jitter_ms),
            };
            let loss = received.losses.share();
            self.received.add(path.codec, path.mos(), loss, received.jitter_ms);
        }
        self.tell(now)
    }

    /// The far end reports. `sent` is how many packets it should have had, `jitter_ms` what it says of them.
    pub(super) fn hear(&mut self, incoming: &Incoming, sent: u64, jitter_ms: f32, round_trip: Option<Duration>) {
        let Some(feedback) = incoming.feedback else { return };
        self.round_trip = round_trip;
        let path = Path {
            codec: self.codec_sent,
            loss: f32::from(feedback.block.fraction_lost) / 256.0,
            burst_ratio: 1.0,
            delay_ms: self.travel_ms((jitter_ms * FAR_WAIT_PER_JITTER).max(FAR_WAIT_MS_MIN)),
        };
        let lost = feedback.block.lost.max(0) as f32 / sent.max(1) as f32;
        // Who listens knows best, if it says so.
        let mos = incoming.voip.and_then(|metrics| spoken(&metrics)).unwrap_or(path.mos());
        self.sent.add(path.codec, mos, lost.min(1.0), jitter_ms);
    }

    /// How it sounds and sounded.
    pub(super) fn quality(&self) -> Quality {
        Quality {
            received: self.received.last,
            sent: self.sent.last,
            round_trip: self.round_trip,
        }
    }

    /// What we say to the far end about its packets.
    pub(super) fn metrics(&self, ssrc: u32, received: &Received, late: u64) -> VoipMetrics {
        let losses = &received.losses;
        let bursts = losses.bursts();
        let packet_ms = self.packet_time_ms as f32;
        let path = Path {
            codec: self.codec_received,
            loss: losses.share(),
            burst_ratio: losses.burst_ratio(),
            delay_ms: self.travel_ms(received.jitter_ms),
        };
        let discarded = late.min(losses.total());
        let expected = losses.expected().max(1) as f32;
        VoipMetrics {
            ssrc,
            loss_rate: eighths((losses.total() - discarded) as f32 / expected),
            discard_rate: eighths(discarded as f32 / expected),
            burst_density: eighths(bursts.burst_density),
            gap_density: eighths(bursts.gap_density),
            burst_ms: (bursts.burst_packets * packet_ms) as u16,
            gap_ms: (bursts.gap_packets * packet_ms) as u16,
            round_trip_ms: millis(received.round_trip),
            end_delay_ms: (packet_ms + received.jitter_ms) as u16,
            rating: path.rating().round() as u8,
            listening_mos: tenths(Path { delay_ms: 0.0, ..path }.mos()),
            conversation_mos: tenths(path.mos()),
            wait_ms: crate::rtp::reorder::WAIT_MIN.as_millis() as u16,
            wait_ms_max: crate::rtp::reorder::WAIT_MAX.as_millis() as u16,
        }
    }

    /// One way, from mouth to ear: half the round trip, the packet itself, and what it waits.
    fn travel_ms(&self, wait_ms: f32) -> f32 {
        let trip = self.round_trip.map_or(0.0, |trip| trip.as_secs_f32() * 1_000.0);
        trip / 2.0 + self.packet_time_ms as f32 + wait_ms
    }

    fn tell(&mut self, now: Instant) -> Option<Quality> {
        let quality = self.quality();
        let news = match &self.told {
            None => quality.received.is_some() || quality.sent.is_some(),
            Some((told, at)) => now.saturating_duration_since(*at) >= TELL_EVERY && quality.differs(told),
        };
        if news {
            self.told = Some((quality, now));
        }
        news.then_some(quality)
    }
}

impl Quality {
    /// Whether one direction sounds different, or began to be known.
    fn differs(&self, other: &Self) -> bool {
        let differ = |one: Option<Sound>, other: Option<Sound>| match (one, other) {
            (Some(one), Some(other)) => (one.mos - other.mos).abs() >= MOS_CHANGE,
            (one, other) => one.is_some() != other.is_some(),
        };
        differ(self.received, other.received) || differ(self.sent, other.sent)
    }
}

impl Scores {
    fn add(&mut self, codec: Codec, mos: f32, loss: f32, jitter_ms: f32) {
        self.windows = self.windows.saturating_add(1);
        self.sum += f64::from(mos);
        self.last = Some(Sound {
            codec,
            mos,
            mos_mean: (self.sum / f64::from(self.windows)) as f32,
            mos_min: self.last.map_or(mos, |last| last.mos_min.min(mos)),
            loss_percent: loss * 100.0,
            jitter_ms,
        });
    }
}

/// The score the far end gives us itself.
fn spoken(metrics: &VoipMetrics) -> Option<f32> {
    let mos = [metrics.conversation_mos, metrics.listening_mos];
    let known = mos.into_iter().find(|mos| *mos != UNKNOWN && (10..=50).contains(mos))?;
    Some(f32::from(known) / 10.0)
}

/// A share in 1/256.
fn eighths(share: f32) -> u8 {
    (share * 256.0) as u8
}

fn tenths(mos: f32) -> u8 {
    (mos * 10.0).round() as u8
}

fn millis(duration: Option<Duration>) -> u16 {
    duration.map_or(0, |duration| u16::try_from(duration.as_millis()).unwrap_or(u16::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rtp::{reception::Block, rtcp::Feedback};

    /// By the calculator of ITU-T G.107: R 93.2 is 4.41, R 80 is 4.03, R 50 is 2.58.
    #[test]
    fn ratings_become_the_scores_of_the_standard() {
        for (rating, mos) in [(93.2, 4.41), (80.0, 4.03), (70.0, 3.60), (50.0, 2.58), (0.0, 1.0)] {
            assert!((opinion(rating) - mos).abs() < 0.01, "{rating}: {}", opinion(rating));
        }
    }

    #[test]
    fn loss_bursts_and_delay_each_cost_and_the_codec_decides_how_much() {
        let good = path(Codec::Pcmu, 0.0, 1.0, 0.0);
        assert!((good.mos() - 4.41).abs() < 0.01);
        // 5 % at random with G.711 and concealment: Ie,eff is 95 * 5 / (5 + 25.1) = 15.8.
        let lossy = path(Codec::Pcmu, 0.05, 1.0, 0.0);
        assert!((lossy.rating() - (93.2 - 15.78)).abs() < 0.01, "{}", lossy.rating());
        let bursty = path(Codec::Pcmu, 0.05, 3.0, 0.0);
        let slow = path(Codec::Pcmu, 0.0, 1.0, 400.0);
        assert!(bursty.rating() < lossy.rating());
        assert!((slow.rating() - (93.2 - 9.6 - 24.497)).abs() < 0.01);
        assert!(path(Codec::G722, 0.05, 1.0, 0.0).mos() < path(Codec::Opus, 0.05, 1.0, 0.0).mos());
        assert!((4.2..4.5).contains(&path(Codec::G722, 0.0, 1.0, 20.0).mos()));
    }

    #[test]
    fn the_worst_window_and_the_mean_are_kept() {
        let (mut meter, now) = (Meter::new(), Instant::now());
        meter.apply(now, Codec::Pcmu, 20);
        let mut losses = Losses::default();
        for window in 0..4 {
            for index in 0..250 {
                match window == 2 && index % 10 == 0 {
                    true => losses.lost(1),
                    false => losses.received(),
                }
            }
            meter.close_window(now + WINDOW * (window + 1), &received(losses));
        }
        let sound = meter.quality().received.unwrap();
        assert_eq!(Scale::of(sound.codec), Scale::Narrowband);
        assert!((sound.loss_percent - 2.5).abs() < 0.01);
        assert!(sound.mos > 4.3 && sound.mos_min < 3.6, "{sound:?}");
        assert!((sound.mos_mean - (3.0 * sound.mos + sound.mos_min) / 4.0).abs() < 0.001);
        assert!(meter.quality().sent.is_none());
    }

    #[test]
    fn a_window_in_which_hardly_anything_was_expected_says_nothing() {
        let (mut meter, now) = (Meter::new(), Instant::now());
        meter.apply(now, Codec::Pcmu, 20);
        let mut losses = Losses::default();
        losses.lost(WINDOW_PACKETS_MIN as u32 - 1);
        assert_eq!(meter.close_window(now, &received(losses)), None);
        assert_eq!(meter.quality(), Quality::default());
    }

    #[test]
    fn what_changes_is_told_and_no_more_often_than_agreed() {
        let (mut meter, now) = (Meter::new(), Instant::now());
        meter.apply(now, Codec::Pcmu, 20);
        let mut losses = Losses::default();
        let mut told = Vec::new();
        for window in 1..=60_u32 {
            let every = if window % 2 == 0 { 10 } else { 50 };
            (0..250).for_each(|index| match index % every {
                0 => losses.lost(1),
                _ => losses.received(),
            });
            told.extend(
                meter
                    .close_window(now + WINDOW * window, &received(losses))
                    .map(|_| window),
            );
        }
        assert!(told.windows(2).all(|pair| pair[1] - pair[0] >= 2), "{told:?}");
        assert_eq!(told[0], 1);
        assert!(told.len() > 10);
        let steady: Vec<_> = (61..100)
            .filter_map(|window| {
                (0..250).for_each(|_| losses.received());
                meter.close_window(now + WINDOW * window, &received(losses))
            })
            .collect();
        assert!(steady.len() <= 1);
    }

    #[test]
    fn the_far_end_is_believed_and_its_own_score_more_than_ours() {
        let mut meter = Meter::new();
        meter.apply(Instant::now(), Codec::Opus, 20);
        let block = Block {
            ssrc: 1,
            fraction_lost: 26,
            lost: 50,
            highest: 0,
            jitter: 480,
        };
        let feedback = Feedback {
            block,
            last_report: 0,
            delay: 0,
        };
        let mut incoming = Incoming {
            feedback: Some(feedback),
            ..Incoming::default()
        };
        meter.hear(&incoming, 1_000, 10.0, Some(Duration::from_millis(80)));
        let estimated = meter.quality().sent.unwrap();
        assert_eq!((estimated.loss_percent, estimated.jitter_ms), (5.0, 10.0));
        assert!((2.5..4.0).contains(&estimated.mos), "{}", estimated.mos);
        incoming.voip = Some(VoipMetrics {
            conversation_mos: 31,
            ..meter.metrics(1, &received(Losses::default()), 0)
        });
        meter.hear(&incoming, 1_000, 10.0, None);
        assert_eq!(meter.quality().sent.unwrap().mos, 3.1);
    }

    #[test]
    fn our_own_metrics_say_what_was_lost_and_what_came_too_late() {
        let mut meter = Meter::new();
        meter.apply(Instant::now(), Codec::Pcmu, 20);
        let mut losses = Losses::default();
        (0..192).for_each(|_| losses.received());
        losses.lost(64);
        let metrics = meter.metrics(3, &received(losses), 16);
        assert_eq!((metrics.loss_rate, metrics.discard_rate), (48, 16));
        assert_eq!((metrics.burst_density, metrics.burst_ms), (255, 64 * 20));
        assert!(metrics.conversation_mos < 20);
    }

    fn path(codec: Codec, loss: f32, burst_ratio: f32, delay_ms: f32) -> Path {
        Path {
            codec,
            loss,
            burst_ratio,
            delay_ms,
        }
    }

    fn received(losses: Losses) -> Received {
        Received {
            losses,
            jitter_ms: 0.0,
            round_trip: None,
        }
    }
}
