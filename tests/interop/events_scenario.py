"""The operator as a server of its own: what it sends is judged by the official client library's types."""

import subprocess
import time
from pathlib import Path

from gateway import Ports

HERE = Path(__file__).resolve().parent
# A slot after those of the calls.
PORTS = Ports(19)
START_S_MAX = 10


def run(options, notes):
    """Starts `patchcord operator`, holds a session with it, and checks every event it sent."""
    folder = options.work / "events"
    folder.mkdir(parents=True)
    python = str(options.venv / "bin" / "python")
    events = folder / "events.jsonl"
    address = f"127.0.0.1:{PORTS.backend}"
    with open(folder / "operator.log", "w") as log:
        command = [str(options.gateway), "operator", "--listen", address]
        operator = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT)
    try:
        client = [python, str(HERE / "events_client.py"), f"ws://{address}/v1/realtime", str(events)]
        hold_session(client, operator)
    finally:
        operator.terminate()
        try:
            code = operator.wait(10)
        except subprocess.TimeoutExpired:
            operator.kill()
            raise AssertionError("the operator did not end within 10 s of SIGTERM") from None
    assert code == 0, f"the operator ended with {code}"
    check = [python, str(HERE / "check_events.py"), "--dialect", "ga", "--direction", "server", "--fail-unknown", str(events)]
    checked = subprocess.run(check, capture_output=True, text=True)
    notes.append(checked.stderr.strip().splitlines()[-1] if checked.stderr else "")
    assert checked.returncode == 0, checked.stdout[:2000] + checked.stderr[:500]


def hold_session(client, operator):
    """Runs the client; until the operator listens it is tried again."""
    deadline = time.monotonic() + START_S_MAX
    while True:
        assert operator.poll() is None, f"the operator ended with {operator.returncode}"
        session = subprocess.run(client, capture_output=True, text=True, timeout=120)
        if session.returncode == 0:
            return
        refused = "ConnectionRefusedError" in session.stderr
        assert refused and time.monotonic() < deadline, session.stderr.strip().splitlines()[-1]
        time.sleep(0.1)
