//! The machine of one leg's media: every input of the leg, and who takes it.

use std::{net::SocketAddr, time::Instant};

use super::{
    Settings,
    caller::{Caller, Kind, is_noise},
    control::{Control, Figures},
    doctor::{Doctor, Useless},
    event::{Event, Events},
    keypad::Keypad,
    outbox::{Channel, Outbox, Transmit},
    pacer::{Pacer, Tick},
    playout::{Leaving, Playout},
    quality::{Meter, Received},
    reach::Reported,
    secure::{Datagram, Refused, Secure},
    sender::Sender,
    statistics::Statistics,
    tap::Tap,
    watch::Watch,
};
use crate::{
    audio::{EchoDetector, Heard, SampleRate, Utterance},
    rtp::{Latch, Packet, telephone_event},
    sdp::Negotiated,
};

/// One call's leg media, from the first description to the goodbye.
///
/// Feed it datagrams, agent audio and the time; after every input take what [`poll_caller`](Self::poll_caller),
/// [`poll_transmit`](Self::poll_transmit) and [`poll_event`](Self::poll_event) have, and come again at
/// [`poll_timeout`](Self::poll_timeout).
#[derive(Debug)]
pub struct Machine {
    session: SampleRate,
    phase: Phase,
    secure: Secure,
    latch: Latch,
    keys: telephone_event::Reader,
    control: Control,
    playout: Playout,
    keypad: Keypad,
    sender: Sender,
    outbox: Outbox,
    watch: Watch,
    doctor: Doctor,
    meter: Meter,
    events: Events,
    counts: Counts,
    tap: Tap,
    /// Compares what comes with what left, where somebody asks.
    echo: Option<Box<EchoDetector>>,
}

#[derive(Debug)]
enum Phase {
    /// Nothing is agreed on yet.
    New,
    /// Packets flow.
    Live(Box<Live>),
    /// We said goodbye; the figures stay.
    Over(Box<Live>),
}

#[derive(Debug)]
struct Live {
    terms: Negotiated,
    caller: Caller,
    pacer: Pacer,
}

/// What is counted before a packet reaches anybody.
#[derive(Debug, Default)]
struct Counts {
    packets: u64,
    bytes: u64,
    foreign: u64,
    malformed: u64,
    unexpected: u64,
    ticks_skipped: u64,
}

/// The level of our comfort noise in -dBov (RFC 3389 section 3.1): as quiet as a good line.
const STILLNESS: u8 = 75;

impl Machine {
    /// A leg with nothing agreed on; until then every packet is unexpected.
    pub fn new(now: Instant, settings: Settings) -> Self {
        Self {
            session: SampleRate::Hz24000,
            phase: Phase::New,
            secure: Secure::new(settings.identity.clone()),
            latch: Latch::new(),
            keys: telephone_event::Reader::default(),
            control: Control::new(now, &settings),
            playout: Playout::new(settings.playout_ms_max, SampleRate::Hz24000, settings.silence),
            keypad: Keypad::default(),
            sender: Sender::new(&settings),
            outbox: Outbox::new(),
            watch: Watch::new(settings.silence_timeout, settings.unheard_timeout),
            doctor: Doctor::new(),
            meter: Meter::new(),
            events: Events::default(),
            counts: Counts::default(),
            tap: Tap::default(),
            echo: None,
        }
    }

    /// Takes in what an offer and its answer settled, the first time or again.
    pub fn apply(&mut self, now: Instant, terms: &Negotiated) {
        if matches!(self.phase, Phase::New) {
            self.phase = Phase::Live(Box::new(Live::new(now, terms, self.session)));
        }
        let Phase::Live(live) = &mut self.phase else { return };
        live.apply(terms);
        self.latch.signal(terms.remote_rtp);
        self.secure.apply(now, &terms.security);
        self.playout.set_format(&terms.send);
        self.sender.set_clock(terms.send.codec.clock_hz());
        self.control.apply(now, terms);
        self.control.set_ssrc(self.sender.ssrc());
        let (sends, receives) = (terms.direction.sends(), terms.direction.receives());
        self.watch.expect(now, sends && receives, sends);
        self.doctor.apply(now, terms);
        self.meter.apply(now, terms.send.codec, terms.ptime_ms);
        if !terms.direction.sends() {
            self.playout.pause();
        }
        self.shake_hands();
    }

