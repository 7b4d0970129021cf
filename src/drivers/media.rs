//! The media driver: one call's RTP sockets, playout clock and session socket, on one worker thread. A second leg's sockets
//! are the same driver's, so that what passes between two legs crosses no thread either (see [`second_leg`]).
//!
//! It feeds the [`Bridge`], sends what the bridge wants sent, and posts what the call's actors should know. Sends never
//! wait: a packet the kernel does not take is lost like any packet, and the session socket keeps a bounded outbox.

use std::{
    future::poll_fn,
    io,
    task::{Context, Poll},
    time::{Duration, Instant},
};

use tokio::{io::ReadBuf, net::UdpSocket, sync::mpsc};
use tracing::{Instrument, Span};

use super::{
    beat::{self, Deadline},
    media::{
        second_leg::SecondLegOrder,
        sources::{Source, Sources},
    },
    post::Post,
    realtime::{Dial, Event as SocketEvent, Loss, SessionSocket},
    worker::{Overloaded, Scratch, Workers, with_scratch},
};
use crate::{
    audio::SampleRate,
    call::{
        self,
        bridge::{Bridge, Report, Summary},
    },
    media::{self, Channel},
    net::ports::{PortLease, PortPair},
    realtime::{self, FaultClass},
    store::recording::Sink,
    telemetry::{Held, Level, Metrics, Queue},
};

/// Orders that may wait for one call's media; the call sends a handful in its life, and its tool results.
const ORDERS_MAX: usize = 64;

/// Reports that may wait for a Call actor; past it transcripts and digits are lost
/// to the log, and counted; a few places are kept free for what the call must hear.
pub const REPORTS_MAX: usize = 256;

/// Session reports that may wait for a Session actor; each dial makes at most three.
pub const SESSION_REPORTS_MAX: usize = 64;

/// Datagrams read in one go, so that a flood on one call does not starve the others on its worker.
const BATCH_MAX: usize = 16;

/// Things the session's socket may tell in one go, for the same reason.
const SOCKET_EVENTS_MAX: usize = 16;

/// The longest datagram of use; RTP audio is far shorter.
const DATAGRAM_BYTES_MAX: usize = 2048;

/// An order from the call's actors.
pub enum Order {
    /// For the bridge.
    Bridge(call::Order),
    /// Have a session.
    Dial(Dialling),
    /// Connect a second session behind the first, for the call to go over to.
    Renew(Dialling),
    /// Where the Session actor hears from now on.
    ReportSession(Post<SessionReport>),
    /// Record both sides at this rate into this sink, instead of whatever was recorded before.
    Record(Box<Sink>, SampleRate),
    /// Record silence, or sound again.
    PauseRecording(bool),
    /// End the recording.
    EndRecording,
    /// For the second leg.
    SecondLeg(SecondLegOrder),
    /// Close the session, say goodbye on RTCP, report the summary and end.
    Close,
    /// Break on purpose: how the tests show that one call's failure stays its own.
    Break,
}

/// How a call comes by a session.
pub struct Dialling {
    /// How it is connected.
    pub dial: Box<dyn FnOnce() -> Dial + Send>,
    /// What it is to be.
    pub settings: Box<realtime::Settings>,
    /// The agent, a warm session of which will do.
    pub agent: Option<String>,
}

/// What the Call actor hears.
#[derive(Debug)]
pub enum CallReport {
    /// From the bridge.
    Bridge(Report),
    /// The driver has ended in good order; always the last report.
    Closed(Box<Summary>),
}

/// What the Session actor hears.
#[derive(Debug)]
pub enum SessionReport {
    /// The session is configured and serves the call.
    Ready {
        /// How long it had waited for the call; none was dialled for it.
        warm: Option<Duration>,
    },
    /// The session is not, or no longer, there.
    Lost {
        /// Whether dialling again can help.
        class: FaultClass,
        /// A fixed word for metrics and logs.
        word: &'static str,
        /// What the backend or the network said.
        detail: String,
    },
    /// The call has gone over to the second session.
    Renewed {
        /// The backend that it is on.
        backend: String,
        /// A fixed word for how the first was lost, if it was.
        lost: Option<&'static str>,
    },
    /// There is no second session, or no longer.
    NotRenewed {
        /// The backend that it was to be on.
        backend: String,
        /// A fixed word for metrics and logs.
        word: &'static str,
        /// What the backend or the network said.
        detail: String,
    },
}

/// The handle of the call's actors on their media driver.
#[derive(Debug, Clone)]
pub struct MediaHandle {
    orders: mpsc::Sender<Order>,
}

