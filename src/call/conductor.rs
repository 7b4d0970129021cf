//! The conductor: what one call's leg, media and session report, translated into decisions, and decisions into what they
//! are to do.
//!
//! It owns the [`Machine`], where offer and answer stand, and a transfer under way, and knows the commands of the leg and
//! the orders of the bridge. It is pure: whoever drives it (an actor in the gateway, a desk in the simulation) brings the
//! events and performs the acts, in order.

use std::{
    collections::VecDeque,
    net::IpAddr,
    sync::Arc,
    time::{Duration, Instant},
};

use super::{
    Cause, Machine, Outcome, Terms,
    bridge::{Report, away},
    keys,
    machine::{self, Input, Output},
    order::{Disclosure, Order},
    recording::{self, Recording, Wanted},
    second_leg::{SecondLeg, Step as SecondLegStep},
    transfer::{self, Asker, Transfer},
    turns,
};
use crate::{
    audio::Law,
    sdp::{self, Local},
    sip::{Command, Event, LegId},
    tools::{Action, Desk, Invocation, Toolbox, Vault, desk::Work},
};

mod note;
mod record;
mod second_leg;
mod talk;
mod tools;

#[cfg(test)]
mod tests;

pub use self::note::Note;

/// How long a digit by INFO says it was pressed.
const DIGIT_LENGTH: Duration = Duration::from_millis(160);

/// What is to be done.
#[derive(Debug, PartialEq)]
pub enum Act {
    /// Give the leg this command.
    Leg(Command),
    /// Give the leg this last command and let it go. Nothing may be left of it already.
    EndLeg(Command),
    /// Give the bridge this order. Before there is media there is nothing to order.
    Media(Order),
    /// Take ports, start the media and the session, and say so with [`Conductor::located`].
    StartMedia {
        /// The address for the sockets.
        local_ip: IpAddr,
        /// The address for the description.
        advertised_ip: IpAddr,
    },
    /// Have both sides recorded, or not any more.
    Record(recording::Step),
    /// Something about a tool that is done elsewhere.
    Tool(Work),
    /// Something about the second leg.
    SecondLeg(SecondLegStep),
    /// For the log, the record and whoever watches.
    Note(Note),
    /// The call is over; nothing follows but orders to nobody.
    End(Outcome),
}

/// What the configuration says about one call.
#[derive(Debug, Clone)]
pub struct Settings {
    /// When to answer, and the limits.
    pub machine: machine::Settings,
    /// What the agent may do.
    pub toolbox: Toolbox,
    /// How long what a callee says first may last before it is called a machine; none is never.
    pub voicemail_after: Option<Duration>,
    /// How keys travel.
    pub keys: keys::Settings,
    /// Whether texts of the other side are passed on to the agent.
    pub messages: bool,
    /// When recording begins.
    pub recording: recording::Policy,
    /// How turns are kept.
    pub turns: turns::Settings,
    /// What every caller has to hear before anything else.
    pub disclosure: Option<Disclosure>,
    /// What the caller hears while there is no session, and what is kept meanwhile.
    pub away: away::Settings,
    /// What is left to a caller whose agent has gone for good.
    pub failover: Failover,
    /// How calls are handed on.
    pub transfers: transfer::Settings,
}

/// What is left to a caller whose agent has gone for good; [`machine::Settings::failover`] follows from it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Failover {
    /// What is played.
    pub prompt: Option<Arc<recording::Sound>>,
    /// Whom the call is handed on to.
    pub transfer: Option<String>,
}

impl Settings {
    fn machine(&self) -> machine::Settings {
        machine::Settings {
            failover: machine::Failover {
                prompt: self.failover.prompt.is_some(),
                transfer: self.failover.transfer.is_some(),
            },
            ..self.machine
        }
    }
}

