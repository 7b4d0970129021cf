//! Tests of the session's socket against backends in memory that are slow, silent or gone.

use std::time::Duration;

use futures_util::{SinkExt, StreamExt};
use tokio::{
    io::{AsyncReadExt, DuplexStream, duplex},
    time::{Instant, sleep, timeout},
};
use tokio_tungstenite::{
    WebSocketStream, accept_async,
    tungstenite::{
        Message,
        protocol::{CloseFrame, frame::coding::CloseCode},
    },
};

use super::{
    pulse::{PING_EVERY, SILENT_MAX, STALL_MAX},
    *,
};
use crate::net::websocket::{Connect, connect_stream};

/// What lies between us and the backend; small, so that a backend that does not read is noticed at once.
const PIPE_BYTES: usize = 1024;

/// A frame of caller audio is about this long.
const AUDIO_BYTES: usize = 1_350;

#[tokio::test(start_paused = true)]
async fn text_goes_both_ways() {
    let (mut socket, mut backend) = open().await;
    socket.send("from us", false);
    let (event, heard) = tokio::join!(next(&mut socket), async {
        let heard = backend.next().await.unwrap().unwrap();
        backend.send(Message::text("from the backend")).await.unwrap();
        heard
    });
    assert_eq!(heard, Message::text("from us"));
    assert!(matches!(event, Said::Text(text) if text == "from the backend"));
}

#[tokio::test(start_paused = true)]
async fn a_backend_that_takes_nothing_is_lost_after_the_stall_bound() {
    let (mut socket, _backend) = open().await;
    let began = Instant::now();
    send_audio(&mut socket, 10);
    let lost = next(&mut socket).await;
    assert!(matches!(lost, Said::Lost(Loss::Stalled)), "{lost:?}");
    assert_eq!(began.elapsed().as_secs(), STALL_MAX.as_secs());
}

#[tokio::test(start_paused = true)]
async fn a_backend_that_takes_a_little_now_and_then_is_slow_but_not_lost() {
    let (mut socket, backend) = open().await;
    let mut backend = backend.into_inner();
    let reading = async move {
        let mut portion = [0; 300];
        for _ in 0..20 {
            sleep(STALL_MAX - Duration::from_secs(1)).await;
            // In the end our side is dropped.
            if backend.read_exact(&mut portion).await.is_err() {
                break;
            }
        }
    };
    // One message that takes longer than the stall bound, and several behind it.
    socket.send(&"x".repeat(4_000), false);
    send_audio(&mut socket, 3);
    // It never answers a ping either, which is found out on its own.
    let began = Instant::now();
    let (lost, ()) = tokio::join!(next(&mut socket), reading);
    assert!(matches!(lost, Said::Lost(Loss::Broken(_))), "{lost:?}");
    assert!(began.elapsed() >= SILENT_MAX);
}

#[tokio::test(start_paused = true)]
async fn a_silent_backend_that_answers_pings_is_kept() {
    let (mut socket, mut backend) = open().await;
    let mut pings = 0;
    let answering = async {
        while let Some(Ok(message)) = backend.next().await {
            pings += usize::from(message.is_ping());
        }
    };
    let heard = tokio::select! {
        heard = timeout(Duration::from_secs(3600), next(&mut socket)) => heard,
        () = answering => panic!("the backend was left"),
    };
    assert!(heard.is_err(), "{heard:?}");
    assert_eq!(pings as u64, 3600 / PING_EVERY.as_secs() - 1);
}

#[tokio::test(start_paused = true)]
async fn a_backend_from_which_nothing_comes_is_lost_though_it_takes_everything() {
    let (mut socket, backend) = open().await;
    let mut backend = backend.into_inner();
    let began = Instant::now();
    let swallowing = async move {
        let mut portion = [0; PIPE_BYTES];
        while backend.read(&mut portion).await.is_ok_and(|length| length > 0) {}
    };
    let lost = tokio::select! {
        lost = next(&mut socket) => lost,
        () = swallowing => panic!("the backend was left"),
    };
    assert!(
        matches!(&lost, Said::Lost(Loss::Broken(text)) if text.contains("45 s")),
        "{lost:?}"
    );
    assert_eq!(began.elapsed().as_secs(), SILENT_MAX.as_secs());
}

#[tokio::test(start_paused = true)]
async fn waiting_may_be_given_up_at_any_time_without_forgetting_a_deadline() {
    let (mut socket, _backend) = open().await;
    let began = Instant::now();
    send_audio(&mut socket, 10);
    let lost = loop {
        match timeout(Duration::from_millis(20), next(&mut socket)).await {
            Ok(event) => break event,
            Err(_) => socket.send(&"x".repeat(AUDIO_BYTES), true),
        }
    };
    assert!(matches!(lost, Said::Lost(Loss::Stalled)), "{lost:?}");
    assert_eq!(began.elapsed().as_secs(), STALL_MAX.as_secs());
}

