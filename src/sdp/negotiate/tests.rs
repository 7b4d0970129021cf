//! Offers as phones make them, and some as nobody should.

use super::*;
use crate::sdp::Srtp;

mod offers;
mod protection;
mod renumbered;

#[test]
fn an_ordinary_offer_gets_an_ordinary_answer() {
    let (negotiated, answer) = accept(&body(
        "m=audio 4000 RTP/AVP 8 0 101\r\na=rtpmap:101 telephone-event/8000\r\n",
    ));
    assert_eq!(negotiated.send.codec, Codec::Pcmu);
    assert_eq!(
        (negotiated.send.payload_type, event_number(&negotiated)),
        (0, Some(101))
    );
    assert_eq!(negotiated.remote_rtp, socket("192.0.2.1:4000"));
    assert_eq!(negotiated.remote_rtcp, socket("192.0.2.1:4001"));
    assert_eq!((negotiated.ptime_ms, negotiated.direction), (20, Direction::SendRecv));
    let expected = "v=0\r\no=- 42 1 IN IP4 198.51.100.1\r\ns=-\r\nc=IN IP4 198.51.100.1\r\nt=0 0\r\n\
        m=audio 20000 RTP/AVP 0 8 101\r\na=rtpmap:0 PCMU/8000\r\na=rtpmap:8 PCMA/8000\r\n\
        a=rtpmap:101 telephone-event/8000\r\na=fmtp:101 0-15\r\na=ptime:20\r\na=maxptime:60\r\na=sendrecv\r\n";
    assert_eq!(answer, expected);
}

#[test]
fn our_preference_picks_the_codec() {
    let offer = body("m=audio 4000 RTP/AVP 0 8\r\n");
    let mut local = local();
    local.codecs.reverse();
    assert_eq!(
        super::answer(offer.as_bytes(), &local).unwrap().0.send.codec,
        Codec::Pcma
    );
    local.codecs = vec![Codec::Pcmu];
    assert_eq!(
        super::answer(offer.as_bytes(), &local).unwrap().0.send.codec,
        Codec::Pcmu
    );
}

#[test]
fn static_payload_types_need_no_rtpmap_and_dynamic_ones_may_mean_the_same() {
    assert_eq!(accept(&body("m=audio 4000 RTP/AVP 8\r\n")).0.send.codec, Codec::Pcma);
    let dynamic = accept(&body(
        "m=audio 4000 RTP/AVP 96 97\r\na=rtpmap:96 iLBC/8000\r\na=rtpmap:97 pcma/8000\r\n",
    ));
    assert_eq!((dynamic.0.send.codec, dynamic.0.send.payload_type), (Codec::Pcma, 97));
    assert!(
        dynamic
            .1
            .contains("m=audio 20000 RTP/AVP 97\r\na=rtpmap:97 PCMA/8000\r\n")
    );
}

#[test]
fn an_rtpmap_overrules_the_static_meaning() {
    assert_eq!(
        refuse(&body("m=audio 4000 RTP/AVP 0\r\na=rtpmap:0 PCMU/16000\r\n")),
        "no_common_codec"
    );
    assert_eq!(
        refuse(&body("m=audio 4000 RTP/AVP 0\r\na=rtpmap:0 PCMU/8000/2\r\n")),
        "no_common_codec"
    );
}

#[test]
fn telephone_events_are_those_at_the_clock_of_what_we_send() {
    let offer =
        "m=audio 4000 RTP/AVP 0 96 97\r\na=rtpmap:96 telephone-event/48000\r\na=rtpmap:97 TELEPHONE-EVENT/8000\r\n";
    let (negotiated, answer) = accept(&body(offer));
    assert_eq!((event_number(&negotiated), negotiated.events.len()), (Some(97), 1));
    assert!(answer.contains("RTP/AVP 0 97\r\n"));
    assert_eq!(accept(&body("m=audio 4000 RTP/AVP 0\r\n")).0.event_send, None);
}

#[test]
fn the_first_usable_audio_is_taken_and_the_rest_turned_down_in_order() {
    let (negotiated, answer) = accept(&body(
        "m=video 5000 RTP/AVP 96\r\na=rtpmap:96 H264/90000\r\nm=audio 0 RTP/AVP 0\r\nm=audio 4000 RTP/SAVP 0\r\n\
         m=audio 4002 RTP/AVP 18\r\nm=audio 4004 RTP/AVP 0\r\nm=audio 4006 RTP/AVP 0\r\n\
         m=application 9 UDP/DTLS/SCTP webrtc-datachannel\r\n",
    ));
    assert_eq!(negotiated.remote_rtp.port(), 4004);
    let lines: Vec<&str> = answer.lines().filter(|line| line.starts_with("m=")).collect();
    assert_eq!(
        lines,
        [
            "m=video 0 RTP/AVP 96",
            "m=audio 0 RTP/AVP 0",
            "m=audio 0 RTP/SAVP 0",
            "m=audio 0 RTP/AVP 18",
            "m=audio 20000 RTP/AVP 0",
            "m=audio 0 RTP/AVP 0",
            "m=application 0 UDP/DTLS/SCTP webrtc-datachannel",
        ]
    );
}

