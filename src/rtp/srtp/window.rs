//! Which packets of one source were taken, and which index the next has (RFC 3711 sections 3.3.1 and 3.3.2).

/// How far back packets are told apart; older ones count as replayed. At least 64 is wanted, and 128 fit one number.
const WINDOW: u64 = 128;

/// The indices one source has used under one key.
#[derive(Clone, Copy, Debug)]
pub(super) struct Window {
    highest: u64,
    /// Bit n stands for `highest - n`.
    seen: u128,
}

impl Window {
    /// With a first packet taken.
    pub(super) fn new(index: u64) -> Self {
        Self {
            highest: index,
            seen: 1,
        }
    }

    pub(super) fn highest(&self) -> u64 {
        self.highest
    }

    /// Whether a packet was not taken yet, as far as this can tell.
    pub(super) fn is_fresh(&self, index: u64) -> bool {
        match self.highest.checked_sub(index) {
            None => true,
            Some(age) => age < WINDOW && self.seen & (1 << age) == 0,
        }
    }

    /// Takes a fresh packet; its tag must have been found right.
    pub(super) fn take(&mut self, index: u64) {
        match self.highest.checked_sub(index) {
            Some(age) if age < WINDOW => self.seen |= 1 << age,
            Some(_) => {}
            None => {
                let ahead = index - self.highest;
                self.seen = if ahead < WINDOW { self.seen << ahead | 1 } else { 1 };
                self.highest = index;
            }
        }
    }
}

/// The index of a packet whose sequence number this is: the one closest to the highest so far. Nothing when that lies
/// before the first packet of all, or past the last.
pub(super) fn index_near(highest: u64, sequence: u16) -> Option<u64> {
    let ahead = sequence.wrapping_sub(highest as u16) as i16;
    let index = highest.checked_add_signed(ahead.into())?;
    (index < INDEX_END).then_some(index)
}

/// Packet indices have 48 bits.
pub(super) const INDEX_END: u64 = 1 << 48;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_index_wraps_both_ways() {
        assert_eq!(index_near(65_535, 0), Some(65_536));
        assert_eq!(index_near(65_536, 65_535), Some(65_535));
        assert_eq!(index_near(0, 65_535), None);
        assert_eq!(index_near(0x2_8000, 0), Some(0x2_0000));
        assert_eq!(index_near(0x2_8001, 0), Some(0x3_0000));
        assert_eq!(index_near(INDEX_END - 1, 0), None);
    }

    #[test]
    fn a_packet_is_taken_once_and_none_behind_the_window() {
        let mut window = Window::new(1_000);
        assert!(!window.is_fresh(1_000));
        for index in [1_001, 1_005, 1_003, 1_128] {
            assert!(window.is_fresh(index), "{index}");
            window.take(index);
            assert!(!window.is_fresh(index), "{index}");
        }
        assert!(!window.is_fresh(1_000), "it is 128 behind");
        assert!(!window.is_fresh(1_001) && window.is_fresh(1_002));
        window.take(9_000);
        assert!(!window.is_fresh(1_128) && window.is_fresh(8_873));
    }
}
