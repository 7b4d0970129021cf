//! RTCP of one leg: when to report, what the far end reports, and the round trip between the two.

use std::{
    net::SocketAddr,
    time::{Duration, Instant},
};

use super::{Settings, outbox::Channel, settings::Random, statistics::Statistics};
use crate::{
    rtp::{
        reception::Block,
        rtcp::{EXTENDED_MAX, Feedback, Incoming, Outgoing, Sent},
        xr::{self, VoipMetrics},
    },
    sdp::Negotiated,
};

/// The state behind the reports.
#[derive(Debug)]
pub(super) struct Control {
    ssrc: u32,
    name: String,
    random: Random,
    began_at: Instant,
    /// The NTP timestamp of `began_at`.
    began_ntp: u64,
    due: Option<Instant>,
    /// Where the signalling wants reports.
    signalled: Option<SocketAddr>,
    /// Where reports come from.
    source: Option<SocketAddr>,
    /// Reports share the RTP port.
    mux: bool,
    /// The far end reads extended reports: it said so, or sends them itself.
    extended: bool,
    voip_metrics: bool,
    /// The clock of what we send, in which the far end measures its jitter.
    clock_hz: u32,
    /// The far end's last sender report: the middle of its clock, and when it came.
    last_report: Option<(u32, Instant)>,
    /// The far end's last question for the round trip: who asked, the middle of its clock, and when it came.
    last_reference: Option<(u32, u32, Instant)>,
    /// RTP packets sent by the last two reports: who has sent nothing since is a receiver (section 6.4).
    sent_before: [u32; 2],
    round_trip: Option<Duration>,
    round_trip_max: Option<Duration>,
    remote_lost: i64,
    remote_fraction: u8,
    remote_jitter: u32,
    reports_sent: u64,
    reports_received: u64,
}

