//! Where the leg's media meets the session: every frame of a call passes here, on its media worker.
//!
//! Caller packets become session audio, session audio becomes paced packets, caller speech cuts the agent off and the
//! session learns exactly how much was heard. The bridge owns both machines and nothing else; sockets belong to the
//! media driver, decisions about the call to [`Machine`](super::Machine).

use std::{
    collections::VecDeque,
    net::SocketAddr,
    time::{Duration, Instant},
};

use crate::{
    audio::{DtmfDetector, Heard, Law, SampleRate, Utterance, VoiceDetector, VoiceSettings},
    config::KeyWay,
    media, realtime,
    sdp::Negotiated,
    tools::Concealed,
};

use self::hush::Hush;
pub use self::report::{Report, Summary};
pub use super::messages::Message;
use super::{
    filler::Filler,
    keys::{self, Keys},
    messages::Messages,
    monologue::Monologue,
    order::{Disclosure, Order},
    recording::Prompt,
    replay::Replay,
    turns::Turns,
};

pub mod away;
mod hush;
mod presses;
mod prompt;
mod renewal;
mod report;
pub mod second_leg;
mod taking;
mod turns;

/// The utterance that stands for our own prompts; sessions count theirs from zero.
const PROMPT: Utterance = Utterance(u32::MAX);

/// The one that stands for a prompt the caller has to hear to its end.
const NOTICE: Utterance = Utterance(u32::MAX - 1);

/// The one that stands for keys we press as tones.
const PRESSES: Utterance = Utterance(u32::MAX - 2);

/// The one that stands for words to a caller who waits for a session.
const FILLER: Utterance = Utterance(u32::MAX - 3);

/// The one that stands for what the caller has to hear before anything else.
const DISCLOSURE: Utterance = Utterance(u32::MAX - 4);

/// The one that stands for what another leg says.
const PARTY: Utterance = Utterance(u32::MAX - 5);

/// From here on the numbers are those of our own.
const OWN: Utterance = PARTY;

/// Agent audio later than this after the caller's voice is no answer to it.
const RESPONSE_MAX: Duration = Duration::from_secs(15);

/// The spoken apology, 8 kHz mu-law.
const APOLOGY: &[u8] = include_bytes!("../media/prompts/apology.ulaw");

/// One call's media joined with its session.
#[derive(Debug)]
pub struct Bridge {
    media: media::Machine,
    /// The law of the leg, when it speaks G.711.
    leg_law: Option<Law>,
    /// The rate of its line.
    line: SampleRate,
    second_leg: Option<Box<second_leg::SecondLeg>>,
    /// How long the agent had spoken when the legs were joined, in milliseconds; what left later is somebody else's.
    spoken_before: Option<u64>,
    session: Option<realtime::Machine>,
    /// How many there have been.
    sessions: u32,
    /// The rate of the session's samples.
    rate: SampleRate,
    voice: VoiceDetector,
    caller_voice_at: Option<Instant>,
    awaiting_quiet: bool,
    /// Whether [`Report::Said`] is owed, and whether the agent has begun.
    awaiting_said: Option<bool>,
    /// A prompt that has not been heard to its end.
    prompt: Option<Prompt>,
    monologue: Option<Monologue>,
    turns: Turns,
    /// What is cut off now is cut off by the limit of the agent's turn.
    stopping: bool,
    /// What has not been heard to its end and has to be.
    disclosing: Option<Disclosure>,
    /// It has been heard, or will not be.
    disclosed: bool,
    /// What the agent may call, where that is not as it was.
    tools: Option<Vec<realtime::ToolSpec>>,
    key_settings: keys::Settings,
    keys: Keys,
    /// Listens for keys in the sound, where that was asked for.
    tones: Option<Box<DtmfDetector>>,
    /// The session hears this in place of the caller.
    hush: Hush,
    /// Keys go to the vault.
    diverted: bool,
    /// What the last session left to the next; while there is none, what happens goes here.
    legacy: realtime::Legacy,
    replay: Replay,
    filler: Filler,
    absence: away::Absence,
    renewal: renewal::Renewal,
    summary: Summary,
    reports: VecDeque<Report>,
    messages: Messages,
}

