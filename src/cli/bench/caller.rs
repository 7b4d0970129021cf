//! The signalling of one caller: INVITE, ACK and BYE over UDP, as plain as a phone that always gets through.

use std::{
    io,
    net::{SocketAddr, UdpSocket},
};

use super::{clock::MS, stamped};
use crate::{
    audio::Codec,
    sip::{Message, Method, Request, Response},
};

/// How long a call may take to be answered, or to end.
const PATIENCE: u64 = 20_000 * MS;

/// When an unanswered request is first sent again; each further time takes twice as long (RFC 3261 timer A).
const AGAIN: u64 = 500 * MS;

/// The way of all callers to the gateway.
#[derive(Debug)]
pub struct Line {
    socket: UdpSocket,
    gateway: SocketAddr,
    local: SocketAddr,
}

/// One caller.
#[derive(Debug)]
pub struct Caller {
    number: usize,
    rtp_port: u16,
    codec: Codec,
    /// What it is doing.
    pub state: State,
    cseq: u32,
    to: String,
    target: String,
    request: Vec<u8>,
    ack: Vec<u8>,
}

/// What a caller is doing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum State {
    /// It has asked for something and waits for the answer.
    Asking(Waiting),
    /// The call goes on; its sound goes there.
    Talking(SocketAddr),
    /// The call is over, or never was.
    Over(String),
}

/// A request that waits for its answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Waiting {
    until: u64,
    again: u64,
    pause: u64,
}

impl Line {
    /// Opens it.
    pub fn open(gateway: SocketAddr) -> io::Result<Self> {
        let socket = UdpSocket::bind(("127.0.0.1", 0))?;
        socket.set_nonblocking(true)?;
        stamped::prepare(&socket)?;
        let local = socket.local_addr()?;
        Ok(Self { socket, gateway, local })
    }

    /// What it is spoken on, for who wants to wait for it, or to know when something came.
    pub fn socket(&self) -> &UdpSocket {
        &self.socket
    }

    /// What the gateway says next.
    pub fn receive(&self, buffer: &mut [u8]) -> Option<Message> {
        let length = self.socket.recv(buffer).ok()?;
        crate::sip::read_datagram(&buffer[..length]).ok()
    }

    /// The caller a message is about.
    pub fn caller(&self, message: &Message) -> Option<usize> {
        let call_id = message.headers().first("Call-ID")?;
        call_id.split('-').next()?.parse().ok()
    }

    fn send(&self, message: &[u8]) {
        // What the kernel does not take is sent again like what the network loses.
        let _ = self.socket.send_to(message, self.gateway);
    }
}

impl Waiting {
    fn new(now: u64) -> Self {
        Self {
            until: now + PATIENCE,
            again: now + AGAIN,
            pause: AGAIN,
        }
    }
}

impl Caller {
    /// A caller that dials now and listens on this port.
    pub fn dial(number: usize, codec: Codec, rtp_port: u16, line: &Line, now: u64) -> Self {
        let target = format!("sip:bench@{}", line.gateway);
        let mut caller = Self {
            number,
            rtp_port,
            codec,
            state: State::Asking(Waiting::new(now)),
            cseq: 1,
            to: format!("<{target}>"),
            target,
            request: Vec::new(),
            ack: Vec::new(),
        };
        caller.request = caller.write("INVITE", "1", line, &caller.offer());
        line.send(&caller.request);
        caller
    }

    /// Its number.
    pub fn number(&self) -> usize {
        self.number
    }

    /// Hangs up.
    pub fn hang_up(&mut self, line: &Line, now: u64) {
        if let State::Talking(_) = self.state {
            self.cseq += 1;
            self.state = State::Asking(Waiting::new(now));
            self.request = self.write("BYE", "2", line, "");
            line.send(&self.request);
        }
    }

    /// Sends again what was not answered, and gives up in the end.
    pub fn handle_timeout(&mut self, line: &Line, now: u64) {
        let State::Asking(waiting) = &mut self.state else {
            return;
        };
        if now >= waiting.until {
            self.state = State::Over("no answer".to_owned());
        } else if now >= waiting.again {
            waiting.pause *= 2;
            waiting.again = now + waiting.pause;
            line.send(&self.request);
        }
    }

    /// A message of the gateway's about this call.
    pub fn handle(&mut self, message: &Message, line: &Line) {
        match message {
            Message::Request(request) => self.asked(request, line),
            Message::Response(response) => match response.headers.cseq().map(|cseq| cseq.method) {
                Ok(Method::Invite) => self.answered(response, line),
                Ok(Method::Bye) if response.status >= 200 => self.state = State::Over("ended".to_owned()),
                _ => {}
            },
        }
    }

    fn asked(&mut self, request: &Request, line: &Line) {
        let status = match request.method {
            Method::Ack => return,
            // No second offer is understood here.
            Method::Invite => 488,
            _ => 200,
        };
        line.send(&Response::standard(request, status).to_bytes());
        if request.method == Method::Bye {
            let why = request.headers.first("Reason").unwrap_or("no reason");
            self.state = State::Over(format!("ended by the gateway: {why}"));
        }
    }

