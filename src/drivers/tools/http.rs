//! A tool that is an HTTP request: filled in, signed, sent, tried again, and its answer read up to a bound.
//!
//! TLS is verified, redirects are not followed, and no proxy of the environment is used: the request goes where the
//! configuration says and nowhere else. Every attempt carries the same idempotency key.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use reqwest::{Client, Method, RequestBuilder, Response, StatusCode, header, redirect};
use serde_json::Value;

use super::{Customer, bounded};
use crate::{
    config::{HttpMethod, HttpTool},
    net::tls::Tls,
    tools::{
        Errand, Reply, signature,
        template::{Place, Unfilled, fill},
    },
};

/// How we name ourselves.
const USER_AGENT: &str = concat!("patchcord/", env!("CARGO_PKG_VERSION"));

/// The pause before the second attempt; it doubles with each further one.
const PAUSE_MIN: Duration = Duration::from_millis(250);

/// The longest pause, whatever the server asks for.
const PAUSE_MAX: Duration = Duration::from_secs(10);

/// Bytes of an error's body that the model is told.
const ERROR_BYTES_MAX: usize = 1024;

/// A client for all tools, which trusts whom sessions trust.
pub(super) fn client(tls: &Tls) -> reqwest::Result<Client> {
    Client::builder()
        .tls_backend_preconfigured(tls.settings())
        .user_agent(USER_AGENT)
        .redirect(redirect::Policy::none())
        .no_proxy()
        .connect_timeout(Duration::from_secs(5))
        .build()
}

/// A request with everything filled in.
struct Filled {
    url: String,
    headers: Vec<(String, String)>,
    body: Option<String>,
    key: String,
}

/// What an attempt came to.
enum Attempt {
    Over(Reply),
    /// It may be worth another one, after so long if the server says so.
    Again(Reply, Option<Duration>),
}

/// Asks the server, as often as the tool's settings allow.
pub(super) async fn ask(client: &Client, tool: &HttpTool, errand: &Errand, customer: &Customer) -> Reply {
    let filled = match filled(tool, errand, customer) {
        Ok(filled) => filled,
        Err(unfilled) => return Reply::Failed(format!("{} was not asked: {unfilled}.", tool.name)),
    };
    let mut pause = PAUSE_MIN;
    let mut attempt = 0;
    loop {
        match try_once(client, tool, &filled).await {
            Attempt::Over(reply) => return reply,
            Attempt::Again(reply, _) if attempt >= tool.retries => return reply,
            Attempt::Again(_, after) => {
                tokio::time::sleep(after.unwrap_or(pause).min(PAUSE_MAX)).await;
            }
        }
        attempt += 1;
        pause = (pause * 2).min(PAUSE_MAX);
    }
}

fn filled(tool: &HttpTool, errand: &Errand, customer: &Customer) -> Result<Filled, Unfilled> {
    let value = |name: &str| value(name, errand, customer);
    let headers = tool.headers.iter();
    let headers = headers.map(|(name, text)| Ok((name.clone(), fill(text, Place::Header, value)?)));
    let body = match (tool.body.as_str(), tool.method.has_body()) {
        ("", true) => Some(errand.arguments.to_string()),
        ("", false) => None,
        (text, _) => Some(fill(text, Place::body(&tool.content_type), value)?),
    };
    Ok(Filled {
        url: fill(&tool.url, Place::Url, value)?,
        headers: headers.collect::<Result<_, _>>()?,
        body,
        key: key(&customer.call_id, &errand.call_id),
    })
}

/// What a name in a template stands for.
fn value(name: &str, errand: &Errand, customer: &Customer) -> Option<Value> {
    match name.split_once('.') {
        Some(("argument", argument)) => errand.arguments.get(argument).cloned(),
        Some(("digits", argument)) => errand.digits.reveal(argument).map(Value::from),
        None if name == "call_id" => Some(customer.call_id.as_str().into()),
        None if name == "arguments" => Some(errand.arguments.clone()),
        _ => Some(customer.facts.value(name))
            .filter(|text| !text.is_empty())
            .map(Value::from),
    }
}

