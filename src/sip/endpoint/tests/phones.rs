//! Phones that register here, and their calls.

use super::*;
use crate::sip::admission::Credentials;
use crate::sip::challenge::{Keyring, Proven};
use crate::sip::defence::Settings as Defence;
use crate::sip::endpoint::{Outgoing, Settings};
use crate::sip::message::{Request, Response};
use crate::sip::proof::Algorithm;
use crate::sip::registrar::RegistrarSettings;
use crate::sip::test_line::peer;
use crate::sip::uplink::Login;
use crate::sip::uri::Uri;

const CONTACT: (&str, &str) = ("Contact", "<sip:alice@10.9.9.9:5060>");

#[test]
fn a_phone_registers_with_its_password_and_is_found_where_it_came_from() {
    for algorithm in [Algorithm::Md5, Algorithm::Sha256, Algorithm::Sha512_256] {
        let mut line = line(algorithm);
        line.register(&[CONTACT, ("Expires", "120")]);
        assert_eq!(line.line.phones[0].statuses(), [401, 200]);
        let ok = line.line.phones[0].last();
        assert_eq!(
            ok.headers.first("Contact"),
            Some("<sip:alice@10.9.9.9:5060>;expires=120")
        );
        let (uplink, flow) = line.line.endpoint.way_to_phone("alice").unwrap();
        assert_eq!(
            (uplink.address.as_str(), flow),
            ("sip:alice@10.9.9.9:5060", line.line.phones[0].flow)
        );
        let unknown = line.line.endpoint.way_to_phone("mallory").unwrap_err();
        assert_eq!(unknown.reason, "not_registered");
        assert_eq!(line.line.endpoint.registered_contacts(), 1);
        line.line.run_for(seconds(121));
        assert_eq!(line.line.endpoint.registered_contacts(), 0);
        expect_nothing_left(&mut line.line);
    }
}

#[test]
fn a_repeated_register_gets_the_same_answer_though_its_proof_is_used_up() {
    let mut line = line(Algorithm::Sha256);
    line.register(&[CONTACT]);
    let again = line.last_request.clone().unwrap().to_bytes();
    line.line.inject(line.line.phones[0].flow, &again);
    assert_eq!(line.line.phones[0].statuses(), [401, 200, 200]);
}

#[test]
fn a_wrong_password_or_user_registers_nobody_and_is_reported() {
    for (user, password) in [("alice", "guess"), ("mallory", "wonderland")] {
        let mut line = line(Algorithm::Sha256);
        (line.user, line.password) = (user, password);
        line.register(&[CONTACT]);
        assert_eq!(line.line.phones[0].statuses(), [401, 403]);
        assert_eq!(line.line.refused[0].reason, "auth_failed");
        assert_eq!(line.line.endpoint.registered_contacts(), 0);
    }
}

#[test]
fn wrong_passwords_of_phones_lock_them_out_and_the_right_one_makes_up_for_a_few() {
    let strict = Defence {
        lockout_failures: 3,
        lockout_window: seconds(300),
        lockout: seconds(900),
        ..Defence::OFF
    };
    let mut line = guarded(strict);
    let tries = |line: &mut Line, password: &'static str, count: usize| {
        line.password = password;
        for _ in 0..count {
            line.register(&[CONTACT]);
        }
        std::mem::take(&mut line.line.phones[0].responses).len()
    };
    assert_eq!(tries(&mut line, "guess", 2), 4);
    assert_eq!(tries(&mut line, "wonderland", 1), 2, "which forgives them");
    assert_eq!(tries(&mut line, "guess", 3), 6);
    assert!(line.line.dropped.is_empty());
    line.call();
    assert_eq!(tries(&mut line, "wonderland", 1), 0);
    assert!(
        line.line.dropped.len() >= 2 && line.line.dropped.iter().all(|dropped| dropped.reason == "locked_out"),
        "{:?}",
        line.line.dropped
    );
    line.line.run_for(seconds(901));
    line.line.phones[0].responses.clear();
    assert_eq!(tries(&mut line, "wonderland", 1), 2);
}

#[test]
fn wrong_passwords_of_calls_lock_out_as_well_and_never_where_a_trunk_is() {
    let strict = Defence {
        lockout_failures: 1,
        lockout_window: seconds(300),
        lockout: seconds(900),
        ..Defence::OFF
    };
    let mut line = guarded(strict);
    line.password = "guess";
    line.call();
    assert_eq!(line.line.phones[0].statuses(), [401, 403]);
    line.call();
    assert_eq!(line.line.phones[0].statuses(), [401, 403]);
    assert_eq!(line.line.dropped[0].reason, "locked_out");
    line.line.phones.clear();
    line.line
        .add_phone_at(Transport::Udp, "10.0.0.7:40000", Habits::default());
    line.register(&[CONTACT]);
    line.register(&[CONTACT]);
    assert_eq!(line.line.phones[0].statuses(), [401, 403, 401, 403]);
}

