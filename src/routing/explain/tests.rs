//! What is explained is what happens: each case is explained, and then called for real, through the SIP endpoint and the
//! decisions of the call manager.

use std::collections::BTreeMap;

use super::*;
use crate::config::{self, AllowedTransport};
use crate::routing::Place;
use crate::sip::endpoint::Event;
use crate::sip::proof::Algorithm;
use crate::sip::test_line::TestLine;
use crate::sip::test_phone::{Habits, OFFER};

const CONFIG: &str = r#"
[limits]
calls_max = 5
[[trunk]]
name = "lan"
from = ["10.0.0.0/8", "127.0.0.1", "2001:db8:1::/48"]
[[trunk]]
name = "pbx"
from = ["192.0.2.64/26"]
username = "alice"
password = "env:PASSWORD"
[[trunk]]
name = "secure"
from = ["198.51.100.0/25"]
transports = ["tls", "wss"]
[[trunk]]
name = "full"
from = ["203.0.113.0/25"]
calls_max = 1
[[trunk]]
name = "fast"
from = ["203.0.113.128/25"]
calls_per_s = 1
[[route]]
to = "1*"
agent = "operator"
[[route]]
to = "2*"
trunk = "pbx"
agent = "operator"
[[route]]
to = "3*"
from = "p0@phone.example"
agent = "operator"
[[route]]
to = "4*@pbx.example"
from = "nobody"
agent = "operator"
[agents.operator]
backends = ["operator"]
[backends.operator]
kind = "operator"
"#;

const OPEN: &str = r#"
[[trunk]]
name = "road"
username = "bob"
password = "env:PASSWORD"
transports = ["tls", "udp"]
"#;

const PHONES: &str = r#"
[registrar]
from = ["172.16.0.0/12", "10.0.0.0/8"]
[registrar.users.p0]
password = "env:PASSWORD"
[registrar.users.p1]
password = "env:PASSWORD"
"#;

/// Where from, by what, as whom, to whom, and the reason word; empty when it is answered.
type Case = (
    &'static str,
    Transport,
    Option<&'static str>,
    &'static str,
    &'static str,
);

use Transport::{Tcp, Tls, Udp, Ws, Wss};

const CLOSED_CASES: [Case; 18] = [
    ("10.1.2.3", Udp, None, "sip:100@h", ""),
    ("10.1.2.3", Tcp, None, "sip:100@h", ""),
    ("10.1.2.3", Wss, Some("alice"), "sip:100@h", ""),
    ("10.1.2.3", Udp, None, "tel:100", ""),
    ("10.1.2.3", Udp, None, "sips:100@h", "bad_request"),
    ("10.1.2.3", Udp, None, "sip:200@h", "no_route"),
    ("10.1.2.3", Udp, None, "sip:300@h", ""),
    ("10.1.2.3", Udp, None, "sip:400@pbx.example", "no_route"),
    ("2001:db8:1::7", Udp, None, "sip:100@h", ""),
    ("2001:db8:2::7", Udp, None, "sip:100@h", "unknown_source"),
    ("192.0.2.1", Udp, None, "sip:100@h", ""),
    ("192.0.2.2", Udp, None, "sip:100@h", "unknown_source"),
    ("192.0.2.70", Udp, None, "sip:200@h", "challenged"),
    ("192.0.2.70", Udp, Some("alice"), "sip:200@h", ""),
    ("192.0.2.70", Udp, Some("bob"), "sip:200@h", "auth_failed"),
    ("198.51.100.1", Udp, None, "sip:100@h", "transport_not_allowed"),
    ("198.51.100.1", Tls, None, "sip:100@h", ""),
    ("198.51.100.200", Tls, Some("alice"), "sip:100@h", "unknown_source"),
];

const OPEN_CASES: [Case; 10] = [
    ("8.8.8.8", Udp, None, "sip:100@h", "challenged"),
    ("8.8.8.8", Udp, Some("bob"), "sip:100@h", ""),
    ("8.8.8.8", Tls, Some("bob"), "sip:100@h", ""),
    ("8.8.8.8", Udp, Some("bob"), "sip:900@h", "no_route"),
    ("8.8.8.8", Udp, Some("alice"), "sip:100@h", "auth_failed"),
    ("8.8.8.8", Tcp, Some("bob"), "sip:100@h", "transport_not_allowed"),
    ("8.8.8.8", Ws, None, "sip:100@h", "transport_not_allowed"),
    ("192.0.2.70", Udp, Some("bob"), "sip:100@h", "auth_failed"),
    ("192.0.2.70", Tcp, Some("alice"), "sip:100@h", ""),
    ("10.1.2.3", Ws, None, "sip:100@h", ""),
];

