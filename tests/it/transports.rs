//! Calls over every transport, and what keeps strangers and half-open connections from taking the room of others.

use std::{path::PathBuf, time::Instant};

use patchcord::telemetry::Level;
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use tokio::{io::AsyncReadExt, net::TcpStream};

use crate::{
    gateway::TestGateway,
    phone::{Offer, PATIENCE, Phone, header},
    wire::{Proof, Way, Wire},
};

#[tokio::test]
async fn a_call_over_every_kind_of_connection_is_greeted() {
    let authority = Authority::new();
    let gateway = gateway(&authority, "").await;
    let addresses = &gateway.gateway.addresses;
    let proof = || authority.proof(None);
    for (way, address, transport) in [
        (Way::Tcp, addresses.tcp[0], "tcp"),
        (Way::Tls(proof()), addresses.tls[0], "tls"),
        (Way::Ws, addresses.ws[0], "ws"),
        (Way::Wss(proof()), addresses.wss[0], "ws"),
    ] {
        let mut phone = Phone::over(way, address).await;
        phone.invite("operator", Offer::Pcmu).await;
        let answer = phone.final_response().await;
        assert_eq!(
            header(&answer, "Contact"),
            format!("<sip:{address};transport={transport}>")
        );
        phone.accept(&answer, Offer::Pcmu).await;
        phone.hear_voice(Instant::now()).await;
        phone.hang_up().await;
    }
    gateway.records(4).await;
    gateway.settled().await;
    gateway
        .until("the connections are closed", || {
            gateway.level(Level::SipConnections) == 0
        })
        .await;
}

#[tokio::test]
async fn the_gateway_hangs_up_over_a_websocket() {
    let authority = Authority::new();
    let gateway = gateway(&authority, "").await;
    let address = gateway.gateway.addresses.wss[0];
    let mut phone = Phone::over(Way::Wss(authority.proof(None)), address).await;
    phone.dial("operator", Offer::Pcmu).await;
    phone.hear_voice(Instant::now()).await;
    gateway.gateway.finish_calls();
    let bye = phone.bye().await;
    assert!(
        bye.contains("Via: SIP/2.0/WSS ") && bye.contains("text=\"drained\""),
        "{bye}"
    );
    gateway.settled().await;
}

#[tokio::test]
async fn a_call_over_ipv6_is_greeted() {
    let settings =
        "[sip]\nlisten = [\"udp:[::1]:0\", \"udp:127.0.0.1:0\"]\n[[trunk]]\nname = \"six\"\nfrom = [\"::1\"]\n";
    let gateway = TestGateway::start_with(settings).await;
    let mut phone = Phone::new(gateway.sip()).await;
    phone.invite("operator", Offer::Pcmu).await;
    let answer = phone.final_response().await;
    assert!(
        answer.contains("c=IN IP6 ::1") && header(&answer, "Contact").starts_with("<sip:[::1]:"),
        "{answer}"
    );
    phone.accept(&answer, Offer::Pcmu).await;
    phone.hear_voice(Instant::now()).await;
    phone.hang_up().await;
    gateway.records(1).await;
}

#[tokio::test]
async fn each_socket_tells_its_own_external_address() {
    let settings =
        "[sip]\nlisten = [\"udp:127.0.0.1:0/198.51.100.1\", \"tcp:127.0.0.1:0\"]\nexternal_ip = \"203.0.113.7\"\n";
    let gateway = TestGateway::start_with(settings).await;
    let addresses = &gateway.gateway.addresses;
    for (way, address, told) in [
        (Way::Udp, addresses.udp[0], "198.51.100.1"),
        (Way::Tcp, addresses.tcp[0], "203.0.113.7"),
    ] {
        let mut phone = Phone::over(way, address).await;
        phone.invite("operator", Offer::Pcmu).await;
        let answer = phone.final_response().await;
        assert!(
            answer.contains(&format!("Contact: <sip:{told}:{}", address.port())),
            "{answer}"
        );
        assert!(answer.contains(&format!("c=IN IP4 {told}")), "{answer}");
        phone.accept(&answer, Offer::Pcmu).await;
        phone.hang_up().await;
    }
}

#[tokio::test]
async fn where_clients_have_to_show_a_certificate_nobody_calls_without_one() {
    let authority = Authority::new();
    let gateway = gateway(&authority, &format!("client_ca = \"{}\"\n", authority.file("ca.pem"))).await;
    let address = gateway.gateway.addresses.tls[0];
    let refused = match Wire::open(Way::Tls(authority.proof(None)), address).await {
        // With TLS 1.3 the client believes it is in until it reads.
        Ok(mut wire) => tokio::time::timeout(PATIENCE, wire.receive())
            .await
            .expect("it is closed")
            .is_none(),
        Err(_) => true,
    };
    assert!(refused);
    gateway
        .until("the handshake is counted", || {
            gateway.sample("patchcord_sip_refused_total{reason=\"tls_handshake\"}") == 1.0
        })
        .await;
    let identity = authority.issue("phone");
    let mut phone = Phone::over(Way::Tls(authority.proof(Some(identity))), address).await;
    phone.dial("operator", Offer::Pcmu).await;
    phone.hear_voice(Instant::now()).await;
    phone.hang_up().await;
}

