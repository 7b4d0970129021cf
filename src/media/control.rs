//! RTCP of one leg: when to report, what the far end reports, and the round trip between the two.

use std::{
    net::SocketAddr,
    time::{Duration, Instant},
};

use super::{Settings, settings::Random, statistics::Statistics};
use crate::rtp::rtcp::{Feedback, Incoming};

/// The state behind the reports.
#[derive(Debug)]
pub(super) struct Control {
    ssrc: u32,
    name: String,
    random: Random,
    began_at: Instant,
    due: Option<Instant>,
    /// Where the signalling wants reports.
    signalled: Option<SocketAddr>,
    /// Where reports come from.
    source: Option<SocketAddr>,
    /// The far end's last sender report: the middle of its clock, and when it came.
    last_report: Option<(u32, Instant)>,
    round_trip: Option<Duration>,
    remote_lost: i64,
    remote_jitter: u32,
}

/// Mean time between reports; each is spread over half to one and a half of it (RFC 3550 section 6.2).
const INTERVAL: Duration = Duration::from_secs(5);

impl Control {
    pub(super) fn new(now: Instant, settings: &Settings) -> Self {
        Self {
            ssrc: settings.ssrc,
            // As random as its seed, and nothing else, which is what RFC 7022 wants of a name.
            name: format!("{:016x}", Random::new(settings.seed).next()),
            random: Random::new(settings.seed ^ u64::from(settings.ssrc)),
            began_at: now,
            due: None,
            signalled: None,
            source: None,
            last_report: None,
            round_trip: None,
            remote_lost: 0,
            remote_jitter: 0,
        }
    }

    /// We go on under another synchronisation source.
    pub(super) fn set_ssrc(&mut self, ssrc: u32) {
        self.ssrc = ssrc;
    }

    /// New terms; the first report comes after half the usual time.
    pub(super) fn apply(&mut self, now: Instant, address: SocketAddr) {
        if !address.ip().is_unspecified() && self.signalled != Some(address) {
            self.signalled = Some(address);
            self.source = None;
        }
        if self.due.is_none() {
            self.due = Some(now + self.interval() / 2);
        }
    }

    /// Takes in a datagram; false when it is no RTCP. Whether its source is the far end, the caller knows.
    pub(super) fn receive(&mut self, now: Instant, from: SocketAddr, datagram: &[u8]) -> bool {
        let Some(incoming) = Incoming::read(datagram, self.ssrc) else {
            return false;
        };
        self.source = Some(from);
        if let Some((_, clock)) = incoming.report {
            self.last_report = Some((clock, now));
        }
        if let Some(feedback) = incoming.feedback {
            self.remote_lost = feedback.block.lost.into();
            self.remote_jitter = feedback.block.jitter;
            self.round_trip = self.round_trip(now, &feedback).or(self.round_trip);
        }
        true
    }

    /// Whether a report is due; the next one then is planned.
    pub(super) fn is_due(&mut self, now: Instant) -> bool {
        let due = self.due.is_some_and(|due| now >= due);
        if due {
            self.due = Some(now + self.interval());
        }
        due
    }

    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        self.due
    }

    /// Where reports go: to where they come from, else to the port behind an RTP source the signalling did not name,
    /// else where the signalling says.
    pub(super) fn target(&self, rtp: Option<SocketAddr>, elsewhere: bool) -> Option<SocketAddr> {
        let behind = rtp.filter(|_| elsewhere);
        let behind = behind.map(|rtp| SocketAddr::new(rtp.ip(), rtp.port().saturating_add(1)));
        self.source
            .or(behind)
            .or(self.signalled)
            .filter(|address| address.port() != 0)
    }

    /// Whether this is a host the signalling named.
    pub(super) fn is_signalled(&self, from: SocketAddr) -> bool {
        self.signalled
            .is_some_and(|signalled| signalled.ip().to_canonical() == from.ip().to_canonical())
    }

    pub(super) fn name(&self) -> &str {
        &self.name
    }

    /// Our clock in 1/2^32 s. It begins at one second with the leg, because zero means "no report yet".
    pub(super) fn clock(&self, now: Instant) -> u64 {
        let elapsed = now.saturating_duration_since(self.began_at);
        let fraction = (u64::from(elapsed.subsec_nanos()) << 32) / 1_000_000_000;
        (elapsed.as_secs().wrapping_add(1) << 32) | fraction
    }

    /// The two fields of our report that let the far end time the round trip.
    pub(super) fn echo(&self, now: Instant) -> (u32, u32) {
        self.last_report.map_or((0, 0), |(clock, at)| {
            let micros = now.saturating_duration_since(at).as_micros();
            (clock, u32::try_from((micros << 16) / 1_000_000).unwrap_or(u32::MAX))
        })
    }

    pub(super) fn fill_in(&self, statistics: &mut Statistics) {
        statistics.round_trip = self.round_trip;
        statistics.remote_lost = self.remote_lost;
        statistics.remote_jitter_ms = self.remote_jitter as f32 / 8.0;
    }

    /// A - LSR - DLSR of RFC 3550 section 6.4.1; nothing when the far end echoes none of our reports, or nonsense.
    fn round_trip(&self, now: Instant, feedback: &Feedback) -> Option<Duration> {
        if feedback.last_report == 0 {
            return None;
        }
        let now = (self.clock(now) >> 16) as u32;
        let trip = now.wrapping_sub(feedback.last_report).wrapping_sub(feedback.delay);
        // Rounding makes a trip on one machine come out slightly below zero.
        let trip = if (trip as i32) < 0 { 0 } else { trip };
        let trip = Duration::from_micros((u64::from(trip) * 1_000_000) >> 16);
        (trip < ROUND_TRIP_MAX).then_some(trip)
    }

    fn interval(&mut self) -> Duration {
        INTERVAL.mul_f64(0.5 + self.random.fraction())
    }
}