/// Everything a media driver starts with.
pub struct Start {
    /// The leg's sockets.
    pub ports: PortPair,
    /// The leg's media settings.
    pub settings: media::Settings,
    /// Where the Call actor hears.
    pub call: Post<CallReport>,
    /// The one list of metrics.
    pub metrics: Metrics,
    /// The workers where a session waits for it.
    pub near: Vec<usize>,
    /// The call's log span.
    pub span: Span,
}

impl MediaHandle {
    /// Starts a media driver on the least loaded worker, or on one where a session waits for it.
    pub fn start(workers: &Workers, start: Start) -> Result<Self, Overloaded> {
        let (orders, inbox) = mpsc::channel(ORDERS_MAX);
        let near = start.near.clone();
        workers.run(&near, move || {
            let span = start.span.clone();
            // Boxed before the task begins, or the task would be as large as several drivers.
            let driver = Driver::new(start, inbox).map(Box::new);
            async move {
                match driver {
                    Ok(driver) => driver.run().await,
                    Err(error) => tracing::error!(parent: &span, %error, "the call's media sockets cannot be used"),
                }
            }
        })?;
        Ok(Self { orders })
    }

    /// Gives an order; false when the driver is gone or does not keep up.
    pub fn order(&self, order: Order) -> bool {
        self.orders.try_send(order).is_ok()
    }
}

struct Driver {
    bridge: Bridge,
    rtp: UdpSocket,
    rtcp: UdpSocket,
    socket: SessionSocket,
    dialled: Option<Box<realtime::Settings>>,
    /// Since when the session had waited for the call, if it had.
    warm_since: Option<Instant>,
    standby: Option<Box<standby::Standby>>,
    /// The socket of the session before this one, being closed.
    retired: Option<Box<SessionSocket>>,
    /// The backend dialled last.
    backend: String,
    orders: mpsc::Receiver<Order>,
    call: Post<CallReport>,
    session: Option<Post<SessionReport>>,
    metrics: Metrics,
    serving: Option<Held>,
    recording: Option<Box<Sink>>,
    second_leg: Option<Box<second_leg::Sockets>>,
    deadline: Deadline,
    /// Entered when there is something to log, not for every packet.
    span: Span,
    // Held for its release: the pool gets the pair back when the driver ends, however it ends. Declared after the
    // sockets, so that these are closed first.
    _lease: PortLease,
}

/// Whether the driver goes on.
enum Next {
    GoOn,
    Close,
}

impl Driver {
    fn new(start: Start, orders: mpsc::Receiver<Order>) -> io::Result<Self> {
        let PortPair { rtp, rtcp, lease } = start.ports;
        refused::watch(&rtp);
        Ok(Self {
            bridge: Bridge::new(Instant::now(), start.settings),
            rtp: UdpSocket::from_std(rtp)?,
            rtcp: UdpSocket::from_std(rtcp)?,
            socket: SessionSocket::default(),
            dialled: None,
            warm_since: None,
            standby: None,
            retired: None,
            backend: String::new(),
            orders,
            call: start.call,
            session: None,
            metrics: start.metrics,
            serving: None,
            recording: None,
            second_leg: None,
            deadline: Deadline::join(),
            span: start.span,
            _lease: lease,
        })
    }

    async fn run(mut self: Box<Self>) {
        let mut sources = Sources::default();
        poll_fn(|context| with_scratch(|scratch| self.poll(context, &mut sources, scratch))).await;
        let span = self.span.clone();
        Box::pin(self.close().instrument(span)).await;
    }

    /// Everything that can be done now; ready when the call is over. What leaves on RTP goes first.
    fn poll(&mut self, context: &mut Context<'_>, sources: &mut Sources, scratch: &mut Scratch) -> Poll<()> {
        let woken = sources.take(context.waker());
        if let Some(mut context) = woken.by(Source::Orders) {
            while let Poll::Ready(order) = self.orders.poll_recv(&mut context) {
                match self.obey(order) {
                    Next::GoOn => self.perform(),
                    Next::Close => return Poll::Ready(()),
                }
            }
        }
        let now = Instant::now();
        if self.bridge.poll_timeout().is_some_and(|deadline| deadline <= now) {
            self.bridge.handle_timeout(now);
            self.transmit();
        }
        let Scratch { read, session } = scratch;
        self.bridge.swap_scratch(session);
        for (source, channel) in [(Source::Rtp, Channel::Rtp), (Source::Rtcp, Channel::Rtcp)] {
            if let Some(mut context) = woken.by(source) {
                self.read(channel, now, &mut context, read);
            }
        }
        self.perform();
        if woken.by(Source::Session).is_some() || self.socket.wants_polling() {
            self.serve_session(now, &mut woken.context(Source::Session), read);
        }
        self.serve_standby(now, woken, read);
        self.read_second_leg(now, woken, read);
        self.bridge.swap_scratch(session);
        if let Some(deadline) = self.bridge.poll_timeout() {
            self.deadline.arm(context, now, deadline);
        }
        Poll::Pending
    }

