//! What the server's events mean to the machine.

use std::time::Instant;

use crate::realtime::{
    event::{ClientEvent, FormatView, Malformed, PartName, ResponseDone, ServerError, ServerEvent, SessionView},
    fault::{self, FaultClass},
    history::{self, Speaker, Transcript},
    tool_calls::ARGUMENTS_BYTES_MAX,
    usage::{Usage, Used},
};

use super::{Delta, Machine, Output, State, Unknown};

impl Machine {
    pub(super) fn handle_event(&mut self, now: Instant, event: ServerEvent<'_>) {
        match event {
            ServerEvent::SessionUpdated(view) => self.session_updated(now, &view),
            ServerEvent::SpeechStarted { .. } => self.speech_started(now),
            ServerEvent::TurnCommitted { item } => self.turn_committed(now, &item),
            ServerEvent::CallerTranscript { item, text, usage } => {
                self.used(usage);
                self.caller_transcript(now, &item, &text);
            }
            ServerEvent::CallerTranscriptDelta { item, text } => self.transcript_delta(Speaker::Caller, &item, &text),
            ServerEvent::ResponseCreated { id } => self.response_created(now, &id),
            ServerEvent::ResponseDone(done) => self.response_done(now, done),
            ServerEvent::AudioDelta { .. } => {}
            ServerEvent::AudioDone { part } => self.audio_done(&part),
            ServerEvent::AgentTranscriptDelta { part, text } => self.agent_words(&part, &text),
            ServerEvent::AgentTranscript { part, text } => self.agent_transcript(&part, &text),
            ServerEvent::ToolCall {
                response,
                call,
                name,
                arguments,
            } => {
                self.tool_call(now, &response, &call, &name, &arguments);
            }
            ServerEvent::ToolArgumentsDelta { response, call, delta } => self.tool_arguments(&response, &call, &delta),
            ServerEvent::Error(error) => self.server_error(now, error),
            ServerEvent::Approval { request, .. } => self.refuse(&request),
            ServerEvent::Used(usage) => self.used(usage),
            ServerEvent::AgentText { .. } => self.note("agent_wrote", "the agent wrote what it should have spoken"),
            ServerEvent::CallerTranscriptFailed { item, error } => {
                self.turn_understood(now, &item, None);
                self.report(FaultClass::Harmless, error);
            }
            ServerEvent::Unknown => self.push(Output::Unknown(Unknown::Event)),
            ServerEvent::SpeechStopped { .. }
            | ServerEvent::Truncated { .. }
            | ServerEvent::RemoteTool { .. }
            | ServerEvent::Key(_)
            | ServerEvent::RateLimits(_)
            | ServerEvent::Billed(_)
            | ServerEvent::Ping
            | ServerEvent::Noted => {}
        }
    }

    fn session_updated(&mut self, now: Instant, view: &SessionView) {
        // A server that is told something new may repeat nothing but that.
        if let Some(problem) = self
            .format_problem(view)
            .filter(|_| !self.is_ready() || view.names_a_format())
        {
            if self.try_second_choice(now) {
                return self.note("format_second_choice", &problem);
            }
            return self.fail(FaultClass::Fatal, "format_mismatch", problem);
        }
        let was_ready = self.is_ready();
        let server_cancels = view
            .interrupt_response
            .unwrap_or(self.settings.asks_server_to_interrupt());
        self.state = State::Ready { server_cancels };
        if !was_ready {
            self.recall();
            self.push(Output::Ready);
            self.ask(now);
        }
    }

    /// Tools that the server calls itself are not ours to allow; without an answer it would wait for ever.
    fn refuse(&mut self, request: &str) {
        self.send(&ClientEvent::Approve {
            request,
            approve: false,
            reason: "nobody is here to allow it",
        });
    }

