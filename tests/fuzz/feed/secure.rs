//! SRTP, SRTCP and DTLS bytes: to what takes protection off, and into a handshake between two honest sides.
//!
//! The first byte says which suite, or which side of a handshake is disturbed. Then come pieces, each two bytes of length
//! and the piece itself. A piece is a datagram; in a handshake one whose first byte is odd spoils what is on its way.

use std::sync::LazyLock;
use std::time::Instant;

use patchcord::rtp::dtls::{Handshake, Identity, Keys};
use patchcord::rtp::srtp::{Crypto, Failure, Inbound, MasterKey, Outbound, Suite};

use super::Work;

static IDENTITIES: LazyLock<[Identity; 2]> =
    LazyLock::new(|| [(); 2].map(|()| Identity::generate().expect("a certificate")));
/// Datagrams of one handshake, told apart from a quarrel without end.
const STEPS_MAX: usize = 4_000;
/// Pieces of one input that are used.
const PIECES_MAX: usize = 64;

/// Feeds the pieces to everything that reads protected packets or makes keys for them.
pub fn secure(bytes: &[u8]) {
    let _ = std::str::from_utf8(bytes).map(|line| Crypto::read(line).map(|crypto| crypto.write()));
    let Some((&kind, rest)) = bytes.split_first() else {
        return;
    };
    match Suite::ALL.get(usize::from(kind % 8)) {
        Some(suite) => packets(*suite, &pieces(rest)),
        None => handshake(usize::from(kind % 2), &pieces(rest)),
    }
}

fn pieces(mut bytes: &[u8]) -> Vec<&[u8]> {
    let mut pieces = Vec::new();
    while let [high, low, after @ ..] = bytes
        && pieces.len() < PIECES_MAX
    {
        let length = usize::from(u16::from_be_bytes([*high, *low])).min(after.len());
        let (piece, next) = after.split_at(length);
        pieces.push(piece);
        bytes = next;
    }
    pieces
}

/// What comes from anywhere does no harm; what we protect the other side reads, once.
fn packets(suite: Suite, pieces: &[&[u8]]) {
    let key = MasterKey::new(suite, &vec![7; suite.key_and_salt_len()]).expect("a key of the suite's length");
    let mut theirs = Inbound::new(&key).expect("a key that fits");
    let (mut near, mut far) = (Outbound::new(&key).expect("a key"), Inbound::new(&key).expect("a key"));
    for piece in pieces {
        let read = theirs.unprotect_rtp(&mut piece.to_vec());
        assert!(read.is_err() || read.is_ok_and(|length| length < piece.len()));
        let read = theirs.unprotect_rtcp(&mut piece.to_vec());
        assert!(read.is_err() || read.is_ok_and(|length| length < piece.len()));
        let mut packet = piece.to_vec();
        if near.protect_rtp(&mut packet).is_ok() {
            let length = far.unprotect_rtp(&mut packet);
            same_or_replayed(piece, &packet, length);
        }
        let mut packet = piece.to_vec();
        if near.protect_rtcp(&mut packet).is_ok() {
            let length = far.unprotect_rtcp(&mut packet);
            same_or_replayed(piece, &packet, length);
        }
    }
}

fn same_or_replayed(sent: &[u8], read: &[u8], length: Result<usize, Failure>) {
    match length {
        Ok(length) => assert_eq!(&read[..length], sent),
        Err(failure) => assert_eq!(failure, Failure::Replayed),
    }
}

/// Two honest sides and somebody in between. They may fail; they may not come to different keys.
fn handshake(disturbed: usize, pieces: &[&[u8]]) {
    let mut now = Instant::now();
    let side = |own: usize| {
        let expected = IDENTITIES[1 - own].fingerprint().clone();
        Handshake::new(now, &IDENTITIES[own], own == 0, expected).expect("a handshake")
    };
    let mut sides = [side(0), side(1)];
    let mut keys: [Option<Keys>; 2] = [None, None];
    let mut pieces = pieces.iter();
    let mut work = Work::new(STEPS_MAX);
    loop {
        let mut quiet = true;
        for from in [0, 1] {
            let Some(mut datagram) = sides[from].poll_transmit() else {
                continue;
            };
            quiet = false;
            work.step();
            let to = 1 - from;
            if to == disturbed
                && let Some(piece) = pieces.next()
            {
                disturb(now, &mut sides[to], &mut datagram, piece);
            }
            if let Ok(Some(made)) = sides[to].handle_datagram(now, &datagram) {
                keys[to] = Some(made);
            }
        }
        if quiet {
            let Some(next) = sides.iter().filter_map(Handshake::poll_timeout).min() else {
                break;
            };
            work.step();
            now = next;
            for side in &mut sides {
                let _ = side.handle_timeout(now);
            }
        }
    }
    if let [Some(one), Some(other)] = keys {
        assert_eq!((one.ours, one.theirs), (other.theirs, other.ours));
    }
}

fn disturb(now: Instant, side: &mut Handshake, datagram: &mut Vec<u8>, piece: &[u8]) {
    match piece {
        [odd, at, with @ ..] if odd % 2 == 1 => {
            let at = usize::from(*at) * datagram.len() / 256;
            let spoilt = datagram.iter_mut().skip(at);
            spoilt.zip(with).for_each(|(byte, with)| *byte ^= with);
        }
        [_, foreign @ ..] => drop(side.handle_datagram(now, foreign)),
        [] => datagram.clear(),
    }
}