    /// The rate of what [`poll_caller`](Self::poll_caller) gives and [`play`](Self::play) takes; 24 kHz unless said
    /// otherwise. What waits is brought to it.
    pub fn set_session_rate(&mut self, session: SampleRate) {
        self.session = session;
        self.playout.set_session_rate(session);
        if let Phase::Live(live) = &mut self.phase {
            live.caller.set_session_rate(session);
        }
    }

    /// A datagram on the RTP port; a protected one is unprotected where it stands.
    pub fn handle_rtp(&mut self, now: Instant, from: SocketAddr, datagram: &mut [u8]) {
        match Datagram::of(datagram) {
            Datagram::Rtcp if self.shares_port() => return self.handle_rtcp(now, from, datagram),
            Datagram::Dtls if self.secure.shakes_hands() => return self.handle_handshake(now, from, datagram),
            _ => {}
        }
        let datagram = match self.secure.open(now, datagram) {
            Ok(datagram) => datagram,
            Err(Refused::Srtp(_)) => return self.doctor.turn_away(now, Useless::Unverified),
            Err(Refused::Early) => return,
        };
        match Packet::read(datagram) {
            Ok(packet) => self.receive(now, from, &packet),
            Err(_) => self.counts.malformed += 1,
        }
    }

    /// A datagram on the RTCP port, treated likewise.
    pub fn handle_rtcp(&mut self, now: Instant, from: SocketAddr, datagram: &mut [u8]) {
        let Ok(datagram) = self.secure.open(now, datagram) else {
            return;
        };
        let source = self.latch.target().map(|rtp| rtp.ip());
        if matches!(self.phase, Phase::New) {
            // Phones open their ports with RTCP before they have our answer.
            self.counts.unexpected += 1;
        } else if source != Some(from.ip()) && !self.control.is_signalled(from) {
            self.counts.foreign += 1;
        } else if let Some(incoming) = self.control.receive(now, from, datagram) {
            let (jitter_ms, round_trip) = (self.control.remote_jitter_ms(), self.control.round_trip());
            self.meter
                .hear(&incoming, self.sender.reported().0, jitter_ms, round_trip);
            self.watch.hear_report(now, &incoming, &mut self.events);
            let feedback = incoming.feedback.map(|feedback| feedback.block.highest);
            // A report without a block tells only from a sender: then it heard nothing since its last.
            if feedback.is_some() || incoming.report.is_some() {
                let number = |highest| self.sender.number_of(highest as u16);
                let highest = feedback.map_or(Some(None), |highest| number(highest).map(Some));
                let reported = highest.map(|highest| Reported {
                    highest,
                    sent: self.sender.packets(),
                    round_trip,
                });
                self.playout.hear_report(now, reported);
            }
        } else {
            self.counts.malformed += 1;
        }
    }

    /// The far end's host refused a packet of ours (ICMP port unreachable).
    pub fn handle_refused(&mut self, now: Instant) {
        self.doctor.refuse(now);
    }

    /// The network did not take our last packet.
    pub fn handle_unsent(&mut self) {
        self.doctor.unsend();
    }

    /// Whether the call is not answered yet: then nothing need come, and its absence means nothing.
    pub fn set_early(&mut self, now: Instant, early: bool) {
        self.doctor.set_early(now, early);
    }

    /// Takes in that time has passed.
    pub fn handle_timeout(&mut self, now: Instant) {
        let Phase::Live(live) = &mut self.phase else { return };
        live.caller.handle_timeout(now);
        self.tap.caller(now, live.caller.tap());
        self.secure.handle_timeout(now);
        self.shake_hands();
        self.watch.handle_timeout(now, &mut self.events);
        self.look_after(now);
        if self.control.is_due(now) {
            self.report(now, false);
        }
        self.send_due(now);
    }

    /// When [`handle_timeout`](Self::handle_timeout) wants to be called.
    pub fn poll_timeout(&self) -> Option<Instant> {
        let Phase::Live(live) = &self.phase else { return None };
        let sure = live.caller.poll_timeout().min(live.pacer.deadline());
        // The doctor and the meter look when a packet time has passed anyway.
        let perhaps = [
            self.watch.poll_timeout(),
            self.control.poll_timeout(),
            self.secure.poll_timeout(),
        ];
        perhaps.into_iter().flatten().chain([sure]).min()
    }

