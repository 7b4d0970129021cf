//! What goes into the endpoint and what comes out of it, besides bytes.

use std::borrow::Cow;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use crate::sip::address::NameAddr;
use crate::sip::admission::Peer;
use crate::sip::defence;
use crate::sip::flow::{Flow, Transport};
use crate::sip::headers::Headers;
use crate::sip::leg::LegId;
use crate::sip::registrar::RegistrarSettings;
use crate::sip::repeats::Repeated;
use crate::sip::target::Target;
use crate::sip::uri::Uri;

/// Most legs at once unless the settings say otherwise. A further INVITE is refused with 503 `overloaded`.
pub const LEGS_MAX: usize = 10_000;
/// Most server transactions at once unless the settings say otherwise. Beyond it an INVITE gets a stateless 503
/// `overloaded`, and the answers to other requests are not repeated for their retransmissions.
pub const TRANSACTIONS_MAX: usize = 50_000;
/// How long the application may leave an INVITE without a final answer unless the settings say otherwise; the timer C of
/// a proxy on the way fires earlier (RFC 3261 section 16.6). Then the caller gets 503 `session_unavailable`.
pub const RING_MAX: Duration = Duration::from_secs(240);

/// What the phones that register here are called together where a trunk's name is asked for.
pub const REGISTRAR: &str = "registrar";

/// How the endpoint is set up.
#[derive(Clone)]
pub struct Settings {
    /// What we listen on.
    pub listeners: Vec<Listener>,
    /// The address peers reach us on where we do not listen; `None`: the local address of the flow.
    pub external_ip: Option<IpAddr>,
    /// Who may call; the first whose networks contain the source is taken.
    pub peers: Vec<Peer>,
    /// The phones that may register here; `None`: nobody.
    pub registrar: Option<RegistrarSettings>,
    /// The realm of our digest challenges.
    pub realm: String,
    /// Keys tags, branches and nonces.
    pub secret: [u8; 32],
    /// Makes the words of one run differ from the next.
    pub seed: u64,
    /// What we call ourselves in Server and User-Agent.
    pub user_agent: String,
    /// See [`LEGS_MAX`].
    pub legs_max: usize,
    /// See [`TRANSACTIONS_MAX`].
    pub transactions_max: usize,
    /// See [`RING_MAX`].
    pub ring_max: Duration,
    /// What strangers may do.
    pub defence: defence::Settings,
}

impl Settings {
    /// Settings with this secret and seed and nobody who may call.
    pub fn new(secret: [u8; 32], seed: u64) -> Self {
        Self {
            listeners: Vec::new(),
            external_ip: None,
            peers: Vec::new(),
            registrar: None,
            realm: "patchcord".to_owned(),
            secret,
            seed,
            user_agent: "patchcord".to_owned(),
            legs_max: LEGS_MAX,
            transactions_max: TRANSACTIONS_MAX,
            ring_max: RING_MAX,
            defence: defence::Settings::OFF,
        }
    }
}

/// One socket of ours.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Listener {
    /// What is spoken there.
    pub transport: Transport,
    /// Where it is bound, perhaps to all addresses.
    pub bound: SocketAddr,
    /// The address peers reach it on; `None`: the local address of the flow.
    pub external_ip: Option<IpAddr>,
}

impl Listener {
    /// Whether a flow with this end of ours came through it, or would come back through it.
    pub fn serves(&self, transport: Transport, local: SocketAddr) -> bool {
        let (ours, local_ip) = (self.bound.ip(), local.ip().to_canonical());
        let same_ip = ours == local_ip || (ours.is_unspecified() && ours.is_ipv4() == local_ip.is_ipv4());
        self.transport == transport && self.bound.port() == local.port() && same_ip
    }
}

/// What the endpoint wants the driver to do.
#[derive(Debug)]
pub enum Output {
    /// Send these bytes. Failure to send needs no report: what matters is repeated, and a closed connection is reported
    /// by [`super::Endpoint::handle_flow_closed`].
    Send {
        /// Where to.
        flow: Flow,
        /// One whole message.
        bytes: Vec<u8>,
    },
    /// Tell whoever owns this leg.
    Event {
        /// Which leg.
        leg: LegId,
        /// What happened.
        event: Event,
    },
    /// A request was refused without asking anyone: for the log, the metric and, when it was a call, the record.
    Refused(Refused),
    /// Something was dropped before it was read: for the log and the metric.
    Dropped(Dropped),
    /// More of what has been told of one source, for the log.
    Repeated(Repeated),
    /// Look a name up (RFC 3263) and hand the hops to [`super::Endpoint::handle_resolved`], best first. It is answered
    /// once, also when there are none.
    Resolve {
        /// Which question.
        query: QueryId,
        /// The name.
        target: Target,
    },
    /// Open a connection. What is sent on `flow` meanwhile waits for it; when it cannot be opened that is reported like
    /// a closed one.
    Open {
        /// The connection; its number is the endpoint's ([`crate::sip::flow::OPENED_BY_US`]).
        flow: Flow,
        /// See [`Hop::name`](crate::sip::target::Hop::name).
        name: String,
    },
    /// What is known of a trunk has changed: for the log, the metric and the control API.
    Trunk(TrunkReport),
}

