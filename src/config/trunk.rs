//! `[[trunk]]`: who may call.

use ipnet::IpNet;

use super::{effective::Writer, names, secret::Secret, section::Section};

/// A SIP peer. With networks it is known by its source address, with credentials its calls are challenged; with
/// credentials alone it may call from anywhere.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Trunk {
    /// Its name.
    pub name: String,
    /// Where it sends from; empty only when it has credentials.
    pub from: Vec<IpNet>,
    /// What it logs in with.
    pub credentials: Option<Credentials>,
}

/// A user name and its password.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Credentials {
    /// The user name.
    pub username: String,
    /// The password.
    pub password: Secret,
}

impl Trunk {
    pub(super) fn read(mut section: Section<'_>) -> Self {
        let name = section.required("name");
        if let Some(fault) = names::fault(&name).filter(|_| section_gives_name(&name)) {
            section.wrong("name", &format!("= \"{}\" {fault}", name.escape_debug()));
        }
        let gives_from = section.gives("from");
        let from = section.list("from", Vec::new(), read_network);
        let credentials = read_credentials(&mut section);
        if !gives_from && credentials.is_none() {
            section.wrong_table("[[trunk]] needs the key \"from\", or \"username\" and \"password\": without them nobody can call");
        }
        section.finish();
        Self { name, from, credentials }
    }

    pub(super) fn write(&self, out: &mut Writer) {
        out.table("[[trunk]]");
        out.text("name", &self.name);
        out.list("from", &self.from);
        out.text("username", self.credentials.as_ref().map_or("", |credentials| &credentials.username));
        out.secret("password", self.credentials.as_ref().map(|credentials| &credentials.password));
    }

    /// Whether it may call from anywhere, with its credentials.
    pub fn is_open(&self) -> bool {
        self.from.is_empty() && self.credentials.is_some()
    }
}

fn section_gives_name(name: &str) -> bool {
    !name.is_empty()
}

fn read_network(text: &str) -> Result<IpNet, String> {
    let address = text.parse().map(IpNet::from);
    let network: IpNet = text.parse().or(address).map_err(|_| {
        "is not a network: write it like \"192.168.0.0/16\", or one address like \"192.0.2.7\"".to_owned()
    })?;
    match network == network.trunc() {
        true => Ok(network),
        false => Err(format!("has bits behind its prefix: did you mean \"{}\"?", network.trunc())),
    }
}

fn read_credentials(section: &mut Section<'_>) -> Option<Credentials> {
    let gives_password = section.gives("password");
    let username = section.parsed("username", String::new(), read_username);
    let password = section.secret("password");
    match (username.is_empty(), password) {
        (false, Some(password)) => Some(Credentials { username, password }),
        (false, None) if !gives_password => {
            section.wrong("username", "has no \"password\" beside it");
            None
        }
        (true, Some(_)) => {
            section.wrong("password", "has no \"username\" beside it");
            None
        }
        _ => None,
    }
}

/// User names stand in quotes in a header (RFC 3261 section 22).
fn read_username(text: &str) -> Result<String, String> {
    match text.contains(['"', '\\']) {
        true => Err("holds quotes or backslashes, which a user name cannot".to_owned()),
        false => Ok(text.to_owned()),
    }
}
