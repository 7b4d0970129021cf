"""Asterisk as a peer: its configuration, its life, and what it says of itself.

It is unpacked, not installed (`tests/run` does that), and runs from there with the C library it came with. Everything
it reads and writes is in the scenario's folder.
"""

import platform
import subprocess
import time

from gateway import PASSWORD, UPLINK_PASSWORD, UPLINK_USER, USER, kill

BOOT_S_MAX = 30
STOP_S_MAX = 10
COMMAND_S_MAX = 10
LIBRARIES = f"usr/lib/{platform.machine()}-linux-gnu"
MISSING = "Asterisk is not there ({root}/ready is missing): `tests/run interop` says above why it could not be unpacked"

# What it may load: a module not named here opens no port of its own.
MODULES = """
res_timing_timerfd res_sorcery_config res_sorcery_memory res_sorcery_astdb res_pjproject res_rtp_asterisk
res_pjsip res_pjsip_session res_pjsip_pubsub res_pjsip_sdp_rtp res_pjsip_caller_id res_pjsip_nat res_pjsip_logger
res_pjsip_rfc3326 res_pjsip_refer res_pjsip_registrar res_pjsip_authenticator_digest
res_pjsip_outbound_authenticator_digest res_pjsip_endpoint_identifier_user res_pjsip_endpoint_identifier_ip
res_clioriginate res_musiconhold chan_pjsip pbx_config codec_ulaw codec_alaw codec_a_mu format_wav format_pcm
bridge_simple bridge_native_rtp bridge_builtin_features bridge_builtin_interval_features bridge_holding
app_bridgewait app_dial app_echo app_exec app_mixmonitor app_playback app_playtones app_read app_senddtmf app_transfer
app_verbose func_channel
"""



class Asterisk:
    """One running Asterisk. Calls from phones and from the gateway arrive in [lab] of the dial plan.

    The endpoints: `gateway` is a trunk by address, over the transport named; `gw` is the same gateway when it registers
    and logs in; `caller` is a softphone that logs in.
    """

    def __init__(self, root, folder, ports, extensions, law="PCMU", transport="udp", options="direct_media = no"):
        root = root.resolve()
        assert (root / "ready").exists(), MISSING.format(root=root)
        self.root, self.folder, self.ports = root, folder / "asterisk", ports
        self._write_config(extensions, law, transport, options)
        self.out = open(self.folder / "out", "w")
        self.process = subprocess.Popen(
            self._program("-f", "-C", str(self.folder / "etc" / "asterisk.conf")),
            stdin=subprocess.DEVNULL,
            stdout=self.out,
            stderr=subprocess.STDOUT,
        )
        try:
            self._wait_until_booted()
        except BaseException:
            self.kill()
            raise

    def _program(self, *arguments):
        """The loader of its own C library, told where the other libraries are, runs it: that takes no chroot."""
        libraries = self.root / LIBRARIES
        loader = next(libraries.glob("ld-linux*.so.*"))
        return [str(loader), "--library-path", str(libraries), str(self.root / "usr/sbin/asterisk"), *arguments]

    def _write_config(self, extensions, law, transport, options):
        for name in ("etc", "run", "spool", "db", "log", "music"):
            (self.folder / name).mkdir(parents=True)
        for name, text in config(self.root, self.folder, self.ports, law, transport, options).items():
            (self.folder / "etc" / name).write_text(text)
        (self.folder / "etc" / "extensions.conf").write_text(f"[general]\nstatic = yes\n\n[lab]\n{extensions}\n")

    def _wait_until_booted(self):
        deadline = time.monotonic() + BOOT_S_MAX
        while "fully booted" not in self.command("core waitfullybooted", check=False):
            assert self.process.poll() is None, f"Asterisk ended with {self.process.returncode}: {self._tail()}"
            assert time.monotonic() < deadline, f"Asterisk is not up after {BOOT_S_MAX} s: {self._tail()}"
            time.sleep(0.1)

    def _tail(self):
        self.out.flush()
        return " | ".join((self.folder / "out").read_text(errors="replace").splitlines()[-4:])

    def command(self, words, check=True):
        """What it answers on its console."""
        done = subprocess.run(
            self._program("-C", str(self.folder / "etc" / "asterisk.conf"), "-rx", words),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=COMMAND_S_MAX,
        )
        understood = done.returncode == 0 and "No such command" not in done.stdout
        assert understood or not check, f"Asterisk refused `{words}`: {done.stdout}{done.stderr}"
        return done.stdout

    def call(self, extension, endpoint="gateway", user="operator"):
        """Calls the gateway; the call runs this extension once it is answered."""
        self.command(f"channel originate PJSIP/{user}@{endpoint} extension {extension}@lab")

    def redirect(self, endpoint, extension):
        """Passes the one channel of this endpoint on to an extension."""
        names = [line.split("!")[0] for line in self.command("core show channels concise").splitlines()]
        (channel,) = [name for name in names if name.startswith(f"PJSIP/{endpoint}-")]
        self.command(f"channel redirect {channel} lab,{extension},1")

    def channels(self):
        """How many channels there are."""
        lines = self.command("core show channels count").splitlines()
        return next(int(line.split()[0]) for line in lines if "active channel" in line)

    def wait_until_quiet(self, seconds):
        """Until no channel is left."""
        deadline = time.monotonic() + seconds
        while left := self.channels():
            assert time.monotonic() < deadline, f"{left} channels are left in Asterisk after {seconds} s"
            time.sleep(0.2)

    def wait_for_contact(self, aor, seconds):
        """Until somebody has registered as this."""
        deadline = time.monotonic() + seconds
        while f"Contact:  {aor}/" not in self.command("pjsip show contacts", check=False):
            assert time.monotonic() < deadline, f"nobody registered as {aor} within {seconds} s"
            time.sleep(0.2)

    def said(self):
        """Its log, with every SIP message."""
        return (self.folder / "log" / "full").read_text(errors="replace")

    def wait_for_log(self, words, seconds, times=1):
        deadline = time.monotonic() + seconds
        while self.said().count(words) < times:
            assert time.monotonic() < deadline, f"Asterisk did not say '{words}' within {seconds} s"
            time.sleep(0.1)

    def stop(self):
        """Ends it; calls that are left end with it."""
        if self.process.poll() is None:
            self.process.terminate()
            try:
                self.process.wait(STOP_S_MAX)
            except subprocess.TimeoutExpired:
                pass
        self.kill()

    def kill(self):
        kill(self.process)
        self.out.close()


