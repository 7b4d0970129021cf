#!/usr/bin/env python3
"""How many calls a second the gateway sets up and ends, and how long a caller waits for its 100 and its 200.

    tests/interop/load.py [--gateway BINARY] [--most CALLS_PER_S]

INVITE, 100, 200, ACK, BYE, 200 over UDP on loopback, without RTP. The operator is a process of its own, so that the processor
time is the gateway's alone. The rate doubles, then is narrowed down, until a call fails or SIPp falls behind; half of the best
rate then runs for longer, without a single failure, or this program fails. Prints figures of this machine at this hour.
"""

import argparse
import csv
import os
import socket
import struct
import subprocess
import sys
import threading
import time
from dataclasses import dataclass
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE))
sys.dont_write_bytecode = True

import sipp
from caller import Caller, Response
from gateway import Gateway, Operator, Ports, realtime_backend

TICKS_PER_S = os.sysconf("SC_CLK_TCK")
# Below this share of the wanted rate SIPp itself could not keep up.
KEPT_UP = 0.97
STEP_S, HALF_S = 8, 30
# Two rates closer than this are the same.
NARROW = 1.1
# Timers H, J and L hold transactions for 32 s over UDP; the memory is looked at after them.
LINGER_S = 34

MODES = {
    # Signalling alone: the call is answered before its session is there.
    "at_once": "the call is answered at once, its session is dialled meanwhile",
    # What a caller meets: the session is dialled, configured and ready before the 200.
    "when_ready": "the call is answered when its session is ready",
}


@dataclass
class Run:
    """What one rate gave."""

    wanted: float
    achieved: float
    failed: int
    cores: float
    trying_ms: list
    answer_ms: list

    def passed(self):
        return self.failed == 0 and self.achieved >= KEPT_UP * self.wanted

    def __str__(self):
        per_core = self.achieved / self.cores if self.cores else 0.0
        return (
            f"{self.wanted:6.0f} wanted  {self.achieved:7.1f} calls/s  {self.failed:4d} failed  {self.cores:.2f} cores "
            f"({per_core:6.0f} calls/s per core)  INVITE-100 {waits(self.trying_ms)}  INVITE-200 {waits(self.answer_ms)}"
        )


def waits(times_ms):
    if not times_ms:
        return "none"
    ordered = sorted(times_ms)
    at = lambda share: ordered[min(len(ordered) - 1, int(share * len(ordered)))]
    return f"p50 {at(0.50):.2f} p99 {at(0.99):.2f} ms"


class Load:
    def __init__(self, options, mode):
        self.folder = options.work / f"load-{mode}"
        self.folder.mkdir(parents=True, exist_ok=True)
        self.ports = Ports(slot=95, rtp=20000, rtp_count=40000)
        self.operator = Operator(options.gateway, self.folder, self.ports.backend)
        self.gateway = Gateway(
            options.gateway, self.folder, self.ports, backend=realtime_backend(self.ports.backend), answer=mode
        )
        self.scenario = self._scenario()
        self.runs = 0

    def _scenario(self):
        steps = "\n".join([sipp.invite(), sipp.PROGRESS, '<recv response="200" rrs="true"/>', sipp.ack(), sipp.hang_up()])
        path = self.folder / "scenario.xml"
        path.write_text(f'<?xml version="1.0" encoding="UTF-8" ?>\n<scenario name="load">\n{steps}\n</scenario>\n')
        return path

    def run(self, rate, seconds):
        """Calls at this rate for so long."""
        self.runs += 1
        folder = self.folder / f"run{self.runs}"
        folder.mkdir(exist_ok=True)
        calls = int(rate * seconds)
        command = ["sipp", f"127.0.0.1:{self.ports.sip}", "-sf", str(self.scenario), "-t", "u1", "-i", "127.0.0.1"]
        command += ["-p", str(self.ports.phone), "-m", str(calls), "-r", str(int(rate)), "-l", str(max(calls, 1))]
        command += ["-nostdin", "-timeout", str(int(seconds * 2 + 40)), "-timeout_error"]
        command += ["-trace_stat", "-stf", "stat.csv", "-fd", "1", "-trace_err", "-error_file", "errors.txt"]
        before, began = self._cpu_s(), time.monotonic()
        with open(folder / "sipp.out", "w") as out, Clocked(self.ports) as clocked:
            subprocess.run(command, cwd=folder, stdin=subprocess.DEVNULL, stdout=out, stderr=subprocess.STDOUT)
        took = time.monotonic() - began
        cores = (self._cpu_s() - before) / took
        stat = last_row(folder / "stat.csv")
        done, failed = int(stat["SuccessfulCall(C)"]), int(stat["FailedCall(C)"])
        # The last second only waits for what is under way.
        achieved = done / max(took - 1.0, 1.0) if took > seconds + 1 else done / max(took, 0.1)
        failed += max(calls - done - failed, 0) + clocked.failed
        return Run(rate, achieved, failed, cores, clocked.trying_ms, clocked.answer_ms)

    def _cpu_s(self):
        fields = Path(f"/proc/{self.gateway.process.pid}/stat").read_text().rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / TICKS_PER_S

    def rss_mb(self):
        status = Path(f"/proc/{self.gateway.process.pid}/status").read_text()
        return int(status.split("VmRSS:")[1].split()[0]) / 1024

    def close(self):
        self.gateway.kill()
        self.operator.kill()


