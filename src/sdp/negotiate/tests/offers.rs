//! Offers as phones, exchanges and browsers write them, in a table: what we send, and what we answer.

use super::*;
use crate::sdp::{EventFormat, OpusWishes};

/// A stream as somebody offers it, what we send there, and our `m=` line.
struct Case {
    who: &'static str,
    stream: &'static str,
    send: (Codec, u8),
    event: Option<(u8, u32)>,
    line: &'static str,
}

const CASES: [Case; 13] = [
    Case {
        who: "baresip 1.0 with every codec",
        stream: "m=audio 10032 RTP/AVP 96 9 0 8 101\r\na=rtpmap:96 opus/48000/2\r\na=fmtp:96 stereo=1;sprop-stereo=1\r\n\
                 a=rtpmap:9 G722/8000\r\na=rtpmap:0 PCMU/8000\r\na=rtpmap:8 PCMA/8000\r\n\
                 a=rtpmap:101 telephone-event/8000\r\na=fmtp:101 0-15\r\na=rtcp:10033\r\na=ptime:20\r\n",
        send: (Codec::Opus, 96),
        event: Some((101, 8_000)),
        line: "m=audio 20000 RTP/AVP 96 9 8 0 101",
    },
    Case {
        who: "Asterisk PJSIP with Opus first",
        stream: "m=audio 15184 RTP/AVP 107 0 8 9 101 102\r\na=rtpmap:107 opus/48000/2\r\n\
                 a=fmtp:107 useinbandfec=1\r\na=rtpmap:0 PCMU/8000\r\na=rtpmap:8 PCMA/8000\r\na=rtpmap:9 G722/8000\r\n\
                 a=rtpmap:101 telephone-event/8000\r\na=fmtp:101 0-16\r\na=rtpmap:102 telephone-event/48000\r\n\
                 a=fmtp:102 0-16\r\na=ptime:20\r\na=maxptime:60\r\na=sendrecv\r\n",
        send: (Codec::Opus, 107),
        event: Some((102, 48_000)),
        line: "m=audio 20000 RTP/AVP 107 9 8 0 101 102",
    },
    Case {
        who: "FreeSWITCH with comfort noise",
        stream: "m=audio 26340 RTP/AVP 102 9 0 8 103 104 101 13\r\na=rtpmap:102 opus/48000/2\r\n\
                 a=fmtp:102 useinbandfec=1; maxaveragebitrate=30000; maxplaybackrate=48000; ptime=20; minptime=10; \
                 maxptime=40\r\na=rtpmap:9 G722/8000\r\na=rtpmap:0 PCMU/8000\r\na=rtpmap:8 PCMA/8000\r\n\
                 a=rtpmap:103 telephone-event/48000\r\na=fmtp:103 0-16\r\na=rtpmap:104 CN/48000\r\n\
                 a=rtpmap:101 telephone-event/8000\r\na=fmtp:101 0-16\r\na=rtpmap:13 CN/8000\r\na=ptime:20\r\n",
        send: (Codec::Opus, 102),
        event: Some((103, 48_000)),
        line: "m=audio 20000 RTP/AVP 102 9 8 0 13 103 101",
    },
    Case {
        who: "Chrome",
        stream: "m=audio 54400 RTP/AVPF 111 63 9 0 8 13 110 126\r\na=rtpmap:111 opus/48000/2\r\na=rtcp-fb:111 transport-cc\r\n\
                 a=fmtp:111 minptime=10;useinbandfec=1\r\na=rtpmap:63 red/48000/2\r\na=fmtp:63 111/111\r\n\
                 a=rtpmap:9 G722/8000\r\na=rtpmap:0 PCMU/8000\r\na=rtpmap:8 PCMA/8000\r\na=rtpmap:13 CN/8000\r\n\
                 a=rtpmap:110 telephone-event/48000\r\na=rtpmap:126 telephone-event/8000\r\na=mid:0\r\na=rtcp-mux\r\n\
                 a=ice-ufrag:x\r\na=candidate:1 1 udp 2113937151 192.0.2.1 54400 typ host\r\n",
        send: (Codec::Opus, 111),
        event: Some((110, 48_000)),
        line: "m=audio 20000 RTP/AVPF 111 9 8 0 13 110 126",
    },
    Case {
        who: "PJSIP with Opus and events at 48 kHz alone",
        stream: "m=audio 4000 RTP/AVP 96 120\r\na=rtpmap:96 opus/48000/2\r\na=fmtp:96 useinbandfec=1\r\n\
                 a=rtpmap:120 telephone-event/48000\r\na=fmtp:120 0-16\r\n",
        send: (Codec::Opus, 96),
        event: Some((120, 48_000)),
        line: "m=audio 20000 RTP/AVP 96 120",
    },
    Case {
        who: "a phone with Opus that knows telephone's events alone",
        stream: "m=audio 4000 RTP/AVP 120 97\r\na=rtpmap:120 OPUS/48000\r\na=rtpmap:97 telephone-event/8000\r\n",
        send: (Codec::Opus, 120),
        event: Some((97, 8_000)),
        line: "m=audio 20000 RTP/AVP 120 97",
    },
    Case {
        who: "events at a clock no codec has",
        stream: "m=audio 4000 RTP/AVP 0 97\r\na=rtpmap:97 telephone-event/16000\r\n",
        send: (Codec::Pcmu, 0),
        event: Some((97, 16_000)),
        line: "m=audio 20000 RTP/AVP 0 97",
    },
    Case {
        who: "Cisco, with a number above 110 and modem events",
        stream: "m=audio 18410 RTP/AVP 0 8 18 100 116\r\na=rtpmap:0 PCMU/8000\r\na=rtpmap:8 PCMA/8000\r\n\
                 a=rtpmap:18 G729/8000\r\na=fmtp:18 annexb=no\r\na=rtpmap:100 X-NSE/8000\r\na=fmtp:100 192-194\r\n\
                 a=rtpmap:116 telephone-event/8000\r\na=fmtp:116 0-16\r\n",
        send: (Codec::Pcma, 8),
        event: Some((116, 8_000)),
        line: "m=audio 20000 RTP/AVP 8 0 116",
    },
    Case {
        who: "the same codec twice, and the same number twice",
        stream: "m=audio 4000 RTP/AVP 0 0 98 9 99\r\na=rtpmap:98 PCMU/8000\r\na=rtpmap:99 G722/8000\r\n",
        send: (Codec::G722, 9),
        event: None,
        line: "m=audio 20000 RTP/AVP 9 0",
    },
    Case {
        who: "events that are no keys",
        stream: "m=audio 4000 RTP/AVP 0 101 102\r\na=rtpmap:101 telephone-event/8000\r\na=fmtp:101 32-41\r\n\
                 a=rtpmap:102 telephone-event/8000\r\na=fmtp:102 0-9, 10,11,16\r\n",
        send: (Codec::Pcmu, 0),
        event: Some((102, 8_000)),
        line: "m=audio 20000 RTP/AVP 0 102",
    },
    Case {
        who: "comfort noise of other clocks, and without a codec of its own",
        stream: "m=audio 4000 RTP/AVP 9 13 98\r\na=rtpmap:98 CN/16000\r\n",
        send: (Codec::G722, 9),
        event: None,
        line: "m=audio 20000 RTP/AVP 9",
    },
    Case {
        who: "what is not what its number says",
        stream: "m=audio 4000 RTP/AVP 9 0 111 8\r\na=rtpmap:9 G722/16000\r\na=rtpmap:0 iLBC/8000\r\n",
        send: (Codec::Pcma, 8),
        event: None,
        line: "m=audio 20000 RTP/AVP 8",
    },
    Case {
        who: "a fax beside the call",
        stream: "m=audio 4000 RTP/AVP 8\r\nm=image 4002 udptl t38\r\na=T38FaxVersion:0\r\n",
        send: (Codec::Pcma, 8),
        event: None,
        line: "m=audio 20000 RTP/AVP 8\r\na=rtpmap:8 PCMA/8000\r\na=ptime:20\r\na=maxptime:60\r\na=sendrecv\r\n\
               m=image 0 udptl t38\r\n",
    },
];

