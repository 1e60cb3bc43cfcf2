//! A Redis or Valkey server as it is configured, and how a connection to it is made.

use std::fmt;
use std::time::Duration;

use redis::aio::MultiplexedConnection;
use redis::cluster::ClusterClient;
use redis::cluster_async::ClusterConnection;
use redis::sentinel::{SentinelClient, SentinelClientBuilder, SentinelServerType};
use redis::{
    AsyncConnectionConfig, ClientTlsConfig, ConnectionAddr, ConnectionInfo, IntoConnectionInfo,
    RedisConnectionInfo, RedisResult, TlsCertificates, TlsMode,
};
use tokio::sync::Mutex;

/// For TCP, TLS and the login together; requests do not wait for it.
pub(super) const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);

/// Commands that may be under way on one connection: beyond, the server is too slow for them anyway.
pub(super) const COMMANDS_MAX: usize = 1024;

/// Tries of one command in a cluster, whose nodes may send it on to another.
const CLUSTER_RETRIES: u32 = 2;

/// Everything that a connection depends on. Filters whose servers are equal share one.
#[derive(Clone, PartialEq, Eq, Hash)]
pub(super) struct Server {
    pub(super) place: ServerPlace,
    pub(super) database: u16,
    pub(super) login: Login,
    /// `None` is clear text.
    pub(super) tls: Option<Tls>,
}

#[derive(Clone, PartialEq, Eq, Hash)]
pub(super) enum ServerPlace {
    One(Location),
    Sentinel { service: String, sentinels: Vec<Location>, login: Login },
    Cluster(Vec<Location>),
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) enum Location {
    Tcp(String, u16),
    Unix(String),
}

#[derive(Clone, Default, PartialEq, Eq, Hash)]
pub(super) struct Login {
    pub(super) username: Option<String>,
    pub(super) password: Option<String>,
}

#[derive(Clone, PartialEq, Eq, Hash)]
pub(super) struct Tls {
    pub(super) ca: Option<Vec<u8>>,
    /// The chain and its key.
    pub(super) certificate: Option<(Vec<u8>, Vec<u8>)>,
}

/// Where it is, without what is secret.
impl fmt::Debug for Server {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_tuple("Server").field(&self.to_string()).finish()
    }
}

/// Where it is, as logs and metrics call it.
impl fmt::Display for Server {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let all = |locations: &[Location]| {
            locations.iter().map(ToString::to_string).collect::<Vec<_>>().join(",")
        };
        match &self.place {
            ServerPlace::One(location) => write!(out, "{location}"),
            ServerPlace::Sentinel { service, sentinels, .. } => {
                write!(out, "{service}@{}", all(sentinels))
            }
            ServerPlace::Cluster(nodes) => out.write_str(&all(nodes)),
        }
    }
}

impl fmt::Display for Location {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(host, port) if host.contains(':') => write!(out, "[{host}]:{port}"),
            Self::Tcp(host, port) => write!(out, "{host}:{port}"),
            Self::Unix(path) => write!(out, "unix:{path}"),
        }
    }
}

impl ServerPlace {
    /// Everything that is configured of where it is.
    pub(super) fn locations(&self) -> impl Iterator<Item = &Location> {
        match self {
            Self::One(location) => std::slice::from_ref(location).iter(),
            Self::Sentinel { sentinels: all, .. } | Self::Cluster(all) => all.iter(),
        }
    }
}

impl Location {
    pub(super) fn is_unix(&self) -> bool {
        matches!(self, Self::Unix(_))
    }

    /// `text` as an endpoint's address is written.
    pub(super) fn parse(text: &str) -> Option<Self> {
        if let Some(path) = text.strip_prefix("unix:") {
            return Some(Self::Unix(path.to_owned()));
        }
        let (host, port) = text.rsplit_once(':')?;
        let host = host.trim_start_matches('[').trim_end_matches(']');
        Some(Self::Tcp(host.to_owned(), port.parse().ok()?))
    }

    fn address(&self, is_tls: bool) -> ConnectionAddr {
        match self.clone() {
            Self::Unix(path) => ConnectionAddr::Unix(path.into()),
            Self::Tcp(host, port) if is_tls => {
                ConnectionAddr::TcpTls { host, port, insecure: false, tls_params: None }
            }
            Self::Tcp(host, port) => ConnectionAddr::Tcp(host, port),
        }
    }
}

impl Tls {
    fn certificates(&self) -> TlsCertificates {
        let pair = self.certificate.clone();
        TlsCertificates {
            client_tls: pair
                .map(|(client_cert, client_key)| ClientTlsConfig { client_cert, client_key }),
            root_cert: self.ca.clone(),
        }
    }
}

