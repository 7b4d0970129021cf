//! Packets in every order but the right one.

use super::*;

#[test]
fn packets_in_order_come_straight_out() {
    let mut reorder = Reorder::new();
    let now = Instant::now();
    for index in 0..200_000_u32 {
        let arrival = reorder.push(now, &packet(index));
        assert_eq!(arrival, if index == 0 { Arrival::Restart } else { Arrival::Next });
        assert_eq!(drain(&mut reorder, now), [Out::Packet(index)]);
        assert_eq!(reorder.poll_timeout(), None);
    }
}

#[test]
fn an_overtaken_packet_takes_its_place_and_nobody_waits_afterwards() {
    let mut reorder = Reorder::new();
    let now = Instant::now();
    assert_eq!(feed(&mut reorder, now, [65_534, 65_536, 65_537]), [Out::Packet(65_534)]);
    assert!(reorder.poll_timeout().is_some());
    let released = feed(&mut reorder, now, [65_535]);
    assert_eq!(
        released,
        [Out::Packet(65_535), Out::Packet(65_536), Out::Packet(65_537)]
    );
    assert_eq!(reorder.poll_timeout(), None);
}

#[test]
fn a_gap_is_given_up_at_its_deadline_and_not_before() {
    let mut reorder = Reorder::new();
    let now = Instant::now();
    feed(&mut reorder, now, [1, 4, 5]);
    let deadline = reorder.poll_timeout().unwrap();
    assert_eq!(deadline, now + WAIT_MIN);
    assert_eq!(drain(&mut reorder, deadline - Duration::from_micros(1)), []);
    assert_eq!(
        drain(&mut reorder, deadline),
        [Out::Lost(2), Out::Packet(4), Out::Packet(5)]
    );
}

#[test]
fn the_wait_follows_the_jitter_within_its_bounds() {
    let mut reorder = Reorder::new();
    let now = Instant::now();
    for (jitter_ms, wait_ms) in [(0, 20), (10, 30), (15, 45), (500, 60)] {
        reorder.set_jitter(Duration::from_millis(jitter_ms));
        reorder.push(now, &packet(0));
        drain(&mut reorder, now);
        reorder.push(now, &packet(2));
        assert_eq!(reorder.poll_timeout(), Some(now + Duration::from_millis(wait_ms)));
        reorder = Reorder::new();
    }
}

#[test]
fn two_gaps_wait_each_for_its_own_time() {
    let mut reorder = Reorder::new();
    let start = Instant::now();
    let later = start + Duration::from_millis(15);
    feed(&mut reorder, start, [0, 2]);
    feed(&mut reorder, later, [4]);
    assert_eq!(drain(&mut reorder, start + WAIT_MIN), [Out::Lost(1), Out::Packet(2)]);
    assert_eq!(reorder.poll_timeout(), Some(later + WAIT_MIN));
    assert_eq!(drain(&mut reorder, later + WAIT_MIN), [Out::Lost(1), Out::Packet(4)]);
}

#[test]
fn duplicates_and_late_packets_are_told_apart() {
    let mut reorder = Reorder::new();
    let now = Instant::now();
    feed(&mut reorder, now, [0, 1, 3]);
    assert_eq!(reorder.push(now, &packet(3)), Arrival::Duplicate);
    assert_eq!(reorder.push(now, &packet(1)), Arrival::Duplicate);
    drain(&mut reorder, now + WAIT_MAX);
    assert_eq!(reorder.push(now, &packet(2)), Arrival::Late);
    assert_eq!(reorder.push(now, &packet(3)), Arrival::Duplicate);
    assert_eq!(drain(&mut reorder, now), []);
}

#[test]
fn a_full_queue_gives_the_gap_up_at_once() {
    let mut reorder = Reorder::new();
    let now = Instant::now();
    feed(&mut reorder, now, [0]);
    let ahead: Vec<u32> = (2..2 + HELD_MAX as u32).collect();
    assert_eq!(feed(&mut reorder, now, ahead), []);
    let released = feed(&mut reorder, now, [2 + HELD_MAX as u32]);
    assert_eq!(released.len(), 2 + HELD_MAX);
    assert_eq!(released[0], Out::Lost(1));
}

