//! Calls we place, with a SIP side that is played: from the order to the record, with real media and the embedded
//! operator.

use std::{
    net::SocketAddr,
    time::{Duration, Instant},
};

use ractor::{RpcReplyPort, call as ask};
use tokio::{net::UdpSocket, sync::oneshot, time::timeout};

use super::*;
use crate::{
    audio::{Law, level},
    drivers::{
        leg::{LEG_EVENTS_MAX, OutgoingLeg},
        post::Post,
        sip::orders,
        worker::Workers,
    },
    http::{CallView, Control},
    sip::{Command, LegId, NotPlaced, Outgoing},
    telemetry::Level,
};

#[tokio::test]
async fn a_callee_hears_the_greeting_from_its_first_sample_and_hangs_up() {
    let exchange = Exchange::start().await;
    let (id, mut callee) = exchange.placed().await;
    callee.rings(&exchange, &id).await;
    exchange.session_ready().await;
    assert!(
        callee.heard_within(Duration::from_millis(100)).await.is_none(),
        "nothing leaves before the answer"
    );
    callee.answers();
    // The operator's greeting begins with voice: were it clipped, the first loud packet would not fade in.
    let first = callee.hear_voice().await;
    assert!(
        first.iter().take(8).all(|sample| sample.abs() < 2_000),
        "{:?}",
        &first[..8]
    );
    assert_eq!(exchange.view(&id).state, "talking");
    callee.tells(Event::ByeReceived { reason: None });
    callee.goes();
    let ended = exchange.ended(&id).await;
    assert_eq!(ended.outcome.unwrap().cause, "callee_hung_up");
    assert_eq!(exchange.events(&id), ["dialing", "ringing", "answered", "ended"]);
    exchange.settled().await;
}

#[tokio::test]
async fn a_callee_that_is_busy_is_told_by_its_status() {
    let exchange = Exchange::start().await;
    let (id, callee) = exchange.placed().await;
    callee.tells(Event::Rejected {
        status: 486,
        phrase: String::new(),
        retry_after: None,
    });
    callee.goes();
    let outcome = exchange.ended(&id).await.outcome.unwrap();
    assert_eq!(
        (outcome.cause, outcome.fault, outcome.sip_code),
        ("busy", "callee", 486)
    );
    exchange.settled().await;
}

#[tokio::test]
async fn a_call_may_be_given_up_while_it_rings() {
    let mut exchange = Exchange::start().await;
    let (id, callee) = exchange.placed().await;
    callee.rings(&exchange, &id).await;
    exchange.switchboard().hang_up(&id).unwrap();
    assert!(matches!(exchange.command().await, Command::HangUp { reason } if reason == "api_hung_up"));
    callee.goes();
    let outcome = exchange.ended(&id).await.outcome.unwrap();
    assert_eq!((outcome.cause, outcome.sip_code), ("api_hung_up", 487));
    assert_eq!(exchange.switchboard().hang_up(&id).unwrap_err().reason, "ended");
    exchange.settled().await;
}

#[tokio::test]
async fn a_call_is_handed_on_and_ends() {
    let mut exchange = Exchange::start().await;
    let (id, callee) = exchange.placed().await;
    callee.answers();
    exchange.until(|| exchange.view(&id).state == "talking").await;
    let transfer = crate::http::Transfer {
        to: "200".to_owned(),
        replaces: None,
    };
    exchange.switchboard().transfer(&id, transfer.clone()).await.unwrap();
    assert!(matches!(exchange.command().await, Command::Transfer { to, .. } if to == "200"));
    let again = exchange.switchboard().transfer(&id, transfer).await;
    assert_eq!(again.unwrap_err().reason, "transferring");
    callee.tells(Event::TransferProgress { status: 200 });
    assert!(matches!(exchange.command().await, Command::HangUp { reason } if reason == "transferred"));
    callee.goes();
    assert_eq!(exchange.ended(&id).await.outcome.unwrap().cause, "transferred");
}

