//! The process that is all callers: one thread, which sends every packet at its own time and reads what came in bulk.
//!
//! Each caller has a phase of its own within the 20 ms, so that the gateway meets an even load. What comes in is stamped
//! by the kernel, so it is read when there is time; only the sending has to be punctual, and how punctual it was is told.

use std::{
    io,
    net::{SocketAddr, UdpSocket},
};

use super::{
    caller::{Caller, Line, State},
    clock::{self, MS, Slots},
    ear::Ear,
    mouth::Mouth,
    plan::Order,
    reports::{Dialled, Heard, HeardCall, Mark},
    role::{self, Orders},
    stamped::{self, Receiver},
};
use crate::{audio::Codec, rtp};

/// The finest step of a caller's phase; callers of one phase are sent for in one go.
const SLOT: u64 = MS / 4;

/// Slots in the 20 ms of a packet.
const PHASES: u64 = 20 * MS / SLOT;

/// Neighbouring callers are this many phases apart; it has no divisor in common with the phases.
const PHASE_STEP: usize = 37;

/// Sockets are read and signalling is looked after in one of so many slots.
const HOUSEKEEPING: u64 = 8;

/// Between two new calls.
const DIAL_EVERY: u64 = 20 * MS;

/// Calls that share a socket: its buffer must hold what they hear while this process is off the core.
const CALLS_PER_SOCKET: usize = 16;

/// Packets read from one socket in one go.
const BATCH_MAX: usize = 256;

/// One of so many callers decodes what it hears, where that is dear.
const LISTENER_EVERY: usize = 16;

/// How long after a measurement its last packets may come.
const STRAGGLERS: u64 = 300 * MS;

/// Marks kept of one call's measurement: 13 minutes.
const MARKS_MAX: usize = 4_096;

const DATAGRAM_BYTES_MAX: usize = 4_096;

/// Is all callers until the process ends.
pub fn run(gateway: SocketAddr, codec: Codec, orders: Orders) -> anyhow::Result<()> {
    clock::wake_punctually();
    let mut callers = Callers::new(gateway, codec, orders)?;
    let mut slots = Slots::new(SLOT);
    loop {
        let (slot, deadline) = slots.wait();
        callers.speak(slot, deadline);
        callers.listen(slot)?;
        if slot.is_multiple_of(HOUSEKEEPING) {
            callers.signal()?;
        }
    }
}

struct Callers {
    codec: Codec,
    orders: Orders,
    line: Line,
    sockets: Vec<UdpSocket>,
    /// Held so that the gateway's RTCP meets nobody else; nobody reads them.
    reports: Vec<UdpSocket>,
    receiver: Receiver,
    buffer: Vec<u8>,
    pcm: Vec<i16>,
    calls: Vec<Call>,
    /// The call of each of the gateway's ports, counted from 1.
    by_port: Vec<u16>,
    wanted: usize,
    dialled_at: u64,
    window: Option<(u64, u64)>,
    measuring: bool,
    heard: Heard,
    /// Dialling or hanging up is to be answered when it is done.
    owes: bool,
}

struct Call {
    caller: Caller,
    mouth: Mouth,
    ear: Ear,
    socket: usize,
}

impl Callers {
    fn new(gateway: SocketAddr, codec: Codec, orders: Orders) -> io::Result<Self> {
        Ok(Self {
            codec,
            orders,
            line: Line::open(gateway)?,
            sockets: Vec::new(),
            reports: Vec::new(),
            receiver: Receiver::new(),
            buffer: vec![0; DATAGRAM_BYTES_MAX],
            pcm: Vec::new(),
            calls: Vec::new(),
            by_port: vec![0; 1 << 16],
            wanted: 0,
            dialled_at: 0,
            window: None,
            measuring: false,
            heard: Heard::default(),
            owes: false,
        })
    }

    /// Sends the packets that are due in this slot.
    fn speak(&mut self, slot: u64, deadline: u64) {
        let counts = self.counts(deadline);
        for (number, call, to) in due(&mut self.calls, slot) {
            let (packet, marked, at) = call.say(&self.sockets, to);
            if !counts {
                continue;
            }
            self.heard.sent += 1;
            self.heard.lateness.record(at.saturating_sub(deadline));
            let marks = &mut self.heard.calls[number].marks;
            if marked && marks.len() < MARKS_MAX {
                marks.push(Mark { packet, at });
            }
        }
    }

    fn listen(&mut self, slot: u64) -> io::Result<()> {
        let turn = (slot % HOUSEKEEPING) as usize;
        for index in (turn..self.sockets.len()).step_by(HOUSEKEEPING as usize) {
            self.read(index)?;
        }
        Ok(())
    }

    fn read(&mut self, index: usize) -> io::Result<()> {
        for _ in 0..BATCH_MAX {
            let got = match self.receiver.receive(&self.sockets[index], &mut self.buffer) {
                Ok(got) => got,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                // The gateway may close its port before we know that a call is over.
                Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => continue,
                Err(error) => return Err(error),
            };
            let Some(number) = usize::from(self.by_port[usize::from(got.port)]).checked_sub(1) else {
                continue;
            };
            let counts = self.counts(got.at);
            if let Ok(packet) = rtp::Packet::read(&self.buffer[..got.bytes]) {
                let tally = counts.then_some((&mut self.heard, number));
                self.calls[number].ear.hear(got.at, &packet, &mut self.pcm, tally);
            }
        }
        Ok(())
    }

    /// Whether what happens at this time is measured.
    fn counts(&self, at: u64) -> bool {
        self.measuring && self.window.is_some_and(|(from, until)| (from..until).contains(&at))
    }

