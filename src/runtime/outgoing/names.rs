//! Names, as guests look them up: what the task itself is called needs nobody; the rest is asked of name servers, where the
//! task may go outside.
//!
//! The machine's own `hosts` file and search domains are not a task's. An answer that would lead a task back into this
//! machine is not told to it, and no answer opens anything: each connection is judged by the address that it goes to.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::OnceLock;
use std::time::Duration;

use hickory_resolver::TokioResolver;
use hickory_resolver::config::{
    ConnectionConfig, LookupIpStrategy, NameServerConfig, ResolveHosts, ResolverConfig, ResolverOpts,
};
use hickory_resolver::net::NetError;
use hickory_resolver::net::runtime::TokioRuntimeProvider;
use hickory_resolver::proto::rr::Name;
use serde::{Deserialize, Serialize};

use crate::network::{Address, MACHINE, MACHINE_NAME, Protocol};
use crate::runtime::sockets::real_address;

/// The whole of a look-up, whatever servers do.
pub const LOOKUP_TIME_MAX: Duration = Duration::from_secs(10);
/// One question to one server.
const QUESTION_TIME_MAX: Duration = Duration::from_secs(2);
/// Look-ups of one task at once; each holds a socket for its time.
pub const LOOKUPS_MAX: usize = 16;
/// Look-ups of all tasks at once: what is left of a thousand descriptors for everything else.
pub const NODE_LOOKUPS_MAX: usize = 256;
/// Addresses of one name that a guest is told.
const ADDRESSES_MAX: usize = 32;
/// Answers that the node's resolver remembers, for their time to live.
const CACHE_MAX: u64 = 4096;
const NAME_SERVER_PORT: u16 = 53;

/// What the definition says of a container's names.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Names {
    pub hostname: Option<String>,
    /// `extraHosts`, and by which names the task's containers know each other.
    pub hosts: Vec<(String, IpAddr)>,
    /// `dnsServers`; none: the node's.
    pub servers: Vec<IpAddr>,
    pub search: Vec<String>,
}

/// Why a name has no address.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LookupError {
    #[error("the task may not look up names of the outside")]
    Denied,
    #[error("there is no such name")]
    NotFound,
    #[error("the name servers took longer than {} s", LOOKUP_TIME_MAX.as_secs())]
    Timeout,
    #[error("too many look-ups at once")]
    Busy,
    #[error("the name servers failed: {0}")]
    Failed(String),
}

/// The names of one container, and whom it asks for others.
#[derive(Default)]
pub struct ContainerNames {
    names: Names,
    resolver: OnceLock<TokioResolver>,
}

impl std::fmt::Debug for ContainerNames {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.names.fmt(f)
    }
}

impl ContainerNames {
    pub fn new(names: Names) -> ContainerNames {
        ContainerNames { names, resolver: OnceLock::new() }
    }

    /// What needs no name server: the task itself, its hosts, the machine, a number.
    pub fn own(&self, name: &str, address: &Address) -> Option<IpAddr> {
        let name = name.strip_suffix('.').unwrap_or(name).to_ascii_lowercase();
        if let Some((_, ip)) = self.names.hosts.iter().find(|(host, _)| host.eq_ignore_ascii_case(&name)) {
            return Some(*ip);
        }
        // RFC 6761: everything under localhost is the loopback.
        if name == "localhost" || name.ends_with(".localhost") {
            return Some(IpAddr::V4(Ipv4Addr::LOCALHOST));
        }
        if name == MACHINE_NAME {
            return Some(IpAddr::V4(MACHINE));
        }
        let is_hostname = self.names.hostname.as_ref().is_some_and(|hostname| hostname.eq_ignore_ascii_case(&name));
        if is_hostname || name == hostname_of(address.ip()) {
            return Some(IpAddr::V4(address.ip()));
        }
        name.trim_start_matches('[').trim_end_matches(']').parse().ok()
    }

    /// The container's own servers, as far as its task may ask them; the node's where it names none and may go outside.
    fn resolver<'a>(&'a self, address: &Address, node: &'a NodeResolver) -> Result<&'a TokioResolver, LookupError> {
        if self.names.servers.is_empty() && self.names.search.is_empty() {
            return if address.policy().outside { node.get() } else { Err(LookupError::Denied) };
        }
        if let Some(resolver) = self.resolver.get() {
            return Ok(resolver);
        }
        let servers = if self.names.servers.is_empty() {
            if !address.policy().outside {
                return Err(LookupError::Denied);
            }
            node.servers()?
        } else {
            let servers: Vec<_> = self.names.servers.iter().filter_map(|ip| reachable(address, *ip)).collect();
            if servers.is_empty() {
                return Err(LookupError::Denied);
            }
            servers
        };
        let search = self.names.search.iter().filter_map(|domain| Name::from_utf8(domain).ok());
        let resolver = build(servers, search.collect())?;
        Ok(self.resolver.get_or_init(|| resolver))
    }

