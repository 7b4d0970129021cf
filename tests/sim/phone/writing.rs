//! What the phone writes, and what it reads from a session description.

use std::net::SocketAddr;

use super::{News, Offer, Phone};

impl Phone {
    pub(super) fn gateway_uri(&self) -> String {
        format!("sip:operator@{}", self.gateway)
    }

    pub(super) fn request(&self, method: &str, branch: &str, sequence: u32, body: &str) -> Vec<u8> {
        let (name, address, dialled) = (&self.name, self.address, self.gateway_uri());
        let ours = if self.habits.behind_nat {
            SocketAddr::from(([10, 0, 0, 7], 5060))
        } else {
            address
        };
        // What goes with the INVITE goes where it went; only what is inside the dialog goes to the other's contact.
        let inside = self.dialog.as_ref().filter(|_| method != "CANCEL");
        let target = inside.map_or(&dialled, |dialog| &dialog.target);
        let to = inside.map_or(format!("<{dialled}>"), |dialog| dialog.to.clone());
        let kind = if body.is_empty() {
            ""
        } else {
            "Content-Type: application/sdp\r\n"
        };
        let length = body.len();
        format!(
            "{method} {target} SIP/2.0\r\nVia: SIP/2.0/UDP {ours};rport;branch={branch}\r\nMax-Forwards: 70\r\n\
             From: <sip:{name}@{ours}>;tag={name}\r\nTo: {to}\r\nCall-ID: call-of-{name}\r\n\
             CSeq: {sequence} {method}\r\nContact: <sip:{name}@{ours}>\r\n{kind}Content-Length: {length}\r\n\r\n{body}"
        )
        .into_bytes()
    }

    /// What the gateway's session description means for this phone.
    pub(super) fn media(&self, description: &str) -> News {
        let line = |start: &str| {
            description
                .lines()
                .find_map(|line| line.strip_prefix(start))
                .unwrap_or_default()
        };
        let ip = line("c=IN IP4 ").parse().expect("an address to send to");
        let mut words = line("m=audio ").split(' ');
        let port = words
            .next()
            .and_then(|word| word.parse().ok())
            .expect("a port to send to");
        let first = words
            .nth(1)
            .and_then(|word| word.parse().ok())
            .expect("a format to send");
        // An offer of several formats leaves the choice to the phone.
        let payload_type = if self.habits.offer == Offer::Alaw { 8 } else { first };
        News::Answered {
            to: SocketAddr::new(ip, port),
            payload_type,
        }
    }

    pub(super) fn description(&self) -> String {
        let formats = match self.habits.offer {
            Offer::Both => "0 8 101",
            Offer::Alaw => "8 101",
            Offer::Opus => "96 101",
        };
        let address = self.rtp_address();
        let flow = if self.on_hold { "sendonly" } else { "sendrecv" };
        let known = SocketAddr::from(([10, 0, 0, 7], 5_004));
        let (ip, port) = if self.habits.behind_nat {
            (known.ip(), known.port())
        } else {
            (address.ip(), address.port())
        };
        format!(
            "v=0\r\no=- 1 1 IN IP4 {ip}\r\ns=-\r\nc=IN IP4 {ip}\r\nt=0 0\r\nm=audio {port} RTP/AVP {formats}\r\n\
             a=rtpmap:96 opus/48000/2\r\na=rtpmap:101 telephone-event/8000\r\na=fmtp:101 0-15\r\na=ptime:20\r\na={flow}\r\n"
        )
    }
}
