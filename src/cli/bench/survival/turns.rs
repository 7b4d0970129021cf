//! The caller cuts in, and is answered when the voice ends: how soon the agent stops, and what the gateway adds to an
//! answer.

use anyhow::Context;

use super::{
    super::clock::MS,
    hearing::Sound,
    lane::Lane,
    link::{Link, Manner},
    results::{Figure, Tally},
};

/// Turns of one call.
const TURNS: usize = 5;

/// Deltas of an answer: longer than the caller lets the agent speak.
const DELTAS: usize = 12;

/// How long the agent speaks before the caller cuts in, at least, and how much more at most.
const LET_SPEAK: u64 = 150 * MS;
const LET_SPEAK_MORE: u64 = 150 * MS;

/// The agent was heard so short before the caller cut in.
const SPEAKING: u64 = 60 * MS;

/// The caller's turn when the backend hears it: 300 ms.
const PACKETS: u32 = 15;

/// And when the gateway's own ear does, which takes that long to be sure.
const PACKETS_FOR_EAR: u32 = 25;

/// How much later than it could the backend answers at most, so that answers begin anywhere between two packets.
const SPREAD: u64 = 20 * MS;

/// The backend tells of the voice as soon as it hears it.
pub fn heard_by_backend(lane: &mut Lane, tally: &mut Tally) -> anyhow::Result<()> {
    begin(lane, true)?;
    for _ in 0..TURNS {
        let turn = turn(lane, PACKETS)?;
        let last = turn.last_agent.context("the agent was not heard")?;
        tally.add(Figure::CutByBackend, last.saturating_sub(turn.began));
        tally.add(Figure::PacketToAppend, turn.append);
        tally.add(Figure::DeltaToPacket, turn.voice);
        tally.add(Figure::Overhead, turn.append + turn.voice);
    }
    lane.hang_up()
}

/// The gateway listens itself.
pub fn heard_by_gateway(lane: &mut Lane, tally: &mut Tally) -> anyhow::Result<()> {
    begin(lane, false)?;
    for _ in 0..TURNS {
        let turn = turn(lane, PACKETS_FOR_EAR)?;
        let quieter = |sound| sound == Sound::Agent { quieter: true };
        let ducked = lane.heard.first(turn.began, quieter).filter(|at| *at < turn.answered);
        let last = turn.last_agent.context("the agent was not heard")?;
        tally.add(
            Figure::Ducked,
            ducked.context("the agent was not made quieter")? - turn.began,
        );
        tally.add(Figure::CutByGateway, last.saturating_sub(turn.began));
    }
    lane.hang_up()
}

/// One turn of the caller.
struct Turn {
    /// When its first packet was sent.
    began: u64,
    /// When the last packet of the agent came that was cut off.
    last_agent: Option<u64>,
    /// When the backend answered.
    answered: u64,
    /// From the caller's last packet to the backend.
    append: u64,
    /// From the answer to the caller.
    voice: u64,
}

fn begin(lane: &mut Lane, interrupts: bool) -> anyhow::Result<()> {
    lane.hosts[0].manner = Manner {
        interrupts,
        deltas: DELTAS,
        ..Manner::default()
    };
    lane.dial()?;
    lane.wait("the agent's voice", |lane| lane.heard.first(0, Sound::is_agent))?;
    Ok(())
}

fn turn(lane: &mut Lane, packets: u32) -> anyhow::Result<Turn> {
    let pause = LET_SPEAK + lane.dice(LET_SPEAK_MORE);
    lane.go_on(pause)?;
    let spread = lane.dice(SPREAD);
    let (first, last) = lane.speak(packets);
    lane.hosts[0].manner.answers = Some((last, spread));
    let told = lane.wait("the caller's voice", |lane| {
        let packets = lane.hosts[0].links.iter().flat_map(|link| &link.told.packets);
        let told = packets.rev().find(|packet| packet.number == last && packet.voiced);
        told.map(|packet| packet.at)
    })?;
    let sent = |number: u32| lane.sent(number).context("the caller did not speak");
    let (began, ended) = (sent(first)?, sent(last)?);
    let answered = lane.wait("the answer", |lane| {
        let spoke = lane.hosts[0].links.iter().flat_map(|link: &Link| &link.spoke);
        spoke.copied().find(|at| *at > ended)
    })?;
    let heard = lane.wait("the answer's voice", |lane| {
        let loud = Sound::Agent { quieter: false };
        lane.heard.first(answered, |sound| sound == loud)
    })?;
    anyhow::ensure!(
        lane.heard.last(began - SPEAKING, began, Sound::is_agent).is_some(),
        "the agent was not speaking when the caller cut in"
    );
    Ok(Turn {
        began,
        last_agent: lane.heard.last(began, answered, Sound::is_agent),
        answered,
        append: told.saturating_sub(ended),
        voice: heard - answered,
    })
}
