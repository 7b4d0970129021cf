//! Single calls with one thing going on, and what exactly comes of it.

use std::time::Duration;

use patchcord::call::Cause;

use crate::{
    dice::Dice,
    ear::Burst,
    link::Weather,
    phone::{End, Offer},
    plan::{Line, PhonePlan, Plan},
    world::World,
};

#[test]
fn a_quiet_call_is_answered_greeted_and_over_when_the_phone_hangs_up() {
    let world = run(&Plan::quiet());
    assert_eq!(ended(&world), (Cause::CallerHungUp, 200, End::HungUp));
    // The greeting takes five seconds and has pauses between its words.
    assert!(loud_ms(&world, 0, 10_000) > 3_000);
    assert!(world.callers[0].ear.longest_wait() <= Duration::from_millis(40));
}

#[test]
fn the_caller_hears_itself_repeated_with_the_same_length_and_pitch() {
    for seed in 0..10 {
        let mut dice = Dice::new(seed);
        let (hz, ms) = (dice.between(200, 2_000) as f32, dice.between(400, 2_500));
        let mut plan = Plan::quiet();
        plan.rules.lag_ms_max = dice.pick(&[0, 3, 15]);
        plan.phones[0].habits.offer = dice.pick(&[Offer::Both, Offer::Alaw]);
        plan.phones[0].backend.delay_ms = dice.pick(&[2, 50, 300]);
        plan.phones[0].backend.jitter_ms = dice.pick(&[0, 60]);
        plan.phones[0].lines = vec![(8_000, Line::Say { hz, ms })];
        plan.phones[0].hangs_up_after_ms = Some(15_000);
        let world = run(&plan);
        let ear = &world.callers[0].ear;
        let echo = *ear.bursts().last().expect("something was heard");
        assert_alike(&echo, hz, ms as f32);
        assert!(ear.longest_pause(&echo) <= 40 * 8);
        assert!(ear.longest_wait() <= Duration::from_millis(40));
    }
}

#[test]
fn a_shaky_network_does_not_shorten_what_is_repeated() {
    let mut plan = Plan::quiet();
    plan.weather = Weather {
        jitter_ms: 45,
        doubled_percent: 5,
        ..Weather::FAIR
    };
    plan.phones[0].lines = vec![(8_000, Line::Say { hz: 600.0, ms: 1_500 })];
    plan.phones[0].hangs_up_after_ms = Some(13_000);
    let world = run(&plan);
    let echo = *world.callers[0].ear.bursts().last().expect("something was heard");
    assert_alike(&echo, 600.0, 1_500.0);
}

#[test]
fn talking_over_the_greeting_silences_it_and_tells_the_session_where() {
    let mut plan = Plan::quiet();
    plan.phones[0].lines = vec![(2_000, Line::Say { hz: 500.0, ms: 400 })];
    let world = run(&plan);
    let audit = &world.gateway.calls[0].audit;
    assert_eq!(
        (audit.interruptions, audit.truncates, world.callers[0].backend.truncated),
        (1, 1, 1)
    );
    // The greeting is cut within the time the voice needs to get to the operator, and the repetition is all that follows.
    let echo = *world.callers[0].ear.bursts().last().expect("something was heard");
    assert_alike(&echo, 500.0, 400.0);
    assert_eq!(loud_ms(&world, 2_300, 2_900), 0);
}

#[test]
fn a_key_interrupts_and_is_answered() {
    let mut plan = Plan::quiet();
    plan.phones[0].lines = vec![(2_000, Line::Press('5'))];
    let world = run(&plan);
    let call = &world.gateway.calls[0];
    assert_eq!(call.digits, "5");
    assert_eq!(
        (
            call.audit.interruptions,
            call.audit.truncates,
            world.callers[0].backend.truncated
        ),
        (1, 1, 1)
    );
    assert!(loud_ms(&world, 2_100, 6_000) > 500);
}

#[test]
fn star_makes_the_agent_hang_up() {
    let mut plan = Plan::quiet();
    plan.phones[0].lines = vec![(7_000, Line::Press('*'))];
    let world = run(&plan);
    assert_eq!(
        ended(&world),
        (Cause::AgentHungUp, 200, End::ByeReceived("agent_hung_up".to_owned()))
    );
}

