//! The stats of containers, in the form of `docker stats`, which collectors compute percentages from.
//!
//! The CPU of the machine counts every core's time, idle or not, from the container's start on: so used over passed, times
//! the cores, is what the container used, as for a container of Docker.

use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use parking_lot::Mutex;
use serde::Serialize;

use crate::agent::{Agent, Asker};
use crate::model::task::runtime_id;
use crate::model::{Container, TaskId, Timestamp, size};
use crate::telemetry::Usage;

/// Docker's own: the time before which nothing was read.
const NEVER: &str = "0001-01-01T00:00:00Z";
/// Samples that are closer than this count as one, so that two readers do not spoil each other's difference.
const SAMPLES_APART: Duration = Duration::from_secs(1);
/// Containers whose last samples are kept before those of ended tasks are dropped.
const SAMPLES_MAX: usize = 16_384;

/// The last samples of each container: what `precpu_stats` is made of.
#[derive(Default)]
pub(super) struct Samples(Mutex<HashMap<(TaskId, usize), Pair>>);

#[derive(Clone, Copy)]
struct Pair {
    last: Sample,
    before: Option<Sample>,
}

#[derive(Clone, Copy)]
struct Sample {
    at: Timestamp,
    usage: Usage,
}

#[derive(Serialize)]
pub(super) struct Stats {
    read: String,
    preread: String,
    pids_stats: Pids,
    blkio_stats: BlockIo,
    num_procs: u32,
    storage_stats: BTreeMap<&'static str, u64>,
    cpu_stats: Cpu,
    precpu_stats: Cpu,
    memory_stats: Memory,
    name: String,
    id: String,
}

/// Instances take the place of processes.
#[derive(Serialize)]
struct Pids {
    current: u64,
}

/// Guests have no block devices.
#[derive(Serialize)]
struct BlockIo {
    io_service_bytes_recursive: Vec<u64>,
    io_serviced_recursive: Vec<u64>,
}

#[derive(Serialize)]
struct Cpu {
    cpu_usage: CpuUsage,
    system_cpu_usage: u64,
    online_cpus: u32,
    throttling_data: Throttling,
}

/// In nanoseconds. A guest never runs in the kernel: what is done there for it is the host's.
#[derive(Serialize)]
struct CpuUsage {
    total_usage: u64,
    usage_in_kernelmode: u64,
    usage_in_usermode: u64,
}

#[derive(Serialize)]
struct Throttling {
    periods: u64,
    throttled_periods: u64,
    throttled_time: u64,
}

#[derive(Serialize)]
struct Memory {
    usage: u64,
    max_usage: u64,
    stats: BTreeMap<&'static str, u64>,
    limit: u64,
}

/// The stats of all containers by id; null for one that does not run.
pub(super) fn of_task(agent: &Agent, asker: &Asker, now: Timestamp) -> BTreeMap<String, Option<Stats>> {
    let containers = asker.task.containers.iter().enumerate();
    containers.map(|found| (runtime_id(asker.task.id, found.0), of_container(agent, asker, found, now))).collect()
}

/// `None` where the node does not run it.
pub(super) fn of_container(
    agent: &Agent,
    asker: &Asker,
    (number, container): (usize, &Container),
    now: Timestamp,
) -> Option<Stats> {
    let task = &asker.task;
    let usage = agent.usage.container_usage(task.id, &container.name)?;
    let is_live = |task: TaskId| asker.snapshot.task(task).is_some_and(|task| !task.is_stopped());
    let before = agent.samples.add((task.id, number), Sample { at: now, usage }, is_live);
    let started = task.started_at.unwrap_or(task.created_at);
    let cpu = |sample: Sample| cpu(&sample.usage, sample.at.since(started), agent.config.cores);
    Some(Stats {
        read: now.rfc3339(),
        preread: before.map_or_else(|| String::from(NEVER), |sample| sample.at.rfc3339()),
        pids_stats: Pids { current: usage.instances },
        blkio_stats: BlockIo { io_service_bytes_recursive: Vec::new(), io_serviced_recursive: Vec::new() },
        num_procs: 0,
        storage_stats: BTreeMap::new(),
        cpu_stats: cpu(Sample { at: now, usage }),
        precpu_stats: before.map_or_else(|| self::cpu(&Usage::default(), Duration::ZERO, agent.config.cores), cpu),
        memory_stats: Memory {
            usage: usage.memory_bytes,
            max_usage: usage.memory_peak_bytes.max(usage.memory_bytes),
            stats: BTreeMap::from([("cache", 0), ("rss", usage.memory_bytes)]),
            limit: memory_limit(agent, asker, container),
        },
        name: format!("/{}", container.name),
        id: runtime_id(task.id, number),
    })
}

fn cpu(usage: &Usage, passed: Duration, cores: u32) -> Cpu {
    let nanos = |duration: Duration| u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX);
    let total = nanos(usage.cpu);
    Cpu {
        cpu_usage: CpuUsage { total_usage: total, usage_in_kernelmode: 0, usage_in_usermode: total },
        system_cpu_usage: nanos(passed).saturating_mul(u64::from(cores)),
        online_cpus: cores,
        throttling_data: Throttling {
            periods: usage.turns,
            throttled_periods: usage.throttled_times,
            throttled_time: nanos(usage.throttled),
        },
    }
}

/// The least of what bounds the container.
fn memory_limit(agent: &Agent, asker: &Asker, container: &Container) -> u64 {
    let task = &asker.task;
    let overridden = || {
        let list = task.overrides.get("containerOverrides")?.as_array()?;
        let own = list.iter().find(|entry| entry["name"].as_str() == Some(&container.name))?;
        u32::try_from(own.get("memory")?.as_u64()?).ok()
    };
    let asked = asker.definition.as_ref().and_then(|definition| definition.container(&container.name));
    let own = overridden().or_else(|| asked?.memory);
    let of_task = task.memory.as_deref().and_then(size::memory_mib);
    let bytes = |mib: Option<u32>| mib.map_or(u64::MAX, |mib| u64::from(mib) << 20);
    bytes(own).min(bytes(of_task)).min(agent.config.memory_bytes)
}

impl Samples {
    /// The sample before this one, which it becomes part of.
    fn add(&self, of: (TaskId, usize), sample: Sample, is_live: impl Fn(TaskId) -> bool) -> Option<Sample> {
        let mut samples = self.0.lock();
        if samples.len() >= SAMPLES_MAX && !samples.contains_key(&of) {
            samples.retain(|(task, _), _| is_live(*task));
        }
        let pair = samples.entry(of).or_insert(Pair { last: sample, before: None });
        if sample.at.since(pair.last.at) >= SAMPLES_APART {
            *pair = Pair { last: sample, before: Some(pair.last) };
        }
        pair.before
    }
}
