//! Extended reports (RFC 3611): the blocks we know, written into a reused buffer and read into plain values.
//!
//! Three blocks matter to a telephone call: the receiver's reference time and its echo, by which an end that sends
//! nothing still learns the round trip (sections 4.4 and 4.5), and the VoIP metrics, which say how the call sounds at
//! the other end (section 4.7). Blocks of any other kind are passed over.

/// How a call sounds to whoever receives it (section 4.7). What is not known has the value the RFC gives for that.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct VoipMetrics {
    /// Whose packets these figures are about.
    pub ssrc: u32,
    /// Packets lost since the call began, in 1/256.
    pub loss_rate: u8,
    /// Packets thrown away because they came too late or too early, in 1/256.
    pub discard_rate: u8,
    /// The share of packets lost or thrown away within bursts, in 1/256.
    pub burst_density: u8,
    /// The same between bursts.
    pub gap_density: u8,
    /// The mean length of a burst, in milliseconds.
    pub burst_ms: u16,
    /// The mean length of what is between bursts, in milliseconds.
    pub gap_ms: u16,
    /// The last round trip, in milliseconds; 0 when none was measured.
    pub round_trip_ms: u16,
    /// What the receiver itself adds, in milliseconds: waiting, decoding, playing.
    pub end_delay_ms: u16,
    /// The transmission rating R, 0 to 100; 127 is unknown.
    pub rating: u8,
    /// The listening quality times ten, 10 to 50; 127 is unknown.
    pub listening_mos: u8,
    /// The conversational quality times ten, 10 to 50; 127 is unknown.
    pub conversation_mos: u8,
    /// The present nominal wait of the jitter buffer, in milliseconds.
    pub wait_ms: u16,
    /// The longest wait there can be, in milliseconds.
    pub wait_ms_max: u16,
}

/// "Not known" in the fields for levels, ratings and opinions.
pub const UNKNOWN: u8 = 127;

/// One report block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Block {
    /// The time at whoever reports, in 1/2^32 s: a receiver's question for the round trip.
    ReferenceTime(u64),
    /// The answer to such a question: whose it was, the middle of its time, and how long ago it came, in 1/65536 s.
    Echo {
        /// Who asked.
        ssrc: u32,
        /// The middle 32 bits of the reference time.
        reference: u32,
        /// How long the answer took.
        delay: u32,
    },
    /// How the call sounds.
    Voip(VoipMetrics),
}

/// The packet type of an extended report.
pub const PACKET_TYPE: u8 = 207;
const REFERENCE_TIME: u8 = 4;
const ECHO: u8 = 5;
const VOIP: u8 = 7;
/// Packets in a row without loss that end a burst, as section 4.7.2 recommends.
const BURST_ENDS_AFTER: u8 = 16;
/// Standard packet loss concealment, adaptive jitter buffer, of which the rate of change is the highest (4.7.6).
const RECEIVER: u8 = 0b1111_0000;
/// As many blocks are read of one packet; nobody sends more of those we know.
const BLOCKS_MAX: usize = 16;

impl Block {
    /// Appends the block.
    fn write(&self, out: &mut Vec<u8>) {
        match self {
            Self::ReferenceTime(time) => {
                out.extend([REFERENCE_TIME, 0, 0, 2]);
                out.extend(time.to_be_bytes());
            }
            Self::Echo { ssrc, reference, delay } => {
                out.extend([ECHO, 0, 0, 3]);
                [ssrc, reference, delay]
                    .iter()
                    .for_each(|word| out.extend(word.to_be_bytes()));
            }
            Self::Voip(metrics) => metrics.write(out),
        }
    }
}

impl VoipMetrics {
    fn write(&self, out: &mut Vec<u8>) {
        out.extend([VOIP, 0, 0, 8]);
        out.extend(self.ssrc.to_be_bytes());
        out.extend([self.loss_rate, self.discard_rate, self.burst_density, self.gap_density]);
        put_all(
            out,
            &[self.burst_ms, self.gap_ms, self.round_trip_ms, self.end_delay_ms],
        );
        // Signal, noise and echo return loss are not measured.
        out.extend([UNKNOWN, UNKNOWN, UNKNOWN, BURST_ENDS_AFTER]);
        out.extend([self.rating, UNKNOWN, self.listening_mos, self.conversation_mos]);
        out.extend([RECEIVER, 0]);
        put_all(out, &[self.wait_ms, self.wait_ms_max, self.wait_ms_max]);
    }

    fn read(body: &[u8]) -> Option<Self> {
        let word = |at: usize| Some(u16::from_be_bytes([*body.get(at)?, *body.get(at + 1)?]));
        Some(Self {
            ssrc: read_u32(body, 0)?,
            loss_rate: *body.get(4)?,
            discard_rate: *body.get(5)?,
            burst_density: *body.get(6)?,
            gap_density: *body.get(7)?,
            burst_ms: word(8)?,
            gap_ms: word(10)?,
            round_trip_ms: word(12)?,
            end_delay_ms: word(14)?,
            rating: *body.get(20)?,
            listening_mos: *body.get(22)?,
            conversation_mos: *body.get(23)?,
            wait_ms: word(26)?,
            wait_ms_max: word(28)?,
        })
    }
}