#[test]
fn what_cannot_be_served_is_refused_with_its_word() {
    for (streams, word) in [
        ("", "no_audio"),
        ("m=video 5000 RTP/AVP 96\r\n", "no_audio"),
        ("m=audio 0 RTP/AVP 0\r\n", "no_audio"),
        ("m=audio 4000 RTP/SAVP 0\r\n", "srtp_refused"),
        ("m=audio 4000 UDP/TLS/RTP/SAVPF 0\r\n", "srtp_refused"),
        ("m=audio 4000 RTP/XVP 0\r\n", "no_common_codec"),
        ("m=audio 4000 RTP/AVP 3 18\r\n", "no_common_codec"),
        (
            "m=audio 4000 RTP/AVP 18\r\nm=audio 4000 RTP/SAVP 0\r\n",
            "no_common_codec",
        ),
        ("m=audio 4000 RTP/AVP 0\r\nc=IN IP4 media.example.com\r\n", "bad_sdp"),
        ("m=audio 4000 RTP/AVP 0\r\nc=IN IP4 224.2.1.1/127\r\n", "bad_sdp"),
        ("m=audio 99999 RTP/AVP 0\r\n", "bad_sdp"),
        ("m=audio\r\n", "bad_sdp"),
    ] {
        assert_eq!(refuse(&body(streams)), word, "{streams}");
    }
    assert_eq!(refuse("v=0\r\ns=-\r\nm=audio 4000 RTP/AVP 0\r\n"), "bad_sdp");
    assert_eq!(refuse(""), "bad_sdp");
    assert_eq!(refuse("hello"), "bad_sdp");
}

#[test]
fn a_host_name_is_refused_by_name() {
    let offer = body("m=audio 4000 RTP/AVP 0\r\nc=IN IP4 media.example.com\r\n");
    let refusal = super::answer(offer.as_bytes(), &local()).unwrap_err();
    assert!(refusal.to_string().contains("media.example.com"));
}

#[test]
fn the_packet_time_follows_the_wish_within_what_is_allowed() {
    for (lines, ptime_ms) in [
        ("", 20),
        ("a=ptime:30\r\n", 30),
        ("a=ptime:25\r\n", 20),
        ("a=ptime:5\r\n", 10),
        ("a=ptime:200\r\n", 60),
        ("a=ptime:20.0\r\n", 20),
        ("a=ptime:x\r\n", 20),
        ("a=maxptime:10\r\n", 10),
        ("a=ptime:40\r\na=maxptime:30\r\n", 30),
        ("a=maxptime:0\r\n", 10),
    ] {
        let (negotiated, answer) = accept(&body(&format!("m=audio 4000 RTP/AVP 0\r\n{lines}")));
        assert_eq!(negotiated.ptime_ms, ptime_ms, "{lines}");
        assert!(answer.contains(&format!("a=ptime:{ptime_ms}\r\n")));
    }
}

#[test]
fn every_way_to_say_hold_is_understood() {
    for (lines, direction, word) in [
        ("a=sendrecv\r\n", Direction::SendRecv, "sendrecv"),
        ("a=sendonly\r\n", Direction::RecvOnly, "recvonly"),
        ("a=recvonly\r\n", Direction::SendOnly, "sendonly"),
        ("a=inactive\r\n", Direction::Inactive, "inactive"),
        ("c=IN IP4 0.0.0.0\r\n", Direction::RecvOnly, "recvonly"),
        ("c=IN IP6 ::\r\na=recvonly\r\n", Direction::Inactive, "inactive"),
    ] {
        let (negotiated, answer) = accept(&body(&format!("m=audio 4000 RTP/AVP 0\r\n{lines}")));
        assert_eq!(negotiated.direction, direction, "{lines}");
        assert!(answer.ends_with(&format!("a={word}\r\n")), "{answer}");
    }
}

#[test]
fn rtcp_may_live_elsewhere_or_share_the_port() {
    let offer = "m=audio 4000 RTP/AVP 0\r\na=rtcp:53020 IN IP4 192.0.2.9\r\n";
    let (elsewhere, answer) = accept(&body(offer));
    assert_eq!(elsewhere.remote_rtcp, socket("192.0.2.9:53020"));
    assert!(!elsewhere.rtcp_mux && !answer.contains("rtcp-mux"));
    let (shared, answer) = accept(&body(&format!("{offer}a=rtcp-mux\r\n")));
    assert_eq!(shared.remote_rtcp, socket("192.0.2.1:4000"));
    assert!(shared.rtcp_mux && answer.contains("a=rtcp-mux\r\n"));
    assert_eq!(
        accept(&body("m=audio 65535 RTP/AVP 0\r\n")).0.remote_rtcp.port(),
        65_535
    );
}

#[test]
fn ipv6_is_spoken_both_ways() {
    let local = Local {
        address: "2001:db8::5".parse().unwrap(),
        ..local()
    };
    let offer = body("m=audio 4000 RTP/AVP 0\r\nc=IN IP6 2001:db8::1\r\n");
    let (negotiated, answer) = super::answer(offer.as_bytes(), &local).unwrap();
    assert_eq!(negotiated.remote_rtp, socket("[2001:db8::1]:4000"));
    assert!(String::from_utf8(answer).unwrap().contains("c=IN IP6 2001:db8::5\r\n"));
}

