//! Whose turn it is, as far as we decide it ourselves: cutting in, silence, going on for too long.
//!
//! What the backend decides about turns is in [`crate::realtime`]. Everything here is off unless the agent's settings ask
//! for it, and costs nothing then. The bridge tells what is heard and said, and does what comes of it.

mod agent_turn;
mod barge_in;
mod limits;
mod quiet_line;

use std::time::{Duration, Instant};

use self::{agent_turn::AgentTurn, barge_in::BargeIn, limits::Limits, quiet_line::QuietLine};

/// What the agent is told to do about a caller who does not stop.
const STEP_IN: &str = "The caller has been speaking for a long time. Politely step in now: say in one sentence what you \
                       have understood so far, and ask what they need.";

/// How the turns of one agent's calls are kept.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Settings {
    /// Our own ear cuts the agent off when a voice goes on for so long; none leaves it to the backend.
    pub cut_after: Option<Duration>,
    /// What is done about silence.
    pub quiet: Option<Quiet>,
    /// How long a caller may speak in one go.
    pub caller_turn_max: Option<Duration>,
    /// How long the agent may speak in one go.
    pub agent_turn_max: Option<Duration>,
    /// How the end of a long call is announced.
    pub warning: Option<Warning>,
}

/// What is done about silence.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Quiet {
    /// How long neither side says anything.
    pub after: Duration,
    /// How often the agent asks before the call ends.
    pub asks_max: u32,
    /// What it asks.
    pub words: String,
}

/// How the end of a long call is announced.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Warning {
    /// How long before the end.
    pub before: Duration,
    /// What the agent says.
    pub words: String,
}

/// What is to be done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Wish {
    /// Make the agent quieter, or as loud as before.
    Duck(bool),
    /// Cut the agent off: the caller cuts in.
    CutOff,
    /// Cut the agent off: it has spoken for too long.
    Stop,
    /// Have the agent say exactly this.
    Say(String),
    /// Have the agent speak now, to these instructions.
    Respond(&'static str),
    /// Nobody is there: end the call.
    GiveUp,
}

/// What the bridge hears of one frame.
#[derive(Debug, Clone, Copy)]
pub struct Frame {
    /// Whether it is voice.
    pub voiced: bool,
    /// Its length.
    pub length: Duration,
    /// Whether the agent is heard meanwhile, with words that may be cut off.
    pub agent_speaks: bool,
}

/// The turns of one call.
#[derive(Debug, Clone, Default)]
pub struct Turns {
    settings: Settings,
    ear: Option<BargeIn>,
    line: Option<QuietLine>,
    limits: Limits,
    agent: AgentTurn,
}

impl Turns {
    /// As the agent's settings say. The call ends at `ends_at` at the latest.
    pub fn new(settings: Settings, ends_at: Option<Instant>) -> Self {
        let mut limits = Limits::new(settings.caller_turn_max);
        if let (Some(warning), Some(ends_at)) = (&settings.warning, ends_at)
            && let Some(at) = ends_at.checked_sub(warning.before)
        {
            limits.warn_at(at);
        }
        Self {
            ear: settings.cut_after.map(BargeIn::new),
            line: settings
                .quiet
                .as_ref()
                .map(|quiet| QuietLine::new(quiet.after, quiet.asks_max)),
            limits,
            agent: AgentTurn::new(settings.agent_turn_max),
            settings,
        }
    }

    /// Whether the agent is cut off by us and by nobody else.
    pub fn has_ear(&self) -> bool {
        self.ear.is_some()
    }

    /// A frame of the caller. `echo` tells whether it is our own sound, and is asked only when it matters.
    pub fn hear(&mut self, frame: Frame, echo: impl FnOnce() -> bool) -> [Option<Wish>; 2] {
        let Frame {
            voiced,
            length,
            agent_speaks,
        } = frame;
        if voiced {
            self.caller_was_heard();
        }
        let ear = self.ear.as_mut();
        let verdict = ear.and_then(|ear| ear.hear(voiced, length, agent_speaks, echo));
        if voiced && !agent_speaks {
            self.agent.caller_was_heard();
        }
        let limit = self.limits.hear(voiced && !agent_speaks, length);
        [verdict.map(Wish::from), limit.map(|_| Wish::Respond(STEP_IN))]
    }

    /// The caller did something that is no frame of voice.
    pub fn caller_was_heard(&mut self) {
        if let Some(line) = &mut self.line {
            line.caller_was_heard();
        }
    }

    /// Whether neither side has anything to say now.
    pub fn observe(&mut self, now: Instant, quiet: bool) {
        if let Some(line) = &mut self.line {
            match quiet {
                true => line.is_quiet(now),
                false => line.agent_speaks(),
            }
        }
    }