/// Why something cannot be asked of a call now.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NotNow {
    /// It has not been answered, or is over.
    #[error("the call is not answered, or is over")]
    NotTalking,
    /// A transfer is under way.
    #[error("a transfer is under way already")]
    Transferring,
    /// The far end takes no keys in a way that the trunk allows.
    #[error("the far end takes no keys in a way that the trunk's dtmf names")]
    NoKeys,
    /// Keys of the caller are being collected, or the caller is on hold.
    #[error("the caller is typing what nobody is to see, or on hold")]
    Collecting,
    /// The agent has no such backend.
    #[error("names no backend of the call's agent")]
    NoSuchBackend,
    /// It does not fit what is being recorded.
    #[error(transparent)]
    Recording(recording::Misfit),
}

/// One call's decisions, joined with what they are about.
#[derive(Debug)]
pub struct Conductor {
    machine: Machine,
    settings: Settings,
    /// None while a call we place has not found its way.
    terms: Option<Terms>,
    talking: bool,
    transfer: Option<Transfer>,
    /// Whom we call for the transfer.
    second_leg: Option<SecondLeg>,
    recording: Recording,
    /// Tools that are done elsewhere.
    desk: Desk,
    /// Tools of ours that are not over.
    own: Vec<tools::Own>,
    vault: Vault,
    hold: Option<tools::Hold>,
    /// The recording is paused for the vault's sake alone.
    unpause: bool,
    /// The agent's first words wait for the end of the prompt.
    greeting_held: bool,
    /// The agent's last words, when a budget is spent.
    goodbye: String,
    /// Whether what has to be heard has been ordered.
    disclosing: bool,
    acts: VecDeque<Act>,
}

impl Conductor {
    /// A call that came in and whose offer has been settled.
    pub fn answering(now: Instant, settings: Settings, terms: Terms) -> Self {
        let mut decided = settings.machine();
        // Where the INVITE has no offer there is nowhere to send a greeting before the answer.
        if terms.agreed().is_none() && decided.answer == machine::Answer::AfterGreeting {
            decided.answer = machine::Answer::WhenReady;
        }
        Self::new(now, Machine::new(now, decided), settings, Some(terms))
    }

    /// A call that is being placed.
    pub fn placing(now: Instant, settings: Settings) -> Self {
        let machine = Machine::dial(now, settings.machine());
        Self::new(now, machine, settings, None)
    }

    fn new(now: Instant, machine: Machine, settings: Settings, terms: Option<Terms>) -> Self {
        let mut conductor = Self {
            machine,
            settings,
            terms,
            talking: false,
            transfer: None,
            second_leg: None,
            recording: Recording::default(),
            desk: Desk::default(),
            own: Vec::new(),
            vault: Vault::default(),
            hold: None,
            unpause: false,
            greeting_held: false,
            goodbye: String::new(),
            disclosing: false,
            acts: VecDeque::new(),
        };
        conductor.perform(now);
        conductor
    }

    /// The law of G.711 that both sides agreed on, if that is what they agreed on.
    pub fn leg_law(&self) -> Option<Law> {
        self.terms.as_ref()?.agreed()?.send.codec.law()
    }

    /// Takes in what the session, the control API or the gateway report.
    pub fn handle(&mut self, now: Instant, input: Input) {
        if input == Input::SessionReady {
            self.prompt_new_session(now);
        }
        self.machine.handle(now, input);
        self.perform(now);
    }

    /// Takes in what happened to the leg.
    pub fn handle_leg(&mut self, now: Instant, event: Event) {
        match event {
            // The INVITE made this call; the end of the leg is told by `leg_gone`.
            Event::Incoming(_) | Event::Gone => {}
            Event::Cancelled => self.handle(now, Input::Cancelled),
            Event::Confirmed { answer } => self.confirmed(now, answer.as_deref()),
            Event::Reoffered { offer } => self.reoffered(offer.as_deref()),
            Event::ByeReceived { .. } => self.handle(now, Input::ByeReceived),
            Event::Failed { reason } => self.leg_failed(now, reason),
            Event::Located {
                local_ip,
                advertised_ip,
            } => self.acts.push_back(Act::StartMedia {
                local_ip,
                advertised_ip,
            }),
            Event::Ringing => self.rung(now, Note::Ringing),
            Event::Progressed { answer } => self.progressed(now, &answer),
            Event::Answered { answer } => self.accepted(now, answer.as_deref()),
            Event::Rejected { status, .. } => self.handle(now, Input::Rejected(status)),
            // We make no offers inside a call.
            Event::Reanswered { .. } => {}
            Event::TransferProgress { status } => self.transfer_progress(now, status),
            Event::TransferAsked { to, .. } => self.transfer_asked(&to),
            Event::Digit { digit, .. } => self.digit_by_info(digit),
            Event::MessageReceived { text } => self.text_by_message(text),
        }
    }

