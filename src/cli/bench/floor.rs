//! What the system calls of a frame cost on this machine, without any gateway: the floor under every figure.
//!
//! A frame is one packet received, one append written, one packet sent, and a tenth of a delta of 200 ms read. Each is
//! done many times by one thread with nobody else waiting, over the loopback; the fastest batch counts. A thread that
//! must be woken for a packet pays for that on top, unless it finds more to do when it wakes.

use std::{
    fs,
    io::{Read, Write},
    net::{TcpListener, TcpStream, UdpSocket},
    thread,
    time::Instant,
};

use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags};
use serde::Serialize;

use super::{mouth::SESSION_RATE, pitch, speech};
use crate::audio::{Codec, Decoder, Encoder, OpusWishes};

/// A packet of G.711.
const PACKET: [u8; 172] = [0; 172];

/// An append of 20 ms at 24 kHz, as a frame of a client.
const APPEND_BYTES: usize = 1_336;

/// A delta of 200 ms at 24 kHz, as a frame of a server.
const DELTA_BYTES: usize = 12_950;

/// Packets in a delta.
const FRAMES_PER_DELTA: f64 = 10.0;

/// Calls in a batch: as much as waits in a socket without being read.
const BATCH: usize = 32;

/// Batches of each kind.
const BATCHES: usize = 400;

/// Rounds between two threads that wake each other.
const ROUNDS: usize = 20_000;

/// Frames of a codec in a batch, which is a second.
const FRAMES: usize = 50;

/// Batches of a codec.
const CODEC_BATCHES: usize = 20;

/// After so long a packet between two threads is given up.
const LOST_AFTER_MS: u16 = 2_000;

/// Nanoseconds each.
#[derive(Debug, Clone, Copy, Serialize)]
pub struct Floor {
    /// One packet sent.
    pub udp_send_ns: f64,
    /// One packet received.
    pub udp_receive_ns: f64,
    /// One append written.
    pub append_write_ns: f64,
    /// One delta read.
    pub delta_read_ns: f64,
    /// One thread put to sleep and woken for a packet, beside receiving it.
    pub wake_ns: f64,
}

impl Floor {
    /// Measures it; takes about a second.
    pub fn measure() -> anyhow::Result<Self> {
        let (udp_send_ns, udp_receive_ns) = udp()?;
        let (append_write_ns, _) = tcp(APPEND_BYTES)?;
        let (_, delta_read_ns) = tcp(DELTA_BYTES)?;
        let round_ns = rounds()?;
        Ok(Self {
            udp_send_ns,
            udp_receive_ns,
            append_write_ns,
            delta_read_ns,
            wake_ns: (round_ns - udp_send_ns - udp_receive_ns).max(0.0),
        })
    }

    /// The system calls of a frame alone, in microseconds.
    pub fn frame_us(&self) -> f64 {
        (self.udp_receive_ns + self.append_write_ns + self.udp_send_ns + self.delta_read_ns / FRAMES_PER_DELTA) / 1e3
    }

    /// The table.
    pub fn lines(&self) -> Vec<String> {
        let frame = self.frame_us();
        let woken = frame + 2.0 * self.wake_ns / 1e3;
        let each = [
            ("packet received", self.udp_receive_ns),
            ("append of 1.3 kB written", self.append_write_ns),
            ("packet sent", self.udp_send_ns),
            ("delta of 13 kB read (a tenth of it a frame)", self.delta_read_ns),
            ("wake-up of a thread that waits in epoll", self.wake_ns),
        ];
        let lines = each.iter().map(|(what, ns)| format!("{what:<44} {:>8.2} µs", ns / 1e3));
        let sums = [
            format!(
                "A frame in system calls alone: {frame:.1} µs, {:.0} calls per core;",
                20_000.0 / frame
            ),
            format!(
                "with a wake-up for each packet of its own: {woken:.1} µs, {:.0} calls per core.",
                20_000.0 / woken
            ),
        ];
        lines.chain(sums).collect()
    }
}

/// Microseconds that a codec takes to decode and encode 20 ms of a tone, at its own best settings.
pub fn codec_us(codec: Codec) -> anyhow::Result<f64> {
    let mut encoder = Encoder::new(codec, SESSION_RATE, OpusWishes::default())?;
    let mut decoder = Decoder::new(codec, SESSION_RATE)?;
    let samples = encoder.rate().per_ms() * 20;
    let sound = pitch::pcm(
        pitch::of_session(0),
        encoder.rate().hz(),
        speech::PEAK,
        samples * FRAMES,
    );
    let mut fastest = f64::INFINITY;
    for _ in 0..CODEC_BATCHES {
        let (mut payload, mut pcm) = (Vec::new(), Vec::new());
        let began = Instant::now();
        for frame in sound.chunks(samples) {
            payload.clear();
            encoder.encode(frame, &mut payload);
            pcm.clear();
            decoder.decode(&payload, &mut pcm)?;
        }
        fastest = fastest.min(began.elapsed().as_secs_f64() * 1e6 / FRAMES as f64);
    }
    Ok(fastest)
}