const PHONE_CASES: [Case; 6] = [
    ("172.16.0.9", Udp, None, "sip:100@h", "challenged"),
    ("172.16.0.9", Udp, Some("p0"), "sip:100@h", ""),
    ("172.16.0.9", Tcp, Some("p0"), "sip:200@h", "no_route"),
    ("172.16.0.9", Udp, Some("p1"), "sip:100@h", "auth_failed"),
    ("10.1.2.3", Udp, None, "sip:100@h", ""),
    ("8.8.8.8", Udp, Some("p0"), "sip:100@h", "unknown_source"),
];

#[test]
fn what_is_explained_is_what_happens() {
    for case in CLOSED_CASES {
        expect(&Line::new(CONFIG), case);
    }
    for case in OPEN_CASES {
        expect(&Line::new(&format!("{CONFIG}{OPEN}")), case);
    }
    for case in PHONE_CASES {
        expect(&Line::new(&format!("{CONFIG}{PHONES}")), case);
    }
}

#[test]
fn limits_are_explained_as_they_are_now() {
    for (trunk, source, reason) in [
        ("full", "203.0.113.1", "trunk_calls_max"),
        ("fast", "203.0.113.200", "calls_rate"),
    ] {
        let mut line = Line::new(CONFIG);
        expect(&line, (source, Udp, None, "sip:100@h", ""));
        line.call(trunk);
        expect(&line, (source, Udp, None, "sip:100@h", reason));
        expect(&line, ("10.1.2.3", Udp, None, "sip:100@h", ""));
        (0..4).for_each(|_| line.call("lan"));
        expect(&line, (source, Udp, None, "sip:100@h", "calls_max"));
        line.room.set_draining(true);
        expect(&line, (source, Udp, None, "sip:100@h", "draining"));
    }
}

#[test]
fn a_silent_gateway_gives_strangers_no_answer() {
    let line = Line::new(&format!("[defence]\nsilent = true\n{CONFIG}"));
    let explanation = expect(&line, ("8.8.8.8", Udp, None, "sip:100@h", "unknown_source"));
    assert_eq!(explanation.verdict.status, 0);
    assert_eq!(explanation.lines.last().unwrap(), "verdict: no answer, unknown_source");
}

#[test]
fn every_rule_that_was_looked_at_has_its_line() {
    let line = Line::new(&format!("{CONFIG}{OPEN}"));
    let question = Question::read("sip:p0@phone.example", "sip:300@h", "198.51.100.1:5060", "tls", None).unwrap();
    let explanation = line.explainer.explain(&question, &line.room, line.now);
    assert_eq!(
        explanation.lines,
        [
            "trunk \"lan\": 198.51.100.1 is in none of 10.0.0.0/8, 127.0.0.1/32, 2001:db8:1::/48",
            "trunk \"pbx\": 198.51.100.1 is in none of 192.0.2.64/26",
            "trunk \"secure\": 198.51.100.1 is in its network 198.51.100.0/25",
            "defence: a trunk lists this source, so it is neither counted nor locked out",
            "digest: not asked for, the address is enough",
            "admitted as a call of the trunk \"secure\"",
            "limits of the gateway: 0 calls now, at most 5 calls, any number of new calls a second",
            "limits of the trunk \"secure\": 0 calls now, any number of calls, any number of new calls a second",
            "route[0]: to \"1*\" does not match \"300@h\"",
            "route[1]: trunk \"pbx\" does not match \"secure\"",
            "route[2]: trunk \"*\", to \"3*\" and from \"p0@phone.example\" match",
            "agent \"operator\": its sessions run on operator",
            "media: pcmu, pcma, g722, opus in packets of 20 ms, SRTP accepted by keys or by DTLS",
            "verdict: the agent \"operator\" answers",
        ]
    );
}

#[test]
fn what_a_peer_wrote_cannot_break_a_line() {
    let line = Line::new(CONFIG);
    let question = Question {
        user: Some("a\nverdict: the agent answers".to_owned()),
        ..Question::read("sip:a%0Ab@h", "sip:9%0D%0A@h", "192.0.2.70", "udp", None).unwrap()
    };
    let refused = line
        .explainer
        .explain_refusal(&question, 400, "bad_request", "bad\r\nline");
    let explained = line.explainer.explain(&question, &line.room, line.now).lines;
    let call = line.explainer.explain_call(&question, "pbx", &line.room, None);
    for text in refused.iter().chain(&explained).chain(&call) {
        assert!(!text.contains(char::is_control), "{text:?}");
    }
}

#[test]
fn many_rules_do_not_make_a_long_explanation() {
    let routes = "[[route]]\nto = \"x\"\nagent = \"operator\"\n".repeat(500);
    let line = Line::new(&format!("{routes}{CONFIG}"));
    let explanation = expect(&line, ("10.1.2.3", Udp, None, "sip:100@h", ""));
    assert!(explanation.lines.len() < 2 * LINES_MAX, "{}", explanation.lines.len());
    assert!(
        explanation
            .lines
            .contains(&"437 routes before these do not match".to_owned())
    );
}