#[test]
fn every_key_is_heard_once_on_a_network_that_loses_every_fifth_packet() {
    let mut plan = Plan::quiet();
    plan.weather = Weather {
        lost_percent: 20,
        doubled_percent: 10,
        jitter_ms: 80,
        ..Weather::MILD
    };
    plan.phones[0].lines = (0..60)
        .map(|index| (1_000 + index * 180, Line::Press(key(index))))
        .collect();
    plan.phones[0].hangs_up_after_ms = Some(20_000);
    let world = run(&plan);
    let expected: String = (0..60).map(key).collect();
    assert_eq!(world.gateway.calls[0].digits, expected);
}

#[test]
fn a_session_that_breaks_is_replaced_while_the_caller_hears_comfort() {
    let mut plan = Plan::quiet();
    plan.phones[0].backend.down = vec![(7_000, 10_000)];
    plan.phones[0].lines = vec![(13_000, Line::Say { hz: 700.0, ms: 1_000 })];
    plan.phones[0].hangs_up_after_ms = Some(18_000);
    let world = run(&plan);
    assert_eq!(ended(&world), (Cause::CallerHungUp, 200, End::HungUp));
    let ear = &world.callers[0].ear;
    assert!(ear.murmur(7_100, 9_500) > 0.99, "{}", ear.murmur(7_100, 9_500));
    assert!(ear.loud_ms(9_500, 10_700) > 200, "words to a caller who waits");
    assert!(ear.murmur(6_200, 6_900) == 0.0 && ear.murmur(12_500, 13_000) == 0.0);
    let readiness: Vec<bool> = world.gateway.calls[0]
        .session_times
        .iter()
        .map(|(_, ready)| *ready)
        .collect();
    assert!(
        readiness.starts_with(&[true, false]) && readiness.ends_with(&[true]),
        "{readiness:?}"
    );
    let echo = *ear.bursts().last().expect("something was heard");
    assert_alike(&echo, 700.0, 1_000.0);
}

#[test]
fn a_session_that_breaks_in_the_middle_of_a_word_leaves_nothing_of_it_and_the_next_one_goes_on() {
    let mut plan = Plan::quiet();
    plan.phones[0].backend.down = vec![(2_000, 2_001)];
    let world = run(&plan);
    assert_eq!(ended(&world), (Cause::CallerHungUp, 200, End::HungUp));
    assert!(loud_ms(&world, 1_000, 1_900) > 300);
    let ready = world.gateway.calls[0].session_times[2].0;
    let ready_ms = (ready - world.start).as_millis() as usize;
    assert_eq!(loud_ms(&world, 2_060, ready_ms), 0);
    assert!(loud_ms(&world, ready_ms, 10_000) > 300);
}

#[test]
fn when_no_session_can_be_had_again_the_caller_hears_an_apology_and_is_hung_up_on() {
    let mut plan = Plan::quiet();
    plan.phones[0].backend.down = vec![(7_000, u64::MAX)];
    plan.phones[0].hangs_up_after_ms = None;
    let world = run(&plan);
    assert_eq!(
        ended(&world),
        (Cause::SessionLost, 200, End::ByeReceived("session_lost".to_owned()))
    );
    let call = &world.gateway.calls[0];
    let (last_loss, ready) = call.session_times[call.session_times.len() - 1];
    let first_loss = call.session_times[1].0;
    let budget = plan.rules.reconnect.budget;
    assert!(!ready && last_loss - first_loss >= budget, "{:?}", call.session_times);
    let apology_ms = (last_loss - world.start).as_millis() as usize;
    assert!(loud_ms(&world, apology_ms, apology_ms + 10_000) > 2_500);
    assert_eq!(loud_ms(&world, 7_100, 9_400), 0);
    assert!(loud_ms(&world, 9_400, apology_ms) > 500, "words to a caller who waits");
}

#[test]
fn a_call_for_which_no_session_can_be_had_is_refused() {
    let mut plan = Plan::quiet();
    plan.phones[0].backend.down = vec![(0, u64::MAX)];
    let world = run(&plan);
    let refused = End::Refused(503, "session_unavailable".to_owned());
    assert_eq!(ended(&world), (Cause::SessionUnavailable, 503, refused));
}

