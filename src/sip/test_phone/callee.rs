//! The test phone when it is called: it rings, answers, refuses, redirects or keeps silent, and repeats its final answers
//! until they are acknowledged.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::{Duration, Instant};

use super::{Peer, Phone};
use crate::sip::message::{Request, Response};
use crate::sip::method::Method;
use crate::sip::transaction::timers::{GIVE_UP, T1, doubled};

/// The answer of a phone that is called, one for each fork; the endpoint does not read it.
const CALLEE_ANSWER: &str = "v=0\r\no=callee";

/// How a phone behaves when it is called.
#[derive(Debug, Clone)]
pub(crate) struct Manners {
    /// Says 100 at once.
    pub(crate) tries: bool,
    /// Says 180 at once, for each fork.
    pub(crate) rings: bool,
    /// Says 183 with its answer at once, for each fork.
    pub(crate) early: bool,
    /// Its 2xx carries the answer.
    pub(crate) describes: bool,
    /// Answers, or refuses, after so long; never when `None`.
    pub(crate) decides_after: Option<Duration>,
    /// Refuses with this status and these headers instead of answering.
    pub(crate) refuses: Option<(u16, Vec<(&'static str, String)>)>,
    /// How many phones ring at once; each answers a second after the one before.
    pub(crate) forks: usize,
    /// Challenges an INVITE without credentials with this status, header and value.
    pub(crate) challenge: Option<(u16, &'static str, &'static str)>,
    /// The Record-Route of its answers.
    pub(crate) record_route: Option<&'static str>,
    /// Heeds CANCEL.
    pub(crate) heeds_cancel: bool,
    /// What it answers re-INVITEs with, in turn; 200 when there is nothing left, no answer for 0.
    pub(crate) reinvites: VecDeque<u16>,
}

impl Default for Manners {
    fn default() -> Self {
        Self {
            tries: true,
            rings: true,
            early: false,
            describes: true,
            decides_after: Some(Duration::ZERO),
            refuses: None,
            forks: 1,
            challenge: None,
            record_route: None,
            heeds_cancel: true,
            reinvites: VecDeque::new(),
        }
    }
}

/// What a called phone remembers.
#[derive(Debug, Default)]
pub(crate) struct Called {
    /// The tags that sent a 2xx, of the first INVITE and of each re-INVITE, with its number.
    pub(crate) answered: BTreeSet<(String, u32)>,
    /// The tags and numbers that were acknowledged.
    pub(crate) acknowledged: BTreeSet<(String, u32)>,
    /// The tags that were hung up on.
    pub(crate) hung_up: BTreeSet<String>,
    invites: Vec<Incoming>,
    agenda: BTreeMap<(Instant, u64), Act>,
    acts: u64,
}

#[derive(Debug)]
struct Incoming {
    branch: String,
    request: Request,
    /// What a retransmission gets again.
    last: Option<Vec<u8>>,
    decided: bool,
}

#[derive(Debug, Clone)]
enum Act {
    Decide(usize, usize),
    Repeat {
        tag: String,
        number: u32,
        bytes: Vec<u8>,
        interval: Duration,
        until: Instant,
    },
}

impl Phone {
    pub(super) fn handle_request(&mut self, now: Instant, request: Request) {
        self.requests.push(request.clone());
        match request.method {
            Method::Invite => self.handle_invite(now, request),
            Method::Ack => {
                let tag = request.headers.to().unwrap().tag().unwrap_or_default().to_owned();
                let number = request.headers.cseq().unwrap().number;
                self.called.acknowledged.insert((tag, number));
            }
            Method::Cancel => self.handle_cancel(now, &request),
            // What is asked of a registrar, a test answers itself.
            Method::Register | Method::Options => {}
            _ => self.handle_other(&request),
        }
    }

    fn handle_other(&mut self, request: &Request) {
        if request.method != Method::Bye {
            return self.answer_inside(request);
        }
        self.in_call = false;
        if request.method == Method::Bye {
            let tag = request.headers.to().unwrap().tag().unwrap_or_default().to_owned();
            self.called.hung_up.insert(tag);
        }
        if let Some(status) = self.habits.bye_status {
            self.outputs.push_back(Response::standard(request, status).to_bytes());
        }
    }

    fn handle_invite(&mut self, now: Instant, request: Request) {
        let branch = request.headers.via().unwrap().branch().unwrap().to_owned();
        if let Some(known) = self.called.invites.iter().find(|known| known.branch == branch) {
            self.outputs.extend(known.last.clone());
            return;
        }
        let index = self.called.invites.len();
        let again = request.headers.to().unwrap().tag().is_some();
        self.called.invites.push(Incoming {
            branch,
            request,
            last: None,
            decided: false,
        });
        match again {
            true => self.decide_reinvite(now, index),
            false => self.greet(now, index),
        }
    }

    fn greet(&mut self, now: Instant, index: usize) {
        let manners = self.habits.manners.clone();
        let request = self.called.invites[index].request.clone();
        if let Some((status, name, value)) = manners.challenge {
            let proof = match name {
                "WWW-Authenticate" => "Authorization",
                _ => "Proxy-Authorization",
            };
            if !request.headers.contains(proof) {
                let challenge = Response::standard(&request, status).with_header(name, value);
                return self.finish_invite(now, index, challenge.with_to_tag("challenge"));
            }
        }
        if manners.tries {
            self.say(index, Response::standard(&request, 100));
        }
        for fork in 0..manners.forks {
            if manners.rings {
                let ringing = self.dialog_response(&request, 180, fork);
                self.say(index, ringing);
            }
            if manners.early {
                let early = self.dialog_response(&request, 183, fork);
                self.say(index, early.with_body("application/sdp", answer_of(fork)));
            }
            if let Some(wait) = manners.decides_after {
                self.plan(now + wait + Duration::from_secs(fork as u64), Act::Decide(index, fork));
            }
        }
    }

    fn decide(&mut self, now: Instant, index: usize, fork: usize) {
        let manners = self.habits.manners.clone();
        let request = self.called.invites[index].request.clone();
        if let Some((status, headers)) = manners.refuses {
            let mut refusal = Response::standard(&request, status).with_to_tag(&self.fork_tag(fork));
            headers
                .into_iter()
                .for_each(|(name, value)| refusal.headers.push(name, value));
            return self.finish_invite(now, index, refusal);
        }
        let ok = self.dialog_response(&request, 200, fork);
        let ok = match manners.describes {
            true => ok.with_body("application/sdp", answer_of(fork)),
            false => ok,
        };
        self.in_call = true;
        self.learn_caller(&request, fork);
        self.finish_invite(now, index, ok);
    }

    fn decide_reinvite(&mut self, now: Instant, index: usize) {
        let request = self.called.invites[index].request.clone();
        match self.habits.manners.reinvites.pop_front().unwrap_or(200) {
            0 => {}
            200 => {
                let ok = self.dialog_response(&request, 200, 0);
                self.finish_invite(now, index, ok.with_body("application/sdp", answer_of(9)));
            }
            status => self.finish_invite(now, index, Response::standard(&request, status)),
        }
    }

    fn handle_cancel(&mut self, now: Instant, cancel: &Request) {
        self.outputs.push_back(Response::standard(cancel, 200).to_bytes());
        let branch = cancel.headers.via().unwrap().branch().unwrap().to_owned();
        let known = self.called.invites.iter().position(|known| known.branch == branch);
        let pending = known.filter(|index| !self.called.invites[*index].decided && self.habits.manners.heeds_cancel);
        if let Some(index) = pending {
            let refusal = Response::standard(&self.called.invites[index].request, 487);
            self.finish_invite(now, index, refusal.with_to_tag(&self.fork_tag(0)));
        }
    }

    /// A response that makes a dialog.
    fn dialog_response(&self, request: &Request, status: u16, fork: usize) -> Response {
        let mut response = Response::standard(request, status).with_to_tag(&self.fork_tag(fork));
        if let Some(route) = self.habits.manners.record_route {
            response.headers.push("Record-Route", route);
        }
        if status == 200 {
            self.describe_answer(request, &mut response);
        }
        response.with_header("Contact", format!("<{}>", self.contact()))
    }

    /// A final answer, repeated until its ACK comes. A fork may answer after another one has, but not after a refusal.
    fn finish_invite(&mut self, now: Instant, index: usize, response: Response) {
        let over = self.called.invites[index].decided;
        if over && (response.status >= 300 || self.called.answered.is_empty()) {
            return;
        }
        self.called.invites[index].decided = true;
        let tag = response.headers.to().unwrap().tag().unwrap_or_default().to_owned();
        let number = response.headers.cseq().unwrap().number;
        if response.status < 300 {
            self.called.answered.insert((tag.clone(), number));
        }
        let bytes = response.to_bytes();
        self.say(index, response);
        let repeat = Act::Repeat {
            tag,
            number,
            bytes,
            interval: T1,
            until: now + GIVE_UP,
        };
        self.plan(now + T1, repeat);
    }

    fn say(&mut self, index: usize, response: Response) {
        let bytes = response.to_bytes();
        self.called.invites[index].last = Some(bytes.clone());
        self.outputs.push_back(bytes);
    }

    fn plan(&mut self, at: Instant, act: Act) {
        self.called.acts += 1;
        self.called.agenda.insert((at, self.called.acts), act);
    }

    pub(super) fn called_timeout(&mut self, now: Instant) {
        while let Some(entry) = self.called.agenda.first_entry().filter(|entry| entry.key().0 <= now) {
            match entry.remove() {
                Act::Decide(index, fork) => self.decide(now, index, fork),
                Act::Repeat {
                    tag,
                    number,
                    bytes,
                    interval,
                    until,
                } => {
                    let done = self.called.acknowledged.contains(&(tag.clone(), number));
                    if done || now >= until {
                        continue;
                    }
                    self.outputs.push_back(bytes.clone());
                    let interval = doubled(interval);
                    let repeat = Act::Repeat {
                        tag,
                        number,
                        bytes,
                        interval,
                        until,
                    };
                    self.plan(now + interval, repeat);
                }
            }
        }
    }

    pub(super) fn called_poll_timeout(&self) -> Option<Instant> {
        self.called.agenda.keys().next().map(|(at, _)| *at)
    }

    fn fork_tag(&self, fork: usize) -> String {
        format!("{}-{fork}", self.name)
    }

    /// From here on the phone can send requests inside the call.
    fn learn_caller(&mut self, invite: &Request, fork: usize) {
        let mut first = invite.clone();
        let own = invite.headers.to().unwrap().with_tag(&self.fork_tag(fork));
        first.headers.set("From", own.to_string());
        self.first = Some(first);
        self.peer = Some(Peer {
            to: invite.headers.from().unwrap(),
            target: invite.headers.contact().unwrap().uri,
            routes: Vec::new(),
        });
    }
}

/// The answer of one fork.
fn answer_of(fork: usize) -> Vec<u8> {
    format!("{CALLEE_ANSWER} {fork}").into_bytes()
}
