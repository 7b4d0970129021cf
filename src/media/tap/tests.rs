//! Both sides on one line of time, to the sample, in virtual time.

use super::*;

const RATE: SampleRate = SampleRate::Hz8000;
const PER_MS: u64 = 8;
/// 20 ms.
const PACKET: usize = 160;
/// What marks a packet in a long call.
const CLICK: i16 = 8_000;

#[test]
fn what_left_stands_at_the_time_of_its_packet_to_the_sample() {
    let mut rig = Rig::new();
    // The recording began somewhere between two packets.
    let first = 3_017;
    for packet in 0..50 {
        rig.leave_at(first + packet * 20_000, [packet as i16 + 1; PACKET].to_vec());
    }
    let (length, _, right) = rig.end_at(1_100_000);
    assert_eq!(length.frames, 1_100 * PER_MS);
    let begin = (first * PER_MS + 500) as usize / 1_000;
    assert!(right[..begin].iter().all(|&sample| sample == 0));
    for packet in 0..50 {
        let at = begin + packet * PACKET;
        assert_eq!(right[at..at + PACKET], [packet as i16 + 1; PACKET], "{packet}");
    }
    assert!(right[begin + 50 * PACKET..].iter().all(|&sample| sample == 0));
}

#[test]
fn packets_that_were_skipped_or_not_sent_are_silence_of_their_length() {
    let mut rig = Rig::new();
    rig.leave_at(1_000_000, vec![1; PACKET]);
    rig.leave_at(1_100_000, vec![2; PACKET]);
    rig.leave_at(1_120_000, Vec::new());
    rig.leave_at(1_140_000, vec![3; PACKET]);
    let (_, _, right) = rig.end_at(1_500_000);
    let level = |ms: usize| right[ms * 8 + 80];
    assert_eq!(
        [level(980), level(1_000), level(1_100), level(1_120), level(1_140)],
        [0, 1, 2, 0, 3]
    );
}

#[test]
fn what_the_agent_was_given_stands_where_it_was_given() {
    let mut rig = Rig::new();
    rig.run_to(500_000);
    rig.give(500_000, vec![1; PACKET]);
    rig.run_to(700_000);
    let (_, left, _) = rig.end_at(800_000);
    assert_eq!(left[480 * 8..500 * 8], [1; PACKET]);
    assert_eq!(left.iter().filter(|&&sample| sample != 0).count(), PACKET);
}

#[test]
fn what_was_heard_before_the_recording_began_is_not_in_it() {
    let mut rig = Rig::new();
    rig.give(5_000, vec![1; PACKET]);
    let (length, left, _) = rig.end_at(100_000);
    assert_eq!(length.frames, 800);
    assert_eq!((left[39], left[40]), (1, 0));
}

#[test]
fn bursts_and_gaps_lose_and_move_nothing() {
    let mut rig = Rig::new();
    let mut expected = 0;
    // Packets are up to 60 ms late, some come together, none overtakes another; now and then some are on time.
    let mut last = 0;
    for packet in 0..500_u64 {
        let on_time = (packet + 1) * 20_000;
        let late = if packet % 13 >= 8 { 0 } else { (packet * 7_919) % 60_000 };
        last = (on_time + late).max(last);
        rig.run_to(last);
        rig.give(last, ramp(packet as usize));
        expected += PACKET;
    }
    let (_, left, _) = rig.end_at(last + 100_000);
    let heard: Vec<i16> = left.iter().copied().filter(|&sample| sample != 0).collect();
    assert_eq!(heard.len(), expected);
    assert!(
        heard
            .chunks(PACKET)
            .enumerate()
            .all(|(packet, pcm)| pcm == ramp(packet))
    );
    assert_eq!(rig.offset_ms(&left, 300), 0.0);
}

#[test]
fn a_first_packet_that_was_late_is_put_right_at_the_next_quiet_moment() {
    let mut rig = Rig::new();
    for packet in 0..400_u64 {
        let late = if packet == 0 { 40_000 } else { 0 };
        let at = (packet + 1) * 20_000 + late;
        rig.run_to(at);
        let quiet = packet % 50 > 40;
        rig.give(at, if quiet { vec![0; PACKET] } else { ramp(packet as usize) });
    }
    let (_, left, _) = rig.end_at(8_100_000);
    assert_eq!(rig.offset_ms(&left, 20), 40.0);
    assert_eq!(rig.offset_ms(&left, 300), 0.0);
}

