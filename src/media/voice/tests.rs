//! The voice alone: what comes in as payloads, and how much of it the agent hears when.

use super::*;

const RATE: SampleRate = SampleRate::Hz24000;

#[test]
fn silence_begins_after_the_hangover_and_goes_on_in_real_time() {
    let start = Instant::now();
    let mut voice = voice(start);
    hear(&mut voice, start, &[0xFF; 160]);
    assert_eq!(drain(&mut voice), 480);
    let mut samples = 0;
    while voice.poll_timeout() <= start + Duration::from_secs(10) {
        let due = voice.poll_timeout();
        assert!(due >= start + HANGOVER);
        voice.handle_timeout(due);
        samples += drain(&mut voice);
    }
    let expected = 24 * (10_000 - HANGOVER.as_millis() as usize);
    assert!(samples.abs_diff(expected) <= 480, "{samples} {expected}");
}

#[test]
fn time_slept_through_is_not_made_up() {
    let start = Instant::now();
    let mut voice = voice(start);
    voice.handle_timeout(start + Duration::from_secs(5));
    assert_eq!(drain(&mut voice), 480);
    assert!(voice.poll_timeout() > start + Duration::from_secs(5));
}

#[test]
fn silence_made_up_during_an_outage_counts_against_its_losses() {
    let start = Instant::now();
    let mut voice = voice(start);
    hear(&mut voice, start, &[0x90; 160]);
    drain(&mut voice);
    for _ in 0..5 {
        voice.handle_timeout(voice.poll_timeout());
    }
    assert_eq!(drain(&mut voice), 5 * 480);
    voice.miss(voice.fed_until, 8, None);
    assert_eq!(drain(&mut voice), 3 * 480);
    voice.miss(voice.fed_until, 2, None);
    assert_eq!(drain(&mut voice), 2 * 480);
}

#[test]
fn a_far_end_faster_than_time_is_held_to_time() {
    let start = Instant::now();
    let mut voice = voice(start);
    let mut samples = 0;
    for tick in 0..5_000 {
        let now = start + Duration::from_millis(2) * tick;
        hear(&mut voice, now, &[0x90; 160]);
        samples += drain(&mut voice);
    }
    let most = 24 * (10_000 + AHEAD_MAX.as_millis() as usize + 40);
    assert!(samples <= most, "{samples}");
    let mut statistics = Statistics::default();
    voice.fill_in(&mut statistics);
    assert!(statistics.excess > 4_000);
}

#[test]
fn an_owner_that_never_asks_costs_audio_but_not_memory() {
    let start = Instant::now();
    let mut voice = voice(start);
    for tick in 0..1_000 {
        let now = start + Duration::from_millis(20) * tick;
        hear(&mut voice, now, &[0x90; 160]);
        voice.handle_timeout(now + HANGOVER * 2);
    }
    assert!(voice.frames.len() <= (UNTAKEN_MS_MAX + 3_000) * RATE.per_ms());
}

#[test]
fn another_rate_of_the_session_takes_what_waits_along() {
    let start = Instant::now();
    let mut voice = voice(start);
    hear(&mut voice, start, &[0x90; 160]);
    voice.set_session_rate(SampleRate::Hz8000);
    assert_eq!(drain(&mut voice), 160);
    hear(&mut voice, start, &[0x90; 160]);
    assert_eq!(drain(&mut voice), 160);
}

#[test]
fn a_payload_nobody_listens_to_is_counted() {
    let start = Instant::now();
    let mut voice = voice(start);
    let payload = Payload {
        payload_type: 77,
        ..payload(start, &[0; 160])
    };
    voice.hear(start, &payload);
    let mut statistics = Statistics::default();
    voice.fill_in(&mut statistics);
    assert_eq!((drain(&mut voice), statistics.undecodable), (0, 1));
}

fn voice(now: Instant) -> Voice {
    let mut voice = Voice::new(now, RATE);
    voice.set_formats(&[Format::plain(Codec::Pcmu)]);
    voice
}

fn hear(voice: &mut Voice, now: Instant, bytes: &[u8]) {
    voice.hear(now, &payload(now, bytes));
}

fn payload(arrived_at: Instant, bytes: &[u8]) -> Payload<'_> {
    Payload {
        arrived_at,
        payload_type: 0,
        timestamp: 0,
        bytes,
    }
}

fn drain(voice: &mut Voice) -> usize {
    let mut samples = 0;
    while let Some(frame) = voice.poll() {
        samples += frame.len();
    }
    samples
}
