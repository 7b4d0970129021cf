//! Whose bytes stand in the playout ring, and how much of each utterance came and left.

use std::collections::VecDeque;

use super::event::Event;
use crate::audio::{Heard, SampleRate, Utterance};

/// Accounts of the utterances that are not over, and the order their bytes stand in.
#[derive(Debug, Default)]
pub(super) struct Ledger {
    accounts: Vec<Account>,
    runs: VecDeque<Run>,
}

#[derive(Clone, Debug)]
struct Account {
    utterance: Utterance,
    /// Samples at 24 kHz that came.
    received: u64,
    /// Bytes that left.
    sent: u64,
    /// Bytes that wait.
    queued: usize,
    finished: bool,
}

/// Neighbouring bytes of one utterance.
#[derive(Clone, Copy, Debug)]
struct Run {
    utterance: Utterance,
    len: usize,
}

/// Utterances under way at once; a session speaks one after the other. Words of one more are dropped as overflow.
const ACCOUNTS_MAX: usize = 32;

impl Ledger {
    /// Takes note of samples that came; false when there is no room for another utterance.
    pub(super) fn receive(&mut self, utterance: Utterance, samples: usize) -> bool {
        if self.account(utterance).is_none() && self.accounts.len() < ACCOUNTS_MAX {
            self.accounts.push(Account::new(utterance));
        }
        let Some(account) = self.account(utterance) else {
            return false;
        };
        account.received += samples as u64;
        true
    }

    /// Takes note of bytes added to the ring.
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

    /// Takes note of bytes taken from the ring, and tells which utterances begin and end with them.
    pub(super) fn send(&mut self, mut len: usize, mut tell: impl FnMut(Event)) {
        while let Some(run) = self.runs.front_mut().filter(|_| len > 0) {
            let sent = run.len.min(len);
            let utterance = run.utterance;
            len -= sent;
            run.len -= sent;
            if run.len == 0 {
                self.runs.pop_front();
            }
            self.account_sent(utterance, sent, &mut tell);
        }
    }

    /// No more will come of this utterance; true when nothing of it is waiting either.
    pub(super) fn finish(&mut self, utterance: Utterance) -> bool {
        let Some(account) = self.account(utterance) else {
            return false;
        };
        account.finished = true;
        self.settle(utterance)
    }

    /// Bytes that stand in front and go on with an utterance that has begun.
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

    /// Forgets everything, and tells how much was heard of it.
    pub(super) fn close(&mut self) -> Vec<Heard> {
        self.runs.clear();
        self.accounts.drain(..).map(|account| account.heard()).collect()
    }

    fn account(&mut self, utterance: Utterance) -> Option<&mut Account> {
        self.accounts.iter_mut().find(|account| account.utterance == utterance)
    }

    fn account_sent(&mut self, utterance: Utterance, sent: usize, tell: &mut impl FnMut(Event)) {
        let Some(account) = self.account(utterance) else { return };
        if account.sent == 0 {
            tell(Event::Started(utterance));
        }
        account.sent += sent as u64;
        account.queued = account.queued.saturating_sub(sent);
        if self.settle(utterance) {
            tell(Event::Finished(utterance));
        }
    }

    /// Closes an account with nothing outstanding.
    fn settle(&mut self, utterance: Utterance) -> bool {
        let before = self.accounts.len();
        self.accounts
            .retain(|account| account.utterance != utterance || !account.is_settled());
        self.accounts.len() < before
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
        let received_ms = millis(self.received, SampleRate::Hz24000);
        Heard {
            utterance: self.utterance,
            sent_ms: millis(self.sent, SampleRate::Hz8000).min(received_ms),
            received_ms,
            complete: self.is_settled(),
        }
    }
}

fn millis(samples: u64, rate: SampleRate) -> u32 {
    u32::try_from(samples / rate.per_ms() as u64).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    const ONE: Utterance = Utterance(1);
    const TWO: Utterance = Utterance(2);

    #[test]
    fn each_utterance_is_charged_with_its_own_bytes() {
        let mut ledger = Ledger::default();
        for (utterance, bytes) in [(ONE, 800), (TWO, 400), (ONE, 80)] {
            assert!(ledger.receive(utterance, bytes * 3));
            ledger.queue(utterance, bytes);
        }
        assert_eq!(send(&mut ledger, 1_000), [Event::Started(ONE), Event::Started(TWO)]);
        let heard = ledger.accounts.iter().map(Account::heard);
        let heard: Vec<(u32, u32)> = heard.map(|heard| (heard.sent_ms, heard.received_ms)).collect();
        assert_eq!(heard, [(100, 110), (25, 50)]);
        assert!(!ledger.finish(ONE));
        assert_eq!(send(&mut ledger, 280), [Event::Finished(ONE)]);
        assert!(ledger.finish(TWO));
        assert!(ledger.is_empty());
    }

    #[test]
    fn an_utterance_nobody_knows_is_neither_finished_nor_sent() {
        let mut ledger = Ledger::default();
        assert!(!ledger.finish(ONE));
        assert_eq!(send(&mut ledger, 100), []);
    }

    #[test]
    fn an_utterance_without_audio_finishes_at_once() {
        let mut ledger = Ledger::default();
        assert!(ledger.receive(ONE, 0));
        assert!(ledger.finish(ONE));
    }

    #[test]
    fn there_is_room_for_so_many_utterances_and_no_more() {
        let mut ledger = Ledger::default();
        let accepted = (0..100).filter(|&number| ledger.receive(Utterance(number), 3)).count();
        assert_eq!(accepted, ACCOUNTS_MAX);
        assert_eq!(ledger.close().len(), ACCOUNTS_MAX);
        assert!(ledger.receive(Utterance(100), 3));
    }

    fn send(ledger: &mut Ledger, len: usize) -> Vec<Event> {
        let mut events = Vec::new();
        ledger.send(len, |event| events.push(event));
        events
    }
}
