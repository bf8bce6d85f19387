//! Who is told of each request beyond what is counted: access logs and traces, where the operator configured them.

use std::path::PathBuf;
use std::sync::Arc;

use crate::proxy::access_log::{ConnectionEntry, LogPlace, LogSink, Message};
use crate::proxy::balancer::Balancer;
use crate::proxy::trace::Tracer;

/// What the operator configured.
#[derive(Clone, Debug, Default)]
pub struct ObserverConfig {
    /// `files.objectDirectory`: stands for S3, which access logs are written to.
    pub object_directory: Option<PathBuf>,
    /// Where a collector takes traces: `http://localhost:4318/v1/traces`.
    pub traces_url: Option<String>,
}

#[derive(Default)]
pub struct Observers {
    pub logs: Option<LogSink>,
    pub tracer: Option<Tracer>,
}

impl Observers {
    /// What cannot be started is said, and left out: no request suffers for it.
    pub fn start(config: &ObserverConfig, control: &tokio::runtime::Handle) -> Observers {
        let logs = config.object_directory.as_ref().and_then(|root| match LogSink::start(root.clone()) {
            Ok(logs) => Some(logs),
            Err(error) => {
                tracing::error!(%error, "no access logs are written: their thread could not be started");
                None
            }
        });
        let tracer = config.traces_url.as_deref().and_then(|url| match Tracer::start(url, control) {
            Ok(tracer) => Some(tracer),
            Err(error) => {
                tracing::error!(%error, "no traces are sent");
                None
            }
        });
        Observers { logs, tracer }
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
        enabled(&balancer.connection_log, before.map(|before| &before.connection_log));
    }

    /// A connection to a load balancer has begun, or has not.
    pub fn connection(&self, balancer: &Balancer, entry: &ConnectionEntry<'_>) {
        if let (Some(logs), Some(place)) = (&self.logs, &balancer.connection_log) {
            logs.put(Message::Line(Arc::clone(place), entry.to_string()));
        }
    }

    /// Writes and sends what waits.
    pub async fn close(self: Arc<Observers>) {
        if let Some(tracer) = &self.tracer {
            tracer.close().await;
        }
        // Files are closed by their own thread, which is waited for.
        let closed = tokio::task::spawn_blocking(move || self.logs.as_ref().map(LogSink::close)).await;
        if let Err(error) = closed {
            tracing::error!(%error, "access logs could not be closed");
        }
    }
}
