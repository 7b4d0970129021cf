"""A gateway under test: its configuration, its life, and what it says of itself. And an operator of its own beside it."""

import json
import os
import signal
import subprocess
import time
import urllib.error
import urllib.request
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

READY_S_MAX = 15
STOP_S_MAX = 15
# Server transactions of UDP linger for 64 x T1 = 32 s (timers H, J and L of RFC 3261 and RFC 6026).
IDLE_S_MAX = 45

# What must be zero when no call is left.
LEVELS = (
    "patchcord_calls_active",
    "patchcord_sessions_active",
    "patchcord_worker_tasks",
    "patchcord_sip_dialogs",
    "patchcord_sip_transactions",
    "patchcord_sip_connections",
    "patchcord_rtp_ports_in_use",
)


# The login of trunks that have one; the password is in the gateway's environment.
USER, PASSWORD = "alice", "wonderland"
LOGIN = f'username = "{USER}"\npassword = "env:LAB_PASSWORD"'

# What the gateway logs in with where it registers and calls out.
UPLINK_USER, UPLINK_PASSWORD = "gw", "switchboard"
TOKEN = "a-token-of-this-lab"


@dataclass(frozen=True)
class Ports:
    """A slot of ports no other scenario uses; all below the range the kernel hands out by itself."""

    slot: int
    # RTP: so many from here on, half of them the gateway's.
    rtp: int
    rtp_count: int

    @property
    def sip(self):
        return 10000 + 20 * self.slot

    @property
    def http(self):
        return self.sip + 1

    @property
    def phone(self):
        return self.sip + 2

    @property
    def control(self):
        # baresip takes the port after its SIP port for TLS.
        return self.sip + 4

    @property
    def backend(self):
        return self.sip + 5

    @property
    def peer(self):
        """SIP of the server beside the gateway, UDP and TCP; over TLS it has the next."""
        return self.sip + 6

    @property
    def peer_tls(self):
        return self.sip + 7

    @property
    def sip_tls(self):
        """The gateway's own."""
        return self.sip + 8

    @property
    def gateway_rtp(self):
        return range(self.rtp, self.rtp + self.rtp_count // 2)

    @property
    def phone_rtp(self):
        return range(self.rtp + self.rtp_count // 2, self.rtp + self.rtp_count)


def trunk(name="lab", network="127.0.0.0/8", login=""):
    return f'[[trunk]]\nname = "{name}"\nfrom = ["{network}"]\n{login}\n'


def uplink(ports, transport="udp", register=True, extra=""):
    """A trunk that is called through as well: the server at the peer's port, which asks for a login."""
    port = ports.peer_tls if transport == "tls" else ports.peer
    reached = f'host = "127.0.0.1"\nport = {port}\ntransport = "{transport}"\nregister = {str(register).lower()}'
    login = f'login_username = "{UPLINK_USER}"\nlogin_password = "env:LAB_UPLINK"'
    return trunk("pbx", "127.0.0.1/32", f"{reached}\n{login}\n{extra}")


def settings(
    ports,
    folder,
    trunks=trunk(),
    backend='kind = "operator"',
    address="127.0.0.1",
    answer="when_ready",
    # Longer than any call here: a caller whose ACK is lost sends no RTP either, and that is not what is asked.
    silence_timeout_s=60,
    drain_s_max=10,
    # TLS: the files of its own identity and of the authority it believes.
    identity=None,
    authority=None,
    api=False,
    early_media=False,
    defence="",
    recording="",
    # More keys of the agent.
    agent="",
    greeting="Hello, this is the operator. Say something, and I will say it back to you.",
):
    """The whole configuration file of one scenario."""
    listen, tls = [f"udp:{address}:{ports.sip}", f"tcp:{address}:{ports.sip}"], ""
    if identity:
        listen.append(f"tls:{address}:{ports.sip_tls}")
        tls = f'[sip.tls]\ncertificate = "{identity.certificate}"\nkey = "file:{identity.key}"\n'
        tls += f'client_ca = "{authority}"\nca = "{authority}"\n'
    return f"""
[sip]
listen = {json.dumps(listen)}

{tls}

[media]
ports = "{ports.gateway_rtp[0]}-{ports.gateway_rtp[-1]}"
silence_timeout_s = {silence_timeout_s}

[http]
listen = "127.0.0.1:{ports.http}"
{'token = "env:LAB_TOKEN"' if api else ""}

[records]
path = "{folder / 'records.jsonl'}"
state = "{folder / 'state'}"

[defence]
{defence}

{recording}

[limits]
drain_s_max = {drain_s_max}
lag_ms_max = 0

{trunks}
[[route]]
to = "operator"
agent = "operator"

[agents.operator]
backends = ["only"]
greeting = "{greeting}"
answer = "{answer}"
early_media = {str(early_media).lower()}
{agent}

[agents.operator.turn_detection]
type = "server_vad"

[backends.only]
{backend}
"""


class Gateway:
    def __init__(self, binary, folder, ports, **options):
        self.folder, self.ports = Path(folder), ports
        config = self.folder / "patchcord.toml"
        config.write_text(settings(ports, self.folder, **options))
        self.log = open(self.folder / "gateway.log", "w")
        self.process = subprocess.Popen(
            [str(binary), "serve", "--config", str(config)],
            stdin=subprocess.DEVNULL,
            stdout=self.log,
            stderr=subprocess.STDOUT,
            env={**os.environ, "LAB_PASSWORD": PASSWORD, "LAB_UPLINK": UPLINK_PASSWORD, "LAB_TOKEN": TOKEN},
        )
        try:
            self._wait_until_ready()
        except Exception:
            self.kill()
            raise
        self.fds_at_start = self._settled_fds()

    def _settled_fds(self):
        """What is open once the connection that asked for readiness has been closed: the least of a few looks."""
        looks = []
        for _ in range(4):
            time.sleep(0.05)
            looks.append(self.fds())
        return min(looks, key=lambda look: look.total())

    def _wait_until_ready(self):
        deadline = time.monotonic() + READY_S_MAX
        while True:
            assert self.process.poll() is None, f"gateway ended with {self.process.returncode}: {self.log_tail()}"
            try:
                return self.get("/readyz")
            except OSError as error:
                assert time.monotonic() < deadline, f"not ready after {READY_S_MAX} s: {error}; {self.log_tail()}"
                time.sleep(0.05)

    def get(self, path):
        with urllib.request.urlopen(f"http://127.0.0.1:{self.ports.http}{path}", timeout=5) as response:
            return response.read().decode()

    def api(self, method, path, body=None):
        """(status, answer) of the control API, whatever the status."""
        request = urllib.request.Request(
            f"http://127.0.0.1:{self.ports.http}{path}",
            method=method,
            data=None if body is None else json.dumps(body).encode(),
            headers={"Authorization": f"Bearer {TOKEN}", "Content-Type": "application/json"},
        )
        try:
            with urllib.request.urlopen(request, timeout=5) as response:
                status, text = response.status, response.read().decode()
        except urllib.error.HTTPError as error:
            status, text = error.code, error.read().decode()
        return status, json.loads(text) if text else None

    def place_call(self, to, **more):
        """Calls somebody through the trunk `pbx`; the id of the call."""
        status, answer = self.api("POST", "/v1/calls", {"to": to, "trunk": "pbx", "agent": "operator", **more})
        assert status == 201, f"the call was answered with {status}: {answer}"
        return answer["id"]

    def calls(self):
        """What the control API tells of the calls there are."""
        status, answer = self.api("GET", "/v1/calls")
        assert status == 200, f"asked for the calls, {status}: {answer}"
        return answer["calls"]

    def transfer(self, call, to):
        status, answer = self.api("POST", f"/v1/calls/{call}/transfer", {"to": to})
        assert status == 202, f"the transfer was answered with {status}: {answer}"

    def send_digits(self, call, digits):
        status, answer = self.api("POST", f"/v1/calls/{call}/dtmf", {"digits": digits})
        assert status == 202, f"the digits were answered with {status}: {answer}"

    def hang_up(self, call):
        status, answer = self.api("DELETE", f"/v1/calls/{call}")
        assert status == 204, f"hanging up was answered with {status}: {answer}"
        self.wait_for_state(call, "ended")

    def call_state(self, call):
        status, answer = self.api("GET", f"/v1/calls/{call}")
        assert status == 200, f"asked for {call}, {status}: {answer}"
        return answer["state"]

    def wait_for_state(self, call, state, seconds=10):
        self._wait(seconds, lambda: self.call_state(call), state, f"the call {call} is")

    def wait_for_metric(self, line, value, seconds=10):
        """A metric with its labels, as it is exported."""
        told = lambda: next((one.split()[-1] for one in self.get("/metrics").splitlines() if one.startswith(f"{line} ")), None)
        self._wait(seconds, told, str(value), line)

    @staticmethod
    def _wait(seconds, look, wanted, what):
        deadline = time.monotonic() + seconds
        while (seen := look()) != wanted:
            assert time.monotonic() < deadline, f"{what} {seen} after {seconds} s, not {wanted}"
            time.sleep(0.05)

    def is_ready(self):
        try:
            return bool(self.get("/readyz"))
        except urllib.error.HTTPError:
            return False

    def metrics(self):
        """Values summed over labels, by name."""
        totals = Counter()
        for line in self.get("/metrics").splitlines():
            if line and not line.startswith("#"):
                name, value = line.rsplit(" ", 1)
                totals[name.split("{")[0]] += float(value)
        return totals

    def check_metrics_with_promtool(self):
        done = subprocess.run(["promtool", "check", "metrics"], input=self.get("/metrics"), text=True, capture_output=True)
        assert done.returncode == 0, f"promtool: {done.stdout}{done.stderr}"

    def fds(self):
        """What the process has open: socket and file names without their numbers, counted."""
        kinds = Counter()
        folder = f"/proc/{self.process.pid}/fd"
        for name in os.listdir(folder):
            try:
                kinds[os.readlink(f"{folder}/{name}").split(":")[0]] += 1
            except FileNotFoundError:
                pass
        return kinds

    def leftovers(self, connections=0):
        """What has not come back to where it was before the calls; a trunk may keep its connection."""
        metrics = self.metrics()
        allowed = {"patchcord_sip_connections": connections}
        left = [f"{name}={metrics[name]:g}" for name in LEVELS if not 0 <= metrics[name] <= allowed.get(name, 0)]
        left += [f"{name} is not exported" for name in LEVELS if name not in metrics]
        opened = self.fds()
        opened.subtract(self.fds_at_start)
        opened["socket"] -= connections
        return left + [f"{count:+d} fds of {kind}" for kind, count in opened.items() if count > 0]

    def wait_until_idle(self, connections=0):
        """Until every counter is at zero and every file descriptor closed; says how long that took."""
        began = time.monotonic()
        while left := self.leftovers(connections):
            assert time.monotonic() < began + IDLE_S_MAX, f"still held after {IDLE_S_MAX} s: {', '.join(left)}"
            time.sleep(0.25)
        return time.monotonic() - began

    def records(self):
        path = self.folder / "records.jsonl"
        return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []

    def wait_for_records(self, count, seconds=5, of=lambda record: True):
        """The records, or those among them, once there are so many or the time is over."""
        deadline = time.monotonic() + seconds
        while len(found := list(filter(of, self.records()))) < count and time.monotonic() < deadline:
            time.sleep(0.05)
        return found

    def check_records(self, count, outcome):
        """Exactly this many records, of as many different calls, all with this outcome; the first of them."""
        records = self.wait_for_records(count)
        assert len(records) == count, f"{len(records)} records of {count} calls"
        assert len({record["call_id"] for record in records}) == count, "two records of one call"
        outcomes = Counter(outcome_of(record) for record in records)
        assert outcomes == {outcome: count}, f"outcomes {dict(outcomes)}, wanted {outcome}"
        return records[0]

    def log_tail(self):
        self.log.flush()
        return " | ".join((self.folder / "gateway.log").read_text(errors="replace").splitlines()[-4:])

    def is_running(self):
        return self.process.poll() is None

    def order_stop(self):
        """What a service manager does first; the gateway then drains."""
        self.process.send_signal(signal.SIGTERM)

    def wait_for_end(self):
        """It must drain and exit with 0."""
        try:
            code = self.process.wait(STOP_S_MAX)
        except subprocess.TimeoutExpired:
            self.kill()
            raise AssertionError(f"did not end within {STOP_S_MAX} s of SIGTERM") from None
        assert code == 0, f"ended with {code} after SIGTERM: {self.log_tail()}"

    def kill(self):
        kill(self.process)


class Operator:
    """`patchcord operator`: a session server that is a process of its own, with faults if asked."""

    def __init__(self, binary, folder, port, faults=""):
        self.address = f"127.0.0.1:{port}"
        self.log = open(Path(folder) / "operator.log", "w")
        command = [str(binary), "operator", "--listen", self.address, "--fault", faults]
        self.process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=self.log, stderr=subprocess.STDOUT
        )
        deadline = time.monotonic() + READY_S_MAX
        # What it prints once it listens: a connection made to find out would count for its faults.
        while self.address not in Path(self.log.name).read_text():
            assert self.process.poll() is None, f"the operator ended with {self.process.returncode}"
            assert time.monotonic() < deadline, f"the operator does not listen on {self.address}"
            time.sleep(0.05)

    def stop(self):
        """Ends it; it must exit with 0."""
        self.process.terminate()
        try:
            code = self.process.wait(STOP_S_MAX)
        except subprocess.TimeoutExpired:
            self.kill()
            raise AssertionError(f"the operator did not end within {STOP_S_MAX} s of SIGTERM") from None
        assert code == 0, f"the operator ended with {code} after SIGTERM"

    def kill(self):
        kill(self.process)


def realtime_backend(port):
    """The session server on this port, whether it is there yet or not."""
    return f'kind = "realtime"\nurl = "ws://127.0.0.1:{port}/v1/realtime"\nmodel = "operator"'


def kill(process):
    if process.poll() is None:
        process.kill()
        process.wait()


def outcome_of(record):
    return record["outcome"]["cause"]