#[tokio::test]
async fn digits_reach_the_callee_as_telephone_events() {
    let exchange = Exchange::start().await;
    let (id, mut callee) = exchange.placed().await;
    callee.answers();
    exchange.until(|| exchange.view(&id).state == "talking").await;
    exchange.switchboard().send_digits(&id, "5".to_owned()).await.unwrap();
    let mut packets = Vec::new();
    while packets
        .iter()
        .filter(|payload: &&Vec<u8>| payload[1] & 0x80 != 0)
        .count()
        < 3
    {
        let packet = callee.packet().await;
        if packet[1] & 0x7F == 101 {
            packets.push(packet[12..].to_vec());
        }
    }
    assert!(
        packets.iter().all(|payload| payload[0] == 5) && packets.len() > 6,
        "{packets:?}"
    );
}

#[tokio::test]
async fn what_cannot_be_placed_is_said_by_the_name_of_its_field() {
    let exchange = Exchange::start().await;
    let wrong = |change: fn(&mut PlaceCall)| {
        let mut call = call();
        change(&mut call);
        call
    };
    for (call, status, field) in [
        (wrong(|call| call.trunk = "none".to_owned()), 404, "trunk"),
        (wrong(|call| call.agent = "none".to_owned()), 404, "agent"),
        (wrong(|call| call.to = String::new()), 422, "to"),
        (wrong(|call| call.ring_timeout_s = Some(0)), 422, "ring_timeout_s"),
    ] {
        let refused = exchange.place(call).await.unwrap_err();
        assert_eq!((refused.status, refused.field.as_deref()), (status, Some(field)));
    }
    let evil = wrong(|call| drop(call.headers.insert("X-A".to_owned(), "1\r\nX-B: 2".to_owned())));
    assert_eq!(
        exchange.place(evil).await.unwrap_err().field.as_deref(),
        Some("headers.X-A")
    );
}

#[tokio::test]
async fn a_stopping_gateway_and_a_full_one_place_no_calls() {
    let exchange = Exchange::start().await;
    // Calls whose leg is gone are over.
    let _up = (exchange.placed().await, exchange.placed().await);
    let full = exchange.place(call()).await.unwrap_err();
    assert_eq!(
        (full.status, full.reason, full.retry_after.is_some()),
        (503, "calls_max", true)
    );
    exchange.manager.cast(Msg::Drain).unwrap();
    let draining = exchange.place(call()).await.unwrap_err();
    assert_eq!((draining.status, draining.reason), (503, "draining"));
    assert_eq!(exchange.service.board.list(9).len(), 4, "refused ones are shown too");
}

#[tokio::test]
async fn a_full_trunk_is_told_apart_from_a_full_gateway() {
    for (trunk, reason) in [("small", "trunk_calls_max"), ("slow", "calls_rate")] {
        let exchange = Exchange::start().await;
        let on_trunk = || PlaceCall {
            trunk: trunk.to_owned(),
            ..call()
        };
        exchange.place(on_trunk()).await.unwrap();
        let full = exchange.place(on_trunk()).await.unwrap_err();
        assert_eq!(
            (full.status, full.reason, full.retry_after.is_some()),
            (429, reason, true)
        );
    }
}

#[tokio::test]
async fn what_the_sip_side_cannot_place_is_refused_with_its_word() {
    let exchange = Exchange::refusing().await;
    let refused = exchange.place(call()).await.unwrap_err();
    assert_eq!((refused.status, refused.reason), (422, "no_uplink"));
    let view = exchange.service.board.list(1).remove(0);
    assert_eq!(view.outcome.unwrap().cause, "not_placed");
    exchange.settled().await;
}

/// A CallManager, and a SIP side that does what a test says.
struct Exchange {
    service: Arc<Service>,
    manager: ActorRef<Msg>,
    legs: std::sync::Mutex<mpsc::Receiver<(Outgoing, Callee)>>,
    commands: mpsc::Receiver<Command>,
}

/// Who is called: its leg's events, its telephone.
struct Callee {
    events: Option<Post<Event>>,
    rtp: UdpSocket,
}

impl Exchange {
    async fn start() -> Self {
        Self::with(true).await
    }

    async fn refusing() -> Self {
        Self::with(false).await
    }

