//! A call that talks allocates nothing: packet to append message on a real WebSocket, delta to packet, and back.
//!
//! The allocator of this binary counts what the thread of the call asks for. The backend is a thread of its own, whose
//! memory is its own business.

use std::{
    alloc::{GlobalAlloc, Layout, System},
    cell::Cell,
    future::poll_fn,
    net::{SocketAddr, TcpListener},
    task::Poll,
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use patchcord::{
    call::Bridge,
    drivers::realtime::{Event, SessionSocket},
    media::Channel,
    net::websocket::{Connect, connect_stream},
};
use tokio_tungstenite::tungstenite::{self, Message};

#[path = "bench/leg.rs"]
mod leg;

/// Frames before counting starts: buffers find their size, the counters of a call their first turn.
const WARM_UP: usize = 1_000;

/// Frames counted each way: two minutes of talk.
const FRAMES: usize = 6_000;

/// Packets and deltas allocate nothing; what happens every few seconds, such as a look at how the call sounds, may: less
/// than once a second.
const FRAMES_PER_S: usize = 50;

/// Frames in one delta of the backend.
const DELTA_FRAMES: usize = 10;

/// What a call's bridge and session may hold, with a delta of 200 ms on its way: half of what a whole call may.
const CALL_BYTES_MAX: isize = 50_000;

/// Samples of a frame at 24 kHz.
const FRAME_SAMPLES: usize = 480;

struct Counting;

thread_local! {
    static COUNTED: Cell<Option<usize>> = const { Cell::new(None) };
    static HELD: Cell<isize> = const { Cell::new(0) };
}

// SAFETY: every call is passed on to the system's allocator as it is.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count(layout.size() as isize);
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        hold(-(layout.size() as isize));
        unsafe { System.dealloc(pointer, layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        count(size as isize - layout.size() as isize);
        unsafe { System.realloc(pointer, layout, size) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

fn count(bytes: isize) {
    // A thread that ends has nothing to count any more.
    let _ = COUNTED.try_with(|counted| counted.set(counted.get().map(|so_far| so_far + 1)));
    hold(bytes);
}

fn hold(bytes: isize) {
    let _ = HELD.try_with(|held| held.set(held.get() + bytes));
}

/// How often this thread asked for memory meanwhile.
fn allocations(work: impl FnOnce()) -> usize {
    COUNTED.set(Some(0));
    work();
    COUNTED.take().unwrap_or_default()
}

#[test]
fn the_allocator_counts() {
    assert_eq!(allocations(|| drop(std::hint::black_box(vec![1_u8; 100]))), 1);
}

#[test]
fn talking_both_ways_allocates_nothing() {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    let (address, backend) = backend(WARM_UP + FRAMES);
    let before = HELD.get();
    let mut call = Talk::new(&runtime, address);
    call.talk(&runtime, WARM_UP);
    let held = HELD.get() - before - call.scratch.len() as isize;
    println!(
        "a talking call holds {held} bytes, and {} in its future",
        size_of::<Bridge>() + size_of::<SessionSocket>()
    );
    assert!(held < CALL_BYTES_MAX, "{held}");
    let sent = call.packets;
    let counted = allocations(|| call.talk(&runtime, FRAMES));
    assert_eq!(call.packets - sent, FRAMES, "every frame is a packet");
    println!("{counted} allocations in {FRAMES} frames each way");
    assert!(
        counted < FRAMES / FRAMES_PER_S,
        "{counted} allocations in {FRAMES} frames each way"
    );
    backend.join().unwrap();
}

/// A call without its UDP sockets: the bridge, and a session over TCP.
struct Talk {
    bridge: Bridge,
    socket: SessionSocket,
    scratch: Vec<u8>,
    now: Instant,
    sequence: u16,
    packets: usize,
}

impl Talk {
    fn new(runtime: &tokio::runtime::Runtime, backend: SocketAddr) -> Self {
        let now = Instant::now();
        let bridge = leg::bridge(now);
        let mut socket = SessionSocket::default();
        socket.dial(async move {
            let stream = tokio::net::TcpStream::connect(backend).await.unwrap();
            let connect = Connect::new("ws://backend/", Duration::from_secs(5));
            connect_stream(&connect, stream).await
        });
        let mut call = Self {
            bridge,
            socket,
            scratch: vec![0; 64 << 10],
            now,
            sequence: 0,
            packets: 0,
        };
        assert!(matches!(call.event(runtime), Event::Opened));
        call.bridge.session_opened(now, leg::session());
        let mut ready = false;
        while !ready {
            ready = call.drain();
            if !ready {
                call.event(runtime);
            }
        }
        call
    }

    fn talk(&mut self, runtime: &tokio::runtime::Runtime, frames: usize) {
        for frame in 0..frames {
            self.now += Duration::from_millis(20);
            let mut packet = self.packet();
            self.bridge.handle_timeout(self.now);
            self.bridge.handle_rtp(self.now, leg::caller(), &mut packet);
            self.drain();
            if frame % DELTA_FRAMES == DELTA_FRAMES - 1 {
                // The backend answers so many frames with as much of its own.
                assert!(matches!(self.event(runtime), Event::Heard));
            } else {
                runtime.block_on(poll_fn(|context| {
                    let Self {
                        socket,
                        bridge,
                        scratch,
                        now,
                        ..
                    } = self;
                    let polled = socket.poll(context, scratch, &mut |text| bridge.handle_session(*now, text));
                    assert!(polled.is_pending());
                    Poll::Ready(())
                }));
            }
        }
    }

    fn event(&mut self, runtime: &tokio::runtime::Runtime) -> Event {
        let Self {
            socket,
            bridge,
            scratch,
            now,
            ..
        } = self;
        runtime.block_on(poll_fn(|context| {
            socket.poll(context, scratch, &mut |text| bridge.handle_session(*now, text))
        }))
    }

    /// Whether the session became ready.
    fn drain(&mut self) -> bool {
        while let Some(transmit) = self.bridge.poll_transmit() {
            // Reports go out as well, now and then.
            self.packets += usize::from(transmit.channel == Channel::Rtp);
        }
        while let Some(message) = self.bridge.poll_message() {
            self.socket.send(message.text, message.audio);
        }
        let mut ready = false;
        while let Some(report) = self.bridge.poll_report() {
            ready |= report == patchcord::call::bridge::Report::SessionReady;
        }
        ready
    }

    fn packet(&mut self) -> [u8; 172] {
        let mut packet = [0x55; 172];
        packet[..2].copy_from_slice(&[0x80, 0]);
        packet[2..4].copy_from_slice(&self.sequence.to_be_bytes());
        packet[4..8].copy_from_slice(&(u32::from(self.sequence) * 160).to_be_bytes());
        packet[8..12].copy_from_slice(&7_u32.to_be_bytes());
        self.sequence = self.sequence.wrapping_add(1);
        packet
    }
}

/// Confirms the session, then sends a delta for every few frames it hears.
fn backend(frames: usize) -> (SocketAddr, JoinHandle<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let thread = thread::spawn(move || {
        let stream = listener.accept().unwrap().0;
        stream.set_nodelay(true).unwrap();
        let mut socket = tungstenite::accept(stream).unwrap();
        let mut heard = 0;
        for kind in ["session.created", "session.updated"] {
            socket.send(Message::text(session(kind))).unwrap();
        }
        while heard < frames {
            let message = socket.read().unwrap();
            heard += usize::from(message.to_text().unwrap().contains("input_audio_buffer.append"));
            if message.is_text() && heard > 0 && heard.is_multiple_of(DELTA_FRAMES) {
                socket.send(Message::text(delta())).unwrap();
            }
        }
    });
    (address, thread)
}

fn session(kind: &str) -> String {
    let format = r#"{"format":{"type":"audio/pcm","rate":24000}}"#;
    let audio = format!(r#"{{"input":{format},"output":{format}}}"#);
    format!(r#"{{"type":"{kind}","event_id":"e","session":{{"type":"realtime","audio":{audio}}}}}"#)
}

fn delta() -> String {
    let pcm: Vec<u8> = (0..FRAME_SAMPLES * DELTA_FRAMES)
        .flat_map(|n| (((n as f32 * 0.115).sin() * 8000.0) as i16).to_le_bytes())
        .collect();
    let audio = base64_simd::STANDARD.encode_to_string(&pcm);
    format!(
        r#"{{"type":"response.output_audio.delta","event_id":"e","response_id":"r","item_id":"i","output_index":0,"content_index":0,"delta":"{audio}"}}"#
    )
}
