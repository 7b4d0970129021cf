//! A telephone's SIP half: it calls, acknowledges, cancels, hangs up and is hung up on, and writes down what it saw.
//!
//! It keeps the rules of RFC 3261 except where its habits say otherwise. What it sends and hears as RTP is the business
//! of [`crate::mouth`] and [`crate::ear`].

mod writing;

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    net::SocketAddr,
    time::Instant,
};

use crate::{
    transaction::{Step, Transaction},
    wire::Text,
};

/// How a phone behaves.
#[derive(Debug, Clone, Copy)]
pub struct Habits {
    /// What it offers.
    pub offer: Offer,
    /// It offers in the INVITE; otherwise the gateway offers and the phone answers in its ACK.
    pub early_offer: bool,
    /// It acknowledges an answer.
    pub acknowledges: bool,
    /// It does not know the address its packets come from.
    pub behind_nat: bool,
}

/// What a phone offers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Offer {
    /// PCMU and PCMA.
    Both,
    /// PCMA only.
    Alaw,
    /// Nothing the gateway speaks.
    Opus,
}

/// What happens to a phone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum News {
    /// Its call was answered: where the gateway wants RTP, and in which payload type.
    Answered {
        /// Where to.
        to: SocketAddr,
        /// 0 or 8.
        payload_type: u8,
    },
    /// Its call is over.
    Over,
}

/// How a phone's call ended, as the phone sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum End {
    /// The phone hung up.
    HungUp,
    /// The gateway hung up, with this word.
    ByeReceived(String),
    /// The gateway refused, with this status and word.
    Refused(u16, String),
    /// The gateway never answered.
    Unanswered,
}

/// One phone, which makes one call.
#[derive(Debug)]
pub struct Phone {
    /// How it behaves.
    pub habits: Habits,
    /// Where its SIP comes from.
    pub address: SocketAddr,
    /// The different final statuses of each INVITE, by its branch.
    pub finals: BTreeMap<String, BTreeSet<u16>>,
    /// The final status of the INVITE that made the call.
    pub status: Option<u16>,
    /// How the call ended.
    pub end: Option<End>,
    gateway: SocketAddr,
    name: String,
    state: State,
    dialog: Option<Dialog>,
    on_hold: bool,
    /// It was answered after it had given up.
    regrets: bool,
    branches: u32,
    sequence: u32,
    transactions: Vec<Transaction>,
    outputs: VecDeque<Vec<u8>>,
    news: VecDeque<News>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Idle,
    Calling { ringing: bool, given_up: bool },
    Talking,
    Over,
}

#[derive(Debug, Clone)]
struct Dialog {
    to: String,
    target: String,
}

impl Phone {
    /// A phone with nothing to do.
    pub fn new(number: usize, gateway: SocketAddr, habits: Habits) -> Self {
        let address = SocketAddr::from(([198, 51, 100, 10 + number as u8], 5060));
        Self {
            habits,
            address,
            finals: BTreeMap::new(),
            status: None,
            end: None,
            gateway,
            name: format!("phone-{number}"),
            state: State::Idle,
            dialog: None,
            on_hold: false,
            regrets: false,
            branches: 0,
            sequence: 1,
            transactions: Vec::new(),
            outputs: VecDeque::new(),
            news: VecDeque::new(),
        }
    }

    /// Where its RTP comes from.
    pub fn rtp_address(&self) -> SocketAddr {
        SocketAddr::new(self.address.ip(), 4_000)
    }

    /// Calls.
    pub fn invite(&mut self, now: Instant) {
        self.state = State::Calling {
            ringing: false,
            given_up: false,
        };
        self.offer(now, self.habits.early_offer);
    }

    /// Puts the gateway on hold, or takes it back.
    pub fn hold(&mut self, now: Instant, on_hold: bool) {
        let pending = self.finals.values().any(BTreeSet::is_empty);
        if self.state == State::Talking && self.on_hold != on_hold && !pending {
            self.on_hold = on_hold;
            self.offer(now, self.habits.early_offer);
        }
    }

    /// Ends the call, or gives it up.
    pub fn hang_up(&mut self, now: Instant) {
        match &mut self.state {
            State::Calling { given_up: true, .. } | State::Idle | State::Over => {}
            State::Calling { ringing, given_up } => {
                *given_up = true;
                if *ringing {
                    self.cancel(now);
                }
            }
            State::Talking => self.bye(now),
        }
    }

    /// Ends the call if it has not been answered.
    pub fn give_up(&mut self, now: Instant) {
        if matches!(self.state, State::Calling { .. }) {
            self.hang_up(now);
        }
    }

    /// Whether the call is being made or up.
    pub fn is_busy(&self) -> bool {
        !matches!(self.state, State::Idle | State::Over)
    }

    /// A datagram of the gateway.
    pub fn handle_datagram(&mut self, now: Instant, bytes: &[u8]) {
        let message = Text::read(bytes);
        match message.status() {
            Some(status) => self.handle_response(now, status, &message),
            None => self.handle_request(&message),
        }
    }

