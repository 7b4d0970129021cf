//! The desk: the tool calls of one call that take their time.
//!
//! A call of a tool is begun once, whatever a session says and however often: its id is kept, and so is what came of it.
//! A session that replaces another may call again what it sees unanswered; that joins the call under way. Meanwhile the
//! agent goes on talking, and after a while says the tool's filler. Whoever owns the desk does the errands and brings
//! back replies, decisions and the time.

use std::{
    collections::VecDeque,
    sync::Arc,
    time::{Duration, Instant},
};

use super::external::{Ended, Errand, Finished, Reply};

/// Tool calls under way at once; one more is refused, and the model told to wait.
const RUNS_MAX: usize = 8;

/// Tool calls whose results are kept; one that is told again after so many others would be begun again, were it not for
/// the journal.
const SETTLED_MAX: usize = 64;

/// How often a filler is said during one tool call.
const FILLERS_MAX: u32 = 3;

/// From one filler to the next at least.
const FILLER_PAUSE: Duration = Duration::from_secs(12);

/// What is to be done elsewhere.
#[derive(Debug, Clone, PartialEq)]
pub enum Work {
    /// Do this.
    Start(Errand),
    /// Ask a person whether this may be done, within so long.
    Ask(Errand, Duration),
    /// The question of this tool call is settled: it was answered so, or is not asked any more.
    Withdraw(String, Option<bool>),
    /// Stop doing what this tool call asks for.
    Stop(String),
}

/// What is to be done.
#[derive(Debug, Clone, PartialEq)]
pub enum Step {
    /// Have this done elsewhere.
    Do(Work),
    /// Have the agent say this.
    Say(String),
    /// Tell the session the result.
    Answer {
        /// The session's id of the call.
        call_id: String,
        /// The result.
        output: String,
    },
    /// A tool call is over.
    Over(Finished),
}

/// A person's word on a tool call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Decision {
    /// Whether it may be done.
    pub approved: bool,
    /// Why, in the person's words; may be empty.
    pub reason: String,
}

/// The tool calls of one call.
#[derive(Debug, Default)]
pub struct Desk {
    runs: Vec<Run>,
    settled: VecDeque<(String, String)>,
    steps: VecDeque<Step>,
}

#[derive(Debug)]
struct Run {
    errand: Errand,
    /// Further ids that a later session knows the same call by.
    aliases: Vec<String>,
    began: Instant,
    stage: Stage,
    filler_at: Option<Instant>,
    fillers: u32,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    Asking { until: Instant },
    Doing { until: Instant },
}

impl Desk {
    /// What is already known of a tool call that is told again: true when nothing is to be begun.
    pub fn knows(&mut self, call_id: &str) -> bool {
        if let Some((_, output)) = self.settled.iter().find(|(id, _)| id == call_id) {
            let output = output.clone();
            self.answer(call_id.to_owned(), output);
            return true;
        }
        self.runs.iter().any(|run| run.is_called(call_id))
    }

    /// A tool call that was done without the desk: its result is kept.
    pub fn remember(&mut self, call_id: &str, output: &str) {
        if self.settled.len() == SETTLED_MAX {
            self.settled.pop_front();
        }
        self.settled.push_back((call_id.to_owned(), output.to_owned()));
    }

    /// The agent calls a tool.
    pub fn begin(&mut self, now: Instant, errand: Errand) {
        let same = |run: &&mut Run| run.errand.session != errand.session && run.is_same(&errand);
        if let Some(run) = self.runs.iter_mut().find(same) {
            // Another of the same session is wanted for itself.
            run.errand.session = errand.session;
            run.aliases.push(errand.call_id);
            return;
        }
        if self.runs.len() >= RUNS_MAX {
            let output = format!("{RUNS_MAX} tool calls are under way. Wait for one of them before you call another.");
            self.over(now, now, &errand, Ended::Failed);
            return self.settle(errand.call_id, output);
        }
        let stage = match errand.tool.approval {
            true => Stage::Asking {
                until: now + errand.tool.manners.approval_timeout,
            },
            false => self.start(now, errand.clone()),
        };
        if errand.tool.approval {
            let timeout = errand.tool.manners.approval_timeout;
            self.steps.push_back(Step::Do(Work::Ask(errand.clone(), timeout)));
        }
        let manners = &errand.tool.manners;
        self.runs.push(Run {
            filler_at: manners.filler.is_some().then(|| now + manners.filler_after),
            errand,
            aliases: Vec::new(),
            began: now,
            stage,
            fillers: 0,
        });
    }

