//! Choosing: which stream of an offer we take, and what our answer says (RFC 3264 sections 6 and 8).

use std::net::{IpAddr, SocketAddr};

use super::{
    Codec, Direction, Local, Negotiated, PTIME_MS_MAX, Profile, Refusal, Security,
    description::{Address, Author, Description, Stream, is_unicast},
    formats::{Formats, Sent},
    opus, security,
};

/// Reads an offer and answers it: the first audio stream we can serve is taken, all others are turned down.
pub fn answer(offer: &[u8], local: &Local) -> Result<(Negotiated, Vec<u8>), Refusal> {
    let offer = Description::read(offer)?;
    let (index, negotiated, accepted) = choose(&offer, local)?;
    let streams = offer.streams.iter().enumerate().map(|(at, offered)| match at == index {
        true => accepted.clone(),
        false => turned_down(offered),
    });
    let answer = Description {
        streams: streams.collect(),
    };
    Ok((negotiated, answer.write(author(local))))
}

/// Our own offer: every codec we speak, telephone-events and comfort noise, protected as the trunk wants it.
pub fn offer(local: &Local) -> Vec<u8> {
    let (profile, lines) = security::offered(local);
    let before = local.before.as_ref();
    let stream = Stream {
        // With a handshake, what makes keys for one port serves both kinds of packets (RFC 5764 section 5.1).
        rtcp_mux: lines.fingerprint.is_some() || before.is_some_and(|before| before.rtcp_mux),
        voip_metrics: before.is_some_and(|before| before.voip_metrics),
        ..ours(&Formats::offered(local), profile.name(), lines, local)
    };
    Description { streams: vec![stream] }.write(author(local))
}

/// Reads the answer to [`offer`].
pub fn read_answer(answer: &[u8], local: &Local) -> Result<Negotiated, Refusal> {
    let answer = Description::read(answer)?;
    let [stream] = answer.streams.as_slice() else {
        return Err(Refusal::Mismatch("we offered exactly one stream"));
    };
    let profile = check(stream)?;
    let security = security::answered(stream, profile, local)?;
    let (formats, sent) = Formats::answered(stream, local)?;
    settle(stream, profile, security, formats, sent, local)
}

/// Whole tens of milliseconds, as what is sent is cut.
const PTIME_MS_STEP: u32 = 10;
/// The packet times Opus is coded at (RFC 7587 section 4.2), of those we send; longest first.
const OPUS_PTIMES_MS: [u32; 4] = [60, 40, 20, 10];

fn choose(offer: &Description, local: &Local) -> Result<(usize, Negotiated, Stream), Refusal> {
    let mut refusal = Refusal::NoAudio;
    for (index, stream) in offer.streams.iter().enumerate() {
        match accept(stream, local) {
            Ok((negotiated, answer)) => return Ok((index, negotiated, answer)),
            Err(why) if why.closeness() > refusal.closeness() => refusal = why,
            Err(_) => {}
        }
    }
    Err(refusal)
}

/// What a stream of an offer settles, and our side of it.
fn accept(stream: &Stream, local: &Local) -> Result<(Negotiated, Stream), Refusal> {
    let profile = check(stream)?;
    let (security, lines) = security::answering(stream, profile, local)?;
    let (formats, sent) = Formats::answering(stream, local)?;
    let answer = ours(&formats, &stream.profile, lines, local);
    let negotiated = settle(stream, profile, security, formats, sent, local)?;
    let answer = Stream {
        direction: negotiated.direction,
        ptime_ms: Some(negotiated.ptime_ms),
        rtcp_mux: negotiated.rtcp_mux,
        voip_metrics: negotiated.voip_metrics,
        ..answer
    };
    Ok((negotiated, answer))
}

fn check(stream: &Stream) -> Result<Profile, Refusal> {
    if stream.kind != "audio" || stream.port == 0 {
        return Err(Refusal::NoAudio);
    }
    Profile::read(&stream.profile).ok_or_else(|| Refusal::ProfileUnknown(stream.profile.clone()))
}