fn put_all(out: &mut Vec<u8>, words: &[u16]) {
    words.iter().for_each(|word| out.extend(word.to_be_bytes()));
}

/// Appends a packet with these blocks; nothing when there are none.
pub fn write(ssrc: u32, blocks: impl IntoIterator<Item = Block>, out: &mut Vec<u8>) {
    let start = out.len();
    out.extend([0x80, PACKET_TYPE, 0, 0]);
    out.extend(ssrc.to_be_bytes());
    let empty = out.len();
    blocks.into_iter().for_each(|block| block.write(out));
    if out.len() == empty {
        return out.truncate(start);
    }
    let words = ((out.len() - start) / 4 - 1) as u16;
    out[start + 2..start + 4].copy_from_slice(&words.to_be_bytes());
}

/// The blocks we know of one packet, header included.
pub fn read(packet: &[u8]) -> impl Iterator<Item = Block> {
    let mut rest = packet.get(8..).unwrap_or_default();
    std::iter::from_fn(move || {
        let &[kind, _, high, low, ..] = rest else { return None };
        let len = 4 + 4 * usize::from(u16::from_be_bytes([high, low]));
        let body = rest.get(4..len)?;
        rest = &rest[len..];
        Some(read_block(kind, body))
    })
    .take(BLOCKS_MAX)
    .flatten()
}

fn read_block(kind: u8, body: &[u8]) -> Option<Block> {
    match kind {
        REFERENCE_TIME => Some(Block::ReferenceTime(
            u64::from(read_u32(body, 0)?) << 32 | u64::from(read_u32(body, 4)?),
        )),
        // One that answers several is for a mixer; the first is ours.
        ECHO => Some(Block::Echo {
            ssrc: read_u32(body, 0)?,
            reference: read_u32(body, 4)?,
            delay: read_u32(body, 8)?,
        }),
        VOIP => VoipMetrics::read(body).map(Block::Voip),
        _ => None,
    }
}

fn read_u32(body: &[u8], at: usize) -> Option<u32> {
    let bytes = body.get(at..at + 4)?;
    Some(u32::from_be_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]))
}

/// Figures that are all different, for tests.
#[cfg(test)]
pub(super) fn tests_metrics(ssrc: u32) -> VoipMetrics {
    VoipMetrics {
        ssrc,
        loss_rate: 13,
        discard_rate: 2,
        burst_density: 40,
        gap_density: 1,
        burst_ms: 120,
        gap_ms: 9_000,
        round_trip_ms: 150,
        end_delay_ms: 40,
        rating: 88,
        listening_mos: 41,
        conversation_mos: 40,
        wait_ms: 20,
        wait_ms_max: 60,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_block_reads_back_as_written() {
        let mut bytes = Vec::new();
        write(9, blocks(), &mut bytes);
        assert_eq!(
            bytes.len(),
            4 * (1 + usize::from(u16::from_be_bytes([bytes[2], bytes[3]])))
        );
        assert_eq!((bytes[1], &bytes[4..8]), (PACKET_TYPE, &[0, 0, 0, 9][..]));
        assert_eq!(read(&bytes).collect::<Vec<_>>(), blocks());
    }

    /// Offsets of section 4.7, counted in the figure of the RFC.
    #[test]
    fn the_metrics_stand_where_the_standard_has_them() {
        let mut bytes = Vec::new();
        blocks()[2].write(&mut bytes);
        assert_eq!(bytes.len(), 36);
        assert_eq!(bytes[..8], [7, 0, 0, 8, 0, 0, 0, 7]);
        assert_eq!((bytes[8], bytes[9]), (13, 2));
        assert_eq!(u16::from_be_bytes([bytes[16], bytes[17]]), 150);
        assert_eq!((bytes[23], bytes[24], bytes[26], bytes[27]), (16, 88, 41, 40));
        assert_eq!(u16::from_be_bytes([bytes[30], bytes[31]]), 20);
    }

    #[test]
    fn blocks_nobody_knows_are_passed_over() {
        let mut bytes = vec![0x80, PACKET_TYPE, 0, 0, 0, 0, 0, 1];
        bytes.extend([99, 0, 0, 1, 1, 2, 3, 4]);
        blocks()[1].write(&mut bytes);
        assert_eq!(read(&bytes).collect::<Vec<_>>(), blocks()[1..2]);
    }

    #[test]
    fn a_packet_without_blocks_is_not_written() {
        let mut bytes = vec![1];
        write(9, [], &mut bytes);
        assert_eq!(bytes, [1]);
    }

    #[test]
    fn a_block_that_is_cut_short_is_none() {
        let mut bytes = Vec::new();
        write(9, blocks(), &mut bytes);
        for len in 0..bytes.len() {
            assert!(read(&bytes[..len]).count() < 3);
        }
        let lies = [0x80, PACKET_TYPE, 0, 0, 0, 0, 0, 1, VOIP, 0, 0, 1, 0, 0, 0, 1];
        assert_eq!(read(&lies).count(), 0);
    }

    fn blocks() -> [Block; 3] {
        let metrics = tests_metrics(7);
        [
            Block::ReferenceTime(0x1111_2222_3333_4444),
            Block::Echo {
                ssrc: 7,
                reference: 0x2222_3333,
                delay: 65_536,
            },
            Block::Voip(metrics),
        ]
    }
}
