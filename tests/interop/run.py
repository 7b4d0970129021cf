#!/usr/bin/env python3
"""Plays real peers against the release binary and closes with the tally `N passed, N failed`.

    tests/interop/run.py [--gateway BINARY] [NAME...]      a name selects the scenarios that contain it

Every scenario has a gateway, a slot of ports and a folder below the work folder of its own, and ends with the same
questions: is every counter at zero, is every file descriptor closed, does SIGTERM end it with 0. See README.md.
"""

import argparse
import shutil
import subprocess
import sys
import threading
import time
import traceback
import unittest
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE))
# The sources stay free of compiled files.
sys.dont_write_bytecode = True

import asterisk_scenarios
import bridge_scenario
import caller_scenarios
import codec_scenarios
import events_scenario
import kamailio_scenarios
import lossy_scenario
import mcp_scenario
import phone_scenarios
import quality_scenarios
import sipp_scenarios
import storage_scenario
import tls_scenarios
import trunk_scenarios
import webhook_scenario
import wire
from asterisk import Asterisk
from caller import Caller
from certificates import Authority
from gateway import Gateway, Operator, Ports
from kamailio import PROGRAM as KAMAILIO
from kamailio import Kamailio
from softphone import Softphone

# Every slot has so many RTP ports, from the first on; those of softphones are captured.
PHONE_RTP, PHONE_RTP_COUNT = 13000, 64
LOAD_RTP, LOAD_RTP_COUNT = 21000, 1000
SERVERS = asterisk_scenarios.SCENARIOS | kamailio_scenarios.SCENARIOS | tls_scenarios.SCENARIOS | bridge_scenario.SCENARIOS
TRUNKS = trunk_scenarios.CALLEES | trunk_scenarios.CALLERS
# Scenarios without audible load that may run at once.
LIGHT_AT_ONCE = 4


class Lab:
    """What a scenario has at hand."""

    load = threading.Lock()
    light = threading.Semaphore(LIGHT_AT_ONCE)

    def __init__(self, options, name, ports, capture=None):
        self.options, self.ports, self.capture = options, ports, capture
        self.folder = options.work / name
        self.folder.mkdir(parents=True)
        self.gateway, self.operator, self.phones, self.callers, self.notes = None, None, [], [], []
        self.servers, self.connections_kept, self.afterwards, self._authority = [], None, [], None
        self.began, self.waited_before_s = time.monotonic(), cpu_waiting_s()

    def start_gateway(self, **settings):
        self.gateway = Gateway(self.options.gateway, self.folder, self.ports, **settings)

    def start_operator(self, faults=""):
        """A session server of its own, at the port for backends."""
        self.operator = Operator(self.options.gateway, self.folder, self.ports.backend, faults)

    def softphone(self, codec, transport, voice, arguments=(), on_loopback=True, authority=None, mediaenc=None):
        secure = {"mediaenc": mediaenc}
        if transport == "tls":
            authority = authority or self.authority()
            secure |= {"identity": authority.identity("phone"), "authority": authority.certificate}
        phone = Softphone(self.folder, self.ports, codec, transport, voice, arguments, on_loopback, **secure)
        self.phones.append(phone)
        return phone

    def asterisk(self, extensions, **options):
        return self._server(Asterisk(self.options.asterisk, self.folder, self.ports, extensions, **options))

    def kamailio(self, gateway_uri=None, phone_transport="udp", authority=None):
        return self._server(Kamailio(self.folder, self.ports, gateway_uri, phone_transport, authority))

    def authority(self):
        """Of this scenario alone."""
        self._authority = self._authority or Authority(self.folder / "certificates")
        return self._authority

    def identity_for(self, transport):
        """What a gateway is configured with to be called over this: both sides show certificates."""
        if transport != "tls":
            return {}
        return {"identity": self.authority().identity("gateway"), "authority": self.authority().certificate}

    def uplinked(self, afterwards, connections=0):
        """The gateway is registered at a server: that must stay until it has ended, may keep connections, and must then
        know that it has gone, which `afterwards` asks."""
        self.connections_kept = connections
        self.afterwards.append(afterwards)

    def _server(self, server):
        self.servers.append(server)
        return server

    def caller(self, address="127.0.0.1"):
        self.callers.append(Caller(self.ports, address))
        return self.callers[-1]

    def streams(self, since=0):
        """(from the caller, from the agent) as they passed so far, but those that began before a time; waits until the
        capture has written them down."""
        time.sleep(0.3)
        recent = lambda streams: [stream for stream in streams if stream.packets and stream.packets[0].at >= since]
        callers = recent(self.capture.streams(target_ports=self.ports.gateway_rtp))
        agents = recent(self.capture.streams(source_ports=self.ports.gateway_rtp))
        assert callers and agents, "no RTP passed"
        assert len(agents) == 1, f"the agent's voice came as {len(agents)} streams"
        return callers[0], agents[0]

    def tone_file(self):
        return sipp_scenarios.tone_file(self.folder)

    def contention(self):
        """What to think of late packets: other work on the machine delays them too."""
        share = (cpu_waiting_s() - self.waited_before_s) / (time.monotonic() - self.began)
        return f"something waited for a CPU {share:.0%} of the time"

    def note(self, text):
        self.notes.append(text)

    def finish(self):
        """The closing questions, unless the scenario has ended the gateway itself."""
        if self.connections_kept is None:
            for server in self.servers:
                server.stop()
        if self.gateway.is_running():
            self.note(f"idle after {self.gateway.wait_until_idle(self.connections_kept or 0):.1f} s")
            self.gateway.check_metrics_with_promtool()
            self.gateway.order_stop()
            self.gateway.wait_for_end()
        for ask in self.afterwards:
            ask()
        if self.operator:
            self.operator.stop()

    def close(self):
        for one in self.phones:
            one.stop()
        for one in self.callers:
            one.close()
        for one in self.servers:
            one.stop()
        for one in (self.gateway, self.operator):
            if one:
                one.kill()


