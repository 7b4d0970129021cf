#!/usr/bin/env python3
"""A long time of everything at once against one gateway: nothing may be left, no call may end otherwise than it should.

    tests/interop/soak.py [--gateway BINARY] [--minutes 30] [--seed N]

Lanes of SIPp play the scenarios of LANE one after the other in an order drawn from the seed, while the memory is looked at. It
fails when a scenario fails, when a record has another outcome than its scenario, when a counter or an open file does not come back,
or when the memory at the end is more than at the beginning (after a warm-up) by more than RSS_GROWTH.
"""

import argparse
import random
import statistics
import sys
import threading
import time
from collections import Counter
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE))
sys.dont_write_bytecode = True

import sipp
import sipp_scenarios
from gateway import Gateway, Ports, outcome_of, trunk

LANES = 3
LOOK_EVERY_S = 5
WARM_UP = 0.15
# Allocators keep some; a leak of one packet a second would show.
RSS_GROWTH, RSS_GROWTH_MB = 1.05, 2.0

MUTED = sipp_scenarios.TALK[1:]

# Name: the steps, how many calls, how many a second, the outcome of each.
LANE = {
    "talk": ([sipp.invite(), sipp.ANSWER, sipp.ack(), *sipp_scenarios.TALK, sipp.hang_up()], 30, 10, "caller_hung_up"),
    "brief": ([sipp.invite(), sipp.ANSWER, sipp.ack(), sipp.hang_up()], 200, 50, "caller_hung_up"),
    "alaw": (
        [sipp.invite(codec="PCMA"), sipp.ANSWER, sipp.ack(), sipp.speak("@VOICE@", 8), *MUTED, sipp.hang_up()],
        20,
        10,
        "caller_hung_up",
    ),
    "offer in ACK": (
        [sipp.invite(codec=None), sipp.ANSWER, sipp.ack(codec="PCMU"), *sipp_scenarios.TALK, sipp.hang_up()],
        10,
        10,
        "caller_hung_up",
    ),
    "cancel": (
        [
            *[sipp.invite(user="ringing"), sipp.RINGING, sipp.pause(300), sipp.cancel(user="ringing"), sipp.OK],
            *['<recv response="487"/>', sipp.ack_of_refusal(user="ringing")],
        ],
        50,
        20,
        "cancelled",
    ),
    "no route": (
        [sipp.invite(user="nobody"), sipp.refusal(404, "no_route"), sipp.ack_of_refusal(user="nobody")],
        100,
        50,
        "no_route",
    ),
    "no codec": (
        [sipp.invite(codec="GSM"), sipp.refusal(488, "no_common_codec"), sipp.ack_of_refusal()],
        50,
        50,
        "no_common_codec",
    ),
    "lost ACK": ([sipp.invite(), sipp.ANSWER, sipp.answer_bye()], 10, 10, "ack_timeout"),
}

RINGING_AGENT = """
[[route]]
to = "ringing"
agent = "ringing"

[agents.ringing]
backends = ["silent"]

[backends.silent]
"""


class Soak:
    def __init__(self, options):
        self.options, self.folder = options, options.work / "soak"
        self.folder.mkdir(parents=True, exist_ok=True)
        self.records = self.folder / "records.jsonl"
        self.records.unlink(missing_ok=True)
        self.voice = sipp_scenarios.tone_file(self.folder)
        self.silent, backend = sipp_scenarios.silent_backend()
        self.ports = Ports(slot=96, rtp=20000, rtp_count=4000)
        trunks = trunk() + RINGING_AGENT + backend + "\n"
        self.gateway = Gateway(options.gateway, self.folder, self.ports, trunks=trunks)
        self.lock, self.expected, self.failures, self.memory_mb = threading.Lock(), Counter(), [], []
        self.ends_at = time.monotonic() + options.minutes * 60

    def run(self):
        lanes = [threading.Thread(target=self.lane, args=(number,)) for number in range(LANES)]
        for lane in lanes:
            lane.start()
        while any(lane.is_alive() for lane in lanes):
            time.sleep(LOOK_EVERY_S)
            self.memory_mb.append(self.rss_mb())
        return self.verdict()

    def lane(self, number):
        dice = random.Random(f"{self.options.seed}-{number}")
        ports = Ports(slot=97 + number, rtp=26000 + 2000 * number, rtp_count=2000)
        while time.monotonic() < self.ends_at:
            name = dice.choice(sorted(LANE))
            steps, calls, rate, outcome = LANE[name]
            folder = self.folder / f"lane{number}"
            folder.mkdir(exist_ok=True)
            try:
                steps = [step.replace("@VOICE@", str(self.voice)) for step in steps]
                sipp.play(folder, ports, steps, calls, rate, target=self.ports.sip)
            except AssertionError as error:
                with self.lock:
                    self.failures.append(f"{name}: {error}")
            with self.lock:
                self.expected[outcome] += calls

    def rss_mb(self):
        status = Path(f"/proc/{self.gateway.process.pid}/status").read_text()
        return int(status.split("VmRSS:")[1].split()[0]) / 1024

    def verdict(self):
        idle_s = self.gateway.wait_until_idle()
        total = sum(self.expected.values())
        seen = Counter(outcome_of(record) for record in self.gateway.wait_for_records(total))
        if seen != self.expected:
            self.failures.append(f"outcomes {dict(seen)}, wanted {dict(self.expected)}")
        first, last = self.memory_at_both_ends()
        if last > first * RSS_GROWTH + RSS_GROWTH_MB:
            self.failures.append(f"the memory grew from {first:.1f} to {last:.1f} MB")
        print(f"{total} calls in {self.options.minutes:g} minutes: {dict(seen)}")
        print(f"memory {first:.1f} MB after the warm-up, {last:.1f} MB at the end; all counters zero after {idle_s:.1f} s")
        self.gateway.order_stop()
        self.gateway.wait_for_end()
        return self.failures

    def memory_at_both_ends(self):
        """Medians of the quarter after the warm-up and of the last."""
        looks = self.memory_mb[int(len(self.memory_mb) * WARM_UP) :]
        quarter = max(len(looks) // 4, 1)
        return statistics.median(looks[:quarter]), statistics.median(looks[-quarter:])

    def close(self):
        self.gateway.kill()
        self.silent.close()


def main():
    target = HERE.parent.parent / "target"
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--gateway", type=Path, default=target / "release/patchcord")
    parser.add_argument("--work", type=Path, default=target / "interop")
    parser.add_argument("--minutes", type=float, default=30)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    soak = Soak(options)
    try:
        failures = soak.run()
    finally:
        soak.close()
    for failure in failures:
        print(f"FAIL  {failure}")
    sys.exit(1 if failures else 0)


if __name__ == "__main__":
    main()