    /// Asks name servers. `name` is none of [`ContainerNames::own`].
    pub async fn ask(&self, name: &str, address: &Address, node: &NodeResolver) -> Result<Vec<IpAddr>, LookupError> {
        // Numbers in other clothes (decimal, octal, hexadecimal) are no names, and nobody is asked to make them into numbers.
        let last = name.strip_suffix('.').unwrap_or(name).rsplit('.').next().unwrap_or_default();
        if !last.bytes().any(|b| b.is_ascii_alphabetic()) || last.starts_with("0x") || last.starts_with("0X") {
            return Err(LookupError::NotFound);
        }
        let resolver = self.resolver(address, node)?;
        // Without search domains a name is what it says.
        let absolute =
            if self.names.search.is_empty() && !name.ends_with('.') { format!("{name}.") } else { name.into() };
        let found = match tokio::time::timeout(LOOKUP_TIME_MAX, resolver.lookup_ip(absolute.as_str())).await {
            Ok(Ok(found)) => found,
            Ok(Err(error)) => return Err(sorted(&error)),
            Err(_) => return Err(LookupError::Timeout),
        };
        let all: Vec<IpAddr> = found.iter().collect();
        let told: Vec<IpAddr> =
            all.iter().copied().filter(|ip| address.policy().may_be_told(*ip)).take(ADDRESSES_MAX).collect();
        match (told.is_empty(), all.is_empty()) {
            (false, _) => Ok(told),
            (true, true) => Err(LookupError::NotFound),
            (true, false) => Err(LookupError::Denied),
        }
    }
}

/// The name by which a task knows itself where its definition gives it none.
pub fn hostname_of(ip: Ipv4Addr) -> String {
    let [a, b, c, d] = ip.octets();
    format!("ip-{a}-{b}-{c}-{d}")
}

/// A name server, where the task may ask it: the rule is asked about its real address.
fn reachable(address: &Address, ip: IpAddr) -> Option<NameServerConfig> {
    let IpAddr::V4(ip) = ip.to_canonical() else { return None };
    let mut connections = Vec::new();
    let mut at = None;
    for (protocol, mut connection) in
        [(Protocol::Udp, ConnectionConfig::udp()), (Protocol::Tcp, ConnectionConfig::tcp())]
    {
        let real = real_address(address, ip, NAME_SERVER_PORT, protocol);
        if address.table().may_connect(address, real, protocol).is_allowed() && at.is_none_or(|at| at == real.ip()) {
            at = Some(real.ip());
            connection.port = real.port();
            // On this node a peer is known by its address.
            connection.bind_addr = real.ip().is_loopback().then(|| SocketAddr::from((address.ip(), 0)));
            connections.push(connection);
        }
    }
    Some(NameServerConfig::new(at?, true, connections))
}

/// Who is asked for tasks that name no servers: made when first needed.
pub struct NodeResolver {
    configured: Vec<SocketAddr>,
    resolver: OnceLock<TokioResolver>,
}

impl NodeResolver {
    pub fn new(configured: Vec<SocketAddr>) -> NodeResolver {
        NodeResolver { configured, resolver: OnceLock::new() }
    }

    fn servers(&self) -> Result<Vec<NameServerConfig>, LookupError> {
        if self.configured.is_empty() {
            let (machine, _) = hickory_resolver::system_conf::read_system_conf()
                .map_err(|error| LookupError::Failed(error.to_string()))?;
            return Ok(machine.name_servers().to_vec());
        }
        let server = |at: &SocketAddr| {
            let connections = [ConnectionConfig::udp(), ConnectionConfig::tcp()].map(|mut connection| {
                connection.port = at.port();
                connection
            });
            NameServerConfig::new(at.ip(), true, connections.into())
        };
        Ok(self.configured.iter().map(server).collect())
    }

    fn get(&self) -> Result<&TokioResolver, LookupError> {
        if let Some(resolver) = self.resolver.get() {
            return Ok(resolver);
        }
        let resolver = build(self.servers()?, Vec::new())?;
        Ok(self.resolver.get_or_init(|| resolver))
    }
}

fn build(servers: Vec<NameServerConfig>, search: Vec<Name>) -> Result<TokioResolver, LookupError> {
    let mut options = ResolverOpts::default();
    options.use_hosts_file = ResolveHosts::Never;
    options.ip_strategy = LookupIpStrategy::Ipv4Only;
    options.timeout = QUESTION_TIME_MAX;
    options.cache_size = CACHE_MAX;
    let config = ResolverConfig::from_parts(None, search, servers);
    let builder = TokioResolver::builder_with_config(config, TokioRuntimeProvider::default()).with_options(options);
    builder.build().map_err(|error| LookupError::Failed(error.to_string()))
}

fn sorted(error: &NetError) -> LookupError {
    match error {
        error if error.is_nx_domain() || error.is_no_records_found() => LookupError::NotFound,
        NetError::Timeout => LookupError::Timeout,
        NetError::Busy => LookupError::Busy,
        error => LookupError::Failed(error.to_string()),
    }
}