#[test]
fn phones_are_answered_where_strangers_are_not() {
    let silent = Defence {
        silent: true,
        ..Defence::OFF
    };
    let mut line = guarded(silent);
    line.register(&[CONTACT]);
    line.password = "guess";
    line.register(&[CONTACT]);
    assert_eq!(line.line.phones[0].statuses(), [401, 200, 401, 403]);
    line.line.phones.clear();
    line.line
        .add_phone_at(Transport::Udp, "198.51.100.1:5060", Habits::default());
    line.register(&[CONTACT]);
    assert!(line.line.phones[0].responses.is_empty());
}

#[test]
fn nobody_registers_for_somebody_else() {
    let mut line = line(Algorithm::Sha256);
    line.to = "bob";
    line.register(&[CONTACT]);
    assert_eq!(line.line.phones[0].statuses(), [401, 403]);
}

#[test]
fn what_is_wrong_with_a_register_is_said_and_reported() {
    for (headers, status) in [
        (vec![CONTACT, ("Expires", "10")], 423),
        (vec![("Contact", "*")], 400),
        (vec![("Contact", "<tel:+49>")], 400),
    ] {
        let mut line = line(Algorithm::Sha256);
        line.register(&headers);
        assert_eq!(line.line.phones[0].statuses(), [401, status]);
        let min = line.line.phones[0].last().headers.first("Min-Expires");
        assert_eq!(min, (status == 423).then_some("60"));
        assert_eq!(
            (line.line.refused[0].reason, line.line.refused[0].status),
            ("bad_request", status)
        );
    }
}

#[test]
fn registers_from_elsewhere_are_not_served() {
    let mut line = line(Algorithm::Sha256);
    line.line.phones.clear();
    line.line
        .add_phone_at(Transport::Udp, "198.51.100.1:5060", Habits::default());
    line.register(&[CONTACT]);
    assert_eq!(line.line.phones[0].statuses(), [403]);
    assert_eq!(line.line.refused[0].reason, "unknown_source");
}

#[test]
fn a_closed_connection_takes_the_contact_along() {
    let mut line = line(Algorithm::Sha256);
    line.line.phones.clear();
    line.line
        .add_phone_at(Transport::Tcp, "10.0.0.7:40000", Habits::default());
    line.register(&[CONTACT]);
    assert_eq!(line.line.endpoint.registered_contacts(), 1);
    line.line.close_flow(0);
    assert_eq!(line.line.endpoint.registered_contacts(), 0);
}

#[test]
fn a_registered_phone_calls_as_itself_even_where_a_trunk_lists_its_address() {
    let mut line = line(Algorithm::Sha256);
    line.call();
    assert_eq!(
        line.line.take_events(),
        ["Incoming from sip:alice@gw by lan"],
        "not registered yet"
    );
    line.register(&[CONTACT]);
    line.call();
    assert!(
        line.line.phones[0].statuses().ends_with(&[401, 100]),
        "{:?}",
        line.line.phones[0].statuses()
    );
    assert_eq!(line.line.take_events(), ["Incoming from sip:alice@gw by registrar"]);
    line.password = "guess";
    line.call();
    assert!(line.line.phones[0].statuses().ends_with(&[401, 403]));
}

#[test]
fn where_only_phones_are_every_call_is_challenged_as_a_user() {
    let mut line = line(Algorithm::Sha256);
    line.line.phones.clear();
    line.line
        .add_phone_at(Transport::Udp, "172.16.0.7:40000", Habits::default());
    line.call();
    assert_eq!(line.line.phones[0].statuses(), [401, 100]);
    assert_eq!(line.line.take_events(), ["Incoming from sip:alice@gw by registrar"]);
    line.password = "";
    line.user = "";
    line.call();
    assert!(line.line.phones[0].statuses().ends_with(&[401, 403]));
}

