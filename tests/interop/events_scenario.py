"""The operator as a server of its own: what it sends is judged by the official client library's types."""

import subprocess
from pathlib import Path

from gateway import Operator

HERE = Path(__file__).resolve().parent
PORT = 9999


def run(options, notes):
    """Starts `patchcord operator`, holds a session with it, and checks every event it sent."""
    folder = options.work / "events"
    folder.mkdir(parents=True)
    python = str(options.venv / "bin" / "python")
    events = folder / "events.jsonl"
    operator = Operator(options.gateway, folder, PORT)
    try:
        client = [python, str(HERE / "events_client.py"), f"ws://{operator.address}/v1/realtime", str(events)]
        session = subprocess.run(client, capture_output=True, text=True, timeout=120)
        assert session.returncode == 0, session.stderr.strip().splitlines()[-1]
        operator.stop()
    finally:
        operator.kill()
    check = [python, str(HERE / "check_events.py"), "--dialect", "ga", "--direction", "server", "--fail-unknown", str(events)]
    checked = subprocess.run(check, capture_output=True, text=True)
    notes.append(checked.stderr.strip().splitlines()[-1] if checked.stderr else "")
    assert checked.returncode == 0, checked.stdout[:2000] + checked.stderr[:500]
