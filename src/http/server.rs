//! Connections: how many, how long, how large, and how they end.
//!
//! A monitoring client asks briefly. So nothing here is generous: a client that is slow to ask, slow to read or simply
//! stays is let go, and there is always room for the next one.

use std::{
    future::Future,
    pin::{Pin, pin},
    time::Duration,
};

use axum::Router;
use hyper::server::conn::http1;
use hyper_util::{
    rt::{TokioIo, TokioTimer},
    service::TowerToHyperService,
};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::watch,
    task::JoinSet,
    time::{sleep, timeout},
};

use super::{
    lease::Lease,
    routes::{HttpState, router},
};
use crate::net::tcp;

/// Largest request head; a larger one is answered 431.
const HEAD_BYTES_MAX: usize = 16 << 10;

/// Most header lines of a request; more are answered 431.
const HEADERS_MAX: usize = 64;

type Connection = http1::UpgradeableConnection<TokioIo<TcpStream>, TowerToHyperService<Router>>;

/// How patient the server is.
#[derive(Debug, Clone, Copy)]
struct Limits {
    /// Connections at a time; more wait in the kernel until one ends, which takes `age_max` at worst.
    connections_max: usize,
    /// How long a client may take for the head of a request; a silent connection is closed.
    head_max: Duration,
    /// How old a connection may become, unless events are told on it. The request in progress is answered; then the
    /// client has to come again.
    age_max: Duration,
    /// How long the last answer of a connection may take to be read; past it the connection is cut.
    last_answer_max: Duration,
}

const LIMITS: Limits = Limits {
    connections_max: 64,
    head_max: Duration::from_secs(3),
    age_max: Duration::from_secs(60),
    last_answer_max: Duration::from_secs(5),
};

/// Serves until `shutdown` is ready, then lets the requests in progress finish.
pub async fn serve(listener: TcpListener, state: HttpState, shutdown: impl Future<Output = ()>) {
    serve_within(LIMITS, listener, state, shutdown).await;
}

async fn serve_within(limits: Limits, listener: TcpListener, state: HttpState, shutdown: impl Future<Output = ()>) {
    let router = router(state);
    let (stop, stopping) = watch::channel(());
    let mut shutdown = pin!(shutdown);
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            () = &mut shutdown => break,
            Some(_) = connections.join_next() => {}
            (stream, _) = tcp::accept(&listener), if connections.len() < limits.connections_max => {
                connections.spawn(serve_connection(limits, stream, router.clone(), stopping.clone()));
            }
        }
    }
    drop((listener, stop));
    // What is left after that is cut, when the set is dropped.
    let _ = timeout(limits.last_answer_max, async {
        while connections.join_next().await.is_some() {}
    })
    .await;
}

async fn serve_connection(limits: Limits, stream: TcpStream, router: Router, mut stopping: watch::Receiver<()>) {
    let lease = Lease::new(stopping.clone());
    let router = router.layer(axum::Extension(lease.clone()));
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(limits.head_max)
        .max_headers(HEADERS_MAX)
        .max_buf_size(HEAD_BYTES_MAX)
        .serve_connection(TokioIo::new(stream), TowerToHyperService::new(router))
        .with_upgrades();
    let mut connection = pin!(connection);
    let ended = tokio::select! {
        ended = connection.as_mut() => ended,
        // The sender says nothing; it is dropped.
        _ = stopping.changed() => finish(limits, connection).await,
        () = lease.is_cut() => Ok(()),
        () = grown_old(limits, &lease) => finish(limits, connection).await,
    };
    if let Err(error) = ended {
        tracing::debug!(%error, "an HTTP connection broke");
    }
}

/// A connection on which events are told is as old as what it told last.
async fn grown_old(limits: Limits, lease: &Lease) {
    sleep(limits.age_max).await;
    lease.unused().await;
}

