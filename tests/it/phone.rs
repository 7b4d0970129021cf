//! A test phone: a SIP user agent with a mouth and an ear, over real sockets.
//!
//! It writes its SIP by hand, so that what the gateway reads and writes is judged by something else than itself, and
//! sends one RTP packet every 20 ms by the clock, as phones do. Nothing here sleeps to wait for the gateway: every wait
//! is for a message or a sound, with a bound.

use std::{
    collections::VecDeque,
    net::{IpAddr, SocketAddr},
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use patchcord::audio::{Law, level};
use tokio::{net::UdpSocket, task::AbortHandle};

use crate::wire::{Way, Wire};

mod callee;

/// How long anything may take before a test fails.
pub const PATIENCE: Duration = Duration::from_secs(20);

/// Samples of one packet.
pub const FRAME: usize = 160;

/// One phone, able to make one call.
pub struct Phone {
    sip: Wire,
    gateway: SocketAddr,
    rtp: Arc<UdpSocket>,
    // Only held, so that the gateway's RTCP meets nobody else.
    _rtcp: UdpSocket,
    mouth: Arc<Mutex<Mouth>>,
    ear: Arc<Mutex<Vec<Packet>>>,
    tasks: Vec<AbortHandle>,
    backlog: VecDeque<String>,
    dialog: Dialog,
}

/// One RTP packet heard.
#[derive(Debug, Clone)]
pub struct Packet {
    /// When it came.
    pub at: Instant,
    /// Its sequence number.
    pub sequence: u16,
    /// Its timestamp.
    pub timestamp: u32,
    /// Its payload type.
    pub payload_type: u8,
    /// Its sound.
    pub pcm: Vec<i16>,
}

/// What the phone offers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Offer {
    /// PCMU, with telephone-events.
    Pcmu,
    /// PCMA, with telephone-events.
    Pcma,
    /// PCMU, encrypted and nothing else, with a key in the offer.
    Encrypted,
    /// A codec the gateway does not speak.
    Unknown,
    /// No session description at all; the gateway is to offer.
    None,
}

/// A key in an offer.
const KEY: &str = "a=crypto:1 AES_CM_128_HMAC_SHA1_80 inline:WVNfX19zZW1jdGwgKCkgewkyMjA7fQp9CnVubGVz\r\n";

#[derive(Default)]
struct Mouth {
    to: Option<SocketAddr>,
    payload_type: u8,
    sound: VecDeque<i16>,
    digit: Option<(u8, u16)>,
    shut: bool,
}

#[derive(Debug, Default)]
struct Dialog {
    call_id: String,
    branch: String,
    to: String,
    target: String,
    cseq: u32,
}

impl Phone {
    /// A phone that calls this gateway over UDP.
    pub async fn new(gateway: SocketAddr) -> Self {
        Self::over(Way::Udp, gateway).await
    }

    /// A phone that calls this gateway in this way.
    pub async fn over(way: Way, gateway: SocketAddr) -> Self {
        let sip = Wire::open(way, gateway).await.expect("the gateway lets the phone in");
        let (rtp, rtcp) = bind_pair(gateway.ip()).await;
        let mouth = Arc::new(Mutex::new(Mouth::default()));
        let ear = Arc::new(Mutex::new(Vec::new()));
        let tasks = vec![
            tokio::spawn(speak(rtp.clone(), mouth.clone())).abort_handle(),
            tokio::spawn(listen(rtp.clone(), ear.clone())).abort_handle(),
        ];
        let port = sip.local.port();
        let dialog = Dialog {
            call_id: format!("call-{port}-{}", nonce()),
            cseq: 1,
            ..Dialog::default()
        };
        Self {
            sip,
            gateway,
            rtp,
            _rtcp: rtcp,
            mouth,
            ear,
            tasks,
            backlog: VecDeque::new(),
            dialog,
        }
    }

    /// Sends an INVITE.
    pub async fn invite(&mut self, user: &str, offer: Offer) {
        self.dialog.branch = format!("z9hG4bK{}", nonce());
        self.dialog.to = format!("<sip:{user}@{}>", self.gateway);
        self.dialog.target = format!("sip:{user}@{}", self.gateway);
        let body = self.offer(offer);
        self.send("INVITE", &body).await;
    }

    /// Sends the same INVITE again.
    pub async fn invite_again(&self, offer: Offer) {
        let body = self.offer(offer);
        self.send("INVITE", &body).await;
    }

    /// Dials and has the call answered and acknowledged.
    pub async fn dial(&mut self, user: &str, offer: Offer) {
        self.invite(user, offer).await;
        let answer = self.final_response().await;
        assert!(answer.starts_with("SIP/2.0 200"), "{answer}");
        self.accept(&answer, offer).await;
    }