impl Bridge {
    /// A bridge with no session yet.
    pub fn new(now: Instant, media: media::Settings) -> Self {
        Self {
            media: media::Machine::new(now, media),
            leg_law: None,
            line: SampleRate::Hz8000,
            second_leg: None,
            spoken_before: None,
            session: None,
            sessions: 0,
            rate: SampleRate::Hz24000,
            voice: VoiceDetector::new(SampleRate::Hz24000, VoiceSettings::default()),
            caller_voice_at: None,
            awaiting_quiet: false,
            awaiting_said: None,
            prompt: None,
            monologue: None,
            turns: Turns::default(),
            stopping: false,
            disclosing: None,
            disclosed: false,
            tools: None,
            key_settings: keys::Settings::default(),
            keys: Keys::default(),
            tones: None,
            hush: Hush::default(),
            diverted: false,
            legacy: realtime::Legacy::default(),
            replay: Replay::default(),
            filler: Filler::default(),
            absence: away::Absence::default(),
            renewal: renewal::Renewal::default(),
            summary: Summary::default(),
            reports: VecDeque::new(),
            messages: Messages::default(),
        }
    }

    /// Does what the call decided.
    pub fn obey(&mut self, now: Instant, order: Order) {
        match order {
            Order::Apply(negotiated) => self.apply(now, &negotiated),
            Order::Early(early) => self.media.set_early(now, early),
            Order::Greet => self.session_does(|session| session.greet(now)),
            Order::Away(settings) => self.set_away(settings),
            Order::Comfort(on) => self.comfort(now, on),
            Order::Apologise => self.apologise(now),
            Order::Play(sound) => self.play_sound(now, &sound),
            Order::AwaitQuiet => self.awaiting_quiet = true,
            Order::AwaitSaid => self.awaiting_said = Some(false),
            Order::Prompt(prompt) => self.prompt(now, prompt),
            Order::Disclose(disclosure) => self.disclose(now, disclosure),
            Order::Turns { settings, ends_at } => self.keep_turns(*settings, ends_at),
            Order::WatchVoice(limit) => self.monologue = Some(Monologue::new(limit)),
            Order::ToolResult {
                call_id,
                output,
                respond,
            } => self.tool_result(now, &call_id, &output, respond),
            Order::Tools(tools) => self.set_tools(tools),
            Order::Keys(settings) => self.set_keys(settings),
            Order::HearDigit(digit) => self.hear_key(now, digit, KeyWay::Info),
            Order::HearText(text) => self.hear_text(now, &text),
            Order::SendDigits(digits) => self.media.send_digits(&digits),
            Order::PlayDigits(digits) => self.play_digits(now, &digits),
            Order::Say(words) => self.session_does(|session| session.say_words(now, &words)),
            Order::Hold(on) => self.hold(on),
            Order::SecondLeg(order) => self.obey_second_leg(now, order),
            Order::Hush(on) => self.hush.type_in(on),
            Order::Divert(on) => self.diverted = on,
        }
        self.carry(now);
    }

    /// A datagram on the RTP port.
    pub fn handle_rtp(&mut self, now: Instant, from: SocketAddr, datagram: &mut [u8]) {
        self.media.handle_rtp(now, from, datagram);
        self.carry(now);
    }

    /// A datagram on the RTCP port.
    pub fn handle_rtcp(&mut self, now: Instant, from: SocketAddr, datagram: &mut [u8]) {
        self.media.handle_rtcp(now, from, datagram);
        self.carry(now);
    }

    /// The caller's host refused a packet of ours.
    pub fn handle_refused(&mut self, now: Instant) {
        self.media.handle_refused(now);
    }

    /// The network did not take our last packet.
    pub fn handle_unsent(&mut self) {
        self.media.handle_unsent();
    }

