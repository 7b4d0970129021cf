//! One caller after another, with the two backends their agent has: one thread, whose script waits for what it hears on
//! either side.

use std::{
    net::{SocketAddr, UdpSocket},
    os::fd::AsFd,
    time::Duration,
};

use anyhow::Context;
use nix::{
    errno::Errno,
    poll::{PollFd, PollFlags, ppoll},
    sys::time::{TimeSpec, TimeValLike},
};

use super::{
    super::{
        caller::{Caller, Line, State},
        callers,
        clock::{self, MS},
        stamped::Receiver,
    },
    coded,
    hearing::Hearing,
    host::Host,
};
use crate::{
    audio::Codec,
    rtp::{Header, Packet},
    sip,
};

/// Lanes there can be: the last two digits of a caller's number are those of its lane.
pub const LANES_MAX: usize = 100;

/// The longest wait for anything.
const PATIENCE: u64 = 8_000 * MS;

/// Between two packets of a caller.
const PTIME: u64 = 20 * MS;

/// Samples of a packet, and so the step of its timestamp.
const TICKS: u32 = coded::PACKET as u32;

const DATAGRAM_BYTES_MAX: usize = 4_096;

/// One caller after another and their backends.
pub struct Lane {
    number: usize,
    calls: usize,
    line: Line,
    rtp: UdpSocket,
    _rtcp: UdpSocket,
    receiver: Receiver,
    buffer: Vec<u8>,
    caller: Option<Caller>,
    mouth: Mouth,
    random: u64,
    /// What the caller hears.
    pub heard: Hearing,
    /// The agent's backends, in their order.
    pub hosts: [Host; 2],
    /// How late packets were sent.
    pub late: Vec<u64>,
}

/// What a caller sends.
#[derive(Debug, Default)]
struct Mouth {
    to: Option<SocketAddr>,
    next_at: u64,
    voiced: u32,
    /// The number of the call's first packet. No two calls of a lane share a number, or a session that is slow to end
    /// would be taken for its successor.
    first: u32,
    /// When each packet was sent.
    sent: Vec<u64>,
    ssrc: u32,
}

/// How a call came about.
#[derive(Debug, Clone, Copy)]
pub struct Answered {
    /// When the INVITE was sent.
    pub asked: u64,
    /// When its 200 came.
    pub answered: u64,
}

impl Lane {
    /// The lane of this number.
    pub fn open(number: usize, hosts: [Host; 2], gateway: SocketAddr) -> anyhow::Result<Self> {
        let (rtp, rtcp) = callers::bind_pair()?;
        Ok(Self {
            number,
            calls: 0,
            line: Line::open(gateway)?,
            rtp,
            _rtcp: rtcp,
            receiver: Receiver::new(),
            buffer: vec![0; DATAGRAM_BYTES_MAX],
            caller: None,
            mouth: Mouth::default(),
            random: clock::now() ^ number as u64,
            heard: Hearing::default(),
            hosts,
            late: Vec::new(),
        })
    }

    /// Calls, and waits for the answer.
    pub fn dial(&mut self) -> anyhow::Result<Answered> {
        self.calls += 1;
        self.heard.clear();
        self.hosts.iter_mut().for_each(Host::clear);
        self.mouth = Mouth {
            ssrc: (self.calls * LANES_MAX + self.number) as u32,
            first: self.mouth.next(),
            ..Mouth::default()
        };
        let port = self.rtp.local_addr()?.port();
        let number = self.calls * LANES_MAX + self.number;
        let asked = clock::now();
        self.caller = Some(Caller::dial(number, Codec::Pcmu, port, &self.line, asked));
        let answered = self.wait("the answer", |lane| lane.mouth.to.map(|_| lane.mouth.next_at))?;
        self.mouth.next_at = answered + self.dice(PTIME);
        Ok(Answered { asked, answered })
    }

    /// Whether no call has been made.
    pub fn is_fresh(&self) -> bool {
        self.calls == 0
    }

    /// Hangs up, and waits until that is done.
    pub fn hang_up(&mut self) -> anyhow::Result<()> {
        self.mouth.to = None;
        if let Some(caller) = &mut self.caller {
            caller.hang_up(&self.line, clock::now());
        }
        self.wait("the end", |lane| lane.is_over().then_some(()))?;
        self.caller = None;
        Ok(())
    }

    /// Has the caller speak for so many packets from the next one on: the numbers of the first and the last.
    pub fn speak(&mut self, packets: u32) -> (u32, u32) {
        self.mouth.voiced = packets;
        let first = self.mouth.next();
        (first, first + packets - 1)
    }

    /// The number of the call's first packet.
    pub fn first(&self) -> u32 {
        self.mouth.first
    }

    /// When the caller sent this packet.
    pub fn sent(&self, number: u32) -> Option<u64> {
        let place = number.checked_sub(self.mouth.first)?;
        self.mouth.sent.get(place as usize).copied()
    }

