//! Rates and lock-outs at their exact bounds, and what a crowd of sources does to the table.

use super::*;

const SETTINGS: Settings = Settings {
    requests_per_s: 4,
    silent: false,
    lockout_failures: 3,
    lockout_window: Duration::from_secs(300),
    lockout: Duration::from_secs(900),
};

#[test]
fn a_stranger_has_a_seconds_worth_of_requests_and_then_the_rate() {
    let (mut defence, now) = (Defence::new(SETTINGS), Instant::now());
    assert_eq!(through(&mut defence, now, "192.0.2.7", 100), 4);
    assert_eq!(screen(&mut defence, now, "192.0.2.7"), Err(REQUEST_RATE));
    assert_eq!(screen(&mut defence, now, "192.0.2.8"), Ok(()));
    let soon = now + Duration::from_millis(250);
    assert_eq!(through(&mut defence, soon, "192.0.2.7", 100), 1);
}

#[test]
fn one_source_is_an_ipv4_address_however_it_is_dressed_or_an_ipv6_64() {
    let block = |text: &str| Block::of(text.parse().unwrap());
    assert_eq!(block("192.0.2.7"), block("::ffff:192.0.2.7"));
    assert_ne!(block("192.0.2.7"), block("192.0.2.8"));
    assert_eq!(block("2001:db8:1:2::1"), block("2001:db8:1:2:ffff::9"));
    assert_ne!(block("2001:db8:1:2::1"), block("2001:db8:1:3::1"));
    assert_ne!(block("0.0.0.0"), block("::"));
}

#[test]
fn responses_are_always_read() {
    let (mut defence, now) = (Defence::new(SETTINGS), Instant::now());
    for _ in 0..100 {
        let screened = defence.screen(now, ip("192.0.2.7"), Opening::Response);
        assert_eq!(screened, Ok(()));
    }
    assert_eq!(defence.remembered(), 0);
}

#[test]
fn the_first_word_tells_what_comes() {
    for (bytes, opening) in [
        (&b"SIP/2.0 200 OK\r\n"[..], Opening::Response),
        (b"BYE sip:a SIP/2.0", Opening::OfCall),
        (b"BYEBYE sip:a SIP/2.0", Opening::Other),
        (b"INVITE sip:a SIP/2.0", Opening::Other),
        (b"ACK", Opening::Other),
        (b"", Opening::Other),
        (b"\xff\x00", Opening::Other),
    ] {
        assert_eq!(Opening::of(bytes), opening, "{bytes:?}");
    }
}

#[test]
fn failed_logins_lock_a_source_out_until_the_time_is_over() {
    let (mut defence, now) = (Defence::new(SETTINGS), Instant::now());
    let source = ip("192.0.2.7");
    assert!(!defence.login_failed(now, source));
    assert!(!defence.login_failed(now, source));
    assert_eq!(screen(&mut defence, now, "192.0.2.7"), Ok(()));
    assert!(defence.login_failed(now, source));
    let last = now + SETTINGS.lockout - Duration::from_nanos(1);
    for at in [now, last] {
        assert_eq!(screen(&mut defence, at, "192.0.2.7"), Err(LOCKED_OUT));
        assert_eq!(defence.screen(at, source, Opening::OfCall), Ok(()));
        assert_eq!(screen(&mut defence, at, "192.0.2.9"), Ok(()));
    }
    assert_eq!(screen(&mut defence, now + SETTINGS.lockout, "192.0.2.7"), Ok(()));
}

#[test]
fn failures_count_within_the_window_alone_and_a_login_forgives_them() {
    let (mut defence, now) = (Defence::new(SETTINGS), Instant::now());
    let source = ip("192.0.2.7");
    defence.login_failed(now, source);
    defence.login_failed(now, source);
    assert!(!defence.login_failed(now + SETTINGS.lockout_window, source));
    defence.login_failed(now + SETTINGS.lockout_window, source);
    defence.logged_in(now + SETTINGS.lockout_window, source);
    assert!(!defence.login_failed(now + SETTINGS.lockout_window, source));
}

#[test]
fn who_has_logged_in_is_not_counted_for_a_while() {
    let (mut defence, now) = (Defence::new(SETTINGS), Instant::now());
    defence.logged_in(now, ip("192.0.2.7"));
    assert_eq!(through(&mut defence, now, "192.0.2.7", 100), 100);
    assert_eq!(through(&mut defence, now + VOUCHED, "192.0.2.7", 100), 4);
}

#[test]
fn what_belongs_to_calls_of_a_locked_source_is_still_limited() {
    let (mut defence, now) = (Defence::new(SETTINGS), Instant::now());
    let source = ip("192.0.2.7");
    for _ in 0..3 {
        defence.login_failed(now, source);
    }
    let through = (0..100)
        .filter(|_| defence.screen(now, source, Opening::OfCall).is_ok())
        .count();
    assert_eq!(through, 4);
}

#[test]
fn without_limits_nothing_is_remembered() {
    let (mut defence, now) = (Defence::new(Settings::OFF), Instant::now());
    assert_eq!(through(&mut defence, now, "192.0.2.7", 1000), 1000);
    assert!(!defence.login_failed(now, ip("192.0.2.7")));
    assert_eq!(defence.remembered(), 0);
}

#[test]
fn a_crowd_of_sources_is_bounded_and_does_not_free_the_locked_ones() {
    let (mut defence, now) = (Defence::new(SETTINGS), Instant::now());
    for _ in 0..3 {
        defence.login_failed(now, ip("192.0.2.7"));
    }
    let crowd = |number: u32| IpAddr::from((0x0a00_0000 + number).to_be_bytes());
    for number in 0..4 * SOURCES_MAX as u32 {
        assert_eq!(defence.screen(now, crowd(number), Opening::Other), Ok(()));
        assert!(defence.remembered() <= SOURCES_MAX);
    }
    assert_eq!(defence.places.len(), SOURCES_MAX);
    assert_eq!(screen(&mut defence, now, "192.0.2.7"), Err(LOCKED_OUT));
}

fn through(defence: &mut Defence, now: Instant, source: &str, requests: usize) -> usize {
    (0..requests).filter(|_| screen(defence, now, source).is_ok()).count()
}

fn screen(defence: &mut Defence, now: Instant, source: &str) -> Result<(), &'static str> {
    defence.screen(now, ip(source), Opening::Other)
}

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}
