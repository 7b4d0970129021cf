"""A proxy between the phone and the gateway that stays in the way (Record-Route) and asks the phone for its password."""

import time

import sound
from phone_scenarios import ANSWER_S, LISTEN_S, TONE_S, check_conversation, check_record, voice

# A call ends so soon after somebody has hung up; the star is confirmed by voice first.
END_S_MAX = 8


def conversation(phone_transport, gateway_transport, hz, law="PCMU", agent_ends=False):
    """Greeting and echo through the proxy, and whoever hangs up, the BYE takes the way the INVITE came."""

    def run(lab):
        lab.start_gateway()
        uri = f"sip:operator@127.0.0.1:{lab.ports.sip};transport={gateway_transport}"
        proxy = lab.kamailio(uri, phone_transport)
        speech = voice(lab.folder, sound.silence(LISTEN_S, 48000), sound.tone(hz, TONE_S, 48000))
        phone = lab.softphone(law, phone_transport, speech)
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


SCENARIOS = {
    "kamailio-udp": conversation("udp", "udp", 460, agent_ends=True),
    "kamailio-tcp": conversation("tcp", "tcp", 540, agent_ends=True, law="PCMA"),
    # Two transports: the proxy records its route twice.
    "kamailio-udp-tcp": conversation("udp", "tcp", 660),
    "kamailio-tcp-udp": conversation("tcp", "udp", 740, agent_ends=True),
}