/// A gateway's rules, and what goes on.
struct Line {
    explainer: Explainer,
    config: Arc<Config>,
    room: Room,
    now: Instant,
    calls: Vec<Place>,
}

impl Line {
    fn new(text: &str) -> Self {
        let env = BTreeMap::from([("PASSWORD".to_owned(), "wonderland".to_owned())]);
        let config = config::load("f.toml", text, &env, &|_| Err(std::io::ErrorKind::NotFound.into()));
        let config = Arc::new(config.unwrap_or_else(|problems| panic!("{problems}")));
        Self {
            explainer: Explainer::new(config.clone(), peers(&config)),
            room: Room::new(&config),
            config,
            now: Instant::now(),
            calls: Vec::new(),
        }
    }

    fn call(&mut self, trunk: &str) {
        let place = self.room.admit(Direction::Inbound, trunk, self.now).unwrap();
        self.calls.push(place);
    }

    /// The status and the reason word of a real call.
    fn happens(&self, (source, transport, user, to, _): Case) -> (Origin, u16, String) {
        let mut settings = sip::Settings {
            peers: peers(&self.config),
            registrar: registrar(&self.config),
            ..sip::Settings::new([7; 32], 1)
        };
        settings.defence.silent = self.config.defence.silent;
        let mut line = TestLine::with_settings(settings);
        let habits = Habits {
            dials: to.to_owned(),
            login: user.map(|user| (user, "wonderland", Algorithm::Sha256)),
            ..Habits::default()
        };
        let address = SocketAddr::new(source.parse().unwrap(), 40_000).to_string();
        line.add_phone_at(transport, &address, habits);
        line.phone(0, |phone, now| phone.invite(now, Some(OFFER)));
        let origin = line.phones[0].flow.origin();
        let (status, reason) = match (line.events.first(), line.refused.first()) {
            (Some((_, Event::Incoming(invite))), _) => self.served(invite),
            (_, Some(refused)) => (refused.status, refused.reason.to_owned()),
            _ => (line.phones[0].last().status, "challenged".to_owned()),
        };
        (origin, status, reason)
    }

    /// What the call manager decides.
    fn served(&self, invite: &sip::Invite) -> (u16, String) {
        if let Err(full) = self.room.check(Direction::Inbound, &invite.trunk, self.now) {
            return (503, full.reason().to_owned());
        }
        let (to, from) = (called_name(&invite.request_uri), called_name(&invite.from.uri));
        let routes = Routes::from(self.config.as_ref());
        let call = Call {
            trunk: &invite.trunk,
            to: &to,
            from: &from,
        };
        match routes.decide(&call).route {
            Some(_) => (200, String::new()),
            None => (404, NO_ROUTE.to_owned()),
        }
    }
}

fn expect(line: &Line, case: Case) -> Explanation {
    let (_, transport, user, to, reason) = case;
    let (origin, status, happened) = line.happens(case);
    let question = Question {
        from: Uri::read("sip:p0@phone.example").unwrap(),
        to: Uri::read(to).unwrap(),
        origin,
        transport,
        user: user.map(str::to_owned),
    };
    let explanation = line.explainer.explain(&question, &line.room, line.now);
    let Verdict {
        status: told_status,
        reason: told,
        ..
    } = explanation.verdict;
    assert_eq!(
        (happened.as_str(), told),
        (reason, reason),
        "{case:?}\n{:#?}",
        explanation.lines
    );
    assert_eq!(status, told_status, "{case:?}");
    explanation
}

fn peers(config: &Config) -> Vec<sip::Peer> {
    let peer = |trunk: &config::Trunk| sip::Peer {
        name: trunk.name.clone(),
        networks: trunk.from.clone(),
        credentials: trunk.credentials.as_ref().map(|login| sip::Credentials {
            username: login.username.clone(),
            password: login.password.reveal().to_owned(),
            algorithms: vec![Algorithm::Sha256],
        }),
        uplink: None,
        session_expires: Some(sip::SESSION_EXPIRES),
        transports: trunk.limits.transports.iter().map(transport).collect(),
    };
    config.trunks.iter().map(peer).collect()
}

fn registrar(config: &Config) -> Option<sip::RegistrarSettings> {
    let configured = Some(&config.registrar).filter(|registrar| registrar.is_open())?;
    let user = |(name, user): (&String, &config::RegistrarUser)| sip::Credentials {
        username: name.clone(),
        password: user.password.reveal().to_owned(),
        algorithms: vec![Algorithm::Sha256],
    };
    Some(sip::RegistrarSettings {
        networks: configured.from.clone(),
        users: configured.users.iter().map(user).collect(),
        expires_min: configured.expires_min,
        expires_max: configured.expires_max,
        contacts_max: configured.contacts_max,
    })
}

fn transport(allowed: &AllowedTransport) -> Transport {
    Transport::read(&allowed.to_string()).unwrap()
}
