//! WebSockets that carry SIP (RFC 7118): the handshake on both sides. The subprotocol `sip` is demanded and echoed; who
//! may connect, and from which web page, is not decided here.

use tokio_tungstenite::{
    WebSocketStream, accept_hdr_async_with_config, client_async_with_config,
    tungstenite::{
        Message,
        client::IntoClientRequest,
        handshake::server::{ErrorResponse, Request, Response},
        http::{HeaderMap, HeaderValue, StatusCode, header::SEC_WEBSOCKET_PROTOCOL},
        protocol::WebSocketConfig,
    },
};

use super::Stream;

/// The subprotocol (RFC 7118 section 4.1).
const SUBPROTOCOL: &str = "sip";

/// The longest message taken, as long as the longest datagram; a longer one ends the connection. SIP's own bound lies
/// below, and is answered.
const MESSAGE_BYTES_MAX: usize = 65_535;

/// Bytes that may wait for a slow peer inside the WebSocket; past it a write fails and the connection is lost.
const WRITE_BUFFER_BYTES_MAX: usize = 256 << 10;

/// Read buffer of one connection; it is allocated at once.
const READ_BUFFER_BYTES: usize = 8 << 10;

/// A WebSocket to a SIP peer.
pub type SipWebSocket = WebSocketStream<Stream>;

/// What passes on it.
pub type Frame = Message;

/// Takes the upgrade of a peer that connected; one that does not offer `sip` is refused with 400. The request may be as
/// long as the library allows, 64 KiB; how long it may take is for the caller to bound.
pub async fn accept(stream: Stream) -> Result<SipWebSocket, String> {
    let upgraded = accept_hdr_async_with_config(stream, agree, Some(limits())).await;
    upgraded.map_err(|error| error.to_string())
}

/// Asks a peer for the upgrade.
pub async fn connect(stream: Stream, host: &str, port: u16) -> Result<SipWebSocket, String> {
    let host = if host.contains(':') {
        format!("[{host}]")
    } else {
        host.to_owned()
    };
    // The stream is secured already where it is to be; the scheme is not sent.
    let request = format!("ws://{host}:{port}/").into_client_request();
    let mut request = request.map_err(|error| error.to_string())?;
    let subprotocol = HeaderValue::from_static(SUBPROTOCOL);
    request.headers_mut().insert(SEC_WEBSOCKET_PROTOCOL, subprotocol);
    let upgraded = client_async_with_config(request, stream, Some(limits())).await;
    upgraded.map(|(socket, _)| socket).map_err(|error| error.to_string())
}

#[expect(clippy::result_large_err, reason = "the library's callback is made like this")]
fn agree(request: &Request, mut response: Response) -> Result<Response, ErrorResponse> {
    if !offers_sip(request.headers()) {
        let mut refusal = ErrorResponse::new(Some("the WebSocket subprotocol sip has to be offered".to_owned()));
        *refusal.status_mut() = StatusCode::BAD_REQUEST;
        return Err(refusal);
    }
    let subprotocol = HeaderValue::from_static(SUBPROTOCOL);
    response.headers_mut().insert(SEC_WEBSOCKET_PROTOCOL, subprotocol);
    Ok(response)
}

fn offers_sip(headers: &HeaderMap) -> bool {
    let values = headers.get_all(SEC_WEBSOCKET_PROTOCOL).into_iter();
    let mut offered = values
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','));
    offered.any(|one| one.trim().eq_ignore_ascii_case(SUBPROTOCOL))
}

fn limits() -> WebSocketConfig {
    WebSocketConfig::default()
        .read_buffer_size(READ_BUFFER_BYTES)
        .write_buffer_size(0)
        .max_write_buffer_size(WRITE_BUFFER_BYTES_MAX)
        .max_message_size(Some(MESSAGE_BYTES_MAX))
        .max_frame_size(Some(MESSAGE_BYTES_MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn both_sides_agree_on_sip() {
        let (ours, theirs) = tokio::io::duplex(64 << 10);
        let (server, client) = tokio::join!(accept(ours.into()), connect(theirs.into(), "pbx.example.com", 80));
        server.unwrap();
        client.unwrap();
    }

    #[tokio::test]
    async fn a_peer_that_does_not_offer_sip_is_refused_with_400() {
        for offer in [None, Some("xmpp, sipx")] {
            let (ours, theirs) = tokio::io::duplex(64 << 10);
            let mut request = "ws://h/".into_client_request().unwrap();
            if let Some(offer) = offer {
                request
                    .headers_mut()
                    .insert(SEC_WEBSOCKET_PROTOCOL, HeaderValue::from_static(offer));
            }
            let client = client_async_with_config(request, theirs, None);
            let (server, client) = tokio::join!(accept(ours.into()), client);
            server.unwrap_err();
            let error = client.unwrap_err().to_string();
            assert!(error.contains("400"), "{error}");
        }
    }

    #[test]
    fn sip_is_found_among_several_offers() {
        let mut headers = HeaderMap::new();
        headers.append(SEC_WEBSOCKET_PROTOCOL, HeaderValue::from_static("msrp"));
        assert!(!offers_sip(&headers));
        headers.append(SEC_WEBSOCKET_PROTOCOL, HeaderValue::from_static("xmpp, SIP"));
        assert!(offers_sip(&headers));
    }
}
