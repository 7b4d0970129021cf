//! Sends the messages of one webhook, as its schedule says.

use std::{fs, sync::Arc, time::Duration};

use anyhow::Context;
use reqwest::{Certificate, Client, Response, StatusCode, header, redirect};
use tokio::{sync::watch, task::JoinSet, time::sleep};

use super::{
    Endpoint, Entry, now_ms,
    schedule::{Schedule, Step},
    sign,
};

/// How we name ourselves.
const USER_AGENT: &str = concat!("patchcord/", env!("CARGO_PKG_VERSION"));

/// The longest sleep, after which the wall clock is looked at again: it may have been set.
const NAP: Duration = Duration::from_secs(60);

/// The task of one webhook.
pub(super) struct Sender {
    endpoint: Arc<Endpoint>,
    client: Client,
    stopping: watch::Receiver<bool>,
    /// Nothing was taken since something last was.
    failing: bool,
}

/// How an attempt went.
enum Sent {
    /// It was taken.
    Taken,
    /// It never will be, for this reason word.
    Never(&'static str),
    /// It was not, for this reason word; how long the other side wants to be left alone, in milliseconds.
    Not(&'static str, Option<u64>),
}

impl Sender {
    pub(super) fn new(endpoint: Arc<Endpoint>, stopping: watch::Receiver<bool>) -> anyhow::Result<Self> {
        let config = &endpoint.config;
        let mut builder = Client::builder()
            .user_agent(USER_AGENT)
            .redirect(redirect::Policy::none())
            .timeout(config.timeout)
            .no_proxy();
        if let Some(path) = &config.ca {
            let unusable = || format!("webhook \"{}\": ca {}", config.name, path.display());
            let pem = fs::read(path).with_context(unusable)?;
            builder = builder.tls_certs_merge(Certificate::from_pem_bundle(&pem).with_context(unusable)?);
        }
        let client = builder.build();
        Ok(Self {
            client: client.with_context(|| format!("webhook \"{}\"", config.name))?,
            endpoint,
            stopping,
            failing: false,
        })
    }

    /// Until the gateway stops; what is on its way then is sent again after the next start.
    pub(super) async fn run(mut self) {
        let mut on_the_way: JoinSet<(Entry, Sent)> = JoinSet::new();
        while !*self.stopping.borrow_and_update() {
            self.start(&mut on_the_way);
            let wake = self.endpoint.schedule().poll_timeout();
            tokio::select! {
                _ = self.stopping.changed() => return,
                Some(Ok((entry, sent))) = on_the_way.join_next() => self.went(&entry, &sent),
                () = self.endpoint.news.notified() => {}
                () = sleep(until(wake)), if wake.is_some() => {}
            }
        }
    }

    /// Everything that is due.
    fn start(&mut self, on_the_way: &mut JoinSet<(Entry, Sent)>) {
        while let Some(step) = self.next_step() {
            match step {
                Step::GiveUp(entry) => {
                    self.endpoint.lost("expired", "", &entry.call);
                    self.remove(&entry);
                }
                Step::Send(entry) => {
                    let (client, endpoint) = (self.client.clone(), self.endpoint.clone());
                    on_the_way.spawn(async move {
                        let sent = send(&client, &endpoint, &entry).await;
                        (entry, sent)
                    });
                }
            }
        }
        self.endpoint.show_pending();
    }

    fn next_step(&self) -> Option<Step> {
        let mut schedule = self.endpoint.schedule();
        Schedule::next(&mut schedule, now_ms())
    }

    fn went(&mut self, entry: &Entry, sent: &Sent) {
        let (endpoint, name) = (&self.endpoint, &self.endpoint.config.name);
        match sent {
            Sent::Taken => {
                endpoint.metrics.webhook_attempt(name, "ok");
                self.remove(entry);
                endpoint.schedule().done(entry, now_ms());
                if std::mem::take(&mut self.failing) {
                    tracing::info!(webhook = self.endpoint.config.name, "webhooks are taken again");
                }
            }
            Sent::Never(reason) => {
                endpoint.metrics.webhook_attempt(name, reason);
                endpoint.lost(reason, "", &entry.call);
                self.remove(entry);
                endpoint.schedule().done(entry, now_ms());
            }
            Sent::Not(reason, stay_away_ms) => {
                endpoint.metrics.webhook_attempt(name, reason);
                let random = getrandom::u64().unwrap_or_default();
                endpoint.schedule().failed(entry, now_ms(), *stay_away_ms, random);
                // Once for each time it begins; the metric counts them all.
                if !std::mem::replace(&mut self.failing, true) {
                    let waiting = self.endpoint.schedule().entries();
                    tracing::warn!(
                        webhook = self.endpoint.config.name,
                        reason,
                        waiting,
                        "webhooks are not taken; they are kept and sent again"
                    );
                }
            }
        }
    }

    fn remove(&self, entry: &Entry) {
        if let Err(error) = self.endpoint.spool.remove(entry) {
            let webhook = &self.endpoint.config.name;
            tracing::error!(webhook, file = entry.file, %error, "a webhook that is over stays on the disk; it will be sent again");
        }
    }
}

async fn send(client: &Client, endpoint: &Endpoint, entry: &Entry) -> Sent {
    let body = match endpoint.spool.read(entry) {
        Ok(body) => body,
        Err(error) => {
            tracing::error!(file = entry.file, %error, "a webhook that was kept cannot be read");
            return Sent::Never("unreadable");
        }
    };
    // Receivers refuse what is signed long ago, so each attempt has its own time.
    let (id, unix_s) = (entry.id(), now_ms() / 1_000);
    let signature = sign::signature(&endpoint.key, &id, unix_s, &body);
    let request = client
        .post(&endpoint.config.url)
        .header(header::CONTENT_TYPE, "application/json")
        .header("webhook-id", id)
        .header("webhook-timestamp", unix_s)
        .header("webhook-signature", signature)
        .body(body);
    match request.send().await {
        Ok(response) => judged(&response),
        Err(error) if error.is_timeout() => Sent::Not("timeout", None),
        Err(error) => {
            tracing::debug!(webhook = endpoint.config.name, error = %error.without_url(), "a webhook was not sent");
            Sent::Not("unreachable", None)
        }
    }
}

/// What the answer says; its body is not read.
fn judged(response: &Response) -> Sent {
    let seconds = || {
        let value = response.headers().get(header::RETRY_AFTER)?;
        value.to_str().ok()?.parse::<u64>().ok()
    };
    match response.status() {
        status if status.is_success() => Sent::Taken,
        StatusCode::GONE => Sent::Never("gone"),
        status if status.is_redirection() => Sent::Not("redirected", None),
        status if status.is_client_error() => Sent::Not("refused", seconds().map(|s| s.saturating_mul(1_000))),
        _ => Sent::Not("failed", seconds().map(|s| s.saturating_mul(1_000))),
    }
}

fn until(wake_ms: Option<u64>) -> Duration {
    let wait = wake_ms.map_or(NAP, |wake| Duration::from_millis(wake.saturating_sub(now_ms())));
    wait.min(NAP)
}
