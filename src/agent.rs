//! What a task asks of its host, at 169.254.170.2 and at port 80: its metadata, its stats, the credentials of its role, its
//! protection, and to be told when to stop.
//!
//! The paths, shapes and texts are those of the ECS agent, because SDKs and collectors read them. Which task asks is said
//! by the runtime, and every id in a path is looked up among the asking task's own: the id of another task is like one
//! that does not exist. Nothing here knows a clock, a generator or a socket; whoever wraps it brings them.

mod answer;
mod credentials;
mod fault;
mod metadata;
mod protection;
mod rate;
mod stats;
mod stop;
#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::BoxFuture;
use http::{Request, Response, StatusCode};

use crate::identity::TaskRoles;
use crate::identity::task_role::Entropy;
use crate::model::task::runtime_id;
use crate::model::{Container, Task, TaskDefinition, TaskId, Timestamp};
use crate::store::{Key, Snapshot, Store};
use crate::telemetry::UsageSource;

pub use answer::plain;
pub use stop::POLL_TIMEOUT;

/// How long an answer waits for the start of the asking container to be on record: what a busy store takes for a write.
const RECORDED_TIMEOUT: Duration = Duration::from_millis(250);

/// Tells when a container is asked to stop.
pub trait StopSource: Send + Sync + 'static {
    /// Is ready once the container is being stopped; at once where it does not run.
    fn stopping(&self, task: TaskId, container: &str) -> BoxFuture<'static, ()>;
}

/// Answers tasks.
pub struct Agent {
    store: Store,
    roles: TaskRoles,
    usage: Arc<dyn UsageSource>,
    stops: Arc<dyn StopSource>,
    config: AgentConfig,
    samples: stats::Samples,
    rates: rate::Rates,
}

/// What the agent knows of its node.
#[derive(Clone, Copy, Debug)]
pub struct AgentConfig {
    /// Cores that guests may use.
    pub cores: u32,
    /// The node's memory for tasks: the limit of what has none of its own.
    pub memory_bytes: u64,
    /// Whether callers of the API must prove who they are. Then a task without a role may not protect itself, as on AWS.
    pub keys_configured: bool,
}

/// Time and randomness of one request.
#[derive(Clone, Copy)]
pub struct Moment {
    pub now: Timestamp,
    pub entropy: Entropy,
}

impl Moment {
    /// 128 of the random bits, as of a request's id.
    fn bits(&self) -> u128 {
        self.entropy.iter().take(16).fold(0, |bits, byte| bits << 8 | u128::from(*byte))
    }
}

/// The version of the metadata that a path asks for: each says a little more than the one before.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Version {
    V2,
    V3,
    V4,
}

/// The asking task as it is now.
struct Asker {
    snapshot: Snapshot,
    task: Arc<Task>,
    definition: Option<Arc<TaskDefinition>>,
}

impl Agent {
    pub fn new(
        store: Store,
        roles: TaskRoles,
        usage: Arc<dyn UsageSource>,
        stops: Arc<dyn StopSource>,
        config: AgentConfig,
    ) -> Agent {
        let (samples, rates) = (stats::Samples::default(), rate::Rates::default());
        Agent { store, roles, usage, stops, config, samples, rates }
    }

    /// Answers a request of `task`. What cannot be answered is an answer, too.
    pub async fn answer(&self, task: TaskId, request: Request<Bytes>, moment: Moment) -> Response<Bytes> {
        let path = request.uri().path().to_owned();
        let segments: Vec<&str> = path.split('/').skip(1).collect();
        let Some(asker) = self.recorded(task, segments.get(1).copied().unwrap_or_default()).await else {
            return plain(StatusCode::NOT_FOUND, "there is no such task");
        };
        let is_live = |task: TaskId| self.store.snapshot().task(task).is_some_and(|task| !task.is_stopped());
        if !self.rates.take(task, moment.now, is_live) {
            return plain(StatusCode::TOO_MANY_REQUESTS, "You have reached maximum request limit.");
        }
        match segments.as_slice() {
            ["v2", "credentials", id @ ..] => self.credentials(&asker, &id.join("/"), &moment),
            ["v2", rest @ ..] => self.v2(&asker, rest, moment.now),
            ["v3", id, rest @ ..] => self.with_id(&asker, Version::V3, id, rest, moment.now),
            ["v4", id, rest @ ..] => self.with_id(&asker, Version::V4, id, rest, moment.now),
            ["api", id, "task-protection", "v1", "state"] => {
                self.protection(&asker, id, request.method(), request.body(), &moment).await
            }
            ["api", id, "coracle", "stop"] => self.stop(&asker, id).await,
            ["api", id, "fault", "v1", fault, operation] => {
                fault::answer(&asker, id, fault, operation, request.method())
            }
            _ => answer::not_found(),
        }
    }