#[test]
fn a_clock_that_drifts_for_hours_stays_within_ten_milliseconds_of_who_pauses_now_and_then() {
    for ppm in [-200, 200] {
        let worst = drift(ppm, 3600, |packet| packet % 250 > 200);
        assert!(worst <= 10.0, "{ppm} ppm: {worst} ms");
    }
}

#[test]
fn a_clock_that_drifts_for_hours_stays_within_seventy_milliseconds_of_who_never_pauses() {
    for ppm in [-200, 200] {
        let worst = drift(ppm, 3600, |_| false);
        assert!(worst <= 70.0 && worst > 30.0, "{ppm} ppm: {worst} ms");
    }
}

#[test]
fn moving_sound_that_is_not_quiet_makes_no_step_in_it() {
    for (ppm, seconds) in [(-2_000, 60), (2_000, 60)] {
        let mut rig = Rig::new();
        let tone = |at: u64| ((at as f64 * std::f64::consts::TAU * 50.0 / 8_000.0).sin() * 8_000.0) as i16;
        for packet in 0..seconds * 50_u64 {
            let at = ((packet + 1) as i64 * (20_000_000 + 20 * ppm) / 1_000) as u64;
            rig.run_to(at);
            let begin = packet * PACKET as u64;
            rig.give(at, (begin..begin + PACKET as u64).map(tone).collect());
        }
        let (_, left, _) = rig.end_at(seconds * 1_000_000);
        let steady = &left[8_000..left.len() - 8_000];
        let steepest = steady
            .windows(2)
            .map(|pair| (i32::from(pair[1]) - i32::from(pair[0])).abs())
            .max()
            .unwrap();
        // The tone itself rises by 314 from one sample to the next.
        assert!(steepest < 800, "{ppm}: {steepest}");
    }
}

#[test]
fn a_stall_of_three_hundred_milliseconds_moves_nothing() {
    let mut rig = Rig::new();
    for packet in 0..300_u64 {
        let on_time = (packet + 1) * 20_000;
        // From 3 s on nothing is read for 300 ms; then everything at once, and the pacer passes over what it missed.
        let stalled = (3_000_000..3_300_000).contains(&on_time);
        let at = if stalled { 3_300_000 } else { on_time };
        if !stalled {
            rig.run_to(at);
        }
        rig.give(at, ramp(packet as usize));
    }
    let (length, left, _) = rig.end_at(6_050_000);
    assert_eq!(length.frames, 6_050 * PER_MS);
    assert_eq!(
        [
            rig.offset_ms(&left, 140),
            rig.offset_ms(&left, 160),
            rig.offset_ms(&left, 290)
        ],
        [0.0; 3]
    );
}

#[test]
fn hold_and_time_before_media_are_silence_and_the_length_is_that_of_the_time() {
    let mut rig = Rig::new();
    // No packets for a minute: nobody tells the tap that time passes.
    rig.leave_at(60_000_000, vec![1; PACKET]);
    rig.give(60_020_000, vec![2; PACKET]);
    let (length, left, right) = rig.end_at(90_000_000);
    assert_eq!((length.frames, length.lost), (90_000 * PER_MS, 0));
    assert_eq!((right[60_000 * 8], right[60_000 * 8 - 1]), (1, 0));
    assert_eq!((left[60_000 * 8], left[60_000 * 8 - 1]), (2, 0));
}

#[test]
fn a_pause_is_silence_on_both_sides_to_the_sample() {
    let mut rig = Rig::new();
    for packet in 0..200_u64 {
        let at = (packet + 1) * 20_000;
        rig.leave_at(at - 20_000, vec![1; PACKET]);
        rig.give(at, vec![2; PACKET]);
        match packet {
            50 => rig.tap.pause(rig.at(at + 125)),
            100 => rig.tap.resume(rig.at(at + 250)),
            _ => {}
        }
    }
    let (length, left, right) = rig.end_at(4_000_000);
    let (from, to) = (51 * PACKET + 1, 101 * PACKET + 2);
    assert_eq!(length.paused, (to - from) as u64);
    for (side, sound) in [(left, 2), (right, 1)] {
        let silent = |(at, &sample): (usize, &i16)| sample == if (from..to).contains(&at) { 0 } else { sound };
        assert!(side.iter().enumerate().all(silent));
    }
}