/// What goes into a report, besides what is known here.
#[derive(Clone, Copy, Debug)]
pub(super) struct Figures {
    /// The timestamp that belongs to now.
    pub(super) timestamp: u32,
    /// RTP packets sent so far.
    pub(super) packets: u64,
    /// Their payload bytes.
    pub(super) bytes: u64,
    /// What was received.
    pub(super) block: Option<Block>,
    /// How it sounds.
    pub(super) voip: Option<VoipMetrics>,
    /// Whether this is the last.
    pub(super) goodbye: bool,
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
            began_ntp: settings.began_ntp,
            due: None,
            signalled: None,
            source: None,
            mux: false,
            extended: false,
            voip_metrics: false,
            clock_hz: 8_000,
            last_report: None,
            last_reference: None,
            sent_before: [0; 2],
            round_trip: None,
            round_trip_max: None,
            remote_lost: 0,
            remote_fraction: 0,
            remote_jitter: 0,
            reports_sent: 0,
            reports_received: 0,
        }
    }

    /// We go on under another synchronisation source.
    pub(super) fn set_ssrc(&mut self, ssrc: u32) {
        self.ssrc = ssrc;
    }

    /// New terms; the first report comes after half the usual time.
    pub(super) fn apply(&mut self, now: Instant, terms: &Negotiated) {
        let address = terms.remote_rtcp;
        if !address.ip().is_unspecified() && self.signalled != Some(address) {
            self.signalled = Some(address);
            self.source = None;
        }
        self.mux = terms.rtcp_mux;
        self.voip_metrics = terms.voip_metrics;
        self.extended |= terms.voip_metrics;
        self.clock_hz = terms.send.codec.clock_hz();
        if self.due.is_none() {
            self.due = Some(now + self.interval() / 2);
        }
    }

    /// Takes in a datagram; nothing when it is no RTCP. Whether its source is the far end, the caller knows.
    pub(super) fn receive(&mut self, now: Instant, from: SocketAddr, datagram: &[u8]) -> Option<Incoming> {
        let incoming = Incoming::read(datagram, self.ssrc)?;
        self.source = Some(from);
        self.reports_received += 1;
        if let Some((_, clock)) = incoming.report {
            self.last_report = Some((clock, now));
        }
        if let Some(clock) = incoming.reference {
            self.last_reference = Some((incoming.reporter, clock, now));
            self.extended = true;
        }
        if let Some(feedback) = incoming.feedback {
            self.remote_lost = feedback.block.lost.into();
            self.remote_fraction = feedback.block.fraction_lost;
            self.remote_jitter = feedback.block.jitter;
            self.time(now, feedback.last_report, feedback.delay);
        }
        if let Some((reference, delay)) = incoming.echo {
            self.time(now, reference, delay);
        }
        Some(incoming)
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

    /// Where reports go. On a port of their own: to where they come from, else to the port behind an RTP source the
    /// signalling did not name, else where the signalling says. On a shared port: to where RTP goes.
    pub(super) fn target(&self, rtp: Option<SocketAddr>, elsewhere: bool) -> Option<(SocketAddr, Channel)> {
        if self.mux {
            return rtp.map(|rtp| (rtp, Channel::Rtp));
        }
        let behind = rtp.filter(|_| elsewhere);
        let behind = behind.map(|rtp| SocketAddr::new(rtp.ip(), rtp.port().saturating_add(1)));
        let target = self.source.or(behind).or(self.signalled);
        target
            .filter(|address| address.port() != 0)
            .map(|address| (address, Channel::Rtcp))
    }

    /// Whether this is a host the signalling named.
    pub(super) fn is_signalled(&self, from: SocketAddr) -> bool {
        self.signalled
            .is_some_and(|signalled| signalled.ip().to_canonical() == from.ip().to_canonical())
    }

    /// Whether the far end wants to know how it sounds.
    pub(super) fn wants_voip_metrics(&self) -> bool {
        self.voip_metrics
    }

    /// The last round trip measured.
    pub(super) fn round_trip(&self) -> Option<Duration> {
        self.round_trip
    }

    /// The jitter the far end says it sees.
    pub(super) fn remote_jitter_ms(&self) -> f32 {
        self.remote_jitter as f32 * 1_000.0 / self.clock_hz.max(1) as f32
    }

    /// Replaces the contents of `out` with a report.
    pub(super) fn write(&mut self, now: Instant, figures: &Figures, out: &mut Vec<u8>) {
        let packets = figures.packets as u32;
        let sending = packets != self.sent_before[1];
        self.sent_before = [packets, self.sent_before[0]];
        self.reports_sent += 1;
        let (last_report, delay) = self.echo(now);
        let outgoing = Outgoing {
            ssrc: self.ssrc,
            name: &self.name,
            sent: sending.then(|| Sent {
                clock: self.clock(now),
                timestamp: figures.timestamp,
                packets,
                bytes: figures.bytes as u32,
            }),
            received: figures.block.map(|block| Feedback {
                block,
                last_report,
                delay,
            }),
            extended: self.extended_blocks(now, sending, figures.voip),
            goodbye: figures.goodbye,
        };
        outgoing.write(out);
    }

    pub(super) fn fill_in(&self, statistics: &mut Statistics) {
        statistics.round_trip = self.round_trip;
        statistics.round_trip_max = self.round_trip_max;
        statistics.remote_lost = self.remote_lost;
        statistics.remote_fraction_lost = f32::from(self.remote_fraction) / 256.0;
        statistics.remote_jitter_ms = self.remote_jitter_ms();
        statistics.reports_sent = self.reports_sent;
        statistics.reports_received = self.reports_received;
    }

    /// Now, as an NTP timestamp: that of the leg's beginning, moved on by a clock that nobody sets.
    fn clock(&self, now: Instant) -> u64 {
        let elapsed = now.saturating_duration_since(self.began_at);
        let fraction = (u64::from(elapsed.subsec_nanos()) << 32) / 1_000_000_000;
        self.began_ntp.wrapping_add(elapsed.as_secs() << 32 | fraction)
    }

    /// The two fields of our report that let the far end time the round trip.
    fn echo(&self, now: Instant) -> (u32, u32) {
        self.last_report.map_or((0, 0), |(clock, at)| (clock, delay(now, at)))
    }

    /// A receiver asks for the round trip itself, because nobody echoes its reports (RFC 3611 section 4.4).
    fn extended_blocks(
        &self,
        now: Instant,
        sending: bool,
        voip: Option<VoipMetrics>,
    ) -> [Option<xr::Block>; EXTENDED_MAX] {
        let question = (self.extended && !sending).then(|| xr::Block::ReferenceTime(self.clock(now)));
        let answer = self.last_reference.map(|(ssrc, reference, at)| xr::Block::Echo {
            ssrc,
            reference,
            delay: delay(now, at),
        });
        let voip = voip.filter(|_| self.voip_metrics).map(xr::Block::Voip);
        [question, answer, voip]
    }

    /// A - LSR - DLSR of RFC 3550 section 6.4.1; nothing when the far end echoes none of our reports, or nonsense.
    fn time(&mut self, now: Instant, reference: u32, delay: u32) {
        if reference == 0 {
            return;
        }
        let now = (self.clock(now) >> 16) as u32;
        let trip = now.wrapping_sub(reference).wrapping_sub(delay);
        // Rounding makes a trip on one machine come out slightly below zero.
        let trip = if (trip as i32) < 0 { 0 } else { trip };
        let trip = Duration::from_micros((u64::from(trip) * 1_000_000) >> 16);
        if trip < ROUND_TRIP_MAX {
            self.round_trip = Some(trip);
            self.round_trip_max = self.round_trip_max.max(Some(trip));
        }
    }

    fn interval(&mut self) -> Duration {
        INTERVAL.mul_f64(0.5 + self.random.fraction())
    }
}

/// How long ago something came, in 1/65536 s.
fn delay(now: Instant, at: Instant) -> u32 {
    let micros = now.saturating_duration_since(at).as_micros();
    u32::try_from((micros << 16) / 1_000_000).unwrap_or(u32::MAX)
}

