//! From the agent to the far end.

use super::{line::Line, *};

#[test]
fn ten_thousand_packets_leave_exactly_on_their_deadlines() {
    let mut line = Line::new();
    let start = line.now;
    line.run(200_000);
    assert_eq!(line.sent.len(), 10_000);
    for (index, packet) in line.sent.iter().enumerate() {
        assert_eq!(packet.at, start + Duration::from_millis(20) * (index as u32 + 1));
        assert_eq!(
            packet.header.sequence,
            line.sent[0].header.sequence.wrapping_add(index as u16)
        );
        assert_eq!(
            packet.header.timestamp,
            line.sent[0].header.timestamp.wrapping_add(index as u32 * 160)
        );
        assert_eq!(packet.payload, [0xFF; 160]);
        assert_eq!(packet.header.marker, index == 0);
    }
}

#[test]
fn the_packet_time_of_the_far_end_is_kept() {
    for ptime_ms in [10, 20, 30, 40, 50, 60] {
        let mut line = Line::with(&Negotiated {
            ptime_ms,
            ..terms(Codec::Pcma)
        });
        line.run(6_000);
        assert_eq!(line.sent.len() as u32, 6_000 / ptime_ms);
        let step = line.sent[1]
            .header
            .timestamp
            .wrapping_sub(line.sent[0].header.timestamp);
        assert_eq!((step, line.sent[0].payload.len() as u32), (ptime_ms * 8, ptime_ms * 8));
        assert!(
            line.sent
                .iter()
                .all(|packet| packet.payload.iter().all(|&byte| byte == 0xD5))
        );
    }
}

#[test]
fn words_leave_with_a_marker_and_their_beginning_and_end_are_told() {
    let mut line = Line::new();
    line.run(100);
    line.say(ONE, 100);
    line.machine.finish(ONE);
    line.run(200);
    let marked: Vec<usize> = (0..line.sent.len())
        .filter(|&index| line.sent[index].header.marker)
        .collect();
    assert_eq!(marked, [0, 5]);
    assert_eq!(
        line.events(),
        [
            Event::Started(ONE),
            Event::Finished(Heard {
                utterance: ONE,
                sent_ms: 100,
                received_ms: 100,
                complete: true
            })
        ]
    );
    assert!(line.machine.is_quiet());
}

#[test]
fn deltas_in_bursts_leave_no_gap_between_them() {
    let mut line = Line::new();
    for _ in 0..20 {
        line.say(ONE, 400);
        line.run(300);
    }
    line.machine.finish(ONE);
    line.run(3_000);
    let words: Vec<bool> = line.sent.iter().map(|packet| packet.is_loud()).collect();
    let first = words.iter().position(|&loud| loud).unwrap();
    let last = words.iter().rposition(|&loud| loud).unwrap();
    assert!(words[first..=last].iter().all(|&loud| loud));
    assert_eq!(last + 1 - first, 400);
}

#[test]
fn a_flush_lets_one_more_packet_leave_and_tells_exactly_what_did() {
    for ms in [0, 7, 20, 33, 150, 1_001] {
        let mut line = Line::new();
        line.say(ONE, 5_000);
        line.run(ms);
        let heard = line.machine.flush(line.now);
        let before = line.sent.len();
        line.run(500);
        let after = line.sent[before..].iter().filter(|packet| packet.is_loud()).count();
        assert!(after <= 1, "{after}");
        let loud: usize = line.sent.iter().map(|packet| packet.words()).sum();
        assert_eq!(heard.len(), 1);
        assert_eq!(heard[0].sent_ms as usize, loud / 8);
        assert_eq!((heard[0].received_ms, heard[0].complete), (5_000, false));
    }
}

