//! What a run consists of, drawn from its seed.

use std::time::Duration;

use patchcord::{
    call::machine::{self, Answer},
    realtime::ReconnectSettings,
};

use crate::{
    backend::BackendPlan,
    call::Rules,
    dice::Dice,
    link::Weather,
    phone::{Habits, Offer},
};

/// One run.
#[derive(Debug, Clone)]
pub struct Plan {
    /// The phones' networks.
    pub weather: Weather,
    /// How the gateway is set up.
    pub rules: Rules,
    /// When the gateway is told to finish, in milliseconds of the run.
    pub drains_at_ms: Option<u64>,
    /// Who calls.
    pub phones: Vec<PhonePlan>,
}

/// What one phone does.
#[derive(Debug, Clone)]
pub struct PhonePlan {
    /// When it calls, in milliseconds of the run.
    pub calls_at_ms: u64,
    /// How it behaves.
    pub habits: Habits,
    /// It sends nothing while it has nothing to say.
    pub suppresses_silence: bool,
    /// What it says, in milliseconds after the answer.
    pub lines: Vec<(u64, Line)>,
    /// When it hangs up, after the answer.
    pub hangs_up_after_ms: Option<u64>,
    /// When it gives up, after it called, if there is no answer.
    pub gives_up_after_ms: Option<u64>,
    /// When its network goes away for good, after it called.
    pub vanishes_after_ms: Option<u64>,
    /// Somebody else sends to its call's port as well.
    pub stranger: bool,
    /// What its call's backend does.
    pub backend: BackendPlan,
}

/// Something a phone says.
#[derive(Debug, Clone, Copy)]
pub enum Line {
    /// A tone.
    Say {
        /// Its pitch.
        hz: f32,
        /// Its length.
        ms: u64,
    },
    /// A key.
    Press(char),
    /// The gateway is put on hold, or taken back.
    Hold(bool),
}

impl Plan {
    /// A plan in which nothing goes wrong, with one phone that does nothing.
    pub fn quiet() -> Self {
        Self {
            weather: Weather::FAIR,
            rules: RULES,
            drains_at_ms: None,
            phones: vec![PhonePlan::silent()],
        }
    }

    /// The plan of this seed.
    pub fn drawn(dice: &mut Dice) -> Self {
        let weather = dice.pick(&[Weather::FAIR, Weather::MILD, Weather::MILD, Weather::ROUGH]);
        let answer = dice.pick(&[Answer::WhenReady, Answer::WhenReady, Answer::AtOnce]);
        let rules = Rules {
            call: machine::Settings {
                answer,
                duration_max: Duration::from_secs(dice.pick(&[8, 120, 120, 120])),
                ..RULES.call
            },
            lag_ms_max: dice.pick(&[0, 0, 3, 15]),
            hiccups: dice.percent(10),
            silence_timeout: Duration::from_secs(dice.pick(&[4, 60, 60, 60])),
            ..RULES
        };
        let phones = (0..dice.pick(&[1, 1, 2])).map(|_| PhonePlan::drawn(dice)).collect();
        let drains_at_ms = dice.percent(10).then(|| dice.between(1_000, 15_000));
        Self {
            weather,
            rules,
            drains_at_ms,
            phones,
        }
    }
}

/// How the gateway is set up unless a plan says otherwise.
pub const RULES: Rules = Rules {
    call: machine::Settings {
        answer: Answer::WhenReady,
        ring_max: Duration::from_secs(30),
        duration_max: Duration::from_secs(120),
        failover: machine::Failover {
            prompt: false,
            transfer: false,
        },
    },
    reconnect: ReconnectSettings {
        first: Duration::from_millis(250),
        delay_max: Duration::from_secs(2),
        budget: Duration::from_secs(10),
    },
    lag_ms_max: 0,
    hiccups: false,
    silence_timeout: Duration::from_secs(60),
    filler_after: Duration::from_millis(2_500),
    replay_max: Duration::from_secs(10),
    stall_max: Duration::from_secs(5),
};

