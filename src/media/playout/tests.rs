//! The playout alone: what comes in as words, what leaves as bytes, and what counts as heard.

use super::*;
use crate::audio::{Codec, Law};

const ONE: Utterance = Utterance(1);
const TWO: Utterance = Utterance(2);
const FRAME: usize = 160;

#[test]
fn a_burst_is_said_at_once_and_whole() {
    let mut desk = Desk::new();
    desk.play(ONE, 1_000);
    desk.finish(ONE);
    let said = desk.take(50);
    assert_eq!(words(&said), 8_000);
    assert_eq!(
        desk.events(),
        [
            Event::Started(ONE),
            Event::Finished(Heard {
                utterance: ONE,
                sent_ms: 1_000,
                received_ms: 1_000,
                complete: true
            })
        ]
    );
    assert!(desk.playout.is_quiet());
}

#[test]
fn a_trickle_waits_for_forty_milliseconds_of_words() {
    let mut desk = Desk::new();
    desk.play(ONE, 20);
    assert_eq!(words(&desk.take(1)), 0);
    desk.play(ONE, 20);
    assert_eq!(words(&desk.take(1)), FRAME);
}

#[test]
fn an_utterance_that_ended_late_does_not_spare_the_next_its_gathering() {
    let mut desk = Desk::new();
    desk.play(ONE, 100);
    desk.take(10);
    desk.finish(ONE);
    desk.play(TWO, 20);
    assert_eq!(words(&desk.take(1)), 0);
}

#[test]
fn a_lone_portion_waits_no_longer_than_forty_milliseconds() {
    let mut desk = Desk::new();
    desk.play(ONE, 20);
    assert_eq!(words(&desk.take(1)), 0);
    assert_eq!(words(&desk.take(1)), FRAME);
}

#[test]
fn deltas_in_bursts_leave_no_gap() {
    let mut desk = Desk::new();
    let mut said = Vec::new();
    for tick in 0..500 {
        if tick % 10 == 0 {
            desk.play(ONE, 230);
        }
        said.extend(desk.take(1));
    }
    assert!(said[RAMP..].iter().all(|&byte| byte != SILENCE));
    assert_eq!(desk.playout.underruns, 0);
}

#[test]
fn deltas_of_odd_lengths_are_joined_seamlessly() {
    let mut desk = Desk::new();
    let mut sent = 0;
    for len in (1..400).cycle().take(1_000) {
        desk.playout.play(desk.now, ONE, &vec![LOUD; len], &mut desk.events);
        sent += len;
    }
    desk.finish(ONE);
    let said = desk.take(sent / 3 / FRAME + 1);
    assert_eq!(words(&said), sent / 3);
    assert!(said[RAMP..words(&said)].iter().all(|&byte| byte != SILENCE));
}

#[test]
fn words_that_come_late_are_an_underrun_and_go_on_at_once() {
    let mut desk = Desk::new();
    desk.play(ONE, 50);
    assert_eq!(words(&desk.take(5)), 400);
    assert_eq!(desk.playout.underruns, 1);
    desk.play(ONE, 20);
    assert_eq!(words(&desk.take(1)), FRAME);
}

#[test]
fn heard_is_exactly_what_left() {
    for taken in 1..40 {
        let mut desk = Desk::new();
        desk.play(ONE, 333);
        desk.finish(ONE);
        desk.play(TWO, 1_000);
        let mut said = desk.take(taken);
        let heard = desk.flush();
        said.extend(desk.take(3));
        let sent: u32 = heard.iter().map(|heard| heard.sent_ms).sum();
        let finished = desk.events().iter().any(|event| matches!(event, Event::Finished(_)));
        let total = sent + if finished { 333 } else { 0 };
        assert_eq!(words(&said) / PER_MS, total as usize, "{taken}");
        assert_eq!(heard.len(), if finished { 1 } else { 2 });
        assert!(
            heard
                .iter()
                .all(|heard| heard.sent_ms <= heard.received_ms && !heard.complete)
        );
    }
}

#[test]
fn after_a_flush_one_packet_fades_and_then_all_is_silent() {
    let mut desk = Desk::new();
    desk.play(ONE, 5_000);
    desk.take(10);
    let heard = desk.flush();
    assert_eq!(
        heard,
        [Heard {
            utterance: ONE,
            sent_ms: 205,
            received_ms: 5_000,
            complete: false
        }]
    );
    let last = desk.take(1);
    assert_eq!(words(&last), RAMP);
    let mut pcm = Vec::new();
    Law::Mu.decode(&last, &mut pcm);
    assert!(pcm[..RAMP].windows(2).all(|pair| pair[0] >= pair[1]));
    assert_eq!(words(&desk.take(100)), 0);
    assert!(desk.playout.is_quiet());
}

#[test]
fn a_flush_in_silence_lets_nothing_leave() {
    let mut desk = Desk::new();
    desk.play(ONE, 5_000);
    assert_eq!(desk.flush()[0].sent_ms, 0);
    assert_eq!(words(&desk.take(10)), 0);
    assert_eq!(desk.flush(), []);
}

#[test]
fn new_words_right_after_a_flush_begin_in_a_packet_of_their_own() {
    let mut desk = Desk::new();
    desk.play(ONE, 5_000);
    desk.take(10);
    desk.flush();
    desk.play(TWO, 1_000);
    assert_eq!(words(&desk.take(1)), RAMP);
    assert_eq!(words(&desk.take(1)), FRAME);
    // All of the second packet, and the 5 ms that fade out.
    assert_eq!(desk.flush()[0].sent_ms, 25);
}

