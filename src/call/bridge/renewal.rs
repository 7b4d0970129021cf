//! A second session behind the one that serves the call, and the moment the call goes over to it.
//!
//! The second is configured and waits; it hears nothing, so it does nothing. Between two turns (the agent heard to its
//! end, the caller silent and understood, no tool at work) it is told the conversation and takes over: the caller's last
//! frame went to the one, the next goes to the other. A call that never rests goes over in the middle, as after a loss,
//! but without an absence. Should the first be lost while the second is ready, the second takes over at once.

use std::time::{Duration, Instant};

use super::{Bridge, Message, Messages, Report};
use crate::realtime::{self, FaultClass};

/// How long a second session that is ready waits for a moment between two turns; then the call goes over as it is.
const REST_MAX: Duration = Duration::from_secs(60);

/// How long a session that the call has left may still say the words of turns it has answered.
const LATE_WORDS_MAX: Duration = Duration::from_secs(3);

/// The second session of a call.
#[derive(Debug, Default)]
pub(super) struct Renewal {
    /// What the session before may still say, and until when.
    late: Option<(Box<realtime::Late>, Instant)>,
    /// It has nothing more to say.
    heard_out: bool,
    standby: Option<Box<Standby>>,
    /// The call has gone over, and its socket has not.
    switched: bool,
    /// The next frame of the caller tells how long the change took.
    measuring: bool,
    /// When the last frame of the caller went to a session.
    told_at: Option<Instant>,
}

#[derive(Debug)]
struct Standby {
    session: realtime::Machine,
    messages: Messages,
    ready_at: Option<Instant>,
}

impl Bridge {
    /// The WebSocket of a second session is open.
    pub fn standby_opened(&mut self, now: Instant, mut settings: realtime::Settings) {
        settings.leg_law = self.leg_law.or(settings.leg_law);
        settings.disclosure.take_if(|_| self.disclosed);
        settings.tools = self.tools.clone().unwrap_or(settings.tools);
        let mut session = realtime::Machine::new(settings);
        session.handle_open(now);
        self.renewal.standby = Some(Box::new(Standby {
            session,
            messages: Messages::default(),
            ready_at: None,
        }));
        self.carry(now);
    }

    /// What the agent may call has changed: every session learns of it.
    pub(super) fn set_tools(&mut self, tools: Vec<realtime::ToolSpec>) {
        let standby = self.renewal.standby.as_mut().map(|standby| &mut standby.session);
        for session in self.session.as_mut().into_iter().chain(standby) {
            session.set_tools(&tools);
        }
        self.tools = Some(tools);
    }

    /// One text frame of the second session. What it says is not for the caller yet.
    pub fn handle_standby(&mut self, now: Instant, text: &str) {
        if let Some(standby) = &mut self.renewal.standby {
            standby.session.handle_text(now, text);
        }
        self.carry(now);
    }

    /// There is no second session any more.
    pub fn standby_lost(&mut self) {
        self.renewal.standby = None;
    }

