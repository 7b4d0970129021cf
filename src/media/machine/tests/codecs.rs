//! Every codec over every kind of link: pitch, level, length, seams and time.

use super::{
    link::{Link, Weather, opus},
    *,
};
use crate::sdp::Format;

const RATES: [SampleRate; 3] = [SampleRate::Hz8000, SampleRate::Hz16000, SampleRate::Hz24000];
const CLEAR: Weather = Weather {
    seed: 1,
    loss: 0.0,
    twice: 0.0,
    jitter_ms: 0.0,
};
const ROUGH: Weather = Weather {
    seed: 1,
    loss: 0.05,
    twice: 0.03,
    jitter_ms: 30.0,
};

#[test]
fn a_tone_passes_both_ways_in_every_codec_at_every_rate_of_the_session() {
    for codec in Codec::ALL {
        for session in RATES {
            let mut link = Link::new(Format::plain(codec), session, CLEAR);
            link.say(ONE, &tone(session, 400.0, 2_000));
            link.speak(&tone(link.rate(), 400.0, 2_000));
            let what = format!("{codec:?} {session:?}");
            assert_eq!(link.heard.len(), 2_000 * session.per_ms(), "{what}");
            assert_tone(&link.heard, session, 400.0, &what);
            assert_tone(&link.played, codec.line_rate(session), 400.0, &what);
            let (first, last) = (link.headers[0].1, link.headers.last().unwrap().1);
            let ticks = last.timestamp.wrapping_sub(first.timestamp);
            assert_eq!(ticks, (link.headers.len() as u32 - 1) * codec.clock_hz() / 50, "{what}");
        }
    }
}

#[test]
fn every_packet_time_is_kept_in_every_codec() {
    for codec in Codec::ALL {
        for ptime_ms in [10, 20, 30, 40, 50, 60] {
            let mut link = Link::new(Format::plain(codec), SampleRate::Hz24000, CLEAR);
            link.settle(&[Format::plain(codec)], ptime_ms);
            link.say(ONE, &tone(SampleRate::Hz24000, 300.0, 3_000));
            link.speak(&tone(link.rate(), 300.0, 3_000));
            let what = format!("{codec:?} {ptime_ms} ms");
            assert_tone(&link.heard, SampleRate::Hz24000, 300.0, &what);
            assert_tone(&link.played, link.rate(), 300.0, &what);
            assert_eq!(link.headers.len() as u32, 2_980 / ptime_ms + 1, "{what}");
            assert_eq!(
                link.played.len(),
                link.headers.len() * ptime_ms as usize * link.rate().per_ms(),
                "{what}"
            );
        }
    }
}

#[test]
fn reordered_and_repeated_packets_are_heard_once_and_in_order() {
    for codec in Codec::ALL {
        let spoken = speech(codec.line_rate(SampleRate::Hz24000), 5_000);
        let mut straight = Link::new(Format::plain(codec), SampleRate::Hz24000, CLEAR);
        straight.speak(&spoken);
        for seed in 0..3 {
            let weather = Weather {
                seed,
                twice: 0.2,
                jitter_ms: 30.0,
                ..CLEAR
            };
            let mut crooked = Link::new(Format::plain(codec), SampleRate::Hz24000, weather);
            crooked.speak(&spoken);
            crooked.run(60);
            let statistics = crooked.machine.statistics();
            assert!(statistics.reordered > 3 && statistics.duplicate > 10, "{statistics:?}");
            assert_eq!((statistics.lost, statistics.stretched_ms), (0, 0), "{codec:?} {seed}");
            assert_eq!(crooked.heard.len(), straight.heard.len(), "{codec:?} {seed}");
            assert!(crooked.heard == straight.heard, "{codec:?} {seed}");
        }
    }
}

