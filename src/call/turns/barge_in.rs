//! Does the caller cut in? Our own ear, for agents that ask for it.
//!
//! A backend's detector tells of the caller's voice half a second after it began, and cannot take it back. Here a voice
//! makes the agent quieter at once, which costs nothing when it was a cough, an echo or an "mm-hm"; only a voice that goes
//! on cuts the agent off.

use std::time::Duration;

/// Voice of this length makes the agent quieter.
const DUCK_AFTER: Duration = Duration::from_millis(40);

/// Silence of this length shows that it was nothing.
const RESUME_AFTER: Duration = Duration::from_millis(200);

/// What is to be done about the agent's words.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// Make them quieter.
    Duck,
    /// Let them be heard again.
    Resume,
    /// Cut them off.
    CutOff,
}

/// Listens while the agent speaks.
#[derive(Debug, Clone)]
pub struct BargeIn {
    cut_after: Duration,
    voiced: Duration,
    pause: Duration,
    ducked: bool,
}

impl BargeIn {
    /// A voice that goes on for `cut_after` cuts the agent off.
    pub fn new(cut_after: Duration) -> Self {
        Self {
            cut_after,
            voiced: Duration::ZERO,
            pause: Duration::ZERO,
            ducked: false,
        }
    }

    /// More sound of this length from the caller, while the agent speaks or not. `echo` is asked only when it matters.
    pub fn hear(
        &mut self,
        voiced: bool,
        length: Duration,
        agent_speaks: bool,
        echo: impl FnOnce() -> bool,
    ) -> Option<Verdict> {
        if !agent_speaks {
            return self.calm();
        }
        match voiced {
            true => {
                self.voiced += length;
                self.pause = Duration::ZERO;
            }
            false => self.pause += length,
        }
        if self.pause >= RESUME_AFTER {
            return self.calm();
        }
        match voiced {
            true if self.voiced >= self.cut_after => Some(self.decide(echo())),
            true if !self.ducked && self.voiced >= DUCK_AFTER => self.begin(echo()),
            _ => None,
        }
    }

    fn begin(&mut self, is_echo: bool) -> Option<Verdict> {
        if is_echo {
            return self.calm();
        }
        self.ducked = true;
        Some(Verdict::Duck)
    }

    fn decide(&mut self, is_echo: bool) -> Verdict {
        self.calm();
        match is_echo {
            true => Verdict::Resume,
            false => Verdict::CutOff,
        }
    }

    /// It was nothing, or is over.
    fn calm(&mut self) -> Option<Verdict> {
        self.voiced = Duration::ZERO;
        self.pause = Duration::ZERO;
        std::mem::take(&mut self.ducked).then_some(Verdict::Resume)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_voice_that_goes_on_ducks_and_then_cuts_off() {
        let verdicts = verdicts(&[(true, 400)], |_| false);
        assert_eq!(
            verdicts,
            [(40, Verdict::Duck), (300, Verdict::CutOff), (340, Verdict::Duck)]
        );
    }

    #[test]
    fn a_cough_or_a_nod_is_taken_back() {
        let verdicts = verdicts(&[(true, 240), (false, 400)], |_| false);
        assert_eq!(verdicts, [(40, Verdict::Duck), (440, Verdict::Resume)]);
    }

    #[test]
    fn short_gaps_between_syllables_are_part_of_the_voice() {
        let verdicts = verdicts(&[(true, 160), (false, 100), (true, 160)], |_| false);
        assert_eq!(verdicts.last(), Some(&(400, Verdict::CutOff)));
    }

    #[test]
    fn an_echo_neither_ducks_nor_cuts_off() {
        assert_eq!(verdicts(&[(true, 2_000)], |_| true), []);
        // What began like a voice and turned out to be an echo.
        let late = verdicts(&[(true, 300)], |ms| ms > 100);
        assert_eq!(late, [(40, Verdict::Duck), (300, Verdict::Resume)]);
    }

    #[test]
    fn over_silence_of_the_agent_nothing_is_cut() {
        let mut ear = BargeIn::new(Duration::from_millis(300));
        for _ in 0..100 {
            assert_eq!(ear.hear(true, Duration::from_millis(20), false, || false), None);
        }
    }

    fn verdicts(sounds: &[(bool, u64)], echo: impl Fn(u64) -> bool) -> Vec<(u64, Verdict)> {
        let mut ear = BargeIn::new(Duration::from_millis(300));
        let frames = sounds
            .iter()
            .flat_map(|(voiced, ms)| std::iter::repeat_n(*voiced, (*ms / 20) as usize));
        let times = (1..).map(|frame| frame * 20);
        let told = frames.zip(times).filter_map(|(voiced, ms)| {
            let verdict = ear.hear(voiced, Duration::from_millis(20), true, || echo(ms))?;
            Some((ms, verdict))
        });
        told.collect()
    }
}
