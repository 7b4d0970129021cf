//! Whose samples stand in the playout ring, and how much of each utterance came and left.
//!
//! Runs are counted in samples of the ring, accounts in 1/48000 s, so that neither the rate of the line nor that of the
//! session matters to what was heard.

use std::{collections::VecDeque, time::Instant};

use super::{
    event::Event,
    reach::{Reach, Reported},
    ticks::{self, TICKS_PER_MS, Ticks},
};
use crate::audio::{Heard, SampleRate, Utterance};

/// Accounts of the utterances that are not over, and the order their samples stand in.
#[derive(Debug)]
pub(super) struct Ledger {
    accounts: Vec<Account>,
    runs: VecDeque<Run>,
    reach: Reach,
}

#[derive(Clone, Debug)]
struct Account {
    utterance: Utterance,
    /// Ticks that came.
    received: Ticks,
    /// Ticks that left.
    sent: Ticks,
    /// Samples that wait.
    queued: usize,
    finished: bool,
}

/// Neighbouring samples of one utterance.
#[derive(Clone, Copy, Debug)]
struct Run {
    utterance: Utterance,
    len: usize,
}

/// Utterances under way at once; a session speaks one after the other. Words of one more are dropped as overflow.
const ACCOUNTS_MAX: usize = 32;

impl Ledger {
    pub(super) fn new() -> Self {
        Self {
            accounts: Vec::new(),
            runs: VecDeque::new(),
            reach: Reach::new(),
        }
    }

    /// What is sent from now on leaves in this packet.
    pub(super) fn next_packet(&mut self, number: u64, now: Instant) {
        self.reach.next_packet(number, now);
    }

    /// What is sent from now on leaves in the packet behind that.
    pub(super) fn follow(&mut self, now: Instant) {
        self.reach.follow(now);
    }

    /// The far end reports; nothing stands for what cannot be.
    pub(super) fn hear_report(&mut self, now: Instant, reported: Option<Reported>) {
        match reported {
            Some(reported) => self
                .reach
                .hear(now, reported.highest, reported.sent, reported.round_trip),
            None => self.reach.disbelieve(),
        }
    }

    /// Takes note of samples that came; false when there is no room for another utterance.
    pub(super) fn receive(&mut self, utterance: Utterance, samples: usize, rate: SampleRate) -> bool {
        if self.account(utterance).is_none() && self.accounts.len() < ACCOUNTS_MAX {
            self.accounts.push(Account::new(utterance));
        }
        let Some(account) = self.account(utterance) else {
            return false;
        };
        account.received += ticks::of(samples, rate);
        true
    }

    /// Takes note of samples added to the ring.
    pub(super) fn queue(&mut self, utterance: Utterance, len: usize) {
        if let Some(account) = self.account(utterance) {
            account.queued += len;
        }
        match self.runs.back_mut() {
            _ if len == 0 => {}
            Some(run) if run.utterance == utterance => run.len += len,
            _ => self.runs.push_back(Run { utterance, len }),
        }
    }

    /// Takes note of samples taken from the ring, and tells which utterances begin and end with them.
    pub(super) fn send(&mut self, mut len: usize, rate: SampleRate, mut tell: impl FnMut(Event)) {
        while let Some(run) = self.runs.front_mut().filter(|_| len > 0) {
            let sent = run.len.min(len);
            let utterance = run.utterance;
            len -= sent;
            run.len -= sent;
            if run.len == 0 {
                self.runs.pop_front();
            }
            self.account_sent(utterance, sent, rate, &mut tell);
        }
    }

    /// No more will come of this utterance; what was heard of it, when nothing of it is waiting either.
    pub(super) fn finish(&mut self, utterance: Utterance) -> Option<Heard> {
        self.account(utterance)?.finished = true;
        self.settle(utterance)
    }

    /// Samples that stand in front and go on with an utterance that has begun.
    pub(super) fn continuation(&self) -> usize {
        let begun = |run: &&Run| {
            self.accounts
                .iter()
                .any(|each| each.utterance == run.utterance && each.sent > 0)
        };
        self.runs.front().filter(begun).map_or(0, |run| run.len)
    }

    /// Whether an utterance is complete and waits to be said.
    pub(super) fn has_finished(&self) -> bool {
        self.accounts.iter().any(|account| account.finished)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.accounts.is_empty()
    }

    /// Forgets everything, and tells how much was heard of it: what left, but for what never came.
    pub(super) fn close(&mut self, now: Instant) -> Vec<Heard> {
        self.runs.clear();
        let Self { accounts, reach, .. } = self;
        let heard = |mut account: Account| {
            let unheard = reach.unheard(now, account.utterance);
            account.sent = account.sent.saturating_sub(unheard);
            account.heard()
        };
        let heard = accounts.drain(..).map(heard).collect();
        reach.clear();
        heard
    }

