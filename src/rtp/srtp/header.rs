//! The few fields of a packet that protecting it needs, read without trusting any of them.

/// Of an RTP packet.
#[derive(Clone, Copy)]
pub(super) struct RtpHeader {
    pub(super) ssrc: u32,
    pub(super) sequence: u16,
    /// With contributing sources and extension: all that stays readable.
    pub(super) len: usize,
}

const FIXED_BYTES: usize = 12;
const WORD_BYTES: usize = 4;

/// Nothing when the packet ends inside its header, or is of another version.
pub(super) fn rtp_header(packet: &[u8]) -> Option<RtpHeader> {
    let fixed: &[u8; FIXED_BYTES] = packet.first_chunk()?;
    let [first, _, high, low, .., a, b, c, d] = *fixed;
    if first >> 6 != 2 {
        return None;
    }
    let sources = usize::from(first & 0x0F) * WORD_BYTES;
    let mut len = FIXED_BYTES + sources;
    if first & 0x10 != 0 {
        let [_, _, high, low] = *packet.get(len..)?.first_chunk()?;
        len += WORD_BYTES + usize::from(u16::from_be_bytes([high, low])) * WORD_BYTES;
    }
    (packet.len() >= len).then_some(RtpHeader {
        ssrc: u32::from_be_bytes([a, b, c, d]),
        sequence: u16::from_be_bytes([high, low]),
        len,
    })
}

/// The sender of an RTCP packet.
pub(super) fn rtcp_ssrc(packet: &[u8]) -> Option<u32> {
    let [first, _, _, _, a, b, c, d] = *packet.first_chunk()?;
    (first >> 6 == 2).then_some(u32::from_be_bytes([a, b, c, d]))
}
