"""Tools of MCP servers that other people's library serves: listed, called, failing, dying and started again.

The same calls by standard input and output, and over HTTP. The session is a script that calls what it is told.
"""

import json
import socket
import subprocess
import time
from pathlib import Path

from caller import Caller
from gateway import Gateway, Ports

HERE = Path(__file__).resolve().parent
SLOT, BACKEND, HTTP = 191, 9997, 9996
UP_S_MAX, BACK_S_MAX = 30, 30


def run(options, notes):
    """What a session is offered and what comes of its calls, with a server of each kind."""
    folder = options.work / "mcp"
    folder.mkdir(parents=True)
    python = str(options.venv / "bin" / "python")
    server, backend, gateway, caller = None, None, None, None
    try:
        server = subprocess.Popen([python, str(HERE / "mcp_server.py"), str(HTTP)], stderr=open(folder / "http.log", "w"))
        wait_for_port(HTTP)
        backend = Backend(python, folder)
        gateway = Gateway(
            options.gateway,
            folder,
            Ports(SLOT, 13000, 64),
            backend=f'kind = "realtime"\nurl = "ws://127.0.0.1:{BACKEND}"\naudio = "pcm16"',
            agent='tools = ["hang_up", "mcp:program", "mcp:remote"]',
            recording=f"""
[journal]
path = "{folder / 'tool-calls.jsonl'}"
[mcp.program]
command = ["{python}", "{HERE / 'mcp_server.py'}", "stdio"]
[mcp.remote]
url = "http://127.0.0.1:{HTTP}/mcp"
tools = ["add"]
""",
        )
        caller = Caller(gateway.ports)
        answered = caller.invite()
        assert answered.status == 200, answered.status
        offered = backend.heard()["tools"]
        wanted = {"hang_up", "program__add", "program__fail", "program__die", "program__environment", "remote__add"}
        assert set(offered) == wanted, offered
        assert offered["remote__add"]["parameters"]["properties"]["a"]["type"] == "integer", offered["remote__add"]
        for name in ("program", "remote"):
            began = time.monotonic()
            assert backend.call(f"{name}__add", a=2, b=40) == "2 + 40 = 42"
            notes.append(f"{name} {1000 * (time.monotonic() - began):.0f} ms")
        assert "b is missing" in backend.call("program__add", a=2)
        assert "a must be of type integer" in backend.call("remote__add", a="two", b=1)
        failed = backend.call("program__fail", why="out of cheese")
        assert "fail" in failed and "42" not in failed, failed
        seen = backend.call("program__environment").split()
        assert "LAB_TOKEN" not in seen and "PATH" in seen, seen
        # A server that dies explains itself, is started again, and serves the same call.
        died = backend.call("program__die")
        assert "program" in died, died
        began = time.monotonic()
        while backend.call("program__add", a=1, b=1) != "1 + 1 = 2":
            assert time.monotonic() - began < BACK_S_MAX, "the server does not come back"
            time.sleep(0.1)
        notes.append(f"back after {time.monotonic() - began:.1f} s")
        caller.hang_up()
        record = json.loads(wait_for_line(folder / "records.jsonl"))
        results = [call["result"] for call in record["tools"]]
        assert results[:2] == ["ok", "ok"] and results[-1] == "ok" and results.count("failed") >= 3, results
        journal = [json.loads(line)["event"] for line in open(folder / "tool-calls.jsonl")]
        assert journal.count("begun") * 2 == len(journal) and "unknown" not in journal, journal
        gateway.order_stop()
        gateway.wait_for_end()
    finally:
        for own in (gateway, backend):
            if own:
                own.kill()
        if caller:
            caller.close()
        if server:
            server.kill()
            server.wait()


class Backend:
    """The scripted session server, in the folder of packages its library lives in."""

    def __init__(self, python, folder):
        self.process = subprocess.Popen(
            [python, str(HERE / "mcp_session.py"), str(BACKEND)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=open(folder / "session.log", "w"),
            text=True,
        )
        try:
            wait_for_port(BACKEND)
        except AssertionError:
            self.kill()
            raise

    def heard(self):
        line = self.process.stdout.readline()
        assert line, "the session ended"
        return json.loads(line)

    def call(self, name, **arguments):
        self.process.stdin.write(json.dumps({"name": name, "arguments": arguments}) + "\n")
        self.process.stdin.flush()
        return self.heard()["output"]

    def kill(self):
        self.process.kill()
        self.process.wait()


def wait_for_port(port):
    deadline = time.monotonic() + UP_S_MAX
    while True:
        try:
            return socket.create_connection(("127.0.0.1", port), 1).close()
        except OSError:
            assert time.monotonic() < deadline, f"nothing listens on {port}"
            time.sleep(0.1)


def wait_for_line(path):
    deadline = time.monotonic() + UP_S_MAX
    while not path.exists() or not (text := path.read_text()).endswith("\n"):
        assert time.monotonic() < deadline, f"{path} stays empty"
        time.sleep(0.05)
    return text.splitlines()[0]