def cpu_waiting_s():
    """How long some process has had to wait for a CPU since the machine started; 0 where the kernel does not tell."""
    try:
        return int(Path("/proc/pressure/cpu").read_text().split("total=")[1].split()[0]) / 1e6
    except (OSError, IndexError):
        return 0.0


class Tally:
    def __init__(self):
        self.lock, self.passed, self.failed = threading.Lock(), [], []

    def run(self, name, body):
        """Runs one scenario and prints how it went; its exceptions end here."""
        began, notes = time.monotonic(), []
        try:
            body(notes)
            verdict, why = "pass", ""
            self.passed.append(name)
        except Exception as error:
            verdict, why = "FAIL", str(error) or repr(error)
            if not isinstance(error, AssertionError):
                why += "\n" + traceback.format_exc()
            self.failed.append(name)
        with self.lock:
            print(f"{verdict}  {name:24} {time.monotonic() - began:6.1f} s", flush=True)
            for note in notes:
                print(f"        {note}", flush=True)
            if why:
                print(f"        {why}", flush=True)

    def closing_line(self):
        return f"{len(self.passed)} passed, {len(self.failed)} failed"


def measures(notes):
    """The measuring code itself."""
    suite = unittest.defaultTestLoader.discover(str(HERE), "test_measures.py")
    result = unittest.TestResult()
    suite.run(result)
    notes.append(f"{result.testsRun} checks of the measuring code")
    assert result.wasSuccessful(), "\n".join(trace for _, trace in result.failures + result.errors)


def play(lab, scenario):
    """A softphone or a caller written by hand."""
    scenario(lab)


def play_sipp(lab, scenario):
    listener, settings = None, dict(scenario.options)
    if scenario.rings:
        listener, settings["backend"] = sipp_scenarios.silent_backend()
    try:
        lab.start_gateway(**settings)
        scenario(lab)
    finally:
        if listener:
            listener.close()


def play_callee(lab, callee):
    lab.start_gateway(**callee.options(lab.ports))
    callee(lab)


def how_to_play(name):
    if name in trunk_scenarios.CALLEES:
        return play_callee
    return play_sipp if name in trunk_scenarios.CALLERS else play


class Wave:
    """Scenarios that play at the same time. The next wave may play while these wait for their counters to be zero."""

    def __init__(self, tally):
        self.tally, self.playing, self.threads = tally, [], []

    def start(self, name, lab, how, scenario):
        played = threading.Event()
        self.playing.append(played)
        body = lambda notes: self.body(notes, lab, how, scenario, played)
        thread = threading.Thread(target=self.tally.run, args=(name, body))
        self.threads.append(thread)
        thread.start()

    def body(self, notes, lab, how, scenario, played):
        lab.notes = notes
        try:
            try:
                how(lab, scenario)
            finally:
                played.set()
            lab.finish()
        finally:
            lab.close()

    def wait_until_played(self):
        for played in self.playing:
            played.wait()

    def wait(self):
        for thread in self.threads:
            thread.join()


