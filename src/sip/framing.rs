//! Framing, whatever way the bytes come: a stream of messages says what the messages say one by one.
//!
//! The parts are messages with treacherous bodies, messages that are wrong in themselves, and runs of line breaks between
//! them; they are pipelined, cut anywhere, and sent a byte at a time.

use super::stream::{STREAM_BUFFER_BYTES_MAX, StreamEvent, StreamReader};
use super::test_line::Dice;

#[test]
fn a_stream_says_what_its_parts_say_however_it_is_cut() {
    let mut dice = Dice(5);
    for _ in 0..300 {
        let (stream, expected) = stream(&mut dice, 12);
        assert_eq!(frames([&stream[..]]), expected);
        assert_eq!(frames(stream.chunks(1)), expected);
        for _ in 0..5 {
            assert_eq!(frames(pieces(&stream, &mut dice)), expected);
        }
    }
}

#[test]
fn a_stream_says_the_same_cut_in_two_at_every_byte() {
    let mut dice = Dice(55);
    for _ in 0..3 {
        let (stream, expected) = stream(&mut dice, 3);
        for cut in 0..=stream.len() {
            let (left, right) = stream.split_at(cut);
            assert_eq!(frames([left, right]), expected, "cut at {cut}");
        }
    }
}

#[test]
fn what_is_no_message_between_messages_ends_the_stream_there() {
    let mut dice = Dice(555);
    for garbage in [
        &b"\0\0\0\0"[..],
        b"\n\n",
        b"\r\r\n",
        b" ",
        b"\r\n \r\n",
        b"v=0\r\n",
        b"\x16\x03\x01\x02\0",
        b"GET / HTTP/1.1\r\n",
    ] {
        let (before, mut expected) = stream(&mut dice, 4);
        let (after, _) = stream(&mut dice, 4);
        let bytes = [&before, garbage, &after].concat();
        let whole = frames([&bytes[..]]);
        let broken = whole.last().unwrap();
        assert!(matches!(broken, StreamEvent::Broken(_)), "{garbage:?}: {broken:?}");
        expected.push(broken.clone());
        assert_eq!(whole, expected, "{garbage:?}");
        assert_eq!(frames(bytes.chunks(1)), whole, "{garbage:?}");
        assert_eq!(frames(pieces(&bytes, &mut dice)), whole, "{garbage:?}");
    }
}

#[test]
fn a_flood_of_line_breaks_is_so_many_pings_and_holds_no_memory() {
    let flood = b"\r\n".repeat(STREAM_BUFFER_BYTES_MAX);
    let events = frames(flood.chunks(4099));
    assert_eq!(events.len(), STREAM_BUFFER_BYTES_MAX / 2);
    assert!(events.iter().all(|event| *event == StreamEvent::Ping));
}

/// Bytes of at most so many parts, and what each of them says alone.
fn stream(dice: &mut Dice, parts_max: u64) -> (Vec<u8>, Vec<StreamEvent>) {
    let (mut bytes, mut events) = (Vec::new(), Vec::new());
    for _ in 0..=dice.below(parts_max) {
        let breaks = [0, 0, 1, 2, 3, dice.below(200)][dice.below(6) as usize];
        bytes.extend(b"\r\n".repeat(breaks as usize));
        events.extend((0..breaks / 2).map(|_| StreamEvent::Ping));
        let part = message(dice);
        events.extend(frames([&part[..]]));
        bytes.extend(part);
    }
    (bytes, events)
}

/// A request or a response, with a body that looks like something else; one of five is refused.
fn message(dice: &mut Dice) -> Vec<u8> {
    let bodies = [
        "",
        "v=0",
        "\r\n\r\n",
        "\r\n",
        "BYE sip:b@h SIP/2.0\r\n\r\n",
        "Content-Length: 9\r\n\r\n",
        "\0\r",
    ];
    let body = bodies[dice.below(7) as usize].repeat(1 + dice.below(30) as usize);
    let start = ["BYE sip:b@h SIP/2.0", "SIP/2.0 200 OK", "ACK sip:b@h SIP/2.0"][dice.below(3) as usize];
    let method = if dice.below(5) == 0 {
        "INFO"
    } else {
        start.split(' ').next().unwrap_or_default()
    };
    let method = if method == "SIP/2.0" { "BYE" } else { method };
    let length = ["Content-Length:", "l:", "l :", "CONTENT-LENGTH :\r\n\t"][dice.below(4) as usize];
    format!(
        "{start}\r\nVia: SIP/2.0/TCP a;branch=z9hG4bK{}\r\nFrom: <sip:a@h>;tag=1\r\n{length} {}\r\nTo: <sip:b@h>;tag=2\r\n\
         Subject: a\r\n b\r\nCall-ID: c\r\nCSeq: 1 {method}\r\n\r\n{body}",
        dice.below(1000),
        body.len()
    )
    .into_bytes()
}

fn pieces<'a>(bytes: &'a [u8], dice: &mut Dice) -> Vec<&'a [u8]> {
    let (mut pieces, mut rest) = (Vec::new(), bytes);
    while !rest.is_empty() {
        let (piece, after) = rest.split_at(rest.len().min(1 + dice.below(400) as usize));
        pieces.push(piece);
        rest = after;
    }
    pieces
}

fn frames<'a>(pieces: impl IntoIterator<Item = &'a [u8]>) -> Vec<StreamEvent> {
    let mut reader = StreamReader::new();
    let mut events = Vec::new();
    for piece in pieces {
        reader.push(piece);
        events.extend(std::iter::from_fn(|| reader.poll_event()));
    }
    events
}