    async fn with(places: bool) -> Self {
        let shared = Arc::new(super::super::service::Shared::open(config()).unwrap());
        let workers = Workers::start(1, &shared.metrics, || {}).unwrap();
        let service = Arc::new(Service::new(shared.clone(), workers));
        let (sip, inbox) = orders(8);
        let (told, commands) = mpsc::channel(64);
        let (placed, legs) = mpsc::channel(8);
        tokio::spawn(play(places, sip.clone(), inbox, placed, told));
        let args = Args {
            service: service.clone(),
            sip,
        };
        let (manager, _) = Actor::spawn(None, CallManager, args).await.unwrap();
        shared.manager.set(manager.clone());
        Self {
            service,
            manager,
            legs: legs.into(),
            commands,
        }
    }

    async fn place(&self, call: PlaceCall) -> Result<String, Refused> {
        let place = |reply: RpcReplyPort<_>| Msg::Place(Box::new(call), reply);
        ask!(self.manager, place).unwrap()
    }

    /// A call whose INVITE has left.
    async fn placed(&self) -> (String, Callee) {
        let id = self.place(call()).await.unwrap();
        let (outgoing, callee) = self.legs.lock().unwrap().try_recv().unwrap();
        assert_eq!((outgoing.to.as_str(), outgoing.trunk.as_str()), ("100", "lan"));
        callee.tells(Event::Located {
            local_ip: [127, 0, 0, 1].into(),
            advertised_ip: [127, 0, 0, 1].into(),
        });
        self.until(|| self.service.metrics.level(Level::WorkerTasks) > 0).await;
        (id, callee)
    }

    /// The next command that is no offer.
    async fn command(&mut self) -> Command {
        loop {
            let command = timeout(PATIENCE, self.commands.recv()).await.unwrap().unwrap();
            if !matches!(command, Command::Offer { .. }) {
                return command;
            }
        }
    }

    async fn session_ready(&self) {
        self.until(|| self.service.metrics.level(Level::SessionsActive) == 1)
            .await;
    }

    fn switchboard(&self) -> super::super::control::Switchboard {
        let service = &self.service;
        super::super::control::Switchboard::new(
            service.board.clone(),
            service.manager.clone(),
            service.approvals.clone(),
            service.inquiries(),
        )
    }

    fn view(&self, id: &str) -> CallView {
        self.service.board.view(id).unwrap()
    }

    async fn ended(&self, id: &str) -> CallView {
        self.until(|| self.view(id).state == "ended").await;
        self.view(id)
    }

    /// What became of the call, without what was said in it.
    fn events(&self, id: &str) -> Vec<&'static str> {
        const TALK: [&str; 6] = ["started", "session", "transcript_delta", "turn", "cost", "quality"];
        let events = self.service.board.events(id, 0, usize::MAX).unwrap();
        let events = events.into_iter().map(|told| told.event.event);
        events.filter(|event| !TALK.contains(event)).collect()
    }

    /// Everything a call holds is given back.
    async fn settled(&self) {
        self.until(|| {
            let levels = [Level::CallsActive, Level::SessionsActive, Level::WorkerTasks];
            self.service.ports.in_use() == 0 && levels.iter().all(|level| self.service.metrics.level(*level) == 0)
        })
        .await;
    }

    async fn until(&self, holds: impl Fn() -> bool) {
        let waiting = async {
            let mut tick = tokio::time::interval(Duration::from_millis(5));
            while !holds() {
                tick.tick().await;
            }
        };
        timeout(PATIENCE, waiting).await.expect("what was waited for comes");
    }
}

impl Callee {
    fn tells(&self, event: Event) {
        self.events.as_ref().unwrap().send(event).unwrap();
    }

    async fn rings(&self, exchange: &Exchange, id: &str) {
        self.tells(Event::Ringing);
        exchange.until(|| exchange.view(id).state == "ringing").await;
    }

    fn answers(&self) {
        let port = self.rtp.local_addr().unwrap().port();
        let answer = format!(
            "v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=-\r\nc=IN IP4 127.0.0.1\r\nt=0 0\r\nm=audio {port} RTP/AVP 0 101\r\n\
             a=rtpmap:101 telephone-event/8000\r\n"
        );
        self.tells(Event::Answered {
            answer: Some(answer.into_bytes()),
        });
    }

