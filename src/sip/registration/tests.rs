//! A registration in virtual time, with answers made by hand.

use super::*;
use crate::sip::flow::{OPENED_BY_US, Transport};
use crate::sip::method::Method;

const CONTACT: &str = "<sip:alice@192.0.2.1:5060;line=x7>";

#[test]
fn it_registers_and_refreshes_in_time_under_one_call_id_with_rising_numbers() {
    for dice in [0, DICE_MAX] {
        let mut line = Line::new(3600, dice);
        let first = line.register();
        assert_eq!((first.expires, first.sequence), (3600 * SECOND, 1));
        line.answer(&ok(&format!("{CONTACT};expires=600"), ""));
        assert_eq!(line.standing(), (true, Some(600 * SECOND), String::new()));
        let due = line.next_register();
        assert!((479..=541).contains(&due.as_secs()), "{due:?}");
        let second = line.register();
        assert_eq!((&second.call_id, &second.tag), (&first.call_id, &first.tag));
        assert!(second.sequence > first.sequence);
        assert!(line.machine.standing(line.now).registered);
    }
}

#[test]
fn the_refresh_comes_some_seconds_before_the_end_of_a_short_registration() {
    for (granted, latest) in [(3600, 3240), (60, 54), (30, 25), (8, 4), (1, 1)] {
        for dice in [0, 100, DICE_MAX] {
            let after = refresh_after(granted * SECOND, dice);
            assert!(
                after <= latest * SECOND && after >= granted * SECOND * 4 / 10,
                "{granted} {after:?}"
            );
        }
    }
}

#[test]
fn the_validity_is_the_one_of_our_contact_then_of_the_only_one_then_of_expires() {
    let other = "<sip:bob@h>;expires=7";
    for (contacts, expires, validity) in [
        (format!("{other}, {CONTACT};expires=90"), "40", 90),
        (
            format!("{other}, <sip:alice@198.51.100.7:1024;line=x7>;expires=80"),
            "",
            80,
        ),
        ("<sip:alice@198.51.100.7:1024>;expires=70".to_owned(), "40", 70),
        (CONTACT.to_owned(), "40", 40),
        (other.replace("7", "50"), "40", 50),
        (String::new(), "40", 40),
        (String::new(), "", 3600),
        (format!("{CONTACT};expires=99999999999999999999"), "", 86_400),
    ] {
        let mut line = Line::new(3600, 0);
        line.register();
        line.answer(&ok(&contacts, expires));
        assert_eq!(line.standing().1, Some(validity * SECOND), "{contacts} {expires}");
    }
}

#[test]
fn a_registrar_that_keeps_nothing_is_a_failure() {
    let mut line = Line::new(3600, 0);
    line.register();
    line.answer(&ok(&format!("{CONTACT};expires=0"), ""));
    let (registered, _, error) = line.standing();
    assert!(!registered && error.contains("not kept"), "{error}");
    assert!(line.next_register() >= BACK_OFF_MAX / 2);
}

#[test]
fn waits_after_failures_double_up_to_five_minutes_and_are_spread() {
    for dice in [0, DICE_MAX] {
        let mut line = Line::new(3600, dice);
        let mut whole = BACK_OFF_FIRST;
        for _ in 0..14 {
            line.register();
            line.machine.handle_failure(line.now, "nobody answers", dice);
            let waited = line.next_register();
            assert!(waited >= whole / 2 && waited <= whole, "{waited:?} of {whole:?}");
            assert_eq!(waited == whole, dice == DICE_MAX);
            whole = (whole * 2).min(BACK_OFF_MAX);
        }
        assert_eq!(line.standing(), (false, None, "nobody answers".to_owned()));
        line.register();
        line.answer(&ok(&format!("{CONTACT};expires=600"), ""));
        assert_eq!(line.standing().2, "");
        line.run_until_register();
        line.machine.handle_failure(line.now, "again", dice);
        assert!(line.next_register() <= BACK_OFF_FIRST);
    }
}

#[test]
fn a_failed_refresh_leaves_the_registration_valid_until_it_runs_out() {
    let mut line = Line::new(3600, 0);
    line.register();
    line.answer(&ok(&format!("{CONTACT};expires=100"), ""));
    line.run_until_register();
    line.machine.handle_failure(line.now, "down", 0);
    assert!(line.machine.take_change());
    assert!(line.standing().0);
    while line.machine.valid.is_some() {
        line.run_until_register();
        line.machine.handle_failure(line.now, "down", 0);
    }
    assert!(!line.standing().0);
    assert!(line.now >= line.start + 100 * SECOND && line.now < line.start + 150 * SECOND);
}

