"""How speech came through, by PESQ (ITU-T P.862; P.862.2 for wide band): a program, because it needs numpy and pesq.

    quality.py voice SPOKEN OUT LEAD_S TAIL_S     what somebody said, at 48 kHz and with silence around it
    quality.py compare SPOKEN HEARD RATE          what was heard against what was said, as JSON
    quality.py ulaw SPOKEN TIMES                  µ-law alone, applied so many times in a row, as JSON
    quality.py holes SPOKEN PACKETS PORT TIMES    the µ-law packets that came to the ports below this one, with silence for
                                                  those that did not, as JSON

WAV files are mono, 16 bit. PESQ is narrow band at 8000 and wide band at 16000. It judges made-up voices by figures of
their own, so that only figures of the same sentence can be compared; `quality_scenarios.py` does that.
"""

import json
import sys
import wave

import numpy
from pesq import pesq

import sound
import wire

PEAK = 0.5
MODES = {8000: "nb", 16000: "wb"}
FRAME_S = 0.02
# A frame is lost where there is nearly nothing of what was loud.
LOUD, NOTHING = 0.01, 0.0005


def read(path, rate):
    with wave.open(str(path), "rb") as file:
        own, channels = file.getframerate(), file.getnchannels()
        raw = file.readframes(file.getnframes())
    samples = numpy.frombuffer(raw[: len(raw) // 2 * 2], "<i2").astype(float)[::channels] / 32768
    return resampled(samples, own, rate)


def write(path, samples, rate):
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(rate)
        file.writeframes(numpy.round(samples * 32767).astype("<i2").tobytes())


def resampled(samples, rate, wanted):
    """By its spectrum: nothing is lost below half the lower rate."""
    if rate == wanted:
        return samples
    count = round(len(samples) * wanted / rate)
    spectrum = numpy.fft.rfft(samples)
    out = numpy.zeros(count // 2 + 1, complex)
    shared = min(len(spectrum), len(out))
    out[:shared] = spectrum[:shared]
    return numpy.fft.irfft(out, count) * (count / len(samples))


def shift(spoken, heard):
    """At which sample of what was heard the spoken begins, by cross-correlation."""
    size = 1 << (len(spoken) + len(heard)).bit_length()
    product = numpy.fft.rfft(heard, size) * numpy.conj(numpy.fft.rfft(spoken, size))
    at = int(numpy.argmax(numpy.fft.irfft(product, size)))
    return at if at < len(heard) else at - size


def compare(spoken, heard, rate):
    assert numpy.abs(heard).max(initial=0) > LOUD, "nothing was heard"
    at = shift(spoken, heard)
    heard = heard[at:] if at >= 0 else numpy.concatenate([numpy.zeros(-at), heard])
    heard = numpy.concatenate([heard, numpy.zeros(max(0, len(spoken) - len(heard)))])[: len(spoken)]
    return {
        "pesq": round(float(pesq(rate, spoken, heard, MODES[rate])), 3),
        "at_s": round(at / rate, 3),
        "level": round(float(numpy.sqrt((heard**2).mean() / (spoken**2).mean())), 3),
        "lost_ms": lost_ms(spoken, heard, rate),
    }


def lost_ms(spoken, heard, rate):
    size = round(FRAME_S * rate)
    peaks = lambda samples: numpy.abs(samples[: len(samples) // size * size].reshape(-1, size)).max(1)
    return round(1000 * FRAME_S * int(((peaks(spoken) > LOUD) & (peaks(heard) < NOTHING)).sum()))


def coded(samples, times):
    """µ-law there and back."""
    table, codes = numpy.array(sound.ULAW), numpy.argsort(sound.ULAW)
    levels = table[codes]
    for _ in range(times):
        samples = table[codes[numpy.searchsorted((levels[1:] + levels[:-1]) / 2, samples)]]
    return samples


def streams(path, below):
    """Of a capture: the longest stream to the ports below one, and the longest from there."""
    packets = {}
    with open(path) as file:
        for line in file:
            at, source, target, data = line.split()
            packet = wire.Packet.read(int(at) / 1e9, int(source), int(target), bytes.fromhex(data))
            if packet:
                packets.setdefault((packet.target < below, packet.ssrc), []).append(packet)
    longest = lambda there: max((those for (to, _), those in packets.items() if to is there), key=len, default=[])
    return wire.Stream(longest(True)), wire.Stream(longest(False))


def lost(stream):
    """The share of the packets between the first and the last that did not come."""
    numbers = {packet.sequence for packet in stream.packets}
    first = stream.packets[0].sequence
    # A call here does not come to 2^15 packets.
    steps = [(number - first + 0x8000 & 0xFFFF) - 0x8000 for number in numbers]
    return 1 - len(numbers) / (max(steps) - min(steps) + 1)


def late_ms(stream):
    """How much later than the earliest the latest packet was, by the clock of its stream."""
    first = stream.packets[0]
    clock = lambda packet: ((packet.timestamp - first.timestamp + 0x80000000 & 0xFFFFFFFF) - 0x80000000) / 8000
    delays = [packet.at - clock(packet) for packet in stream.packets]
    return round(1000 * (max(delays) - min(delays)))


def holes(spoken, path, below, times):
    came, went = streams(path, below)
    figures = compare(spoken, coded(numpy.array(came.samples()), times), 8000)
    return figures | {"lost": round(lost(came), 4), "late_ms": late_ms(came), "answer_late_ms": late_ms(went)}


def main(what, spoken, *more):
    if what == "voice":
        out, lead_s, tail_s = more
        samples = read(spoken, 48000)
        quiet = lambda seconds: numpy.zeros(round(48000 * float(seconds)))
        write(out, numpy.concatenate([quiet(lead_s), samples * (PEAK / numpy.abs(samples).max()), quiet(tail_s)]), 48000)
        return {"seconds": round(len(samples) / 48000, 2)}
    if what == "compare":
        rate = int(more[1])
        return compare(read(spoken, rate), read(more[0], rate), rate)
    if what == "ulaw":
        samples = read(spoken, 8000)
        return compare(samples, coded(samples, int(more[0])), 8000)
    if what == "holes":
        return holes(read(spoken, 8000), more[0], int(more[1]), int(more[2]))
    raise SystemExit(__doc__)


if __name__ == "__main__":
    print(json.dumps(main(*sys.argv[1:])))
