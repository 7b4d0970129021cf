#!/usr/bin/env python3
"""What tshark says of the RTP that the gateway sends: lost packets, the time between two of them, jitter.

    tests/interop/rtp_statistics.py [--gateway BINARY] [--calls 1,100] [--seconds 10]

`patchcord bench` makes the calls, in a network namespace of its own so that nothing else passes there; that takes root or
password-less sudo. Everybody shares the machine, tshark too: with many calls the figures are the machine's as well. So
only a single call is judged: nothing lost, and no two packets further apart than 60 ms. Exits with 1 if it is otherwise.
"""

import argparse
import os
import re
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

HERE = Path(__file__).resolve().parent
# The ports of the gateway in `patchcord bench`, even ones for RTP; its callers have those the kernel hands out.
GATEWAY_RTP = "16384-32767"
FILTER = f"udp and src portrange {GATEWAY_RTP} and udp[0:2] & 1 = 0 and dst portrange 32768-60999"
DELTA_MS_MAX = 60.0
# So often may a single call be measured: what else runs here delays packets, and nothing makes them more even.
ATTEMPTS = 3
# What the bench takes before and after what it measures, and what it may take.
BENCH_S = 120
# tshark has begun, and has written all it saw.
SETTLE_S = 2.0
# A call that the bench made only to see that it can is no stream to speak of.
PACKETS_MIN = 100


@dataclass
class Stream:
    packets: int
    lost: int
    mean_delta: float
    max_delta: float
    mean_jitter: float
    max_jitter: float


def streams(capture):
    """The rows of tshark's table."""
    command = ["tshark", "-n", "-r", capture, "-d", f"udp.port=={GATEWAY_RTP},rtp", "-q", "-z", "rtp,streams"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, f"tshark: {done.stderr.strip()}"
    row = re.compile(r"0x[0-9A-F]{8}\s.*?\s(\d+)\s+(-?\d+) \(-?[\d.]+%\)((?:\s+-?[\d.]+){6})")
    found = []
    for packets, lost, rest in row.findall(done.stdout):
        _, mean_delta, max_delta, _, mean_jitter, max_jitter = map(float, rest.split())
        found.append(Stream(int(packets), int(lost), mean_delta, max_delta, mean_jitter, max_jitter))
    assert found, f"tshark saw no stream:\n{done.stdout}"
    return [stream for stream in found if stream.packets >= PACKETS_MIN]


def measure(binary, calls, seconds, folder):
    """The streams of so many calls; everything in this process's network namespace."""
    capture = f"{folder}/{calls}.pcap"
    limit = ["-a", f"duration:{BENCH_S + seconds}"]
    tshark = subprocess.Popen(
        ["tshark", "-q", "-n", "-i", "lo", "-s", "64", "-B", "32", "-F", "pcap", "-f", FILTER, "-w", capture, *limit],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        time.sleep(SETTLE_S)
        bench = [binary, "bench", "--calls", str(calls), "--seconds", str(seconds)]
        done = subprocess.run(bench, capture_output=True, text=True, timeout=BENCH_S + seconds)
        assert done.returncode == 0, f"the bench ended with {done.returncode}: {done.stderr.strip()[-500:]}"
        time.sleep(SETTLE_S)
    finally:
        tshark.terminate()
        tshark.wait()
    return streams(capture)


def report(calls, found):
    """Prints a line; whether it is as a single call must be."""
    mean = lambda name: sum(getattr(stream, name) for stream in found) / len(found)
    most = lambda name: max(getattr(stream, name) for stream in found)
    lost = sum(stream.lost for stream in found)
    print(f"{calls:5} {len(found):7} {lost:5}  {mean('mean_delta'):10.2f}  {most('max_delta'):9.2f}"
          f"  {mean('mean_jitter'):11.2f}  {most('max_jitter'):10.2f}", flush=True)
    return lost == 0 and most("max_delta") < DELTA_MS_MAX


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--gateway", type=Path, default=HERE.parent.parent / "target" / "release" / "patchcord")
    parser.add_argument("--calls", default="1,100", help="steps, measured one after the other")
    parser.add_argument("--seconds", type=int, default=10)
    parser.add_argument("--inside", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if not options.inside:
        root = [] if os.geteuid() == 0 else ["sudo", "-n"]
        again = [sys.executable, "-B", __file__, *sys.argv[1:], "--inside"]
        return subprocess.run([*root, "unshare", "--net", *again]).returncode
    subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
    failed = False
    print("calls streams  lost  delta mean  delta max  jitter mean  jitter max   (ms, tshark)")
    with tempfile.TemporaryDirectory() as folder:
        for calls in map(int, options.calls.split(",")):
            fine = False
            for _ in range(ATTEMPTS if calls == 1 else 1):
                found = measure(options.gateway.resolve(), calls, options.seconds, folder)
                fine = report(calls, found)
                if fine:
                    break
            if calls == 1 and not fine:
                print(f"a single call: nothing may be lost, and no two packets be {DELTA_MS_MAX:g} ms apart")
                failed = True
    return failed


if __name__ == "__main__":
    sys.exit(main())
