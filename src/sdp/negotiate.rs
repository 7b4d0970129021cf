//! Choosing: which stream of an offer we take, in which codec, and what our answer says (RFC 3264 sections 6 and 8).

use std::net::{IpAddr, SocketAddr};

use super::{
    Codec, Direction, EventFormat, Format, Local, Negotiated, Refusal, Security,
    description::{Address, Author, Description, Map, Stream, is_unicast},
};

/// Reads an offer and answers it: the first audio stream we can serve is taken, all others are turned down.
pub fn answer(offer: &[u8], local: &Local) -> Result<(Negotiated, Vec<u8>), Refusal> {
    let offer = Description::read(offer)?;
    let (index, negotiated) = choose(&offer, &local.codecs)?;
    let streams = offer.streams.iter().enumerate().map(|(at, offered)| match at == index {
        true => accepted(offered, &negotiated, local),
        false => turned_down(offered),
    });
    let answer = Description {
        streams: streams.collect(),
    };
    Ok((negotiated, answer.write(author(local))))
}

/// Our own offer: every codec we speak, telephone-events, 20 ms.
pub fn offer(local: &Local) -> Vec<u8> {
    let mut maps: Vec<Map> = local
        .codecs
        .iter()
        .map(|&codec| map(codec.payload_type(), codec.name()))
        .collect();
    maps.push(map(TELEPHONE_EVENT, "telephone-event"));
    let stream = ours(maps, PTIME_MS, Direction::SendRecv, local);
    Description { streams: vec![stream] }.write(author(local))
}

/// Reads the answer to [`offer`].
pub fn read_answer(answer: &[u8], local: &Local) -> Result<Negotiated, Refusal> {
    let answer = Description::read(answer)?;
    let [stream] = answer.streams.as_slice() else {
        return Err(Refusal::Mismatch("we offered exactly one stream"));
    };
    // The far end chose; among several it listed, the first is what it will send.
    let codec = stream
        .payload_types()
        .find_map(|payload_type| codec(stream, payload_type, &local.codecs));
    negotiate(stream, codec)
}

/// What we call telephone-events in our own offers.
const TELEPHONE_EVENT: u8 = 101;
/// Packet time without a wish of the far end.
const PTIME_MS: u32 = 20;
const PTIME_MS_MAX: u32 = 60;
const PTIME_MS_STEP: u32 = 10;

fn choose(offer: &Description, codecs: &[Codec]) -> Result<(usize, Negotiated), Refusal> {
    let mut refusal = Refusal::NoAudio;
    for (index, stream) in offer.streams.iter().enumerate() {
        match negotiate(stream, preferred(stream, codecs)) {
            Ok(negotiated) => return Ok((index, negotiated)),
            // Of several streams we cannot serve, the one that came closest tells why.
            Err(why) if closeness(&why) > closeness(&refusal) => refusal = why,
            Err(_) => {}
        }
    }
    Err(refusal)
}

fn closeness(refusal: &Refusal) -> u8 {
    match refusal {
        Refusal::NoAudio => 0,
        Refusal::ProfileUnknown(_) => 1,
        Refusal::SrtpRequired(_) => 2,
        Refusal::NoCommonCodec => 3,
        _ => 4,
    }
}

fn negotiate(stream: &Stream, codec: Option<(u8, Codec)>) -> Result<Negotiated, Refusal> {
    if stream.kind != "audio" || stream.port == 0 {
        return Err(Refusal::NoAudio);
    }
    check_profile(&stream.profile)?;
    let (payload_type, codec) = codec.ok_or(Refusal::NoCommonCodec)?;
    let address = address(stream)?;
    let event_send = telephone_event(stream);
    Ok(Negotiated {
        send: Format {
            payload_type,
            ..Format::plain(codec)
        },
        receive: vec![Format {
            payload_type,
            ..Format::plain(codec)
        }],
        events: event_send
            .map(|payload_type| EventFormat {
                payload_type,
                clock_hz: 8_000,
            })
            .into_iter()
            .collect(),
        event_send,
        comfort_noise: None,
        rtcp_mux: false,
        security: Security::None,
        voip_metrics: false,
        remote_rtp: SocketAddr::new(address, stream.port),
        remote_rtcp: rtcp(stream, address),
        ptime_ms: ptime_ms(stream),
        direction: direction(stream, address),
    })
}