    fn start(&mut self, now: Instant, errand: Errand) -> Stage {
        let until = now + errand.tool.manners.timeout;
        self.steps.push_back(Step::Do(Work::Start(errand)));
        Stage::Doing { until }
    }

    /// A person has decided; false when nobody waits for that any more.
    pub fn decide(&mut self, now: Instant, call_id: &str, decision: &Decision) -> bool {
        let asking = |run: &Run| run.errand.call_id == call_id && matches!(run.stage, Stage::Asking { .. });
        let Some(index) = self.runs.iter().position(asking) else {
            return false;
        };
        let answer = Some(decision.approved);
        self.steps
            .push_back(Step::Do(Work::Withdraw(call_id.to_owned(), answer)));
        if decision.approved {
            let errand = self.runs[index].errand.clone();
            self.runs[index].stage = self.start(now, errand);
            return true;
        }
        let reason = decision.reason.trim();
        let because = if reason.is_empty() {
            String::new()
        } else {
            format!(" The reason: {reason}")
        };
        let run = self.runs.remove(index);
        self.finish(
            now,
            run,
            Ended::Rejected,
            format!("A person has decided that this is not done.{because}"),
        );
        true
    }

    /// What came of a tool call.
    pub fn reply(&mut self, now: Instant, call_id: &str, reply: Reply) {
        // One that took too long has been answered already.
        if let Some(run) = self.take(call_id) {
            match reply {
                Reply::Done(output) => self.finish(now, run, Ended::Ok, output),
                Reply::Failed(why) => self.finish(now, run, Ended::Failed, why),
            }
        }
    }

    /// The call is over: what is under way is stopped, and nobody is told.
    pub fn close(&mut self, now: Instant) {
        for run in std::mem::take(&mut self.runs) {
            self.steps.push_back(run.given_up());
            self.over(now, run.began, &run.errand, Ended::Cancelled);
        }
    }

    /// Takes in that time has passed.
    pub fn handle_timeout(&mut self, now: Instant) {
        while let Some(index) = self.runs.iter().position(|run| run.until() <= now) {
            let run = self.runs.remove(index);
            self.steps.push_back(run.given_up());
            let (ended, output) = run.too_late();
            self.finish(now, run, ended, output);
        }
        let due = self
            .runs
            .iter_mut()
            .filter(|run| run.filler_at.is_some_and(|at| at <= now));
        for run in due {
            run.fillers += 1;
            let pause = FILLER_PAUSE.max(run.errand.tool.manners.filler_after);
            run.filler_at = (run.fillers < FILLERS_MAX).then(|| now + pause);
            self.steps.extend(run.errand.tool.manners.filler.clone().map(Step::Say));
        }
    }

    /// When [`Self::handle_timeout`] wants to be called.
    pub fn poll_timeout(&self) -> Option<Instant> {
        let wakes = self
            .runs
            .iter()
            .flat_map(|run| run.filler_at.into_iter().chain([run.until()]));
        wakes.min()
    }

    /// The next thing to do.
    pub fn poll_step(&mut self) -> Option<Step> {
        self.steps.pop_front()
    }

    fn take(&mut self, call_id: &str) -> Option<Run> {
        let index = self.runs.iter().position(|run| run.errand.call_id == call_id)?;
        Some(self.runs.remove(index))
    }

    fn finish(&mut self, now: Instant, run: Run, ended: Ended, output: String) {
        self.over(now, run.began, &run.errand, ended);
        for alias in run.aliases {
            self.settle(alias, output.clone());
        }
        self.settle(run.errand.call_id, output);
    }

    fn settle(&mut self, call_id: String, output: String) {
        self.remember(&call_id, &output);
        self.answer(call_id, output);
    }

    fn answer(&mut self, call_id: String, output: String) {
        self.steps.push_back(Step::Answer { call_id, output });
    }

    fn over(&mut self, now: Instant, began: Instant, errand: &Errand, ended: Ended) {
        self.steps.push_back(Step::Over(Finished {
            call_id: errand.call_id.clone(),
            name: errand.tool.name.clone(),
            configured: errand.tool.configured().to_owned(),
            arguments: errand.arguments.to_string(),
            ended,
            took: now.saturating_duration_since(began),
        }));
    }
}