    fn read(&mut self, channel: Channel, now: Instant, context: &mut Context<'_>, read: &mut [u8]) {
        for _ in 0..BATCH_MAX {
            let mut buffer = ReadBuf::new(&mut read[..DATAGRAM_BYTES_MAX]);
            let socket = match channel {
                Channel::Rtp => &self.rtp,
                Channel::Rtcp => &self.rtcp,
            };
            match (socket.poll_recv_from(context, &mut buffer), channel) {
                (Poll::Pending, _) => return,
                (Poll::Ready(Ok(from)), Channel::Rtp) => self.bridge.handle_rtp(now, from, buffer.filled_mut()),
                (Poll::Ready(Ok(from)), Channel::Rtcp) => self.bridge.handle_rtcp(now, from, buffer.filled_mut()),
                // There may be more behind it.
                (Poll::Ready(Err(error)), Channel::Rtp) if refused::is_refusal(&error) => self.refused(now),
                (Poll::Ready(Err(_)), _) => {}
            }
        }
        // There may be more; the other calls of this worker come first.
        context.waker().wake_by_ref();
    }

    fn serve_session(&mut self, now: Instant, context: &mut Context<'_>, read: &mut [u8]) {
        for _ in 0..SOCKET_EVENTS_MAX {
            let Self { socket, bridge, .. } = self;
            match socket.poll(context, read, &mut |text| bridge.handle_session(now, text)) {
                Poll::Pending => return,
                Poll::Ready(SocketEvent::Heard) => {}
                Poll::Ready(SocketEvent::Opened) => self.session_opened(now),
                Poll::Ready(SocketEvent::Lost(loss)) => self.session_lost(now, &loss),
            }
            self.perform();
        }
        context.waker().wake_by_ref();
    }

    fn session_opened(&mut self, now: Instant) {
        if let Some(settings) = self.dialled.take() {
            self.bridge.session_opened(now, *settings);
        }
    }

    fn session_lost(&mut self, now: Instant, loss: &Loss) {
        // What it said last is told before its end: a session that was ready for a moment was ready.
        self.tell_reports();
        self.session_gone(now, loss.classify());
    }

    fn obey(&mut self, order: Option<Order>) -> Next {
        // Packets leave at even steps from the time of the order that starts them: on the worker's grid.
        let now = beat::on_grid(Instant::now());
        let span = self.span.clone();
        let _inside = span.enter();
        match order {
            None | Some(Order::Close) => return Next::Close,
            Some(Order::Bridge(order)) => self.bridge.obey(now, order),
            // Whoever ordered it did not know yet that the agent is out.
            Some(Order::Dial(_) | Order::Renew(_)) if self.bridge.is_joined() => {}
            Some(Order::Dial(dialling)) => self.dial(dialling),
            Some(Order::Renew(dialling)) => self.renew(dialling),
            Some(Order::ReportSession(post)) => self.session = Some(post),
            Some(Order::Record(sink, rate)) => self.record(sink, rate),
            Some(Order::PauseRecording(paused)) => self.bridge.media().pause_recording(now, paused),
            Some(Order::EndRecording) => self.end_recording(),
            Some(Order::SecondLeg(order)) => self.obey_second_leg(now, order),
            Some(Order::Break) => panic!("a media driver was told to break"),
        }
        Next::GoOn
    }

    fn perform(&mut self) {
        self.transmit();
        self.keep_recorded();
        self.perform_standby();
        while let Some(message) = self.bridge.poll_message() {
            self.socket.send(message.text, message.audio);
        }
        self.metrics
            .queue_drops(Queue::SessionAudio, self.socket.take_audio_dropped());
        self.tell_reports();
    }

    fn tell_reports(&mut self) {
        while let Some(report) = self.bridge.poll_report() {
            self.report(report);
        }
    }

