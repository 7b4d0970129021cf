//! The session's audio format: what is asked for, and what when it is not taken.

use super::*;
use crate::audio::{Law, SampleRate};

#[test]
fn a_leg_of_g711_goes_straight_through() {
    let mut bench = Bench::open(beside(Law::A));
    assert_eq!(asked(&mut bench), json!({ "type": "audio/pcma" }));
    bench.server(confirmed(json!({ "type": "audio/pcma" })));
    assert_eq!(bench.take_outputs(), [Output::Ready]);
    assert_eq!(bench.machine.format(), AudioFormat::G711(Law::A));
    assert_eq!(appended(&mut bench, &[-7; 160]).len(), 160);
    bench.server(created("r"));
    let mut delta = delta("r", "i", 0);
    delta["delta"] = base64_simd::STANDARD.encode_to_string([0x2A, 0xD5]).into();
    assert_eq!(bench.server(delta).unwrap().1, [-32_256, 8]);
}

#[test]
fn a_backend_that_confirms_another_format_is_asked_for_plain_pcm() {
    let mut bench = Bench::open(beside(Law::Mu));
    asked(&mut bench);
    let pcm = json!({ "type": "audio/pcm", "rate": 24_000 });
    bench.server(confirmed(pcm.clone()));
    assert_eq!(bench.fault().unwrap().class, FaultClass::Harmless);
    assert_eq!(asked(&mut bench), pcm);
    bench.server(confirmed(pcm));
    assert_eq!(bench.take_outputs(), [Output::Ready]);
    assert_eq!(bench.machine.format(), AudioFormat::PCM_24K);
    assert_eq!(appended(&mut bench, &[-7; 480]).len(), 960);
}

#[test]
fn a_backend_that_refuses_the_format_is_asked_once_more() {
    let mut bench = Bench::open(beside(Law::Mu));
    asked(&mut bench);
    bench.server(error("invalid_value", None));
    assert_eq!(bench.fault().unwrap().class, FaultClass::Harmless);
    assert_eq!(asked(&mut bench)["type"], "audio/pcm");
    bench.server(error("invalid_value", None));
    assert_eq!(bench.fault().unwrap().class, FaultClass::Fatal);
}

#[test]
fn a_format_that_was_configured_is_that_or_nothing() {
    let mut bench = Bench::open(Settings {
        audio: AudioWish::Pcm16(SampleRate::Hz16000),
        ..beside(Law::Mu)
    });
    let narrow = json!({ "type": "audio/pcm", "rate": 16_000 });
    assert_eq!(asked(&mut bench), narrow);
    bench.server(confirmed(json!({ "type": "audio/pcm", "rate": 24_000 })));
    let fault = bench.fault().unwrap();
    assert_eq!(fault.class, FaultClass::Fatal);
    assert!(
        fault.message.contains("24 kHz audio/pcm, not 16 kHz"),
        "{}",
        fault.message
    );
}

fn beside(law: Law) -> Settings {
    Settings {
        leg_law: Some(law),
        ..Settings::default()
    }
}

/// The format of the only event sent, the same both ways.
fn asked(bench: &mut Bench) -> Value {
    let [event] = bench.sent.drain(..).collect::<Vec<_>>().try_into().unwrap();
    let audio = &event["session"]["audio"];
    assert_eq!(audio["input"]["format"], audio["output"]["format"]);
    audio["input"]["format"].clone()
}

fn confirmed(format: Value) -> Value {
    let mut event = session_updated(Value::Null);
    for side in ["input", "output"] {
        event["session"]["audio"][side]["format"] = format.clone();
    }
    event
}

fn appended(bench: &mut Bench, pcm: &[i16]) -> Vec<u8> {
    let mut text = String::new();
    assert!(bench.machine.append(pcm, &mut text));
    let event: Value = serde_json::from_str(&text).unwrap();
    base64_simd::STANDARD
        .decode_to_vec(event["audio"].as_str().unwrap())
        .unwrap()
}