    fn speech_started(&mut self, now: Instant) {
        let State::Ready { server_cancels } = self.state else {
            return;
        };
        if self.has_disclosure() || (self.settings.own_ear && !server_cancels) {
            return self.voice_began();
        }
        self.stall.forgive_turn();
        self.cut_off(now, !server_cancels);
    }

    /// What the caller said became an item of the conversation, and wants an answer.
    fn turn_committed(&mut self, now: Instant, item: &str) {
        self.answer_turn(now, item);
        // A server may leave out which: then its words find their place when they come.
        if item.is_empty() {
            return;
        }
        self.history.caller_took_turn(item);
        if self.has_disclosure() {
            self.disclosure.keep_turn();
        }
        if self.settings.lets_server_respond() && !self.responses.is_awaited() {
            self.stall.await_answer(now);
        }
        self.push(Output::TurnCommitted(item.to_owned()));
    }

    pub(super) fn audio_delta(&mut self, part: &PartName<'_>, audio: &str) -> Option<Delta<'_>> {
        if self.responses.is_muted(&part.response) {
            let ms = self.parts.ms_of(audio);
            self.history.agent_goes_on_unheard(&part.item, part.content_index, ms);
            return None;
        }
        let first = !self.parts.knows(part);
        let Ok(utterance) = self.parts.receive(part, audio, &mut self.scratch) else {
            self.note("malformed_audio", "the session sent audio that cannot be read");
            return None;
        };
        if first {
            self.history.agent_speaks(&part.item, part.content_index, utterance);
        }
        let pcm = self.scratch.pcm.as_slice();
        (!pcm.is_empty()).then_some(Delta { utterance, pcm })
    }

    fn audio_done(&mut self, part: &PartName<'_>) {
        if let Some(utterance) = self.parts.close(part) {
            self.push(Output::AudioDone(utterance));
        }
    }

    fn response_created(&mut self, now: Instant, id: &str) {
        self.stall.forgive_turn();
        if self.responses.created(now, id) {
            self.cancel(id);
        }
    }

    fn response_done(&mut self, now: Instant, done: ResponseDone) {
        self.used(done.usage);
        for utterance in self.parts.close_response(&done.id) {
            self.push(Output::AudioDone(utterance));
        }
        self.disclosure_done(&done.id, &done.status);
        self.responses.done(&done.id);
        if let Some(error) = done.error {
            self.response_failed(error);
        }
        self.ask(now);
    }

    /// A response that failed leaves the session open, so only what no other attempt gets past ends it.
    fn response_failed(&mut self, error: ServerError) {
        match fault::classify(&error.code, &error.kind) {
            FaultClass::Fatal => self.report(FaultClass::Fatal, error),
            FaultClass::Retryable | FaultClass::Harmless => self.report(FaultClass::Harmless, error),
        }
    }

    fn tool_call(&mut self, now: Instant, response: &str, call: &str, name: &str, arguments: &str) {
        // The caller spoke over it: the agent will decide anew.
        if self.responses.is_muted(response) || !self.tool_calls.is_new(call) {
            return;
        }
        if arguments.len() > ARGUMENTS_BYTES_MAX {
            let output = format!("The arguments are longer than the {ARGUMENTS_BYTES_MAX} bytes allowed.");
            self.history.called(call, name, "{}");
            return self.tool_result(now, call, &output, true);
        }
        self.history.called(call, name, arguments);
        self.push(Output::ToolCall {
            call_id: call.to_owned(),
            name: name.to_owned(),
            arguments: arguments.to_owned(),
        });
    }

    fn caller_transcript(&mut self, now: Instant, item: &str, text: &str) {
        self.history.caller_said(item, text);
        self.turn_understood(now, item, Some(text));
        self.transcript(Speaker::Caller, item, text);
    }

    /// More words of the agent. Those of a response that was cut off before it was heard are nobody's.
    fn agent_words(&mut self, part: &PartName<'_>, words: &str) {
        if self.is_of_interest(part) {
            self.history.agent_goes_on(&part.item, part.content_index, words);
            self.transcript_delta(Speaker::Agent, &part.item, words);
        }
    }

    fn agent_transcript(&mut self, part: &PartName<'_>, text: &str) {
        if self.is_of_interest(part) {
            self.history.agent_said(&part.item, part.content_index, text);
        }
        self.transcript(Speaker::Agent, &part.item, text);
    }

    fn is_of_interest(&self, part: &PartName<'_>) -> bool {
        !self.responses.is_muted(&part.response) || self.history.knows(&part.item, part.content_index)
    }

    fn tool_arguments(&mut self, response: &str, call: &str, delta: &str) {
        if self.responses.is_muted(response) {
            return;
        }
        if let Some(so_far) = self.arguments.push(call, delta) {
            let (call_id, so_far) = (call.to_owned(), so_far.to_owned());
            self.push(Output::ToolArguments { call_id, so_far });
        }
    }

    fn transcript(&mut self, who: Speaker, item: &str, text: &str) {
        let text = history::bounded(text, history::TEXT_BYTES_MAX);
        self.push(Output::Transcript(Transcript {
            who,
            text: text.to_owned(),
            item: item.to_owned(),
        }));
    }

    fn transcript_delta(&mut self, who: Speaker, item: &str, delta: &str) {
        self.push(Output::TranscriptDelta(Transcript {
            who,
            text: history::bounded(delta, history::TEXT_BYTES_MAX).to_owned(),
            item: item.to_owned(),
        }));
    }

    fn used(&mut self, usage: Usage) {
        if !usage.is_nothing() {
            self.usage += usage;
            let backend = self.settings.backend.clone();
            self.push(Output::Used(Box::new(Used { backend, usage })));
        }
    }

    fn server_error(&mut self, now: Instant, error: ServerError) {
        // Before the confirmation an error is about the configuration, and perhaps about its audio format alone.
        if fault::classify(&error.code, &error.kind) == FaultClass::Harmless && self.try_second_choice(now) {
            return self.report(FaultClass::Harmless, error);
        }
        match error.code.as_str() {
            fault::ALREADY_ACTIVE => self.refused(now, error.event_id),
            fault::CANCEL_NOT_ACTIVE => self.responses.cancel_refused(),
            _ => self.responses.failed(error.event_id),
        }
        let class = self.classify(&error);
        self.report(class, error);
        self.ask(now);
    }

    fn refused(&mut self, now: Instant, event_id: Option<u64>) {
        if !self.responses.refused(now, event_id) {
            self.response_dropped();
        }
    }

    /// Before the confirmation only the configuration is out, so any error is about it. The server would go on without
    /// what it refused: an agent without instructions or tools must not speak to a caller.
    fn classify(&self, error: &ServerError) -> FaultClass {
        match fault::classify(&error.code, &error.kind) {
            FaultClass::Harmless if !self.is_ready() => FaultClass::Fatal,
            class => class,
        }
    }

    fn report(&mut self, class: FaultClass, error: ServerError) {
        let code = if error.code.is_empty() { error.kind } else { error.code };
        self.fail(class, &code, error.message);
    }

    pub(super) fn malformed(&mut self, malformed: &Malformed) {
        self.fail(FaultClass::Harmless, "malformed_event", malformed.to_string());
    }

    /// Anything but what was asked for, in either direction, is noise to somebody's ear.
    fn format_problem(&self, view: &SessionView) -> Option<String> {
        let wanted = self.format;
        let problem = |side: &str, format: &FormatView| match format {
            FormatView::Known(format) if *format == wanted => None,
            FormatView::Known(other) => Some(format!("the session's {side} format is {other}, not {wanted}")),
            FormatView::Other(other) => Some(format!("the session's {side} format is {other}, not {wanted}")),
            FormatView::Absent => Some(format!("the session does not confirm its {side} format as {wanted}")),
        };
        problem("input", &view.input_format).or_else(|| problem("output", &view.output_format))
    }
}
