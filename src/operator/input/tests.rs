//! Turns in made-up calls, and the bounds of the buffer.

use super::*;
use crate::audio::{Law, SampleRate, Tone};

#[test]
fn a_turn_has_exact_offsets_in_every_format_and_portion() {
    for format in [
        AudioFormat::PCM_24K,
        AudioFormat::G711(Law::Mu),
        AudioFormat::G711(Law::A),
    ] {
        for portion_ms in [10, 20, 33, 4_000] {
            let mut input = Input::new(format, Some(&TurnDetection::default()));
            let (started, stopped) = hear(&mut input, &call(format), format, portion_ms);
            assert_eq!(started, vec![700], "{format:?} by {portion_ms}");
            let (audio_end_ms, recording) = &stopped[0];
            assert_eq!((stopped.len(), *audio_end_ms), (1, 2_500), "{format:?} by {portion_ms}");
            assert_eq!(recording.sound.ms(), 1_800);
            assert_eq!(recording.spoken.as_ref().unwrap().ms(), 300 + 1_000 + TAIL_MS as u32);
        }
    }
}

#[test]
fn a_click_is_no_turn() {
    let mut input = Input::new(AudioFormat::PCM_24K, Some(&TurnDetection::default()));
    let pcm: Vec<i16> = [vec![0; 2_400], tone(SampleRate::Hz24000, 20), vec![0; 24_000]].concat();
    let (started, stopped) = hear(&mut input, &pcm, AudioFormat::PCM_24K, 20);
    assert_eq!((started.len(), stopped.len()), (0, 0));
}

#[test]
fn a_quiet_caller_costs_little_memory() {
    let mut input = Input::new(AudioFormat::PCM_24K, Some(&TurnDetection::default()));
    hear(&mut input, &vec![0; 24 * 60_000], AudioFormat::PCM_24K, 20);
    assert!(input.pcm.len() < 24 * 1_500, "{}", input.pcm.len());
    assert_eq!(input.end_ms(), 60_000);
}

#[test]
fn without_turn_detection_everything_waits_for_the_commit() {
    let mut input = Input::new(AudioFormat::PCM_24K, None);
    assert_eq!(input.commit().unwrap_err().code, "input_audio_buffer_commit_empty");
    hear(&mut input, &call(AudioFormat::PCM_24K), AudioFormat::PCM_24K, 20);
    assert_eq!(input.commit().unwrap().sound.ms(), 4_000);
    assert!(
        input
            .commit()
            .unwrap_err()
            .message
            .ends_with("buffer only has 0.00ms of audio.")
    );
    hear(&mut input, &vec![0; 24 * 130_000], AudioFormat::PCM_24K, 1_000);
    assert!(input.commit().unwrap().sound.ms() as u64 <= INPUT_MS_MAX + TRIM_MS);
}

#[test]
fn an_odd_byte_waits_for_its_other_half() {
    let mut input = Input::new(AudioFormat::PCM_24K, None);
    for bytes in [&[1u8, 0, 2][..], &[0, 3, 0]] {
        input.append(&base64_simd::STANDARD.encode_to_string(bytes)).unwrap();
    }
    assert_eq!(input.pcm, [1, 2, 3]);
}

#[test]
fn what_is_not_base64_is_refused_and_changes_nothing() {
    let mut input = Input::new(AudioFormat::PCM_24K, None);
    assert_eq!(input.append("???").unwrap_err().code, "invalid_value");
    assert!(input.pcm.is_empty() && input.bytes.is_empty());
}

/// One second of silence, one of tone, two of silence.
fn call(format: AudioFormat) -> Vec<i16> {
    let second = vec![0; format.rate().hz() as usize];
    [second.clone(), tone(format.rate(), 1_000), second.clone(), second].concat()
}

fn tone(rate: SampleRate, ms: usize) -> Vec<i16> {
    let mut pcm = vec![0; rate.per_ms() * ms];
    Tone::new(rate, 500.0, -20.0).fill(&mut pcm);
    pcm
}

fn hear(input: &mut Input, pcm: &[i16], format: AudioFormat, portion_ms: usize) -> (Vec<u64>, Vec<(u64, Recording)>) {
    let (mut started, mut stopped) = (Vec::new(), Vec::new());
    for portion in pcm.chunks(format.rate().per_ms() * portion_ms) {
        let mut bytes = Vec::new();
        format.encode(portion, &mut bytes);
        input.append(&base64_simd::STANDARD.encode_to_string(&bytes)).unwrap();
        while let Some(change) = input.poll_change() {
            match change {
                Change::Started { audio_start_ms } => started.push(audio_start_ms),
                Change::Stopped {
                    audio_end_ms,
                    recording,
                } => stopped.push((audio_end_ms, recording)),
            }
        }
    }
    (started, stopped)
}
