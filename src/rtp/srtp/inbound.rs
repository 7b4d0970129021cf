//! What the far end sends with: packets are checked, counted once and decrypted.

use super::{
    Failure, MasterKey, SOURCES_MAX, WrongLength,
    cipher::{Cipher, Place, RTCP_HEADER_BYTES},
    header::{RtpHeader, rtcp_ssrc, rtp_header},
    keys,
    window::{Window, index_near},
};

/// The far end's key, with what came of its sources. Only packets that are authentic leave a trace.
#[derive(Debug)]
pub struct Inbound {
    rtp: Cipher,
    rtcp: Cipher,
    /// The one heard last stands last.
    sources: Vec<Source>,
    /// A source's first packet, which may have to be opened twice.
    copy: Vec<u8>,
}

#[derive(Clone, Copy, Debug)]
struct Source {
    ssrc: u32,
    rtp: Option<Window>,
    rtcp: Option<Window>,
    /// The newest packet under the key before.
    before: Option<u64>,
}

/// What one more rollover adds to an index.
const ROLLOVER: u64 = 1 << 16;
/// The longest packet that is copied; longer ones than a datagram do not come.
const COPY_BYTES: usize = 2048;

impl Inbound {
    /// With nothing heard yet.
    pub fn new(key: &MasterKey) -> Result<Self, WrongLength> {
        let (rtp, rtcp) = keys(key)?;
        Ok(Self {
            rtp,
            rtcp,
            sources: Vec::with_capacity(SOURCES_MAX),
            copy: Vec::new(),
        })
    }

    /// Goes on under another key. A source's rollover counter is expected to keep its value, as RFC 3711 section 3.2.1
    /// wants, or to begin again, as many phones do; its first packet shows which.
    pub fn rekeyed(&self, key: &MasterKey) -> Result<Self, WrongLength> {
        let mut next = Self::new(key)?;
        next.sources.extend(self.sources.iter().map(|source| Source {
            ssrc: source.ssrc,
            rtp: None,
            rtcp: None,
            before: source.rtp.map(|window| window.highest()).or(source.before),
        }));
        Ok(next)
    }

    /// Checks and decrypts an RTP packet where it is, and gives the length of what is left. After a failure the bytes
    /// mean nothing.
    pub fn unprotect_rtp(&mut self, packet: &mut [u8]) -> Result<usize, Failure> {
        let header = rtp_header(packet).ok_or(Failure::Malformed)?;
        let source = self.sources.iter().find(|source| source.ssrc == header.ssrc).copied();
        let (len, index) = match source.and_then(|source| source.rtp) {
            Some(window) => {
                let index = index_near(window.highest(), header.sequence).ok_or(Failure::Replayed)?;
                if !window.is_fresh(index) {
                    return Err(Failure::Replayed);
                }
                (self.open(packet, header, index), index)
            }
            None => self.open_first(packet, header, source.and_then(|source| source.before)),
        };
        let len = len.ok_or(Failure::Unauthentic)?;
        taken(&mut self.sources, header.ssrc, |source| &mut source.rtp, index);
        Ok(len)
    }

    /// The same for RTCP.
    pub fn unprotect_rtcp(&mut self, packet: &mut [u8]) -> Result<usize, Failure> {
        let ssrc = rtcp_ssrc(packet).ok_or(Failure::Malformed)?;
        let index = self.rtcp.rtcp_index(packet).ok_or(Failure::Malformed)?;
        let source = self.sources.iter().find(|source| source.ssrc == ssrc);
        if source
            .and_then(|source| source.rtcp)
            .is_some_and(|window| !window.is_fresh(index))
        {
            return Err(Failure::Replayed);
        }
        let len = self.rtcp.open_rtcp(packet, Place { ssrc, index });
        let len = len
            .filter(|len| *len >= RTCP_HEADER_BYTES)
            .ok_or(Failure::Unauthentic)?;
        taken(&mut self.sources, ssrc, |source| &mut source.rtcp, index);
        Ok(len)
    }

    /// A source's first packet does not say how often its sequence wrapped: going on from the key before, not at all,
    /// or once before we could hear it.
    fn open_first(&mut self, packet: &mut [u8], header: RtpHeader, before: Option<u64>) -> (Option<usize>, u64) {
        let fresh = u64::from(header.sequence);
        let wrapped = (header.sequence < 1 << 15).then_some(fresh + ROLLOVER);
        let going_on = before.and_then(|highest| index_near(highest, header.sequence));
        let (first, second) = match going_on {
            Some(index) if index != fresh => (index, Some(fresh)),
            _ => (fresh, wrapped),
        };
        self.copy.clear();
        if self.rtp.opens_once() && packet.len() <= COPY_BYTES {
            self.copy.extend_from_slice(packet);
        }
        let opened = self.open(packet, header, first);
        let (None, Some(second)) = (opened, second) else {
            return (opened, first);
        };
        if self.rtp.opens_once() && self.copy.len() == packet.len() {
            packet.copy_from_slice(&self.copy);
        }
        (self.open(packet, header, second), second)
    }

    fn open(&self, packet: &mut [u8], header: RtpHeader, index: u64) -> Option<usize> {
        let ssrc = header.ssrc;
        self.rtp.open_rtp(packet, header.len, Place { ssrc, index })
    }

    #[cfg(test)]
    pub(super) fn with_ciphers(rtp: Cipher, rtcp: Cipher) -> Self {
        Self {
            rtp,
            rtcp,
            sources: Vec::new(),
            copy: Vec::new(),
        }
    }
}

/// Notes an authentic packet, and that its source was heard last.
fn taken(sources: &mut Vec<Source>, ssrc: u32, of: impl Fn(&mut Source) -> &mut Option<Window>, index: u64) {
    match sources.iter().position(|source| source.ssrc == ssrc) {
        Some(at) => sources[at..].rotate_left(1),
        None => {
            if sources.len() == SOURCES_MAX {
                sources.remove(0);
            }
            sources.push(Source {
                ssrc,
                rtp: None,
                rtcp: None,
                before: None,
            });
        }
    }
    let Some(source) = sources.last_mut() else { return };
    match of(source) {
        Some(window) => window.take(index),
        window => *window = Some(Window::new(index)),
    }
}
