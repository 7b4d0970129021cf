//! Tests of lookups through the real resolver, against a DNS server of the test's own.

use std::{net::SocketAddr, time::Duration};

use hickory_resolver::proto::{
    op::{Message, ResponseCode},
    rr::{
        Name, RData, Record,
        rdata::{A, AAAA, NAPTR, SRV},
    },
};
use tokio::{net::UdpSocket, task::AbortHandle};

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

#[tokio::test]
async fn pointers_services_and_addresses_are_followed_through_the_dns() {
    let dns = Dns::start(zone()).await;
    let hops = dns.hops("sip:example.com").await.unwrap();
    assert_eq!(
        shown(&hops),
        [
            "TCP 127.0.0.1:5070 example.com",
            "TCP 127.0.0.2:5071 example.com",
            "UDP 127.0.0.1:5062 example.com"
        ]
    );
    let hops = dns.hops("sips:example.com").await.unwrap();
    assert_eq!(shown(&hops), ["TLS 127.0.0.3:5061 example.com"]);
    assert_eq!(hops[0].local, "127.0.0.1:5061".parse::<SocketAddr>().unwrap());
}

#[tokio::test]
async fn a_name_without_services_is_its_addresses_in_the_families_we_have() {
    let dns = Dns::start(zone()).await;
    let hops = dns.hops("sip:plain.example.com").await.unwrap();
    assert_eq!(shown(&hops), ["UDP 127.0.0.9:5060 plain.example.com"]);
    let hops = dns.hops("sip:plain.example.com:5080;transport=tcp").await.unwrap();
    assert_eq!(
        shown(&hops),
        [
            "TCP 127.0.0.9:5080 plain.example.com",
            "TCP [::1]:5080 plain.example.com"
        ]
    );
}

#[tokio::test]
async fn a_name_that_is_not_there_and_a_dns_that_will_not_say_are_told() {
    let dns = Dns::start(zone()).await;
    let error = dns.hops("sip:nowhere.example.com").await.unwrap_err();
    assert!(error.starts_with("nowhere.example.com: it has no address"), "{error}");
    let error = dns.hops("sip:broken.example.com:5060").await.unwrap_err();
    assert!(
        error.contains("the DNS does not say what broken.example.com is"),
        "{error}"
    );
}

#[tokio::test]
async fn only_so_many_names_are_looked_up_at_once_and_each_is_answered_in_time() {
    // Nobody answers there, and nothing says so.
    let silent = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let mut lookups = lookups(&silent.local_addr().unwrap().to_string());
    for query in 0..LOOKUPS_MAX as u64 {
        assert!(lookups.start(QueryId(query), target("sip:slow.example.com")).is_none());
    }
    let refused = lookups.start(QueryId(99), target("sip:slow.example.com")).unwrap();
    assert!(refused.unwrap_err().contains("are being looked up already"));
    let since = std::time::Instant::now();
    let (_, hops) = lookups.next().await;
    assert!(hops.unwrap_err().contains("slow.example.com"));
    assert!(
        since.elapsed() < LOOKUP_MAX + Duration::from_secs(2),
        "{:?}",
        since.elapsed()
    );
}

/// A DNS server with a zone of its own; ends when dropped.
struct Dns {
    address: SocketAddr,
    task: AbortHandle,
}

impl Dns {
    async fn start(zone: Vec<Record>) -> Self {
        let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let address = socket.local_addr().unwrap();
        let task = tokio::spawn(serve(socket, zone)).abort_handle();
        Self { address, task }
    }

    async fn hops(&self, uri: &str) -> Hops {
        let mut lookups = lookups(&self.address.to_string());
        assert!(lookups.start(QueryId(1), target(uri)).is_none());
        let looked_up = tokio::time::timeout(Duration::from_secs(20), lookups.next()).await;
        looked_up.expect("it is answered").1
    }
}

impl Drop for Dns {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn serve(socket: UdpSocket, zone: Vec<Record>) {
    let mut buffer = [0; 4096];
    loop {
        let (length, peer) = socket.recv_from(&mut buffer).await.unwrap();
        let asked = Message::from_vec(&buffer[..length]).unwrap();
        let query = asked.queries[0].clone();
        let mut reply = Message::response(asked.metadata.id, asked.metadata.op_code);
        let is_named = |record: &&Record| record.name == *query.name();
        reply.add_answers(
            zone.iter()
                .filter(is_named)
                .filter(|record| record.record_type() == query.query_type())
                .cloned(),
        );
        reply.metadata.response_code = match zone.iter().any(|record| is_named(&record)) {
            _ if query.name().to_utf8().starts_with("broken.") => ResponseCode::ServFail,
            true => ResponseCode::NoError,
            false => ResponseCode::NXDomain,
        };
        reply.add_query(query);
        socket.send_to(&reply.to_vec().unwrap(), peer).await.unwrap();
    }
}

fn zone() -> Vec<Record> {
    let record = |at: &str, data: RData| Record::from_rdata(name(at), 60, data);
    let pointer = |preference, service: &str, to: &str| {
        let (flags, service) = (Box::from(*b"s"), Box::from(service.as_bytes()));
        let pointer = NAPTR::new(10, preference, flags, service, Box::default(), name(to));
        record("example.com", RData::NAPTR(pointer))
    };
    let service = |at: &str, priority, port, to: &str| record(at, RData::SRV(SRV::new(priority, 10, port, name(to))));
    let address = |at: &str, octet| record(at, RData::A(A::new(127, 0, 0, octet)));
    vec![
        pointer(10, "SIP+D2T", "_sip._tcp.t.example.com"),
        pointer(20, "SIP+D2U", "_sip._udp.u.example.com"),
        pointer(30, "SIPS+D2T", "_sips._tcp.s.example.com"),
        service("_sip._tcp.t.example.com", 20, 5071, "b.example.com"),
        service("_sip._tcp.t.example.com", 10, 5070, "a.example.com"),
        service("_sip._udp.u.example.com", 1, 5062, "a.example.com"),
        service("_sips._tcp.s.example.com", 1, 5061, "c.example.com"),
        address("a.example.com", 1),
        address("b.example.com", 2),
        address("c.example.com", 3),
        address("plain.example.com", 9),
        record("plain.example.com", RData::AAAA(AAAA("::1".parse().unwrap()))),
    ]
}

fn name(text: &str) -> Name {
    Name::from_utf8(format!("{text}.")).unwrap()
}

fn shown(hops: &[Hop]) -> Vec<String> {
    hops.iter()
        .map(|hop| format!("{} {} {}", hop.transport, hop.remote, hop.name))
        .collect()
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
