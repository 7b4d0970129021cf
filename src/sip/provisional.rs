//! Reliable provisional responses (RFC 3262): the side that sends them and repeats each until its PRACK comes, and the
//! side that receives them and tells which to acknowledge.
//!
//! [`Provisionals`] belongs to one INVITE we answer: at most one response is unacknowledged, the next waits behind it,
//! and so does a 2xx while the unacknowledged one carried a session description (section 3). Nothing here writes
//! messages.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use super::defect::Malformed;
use super::flow::Flow;
use super::grammar::trim;
use super::headers::Headers;
use super::method::{CSeq, Method};
use super::transaction::timers::{GIVE_UP, T1};

/// Most provisionals that wait for the PRACK of an earlier one; a further one is not sent, which costs a ringing tone.
pub const WAITING_MAX: usize = 4;

/// Whether the caller can acknowledge provisionals.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Reliability {
    /// It did not say so.
    #[default]
    None,
    /// It can (Supported): we use it for session descriptions.
    Supported,
    /// It insists (Require): every provisional but 100 is reliable.
    Required,
}

impl Reliability {
    /// What an INVITE says.
    pub fn of(headers: &Headers) -> Self {
        let lists = |name| headers.tokens(name).any(|token| token.eq_ignore_ascii_case("100rel"));
        match (lists("Require"), lists("Supported")) {
            (true, _) => Self::Required,
            (false, true) => Self::Supported,
            (false, false) => Self::None,
        }
    }
}

/// The RAck header: which provisional a PRACK acknowledges.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RAck {
    /// The RSeq of the response.
    pub number: u32,
    /// The CSeq of the request it answered.
    pub cseq: CSeq,
}

impl RAck {
    /// Reads `number cseq method`.
    pub fn read(text: &str) -> Result<Self, Malformed> {
        let problem = Malformed("RAck must be two numbers and a method");
        let (number, cseq) = trim(text).split_once([' ', '\t']).ok_or(problem)?;
        let number = read_number(number).ok_or(problem)?;
        CSeq::read(cseq).map(|cseq| Self { number, cseq })
    }
}

/// The RSeq of a response.
pub fn rseq(headers: &Headers) -> Option<u32> {
    read_number(trim(headers.first("RSeq")?))
}

fn read_number(text: &str) -> Option<u32> {
    let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    text.parse().ok().filter(|_| digits)
}

/// How far the caller's offer has been answered before the 2xx.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Early {
    /// It has not.
    #[default]
    Open,
    /// By an unreliable 183 with this answer, which the 2xx repeats (RFC 6337 section 2.1).
    Told(Vec<u8>),
    /// By a reliable one: the 2xx carries no session description.
    Agreed,
}

/// A provisional on its way out: its status and session description.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Provisional {
    /// The status.
    pub status: u16,
    /// Its session description.
    pub sdp: Option<Vec<u8>>,
}

/// What a PRACK leads to.
#[derive(Debug, PartialEq, Eq)]
pub enum Acknowledged {
    /// It acknowledges nothing we wait for: 481.
    Nothing,
    /// It does; send this provisional next, if there is one.
    Next(Option<Provisional>),
}

/// What is due.
#[derive(Debug, PartialEq, Eq)]
pub enum ProvisionalStep {
    /// Nothing.
    Nothing,
    /// Send these bytes again.
    Send(Flow, Vec<u8>),
    /// The PRACK never came.
    GaveUp,
}

/// The provisionals of one INVITE we answer.
#[derive(Debug, Default)]
pub struct Provisionals {
    /// What the caller can do.
    pub reliability: Reliability,
    /// How far its offer is answered.
    pub early: Early,
    /// The sequence number of the INVITE, which RAck repeats.
    pub invite: u32,
    last: u32,
    unacknowledged: Option<Unacknowledged>,
    waiting: VecDeque<Provisional>,
    held: Option<Vec<u8>>,
}

#[derive(Debug)]
struct Unacknowledged {
    number: u32,
    with_sdp: bool,
    repeat: Option<Repeat>,
}

#[derive(Debug)]
struct Repeat {
    flow: Flow,
    response: Vec<u8>,
    interval: Duration,
    resend_at: Instant,
    give_up_at: Instant,
}

impl Provisionals {
    /// For the INVITE of this number with these headers; `before` is the number before the first RSeq.
    pub fn of(headers: &Headers, invite: u32, before: u32) -> Self {
        Self {
            reliability: Reliability::of(headers),
            invite,
            last: before,
            ..Self::default()
        }
    }

