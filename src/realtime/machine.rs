//! One connection's protocol: configuration, turns, interruption, truncation. What the server's events mean is in
//! [`server`].
//!
//! The bridge opens it, feeds it the server's text and the caller's audio, plays the audio it returns, and answers
//! [`Output::Interrupt`] with what had been heard. After every call it drains [`Machine::poll_output`]. The machine
//! does not know the playout: an utterance counts as unheard until [`Machine::finished`] or [`Machine::interrupted`]
//! says otherwise. After a fatal or retryable fault it is silent for good; a new connection needs a new machine.

use std::{
    collections::VecDeque,
    time::{Duration, Instant},
};

use crate::audio::{Heard, Utterance};

use super::{
    arguments::Arguments,
    audio::AudioFormat,
    event::{ClientEvent, ServerEvent},
    fault::{Fault, FaultClass},
    history::{History, Transcript},
    interpreter::Interpreter,
    legacy::Legacy,
    parts::{Parts, Scratch},
    responses::{Expired, Responses, Unheard, Wish},
    settings::Settings,
    tool_calls::ToolCalls,
    usage::{Usage, Used},
};
use back_channel::BackChannel;
use disclosure::Disclosure;
use stall::Stall;

mod adopt;
mod back_channel;
mod disclosure;
mod handover;
mod retool;
mod server;
mod stall;

/// How long the server may take to confirm the session's configuration.
const CONFIRM_MAX: Duration = Duration::from_secs(10);

/// What the machine wants done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Output {
    /// Send this text frame.
    Send(String),
    /// The configuration is confirmed: the session hears and speaks.
    Ready,
    /// No more audio comes for this utterance.
    AudioDone(Utterance),
    /// Drop all agent audio that has not left and call [`Machine::interrupted`].
    Interrupt,
    /// The agent calls a tool; answer with [`Machine::tool_result`].
    ToolCall {
        /// The id to answer with.
        call_id: String,
        /// The tool.
        name: String,
        /// Its arguments as JSON text.
        arguments: String,
    },
    /// The server took what the caller said for a turn: this item, whose words may come as a transcript.
    TurnCommitted(String),
    /// The agent is about to call a tool: its arguments as far as they have come.
    ToolArguments {
        /// The id of the call.
        call_id: String,
        /// JSON text without its end.
        so_far: String,
    },
    /// Something was said. The caller's words may come before, during or after the answer to them.
    Transcript(Transcript),
    /// Something is wrong; unless it is harmless, the session is lost.
    Fault(Fault),
    /// Something came that nobody here knows; it was ignored.
    Unknown(Unknown),
    /// Somebody says more; all of it follows as a [`Output::Transcript`].
    TranscriptDelta(Transcript),
    /// The disclosure was heard to its end, and so much of it left.
    Disclosed {
        /// In milliseconds.
        sent_ms: u32,
    },
    /// The disclosure was not heard to its end, however often it was said.
    NotDisclosed,
    /// The backend counted this besides what it had counted before.
    Used(Box<Used>),
}

/// What a server said that nobody here knows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unknown {
    /// An event of a type of its own.
    Event,
    /// So many members of an event that is known otherwise.
    Fields(u32),
}

/// A piece of agent audio, to be played at once.
#[derive(Debug, PartialEq, Eq)]
pub struct Delta<'a> {
    /// What it is part of.
    pub utterance: Utterance,
    /// Mono, at the rate of the session's format.
    pub pcm: &'a [i16],
}

/// How the agent is asked for these words.
fn verbatim(words: &str) -> String {
    format!("Say exactly these words and nothing else: {words}")
}

/// How a session is told of a digit.
pub fn digit_text(digit: char) -> String {
    format!("DTMF {digit}")
}

/// One connection's protocol machine.
#[derive(Debug)]
pub struct Machine {
    settings: Settings,
    interpreter: Interpreter,
    state: State,
    responses: Responses,
    parts: Parts,
    tool_calls: ToolCalls,
    arguments: Arguments,
    history: History,
    usage: Usage,
    events_sent: u64,
    outputs: VecDeque<Output>,
    scratch: Scratch,
    format: AudioFormat,
    /// What is asked for should the server not take the format.
    second_choice: Option<AudioFormat>,
    stall: Stall,
    disclosure: Disclosure,
    back_channel: BackChannel,
    /// The server is to learn of other tools.
    retool: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// The connection is not open.
    Closed,
    /// The configuration has been sent.
    Confirming { until: Instant },
    /// The configuration is in effect.
    Ready { server_cancels: bool },
    /// A fault ended the session.
    Failed,
}