    /// Whether the agent speaks, and perhaps for too long. `pauses` tells whether it is between two words, and is asked only
    /// when it matters.
    pub fn observe_agent(&mut self, now: Instant, speaks: bool, pauses: impl FnOnce() -> bool) -> Option<Wish> {
        self.agent.observe(now, speaks, pauses).then_some(Wish::Stop)
    }

    /// When [`Self::handle_timeout`] wants to be called.
    pub fn poll_timeout(&self) -> Option<Instant> {
        let line = self.line.as_ref().and_then(QuietLine::poll_timeout);
        [line, self.limits.poll_timeout()].into_iter().flatten().min()
    }

    /// Takes in that time has passed.
    pub fn handle_timeout(&mut self, now: Instant) -> Option<Wish> {
        let verdict = self.line.as_mut().and_then(|line| line.handle_timeout(now));
        match verdict {
            Some(quiet_line::Verdict::Ask) => self.settings.quiet.as_ref().map(|quiet| Wish::Say(quiet.words.clone())),
            Some(quiet_line::Verdict::GiveUp) => Some(Wish::GiveUp),
            None => self.warning(now),
        }
    }

    fn warning(&mut self, now: Instant) -> Option<Wish> {
        self.limits.handle_timeout(now)?;
        let warning = self.settings.warning.as_ref()?;
        Some(Wish::Say(warning.words.clone()))
    }
}

impl From<barge_in::Verdict> for Wish {
    fn from(verdict: barge_in::Verdict) -> Self {
        match verdict {
            barge_in::Verdict::Duck => Self::Duck(true),
            barge_in::Verdict::Resume => Self::Duck(false),
            barge_in::Verdict::CutOff => Self::CutOff,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_done_unless_asked_for() {
        let (mut turns, now) = (Turns::new(Settings::default(), Some(Instant::now())), Instant::now());
        turns.observe(now, true);
        for _ in 0..1_000 {
            assert_eq!(turns.hear(frame(true), || true), [None, None]);
        }
        assert_eq!((turns.poll_timeout(), turns.has_ear()), (None, false));
        assert_eq!(turns.handle_timeout(now + Duration::from_secs(9_999)), None);
    }

    #[test]
    fn silence_is_asked_about_in_the_agents_words_and_a_voice_counts_as_an_answer() {
        let (mut turns, mut now) = (Turns::new(quiet(), None), Instant::now());
        turns.observe(now, true);
        now += Duration::from_secs(5);
        assert_eq!(turns.handle_timeout(now), Some(Wish::Say("Hello?".to_owned())));
        assert_eq!(turns.hear(frame(true), || false), [None, None]);
        turns.observe(now, true);
        now += Duration::from_secs(5);
        assert_eq!(turns.handle_timeout(now), Some(Wish::Say("Hello?".to_owned())));
        now += Duration::from_secs(5);
        assert_eq!(turns.handle_timeout(now), Some(Wish::GiveUp));
    }

    #[test]
    fn the_end_is_announced_before_it_comes() {
        let settings = Settings {
            warning: Some(Warning {
                before: Duration::from_secs(30),
                words: "Nearly over.".to_owned(),
            }),
            ..Settings::default()
        };
        let now = Instant::now();
        let mut turns = Turns::new(settings, now.checked_add(Duration::from_secs(90)));
        let at = now + Duration::from_secs(60);
        assert_eq!(turns.poll_timeout(), Some(at));
        assert_eq!(turns.handle_timeout(at), Some(Wish::Say("Nearly over.".to_owned())));
    }

    #[test]
    fn a_caller_who_speaks_over_the_agent_is_not_stepped_into() {
        let settings = Settings {
            caller_turn_max: Some(Duration::from_secs(1)),
            ..Settings::default()
        };
        let mut turns = Turns::new(settings, None);
        let speaks = |agent_speaks| Frame {
            agent_speaks,
            ..frame(true)
        };
        for _ in 0..100 {
            assert_eq!(turns.hear(speaks(true), || false), [None, None]);
        }
        let wishes = (0..50).filter_map(|_| turns.hear(speaks(false), || false)[1].take());
        assert_eq!(wishes.collect::<Vec<_>>(), [Wish::Respond(STEP_IN)]);
    }

    fn frame(voiced: bool) -> Frame {
        Frame {
            voiced,
            length: Duration::from_millis(20),
            agent_speaks: true,
        }
    }

    fn quiet() -> Settings {
        Settings {
            quiet: Some(Quiet {
                after: Duration::from_secs(5),
                asks_max: 1,
                words: "Hello?".to_owned(),
            }),
            ..Settings::default()
        }
    }
}