    /// Lends the session a scratch to work in, or takes it back.
    pub fn swap_scratch(&mut self, scratch: &mut realtime::Scratch) {
        self.session_does(|session| session.swap_scratch(scratch));
    }

    /// One text frame of the session.
    pub fn handle_session(&mut self, now: Instant, text: &str) {
        let Some(session) = &mut self.session else { return };
        if let Some(delta) = session.handle_text(now, text) {
            self.media.play(now, delta.utterance, delta.pcm);
        }
        self.carry(now);
    }

    /// Says goodbye on RTCP.
    pub fn bye(&mut self, now: Instant) {
        self.media.bye(now);
        self.bye_second_leg(now);
    }

    /// Takes in that time has passed.
    pub fn handle_timeout(&mut self, now: Instant) {
        self.media.handle_timeout(now);
        if let Some(session) = &mut self.session {
            session.handle_timeout(now);
        }
        self.standby_timeout(now);
        self.second_leg_timeout(now);
        self.turns_timeout(now);
        self.carry(now);
    }

    /// When [`Self::handle_timeout`] wants to be called.
    pub fn poll_timeout(&self) -> Option<Instant> {
        let session = self.session.as_ref().and_then(realtime::Machine::poll_timeout);
        let away = [self.replay.poll_timeout(), self.filler.poll_timeout()];
        let others = away.into_iter().chain([session, self.poll_standby_timeout()]);
        let second = self.poll_second_leg_timeout();
        let always = [self.media.poll_timeout(), self.turns.poll_timeout(), second];
        others.chain(always).flatten().min()
    }

