"""Making and measuring sound: G.711, WAV files, tones, and what a caller heard.

Everything is mono, a list of samples between -1 and 1. The measures work on 8 kHz telephone audio in plain Python; they
are proven on made-up sound with known defects by test_measures.py.
"""

import array
import cmath
import math
import wave
from dataclasses import dataclass

RATE = 8000
FRAME_MS = 20


def _ulaw_sample(code):
    code = ~code & 0xFF
    magnitude = (((code & 0x0F) << 3) + 0x84) << ((code & 0x70) >> 4)
    return (0x84 - magnitude if code & 0x80 else magnitude - 0x84) / 32768


def _alaw_sample(code):
    code ^= 0x55
    segment = (code & 0x70) >> 4
    magnitude = ((code & 0x0F) << 4) + 8
    if segment:
        magnitude = (magnitude + 0x100) << (segment - 1)
    return (magnitude if code & 0x80 else -magnitude) / 32768


ULAW = [_ulaw_sample(code) for code in range(256)]
ALAW = [_alaw_sample(code) for code in range(256)]
# RTP payload type -> decoding table
BY_PAYLOAD_TYPE = {0: ULAW, 8: ALAW}


def g711_encode(samples, table):
    """The code of the nearest table entry for every sample (slow: for short test tones)."""
    order = sorted(range(256), key=lambda code: table[code])
    levels = [table[code] for code in order]
    known = {}

    def nearest(sample):
        low, high = 0, 255
        while high - low > 1:
            middle = (low + high) // 2
            low, high = (middle, high) if levels[middle] <= sample else (low, middle)
        return order[low if sample - levels[low] <= levels[high] - sample else high]

    return bytes(known.setdefault(sample, nearest(sample)) for sample in samples)


def tone(hz, seconds, rate=RATE, level=0.25):
    """A sine with 2 ms ramps, so that its edges do not click."""
    count = round(seconds * rate)
    ramp = max(1, round(0.002 * rate))
    step = 2 * math.pi * hz / rate
    return [level * min(1, (n + 1) / ramp, (count - n) / ramp) * math.sin(step * n) for n in range(count)]


def silence(seconds, rate=RATE):
    return [0.0] * round(seconds * rate)


def write_wav(path, samples, rate):
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(rate)
        file.writeframes(array.array("h", (round(32767 * sample) for sample in samples)).tobytes())


def read_wav(path):
    """(rate, samples) of a 16-bit file, first channel; a file still being written is read as far as it goes."""
    with wave.open(str(path), "rb") as file:
        rate, channels = file.getframerate(), file.getnchannels()
        data = array.array("h")
        raw = file.readframes(file.getnframes())
        data.frombytes(raw[: len(raw) // 2 * 2])
    return rate, [sample / 32768 for sample in data[::channels]]


@dataclass
class Stretch:
    """A piece of sound that is louder than the threshold, in seconds from the start."""

    start: float
    end: float

    @property
    def seconds(self):
        return self.end - self.start


def levels(samples, rate=RATE, window_ms=FRAME_MS):
    """RMS per window."""
    size = rate * window_ms // 1000
    windows = (samples[at : at + size] for at in range(0, len(samples) - size + 1, size))
    return [math.sqrt(sum(sample * sample for sample in window) / size) for window in windows]


def loud_stretches(samples, rate=RATE, threshold=0.01, join_ms=400):
    """Where there is sound; pauses shorter than `join_ms` belong to it, as in speech."""
    stretches = []
    for index, level in enumerate(levels(samples, rate)):
        if level < threshold:
            continue
        start = index * FRAME_MS / 1000
        if stretches and start - stretches[-1].end < join_ms / 1000:
            stretches[-1].end = start + FRAME_MS / 1000
        else:
            stretches.append(Stretch(start, start + FRAME_MS / 1000))
    return stretches


@dataclass
class Tone:
    """A tone as found: where, how high, how long, and the longest hole inside it."""

    start: float
    seconds: float
    hz: float
    gap_ms: float
    purity: float


def find_tone(samples, rate=RATE, after=0.0):
    """The tone that dominates the longest loud stretch after a time; None when there is no sound at all."""
    stretches = [stretch for stretch in loud_stretches(samples, rate) if stretch.end > after]
    if not stretches:
        return None
    longest = max(stretches, key=lambda stretch: stretch.seconds)
    first = max(0, round((longest.start - 0.1) * rate))
    piece = samples[first : round((longest.end + 0.1) * rate)]
    coarse = _coarse_pitch(piece, rate)
    envelope, phases = _demodulate(piece, rate, coarse)
    half = sorted(envelope)[len(envelope) * 3 // 4] / 2
    loud = [index for index, level in enumerate(envelope) if level > half]
    start, end = loud[0], loud[-1]
    gap = max((after - before - 1 for before, after in zip(loud, loud[1:])), default=0)
    energy = sum(sample * sample for sample in piece) / (end - start + 1)
    return Tone(
        start=(first + start) / rate,
        seconds=(end - start + 1) / rate,
        hz=_fine_pitch(phases[start:end], coarse, rate),
        gap_ms=1000 * gap / rate,
        purity=min(1.0, 2 * (half * half) / energy) if energy else 0.0,
    )


def _coarse_pitch(piece, rate):
    """The strongest of a grid of 5 Hz in the loudest tenth of a second."""
    size = rate // 10
    starts = range(0, max(1, len(piece) - size), size // 2)
    window = max((piece[at : at + size] for at in starts), key=lambda part: sum(sample * sample for sample in part))
    return max(range(100, rate // 2 - 200, 5), key=lambda hz: _goertzel(window, hz, rate))


def _goertzel(window, hz, rate):
    turn = 2 * math.cos(2 * math.pi * hz / rate)
    one, two = 0.0, 0.0
    for sample in window:
        one, two = sample + turn * one - two, one
    return one * one + two * two - turn * one * two


def _demodulate(piece, rate, hz):
    """Envelope and phase against a carrier, averaged over 10 ms; edges come out at half height, centred."""
    size = rate // 100
    turn = cmath.exp(-2j * math.pi * hz / rate)
    carrier, total, products = 1 + 0j, 0j, []
    envelope, phases = [], []
    for index in range(len(piece) + size // 2):
        product = carrier * piece[index] if index < len(piece) else 0j
        carrier *= turn
        products.append(product)
        total += product
        if index >= size:
            total -= products[index - size]
        if index >= size // 2:
            envelope.append(abs(total) * 2 / size)
            phases.append(cmath.phase(total))
    return envelope, phases


def _fine_pitch(phases, coarse, rate):
    """Coarse pitch corrected by the slope of the phase: a least-squares line over the middle of the tone."""
    middle = phases[len(phases) // 10 : len(phases) * 9 // 10]
    if len(middle) < 2:
        return float(coarse)
    line, offset = [middle[0]], 0.0
    for before, now in zip(middle, middle[1:]):
        step = now - before
        offset -= 2 * math.pi * round(step / (2 * math.pi))
        line.append(now + offset)
    count = len(line)
    mean_x, mean_y = (count - 1) / 2, sum(line) / count
    slope = sum((x - mean_x) * (y - mean_y) for x, y in enumerate(line)) / (count * (count * count - 1) / 12)
    return coarse + slope * rate / (2 * math.pi)