    fn transmit(&mut self) {
        let (mut refused, mut unsent) = (false, false);
        while let Some(packet) = self.bridge.poll_transmit() {
            let socket = match packet.channel {
                Channel::Rtp => &self.rtp,
                Channel::Rtcp => &self.rtcp,
            };
            let mut sent = socket.try_send_to(packet.bytes, packet.to);
            if sent.as_ref().is_err_and(refused::is_refusal) {
                // The error is that of a packet before: this one has not been tried.
                refused = true;
                sent = socket.try_send_to(packet.bytes, packet.to);
            }
            if let Err(error) = sent {
                unsent |= packet.channel == Channel::Rtp;
                self.metrics.queue_drop(Queue::Rtp);
                tracing::trace!(to = %packet.to, %error, "a packet was not sent");
            }
        }
        if refused {
            self.refused(Instant::now());
        }
        if unsent {
            self.bridge.handle_unsent();
        }
        self.transmit_second_leg();
    }

    fn refused(&mut self, now: Instant) {
        refused::drain(&self.rtp);
        self.bridge.handle_refused(now);
    }

    fn report(&mut self, report: Report) {
        match report {
            Report::SessionReady => self.session_ready(),
            Report::SessionFault(fault) => self.session_fault(fault),
            Report::Unknown(realtime::Unknown::Event) => self.metrics.unknown_event(&self.backend),
            Report::Unknown(realtime::Unknown::Fields(count)) => self.metrics.unknown_fields(&self.backend, count),
            Report::Responded(after) => self.metrics.responded(after),
            Report::BargedIn(after) => self.metrics.barged_in(after),
            Report::Filled(after) => self.metrics.filled(after),
            Report::Recovered(after) => self.recovered(after),
            Report::StandbyFault(fault) => self.standby_fault(&fault),
            Report::PlayoutDropped => self.metrics.queue_drop(Queue::Playout),
            report @ (Report::Transcript(_) | Report::TranscriptDelta(_) | Report::Digit(_)) => {
                let left_out = self.call.send_if_roomy(CallReport::Bridge(report)).is_err();
                self.metrics.queue_drops(Queue::CallReports, u64::from(left_out));
            }
            report => self.post_call(CallReport::Bridge(report)),
        }
    }

    fn recovered(&self, after: Duration) {
        self.metrics.recovered(after);
        let ms = after.as_millis();
        let summary = self.bridge.summary();
        let (replayed_ms, lost_ms) = (summary.replayed.as_millis(), summary.replay_lost.as_millis());
        tracing::info!(ms, replayed_ms, lost_ms, "the caller hears the next session");
    }

    fn post_call(&self, report: CallReport) {
        if self.call.send(report).is_err() {
            self.metrics.queue_drop(Queue::CallReports);
        }
    }

    fn session_ready(&mut self) {
        self.serving = Some(self.metrics.hold(Level::SessionsActive));
        let warm = self.warm_since.take().map(|since| since.elapsed());
        self.post_session(SessionReport::Ready { warm });
    }

    fn session_fault(&mut self, fault: realtime::Fault) {
        if fault.class == FaultClass::Harmless {
            tracing::debug!(
                code = fault.code,
                message = fault.message,
                "the session reports something harmless"
            );
            return;
        }
        self.socket = SessionSocket::default();
        let detail = format!("{}: {}", fault.code, fault.message);
        let word = if fault.code == "stalled" { "stalled" } else { "fault" };
        self.session_gone(Instant::now(), (fault.class, word, detail));
    }

    /// The session is lost. A second one that is ready takes its place, and nobody else hears of it.
    fn session_gone(&mut self, now: Instant, loss: (FaultClass, &'static str, String)) {
        self.bridge.session_lost(now);
        if self.bridge.promote(now) {
            tracing::info!(
                word = loss.1,
                detail = loss.2,
                "the session was lost and the next one was ready"
            );
            self.bridge.take_switched();
            self.go_over(Some(loss.1));
            return self.perform_standby();
        }
        self.drop_standby();
        self.report_lost(loss);
    }

    fn report_lost(&mut self, (class, word, detail): (FaultClass, &'static str, String)) {
        self.serving = None;
        self.post_session(SessionReport::Lost { class, word, detail });
    }

    fn post_session(&self, report: SessionReport) {
        if self
            .session
            .as_ref()
            .is_some_and(|session| session.send(report).is_err())
        {
            self.metrics.queue_drop(Queue::SessionReports);
        }
    }

    async fn close(&mut self) {
        self.bridge.session_lost(Instant::now());
        self.end_recording();
        self.bridge.bye(Instant::now());
        self.transmit();
        self.socket.close().await;
        self.post_call(CallReport::Closed(Box::new(self.bridge.summary())));
    }
}

mod recording;
mod refused;
pub mod second_leg;
mod sources;
mod standby;
mod warm;
