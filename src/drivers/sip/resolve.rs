//! Looking up targets for the endpoint: the [`Locator`] asks, the DNS answers, one task per target.

use std::{panic::AssertUnwindSafe, sync::Arc, time::Duration};

use futures_util::FutureExt;
use tokio::task::JoinSet;

use super::ways::Ways;
use crate::{
    net::resolve::{self, Resolver, Unresolved},
    sip::{
        Hop, QueryId, Target,
        locate::{Answer, Locator, Place, Pointer, Question, Service},
    },
};

/// Targets looked up at once; one more fails at once, and with it what was to be sent there.
const LOOKUPS_MAX: usize = 64;

/// How long one target may take. Past it what has been found has to do.
const LOOKUP_MAX: Duration = Duration::from_secs(5);

/// A target's hops, or why there are none.
pub(super) type Hops = Result<Vec<Hop>, String>;

/// What is being looked up.
#[derive(Debug)]
pub(super) struct Lookups {
    resolver: Arc<Resolver>,
    ways: Ways,
    running: JoinSet<Found>,
}

#[derive(Debug)]
struct Found {
    query: QueryId,
    name: String,
    places: Result<Vec<Place>, String>,
}

impl Lookups {
    /// Asks this resolver, for hops that these ways lead to.
    pub(super) fn new(resolver: Resolver, ways: Ways) -> Self {
        Self {
            resolver: Arc::new(resolver),
            ways,
            running: JoinSet::new(),
        }
    }

    /// Looks a target up. What needs no question is answered at once, the rest by [`Self::next`].
    pub(super) fn start(&mut self, query: QueryId, target: Target) -> Option<Hops> {
        let name = name_of(&target);
        let mut locator = Locator::new(target, self.ways.listening());
        if locator.question().is_none() {
            let places = locator.finish();
            return Some(self.hops(&name, places));
        }
        if self.running.len() >= LOOKUPS_MAX {
            return Some(Err(format!("{name}: {LOOKUPS_MAX} names are being looked up already")));
        }
        let resolver = self.resolver.clone();
        self.running.spawn(async move {
            let locating = AssertUnwindSafe(locate(&resolver, &name, locator)).catch_unwind();
            let places = locating
                .await
                .unwrap_or_else(|_| Err(format!("{name}: the lookup broke")));
            Found { query, name, places }
        });
        None
    }

    /// The next target that has been looked up; never when none is. Cancel-safe.
    pub(super) async fn next(&mut self) -> (QueryId, Hops) {
        loop {
            match self.running.join_next().await {
                Some(Ok(found)) => {
                    let hops = self.hops(&found.name, found.places);
                    return (found.query, hops);
                }
                // A lookup that breaks says so itself; only one that is taken down ends like this.
                Some(Err(_)) => {}
                None => return std::future::pending().await,
            }
        }
    }

    fn hops(&mut self, name: &str, places: Result<Vec<Place>, String>) -> Hops {
        let hop = |place: Place| {
            Some(Hop {
                transport: place.transport,
                local: self.ways.facing(place.transport, place.address)?,
                remote: place.address,
                name: name.to_owned(),
            })
        };
        let hops: Vec<Hop> = places?.into_iter().filter_map(hop).collect();
        match hops.is_empty() {
            true => Err(format!("{name}: no socket of ours faces it")),
            false => Ok(hops),
        }
    }
}

/// What a certificate has to name: the host as the target says it, an IPv6 address without its brackets.
fn name_of(target: &Target) -> String {
    match target.host.ip() {
        Some(ip) => ip.to_string(),
        None => target.host.as_str().trim_end_matches('.').to_owned(),
    }
}

async fn locate(resolver: &Resolver, name: &str, mut locator: Locator) -> Result<Vec<Place>, String> {
    let is_here = resolver.is_of_this_machine(name);
    let asking = async {
        while let Some(question) = locator.question() {
            let answer = ask(resolver, question, is_here).await;
            locator.answer(answer, random);
        }
    };
    let in_time = tokio::time::timeout(LOOKUP_MAX, asking).await.is_ok();
    let places = locator.finish();
    match in_time {
        true => places,
        false => places.map_err(|_| format!("{name}: the DNS did not answer within {} s", LOOKUP_MAX.as_secs())),
    }
}

async fn ask(resolver: &Resolver, question: Question, is_here: bool) -> Answer {
    let answer = match question {
        Question::Pointers(_) if is_here => Ok(Answer::Pointers(Vec::new())),
        Question::Services(_) if is_here => Ok(Answer::Services(Vec::new())),
        Question::Pointers(name) => pointers(resolver, &name).await,
        Question::Services(name) => services(resolver, &name).await,
        Question::Addresses(name) => resolver.addresses(&name).await.map(Answer::Addresses),
    };
    answer.unwrap_or_else(|error| Answer::Failed(error.to_string()))
}

async fn pointers(resolver: &Resolver, name: &str) -> Result<Answer, Unresolved> {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let records = resolver.pointers(name).await?;
    let pointers = records.into_iter().map(|record| Pointer {
        order: record.order,
        preference: record.preference,
        flags: text(&record.flags),
        service: text(&record.services),
        replacement: resolve::written(&record.replacement),
    });
    Ok(Answer::Pointers(pointers.collect()))
}

async fn services(resolver: &Resolver, name: &str) -> Result<Answer, Unresolved> {
    let records = resolver.services(name).await?;
    let services = records.into_iter().map(|record| Service {
        priority: record.priority,
        weight: record.weight,
        port: record.port,
        host: resolve::written(&record.target),
    });
    Ok(Answer::Services(services.collect()))
}

/// Weights are drawn with it; nothing worse than an uneven load comes of a bad one.
fn random() -> u64 {
    getrandom::u64().unwrap_or_default()
}

#[cfg(test)]
mod tests;