impl Machine {
    /// A session whose connection is not open yet.
    pub fn new(mut settings: Settings) -> Self {
        let disclosure = Disclosure::new(settings.disclosure.as_ref(), &mut settings.turn_detection);
        let (format, second_choice) = settings.audio.formats(settings.leg_law);
        Self {
            interpreter: Interpreter::new(settings.dialect, settings.quirks),
            settings,
            state: State::Closed,
            responses: Responses::default(),
            parts: Parts::new(format),
            tool_calls: ToolCalls::default(),
            arguments: Arguments::default(),
            history: History::default(),
            usage: Usage::default(),
            events_sent: 0,
            outputs: VecDeque::new(),
            scratch: Scratch::default(),
            format,
            second_choice,
            stall: Stall::default(),
            disclosure,
            back_channel: BackChannel::default(),
            retool: false,
        }
    }

    /// The connection is open: the session is configured before anything is read, which every server allows.
    pub fn handle_open(&mut self, now: Instant) {
        if self.state != State::Closed {
            return;
        }
        self.configure(now);
    }

    fn configure(&mut self, now: Instant) {
        self.state = State::Confirming {
            until: now + CONFIRM_MAX,
        };
        self.events_sent += 1;
        let event = ClientEvent::Configure(&self.settings, self.format);
        let text = self.interpreter.write(self.events_sent, &event);
        self.outputs.extend(text.map(Output::Send));
    }

    /// The format of the session's audio; settled once [`Output::Ready`] has come.
    pub fn format(&self) -> AudioFormat {
        self.format
    }

    /// Asks for the second choice of audio format, if there still is one.
    fn try_second_choice(&mut self, now: Instant) -> bool {
        let Some(format) = self.second_choice.take().filter(|_| !self.is_ready()) else {
            return false;
        };
        self.format = format;
        self.parts.set_format(format);
        self.configure(now);
        true
    }