fn check_profile(profile: &str) -> Result<(), Refusal> {
    let upper = profile.to_ascii_uppercase();
    match upper.as_str() {
        "RTP/AVP" => Ok(()),
        _ if upper.contains("SAVP") => Err(Refusal::SrtpRequired(profile.to_owned())),
        _ => Err(Refusal::ProfileUnknown(profile.to_owned())),
    }
}

/// What we like best of what is offered; among several numbers for it the first.
fn preferred(stream: &Stream, codecs: &[Codec]) -> Option<(u8, Codec)> {
    codecs.iter().find_map(|&wanted| {
        stream
            .payload_types()
            .find_map(|payload_type| codec(stream, payload_type, &[wanted]))
    })
}

/// The codec behind a payload type: what its `a=rtpmap` says, else what the number means by itself.
fn codec(stream: &Stream, payload_type: u8, codecs: &[Codec]) -> Option<(u8, Codec)> {
    let is = |codec: &Codec| match stream.map(payload_type) {
        Some(map) => map.name.eq_ignore_ascii_case(codec.name()) && map.clock_hz == 8_000 && map.channels == 1,
        None => codec.payload_type() == payload_type,
    };
    codecs.iter().copied().find(is).map(|codec| (payload_type, codec))
}

fn telephone_event(stream: &Stream) -> Option<u8> {
    stream
        .payload_types()
        .find(|&payload_type| stream.map(payload_type).is_some_and(Map::is_telephone_event))
}

fn address(stream: &Stream) -> Result<IpAddr, Refusal> {
    match &stream.address {
        Some(Address::Ip(address)) if is_unicast(*address) => Ok(*address),
        Some(Address::Ip(address)) => Err(Refusal::AddressNotUnicast(address.to_string())),
        Some(Address::Other(text)) => Err(Refusal::AddressUnknown(text.clone())),
        None => Err(Refusal::NoAddress),
    }
}

fn rtcp(stream: &Stream, address: IpAddr) -> SocketAddr {
    let (port, elsewhere) = stream.rtcp.unwrap_or((stream.port.saturating_add(1), None));
    SocketAddr::new(
        elsewhere.filter(|&address| is_unicast(address)).unwrap_or(address),
        port,
    )
}

/// The wished packet time, brought to what we can do: whole tens of milliseconds, never above what is allowed.
fn ptime_ms(stream: &Stream) -> u32 {
    let allowed = stream.maxptime_ms.unwrap_or(PTIME_MS_MAX);
    let wished = stream.ptime_ms.unwrap_or(PTIME_MS).min(allowed);
    (wished / PTIME_MS_STEP * PTIME_MS_STEP).clamp(PTIME_MS_STEP, PTIME_MS_MAX)
}

/// Theirs, seen from here. An unspecified address is the way RFC 2543 said hold: there is nowhere to send.
fn direction(stream: &Stream, address: IpAddr) -> Direction {
    let ours = stream.direction.reversed();
    Direction::new(ours.sends() && !address.is_unspecified(), ours.receives())
}

fn accepted(offered: &Stream, negotiated: &Negotiated, local: &Local) -> Stream {
    let mut maps = vec![map(negotiated.send.payload_type, negotiated.send.codec.name())];
    maps.extend(
        negotiated
            .event_send
            .map(|payload_type| map(payload_type, "telephone-event")),
    );
    Stream {
        profile: offered.profile.clone(),
        ..ours(maps, negotiated.ptime_ms, negotiated.direction, local)
    }
}

/// The same kind, profile and formats with port 0 (RFC 3264 section 6).
fn turned_down(offered: &Stream) -> Stream {
    Stream {
        port: 0,
        ..offered.clone()
    }
}

fn ours(maps: Vec<Map>, ptime_ms: u32, direction: Direction, local: &Local) -> Stream {
    let formats: Vec<String> = maps.iter().map(|map| map.payload_type.to_string()).collect();
    Stream {
        kind: "audio".to_owned(),
        port: local.rtp_port,
        profile: "RTP/AVP".to_owned(),
        formats: formats.join(" "),
        address: None,
        maps,
        direction,
        ptime_ms: Some(ptime_ms),
        maxptime_ms: None,
        rtcp: None,
    }
}

fn map(payload_type: u8, name: &str) -> Map {
    Map {
        payload_type,
        name: name.to_owned(),
        clock_hz: 8_000,
        channels: 1,
    }
}

fn author(local: &Local) -> Author {
    Author {
        address: local.address,
        session_id: local.session_id,
        version: local.version,
    }
}

#[cfg(test)]
mod tests;