    /// The next message for the second session.
    pub fn poll_standby_message(&mut self) -> Option<Message<'_>> {
        self.renewal.standby.as_mut()?.messages.pop()
    }

    /// Whether the call has gone over to the second session since the last look: its socket is the one that counts now.
    pub fn take_switched(&mut self) -> bool {
        std::mem::take(&mut self.renewal.switched)
    }

    /// Whether the session that the call left has nothing more to say, since the last look: its socket may be closed.
    pub fn take_heard_out(&mut self) -> bool {
        std::mem::take(&mut self.renewal.heard_out)
    }

    /// One text frame of the session that the call left.
    pub fn handle_retired(&mut self, now: Instant, text: &str) {
        let Some((late, _)) = &mut self.renewal.late else {
            return;
        };
        let said = late.hear(now, text);
        if late.is_over() {
            self.retire();
        }
        if let Some((transcript, used)) = said {
            self.summary.usage += used.usage;
            if !used.usage.is_nothing() {
                self.reports.push_back(Report::Used(Box::new(used)));
            }
            match &mut self.session {
                Some(session) => session.caller_said_late(&transcript.item, &transcript.text),
                None => self.legacy.caller_said_late(&transcript.item, &transcript.text),
            }
            self.reports.push_back(Report::Transcript(transcript));
        }
    }

    fn retire(&mut self) {
        self.renewal.late = None;
        self.renewal.heard_out = true;
    }

    /// The session was lost; the second takes over at once, if it is ready.
    pub fn promote(&mut self, now: Instant) -> bool {
        let ready = self
            .renewal
            .standby
            .take()
            .filter(|standby| self.session.is_none() && standby.ready_at.is_some());
        let Some(standby) = ready else { return false };
        // The socket of what was left before goes now.
        self.retire();
        self.take_on(now, *standby);
        self.session_came(now);
        self.carry(now);
        true
    }

    pub(super) fn standby_timeout(&mut self, now: Instant) {
        if let Some(standby) = &mut self.renewal.standby {
            standby.session.handle_timeout(now);
        }
        if self.renewal.late.as_ref().is_some_and(|(_, until)| now >= *until) {
            self.retire();
        }
    }

    pub(super) fn poll_standby_timeout(&self) -> Option<Instant> {
        let standby = self.renewal.standby.as_ref();
        let ready_at = standby
            .and_then(|standby| standby.ready_at)
            .filter(|_| self.is_served());
        let forced = ready_at.map(|ready_at| ready_at + REST_MAX);
        let session = standby.and_then(|standby| standby.session.poll_timeout());
        let late = self.renewal.late.as_ref().map(|(_, until)| *until);
        [forced, session, late].into_iter().flatten().min()
    }

    /// A frame of the caller went to the session as it was said.
    pub(super) fn caller_told(&mut self, now: Instant) {
        let before = self.renewal.told_at.replace(now);
        if std::mem::take(&mut self.renewal.measuring)
            && let Some(before) = before
        {
            let gap = now.saturating_duration_since(before);
            self.reports.push_back(Report::Renewed(gap));
        }
    }

    /// Does what the second session wants done, and has the call go over to it when it is time: in front of the caller's
    /// next frame, and with nothing on its way to the first session, which would be lost on both.
    pub(super) fn go_over(&mut self, now: Instant) {
        self.hear_standby(now);
        let ready_at = self.renewal.standby.as_ref().and_then(|standby| standby.ready_at);
        let Some(ready_at) = ready_at.filter(|_| self.is_served()) else {
            return;
        };
        // The last of what the first session had to say.
        self.hear_all_session(now);
        let rests = self.is_between_turns() && self.messages.is_empty();
        if rests || now >= ready_at + REST_MAX {
            self.switch(now, rests);
        }
    }

    fn hear_standby(&mut self, now: Instant) {
        while let Some(standby) = &mut self.renewal.standby
            && let Some(output) = standby.session.poll_output()
        {
            match output {
                realtime::Output::Send(text) => standby.messages.push(text),
                realtime::Output::Ready => standby.ready_at = Some(now),
                realtime::Output::Fault(fault) if fault.class != FaultClass::Harmless => {
                    self.renewal.standby = None;
                    self.reports.push_back(Report::StandbyFault(fault));
                }
                // It was asked nothing.
                _ => {}
            }
        }
    }

    fn is_between_turns(&self) -> bool {
        let rests = self.session.as_ref().is_some_and(realtime::Machine::is_at_rest);
        let silent = !self.voice.voiced() && !self.replay.is_open() && self.replay.poll_timeout().is_none();
        rests && silent && self.media.is_quiet() && self.prompt.is_none() && !self.awaiting_quiet
    }

    fn switch(&mut self, now: Instant, rests: bool) {
        let Some(standby) = self.renewal.standby.take() else {
            return;
        };
        let mut heard = Vec::new();
        if !rests {
            heard = self.media.flush(now);
            self.hear_all_media(now);
            self.prompt_cut();
            self.replay.away();
        }
        if let Some(old) = self.session.take() {
            self.summary.usage += old.usage();
            let (legacy, late) = old.leave(&heard);
            self.legacy = legacy;
            self.renewal.heard_out = late.is_none();
            self.renewal.late = late.map(|late| (Box::new(late), now + LATE_WORDS_MAX));
        }
        self.take_on(now, *standby);
        if !rests {
            self.replay.tell(now, self.rate);
        }
        self.renewal.measuring = true;
    }

    fn take_on(&mut self, now: Instant, standby: Standby) {
        let Standby {
            mut session, messages, ..
        } = standby;
        session.inherit(now, std::mem::take(&mut self.legacy));
        // What waited for the other session is nothing to this one.
        self.messages = messages;
        self.serve_with(session);
        self.follow_rate();
        self.tell_disclosure(now);
        self.summary.renewals += 1;
        self.renewal.switched = true;
    }
}

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;

    use super::*;
    use crate::{
        audio::Law,
        call::{Order, bridge::away, filler},
        media,
        rtp::Header,
        sdp::{self, Codec, Local},
    };

    #[test]
    fn the_caller_is_told_to_one_of_two_sessions_whole_when_a_voice_ends_as_the_next_one_waits() {
        let mut now = Instant::now();
        let mut bridge = served(now);
        let (mut told, mut went_over) = (0, false);
        for number in 0..100 {
            if number == 10 {
                bridge.standby_opened(now, settings());
                let confirmation = confirmation(bridge.poll_standby_message().unwrap().text);
                bridge.handle_standby(now, &confirmation);
            }
            assert!(number > 20 || !went_over, "in the middle of the voice");
            bridge.handle_rtp(now, caller(), &mut packet(number, number < 20));
            told += frames(&mut bridge);
            went_over |= bridge.take_switched();
            assert_eq!(told, u32::from(number) + 1, "packets");
            now += Duration::from_millis(20);
        }
        assert!(went_over);
    }

    /// What waits for the session; frames of the caller are counted.
    fn frames(bridge: &mut Bridge) -> u32 {
        let mut frames = 0;
        while let Some(message) = bridge.poll_message() {
            frames += u32::from(message.audio);
        }
        frames
    }

    /// A bridge whose session hears and keeps nothing for another.
    fn served(now: Instant) -> Bridge {
        let local = Local {
            codecs: vec![Codec::Pcmu],
            ..Local::new(caller().ip(), 5000, 1)
        };
        let offer =
            "v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=-\r\nc=IN IP4 127.0.0.1\r\nt=0 0\r\nm=audio 4000 RTP/AVP 0\r\n";
        let (negotiated, _) = sdp::answer(offer.as_bytes(), &local).unwrap();
        let mut bridge = Bridge::new(now, media::Settings::from_seed(1));
        let filler = filler::Settings {
            after: Duration::from_secs(9),
            words: None,
        };
        let replay_max = Duration::ZERO;
        bridge.obey(now, Order::Away(away::Settings { filler, replay_max }));
        bridge.obey(now, Order::Apply(Box::new(negotiated)));
        bridge.session_opened(now, settings());
        let confirmation = confirmation(bridge.poll_message().unwrap().text);
        bridge.handle_session(now, &confirmation);
        bridge
    }

    fn settings() -> realtime::Settings {
        realtime::Settings {
            audio: realtime::AudioWish::G711,
            ..realtime::Settings::default()
        }
    }

    fn confirmation(update: &str) -> String {
        let update: serde_json::Value = serde_json::from_str(update).unwrap();
        serde_json::json!({ "type": "session.updated", "session": update["session"] }).to_string()
    }

    fn packet(number: u16, voiced: bool) -> Vec<u8> {
        let header = Header {
            payload_type: 0,
            sequence: number,
            timestamp: 160 * u32::from(number),
            ssrc: 7,
            marker: number == 0,
        };
        let loud = if voiced { 8_000 } else { 0 };
        let pcm: Vec<i16> = (0..160).map(|n| if n % 16 < 8 { loud } else { -loud }).collect();
        let (mut packet, mut code) = (Vec::new(), Vec::new());
        header.write(&mut packet);
        Law::Mu.encode(&pcm, &mut code);
        packet.extend_from_slice(&code);
        packet
    }

    fn caller() -> SocketAddr {
        ([127, 0, 0, 1], 4_000).into()
    }
}
