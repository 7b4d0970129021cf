//! The agent's tool calls: those done here at once, those that wait for the other side, and those somebody else does.

use std::time::{Duration, Instant};

use super::{Act, Action, Asker, Conductor, Input, Invocation, NotNow, Note, Order};
use crate::{
    call::recording::{Ask, Step as Recorded},
    tools::{Collected, Concealed, Ended, Errand, Finished, Plan, Reply, Toolbox, desk},
};

/// The name in notes of a tool there is none of.
const UNKNOWN: &str = "unknown";

/// Tool calls of ours that wait for something: a transfer, a hold and a collection at most, and what comes too many.
const OWN_MAX: usize = 8;

/// A tool call of ours that is not over.
#[derive(Debug)]
pub(super) struct Own {
    call_id: String,
    name: String,
    arguments: String,
    began: Instant,
}

/// The caller waits.
#[derive(Debug)]
pub(super) struct Hold {
    call_id: String,
    until: Instant,
}

impl Conductor {
    /// What the agent may do from now on. Its session learns of it, if that is anything else.
    pub fn retool(&mut self, toolbox: Toolbox) {
        let specs = toolbox.specs();
        if specs != self.settings.toolbox.specs() {
            self.order(Order::Tools(specs));
        }
        self.settings.toolbox = toolbox;
    }

    /// The agent calls a tool. One that was told before is not begun again.
    pub(super) fn tool_call(&mut self, now: Instant, session: u32, call_id: String, invocation: Invocation<'_>) {
        let Invocation { name, arguments } = invocation;
        if self.is_joined() {
            // It was said before its session was closed.
            return;
        }
        if self.own.iter().any(|own| own.call_id == call_id) {
            return;
        }
        if self.desk.knows(&call_id) {
            return self.perform_tools(now);
        }
        self.note(Note::ToolCalled {
            call_id: call_id.clone(),
            name: name.to_owned(),
            arguments: arguments.to_owned(),
        });
        let action = self.settings.toolbox.read(invocation);
        if !matches!(action, Ok(Action::Run(..))) {
            self.remember(now, &call_id, name, arguments);
        }
        match action {
            Ok(Action::HangUp { .. }) if self.second_leg.is_some() => {
                let output = "The call is being transferred and ends by itself. Say nothing more.".to_owned();
                self.own_done(now, &call_id, Ended::Failed, output, false);
            }
            Ok(Action::HangUp { .. }) => {
                self.own_done(now, &call_id, Ended::Ok, "the call is being ended".to_owned(), false);
                self.handle(now, Input::HangUpAsked);
            }
            Ok(Action::Transfer { to }) => {
                let asked = self.transfer(now, Asker::Agent(call_id.clone()), to, None);
                self.refused(now, &call_id, asked);
            }
            Ok(Action::SendDigits { digits }) => match self.send_digits(&digits) {
                Ok(()) => self.own_done(
                    now,
                    &call_id,
                    Ended::Ok,
                    "The keys are being pressed.".to_owned(),
                    false,
                ),
                refused => self.refused(now, &call_id, refused),
            },
            Ok(Action::CollectDigits(plan)) => self.collect(now, call_id, plan),
            Ok(Action::Hold(length)) => self.hold(now, call_id, length),
            Ok(Action::Run(tool, arguments)) => {
                let digits = self.vault.referred_to(&arguments);
                let errand = Errand {
                    session,
                    call_id,
                    tool,
                    arguments,
                    digits,
                };
                self.desk.begin(now, errand);
                self.perform_tools(now);
            }
            Err(misuse) => self.own_done(now, &call_id, Ended::Failed, misuse.to_string(), true),
        }
    }

    /// What came of an errand.
    pub fn tool_replied(&mut self, now: Instant, call_id: &str, reply: Reply) {
        let reply = match reply {
            Reply::Done(output) => Reply::Done(self.vault.conceal(&output)),
            Reply::Failed(why) => Reply::Failed(self.vault.conceal(&why)),
        };
        self.desk.reply(now, call_id, reply);
        self.perform_tools(now);
    }

    /// A person has decided about an errand; false when nobody waits for that any more.
    pub fn decide(&mut self, now: Instant, call_id: &str, decision: &desk::Decision) -> bool {
        let waited = self.desk.decide(now, call_id, decision);
        self.perform_tools(now);
        waited
    }

    /// The caller typed a key while the vault was open.
    pub(super) fn key_for_vault(&mut self, now: Instant, key: Concealed) {
        let collected = self.vault.key(now, key);
        self.collected(now, collected);
    }

    pub(super) fn tools_timeout(&mut self, now: Instant) {
        self.desk.handle_timeout(now);
        self.perform_tools(now);
        let collected = self.vault.handle_timeout(now);
        self.collected(now, collected);
        if self.hold.as_ref().is_some_and(|hold| now >= hold.until) {
            self.end_hold(now, "The time on hold is over. The caller hears you again.");
        }
    }

    pub(super) fn tools_poll_timeout(&self) -> Option<Instant> {
        let hold = self.hold.as_ref().map(|hold| hold.until);
        [self.desk.poll_timeout(), self.vault.poll_timeout(), hold]
            .into_iter()
            .flatten()
            .min()
    }

