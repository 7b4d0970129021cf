//! `[registrar]`: which phones may register here.

use std::{collections::BTreeMap, net::IpAddr, time::Duration};

use ipnet::IpNet;

use super::{
    effective::Writer,
    secret::Secret,
    section::Section,
    trunk::{Digest, read_digest, read_network},
    trunk_media::TrunkMedia,
};

/// What the phones that register here are called together where a trunk's name is asked for.
pub const REGISTRAR: &str = "registrar";

/// Users there may be. Each REGISTER and each call of one is looked up among them, and all are read at the start.
pub const REGISTRAR_USERS_MAX: usize = 4096;

/// Characters of a user name; phones keep it in fields of that size.
const USER_CHARS_MAX: usize = 64;

/// Where phones are, unless the settings say otherwise: on this machine and in private networks.
const PRIVATE: [&str; 7] = [
    "127.0.0.0/8",
    "10.0.0.0/8",
    "172.16.0.0/12",
    "192.168.0.0/16",
    "::1/128",
    "fc00::/7",
    "fe80::/10",
];

/// Settings of `[registrar]`. Without users nobody can register.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Registrar {
    /// Where phones may register from.
    pub from: Vec<IpNet>,
    /// The shortest registration; who asks for a shorter one is told so.
    pub expires_min: Duration,
    /// The longest registration; who asks for a longer one gets this one.
    pub expires_max: Duration,
    /// Phones of one user at the same time.
    pub contacts_max: usize,
    /// How their audio is sent.
    pub media: TrunkMedia,
    /// Who may register, by user name.
    pub users: BTreeMap<String, RegistrarUser>,
}

/// A user of the registrar.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RegistrarUser {
    /// The password.
    pub password: Secret,
    /// The hashes it may log in with, in the order it is offered them; at least one.
    pub digest: Vec<Digest>,
}

impl Default for Registrar {
    fn default() -> Self {
        Self {
            from: PRIVATE.into_iter().filter_map(|network| network.parse().ok()).collect(),
            expires_min: Duration::from_secs(60),
            expires_max: Duration::from_secs(3600),
            contacts_max: 5,
            media: TrunkMedia::default(),
            users: BTreeMap::new(),
        }
    }
}

impl Registrar {
    pub(super) fn read(mut section: Section<'_>) -> Self {
        let default = Self::default();
        section.refuse_empty("from", "names no network: nobody could register");
        let registrar = Self {
            from: section.list("from", default.from, read_network),
            expires_min: section.seconds("expires_s_min", default.expires_min, 10..=86_400),
            expires_max: section.seconds("expires_s_max", default.expires_max, 10..=86_400),
            contacts_max: section
                .optional_whole("contacts_max", 1..=100, "phones")
                .and_then(|number| usize::try_from(number).ok())
                .unwrap_or(default.contacts_max),
            media: TrunkMedia::read(&mut section),
            users: section
                .inner_named("users", REGISTRAR_USERS_MAX, user_fault, RegistrarUser::read)
                .into_iter()
                .filter_map(|(name, user)| Some((name, user?)))
                .collect(),
        };
        if registrar.expires_max < registrar.expires_min {
            section.wrong("expires_s_max", "is less than \"expires_s_min\"");
        }
        section.finish();
        registrar
    }

    pub(super) fn write(&self, out: &mut Writer) {
        out.table("[registrar]");
        out.list("from", &self.from);
        out.whole("expires_s_min", self.expires_min.as_secs());
        out.whole("expires_s_max", self.expires_max.as_secs());
        out.whole("contacts_max", self.contacts_max);
        self.media.write(out);
        for (name, user) in &self.users {
            out.table(format_args!("[registrar.users.\"{name}\"]"));
            out.secret("password", Some(&user.password));
            out.list("digest", &user.digest);
        }
    }

    /// Whether anybody can register.
    pub fn is_open(&self) -> bool {
        !self.users.is_empty()
    }