    /// The next packet to send.
    pub fn poll_transmit(&mut self) -> Option<media::Transmit<'_>> {
        self.media.poll_transmit()
    }

    /// The next message for the session.
    pub fn poll_message(&mut self) -> Option<Message<'_>> {
        self.messages.pop()
    }

    /// The next thing the call should know.
    pub fn poll_report(&mut self) -> Option<Report> {
        self.reports.pop_front()
    }

    /// What the call's media amounted to so far.
    pub fn summary(&self) -> Summary {
        let mut summary = self.summary.clone();
        summary.media = self.media.statistics();
        (summary.replayed, summary.replay_lost) = self.replay.figures();
        let spoken_ms = self.spoken_before.unwrap_or(summary.media.spoken_ms);
        summary.agent_talk = Duration::from_millis(spoken_ms);
        if let Some(session) = &self.session {
            summary.usage += session.usage();
        }
        summary
    }

    fn apply(&mut self, now: Instant, negotiated: &Negotiated) {
        self.leg_law = negotiated.send.codec.law();
        self.line = negotiated.send.codec.line_rate(SampleRate::Hz24000);
        self.media.apply(now, negotiated);
        self.follow_lines();
    }

    /// The session hears and speaks.
    fn session_ready(&mut self, now: Instant) {
        self.follow_rate();
        self.session_came(now);
        self.tell_disclosure(now);
        self.reports.push_back(Report::SessionReady);
    }

    /// From here on both sides speak at the session's rate.
    fn follow_rate(&mut self) {
        let rate = self.session.as_ref().map(|session| session.format().rate());
        if let Some(rate) = rate.filter(|rate| *rate != self.rate) {
            self.rate = rate;
            self.media.set_session_rate(rate);
            self.voice = VoiceDetector::new(rate, VoiceSettings::default());
            self.listen_for_tones();
        }
    }

    /// The leg's media, for its recording.
    pub fn media(&mut self) -> &mut media::Machine {
        &mut self.media
    }

    fn session_does(&mut self, act: impl FnOnce(&mut realtime::Machine)) {
        if let Some(session) = &mut self.session {
            act(session);
        }
    }

    fn apologise(&mut self, now: Instant) {
        let mut narrow = Vec::new();
        Law::Mu.decode(APOLOGY, &mut narrow);
        self.end_filler(now);
        self.say(now, PROMPT, SampleRate::Hz8000, &narrow);
    }

    /// Carries what one side has to the other until both are at rest.
    fn carry(&mut self, now: Instant) {
        self.go_over(now);
        if !self.carry_between(now) {
            self.carry_caller_audio(now);
        }
        self.carry_away(now);
        self.hear_all_media(now);
        self.hear_all_session(now);
        self.observe_agent(now);
        self.check_quiet();
        self.observe_silence(now);
    }

    fn hear_all_session(&mut self, now: Instant) {
        while let Some(output) = self.session.as_mut().and_then(realtime::Machine::poll_output) {
            self.hear_session(now, output);
        }
    }

    fn hear_all_media(&mut self, now: Instant) {
        while let Some(event) = self.media.poll_event() {
            self.hear_media(now, event);
        }
    }

    fn carry_caller_audio(&mut self, now: Instant) {
        while let Some(pcm) = self.media.poll_caller() {
            let length = Duration::from_millis((pcm.len() / self.rate.per_ms()) as u64);
            let voiced = self.voice.push(pcm);
            let key = self.tones.as_mut().and_then(|tones| tones.push(pcm));
            if voiced {
                self.caller_voice_at = Some(now);
                self.summary.caller_talk += length;
            }
            if let Some(monologue) = &mut self.monologue
                && let Some(likely) = monologue.push(voiced, length)
            {
                self.monologue = None;
                self.reports.extend(likely.then_some(Report::MachineLikely));
            }
            let hushed = self.hush.is_on();
            let heard = self.hush.over(pcm);
            let heard_live = self.replay.hear(heard, self.rate, voiced && !hushed);
            if heard_live
                && let Some(session) = &mut self.session
                && self.messages.push_audio(|text| session.append(heard, text))
            {
                self.caller_told(now);
            }
            if let Some(key) = key {
                self.hear_key(now, key, KeyWay::Tone);
            }
            self.hear_turn(now, voiced, length);
        }
    }

    fn hear_media(&mut self, now: Instant, event: media::Event) {
        match event {
            media::Event::Digit(digit) => self.hear_key(now, digit, KeyWay::Event),
            media::Event::Started(utterance) => self.utterance_started(now, utterance),
            media::Event::Finished(heard) => self.utterance_finished(now, &heard),
            media::Event::Silent => self.reports.push_back(Report::CallerSilent),
            media::Event::Unheard => self.reports.push_back(Report::Unheard),
            media::Event::Diagnosis(diagnosis) => self.reports.push_back(Report::Diagnosis(diagnosis)),
            media::Event::Quality(quality) => self.reports.push_back(Report::Quality(quality)),
            media::Event::SecurityFailed(word) => self.reports.push_back(Report::SecurityFailed(word)),
            media::Event::Overflow { .. } => self.reports.push_back(Report::PlayoutDropped),
        }
    }

    fn digit(&mut self, now: Instant, digit: char) {
        if self.diverted {
            return self.reports.push_back(Report::VaultKey(Concealed(digit)));
        }
        self.summary.digits += 1;
        self.turns.caller_was_heard();
        self.cut_in();
        // What comes next answers the digit, not the voice before it.
        self.caller_voice_at = None;
        self.reports.push_back(Report::Digit(digit));
        if self.key_settings.told && !self.is_joined() {
            match &mut self.session {
                Some(session) => session.digit(now, digit),
                None => self.legacy.caller_wrote(&realtime::digit_text(digit)),
            }
        }
        self.prompt_cut();
    }

    fn hear_text(&mut self, now: Instant, text: &str) {
        if self.is_joined() {
            // There is no agent to read it.
            return;
        }
        match &mut self.session {
            Some(session) => session.text(now, text),
            None => self.legacy.caller_wrote(text),
        }
        self.prompt_cut();
    }

    /// A tool's answer is told to the session that is there, or to the next.
    fn tool_result(&mut self, now: Instant, call: &str, output: &str, respond: bool) {
        match &mut self.session {
            Some(session) => session.tool_result(now, call, output, respond),
            None => drop(self.legacy.answered(call, output, respond)),
        }
    }

    fn utterance_started(&mut self, now: Instant, utterance: Utterance) {
        if utterance >= OWN {
            return;
        }
        self.session_heard(now);
        if let Some(begun) = &mut self.awaiting_said {
            *begun = true;
        }
        let answers =
            |voice_at: Instant| Some(now.saturating_duration_since(voice_at)).filter(|after| *after <= RESPONSE_MAX);
        if let Some(after) = self.caller_voice_at.take().and_then(answers) {
            self.reports.push_back(Report::Responded(after));
        }
    }

    fn utterance_finished(&mut self, now: Instant, heard: &Heard) {
        let Heard { utterance, sent_ms, .. } = *heard;
        self.prompt_finished(utterance);
        if utterance == DISCLOSURE {
            self.disclosed(Report::Disclosed { sent_ms });
        }
        if utterance == FILLER {
            self.filler.heard(now);
        }
        if let Some(session) = &mut self.session
            && utterance < OWN
        {
            session.heard_whole(now, heard);
        }
    }

    fn hear_session(&mut self, now: Instant, output: realtime::Output) {
        match output {
            realtime::Output::Send(text) => self.messages.push(text),
            realtime::Output::Ready => self.session_ready(now),
            realtime::Output::AudioDone(utterance) => self.media.finish(utterance),
            realtime::Output::Interrupt => self.interrupt(now),
            realtime::Output::ToolCall {
                call_id,
                name,
                arguments,
            } => {
                self.replay.turns_answered();
                self.reports.push_back(Report::ToolCall {
                    session: self.sessions,
                    call_id,
                    name,
                    arguments,
                });
            }
            realtime::Output::Disclosed { sent_ms } => self.disclosed(Report::Disclosed { sent_ms }),
            realtime::Output::NotDisclosed => self.disclosed(Report::NotDisclosed),
            realtime::Output::TurnCommitted(item) => self.replay.turn_taken(item),
            realtime::Output::ToolArguments { call_id, so_far } => {
                self.reports.push_back(Report::ToolArguments { call_id, so_far });
            }
            realtime::Output::Transcript(transcript) => self.transcript(transcript),
            realtime::Output::Fault(fault) => self.reports.push_back(Report::SessionFault(fault)),
            realtime::Output::Unknown(what) => self.reports.push_back(Report::Unknown(what)),
            realtime::Output::TranscriptDelta(delta) => self.reports.push_back(Report::TranscriptDelta(delta)),
            realtime::Output::Used(used) => self.reports.push_back(Report::Used(used)),
        }
    }

    fn transcript(&mut self, transcript: realtime::Transcript) {
        if transcript.who == realtime::Speaker::Caller {
            self.replay.turn_understood(&transcript.item);
        }
        self.reports.push_back(Report::Transcript(transcript));
    }

    /// The caller speaks: what has not left is dropped, and the session learns what was heard.
    fn interrupt(&mut self, now: Instant) {
        let heard = self.media.flush(now);
        self.cut_in();
        self.prompt_flushed(&heard);
        if !heard.is_empty() {
            self.note_cut(now);
        }
        self.caller_voice_at = None;
        if let Some(session) = &mut self.session {
            session.interrupted(&heard);
        }
        self.disclose_again(now);
    }

    /// Nobody waits any more for the agent's words to end.
    fn cut_in(&mut self) {
        if self.awaiting_said.take().is_some() {
            self.reports.push_back(Report::Said);
        }
    }

    fn check_quiet(&mut self) {
        if self.awaiting_said == Some(true) && self.media.is_quiet() {
            self.cut_in();
        }
        if self.awaiting_quiet && self.media.is_quiet() {
            self.awaiting_quiet = false;
            self.reports.push_back(Report::Quiet);
        }
    }
}