#[test]
fn pausing_without_end_is_bounded_and_rather_too_long_than_too_short() {
    let mut rig = Rig::new();
    for ms in 0..100 {
        rig.tap.pause(rig.at(ms * 1_000));
        rig.tap.resume(rig.at(ms * 1_000 + 500));
    }
    rig.leave_at(0, vec![1; PACKET * 5]);
    let (_, _, right) = rig.end_at(200_000);
    assert!(
        right[..8 * 99 + 4]
            .iter()
            .enumerate()
            .all(|(at, &sample)| sample == 0 || at % 8 >= 4)
    );
}

#[test]
fn sound_without_a_buffer_is_lost_and_counted_and_moves_nothing() {
    let mut rig = Rig::new();
    rig.keep_buffers = true;
    for packet in 0..500_u64 {
        rig.leave_at(packet * 20_000, vec![packet as i16 + 1; PACKET]);
    }
    rig.take_chunks();
    let held = rig.chunks.len();
    assert_eq!(held, BUFFERS_MAX);
    rig.keep_buffers = false;
    (0..8).for_each(|_| rig.tap.give_back(Vec::new()));
    for packet in 500..600_u64 {
        rig.leave_at(packet * 20_000, vec![packet as i16 + 1; PACKET]);
    }
    let (length, _, right) = rig.end_at(12_000_000);
    let level = |ms: usize| right[ms * 8 + 80];
    assert_eq!((level(0), level(3_180), level(3_200), level(9_400)), (1, 160, 0, 0));
    assert_eq!((level(11_000), level(11_980)), (551, 600));
    let silent = right.iter().filter(|&&sample| sample == 0).count() as u64;
    assert_eq!((length.frames, length.lost), (12_000 * PER_MS, silent));
}

#[test]
fn buffers_are_used_again_and_no_more_are_made() {
    let mut rig = Rig::new();
    for packet in 0..5_000_u64 {
        rig.leave_at(packet * 20_000, vec![1; PACKET]);
    }
    assert!(rig.tap.buffers <= 2, "{}", rig.tap.buffers);
}

#[test]
fn another_codec_in_the_middle_changes_neither_rate_nor_time() {
    let mut rig = Rig::new();
    for packet in 0..200_u64 {
        let wide = packet >= 100;
        rig.rate = if wide { SampleRate::Hz24000 } else { RATE };
        let level = packet as i16 * 100;
        rig.leave_at(packet * 20_000, vec![level; if wide { 3 * PACKET } else { PACKET }]);
    }
    let (length, _, right) = rig.end_at(4_000_000);
    assert_eq!(length.frames, 4_000 * PER_MS);
    for packet in 0..200 {
        let middle = right[packet * PACKET + 80];
        assert!(
            (i32::from(middle) - packet as i32 * 100).abs() < 20,
            "{packet}: {middle}"
        );
    }
}

#[test]
fn without_a_recording_nothing_is_kept() {
    let mut rig = Rig::new();
    rig.end_at(1_000);
    for packet in 0..100 {
        rig.leave_at(packet * 20_000, vec![1; PACKET]);
        rig.give(packet * 20_000, vec![1; PACKET]);
    }
    assert!(rig.left.pcm.is_empty() && rig.right.pcm.is_empty() && !rig.left.open);
    assert_eq!((rig.tap.poll(), rig.tap.end(rig.at(0))), (None, None));
}