    /// Nothing more happens to the leg. Whatever was to be said about it has been said, unless its driver died.
    pub fn leg_gone(&mut self, now: Instant) {
        self.handle(now, Input::LegFailed(Cause::Crashed));
    }

    /// There are ports for a call we place, or there are none.
    pub fn located(&mut self, now: Instant, local: Result<Local, Cause>) {
        if self.machine.ended() {
            return;
        }
        match local.and_then(|local| Ok(Terms::new(local, None)?)) {
            Ok(terms) => {
                let sdp = terms.body().to_vec();
                self.terms = Some(terms);
                self.acts.push_back(Act::Leg(Command::Offer { sdp }));
            }
            Err(cause) => self.handle(now, Input::MediaRefused(cause)),
        }
    }

    /// Takes in what the media reports.
    pub fn handle_report(&mut self, now: Instant, report: Report) {
        match report {
            Report::Quiet => self.handle(now, Input::Quiet),
            Report::Said => self.handle(now, Input::Said),
            Report::CallerSilent => self.handle(now, Input::CallerSilent),
            Report::Unheard => self.handle(now, Input::Unheard),
            Report::Diagnosis(diagnosis) => self.note(Note::Diagnosis(diagnosis)),
            Report::Quality(quality) => self.note(Note::Quality(quality)),
            Report::SecurityFailed(word) => {
                let cause = Cause::from_word(word).unwrap_or(Cause::BadSdp);
                self.handle(now, Input::MediaRefused(cause));
            }
            Report::AgentStopped => self.note(Note::AgentStopped),
            Report::CallerIdle => self.handle(now, Input::CallerIdle),
            Report::Disclosed { sent_ms } => self.disclosed(now, Note::Disclosed { sent_ms }),
            Report::NotDisclosed => self.disclosed(now, Note::NotDisclosed),
            Report::PromptHeard => self.prompted(now, true),
            Report::PromptCut => self.prompted(now, false),
            Report::MachineLikely => self.note(Note::MachineLikely),
            Report::Digit(digit) => self.key_pressed(digit),
            Report::SecondLegLost(cause) => self.second_leg_lost(now, cause),
            Report::Renewed(gap) => self.note(Note::Renewed(gap)),
            Report::VaultKey(key) => self.key_for_vault(now, key),
            Report::ToolArguments { call_id, so_far } => self.note(Note::ToolArguments { call_id, so_far }),
            Report::ToolCall {
                session,
                call_id,
                name,
                arguments,
            } => self.tool_call(
                now,
                session,
                call_id,
                Invocation {
                    name: &name,
                    arguments: &arguments,
                },
            ),
            Report::Transcript(transcript) => self.note(Note::Said(transcript)),
            Report::TranscriptDelta(delta) => self.note(Note::Saying(delta)),
            // These are for the session, the metrics and whoever has the prices.
            Report::Used(_)
            | Report::SessionReady
            | Report::SessionFault(_)
            | Report::Responded(_)
            | Report::BargedIn(_)
            | Report::Filled(_)
            | Report::Recovered(_)
            | Report::StandbyFault(_)
            | Report::PlayoutDropped
            | Report::Unknown(_) => {}
        }
    }

    /// A budget is spent: the agent says these words, if any, and the call ends.
    pub fn budget_spent(&mut self, now: Instant, goodbye: &str) {
        goodbye.clone_into(&mut self.goodbye);
        self.handle(
            now,
            Input::BudgetSpent {
                goodbye: !goodbye.is_empty(),
            },
        );
    }

