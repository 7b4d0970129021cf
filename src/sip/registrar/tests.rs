//! A registrar in virtual time.

use super::*;
use crate::sip::flow::Transport;
use crate::sip::proof::Algorithm;

const ALICE: &str = "<sip:alice@10.0.0.7:5060>";

#[test]
fn a_contact_is_kept_with_its_flow_until_it_runs_out() {
    let mut line = Line::new();
    let listed = line.register(&[("Contact", &format!("{ALICE};expires=120"))]).unwrap();
    assert_eq!(listed, [("sip:alice@10.0.0.7:5060".to_owned(), 120)]);
    assert_eq!(line.registrar.find("alice")[0].1, line.flow);
    assert_eq!(line.registrar.find("bob"), []);
    line.now += 119 * SECOND;
    assert_eq!(line.register(&[]).unwrap()[0].1, 1);
    assert_eq!(line.registrar.poll_timeout(), Some(line.now + SECOND));
    line.now += SECOND;
    line.registrar.handle_timeout(line.now);
    assert!(line.registrar.is_empty() && line.registrar.poll_timeout().is_none());
}

#[test]
fn the_time_granted_is_the_contacts_then_the_headers_then_an_hour_within_the_limits() {
    for (param, header, granted) in [
        (";expires=100", "200", Ok(100)),
        ("", "200", Ok(200)),
        ("", "", Ok(1800)),
        (";expires=999999999999", "", Ok(1800)),
        (";expires=59", "200", Err(Rejected::TooBrief(60))),
        ("", "1", Err(Rejected::TooBrief(60))),
        (";expires=soon", "", Err(Rejected::Bad("an Expires is no number"))),
    ] {
        let mut line = Line::new();
        let contact = format!("{ALICE}{param}");
        let mut headers = vec![("Contact", contact.as_str())];
        headers.extend((!header.is_empty()).then_some(("Expires", header)));
        let listed = line.register(&headers).map(|listed| listed[0].1);
        assert_eq!(listed, granted, "{param} {header}");
        assert_eq!(line.registrar.is_empty(), granted.is_err());
    }
}

#[test]
fn a_contact_is_replaced_by_itself_and_by_its_phone_coming_back_from_elsewhere() {
    let mut line = Line::new();
    line.register(&[("Contact", ALICE)]).unwrap();
    line.call_id = "second".into();
    line.register(&[("Contact", "<sip:alice@10.0.0.7:5060;ob>")]).unwrap();
    assert_eq!(line.registrar.len(), 1);
    line.register(&[("Contact", "<sip:alice@10.0.0.8:6000>")]).unwrap();
    let found = line.registrar.find("alice");
    assert_eq!((found.len(), found[0].0.as_str()), (1, "sip:alice@10.0.0.8:6000"));
    line.call_id = "third".into();
    line.register(&[("Contact", "<sip:alice@10.0.0.8:6000;transport=tcp>")])
        .unwrap();
    assert_eq!(line.registrar.len(), 2);
}

#[test]
fn what_comes_late_changes_nothing() {
    let mut line = Line::new();
    line.register(&[("Contact", ALICE)]).unwrap();
    line.sequence -= 1;
    assert_eq!(
        line.register(&[("Contact", ALICE), ("Expires", "0")]),
        Err(Rejected::Bad("its CSeq is not higher than the one before"))
    );
    assert_eq!(line.registrar.len(), 1);
}

#[test]
fn a_phone_leaves_alone_or_with_all() {
    let mut line = Line::new();
    for number in 0..3 {
        line.call_id = format!("call{number}");
        line.register(&[("Contact", &format!("<sip:alice@10.0.0.{number}>"))])
            .unwrap();
    }
    line.call_id = "other".into();
    let left = line.register(&[("Contact", "<sip:alice@10.0.0.1>;expires=0")]).unwrap();
    assert_eq!(left.len(), 2);
    let wrong = Err(Rejected::Bad("Contact: * needs Expires: 0 and nothing beside it"));
    assert_eq!(line.register(&[("Contact", "*")]), wrong);
    assert_eq!(line.register(&[("Contact", "*"), ("Expires", "60")]), wrong);
    assert_eq!(
        line.register(&[("Contact", "*"), ("Expires", "0"), ("Contact", ALICE)]),
        wrong
    );
    assert_eq!(line.register(&[("Contact", "*"), ("Expires", "0")]), Ok(vec![]));
    assert!(line.registrar.is_empty());
}