    fn answered(&mut self, response: &Response, line: &Line) {
        match (&mut self.state, response.status) {
            (State::Asking(waiting), 100..200) => waiting.again = waiting.until,
            (State::Asking(_), 200..300) => self.accept(response, line),
            (State::Talking(_), 200..300) => line.send(&self.ack),
            (State::Asking(_), status) => {
                self.take_to(response);
                line.send(&self.write("ACK", "1", line, ""));
                let why = response.headers.first("Reason").unwrap_or(&response.reason);
                self.state = State::Over(format!("{status} {why}"));
            }
            _ => {}
        }
    }

    fn accept(&mut self, response: &Response, line: &Line) {
        self.take_to(response);
        if let Ok(contact) = response.headers.contact() {
            self.target = contact.uri.to_string();
        }
        self.ack = self.write("ACK", "1a", line, "");
        line.send(&self.ack);
        let body = String::from_utf8_lossy(&response.body);
        self.state = match media_port(&body) {
            Some(port) => State::Talking(SocketAddr::new(line.gateway.ip(), port)),
            None => State::Over("answered without audio".to_owned()),
        };
    }

    fn take_to(&mut self, response: &Response) {
        if let Some(to) = response.headers.first("To") {
            to.clone_into(&mut self.to);
        }
    }

    fn write(&self, method: &str, branch: &str, line: &Line, body: &str) -> Vec<u8> {
        let Self {
            number,
            target,
            to,
            cseq,
            ..
        } = self;
        let local = line.local;
        let content = if body.is_empty() {
            ""
        } else {
            "Content-Type: application/sdp\r\n"
        };
        format!(
            "{method} {target} SIP/2.0\r\n\
             Via: SIP/2.0/UDP {local};branch=z9hG4bK{number}x{branch};rport\r\n\
             Max-Forwards: 70\r\n\
             From: <sip:caller{number}@{local}>;tag=t{number}\r\n\
             To: {to}\r\n\
             Call-ID: {number}-{local}\r\n\
             CSeq: {cseq} {method}\r\n\
             Contact: <sip:caller{number}@{local}>\r\n\
             {content}Content-Length: {}\r\n\r\n{body}",
            body.len()
        )
        .into_bytes()
    }

    fn offer(&self) -> String {
        let Self { rtp_port, codec, .. } = self;
        let (kind, name, clock) = (codec.payload_type(), codec.name(), codec.clock_hz());
        let channels = if codec.channels() > 1 { "/2" } else { "" };
        format!(
            "v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=-\r\nc=IN IP4 127.0.0.1\r\nt=0 0\r\n\
             m=audio {rtp_port} RTP/AVP {kind}\r\na=rtpmap:{kind} {name}/{clock}{channels}\r\na=ptime:20\r\na=sendrecv\r\n"
        )
    }
}

fn media_port(description: &str) -> Option<u16> {
    let line = description.lines().find_map(|line| line.strip_prefix("m=audio "))?;
    line.split(' ').next()?.parse().ok().filter(|port| *port > 0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sip::read_datagram;

    #[test]
    fn a_call_is_dialled_accepted_and_ended() {
        let (gateway, line, mut caller) = dialled();
        let invite = request(&gateway);
        assert_eq!(invite.method, Method::Invite);
        let mut ok = Response::standard(&invite, 200)
            .with_to_tag("g")
            .with_header("Contact", "<sip:g@h>");
        ok.body = b"v=0\r\nm=audio 16384 RTP/AVP 0\r\n".to_vec();
        caller.handle(&Message::Response(ok), &line);
        assert_eq!(caller.state, State::Talking("127.0.0.1:16384".parse().unwrap()));
        let ack = request(&gateway);
        assert_eq!((ack.method, ack.uri.as_str()), (Method::Ack, "sip:g@h"));
        caller.hang_up(&line, 0);
        let bye = request(&gateway);
        assert_eq!(
            (&bye.method, bye.headers.to().unwrap().tag()),
            (&Method::Bye, Some("g"))
        );
        caller.handle(&Message::Response(Response::standard(&bye, 200)), &line);
        assert_eq!(caller.state, State::Over("ended".to_owned()));
    }

    #[test]
    fn a_refused_call_says_why() {
        let (gateway, line, mut caller) = dialled();
        let refusal = Response::standard(&request(&gateway), 503).with_header("Reason", "SIP;text=\"calls_max\"");
        caller.handle(&Message::Response(refusal), &line);
        assert_eq!(caller.state, State::Over("503 SIP;text=\"calls_max\"".to_owned()));
        assert_eq!(request(&gateway).method, Method::Ack);
    }

    #[test]
    fn an_unanswered_call_is_dialled_again_and_given_up() {
        let (gateway, line, mut caller) = dialled();
        request(&gateway);
        caller.handle_timeout(&line, AGAIN);
        assert_eq!(request(&gateway).method, Method::Invite);
        caller.handle_timeout(&line, PATIENCE);
        assert_eq!(caller.state, State::Over("no answer".to_owned()));
    }

    fn dialled() -> (UdpSocket, Line, Caller) {
        let gateway = UdpSocket::bind("127.0.0.1:0").unwrap();
        let line = Line::open(gateway.local_addr().unwrap()).unwrap();
        let caller = Caller::dial(7, Codec::Pcmu, 4_000, &line, 0);
        (gateway, line, caller)
    }

    fn request(gateway: &UdpSocket) -> Request {
        let mut buffer = [0; 2_000];
        let length = gateway.recv(&mut buffer).unwrap();
        match read_datagram(&buffer[..length]).unwrap() {
            Message::Request(request) => request,
            Message::Response(_) => panic!("a response"),
        }
    }
}
