//! Numbers: answers that use others than our offer, and offers inside a call.

use super::offers::events;
use super::*;
use crate::sdp::Format;

#[test]
fn an_answer_with_other_numbers_says_what_we_send_and_ours_say_what_comes() {
    let answer = "m=audio 4000 RTP/AVP 96 8 97 99\r\na=rtpmap:96 opus/48000/2\r\na=fmtp:96 maxaveragebitrate=16000\r\n\
                  a=rtpmap:97 telephone-event/48000\r\na=rtpmap:99 telephone-event/8000\r\n";
    let negotiated = read_answer(body(answer).as_bytes(), &local()).unwrap();
    assert_eq!((negotiated.send.codec, negotiated.send.payload_type), (Codec::Opus, 96));
    assert_eq!(negotiated.send.opus.bitrate_max, Some(16_000));
    assert_eq!(
        numbers(&negotiated.receive),
        [(Codec::Opus, 111), (Codec::Pcma, 8), (Codec::Opus, 96)]
    );
    assert_eq!(negotiated.event_send, events(&[(97, 48_000)]).first().copied());
    assert_eq!(
        negotiated.events,
        events(&[(110, 48_000), (101, 8_000), (97, 48_000), (99, 8_000)])
    );
}

#[test]
fn a_number_of_ours_keeps_our_meaning_whatever_the_answer_writes() {
    let answer = "m=audio 4000 RTP/AVP 101\r\na=rtpmap:101 opus/48000/2\r\n";
    let negotiated = read_answer(body(answer).as_bytes(), &local()).unwrap();
    assert_eq!(negotiated.send.payload_type, 101);
    assert_eq!(numbers(&negotiated.receive), [(Codec::Opus, 111)]);
}

#[test]
fn the_first_codec_of_an_answer_is_what_we_send() {
    let negotiated = read_answer(body("m=audio 4000 RTP/AVP 18 8 0 13\r\n").as_bytes(), &local()).unwrap();
    assert_eq!(negotiated.send.codec, Codec::Pcma);
    assert_eq!(numbers(&negotiated.receive), [(Codec::Pcma, 8), (Codec::Pcmu, 0)]);
    assert_eq!(negotiated.comfort_noise, Some(13));
}

#[test]
fn an_answer_may_not_choose_what_we_did_not_offer() {
    let local = Local {
        codecs: vec![Codec::Opus],
        ..local()
    };
    let refusal = read_answer(body("m=audio 4000 RTP/AVP 0 8\r\n").as_bytes(), &local).unwrap_err();
    assert_eq!(refusal.reason(), "no_common_codec");
}

#[test]
fn an_offer_inside_a_call_keeps_the_meaning_of_numbers() {
    let theirs = "m=audio 4000 RTP/AVP 101 111\r\na=rtpmap:101 opus/48000/2\r\na=rtpmap:111 telephone-event/48000\r\n";
    let mut local = Local {
        codecs: vec![Codec::Opus, Codec::Pcmu],
        ..local()
    };
    let (negotiated, _) = super::super::answer(body(theirs).as_bytes(), &local).unwrap();
    local.before = Some(Box::new(negotiated));
    let ours = String::from_utf8(super::super::offer(&local)).unwrap();
    assert!(ours.contains("RTP/AVP 101 0 13 96 111\r\n"), "{ours}");
    assert!(ours.contains("a=rtpmap:101 opus/48000/2\r\n") && ours.contains("a=rtpmap:96 telephone-event/8000\r\n"));
    let answer = read_answer(body(theirs).as_bytes(), &local).unwrap();
    assert_eq!(numbers(&answer.receive), [(Codec::Opus, 101)]);
}

#[test]
fn an_offer_inside_a_call_keeps_sharing_the_port_and_the_reports() {
    let theirs = body("m=audio 4000 RTP/AVPF 0\r\na=rtcp-mux\r\na=rtcp-xr:voip-metrics\r\n");
    let (negotiated, _) = accept(&theirs);
    let local = Local {
        before: Some(Box::new(negotiated)),
        ..local()
    };
    let ours = String::from_utf8(super::super::offer(&local)).unwrap();
    assert!(ours.contains(" RTP/AVPF ") && ours.contains("a=rtcp-mux\r\na=rtcp-xr:voip-metrics\r\n"));
}

fn numbers(formats: &[Format]) -> Vec<(Codec, u8)> {
    formats
        .iter()
        .map(|format| (format.codec, format.payload_type))
        .collect()
}
