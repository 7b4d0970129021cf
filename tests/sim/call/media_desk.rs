//! The media driver.

use std::time::Instant;

use patchcord::{
    audio::{Law, SampleRate},
    call::{self, bridge::Report},
    media::Channel,
    realtime::{self, FaultClass},
    sdp, tools,
};

use super::{Act, Call, Desk, Mail, Order, Rules};

impl Call {
    pub(super) fn obey(&mut self, now: Instant, order: Order) {
        if !self.open {
            return;
        }
        match order {
            Order::Dial => self.dial(now),
            Order::Bridge(order) => {
                self.witness(now, &order);
                self.bridge.obey(now, order);
            }
            Order::Close => return self.close(now),
        }
        self.carry(now);
    }

    /// What the audit has to know of an order.
    fn witness(&mut self, now: Instant, order: &call::Order) {
        match order {
            call::Order::Apply(terms) => self.audit.settled(now, law(terms.send.codec), terms.direction.sends()),
            call::Order::Comfort(on) => self.audit.comfort(*on),
            call::Order::Apologise => self.audit.prompt(),
            _ => {}
        }
    }

    pub(super) fn dial(&mut self, now: Instant) {
        self.audit.session_lost(now);
        self.bridge.session_lost(now);
        self.connection += 1;
        self.connected = false;
        self.acts.push_back(Act::Connect(self.connection));
    }

    pub(super) fn close(&mut self, now: Instant) {
        self.audit.session_lost(now);
        self.bridge.session_lost(now);
        self.bridge.bye(now);
        self.carry(now);
        self.open = false;
        self.acts.push_back(Act::Disconnect(self.connection));
    }

    /// Moves what the bridge wants moved.
    pub(super) fn carry(&mut self, now: Instant) {
        while let Some(packet) = self.bridge.poll_transmit() {
            if packet.channel == Channel::Rtp {
                self.audit.packet(now, packet.bytes);
                self.acts.push_back(Act::Rtp(packet.to, packet.bytes.to_vec()));
            }
        }
        let mut lost = None;
        while let Some(report) = self.bridge.poll_report() {
            lost = lost.or(self.bridge_report(now, report));
        }
        while let Some(message) = self.bridge.poll_message() {
            self.audit.said(now, message.text);
            self.acts.push_back(Act::Text(self.connection, message.text.to_owned()));
        }
        self.audit.settle(now);
        if let Some(class) = lost {
            self.acts.push_back(Act::Disconnect(self.connection));
            self.drop_session(now, class);
        }
    }

    /// Handles a report; the class of a fault that ends the session.
    pub(super) fn bridge_report(&mut self, now: Instant, report: Report) -> Option<FaultClass> {
        match report {
            Report::SessionReady => {
                self.session_times.push((now, true));
                self.audit.session_ready(now);
                self.acts.push_back(Act::Post(Desk::Session, Mail::Ready));
            }
            Report::SessionFault(fault) => return Some(fault.class).filter(|class| *class != FaultClass::Harmless),
            Report::Responded(_) | Report::BargedIn(_) | Report::Transcript(_) => {}
            Report::Filled(after) => self.filled.push(after),
            Report::Recovered(after) => self.recovered.push(after),
            Report::Digit(digit) => {
                self.digits.push(digit);
                self.audit.key();
            }
            report => self.acts.push_back(Act::Post(Desk::Call, Mail::Report(report))),
        }
        None
    }

    pub(super) fn drop_session(&mut self, now: Instant, class: FaultClass) {
        self.connected = false;
        self.connection += 1;
        self.session_times.push((now, false));
        self.audit.session_lost(now);
        self.bridge.session_lost(now);
        self.acts.push_back(Act::Post(Desk::Session, Mail::Lost(class)));
    }

    /// When the media wakes up for its next deadline: a busy machine is never quite in time.
    pub(super) fn wake(&mut self) -> Option<Instant> {
        let deadline = self.bridge.poll_timeout()?;
        match self.wake {
            Some((ordered, wake)) if ordered == deadline => Some(wake),
            _ => {
                let hiccup = self.rules.hiccups && self.dice.below(400) == 0;
                let late = if hiccup {
                    self.dice.ms(60, 500)
                } else {
                    self.dice.ms(0, self.rules.lag_ms_max)
                };
                let wake = deadline + late;
                self.wake = Some((deadline, wake));
                Some(wake)
            }
        }
    }
}

/// What the session is to be.
pub(super) fn session(rules: Rules) -> realtime::Settings {
    realtime::Settings {
        // What the audit counts in.
        audio: realtime::AudioWish::Pcm16(SampleRate::Hz24000),
        instructions: "Repeat what you hear.".to_owned(),
        voice: "marin".to_owned(),
        turn_detection: serde_json::json!({"type": "server_vad"}),
        tools: tools::Toolbox::default().specs(),
        greeting: Some("Hello.".to_owned()),
        stall_max: Some(rules.stall_max),
        ..realtime::Settings::default()
    }
}

fn law(codec: sdp::Codec) -> Law {
    codec.law().expect("the simulation speaks G.711")
}