    /// Goes on until there is what is waited for.
    pub fn wait<T>(&mut self, what: &str, mut found: impl FnMut(&mut Self) -> Option<T>) -> anyhow::Result<T> {
        let until = clock::now() + PATIENCE;
        loop {
            if let Some(found) = found(self) {
                return Ok(found);
            }
            anyhow::ensure!(clock::now() < until, "{what} did not come");
            self.pass(until)?;
            if let Some(State::Over(why)) = self.caller.as_ref().map(|caller| &caller.state)
                && why != "ended"
            {
                anyhow::bail!("waiting for {what}: the call was over: {why}");
            }
        }
    }

    /// Goes on for so long.
    pub fn go_on(&mut self, length: u64) -> anyhow::Result<()> {
        let until = clock::now() + length;
        while clock::now() < until {
            self.pass(until)?;
        }
        Ok(())
    }

    /// Anything below this.
    pub fn dice(&mut self, below: u64) -> u64 {
        self.random = self.random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        (self.random >> 33) % below.max(1)
    }

    fn is_over(&self) -> bool {
        let state = self.caller.as_ref().map(|caller| &caller.state);
        state.is_none_or(|state| matches!(state, State::Over(_)))
    }

    /// Does what is due, waits for the next thing, but not beyond `until`, and does that.
    fn pass(&mut self, until: u64) -> anyhow::Result<()> {
        self.send()?;
        let due = self.hosts.iter().filter_map(Host::due).min();
        let next = self.mouth.to.map(|_| self.mouth.next_at);
        let until = [due, next].into_iter().flatten().fold(until, u64::min);
        self.rest(until)?;
        self.listen()?;
        self.signal();
        self.hosts.iter_mut().try_for_each(Host::serve)?;
        Ok(())
    }

    fn rest(&self, until: u64) -> anyhow::Result<()> {
        let sockets = [self.line.socket().as_fd(), self.rtp.as_fd()];
        let listeners = self.hosts.iter().map(|host| host.listener().as_fd());
        let links = self.hosts.iter().flat_map(|host| &host.links);
        let streams = links.filter_map(|link| link.stream().map(AsFd::as_fd));
        let all = sockets.into_iter().chain(listeners).chain(streams);
        let mut all: Vec<PollFd<'_>> = all.map(|fd| PollFd::new(fd, PollFlags::POLLIN)).collect();
        let left = Duration::from_nanos(until.saturating_sub(clock::now()));
        let left = TimeSpec::nanoseconds(i64::try_from(left.as_nanos())?);
        match ppoll(&mut all, Some(left), None) {
            Ok(_) | Err(Errno::EINTR) => Ok(()),
            Err(error) => Err(error).context("the benchmark cannot wait for its sockets"),
        }
    }

    fn send(&mut self) -> anyhow::Result<()> {
        let now = clock::now();
        let Self { mouth, rtp, late, .. } = self;
        let Some(to) = mouth.to.filter(|_| now >= mouth.next_at) else {
            return Ok(());
        };
        late.push(now - mouth.next_at);
        mouth.next_at += PTIME;
        let packet = mouth.packet();
        mouth.sent.push(clock::now());
        // What the kernel does not take is missed at the other end.
        let _ = rtp.send_to(&packet, to);
        Ok(())
    }

    fn listen(&mut self) -> anyhow::Result<()> {
        loop {
            match self.receiver.receive(&self.rtp, &mut self.buffer) {
                Ok(got) => {
                    if let Ok(packet) = Packet::read(&self.buffer[..got.bytes]) {
                        self.heard.hear(got.at, &packet);
                    }
                }
                Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => return Ok(()),
                // The gateway may close its port before we know that a call is over.
                Err(error) if error.kind() == std::io::ErrorKind::ConnectionRefused => {}
                Err(error) => return Err(error.into()),
            }
        }
    }

    fn signal(&mut self) {
        let now = clock::now();
        let Self {
            line,
            receiver,
            buffer,
            caller,
            mouth,
            ..
        } = self;
        while let Ok(got) = receiver.receive(line.socket(), buffer) {
            let Ok(message) = sip::read_datagram(&buffer[..got.bytes]) else {
                continue;
            };
            let Some(caller) = caller
                .as_mut()
                .filter(|caller| line.caller(&message) == Some(caller.number()))
            else {
                continue;
            };
            let asking = matches!(caller.state, State::Asking(_));
            caller.handle(&message, line);
            if let State::Talking(to) = caller.state
                && asking
            {
                (mouth.to, mouth.next_at) = (Some(to), got.at);
            }
        }
        if let Some(caller) = caller {
            caller.handle_timeout(line, now);
        }
    }
}

impl Mouth {
    /// The number of the next packet.
    fn next(&self) -> u32 {
        self.first + self.sent.len() as u32
    }

    fn packet(&mut self) -> Vec<u8> {
        let number = self.next();
        let voiced = self.voiced > 0;
        self.voiced = self.voiced.saturating_sub(1);
        let header = Header {
            payload_type: Codec::Pcmu.payload_type(),
            sequence: number as u16,
            timestamp: number.wrapping_mul(TICKS),
            ssrc: self.ssrc,
            marker: number == self.first,
        };
        let mut packet = Vec::new();
        header.write(&mut packet);
        packet.extend_from_slice(&coded::payload(number, voiced));
        packet
    }
}