/// Names one question of [`Output::Resolve`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct QueryId(pub u64);

/// How a trunk is doing, as far as requests of ours tell.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TrunkReport {
    /// The trunk.
    pub trunk: String,
    /// Whether it answers our OPTIONS; `None` while that is not known or not asked.
    pub reachable: Option<bool>,
    /// Whether we are registered there; `None` for a trunk we do not register to.
    pub registered: Option<bool>,
    /// How long the registration is valid from now.
    pub expires: Option<Duration>,
    /// What went wrong last, for people; empty when nothing did.
    pub error: String,
}

/// A request the endpoint refused by itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refused {
    /// Where it came from.
    pub source: SocketAddr,
    /// The trunk, when the source belongs to one.
    pub trunk: Option<String>,
    /// The status it was refused with; 0 when it could not be answered at all.
    pub status: u16,
    /// The reason word.
    pub reason: &'static str,
    /// What exactly was wrong, for people.
    pub detail: String,
    /// What it came by, and which of our addresses it came to.
    pub flow: Flow,
    /// Whether the log is to say so now; otherwise it says so later, with others ([`Output::Repeated`]).
    pub is_told: bool,
    /// The call it would have been.
    pub call: Option<Box<Attempt>>,
}

/// A call that was refused before it was one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Attempt {
    /// Who called, as a URI; empty when that could not be read.
    pub from: String,
    /// Who was called.
    pub to: Uri,
    /// The Call-ID.
    pub call_id: String,
}

/// Something that was dropped unread.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Dropped {
    /// Where it came from.
    pub source: SocketAddr,
    /// What it came by.
    pub transport: Transport,
    /// The reason word.
    pub reason: &'static str,
    /// See [`Refused::is_told`].
    pub is_told: bool,
}

/// What happens to a leg. `Incoming` is the first event, `Gone` the last, and each of them comes once.
#[derive(Debug)]
pub enum Event {
    /// A call came in; it waits for [`Command::Answer`] or [`Command::Refuse`].
    Incoming(Box<Invite>),
    /// The caller gave up before the answer; it has been refused with 487.
    Cancelled,
    /// The caller has our 2xx. With an offer in it, this is the answer, unless the caller broke the rules.
    Confirmed {
        /// The body of the ACK.
        answer: Option<Vec<u8>>,
    },
    /// The caller wants to change the call (re-INVITE); it waits for [`Command::Answer`] or [`Command::Refuse`]. When
    /// the caller withdraws it nothing is said and a late answer is dropped.
    Reoffered {
        /// The new offer; `None`: the 2xx is to carry one of ours.
        offer: Option<Vec<u8>>,
    },
    /// The caller hung up; its BYE has been answered.
    ByeReceived {
        /// The Reason header of the BYE.
        reason: Option<String>,
    },
    /// The leg ends by itself: `ack_timeout`, `session_unavailable` (see [`RING_MAX`]), or `flow_lost`, which is also a
    /// peer that no longer knows the call or does not answer inside it.
    Failed {
        /// The reason word.
        reason: &'static str,
    },
    /// A call we place has found its way: now its offer is wanted ([`Command::Offer`]), with our media at this address.
    Located {
        /// The address of ours that faces the peer, for the sockets.
        local_ip: IpAddr,
        /// The same as the peer reaches it, for the SDP.
        advertised_ip: IpAddr,
    },
    /// The callee's phone rings.
    Ringing,
    /// The callee's side answers our offer before it answers the call: early media.
    Progressed {
        /// The answer.
        answer: Vec<u8>,
    },
    /// The callee answered; our ACK is out.
    Answered {
        /// The answer to our offer; `None` when it came before, with [`Event::Progressed`].
        answer: Option<Vec<u8>>,
    },
    /// The call we placed was turned down, or nobody answered.
    Rejected {
        /// The status; 408 when there was no answer at all.
        status: u16,
        /// The callee's words for it, or ours.
        phrase: String,
        /// How long to stay away.
        retry_after: Option<Duration>,
    },
    /// The answer to a re-INVITE of ours ([`Command::Offer`] inside a call).
    Reanswered {
        /// The answer, or the status it was refused with; the call then goes on as it was.
        answer: Result<Vec<u8>, u16>,
    },
    /// How far a transfer of ours has come ([`Command::Transfer`]): the status its target gave, 100 at first. The first
    /// final status is the last of these; a refusal of the REFER itself counts as one.
    TransferProgress {
        /// The status.
        status: u16,
    },
    /// The caller asks us to call somebody else (REFER); it waits for [`Command::AnswerTransfer`].
    TransferAsked {
        /// Whom to call.
        to: Box<Uri>,
        /// The Replaces header the new call is to carry.
        replaces: Option<String>,
        /// Who asks.
        referred_by: Option<String>,
    },
    /// A digit came by INFO.
    Digit {
        /// 0-9, *, #, A-D.
        digit: char,
        /// How long it was pressed, when said.
        duration: Option<Duration>,
    },
    /// A text came by MESSAGE inside the call.
    MessageReceived {
        /// The text.
        text: String,
    },
    /// Nothing more happens to this leg and commands to it are dropped. Transactions may still absorb retransmissions.
    Gone,
}

