"""Speech over a line that loses and reorders: what the gateway makes of the losses must be better than silence.

What the operator repeats is what the gateway heard, concealed losses and all. The measure beside it is made of the very
packets that came to the gateway in the same call, with silence for the others. See `lossy_call.py`.
"""

import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import lossy_call
from quality_scenarios import AFTER_S, BEFORE_S, measure, sentence

# What one call loses is chance; some losses are in the middle of a vowel and some are hardly heard.
SEEDS = (1, 2, 3)
# So much better than silence, on the average of the calls. Single calls had from 0.2 to 0.9.
MARGIN = 0.2
# The link takes packets with even chance; this far from what was ordered, something else was lost.
LOST = (0.02, 0.09)
# The link delays a packet by at most so much more than another; beyond that the phone, the link or the gateway had to wait
# for a processor, and the call is made again.
LATE_MS_MAX, ANSWER_LATE_MS_MAX = 2 * lossy_call.JITTER_MS + 40, 60
ATTEMPTS = 4
# As the backend speaks, and how often the sound is then coded.
AUDIOS = {"g711": 1, "pcm16": 2}


def run(options, notes, audio):
    """All calls at once, each in its own namespaces."""
    root = [] if os.geteuid() == 0 else ["sudo", "-n"]
    if root and subprocess.run([*root, "true"], capture_output=True).returncode != 0:
        notes.append("SKIPPED: network namespaces take root or password-less sudo, and neither is here")
        return
    with ThreadPoolExecutor(len(SEEDS)) as calls:
        gains = list(calls.map(lambda seed: gain(options, notes, audio, seed, root), SEEDS))
    mean = sum(gains) / len(gains)
    notes.append(f"{mean:.2f} better than silence on the average, {min(gains):.2f} to {max(gains):.2f}")
    assert mean >= MARGIN, f"concealment is {mean:.2f} of PESQ better than silence, not {MARGIN}"


def gain(options, notes, audio, seed, root):
    """By how much a call is better than silence for what it lost."""
    for attempt in range(ATTEMPTS):
        folder = options.work / f"quality-lossy-{audio}" / f"{seed}-{attempt}"
        heard, holes = one_call(options, folder, audio, seed, root)
        late = f"{holes['late_ms']} ms there, {holes['answer_late_ms']} ms back"
        if holes["late_ms"] <= LATE_MS_MAX and holes["answer_late_ms"] <= ANSWER_LATE_MS_MAX:
            notes.append(f"{holes['lost']:.1%} lost, late by {late}: PESQ {heard['pesq']:.2f}, silence {holes['pesq']:.2f}")
            assert LOST[0] <= holes["lost"] <= LOST[1], f"{holes['lost']:.1%} of the packets were lost on the way"
            return heard["pesq"] - holes["pesq"]
        notes.append(f"again: late by {late}, so the machine was too busy")
    raise AssertionError(f"{ATTEMPTS} times the machine was too busy to carry sound")


def one_call(options, folder, audio, seed, root):
    """(what the phone heard, what came to the gateway), judged."""
    folder.mkdir(parents=True)
    spoken, voice, seconds = sentence(options, folder)
    lasts = BEFORE_S + 2 * seconds + AFTER_S
    words = [options.gateway, folder, voice, lasts, seed, audio]
    command = [*root, sys.executable, "-B", Path(lossy_call.__file__), *words]
    done = subprocess.run(list(map(str, command)), capture_output=True, text=True, timeout=lasts + 90)
    assert done.returncode == 0, done.stderr.strip().splitlines()[-1]
    heard = measure(options, "compare", spoken, next(folder.glob("baresip/heard/dump-*-dec.wav")), 8000)
    return heard, measure(options, "holes", spoken, folder / "rtp.txt", lossy_call.PORTS.phone_rtp[0], AUDIOS[audio])
