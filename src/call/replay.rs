//! What the caller said and no session has understood yet, to be told again to the next one.
//!
//! While a session serves the call, the turn that it has not understood is kept: it is understood when its words have
//! come, or its answer begins to be heard. While none does, everything the caller says is kept. The next session gets it
//! faster than it was said, in bursts, and what is said meanwhile waits its turn behind it; so nothing is lost at the
//! seam, and nothing is said twice to the same session.
//!
//! It is kept as mu-law at 8 kHz whatever the session speaks: 8 kB a second.

use std::{
    collections::VecDeque,
    time::{Duration, Instant},
};

use crate::audio::{Law, Resampler, SampleRate};

/// The longest part of a turn that is kept while a session serves the call; of a longer one the beginning is lost.
const TURN_MS_MAX: usize = 4_000;

/// Kept from before the caller's voice was noticed, in which a word may have begun.
const LEAD_MS: usize = 300;

/// Turns taken whose words have not come; past it the oldest is taken as understood.
const TURNS_MAX: usize = 8;

/// How much is told in one burst, and how long after the one before.
const BURST_MS: usize = 200;
const BURST_EVERY: Duration = Duration::from_millis(20);

/// How much is told in one message.
const CHUNK_MS: usize = 100;

/// What the filter to the session's rate holds back.
const FILTER_MS: usize = 2;

const PER_MS: usize = SampleRate::Hz8000.per_ms();

/// The caller's words that are not understood.
#[derive(Debug, Default)]
pub(super) struct Replay {
    ms_max: usize,
    kept: VecDeque<u8>,
    /// The number of the first sample kept, counted over the call.
    first: u64,
    /// Turns whose words have not come: their items, and where they end.
    turns: VecDeque<(String, u64)>,
    /// This session has told of a turn.
    tells_turns: bool,
    /// The end of the last voice.
    voiced: u64,
    state: State,
    lost: u64,
    replayed: u64,
    narrow: Vec<i16>,
    coded: Vec<u8>,
    wide: Vec<i16>,
}

#[derive(Debug, Default)]
enum State {
    /// A session hears everything as it is said.
    #[default]
    Live,
    /// There is no session.
    Away,
    /// The session is told what it has not heard, from this sample on.
    Telling {
        at: u64,
        next_at: Instant,
        filter: Resampler,
        /// Samples at the session's rate that are only the filter's beginning.
        skip: usize,
    },
}

impl Replay {
    /// How much is kept while there is no session; nothing is kept at all when it is zero.
    pub fn set_max(&mut self, max: Duration) {
        self.ms_max = usize::try_from(max.as_millis()).unwrap_or(usize::MAX);
    }

    /// A frame of the caller. True when it is to be told to the session as it is.
    pub fn hear(&mut self, pcm: &[i16], rate: SampleRate, voiced: bool) -> bool {
        if self.ms_max == 0 {
            return true;
        }
        self.keep(pcm, rate);
        if voiced {
            self.voiced = self.end();
        }
        self.forget();
        matches!(self.state, State::Live)
    }

    /// The session took what it was told for a turn.
    pub fn turn_taken(&mut self, item: String) {
        if self.ms_max == 0 {
            return;
        }
        if self.turns.len() >= TURNS_MAX {
            self.understand(1);
        }
        let told = match self.state {
            State::Telling { at, .. } => at,
            State::Live | State::Away => self.end(),
        };
        self.tells_turns = true;
        self.turns.push_back((item, told));
    }

    /// The words of a turn have come; those of the turns before it will not.
    pub fn turn_understood(&mut self, item: &str) {
        if let Some(index) = self.turns.iter().position(|(turn, _)| turn == item) {
            self.understand(index + 1);
        }
    }

    /// The answer to all turns begins to be heard, or a tool is at work for it. A server that does not tell of turns is
    /// taken to answer all it has heard.
    pub fn turns_answered(&mut self) {
        self.understand(self.turns.len());
        if !self.tells_turns && matches!(self.state, State::Live) {
            self.forget_until(self.voiced);
        }
    }

    /// The session is gone.
    pub fn away(&mut self) {
        self.state = State::Away;
        self.tells_turns = false;
        self.turns.clear();
        if !self.is_open() {
            self.forget_until(self.end());
        }
    }

    /// There is a session again, at this rate.
    pub fn tell(&mut self, now: Instant, rate: SampleRate) {
        if !self.is_open() {
            // Nothing was said: silence need not be told.
            let lead = (LEAD_MS * PER_MS).min(self.kept.len());
            self.forget_until(self.end() - lead as u64);
        }
        if self.ms_max > 0 && !self.kept.is_empty() && matches!(self.state, State::Away) {
            let skip = if rate == SampleRate::Hz8000 {
                0
            } else {
                FILTER_MS * rate.per_ms()
            };
            self.state = State::Telling {
                at: self.first,
                next_at: now,
                filter: Resampler::new(SampleRate::Hz8000, rate),
                skip,
            };
        } else {
            self.state = State::Live;
        }
    }

