//! `patchcord call`: places a call through a running gateway and prints its progress until it ends.

use std::{process::ExitCode, time::Duration};

use anyhow::Context;
use axum::{body::Body, http::Request};
use futures_util::StreamExt;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tokio::{net::TcpStream, time::timeout};

use super::{EXIT_RUNTIME, EXIT_USAGE, say};

/// How long the gateway may take to answer a request, or to say anything in a stream of events.
const ANSWER_MAX: Duration = Duration::from_secs(30);

/// The largest answer read.
const ANSWER_BYTES_MAX: usize = 1 << 20;

/// What is asked for.
#[derive(Debug, clap::Args)]
pub struct Call {
    /// Whom: a SIP URI, or a number or user name at the trunk.
    to: String,
    /// The trunk to call through.
    #[arg(long, value_name = "NAME")]
    trunk: String,
    /// The agent that speaks.
    #[arg(long, value_name = "NAME")]
    agent: String,
    /// Who calls; without it the trunk's identity.
    #[arg(long, value_name = "WHO")]
    from: Option<String>,
    /// Where the gateway's HTTP is; only http:// is spoken.
    #[arg(long, value_name = "URL", default_value = "http://127.0.0.1:8080")]
    http: String,
    /// The environment variable that holds the token.
    #[arg(long, value_name = "NAME", default_value = "PATCHCORD_HTTP_TOKEN")]
    token_env: String,
}

/// Places the call and follows it.
pub fn run(call: &Call) -> ExitCode {
    let Ok(token) = std::env::var(&call.token_env) else {
        eprintln!("patchcord: the variable {} holds no token", call.token_env);
        return ExitCode::from(EXIT_USAGE);
    };
    let Some(host) = call.http.strip_prefix("http://").map(|host| host.trim_end_matches('/')) else {
        eprintln!("patchcord: {} does not begin with http://", call.http);
        return ExitCode::from(EXIT_USAGE);
    };
    let gateway = Gateway {
        host: host.to_owned(),
        token,
    };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    match runtime
        .map_err(anyhow::Error::from)
        .and_then(|runtime| runtime.block_on(follow(&gateway, call)))
    {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::from(EXIT_RUNTIME),
        Err(error) => {
            eprintln!("patchcord: {error:#}");
            ExitCode::from(EXIT_RUNTIME)
        }
    }
}

/// Whether somebody answered.
async fn follow(gateway: &Gateway, call: &Call) -> anyhow::Result<bool> {
    let asked = json!({ "to": call.to, "trunk": call.trunk, "agent": call.agent, "from": call.from });
    let placed = gateway.request("POST", "/v1/calls", 0, asked.to_string()).await?;
    let placed = timeout(ANSWER_MAX, axum::body::to_bytes(placed, ANSWER_BYTES_MAX)).await??;
    let placed: Value = serde_json::from_slice(&placed)?;
    let path = format!("/v1/calls/{}/events", placed["id"].as_str().unwrap_or_default());
    say(placed["id"].as_str().unwrap_or_default());
    let mut progress = Progress::default();
    while !progress.ended {
        let stream = gateway.request("GET", &path, progress.last, String::new()).await?;
        let mut stream = stream.into_data_stream();
        // The stream ends with the call, or after a while: then it is asked for what came after.
        while let Some(bytes) = timeout(ANSWER_MAX, stream.next()).await? {
            progress.read(&bytes?).iter().for_each(|line| say(line));
        }
    }
    Ok(progress.answered)
}

struct Gateway {
    host: String,
    token: String,
}

impl Gateway {
    /// Asks, and gives what is answered unless that is a refusal.
    async fn request(&self, method: &str, path: &str, last: u64, body: String) -> anyhow::Result<Body> {
        let request = Request::builder()
            .method(method)
            .uri(path)
            .header("host", &self.host)
            .header("authorization", format!("Bearer {}", self.token))
            .header("last-event-id", last)
            .body(Body::from(body))?;
        let connected = timeout(ANSWER_MAX, TcpStream::connect(&self.host)).await?;
        let stream = connected.with_context(|| format!("no gateway at http://{}", self.host))?;
        let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
        // It ends with the answer, or with this process.
        tokio::spawn(connection);
        let response = timeout(ANSWER_MAX, sender.send_request(request)).await??;
        let (status, body) = (response.status(), Body::new(response.into_body()));
        if status.is_success() {
            return Ok(body);
        }
        let text = timeout(ANSWER_MAX, axum::body::to_bytes(body, ANSWER_BYTES_MAX)).await??;
        anyhow::bail!("refused with {status}: {}", String::from_utf8_lossy(&text).trim())
    }
}

/// How far a stream of events has been read.
#[derive(Debug, Default)]
struct Progress {
    unread: String,
    last: u64,
    answered: bool,
    ended: bool,
}

impl Progress {
    /// More of the stream; a line for each event that is complete now.
    fn read(&mut self, bytes: &[u8]) -> Vec<String> {
        self.unread.push_str(&String::from_utf8_lossy(bytes));
        let mut lines = Vec::new();
        while let Some((event, rest)) = self.unread.split_once("\n\n") {
            let (event, rest) = (event.to_owned(), rest.to_owned());
            self.unread = rest;
            lines.extend(self.event(&event));
        }
        lines
    }

    fn event(&mut self, event: &str) -> Option<String> {
        let field = |name: &str| event.lines().find_map(|line| line.strip_prefix(name)).map(str::trim);
        let name = field("event:")?;
        self.last = field("id:")?.parse().ok()?;
        self.answered |= name == "answered";
        self.ended |= name == "ended";
        // All that is said follows in a turn.
        if name == "transcript_delta" {
            return None;
        }
        let mut data: Value = serde_json::from_str(field("data:")?).ok()?;
        let at = data["at"].take();
        let more = data.as_object()?.iter().filter(|(_, value)| !value.is_null());
        let more: Vec<String> = more.map(|(name, value)| format!(" {name}={}", shown(value))).collect();
        Some(format!("{} {name}{}", shown(&at), more.concat()))
    }
}

fn shown(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_are_read_however_the_stream_is_cut() {
        let stream = ": alive\n\nretry: 100\nid: 1\nevent: ringing\ndata: {\"at\":\"T\"}\n\n\
                      id: 2\nevent: ended\ndata: {\"at\":\"U\",\"cause\":\"busy\",\"sip_code\":486}\n\n";
        let mut progress = Progress::default();
        let lines: Vec<String> = stream
            .as_bytes()
            .chunks(7)
            .flat_map(|bytes| progress.read(bytes))
            .collect();
        assert_eq!(lines, ["T ringing", "U ended cause=busy sip_code=486"]);
        assert_eq!((progress.last, progress.answered, progress.ended), (2, false, true));
    }
}