/// Nobody talks over a line slower than this; the figure is wrong.
const ROUND_TRIP_MAX: Duration = Duration::from_secs(30);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        audio::Codec,
        sdp::{Direction, Format, Security},
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
        assert!(control.receive(arrived_at, far(4001), &bytes).is_some());
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
        assert!(control.receive(start, far(4001), &report(None)).is_some());
        assert_eq!(
            control.echo(start + Duration::from_millis(1_500)),
            (0x2222_3333, 3 << 15)
        );
    }

    #[test]
    fn reports_come_every_five_seconds_on_average_and_never_in_step() {
        let start = Instant::now();
        let mut control = control(start);
        control.apply(start, &terms());
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
        control.apply(Instant::now(), &terms());
        assert_eq!(control.target(Some(far(4000)), false), Some((far(4001), Channel::Rtcp)));
        let nat = SocketAddr::from(([203, 0, 113, 1], 9_000));
        assert_eq!(
            control.target(Some(nat), true),
            Some((SocketAddr::from(([203, 0, 113, 1], 9_001)), Channel::Rtcp))
        );
        assert!(control.receive(Instant::now(), far(7777), &report(None)).is_some());
        assert_eq!(control.target(Some(nat), true), Some((far(7777), Channel::Rtcp)));
    }

    #[test]
    fn on_a_shared_port_reports_go_where_rtp_goes() {
        let mut control = control(Instant::now());
        control.apply(
            Instant::now(),
            &Negotiated {
                rtcp_mux: true,
                remote_rtcp: far(4000),
                ..terms()
            },
        );
        assert!(control.receive(Instant::now(), far(4000), &report(None)).is_some());
        let nat = SocketAddr::from(([203, 0, 113, 1], 9_000));
        assert_eq!(control.target(Some(nat), true), Some((nat, Channel::Rtp)));
    }

    #[test]
    fn the_clock_is_the_wall_clock_of_the_beginning_moved_on() {
        let start = Instant::now();
        let settings = Settings {
            began_ntp: Settings::ntp(Duration::new(1_000_000_000, 500_000_000)),
            ..Settings::from_seed(1)
        };
        let control = Control::new(start, &settings);
        // 2001-09-09T01:46:40.5Z, a quarter of a second later, counted from 1900.
        let later = control.clock(start + Duration::from_millis(250));
        assert_eq!(later, 3_208_988_800 << 32 | 3 << 30);
    }

    #[test]
    fn jitter_counts_in_the_clock_of_what_we_send() {
        for (codec, jitter_ms) in [(Codec::Pcmu, 60.0), (Codec::G722, 60.0), (Codec::Opus, 10.0)] {
            let mut control = control(Instant::now());
            let opus = Negotiated {
                send: Format::plain(codec),
                ..terms()
            };
            control.apply(Instant::now(), &opus);
            control.remote_jitter = 480;
            assert_eq!(control.remote_jitter_ms(), jitter_ms);
        }
    }

    #[test]
    fn an_end_that_only_receives_asks_for_the_round_trip_and_the_other_answers() {
        let start = Instant::now();
        let (mut listener, mut speaker) = (control(start), Control::new(start, &Settings::from_seed(2)));
        let wanted = Negotiated {
            voip_metrics: true,
            ..terms()
        };
        listener.apply(start, &wanted);
        let at = |ms| start + Duration::from_millis(ms);
        let mut bytes = Vec::new();
        listener.write(at(1_000), &figures(0), &mut bytes);
        assert_eq!(bytes[1], 201);
        assert!(speaker.receive(at(1_040), far(1), &bytes).is_some());
        speaker.write(at(4_000), &figures(9), &mut bytes);
        assert!(listener.receive(at(4_040), far(1), &bytes).is_some());
        let round_trip = listener.round_trip().unwrap().as_millis();
        assert!((79..=81).contains(&round_trip), "{round_trip}");
    }

    #[test]
    fn who_has_sent_nothing_for_two_reports_is_a_receiver() {
        let mut control = control(Instant::now());
        let mut kinds = Vec::new();
        for packets in [0, 10, 20, 20, 20, 20, 30] {
            let mut bytes = Vec::new();
            control.write(Instant::now(), &figures(packets), &mut bytes);
            kinds.push(bytes[1]);
        }
        assert_eq!(kinds, [201, 200, 200, 200, 201, 201, 200]);
    }

    #[test]
    fn noise_is_no_report() {
        assert_eq!(
            control(Instant::now()).receive(Instant::now(), far(1), &[0x80; 40]),
            None
        );
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

    fn figures(packets: u64) -> Figures {
        Figures {
            timestamp: 0,
            packets,
            bytes: 160 * packets,
            block: None,
            voip: None,
            goodbye: false,
        }
    }

    fn terms() -> Negotiated {
        Negotiated {
            send: Format::plain(Codec::Pcmu),
            receive: Vec::new(),
            events: Vec::new(),
            event_send: None,
            comfort_noise: None,
            remote_rtp: far(4000),
            remote_rtcp: far(4001),
            rtcp_mux: false,
            ptime_ms: 20,
            direction: Direction::SendRecv,
            security: Security::None,
            profile: crate::sdp::Profile::default(),
            voip_metrics: false,
        }
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
            extended: [None; EXTENDED_MAX],
            goodbye: false,
        }
        .write(&mut bytes);
        bytes
    }
}