    /// Takes in a 200 and acknowledges it.
    pub async fn accept(&mut self, answer: &str, offer: Offer) {
        self.dialog.to = header(answer, "To").to_owned();
        self.dialog.target = header(answer, "Contact").trim_matches(['<', '>']).to_owned();
        let to = SocketAddr::new(self.gateway.ip(), media_port(answer));
        self.mouth
            .lock()
            .unwrap()
            .open(to, if offer == Offer::Pcma { 8 } else { 0 });
        // The ACK to a 200 is a transaction of its own (RFC 3261 section 13.2.2.4); the one to a refusal is not.
        self.dialog.branch = format!("z9hG4bK{}", nonce());
        let body = if offer == Offer::None {
            self.offer(Offer::Pcmu)
        } else {
            String::new()
        };
        self.send("ACK", &body).await;
    }

    /// Acknowledges a refusal.
    pub async fn acknowledge_refusal(&mut self, answer: &str) {
        self.dialog.to = header(answer, "To").to_owned();
        self.send("ACK", "").await;
    }

    /// Gives up before the answer.
    pub async fn cancel(&self) {
        self.send("CANCEL", "").await;
    }

    /// Hangs up and waits for the 200.
    pub async fn hang_up(&mut self) {
        self.dialog.cseq += 1;
        self.dialog.branch = format!("z9hG4bK{}", nonce());
        self.send("BYE", "").await;
        loop {
            let message = self.message().await;
            if message.starts_with("SIP/2.0 200") && header(&message, "CSeq").ends_with("BYE") {
                return;
            }
        }
    }

    /// The next message whatever it is.
    pub async fn message(&mut self) -> String {
        if let Some(message) = self.backlog.pop_front() {
            return message;
        }
        let received = tokio::time::timeout(PATIENCE, self.sip.receive()).await;
        let received = received.expect("the gateway says nothing");
        received.expect("the gateway closed the connection")
    }

    /// The final response to the INVITE, past the provisional ones.
    pub async fn final_response(&mut self) -> String {
        loop {
            let message = self.message().await;
            if message.starts_with("SIP/2.0 ") && !message.starts_with("SIP/2.0 1") && is_for(&message, "INVITE") {
                return message;
            }
        }
    }

    /// The response with this status.
    pub async fn response(&mut self, status: u16) -> String {
        loop {
            let message = self.message().await;
            if message.starts_with(&format!("SIP/2.0 {status}")) {
                return message;
            }
        }
    }

    /// Waits for the gateway's BYE and answers it.
    pub async fn bye(&mut self) -> String {
        loop {
            let message = self.message().await;
            if message.starts_with("BYE ") {
                self.answer(&message).await;
                return message;
            }
        }
    }

    /// Says a tone of this pitch and length.
    pub fn say(&self, hz: f32, length: Duration) {
        let samples = (length.as_secs_f32() * 8000.0) as usize;
        let tone = (0..samples).map(|n| {
            let phase = n as f32 * hz / 8000.0 * std::f32::consts::TAU;
            (phase.sin() * 8000.0) as i16
        });
        self.send_sound(tone);
    }

    /// Sends these samples.
    pub fn send_sound(&self, pcm: impl IntoIterator<Item = i16>) {
        self.mouth.lock().unwrap().sound.extend(pcm);
    }

    /// Presses a digit.
    pub fn press(&self, digit: char) {
        let code = "0123456789*#ABCD".find(digit).unwrap() as u8;
        self.mouth.lock().unwrap().digit = Some((code, 0));
    }

    /// Presses digits, one after the other.
    pub async fn press_all(&self, digits: &str) {
        let mut tick = tokio::time::interval(Duration::from_millis(60));
        for digit in digits.chars() {
            tick.tick().await;
            self.press(digit);
            while self.mouth.lock().unwrap().digit.is_some() {
                tick.tick().await;
            }
        }
    }

    /// Sends nothing at all, or goes on.
    pub fn shut_mouth(&self, shut: bool) {
        self.mouth.lock().unwrap().shut = shut;
    }

    /// Sends from another port than before.
    pub async fn move_mouth(&mut self) {
        self.tasks.remove(0).abort();
        let (rtp, _) = bind_pair(self.gateway.ip()).await;
        let speak = tokio::spawn(speak(rtp, self.mouth.clone()));
        self.tasks.insert(0, speak.abort_handle());
    }