/// What makes connections.
pub(super) enum Client {
    One(Box<redis::Client>),
    // Asking the sentinels needs it for itself; there is one task that connects.
    Sentinel(Box<Mutex<SentinelClient>>),
    Cluster(Box<ClusterClient>),
}

/// A connection, which many commands use at a time.
#[derive(Clone)]
pub(super) enum Connection {
    One(MultiplexedConnection),
    Cluster(ClusterConnection),
}

impl Server {
    /// Makes what makes connections; none is made yet.
    ///
    /// # Errors
    /// If a certificate cannot be used.
    pub(super) fn client(&self) -> RedisResult<Client> {
        match &self.place {
            ServerPlace::One(location) => {
                let info = self.connection_info(location)?;
                let client = match &self.tls {
                    Some(tls) => redis::Client::build_with_tls(info, tls.certificates()),
                    None => redis::Client::open(info),
                };
                client.map(|client| Client::One(Box::new(client)))
            }
            ServerPlace::Sentinel { service, sentinels, login } => {
                self.sentinel_client(service, sentinels, login)
            }
            ServerPlace::Cluster(nodes) => self.cluster_client(nodes),
        }
    }

    fn connection_info(&self, location: &Location) -> RedisResult<ConnectionInfo> {
        let mut settings = RedisConnectionInfo::default().set_db(self.database.into());
        if let Some(username) = &self.login.username {
            settings = settings.set_username(username);
        }
        if let Some(password) = &self.login.password {
            settings = settings.set_password(password);
        }
        let info = location.address(self.tls.is_some()).into_connection_info()?;
        Ok(info.set_redis_settings(settings))
    }

    fn sentinel_client(
        &self,
        service: &str,
        sentinels: &[Location],
        login: &Login,
    ) -> RedisResult<Client> {
        let addresses = sentinels.iter().map(|location| location.address(self.tls.is_some()));
        let mut builder =
            SentinelClientBuilder::new(addresses, service, SentinelServerType::Master)?
                .set_client_to_redis_db(self.database.into());
        if let Some(tls) = &self.tls {
            builder = builder
                .set_client_to_redis_tls_mode(TlsMode::Secure)
                .set_client_to_redis_certificates(tls.certificates())
                .set_client_to_sentinel_tls_mode(TlsMode::Secure)
                .set_client_to_sentinel_certificates(tls.certificates());
        }
        if let Some(username) = &self.login.username {
            builder = builder.set_client_to_redis_username(username);
        }
        if let Some(password) = &self.login.password {
            builder = builder.set_client_to_redis_password(password);
        }
        if let Some(username) = &login.username {
            builder = builder.set_client_to_sentinel_username(username);
        }
        if let Some(password) = &login.password {
            builder = builder.set_client_to_sentinel_password(password);
        }
        builder.build().map(|client| Client::Sentinel(Box::new(Mutex::new(client))))
    }

    fn cluster_client(&self, nodes: &[Location]) -> RedisResult<Client> {
        let nodes = nodes.iter().map(|node| node.address(self.tls.is_some()));
        let mut builder = ClusterClient::builder(nodes)
            .retries(CLUSTER_RETRIES)
            .connection_timeout(CONNECT_TIMEOUT)
            .response_timeout(CONNECT_TIMEOUT)
            .connection_concurrency_limit(COMMANDS_MAX);
        if let Some(tls) = &self.tls {
            builder = builder.certs(tls.certificates());
        }
        if let Some(username) = &self.login.username {
            builder = builder.username(username);
        }
        if let Some(password) = &self.login.password {
            builder = builder.password(password);
        }
        builder.build().map(|client| Client::Cluster(Box::new(client)))
    }
}

impl Client {
    /// Connects and logs in.
    ///
    /// # Errors
    /// If either fails.
    pub(super) async fn connect(&self) -> RedisResult<Connection> {
        let config = AsyncConnectionConfig::new()
            .set_connection_timeout(Some(CONNECT_TIMEOUT))
            // Each command has a deadline of its own.
            .set_response_timeout(None)
            .set_pipeline_buffer_size(COMMANDS_MAX);
        match self {
            Self::One(client) => {
                let connected = client.get_multiplexed_async_connection_with_config(&config).await;
                connected.map(Connection::One)
            }
            Self::Sentinel(client) => {
                let mut client = client.lock().await;
                let connected = client.get_async_connection_with_config(&config).await;
                connected.map(Connection::One)
            }
            Self::Cluster(client) => client.get_async_connection().await.map(Connection::Cluster),
        }
    }
}