    /// Orders, dialling, SIP, and the beginning and end of a measurement.
    fn signal(&mut self) -> anyhow::Result<()> {
        let now = clock::now();
        while let Ok(order) = self.orders.try_recv() {
            self.obey(order, now);
        }
        while let Some(message) = self.line.receive(&mut self.buffer) {
            self.take(&message);
        }
        if self.calls.len() < self.wanted && now >= self.dialled_at + DIAL_EVERY {
            self.dialled_at = now;
            self.dial(now)?;
        }
        for call in &mut self.calls {
            call.caller.handle_timeout(&self.line, now);
        }
        if self.owes && self.calls.len() == self.wanted && self.calls.iter().all(Call::is_settled) {
            self.owes = false;
            role::answer(&self.dialled())?;
        }
        self.measure(now)
    }

    fn obey(&mut self, order: Order, now: u64) {
        match order {
            Order::Dial(calls) => {
                self.wanted = calls.max(self.calls.len());
                self.owes = true;
            }
            Order::Measure { from, until } => self.window = Some((from, until)),
            Order::HangUp => {
                self.owes = true;
                for call in &mut self.calls {
                    call.caller.hang_up(&self.line, now);
                }
            }
        }
    }

    fn take(&mut self, message: &crate::sip::Message) {
        let Some(number) = self.line.caller(message) else {
            return;
        };
        let Some(call) = self.calls.get_mut(number) else {
            return;
        };
        call.caller.handle(message, &self.line);
        if let State::Talking(to) = call.caller.state {
            self.by_port[usize::from(to.port())] = number as u16 + 1;
        }
    }

    fn dial(&mut self, now: u64) -> anyhow::Result<()> {
        let number = self.calls.len();
        let socket = number / CALLS_PER_SOCKET;
        if socket == self.sockets.len() {
            let (rtp, rtcp) = bind_pair()?;
            self.sockets.push(rtp);
            self.reports.push(rtcp);
        }
        let port = self.sockets[socket].local_addr()?.port();
        self.calls.push(Call {
            caller: Caller::dial(number, self.codec, port, &self.line, now),
            mouth: Mouth::new(number, self.codec)?,
            ear: Ear::new(self.codec, listens(number, self.codec))?,
            socket,
        });
        Ok(())
    }

    fn dialled(&self) -> Dialled {
        let mut dialled = Dialled::default();
        for call in &self.calls {
            match &call.caller.state {
                State::Over(why) => *dialled.failed.entry(why.clone()).or_default() += 1,
                _ => dialled.talking += 1,
            }
        }
        dialled
    }

    fn measure(&mut self, now: u64) -> anyhow::Result<()> {
        let Some((from, until)) = self.window else {
            return Ok(());
        };
        if !self.measuring && (from..until).contains(&now) {
            self.measuring = true;
            self.heard = Heard::default();
            self.heard.calls.resize_with(self.calls.len(), HeardCall::default);
            self.calls.iter_mut().for_each(|call| call.ear.begin());
        }
        if now >= until + STRAGGLERS {
            self.window = None;
            self.measuring = false;
            for (call, heard) in self.calls.iter_mut().zip(0..) {
                call.ear.finish(&mut self.heard);
                if let Some(heard) = self.heard.calls.get_mut::<usize>(heard) {
                    heard.talking = matches!(call.caller.state, State::Talking(_));
                    heard.listened = call.ear.listens();
                }
            }
            role::answer(&self.heard)?;
        }
        Ok(())
    }
}

/// The calls that have a packet to send in this slot.
fn due(calls: &mut [Call], slot: u64) -> impl Iterator<Item = (usize, &mut Call, SocketAddr)> {
    let phase = slot % PHASES;
    // Every call has the phase of its number, so those of this slot are evenly spread over the numbers.
    let first = (0..PHASES as usize).find(|number| (number * PHASE_STEP) as u64 % PHASES == phase);
    let calls = calls.iter_mut().enumerate();
    let calls = calls.skip(first.unwrap_or(0)).step_by(PHASES as usize);
    calls.filter_map(|(number, call)| match call.caller.state {
        State::Talking(to) => Some((number, call, to)),
        _ => None,
    })
}

impl Call {
    /// Sends the next packet; its number, whether it is a mark, and when it was sent.
    fn say(&mut self, sockets: &[UdpSocket], to: SocketAddr) -> (u64, bool, u64) {
        let (number, marked, packet) = self.mouth.next();
        let at = clock::now();
        // What the kernel does not take is missed at the other end.
        let _ = sockets[self.socket].send_to(packet, to);
        (number, marked, at)
    }

    fn is_settled(&self) -> bool {
        !matches!(self.caller.state, State::Asking(_))
    }
}

/// Whether this caller decodes what it hears. Beyond G.711 that costs as much as a gateway does, so one of a few does it
/// for all.
fn listens(number: usize, codec: Codec) -> bool {
    codec.law().is_some() || number.is_multiple_of(LISTENER_EVERY)
}

/// An even port for RTP with the odd one above it for RTCP.
pub fn bind_pair() -> io::Result<(UdpSocket, UdpSocket)> {
    loop {
        let rtp = UdpSocket::bind(("127.0.0.1", 0))?;
        let port = rtp.local_addr()?.port();
        if port.is_multiple_of(2)
            && let Ok(rtcp) = UdpSocket::bind(("127.0.0.1", port + 1))
        {
            rtp.set_nonblocking(true)?;
            stamped::prepare(&rtp)?;
            stamped::widen(&rtp)?;
            return Ok((rtp, rtcp));
        }
    }
}
