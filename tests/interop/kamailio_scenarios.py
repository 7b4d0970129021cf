"""A proxy between the phone and the gateway that stays in the way (Record-Route) and asks the phone for its password."""

import time

import sound
from certificates import Authority
from gateway import UPLINK_USER, uplink
from phone_scenarios import ANSWER_S, LISTEN_S, TONE_S, check_conversation, check_record, voice

# A call ends so soon after somebody has hung up; the star is confirmed by voice first.
END_S_MAX = 8
# A registration is there so soon after the gateway is ready, and gone so soon after its end.
REGISTER_S_MAX = 5
# What Kamailio says when it has kept or dropped where the gateway is.
SAVED = f"saved: {UPLINK_USER};"


def conversation(phone_transport, gateway_transport, hz, law="PCMU", agent_ends=False):
    """Greeting and echo through the proxy, and whoever hangs up, the BYE takes the way the INVITE came."""

    def run(lab):
        lab.start_gateway()
        uri = f"sip:operator@127.0.0.1:{lab.ports.sip};transport={gateway_transport}"
        proxy = lab.kamailio(uri, phone_transport)
        phone = lab.softphone(law, phone_transport, speech(lab, hz))
        phone.dial(f"sip:operator@127.0.0.1:{lab.ports.peer};transport={phone_transport}")
        time.sleep(LISTEN_S + TONE_S + ANSWER_S)
        lab.gateway.check_metrics_with_promtool()
        if agent_ends:
            phone.control.command("sndcode", "*")
            assert phone.control.wait_event("CALL_CLOSED", END_S_MAX), "the operator did not hang up after the star"
        else:
            phone.control.command("hangup")
            time.sleep(0.5)
        phone.stop()
        assert "407 Proxy Authentication Required" in phone.said(), "the proxy did not ask for a password"
        check_route(lab, proxy, gateway_transport, agent_ends)
        check_conversation(lab, phone.heard(), hz)
        record = lab.gateway.check_records(1, "agent_hung_up" if agent_ends else "caller_hung_up")
        check_record(lab, record, law)

    return run


def check_route(lab, proxy, gateway_transport, agent_ends):
    """ACK and BYE came by the proxy, and the BYE from where it should."""
    # That of the 407 ends in Kamailio before anything is written down.
    assert len(proxy.passed("ACK")) == 1, "the ACK of the 200 went past the proxy"
    byes = proxy.passed("BYE")
    assert len(byes) == 1, f"{len(byes)} BYEs came by the proxy: {byes}"
    from_gateway = byes[0] == (lab.ports.sip, gateway_transport)
    assert from_gateway == agent_ends, f"the BYE came from {byes[0]}, the gateway is at {lab.ports.sip}"


def registered(lab):
    """The gateway registers over TLS, each side with a certificate, and is called over TLS where it registered."""
    hz = 580
    proxy = start_uplink(lab)
    phone = lab.softphone("PCMU", "udp", speech(lab, hz))
    phone.dial(f"sip:operator@127.0.0.1:{lab.ports.peer}")
    time.sleep(LISTEN_S + TONE_S + ANSWER_S)
    lab.gateway.check_metrics_with_promtool()
    phone.control.command("sndcode", "*")
    assert phone.control.wait_event("CALL_CLOSED", END_S_MAX), "the operator did not hang up after the star"
    phone.stop()
    check_secure_bye(proxy, "tls")
    check_conversation(lab, phone.heard(), hz)
    check_record(lab, lab.gateway.check_records(1, "agent_hung_up"), "PCMU", trunk="pbx")


def start_uplink(lab):
    """Kamailio with TLS, and a gateway that has registered there."""
    authority = lab.authority()
    proxy = lab.kamailio(authority=authority)
    lab.start_gateway(
        trunks=uplink(lab.ports, "tls"), api=True, identity=authority.identity("gateway"), authority=authority.certificate
    )
    lab.gateway.wait_for_metric('patchcord_trunk_registered{trunk="pbx"}', 1, REGISTER_S_MAX)
    proxy.wait_for_log(SAVED, REGISTER_S_MAX)
    assert {transport for _, transport in proxy.passed("REGISTER")} == {"tls"}, "it did not register over TLS"
    # The connection stays, and Kamailio may have opened one of its own for calls.
    lab.uplinked(lambda: proxy.wait_for_log(f"{SAVED}( 0;|.*expires=0\\b)", REGISTER_S_MAX), connections=2)
    return proxy


def stranger(lab):
    """A server whose certificate is of an authority the gateway does not know is not told any password."""
    authority, other = lab.authority(), Authority(lab.folder / "other")
    proxy = lab.kamailio(authority=other)
    trunks = uplink(lab.ports, "tls")
    lab.start_gateway(trunks=trunks, identity=authority.identity("gateway"), authority=authority.certificate)
    time.sleep(REGISTER_S_MAX)
    lab.gateway.wait_for_metric('patchcord_trunk_registered{trunk="pbx"}', 0)
    assert not proxy.passed("REGISTER"), "it registered with a stranger"
    # It goes on trying.
    lab.uplinked(lambda: None, connections=1)


def speech(lab, hz):
    return voice(lab.folder, sound.silence(LISTEN_S, 48000), sound.tone(hz, TONE_S, 48000))


def check_secure_bye(proxy, transport):
    byes = proxy.passed("BYE")
    assert len(byes) == 1 and byes[0][1] == transport, f"the BYEs came by {byes}, not by {transport}"


def called_out(lab):
    """The gateway calls the phone through the proxy over TLS, logs in when it is asked (407), and the phone hangs up."""
    hz = 630
    proxy = start_uplink(lab)
    phone = lab.softphone("PCMU", "udp", speech(lab, hz))
    call = lab.gateway.place_call("caller")
    assert phone.control.wait_event("CALL_ESTABLISHED", 10), "the phone was not called"
    lab.gateway.wait_for_state(call, "talking")
    time.sleep(LISTEN_S + TONE_S + ANSWER_S)
    phone.control.command("hangup")
    lab.gateway.wait_for_state(call, "ended")
    phone.stop()
    invites = proxy.passed("INVITE")
    assert [transport for _, transport in invites] == ["tls", "tls"], f"the INVITEs came by {invites}"
    assert len(proxy.passed("ACK")) == 1, "the ACK of the 200 went past the proxy"
    check_secure_bye(proxy, "udp")
    check_conversation(lab, phone.heard(), hz)
    check_record(lab, lab.gateway.check_records(1, "callee_hung_up"), "PCMU", trunk="pbx", route=None)


SCENARIOS = {
    "kamailio-udp": conversation("udp", "udp", 460, agent_ends=True),
    "kamailio-tcp": conversation("tcp", "tcp", 540, agent_ends=True, law="PCMA"),
    # Two transports: the proxy records its route twice.
    "kamailio-udp-tcp": conversation("udp", "tcp", 660),
    "kamailio-tcp-udp": conversation("tcp", "udp", 740, agent_ends=True),
    "kamailio-tls-registers": registered,
    "kamailio-tls-called": called_out,
    "kamailio-tls-stranger": stranger,
}
