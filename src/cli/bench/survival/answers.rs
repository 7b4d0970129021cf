//! Calls are answered: how long that takes with a session that is dialled for the call, and with one that is waiting.

use super::{
    super::clock::MS,
    lane::Lane,
    link::Manner,
    results::{Figure, Tally},
};

/// How long a call lasts.
const TALK: u64 = 40 * MS;

/// Between two calls, in which a gateway that keeps sessions waiting makes the next.
const PAUSE: u64 = 150 * MS;

/// The session is dialled for the call.
pub fn cold(lane: &mut Lane, tally: &mut Tally) -> anyhow::Result<()> {
    answered(lane, tally, Figure::AnsweredCold)
}

/// The same in TLS.
pub fn cold_in_tls(lane: &mut Lane, tally: &mut Tally) -> anyhow::Result<()> {
    answered(lane, tally, Figure::AnsweredColdTls)
}

/// A session waits for the call. Before the first one none does.
pub fn warm(lane: &mut Lane, tally: &mut Tally) -> anyhow::Result<()> {
    if lane.is_fresh() {
        answered(lane, &mut Tally::default(), Figure::AnsweredCold)?;
    }
    answered(lane, tally, Figure::AnsweredWarm)
}

fn answered(lane: &mut Lane, tally: &mut Tally, figure: Figure) -> anyhow::Result<()> {
    for host in &mut lane.hosts {
        host.manner = Manner {
            deltas: 1,
            ..Manner::default()
        };
    }
    let more = lane.dice(20 * MS);
    lane.go_on(PAUSE + more)?;
    let answered = lane.dial()?;
    tally.add(figure, answered.answered.saturating_sub(answered.asked));
    lane.go_on(TALK)?;
    lane.hang_up()
}
