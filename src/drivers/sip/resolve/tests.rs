//! Tests of lookups through the real resolver, against a DNS server of the test's own.

use std::time::Duration;

use super::*;
use crate::sip::{Transport, Uri};

#[tokio::test]
async fn an_address_is_answered_at_once() {
    let mut lookups = lookups("127.0.0.1:9");
    let hops = lookups
        .start(QueryId(1), target("sip:127.0.0.1:5080"))
        .unwrap()
        .unwrap();
    assert_eq!(
        hops,
        [Hop {
            transport: Transport::Udp,
            local: "127.0.0.1:5060".parse().unwrap(),
            remote: "127.0.0.1:5080".parse().unwrap(),
            name: "127.0.0.1".to_owned(),
        }]
    );
}

#[tokio::test]
async fn localhost_needs_no_dns() {
    let mut lookups = lookups("127.0.0.1:9");
    assert!(lookups.start(QueryId(7), target("sip:localhost")).is_none());
    let (query, hops) = tokio::time::timeout(Duration::from_secs(20), lookups.next())
        .await
        .unwrap();
    let hops = hops.unwrap();
    assert_eq!(
        (query, hops[0].remote.to_string()),
        (QueryId(7), "127.0.0.1:5060".to_owned())
    );
    assert_eq!(hops[0].name, "localhost");
}

fn lookups(server: &str) -> Lookups {
    let ways = Ways::new(vec![
        (Transport::Udp, "127.0.0.1:5060".parse().unwrap()),
        (Transport::Tcp, "0.0.0.0:5060".parse().unwrap()),
    ]);
    Lookups::new(Resolver::new(server.parse().ok()).unwrap(), ways)
}

fn target(uri: &str) -> Target {
    Target::of(&Uri::read(uri).unwrap()).unwrap()
}
