//! Who is let in, at the exact bounds, and that everything taken comes back.

use super::Direction::{Inbound, Outbound};
use super::*;
use crate::config::{Trunk, TrunkMedia};

#[test]
fn calls_are_let_in_up_to_the_limit_and_again_when_one_has_gone() {
    let (mut room, now) = (room(2, 0, &[]), Instant::now());
    let _first = room.admit(Inbound, "lan", now).unwrap();
    let second = room.admit(Outbound, "lan", now).unwrap();
    let full = room.admit(Inbound, "lan", now).unwrap_err();
    assert_eq!(full.reason(), "calls_max");
    assert_eq!(full.to_string(), "there are 2 calls, and limits.calls_max is 2");
    drop(second);
    assert!(room.check(Inbound, "lan", now).is_ok());
}

#[test]
fn a_draining_gateway_says_so_even_when_it_is_full_and_late() {
    let (mut room, now) = (room(1, 0, &[]), Instant::now());
    room.set_draining(true);
    room.set_lag(Duration::from_secs(1));
    assert_eq!(refused(&mut room, Inbound, "lan", now), "draining");
    room.set_draining(false);
    assert_eq!(refused(&mut room, Inbound, "lan", now), "overloaded_cpu");
}

#[test]
fn lag_refuses_above_its_limit_alone() {
    let (mut room, now) = (room(1, 0, &[]), Instant::now());
    room.set_lag(Duration::from_millis(100));
    assert!(room.check(Inbound, "lan", now).is_ok());
    room.set_lag(Duration::from_micros(100_001));
    let late = room.check(Inbound, "lan", now).unwrap_err();
    assert_eq!(
        late.to_string(),
        "timers fire 100 ms late, and limits.lag_ms_max is 100"
    );
    room.lag_max = None;
    assert!(room.check(Inbound, "lan", now).is_ok());
}

#[test]
fn a_full_trunk_leaves_the_others_alone() {
    let mut room = room(10, 0, &[("a", 1, 0, 0), ("b", 0, 0, 0)]);
    let now = Instant::now();
    let _call = room.admit(Inbound, "a", now).unwrap();
    let full = room.admit(Outbound, "a", now).unwrap_err();
    assert_eq!(full.reason(), "trunk_calls_max");
    assert_eq!(full.to_string(), "the trunk \"a\" has 1 calls, and its calls_max is 1");
    let others: Vec<_> = (0..9).map(|_| room.admit(Inbound, "b", now).unwrap()).collect();
    assert_eq!(refused(&mut room, Inbound, "b", now), "calls_max");
    drop(others);
}

#[test]
fn a_rate_lets_a_seconds_worth_in_at_once_and_refusals_use_nothing_up() {
    let mut room = room(100, 3, &[("a", 0, 2, 0), ("b", 0, 0, 0)]);
    let now = Instant::now();
    let mut calls: Vec<_> = (0..2).map(|_| room.admit(Inbound, "a", now).unwrap()).collect();
    for _ in 0..50 {
        let fast = room.admit(Inbound, "a", now).unwrap_err();
        assert_eq!(fast.reason(), "calls_rate");
        assert!(fast.to_string().ends_with("the limit of the trunk \"a\""), "{fast}");
    }
    calls.push(room.admit(Inbound, "b", now).unwrap());
    let fast = room.admit(Inbound, "b", now).unwrap_err();
    assert_eq!(fast.to_string(), "more than 3 new calls a second, the limit of limits");
    let soon = now + Duration::from_millis(500);
    assert!(room.check(Inbound, "a", soon - Duration::from_nanos(1)).is_err());
    calls.push(room.admit(Inbound, "a", soon).unwrap());
}

#[test]
fn places_kept_free_are_for_calls_that_come_in_and_shrink_as_these_come() {
    let mut room = room(4, 0, &[("a", 3, 0, 2), ("b", 0, 0, 0)]);
    let now = Instant::now();
    let first = room.admit(Outbound, "a", now).unwrap();
    let full = room.admit(Outbound, "a", now).unwrap_err();
    assert_eq!(
        full.to_string(),
        "the trunk \"a\" has 1 calls and 2 kept free for those that come in, and its calls_max is 3"
    );
    let second = room.admit(Outbound, "b", now).unwrap();
    assert_eq!(refused(&mut room, Outbound, "b", now), "calls_max");
    let inbound: Vec<_> = (0..2).map(|_| room.admit(Inbound, "a", now).unwrap()).collect();
    assert_eq!(room.fill().kept_free, 0);
    drop((first, second));
    assert!(room.check(Outbound, "a", now).is_ok());
    drop(inbound);
}

#[test]
fn whatever_comes_and_goes_the_counts_are_those_of_the_calls_there_are() {
    let mut room = room(20, 40, &[("a", 5, 10, 2), ("b", 8, 0, 3), ("c", 0, 25, 0)]);
    let (mut now, mut dice, mut calls) = (Instant::now(), 7_u64, Vec::new());
    let mut refused = 0;
    for _ in 0..20_000 {
        dice = dice
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        let roll = (dice >> 33) as usize;
        let (trunk, direction) = (["a", "b", "c", "none"][roll % 4], [Inbound, Outbound][roll / 4 % 2]);
        match roll / 8 % 3 {
            0 if !calls.is_empty() => drop(calls.swap_remove(roll / 24 % calls.len())),
            _ => match room.admit(direction, trunk, now) {
                Ok(place) => calls.push((trunk, place)),
                Err(_) => refused += 1,
            },
        }
        now += Duration::from_millis((roll / 100 % 30) as u64);
        let of = |name| calls.iter().filter(|(trunk, _)| *trunk == name).count();
        assert_eq!(room.fill().calls_active, calls.len());
        for name in ["a", "b", "c"] {
            assert_eq!(room.trunk_fill(name).unwrap().calls_active, of(name));
        }
        assert!(calls.len() <= 20 && of("a") <= 5 && of("b") <= 8);
    }
    assert!((1_000..15_000).contains(&refused), "{refused}");
    calls.clear();
    assert_eq!(room.fill().calls_active, 0);
    assert_eq!(room.fill().kept_free, 5);
}

fn refused(room: &mut Room, direction: Direction, trunk: &str, now: Instant) -> &'static str {
    room.admit(direction, trunk, now).unwrap_err().reason()
}

fn room(calls_max: usize, calls_per_s: u32, trunks: &[(&str, usize, u32, usize)]) -> Room {
    let mut config = Config::default();
    config.limits.calls_max = calls_max;
    config.limits.calls_per_s = calls_per_s;
    let trunk = |(name, calls_max, calls_per_s, inbound_reserve): &(&str, usize, u32, usize)| Trunk {
        name: (*name).to_owned(),
        from: Vec::new(),
        credentials: None,
        uplink: None,
        session_expires: None,
        messages: true,
        media: TrunkMedia::default(),
        limits: TrunkLimits {
            calls_max: *calls_max,
            calls_per_s: *calls_per_s,
            inbound_reserve: *inbound_reserve,
            transports: Vec::new(),
        },
    };
    config.trunks = trunks.iter().map(trunk).collect();
    Room::new(&config)
}
