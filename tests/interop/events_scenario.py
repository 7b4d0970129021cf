"""The operator as a server of its own, in every dialect: what it and the gateway say is judged by the official client
library's types.

A client of this folder walks through what a `ga` session can do. `patchcord probe` then holds a session in each dialect,
with the gateway's own protocol machine, and writes down both sides.
"""

import json
import subprocess
from pathlib import Path

from gateway import Operator

HERE = Path(__file__).resolve().parent
PORT = 9999

# The backends that the probe goes to: one operator, three dialects.
BACKENDS = """
[backends.ga]
kind = "realtime"
url = "ws://{address}/v1/realtime"
model = "operator"

[backends.beta]
kind = "realtime"
url = "ws://{address}/v1/realtime"
model = "operator"
dialect = "beta"

[backends.live]
kind = "realtime"
url = "ws://{address}/v1/live/sessions"
model = "gpt-live-1"
dialect = "live"
delegation_model = "operator"
"""


def run(options, notes):
    """Starts `patchcord operator`, holds sessions with it, and checks every event of them."""
    folder = options.work / "events"
    folder.mkdir(parents=True)
    python = str(options.venv / "bin" / "python")
    events = folder / "events.jsonl"
    operator = Operator(options.gateway, folder, PORT)
    try:
        client = [python, str(HERE / "events_client.py"), f"ws://{operator.address}/v1/realtime", str(events)]
        session = subprocess.run(client, capture_output=True, text=True, timeout=120)
        assert session.returncode == 0, session.stderr.strip().splitlines()[-1]
        check(python, events, "ga", notes, "--direction", "server")
        config = folder / "patchcord.toml"
        config.write_text(BACKENDS.format(address=operator.address))
        for dialect in ("ga", "beta", "live"):
            probe(options, config, dialect, folder / f"{dialect}.jsonl")
            check(python, folder / f"{dialect}.jsonl", dialect, notes)
        operator.stop()
    finally:
        operator.kill()


def probe(options, config, backend, events):
    """A session as a call would have it: greeted, interrupted, and a tool called."""
    command = [str(options.gateway), "probe", backend, "--config", str(config), "--json", "--events", str(events)]
    probed = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert probed.returncode == 0, (probed.stdout + probed.stderr)[:2000]
    report = json.loads(probed.stdout)
    assert report["dialect"] == backend and report["tool_called"] == "hang_up", report
    assert report["refused"] == [] and report["unknown_events"] == 0, report


def check(python, events, dialect, notes, *more):
    """Every event strictly by the types of its dialect, with no member that they do not know."""
    command = [python, str(HERE / "check_events.py"), "--dialect", dialect, "--fail-unknown", *more, str(events)]
    checked = subprocess.run(command, capture_output=True, text=True)
    notes.append(f"{dialect}: {checked.stderr.strip().splitlines()[-1]}" if checked.stderr else "")
    assert checked.returncode == 0, checked.stdout[:2000] + checked.stderr[:500]