#[test]
fn our_offer_is_answered_by_ourselves() {
    let offer = super::offer(&local());
    let far = Local {
        address: "203.0.113.7".parse().unwrap(),
        rtp_port: 30_000,
        codecs: vec![Codec::Pcma],
        ..local()
    };
    let (_, answer) = super::answer(&offer, &far).unwrap();
    let negotiated = read_answer(&answer, &local()).unwrap();
    assert_eq!((negotiated.send.codec, negotiated.send.payload_type), (Codec::Pcma, 8));
    assert_eq!(event_number(&negotiated), Some(101));
    assert_eq!(negotiated.remote_rtp, socket("203.0.113.7:30000"));
}

#[test]
fn an_answer_that_does_not_fit_is_refused() {
    for (streams, word) in [
        ("", "bad_sdp"),
        ("m=audio 4000 RTP/AVP 0\r\nm=audio 4002 RTP/AVP 0\r\n", "bad_sdp"),
        ("m=audio 0 RTP/AVP 0\r\n", "no_audio"),
        ("m=audio 4000 RTP/AVP 18\r\n", "no_common_codec"),
    ] {
        let refusal = read_answer(body(streams).as_bytes(), &local()).unwrap_err();
        assert_eq!(refusal.reason(), word, "{streams}");
    }
    let chosen = read_answer(body("m=audio 4000 RTP/AVP 8 0\r\n").as_bytes(), &local()).unwrap();
    assert_eq!(chosen.send.codec, Codec::Pcma);
}

#[test]
fn the_version_goes_into_the_origin_line() {
    let again = Local { version: 7, ..local() };
    let (_, answer) = super::answer(body("m=audio 4000 RTP/AVP 0\r\n").as_bytes(), &again).unwrap();
    assert!(
        String::from_utf8(answer)
            .unwrap()
            .contains("o=- 42 7 IN IP4 198.51.100.1\r\n")
    );
}

#[test]
fn random_and_mutilated_bodies_never_panic() {
    let good = body(
        "a=fingerprint:sha-256 AB:CD\r\nm=audio 4000/2 RTP/SAVPF 0 8 96 13 101\r\na=rtpmap:101 telephone-event/8000\r\n\
         a=rtcp:1 IN IP4 1.2.3.4\r\na=rtpmap:96 opus/48000/2\r\na=fmtp:96 maxaveragebitrate=20000;minptime=10\r\n\
         a=fmtp:101 0-16\r\na=crypto:1 AES_CM_128_HMAC_SHA1_80 inline:WVNfX19zZW1jdGwgKCkgewkyMjA7fQp9CnVubGVz|2^20|1:4\r\n\
         a=setup:actpass\r\na=rtcp-mux\r\na=rtcp-xr:voip-metrics\r\na=maxptime:60\r\n",
    );
    let secure = protection::local(Srtp::Offered);
    let mut state = 11_u64;
    let mut random = move || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        (state >> 33) as usize
    };
    for round in 0..10_000 {
        let mut bytes = good.clone().into_bytes();
        for _ in 0..1 + round % 6 {
            let at = random() % bytes.len();
            match random() % 3 {
                0 => bytes[at] = random() as u8,
                1 => drop(bytes.drain(at..(at + random() % 9).min(bytes.len()))),
                _ => bytes.insert(at, b"\r\n:/= 09"[random() % 8]),
            }
        }
        if let Ok((_, answer)) = super::answer(&bytes, &local()) {
            assert!(
                Description::read(&answer).is_ok(),
                "{}",
                String::from_utf8_lossy(&answer)
            );
        }
        let _ = read_answer(&bytes, &local());
        let _ = read_answer(&bytes, &secure);
        if let Ok((_, answer)) = super::answer(&bytes, &secure) {
            assert!(Description::read(&answer).is_ok());
        }
        let noise: Vec<u8> = (0..random() % 64).map(|_| random() as u8).collect();
        assert!(super::answer(&noise, &local()).is_err());
    }
}

fn local() -> Local {
    Local::new("198.51.100.1".parse().unwrap(), 20_000, 42)
}

fn event_number(negotiated: &Negotiated) -> Option<u8> {
    negotiated.event_send.map(|events| events.payload_type)
}

fn body(streams: &str) -> String {
    format!("v=0\r\no=- 1 1 IN IP4 192.0.2.1\r\ns=-\r\nc=IN IP4 192.0.2.1\r\nt=0 0\r\n{streams}")
}

fn accept(offer: &str) -> (Negotiated, String) {
    let (negotiated, answer) = super::answer(offer.as_bytes(), &local()).unwrap();
    (negotiated, String::from_utf8(answer).unwrap())
}

fn refuse(offer: &str) -> &'static str {
    super::answer(offer.as_bytes(), &local()).unwrap_err().reason()
}

fn socket(text: &str) -> SocketAddr {
    text.parse().unwrap()
}