#[tokio::test(start_paused = true)]
async fn a_full_outbox_drops_the_oldest_audio_counts_it_and_keeps_control() {
    let (mut socket, mut backend) = open().await;
    socket.send("being written", false);
    socket.send("control", false);
    for index in 0..OUTBOX_MESSAGES_MAX + 2 {
        socket.send(&index.to_string(), true);
    }
    assert_eq!(socket.take_audio_dropped(), 3);
    assert_eq!(socket.take_audio_dropped(), 0);
    let writing = async { drop(next(&mut socket).await) };
    let reading = async {
        let mut texts = Vec::new();
        while texts.len() <= OUTBOX_MESSAGES_MAX {
            texts.push(backend.next().await.unwrap().unwrap().to_text().unwrap().to_owned());
        }
        texts
    };
    let texts = tokio::select! {
        texts = reading => texts,
        () = writing => panic!("the session was lost"),
    };
    assert_eq!(texts[..3], ["being written", "control", "3"]);
    assert_eq!(texts.last(), Some(&(OUTBOX_MESSAGES_MAX + 1).to_string()));
}

#[tokio::test(start_paused = true)]
async fn an_outbox_full_of_control_is_a_stall_at_once() {
    let (mut socket, _backend) = open().await;
    let began = Instant::now();
    socket.send("being written", false);
    for _ in 0..=OUTBOX_MESSAGES_MAX {
        socket.send("{}", false);
    }
    assert_eq!(socket.outbox.waiting.len(), OUTBOX_MESSAGES_MAX);
    let lost = next(&mut socket).await;
    assert!(matches!(lost, Said::Lost(Loss::Stalled)), "{lost:?}");
    assert_eq!(began.elapsed(), Duration::ZERO);
    assert!(!socket.outbox.overflowed && socket.outbox.waiting.is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_close_is_told_with_its_code_and_reason_and_a_broken_pipe_without() {
    let (mut socket, mut backend) = open().await;
    let frame = CloseFrame {
        code: CloseCode::Again,
        reason: "come back".into(),
    };
    backend.close(Some(frame)).await.unwrap();
    let lost = next(&mut socket).await;
    assert!(
        matches!(&lost, Said::Lost(Loss::Closed { code: 1013, reason }) if reason == "come back"),
        "{lost:?}"
    );
    let (mut socket, backend) = open().await;
    drop(backend);
    let lost = next(&mut socket).await;
    assert!(matches!(lost, Said::Lost(_)), "{lost:?}");
    assert!(timeout(SILENT_MAX * 2, next(&mut socket)).await.is_err());
}

#[tokio::test(start_paused = true)]
async fn closing_says_so_and_does_not_wait_for_a_backend_that_takes_nothing() {
    let (mut socket, mut backend) = open().await;
    socket.close().await;
    let Some(Ok(Message::Close(Some(frame)))) = backend.next().await else {
        panic!("a close")
    };
    assert_eq!(frame.code, CloseCode::Normal);
    let (mut socket, _backend) = open().await;
    send_audio(&mut socket, 10);
    assert!(timeout(Duration::from_millis(1), next(&mut socket)).await.is_err());
    let began = Instant::now();
    socket.close().await;
    assert!(began.elapsed() <= CLOSE_MAX + Duration::from_millis(1));
}

type Backend = WebSocketStream<DuplexStream>;

/// What a socket tells, with the texts it hands on.
#[derive(Debug)]
enum Said {
    Opened,
    Text(String),
    Lost(Loss),
}

async fn next(socket: &mut SessionSocket) -> Said {
    let mut scratch = vec![0; 64 << 10];
    let mut texts = Vec::new();
    poll_fn(|context| {
        loop {
            let hear = &mut |text: &str| texts.push(text.to_owned());
            let event = std::task::ready!(socket.poll(context, &mut scratch, hear));
            return Poll::Ready(match event {
                Event::Opened => Said::Opened,
                Event::Lost(loss) => Said::Lost(loss),
                Event::Heard if texts.is_empty() => continue,
                Event::Heard => Said::Text(texts.concat()),
            });
        }
    })
    .await
}

/// An open session with its backend at the other end of a small pipe.
async fn open() -> (SessionSocket, Backend) {
    let (ours, theirs) = duplex(PIPE_BYTES);
    let mut socket = SessionSocket::default();
    socket.dial(async move {
        let backend = Connect {
            url: "ws://backend/".to_owned(),
            model: None,
            bearer: None,
            timeout: Duration::from_secs(1),
        };
        connect_stream(&backend, ours).await
    });
    let (event, backend) = tokio::join!(next(&mut socket), accept_async(theirs));
    assert!(matches!(event, Said::Opened), "{event:?}");
    (socket, backend.unwrap())
}

fn send_audio(socket: &mut SessionSocket, count: usize) {
    for _ in 0..count {
        socket.send(&"x".repeat(AUDIO_BYTES), true);
    }
}