#[test]
fn what_is_offered_is_answered_in_our_order_with_their_numbers() {
    let local = wideband_first();
    for Case {
        who,
        stream,
        send,
        event,
        line,
    } in CASES
    {
        let (negotiated, answer) = super::super::answer(body(stream).as_bytes(), &local).unwrap();
        let answer = String::from_utf8(answer).unwrap();
        assert_eq!((negotiated.send.codec, negotiated.send.payload_type), send, "{who}");
        let events = negotiated.event_send.map(|event| (event.payload_type, event.clock_hz));
        assert_eq!(events, event, "{who}");
        assert!(answer.contains(line), "{who}: {answer}");
        for attribute in ["stereo", "candidate", "ice-", "a=mid", "group"] {
            assert!(!answer.contains(attribute), "{who}: {answer}");
        }
    }
}

#[test]
fn everything_in_the_answer_may_come() {
    let offer = body(CASES[1].stream);
    let (negotiated, _) = super::super::answer(offer.as_bytes(), &wideband_first()).unwrap();
    let numbers: Vec<u8> = negotiated.receive.iter().map(|format| format.payload_type).collect();
    assert_eq!(numbers, [107, 9, 8, 0]);
    let clocks: Vec<u32> = negotiated.events.iter().map(|event| event.clock_hz).collect();
    assert_eq!(clocks, [8_000, 48_000]);
}

#[test]
fn what_the_far_end_wants_of_opus_is_kept_and_ours_said() {
    let (negotiated, answer) = super::super::answer(body(CASES[2].stream).as_bytes(), &wideband_first()).unwrap();
    let wishes = OpusWishes {
        bitrate_max: Some(30_000),
        playback_hz_max: Some(48_000),
        fec: true,
        ..OpusWishes::default()
    };
    assert_eq!(negotiated.send.opus, wishes);
    let answer = String::from_utf8(answer).unwrap();
    assert!(answer.contains("a=rtpmap:102 opus/48000/2\r\na=fmtp:102 maxplaybackrate=24000;"));
}