fn udp() -> anyhow::Result<(f64, f64)> {
    let (ear, mouth) = (UdpSocket::bind("127.0.0.1:0")?, UdpSocket::bind("127.0.0.1:0")?);
    let to = ear.local_addr()?;
    let mut buffer = [0; 2_048];
    best(
        || mouth.send_to(&PACKET, to).map(|_| ()),
        || ear.recv_from(&mut buffer).map(|_| ()),
        BATCH,
    )
}

fn tcp(bytes: usize) -> anyhow::Result<(f64, f64)> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let mut writer = TcpStream::connect(listener.local_addr()?)?;
    let (mut reader, _) = listener.accept()?;
    writer.set_nodelay(true)?;
    let message = vec![0; bytes];
    let mut buffer = vec![0; bytes];
    best(
        || writer.write_all(&message),
        || reader.read_exact(&mut buffer),
        (64 << 10) / bytes.max(2 << 10),
    )
}

/// Nanoseconds of each when the one is done a few times, then the other as often.
fn best(
    mut first: impl FnMut() -> std::io::Result<()>,
    mut second: impl FnMut() -> std::io::Result<()>,
    batch: usize,
) -> anyhow::Result<(f64, f64)> {
    let mut fastest = (f64::INFINITY, f64::INFINITY);
    for _ in 0..BATCHES {
        let began = Instant::now();
        for _ in 0..batch {
            first()?;
        }
        let between = Instant::now();
        for _ in 0..batch {
            second()?;
        }
        let each = |ns: u128| ns as f64 / batch as f64;
        fastest.0 = fastest.0.min(each((between - began).as_nanos()));
        fastest.1 = fastest.1.min(each(between.elapsed().as_nanos()));
    }
    Ok(fastest)
}

/// CPU time, in nanoseconds, of one packet sent to a thread that waits for it, until that thread has it and waits again.
fn rounds() -> anyhow::Result<f64> {
    let (here, there) = (UdpSocket::bind("127.0.0.1:0")?, UdpSocket::bind("127.0.0.1:0")?);
    here.connect(there.local_addr()?)?;
    there.connect(here.local_addr()?)?;
    let answering = thread::spawn(move || waiting(&there));
    let here_ns = {
        here.send(&PACKET)?;
        waiting(&here)?
    };
    let there_ns = answering.join().map_err(|_| anyhow::anyhow!("a thread broke"))??;
    Ok((here_ns + there_ns) / (2.0 * ROUNDS as f64))
}

/// CPU time of this thread while it waits in epoll for each packet, receives it and sends one back.
fn waiting(socket: &UdpSocket) -> anyhow::Result<f64> {
    let ready = Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC)?;
    ready.add(socket, EpollEvent::new(EpollFlags::EPOLLIN, 0))?;
    let before = on_core()?;
    for _ in 0..ROUNDS {
        let came = ready.wait(&mut [EpollEvent::empty()], LOST_AFTER_MS)?;
        anyhow::ensure!(came > 0, "a packet over the loopback was lost");
        socket.recv(&mut [0; 2_048])?;
        socket.send(&PACKET)?;
    }
    Ok((on_core()? - before) as f64)
}

fn on_core() -> anyhow::Result<u64> {
    let schedule = fs::read_to_string("/proc/thread-self/schedstat")?;
    let ran = schedule.split(' ').next().and_then(|ns| ns.parse().ok());
    ran.ok_or_else(|| anyhow::anyhow!("the kernel keeps no schedstat"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_frame_is_the_sum_of_its_system_calls() {
        let floor = Floor {
            udp_send_ns: 3_000.0,
            udp_receive_ns: 1_000.0,
            append_write_ns: 6_000.0,
            delta_read_ns: 20_000.0,
            wake_ns: 4_000.0,
        };
        assert_eq!(floor.frame_us(), 12.0);
        let lines = floor.lines().join("\n");
        assert!(
            lines.contains("12.0 µs, 1667 calls") && lines.contains("20.0 µs, 1000 calls"),
            "{lines}"
        );
    }

    #[test]
    fn every_part_of_the_floor_costs_something() {
        let floor = Floor::measure().expect("a loopback");
        assert!(
            floor.udp_send_ns > 50.0 && floor.append_write_ns > 50.0 && floor.wake_ns >= 0.0,
            "{floor:?}"
        );
        assert!(floor.delta_read_ns > 50.0 && floor.frame_us() < 10_000.0, "{floor:?}");
    }
}