#[tokio::test]
async fn half_open_connections_are_closed_and_keep_nobody_else_out() {
    let authority = Authority::new();
    let gateway = gateway(&authority, "").await;
    let address = gateway.gateway.addresses.tls[0];
    let mut silent = TcpStream::connect(address).await.unwrap();
    let since = Instant::now();
    let mut phone = Phone::over(Way::Tls(authority.proof(None)), address).await;
    phone.dial("operator", Offer::Pcmu).await;
    phone.hear_voice(Instant::now()).await;
    phone.hang_up().await;
    let closed = tokio::time::timeout(PATIENCE, silent.read(&mut [0; 16])).await;
    assert_eq!(closed.expect("it is closed").unwrap_or(0), 0);
    assert!((9..14).contains(&since.elapsed().as_secs()), "{:?}", since.elapsed());
    assert_eq!(
        gateway.sample("patchcord_sip_refused_total{reason=\"handshake_timeout\"}"),
        1.0
    );
}

#[tokio::test]
async fn a_source_with_too_many_half_open_connections_is_cut_and_the_rest_served() {
    let authority = Authority::new();
    let gateway = gateway(&authority, "").await;
    let address = gateway.gateway.addresses.tls[0];
    let mut silent = Vec::new();
    for _ in 0..32 {
        silent.push(TcpStream::connect(address).await.unwrap());
    }
    let mut one_more = TcpStream::connect(address).await.unwrap();
    let closed = tokio::time::timeout(PATIENCE, one_more.read(&mut [0; 16])).await;
    assert_eq!(closed.expect("it is closed").unwrap_or(0), 0);
    assert_eq!(
        gateway.sample("patchcord_sip_refused_total{reason=\"source_connections_max\"}"),
        1.0
    );
    let mut phone = Phone::over(Way::Tcp, gateway.gateway.addresses.tcp[0]).await;
    phone.dial("operator", Offer::Pcmu).await;
    phone.hang_up().await;
}

#[tokio::test]
async fn who_may_not_call_is_cut_before_anything_is_said() {
    let authority = Authority::new();
    let settings = format!(
        "{}[[trunk]]\nname = \"far\"\nfrom = [\"192.0.2.0/24\"]\n",
        settings(&authority, "")
    );
    let gateway = TestGateway::start_with(&settings).await;
    let address = gateway.gateway.addresses.tls[0];
    assert!(Wire::open(Way::Tls(authority.proof(None)), address).await.is_err());
    assert!(Wire::open(Way::Ws, gateway.gateway.addresses.ws[0]).await.is_err());
    assert_eq!(
        gateway.sample("patchcord_sip_refused_total{reason=\"unknown_source\"}"),
        2.0
    );
}

async fn gateway(authority: &Authority, extra: &str) -> TestGateway {
    TestGateway::start_with(&settings(authority, extra)).await
}

fn settings(authority: &Authority, extra: &str) -> String {
    format!(
        "[sip]\nlisten = [\"udp:127.0.0.1:0\", \"tcp:127.0.0.1:0\", \"tls:127.0.0.1:0\", \"ws:127.0.0.1:0\", \
         \"wss:127.0.0.1:0\"]\n[sip.tls]\ncertificate = \"{}\"\nkey = \"file:{}\"\n{extra}",
        authority.file("server.pem"),
        authority.file("server.key"),
    )
}

/// A certificate authority of the test's own, with a server's certificate in files.
struct Authority {
    issuer: CertifiedIssuer<'static, KeyPair>,
    folder: PathBuf,
}

impl Authority {
    fn new() -> Self {
        let mut params = CertificateParams::new(vec![]).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let issuer = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
        let authority = Self {
            issuer,
            folder: std::env::temp_dir().join(format!("patchcord-it-tls-{}-{}", std::process::id(), nonce())),
        };
        std::fs::create_dir_all(&authority.folder).unwrap();
        let (certificate, key) = authority.pair("localhost");
        for (name, text) in [
            ("ca.pem", authority.issuer.pem()),
            ("server.pem", certificate.pem()),
            ("server.key", key.serialize_pem()),
        ] {
            std::fs::write(authority.folder.join(name), text).unwrap();
        }
        authority
    }

    fn file(&self, name: &str) -> String {
        self.folder.join(name).display().to_string()
    }

    fn pair(&self, name: &str) -> (rcgen::Certificate, KeyPair) {
        let key = KeyPair::generate().unwrap();
        let params = CertificateParams::new(vec![name.to_owned()]).unwrap();
        (params.signed_by(&key, &self.issuer).unwrap(), key)
    }

    fn issue(&self, name: &str) -> (rustls::pki_types::CertificateDer<'static>, Vec<u8>) {
        let (certificate, key) = self.pair(name);
        (certificate.der().clone(), key.serialize_der())
    }

    fn proof(&self, identity: Option<(rustls::pki_types::CertificateDer<'static>, Vec<u8>)>) -> Proof {
        Proof {
            ca: self.issuer.der().clone(),
            identity,
        }
    }
}

impl Drop for Authority {
    fn drop(&mut self) {
        // Left over in the temporary directory it would only be litter.
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

fn nonce() -> u64 {
    use std::sync::atomic::{AtomicU64, Ordering};
    static NEXT: AtomicU64 = AtomicU64::new(0);
    NEXT.fetch_add(1, Ordering::Relaxed)
}