#[test]
fn comfort_noise_is_agreed_on_beside_g711_alone() {
    for (formats, noise) in [("0 13", Some(13)), ("9 13", None), ("0", None)] {
        let (negotiated, answer) = accept(&body(&format!("m=audio 4000 RTP/AVP {formats}\r\n")));
        assert_eq!(negotiated.comfort_noise, noise, "{formats}");
        assert_eq!(answer.contains("a=rtpmap:13 CN/8000\r\n"), noise.is_some());
    }
}

#[test]
fn opus_is_sent_in_packets_it_can_be_coded_in() {
    for (lines, ptime_ms) in [
        ("", 20),
        ("a=ptime:10\r\n", 10),
        ("a=ptime:30\r\n", 20),
        ("a=ptime:50\r\n", 40),
        ("a=ptime:120\r\n", 60),
        ("a=ptime:10\r\na=fmtp:96 minptime=20\r\n", 20),
        ("a=fmtp:96 minptime=60\r\na=maxptime:40\r\n", 40),
    ] {
        let stream = format!("m=audio 4000 RTP/AVP 96\r\na=rtpmap:96 opus/48000/2\r\n{lines}");
        assert_eq!(accept(&body(&stream)).0.ptime_ms, ptime_ms, "{lines}");
    }
}

#[test]
fn our_own_packet_time_counts_where_nobody_asks_for_another() {
    let local = Local {
        ptime_ms: 40,
        ..local()
    };
    for (lines, ptime_ms) in [("", 40), ("a=ptime:20\r\n", 20), ("a=maxptime:30\r\n", 30)] {
        let offer = body(&format!("m=audio 4000 RTP/AVP 0\r\n{lines}"));
        assert_eq!(
            super::super::answer(offer.as_bytes(), &local).unwrap().0.ptime_ms,
            ptime_ms
        );
    }
    let offer = String::from_utf8(super::super::offer(&local)).unwrap();
    assert!(offer.contains("a=ptime:40\r\na=maxptime:60\r\n"));
}

#[test]
fn reports_of_how_it_sounds_are_promised_where_asked_for() {
    let stream = "m=audio 4000 RTP/AVP 0\r\na=rtcp-xr:rcvr-rtt=all voip-metrics\r\n";
    let (negotiated, answer) = accept(&body(stream));
    assert!(negotiated.voip_metrics && answer.contains("a=rtcp-xr:voip-metrics\r\n"));
    let (negotiated, answer) = accept(&body("m=audio 4000 RTP/AVP 0\r\n"));
    assert!(!negotiated.voip_metrics && !answer.contains("rtcp-xr"));
}

#[test]
fn a_refusal_names_the_codecs_that_would_do() {
    let offer = body("m=audio 4000 RTP/AVP 18\r\na=rtpmap:18 G729/8000\r\n");
    let refusal = super::super::answer(offer.as_bytes(), &local()).unwrap_err();
    assert_eq!(refusal.reason(), "no_common_codec");
    assert!(
        refusal
            .to_string()
            .contains("PCMU/8000, PCMA/8000, G722/8000, opus/48000")
    );
}

#[test]
fn a_stream_of_countless_formats_is_read_as_far_as_there_are_numbers() {
    let many = "0 ".repeat(4000);
    let offer = body(&format!("m=audio 4000 RTP/AVP {many}8\r\n"));
    let (negotiated, _) = accept(&offer);
    assert_eq!(negotiated.receive.len(), 1);
}

#[test]
fn our_offer_lists_everything_with_events_for_every_clock() {
    let offer = String::from_utf8(super::super::offer(&wideband_first())).unwrap();
    let expected = "m=audio 20000 RTP/AVP 111 9 8 0 13 101 110\r\na=rtpmap:111 opus/48000/2\r\n\
        a=fmtp:111 maxplaybackrate=24000;sprop-maxcapturerate=24000;useinbandfec=1\r\na=rtpmap:9 G722/8000\r\n\
        a=rtpmap:8 PCMA/8000\r\na=rtpmap:0 PCMU/8000\r\na=rtpmap:13 CN/8000\r\na=rtpmap:101 telephone-event/8000\r\n\
        a=fmtp:101 0-15\r\na=rtpmap:110 telephone-event/48000\r\na=fmtp:110 0-15\r\na=ptime:20\r\na=maxptime:60\r\n\
        a=sendrecv\r\n";
    assert!(offer.ends_with(expected), "{offer}");
}

pub(super) fn events(list: &[(u8, u32)]) -> Vec<EventFormat> {
    let event = |&(payload_type, clock_hz): &(u8, u32)| EventFormat { payload_type, clock_hz };
    list.iter().map(event).collect()
}

fn wideband_first() -> Local {
    Local {
        codecs: vec![Codec::Opus, Codec::G722, Codec::Pcma, Codec::Pcmu],
        ..local()
    }
}