def config(root, folder, ports, law, transport, options):
    """The files of its configuration folder but the dial plan, by name."""
    codec = {"PCMU": "ulaw", "PCMA": "alaw"}[law]
    endpoint = f"""type = endpoint
context = lab
disallow = all
allow = {codec}
rtp_symmetric = yes
media_address = 127.0.0.1
dtmf_mode = rfc4733
{options}
"""
    login = lambda name, user, password: f"""
[{name}]
{endpoint}auth = {name}
aors = {name}
identify_by = username,auth_username
[{name}]
type = auth
auth_type = userpass
username = {user}
password = {password}
[{name}]
type = aor
max_contacts = 1
remove_existing = yes
"""
    return {
        "asterisk.conf": f"""[directories]
astetcdir = {folder}/etc
astmoddir = {root}/{LIBRARIES}/asterisk/modules
astvarlibdir = {root}/usr/share/asterisk
astdatadir = {root}/usr/share/asterisk
astdbdir = {folder}/db
astkeydir = {folder}/db
astspooldir = {folder}/spool
astrundir = {folder}/run
astlogdir = {folder}/log
[options]
transmit_silence = yes
verbose = 5
""",
        "modules.conf": "[modules]\nautoload = no\n" + "".join(f"load = {name}.so\n" for name in MODULES.split()),
        "logger.conf": "[general]\n[logfiles]\nfull => notice,warning,error,verbose(5)\n",
        "cli.conf": "[startup_commands]\npjsip set logger on = yes\n",
        "rtp.conf": f"[general]\nrtpstart = {ports.phone_rtp[0]}\nrtpend = {ports.phone_rtp[-1]}\n",
        "musiconhold.conf": f"[default]\nmode = files\ndirectory = {folder}/music\n",
        "pjsip.conf": f"""[global]
type = global
endpoint_identifier_order = username,auth_username
[udp]
type = transport
protocol = udp
bind = 127.0.0.1:{ports.peer}
[tcp]
type = transport
protocol = tcp
bind = 127.0.0.1:{ports.peer}
[gateway]
{endpoint}aors = gateway
transport = {transport}
[gateway]
type = aor
contact = sip:127.0.0.1:{ports.sip}\\;transport={transport}
{login(UPLINK_USER, UPLINK_USER, UPLINK_PASSWORD)}
{login("caller", USER, PASSWORD)}
""",
    }