def main():
    options = arguments()
    chosen = lambda name: not options.names or any(part in name for part in options.names)
    shutil.rmtree(options.work, ignore_errors=True)
    options.work.mkdir(parents=True)
    tally = Tally()
    if chosen("measures"):
        tally.run("measures", measures)
    if chosen("events"):
        tally.run("events", lambda notes: events_scenario.run(options, notes))
    if chosen("storage"):
        tally.run("storage", lambda notes: storage_scenario.run(options, notes))
    if chosen("mcp"):
        tally.run("mcp", lambda notes: mcp_scenario.run(options, notes))
    if chosen("webhooks"):
        tally.run("webhooks", lambda notes: webhook_scenario.run(options, notes))
    for audio in lossy_scenario.AUDIOS:
        if chosen(f"quality-lossy-{audio}"):
            tally.run(f"quality-lossy-{audio}", lambda notes: lossy_scenario.run(options, notes, audio))

    small = phone_scenarios.SCENARIOS | phone_scenarios.MORE | caller_scenarios.SCENARIOS | codec_scenarios.SCENARIOS
    small = small | quality_scenarios.SCENARIOS | SERVERS
    ports = {name: Ports(slot, PHONE_RTP + PHONE_RTP_COUNT * slot, PHONE_RTP_COUNT) for slot, name in enumerate(small)}
    for slot, name in enumerate(TRUNKS, len(small)):
        ports[name] = Ports(slot, PHONE_RTP + PHONE_RTP_COUNT * slot, PHONE_RTP_COUNT)
    for slot, name in enumerate(sipp_scenarios.SCENARIOS):
        ports[name] = Ports(len(ports), LOAD_RTP + LOAD_RTP_COUNT * slot, LOAD_RTP_COUNT)
    capture = None
    if any(map(chosen, small)):
        capture = wire.Capture(options.work / "rtp.txt", PHONE_RTP, LOAD_RTP - 1)
    # The softphones go first: they measure milliseconds. The load comes last.
    waves = []
    for how, scenarios in [
        (play, phone_scenarios.SCENARIOS),
        (play, phone_scenarios.MORE | caller_scenarios.SCENARIOS),
        (play, codec_scenarios.SCENARIOS),
        (play, quality_scenarios.SCENARIOS),
        (play, asterisk_scenarios.SCENARIOS),
        (play, kamailio_scenarios.SCENARIOS | tls_scenarios.SCENARIOS),
        (play, bridge_scenario.SCENARIOS),
        (play_callee, trunk_scenarios.CALLEES),
        (play_sipp, trunk_scenarios.CALLERS),
        (play_sipp, sipp_scenarios.SCENARIOS),
    ]:
        if how is not play and capture:
            capture = capture.stop()
        wave = Wave(tally)
        for name in filter(chosen, scenarios):
            wave.start(name, Lab(options, name, ports[name], capture), how, scenarios[name])
        wave.wait_until_played()
        waves.append(wave)
    for wave in waves:
        wave.wait()

    once_more(options, tally, ports)

    for name in tally.failed:
        print(f"failed: {name}, see {options.work / name}")
    close(options, tally)
    return 1 if tally.failed else 0


def once_more(options, tally, ports):
    """Milliseconds measured on a busy machine prove little: what failed beside others is measured again, alone."""
    scenarios = phone_scenarios.SCENARIOS | phone_scenarios.MORE | codec_scenarios.SCENARIOS | quality_scenarios.SCENARIOS
    scenarios = scenarios | SERVERS | TRUNKS
    names = [name for name in tally.failed if name in scenarios]
    if not names:
        return
    capture = wire.Capture(options.work / "rtp-alone.txt", PHONE_RTP, LOAD_RTP - 1)
    for name in names:
        print(f"again, alone: {name}", flush=True)
        tally.failed.remove(name)
        wave = Wave(tally)
        wave.start(name, Lab(options, f"{name}-alone", ports[name], capture), how_to_play(name), scenarios[name])
        wave.wait()
    capture.stop()


def close(options, tally):
    """The closing line, to the file asked for or to the end of the output."""
    if options.tally:
        options.tally.parent.mkdir(parents=True, exist_ok=True)
        options.tally.write_text(tally.closing_line() + "\n")
    else:
        print(tally.closing_line())


def arguments():
    target = HERE.parent.parent / "target"
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--gateway", type=Path, default=target / "release" / "patchcord", help="the binary under test")
    parser.add_argument("--work", type=Path, default=target / "interop", help="logs, recordings, captures go here")
    parser.add_argument("--venv", type=Path, default=target / "venv", help="Python environment of the event checker")
    parser.add_argument("--asterisk", type=Path, default=target / "interop-asterisk", help="where Asterisk is unpacked")
    parser.add_argument("--tally", type=Path, help="write the closing line to this file instead of printing it")
    parser.add_argument("names", nargs="*", help="run only scenarios whose name contains one of these")
    options = parser.parse_args()
    options.work = options.work.resolve()
    tools = {tool: shutil.which(tool) for tool in ("baresip", "sipp", "openssl", "promtool")}
    for tool, found in {**tools, "kamailio": KAMAILIO}.items():
        if found is None:
            parser.error(f"{tool} is missing: `tests/run interop` installs it")
    if subprocess.run([options.gateway, "version"], capture_output=True).returncode != 0:
        parser.error(f"{options.gateway} does not run: build it with `cargo build --release`")
    return options


if __name__ == "__main__":
    sys.exit(main())