    fn say_goodbye(&mut self) {
        let words = std::mem::take(&mut self.goodbye);
        self.order(Order::Say(words));
    }

    /// Takes in that time has passed.
    pub fn handle_timeout(&mut self, now: Instant) {
        self.machine.handle_timeout(now);
        self.perform(now);
        self.prompt_timeout(now);
        self.tools_timeout(now);
        if let Some(ended) = self.transfer.as_ref().and_then(|transfer| transfer.handle_timeout(now)) {
            self.transfer_ended(now, ended);
        }
        self.second_leg_timeout(now);
    }

    /// When [`Self::handle_timeout`] wants to be called.
    pub fn poll_timeout(&self) -> Option<Instant> {
        let transfer = self.transfer.as_ref().and_then(Transfer::poll_timeout);
        let prompt = self.recording.poll_timeout();
        let second = self.second_leg.as_ref().and_then(SecondLeg::poll_timeout);
        let tools = self.tools_poll_timeout();
        [self.machine.poll_timeout(), transfer, prompt, tools, second]
            .into_iter()
            .flatten()
            .min()
    }

    /// The next thing to do.
    pub fn poll_act(&mut self) -> Option<Act> {
        self.acts.pop_front()
    }

    /// Whether the outcome has been given.
    pub fn ended(&self) -> bool {
        self.machine.ended()
    }

    /// Where offer and answer stand.
    pub fn terms(&self) -> Option<&Terms> {
        self.terms.as_ref()
    }

    fn perform(&mut self, now: Instant) {
        while let Some(output) = self.machine.poll_output() {
            match output {
                Output::Ring => self.ring(),
                Output::Progress => self.progress(),
                Output::Answer => self.answer(now),
                Output::Refuse(cause) => self.acts.push_back(Act::EndLeg(refuse(cause))),
                Output::Greet => self.greet_or_prompt(now),
                Output::Comfort(on) => self.order(Order::Comfort(on)),
                Output::Apologise => self.order(Order::Apologise),
                Output::FailoverPrompt => self.play_failover(),
                Output::HandOn => self.hand_on(now),
                Output::AwaitQuiet => self.order(Order::AwaitQuiet),
                Output::AwaitSaid => self.order(Order::AwaitSaid),
                Output::HangUp(cause) => self.acts.push_back(Act::EndLeg(hang_up(cause))),
                Output::End(outcome) => self.end(now, outcome),
                Output::SayGoodbye => self.say_goodbye(),
            }
        }
    }

    fn ring(&mut self) {
        self.acts.push_back(Act::Leg(Command::Ring));
        self.note(Note::Ringing);
    }

    /// From here on the caller hears us, although the call is not answered.
    fn progress(&mut self) {
        self.order(Order::Early(true));
        self.apply_terms();
        if let Some(sdp) = self.body() {
            self.acts.push_back(Act::Leg(Command::Progress { sdp }));
        }
        self.note(Note::Early);
    }

    fn answer(&mut self, now: Instant) {
        self.answered(now);
        self.order(Order::Early(false));
        // Nothing is sent to the caller's media address while it only rings.
        self.apply_terms();
        self.answer_leg();
    }

    fn answered(&mut self, now: Instant) {
        self.talking = true;
        if self.settings.turns != turns::Settings::default() {
            self.order(Order::Turns {
                settings: Box::new(self.settings.turns.clone()),
                ends_at: now.checked_add(self.settings.machine.duration_max),
            });
        }
        self.note(Note::Answered);
        if self.settings.recording == recording::Policy::On {
            self.recording.want(Wanted::Agent);
        }
    }

    fn answer_leg(&mut self) {
        if let Some(sdp) = self.body() {
            self.acts.push_back(Act::Leg(Command::Answer { sdp }));
        }
    }