    /// The next frame of caller audio at the session's rate: in order, concealed, 20 ms or what there is.
    pub fn poll_caller(&mut self) -> Option<&[i16]> {
        match &mut self.phase {
            Phase::Live(live) => {
                let frame = live.caller.poll()?;
                self.doctor.listen(frame);
                if let Some(echo) = &mut self.echo {
                    echo.hear(self.session, frame);
                }
                Some(frame)
            }
            Phase::New | Phase::Over(_) => None,
        }
    }

    /// The next datagram to send.
    pub fn poll_transmit(&mut self) -> Option<Transmit<'_>> {
        self.outbox.pop(|packet| self.secure.seal(packet))
    }

    /// The next thing the call should know.
    pub fn poll_event(&mut self) -> Option<Event> {
        self.events.pop()
    }

    /// More of an utterance, at the session's rate, in portions of any length.
    pub fn play(&mut self, now: Instant, utterance: Utterance, pcm: &[i16]) {
        self.playout.play(now, utterance, pcm, &mut self.events);
    }

    /// No more of this utterance will come. One that is not known, or was flushed, is no matter.
    pub fn finish(&mut self, utterance: Utterance) {
        self.playout.finish(utterance, &mut self.events);
    }

    /// Presses these keys, as telephone-events; what the agent says waits meanwhile. Without telephone-events in the terms
    /// nothing is pressed.
    pub fn send_digits(&mut self, digits: &str) {
        self.keypad.press(digits);
    }

    /// Drops at once everything that has not left; at most one more packet carries a faded end of 5 ms, which counts as
    /// sent. Tells what was heard of every utterance that was not told as [`Event::Finished`]: what left, without what the
    /// far end's reports say never came.
    pub fn flush(&mut self, now: Instant) -> Vec<Heard> {
        self.playout.flush(now, &mut self.events)
    }

    /// Makes what the agent says quieter, or as loud as before; a flush ends it.
    pub fn duck(&mut self, on: bool) {
        self.playout.duck(on);
    }

    /// Whether the last packet lies between two words of the agent.
    pub fn pauses(&self) -> bool {
        self.playout.pauses()
    }

    /// From now on [`Self::is_echo`] can be asked.
    pub fn listen_for_echo(&mut self) {
        self.echo.get_or_insert_default();
    }

    /// Whether the caller's last sound is our own, sent back.
    pub fn is_echo(&self) -> bool {
        self.echo.as_ref().is_some_and(|echo| echo.is_echo())
    }

    /// Whether the caller hears a sign of life instead of silence while no words go out.
    pub fn comfort(&mut self, on: bool) {
        self.playout.set_comfort(on);
    }

    /// How much waits to be heard, in milliseconds.
    pub fn waiting_ms(&self) -> u32 {
        self.playout.waiting_ms()
    }

    /// Whether nothing is left to be heard. On hold nothing can be.
    pub fn is_quiet(&self) -> bool {
        let held = matches!(&self.phase, Phase::Live(live) if !live.terms.direction.sends());
        held || (self.playout.is_quiet() && self.keypad.is_idle())
    }

    /// When the next packet leaves, if packets flow.
    pub fn next_packet_at(&self) -> Option<Instant> {
        match &self.phase {
            Phase::Live(live) => Some(live.pacer.deadline()),
            Phase::New | Phase::Over(_) => None,
        }
    }

    /// Says goodbye on RTCP; nothing leaves or is taken after it.
    pub fn bye(&mut self, now: Instant) {
        self.report(now, true);
        self.doctor.close(now);
        self.secure.close(now);
        self.shake_hands();
        self.phase = match std::mem::replace(&mut self.phase, Phase::New) {
            Phase::Live(live) => Phase::Over(live),
            phase => phase,
        };
    }

    /// The leg's figures so far.
    pub fn statistics(&self) -> Statistics {
        let mut statistics = Statistics {
            packets_sent: self.sender.packets(),
            bytes_sent: self.sender.bytes(),
            packets_received: self.counts.packets,
            bytes_received: self.counts.bytes,
            foreign: self.counts.foreign,
            malformed: self.counts.malformed,
            unexpected: self.counts.unexpected,
            ticks_skipped: self.counts.ticks_skipped,
            unsent: self.outbox.unsent(),
            ..Statistics::default()
        };
        if let Phase::Live(live) | Phase::Over(live) = &self.phase {
            live.caller.fill_in(&mut statistics);
        }
        self.playout.fill_in(&mut statistics);
        self.control.fill_in(&mut statistics);
        self.secure.fill_in(&mut statistics);
        statistics.quality = self.meter.quality();
        statistics.ailments = self.doctor.sums();
        statistics
    }

    /// A part of a handshake. It comes from where media will come from.
    fn handle_handshake(&mut self, now: Instant, from: SocketAddr, datagram: &[u8]) {
        if self.latch.accepts(now, from) {
            self.secure.handle_handshake(now, datagram);
            self.shake_hands();
        } else {
            self.counts.foreign += 1;
        }
    }

    /// Sends what the handshake has to say, and tells how it failed.
    fn shake_hands(&mut self) {
        while let Some(datagram) = self.secure.poll_handshake() {
            if let Some(to) = self.latch.target() {
                self.outbox.push(to, Channel::Rtp).extend(datagram);
            }
        }
        if let Some(word) = self.secure.poll_failure() {
            self.events.push(Event::SecurityFailed(word));
        }
    }

    /// Whether reports come on the RTP port (RFC 5761).
    fn shares_port(&self) -> bool {
        matches!(&self.phase, Phase::Live(live) if live.terms.rtcp_mux)
    }

    fn receive(&mut self, now: Instant, from: SocketAddr, packet: &Packet<'_>) {
        let Phase::Live(live) = &mut self.phase else {
            self.counts.unexpected += 1;
            return;
        };
        let Some(kind) = live.kind(packet.payload_type) else {
            self.counts.unexpected += 1;
            self.doctor.turn_away(now, Useless::Unexpected);
            return;
        };
        // Comfort noise may not have been agreed on, so it proves nothing about who sends it.
        let accepted = match kind {
            Kind::Noise => self.latch.holds(from),
            Kind::Audio(_) | Kind::Key => self.latch.accepts(now, from),
        };
        if !accepted {
            self.counts.foreign += 1;
            self.doctor.turn_away(now, Useless::Foreign);
            return;
        }
        self.counts.packets += 1;
        self.counts.bytes += packet.payload.len() as u64;
        self.watch.heard(now);
        self.doctor.receive(now, kind == Kind::Noise);
        if let Kind::Audio(codec) = kind {
            self.meter.set_received(codec);
        }
        live.caller.receive(now, packet, kind);
        self.tap.caller(now, live.caller.tap());
        if kind == Kind::Key
            && let Some(key) = self.keys.read(packet.timestamp, packet.marker, packet.payload)
        {
            self.events.push(Event::Digit(key));
        }
    }

    fn send_due(&mut self, now: Instant) {
        let Phase::Live(live) = &mut self.phase else { return };
        let Some(tick) = live.pacer.tick(now) else { return };
        self.counts.ticks_skipped += tick.skipped;
        let end = live.pacer.deadline();
        self.send(now, tick);
        self.tap.agent(end, &mut self.playout.tap);
    }

    /// One packet time: a packet, or only the time it would have taken.
    fn send(&mut self, now: Instant, tick: Tick) {
        let Phase::Live(live) = &self.phase else { return };
        let ms = live.pacer.packet_time_ms();
        self.sender.skip(tick.skipped.saturating_mul(ms.into()));
        let sends = live.terms.direction.sends() && self.secure.is_ready();
        let Some(to) = self.latch.target().filter(|_| sends) else {
            self.sender.skip(ms.into());
            self.keypad.clear();
            return;
        };
        self.doctor.send(now);
        if let Some(format) = live.terms.event_send
            && let Some(press) = self.keypad.next(self.sender.timestamp(), ms, format.clock_hz)
        {
            let payload_type = format.payload_type;
            let packet = self.outbox.push(to, Channel::Rtp);
            self.sender.next_event(payload_type, &press, ms).write(packet);
            return packet.extend(press.payload);
        }
        let (audio, noise) = (live.terms.send.payload_type, live.terms.comfort_noise);
        self.playout.next_packet(self.sender.packets(), now);
        let leaving = self.playout.prepare(now, ms, &mut self.events);
        if let Some(echo) = &mut self.echo {
            let (rate, said) = self.playout.said();
            match said {
                [] => echo.pause(ms),
                said => echo.play(rate, said),
            }
        }
        match leaving {
            Leaving::Audio { spurt } => self.send_audio(to, audio, spurt, ms),
            Leaving::Noise => match noise {
                Some(noise) => self.send_noise(to, noise, ms),
                None => self.send_audio(to, audio, false, ms),
            },
            Leaving::Nothing => self.sender.rest(ms.into()),
        }
    }

    fn send_audio(&mut self, to: SocketAddr, payload_type: u8, spurt: bool, ms: u32) {
        let payload = self.playout.payload();
        if payload.is_empty() {
            return self.sender.rest(ms.into());
        }
        let packet = self.outbox.push(to, Channel::Rtp);
        self.sender.next(payload_type, spurt, ms, payload.len()).write(packet);
        packet.extend_from_slice(payload);
    }

    fn send_noise(&mut self, to: SocketAddr, payload_type: u8, ms: u32) {
        let packet = self.outbox.push(to, Channel::Rtp);
        self.sender.next(payload_type, false, ms, 1).write(packet);
        packet.push(STILLNESS);
    }

    /// The doctor's look, and the end of a window of the meter.
    fn look_after(&mut self, now: Instant) {
        let Phase::Live(live) = &self.phase else { return };
        self.doctor.handle_timeout(now, &mut self.events);
        self.watch.set_refused(now, self.doctor.is_refused(), &mut self.events);
        if self.meter.is_due(now) {
            let quality = self.meter.close_window(now, &live.received(&self.control));
            quality
                .into_iter()
                .for_each(|quality| self.events.push(Event::Quality(quality)));
        }
    }

    fn report(&mut self, now: Instant, goodbye: bool) {
        let Phase::Live(live) = &mut self.phase else { return };
        let target = self.control.target(self.latch.target(), self.latch.is_elsewhere());
        let Some((to, channel)) = target else { return };
        let block = live.caller.block();
        let voip = block.filter(|_| self.control.wants_voip_metrics()).map(|block| {
            let received = live.received(&self.control);
            self.meter.metrics(block.ssrc, &received, live.caller.late())
        });
        // The next packet's timestamp is that of its deadline, which is not now.
        let ahead = live.pacer.deadline().saturating_duration_since(now);
        let ahead = ahead.as_micros() as u64 * u64::from(live.terms.send.codec.clock_hz()) / 1_000_000;
        let (packets, bytes) = self.sender.reported();
        let figures = Figures {
            timestamp: self.sender.timestamp().wrapping_sub(ahead as u32),
            packets,
            bytes,
            block,
            voip,
            goodbye,
        };
        self.control.write(now, &figures, self.outbox.push(to, channel));
    }
}

