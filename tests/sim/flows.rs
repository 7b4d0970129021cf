//! Single calls with one thing going on, and what exactly comes of it.

use patchcord::call::Cause;

use crate::{
    dice::Dice,
    phone::End,
    plan::{Line, Plan},
    world::World,
};

#[test]
fn a_quiet_call_is_answered_greeted_and_over_when_the_phone_hangs_up() {
    let world = run(&Plan::quiet());
    let call = &world.gateway.calls[0];
    assert_eq!(call.outcomes.iter().map(|outcome| outcome.cause).collect::<Vec<_>>(), [Cause::CallerHungUp]);
    assert_eq!(world.callers[0].phone.end, Some(End::HungUp));
}

#[test]
fn the_caller_hears_itself_repeated_with_the_same_length_and_pitch() {
    let mut plan = Plan::quiet();
    let hz = 440.0;
    plan.phones[0].lines = vec![(8_000, Line::Say { hz, ms: 1_500 })];
    plan.phones[0].hangs_up_after_ms = Some(14_000);
    let world = run(&plan);
    let ear = &world.callers[0].ear;
    let bursts = ear.bursts();
    let echo = bursts.last().expect("something was heard");
    let ms = echo.samples as f32 / 8.0;
    assert!((1_485.0..=1_515.0).contains(&ms), "{ms} ms of {bursts:?}");
    assert!((echo.hz / hz - 1.0).abs() < 0.01, "{} Hz", echo.hz);
    assert!(ear.longest_pause(echo) <= 40 * 8);
    assert!(ear.longest_wait() <= std::time::Duration::from_millis(40));
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
