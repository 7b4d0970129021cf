//! Many runs, each of another seed, and what must hold in all of them.
//!
//! The seeds are the same every time. `PATCHCORD_SIM_SEED=17` runs one of them alone; any number is a seed.
//! `PATCHCORD_SIM_SEEDS=300` runs so many instead of the usual few.

use patchcord::call::Cause;

use crate::{
    call::Call,
    caller::Caller,
    dice::Dice,
    phone::{End, Offer},
    plan::{Plan, RULES},
    world::World,
};

/// Seeds of a usual run; four tests share them, and the processors. In so many, everything has happened in each quarter.
const SEEDS: u64 = 320;

#[test]
fn what_must_hold_holds_in_the_first_quarter_of_the_seeds() {
    quarter(0);
}

#[test]
fn what_must_hold_holds_in_the_second_quarter_of_the_seeds() {
    quarter(1);
}

#[test]
fn what_must_hold_holds_in_the_third_quarter_of_the_seeds() {
    quarter(2);
}

#[test]
fn what_must_hold_holds_in_the_fourth_quarter_of_the_seeds() {
    quarter(3);
}

/// What happened in some runs: a property of things that never happen proves nothing.
#[derive(Debug, Default)]
struct Tally {
    answered: u32,
    cancelled: u32,
    lost: u32,
    reconnected: u32,
    interrupted: u32,
    digits: usize,
}

/// Tells the seed when its run fails.
struct Named(u64);

impl Drop for Named {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("this was the run of PATCHCORD_SIM_SEED={}", self.0);
        }
    }
}

fn quarter(number: u64) {
    if let Some(seed) = ordered("PATCHCORD_SIM_SEED") {
        if number == 0 {
            run(seed, &mut Tally::default());
        }
        return;
    }
    let seeds = ordered("PATCHCORD_SIM_SEEDS").unwrap_or(SEEDS);
    let mut tally = Tally::default();
    (number * seeds / 4..(number + 1) * seeds / 4).for_each(|seed| run(seed, &mut tally));
    let usual = tally.answered > 10 && tally.interrupted > 5 && tally.digits > 5;
    let seldom = tally.cancelled > 0 && tally.lost > 0 && tally.reconnected > 0;
    assert!((usual && seldom) || seeds < SEEDS, "{tally:?}");
}

fn ordered(variable: &str) -> Option<u64> {
    let value = std::env::var(variable).ok()?;
    Some(value.parse().expect("the variable is a number"))
}

fn run(seed: u64, tally: &mut Tally) {
    let _named = Named(seed);
    let mut dice = Dice::new(seed);
    let plan = Plan::drawn(&mut dice);
    let mut world = World::new(&plan, dice);
    world.run();
    world.gateway.check_nothing_left();
    world
        .callers
        .iter()
        .for_each(|caller| check(&world, &plan, caller, tally));
}

fn check(world: &World, plan: &Plan, caller: &Caller, tally: &mut Tally) {
    check_finals(caller);
    match caller.call {
        Some(call) => check_call(&world.gateway.calls[call], plan, caller, tally),
        None => check_refusal(plan, caller),
    }
}

/// Every INVITE gets exactly one final answer.
fn check_finals(caller: &Caller) {
    for (branch, statuses) in &caller.phone.finals {
        let cut_off = caller.plan.vanishes_after_ms.is_some() || caller.phone.end == Some(End::Unanswered);
        assert!(
            statuses.len() == 1 || (statuses.is_empty() && cut_off),
            "{branch} got {statuses:?}"
        );
    }
    let ended = caller.phone.end.is_some() || caller.plan.vanishes_after_ms.is_some();
    assert!(ended, "the call never ended for its phone");
}

fn check_refusal(plan: &Plan, caller: &Caller) {
    match &caller.phone.end {
        Some(End::Refused(488, word)) => assert_eq!(word, "no_common_codec"),
        Some(End::Refused(503, word)) => assert!(word == "draining" && plan.drains_at_ms.is_some()),
        Some(End::Refused(487, _) | End::Unanswered) => {}
        None => {}
        end => panic!("no call, but {end:?}"),
    }
}