    fn account(&mut self, utterance: Utterance) -> Option<&mut Account> {
        self.accounts.iter_mut().find(|account| account.utterance == utterance)
    }

    fn account_sent(&mut self, utterance: Utterance, sent: usize, rate: SampleRate, tell: &mut impl FnMut(Event)) {
        let Some(account) = self.account(utterance) else { return };
        if account.sent == 0 {
            tell(Event::Started(utterance));
        }
        account.sent += ticks::of(sent, rate);
        account.queued = account.queued.saturating_sub(sent);
        self.reach.send(utterance, ticks::of(sent, rate));
        if let Some(heard) = self.settle(utterance) {
            tell(Event::Finished(heard));
        }
    }

    /// Closes an account with nothing outstanding.
    fn settle(&mut self, utterance: Utterance) -> Option<Heard> {
        let settled = |account: &Account| account.utterance == utterance && account.is_settled();
        let index = self.accounts.iter().position(settled)?;
        self.reach.forget(utterance);
        Some(self.accounts.remove(index).heard())
    }
}

impl Account {
    fn new(utterance: Utterance) -> Self {
        Self {
            utterance,
            received: 0,
            sent: 0,
            queued: 0,
            finished: false,
        }
    }

    fn is_settled(&self) -> bool {
        self.finished && self.queued == 0
    }

    /// Whole milliseconds, never more than what came: a resampler may carry a sample from one utterance to the next.
    fn heard(&self) -> Heard {
        let received_ms = millis(self.received);
        Heard {
            utterance: self.utterance,
            sent_ms: millis(self.sent).min(received_ms),
            received_ms,
            complete: self.is_settled(),
        }
    }
}

fn millis(ticks: Ticks) -> u32 {
    u32::try_from(ticks / TICKS_PER_MS).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    const ONE: Utterance = Utterance(1);
    const TWO: Utterance = Utterance(2);

    #[test]
    fn each_utterance_is_charged_with_its_own_samples() {
        let mut ledger = Ledger::new();
        for (utterance, samples) in [(ONE, 800), (TWO, 400), (ONE, 80)] {
            assert!(ledger.receive(utterance, samples * 3, SampleRate::Hz24000));
            ledger.queue(utterance, samples);
        }
        assert_eq!(send(&mut ledger, 1_000), [Event::Started(ONE), Event::Started(TWO)]);
        let heard = ledger.accounts.iter().map(Account::heard);
        let heard: Vec<(u32, u32)> = heard.map(|heard| (heard.sent_ms, heard.received_ms)).collect();
        assert_eq!(heard, [(100, 110), (25, 50)]);
        assert_eq!(ledger.finish(ONE), None);
        assert_eq!(send(&mut ledger, 280), [Event::Finished(whole(ONE, 110))]);
        assert_eq!(ledger.finish(TWO), Some(whole(TWO, 50)));
        assert!(ledger.is_empty());
    }

    #[test]
    fn an_utterance_nobody_knows_is_neither_finished_nor_sent() {
        let mut ledger = Ledger::new();
        assert_eq!(ledger.finish(ONE), None);
        assert_eq!(send(&mut ledger, 100), []);
    }

    #[test]
    fn an_utterance_without_audio_finishes_at_once() {
        let mut ledger = Ledger::new();
        assert!(ledger.receive(ONE, 0, SampleRate::Hz24000));
        assert_eq!(ledger.finish(ONE), Some(whole(ONE, 0)));
    }

    #[test]
    fn there_is_room_for_so_many_utterances_and_no_more() {
        let mut ledger = Ledger::new();
        let accepted = (0..100)
            .filter(|&number| ledger.receive(Utterance(number), 3, SampleRate::Hz24000))
            .count();
        assert_eq!(accepted, ACCOUNTS_MAX);
        assert_eq!(ledger.close(Instant::now()).len(), ACCOUNTS_MAX);
        assert!(ledger.receive(Utterance(100), 3, SampleRate::Hz24000));
    }

    fn whole(utterance: Utterance, ms: u32) -> Heard {
        Heard {
            utterance,
            sent_ms: ms,
            received_ms: ms,
            complete: true,
        }
    }

    fn send(ledger: &mut Ledger, len: usize) -> Vec<Event> {
        let mut events = Vec::new();
        ledger.send(len, SampleRate::Hz8000, |event| events.push(event));
        events
    }
}