    /// Closes its RTP port, so that whatever comes there is refused.
    pub async fn close_rtp(&mut self) {
        self.tasks.drain(..).for_each(|task| task.abort());
        self.rtp = bind_pair(self.gateway.ip()).await.0;
    }

    /// What was heard so far.
    pub fn heard(&self) -> Vec<Packet> {
        self.ear.lock().unwrap().clone()
    }

    /// Waits until `found` finds what it wants in what was heard since `since`.
    pub async fn hear<T>(&self, since: Instant, found: impl Fn(&[Packet]) -> Option<T>) -> T {
        let waiting = async {
            let mut tick = tokio::time::interval(Duration::from_millis(20));
            loop {
                tick.tick().await;
                let packets: Vec<_> = self.heard().into_iter().filter(|packet| packet.at >= since).collect();
                if let Some(found) = found(&packets) {
                    return found;
                }
            }
        };
        tokio::time::timeout(PATIENCE, waiting)
            .await
            .expect("what was waited for is not heard")
    }

    /// Waits for the agent's voice; the moment it is first heard.
    pub async fn hear_voice(&self, since: Instant) -> Instant {
        self.hear(since, |packets| {
            packets.iter().find(|packet| packet.loud()).map(|packet| packet.at)
        })
        .await
    }

    /// Waits for `quiet` of silence after `since`; the moment it began.
    pub async fn hear_silence(&self, since: Instant, quiet: Duration) -> Instant {
        self.hear(since, |packets| {
            let last_loud = packets
                .iter()
                .rev()
                .find(|packet| packet.loud())
                .map_or(since, |packet| packet.at);
            let last = packets.last()?.at;
            (last.saturating_duration_since(last_loud) >= quiet).then_some(last_loud)
        })
        .await
    }

    async fn answer(&self, request: &str) {
        let copied: String = request
            .lines()
            .filter(|line| {
                ["Via:", "From:", "To:", "Call-ID:", "CSeq:"]
                    .iter()
                    .any(|name| line.starts_with(name))
            })
            .map(|line| format!("{line}\r\n"))
            .collect();
        let response = format!("SIP/2.0 200 OK\r\n{copied}Content-Length: 0\r\n\r\n");
        self.sip.send(response).await;
    }

    async fn send(&self, method: &str, body: &str) {
        let (local, via) = (self.sip.local, self.sip.via);
        let Dialog {
            call_id,
            branch,
            to,
            target,
            cseq,
            ..
        } = &self.dialog;
        let content = if body.is_empty() {
            ""
        } else {
            "Content-Type: application/sdp\r\n"
        };
        let message = format!(
            "{method} {target} SIP/2.0\r\n\
             Via: SIP/2.0/{via} {local};branch={branch};rport\r\n\
             Max-Forwards: 70\r\n\
             From: <sip:tester@{local}>;tag=t{}\r\n\
             To: {to}\r\n\
             Call-ID: {call_id}\r\n\
             CSeq: {cseq} {method}\r\n\
             Contact: <sip:tester@{local}>\r\n\
             {content}Content-Length: {}\r\n\r\n{body}",
            local.port(),
            body.len()
        );
        self.sip.send(message).await;
    }

    fn offer(&self, offer: Offer) -> String {
        let rtp = self.rtp.local_addr().unwrap();
        let (port, family) = (rtp.port(), if rtp.is_ipv4() { "IP4" } else { "IP6" });
        let address = rtp.ip();
        let (formats, codec) = match offer {
            Offer::Pcmu => ("0 101", "a=rtpmap:0 PCMU/8000\r\n"),
            Offer::Pcma => ("8 101", "a=rtpmap:8 PCMA/8000\r\n"),
            Offer::Encrypted => ("0 101", "a=rtpmap:0 PCMU/8000\r\n"),
            Offer::Unknown => ("96 101", "a=rtpmap:96 iLBC/8000\r\n"),
            Offer::None => return String::new(),
        };
        let (profile, key) = match offer {
            Offer::Encrypted => ("RTP/SAVP", KEY),
            _ => ("RTP/AVP", ""),
        };
        format!(
            "v=0\r\no=- 1 1 IN {family} {address}\r\ns=-\r\nc=IN {family} {address}\r\nt=0 0\r\n\
             m=audio {port} {profile} {formats}\r\n{codec}{key}a=rtpmap:101 telephone-event/8000\r\na=fmtp:101 0-15\r\n\
             a=ptime:20\r\na=sendrecv\r\n"
        )
    }
}

impl Drop for Phone {
    fn drop(&mut self) {
        self.tasks.iter().for_each(AbortHandle::abort);
    }
}

impl Packet {
    /// Whether there is voice in it, not silence or comfort noise.
    pub fn loud(&self) -> bool {
        level::dbfs(&self.pcm) > -40.0
    }
}

