//! A backend of one lane: it takes connections, and dies with all of them when it is told to.

use std::{
    io,
    net::{Ipv4Addr, TcpListener},
};

use super::{
    link::{Link, Manner},
    wire::{Death, Identity, Space, Wire},
};

/// One backend.
#[derive(Debug)]
pub struct Host {
    listener: TcpListener,
    identity: Option<Identity>,
    space: Space,
    /// How it behaves.
    pub manner: Manner,
    /// Its sessions, in the order in which they came; those that are over as well.
    pub links: Vec<Link>,
}

impl Host {
    /// Opens it on a port of the loopback address; with an identity it speaks TLS.
    pub fn open(identity: Option<Identity>) -> io::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        listener.set_nonblocking(true)?;
        Ok(Self {
            listener,
            identity,
            space: Space::new(),
            manner: Manner::default(),
            links: Vec::new(),
        })
    }

    /// Its port.
    pub fn port(&self) -> io::Result<u16> {
        Ok(self.listener.local_addr()?.port())
    }

    /// What connections come on.
    pub fn listener(&self) -> &TcpListener {
        &self.listener
    }

    /// Takes connections and serves those there are.
    pub fn serve(&mut self) -> io::Result<()> {
        loop {
            match self.listener.accept() {
                Ok((stream, _)) => {
                    let wire = Wire::new(stream, self.identity.as_ref())?;
                    self.links.push(Link::new(wire));
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(error) => return Err(error),
            }
        }
        let Self {
            space, manner, links, ..
        } = self;
        links.iter_mut().for_each(|link| link.serve(manner, space));
        Ok(())
    }

    /// When it has something to say by itself.
    pub fn due(&self) -> Option<u64> {
        self.links.iter().filter_map(Link::due).min()
    }

    /// Ends all its sessions; just before the first ended.
    pub fn die(&mut self, death: Death) -> Option<u64> {
        let ends: Vec<u64> = self.links.iter_mut().filter_map(|link| link.die(death)).collect();
        ends.into_iter().min()
    }

    /// Forgets sessions that are over.
    pub fn clear(&mut self) {
        self.links.retain(|link| link.stream().is_some());
    }
}