#[test]
fn a_registered_phone_is_called_by_the_way_it_came() {
    let mut line = line(Algorithm::Sha256);
    let call = |to: &str| Outgoing {
        trunk: "registrar".to_owned(),
        to: to.to_owned(),
        from: None,
        display_name: None,
        headers: Vec::new(),
        ring_max: seconds(30),
    };
    let now = line.line.now;
    assert_eq!(
        line.line.endpoint.place(now, call("alice")).unwrap_err().reason,
        "not_registered"
    );
    line.register(&[CONTACT]);
    for to in ["alice", "sip:alice@gw"] {
        let leg = line.line.endpoint.place(now, call(to)).unwrap();
        line.line.run_for(Duration::ZERO);
        assert!(line.line.take_events().contains(&"Located 192.0.2.1".to_owned()));
        line.line.command(leg, Command::Offer { sdp: OFFER.to_vec() });
        let mut requests = line.line.phones[0].requests.iter().rev();
        let invite = requests.find(|request| request.method == Method::Invite).unwrap();
        assert_eq!(invite.uri.as_str(), "sip:alice@10.9.9.9:5060");
        assert_eq!(invite.headers.from().unwrap().uri.as_str(), "sip:patchcord@192.0.2.1");
    }
}

/// A line with a registrar for 10/8 and 172.16/12, a trunk `lan` that lists 10/8, and phone 0 at 10.0.0.7.
struct Line {
    line: TestLine,
    user: &'static str,
    password: &'static str,
    to: &'static str,
    count: u32,
    last_request: Option<Request>,
}

fn line(algorithm: Algorithm) -> Line {
    line_with(algorithm, Defence::OFF)
}

/// The same with this defence, and phone 0 where only phones are.
fn guarded(defence: Defence) -> Line {
    let mut line = line_with(Algorithm::Sha256, defence);
    line.line.phones.clear();
    line.line
        .add_phone_at(Transport::Udp, "172.16.0.7:40000", Habits::default());
    line
}

fn line_with(algorithm: Algorithm, defence: Defence) -> Line {
    let user = |name: &str| Credentials {
        username: name.to_owned(),
        password: "wonderland".to_owned(),
        algorithms: vec![algorithm],
    };
    let registrar = RegistrarSettings {
        networks: ["10.0.0.0/8", "172.16.0.0/12"]
            .map(|network| network.parse().unwrap())
            .to_vec(),
        users: ["alice", "bob"].map(user).to_vec(),
        expires_min: seconds(60),
        expires_max: seconds(3600),
        contacts_max: 3,
    };
    let mut line = TestLine::with_settings(Settings {
        peers: vec![peer("lan", &["10.0.0.0/8"])],
        registrar: Some(registrar),
        defence,
        ..Settings::new([7; 32], 1)
    });
    line.add_phone_at(Transport::Udp, "10.0.0.7:40000", Habits::default());
    Line {
        line,
        user: "alice",
        password: "wonderland",
        to: "",
        count: 0,
        last_request: None,
    }
}

impl Line {
    fn register(&mut self, headers: &[(&str, &str)]) {
        let to = if self.to.is_empty() { self.user } else { self.to };
        self.ask(Method::Register, "sip:gw", to, headers);
    }

    fn call(&mut self) {
        self.ask(
            Method::Invite,
            "sip:operator@gw",
            "operator",
            &[("Contact", "<sip:alice@10.9.9.9>")],
        );
    }

    /// Sends a request, and once more with a proof when it is challenged.
    fn ask(&mut self, method: Method, uri: &str, to: &str, headers: &[(&str, &str)]) {
        let mut request = Request::new(method, Uri::read(uri).unwrap())
            .with_header("From", format!("<sip:alice@gw>;tag=f{}", self.count))
            .with_header("To", format!("<sip:{to}@gw>"))
            .with_header("Call-ID", format!("call-{}", self.count));
        headers
            .iter()
            .for_each(|(name, value)| request.headers.push(name, *value));
        self.send(&request, None);
        let challenged = self.line.phones[0].responses.last().cloned();
        if let Some(challenge) = challenged.filter(|response| response.status == 401) {
            self.send(&request, Some(&challenge));
        }
    }

    fn send(&mut self, request: &Request, challenge: Option<&Response>) {
        self.count += 1;
        let mut request = request.clone();
        let transport = self.line.phones[0].flow.transport;
        let branch = format!("z9hG4bK-{}", self.count);
        request
            .headers
            .push_front("Via", format!("SIP/2.0/{transport} 10.9.9.9;rport;branch={branch}"));
        request
            .headers
            .push("CSeq", format!("{} {}", self.count, request.method));
        if let Some(challenge) = challenge {
            let mut keyring = Keyring::default();
            keyring.learn(challenge);
            let login = Login {
                username: self.user.to_owned(),
                password: self.password.to_owned(),
            };
            let proven = Proven {
                method: request.method.as_str(),
                uri: request.uri.as_str(),
                body: b"",
                cnonce: "c",
                count: 0,
            };
            for (name, value) in keyring.prove(&login, &proven) {
                request.headers.push(name, value);
            }
        }
        self.line.inject(self.line.phones[0].flow, &request.to_bytes());
        self.last_request = Some(request);
    }
}
