//! Whereabouts: what a request tells about where its sender is, and so whether the next request of ours inside the
//! dialog goes back the way it came or to the address the dialog names.
//!
//! RFC 3261 section 12.2.1.1 sends it to the first Route or the Contact. That address is wrong for whoever sits behind
//! a NAT and does not know its own; for those the open flow is the only way. Nothing here resolves or sends anything.

use std::net::IpAddr;

use super::errand::Course;
use super::flow::{Flow, Transport};
use super::message::Request;
use super::method::Method;
use super::target::Target;
use super::uri::Uri;

/// What the last request of a peer told about where it is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Whereabouts {
    /// No proxy stood between: whoever sent it is the peer itself.
    pub direct: bool,
    /// It came from another address than its sender believes to have.
    pub hidden: bool,
    /// It has been sending from another address since it last named its Contact.
    pub moved: bool,
}

impl Whereabouts {
    /// What this request tells, which came by `flow`.
    pub fn of(request: &Request, flow: &Flow) -> Self {
        let Ok(vias) = request.headers.vias() else {
            return Self::default();
        };
        let claimed = vias.first().and_then(|via| via.host.ip());
        Self {
            direct: vias.len() == 1,
            hidden: claimed.is_some_and(|ip| ip.to_canonical() != flow.source_ip()),
            moved: false,
        }
    }

    /// What is known after a further request. One that names a Contact anew is believed; any other that comes by
    /// another flow than the one before says that the Contact is out of date, when no proxy sent it.
    pub fn after(self, request: &Request, flow: &Flow, same_flow: bool) -> Self {
        let told = Self::of(request, flow);
        let renews = matches!(request.method, Method::Invite | Method::Update);
        Self {
            moved: told.direct && !renews && (self.moved || !same_flow),
            ..told
        }
    }

    /// Whether a request of ours whose next hop is `next` stays on the flow of the peer's last message: the peer opened
    /// the connection, it is behind a NAT, or the flow leads there anyway. An address that is nobody's outside one
    /// network counts as behind a NAT when messages come from elsewhere.
    pub fn stays(self, flow: &Flow, next: &Uri) -> bool {
        if flow.transport.is_reliable() && !flow.is_ours() || self.hidden || self.moved {
            return true;
        }
        let Some(ip) = next.host().and_then(|host| host.ip()).map(|ip| ip.to_canonical()) else {
            return false;
        };
        match ip == flow.source_ip() {
            true => self.direct || leads_to(flow, next),
            false => is_local(ip),
        }
    }
}

impl Whereabouts {
    /// How a request of ours with this next hop goes; `flow` is the peer's, `near` the same as long as it is open. A
    /// next hop that can be no address leaves the flow. `None`: there is no way.
    pub fn course(self, flow: &Flow, near: Option<Flow>, next: &Uri) -> Option<Course> {
        match Target::of(next) {
            Ok(target) if !self.stays(flow, next) => Some(Course::Target { target, near }),
            // A connection of ours that has closed is opened again.
            Ok(target) if near.is_none() && flow.is_ours() => Some(Course::Target { target, near }),
            _ => near.map(Course::Flow),
        }
    }
}

fn leads_to(flow: &Flow, next: &Uri) -> bool {
    let named = next.params().get("transport").and_then(Transport::read);
    let transport = named.unwrap_or(Transport::Udp);
    let port = next.port().unwrap_or(transport.default_port());
    flow.transport == transport && flow.remote.port() == port
}

/// Addresses that mean something else in every network, or nothing.
pub fn is_local(ip: IpAddr) -> bool {
    match ip.to_canonical() {
        IpAddr::V4(ip) => {
            let [first, second, ..] = ip.octets();
            let shared = first == 100 && (64..128).contains(&second);
            ip.is_private() || ip.is_loopback() || ip.is_unspecified() || ip.is_link_local() || shared
        }
        IpAddr::V6(ip) => ip.is_loopback() || ip.is_unspecified() || ip.is_unique_local() || ip.is_unicast_link_local(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sip::flow::OPENED_BY_US;

    #[test]
    fn the_address_a_dialog_names_is_taken_unless_it_cannot_be_right() {
        for (via, next, stays) in [
            // The flow leads there.
            ("192.0.2.7:5060", "sip:a@192.0.2.7", true),
            ("192.0.2.7:5060", "sip:a@[::ffff:192.0.2.7]:5060", true),
            // A phone alone at its address, whatever port it names.
            ("192.0.2.7:5080", "sip:a@192.0.2.7:5080", true),
            // Somewhere else.
            ("192.0.2.7:5060", "sip:a@198.51.100.1", false),
            ("192.0.2.7:5060", "sip:proxy.example;lr", false),
            ("192.0.2.7:5060", "tel:+15550100", false),
            // Behind a NAT.
            ("192.0.2.7:5060", "sip:a@10.1.2.3", true),
            ("192.0.2.7:5060", "sip:a@100.64.0.1", true),
            ("192.0.2.7:5060", "sip:a@[fd00::1]", true),
            ("192.0.2.7:5060", "sip:a@0.0.0.0", true),
            ("10.1.2.3:5060", "sip:a@198.51.100.1", true),
        ] {
            let stayed = Whereabouts::of(&request(&[via]), &flow(Transport::Udp, 0))
                .stays(&flow(Transport::Udp, 0), &Uri::read(next).unwrap());
            assert_eq!(stayed, stays, "{via} {next}");
        }
    }

    #[test]
    fn behind_a_proxy_another_port_of_its_machine_is_another_place() {
        let flow = flow(Transport::Udp, 0);
        let told = Whereabouts::of(&request(&["192.0.2.7:5060", "192.0.2.7:5070"]), &flow);
        let stays = |next: &str| told.stays(&flow, &Uri::read(next).unwrap());
        assert!(stays("sip:a@192.0.2.7:5060") && !stays("sip:a@192.0.2.7:5070"));
        assert!(!stays("sip:a@192.0.2.7:5060;transport=tcp"));
    }

    #[test]
    fn a_connection_the_peer_opened_is_the_way_and_one_of_ours_only_to_where_it_leads() {
        let next = Uri::read("sip:a@198.51.100.1;transport=tcp").unwrap();
        let told = Whereabouts::default();
        assert!(told.stays(&flow(Transport::Tcp, 3), &next));
        assert!(!told.stays(&flow(Transport::Tcp, OPENED_BY_US), &next));
        let there = Uri::read("sip:a@192.0.2.7;transport=tcp").unwrap();
        assert!(told.stays(&flow(Transport::Tcp, OPENED_BY_US), &there));
    }

    fn request(vias: &[&str]) -> Request {
        let mut request = Request::new(Method::Invite, Uri::read("sip:h").unwrap());
        vias.iter().for_each(|via| {
            request
                .headers
                .push("Via", format!("SIP/2.0/UDP {via};branch=z9hG4bK1"))
        });
        request
    }

    fn flow(transport: Transport, connection: u64) -> Flow {
        let [local, remote] = ["192.0.2.1:5060", "192.0.2.7:5060"].map(|address| address.parse().unwrap());
        Flow {
            transport,
            local,
            remote,
            connection,
        }
    }
}