    /// The call is over.
    pub(super) fn close_tools(&mut self, now: Instant) {
        self.desk.close(now);
        self.perform_tools(now);
        self.hold = None;
        // What was typed so far is not wanted by anybody.
        if self.vault.close().is_some() {
            self.order(Order::Divert(false));
            self.order(Order::Hush(false));
        }
        for own in std::mem::take(&mut self.own) {
            self.finished(now, own, Ended::Cancelled);
        }
    }

    pub(super) fn own_done(&mut self, now: Instant, call_id: &str, ended: Ended, output: String, respond: bool) {
        self.desk.remember(call_id, &output);
        self.tool_result(call_id.to_owned(), output, respond);
        if let Some(index) = self.own.iter().position(|own| own.call_id == call_id) {
            let own = self.own.remove(index);
            self.finished(now, own, ended);
        }
    }

    fn remember(&mut self, now: Instant, call_id: &str, name: &str, arguments: &str) {
        if self.own.len() == OWN_MAX {
            let oldest = self.own.remove(0);
            self.finished(now, oldest, Ended::Failed);
        }
        self.own.push(Own {
            call_id: call_id.to_owned(),
            name: name.to_owned(),
            arguments: arguments.to_owned(),
            began: now,
        });
    }

    fn finished(&mut self, now: Instant, own: Own, ended: Ended) {
        let configured = self
            .settings
            .toolbox
            .configured(&own.name)
            .unwrap_or(UNKNOWN)
            .to_owned();
        self.note(Note::ToolFinished(Box::new(Finished {
            call_id: own.call_id,
            name: own.name,
            configured,
            arguments: own.arguments,
            ended,
            took: now.saturating_duration_since(own.began),
        })));
    }

    fn refused(&mut self, now: Instant, call_id: &str, asked: Result<(), NotNow>) {
        if let Err(not_now) = asked {
            let output = format!("That is not possible now: {not_now}.");
            self.own_done(now, call_id, Ended::Failed, output, true);
        }
    }

    fn tool_result(&mut self, call_id: String, output: String, respond: bool) {
        self.order(Order::ToolResult {
            call_id,
            output,
            respond,
        });
    }

    /// Whether the caller can be kept waiting, or asked to type.
    fn is_free(&self) -> Result<(), NotNow> {
        match self.talking {
            false => Err(NotNow::NotTalking),
            true if self.second_leg.is_some() => Err(NotNow::Transferring),
            true if self.hold.is_some() || self.vault.is_open() => Err(NotNow::Collecting),
            true => Ok(()),
        }
    }

    /// From here on what the caller types goes into the vault, and what the caller says or plays goes nowhere.
    fn collect(&mut self, now: Instant, call_id: String, plan: Plan) {
        if let Err(not_now) = self.is_free() {
            return self.refused(now, &call_id, Err(not_now));
        }
        self.vault.open(now, call_id, plan);
        self.order(Order::Hush(true));
        self.order(Order::Divert(true));
        let paused = self.recording.ask(Ask::Pause).ok().flatten();
        self.unpause = paused == Some(Recorded::Pause(true));
        self.acts.extend(paused.map(Act::Record));
    }

    fn collected(&mut self, now: Instant, collected: Option<Collected>) {
        let Some(collected) = collected else { return };
        self.order(Order::Divert(false));
        self.order(Order::Hush(false));
        if std::mem::take(&mut self.unpause) {
            let resumed = self.recording.ask(Ask::Resume).ok().flatten();
            self.acts.extend(resumed.map(Act::Record));
        }
        self.record_if_wanted();
        let ended = if collected.reference.is_some() {
            Ended::Ok
        } else {
            Ended::Failed
        };
        self.own_done(now, &collected.call_id, ended, collected.explained(), true);
    }

    /// The caller hears a tone and is not heard.
    fn hold(&mut self, now: Instant, call_id: String, length: Duration) {
        if let Err(not_now) = self.is_free() {
            return self.refused(now, &call_id, Err(not_now));
        }
        self.order(Order::Hold(true));
        self.hold = Some(Hold {
            call_id,
            until: now + length,
        });
    }

    pub(super) fn end_hold(&mut self, now: Instant, why: &str) {
        if let Some(hold) = self.hold.take() {
            self.order(Order::Hold(false));
            self.own_done(now, &hold.call_id, Ended::Ok, why.to_owned(), true);
        }
    }

    fn perform_tools(&mut self, now: Instant) {
        while let Some(step) = self.desk.poll_step() {
            match step {
                desk::Step::Do(work) => self.acts.push_back(Act::Tool(work)),
                // On hold the caller hears something already.
                desk::Step::Say(words) if self.hold.is_none() => self.order(Order::Say(words)),
                desk::Step::Say(_) => {}
                desk::Step::Answer { call_id, output } => {
                    self.end_hold(now, "A tool has answered. The caller hears you again.");
                    self.tool_result(call_id, output, true);
                }
                desk::Step::Over(finished) => self.note(Note::ToolFinished(Box::new(finished))),
            }
        }
    }
}