    /// Whether this one has to be reliable.
    pub fn is_reliable(&self, sdp: bool) -> bool {
        match self.reliability {
            Reliability::None => false,
            Reliability::Supported => sdp,
            Reliability::Required => true,
        }
    }

    /// A reliable provisional is to be sent: back when it may leave now, kept while an earlier one is unacknowledged.
    pub fn queue(&mut self, provisional: Provisional) -> Option<Provisional> {
        if self.unacknowledged.is_none() {
            return Some(provisional);
        }
        if self.waiting.len() < WAITING_MAX {
            self.waiting.push_back(provisional);
        }
        None
    }

    /// The number of the next reliable provisional.
    pub fn next_number(&self) -> u32 {
        self.last.wrapping_add(1)
    }

    /// The provisional with [`Self::next_number`] is being sent now.
    pub fn sent(&mut self, now: Instant, flow: Flow, response: Vec<u8>, with_sdp: bool) {
        self.last = self.next_number();
        if with_sdp {
            self.early = Early::Agreed;
        }
        let repeat = Repeat {
            flow,
            response,
            interval: T1,
            resend_at: now + T1,
            give_up_at: now + GIVE_UP,
        };
        self.unacknowledged = Some(Unacknowledged {
            number: self.last,
            with_sdp,
            repeat: Some(repeat),
        });
    }

    /// The application answers the call: its answer, when the 2xx may leave now. It waits while a session description
    /// is unacknowledged; what has not been sent yet never will be.
    pub fn answer(&mut self, sdp: Vec<u8>) -> Option<Vec<u8>> {
        self.waiting.clear();
        match &self.unacknowledged {
            Some(open) if open.with_sdp => {
                self.held = Some(sdp);
                None
            }
            _ => Some(sdp),
        }
    }

    /// The application's answer, if it waited and has no more reason to.
    pub fn release(&mut self) -> Option<Vec<u8>> {
        match self.is_negotiating() {
            true => None,
            false => self.held.take(),
        }
    }

    /// The INVITE has its final answer: nothing is repeated any more, but a late PRACK is still known.
    pub fn close(&mut self) {
        self.waiting.clear();
        self.held = None;
        if let Some(open) = &mut self.unacknowledged {
            open.repeat = None;
        }
    }

    /// A PRACK came that acknowledges this number.
    pub fn acknowledge(&mut self, number: u32) -> Acknowledged {
        match self.unacknowledged.take_if(|open| open.number == number) {
            None => Acknowledged::Nothing,
            Some(_) => Acknowledged::Next(self.waiting.pop_front()),
        }
    }

    /// Whether a session description of ours waits for its PRACK.
    pub fn is_negotiating(&self) -> bool {
        self.unacknowledged.as_ref().is_some_and(|open| open.with_sdp)
    }

    /// Runs what is due. The interval doubles without an upper bound (section 3), unlike that of a 2xx.
    pub fn handle_timeout(&mut self, now: Instant) -> ProvisionalStep {
        let Some(repeat) = self.unacknowledged.as_mut().and_then(|open| open.repeat.as_mut()) else {
            return ProvisionalStep::Nothing;
        };
        if now >= repeat.give_up_at {
            self.close();
            return ProvisionalStep::GaveUp;
        }
        if now < repeat.resend_at {
            return ProvisionalStep::Nothing;
        }
        repeat.interval = repeat.interval.saturating_mul(2);
        repeat.resend_at += repeat.interval;
        ProvisionalStep::Send(repeat.flow, repeat.response.clone())
    }

    /// When [`Self::handle_timeout`] is next due.
    pub fn poll_timeout(&self) -> Option<Instant> {
        let repeat = self.unacknowledged.as_ref()?.repeat.as_ref()?;
        Some(repeat.resend_at.min(repeat.give_up_at))
    }
}

/// Most reliable provisionals of one phone that are acknowledged. The rest are neither heeded nor acknowledged, so that a
/// phone that rings cannot have us send without end; one that insists on them gives the call up.
pub const RECEIVED_MAX: u32 = 32;

/// The reliable provisionals of one early dialog that we receive.
#[derive(Debug, Default)]
pub struct Received {
    last: Option<u32>,
    count: u32,
}