impl PhonePlan {
    /// A phone that says nothing and hangs up after ten seconds.
    pub fn silent() -> Self {
        Self {
            calls_at_ms: 0,
            habits: Habits {
                offer: Offer::Both,
                early_offer: true,
                acknowledges: true,
                behind_nat: false,
            },
            suppresses_silence: false,
            lines: Vec::new(),
            hangs_up_after_ms: Some(10_000),
            gives_up_after_ms: None,
            vanishes_after_ms: None,
            stranger: false,
            backend: BackendPlan {
                delay_ms: 20,
                ..BackendPlan::default()
            },
        }
    }

    /// How long its call can last in milliseconds of the run.
    pub fn longest_ms(&self) -> u64 {
        self.calls_at_ms + self.hangs_up_after_ms.unwrap_or(120_000) + 60_000
    }

    fn drawn(dice: &mut Dice) -> Self {
        let habits = Habits {
            offer: dice.pick(&[
                Offer::Both,
                Offer::Both,
                Offer::Both,
                Offer::Both,
                Offer::Alaw,
                Offer::Opus,
            ]),
            early_offer: dice.percent(85),
            acknowledges: dice.percent(96),
            behind_nat: dice.percent(20),
        };
        let length_ms = dice.between(3_000, 20_000);
        let suppresses_silence = dice.percent(20);
        Self {
            calls_at_ms: dice.between(0, 2_000),
            habits,
            suppresses_silence,
            lines: lines(dice, length_ms),
            hangs_up_after_ms: dice.percent(90).then_some(length_ms),
            gives_up_after_ms: dice.percent(20).then(|| dice.between(0, 500)),
            vanishes_after_ms: dice.percent(8).then(|| dice.between(0, 12_000)),
            // A phone that is silent for long has to expect that somebody else is taken for it.
            stranger: !suppresses_silence && dice.percent(15),
            backend: BackendPlan::drawn(dice),
        }
    }
}

fn lines(dice: &mut Dice, length_ms: u64) -> Vec<(u64, Line)> {
    let mut lines = Vec::new();
    let mut at_ms = dice.between(500, 7_000);
    let pause_ms_max = dice.pick(&[1_200, 4_500, 4_500]);
    while at_ms < length_ms {
        let say = Line::Say {
            hz: dice.between(200, 1_500) as f32,
            ms: dice.between(200, 1_800),
        };
        let press = Line::Press(dice.pick(&['1', '2', '5', '9', '0', '#', 'A', '*']));
        lines.push((at_ms, if dice.percent(70) { say } else { press }));
        if dice.percent(6) {
            let until_ms = at_ms + dice.between(100, 4_000);
            lines.extend([(at_ms, Line::Hold(true)), (until_ms, Line::Hold(false))]);
        }
        at_ms += dice.between(200, pause_ms_max);
    }
    lines
}

impl BackendPlan {
    fn drawn(dice: &mut Dice) -> Self {
        let mut plan = Self {
            delay_ms: dice.pick(&[2, 20, 20, 80, 80, 400]),
            jitter_ms: dice.pick(&[0, 10, 60]),
            ..Self::default()
        };
        let at_ms = dice.between(1_000, 15_000);
        match dice.below(10) {
            0 => plan.down = vec![(at_ms, at_ms + dice.between(1, 4_000))],
            1 => plan.down = vec![(at_ms, at_ms + 500), (at_ms + 3_000, at_ms + 6_000)],
            2 => plan.down = vec![(dice.pick(&[0, at_ms / 4, at_ms / 4]), u64::MAX)],
            3 => plan.stalls = vec![(at_ms, at_ms + dice.between(100, 3_000))],
            4 => plan.faults = fault(dice, at_ms),
            _ => {}
        }
        plan
    }
}

fn fault(dice: &mut Dice, at_ms: u64) -> patchcord::operator::Faults {
    let words = match dice.below(7) {
        0 => format!("drop@{at_ms}*2"),
        1 => format!("close:1011@{at_ms}*1"),
        2 => "stall@0*1".to_owned(),
        3 => format!("error:insufficient_quota@{at_ms}"),
        4 => format!("garbage@{at_ms}"),
        5 => "slow:800".to_owned(),
        _ => "refuse*3".to_owned(),
    };
    words.parse().expect("a fault the operator knows")
}
