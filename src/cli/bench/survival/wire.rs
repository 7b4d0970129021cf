//! A backend's end of a connection, plain or in TLS, read with the kernel's time of arrival.

use std::{
    io::{self, Read, Write},
    net::TcpStream,
    sync::Arc,
};

use nix::sys::socket::{setsockopt, sockopt};
use rustls::{
    ServerConfig, ServerConnection,
    crypto::ring,
    pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer},
};

use super::super::{
    clock,
    frames::Inbox,
    stamped::{self, Receiver},
};

/// Bytes taken from a connection in one go.
const READ_BYTES: usize = 64 << 10;

/// Space for what is read, shared by all connections.
#[derive(Debug)]
pub struct Space {
    bytes: Vec<u8>,
    receiver: Receiver,
}

/// How a connection ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Death {
    /// As when a process is killed with things unread.
    Reset,
    /// As when one ends.
    Closed,
}

/// A connection.
#[derive(Debug)]
pub struct Wire {
    stream: TcpStream,
    tls: Option<Box<ServerConnection>>,
}

/// Who the backends are, where they speak TLS.
#[derive(Debug, Clone)]
pub struct Identity {
    /// What they show.
    pub tls: Arc<ServerConfig>,
    /// The certificate that whoever dials them has to trust, PEM.
    pub certificate: String,
}

impl Identity {
    /// One for this address of the loopback alone.
    pub fn new() -> anyhow::Result<Self> {
        let pair = rcgen::generate_simple_self_signed(["127.0.0.1".to_owned()])?;
        let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(pair.signing_key.serialize_der()));
        let tls = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()?
            .with_no_client_auth()
            .with_single_cert(vec![pair.cert.der().clone()], key)?;
        Ok(Self {
            tls: Arc::new(tls),
            certificate: pair.cert.pem(),
        })
    }
}

impl Space {
    /// Space.
    pub fn new() -> Self {
        Self {
            bytes: vec![0; READ_BYTES],
            receiver: Receiver::new(),
        }
    }
}

impl Wire {
    /// This connection, in TLS where the backend has an identity.
    pub fn new(stream: TcpStream, identity: Option<&Identity>) -> io::Result<Self> {
        stream.set_nodelay(true)?;
        stamped::prepare(&stream)?;
        let tls = identity.map(|identity| ServerConnection::new(identity.tls.clone()));
        let tls = tls.transpose().map_err(io::Error::other)?;
        Ok(Self {
            stream,
            tls: tls.map(Box::new),
        })
    }

    /// The socket.
    pub fn stream(&self) -> &TcpStream {
        &self.stream
    }

    /// Takes what has come; when that was, or none when nothing has.
    pub fn read(&mut self, space: &mut Space, inbox: &mut Inbox) -> io::Result<Option<u64>> {
        let got = match space.receiver.receive(&self.stream, &mut space.bytes) {
            Ok(got) if got.bytes == 0 => return Err(io::ErrorKind::UnexpectedEof.into()),
            Ok(got) => got,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(None),
            Err(error) => return Err(error),
        };
        let bytes = &space.bytes[..got.bytes];
        match &mut self.tls {
            None => inbox.push(bytes),
            Some(tls) => {
                uncover(tls, bytes, inbox)?;
                self.write(&[])?;
            }
        }
        Ok(Some(got.at))
    }

    /// Writes all of it.
    pub fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        let Some(tls) = &mut self.tls else {
            return self.stream.write_all(bytes);
        };
        tls.writer().write_all(bytes)?;
        while tls.wants_write() {
            tls.write_tls(&mut self.stream)?;
        }
        Ok(())
    }

    /// Ends it; when that began.
    pub fn die(self, death: Death) -> u64 {
        let at = clock::now();
        if death == Death::Reset {
            let linger = nix::libc::linger {
                l_onoff: 1,
                l_linger: 0,
            };
            // Without it the end is only a politer one.
            let _ = setsockopt(&self.stream, sockopt::Linger, &linger);
        }
        at
    }
}

fn uncover(tls: &mut ServerConnection, mut bytes: &[u8], inbox: &mut Inbox) -> io::Result<()> {
    while !bytes.is_empty() {
        tls.read_tls(&mut bytes)?;
        let state = tls.process_new_packets().map_err(io::Error::other)?;
        let mut plain = vec![0; state.plaintext_bytes_to_read()];
        tls.reader().read_exact(&mut plain)?;
        inbox.push(&plain);
    }
    Ok(())
}