impl Received {
    /// Whether the provisional of this number is to be acknowledged: the first of its dialog, or the one right after
    /// the last. A repeated one has been, and one after a gap is not there yet for us (section 4).
    pub fn take(&mut self, number: u32) -> bool {
        let fresh = self.count < RECEIVED_MAX && self.last.is_none_or(|last| number == last.wrapping_add(1));
        if fresh {
            self.last = Some(number);
            self.count += 1;
        }
        fresh
    }
}

/// The RAck of the PRACK for a provisional of this number to the INVITE of this sequence number.
pub fn rack(number: u32, invite: u32) -> String {
    format!("{number} {invite} {}", Method::Invite)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sip::flow::Transport;

    #[test]
    fn a_reliable_provisional_is_repeated_with_doubling_intervals_for_64_t1() {
        let start = Instant::now();
        let mut provisionals = Provisionals::default();
        provisionals.sent(start, flow(), b"183".to_vec(), true);
        let mut seen_ms = Vec::new();
        while let Some(at) = provisionals.poll_timeout() {
            if provisionals.handle_timeout(at) == ProvisionalStep::GaveUp {
                assert_eq!(at, start + GIVE_UP);
            } else {
                seen_ms.push((at - start).as_millis());
            }
        }
        assert_eq!(seen_ms, [500, 1500, 3500, 7500, 15_500, 31_500]);
    }

    #[test]
    fn the_next_provisional_and_the_answer_wait_for_the_prack() {
        let (ringing, media) = (provisional(180, None), provisional(183, Some("sdp")));
        let mut provisionals = Provisionals::default();
        assert_eq!(provisionals.queue(media.clone()), Some(media));
        assert_eq!(provisionals.next_number(), 1);
        provisionals.sent(Instant::now(), flow(), b"183".to_vec(), true);
        assert_eq!(provisionals.queue(ringing.clone()), None);
        assert_eq!(provisionals.acknowledge(2), Acknowledged::Nothing);
        assert_eq!(provisionals.acknowledge(1), Acknowledged::Next(Some(ringing)));
        assert_eq!(provisionals.acknowledge(1), Acknowledged::Nothing);
        provisionals.sent(Instant::now(), flow(), b"180".to_vec(), false);
        assert_eq!(provisionals.answer(b"a".to_vec()), Some(b"a".to_vec()));
        provisionals.close();
        assert_eq!(provisionals.poll_timeout(), None);
        assert_eq!(provisionals.acknowledge(2), Acknowledged::Next(None));
    }

    #[test]
    fn an_answer_is_held_while_a_session_description_is_unacknowledged() {
        let mut provisionals = Provisionals::default();
        provisionals.sent(Instant::now(), flow(), b"183".to_vec(), true);
        assert_eq!(provisionals.answer(b"a".to_vec()), None);
        assert!(provisionals.is_negotiating());
        assert_eq!(provisionals.release(), None);
        assert_eq!(provisionals.acknowledge(1), Acknowledged::Next(None));
        assert_eq!(provisionals.release(), Some(b"a".to_vec()));
        assert_eq!(provisionals.early, Early::Agreed);
    }

    #[test]
    fn provisionals_are_acknowledged_in_order_and_once() {
        let mut received = Received::default();
        let taken: Vec<_> = [7, 7, 9, 8, 9, 10]
            .into_iter()
            .filter(|number| received.take(*number))
            .collect();
        assert_eq!(taken, [7, 8, 9, 10]);
    }

    #[test]
    fn rack_is_read_and_written() {
        let read = RAck::read(" 776656 \t1 INVITE ").unwrap();
        assert_eq!((read.number, read.cseq.to_string()), (776_656, "1 INVITE".to_owned()));
        assert_eq!(RAck::read(&rack(3, 4)).unwrap().cseq.number, 4);
        for text in [
            "",
            "1",
            "1 INVITE",
            "x 1 INVITE",
            "+1 1 INVITE",
            "1 2",
            "4294967296 1 INVITE",
        ] {
            assert!(RAck::read(text).is_err(), "{text}");
        }
    }

    fn provisional(status: u16, sdp: Option<&str>) -> Provisional {
        let sdp = sdp.map(|sdp| sdp.as_bytes().to_vec());
        Provisional { status, sdp }
    }

    fn flow() -> Flow {
        let [local, remote] = ["192.0.2.1:5060", "192.0.2.7:40000"].map(|address| address.parse().unwrap());
        Flow {
            transport: Transport::Udp,
            local,
            remote,
            connection: 0,
        }
    }
}
