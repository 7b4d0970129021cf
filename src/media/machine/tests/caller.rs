//! From the far end to the agent.

use super::{line::Line, *};

#[test]
fn a_packet_in_order_is_heard_the_moment_it_comes() {
    let mut line = Line::new();
    for _ in 0..500 {
        line.speak();
        assert_eq!(line.heard.len(), 480);
        line.heard.clear();
        line.run(20);
    }
    let statistics = line.machine.statistics();
    assert_eq!(
        (statistics.packets_received, statistics.lost, statistics.silence_ms),
        (500, 0, 0)
    );
}

#[test]
fn an_overtaken_packet_is_heard_in_its_place() {
    let mut straight = Line::new();
    let mut crooked = Line::new();
    for index in 0..20_u32 {
        straight.speak();
        straight.run(20);
        match index {
            10 => crooked.skip(),
            11 => {
                crooked.speak();
                assert!(!crooked.heard.is_empty());
                crooked.repeat(10);
            }
            _ => crooked.speak(),
        }
        crooked.run(20);
    }
    assert_eq!(straight.heard, crooked.heard);
    assert_eq!(crooked.machine.statistics().reordered, 1);
}

#[test]
fn a_lost_packet_is_concealed_in_length_and_counted() {
    let mut line = Line::new();
    for index in 0..200 {
        if index % 20 == 10 {
            line.skip()
        } else {
            line.speak()
        }
        line.run(20);
    }
    line.run(60);
    let statistics = line.machine.statistics();
    assert_eq!((statistics.lost, statistics.concealed_ms), (10, 200));
    assert_eq!(line.heard.len(), 200 * 480);
    let quietest = line.heard.chunks(480).map(level::dbfs).fold(0.0, f32::min);
    assert!(quietest > -16.0, "a hole of {quietest} dBFS is left");
}

#[test]
fn a_tone_keeps_its_pitch_level_and_length_in_both_laws() {
    for codec in [Codec::Pcmu, Codec::Pcma] {
        let mut line = Line::with(&terms(codec));
        for _ in 0..100 {
            line.speak();
            line.run(20);
        }
        assert_eq!(line.heard.len(), 2 * 24_000);
        let body = &line.heard[4_800..];
        let rising = body.windows(2).filter(|pair| pair[0] < 0 && pair[1] >= 0).count();
        let hz = rising as f32 / (body.len() as f32 / 24_000.0);
        assert!((hz - 400.0).abs() < 1.0, "{codec:?}: {hz}");
        assert!(
            (level::dbfs(body) + 12.0).abs() < 0.5,
            "{codec:?}: {}",
            level::dbfs(body)
        );
    }
}

#[test]
fn when_nothing_comes_silence_is_made_up_in_real_time() {
    let mut line = Line::new();
    for _ in 0..50 {
        line.speak();
        line.run(20);
    }
    line.run(5_000);
    let total = line.heard.len() / 24;
    assert!((5_900..=6_000).contains(&total), "{total}");
    assert!(line.heard[24 * 1_100..].iter().all(|&sample| sample == 0));
    line.speak_at(line.index + 250);
    assert_eq!(line.machine.statistics().lost, 0);
}

#[test]
fn an_outage_is_not_heard_twice() {
    let mut line = Line::new();
    for index in 0..150 {
        if (50..75).contains(&index) {
            line.skip()
        } else {
            line.speak()
        }
        line.run(20);
    }
    line.run(60);
    assert_eq!(line.machine.statistics().lost, 25);
    let total = line.heard.len() / 24;
    assert!((2_980..=3_080).contains(&total), "{total}");
}

#[test]
fn a_key_press_is_told_once_whatever_is_lost_or_repeated() {
    let mut line = Line::new();
    for (count, key) in "159*#0D".chars().enumerate() {
        let timestamp = line.timestamp();
        for (index, event) in press(key, timestamp, 800, 160).unwrap().enumerate() {
            let copies = if (index + count) % 3 == 0 { 0 } else { 2 };
            for _ in 0..copies {
                line.send(101, event.marker, event.timestamp, &event.payload);
            }
            line.advance();
            line.run(20);
        }
    }
    let keys: String = line
        .events()
        .iter()
        .filter_map(|event| match event {
            Event::Digit(key) => Some(*key),
            _ => None,
        })
        .collect();
    assert_eq!(keys, "159*#0D");
}

#[test]
fn keys_without_agreement_are_unexpected() {
    let mut line = Line::with(&Negotiated {
        event_send: None,
        events: Vec::new(),
        ..terms(Codec::Pcmu)
    });
    line.send(101, true, 0, &[1, 10, 0, 160]);
    assert_eq!(line.events(), []);
    assert_eq!(line.machine.statistics().unexpected, 1);
}

#[test]
fn music_on_hold_is_not_for_the_agent() {
    let mut line = Line::new();
    line.machine.apply(
        line.now,
        &Negotiated {
            direction: Direction::RecvOnly,
            ..terms(Codec::Pcmu)
        },
    );
    for _ in 0..100 {
        line.speak();
        line.run(20);
    }
    assert!(line.heard.iter().all(|&sample| sample == 0));
    assert!(line.heard.len() / 24 >= 1_900);
    line.machine.apply(line.now, &terms(Codec::Pcmu));
    line.speak();
    line.speak();
    assert!(level::dbfs(&line.heard[line.heard.len() - 480..]) > -20.0);
}

#[test]
fn silence_of_the_far_end_is_told_once() {
    let mut line = Line::new();
    line.speak();
    line.run(130_000);
    assert_eq!(told(&mut line), 1);
    line.speak();
    line.run(1_000);
    assert_eq!(told(&mut line), 0);
}

fn told(line: &mut Line) -> usize {
    let events = line.events();
    events.iter().filter(|event| **event == Event::Silent).count()
}

#[test]
fn whatever_the_network_does_the_agent_hears_about_as_much_as_time_passes() {
    for seed in 0..4 {
        let mut random = crate::media::settings::Random::new(seed);
        let mut line = Line::new();
        let (loss, twice, shuffle) = (
            random.fraction() * 0.4,
            random.fraction() * 0.2,
            random.fraction() * 0.3,
        );
        for index in 0..500_u32 {
            if random.fraction() >= loss {
                let back = if random.fraction() < shuffle {
                    (random.next() % 5) as u32
                } else {
                    0
                };
                line.speak_at(index.saturating_sub(back));
            }
            if random.fraction() < twice {
                line.speak_at(index);
            }
            line.run(20);
        }
        let heard_ms = line.heard.len() / 24;
        assert!((8_500..=12_100).contains(&heard_ms), "seed {seed}: {heard_ms} ms");
        assert_eq!(line.sent.len(), 500);
    }
}

#[test]
fn jumps_meant_to_be_concealed_for_ever_are_held_to_time() {
    let mut line = Line::new();
    for index in 0..500 {
        line.speak_at(index * 49);
        line.run(20);
    }
    assert!(line.heard.len() / 24 < 10_000 + 4_000);
}