#[test]
fn what_time_does_not_heal_is_tried_again_slowly_with_the_error_visible() {
    for status in [403, 404, 401, 604] {
        let mut line = Line::new(3600, 0);
        line.register();
        line.answer(&response(status));
        let (registered, _, error) = line.standing();
        assert!(!registered && error.starts_with(&status.to_string()), "{error}");
        assert!(line.machine.take_change() && !line.machine.take_change());
        let waited = line.next_register();
        assert!(waited >= BACK_OFF_MAX / 2 && waited <= BACK_OFF_MAX);
    }
}

#[test]
fn retry_after_is_kept_within_reason() {
    for (header, least, most) in [("120 (busy)", 60, 120), ("99999999", 1800, 3600), ("soon", 0, 1)] {
        let mut line = Line::new(3600, DICE_MAX);
        line.register();
        line.answer(&response(503).with_header("Retry-After", header));
        let waited = line.next_register();
        assert!(
            waited >= least * SECOND && waited <= most * SECOND,
            "{header} {waited:?}"
        );
    }
}

#[test]
fn an_interval_too_brief_is_raised_at_once_and_only_upwards() {
    let mut line = Line::new(60, 0);
    line.register();
    line.answer(&response(423).with_header("Min-Expires", "300"));
    assert_eq!(line.register().expires, 300 * SECOND);
    line.answer(&response(423).with_header("Min-Expires", "300"));
    assert!(line.next_register() >= BACK_OFF_FIRST / 2, "no circle");
    line.register();
    line.answer(&response(423).with_header("Min-Expires", "99999999"));
    assert!(line.standing().2.starts_with("423"));
}

#[test]
fn redirections_are_followed_and_not_in_circles() {
    let mut line = Line::new(60, 0);
    assert_eq!(line.register().address.as_str(), "sip:registrar.example");
    for hop in 0..REDIRECTS_MAX {
        line.answer(&response(302).with_header("Contact", format!("<sip:other{hop}.example;transport=tcp>")));
        let address = line.register().address;
        assert_eq!(address.as_str(), format!("sip:other{hop}.example;transport=tcp"));
    }
    line.answer(&response(302).with_header("Contact", "<sip:again.example>"));
    assert!(line.next_register() > Duration::ZERO);
    assert_eq!(line.register().address.as_str(), "sip:registrar.example");
    line.answer(&response(301).with_header("Contact", "<tel:+49>"));
    assert!(line.standing().2.starts_with("301"));
}

#[test]
fn a_closed_connection_is_replaced_at_once_but_not_in_a_hurry() {
    let mut line = Line::new(3600, 0);
    line.flow = flow(Transport::Tcp, 1);
    line.register();
    line.answer(&ok(CONTACT, "600"));
    line.now += 60 * SECOND;
    line.machine.handle_flow_closed(line.now, &flow(Transport::Tcp, 2), 0);
    assert!(line.standing().0);
    line.machine.handle_flow_closed(line.now, &line.flow, 0);
    assert!(!line.standing().0 && line.machine.take_change());
    assert_eq!(line.next_register(), Duration::ZERO);
    line.register();
    line.answer(&ok(CONTACT, "600"));
    line.machine.handle_flow_closed(line.now, &line.flow, 0);
    assert!(line.next_register() >= BACK_OFF_FIRST / 2);
}

#[test]
fn the_way_to_the_registrar_is_kept_open_until_it_is_lost() {
    for (transport, most) in [
        (Transport::Udp, KEEP_ALIVE_DATAGRAM),
        (Transport::Tls, KEEP_ALIVE_CONNECTION),
    ] {
        let mut line = Line::new(3600, 0);
        line.flow = flow(transport, 1);
        line.register();
        line.answer(&ok(CONTACT, "3600"));
        for _ in 0..5 {
            let before = line.now;
            line.now = line.machine.poll_timeout().unwrap();
            assert_eq!(
                line.machine.handle_timeout(line.now, 0),
                Some(Task::KeepAlive(line.flow))
            );
            assert_eq!(line.machine.handle_timeout(line.now, 0), None);
            let waited = line.now - before;
            assert!(waited <= most && waited >= most * 8 / 10, "{waited:?}");
        }
    }
}

#[test]
fn a_request_from_the_registrar_is_known_by_its_way() {
    let mut line = Line::new(3600, 0);
    let other_port = Flow {
        remote: "192.0.2.7:9".parse().unwrap(),
        ..line.flow
    };
    assert!(!line.machine.is_way_of(&line.flow), "not registered yet");
    line.register();
    line.answer(&ok(CONTACT, "600"));
    assert!(line.machine.is_way_of(&line.flow) && !line.machine.is_way_of(&other_port));
    assert!(!line.machine.is_way_of(&flow(Transport::Tcp, 1)));
    line.machine.valid.as_mut().unwrap().flow = flow(Transport::Tcp, 1);
    assert!(line.machine.is_way_of(&flow(Transport::Tcp, 1)));
    assert!(!line.machine.is_way_of(&flow(Transport::Tcp, 2)));
}

