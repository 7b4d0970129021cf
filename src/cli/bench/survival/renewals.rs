//! The call goes over to a session made behind the one that serves it: what that costs the caller's sound.

use anyhow::Context;

use super::{
    super::clock::MS,
    lane::Lane,
    link::{Link, Manner},
    results::{Figure, Tally},
};

/// Renewals of one call.
const RENEWALS: usize = 5;

/// How long after one the session before may still be told something.
const AFTERWARDS: u64 = 60 * MS;

/// How long before and behind one holes are looked for.
const AROUND: u64 = 100 * MS;

/// Between two packets.
const PTIME: u64 = 20 * MS;

/// What a sample lasts.
const SAMPLE: u64 = MS / 8;

/// A call is renewed again and again.
pub fn renewed(lane: &mut Lane, tally: &mut Tally) -> anyhow::Result<()> {
    lane.hosts[0].manner = Manner {
        deltas: 1,
        ..Manner::default()
    };
    lane.dial()?;
    let mut serves = lane.wait("the first session", |lane| told(lane, 0))?;
    for _ in 0..RENEWALS {
        let next = lane.wait("the next session", |lane| told(lane, serves + 1))?;
        lane.go_on(AFTERWARDS.max(AROUND))?;
        compare(lane, tally, serves, next)?;
        serves = next;
    }
    lane.hang_up()
}

/// The first session from this one on that was told of the caller in this call.
fn told(lane: &Lane, from: usize) -> Option<usize> {
    let of_call = |link: &Link| {
        link.told
            .packets
            .first()
            .is_some_and(|packet| packet.number >= lane.first())
    };
    let mut links = lane.hosts[0].links.iter().enumerate().skip(from);
    links.find(|(_, link)| of_call(link)).map(|(index, _)| index)
}

fn compare(lane: &Lane, tally: &mut Tally, before: usize, next: usize) -> anyhow::Result<()> {
    let links = &lane.hosts[0].links;
    let (before, next) = (&links[before].told, &links[next].told);
    let last = before.packets.last().context("the session before heard nothing")?;
    let first = next.packets.first().context("the next session heard nothing")?;
    let missing = before.missing_before(next).context("nothing to compare")?;
    let missing = missing.unsigned_abs() + before.missing().unsigned_abs();
    tally.add(Figure::RenewalAdded, first.at.saturating_sub(last.at + PTIME));
    tally.add(Figure::RenewalMissing, missing * SAMPLE);
    tally.add(
        Figure::HoleAtRenewal,
        lane.heard.hole(last.at - AROUND, first.at + AROUND),
    );
    Ok(())
}
