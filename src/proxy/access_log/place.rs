//! Where the log of a load balancer goes: a bucket and a prefix, as the attributes `access_logs.s3.*` name them, below the
//! directory that stands for S3.

use std::path::PathBuf;
use std::time::{Duration, SystemTime};

use time::OffsetDateTime;

use crate::model::LoadBalancer;

/// How often ELB closes a file.
const INTERVAL: Duration = Duration::from_secs(300);
/// The tag of a load balancer that asks for another.
const INTERVAL_TAG: &str = "coracle.access-logs.interval-ms";
/// Below this a file would be made for nearly each line.
const INTERVAL_MIN: Duration = Duration::from_millis(10);

/// What a log tells of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum LogKind {
    /// Requests.
    Access,
    /// Connections of clients to an application load balancer.
    Connection,
}

/// One log of one load balancer.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct LogPlace {
    pub kind: LogKind,
    /// `app` or `net`.
    balancer_kind: &'static str,
    name: String,
    id: String,
    account: String,
    region: String,
    bucket: String,
    prefix: String,
    pub interval: Duration,
}

/// Why the attributes name no place.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PlaceError {
    #[error("'{0}' is no name of a bucket: 3 to 63 lowercase letters, digits, dots and hyphens")]
    Bucket(String),
    #[error("'{0}' is no prefix for a log: it may not have AWSLogs, '.' or '..' between its slashes")]
    Prefix(String),
}

impl LogKind {
    fn attribute(self, name: &str) -> String {
        let group = match self {
            LogKind::Access => "access_logs",
            LogKind::Connection => "connection_logs",
        };
        format!("{group}.s3.{name}")
    }

    /// What files begin with.
    fn file_prefix(self) -> &'static str {
        match self {
            LogKind::Access => "",
            LogKind::Connection => "conn_log.",
        }
    }

    fn test_file(self) -> &'static str {
        match self {
            LogKind::Access => "ELBAccessLogTestFile",
            LogKind::Connection => "ELBConnectionLogTestFile",
        }
    }
}

impl LogPlace {
    /// The place that a record names; `None` where this log is not enabled.
    pub fn of(record: &LoadBalancer, kind: LogKind) -> Result<Option<LogPlace>, PlaceError> {
        let attribute = |name: &str| record.attributes.get(&kind.attribute(name)).map_or("", String::as_str);
        if attribute("enabled") != "true" {
            return Ok(None);
        }
        let (bucket, prefix) = (attribute("bucket"), attribute("prefix").trim_matches('/'));
        if !is_bucket(bucket) {
            return Err(PlaceError::Bucket(bucket.to_owned()));
        }
        if !prefix.is_empty() && !prefix.split('/').all(is_step) {
            return Err(PlaceError::Prefix(prefix.to_owned()));
        }
        let asked = record.tags.iter().find(|tag| tag.key == INTERVAL_TAG).and_then(|tag| tag.value.as_deref());
        let asked = asked.and_then(|text| text.parse().ok()).map(Duration::from_millis);
        Ok(Some(LogPlace {
            kind,
            balancer_kind: record.kind.in_arns(),
            name: record.name.clone(),
            id: record.id.clone(),
            account: record.scope.account.to_string(),
            region: record.scope.region.to_string(),
            bucket: bucket.to_owned(),
            prefix: prefix.to_owned(),
            interval: asked.unwrap_or(INTERVAL).clamp(INTERVAL_MIN, INTERVAL),
        }))
    }

    /// `BUCKET/PREFIX/AWSLogs/ACCOUNT`.
    fn root(&self) -> PathBuf {
        let mut path = PathBuf::from(&self.bucket);
        path.extend(self.prefix.split('/').filter(|step| !step.is_empty()));
        path.push("AWSLogs");
        path.push(&self.account);
        path
    }

    /// What ELB writes to show that it may.
    pub fn test_file(&self) -> PathBuf {
        self.root().join(self.kind.test_file())
    }

    /// The file of what ended until `end`; `node` is the address of the node of the load balancer, `random` keeps files of
    /// the same minute apart.
    pub fn file(&self, end: SystemTime, node: &str, random: &str) -> PathBuf {
        let end = OffsetDateTime::from(end);
        let (year, month, day) = (end.year(), u8::from(end.month()), end.day());
        let mut path = self.root();
        path.push("elasticloadbalancing");
        path.push(&self.region);
        path.push(format!("{year:04}"));
        path.push(format!("{month:02}"));
        path.push(format!("{day:02}"));
        path.push(format!(
            "{}{}_elasticloadbalancing_{}_{}.{}.{}_{year:04}{month:02}{day:02}T{:02}{:02}Z_{node}_{random}.log.gz",
            self.kind.file_prefix(),
            self.account,
            self.region,
            self.balancer_kind,
            self.name,
            self.id,
            end.hour(),
            end.minute(),
        ));
        path
    }
}

/// As S3 names them; so it is one step of a path, and not `..`.
fn is_bucket(name: &str) -> bool {
    let is_end = |byte: Option<&u8>| byte.is_some_and(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit());
    let bytes = name.as_bytes();
    (3..=63).contains(&bytes.len())
        && bytes.iter().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || matches!(byte, b'.' | b'-'))
        && is_end(bytes.first())
        && is_end(bytes.last())
        && !name.contains("..")
}

/// A step of a path that leads down, and that is no file name too long for any file system.
fn is_step(step: &str) -> bool {
    let is_plain = step.bytes().all(|byte| byte.is_ascii_graphic() && !matches!(byte, b'\\'));
    !step.is_empty() && step.len() <= 255 && step != "." && step != ".." && step != "AWSLogs" && is_plain
}