#[test]
fn words_begin_and_end_in_a_ramp() {
    let mut desk = Desk::new();
    desk.play(ONE, 110);
    desk.finish(ONE);
    let mut pcm = Vec::new();
    Law::Mu.decode(&desk.take(6), &mut pcm);
    assert!(pcm[..RAMP / 2].iter().all(|&sample| sample < LOUD / 2));
    assert!(pcm[880 - RAMP..880].windows(2).all(|pair| pair[0] >= pair[1]));
    assert!(pcm[879] < 400 && pcm[880..].iter().all(|&sample| sample == 0));
}

#[test]
fn the_newest_words_are_dropped_when_too_many_wait() {
    let mut desk = Desk::new();
    desk.play(ONE, 9_000);
    desk.play(ONE, 2_500);
    desk.play(ONE, 20);
    assert_eq!(
        desk.events(),
        [Event::Overflow {
            utterance: ONE,
            dropped_ms: 1_520
        }]
    );
    assert_eq!(words(&desk.take(600)), 80_000);
    assert_eq!(desk.flush()[0].received_ms, 11_520);
}

#[test]
fn comfort_is_heard_only_while_there_are_no_words() {
    let mut desk = Desk::new();
    desk.playout.set_comfort(true);
    assert!(words(&desk.take(5)) > 400);
    desk.play(ONE, 100);
    desk.finish(ONE);
    let mut pcm = Vec::new();
    Law::Mu.decode(&desk.take(5)[RAMP..800 - RAMP], &mut pcm);
    assert!(pcm.iter().all(|&sample| sample > 7_000));
    desk.playout.set_comfort(false);
    assert_eq!(words(&desk.take(5)), 0);
}

#[test]
fn another_law_encodes_what_waits() {
    let mut desk = Desk::new();
    desk.play(ONE, 100);
    desk.playout.set_format(&Format::plain(Codec::Pcma));
    let mut pcm = Vec::new();
    Law::A.decode(&desk.take(4), &mut pcm);
    assert!(pcm[RAMP..].iter().all(|sample| (7_500..8_500).contains(sample)));
}

#[test]
fn it_is_quiet_only_when_no_words_wait_and_none_are_on_their_way() {
    let mut desk = Desk::new();
    assert!(desk.playout.is_quiet());
    desk.play(ONE, 100);
    desk.take(5);
    assert!(!desk.playout.is_quiet());
    desk.take(STARVED_MS_MAX as usize / 20);
    assert!(desk.playout.is_quiet());
    desk.play(ONE, 100);
    desk.finish(ONE);
    assert!(!desk.playout.is_quiet());
    desk.take(5);
    assert!(desk.playout.is_quiet());
}

#[test]
fn where_silence_stops_it_is_announced_and_then_only_kept_alive() {
    let mut desk = Desk::with(Silence::Stop);
    desk.play(ONE, 100);
    desk.finish(ONE);
    let mut leaving = Vec::new();
    for _ in 0..1_006 {
        desk.now += Duration::from_millis(20);
        leaving.push(desk.playout.prepare(desk.now, 20, &mut desk.events));
    }
    assert_eq!(leaving[0], Leaving::Audio { spurt: true });
    assert_eq!(leaving[1..5], [Leaving::Audio { spurt: false }; 4]);
    let noise: Vec<usize> = (5..leaving.len()).filter(|&at| leaving[at] == Leaving::Noise).collect();
    assert_eq!(noise, [5, 505, 1_005]);
    let nothing = leaving.iter().filter(|&&each| each == Leaving::Nothing).count();
    assert_eq!(nothing, leaving.len() - 5 - noise.len());
}

#[test]
fn an_empty_ring_gives_its_memory_back() {
    let mut desk = Desk::new();
    desk.play(ONE, 9_000);
    desk.finish(ONE);
    desk.take(450);
    assert!(desk.playout.ring.capacity() <= 2 * RING_KEPT_MS * PER_MS);
}

const PER_MS: usize = 8;
const RAMP: usize = RAMP_MS * PER_MS;
const SILENCE: u8 = Law::Mu.silence();
const LOUD: i16 = 8_000;

/// A playout with its clock and events.
struct Desk {
    playout: Playout,
    events: Events,
    now: Instant,
}

impl Desk {
    fn new() -> Self {
        Self::with(Silence::Send)
    }

    fn with(silence: Silence) -> Self {
        let mut desk = Self {
            playout: Playout::new(10_000, SampleRate::Hz24000, silence),
            events: Events::default(),
            now: Instant::now(),
        };
        desk.playout.set_format(&Format::plain(Codec::Pcmu));
        desk
    }

    fn play(&mut self, utterance: Utterance, ms: usize) {
        self.playout
            .play(self.now, utterance, &vec![LOUD; ms * 24], &mut self.events);
    }

    fn finish(&mut self, utterance: Utterance) {
        self.playout.finish(utterance, &mut self.events);
    }

    fn flush(&mut self) -> Vec<Heard> {
        self.playout.flush(self.now, &mut self.events)
    }

    fn take(&mut self, frames: usize) -> Vec<u8> {
        let mut out = Vec::new();
        for _ in 0..frames {
            self.now += Duration::from_millis(20);
            if let Leaving::Audio { .. } = self.playout.prepare(self.now, 20, &mut self.events) {
                out.extend_from_slice(self.playout.payload());
            }
        }
        out
    }

    fn events(&mut self) -> Vec<Event> {
        std::iter::from_fn(|| self.events.pop()).collect()
    }
}

/// Bytes from the packet in which words begin to the last of them; the resampler's first few are silent.
fn words(bytes: &[u8]) -> usize {
    let loud = |&byte: &u8| byte != SILENCE;
    let begin = bytes.iter().position(loud).map_or(0, |at| at / FRAME * FRAME);
    bytes.iter().rposition(loud).map_or(0, |at| at + 1 - begin)
}
