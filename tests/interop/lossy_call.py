#!/usr/bin/env python3
"""A call over a bad line: a gateway and a softphone in two network namespaces, and a link between that loses, delays and
reorders what the phone sends. Run as root by `lossy_scenarios.py`; what was heard and what passed stays in its folder.

    lossy_call.py GATEWAY FOLDER VOICE SECONDS SEED AUDIO

The way back is whole: what the phone makes of a loss is not the gateway's. Everything is taken down when it ends, and
everything in it ends by itself if this is killed.
"""

import ctypes
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

sys.dont_write_bytecode = True

import softphone
from gateway import Gateway, Ports, trunk
from wire import Capture

HERE = Path(__file__).resolve().parent
LOSS_PERCENT, DELAY_MS, JITTER_MS = 5, 40, 30
NETWORK, PHONE, GATEWAY = "10.213.0.0/24", "10.213.0.1", "10.213.0.2"
# Of its own namespaces: nothing else has these ports there.
PORTS = Ports(0, 13000, 64)
CLONE_NEWNET = 0x40000000
# What is left of it if this program is killed ends so long after the call.
SLACK_S = 20


class Line:
    """Three namespaces: the phone's, the gateway's, and between them the one in which the link carries frames."""

    def __init__(self, folder, seconds, seed):
        # `ip` knows namespaces by name on the whole machine.
        self.names = {end: f"patchcord-{os.getpid()}-{end}" for end in ("phone", "link", "gateway")}
        self.folder, self.seconds, self.seed, self.link = folder, seconds, seed, None

    def __enter__(self):
        try:
            self._up()
        except BaseException:
            self._down()
            raise
        return self

    def __exit__(self, *why):
        self._down()

    def inside(self, end, *command):
        return ["ip", "netns", "exec", self.names[end], *map(str, command)]

    def enter(self, end):
        """What this process opens and starts from now on is there."""
        with open(f"/var/run/netns/{self.names[end]}") as namespace:
            if ctypes.CDLL(None, use_errno=True).setns(namespace.fileno(), CLONE_NEWNET) != 0:
                raise OSError(ctypes.get_errno(), "cannot enter a network namespace")

    def _up(self):
        program = self.folder / "linkem"
        run("gcc", "-O2", "-o", program, HERE / "link" / "linkem.c")
        for name in self.names.values():
            run("ip", "netns", "add", name)
        middle = self.names["link"]
        for end, address in (("phone", PHONE), ("gateway", GATEWAY)):
            name = self.names[end]
            run("ip", "-n", name, "link", "set", "lo", "up")
            run("ip", "-n", name, "link", "add", "line", "type", "veth", "peer", "name", end, "netns", middle)
            run("ip", "-n", name, "addr", "add", f"{address}/24", "dev", "line")
            run("ip", "-n", name, "link", "set", "line", "up")
            run("ip", "-n", middle, "link", "set", end, "up")
        words = ["-l", LOSS_PERCENT, "-d", DELAY_MS, "-j", JITTER_MS, "-S", self.seed, "-t", self.seconds, "-1"]
        self.log = open(self.folder / "link.log", "w")
        self.link = subprocess.Popen(self.inside("link", program, "phone", "gateway", *words), stderr=self.log)

    def _down(self):
        if self.link:
            self.link.terminate()
            self.link.wait()
            self.log.close()
        for name in self.names.values():
            subprocess.run(["ip", "netns", "del", name], stderr=subprocess.DEVNULL)


def run(*command):
    done = subprocess.run(list(map(str, command)), capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, f"{' '.join(map(str, command))}: {done.stderr.strip()}"


def call(binary, folder, voice, seconds, audio, line):
    """The phone dials by itself and hangs up when its time is over. This process is beside the gateway."""
    home = folder / "baresip"
    softphone.write_config(home, PORTS, "PCMU", "udp", voice, True, None, None, None, address=PHONE)
    backend = f'kind = "operator"\naudio = "{audio}"'
    gateway, phone = None, None
    line.enter("gateway")
    capture = Capture(folder / "rtp.txt", PORTS.rtp, PORTS.rtp + PORTS.rtp_count - 1, "line")
    try:
        gateway = Gateway(binary, folder, PORTS, trunks=trunk(network=NETWORK), address=GATEWAY, greeting="", backend=backend)
        dial = f"/dial sip:operator@{GATEWAY}:{PORTS.sip}"
        with open(home / "log", "w") as log:
            command = line.inside("phone", "baresip", "-4", "-s", "-f", home, "-t", round(seconds), "-e", dial)
            phone = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT)
            phone.wait(seconds + SLACK_S)
        gateway.check_records(1, "caller_hung_up")
        gateway.order_stop()
        gateway.wait_for_end()
    finally:
        capture.stop()
        for process in (phone, gateway and gateway.process):
            if process and process.poll() is None:
                process.kill()
                process.wait()


def main(binary, folder, voice, seconds, seed, audio):
    # Asked to end, it takes down what it has put up.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    folder, seconds = Path(folder), float(seconds)
    with Line(folder, seconds + SLACK_S, seed) as line:
        call(binary, folder, voice, seconds, audio, line)


if __name__ == "__main__":
    main(*sys.argv[1:])