/// The value of a header, the first of its name.
pub fn header<'a>(message: &'a str, name: &str) -> &'a str {
    let prefix = format!("{name}: ");
    message
        .lines()
        .find_map(|line| line.strip_prefix(prefix.as_str()))
        .unwrap_or_default()
        .trim()
}

fn is_for(response: &str, method: &str) -> bool {
    header(response, "CSeq").ends_with(method)
}

fn media_port(message: &str) -> u16 {
    let line = message
        .lines()
        .find_map(|line| line.strip_prefix("m=audio "))
        .expect("an audio line");
    line.split(' ').next().unwrap().parse().unwrap()
}

/// An even port for RTP with the odd one above it for RTCP.
async fn bind_pair(ip: IpAddr) -> (Arc<UdpSocket>, UdpSocket) {
    loop {
        let rtp = UdpSocket::bind((ip, 0)).await.unwrap();
        let port = rtp.local_addr().unwrap().port();
        if port.is_multiple_of(2)
            && let Ok(rtcp) = UdpSocket::bind((ip, port + 1)).await
        {
            return (Arc::new(rtp), rtcp);
        }
    }
}

fn nonce() -> u64 {
    use std::sync::atomic::{AtomicU64, Ordering};
    static NEXT: AtomicU64 = AtomicU64::new(1);
    NEXT.fetch_add(1, Ordering::Relaxed)
}

async fn speak(rtp: Arc<UdpSocket>, mouth: Arc<Mutex<Mouth>>) {
    let mut pace = tokio::time::interval(Duration::from_millis(20));
    let (mut sequence, mut timestamp) = (1_u16, 0_u32);
    loop {
        pace.tick().await;
        let Some((to, payload_type, payload, stamp)) = mouth.lock().unwrap().frame(timestamp) else {
            continue;
        };
        let mut packet = vec![0x80, payload_type];
        packet.extend(sequence.to_be_bytes());
        packet.extend(stamp.to_be_bytes());
        packet.extend(0x1234_5678_u32.to_be_bytes());
        packet.extend(payload);
        // The gateway may have closed its port at the end of the call.
        let _ = rtp.send_to(&packet, to).await;
        sequence = sequence.wrapping_add(1);
        timestamp = timestamp.wrapping_add(FRAME as u32);
    }
}

impl Mouth {
    fn open(&mut self, to: SocketAddr, payload_type: u8) {
        self.to = Some(to);
        self.payload_type = payload_type;
    }

    fn frame(&mut self, timestamp: u32) -> Option<(SocketAddr, u8, Vec<u8>, u32)> {
        let to = self.to.filter(|_| !self.shut)?;
        if let Some((code, packets)) = self.digit {
            return Some((
                to,
                101,
                self.digit_packet(code, packets),
                timestamp - u32::from(packets) * FRAME as u32,
            ));
        }
        let mut pcm: Vec<i16> = (0..FRAME).map_while(|_| self.sound.pop_front()).collect();
        pcm.resize(FRAME, 0);
        let mut payload = Vec::new();
        let law = if self.payload_type == 8 { Law::A } else { Law::Mu };
        law.encode(&pcm, &mut payload);
        Some((to, self.payload_type, payload, timestamp))
    }

    /// RFC 4733: five packets of the event going on, then its end three times, all with the timestamp of its start.
    fn digit_packet(&mut self, code: u8, packets: u16) -> Vec<u8> {
        self.digit = (packets < 7).then_some((code, packets + 1));
        let end = if packets >= 5 { 0x80 } else { 0 };
        let duration = (packets.min(5) + 1) * FRAME as u16;
        let [high, low] = duration.to_be_bytes();
        vec![code, end | 10, high, low]
    }
}

async fn listen(rtp: Arc<UdpSocket>, ear: Arc<Mutex<Vec<Packet>>>) {
    let mut buffer = [0; 2048];
    loop {
        let Ok((length, _)) = rtp.recv_from(&mut buffer).await else {
            continue;
        };
        if length < 12 {
            continue;
        }
        let payload_type = buffer[1] & 0x7f;
        let mut pcm = Vec::new();
        let law = if payload_type == 8 { Law::A } else { Law::Mu };
        law.decode(&buffer[12..length], &mut pcm);
        ear.lock().unwrap().push(Packet {
            at: Instant::now(),
            sequence: u16::from_be_bytes([buffer[2], buffer[3]]),
            timestamp: u32::from_be_bytes([buffer[4], buffer[5], buffer[6], buffer[7]]),
            payload_type,
            pcm,
        });
    }
}