/// The same for every attempt, and of letters that any header can carry.
fn key(call_id: &str, tool_call: &str) -> String {
    let sound = |letter: &char| letter.is_ascii_alphanumeric() || matches!(letter, '_' | '-');
    let tool_call: String = tool_call.chars().filter(sound).take(64).collect();
    format!("{call_id}_{tool_call}")
}

async fn try_once(client: &Client, tool: &HttpTool, filled: &Filled) -> Attempt {
    match request(client, tool, filled).send().await {
        Ok(response) => read(tool, response).await,
        Err(error) => {
            let broken = error.is_connect() || error.is_request() || error.is_timeout();
            let reply = Reply::Failed(format!("{} cannot be reached: {}.", tool.name, explained(error)));
            match broken {
                true => Attempt::Again(reply, None),
                false => Attempt::Over(reply),
            }
        }
    }
}

fn request(client: &Client, tool: &HttpTool, filled: &Filled) -> RequestBuilder {
    let mut request = client
        .request(method(tool.method), &filled.url)
        .header("idempotency-key", &filled.key);
    for (name, value) in &filled.headers {
        request = request.header(name, value);
    }
    if let Some(bearer) = &tool.bearer {
        request = request.bearer_auth(bearer.reveal());
    }
    if let Some(secret) = &tool.signing_secret {
        let sent_at = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap_or_default()
            .as_secs();
        let body = filled.body.as_deref().unwrap_or_default().as_bytes();
        for (name, value) in signature::headers(secret.reveal(), &filled.key, sent_at, body) {
            request = request.header(name, value);
        }
    }
    match &filled.body {
        Some(body) => request
            .header(header::CONTENT_TYPE, &tool.content_type)
            .body(body.clone()),
        None => request,
    }
}

async fn read(tool: &HttpTool, mut response: Response) -> Attempt {
    let status = response.status();
    let bytes_max = match status.is_success() {
        true => tool.manners.result_bytes_max,
        false => ERROR_BYTES_MAX,
    };
    let after = retry_after(&response);
    let mut bytes = Vec::new();
    while bytes.len() <= bytes_max {
        match response.chunk().await {
            Ok(Some(chunk)) => bytes.extend_from_slice(&chunk),
            Ok(None) => break,
            Err(error) => {
                let reply = format!(
                    "{} broke off in the middle of its answer: {}.",
                    tool.name,
                    explained(error)
                );
                return Attempt::Again(Reply::Failed(reply), None);
            }
        }
    }
    let text = bounded(String::from_utf8_lossy(&bytes).into_owned(), bytes_max);
    if status.is_success() {
        let said = if text.trim().is_empty() {
            "Done; the server said nothing more.".to_owned()
        } else {
            text
        };
        return Attempt::Over(Reply::Done(said));
    }
    let reply = match status.is_redirection() {
        true => format!(
            "{} answered {status}: it leads elsewhere, where nothing is asked.",
            tool.name
        ),
        false => format!("{} answered {status}: {}", tool.name, text.trim()),
    };
    match may_pass(status) {
        true => Attempt::Again(Reply::Failed(reply), after),
        false => Attempt::Over(Reply::Failed(reply)),
    }
}

/// Whether the same request may be answered otherwise a little later.
fn may_pass(status: StatusCode) -> bool {
    matches!(status.as_u16(), 408 | 425 | 429 | 500 | 502 | 503 | 504)
}

fn retry_after(response: &Response) -> Option<Duration> {
    let value = response.headers().get(header::RETRY_AFTER)?;
    value.to_str().ok()?.trim().parse().ok().map(Duration::from_secs)
}

/// Without the address, which may hold what was filled in.
fn explained(error: reqwest::Error) -> String {
    let error = error.without_url();
    let mut text = error.to_string();
    let mut cause = std::error::Error::source(&error);
    while let Some(deeper) = cause {
        text = format!("{text}: {deeper}");
        cause = deeper.source();
    }
    bounded(text, ERROR_BYTES_MAX)
}

fn method(method: HttpMethod) -> Method {
    match method {
        HttpMethod::Get => Method::GET,
        HttpMethod::Post => Method::POST,
        HttpMethod::Put => Method::PUT,
        HttpMethod::Patch => Method::PATCH,
        HttpMethod::Delete => Method::DELETE,
    }
}

#[cfg(test)]
mod tests;