impl Live {
    fn new(now: Instant, terms: &Negotiated, session: SampleRate) -> Self {
        Self {
            terms: terms.clone(),
            caller: Caller::new(now, session),
            pacer: Pacer::new(now, terms.ptime_ms),
        }
    }

    fn apply(&mut self, terms: &Negotiated) {
        self.terms = terms.clone();
        self.caller
            .apply(&terms.receive, terms.comfort_noise, !terms.direction.sends());
        self.pacer.set_packet_time(terms.ptime_ms);
    }

    /// What the meter is to know.
    fn received(&self, control: &Control) -> Received {
        Received {
            losses: self.caller.losses(),
            jitter_ms: self.caller.jitter_ms(),
            round_trip: control.round_trip(),
        }
    }

    fn kind(&self, payload_type: u8) -> Option<Kind> {
        let audio = self.terms.receive.iter().find(|each| each.payload_type == payload_type);
        if let Some(format) = audio {
            return Some(Kind::Audio(format.codec));
        }
        let key = self.terms.events.iter().any(|each| each.payload_type == payload_type);
        match (key, is_noise(payload_type, self.terms.comfort_noise)) {
            (true, _) => Some(Kind::Key),
            (false, true) => Some(Kind::Noise),
            (false, false) => None,
        }
    }
}

mod recording;
#[cfg(test)]
mod tests;