    /// One text frame of the server. Agent audio is returned rather than queued, so that it is not copied.
    pub fn handle_text(&mut self, now: Instant, text: &str) -> Option<Delta<'_>> {
        if matches!(self.state, State::Closed | State::Failed) {
            return None;
        }
        self.stall.hear(now);
        let read = self.interpreter.read(now, text);
        self.handle_implied(now);
        let fields = self.interpreter.take_unknown_fields();
        self.outputs
            .extend(fields.map(|count| Output::Unknown(Unknown::Fields(count))));
        match read {
            Ok(ServerEvent::AudioDelta { part, audio }) => return self.audio_delta(&part, &audio),
            Ok(event) => {
                self.handle_event(now, event);
                self.follow_disclosure(now);
                self.tell_tools();
            }
            Err(malformed) => self.malformed(&malformed),
        }
        None
    }

    /// What the server means without a word of its own for it.
    fn handle_implied(&mut self, now: Instant) {
        while let Some(event) = self.interpreter.implied() {
            self.handle_event(now, event);
        }
    }

    /// Takes in that time has passed.
    pub fn handle_timeout(&mut self, now: Instant) {
        if self.is_ready() {
            self.interpreter.handle_timeout(now);
            self.handle_implied(now);
        }
        if let State::Confirming { until } = self.state
            && now >= until
        {
            let message = format!("the session was not confirmed within {} s", CONFIRM_MAX.as_secs());
            return self.fail(FaultClass::Retryable, "confirm_timeout", message);
        }
        if self.responses.handle_timeout(now) == Some(Expired::Unanswered) {
            self.unanswered();
        }
        self.watch_stall(now);
        self.give_up_words(now);
        self.follow_disclosure(now);
        self.ask(now);
        self.tell_tools();
    }

    /// When [`Self::handle_timeout`] wants to be called.
    pub fn poll_timeout(&self) -> Option<Instant> {
        match self.state {
            State::Confirming { until } => Some(until),
            State::Ready { .. } => {
                let deadlines = [
                    self.responses.deadline(),
                    self.stall_deadline(),
                    self.interpreter.poll_timeout(),
                    self.back_channel.deadline(),
                ];
                deadlines.into_iter().flatten().min()
            }
            State::Closed | State::Failed => None,
        }
    }

    /// The next thing to do.
    pub fn poll_output(&mut self) -> Option<Output> {
        self.outputs.pop_front()
    }

    /// One frame of caller audio at the rate of [`Self::format`]: whether the text to send was written, which is not so
    /// while the session cannot hear.
    pub fn append(&mut self, pcm: &[i16], text: &mut String) -> bool {
        let ready = self.is_ready();
        if ready {
            self.interpreter
                .write_append(self.format, pcm, &mut self.scratch.bytes, text);
        }
        ready
    }

    /// Lends a scratch to work in, or takes it back.
    pub fn swap_scratch(&mut self, scratch: &mut Scratch) {
        std::mem::swap(&mut self.scratch, scratch);
    }

    /// Lets the agent say its greeting; without one the caller speaks first.
    pub fn greet(&mut self, now: Instant) {
        if let Some(greeting) = &self.settings.greeting {
            let instructions = format!("Greet the caller with exactly these words and nothing else: {greeting}");
            self.wish(now, Some(instructions));
        }
        if self.disclosure.take_turn() {
            self.wish(now, None);
        }
    }

    /// Has the agent say exactly these words. [`Self::is_prompt`] knows them again.
    pub fn recite(&mut self, now: Instant, words: &str) {
        self.put(now, Wish::prompt(verbatim(words)));
    }

    /// Has the agent say these words behind what it is saying, unless it is away.
    pub fn say_words(&mut self, now: Instant, words: &str) {
        if self.is_ready() {
            self.wish(now, Some(verbatim(words)));
        }
    }

    /// Has the agent speak now, to these instructions, although the caller has not finished.
    pub fn step_in(&mut self, now: Instant, instructions: &str) {
        self.wish(now, Some(instructions.to_owned()));
    }

    /// The caller cuts in, says our own ear.
    pub fn cut_in(&mut self, now: Instant) {
        self.back_channel.cut_in();
        if !self.has_disclosure() {
            self.cut_off(now, true);
        }
    }

    /// Whether anything the agent said is left to be heard.
    pub fn is_speaking(&self) -> bool {
        !self.parts.is_empty()
    }

    /// Whether this utterance is the one that was last to be recited.
    pub fn is_prompt(&self, utterance: Utterance) -> bool {
        let response = self.parts.response_of(utterance);
        response.is_some_and(|response| self.responses.is_prompt(response))
    }

    /// The caller pressed a digit: it interrupts, and asks for an answer.
    pub fn digit(&mut self, now: Instant, digit: char) {
        if !matches!(digit, '0'..='9' | '*' | '#' | 'A'..='D') {
            return self.note("digit_dropped", "the session cannot be told of a digit");
        }
        self.say(now, &digit_text(digit));
    }

    /// The caller wrote something: it interrupts, and asks for an answer.
    pub fn text(&mut self, now: Instant, text: &str) {
        if text.trim().is_empty() {
            return self.note("text_dropped", "the session cannot be told of a text");
        }
        self.say(now, text);
    }

    /// Says something as the caller, in words. A session that is not ready is told with all that was said before.
    fn say(&mut self, now: Instant, text: &str) {
        self.history.caller_wrote(text);
        if self.has_disclosure() {
            self.disclosure.keep_turn();
        } else {
            self.responses.overtake();
            self.cut_off(now, true);
        }
        if self.is_ready() {
            self.send(&ClientEvent::Say(text));
        }
        if !self.has_disclosure() {
            self.wish(now, None);
        }
    }

    /// The answer to a tool call; `respond` asks the agent to go on from it. A session that is not ready is told with all
    /// that was said before; a call that was answered before is not answered again.
    pub fn tool_result(&mut self, now: Instant, call_id: &str, output: &str, respond: bool) {
        if !self.tool_calls.answer(call_id) {
            return self.note("tool_result_repeated", "the tool call has been answered before");
        }
        self.history.answered(call_id, output);
        if self.is_ready() {
            self.send(&ClientEvent::ToolResult { call: call_id, output });
        }
        if respond {
            self.wish(now, None);
        }
    }

    /// The last packet of this utterance has left.
    pub fn finished(&mut self, utterance: Utterance) {
        self.history.heard_whole(utterance);
        self.parts.finished(utterance);
    }

    /// The playout was emptied: how much of each unfinished utterance had left. What is not named was heard or never
    /// reached the playout; either way there is nothing more to say about it.
    pub fn interrupted(&mut self, heard: &[Heard]) {
        self.disclosure_cut(heard);
        self.mute_unheard();
        for heard in heard {
            self.history.heard_until(heard, self.parts.is_whole(heard));
        }
        if self.is_ready() {
            let truncates: Vec<Output> = heard.iter().filter_map(|heard| self.truncate(heard)).collect();
            // In front of what follows the interruption: a new response must not build on words nobody heard.
            truncates
                .into_iter()
                .rev()
                .for_each(|truncate| self.outputs.push_front(truncate));
        }
        self.parts.clear();
    }

    /// Tokens used by this session so far.
    pub fn usage(&self) -> Usage {
        self.usage
    }

    /// Cuts the agent off: what it still says or sends is not wanted any more.
    fn cut_off(&mut self, now: Instant, cancel: bool) {
        if let Some(response) = self.responses.cut_off(now)
            && cancel
        {
            self.cancel(&response);
        }
        if !self.parts.is_empty() {
            self.mute_unheard();
            self.push(Output::Interrupt);
        }
    }

    fn mute_unheard(&mut self) {
        for response in self.parts.responses() {
            self.responses.mute(response);
        }
    }

    fn truncate(&mut self, heard: &Heard) -> Option<Output> {
        let cut = self.parts.cut(heard)?;
        self.write(&cut.event())
    }

    fn cancel(&mut self, response: &str) {
        self.send(&ClientEvent::Cancel { response });
    }

    fn fail(&mut self, class: FaultClass, code: &str, message: String) {
        if class != FaultClass::Harmless {
            self.state = State::Failed;
        }
        self.push(Output::Fault(Fault {
            class,
            code: code.to_owned(),
            message,
        }));
    }

    /// Something was lost that the session goes on without.
    fn note(&mut self, code: &str, message: &str) {
        self.fail(FaultClass::Harmless, code, message.to_owned());
    }

    fn response_dropped(&mut self) {
        self.note("response_dropped", "a response that was wished for will not be had");
    }

    fn wish(&mut self, now: Instant, instructions: Option<String>) {
        if instructions.is_none() && !self.interpreter.has_responses() {
            // Nobody waits for anybody's turn there.
            return self.send(&ClientEvent::Respond { instructions: None });
        }
        self.put(now, Wish::new(instructions));
    }

    fn put(&mut self, now: Instant, wish: Wish) {
        if !self.responses.wish(wish) {
            self.response_dropped();
        }
        self.ask(now);
    }

    /// Asks for the next response, if one is wished for and none is owed.
    fn ask(&mut self, now: Instant) {
        if !self.is_ready() {
            return;
        }
        let event_id = self.events_sent + 1;
        let Some(wish) = self.responses.ask(now, event_id) else {
            return;
        };
        self.stall.ask(now);
        let event = ClientEvent::Respond {
            instructions: wish.instructions.as_deref(),
        };
        let text = self.interpreter.write(event_id, &event);
        self.events_sent = event_id;
        self.outputs.extend(text.map(Output::Send));
    }

    fn send(&mut self, event: &ClientEvent<'_>) {
        let output = self.write(event);
        self.outputs.extend(output);
    }

    /// None when this dialect has no such event.
    fn write(&mut self, event: &ClientEvent<'_>) -> Option<Output> {
        self.events_sent += 1;
        self.interpreter.write(self.events_sent, event).map(Output::Send)
    }

    fn push(&mut self, output: Output) {
        self.outputs.push_back(output);
    }

    /// Whether the session hears and speaks.
    pub fn is_ready(&self) -> bool {
        matches!(self.state, State::Ready { .. })
    }
}
