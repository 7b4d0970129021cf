//! The process that is the session server: one thread that looks every millisecond at what came and what is to be said.
//!
//! It never sleeps on a socket, so a gateway that writes pays for no wake-up of its peer, as it would not with a peer
//! elsewhere. When something came is told by the kernel.

use std::{
    io,
    net::{Ipv4Addr, TcpListener},
};

use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout};
use serde::{Deserialize, Serialize};

use super::{
    clock::{self, MS, Slots},
    plan::{Deltas, Order},
    reports::Served,
    role::{self, Orders},
    session::{Session, Workspace},
    stamped,
};

/// How often it looks.
const SLOT: u64 = MS;

/// Connections that are told of in one look; what is left is told of in the next.
const EVENTS_MAX: usize = 2_048;

/// The event of the listener; sessions have their number.
const LISTENER: u64 = u64::MAX;

/// How long after a measurement what belongs to it may come.
const STRAGGLERS: u64 = 300 * MS;

/// What it says first.
#[derive(Debug, Serialize, Deserialize)]
pub struct Listening {
    /// The port on the loopback address.
    pub port: u16,
}

/// Serves until the process ends.
pub fn run(deltas: Deltas, orders: Orders) -> anyhow::Result<()> {
    clock::wake_punctually();
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    listener.set_nonblocking(true)?;
    let port = listener.local_addr()?.port();
    let readiness = Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC)?;
    readiness.add(&listener, EpollEvent::new(EpollFlags::EPOLLIN, LISTENER))?;
    let mut backend = Backend {
        deltas,
        orders,
        listener,
        readiness,
        sessions: Vec::new(),
        space: Workspace::new(),
        until: None,
    };
    role::answer(&Listening { port })?;
    let mut slots = Slots::new(SLOT);
    let mut events = vec![EpollEvent::empty(); EVENTS_MAX];
    loop {
        slots.wait();
        backend.look(&mut events)?;
        backend.speak();
        backend.obey()?;
    }
}

struct Backend {
    deltas: Deltas,
    orders: Orders,
    listener: TcpListener,
    readiness: Epoll,
    /// By their numbers; a session that is over leaves its place empty.
    sessions: Vec<Option<Session>>,
    space: Workspace,
    until: Option<u64>,
}

impl Backend {
    fn look(&mut self, events: &mut [EpollEvent]) -> anyhow::Result<()> {
        let ready = self.readiness.wait(events, EpollTimeout::ZERO)?;
        for event in &events[..ready] {
            if event.data() == LISTENER {
                self.accept()?;
            } else {
                self.read(event.data() as usize);
            }
        }
        Ok(())
    }

    fn accept(&mut self) -> anyhow::Result<()> {
        loop {
            let stream = match self.listener.accept() {
                Ok((stream, _)) => stream,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                Err(error) => return Err(error.into()),
            };
            stream.set_nonblocking(true)?;
            stream.set_nodelay(true)?;
            stamped::prepare(&stream)?;
            let number = self.sessions.len();
            self.readiness
                .add(&stream, EpollEvent::new(EpollFlags::EPOLLIN, number as u64))?;
            self.sessions.push(Some(Session::new(number, stream, self.deltas)));
        }
    }

    fn read(&mut self, number: usize) {
        if let Some(place) = self.sessions.get_mut(number)
            && let Some(session) = place
            && session.read(&mut self.space).is_err()
        {
            *place = None;
        }
    }

    fn speak(&mut self) {
        for place in &mut self.sessions {
            if let Some(session) = place
                && session.speak().is_err()
            {
                *place = None;
            }
        }
    }

    fn obey(&mut self) -> anyhow::Result<()> {
        if let Ok(Order::Measure { until, .. }) = self.orders.try_recv() {
            self.until = Some(until);
            self.sessions.iter_mut().flatten().for_each(Session::begin);
        }
        if self.until.is_some_and(|until| clock::now() >= until + STRAGGLERS) {
            self.until = None;
            let sessions = self.sessions.iter_mut().flatten().map(Session::report);
            role::answer(&Served {
                sessions: sessions.collect(),
            })?;
        }
        Ok(())
    }
}