impl Run {
    fn is_called(&self, call_id: &str) -> bool {
        self.errand.call_id == call_id || self.aliases.iter().any(|alias| alias == call_id)
    }

    fn is_same(&self, errand: &Errand) -> bool {
        Arc::ptr_eq(&self.errand.tool, &errand.tool) && self.errand.arguments == errand.arguments
    }

    fn until(&self) -> Instant {
        match self.stage {
            Stage::Asking { until } | Stage::Doing { until } => until,
        }
    }

    fn given_up(&self) -> Step {
        let call_id = self.errand.call_id.clone();
        match self.stage {
            Stage::Asking { .. } => Step::Do(Work::Withdraw(call_id, None)),
            Stage::Doing { .. } => Step::Do(Work::Stop(call_id)),
        }
    }

    fn too_late(&self) -> (Ended, String) {
        let tool = &self.errand.tool;
        match self.stage {
            Stage::Asking { .. } => {
                let waited = tool.manners.approval_timeout.as_secs();
                let output =
                    format!("This needs a person to agree, and nobody did within {waited} s. It was not done.");
                (Ended::Rejected, output)
            }
            Stage::Doing { .. } => {
                let waited = tool.manners.timeout.as_millis();
                let output = format!(
                    "{} did not answer within {waited} ms. Whether it was done is not known: do not just call it again.",
                    tool.name
                );
                (Ended::Timeout, output)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::{
        config::ToolManners,
        tools::{External, Origin},
    };

    #[test]
    fn a_tool_call_is_begun_once_and_its_result_is_given_again() {
        let (mut desk, now) = (Desk::default(), Instant::now());
        let tool = tool(|_| {});
        desk.begin(now, errand(&tool, "a"));
        assert!(matches!(steps(&mut desk)[..], [Step::Do(Work::Start(_))]));
        assert!(desk.knows("a") && steps(&mut desk).is_empty());
        desk.reply(now + SECOND, "a", Reply::Done("42".to_owned()));
        assert_eq!(words(&mut desk), ["over ok 1000", "answer a 42"]);
        assert!(desk.knows("a"));
        assert_eq!(words(&mut desk), ["answer a 42"]);
        desk.reply(now + SECOND, "a", Reply::Done("43".to_owned()));
        assert_eq!((words(&mut desk), desk.poll_timeout()), (vec![], None));
    }

    #[test]
    fn a_new_session_that_asks_for_what_is_under_way_joins_it() {
        let (mut desk, now) = (Desk::default(), Instant::now());
        let tool = tool(|_| {});
        desk.begin(now, errand(&tool, "a"));
        // The same session may well want the same twice.
        desk.begin(now, errand(&tool, "b"));
        assert_eq!(steps(&mut desk).len(), 2);
        let later = |call_id| Errand {
            session: 2,
            ..errand(&tool, call_id)
        };
        desk.begin(now, later("c"));
        assert!(desk.knows("c") && steps(&mut desk).is_empty());
        desk.reply(now, "a", Reply::Done("x".to_owned()));
        assert_eq!(words(&mut desk), ["over ok 0", "answer c x", "answer a x"]);
        // As many as were under way are joined; what is asked for beyond them is wanted for itself.
        desk.begin(now, later("d"));
        assert!(desk.knows("d") && steps(&mut desk).is_empty());
        desk.begin(now, later("e"));
        assert_eq!(steps(&mut desk).len(), 1);
    }

    #[test]
    fn one_that_takes_too_long_is_stopped_and_explained() {
        let (mut desk, now) = (Desk::default(), Instant::now());
        let tool = tool(|manners| manners.timeout = SECOND);
        desk.begin(now, errand(&tool, "a"));
        steps(&mut desk);
        assert_eq!(desk.poll_timeout(), Some(now + SECOND));
        desk.handle_timeout(now + SECOND);
        let words = words(&mut desk);
        assert_eq!(words[..2], ["stop a", "over timeout 1000"]);
        assert!(words[2].contains("did not answer within 1000 ms"), "{words:?}");
    }

    #[test]
    fn the_filler_is_said_while_the_caller_waits_and_not_without_end() {
        let (mut desk, mut now) = (Desk::default(), Instant::now());
        let tool = tool(|manners| {
            manners.timeout = SECOND * 600;
            manners.filler = Some("One moment.".to_owned());
        });
        desk.begin(now, errand(&tool, "a"));
        steps(&mut desk);
        let mut said = Vec::new();
        for _ in 0..100 {
            now += SECOND;
            desk.handle_timeout(now);
            said.extend(words(&mut desk));
        }
        assert_eq!(said, ["say One moment."; FILLERS_MAX as usize]);
    }

    #[test]
    fn what_needs_a_person_waits_for_one() {
        let now = Instant::now();
        let mut tool = External::clone(&tool(|_| {}));
        tool.approval = true;
        let tool = Arc::new(tool);
        let decision = |approved| Decision {
            approved,
            reason: "too much".to_owned(),
        };
        let mut desk = Desk::default();
        desk.begin(now, errand(&tool, "a"));
        assert!(matches!(&steps(&mut desk)[..], [Step::Do(Work::Ask(errand, _))] if errand.call_id == "a"));
        assert!(desk.decide(now, "a", &decision(true)) && !desk.decide(now, "a", &decision(false)));
        assert!(matches!(
            &steps(&mut desk)[..],
            [Step::Do(Work::Withdraw(_, Some(true))), Step::Do(Work::Start(_))]
        ));
        desk.begin(now, errand(&tool, "b"));
        steps(&mut desk);
        assert!(desk.decide(now, "b", &decision(false)));
        let told = words(&mut desk);
        assert_eq!(told[..2], ["withdraw b", "over rejected 0"]);
        assert!(told[2].ends_with("The reason: too much"), "{told:?}");
        desk.begin(now, errand(&tool, "c"));
        steps(&mut desk);
        desk.handle_timeout(now + SECOND * 60);
        assert!(words(&mut desk).contains(&"over rejected 60000".to_owned()));
    }

    #[test]
    fn the_end_of_the_call_stops_everything_and_tells_nobody() {
        let (mut desk, now) = (Desk::default(), Instant::now());
        desk.begin(now, errand(&tool(|_| {}), "a"));
        steps(&mut desk);
        desk.close(now);
        assert_eq!(words(&mut desk), ["stop a", "over cancelled 0"]);
        assert_eq!(desk.poll_timeout(), None);
    }

    #[test]
    fn tool_calls_under_way_and_results_kept_are_bounded() {
        let (mut desk, now) = (Desk::default(), Instant::now());
        let tool = tool(|_| {});
        for number in 0..RUNS_MAX {
            desk.begin(now, errand(&tool, &number.to_string()));
        }
        steps(&mut desk);
        desk.begin(now, errand(&tool, "more"));
        let told = words(&mut desk);
        assert!(
            told[0] == "over failed 0" && told[1].contains("Wait for one"),
            "{told:?}"
        );
        for number in 0..2 * SETTLED_MAX {
            desk.settle(number.to_string(), String::new());
        }
        assert_eq!(desk.settled.len(), SETTLED_MAX);
    }

    const SECOND: Duration = Duration::from_secs(1);

    fn tool(change: impl FnOnce(&mut ToolManners)) -> Arc<External> {
        let mut manners = ToolManners::default();
        change(&mut manners);
        Arc::new(External {
            name: "look_up".to_owned(),
            description: String::new(),
            parameters: json!({}),
            origin: Origin::Http,
            approval: false,
            manners,
        })
    }

    fn errand(tool: &Arc<External>, call_id: &str) -> Errand {
        Errand {
            session: 1,
            call_id: call_id.to_owned(),
            tool: tool.clone(),
            arguments: json!({ "id": 1 }),
            digits: Default::default(),
        }
    }

    fn steps(desk: &mut Desk) -> Vec<Step> {
        std::iter::from_fn(|| desk.poll_step()).collect()
    }

    fn words(desk: &mut Desk) -> Vec<String> {
        let word = |step| match step {
            Step::Do(Work::Start(errand)) => format!("start {}", errand.call_id),
            Step::Do(Work::Ask(errand, _)) => format!("ask {}", errand.call_id),
            Step::Do(Work::Withdraw(call_id, _)) => format!("withdraw {call_id}"),
            Step::Do(Work::Stop(call_id)) => format!("stop {call_id}"),
            Step::Say(words) => format!("say {words}"),
            Step::Answer { call_id, output } => format!("answer {call_id} {output}"),
            Step::Over(finished) => format!("over {} {}", finished.ended.word(), finished.took.as_millis()),
        };
        steps(desk).into_iter().map(word).collect()
    }
}