#[test]
fn loss_and_jitter_leave_neither_holes_nor_clicks_nor_delay() {
    for format in [
        Format::plain(Codec::Pcmu),
        Format::plain(Codec::Pcma),
        Format::plain(Codec::G722),
        opus(false, false),
        opus(true, false),
    ] {
        for seed in 0..3 {
            let mut link = Link::new(format, SampleRate::Hz24000, Weather { seed, ..ROUGH });
            let spoken = tone(link.rate(), 310.0, 20_000);
            link.speak(&spoken);
            link.run(60);
            let what = format!("{:?} {seed}", format.codec);
            let heard_ms = link.heard.len() / 24;
            assert!(heard_ms.abs_diff(20_000) <= 60, "{what}: {heard_ms} ms");
            let quiet = link.heard[2_400..link.heard.len() - 2_400]
                .chunks(240)
                .filter(|part| level::dbfs(part) < -45.0);
            // Three or more packets in a row are lost now and then, and fade.
            let quiet = quiet.count();
            assert!(quiet < 20, "{what}: {quiet} holes");
            let statistics = link.machine.statistics();
            assert!(statistics.lost > 20 && statistics.late < 20, "{what}: {statistics:?}");
            assert!(
                roughest(&link.heard) < 4.0 * ripple(310.0, SampleRate::Hz24000) + 900.0,
                "{what}: {}",
                roughest(&link.heard)
            );
        }
    }
}

#[test]
fn what_is_made_up_is_nearer_to_what_was_said_than_silence() {
    for format in [Codec::Pcmu, Codec::Pcma, Codec::G722].map(Format::plain) {
        let weather = Weather {
            seed: 5,
            loss: 0.05,
            ..CLEAR
        };
        let mut clear = Link::new(format, SampleRate::Hz16000, CLEAR);
        let mut lossy = Link::new(format, SampleRate::Hz16000, weather);
        let spoken = speech(clear.rate(), 20_000);
        clear.speak(&spoken);
        lossy.speak(&spoken);
        lossy.run(60);
        let error = error_db(&clear.heard, &lossy.heard);
        // A packet in twenty replaced by silence is an error of 13 dB below the signal.
        assert!(error < -14.0, "{format:?}: {error} dB");
    }
}

#[test]
fn opus_gets_a_lost_packet_out_of_the_next() {
    let weather = Weather {
        seed: 5,
        loss: 0.05,
        ..CLEAR
    };
    let run = |fec| {
        let mut clear = Link::new(opus(fec, false), SampleRate::Hz16000, CLEAR);
        let mut lossy = Link::new(opus(fec, false), SampleRate::Hz16000, weather);
        let spoken = speech(SampleRate::Hz16000, 20_000);
        for link in [&mut clear, &mut lossy] {
            link.expect_loss(10);
            link.speak(&spoken);
            link.run(60);
        }
        (error_db(&clear.heard, &lossy.heard), lossy.machine.statistics())
    };
    let (without, nothing) = run(false);
    let (with, some) = run(true);
    assert_eq!(nothing.recovered_ms, 0);
    assert!(some.recovered_ms > 500, "{some:?}");
    assert!(with < without - 1.0, "{with} dB with, {without} dB without");
}

#[test]
fn the_far_end_may_turn_to_any_agreed_codec_without_a_click() {
    for first in Codec::ALL {
        for second in Codec::ALL.into_iter().filter(|&codec| codec != first) {
            let both = [Format::plain(first), Format::plain(second)];
            let mut link = Link::new(both[0], SampleRate::Hz24000, CLEAR);
            link.settle(&both, 20);
            let rates = [first, second].map(|codec| codec.line_rate(SampleRate::Hz24000));
            link.speak(&tone(rates[0], 250.0, 1_000));
            link.speak_as(both[1]);
            // 250 Hz: a second is a whole number of periods, the tone goes on where it was.
            link.speak(&tone(rates[1], 250.0, 1_000));
            let what = format!("{first:?} to {second:?}");
            assert_eq!(link.heard.len(), 48_000, "{what}");
            let border = &link.heard[23_000..25_000];
            let (worst, usual) = (
                roughest(border),
                roughest(&link.heard[12_000..20_000]).max(roughest(&link.heard[30_000..])),
            );
            assert!(worst < 2.5 * usual + 600.0, "{what}: {worst} {usual}");
            let hole = border.chunks(120).map(level::dbfs).fold(0.0, f32::min);
            assert!(hole > -26.0, "{what}: a hole of {hole} dBFS");
        }
    }
}

