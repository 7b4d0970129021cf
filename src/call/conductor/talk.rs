//! What happens inside a call that is answered: transfers, digits, texts.

use std::time::Instant;

use super::{Act, Asker, Command, Conductor, DIGIT_LENGTH, Input, LegId, NotNow, Note, Order, Transfer};
use crate::{
    call::transfer::{Ended, Way},
    config::{KeyWay, TransferWays},
    sip::Uri,
    tools,
};

/// The longest text of a MESSAGE that the agent is told, in bytes; the rest is cut off.
const MESSAGE_BYTES_MAX: usize = 4096;

impl Conductor {
    /// Has the other side call somebody else; `replaces` names the leg of ours that the new call takes the place of.
    pub fn transfer(&mut self, now: Instant, asker: Asker, to: String, replaces: Option<LegId>) -> Result<(), NotNow> {
        if !self.talking {
            return Err(NotNow::NotTalking);
        }
        if self.transfer.is_some() {
            return Err(NotNow::Transferring);
        }
        let transfer = Transfer::new(now, asker, to.clone(), replaces.is_some());
        let bridged = self.settings.transfers.ways == TransferWays::Bridge && replaces.is_none();
        self.transfer = Some(transfer);
        match bridged {
            true => self.call_second_leg(now),
            false => {
                self.note_transfer(0);
                self.acts.push_back(Act::Leg(Command::Transfer { to, replaces }));
            }
        }
        Ok(())
    }

    /// Presses keys at the far end, by the first of the trunk's ways that it takes: telephone-events where they were
    /// agreed on; INFO and tones it is taken to know.
    pub fn send_digits(&mut self, digits: &str) -> Result<(), NotNow> {
        if !self.talking {
            return Err(NotNow::NotTalking);
        }
        let agreed = self.terms.as_ref().and_then(|terms| terms.agreed());
        let events = agreed.is_some_and(|agreed| agreed.event_send.is_some());
        let mut ways = self.settings.keys.ways.iter();
        match ways.find(|way| **way != KeyWay::Event || events) {
            Some(KeyWay::Event) => self.order(Order::SendDigits(digits.to_owned())),
            Some(KeyWay::Info) => self.send_infos(digits),
            Some(KeyWay::Tone) => self.order(Order::PlayDigits(digits.to_owned())),
            None => return Err(NotNow::NoKeys),
        }
        Ok(())
    }

    fn send_infos(&mut self, digits: &str) {
        let commands = digits.chars().map(|digit| {
            Act::Leg(Command::SendDigit {
                digit,
                duration: DIGIT_LENGTH,
            })
        });
        self.acts.extend(commands);
    }

    pub(super) fn transfer_progress(&mut self, now: Instant, status: u16) {
        // What the other side says late, when we call ourselves already, changes nothing.
        let Some(transfer) = self.transfer.as_mut().filter(|transfer| transfer.way() == Way::Refer) else {
            return;
        };
        match transfer.progress(now, status) {
            Some(ended) => self.transfer_ended(now, ended),
            None => self.note_transfer(status),
        }
    }

    /// How far it is: for the log, the record and whoever watches.
    pub(super) fn note_transfer(&mut self, status: u16) {
        let note = self.transfer.as_ref().map(|transfer| Note::Transfer {
            to: transfer.to().to_owned(),
            way: transfer.way(),
            status,
        });
        self.acts.extend(note.map(Act::Note));
    }

    /// It ended. When the other side could not be handed on we call ourselves, where we may.
    pub(super) fn transfer_ended(&mut self, now: Instant, ended: Ended) {
        self.note_transfer(ended.status);
        let ways = self.settings.transfers.ways;
        if !ended.succeeded() && self.transfer.as_ref().is_some_and(|transfer| transfer.falls_back(ways)) {
            return self.call_second_leg(now);
        }
        self.transfer = None;
        self.tell_asker(now, &ended);
        let input = if ended.succeeded() {
            Input::Transferred
        } else {
            Input::NotTransferred
        };
        self.handle(now, input);
    }

    pub(super) fn tell_asker(&mut self, now: Instant, ended: &Ended) {
        if let Asker::Agent(call_id) = &ended.asker {
            let word = if ended.succeeded() {
                tools::Ended::Ok
            } else {
                tools::Ended::Failed
            };
            self.own_done(now, call_id, word, ended.explained(), !ended.succeeded());
        }
    }

    pub(super) fn play_failover(&mut self) {
        if let Some(sound) = self.settings.failover.prompt.clone() {
            self.order(Order::Play(sound));
        }
    }

    /// Hands the call on because its agent has gone for good. When a transfer is under way already, that one decides.
    pub(super) fn hand_on(&mut self, now: Instant) {
        let to = self.settings.failover.transfer.clone().unwrap_or_default();
        if self.transfer(now, Asker::Failover, to, None) == Err(NotNow::NotTalking) {
            self.handle(now, Input::NotTransferred);
        }
    }

    /// The other side wants us to call somebody else. Nobody is called on a stranger's word.
    pub(super) fn transfer_asked(&mut self, to: &Uri) {
        self.note(Note::TransferRefused(to.to_string()));
        self.acts.push_back(Act::Leg(Command::AnswerTransfer { accept: false }));
    }

    pub(super) fn digit_by_info(&mut self, digit: char) {
        // It may be the echo of one that came by RTP: the bridge knows, and reports it.
        self.order(Order::HearDigit(digit));
    }

    pub(super) fn text_by_message(&mut self, mut text: String) {
        if self.settings.messages {
            text.truncate(text.floor_char_boundary(MESSAGE_BYTES_MAX));
            self.order(Order::HearText(text));
        }
    }
}