    /// Repeats what is due.
    pub fn handle_timeout(&mut self, now: Instant) {
        for index in 0..self.transactions.len() {
            match self.transactions[index].handle_timeout(now) {
                Step::Nothing => {}
                Step::Send(bytes) => self.outputs.push_back(bytes),
                Step::GiveUp if self.transactions[index].method == "INVITE" => self.over(End::Unanswered),
                Step::GiveUp => {}
            }
        }
    }

    /// When something is due.
    pub fn poll_timeout(&self) -> Option<Instant> {
        self.transactions.iter().filter_map(Transaction::poll_timeout).min()
    }

    /// What to send.
    pub fn poll_output(&mut self) -> Option<Vec<u8>> {
        self.outputs.pop_front()
    }

    /// What happened.
    pub fn poll_news(&mut self) -> Option<News> {
        self.news.pop_front()
    }
}

impl Phone {
    fn handle_request(&mut self, request: &Text) {
        match request.method() {
            "BYE" => {
                self.outputs.push_back(request.reply("200 OK").clone());
                self.over(End::ByeReceived(request.reason()));
            }
            other => panic!("the gateway sends no {other}"),
        }
    }

    fn handle_response(&mut self, now: Instant, status: u16, response: &Text) {
        let branch = response.branch();
        let Some(index) = self
            .transactions
            .iter()
            .position(|each| each.branch == branch && each.method == response.method())
        else {
            return;
        };
        let fresh = self.transactions[index].responded(status);
        if response.method() == "INVITE" {
            self.handle_invite_response(now, index, status, response, fresh);
        }
    }

    fn handle_invite_response(&mut self, now: Instant, index: usize, status: u16, response: &Text, fresh: bool) {
        if status >= 200
            && let Some(statuses) = self.finals.get_mut(response.branch())
        {
            statuses.insert(status);
        }
        match status {
            ..200 => self.ringing(now),
            200..300 if fresh && index == 0 => self.answered(response),
            _ if fresh && index == 0 => self.refused(status, response),
            _ => {}
        }
        if status >= 200 && fresh {
            self.acknowledge(index, status);
        }
        if status >= 200 {
            self.outputs.extend(self.transactions[index].ack.clone());
        }
        if std::mem::take(&mut self.regrets) {
            self.bye(now);
        }
    }

    fn ringing(&mut self, now: Instant) {
        let State::Calling {
            ringing: ringing @ false,
            given_up,
        } = &mut self.state
        else {
            return;
        };
        *ringing = true;
        if *given_up {
            self.cancel(now);
        }
    }

    fn answered(&mut self, response: &Text) {
        let given_up = !matches!(self.state, State::Calling { given_up: false, .. });
        self.status = response.status();
        self.dialog = Some(Dialog {
            to: response.get("To").to_owned(),
            target: response.uri("Contact"),
        });
        self.state = State::Talking;
        let news = self.media(&response.body);
        self.news.push_back(news);
        self.regrets = given_up;
    }

    fn refused(&mut self, status: u16, response: &Text) {
        self.status = Some(status);
        self.dialog = Some(Dialog {
            to: response.get("To").to_owned(),
            target: self.gateway_uri(),
        });
        self.over(End::Refused(status, response.reason()));
    }

    /// An answer has an ACK of its own, a refusal one that belongs to its INVITE.
    fn acknowledge(&mut self, index: usize, status: u16) {
        let accepted = status < 300;
        if accepted && !self.habits.acknowledges {
            return;
        }
        let branch = if accepted {
            self.branch()
        } else {
            self.transactions[index].branch.clone()
        };
        let answers = accepted && !self.habits.early_offer;
        let body = if answers { self.description() } else { String::new() };
        let ack = self.request("ACK", &branch, self.transactions[index].sequence, &body);
        self.transactions[index].ack = Some(ack);
    }

    fn offer(&mut self, now: Instant, early: bool) {
        if !self.transactions.is_empty() {
            self.sequence += 1;
        }
        let branch = self.branch();
        let body = if early { self.description() } else { String::new() };
        let request = self.request("INVITE", &branch, self.sequence, &body);
        self.finals.insert(branch.clone(), BTreeSet::new());
        self.begin(now, "INVITE", branch, request);
    }

    fn cancel(&mut self, now: Instant) {
        let branch = self.transactions[0].branch.clone();
        let request = self.request("CANCEL", &branch, 1, "");
        self.begin(now, "CANCEL", branch, request);
    }

    fn bye(&mut self, now: Instant) {
        self.sequence += 1;
        let branch = self.branch();
        let request = self.request("BYE", &branch, self.sequence, "");
        self.begin(now, "BYE", branch, request);
        self.over(End::HungUp);
    }

    fn over(&mut self, end: End) {
        if self.end.is_none() {
            self.end = Some(end);
            // A change of the call that was asked for has no call to change any more; its answer may never come.
            let first = self.transactions[0].branch.clone();
            self.finals
                .retain(|branch, statuses| *branch == first || !statuses.is_empty());
            self.state = State::Over;
            self.news.push_back(News::Over);
        }
    }

    fn begin(&mut self, now: Instant, method: &'static str, branch: String, request: Vec<u8>) {
        self.outputs.push_back(request.clone());
        self.transactions
            .push(Transaction::sent(now, method, self.sequence, branch, request));
    }

    fn branch(&mut self) -> String {
        self.branches += 1;
        format!("z9hG4bK-{}-{}", self.name, self.branches)
    }
}
