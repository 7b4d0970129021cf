//! The sockets of a second leg, in the driver of the first: whom the call was handed on to by calling them ourselves.
//!
//! They could have had a driver of their own on the same worker, with a queue between the two. In one driver there is
//! none: the bridge has both legs' media, and what comes in by one socket leaves by the other's clock. What is decided
//! about the leg is decided by [`call::SecondLeg`](crate::call::SecondLeg); nothing is here.

use std::{
    io,
    task::{Context, Poll},
    time::Instant,
};

use tokio::{io::ReadBuf, net::UdpSocket};

use super::{
    BATCH_MAX, DATAGRAM_BYTES_MAX, Driver, refused,
    sources::{Source, Woken},
};
use crate::{
    call::{Cause, bridge::Report},
    media::{self, Channel},
    net::ports::{PortLease, PortPair},
    telemetry::Queue,
};

/// An order about the second leg.
pub enum SecondLegOrder {
    /// It has these sockets and starts with these settings.
    Start(PortPair, Box<media::Settings>),
    /// Close the session, and have the two legs hear each other.
    Join,
    /// Say goodbye on RTCP and close its sockets.
    End,
}

/// What the second leg has of its own.
pub(super) struct Sockets {
    rtp: UdpSocket,
    rtcp: UdpSocket,
    /// Not asked yet, so that they do not know whom to wake.
    fresh: bool,
    // Held for its release, and declared after the sockets, so that these are closed first.
    _lease: PortLease,
}

impl Sockets {
    fn new(ports: PortPair) -> io::Result<Self> {
        let PortPair { rtp, rtcp, lease } = ports;
        refused::watch(&rtp);
        Ok(Self {
            rtp: UdpSocket::from_std(rtp)?,
            rtcp: UdpSocket::from_std(rtcp)?,
            fresh: true,
            _lease: lease,
        })
    }

    fn of(&self, channel: Channel) -> &UdpSocket {
        match channel {
            Channel::Rtp => &self.rtp,
            Channel::Rtcp => &self.rtcp,
        }
    }
}

impl Driver {
    pub(super) fn obey_second_leg(&mut self, now: Instant, order: SecondLegOrder) {
        match order {
            SecondLegOrder::Start(ports, settings) => match Sockets::new(ports) {
                Ok(sockets) => {
                    self.second_leg = Some(Box::new(sockets));
                    self.bridge.begin_second_leg(now, *settings);
                }
                Err(error) => {
                    tracing::error!(%error, "the second leg's media sockets cannot be used");
                    self.report(Report::SecondLegLost(Cause::Crashed));
                }
            },
            SecondLegOrder::Join => self.join_second_leg(now),
            SecondLegOrder::End => self.end_second_leg(now),
        }
    }

    /// The session ends here, with its tokens counted; nobody is told of its loss.
    fn join_second_leg(&mut self, now: Instant) {
        (self.serving, self.session, self.dialled) = (None, None, None);
        self.drop_standby();
        self.bridge.session_lost(now);
        let mut before = std::mem::take(&mut self.socket);
        before.retire();
        self.retired = Some(Box::new(before));
        self.bridge.join(now);
    }

    fn end_second_leg(&mut self, now: Instant) {
        self.bridge.bye_second_leg(now);
        self.transmit_second_leg();
        self.bridge.end_second_leg();
        self.second_leg = None;
    }

    pub(super) fn read_second_leg(&mut self, now: Instant, woken: Woken<'_>, read: &mut [u8]) {
        let Some(sockets) = &mut self.second_leg else { return };
        let fresh = std::mem::take(&mut sockets.fresh);
        for (source, channel) in [(Source::SecondRtp, Channel::Rtp), (Source::SecondRtcp, Channel::Rtcp)] {
            if fresh || woken.by(source).is_some() {
                self.read_second_socket(channel, now, &mut woken.context(source), read);
            }
        }
        self.perform();
    }

    fn read_second_socket(&mut self, channel: Channel, now: Instant, context: &mut Context<'_>, read: &mut [u8]) {
        for _ in 0..BATCH_MAX {
            let Some(sockets) = &self.second_leg else { return };
            let mut buffer = ReadBuf::new(&mut read[..DATAGRAM_BYTES_MAX]);
            match sockets.of(channel).poll_recv_from(context, &mut buffer) {
                Poll::Pending => return,
                Poll::Ready(Ok(from)) => self.bridge.handle_second_leg(now, channel, from, buffer.filled_mut()),
                Poll::Ready(Err(error)) if channel == Channel::Rtp && refused::is_refusal(&error) => {
                    refused::drain(&sockets.rtp);
                    self.bridge.handle_second_leg_refused(now);
                }
                // There may be more behind it.
                Poll::Ready(Err(_)) => {}
            }
        }
        // There may be more; the other calls of this worker come first.
        context.waker().wake_by_ref();
    }

    pub(super) fn transmit_second_leg(&mut self) {
        let Some(sockets) = &self.second_leg else { return };
        let mut is_refused = false;
        while let Some(packet) = self.bridge.poll_second_leg_transmit() {
            let socket = sockets.of(packet.channel);
            let mut sent = socket.try_send_to(packet.bytes, packet.to);
            if sent.as_ref().is_err_and(refused::is_refusal) {
                // The error is that of a packet before: this one has not been tried.
                is_refused = true;
                sent = socket.try_send_to(packet.bytes, packet.to);
            }
            if let Err(error) = sent {
                self.metrics.queue_drop(Queue::Rtp);
                tracing::trace!(to = %packet.to, %error, "a packet was not sent");
            }
        }
        if is_refused {
            refused::drain(&sockets.rtp);
            self.bridge.handle_second_leg_refused(Instant::now());
        }
    }
}
