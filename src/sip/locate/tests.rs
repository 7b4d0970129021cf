//! Tests of the search for a target's places, against a DNS made of a table.

use super::*;
use crate::sip::Uri;

#[test]
fn an_address_needs_no_question() {
    assert_eq!(places("sip:192.0.2.7", &[]), ["UDP 192.0.2.7:5060"]);
    assert_eq!(places("sip:192.0.2.7:5070;transport=tcp", &[]), ["TCP 192.0.2.7:5070"]);
    assert_eq!(places("sips:[2001:db8::1]", &[]), ["TLS [2001:db8::1]:5061"]);
    assert_eq!(places("sips:192.0.2.7;transport=ws", &[]), ["WSS 192.0.2.7:443"]);
}

#[test]
fn a_port_or_a_name_of_one_label_asks_for_addresses_alone() {
    let dns = [addresses("pbx.example.com", &["192.0.2.1", "192.0.2.2"])];
    assert_eq!(
        places("sip:pbx.example.com:5080", &dns),
        ["UDP 192.0.2.1:5080", "UDP 192.0.2.2:5080"]
    );
    let dns = [addresses("pbx", &["192.0.2.1"])];
    assert_eq!(places("sip:pbx;transport=tls", &dns), ["TLS 192.0.2.1:5061"]);
}

#[test]
fn a_named_transport_asks_for_its_service_and_then_for_the_host() {
    let dns = [
        services("_sip._tcp.example.com", &[(10, 0, 5070, "a.example.com")]),
        addresses("a.example.com", &["192.0.2.1"]),
        addresses("example.com", &["192.0.2.9"]),
    ];
    assert_eq!(places("sip:example.com;transport=tcp", &dns), ["TCP 192.0.2.1:5070"]);
    assert_eq!(places("sips:example.com", &dns), ["TLS 192.0.2.9:5061"]);
}

#[test]
fn pointers_say_what_is_spoken_and_by_which_names() {
    let dns = [
        pointers(
            "example.com",
            &[
                (10, 20, "s", "SIP+D2U", "_sip._udp.u.example.com"),
                (10, 10, "S", "sips+d2t", "_sips._tcp.t.example.com"),
                (5, 1, "s", "SIP+D2S", "_sip._sctp.example.com"),
                (20, 1, "s", "SIP+D2T", "_sip._tcp.shadowed.example.com"),
                (1, 1, "u", "E2U+sip", ""),
            ],
        ),
        services("_sips._tcp.t.example.com", &[(1, 1, 5061, "t.example.com")]),
        services("_sip._udp.u.example.com", &[(1, 1, 5062, "u.example.com")]),
        services("_sip._tcp.shadowed.example.com", &[(1, 1, 5063, "t.example.com")]),
        addresses("t.example.com", &["192.0.2.1"]),
        addresses("u.example.com", &["192.0.2.2"]),
    ];
    assert_eq!(
        places("sip:example.com", &dns),
        ["TLS 192.0.2.1:5061", "UDP 192.0.2.2:5062"]
    );
    assert_eq!(places("sips:example.com", &dns), ["TLS 192.0.2.1:5061"]);
}

#[test]
fn without_pointers_each_transport_we_listen_on_is_asked_for() {
    let dns = [
        services("_sip._udp.example.com", &[(1, 1, 5060, "a.example.com")]),
        services("_sip._tcp.example.com", &[(1, 1, 5061, "a.example.com")]),
        addresses("a.example.com", &["192.0.2.1", "2001:db8::1"]),
    ];
    assert_eq!(
        places("sip:example.com", &dns),
        [
            "UDP 192.0.2.1:5060",
            "UDP [2001:db8::1]:5060",
            "TCP 192.0.2.1:5061",
            "TCP [2001:db8::1]:5061"
        ]
    );
    let udp4 = Listening {
        transport: Transport::Udp,
        is_ipv4: true,
    };
    assert_eq!(
        search("sip:example.com", &dns, &[udp4]).unwrap(),
        ["UDP 192.0.2.1:5060"]
    );
}

#[test]
fn lower_priorities_come_first_and_weights_are_drawn_within_one() {
    let records = [(20, 1, 4, "d"), (10, 0, 1, "a"), (10, 60, 2, "b"), (10, 20, 3, "c")];
    let drawn = |number: u64| -> Vec<u16> {
        let records = records.iter().map(|one| service(*one)).collect();
        super::drawn(records, || number).iter().map(|one| one.port).collect()
    };
    assert_eq!(drawn(0), [1, 2, 3, 4]);
    assert_eq!(drawn(60), [2, 3, 1, 4]);
    assert_eq!(drawn(80), [3, 2, 1, 4]);
    let mut first = [0_u32; 5];
    for number in 0..8100_u64 {
        first[usize::from(drawn(number).first().copied().unwrap())] += 1;
    }
    assert!(
        (5500..6500).contains(&first[2]) && (1700..2300).contains(&first[3]),
        "{first:?}"
    );
    assert!((50..200).contains(&first[1]) && first[4] == 0, "{first:?}");
}