async fn finish(limits: Limits, mut connection: Pin<&mut Connection>) -> hyper::Result<()> {
    connection.as_mut().graceful_shutdown();
    timeout(limits.last_answer_max, connection).await.unwrap_or(Ok(()))
}

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;

    use tokio::{
        io::{AsyncReadExt, AsyncWriteExt},
        sync::oneshot,
        task::JoinHandle,
    };

    use super::*;
    use crate::{
        http::Readiness,
        telemetry::{Level, Metrics},
    };

    #[tokio::test]
    async fn metrics_are_served_with_the_levels_set_just_before() {
        let server = Server::start(LIMITS);
        let answer = server.get("/metrics").await;
        assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "{answer}");
        assert!(answer.contains("content-type: text/plain; version=0.0.4; charset=utf-8\r\n"));
        assert!(answer.contains("\npatchcord_rtp_ports_in_use 3\n"));
        assert!(answer.contains("\n# TYPE patchcord_call_setup_seconds histogram\n"));
    }

    #[tokio::test]
    async fn readiness_follows_the_gateway_and_health_does_not() {
        let server = Server::start(LIMITS);
        assert_ends(&server.get("/readyz").await, 503, "starting\n");
        server.readiness.ready();
        assert_ends(&server.get("/readyz").await, 200, "ready\n");
        server.readiness.drain();
        assert_ends(&server.get("/readyz").await, 503, "draining\n");
        assert_ends(&server.get("/healthz").await, 200, "ok\n");
    }

    #[tokio::test]
    async fn an_unknown_path_is_answered_with_those_there_are() {
        let answer = Server::start(LIMITS).get("/metric").await;
        assert_ends(
            &answer,
            404,
            r#"{"error":"not_found","paths":["/metrics","/healthz","/readyz","/v1/calls","/v1/approvals","/v1/events","/v1/explain","/v1/trunks","/v1/backends","/v1/openapi.json"]}"#,
        );
        assert!(answer.contains("content-type: application/json\r\n"));
    }

    #[tokio::test]
    async fn another_method_is_not_allowed_and_its_body_is_not_awaited() {
        let request = "POST /healthz HTTP/1.1\r\nHost: h\r\nContent-Length: 1000000\r\n\r\n";
        let answer = Server::start(LIMITS).ask(request).await;
        assert!(answer.starts_with("HTTP/1.1 405 "), "{answer}");
        assert!(answer.to_lowercase().contains("allow: get,head\r\n"), "{answer}");
    }

    #[tokio::test]
    async fn a_request_head_too_large_is_refused() {
        let server = Server::start(LIMITS);
        let long = format!(
            "GET /healthz HTTP/1.1\r\nHost: h\r\nX: {}\r\n\r\n",
            "x".repeat(HEAD_BYTES_MAX)
        );
        let many = format!(
            "GET /healthz HTTP/1.1\r\nHost: h\r\n{}\r\n",
            "X: y\r\n".repeat(HEADERS_MAX)
        );
        for request in [long, many] {
            let answer = server.ask(&request).await;
            assert!(answer.starts_with("HTTP/1.1 431 "), "{answer}");
        }
    }

    #[tokio::test]
    async fn silent_and_slow_clients_are_let_go_and_others_served() {
        let limits = Limits {
            connections_max: 2,
            head_max: Duration::from_millis(50),
            ..LIMITS
        };
        let server = Server::start(limits);
        let _silent = server.connect().await;
        let mut slow = server.connect().await;
        slow.write_all(b"GET /healthz HT").await.unwrap();
        assert_ends(&server.get("/healthz").await, 200, "ok\n");
    }

    #[tokio::test]
    async fn a_connection_kept_alive_ends_when_it_is_old() {
        let server = Server::start(Limits {
            age_max: Duration::from_millis(50),
            ..LIMITS
        });
        let answer = server.ask("GET /healthz HTTP/1.1\r\nHost: h\r\n\r\n").await;
        assert_ends(&answer, 200, "ok\n");
    }

    #[tokio::test]
    async fn stopping_closes_idle_connections_and_ends() {
        let mut server = Server::start(LIMITS);
        let mut idle = server.connect().await;
        idle.write_all(b"GET /healthz HTTP/1.1\r\nHost: h\r\n\r\n")
            .await
            .unwrap();
        idle.read_u8().await.unwrap();
        server.stop.take().unwrap().send(()).unwrap();
        let mut rest = Vec::new();
        idle.read_to_end(&mut rest).await.unwrap();
        (&mut server.serving).await.unwrap();
        TcpStream::connect(server.address).await.unwrap_err();
    }

    struct Server {
        address: SocketAddr,
        readiness: Readiness,
        stop: Option<oneshot::Sender<()>>,
        serving: JoinHandle<()>,
    }

    impl Server {
        fn start(limits: Limits) -> Self {
            let listener = tcp::listen(([127, 0, 0, 1], 0).into()).unwrap();
            let address = listener.local_addr().unwrap();
            let (metrics, readiness) = (Metrics::new(), Readiness::new());
            let levels = metrics.clone();
            let before_scrape = std::sync::Arc::new(move || levels.set_level(Level::RtpPortsInUse, 3));
            let state = HttpState::new(metrics, readiness.clone(), before_scrape);
            let (stop, stopped) = oneshot::channel::<()>();
            let shutdown = async { drop(stopped.await) };
            let serving = tokio::spawn(serve_within(limits, listener, state, shutdown));
            Self {
                address,
                readiness,
                stop: Some(stop),
                serving,
            }
        }

        async fn connect(&self) -> TcpStream {
            TcpStream::connect(self.address).await.unwrap()
        }

        async fn get(&self, path: &str) -> String {
            self.ask(&format!("GET {path} HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n"))
                .await
        }

        /// Everything the server says until it closes.
        async fn ask(&self, request: &str) -> String {
            let mut stream = self.connect().await;
            stream.write_all(request.as_bytes()).await.unwrap();
            let mut answer = Vec::new();
            // A server that closes before it has read all may reset the connection after its answer.
            let _ = stream.read_to_end(&mut answer).await;
            String::from_utf8(answer).unwrap()
        }
    }

    fn assert_ends(answer: &str, status: u16, body: &str) {
        assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")), "{answer}");
        assert!(answer.ends_with(&format!("\r\n\r\n{body}")), "{answer}");
    }
}