/// An INVITE as the application sees it.
#[derive(Debug, Clone)]
pub struct Invite {
    /// The peer's name in the settings.
    pub trunk: String,
    /// Who calls.
    pub from: NameAddr,
    /// Whom the caller dialled.
    pub to: NameAddr,
    /// Where the last hop sent the call; what routing should look at.
    pub request_uri: Uri,
    /// The Call-ID.
    pub call_id: String,
    /// The way it came.
    pub flow: Flow,
    /// Our address as the caller reaches it, for the SDP.
    pub advertised_ip: IpAddr,
    /// The offer; `None`: the 2xx is to carry one of ours.
    pub offer: Option<Vec<u8>>,
    /// All headers but the credentials.
    pub headers: Headers,
    /// The leg this call takes the place of (RFC 3891); it is for the application to hang that one up.
    pub replaces: Option<LegId>,
}

/// A call to place.
#[derive(Debug, Clone)]
pub struct Outgoing {
    /// The peer to call through, by its name.
    pub trunk: String,
    /// Whom: a whole URI, or a number or user name at the trunk.
    pub to: String,
    /// Who calls: a user name or number, or a whole URI; `None`: the trunk's own identity.
    pub from: Option<String>,
    /// The name shown with it.
    pub display_name: Option<String>,
    /// Headers of the application's own. Those SIP itself needs are not taken.
    pub headers: Vec<(String, String)>,
    /// How long it may ring; then it is cancelled.
    pub ring_max: Duration,
}

/// Why a call cannot be placed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{detail}")]
pub struct NotPlaced {
    /// The reason word: `no_uplink`, `bad_request` or `overloaded`.
    pub reason: &'static str,
    /// What exactly is wrong, for people.
    pub detail: String,
}

/// What the application may ask of a leg. A command that does not fit the leg's state is dropped.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Command {
    /// Send 180.
    Ring,
    /// Answer the waiting INVITE or re-INVITE with 200.
    Answer {
        /// The answer, or our offer when there was none.
        sdp: Vec<u8>,
    },
    /// Refuse the waiting INVITE, which ends the leg, or the waiting re-INVITE, which leaves the call as it was.
    Refuse {
        /// The status; one outside 300-699 becomes 500.
        status: u16,
        /// The reason word.
        reason: Cow<'static, str>,
    },
    /// Send 183 with media before the answer, reliably when the caller can (RFC 3262). The 200 repeats it.
    Progress {
        /// The answer to the caller's offer.
        sdp: Vec<u8>,
    },
    /// The offer of a call we place ([`Event::Located`]), or a new one inside a call (re-INVITE).
    Offer {
        /// The offer.
        sdp: Vec<u8>,
    },
    /// Have the peer call somebody else (REFER).
    Transfer {
        /// Whom: a whole URI, or a number or user name at the leg's trunk.
        to: String,
        /// The leg of ours that the new call is to take the place of (attended transfer).
        replaces: Option<LegId>,
    },
    /// Send a digit by INFO (`application/dtmf-relay`).
    SendDigit {
        /// 0-9, *, #, A-D.
        digit: char,
        /// How long it is pressed.
        duration: Duration,
    },
    /// Send a text by MESSAGE inside the call.
    SendMessage {
        /// The text.
        text: String,
    },
    /// What becomes of a transfer the caller asked for.
    AnswerTransfer {
        /// Whether we call (202) or not (603).
        accept: bool,
    },
    /// Tell the caller who asked for a transfer how far it has come (NOTIFY).
    NotifyTransfer {
        /// What the target of the transfer answered; a final status ends it.
        status: u16,
    },
    /// End the call: BYE as soon as it may leave, CANCEL to one we place, or 503 to an INVITE still waiting. Only `Failed` by `flow_lost` and
    /// `Gone` follow.
    HangUp {
        /// The reason word.
        reason: Cow<'static, str>,
    },
}

/// How much the endpoint holds. All are zero again when everything is over.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    /// Legs whose `Gone` has not been said.
    pub legs: usize,
    /// Dialogs.
    pub dialogs: usize,
    /// Transactions, those that only absorb retransmissions included, and names being looked up for one.
    pub transactions: usize,
}