#[test]
fn the_agents_words_go_on_when_the_codec_changes_among_them() {
    for first in Codec::ALL {
        for second in Codec::ALL.into_iter().filter(|&codec| codec != first) {
            let mut link = Link::new(Format::plain(first), SampleRate::Hz24000, CLEAR);
            link.say(ONE, &tone(SampleRate::Hz24000, 250.0, 2_000));
            link.run(1_000);
            let begin = link.played.len();
            let before = link.headers.len();
            link.settle(&[Format::plain(second)], 20);
            link.run(3_000);
            let what = format!("{first:?} to {second:?}");
            let rate = second.line_rate(SampleRate::Hz24000);
            let after = &link.played[begin..];
            let end = after.iter().rposition(|sample| sample.unsigned_abs() > 500).unwrap();
            let words_ms = end / rate.per_ms();
            assert!((985..=1_015).contains(&words_ms), "{what}: {words_ms} ms of 1000");
            assert_tone(&after[..end - 20 * rate.per_ms()], rate, 250.0, &what);
            let (one, other) = (link.headers[before - 1].1, link.headers[before].1);
            assert_eq!(other.sequence, one.sequence.wrapping_add(1), "{what}");
            assert_eq!(other.payload_type, second.payload_type(), "{what}");
            assert_eq!(other.ssrc == one.ssrc, first.clock_hz() == second.clock_hz(), "{what}");
            if first.law().is_some() && second.law().is_some() {
                assert!(roughest(&link.played[begin - 400..begin + 400]) < 1_200.0, "{what}");
            }
        }
    }
}

#[test]
fn an_interruption_clicks_in_no_codec() {
    for codec in Codec::ALL {
        for ms in [330, 337, 351] {
            let mut link = Link::new(Format::plain(codec), SampleRate::Hz24000, CLEAR);
            link.say(ONE, &tone(SampleRate::Hz24000, 250.0, 5_000));
            link.run(ms);
            let begin = link.played.len();
            link.machine.flush(link.now);
            link.run(200);
            let rate = link.rate();
            let (worst, usual) = (
                roughest(&link.played[begin - 200..]),
                roughest(&link.played[begin - 2_000..begin]),
            );
            assert!(worst < 2.0 * usual + 200.0, "{codec:?}: {worst} {usual}");
            let rest = &link.played[begin + 40 * rate.per_ms()..];
            assert!(level::dbfs(rest) < -60.0, "{codec:?}: {}", level::dbfs(rest));
        }
    }
}

#[test]
fn asymmetric_codecs_and_clocks_are_each_heard_as_what_they_are() {
    let (ours, theirs) = (Format::plain(Codec::Pcma), Format::plain(Codec::Opus));
    let mut link = Link::new(theirs, SampleRate::Hz24000, CLEAR);
    link.settle(&[ours, theirs], 20);
    link.speak_as(theirs);
    link.say(ONE, &tone(SampleRate::Hz24000, 400.0, 1_000));
    link.speak(&tone(SampleRate::Hz24000, 300.0, 1_000));
    assert_tone(&link.heard, SampleRate::Hz24000, 300.0, "heard");
    assert_tone(&link.played, SampleRate::Hz8000, 400.0, "played");
    assert!(link.machine.statistics().jitter_ms < 1.0);
}

#[test]
fn where_opus_need_not_be_sent_it_is_not_and_words_begin_with_a_marker() {
    let mut link = Link::new(opus(false, true), SampleRate::Hz24000, CLEAR);
    link.say(ONE, &tone(SampleRate::Hz24000, 300.0, 1_000));
    link.machine.finish(ONE);
    link.run(6_000);
    let silent = link.headers.len() - 50;
    assert!(silent < 60, "{silent} packets in 5 s of silence");
    let before = link.headers.len();
    link.say(Utterance(2), &tone(SampleRate::Hz24000, 300.0, 500));
    link.run(300);
    let (_, spurt) = link.headers[before..].iter().find(|(_, header)| header.marker).unwrap();
    assert!(spurt.sequence.wrapping_sub(link.headers[before - 1].1.sequence) <= 2);
    let began = link.headers[0].1.timestamp;
    assert!(spurt.timestamp.wrapping_sub(began) >= 48 * 5_900);
}

#[test]
fn a_pause_of_the_far_end_is_as_long_as_it_says() {
    for format in [
        Format::plain(Codec::Pcmu),
        Format::plain(Codec::G722),
        opus(false, false),
    ] {
        let mut link = Link::new(format, SampleRate::Hz24000, CLEAR);
        for _ in 0..20 {
            link.speak(&tone(link.rate(), 300.0, 1_000));
            link.pause(37);
        }
        link.speak(&tone(link.rate(), 300.0, 100));
        let expected = 20 * 1_740 + 100;
        let heard = link.heard.len() / 24;
        assert!(
            heard.abs_diff(expected) <= 25,
            "{:?}: {heard} of {expected} ms",
            format.codec
        );
        assert_eq!(link.machine.statistics().lost, 0);
    }
}