#[test]
fn a_service_that_is_expressly_not_there_is_not_looked_for_at_the_host() {
    let dns = [
        services("_sip._tcp.example.com", &[(0, 0, 0, "")]),
        addresses("example.com", &["192.0.2.9"]),
    ];
    let error = search("sip:example.com;transport=tcp", &dns, &everything()).unwrap_err();
    assert!(error.contains("none of its services"), "{error}");
}

#[test]
fn a_dns_that_fails_for_services_is_still_asked_for_the_host() {
    let dns = [
        ("example.com NAPTR".to_owned(), Answer::Failed("timed out".to_owned())),
        addresses("example.com", &["192.0.2.9"]),
    ];
    assert_eq!(places("sip:example.com", &dns), ["UDP 192.0.2.9:5060"]);
    let error = search("sip:example.com", &dns[..1], &everything()).unwrap_err();
    assert_eq!(error, "example.com: timed out");
}

#[test]
fn a_contradiction_or_a_transport_we_lack_is_told() {
    let error = search("sips:example.com;transport=udp", &[], &everything()).unwrap_err();
    assert_eq!(error, "example.com: sips: cannot go over UDP");
    let error = search("sip:192.0.2.7", &[], &[]).unwrap_err();
    assert!(error.contains("no address that can be reached"), "{error}");
    assert_eq!(
        search("sip:192.0.2.7;transport=tls", &[], &[]).unwrap(),
        ["TLS 192.0.2.7:5061"]
    );
}

#[test]
fn an_endless_zone_ends_at_the_bounds() {
    let many: Vec<_> = (0..30).map(|n| (1, 1, 5060 + n, "a.example.com")).collect();
    let dns = [
        services("_sip._tcp.example.com", &many),
        addresses("a.example.com", &["192.0.2.1", "192.0.2.2"]),
    ];
    assert_eq!(places("sip:example.com;transport=tcp", &dns).len(), PLACES_MAX);
    let error = search("sip:example.com;transport=tcp", &dns[..1], &everything()).unwrap_err();
    assert!(error.contains("none of its services"), "{error}");
}

type Entry = (String, Answer);

fn places(uri: &str, dns: &[Entry]) -> Vec<String> {
    search(uri, dns, &everything()).unwrap()
}

fn search(uri: &str, dns: &[Entry], listening: &[Listening]) -> Result<Vec<String>, String> {
    let target = Target::of(&Uri::read(uri).unwrap()).unwrap();
    let mut locator = Locator::new(target, listening.to_vec());
    let mut asked = 0;
    while let Some(question) = locator.question() {
        asked += 1;
        assert!(asked <= QUESTIONS_MAX);
        let (key, nothing) = match question {
            Question::Pointers(name) => (format!("{name} NAPTR"), Answer::Pointers(Vec::new())),
            Question::Services(name) => (format!("{name} SRV"), Answer::Services(Vec::new())),
            Question::Addresses(name) => (format!("{name} A"), Answer::Addresses(Vec::new())),
        };
        let found = dns.iter().find(|(name, _)| *name == key);
        locator.answer(found.map_or(nothing, |(_, answer)| answer.clone()), || 0);
    }
    let places = locator.finish()?;
    Ok(places
        .iter()
        .map(|place| format!("{} {}", place.transport, place.address))
        .collect())
}

fn everything() -> Vec<Listening> {
    let both = |transport| [true, false].map(|is_ipv4| Listening { transport, is_ipv4 });
    Transport::ALL.into_iter().flat_map(both).collect()
}

fn addresses(name: &str, addresses: &[&str]) -> Entry {
    let addresses = addresses.iter().map(|one| one.parse().unwrap()).collect();
    (format!("{name} A"), Answer::Addresses(addresses))
}

fn services(name: &str, services: &[(u16, u16, u16, &str)]) -> Entry {
    let services = services.iter().map(|one| service(*one)).collect();
    (format!("{name} SRV"), Answer::Services(services))
}

fn service((priority, weight, port, host): (u16, u16, u16, &str)) -> Service {
    Service {
        priority,
        weight,
        port,
        host: host.to_owned(),
    }
}

fn pointers(name: &str, pointers: &[(u16, u16, &str, &str, &str)]) -> Entry {
    let pointers = pointers
        .iter()
        .map(|(order, preference, flags, service, replacement)| Pointer {
            order: *order,
            preference: *preference,
            flags: (*flags).to_owned(),
            service: (*service).to_owned(),
            replacement: (*replacement).to_owned(),
        });
    (format!("{name} NAPTR"), Answer::Pointers(pointers.collect()))
}
