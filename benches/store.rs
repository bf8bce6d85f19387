//! The store: commits a second on a real disk, alone and by many callers at once; reads; start.
//!
//! `cargo bench --bench store --no-default-features`. The directory is that of `TMPDIR`: a `tmpfs` flushes nothing and
//! shows the cost of everything else.

use std::path::Path;
use std::time::{Duration, Instant};

use coracle::model::{Cluster, ClusterStatus, Scope, Task, Timestamp};
use coracle::store::{Key, Prefix, Store};
use criterion::{BatchSize, BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use serde_json::json;
use tokio::runtime::Runtime;

/// Tasks of one transaction while a store is filled.
const CHUNK: usize = 100;

fn scope() -> Scope {
    Scope {
        account: "123456789012".parse().expect("a valid account"),
        region: "eu-central-1".parse().expect("a valid region"),
    }
}

/// A running task of a service, as the control plane keeps it.
fn task(id: usize) -> Task {
    let task = json!({
        "scope": {"account": "123456789012", "region": "eu-central-1"},
        "cluster": "default", "id": format!("{id:032x}"), "definition": {"family": "webserver", "revision": 3},
        "launch_type": "FARGATE", "platform_version": "1.4.0", "group": format!("service:web-{}", id % 50),
        "started_by": "ecs-svc/1234567890123456789",
        "service": {"service": format!("web-{}", id % 50), "deployment": "ecs-svc/1234567890123456789"},
        "tags": [{"key": "stage", "value": "production"}], "overrides": {}, "cpu": "256", "memory": "512",
        "enable_execute_command": false, "desired_status": "RUNNING", "last_status": "RUNNING",
        "placement": {"node": "0123456789abcdef0123456789abcdef", "boot": "fedcba9876543210fedcba9876543210"},
        "interface": {
            "attachment_id": "8f3c2a10-1111-4222-8333-444455556666", "interface_id": "eni-0123456789abcdef0",
            "subnet_id": "subnet-0123456789abcdef0", "mac_address": "0a:58:a9:fe:ac:02", "address": "127.18.4.2"
        },
        "containers": [{
            "id": "2b88376d-aba3-4950-9ddf-bcb0f388a40c", "name": "web", "image": "nginx",
            "image_digest": "sha256:4c1c50d0ffc614f90b93b07d778028dc765548e823f676fb027f61d281ac380d",
            "runtime_id": "0123456789abcdef0123456789abcdef-1234567890", "last_status": "RUNNING",
            "network_bindings": [
                {"bind_ip": "127.18.4.2", "container_port": 80, "host_port": 80, "protocol": "tcp"}
            ], "is_handler": true
        }],
        "version": 5, "created_at": 1_700_000_000_000_i64, "connected_at": 1_700_000_000_100_i64,
        "pull_started_at": 1_700_000_000_200_i64, "pull_stopped_at": 1_700_000_000_300_i64,
        "started_at": 1_700_000_000_400_i64
    });
    serde_json::from_value(task).expect("a task as the model has it")
}

fn cluster(number: usize) -> Cluster {
    Cluster {
        scope: scope(),
        name: format!("cluster-{number}").parse().expect("a valid name"),
        status: ClusterStatus::Active,
        created_at: Timestamp(0),
        tags: Vec::new(),
        document: serde_json::Map::new(),
    }
}

async fn fill(store: &Store, tasks: usize) {
    for start in (0..tasks).step_by(CHUNK) {
        let mut view = store.view();
        (start..tasks.min(start + CHUNK)).for_each(|id| view.put(task(id)));
        store.commit(view).await.expect("nothing conflicts");
    }
}

/// Every caller updates tasks of its own, each in a transaction that reads it first, until together they made `commits`.
async fn update(store: &Store, callers: usize, commits: u64) -> Duration {
    let start = Instant::now();
    let tasks: Vec<_> = (0..callers)
        .map(|caller| {
            let store = store.clone();
            let share = commits / callers as u64 + u64::from((caller as u64) < commits % callers as u64);
            tokio::spawn(async move {
                let scope = scope();
                let key = Key::task(&scope, &"default".parse().expect("valid"), task(caller).id);
                for _ in 0..share {
                    let updated = store.transact(|view| -> Result<(), ()> {
                        let mut next = Task::clone(view.get::<Task>(&key).expect("filled").as_ref());
                        next.version += 1;
                        view.put(next);
                        Ok(())
                    });
                    updated.await.expect("nobody else writes this task");
                }
            })
        })
        .collect();
    for task in tasks {
        task.await.expect("no caller panics");
    }
    start.elapsed()
}

fn commits(c: &mut Criterion) {
    let runtime = Runtime::new().expect("a runtime");
    let mut group = c.benchmark_group("commits");
    group.throughput(Throughput::Elements(1)).measurement_time(Duration::from_secs(3)).sample_size(10);
    let directory = tempfile::tempdir().expect("a temporary directory");
    let redb = Store::open_redb(directory.path()).expect("a new database");
    let memory = Store::in_memory();
    for (name, store) in [("redb", &redb), ("memory", &memory)] {
        runtime.block_on(fill(store, 1_000));
        for callers in [1, 64] {
            group.bench_function(BenchmarkId::new(name, callers), |b| {
                b.iter_custom(|commits| runtime.block_on(update(store, callers, commits)));
            });
        }
    }
    group.finish();
}

fn reads(c: &mut Criterion) {
    let runtime = Runtime::new().expect("a runtime");
    let store = Store::in_memory();
    runtime.block_on(fill(&store, 1_000));
    let (scope, default) = (scope(), "default".parse().expect("valid"));
    let mut group = c.benchmark_group("reads");
    group.bench_function("snapshot", |b| b.iter(|| store.snapshot().revision()));
    group.bench_function("list 1,000 tasks", |b| b.iter(|| store.snapshot().list::<Task>(&Prefix::all_tasks()).len()));
    group.bench_function("20 tasks of a service of 1,000", |b| {
        b.iter(|| store.snapshot().tasks_of_service(&scope, &default, "web-7").len());
    });
    group.bench_function("count running tasks of a service", |b| {
        let running = coracle::model::TaskStatus::Running;
        b.iter(|| store.snapshot().count_tasks_of_service(&scope, &default, "web-7", running));
    });
    group.bench_function("a view that puts a cluster", |b| {
        b.iter_batched(|| cluster(1), |cluster| store.view().put(cluster), BatchSize::SmallInput);
    });
    group.finish();
}

/// What a killed server leaves: the file as it is while a writer lives.
fn left_by_kill_9(runtime: &Runtime, tasks: usize, at: &Path) {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let store = Store::open_redb(directory.path()).expect("a new database");
    runtime.block_on(fill(&store, tasks));
    std::fs::copy(directory.path().join("store.redb"), at.join("store.redb")).expect("copied");
}

fn start(c: &mut Criterion) {
    let runtime = Runtime::new().expect("a runtime");
    let mut group = c.benchmark_group("start");
    group.sample_size(10).measurement_time(Duration::from_secs(3));
    for tasks in [1_000, 100_000] {
        let clean = tempfile::tempdir().expect("a temporary directory");
        runtime.block_on(async {
            let store = Store::open_redb(clean.path()).expect("a new database");
            fill(&store, tasks).await;
            store.close().await.expect("closed");
        });
        let killed = tempfile::tempdir().expect("a temporary directory");
        left_by_kill_9(&runtime, tasks, killed.path());
        // Nothing is written, so the file stays as it was found, the killed one too.
        for (name, directory) in [("closed", &clean), ("killed", &killed)] {
            group.bench_function(BenchmarkId::new(name, tasks), |b| {
                b.iter(|| Store::open_redb(directory.path()).expect("readable").snapshot().len());
            });
        }
    }
    group.finish();
}

criterion_group!(benches, commits, reads, start);
criterion_main!(benches);