fn check_call(call: &Call, plan: &Plan, caller: &Caller, tally: &mut Tally) {
    assert_eq!(call.audit.faults, Vec::<String>::new());
    let [outcome] = call.outcomes[..] else {
        panic!("a call ended {} times", call.outcomes.len())
    };
    let cause = outcome.cause;
    check_cause(cause, plan, caller);
    match &caller.phone.end {
        Some(End::ByeReceived(word)) => assert_eq!(word, cause.word()),
        Some(End::Refused(status, word)) => assert_eq!((*status, word.as_str()), (outcome.sip_code, cause.word())),
        Some(End::HungUp | End::Unanswered) | None => {}
    }
    let status = caller.phone.status;
    assert!(
        status.is_none_or(|status| status == outcome.sip_code),
        "{status:?} but {outcome:?}"
    );
    check_digits(call, caller);
    tally.add(call, cause);
}

/// A call ends for a cause its plan has in it.
fn check_cause(cause: Cause, plan: &Plan, caller: &Caller) {
    let (habits, backend) = (&caller.plan.habits, &caller.plan.backend);
    let never_back = backend.down.iter().any(|window| window.1 == u64::MAX);
    let hopeless = never_back || backend.faults.to_string().contains("insufficient_quota");
    let short = plan.rules.call.duration_max < RULES.call.duration_max;
    let vanishes = caller.plan.vanishes_after_ms.is_some();
    let starred = caller.has_pressed('*');
    let possible = match cause {
        Cause::CallerHungUp => caller.phone.end == Some(End::HungUp),
        Cause::Cancelled => caller.plan.gives_up_after_ms.is_some(),
        Cause::AgentHungUp => starred,
        Cause::SessionLost | Cause::SessionUnavailable => hopeless,
        Cause::AckTimeout => !habits.acknowledges || plan.weather.lost_percent > 10 || vanishes,
        Cause::NoCommonCodec => habits.offer == Offer::Opus,
        // A call that is held when its phone vanishes lasts as long as it may.
        Cause::DurationMax => vanishes || caller.plan.hangs_up_after_ms.is_none() || short,
        // While its answer is lost again and again, a phone does not know that it may speak.
        Cause::MediaTimeout => caller.plan.suppresses_silence || vanishes || plan.weather.lost_percent > 10,
        Cause::Drained | Cause::Draining => plan.drains_at_ms.is_some(),
        _ => false,
    };
    assert!(
        possible,
        "{cause:?} after {:?} with {:?}",
        caller.phone.end, caller.plan
    );
}

/// Each key of which a packet came is heard once.
fn check_digits(call: &Call, caller: &Caller) {
    if !caller.plan.habits.early_offer {
        // Until the ACK has come nobody knows what the packets are.
        return;
    }
    let pressed = caller
        .pressed
        .iter()
        .filter(|(_, timestamp)| caller.keys_arrived.contains(timestamp));
    let mut expected: Vec<char> = pressed.map(|(key, _)| *key).collect();
    let mut heard: Vec<char> = call.digits.chars().collect();
    expected.sort_unstable();
    heard.sort_unstable();
    assert_eq!(heard, expected);
}

impl Tally {
    fn add(&mut self, call: &Call, cause: Cause) {
        let away = call.session_times.iter().position(|(_, ready)| !ready);
        let again = away.is_some_and(|away| call.session_times[away..].iter().any(|(_, ready)| *ready));
        self.answered += u32::from(call.outcomes[0].sip_code == 200);
        self.cancelled += u32::from(cause == Cause::Cancelled);
        self.lost += u32::from(cause == Cause::SessionLost);
        self.reconnected += u32::from(again);
        self.interrupted += call.audit.interruptions;
        self.digits += call.digits.len();
    }
}
