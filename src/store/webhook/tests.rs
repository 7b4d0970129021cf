//! Webhooks to a real server on this machine, over restarts and failures.

use std::{collections::VecDeque, time::Instant};

use rustls::{ServerConfig, pki_types::PrivateKeyDer};
use tokio::{
    io::{AsyncBufReadExt, AsyncRead, AsyncReadExt, AsyncWriteExt, BufReader},
    net::TcpListener,
    time::timeout,
};
use tokio_rustls::TlsAcceptor;

use super::*;
use crate::{config::tests::read_with, net::test_authority::TestAuthority, store::file::tests::Folder};

const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";

const WAIT: Duration = Duration::from_secs(20);

#[tokio::test(flavor = "multi_thread")]
async fn what_is_refused_comes_again_with_the_same_id_and_a_signature_of_its_own() {
    let mut desk = Desk::new(&["500 Oops", "302 Found", "200 OK"], "").await;
    desk.tell("call.ended", "call_a", 3);
    let heard = [desk.hears().await, desk.hears().await, desk.hears().await];
    for request in &heard {
        assert_eq!(
            (request.id.as_str(), request.body.as_str()),
            ("msg_call_a_3", "{\"n\":3}")
        );
        let signed = sign::signature(&desk.key(), &request.id, request.unix_s, request.body.as_bytes());
        assert_eq!(request.signature, signed);
    }
    desk.pending(0).await;
    let text = desk.metrics.render();
    for (result, count) in [("failed", 1), ("redirected", 1), ("ok", 1)] {
        let line = format!("patchcord_webhook_attempts_total{{result=\"{result}\",webhook=\"w\"}} {count}\n");
        assert!(text.contains(&line), "{line}: {text}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_not_taken_before_a_restart_is_sent_after_it_in_its_order() {
    let mut desk = Desk::new(&["503 Down"], "retry_first_ms = 3600000\nretry_ms_max = 3600000").await;
    for number in 1..=3 {
        desk.tell("call.ended", "call_a", number);
    }
    desk.hears().await;
    desk.pending(3).await;
    // No goodbye: what is on the disk is all there is.
    let mut again = desk.restarted(&["200 OK", "200 OK", "200 OK"]).await;
    for number in 1..=3 {
        assert_eq!(again.hears().await.id, format!("msg_call_a_{number}"));
    }
    again.pending(0).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_does_not_fit_or_is_not_wanted_any_more_is_counted() {
    let mut desk = Desk::new(&["410 Gone"], "events = [\"call.ended\"]").await;
    desk.tell("call.started", "call_a", 1);
    desk.tell("call.ended", "call_a", 2);
    assert_eq!(desk.hears().await.id, "msg_call_a_2");
    desk.pending(0).await;
    desk.webhooks.tell(Message {
        body: vec![b' '; BODY_BYTES_MAX + 1],
        ..message("call.ended", "call_b", 1)
    });
    desk.webhooks.close().await;
    let text = desk.metrics.render();
    for reason in ["gone", "spool_full"] {
        let line = format!("patchcord_webhooks_lost_total{{reason=\"{reason}\",webhook=\"w\"}} 1\n");
        assert!(text.contains(&line), "{text}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_webhook_that_hangs_holds_up_no_other() {
    let mut hanging = Desk::new(&[], "timeout_ms = 60000").await;
    let mut desk = Desk::new(&["200 OK"], "").await;
    let both = [
        hanging.config.webhooks[0].clone(),
        config::Webhook {
            name: "v".to_owned(),
            ..desk.config.webhooks[0].clone()
        },
    ];
    let state = desk.folder.0.join("both");
    desk.webhooks = Webhooks::start(&both, &state, desk.metrics.clone()).unwrap();
    desk.tell("call.ended", "call_a", 1);
    assert_eq!(desk.hears().await.id, "msg_call_a_1");
    assert_eq!(hanging.hears().await.id, "msg_call_a_1");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_certificate_is_verified_and_its_authority_may_be_named() {
    let folder = Folder::new();
    let authority = TestAuthority::new();
    let (certificate, key) = authority.localhost();
    let ca = folder.0.join("ca.pem");
    std::fs::write(&ca, authority.pem()).unwrap();
    tls::install_crypto_provider();
    let key = PrivateKeyDer::try_from(key.serialize_der()).unwrap();
    let server = ServerConfig::builder().with_no_client_auth();
    let server = server.with_single_cert(vec![certificate.der().clone()], key).unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let (sender, mut heard) = mpsc::channel(8);
    tokio::spawn(async move {
        let acceptor = TlsAcceptor::from(Arc::new(server));
        while let Ok((stream, _)) = listener.accept().await {
            // A client that does not believe us leaves.
            let Ok(stream) = acceptor.accept(stream).await else {
                continue;
            };
            let mut stream = BufReader::new(stream);
            sender.send(read(&mut stream).await).await.unwrap();
            let answer = b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 0\r\n\r\n";
            stream.write_all(answer).await.unwrap();
            stream.shutdown().await.unwrap();
        }
    });
    for (state, ca) in [
        ("strangers", String::new()),
        ("known", format!("ca = \"{}\"\n", ca.display())),
    ] {
        let text = format!(
            "[[webhook]]\nname = \"w\"\nurl = \"https://localhost:{port}/hook\"\nsecret = \"env:HOOK\"\n\
             retry_first_ms = 3600000\nretry_ms_max = 3600000\n{ca}"
        );
        let config = read_with(&text, &[("HOOK", SECRET), ("PASSWORD", "hunter2")]).unwrap();
        let metrics = Metrics::new();
        let webhooks = Webhooks::start(&config.webhooks, &folder.0.join(state), metrics.clone()).unwrap();
        webhooks.tell(message("call.ended", "call_a", 1));
        let attempts = "patchcord_webhook_attempts_total{result=\"unreachable\",webhook=\"w\"} 1\n";
        if ca.is_empty() {
            until(|| metrics.render().contains(attempts)).await;
            assert!(heard.try_recv().is_err());
        } else {
            assert_eq!(timeout(WAIT, heard.recv()).await.unwrap().unwrap().id, "msg_call_a_1");
        }
    }
}

/// A server that answers as it was told, and webhooks that are told to it.
struct Desk {
    folder: Arc<Folder>,
    config: config::Config,
    webhooks: Webhooks,
    metrics: Metrics,
    heard: mpsc::Receiver<Request>,
}

struct Request {
    id: String,
    unix_s: u64,
    signature: String,
    body: String,
}

impl Desk {
    async fn new(answers: &[&'static str], more: &str) -> Self {
        Self::open(Arc::new(Folder::new()), answers, more).await
    }

    /// After a crash: nothing of the old one is told to end.
    async fn restarted(&self, answers: &[&'static str]) -> Self {
        Self::open(self.folder.clone(), answers, "").await
    }

    async fn open(folder: Arc<Folder>, answers: &[&'static str], more: &str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (sender, heard) = mpsc::channel(64);
        tokio::spawn(serve(listener, answers.iter().copied().collect(), sender));
        let text = format!(
            "[[webhook]]\nname = \"w\"\nurl = \"http://{address}/hook\"\nsecret = \"env:HOOK\"\n{}\n",
            if more.contains("retry_first_ms") {
                more.to_owned()
            } else {
                format!("retry_first_ms = 10\n{more}")
            }
        );
        let config = read_with(&text, &[("HOOK", SECRET), ("PASSWORD", "hunter2")]).unwrap();
        let metrics = Metrics::new();
        let webhooks = Webhooks::start(&config.webhooks, &folder.0, metrics.clone()).unwrap();
        Self {
            folder,
            config,
            webhooks,
            metrics,
            heard,
        }
    }

    fn tell(&self, kind: &str, call_id: &str, number: u64) {
        if self.webhooks.want(kind) {
            self.webhooks.tell(message(kind, call_id, number));
        }
    }

    fn key(&self) -> Vec<u8> {
        self.config.webhooks[0].key().unwrap()
    }

    async fn hears(&mut self) -> Request {
        timeout(WAIT, self.heard.recv()).await.unwrap().unwrap()
    }

    async fn pending(&self, expected: usize) {
        let line = format!("patchcord_webhooks_pending{{webhook=\"w\"}} {expected}\n");
        until(|| self.metrics.render().contains(&line)).await;
    }
}

async fn until(holds: impl Fn() -> bool) {
    let last = Instant::now() + WAIT;
    while !holds() {
        assert!(Instant::now() < last, "it never came");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

fn message(kind: &str, call_id: &str, number: u64) -> Message {
    Message {
        kind: kind.to_owned(),
        call_id: call_id.to_owned(),
        number,
        body: format!("{{\"n\":{number}}}").into_bytes(),
    }
}

/// One request for each answer; then it takes requests and says nothing.
async fn serve(listener: TcpListener, mut answers: VecDeque<&'static str>, heard: mpsc::Sender<Request>) {
    let mut open = Vec::new();
    while let Ok((stream, _)) = listener.accept().await {
        let mut stream = BufReader::new(stream);
        let request = read(&mut stream).await;
        heard.send(request).await.unwrap();
        if let Some(answer) = answers.pop_front() {
            let location = if answer.starts_with("302") {
                "Location: /elsewhere\r\n"
            } else {
                ""
            };
            let text = format!("HTTP/1.1 {answer}\r\n{location}Connection: close\r\nContent-Length: 0\r\n\r\n");
            stream.write_all(text.as_bytes()).await.unwrap();
            stream.shutdown().await.unwrap();
        } else {
            open.push(stream);
        }
    }
}

async fn read(stream: &mut BufReader<impl AsyncRead + Unpin>) -> Request {
    let mut head = String::new();
    while !head.ends_with("\r\n\r\n") {
        assert!(stream.read_line(&mut head).await.unwrap() > 0, "{head}");
    }
    assert!(head.starts_with("POST /hook HTTP/1.1\r\n"), "{head}");
    let field = |name: &str| {
        let mut lines = head.lines();
        let line = lines.find(|line| line.to_ascii_lowercase().starts_with(&format!("{name}: ")));
        line.unwrap_or_else(|| panic!("{head}"))
            .split_once(": ")
            .unwrap()
            .1
            .to_owned()
    };
    let mut body = vec![0; field("content-length").parse().unwrap()];
    stream.read_exact(&mut body).await.unwrap();
    Request {
        id: field("webhook-id"),
        unix_s: field("webhook-timestamp").parse().unwrap(),
        signature: field("webhook-signature"),
        body: String::from_utf8(body).unwrap(),
    }
}