#[test]
fn another_source_goes_straight_on_behind_what_was_held() {
    let mut reorder = Reorder::new();
    let now = Instant::now();
    feed(&mut reorder, now, [10, 12]);
    let stranger = Packet { ssrc: 2, ..packet(9) };
    assert_eq!(reorder.push(now, &stranger), Arrival::Restart);
    assert_eq!(drain(&mut reorder, now), [Out::Packet(12), Out::Packet(9)]);
    assert_eq!(reorder.push(now, &Packet { ssrc: 2, ..packet(10) }), Arrival::Next);
}

#[test]
fn a_jump_either_way_is_a_new_beginning_and_not_a_stall() {
    for jump in [2_000, 40_000, 65_000] {
        let mut reorder = Reorder::new();
        let now = Instant::now();
        feed(&mut reorder, now, 0..500);
        let first = 500 + jump;
        assert_eq!(reorder.push(now, &packet(first)), Arrival::Restart, "{jump}");
        assert_eq!(drain(&mut reorder, now), [Out::Packet(first)]);
        assert_eq!(feed(&mut reorder, now, [first + 1]), [Out::Packet(first + 1)]);
    }
}

#[test]
fn a_sender_that_steps_back_a_little_with_a_newer_timestamp_is_a_new_beginning() {
    let mut reorder = Reorder::new();
    let now = Instant::now();
    feed(&mut reorder, now, 0..500);
    let restarted = Packet {
        timestamp: 501 * 160,
        ..packet(470)
    };
    assert_eq!(reorder.push(now, &restarted), Arrival::Restart);
    assert_eq!(drain(&mut reorder, now).len(), 1);
}

#[test]
fn a_timestamp_that_jumps_in_order_delays_nothing() {
    let mut reorder = Reorder::new();
    let now = Instant::now();
    feed(&mut reorder, now, [0]);
    assert_eq!(
        reorder.push(
            now,
            &Packet {
                timestamp: 3_000_000_000,
                ..packet(1)
            }
        ),
        Arrival::Next
    );
    assert_eq!(drain(&mut reorder, now).len(), 1);
}

#[test]
fn an_owner_that_never_pops_costs_packets_but_not_memory() {
    let mut reorder = Reorder::new();
    let now = Instant::now();
    for index in 0..10_000 {
        reorder.push(now, &packet(index));
    }
    assert!(reorder.held.len() <= HELD_MAX + 1);
}

#[test]
fn whatever_comes_is_released_once_and_in_order() {
    let mut state = 1;
    for _ in 0..200 {
        let mut reorder = Reorder::new();
        let mut now = Instant::now();
        let mut out = Vec::new();
        for index in 0..200_u32 {
            now += Duration::from_millis(20);
            let count = [0, 1, 1, 1, 2][random(&mut state, 5)];
            for _ in 0..count {
                let shift = random(&mut state, 4) as u32;
                reorder.push(now, &packet(100 + index - shift));
                out.extend(drain(&mut reorder, now));
            }
            out.extend(drain(&mut reorder, now));
        }
        out.extend(drain(&mut reorder, now + WAIT_MAX));
        let order: Vec<u32> = out.iter().filter_map(Out::index).collect();
        assert!(order.windows(2).all(|pair| pair[0] < pair[1]), "{order:?}");
        assert!(reorder.held.is_empty());
    }
}

#[derive(Debug, PartialEq)]
enum Out {
    Packet(u32),
    Lost(u32),
}

impl Out {
    fn index(&self) -> Option<u32> {
        match self {
            Self::Packet(index) => Some(*index),
            Self::Lost(_) => None,
        }
    }
}

fn feed(reorder: &mut Reorder, now: Instant, indexes: impl IntoIterator<Item = u32>) -> Vec<Out> {
    let mut out = Vec::new();
    for index in indexes {
        reorder.push(now, &packet(index));
        out.extend(drain(reorder, now));
    }
    out
}

fn drain(reorder: &mut Reorder, now: Instant) -> Vec<Out> {
    let mut out = Vec::new();
    while let Some(released) = reorder.pop(now) {
        out.push(match released {
            Released::Packet { timestamp, .. } => Out::Packet(timestamp / 160),
            Released::Lost(count) => Out::Lost(count),
        });
    }
    out
}

fn packet(index: u32) -> Packet<'static> {
    Packet {
        payload_type: 0,
        sequence: index as u16,
        timestamp: index * 160,
        ssrc: 1,
        marker: false,
        payload: &[],
    }
}

fn random(state: &mut u64, below: usize) -> usize {
    *state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
    (*state >> 33) as usize % below
}