#[test]
fn a_far_end_that_describes_its_background_is_not_silent_in_its_pauses() {
    let mut link = Link::new(Format::plain(Codec::Pcmu), SampleRate::Hz16000, CLEAR);
    link.speak(&tone(SampleRate::Hz8000, 400.0, 1_000));
    link.describe(50);
    link.pause(100);
    let noise = level::dbfs(&link.heard[16 * 1_300..16 * 2_900]);
    assert!((noise + 50.0).abs() < 1.5, "{noise} dBFS");
    link.speak(&tone(SampleRate::Hz8000, 400.0, 1_000));
    assert!((link.heard.len() / 16).abs_diff(4_000) <= 40);
    link.pause(50);
    assert!(level::dbfs(&link.heard[link.heard.len() - 16 * 500..]) < -90.0);
    assert_eq!(link.machine.statistics().lost, 0);
}

#[test]
fn a_far_end_that_begins_anew_is_heard_at_once_and_nothing_twice() {
    for (ssrc, sequence, timestamp) in [(5, 100, 100), (99, 20_000, 7), (99, 65_533, 3_000_000_000)] {
        let mut link = Link::new(Format::plain(Codec::Pcmu), SampleRate::Hz8000, CLEAR);
        link.speak(&tone(SampleRate::Hz8000, 400.0, 2_000));
        let before = link.heard.len();
        let mut payload = Vec::new();
        Law::Mu.encode(&tone(SampleRate::Hz8000, 400.0, 20), &mut payload);
        for index in 0..50_u16 {
            link.run(20);
            let header = Header {
                payload_type: 0,
                sequence: u16::wrapping_add(sequence, index),
                timestamp: u32::wrapping_add(timestamp, u32::from(index) * 160),
                ssrc,
                marker: false,
            };
            link.post(&header, &payload);
        }
        link.run(20);
        let heard_ms = (link.heard.len() - before) / 8;
        assert!((980..=1_040).contains(&heard_ms), "{ssrc}: {heard_ms} ms");
    }
}

#[test]
fn another_rate_of_the_session_takes_effect_at_once_in_both_directions() {
    for codec in Codec::ALL {
        let mut link = Link::new(Format::plain(codec), SampleRate::Hz24000, CLEAR);
        link.say(ONE, &tone(SampleRate::Hz24000, 400.0, 1_000));
        link.speak(&tone(link.rate(), 400.0, 500));
        link.machine.set_session_rate(SampleRate::Hz16000);
        link.session = SampleRate::Hz16000;
        link.heard.clear();
        link.speak_as(Format::plain(codec));
        link.speak(&tone(link.rate(), 400.0, 1_000));
        assert_eq!(link.heard.len(), 16_000, "{codec:?}");
        assert_tone(&link.heard, SampleRate::Hz16000, 400.0, &format!("{codec:?}"));
    }
}

#[test]
fn nobodys_clock_moves_the_agents_time_line_more_than_sixty_milliseconds_in_ten_hours() {
    for ppm in [200.0, -200.0] {
        let mut link = Link::new(
            Format::plain(Codec::Pcmu),
            SampleRate::Hz8000,
            Weather {
                jitter_ms: 20.0,
                ..CLEAR
            },
        );
        link.drift_ppm = ppm;
        link.settle(&[Format::plain(Codec::Pcmu)], 60);
        // Two seconds of speech, one of background.
        let mut spoken = tone(SampleRate::Hz8000, 210.0, 1_980);
        spoken.extend(tone(SampleRate::Hz8000, 210.0, 1_020).iter().map(|sample| sample / 300));
        let (mut least, mut most) = (0_i64, 0_i64);
        for _ in 0..12_000 {
            // Of packets that come sooner and later, the soonest show where the time line is.
            link.lag_low = i64::MAX;
            for frame in spoken.chunks_exact(480) {
                link.speak_frame(frame);
                link.forget();
            }
            (least, most) = (least.min(link.lag_low), most.max(link.lag_low));
        }
        assert!(link.now - link.start > Duration::from_secs(35_990));
        assert!(least >= -60 && most <= 60, "{ppm} ppm: {least} to {most} ms");
        let stretched = link.machine.statistics().stretched_ms;
        assert!((6_800..7_800).contains(&stretched), "{stretched} ms");
    }
}