    /// Whether a phone may be there.
    pub fn admits(&self, address: IpAddr) -> bool {
        self.is_open() && self.from.iter().any(|network| network.contains(&address))
    }
}

impl RegistrarUser {
    fn read(mut section: Section<'_>) -> Option<Self> {
        section.require("password");
        let password = section.secret("password");
        let digest = read_digest(&mut section, true);
        section.finish();
        Some(Self {
            password: password?,
            digest,
        })
    }
}

/// A user name stands in URIs and in quotes, so it is made of what needs no escaping in either.
fn user_fault(name: &str) -> Option<String> {
    let good = |letter: char| letter.is_ascii_alphanumeric() || "-_.+*".contains(letter);
    let is_good = !name.is_empty() && name.len() <= USER_CHARS_MAX && name.chars().all(good);
    (!is_good).then(|| {
        format!(
            "is not a good user name: use 1 to {USER_CHARS_MAX} of a-z, A-Z, 0-9, \"-\", \"_\", \".\", \"+\" and \"*\""
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::tests::{problems, read};

    #[test]
    fn without_users_nobody_can_register() {
        let registrar = read("").registrar;
        assert!(!registrar.is_open() && !registrar.admits([127, 0, 0, 1].into()));
        assert_eq!(registrar, Registrar::default());
        assert_eq!(registrar.from.len(), PRIVATE.len());
    }

    #[test]
    fn users_are_read_with_their_passwords() {
        let text = "[registrar]\nfrom = [\"10.0.0.0/8\"]\nexpires_s_max = 120\n\
                    [registrar.users.alice]\npassword = \"env:PASSWORD\"\n\
                    [registrar.users.\"+49.30\"]\npassword = \"env:PASSWORD\"\ndigest = [\"md5\"]";
        let registrar = read(text).registrar;
        assert!(registrar.admits([10, 1, 2, 3].into()) && !registrar.admits([127, 0, 0, 1].into()));
        assert_eq!(registrar.users["alice"].password.reveal(), "hunter2");
        assert_eq!(registrar.users["alice"].digest, [Digest::Sha256, Digest::Md5]);
        assert_eq!(registrar.users["+49.30"].digest, [Digest::Md5]);
        let again = read(text).effective_toml();
        assert!(
            again.contains("[registrar.users.\"+49.30\"]\npassword = \"env:PASSWORD\" # ***\ndigest = [\"md5\"]\n")
        );
    }

    #[test]
    fn what_is_wrong_with_the_registrar_is_told() {
        for (text, problem) in [
            (
                "[registrar]\nfrom = []",
                "f.toml:2:8: registrar.from names no network: nobody could register",
            ),
            (
                "[registrar]\nexpires_s_max = 30",
                "f.toml:2:17: registrar.expires_s_max is less than \"expires_s_min\"",
            ),
            (
                "[registrar]\ncontact_max = 3",
                "f.toml:2:1: unknown key \"contact_max\" in [registrar]: did you mean \"contacts_max\"?",
            ),
            (
                "[registrar.users.alice]\n",
                "f.toml:1:1: [registrar.users.alice] needs the key \"password\"",
            ),
            (
                "[registrar.users.alice]\npassword = \"env:PASSWORD\"\npasword = 1",
                "f.toml:3:1: unknown key \"pasword\" in [registrar.users.alice]: did you mean \"password\"?",
            ),
            (
                "[registrar.users.alice]\npassword = \"env:MISSING\"",
                "f.toml:2:12: registrar.users.alice.password needs the environment variable MISSING, which is not set",
            ),
            (
                "[registrar.users]\nalice = 3",
                "f.toml:2:1: registrar.users.alice must be a table: write [registrar.users.alice]",
            ),
            (
                "[registrar.users.\"a b\"]\npassword = \"env:PASSWORD\"",
                "f.toml:1:18: registrar.users.a b is not a good user name: use 1 to 64 of a-z, A-Z, 0-9, \"-\", \"_\", \
                 \".\", \"+\" and \"*\"",
            ),
        ] {
            assert_eq!(problems(text), [problem]);
        }
    }
}
