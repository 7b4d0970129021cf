"""RTP as it passed on the loopback interface or another one, with the kernel's times.

Run as a program it captures (needs root or CAP_NET_RAW) and writes one line per packet until it is told to end;
imported it starts that program (through sudo when not root) and reads what it wrote.
"""

import os
import signal
import socket
import struct
import subprocess
import sys
import time
from dataclasses import dataclass

import sound

ETH_P_IP = 0x0800
SO_TIMESTAMPNS = 35
PACKET_OUTGOING = 4
RECEIVE_BYTES = 16 * 1024 * 1024
# The payload type every peer here and the gateway give telephone-events, and what the events are.
EVENT_PAYLOAD_TYPE = 101
EVENTS = "0123456789*#ABCD"


@dataclass
class Packet:
    at: float
    source: int
    target: int
    payload_type: int
    sequence: int
    timestamp: int
    ssrc: int
    marker: bool
    payload: bytes

    @classmethod
    def read(cls, at, source, target, data):
        """None when this is not an RTP packet of the simple kind a gateway sends."""
        if len(data) < 12 or data[0] >> 6 != 2 or 64 <= data[1] & 0x7F <= 95:
            return None
        flags, kind, sequence, timestamp, ssrc = struct.unpack("!BBHII", data[:12])
        header = 12 + 4 * (flags & 0x0F)
        return cls(at, source, target, kind & 0x7F, sequence, timestamp, ssrc, bool(kind & 0x80), data[header:])

    def is_loud(self, threshold=0.01):
        table = sound.BY_PAYLOAD_TYPE.get(self.payload_type)
        if table is None or not self.payload:
            return False
        return sum(table[code] ** 2 for code in self.payload) > threshold**2 * len(self.payload)


class Stream:
    """The audio packets of one SSRC, in the order they passed."""

    def __init__(self, packets):
        self.packets = [packet for packet in packets if packet.payload_type in sound.BY_PAYLOAD_TYPE]

    def between(self, start, end):
        return Stream([packet for packet in self.packets if start <= packet.at <= end])

    def gap_ms(self):
        """The longest time from one packet to the next."""
        return max((1000 * (b.at - a.at) for a, b in zip(self.packets, self.packets[1:])), default=0.0)

    def missing(self):
        """How many sequence numbers never passed."""
        steps = ((b.sequence - a.sequence) & 0xFFFF for a, b in zip(self.packets, self.packets[1:]))
        return sum(step - 1 for step in steps if 1 < step < 0x8000)

    def samples(self):
        """The sound at its timestamps; what never passed is silence."""
        if not self.packets:
            return []
        first = self.packets[0].timestamp
        places = [(((packet.timestamp - first + 0x80000000) & 0xFFFFFFFF) - 0x80000000, packet) for packet in self.packets]
        out = [0.0] * max(place + len(packet.payload) for place, packet in places)
        for place, packet in places:
            if place >= 0:
                table = sound.BY_PAYLOAD_TYPE[packet.payload_type]
                out[place : place + len(packet.payload)] = [table[code] for code in packet.payload]
        return out

    def time_of(self, seconds):
        """When the sample at this many seconds of `samples` passed."""
        first = self.packets[0].timestamp
        wanted = (first + round(seconds * sound.RATE)) & 0xFFFFFFFF
        passed = [packet for packet in self.packets if (wanted - packet.timestamp) & 0xFFFFFFFF < 0x80000000]
        return passed[-1].at

    def loud_times(self, start, end):
        return [packet.at for packet in self.packets if start <= packet.at <= end and packet.is_loud()]


@dataclass
class Event:
    """A digit pressed."""

    at: float
    digit: str


class Capture:
    """Captures into a file from construction to `stop`."""

    def __init__(self, path, low_port, high_port, interface="lo"):
        self.path = path
        command = [sys.executable, "-B", __file__, str(path), str(low_port), str(high_port), interface]
        if os.geteuid() != 0:
            command = ["sudo", "-n"] + command
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        if self.process.stdout.readline().strip() != "capturing":
            raise RuntimeError(f"cannot capture on {interface}: run as root or with password-less sudo")

    def stop(self):
        """Ends the capture; closing its input is the signal, which works through sudo as well."""
        time.sleep(0.2)
        self.process.stdin.close()
        self.process.wait(10)

    def streams(self, source_ports=None, target_ports=None):
        """The streams from or to these ports, longest first; the file may still grow."""
        by_ssrc = {}
        for packet in self._packets(source_ports, target_ports):
            by_ssrc.setdefault((packet.source, packet.target, packet.ssrc), []).append(packet)
        streams = [Stream(packets) for packets in by_ssrc.values()]
        return sorted(streams, key=lambda stream: -len(stream.packets))

    def events(self, target_ports):
        """The telephone-events (RFC 4733) that came to these ports, each once, however often it was repeated."""
        events = {}
        for packet in self._packets(None, target_ports):
            if packet.payload_type == EVENT_PAYLOAD_TYPE and len(packet.payload) >= 4:
                events.setdefault((packet.ssrc, packet.timestamp), Event(packet.at, EVENTS[packet.payload[0]]))
        return list(events.values())

    def _packets(self, source_ports, target_ports):
        with open(self.path) as file:
            for line in file:
                if not line.endswith("\n"):
                    break
                at, source, target, data = line.split()
                source, target = int(source), int(target)
                if source_ports is not None and source not in source_ports:
                    continue
                if target_ports is not None and target not in target_ports:
                    continue
                packet = Packet.read(int(at) / 1e9, source, target, bytes.fromhex(data))
                if packet:
                    yield packet


def capture(path, low_port, high_port, interface):
    """Writes `nanoseconds source target hex` for every UDP datagram between ports of the range."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    raw = socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM, socket.htons(0x0003))
    raw.bind((interface, 0x0003))
    raw.setsockopt(socket.SOL_SOCKET, SO_TIMESTAMPNS, 1)
    raw.setsockopt(socket.SOL_SOCKET, 33, RECEIVE_BYTES)  # SO_RCVBUFFORCE
    raw.settimeout(0.1)
    os.set_blocking(sys.stdin.fileno(), False)
    print("capturing", flush=True)
    looked = time.monotonic()
    with open(path, "w") as file:
        while True:
            if time.monotonic() - looked > 0.1:
                looked = time.monotonic()
                file.flush()
                if _input_closed():
                    return
            try:
                data, ancillary, _, address = raw.recvmsg(4096, 64)
            except socket.timeout:
                continue
            # Every packet shows twice on loopback: leaving and arriving. The first is when it was sent.
            if (interface == "lo" and address[2] != PACKET_OUTGOING) or len(data) < 40 or data[9] != socket.IPPROTO_UDP:
                continue
            header = (data[0] & 0x0F) * 4
            source, target = struct.unpack("!HH", data[header : header + 4])
            if low_port <= source <= high_port and low_port <= target <= high_port:
                seconds, nanoseconds = struct.unpack("ll", ancillary[0][2][:16])
                file.write(f"{seconds * 10**9 + nanoseconds} {source} {target} {data[header + 8:].hex()}\n")


def _input_closed():
    try:
        return os.read(sys.stdin.fileno(), 1) == b""
    except BlockingIOError:
        return False


if __name__ == "__main__":
    capture(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), sys.argv[4])