#[test]
fn a_session_whose_clock_is_another_is_heard_in_time_for_ten_hours_without_a_gap() {
    for ppm in [200.0, -200.0] {
        let mut link = Link::new(Format::plain(Codec::Pcmu), SampleRate::Hz8000, CLEAR);
        link.settle(&[Format::plain(Codec::Pcmu)], 60);
        let mut spoken = tone(SampleRate::Hz8000, 210.0, 1_980);
        spoken.extend(tone(SampleRate::Hz8000, 210.0, 1_020).iter().map(|sample| sample / 300));
        let mut said = 0_u64;
        let mut deepest = 0;
        for _ in 0..12_000 {
            for frame in spoken.chunks_exact(480) {
                said += 60;
                let ms = said as f64 * (1.0 + ppm / 1e6);
                let until = link.start + Duration::from_secs_f64(ms / 1_000.0);
                link.run((until - link.now).as_millis() as u64);
                link.say(ONE, frame);
                link.forget();
            }
            let statistics = link.machine.statistics();
            deepest = deepest.max(said - statistics.spoken_ms);
        }
        let statistics = link.machine.statistics();
        assert!(
            statistics.underruns < 5,
            "{ppm} ppm: {} underruns",
            statistics.underruns
        );
        // Two portions wait when it begins to speak.
        assert!(deepest <= 120 + 60, "{ppm} ppm: {deepest} ms wait");
        assert!(
            (6_500..8_000).contains(&statistics.playout_stretched_ms),
            "{statistics:?}"
        );
    }
}

fn tone(rate: SampleRate, hz: f32, ms: usize) -> Vec<i16> {
    let mut pcm = vec![0; ms * rate.per_ms()];
    Tone::new(rate, hz, -12.0).fill(&mut pcm);
    pcm
}

/// Something like a voice: a gliding pitch with harmonics, in syllables.
fn speech(rate: SampleRate, ms: usize) -> Vec<i16> {
    let mut phase = 0.0_f32;
    let sample = |index: usize| {
        let seconds = index as f32 / rate.hz() as f32;
        let hz = 130.0 + 40.0 * (seconds * 2.1).sin();
        phase = (phase + hz / rate.hz() as f32).fract();
        let voice: f32 = (1..12_u8)
            .map(|harmonic| (phase * f32::from(harmonic) * std::f32::consts::TAU).sin() / f32::from(harmonic))
            .sum();
        let syllable = (seconds * 4.0 * std::f32::consts::PI).sin().abs();
        (voice * syllable * 4_000.0) as i16
    };
    (0..ms * rate.per_ms()).map(sample).collect()
}

/// The middle of it has this pitch and the level of [`tone`].
fn assert_tone(pcm: &[i16], rate: SampleRate, hz: f32, what: &str) {
    let edge = 200 * rate.per_ms();
    let body = &pcm[edge..pcm.len() - edge];
    let rising = body.windows(2).filter(|pair| pair[0] < 0 && pair[1] >= 0).count();
    let found = rising as f32 * rate.hz() as f32 / body.len() as f32;
    assert!((found - hz).abs() < 4.0, "{what}: {found} Hz");
    assert!(
        (level::dbfs(body) + 12.0).abs() < 1.5,
        "{what}: {} dBFS",
        level::dbfs(body)
    );
}

/// The largest second difference: how sharply it bends anywhere.
fn roughest(pcm: &[i16]) -> f32 {
    let bends = pcm.windows(3).map(|three| {
        let [a, b, c] = [three[0], three[1], three[2]].map(i32::from);
        (a - 2 * b + c).abs()
    });
    bends.max().unwrap_or(0) as f32
}

/// The second difference of a tone as loud as [`tone`].
fn ripple(hz: f32, rate: SampleRate) -> f32 {
    let omega = std::f32::consts::TAU * hz / rate.hz() as f32;
    level::amplitude(-12.0) * std::f32::consts::SQRT_2 * omega * omega
}

/// How loud the difference is against the signal, in dB.
fn error_db(signal: &[i16], other: &[i16]) -> f32 {
    let difference: Vec<i16> = signal
        .iter()
        .zip(other)
        .map(|(one, two)| one.saturating_sub(*two))
        .collect();
    level::dbfs(&difference) - level::dbfs(signal)
}