    /// The asking task, once it is on record that it runs: a guest may ask before that is written, and would be told that its
    /// own container has no image yet. `id` is that of the container in the path, where there is one.
    async fn recorded(&self, task: TaskId, id: &str) -> Option<Asker> {
        let mut watch = self.store.watch();
        let recorded = async {
            loop {
                watch.borrow_and_update();
                let asker = self.asker(task)?;
                let has_started = match asker.container(id) {
                    Some((_, container)) => container.runtime_id.is_some(),
                    None => asker.task.containers.iter().any(|container| container.runtime_id.is_some()),
                };
                if has_started || asker.task.is_stopped() || watch.changed().await.is_err() {
                    return Some(asker);
                }
            }
        };
        match tokio::time::timeout(RECORDED_TIMEOUT, recorded).await {
            Ok(asker) => asker,
            // It asks for a container that has not started.
            Err(_) => self.asker(task),
        }
    }

    fn asker(&self, id: TaskId) -> Option<Asker> {
        let snapshot = self.store.snapshot();
        let task = snapshot.task(id)?;
        let definition = snapshot.get::<TaskDefinition>(&Key::task_definition(&task.scope, &task.definition));
        Some(Asker { snapshot, task, definition })
    }

    /// The second version has no id of who asks in its paths: it never needed one here.
    fn v2(&self, asker: &Asker, rest: &[&str], now: Timestamp) -> Response<Bytes> {
        let with_tags = matches!(rest.first(), Some(&"metadataWithTags"));
        match rest {
            ["metadata" | "metadataWithTags"] | ["metadata" | "metadataWithTags", ""] => {
                answer::json(StatusCode::OK, &metadata::task(self, asker, Version::V2, with_tags, now))
            }
            ["metadata", id] => match asker.container(id) {
                Some((number, container)) => {
                    answer::json(StatusCode::OK, &metadata::container(asker, Version::V2, number, container))
                }
                None => answer::text(
                    StatusCode::BAD_REQUEST,
                    &format!("Unable to generate metadata for container '{}'", answer::cut(id)),
                ),
            },
            ["stats"] | ["stats", ""] => answer::json(StatusCode::OK, &stats::of_task(self, asker, now)),
            ["stats", id] => match asker.container(id).and_then(|found| stats::of_container(self, asker, found, now)) {
                Some(stats) => answer::json(StatusCode::OK, &stats),
                None => answer::text(
                    StatusCode::BAD_REQUEST,
                    &format!("Unable to get container stats for: {}", answer::cut(id)),
                ),
            },
            _ => answer::not_found(),
        }
    }

    /// The third and the fourth version: below the id of a container.
    fn with_id(&self, asker: &Asker, version: Version, id: &str, rest: &[&str], now: Timestamp) -> Response<Bytes> {
        let what = match rest {
            [] => "container metadata",
            ["task" | "taskWithTags"] => "task metadata",
            ["tasks"] if version == Version::V4 => "tasks metadata",
            ["stats"] => "container stats",
            ["task", "stats"] => "task stats",
            ["tasks", "stats"] if version == Version::V4 => "tasks stats",
            ["associations", _kind, ..] => "container associations",
            _ => return answer::not_found(),
        };
        let Some((number, container)) = asker.container(id) else { return answer::unknown_id(version, what, id) };
        let task = |with_tags| metadata::task(self, asker, version, with_tags, now);
        match rest {
            [] => answer::json(StatusCode::OK, &metadata::container(asker, version, number, container)),
            ["task"] => answer::json(StatusCode::OK, &task(false)),
            ["taskWithTags"] => answer::json(StatusCode::OK, &task(true)),
            ["tasks"] => answer::json(StatusCode::OK, &[task(false)]),
            ["stats"] => match stats::of_container(self, asker, (number, container), now) {
                Some(stats) => answer::json(StatusCode::OK, &stats),
                None => answer::no_stats(version, &answer::cut(id)),
            },
            ["task", "stats"] => answer::json(StatusCode::OK, &stats::of_task(self, asker, now)),
            ["tasks", "stats"] => answer::json(StatusCode::OK, &[stats::of_task(self, asker, now)]),
            // Elastic inference is gone: there is nothing that a container could be associated with.
            _ => answer::no_associations(rest),
        }
    }
}

impl Asker {
    /// The container of the asking task with this id, and its number.
    fn container(&self, id: &str) -> Option<(usize, &Container)> {
        let mut containers = self.task.containers.iter().enumerate();
        containers.find(|(number, _)| runtime_id(self.task.id, *number) == id)
    }
}
