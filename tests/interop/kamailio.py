"""Kamailio as a proxy in front of the gateway: it asks for passwords, records its route, and says what passed."""

import os
import re
import shutil
import signal
import socket
import subprocess
import time

from gateway import PASSWORD, UPLINK_PASSWORD, UPLINK_USER, USER

START_S_MAX = 10
STOP_S_MAX = 10
REALM = "lab.test"
PROGRAM = shutil.which("kamailio", path=f"{os.environ.get('PATH', '')}:/usr/sbin")


class Kamailio:
    """One running Kamailio. Who calls `operator` is asked to log in and gets to the gateway: at the address given, or,
    with none, where the gateway registered. Who calls `caller` gets to the softphone."""

    def __init__(self, folder, ports, gateway_uri=None, phone_transport="udp", authority=None):
        self.folder, self.ports = folder / "kamailio", ports
        self.folder.mkdir(parents=True)
        settings, tls = config(self.folder, ports, gateway_uri, phone_transport, authority)
        (self.folder / "kamailio.cfg").write_text(settings)
        (self.folder / "tls.cfg").write_text(tls)
        self.log = open(self.folder / "log", "w")
        # In a session of its own: it is several processes, and all of them must end.
        self.process = subprocess.Popen(
            [PROGRAM, "-DD", "-E", "-f", str(self.folder / "kamailio.cfg"), "-Y", str(self.folder), "-m", "32", "-M", "8"],
            stdin=subprocess.DEVNULL,
            stdout=self.log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        try:
            self._wait_until_up()
        except BaseException:
            self.kill()
            raise

    def _wait_until_up(self):
        deadline = time.monotonic() + START_S_MAX
        while not self._answers():
            assert self.process.poll() is None, f"Kamailio ended with {self.process.returncode}: {self.said()[-600:]}"
            assert time.monotonic() < deadline, f"Kamailio is not up after {START_S_MAX} s: {self.said()[-600:]}"

    def _answers(self):
        """Whether one of its processes answers OPTIONS."""
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
            probe.connect(("127.0.0.1", self.ports.peer))
            probe.settimeout(0.2)
            here = "%s:%d" % probe.getsockname()
            lines = [
                f"OPTIONS sip:127.0.0.1:{self.ports.peer} SIP/2.0",
                f"Via: SIP/2.0/UDP {here};branch=z9hG4bK{time.monotonic_ns()}",
                f"From: <sip:probe@{here}>;tag=probe",
                f"To: <sip:127.0.0.1:{self.ports.peer}>",
                f"Call-ID: probe-{here}",
                "CSeq: 1 OPTIONS",
                "Max-Forwards: 70",
                "Content-Length: 0",
            ]
            try:
                probe.send(("\r\n".join(lines) + "\r\n\r\n").encode())
                return probe.recv(65536).startswith(b"SIP/2.0 200")
            except OSError:
                # Refused at once while nobody listens.
                time.sleep(0.05)
                return False

    def said(self):
        """Its log, with a line of every request that passed."""
        return (self.folder / "log").read_text(errors="replace")

    def passed(self, method):
        """The ports and the transport by which requests of this method came: [(port, "udp"), ...]."""
        lines = [line.split("passes: ")[1].split() for line in self.said().splitlines() if "passes: " in line]
        return [(int(port), transport) for name, port, transport in lines if name == method]

    def wait_for_log(self, pattern, seconds):
        deadline = time.monotonic() + seconds
        while not re.search(pattern, self.said()):
            assert time.monotonic() < deadline, f"Kamailio did not say '{pattern}' within {seconds} s"
            time.sleep(0.1)

    def stop(self):
        if self.process.poll() is None:
            self.process.terminate()
            try:
                self.process.wait(STOP_S_MAX)
            except subprocess.TimeoutExpired:
                pass
        self.kill()

    def kill(self):
        """Its processes are those of its group, whose number is its own."""
        try:
            os.killpg(self.process.pid, signal.SIGKILL)
        except ProcessLookupError:
            pass
        self.process.wait()
        self.log.close()


def config(folder, ports, gateway_uri, phone_transport, authority):
    """(kamailio.cfg, tls.cfg)"""
    to_gateway = f'$ru = "{gateway_uri}";' if gateway_uri else REGISTERED
    listen = [f"udp:127.0.0.1:{ports.peer}", f"tcp:127.0.0.1:{ports.peer}"]
    modules, tls = "", ""
    if authority:
        listen.append(f"tls:127.0.0.1:{ports.peer_tls}")
        modules = f'loadmodule "tls.so"\nmodparam("tls", "config", "{folder}/tls.cfg")\n'
        own = authority.identity(f"kamailio-{ports.slot}")
        files = f"certificate = {own.certificate}\nprivate_key = {own.key}\nca_list = {authority.certificate}"
        tls = (
            f"[server:default]\nmethod = TLSv1.2+\nverify_certificate = yes\nrequire_certificate = yes\n{files}\n"
            f"[client:default]\nmethod = TLSv1.2+\nverify_certificate = yes\nrequire_certificate = yes\n{files}\n"
        )
    settings = f"""#!KAMAILIO
debug=1
log_stderror=yes
fork=yes
children=2
tcp_children=2
auto_aliases=no
dns=no
rev_dns=no
{"enable_tls=yes" if authority else ""}
{chr(10).join("listen=" + one for one in listen)}
loadmodule "kex.so"
loadmodule "tm.so"
loadmodule "sl.so"
loadmodule "rr.so"
loadmodule "pv.so"
loadmodule "maxfwd.so"
loadmodule "usrloc.so"
loadmodule "registrar.so"
loadmodule "textops.so"
loadmodule "siputils.so"
loadmodule "sanity.so"
loadmodule "xlog.so"
loadmodule "auth.so"
loadmodule "nathelper.so"
{modules}
modparam("usrloc", "db_mode", 0)
modparam("registrar", "received_avp", "$avp(received)")
modparam("nathelper", "received_avp", "$avp(received)")

request_route {{
    xlog("L_NOTICE", "passes: $rm $sp $pr\\n");
    if (!mf_process_maxfwd_header("10")) {{ sl_send_reply("483", "Too Many Hops"); exit; }}
    if (!sanity_check("1511", "7")) {{ exit; }}
    if (is_method("OPTIONS") && !has_totag()) {{ sl_send_reply("200", "OK"); exit; }}
    if (is_method("CANCEL")) {{ if (t_check_trans()) t_relay(); exit; }}
    if (has_totag()) {{
        if (loose_route()) {{ if (!t_relay()) sl_reply_error(); exit; }}
        if (is_method("ACK")) {{ if (t_check_trans()) t_relay(); exit; }}
        sl_send_reply("404", "Not Here"); exit;
    }}
    force_rport();
    if (!is_method("REGISTER|INVITE")) {{ if (!is_method("ACK")) sl_send_reply("405", "Method Not Allowed"); exit; }}
    $var(password) = $null;
    if ($au == "{USER}") $var(password) = "{PASSWORD}";
    if ($au == "{UPLINK_USER}") $var(password) = "{UPLINK_PASSWORD}";
    if ($var(password) == $null || !pv_auth_check("{REALM}", "$var(password)", "0", "0")) {{
        if (is_method("REGISTER")) www_challenge("{REALM}", "1"); else proxy_challenge("{REALM}", "1");
        exit;
    }}
    consume_credentials();
    if (is_method("REGISTER")) {{
        fix_nated_register();
        if (!save("location")) {{ sl_reply_error(); exit; }}
        xlog("L_NOTICE", "saved: $au; $hdr(Expires); $ct\\n");
        exit;
    }}
    record_route();
    if ($rU == "operator") {{
        {to_gateway}
    }} else if ($rU == "caller") {{
        $ru = "sip:caller@127.0.0.1:{ports.phone + (phone_transport == "tls")};transport={phone_transport}";
    }} else {{
        sl_send_reply("404", "Not Found"); exit;
    }}
    if (!t_relay()) sl_reply_error();
}}
"""
    return settings, tls


# The number called stays in the request, as trunks do it; where it goes is what was registered.
REGISTERED = f"""$var(called) = $rU;
        $rU = "{UPLINK_USER}";
        if (!lookup("location")) {{ sl_send_reply("480", "Not Registered"); exit; }}
        $rU = $var(called);"""