    /// Tells the next burst, if it is due, in chunks.
    pub fn burst(&mut self, now: Instant, mut tell: impl FnMut(&[i16])) {
        if self.poll_timeout().is_none_or(|due| now < due) {
            return;
        }
        for _ in 0..BURST_MS / CHUNK_MS {
            self.next_chunk(now);
            if !self.wide.is_empty() {
                tell(&self.wide);
            }
        }
    }

    /// When the next burst is due.
    pub fn poll_timeout(&self) -> Option<Instant> {
        match self.state {
            State::Telling { next_at, .. } => Some(next_at),
            State::Live | State::Away => None,
        }
    }

    /// What was told again, and what was not because there was too much of it.
    pub fn figures(&self) -> (Duration, Duration) {
        let length = |samples: u64| Duration::from_millis(samples / PER_MS as u64);
        (length(self.replayed), length(self.lost))
    }

    /// Whether the caller said something that was not understood.
    pub fn is_open(&self) -> bool {
        self.voiced > self.first && !self.kept.is_empty()
    }

    /// Makes the next chunk, and the last when nothing is left; then the session hears live again.
    fn next_chunk(&mut self, now: Instant) {
        self.wide.clear();
        let end = self.end();
        let State::Telling {
            at,
            next_at,
            filter,
            skip,
        } = &mut self.state
        else {
            return;
        };
        let from = usize::try_from((*at).max(self.first) - self.first).unwrap_or(usize::MAX);
        let samples = (self.kept.len() - from.min(self.kept.len())).min(CHUNK_MS * PER_MS);
        self.coded.clear();
        self.coded.extend(self.kept.range(from..from + samples));
        self.narrow.clear();
        Law::Mu.decode(&self.coded, &mut self.narrow);
        *at = self.first + (from + samples) as u64;
        *next_at = now + BURST_EVERY;
        let last = *at >= end;
        if last && !matches!(filter, Resampler::Same) {
            self.narrow.resize(samples + FILTER_MS * PER_MS, 0);
        }
        filter.process(&self.narrow, &mut self.wide);
        let skipped = (*skip).min(self.wide.len());
        *skip -= skipped;
        self.wide.drain(..skipped);
        self.replayed += samples as u64;
        if last {
            self.state = State::Live;
            self.forget();
        }
    }

    fn understand(&mut self, turns: usize) {
        let end = self.turns.drain(..turns).next_back().map(|(_, end)| end);
        end.into_iter().for_each(|end| self.forget_until(end));
    }

    fn keep(&mut self, pcm: &[i16], rate: SampleRate) {
        let group = rate.per_ms() / PER_MS;
        self.narrow.clear();
        // The mean of a group is filter enough for speech, and costs next to nothing.
        let mean = |group: &[i16]| group.iter().map(|sample| i32::from(*sample)).sum::<i32>() / group.len() as i32;
        self.narrow
            .extend(pcm.chunks_exact(group).map(|group| mean(group) as i16));
        self.coded.clear();
        Law::Mu.encode(&self.narrow, &mut self.coded);
        // In one go: growing by doubling would leave as much behind as it takes.
        let room = TURN_MS_MAX * PER_MS + self.coded.len();
        if self.is_open() && self.kept.capacity() < room {
            self.kept.reserve_exact(room.saturating_sub(self.kept.len()));
        }
        self.kept.extend(&self.coded);
    }

    /// Forgets what need not be kept.
    fn forget(&mut self) {
        let ms_max = match self.state {
            State::Live if self.is_open() => TURN_MS_MAX,
            State::Live => LEAD_MS,
            State::Away | State::Telling { .. } => TURN_MS_MAX.saturating_add(self.ms_max),
        };
        let surplus = self.kept.len().saturating_sub(ms_max.saturating_mul(PER_MS));
        let told = match self.state {
            State::Live => u64::MAX,
            State::Away => 0,
            State::Telling { at, .. } => at,
        };
        self.lost += (self.first + surplus as u64).saturating_sub(told.max(self.first));
        self.forget_until(self.first + surplus as u64);
    }

    fn forget_until(&mut self, sample: u64) {
        let count = usize::try_from(sample.saturating_sub(self.first)).unwrap_or(usize::MAX);
        let count = count.min(self.kept.len());
        self.kept.drain(..count);
        self.first += count as u64;
        if self.kept.capacity() > 2 * TURN_MS_MAX * PER_MS && matches!(self.state, State::Live) {
            self.kept.shrink_to(TURN_MS_MAX * PER_MS);
        }
    }