    fn end(&mut self, now: Instant, outcome: Outcome) {
        self.talking = false;
        self.close_tools(now);
        self.transfer = None;
        self.close_second_leg(outcome.cause);
        // Whatever is left of the leg needs no more of us; a leg that is over ignores this.
        self.acts.push_back(Act::EndLeg(hang_up(outcome.cause)));
        self.acts.push_back(Act::End(outcome));
    }

    fn body(&self) -> Option<Vec<u8>> {
        self.terms.as_ref().map(|terms| terms.body().to_vec())
    }

    /// Puts into effect what has been agreed on; nothing has while our own offer waits for its answer.
    fn apply_terms(&mut self) {
        if let Some(agreed) = self.terms.as_ref().and_then(|terms| terms.agreed().cloned()) {
            self.note(Note::Agreed(Box::new(agreed.clone())));
            if self.settings.keys != keys::Settings::default() {
                self.order(Order::Keys(self.settings.keys.clone()));
            }
            self.order(Order::Away(self.settings.away.clone()));
            self.order(Order::Apply(Box::new(agreed)));
            self.record_if_wanted();
        }
    }

    fn leg_failed(&mut self, now: Instant, reason: &str) {
        let cause = Cause::from_word(reason).unwrap_or(Cause::FlowLost);
        self.handle(now, Input::LegFailed(cause));
    }

    fn confirmed(&mut self, now: Instant, answer: Option<&[u8]>) {
        let Some(terms) = &mut self.terms else { return };
        match terms.acknowledge(answer) {
            Ok(true) => self.apply_terms(),
            Ok(false) => {}
            Err(refusal) => {
                self.unusable(&refusal);
                self.handle(now, Input::Confirmed);
                return self.handle(now, Input::MediaRefused(refusal.into()));
            }
        }
        self.handle(now, Input::Confirmed);
    }

    fn rung(&mut self, now: Instant, note: Note) {
        self.handle(now, Input::Rung);
        self.note(note);
    }

    /// The callee's side plays something before the answer. It is not passed on to the agent, which would answer a
    /// recorded voice, and nothing is sent there yet; so the media does not begin.
    fn progressed(&mut self, now: Instant, answer: &[u8]) {
        if let Some(terms) = &mut self.terms
            && let Err(refusal) = terms.answered(Some(answer))
        {
            self.unusable(&refusal);
        }
        self.rung(now, Note::Early);
    }

    fn accepted(&mut self, now: Instant, answer: Option<&[u8]>) {
        let Some(terms) = &mut self.terms else { return };
        match terms.answered(answer) {
            Ok(()) => self.talk(now),
            Err(refusal) => {
                self.unusable(&refusal);
                self.handle(now, Input::MediaRefused(refusal.into()));
            }
        }
    }

    fn talk(&mut self, now: Instant) {
        self.answered(now);
        self.apply_terms();
        if let Some(limit) = self.settings.voicemail_after {
            self.order(Order::WatchVoice(limit));
        }
        self.handle(now, Input::Accepted);
    }

    /// A re-INVITE: hold, resume, a new address or codec; or, without an offer, a question for ours.
    fn reoffered(&mut self, offer: Option<&[u8]>) {
        let Some(terms) = &mut self.terms else { return };
        match terms.reoffer(offer) {
            Ok(()) => {
                self.apply_terms();
                self.answer_leg();
            }
            Err(refusal) => {
                self.unusable(&refusal);
                self.acts.push_back(Act::Leg(refuse(refusal.into())));
            }
        }
    }

    fn unusable(&mut self, refusal: &sdp::Refusal) {
        self.note(Note::Unusable(refusal.to_string()));
    }

    fn order(&mut self, order: Order) {
        self.acts.push_back(Act::Media(order));
    }

    fn note(&mut self, note: Note) {
        self.acts.push_back(Act::Note(note));
    }
}

/// The command that refuses a call for this cause.
pub fn refuse(cause: Cause) -> Command {
    Command::Refuse {
        status: Outcome::refused(cause).sip_code,
        reason: cause.word().into(),
    }
}

fn hang_up(cause: Cause) -> Command {
    Command::HangUp {
        reason: cause.word().into(),
    }
}
