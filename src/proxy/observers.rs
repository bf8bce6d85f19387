//! Who is told of each request beyond what is counted: access logs and traces, where the operator configured them.

use std::path::PathBuf;
use std::sync::Arc;

use crate::proxy::access_log::{LogPlace, LogSink, Message};
use crate::proxy::balancer::Balancer;

/// What the operator configured.
#[derive(Clone, Debug, Default)]
pub struct ObserverConfig {
    /// `files.objectDirectory`: stands for S3, which access logs are written to.
    pub object_directory: Option<PathBuf>,
}

#[derive(Default)]
pub struct Observers {
    pub logs: Option<LogSink>,
}

impl Observers {
    pub fn start(config: &ObserverConfig) -> Observers {
        let logs = config.object_directory.as_ref().and_then(|root| match LogSink::start(root.clone()) {
            Ok(logs) => Some(logs),
            Err(error) => {
                tracing::error!(%error, "no access logs are written: their thread could not be started");
                None
            }
        });
        Observers { logs }
    }

    /// Shows, as ELB does, that a log which was just enabled can be written.
    pub fn published(&self, balancer: &Balancer, before: Option<&Balancer>) {
        let enabled = |place: &Option<Arc<LogPlace>>, before: Option<&Option<Arc<LogPlace>>>| {
            if let (Some(logs), Some(place)) = (&self.logs, place)
                && before != Some(&Some(Arc::clone(place)))
            {
                logs.put(Message::Enabled(Arc::clone(place)));
            }
        };
        enabled(&balancer.access_log, before.map(|before| &before.access_log));
    }

    /// Writes what waits, and takes no more.
    pub fn close(&self) {
        if let Some(logs) = &self.logs {
            logs.close();
        }
    }
}