    fn end(&self) -> u64 {
        self.first + self.kept.len() as u64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RATE: SampleRate = SampleRate::Hz24000;
    const FRAME: usize = 480;

    #[test]
    fn while_a_session_serves_only_the_turn_that_is_not_understood_is_kept() {
        let mut replay = replay(10_000);
        (0..100).for_each(|_| assert!(replay.hear(&[0; FRAME], RATE, false)));
        assert_eq!(replay.kept.len(), LEAD_MS * PER_MS);
        (0..50).for_each(|_| assert!(replay.hear(&[900; FRAME], RATE, true)));
        assert_eq!(replay.kept.len(), (LEAD_MS + 1_000) * PER_MS);
        replay.turn_taken("u".to_owned());
        (0..10).for_each(|_| assert!(replay.hear(&[900; FRAME], RATE, true)));
        replay.turn_understood("another");
        replay.turn_understood("u");
        assert_eq!(replay.kept.len(), 200 * PER_MS, "what came after it is not understood");
        (0..1_000).for_each(|_| assert!(replay.hear(&[900; FRAME], RATE, true)));
        assert_eq!(replay.kept.len(), TURN_MS_MAX * PER_MS);
        assert_eq!(replay.figures().1, Duration::ZERO);
    }

    #[test]
    fn what_is_said_while_nobody_hears_is_told_in_order_and_whole_before_what_is_said_then() {
        let mut replay = replay(10_000);
        replay.away();
        let said: Vec<i16> = (0..150).map(|frame| 100 * frame).collect();
        for level in &said[..100] {
            assert!(!replay.hear(&[*level; FRAME], RATE, true));
        }
        let mut now = Instant::now();
        replay.tell(now, SampleRate::Hz8000);
        let (mut told, mut live) = (Vec::new(), Vec::new());
        for level in &said[100..] {
            if replay.hear(&[*level; FRAME], RATE, true) {
                live.push(*level);
            }
            replay.burst(now, |pcm| told.extend_from_slice(pcm));
            now += BURST_EVERY;
        }
        let frames = said.len() - live.len();
        assert_eq!(told.len(), frames * 160);
        assert_eq!(live, said[frames..], "the seam is between two frames");
        assert!(
            (100..115).contains(&frames),
            "{frames}: ten times as fast as it was said"
        );
        for (frame, level) in told.chunks(160).zip(&said) {
            assert!(
                frame.iter().all(|sample| (sample - level).abs() <= level / 16 + 8),
                "{level}"
            );
        }
        assert_eq!(
            replay.figures(),
            (Duration::from_millis(20 * frames as u64), Duration::ZERO)
        );
    }

    #[test]
    fn a_session_at_another_rate_is_told_exactly_as_much() {
        let mut replay = replay(10_000);
        replay.away();
        (0..37).for_each(|_| {
            replay.hear(&[900; FRAME], RATE, true);
        });
        let mut now = Instant::now();
        replay.tell(now, RATE);
        let mut told = Vec::new();
        while replay.poll_timeout().is_some() {
            replay.burst(now, |pcm| told.extend_from_slice(pcm));
            now += BURST_EVERY;
        }
        assert_eq!(told.len(), 37 * FRAME);
        assert!(told[FRAME..36 * FRAME].iter().all(|sample| (sample - 900).abs() < 60));
    }

    #[test]
    fn past_the_bound_the_oldest_is_lost_and_counted() {
        let mut replay = replay(1_000);
        replay.away();
        (0..500).for_each(|_| {
            replay.hear(&[900; FRAME], RATE, true);
        });
        assert_eq!(replay.kept.len(), (TURN_MS_MAX + 1_000) * PER_MS);
        assert_eq!(replay.figures().1, Duration::from_millis(10_000 - 5_000));
    }

    #[test]
    fn a_second_loss_tells_everything_again_that_the_first_successor_did_not_understand() {
        let mut replay = replay(10_000);
        replay.away();
        (0..50).for_each(|_| {
            replay.hear(&[900; FRAME], RATE, true);
        });
        let now = Instant::now();
        replay.tell(now, SampleRate::Hz8000);
        let mut told = 0;
        replay.burst(now, |pcm| told += pcm.len());
        assert_eq!(told, BURST_MS * PER_MS);
        replay.away();
        replay.tell(now, SampleRate::Hz8000);
        let mut again = 0;
        for step in 0..10 {
            replay.burst(now + BURST_EVERY * step, |pcm| again += pcm.len());
        }
        assert_eq!(again, 50 * 160);
    }

    #[test]
    fn a_caller_who_was_silent_has_nothing_to_be_told_and_off_is_off() {
        let mut replay = replay(10_000);
        (0..50).for_each(|_| {
            replay.hear(&[0; FRAME], RATE, false);
        });
        replay.away();
        assert!(replay.kept.is_empty());
        let mut off = Replay::default();
        off.away();
        assert!(off.hear(&[900; FRAME], RATE, true) && off.kept.is_empty());
    }

    fn replay(ms_max: u64) -> Replay {
        let mut replay = Replay::default();
        replay.set_max(Duration::from_millis(ms_max));
        replay
    }
}