/// Runs a call whose caller's clock is off by this much; the worst the caller was off in the recording, in milliseconds.
fn drift(ppm: i64, seconds: u64, quiet: impl Fn(u64) -> bool) -> f64 {
    let mut rig = Rig::new();
    let mut worst: f64 = 0.0;
    let mut expected: VecDeque<(u64, u64)> = VecDeque::new();
    for packet in 0..seconds * 50 {
        let at = ((packet + 1) as i64 * (20_000_000 + 20 * ppm) / 1_000) as u64;
        rig.run_to(at);
        let silent = quiet(packet);
        // A click of its own in the middle of each packet, on a level that is not quiet.
        let mut pcm = vec![if silent { 0 } else { 4_000 }; PACKET];
        if !silent && packet % 50 == 25 {
            pcm[PACKET / 2] = CLICK;
            expected.push_back((packet, at * PER_MS / 1_000 - PACKET as u64 / 2));
        }
        rig.give(at, pcm);
        rig.take_chunks();
        for chunk in rig.chunks.drain(..) {
            let loud = chunk.pcm.chunks(2).position(|pair| pair[0] == CLICK);
            if let Some(found) = loud.map(|at| chunk.at + at as u64) {
                while let Some((_, due)) = expected.pop_front() {
                    let off = (found as f64 - due as f64) / PER_MS as f64;
                    if off.abs() < 500.0 {
                        worst = worst.max(off.abs());
                        break;
                    }
                }
            }
            rig.tap.give_back(chunk.pcm);
        }
    }
    worst
}

/// A packet whose samples tell which it is; none is zero, or quiet.
fn ramp(packet: usize) -> Vec<i16> {
    (0..PACKET)
        .map(|at| 1_000 + (packet % 100 * PACKET + at) as i16)
        .collect()
}

/// A tap with both its sides, and a clock in microseconds.
struct Rig {
    tap: Tap,
    begun: Instant,
    left: Side,
    right: Side,
    rate: SampleRate,
    ticked: u64,
    chunks: Vec<Chunk>,
    keep_buffers: bool,
}

impl Rig {
    fn new() -> Self {
        let begun = Instant::now();
        let mut rig = Self {
            tap: Tap::default(),
            begun,
            left: Side::new(),
            right: Side::new(),
            rate: RATE,
            ticked: 0,
            chunks: Vec::new(),
            keep_buffers: false,
        };
        rig.tap.begin(begun, RATE);
        rig.tap.caller(begun, &mut rig.left);
        rig.tap.agent(begun, &mut rig.right);
        rig
    }

    fn at(&self, us: u64) -> Instant {
        self.begun + Duration::from_micros(us)
    }

    /// A packet leaves whose time begins then.
    fn leave_at(&mut self, us: u64, pcm: Vec<i16>) {
        let end = us + 20_000;
        self.right.hear(self.rate, &pcm);
        let length = pcm.len() as u64 / self.rate.per_ms() as u64 * 1_000;
        self.tap.agent(self.at(end.max(us + length)), &mut self.right);
        self.take_chunks();
    }

    /// Packet times pass in which nothing is sent.
    fn run_to(&mut self, us: u64) {
        while self.ticked + 20_000 <= us {
            self.ticked += 20_000;
            self.tap.agent(self.at(self.ticked), &mut self.right);
            self.take_chunks();
        }
    }

    fn give(&mut self, us: u64, pcm: Vec<i16>) {
        self.left.hear(self.rate, &pcm);
        self.tap.caller(self.at(us), &mut self.left);
    }

    fn take_chunks(&mut self) {
        while let Some(chunk) = self.tap.poll() {
            if !self.keep_buffers {
                self.tap.give_back(chunk.pcm.clone());
            }
            self.chunks.push(chunk);
        }
    }

    /// The whole recording.
    fn end_at(&mut self, us: u64) -> (Length, Vec<i16>, Vec<i16>) {
        let length = self.tap.end(self.at(us)).unwrap();
        self.take_chunks();
        let mut pairs = vec![0; 2 * length.frames as usize];
        for chunk in self.chunks.drain(..) {
            pairs[2 * chunk.at as usize..][..chunk.pcm.len()].copy_from_slice(&chunk.pcm);
        }
        let side = |side: usize| pairs.iter().skip(side).step_by(2).copied().collect();
        (length, side(0), side(1))
    }

    /// How far this packet of a far end that sends one every 20 ms is from its place.
    fn offset_ms(&self, left: &[i16], packet: usize) -> f64 {
        let pcm = ramp(packet);
        let due = packet * PACKET;
        let around = due.saturating_sub(4_000)..due + 4_000;
        let found = around
            .filter(|&at| left.get(at..at + PACKET) == Some(&pcm))
            .min_by_key(|at| at.abs_diff(due));
        (found.expect("the packet is there") as f64 - due as f64) / PER_MS as f64
    }
}