#[test]
fn a_call_that_is_given_up_while_it_rings_is_cancelled() {
    let mut plan = Plan::quiet();
    plan.phones[0].backend.faults = "stall@0*1".parse().expect("a fault");
    plan.phones[0].gives_up_after_ms = Some(1_000);
    let world = run(&plan);
    assert_eq!(
        ended(&world),
        (Cause::Cancelled, 487, End::Refused(487, "cancelled".to_owned()))
    );
}

#[test]
fn an_answer_that_is_never_acknowledged_ends_the_call() {
    let mut plan = Plan::quiet();
    plan.phones[0].habits.acknowledges = false;
    plan.phones[0].hangs_up_after_ms = None;
    let world = run(&plan);
    let (cause, code, _) = ended(&world);
    assert_eq!((cause, code), (Cause::AckTimeout, 200));
}

#[test]
fn a_phone_that_vanishes_is_given_up_when_nothing_was_heard_of_it_for_long_enough() {
    let mut plan = Plan::quiet();
    plan.rules.silence_timeout = Duration::from_secs(5);
    plan.phones[0].vanishes_after_ms = Some(4_000);
    let world = run(&plan);
    let [outcome] = world.gateway.calls[0].outcomes[..] else {
        panic!("one outcome")
    };
    assert_eq!(outcome.cause, Cause::MediaTimeout);
}

#[test]
fn draining_lets_a_sentence_end_and_refuses_the_next_call() {
    let mut plan = Plan::quiet();
    plan.drains_at_ms = Some(2_000);
    plan.phones.push(PhonePlan {
        calls_at_ms: 3_000,
        ..PhonePlan::silent()
    });
    let world = run(&plan);
    assert_eq!(
        ended(&world),
        (Cause::Drained, 200, End::ByeReceived("drained".to_owned()))
    );
    let late = &world.callers[1].phone.end;
    assert_eq!(*late, Some(End::Refused(503, "draining".to_owned())));
    // The greeting is said to its end.
    assert!(loud_ms(&world, 0, 10_000) > 3_000);
}

#[test]
fn a_held_caller_hears_the_rest_of_the_sentence_afterwards() {
    let mut plan = Plan::quiet();
    plan.phones[0].lines = vec![(1_500, Line::Hold(true)), (4_500, Line::Hold(false))];
    plan.phones[0].hangs_up_after_ms = Some(12_000);
    let world = run(&plan);
    assert_eq!(ended(&world), (Cause::CallerHungUp, 200, End::HungUp));
    assert_eq!(loud_ms(&world, 1_700, 4_500), 0);
    assert!(loud_ms(&world, 0, 12_000) > 3_000);
}

fn run(plan: &Plan) -> World {
    let mut world = World::new(plan, Dice::new(1));
    world.run();
    world.gateway.check_nothing_left();
    for call in &world.gateway.calls {
        assert_eq!(call.audit.faults, Vec::<String>::new());
    }
    world
}

/// How the only call ended: for the record, and for the phone.
fn ended(world: &World) -> (Cause, u16, End) {
    let [call] = &world.gateway.calls[..] else {
        panic!("one call")
    };
    let [outcome] = call.outcomes[..] else {
        panic!("one outcome: {:?}", call.outcomes)
    };
    (
        outcome.cause,
        outcome.sip_code,
        world.callers[0].phone.end.clone().expect("the call ended"),
    )
}

/// How much of a stretch of the run, given in milliseconds, the phone heard something louder than comfort.
fn loud_ms(world: &World, from_ms: usize, to_ms: usize) -> usize {
    world.callers[0].ear.loud_ms(from_ms, to_ms)
}

fn assert_alike(echo: &Burst, hz: f32, ms: f32) {
    let heard_ms = echo.samples as f32 / 8.0;
    assert!((heard_ms / ms - 1.0).abs() <= 0.01, "{heard_ms} ms instead of {ms}");
    assert!((echo.hz / hz - 1.0).abs() <= 0.01, "{} Hz instead of {hz}", echo.hz);
}

fn key(index: u64) -> char {
    char::from(b'0' + (index * 7 % 10) as u8)
}