/// Nobody talks over a line slower than this; the figure is wrong.
const ROUND_TRIP_MAX: Duration = Duration::from_secs(30);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rtp::{
        reception::Block,
        rtcp::{Outgoing, Sent},
    };

    #[test]
    fn the_round_trip_is_what_the_far_end_did_not_spend() {
        let start = Instant::now();
        let mut control = control(start);
        let sent_at = start + Duration::from_secs(3);
        let feedback = Feedback {
            block: Block {
                ssrc: 5,
                fraction_lost: 0,
                lost: 12,
                highest: 0,
                jitter: 80,
            },
            last_report: (control.clock(sent_at) >> 16) as u32,
            delay: 2 << 16,
        };
        let bytes = report(Some(feedback));
        let arrived_at = sent_at + Duration::from_millis(2_150);
        assert!(control.receive(arrived_at, far(4001), &bytes));
        let mut statistics = Statistics::default();
        control.fill_in(&mut statistics);
        let round_trip = statistics.round_trip.unwrap().as_millis();
        assert!((149..=151).contains(&round_trip), "{round_trip}");
        assert_eq!((statistics.remote_lost, statistics.remote_jitter_ms), (12, 10.0));
    }

    #[test]
    fn a_sender_report_is_echoed_with_its_age() {
        let start = Instant::now();
        let mut control = control(start);
        assert_eq!(control.echo(start), (0, 0));
        assert!(control.receive(start, far(4001), &report(None)));
        assert_eq!(
            control.echo(start + Duration::from_millis(1_500)),
            (0x2222_3333, 3 << 15)
        );
    }

    #[test]
    fn reports_come_every_five_seconds_on_average_and_never_in_step() {
        let start = Instant::now();
        let mut control = control(start);
        control.apply(start, far(4001));
        let mut gaps = Vec::new();
        let mut last = start;
        for _ in 0..1_000 {
            let due = control.poll_timeout().unwrap();
            assert!(!control.is_due(due - Duration::from_nanos(1)));
            assert!(control.is_due(due));
            gaps.push((due - last).as_millis());
            last = due;
        }
        assert!(gaps[1..].iter().all(|gap| (2_500..=7_500).contains(gap)));
        assert!((4_800..5_200).contains(&(gaps.iter().sum::<u128>() / 1_000)));
    }

    #[test]
    fn reports_follow_the_source_and_then_the_signalling() {
        let mut control = control(Instant::now());
        assert_eq!(control.target(Some(far(4000)), false), None);
        control.apply(Instant::now(), far(4001));
        assert_eq!(control.target(Some(far(4000)), false), Some(far(4001)));
        let nat = SocketAddr::from(([203, 0, 113, 1], 9_000));
        assert_eq!(
            control.target(Some(nat), true),
            Some(SocketAddr::from(([203, 0, 113, 1], 9_001)))
        );
        assert!(control.receive(Instant::now(), far(7777), &report(None)));
        assert_eq!(control.target(Some(nat), true), Some(far(7777)));
    }

    #[test]
    fn noise_is_no_report() {
        assert!(!control(Instant::now()).receive(Instant::now(), far(1), &[0x80; 40]));
    }

    fn control(now: Instant) -> Control {
        Control::new(
            now,
            &Settings {
                ssrc: 5,
                ..Settings::from_seed(1)
            },
        )
    }

    fn far(port: u16) -> SocketAddr {
        SocketAddr::from(([192, 0, 2, 1], port))
    }

    fn report(received: Option<Feedback>) -> Vec<u8> {
        let sent = Some(Sent {
            clock: 0x1111_2222_3333_4444,
            timestamp: 0,
            packets: 1,
            bytes: 160,
        });
        let mut bytes = Vec::new();
        Outgoing {
            ssrc: 9,
            name: "far",
            sent,
            received,
            goodbye: false,
        }
        .write(&mut bytes);
        bytes
    }
}