#[test]
fn one_contact_too_many_takes_the_place_of_the_oldest() {
    let mut line = Line::new();
    for number in 0..5 {
        line.now += SECOND;
        line.call_id = format!("call{number}");
        line.register(&[("Contact", &format!("<sip:alice@10.0.0.{number}>"))])
            .unwrap();
    }
    let found: Vec<_> = line
        .registrar
        .find("alice")
        .into_iter()
        .map(|(uri, _)| uri.to_string())
        .collect();
    assert_eq!(
        found,
        ["sip:alice@10.0.0.4", "sip:alice@10.0.0.3", "sip:alice@10.0.0.2"]
    );
    let four = "<sip:1@h>, <sip:2@h>, <sip:3@h>, <sip:4@h>";
    assert!(matches!(line.register(&[("Contact", four)]), Err(Rejected::Bad(_))));
}

#[test]
fn a_contact_that_cannot_be_called_is_refused_and_nothing_of_its_message_is_done() {
    let mut line = Line::new();
    let long = format!("<sip:{}@h>", "x".repeat(CONTACT_BYTES_MAX));
    for contact in ["<tel:+4930>", "<mailto:a@b>", "<broken", &long] {
        let both = format!("{ALICE}, {contact}");
        assert!(
            matches!(line.register(&[("Contact", &both)]), Err(Rejected::Bad(_))),
            "{contact}"
        );
        assert!(line.registrar.is_empty());
    }
}

#[test]
fn a_closed_connection_takes_its_contacts_along() {
    let mut line = Line::new();
    line.flow = flow(Transport::Tcp, 7);
    line.register(&[("Contact", ALICE)]).unwrap();
    assert_eq!(line.registrar.users_at(&flow(Transport::Tcp, 7)), ["alice"]);
    assert!(line.registrar.users_at(&flow(Transport::Tcp, 8)).is_empty());
    line.registrar.handle_flow_closed(&flow(Transport::Tcp, 8));
    assert_eq!(line.registrar.len(), 1);
    line.registrar.handle_flow_closed(&flow(Transport::Tcp, 7));
    assert!(line.registrar.is_empty());
}

#[test]
fn a_phone_is_known_by_the_address_it_registered_from() {
    let mut line = Line::new();
    line.register(&[("Contact", ALICE)]).unwrap();
    let elsewhere = Flow {
        remote: "192.0.2.7:1".parse().unwrap(),
        ..line.flow
    };
    assert_eq!(line.registrar.users_at(&line.flow), ["alice"]);
    assert!(line.registrar.users_at(&elsewhere).is_empty());
}

const SECOND: Duration = Duration::from_secs(1);

struct Line {
    now: Instant,
    registrar: Registrar,
    flow: Flow,
    call_id: String,
    sequence: u32,
}

impl Line {
    fn new() -> Self {
        let users = vec![Credentials {
            username: "alice".into(),
            password: "wonderland".into(),
            algorithms: vec![Algorithm::Md5],
        }];
        Self {
            now: Instant::now(),
            registrar: Registrar::new(RegistrarSettings {
                networks: Vec::new(),
                users,
                expires_min: 60 * SECOND,
                expires_max: 1800 * SECOND,
                contacts_max: 3,
            }),
            flow: flow(Transport::Udp, 0),
            call_id: "first".into(),
            sequence: 1,
        }
    }

    fn register(&mut self, lines: &[(&str, &str)]) -> Result<Vec<(String, u64)>, Rejected> {
        let mut headers = Headers::new();
        headers.push("Call-ID", &self.call_id);
        headers.push("CSeq", format!("{} REGISTER", self.sequence));
        lines.iter().for_each(|(name, value)| headers.push(name, *value));
        self.sequence += 1;
        let listed = self.registrar.handle_register(self.now, "alice", self.flow, &headers)?;
        Ok(listed
            .into_iter()
            .map(|(uri, left)| (uri.to_string(), left.as_secs()))
            .collect())
    }
}

fn flow(transport: Transport, connection: u64) -> Flow {
    let [local, remote] = ["192.0.2.1:5060", "192.0.2.7:40000"].map(|address| address.parse().unwrap());
    Flow {
        transport,
        local,
        remote,
        connection,
    }
}
