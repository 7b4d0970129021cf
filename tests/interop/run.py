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
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE))
# The sources stay free of compiled files.
sys.dont_write_bytecode = True

import events_scenario
import phone_scenarios
import sipp_scenarios
import wire
from gateway import Gateway, Ports
from softphone import Softphone

# RTP of every slot, for the capture.
RTP_PORTS = (12000, 32000)
# Scenarios without audible load that may run at once.
LIGHT_AT_ONCE = 4


class Lab:
    """What a scenario has at hand."""

    load = threading.Lock()
    light = threading.Semaphore(LIGHT_AT_ONCE)

    def __init__(self, options, name, slot, capture=None):
        self.options, self.ports, self.capture = options, Ports(slot), capture
        self.folder = options.work / name
        self.folder.mkdir(parents=True)
        self.gateway, self.phones, self.notes = None, [], []

    def start_gateway(self, **settings):
        self.gateway = Gateway(self.options.gateway, self.folder, self.ports, **settings)

    def softphone(self, law, transport, voice, arguments=()):
        phone = Softphone(self.folder, self.ports, law, transport, voice, arguments)
        self.phones.append(phone)
        return phone

    def streams(self):
        """(from the caller, from the agent) as they passed so far; waits until the capture has written them down."""
        time.sleep(0.3)
        callers = self.capture.streams(target_ports=self.ports.gateway_rtp)
        agents = self.capture.streams(source_ports=self.ports.gateway_rtp)
        assert callers and agents, "no RTP passed"
        assert len(agents) == 1, f"the agent's voice came as {len(agents)} streams"
        return callers[0], agents[0]

    def tone_file(self):
        return sipp_scenarios.tone_file(self.folder)

    def note(self, text):
        self.notes.append(text)

    def finish(self):
        """The closing questions."""
        self.note(f"idle after {self.gateway.wait_until_idle():.1f} s")
        self.gateway.check_metrics_with_promtool()
        self.gateway.stop()

    def close(self):
        for phone in self.phones:
            phone.stop()
        if self.gateway:
            self.gateway.kill()


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


def phone_body(options, name, slot, capture):
    def body(notes):
        lab = Lab(options, name, slot, capture)
        lab.notes = notes
        try:
            lab.start_gateway()
            phone_scenarios.SCENARIOS[name](lab)
            lab.finish()
        finally:
            lab.close()

    return body


def sipp_body(options, name, slot):
    def body(notes):
        lab, scenario = Lab(options, name, slot), sipp_scenarios.SCENARIOS[name]
        lab.notes = notes
        listener, settings = None, dict(scenario.options)
        try:
            if scenario.rings:
                listener, settings["backend"] = sipp_scenarios.silent_backend()
            lab.start_gateway(**settings)
            scenario(lab)
            lab.finish()
        finally:
            lab.close()
            if listener:
                listener.close()

    return body


def at_once(jobs):
    """Runs all of these at the same time and waits for them."""
    with ThreadPoolExecutor(max(1, len(jobs))) as pool:
        list(pool.map(lambda job: job(), jobs))


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

    names = [*phone_scenarios.SCENARIOS, *sipp_scenarios.SCENARIOS]
    slots = {name: slot for slot, name in enumerate(names)}
    phones = [name for name in phone_scenarios.SCENARIOS if chosen(name)]
    if phones:
        # The softphones go first and alone: they measure milliseconds.
        capture = wire.Capture(options.work / "rtp.txt", *RTP_PORTS)
        bodies = {name: phone_body(options, name, slots[name], capture) for name in phones}
        at_once([lambda name=name: tally.run(name, bodies[name]) for name in phones])
        capture.stop()
    rest = [name for name in sipp_scenarios.SCENARIOS if chosen(name)]
    at_once([lambda name=name: tally.run(name, sipp_body(options, name, slots[name])) for name in rest])

    for name in tally.failed:
        print(f"failed: {name}, see {options.work / name}")
    close(options, tally)
    return 1 if tally.failed else 0


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
    parser.add_argument("--tally", type=Path, help="write the closing line to this file instead of printing it")
    parser.add_argument("names", nargs="*", help="run only scenarios whose name contains one of these")
    options = parser.parse_args()
    options.work = options.work.resolve()
    for tool in ("baresip", "sipp", "promtool"):
        if shutil.which(tool) is None:
            parser.error(f"{tool} is missing: `tests/run interop` installs it")
    if subprocess.run([options.gateway, "version"], capture_output=True).returncode != 0:
        parser.error(f"{options.gateway} does not run: build it with `cargo build --release`")
    return options


if __name__ == "__main__":
    sys.exit(main())
