//! RTP as bytes, taken apart by hand.

/// A packet taken apart.
#[derive(Debug, Clone, Copy)]
pub struct Packet<'a> {
    /// The payload type.
    pub payload_type: u8,
    /// The marker bit.
    pub marker: bool,
    /// The sequence number.
    pub sequence: u16,
    /// The timestamp.
    pub timestamp: u32,
    /// The payload.
    pub payload: &'a [u8],
}

impl<'a> Packet<'a> {
    /// Takes a packet apart; one with more than the plain header fails the run.
    pub fn read(bytes: &'a [u8]) -> Self {
        assert!(bytes.len() > 12 && bytes[0] == 0x80, "a plain RTP packet: {bytes:?}");
        Self {
            payload_type: bytes[1] & 0x7F,
            marker: bytes[1] & 0x80 != 0,
            sequence: u16::from_be_bytes([bytes[2], bytes[3]]),
            timestamp: u32::from_be_bytes([bytes[4], bytes[5], bytes[6], bytes[7]]),
            payload: &bytes[12..],
        }
    }
}
