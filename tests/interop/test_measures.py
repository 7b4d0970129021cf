"""The measures find what they are for: right sound passes, and every defect they watch for is seen."""

import math
import random
import struct
import sys
import tempfile
import unittest
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
import sound
import wire


def heard(hz=440.0, seconds=2.0, hole_ms=0, hiss=0.001, law=sound.ULAW):
    """Greeting-like noise, a pause, then a tone through G.711, with a hole in its middle if asked."""
    noise = random.Random(7)
    speech = [0.1 * noise.uniform(-1, 1) for _ in range(sound.RATE)]
    tone = sound.tone(hz, seconds)
    middle = len(tone) // 2
    tone[middle : middle + sound.RATE * hole_ms // 1000] = sound.silence(hole_ms / 1000)
    clean = speech + sound.silence(1.0137) + tone + sound.silence(1.5)
    return [law[code] for code in sound.g711_encode([sample + hiss * noise.uniform(-1, 1) for sample in clean], law)]


class Tones(unittest.TestCase):
    def test_pitch_length_and_place_of_a_clean_tone_are_exact(self):
        for law in (sound.ULAW, sound.ALAW):
            for hz in (440.0, 523.3, 1000.0, 1717.1):
                found = sound.find_tone(heard(hz, law=law), after=1.5)
                self.assertAlmostEqual(found.hz, hz, delta=hz * 0.0005)
                self.assertAlmostEqual(found.seconds, 2.0, delta=0.004)
                self.assertAlmostEqual(found.start, 2.0137, delta=0.002)
                self.assertLess(found.gap_ms, 1)
                self.assertGreater(found.purity, 0.4)

    def test_a_pitch_off_by_one_and_a_half_percent_is_seen(self):
        self.assertGreater(abs(sound.find_tone(heard(440 * 1.015), after=1.5).hz / 440 - 1), 0.01)

    def test_a_length_off_by_one_and_a_half_percent_is_seen(self):
        for seconds in (1.97, 2.03):
            self.assertGreater(abs(sound.find_tone(heard(seconds=seconds), after=1.5).seconds / 2 - 1), 0.01)

    def test_a_hole_is_measured(self):
        for hole_ms in (20, 45, 100):
            self.assertAlmostEqual(sound.find_tone(heard(hole_ms=hole_ms), after=1.5).gap_ms, hole_ms, delta=6)

    def test_no_tone_is_found_in_silence(self):
        self.assertIsNone(sound.find_tone(sound.silence(3)))

    def test_speech_like_noise_is_not_a_tone(self):
        self.assertLess(sound.find_tone(heard()[: sound.RATE]).purity, 0.2)

    def test_wav_files_come_back_as_written(self):
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "tone.wav"
            sound.write_wav(path, sound.tone(440, 0.5, 48000), 48000)
            rate, samples = sound.read_wav(path)
        self.assertEqual((rate, len(samples)), (48000, 24000))
        self.assertAlmostEqual(math.dist(samples, sound.tone(440, 0.5, 48000)) / 24000**0.5, 0, delta=1e-4)


def packets(samples, late=None, lost=None, first_timestamp=0xFFFFF000):
    """The samples as PCMU packets every 20 ms, as `wire` reads them back; one may be late by seconds, one lost."""
    out = []
    for index in range(len(samples) // 160):
        payload = sound.g711_encode(samples[index * 160 : index * 160 + 160], sound.ULAW)
        timestamp = (first_timestamp + index * 160) & 0xFFFFFFFF
        header = struct.pack("!BBHII", 0x80, 0, (65000 + index) & 0xFFFF, timestamp, 0x1234)
        delay = late[1] if late and index == late[0] else 0
        if index != lost:
            out.append(wire.Packet.read(100.0 + index * 0.02 + delay, 4000, 6000, header + payload))
    return out


class Streams(unittest.TestCase):
    def test_a_steady_stream_has_no_gap_and_gives_its_sound_back(self):
        stream = wire.Stream(packets(sound.silence(1) + sound.tone(440, 2) + sound.silence(1)))
        self.assertAlmostEqual(stream.gap_ms(), 20, delta=0.1)
        self.assertEqual(stream.missing(), 0)
        self.assertAlmostEqual(sound.find_tone(stream.samples()).seconds, 2.0, delta=0.004)

    def test_a_late_packet_is_a_gap(self):
        stream = wire.Stream(packets(sound.tone(440, 1), late=(20, 0.03)))
        self.assertAlmostEqual(stream.gap_ms(), 50, delta=0.1)

    def test_a_lost_packet_is_a_gap_and_missing_and_silent(self):
        stream = wire.Stream(packets(sound.tone(440, 1), lost=20))
        self.assertAlmostEqual(stream.gap_ms(), 40, delta=0.1)
        self.assertEqual(stream.missing(), 1)
        self.assertAlmostEqual(sound.find_tone(stream.samples()).gap_ms, 20, delta=6)

    def test_the_last_loud_packet_before_silence_is_found(self):
        stream = wire.Stream(packets(sound.tone(440, 1) + sound.silence(1) + sound.tone(440, 1)))
        self.assertAlmostEqual(stream.loud_times(100.0, 101.5)[-1], 100.98, delta=0.001)


if __name__ == "__main__":
    unittest.main()
