//! A backend dies in the middle of the agent's words: what the caller hears, and when the next session is heard.

use anyhow::Context;

use super::{
    super::clock::MS,
    hearing::Sound,
    lane::Lane,
    link::{Link, Manner},
    results::{Figure, Tally},
    setup::WORDS_AFTER_MS,
    wire::Death,
};

/// Deltas of the agent's words: longer than they are heard.
const DELTAS: usize = 20;

/// Packets of the agent that are heard before its backend dies.
const PACKETS: usize = 10;

/// What a caller says whose backend dies meanwhile: 0.8 s, of which so much is said before, at most.
const VOICE_PACKETS: u32 = 40;
const SPOKEN_MAX: u64 = 400 * MS;

/// How long before a death and behind a recovery holes are looked for.
const AROUND: u64 = 100 * MS;

/// It stays away until the gateway has said something itself.
pub fn away(lane: &mut Lane, tally: &mut Tally) -> anyhow::Result<()> {
    begin(lane)?;
    lane.hosts[0].manner.holds = true;
    let lost = die(lane, tally)?;
    let words = lane.wait("the words", |lane| {
        lane.heard.first(lost, |sound| sound == Sound::Words)
    })?;
    let tone = lane.heard.first(lost, |sound| sound == Sound::Comfort);
    tally.add(Figure::Tone, tone.context("the comfort tone did not come")? - lost);
    tally.add(Figure::Words, words.saturating_sub(lost + WORDS_AFTER_MS * MS));
    lane.hosts[0].manner.holds = false;
    let back = recovered(lane, 0, lost)?;
    hole(lane, tally, lost, back)?;
    lane.hang_up()
}

/// It is there again at once.
pub fn redialled(lane: &mut Lane, tally: &mut Tally) -> anyhow::Result<()> {
    served_again(lane, tally, 0, Figure::Redialled)
}

/// The call moves on to the agent's next backend at once.
pub fn moved_on(lane: &mut Lane, tally: &mut Tally) -> anyhow::Result<()> {
    served_again(lane, tally, 1, Figure::MovedOn)
}

fn served_again(lane: &mut Lane, tally: &mut Tally, host: usize, figure: Figure) -> anyhow::Result<()> {
    begin(lane)?;
    let lost = die(lane, tally)?;
    let back = recovered(lane, host, lost)?;
    tally.add(figure, back - lost);
    hole(lane, tally, lost, back)?;
    lane.hang_up()
}

/// The caller speaks while it dies, and until the next session hears.
pub fn spoken_to(lane: &mut Lane, tally: &mut Tally) -> anyhow::Result<()> {
    begin(lane)?;
    let (first, last) = lane.speak(VOICE_PACKETS);
    let spoken = lane.dice(SPOKEN_MAX);
    lane.go_on(spoken)?;
    let lost = lane.hosts[0].die(Death::Reset).context("there is no session to lose")?;
    let heard = lane.wait("the end of what the caller said", |lane| {
        let packets = next_session(lane, lost)?.told.packets.iter();
        packets.rev().find(|packet| packet.number > last).copied()
    })?;
    let told = &next_session(lane, lost).context("there is no next session")?.told;
    // Quiet packets in front of the first word are told as well, which is more than was asked for.
    let begins = told.packets.first().map_or(last + 1, |packet| packet.number);
    let unheard = u64::from(begins.saturating_sub(first)) * 20 * MS;
    tally.add(
        Figure::SpokenMissing,
        unheard + told.missing().unsigned_abs() * (MS / 8),
    );
    let sent = lane.sent(heard.number).context("the caller did not speak")?;
    anyhow::ensure!(sent > lost, "the caller had spoken before the backend died");
    let late = told.packets.iter().filter(|packet| packet.number > last);
    let late = late.filter_map(|packet| Some(packet.at.saturating_sub(lane.sent(packet.number)?)));
    tally.add(Figure::SpokenLate, late.min().unwrap_or(0));
    lane.hang_up()
}

/// The session behind the one that died, once it has been told something.
fn next_session(lane: &Lane, lost: u64) -> Option<&Link> {
    let mut links = lane.hosts[0].links.iter();
    links.find(|link| link.told.packets.first().is_some_and(|packet| packet.at > lost))
}

fn begin(lane: &mut Lane) -> anyhow::Result<()> {
    for host in &mut lane.hosts {
        host.manner = Manner {
            deltas: DELTAS,
            ..Manner::default()
        };
    }
    lane.dial()?;
    lane.wait("the agent's voice", |lane| {
        (lane.heard.count(0, Sound::is_agent) >= PACKETS).then_some(())
    })?;
    let more = lane.dice(20 * MS);
    lane.go_on(more)
}

/// Every other one dies as if it had been killed.
fn die(lane: &mut Lane, tally: &Tally) -> anyhow::Result<u64> {
    let death = match tally.count(Figure::HoleAtDeath) % 2 {
        0 => Death::Reset,
        _ => Death::Closed,
    };
    lane.hosts[0].die(death).context("there is no session to lose")
}

/// When the next session, on this backend, is heard. The fading end of the last may come behind its beginning.
fn recovered(lane: &mut Lane, host: usize, lost: u64) -> anyhow::Result<u64> {
    lane.wait("the next session's voice", |lane| {
        let spoke = lane.hosts[host].links.iter().flat_map(|link| &link.spoke);
        let spoke = spoke.copied().find(|at| *at > lost)?;
        let loud = Sound::Agent { quieter: false };
        lane.heard.first(spoke, |sound| sound == loud)
    })
}

fn hole(lane: &mut Lane, tally: &mut Tally, lost: u64, back: u64) -> anyhow::Result<()> {
    lane.go_on(AROUND)?;
    tally.add(Figure::HoleAtDeath, lane.heard.hole(lost - AROUND, back + AROUND));
    Ok(())
}
