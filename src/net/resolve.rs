//! The DNS, asked for the records SIP needs. What they mean is decided elsewhere.
//!
//! Answers are kept by the resolver for as long as their records say. `/etc/hosts` is read once, at the start.

use std::{
    io,
    net::{IpAddr, SocketAddr},
    time::Duration,
};

use hickory_resolver::{
    Hosts, TokioResolver,
    config::{ConnectionConfig, LookupIpStrategy, NameServerConfig, ResolveHosts, ResolverConfig},
    net::{NetError, runtime::TokioRuntimeProvider},
    proto::{
        op::Query,
        rr::{
            Name, RData, RecordType,
            rdata::{NAPTR, SRV},
        },
    },
};

/// How long one server may take to answer one try; a slower one counts as gone.
const TRY_MAX: Duration = Duration::from_millis(1500);

/// Tries of one question, besides the first.
const RETRIES: usize = 1;

/// Records of one answer that are looked at; what a longer one says beyond is not seen.
const RECORDS_MAX: usize = 32;

/// Asks the DNS.
pub struct Resolver {
    resolver: TokioResolver,
    hosts: Hosts,
}

/// Why there is no answer. That a name has no such records is an answer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Unresolved {
    /// This is no name the DNS could know.
    #[error("{name} is not a name the DNS could know")]
    BadName {
        /// The name.
        name: String,
    },
    /// No server answers, or none would say.
    #[error("the DNS does not say what {name} is ({cause}): check this machine's resolver")]
    Failed {
        /// The name.
        name: String,
        /// What happened.
        cause: String,
    },
}

impl Resolver {
    /// Asks this server, or the ones this machine is set up with. Needs a tokio runtime.
    pub fn new(server: Option<SocketAddr>) -> io::Result<Self> {
        let provider = TokioRuntimeProvider::default;
        let mut builder = match server {
            Some(server) => TokioResolver::builder_with_config(only(server), provider()),
            None => TokioResolver::builder_tokio().unwrap_or_else(|error| {
                tracing::warn!(%error, "this machine has no resolver set up: only addresses and /etc/hosts will do");
                TokioResolver::builder_with_config(ResolverConfig::default(), provider())
            }),
        };
        let options = builder.options_mut();
        options.timeout = options.timeout.min(TRY_MAX);
        options.attempts = RETRIES;
        options.ip_strategy = LookupIpStrategy::Ipv4AndIpv6;
        options.use_hosts_file = ResolveHosts::Always;
        Ok(Self {
            resolver: builder.build().map_err(io::Error::other)?,
            hosts: Hosts::from_system().unwrap_or_default(),
        })
    }

    /// Whether `/etc/hosts` says where this name is, so that the DNS need not be asked about services there.
    pub fn is_of_this_machine(&self, name: &str) -> bool {
        let Ok(name) = absolute(name) else { return false };
        [RecordType::A, RecordType::AAAA].into_iter().any(|kind| {
            let query = Query::query(name.clone(), kind);
            self.hosts.lookup_static_host(&query).is_some()
        })
    }

    /// The addresses of a name, IPv4 first. A name without a dot is looked for in the search domains too.
    pub async fn addresses(&self, name: &str) -> Result<Vec<IpAddr>, Unresolved> {
        let asked = match name.contains('.') {
            true => absolute(name)?,
            false => Name::from_utf8(name).map_err(|_| bad(name))?,
        };
        let found = self.resolver.lookup_ip(asked).await;
        let mut addresses: Vec<IpAddr> = match found {
            Ok(found) => found.iter().take(RECORDS_MAX).collect(),
            Err(error) => nothing(name, error)?,
        };
        addresses.sort_by_key(IpAddr::is_ipv6);
        Ok(addresses)
    }

    /// The SRV records of a name.
    pub async fn services(&self, name: &str) -> Result<Vec<SRV>, Unresolved> {
        self.records(name, RecordType::SRV, |data| match data {
            RData::SRV(record) => Some(record.clone()),
            _ => None,
        })
        .await
    }

    /// The NAPTR records of a name.
    pub async fn pointers(&self, name: &str) -> Result<Vec<NAPTR>, Unresolved> {
        self.records(name, RecordType::NAPTR, |data| match data {
            RData::NAPTR(record) => Some(record.clone()),
            _ => None,
        })
        .await
    }

    async fn records<T>(
        &self,
        name: &str,
        kind: RecordType,
        pick: impl Fn(&RData) -> Option<T>,
    ) -> Result<Vec<T>, Unresolved> {
        match self.resolver.lookup(absolute(name)?, kind).await {
            Ok(found) => {
                let records = found.answers().iter().filter_map(|record| pick(&record.data));
                Ok(records.take(RECORDS_MAX).collect())
            }
            Err(error) => nothing(name, error),
        }
    }
}

impl std::fmt::Debug for Resolver {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Resolver").finish_non_exhaustive()
    }
}

/// A name as it is written, without the dot the DNS puts at its end; empty for the root.
pub fn written(name: &Name) -> String {
    name.to_utf8().trim_end_matches('.').to_owned()
}

fn only(server: SocketAddr) -> ResolverConfig {
    let connections = [ConnectionConfig::udp(), ConnectionConfig::tcp()].map(|mut connection| {
        connection.port = server.port();
        connection
    });
    let server = NameServerConfig::new(server.ip(), true, connections.to_vec());
    ResolverConfig::from_name_servers(vec![server])
}

fn absolute(name: &str) -> Result<Name, Unresolved> {
    let mut read = Name::from_utf8(name).map_err(|_| bad(name))?;
    read.set_fqdn(true);
    Ok(read)
}

fn bad(name: &str) -> Unresolved {
    Unresolved::BadName { name: name.to_owned() }
}

fn nothing<T>(name: &str, error: NetError) -> Result<Vec<T>, Unresolved> {
    match error.is_no_records_found() {
        true => Ok(Vec::new()),
        false => Err(Unresolved::Failed {
            name: name.to_owned(),
            cause: error.to_string(),
        }),
    }
}
