//! What we send with: packets leave protected, each under an index of its own.

use super::{
    Failure, MasterKey, SOURCES_MAX, WrongLength,
    cipher::{Cipher, Place},
    header::{rtcp_ssrc, rtp_header},
    keys,
    window::{INDEX_END, index_near},
};

/// Our side's key, with the counters of our sources.
#[derive(Debug)]
pub struct Outbound {
    rtp: Cipher,
    rtcp: Cipher,
    sources: Vec<Source>,
}

#[derive(Clone, Copy, Debug)]
struct Source {
    ssrc: u32,
    /// Of the newest RTP packet.
    rtp: Option<u64>,
    /// Of the next RTCP packet.
    rtcp: u32,
}

/// One key protects at most so many RTCP packets of a source (RFC 3711 section 9.2).
const RTCP_INDEX_END: u32 = 1 << 31;

impl Outbound {
    /// With nothing sent yet.
    pub fn new(key: &MasterKey) -> Result<Self, WrongLength> {
        let (rtp, rtcp) = keys(key)?;
        Ok(Self {
            rtp,
            rtcp,
            sources: Vec::with_capacity(SOURCES_MAX),
        })
    }

    /// Goes on under another key: rollover counters keep their values, as RFC 3711 section 3.2.1 wants.
    pub fn rekeyed(&self, key: &MasterKey) -> Result<Self, WrongLength> {
        let mut next = Self::new(key)?;
        next.sources
            .extend(self.sources.iter().map(|source| Source { rtcp: 0, ..*source }));
        Ok(next)
    }

    /// Protects an RTP packet where it is. After a failure the buffer must not be sent.
    pub fn protect_rtp(&mut self, packet: &mut Vec<u8>) -> Result<(), Failure> {
        let header = rtp_header(packet).ok_or(Failure::Malformed)?;
        let source = source(&mut self.sources, header.ssrc)?;
        let index = match source.rtp {
            Some(newest) => index_near(newest, header.sequence).ok_or(Failure::Exhausted)?,
            None => header.sequence.into(),
        };
        source.rtp = Some(source.rtp.map_or(index, |newest| newest.max(index)));
        let place = Place {
            ssrc: header.ssrc,
            index,
        };
        self.rtp.seal_rtp(packet, header.len, place).ok_or(Failure::Malformed)
    }

    /// Protects an RTCP packet, compound or not, where it is. After a failure the buffer must not be sent.
    pub fn protect_rtcp(&mut self, packet: &mut Vec<u8>) -> Result<(), Failure> {
        let ssrc = rtcp_ssrc(packet).ok_or(Failure::Malformed)?;
        let source = source(&mut self.sources, ssrc)?;
        if source.rtcp == RTCP_INDEX_END {
            return Err(Failure::Exhausted);
        }
        let index = source.rtcp.into();
        source.rtcp += 1;
        self.rtcp
            .seal_rtcp(packet, Place { ssrc, index })
            .ok_or(Failure::Malformed)
    }

    #[cfg(test)]
    pub(super) fn with_ciphers(rtp: Cipher, rtcp: Cipher, ssrc: u32, rtcp_index: u32) -> Self {
        let source = Source {
            ssrc,
            rtp: None,
            rtcp: rtcp_index,
        };
        Self {
            rtp,
            rtcp,
            sources: vec![source],
        }
    }
}

fn source(sources: &mut Vec<Source>, ssrc: u32) -> Result<&mut Source, Failure> {
    let known = sources.iter().position(|source| source.ssrc == ssrc);
    let at = match known {
        Some(at) => at,
        None if sources.len() == SOURCES_MAX => return Err(Failure::Exhausted),
        None => {
            sources.push(Source {
                ssrc,
                rtp: None,
                rtcp: 0,
            });
            sources.len() - 1
        }
    };
    Ok(&mut sources[at])
}

const _: () = assert!(RTCP_INDEX_END as u64 <= INDEX_END);
