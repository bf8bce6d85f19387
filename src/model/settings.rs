//! What the operator allows tasks beyond their own sandbox: the configuration file of `--config`.
//!
//! Everything in it opens something; an empty file, or none, opens nothing. Unknown members are refused, because a
//! misspelt permission that is ignored would be found out by an attacker, and a misspelt prohibition by nobody.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;

use serde::Deserialize;

/// The whole file, JSON.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Settings {
    pub files: FileSettings,
    pub network: NetworkSettings,
    /// By id, as `awsvpcConfiguration.securityGroups` names them. An id that is not here allows what no group forbids.
    pub security_groups: BTreeMap<String, SecurityGroup>,
    pub telemetry: TelemetrySettings,
    /// By certificate ARN, by the last part of one (`certificate/ID`, `server-certificate/NAME`), or by domain name.
    /// What a listener names and is not here is made on the spot.
    pub certificates: BTreeMap<String, CertificateFiles>,
}

/// Where the server tells what it did.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct TelemetrySettings {
    /// A collector of OpenTelemetry that takes OTLP over HTTP: `http://localhost:4318`. It gets a span for each request
    /// through a load balancer.
    pub otlp_endpoint: Option<String>,
}

/// A certificate with its key, both in PEM form; read again when they change.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct CertificateFiles {
    /// The chain, the certificate itself first.
    pub certificate: PathBuf,
    /// PKCS#8, PKCS#1 or SEC1.
    pub key: PathBuf,
}

/// Directories of this machine that tasks may be given.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct FileSettings {
    /// Volumes with a `host.sourcePath` must lie under one of these.
    pub host_paths: Vec<PathBuf>,
    /// By file system id (`fs-…`): what stands for an EFS file system.
    pub shared_directories: BTreeMap<String, SharedDirectory>,
    /// MiB of the disk that a task may use whose definition says nothing of it; absent: 20 GiB.
    pub ephemeral_storage_mib: Option<u64>,
    /// Stands for S3: `BUCKET/KEY` below it. Read for `environmentFiles`; the logs of load balancers are written there.
    pub object_directory: Option<PathBuf>,
}

/// One directory that stands for an EFS file system.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct SharedDirectory {
    pub path: PathBuf,
    #[serde(default)]
    pub read_only: bool,
    /// By access point id (`fsap-…`): the directory below `path` that is its root.
    #[serde(default)]
    pub access_points: BTreeMap<String, PathBuf>,
}

/// Whom tasks may connect to, beside each other.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct NetworkSettings {
    /// Who may connect beyond this machine.
    pub outside: Outside,
    /// Ports of this machine that tasks reach as `host.coracle.internal`: `5432`, `8000-8010`, `53/udp`.
    pub machine_ports: Vec<String>,
    /// Asked for names of the outside; without any, the machine's own resolvers. `9.9.9.9`, or with another port than 53
    /// `127.0.0.1:8600`.
    pub dns_servers: Vec<DnsServer>,
}

/// The address of a name server.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub struct DnsServer(pub SocketAddr);

impl TryFrom<String> for DnsServer {
    type Error = String;

    fn try_from(text: String) -> Result<DnsServer, String> {
        let with_port = || text.parse::<SocketAddr>().ok();
        let parsed = text.parse::<IpAddr>().map(|ip| SocketAddr::new(ip, 53)).ok().or_else(with_port);
        parsed.map(DnsServer).ok_or_else(|| format!("'{text}' is not the address of a name server"))
    }
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Outside {
    /// Tasks whose network configuration says `assignPublicIp: ENABLED`.
    #[default]
    AssignPublicIp,
    Always,
    Never,
}

/// A named set of rules. Nothing but what some rule allows passes; answers to what was allowed always do.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct SecurityGroup {
    /// Who may reach the tasks of this group.
    pub ingress: Vec<Rule>,
    /// Whom its tasks may reach.
    pub egress: Vec<Rule>,
}

/// Allows one protocol, a range of ports, and some peers.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Rule {
    /// `tcp`, `udp`, or `-1` for both, as EC2 writes it.
    pub protocol: String,
    /// `443` or `8000-8010`; absent: all.
    #[serde(default)]
    pub ports: Option<String>,
    /// CIDR blocks, ids of security groups, and host names (egress only).
    pub peers: Vec<String>,
}

/// Why a configuration file cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("line {line} column {column}: {problem}")]
pub struct SettingsError {
    pub line: usize,
    pub column: usize,
    pub problem: String,
}

impl Settings {
    /// Reads the text of a configuration file. Paths stay as written: whoever uses them resolves them.
    pub fn parse(text: &[u8]) -> Result<Settings, SettingsError> {
        serde_json::from_slice(text).map_err(|error| {
            let (line, column) = (error.line(), error.column());
            let text = error.to_string();
            let problem = text.split(" at line ").next().unwrap_or(&text).to_owned();
            SettingsError { line, column, problem }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_whole_file_is_read() {
        let settings = Settings::parse(
            br#"{
              "files": {
                "hostPaths": ["/srv/data"],
                "sharedDirectories": {"fs-1": {"path": "/srv/shared", "accessPoints": {"fsap-1": "team"}}},
                "objectDirectory": "/srv/objects"
              },
              "network": {"outside": "never", "machinePorts": ["5432"], "dnsServers": ["9.9.9.9"]},
              "securityGroups": {"sg-web": {"ingress": [{"protocol": "tcp", "ports": "80", "peers": ["10.0.0.0/8"]}]}},
              "certificates": {"www.example.com": {"certificate": "www.pem", "key": "www.key"}}
            }"#,
        )
        .unwrap();
        assert_eq!(settings.files.host_paths, [PathBuf::from("/srv/data")]);
        assert_eq!(settings.network.outside, Outside::Never);
        assert_eq!(settings.network.dns_servers[0].0.to_string(), "9.9.9.9:53");
        assert_eq!(settings.security_groups["sg-web"].ingress[0].ports.as_deref(), Some("80"));
        assert!(settings.security_groups["sg-web"].egress.is_empty());
        assert_eq!(settings.certificates["www.example.com"].key, PathBuf::from("www.key"));
    }

    #[test]
    fn nothing_is_open_by_default_and_a_misspelt_member_is_refused() {
        assert_eq!(Settings::parse(b"{}").unwrap(), Settings::default());
        let error = Settings::parse(b"{\n\"netwrok\": {}}").unwrap_err();
        assert_eq!(error.line, 2);
        assert!(error.problem.contains("netwrok"), "{error}");
    }
}
