//! One RTP packet: read without copying, written into a buffer its owner reuses (RFC 3550 section 5.1).
//!
//! The only module that names `rtp-rs`. Header extensions, contributing sources and padding are checked and skipped;
//! nothing here means anything by them.

use rtp_rs::{RtpReader, RtpReaderError};
use thiserror::Error;

/// A packet that came in; the payload is borrowed from the datagram and free of padding.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Packet<'a> {
    /// What the payload is, by the numbers of the session description.
    pub payload_type: u8,
    /// Counts packets, wrapping.
    pub sequence: u16,
    /// Counts samples, wrapping.
    pub timestamp: u32,
    /// Whose packet this is.
    pub ssrc: u32,
    /// With audio: the first packet after silence.
    pub marker: bool,
    /// The media itself.
    pub payload: &'a [u8],
}

/// Why a datagram is no RTP packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum Malformed {
    /// Not version 2.
    #[error("RTP version {0}; only version 2 exists in the field")]
    Version(u8),
    /// It ends before its own header, extension included, does.
    #[error("the datagram ends inside the RTP header")]
    Truncated,
    /// The padding is longer than what there is to pad.
    #[error("the padding count does not fit the packet")]
    Padding,
    /// An RTCP packet came to the RTP port, although multiplexing was not agreed on.
    #[error("an RTCP packet on the RTP port; rtcp-mux is not in the answer")]
    Rtcp,
}

impl<'a> Packet<'a> {
    /// Reads a datagram.
    pub fn read(datagram: &'a [u8]) -> Result<Self, Malformed> {
        let reader = RtpReader::new(datagram).map_err(Malformed::from)?;
        if datagram.get(1).is_some_and(|kind| RTCP_KINDS.contains(kind)) {
            return Err(Malformed::Rtcp);
        }
        Ok(Self {
            payload_type: reader.payload_type(),
            sequence: reader.sequence_number().into(),
            timestamp: reader.timestamp(),
            ssrc: reader.ssrc(),
            marker: reader.mark(),
            payload: reader.payload(),
        })
    }
}

/// The second byte of an RTCP packet; as RTP these would be payload types 64 to 95 with the marker set, which RFC 5761
/// section 4 keeps free.
const RTCP_KINDS: std::ops::RangeInclusive<u8> = 192..=223;

impl From<RtpReaderError> for Malformed {
    fn from(error: RtpReaderError) -> Self {
        match error {
            RtpReaderError::UnsupportedVersion(version) => Self::Version(version),
            RtpReaderError::PaddingLengthInvalid(_) => Self::Padding,
            RtpReaderError::BufferTooShort(_) | RtpReaderError::HeadersTruncated { .. } => Self::Truncated,
        }
    }
}

/// The fixed header of a packet to be sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    /// As in [`Packet`].
    pub payload_type: u8,
    /// As in [`Packet`].
    pub sequence: u16,
    /// As in [`Packet`].
    pub timestamp: u32,
    /// As in [`Packet`].
    pub ssrc: u32,
    /// As in [`Packet`].
    pub marker: bool,
}

impl Header {
    /// Appends the header; the payload goes right behind it.
    pub fn write(&self, out: &mut Vec<u8>) {
        let kind = self.payload_type & 0x7F | u8::from(self.marker) << 7;
        out.extend([0x80, kind]);
        out.extend(self.sequence.to_be_bytes());
        out.extend(self.timestamp.to_be_bytes());
        out.extend(self.ssrc.to_be_bytes());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A header as we write it: no contributing sources, no extension.
    const HEADER_BYTES: usize = 12;

    #[test]
    fn what_is_written_reads_back_the_same() {
        let header = header();
        let mut bytes = Vec::new();
        header.write(&mut bytes);
        assert_eq!(bytes.len(), HEADER_BYTES);
        bytes.extend([1, 2, 3]);
        let packet = Packet::read(&bytes).unwrap();
        assert_eq!(
            (packet.payload_type, packet.sequence),
            (header.payload_type, header.sequence)
        );
        assert_eq!((packet.timestamp, packet.ssrc), (header.timestamp, header.ssrc));
        assert!(packet.marker);
        assert_eq!(packet.payload, [1, 2, 3]);
    }

    #[test]
    fn extension_sources_and_padding_are_skipped() {
        let mut bytes = written();
        bytes[0] |= 0x20 | 0x10 | 2;
        bytes.extend([0; 8]);
        bytes.extend([0xBE, 0xDE, 0, 1, 9, 9, 9, 9]);
        bytes.extend([7, 8, 0, 0, 3]);
        assert_eq!(Packet::read(&bytes).unwrap().payload, [7, 8]);
    }

    #[test]
    fn another_version_is_refused() {
        let mut bytes = written();
        bytes[0] = 0x40;
        assert_eq!(Packet::read(&bytes), Err(Malformed::Version(1)));
    }

    #[test]
    fn a_datagram_that_ends_in_its_header_is_refused() {
        let bytes = written();
        for len in 0..HEADER_BYTES {
            assert_eq!(Packet::read(&bytes[..len]), Err(Malformed::Truncated));
        }
        let mut sources = written();
        sources[0] |= 15;
        assert_eq!(Packet::read(&sources), Err(Malformed::Truncated));
        let mut extension = written();
        extension[0] |= 0x10;
        extension.extend([0xBE, 0xDE, 0xFF, 0xFF, 0]);
        assert_eq!(Packet::read(&extension), Err(Malformed::Truncated));
    }

    #[test]
    fn padding_that_does_not_fit_is_refused() {
        for count in [0, 3, 255] {
            let mut bytes = written();
            bytes[0] |= 0x20;
            bytes.extend([0, count]);
            assert_eq!(Packet::read(&bytes), Err(Malformed::Padding), "{count}");
        }
        let mut nothing_to_pad = written();
        nothing_to_pad[0] |= 0x20;
        assert!(Packet::read(&nothing_to_pad).is_err());
    }

    #[test]
    fn rtcp_on_the_rtp_port_is_refused() {
        for kind in [200, 201, 202, 203, 204, 205, 206, 207] {
            let mut bytes = written();
            bytes[1] = kind;
            assert_eq!(Packet::read(&bytes), Err(Malformed::Rtcp));
        }
    }

    fn header() -> Header {
        Header {
            payload_type: 101,
            sequence: 65_535,
            timestamp: 4_000_000_000,
            ssrc: 0xDEAD_BEEF,
            marker: true,
        }
    }

    fn written() -> Vec<u8> {
        let mut bytes = Vec::new();
        header().write(&mut bytes);
        bytes[1] = 0;
        bytes
    }
}