def last_row(path):
    with open(path, newline="") as file:
        return list(csv.DictReader(file, delimiter=";"))[-1]


class Clocked(Caller):
    """Calls one after the other while SIPp makes its load; when each answer arrived is the kernel's word."""

    EVERY_S = 0.05
    # SO_TIMESTAMPNS of Linux, which Python does not name.
    SO_TIMESTAMPNS = 35

    def __init__(self, ports):
        super().__init__(ports)
        self.socket.setsockopt(socket.SOL_SOCKET, self.SO_TIMESTAMPNS, 1)
        self.trying_ms, self.answer_ms, self.failed = [], [], 0
        self.ended = threading.Event()
        self.thread = threading.Thread(target=self._calls, daemon=True)

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.ended.set()
        self.thread.join()
        self.close()

    def _calls(self):
        while not self.ended.wait(self.EVERY_S):
            try:
                assert self.invite().status == 200
                self.hang_up()
            except (AssertionError, OSError):
                self.failed += 1

    def _final(self, request):
        if not request.startswith(b"INVITE"):
            return super()._final(request)
        sent = time.time_ns()
        self.socket.sendto(request, self.gateway)
        while True:
            data, ancillary, _, _ = self.socket.recvmsg(65536, 64)
            response = Response(data)
            if response.first("Call-ID") != self.call_id or not response.first("CSeq").endswith("INVITE"):
                continue
            waited_ms = (kernel_time_ns(ancillary) - sent) / 1e6
            if response.status == 100:
                self.trying_ms.append(waited_ms)
            elif response.status >= 200:
                self.answer_ms.append(waited_ms)
                return response


def kernel_time_ns(ancillary):
    seconds, nanoseconds = struct.unpack("qq", ancillary[0][2][:16])
    return seconds * 1_000_000_000 + nanoseconds


def best_rate(load, most):
    """The highest rate without a failure, to within a tenth."""
    good, bad, rate = 0, None, 50
    while bad is None or bad / max(good, 1) > NARROW:
        run = load.run(rate, STEP_S)
        print(f"  {run}", flush=True)
        if run.passed():
            good = rate
            if rate >= most:
                return good
        else:
            bad = rate
            if good == 0:
                return 0
        rate = min(rate * 2, most) if bad is None else int((good + bad) / 2)
        if bad is not None and rate in (good, bad):
            return good
    return good


def measure(options, mode):
    print(f"{mode}: {MODES[mode]}", flush=True)
    load = Load(options, mode)
    try:
        load.run(50, 2)
        good = best_rate(load, options.most)
        assert good, "even 50 calls/s fail"
        time.sleep(LINGER_S)
        before = load.rss_mb()
        half = load.run(good / 2, HALF_S)
        print(f"  best {good} calls/s; half of it for {HALF_S} s:\n  {half}", flush=True)
        assert half.failed == 0, f"{half.failed} of {int(good / 2 * HALF_S)} calls failed at half the best rate"
        peak = load.rss_mb()
        idle = load.gateway.wait_until_idle()
        time.sleep(max(LINGER_S - idle, 0))
        after = load.rss_mb()
        print(f"  memory: {before:.1f} MB before, {peak:.1f} MB right after, {after:.1f} MB when idle again", flush=True)
        load.gateway.order_stop()
        load.gateway.wait_for_end()
    finally:
        load.close()


def main():
    target = HERE.parent.parent / "target"
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--gateway", type=Path, default=target / "release/patchcord")
    parser.add_argument("--work", type=Path, default=target / "interop")
    parser.add_argument("--most", type=int, default=2000, help="the highest rate tried")
    parser.add_argument("--mode", choices=MODES, action="append")
    options = parser.parse_args()
    for mode in options.mode or MODES:
        measure(options, mode)


if __name__ == "__main__":
    main()