    /// Nothing more happens to the leg.
    fn goes(mut self) {
        self.events = None;
    }

    async fn packet(&mut self) -> Vec<u8> {
        self.heard_within(PATIENCE).await.expect("a packet comes")
    }

    async fn heard_within(&mut self, time: Duration) -> Option<Vec<u8>> {
        let mut buffer = [0; 2048];
        let (length, _): (usize, SocketAddr) = timeout(time, self.rtp.recv_from(&mut buffer)).await.ok()?.unwrap();
        Some(buffer[..length].to_vec())
    }

    /// The first packet with voice in it.
    async fn hear_voice(&mut self) -> Vec<i16> {
        let deadline = Instant::now() + PATIENCE;
        while Instant::now() < deadline {
            let mut pcm = Vec::new();
            Law::Mu.decode(&self.packet().await[12..], &mut pcm);
            if level::dbfs(&pcm) > -40.0 {
                return pcm;
            }
        }
        panic!("no voice is heard")
    }
}

const PATIENCE: Duration = Duration::from_secs(20);

/// The SIP driver's part.
async fn play(
    places: bool,
    sip: mpsc::Sender<SipOrder>,
    mut inbox: mpsc::Receiver<SipOrder>,
    placed: mpsc::Sender<(Outgoing, Callee)>,
    told: mpsc::Sender<Command>,
) {
    let mut serving = Vec::new();
    while let Some(order) = inbox.recv().await {
        match order {
            SipOrder::Serve(post) => serving.push(post),
            SipOrder::Leg(_, command) => told.send(command).await.unwrap(),
            SipOrder::Place(outgoing, reply) if places => {
                let (events, box_) = post(LEG_EVENTS_MAX);
                let rtp = UdpSocket::bind("127.0.0.1:0").await.unwrap();
                let events = Some(events);
                placed.try_send((*outgoing, Callee { events, rtp })).unwrap();
                let farewell = sip.clone().try_reserve_owned().unwrap();
                let leg = LegHandle::new(LegId(1), sip.clone(), farewell);
                answer(
                    reply,
                    Ok(OutgoingLeg {
                        leg,
                        events: box_,
                        call_id: "a@b".to_owned(),
                    }),
                );
            }
            SipOrder::Place(_, reply) => answer(
                reply,
                Err(NotPlaced {
                    reason: "no_uplink",
                    detail: String::new(),
                }),
            ),
            SipOrder::Drain | SipOrder::Leave(_) => {}
        }
    }
}

fn answer(reply: oneshot::Sender<Result<OutgoingLeg, NotPlaced>>, placed: Result<OutgoingLeg, NotPlaced>) {
    assert!(reply.send(placed).is_ok(), "somebody waits");
}

fn call() -> PlaceCall {
    PlaceCall {
        to: "100".to_owned(),
        trunk: "lan".to_owned(),
        from: None,
        agent: "operator".to_owned(),
        headers: Default::default(),
        ring_timeout_s: None,
        variables: Default::default(),
    }
}

fn config() -> crate::config::Config {
    static NEXT: std::sync::atomic::AtomicU16 = std::sync::atomic::AtomicU16::new(0);
    let low = 42_000 + 20 * NEXT.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
    let text = format!(
        "[media]\nports = \"{low}-{}\"\n[limits]\ncalls_max = 2\n[records]\npath = \"\"\n\
         [[trunk]]\nname = \"lan\"\nfrom = [\"127.0.0.1\"]\n[[trunk]]\nname = \"small\"\nfrom = [\"127.0.0.2\"]\n\
         calls_max = 1\n[[trunk]]\nname = \"slow\"\nfrom = [\"127.0.0.3\"]\ncalls_per_s = 1\n[backends.operator]\nkind = \"operator\"\n\
         [agents.operator]\nbackends = [\"operator\"]\ngreeting = \"Hello {{{{called}}}}.\"\n",
        low + 19
    );
    let env = std::collections::BTreeMap::new();
    let no_file = |_: &str| Err(std::io::ErrorKind::NotFound.into());
    crate::config::load("test.toml", &text, &env, &no_file).unwrap_or_else(|problems| panic!("{problems}"))
}