#[test]
fn service_routes_are_kept_while_we_are_registered() {
    let mut line = Line::new(3600, 0);
    line.register();
    let routes = "<sip:p1;lr>, <sip:p2;lr>";
    line.answer(
        &ok(CONTACT, "600")
            .with_header("Service-Route", routes)
            .with_header("Service-Route", "<sip:p3;lr>"),
    );
    let kept: Vec<_> = line.machine.service_routes().iter().map(ToString::to_string).collect();
    assert_eq!(kept, ["<sip:p1;lr>", "<sip:p2;lr>", "<sip:p3;lr>"]);
    line.run_until_register();
    line.answer(&ok(CONTACT, "600").with_header("Service-Route", "<broken"));
    assert!(line.machine.service_routes().is_empty());
}

#[test]
fn leaving_takes_the_registration_back_and_ends() {
    let mut line = Line::new(3600, 0);
    line.register();
    line.answer(&ok(CONTACT, "600"));
    line.machine.leave(line.now);
    assert_eq!(line.register().expires, Duration::ZERO);
    line.answer(&ok("", ""));
    assert!(line.machine.is_over() && line.machine.poll_timeout().is_none());
    assert!(!line.standing().0 && line.machine.take_change());
}

#[test]
fn leaving_while_asking_waits_for_the_answer_and_takes_it_back_then() {
    let mut line = Line::new(3600, 0);
    line.register();
    line.machine.leave(line.now);
    assert!(!line.machine.is_over());
    line.answer(&ok(CONTACT, "600"));
    assert_eq!(line.register().expires, Duration::ZERO);
    line.machine.handle_failure(line.now, "nobody answers", 0);
    assert!(line.machine.is_over());
}

#[test]
fn leaving_where_we_are_not_registered_ends_at_once() {
    let mut line = Line::new(3600, 0);
    line.machine.leave(line.now);
    assert!(line.machine.is_over());
    assert_eq!(line.machine.handle_timeout(line.now + 999 * SECOND, 0), None);
}

const SECOND: Duration = Duration::from_secs(1);

struct Line {
    start: Instant,
    now: Instant,
    dice: u64,
    flow: Flow,
    machine: Registration,
    asked: Duration,
}

impl Line {
    fn new(expires_s: u32, dice: u64) -> Self {
        let now = Instant::now();
        let address = Uri::read("sip:registrar.example").unwrap();
        Self {
            start: now,
            now,
            dice,
            flow: flow(Transport::Udp, 0),
            machine: Registration::new(address, expires_s * SECOND, now, "call".into(), "tag".into()),
            asked: Duration::ZERO,
        }
    }

    /// Lets time pass up to the next REGISTER.
    fn run_until_register(&mut self) -> Asking {
        loop {
            self.now = self.now.max(self.machine.poll_timeout().unwrap());
            if let Some(Task::Register(asking)) = self.machine.handle_timeout(self.now, self.dice) {
                self.asked = asking.expires;
                return *asking;
            }
        }
    }

    fn register(&mut self) -> Asking {
        self.run_until_register()
    }

    fn answer(&mut self, response: &Response) {
        let sent = Request::new(Method::Register, Uri::read("sip:h").unwrap())
            .with_header("Contact", CONTACT)
            .with_header("CSeq", format!("{} REGISTER", self.machine.sequence))
            .with_header("Expires", self.asked.as_secs().to_string());
        self.machine
            .handle_answer(self.now, &sent, self.flow, response, self.dice);
    }

    fn next_register(&self) -> Duration {
        match self.machine.phase {
            Phase::Waiting(at) => at - self.now,
            other => panic!("{other:?}"),
        }
    }

    fn standing(&self) -> (bool, Option<Duration>, String) {
        let Standing {
            registered,
            expires,
            error,
        } = self.machine.standing(self.now);
        (registered, expires, error)
    }
}

fn ok(contacts: &str, expires: &str) -> Response {
    let mut response = response(200);
    if !contacts.is_empty() {
        response.headers.push("Contact", contacts);
    }
    if !expires.is_empty() {
        response.headers.push("Expires", expires);
    }
    response
}

fn response(status: u16) -> Response {
    Response::standard(&Request::new(Method::Register, Uri::read("sip:h").unwrap()), status)
}

fn flow(transport: Transport, connection: u64) -> Flow {
    let [local, remote] = ["192.0.2.1:5060", "192.0.2.7:5060"].map(|address| address.parse().unwrap());
    Flow {
        transport,
        local,
        remote,
        connection: OPENED_BY_US + connection,
    }
}
