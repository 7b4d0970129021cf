//! A phone that is called: it rings, picks up or turns down, and answers what else it is asked.

use std::net::SocketAddr;

use super::{Offer, Phone, header, media_port};

impl Phone {
    /// The URI it is called at.
    pub fn uri(&self) -> String {
        format!("sip:desk@{}", self.sip.local)
    }

    /// Waits for a request of this method.
    pub async fn request(&mut self, method: &str) -> String {
        loop {
            let message = self.message().await;
            if message.starts_with(&format!("{method} ")) {
                return message;
            }
        }
    }

    /// Waits for a call, and rings.
    pub async fn ring(&mut self) -> String {
        let invite = self.request("INVITE").await;
        self.respond(&invite, "180 Ringing", "", "").await;
        invite
    }

    /// Picks up, with the codec of this offer.
    pub async fn pick_up(&mut self, invite: &str, codec: Offer) {
        self.dialog.call_id = header(invite, "Call-ID").to_owned();
        self.dialog.to = header(invite, "From").to_owned();
        self.dialog.target = header(invite, "Contact").trim_matches(['<', '>']).to_owned();
        let to = SocketAddr::new(self.gateway.ip(), media_port(invite));
        self.mouth
            .lock()
            .unwrap()
            .open(to, if codec == Offer::Pcma { 8 } else { 0 });
        let contact = format!("Contact: <{}>\r\nContent-Type: application/sdp\r\n", self.uri());
        let body = self.offer(codec);
        self.respond(invite, "200 OK", &contact, &body).await;
        self.request("ACK").await;
    }

    /// Waits to be cancelled, and says that it was.
    pub async fn be_cancelled(&mut self, invite: &str) {
        let cancel = self.request("CANCEL").await;
        self.respond(&cancel, "200 OK", "", "").await;
        self.respond(invite, "487 Request Terminated", "", "").await;
        self.request("ACK").await;
    }

    /// Answers a request with this status.
    pub async fn respond(&self, request: &str, status: &str, headers: &str, body: &str) {
        let copied: String = request
            .lines()
            .filter(|line| {
                ["Via:", "From:", "To:", "Call-ID:", "CSeq:", "Record-Route:"]
                    .iter()
                    .any(|name| line.starts_with(name))
            })
            .map(|line| self.tagged(line))
            .collect();
        let length = body.len();
        let response = format!("SIP/2.0 {status}\r\n{copied}{headers}Content-Length: {length}\r\n\r\n{body}");
        self.sip.send(response).await;
    }

    /// The line of a request as its answer repeats it.
    fn tagged(&self, line: &str) -> String {
        let bare = line.starts_with("To:") && !line.contains(";tag=");
        let tag = if bare {
            format!(";tag=t{}", self.sip.local.port())
        } else {
            String::new()
        };
        format!("{line}{tag}\r\n")
    }
}
