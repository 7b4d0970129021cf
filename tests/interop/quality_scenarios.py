"""Speech through the gateway and back, judged by PESQ against the same speech through the codec alone.

The caller speaks first, the operator says it again, baresip records that. The codec alone is the same softphone, once
there and once back: baresip calls baresip, and what the other one heard is said in a second call. So the softphone's
own conversions weigh on both sides, and what is left is the gateway's.
"""

import json
import re
import subprocess
import threading
import time
from pathlib import Path

from gateway import Ports
from phone_scenarios import operator
from softphone import Softphone

HERE = Path(__file__).resolve().parent
VOICE = "awb"
# No pause in it is as long as the silence that ends a turn.
SENTENCE = "The birch canoe slid on the smooth planks while four hours of steady work faced us and a large size is hard to sell"
# The caller waits this long after the answer; a call lasts so much longer than the sentence, and one with the gateway
# as long again for the answer.
BEFORE_S = 1.0
AFTER_S = 2.0
# So much worse than the codec alone may it be.
MARGIN = 0.1
# So many calls may a busy machine spoil, but one.
CALLS_MAX = 3
PHONES_ALONE = 4
# Sampling rate at which PESQ judges a codec.
RATES = {"PCMU": 8000, "PCMA": 8000, "G722": 16000, "opus": 16000}
# What a phone is told for the way back, to code as the gateway does: left to itself baresip takes two channels and the
# highest rate there is.
AS_THE_GATEWAY = {"opus": "opus_bitrate 32000\nopus_stereo no\nopus_sprop_stereo no"}
# One at a time: a phone that gets no processor in time sounds bad itself.
ALONE = threading.Lock()


class OtherPhone(Ports):
    """The ports of the slot that its first phone leaves: for one that is called."""

    @property
    def phone(self):
        return self.sip + 12

    @property
    def control(self):
        return self.sip + 14

    @property
    def phone_rtp(self):
        return super().phone_rtp[self.rtp_count // 4 :]


def measure(options, *words):
    """What quality.py says."""
    python = options.venv / "bin" / "python"
    done = subprocess.run([python, "-B", HERE / "quality.py", *map(str, words)], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr.strip().splitlines()[-1]
    return json.loads(done.stdout)


def sentence(options, folder):
    """(the voice alone, with silence around it as a phone plays it, how long the sentence is)."""
    said, alone, padded = folder / "said.wav", folder / "sentence.wav", folder / "voice.wav"
    subprocess.run(["flite", "-voice", VOICE, "-t", SENTENCE, said], check=True, capture_output=True, timeout=60)
    measure(options, "voice", said, alone, 0, 0)
    return alone, padded, measure(options, "voice", said, padded, BEFORE_S, 30)["seconds"]


def repetition(codec, audio="auto"):
    """What comes back from the operator is as good as the codec allows, at the best of a few calls: a busy machine makes
    it worse, but nothing makes it better than it is."""

    def run(lab):
        with ALONE:
            spoken, voice, seconds = sentence(lab.options, lab.folder)
            once, twice = codec_alone(lab, codec, spoken, voice, seconds)
            least = (once if audio == "g711" else twice) - MARGIN
            lab.start_gateway(greeting="", backend=f'kind = "operator"\naudio = "{audio}"')
            best = max(through_gateway(lab, codec, spoken, voice, seconds, least))
        record = lab.gateway.check_records(len(lab.phones) - PHONES_ALONE, "caller_hung_up")
        assert record["codec"] == codec, f"the record names {record['codec']}"
        assert best >= least, f"PESQ {best:.2f}, not {least:.2f}; {lab.contention()}"

    return run


def through_gateway(lab, codec, spoken, voice, seconds, least):
    """PESQ of calls until one reaches the least."""
    for attempt in range(CALLS_MAX):
        phone = Softphone(lab.folder / f"call-{attempt}", lab.ports, codec, "udp", voice)
        lab.phones.append(phone)
        phone.dial(operator(lab))
        time.sleep(BEFORE_S + 2 * seconds + AFTER_S)
        phone.control.command("hangup")
        time.sleep(0.5)
        phone.stop()
        heard = measure(lab.options, "compare", spoken, phone.heard(), RATES[codec])
        missing = f", {heard['lost_ms']} ms missing" if heard["lost_ms"] else ""
        lab.note(f"PESQ {heard['pesq']:.2f} through the gateway and back{missing}; {lab.contention()}")
        yield heard["pesq"]
        if heard["pesq"] >= least:
            return


def codec_alone(lab, codec, spoken, voice, seconds):
    """PESQ of two phones without a gateway, once there and once back."""
    there = alone(lab, codec, voice, seconds, "there")
    again = lab.folder / "again.wav"
    measure(lab.options, "voice", there, again, 0, 30)
    back = alone(lab, codec, again, seconds, "back", AS_THE_GATEWAY.get(codec, ""))
    figures = [measure(lab.options, "compare", spoken, heard, RATES[codec]) for heard in (there, back)]
    once, twice = (heard["pesq"] for heard in figures)
    lab.note(f"PESQ at {RATES[codec]} Hz, baresip to baresip: {once:.2f} there, {twice:.2f} there and back")
    if codec == "PCMU":
        lab.note(f"PESQ {measure(lab.options, 'ulaw', spoken, 1)['pesq']:.2f} of µ-law by table, without a phone")
    for heard in figures:
        assert heard["lost_ms"] == 0, f"the machine is too busy for two phones: {lab.contention()}"
    return once, twice


def alone(lab, codec, voice, seconds, name, more=""):
    """What a baresip heard of a voice that another one played to it."""
    folder = lab.folder / name
    ports = OtherPhone(lab.ports.slot, lab.ports.rtp, lab.ports.rtp_count)
    called = Softphone(folder / "called", ports, codec, "udp", voice, more=more)
    lab.phones.append(called)
    calling = Softphone(folder / "calling", lab.ports, codec, "udp", voice, more=more)
    lab.phones.append(calling)
    calling.dial(f"sip:caller@127.0.0.1:{ports.phone}")
    time.sleep(BEFORE_S + seconds + AFTER_S)
    calling.control.command("hangup")
    time.sleep(0.5)
    calling.stop()
    called.stop()
    return called.heard()


SCENARIOS = {
    "quality-pcmu": repetition("PCMU"),
    # Straight through: coded once, by the caller.
    "quality-pcmu-g711": repetition("PCMU", "g711"),
    "quality-pcmu-pcm16": repetition("PCMU", "pcm16"),
    "quality-g722": repetition("G722"),
    "quality-opus": repetition("opus"),
}