#[test]
fn words_that_the_far_end_says_never_came_were_not_heard() {
    // The line goes dead for our packets after two seconds, and nobody notices for three more.
    let mut line = Line::new();
    line.say(ONE, 10_000);
    line.run(1_900);
    line.report_until(line.sent.len() - 1);
    line.run(3_100);
    line.report_until(99);
    line.run(20);
    let heard = line.machine.flush(line.now);
    assert_eq!((heard[0].sent_ms, heard[0].received_ms), (2_000, 10_000));
}

#[test]
fn a_report_that_only_lags_behind_takes_nothing_away() {
    for behind in [1, 40] {
        let mut line = Line::new();
        line.say(ONE, 10_000);
        line.run(1_900);
        line.report_until(line.sent.len() - 1);
        line.run(3_100);
        line.report_until(line.sent.len() - behind);
        line.run(20);
        assert_eq!(line.machine.flush(line.now)[0].sent_ms, 5_025);
    }
}

#[test]
fn a_short_stall_is_caught_up_with_and_a_long_one_passed_over() {
    let mut line = Line::new();
    line.say(ONE, 5_000);
    line.run(200);
    line.sleep(80);
    line.run(100);
    assert_eq!(line.sent.len(), 19);
    line.sleep(1_000);
    line.run(1);
    assert_eq!(line.sent.len(), 20);
    let [.., before, after] = line.sent.as_slice() else {
        panic!("packets were sent")
    };
    assert_eq!(after.header.sequence, before.header.sequence.wrapping_add(1));
    assert_eq!(after.header.timestamp.wrapping_sub(before.header.timestamp), 160 * 50);
    assert!(after.header.marker);
    assert_eq!(line.machine.statistics().ticks_skipped, 49);
    line.run(200);
    assert_eq!(line.sent.len(), 30);
}

#[test]
fn a_stall_is_never_followed_by_a_burst() {
    for stall_ms in [5, 30, 95, 99, 130, 1_000] {
        let mut line = Line::new();
        line.say(ONE, 9_000);
        line.run(200);
        line.sleep(stall_ms);
        line.run(1_000);
        let times: Vec<Instant> = line.sent.iter().map(|packet| packet.at).collect();
        assert!(
            times
                .windows(3)
                .all(|three| three[2] - three[0] >= Duration::from_millis(20))
        );
        let due = (1_200 + stall_ms) / 20;
        let skipped = line.machine.statistics().ticks_skipped;
        assert_eq!(line.sent.len() as u64 + skipped, due, "{stall_ms} ms");
        assert_eq!(skipped > 0, stall_ms >= 130);
    }
}

#[test]
fn another_codec_in_mid_call_changes_both_ways() {
    let mut line = Line::new();
    line.say(ONE, 1_000);
    line.run(200);
    line.machine.apply(line.now, &terms(Codec::Pcma));
    line.sent.clear();
    line.run(100);
    assert!(line.sent.iter().all(|packet| packet.header.payload_type == 8));
    let mut pcm = Vec::new();
    Law::A.decode(&line.sent[2].payload, &mut pcm);
    assert!(pcm.iter().all(|sample| (7_500..8_500).contains(sample)));
}

#[test]
fn speech_of_the_agent_arrives_at_the_far_end_with_its_pitch() {
    let mut line = Line::new();
    let mut tone = Tone::new(SampleRate::Hz24000, 440.0, -12.0);
    for _ in 0..50 {
        let mut pcm = vec![0; 960];
        tone.fill(&mut pcm);
        line.machine.play(line.now, ONE, &pcm);
        line.run(40);
    }
    let (mut narrow, mut wide) = (Vec::new(), Vec::new());
    for packet in line.sent.iter().filter(|packet| packet.is_loud()) {
        Law::Mu.decode(&packet.payload, &mut narrow);
    }
    Upsampler::new().process(&narrow, &mut wide);
    let rising = wide[2_400..]
        .windows(2)
        .filter(|pair| pair[0] < 0 && pair[1] >= 0)
        .count();
    let hz = rising as f32 * 24_000.0 / (wide.len() - 2_400) as f32;
    assert!((hz - 440.0).abs() < 2.0, "{hz}");
}