fn settle(
    stream: &Stream,
    profile: Profile,
    security: Security,
    formats: Formats,
    sent: Sent,
    local: &Local,
) -> Result<Negotiated, Refusal> {
    let address = address(stream)?;
    Ok(Negotiated {
        send: sent.audio,
        receive: formats.receive,
        events: formats.events,
        event_send: sent.events,
        comfort_noise: formats.comfort_noise,
        remote_rtp: SocketAddr::new(address, stream.port),
        remote_rtcp: rtcp(stream, address),
        rtcp_mux: stream.rtcp_mux,
        ptime_ms: ptime_ms(stream, sent, local),
        direction: direction(stream, address),
        profile,
        security,
        voip_metrics: stream.voip_metrics,
    })
}

fn address(stream: &Stream) -> Result<IpAddr, Refusal> {
    match &stream.address {
        Some(Address::Ip(address)) if is_unicast(*address) => Ok(*address),
        Some(Address::Ip(address)) => Err(Refusal::AddressNotUnicast(address.to_string())),
        Some(Address::Other(text)) => Err(Refusal::AddressUnknown(text.clone())),
        None => Err(Refusal::NoAddress),
    }
}

/// On the RTP port when they share it, whatever `a=rtcp` says for those who do not (RFC 5761 section 5.1.3).
fn rtcp(stream: &Stream, address: IpAddr) -> SocketAddr {
    if stream.rtcp_mux {
        return SocketAddr::new(address, stream.port);
    }
    let (port, elsewhere) = stream.rtcp.unwrap_or((stream.port.saturating_add(1), None));
    SocketAddr::new(
        elsewhere.filter(|&address| is_unicast(address)).unwrap_or(address),
        port,
    )
}

/// The wished packet time, brought to what we can do: whole tens of milliseconds, never above what is allowed.
fn ptime_ms(stream: &Stream, sent: Sent, local: &Local) -> u32 {
    let allowed = stream.maxptime_ms.unwrap_or(PTIME_MS_MAX);
    let opus = sent.audio.codec == Codec::Opus;
    let line = stream.parameters(sent.audio.payload_type).filter(|_| opus);
    let least = line.map_or(0, opus::ptime_ms_min);
    let wished = stream.ptime_ms.unwrap_or(local.ptime_ms).max(least).min(allowed);
    let ptime = (wished / PTIME_MS_STEP * PTIME_MS_STEP).clamp(PTIME_MS_STEP, PTIME_MS_MAX);
    match OPUS_PTIMES_MS.into_iter().find(|&possible| possible <= ptime) {
        Some(possible) if opus => possible,
        _ => ptime,
    }
}

/// Theirs, seen from here. An unspecified address is the way RFC 2543 said hold: there is nowhere to send.
fn direction(stream: &Stream, address: IpAddr) -> Direction {
    let ours = stream.direction.reversed();
    Direction::new(ours.sends() && !address.is_unspecified(), ours.receives())
}

/// The same kind, profile and formats with port 0 (RFC 3264 section 6).
fn turned_down(offered: &Stream) -> Stream {
    Stream {
        port: 0,
        ..offered.clone()
    }
}

fn ours(formats: &Formats, profile: &str, lines: security::Lines, local: &Local) -> Stream {
    let (maps, parameters) = formats.lines();
    let numbers: Vec<String> = maps.iter().map(|map| map.payload_type.to_string()).collect();
    Stream {
        kind: "audio".to_owned(),
        port: local.rtp_port,
        profile: profile.to_owned(),
        formats: numbers.join(" "),
        address: None,
        maps,
        parameters,
        direction: Direction::SendRecv,
        ptime_ms: Some(local.ptime_ms),
        maxptime_ms: Some(PTIME_MS_MAX),
        rtcp: None,
        rtcp_mux: false,
        voip_metrics: false,
        cryptos: lines.cryptos,
        unusable: None,
        fingerprint: lines.fingerprint,
        setup: lines.setup,
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
