//! Messages over one WebSocket, one in each frame (RFC 7118).

use std::time::Duration;

use futures_util::{SinkExt, StreamExt};
use tokio::time::{Instant, MissedTickBehavior, interval_at, sleep_until, timeout};

use super::{
    Inbound,
    connections::Place,
    stream::{IDLE_MAX, WRITE_MAX},
};
use crate::{
    net::sip_websocket::{Frame, SipWebSocket},
    sip::{PONG, read_datagram},
};

/// How often the peer is pinged: web servers on the way close what is silent for a minute.
const PING_EVERY: Duration = Duration::from_secs(30);

/// How long the closing handshake may take.
const CLOSE_MAX: Duration = Duration::from_secs(1);

/// Carries messages both ways until the WebSocket ends.
pub(super) async fn carry(mut socket: SipWebSocket, place: &mut Place) {
    let mut ping = interval_at(Instant::now() + PING_EVERY, PING_EVERY);
    ping.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut heard = Instant::now();
    loop {
        let goes_on = tokio::select! {
            frame = socket.next() => {
                heard = Instant::now();
                match frame {
                    Some(Ok(frame)) => hear(frame, &mut socket, place).await,
                    _ => return,
                }
            }
            bytes = place.outbox.recv() => match bytes {
                Some(bytes) => say(&mut socket, frame(bytes)).await,
                None => false,
            },
            _ = ping.tick() => say(&mut socket, Frame::Ping(Vec::new().into())).await,
            () = sleep_until(heard + IDLE_MAX) => false,
        };
        if !goes_on {
            // Who does not answer the closing in time is left.
            let _ = timeout(CLOSE_MAX, socket.close(None)).await;
            return;
        }
    }
}

/// Whether the connection goes on.
async fn hear(frame: Frame, socket: &mut SipWebSocket, place: &Place) -> bool {
    let bytes = match frame {
        Frame::Text(text) => text.as_bytes().to_vec(),
        Frame::Binary(bytes) => bytes.to_vec(),
        // Pings and closings are answered by the WebSocket itself.
        _ => return true,
    };
    match bytes.as_slice() {
        b"\r\n\r\n" => say(socket, frame_of(PONG)).await,
        b"" | b"\r\n" => true,
        message => {
            let message = read_datagram(message).map(Box::new);
            place.connections.deliver(Inbound::Message(place.flow, message)).await
        }
    }
}

/// Whether the peer took it in time.
async fn say(socket: &mut SipWebSocket, frame: Frame) -> bool {
    matches!(timeout(WRITE_MAX, socket.send(frame)).await, Ok(Ok(())))
}

fn frame_of(bytes: &[u8]) -> Frame {
    frame(bytes.to_vec())
}

/// Text where it is text: browsers' SIP stacks ask for nothing else.
fn frame(bytes: Vec<u8>) -> Frame {
    match String::from_utf8(bytes) {
        Ok(text) => Frame::text(text),
        Err(odd) => Frame::binary(odd.into_bytes()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_that_is_no_text_goes_out_in_a_binary_frame() {
        assert!(matches!(frame(b"BYE".to_vec()), Frame::Text(_)));
        assert!(matches!(frame(vec![0xff]), Frame::Binary(_)));
    }
}
