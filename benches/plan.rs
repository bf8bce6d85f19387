//! The planners: one full pass over every service and every task of a store, as a sweep makes it.
//!
//! `cargo bench --bench plan --no-default-features`. The bar is 100 ms for 100,000 tasks, and that it stays linear.

use std::collections::HashMap;
use std::sync::Arc;

use coracle::model::task::Placement;
use coracle::model::{BootId, NodeId, Service, Task, TaskId, Timestamp};
use coracle::plan::service::{Observed, Room, TaskHealth, plan_service};
use coracle::plan::task::{self, Here, plan_forgotten};
use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use serde_json::json;

/// Tasks of one service.
const REPLICAS: usize = 100;
const NOW: Timestamp = Timestamp(1_700_000_100_000);

/// A service in steady state, with its tasks and what its load balancer says of them.
struct Steady {
    service: Service,
    tasks: Vec<Arc<Task>>,
    health: HashMap<TaskId, TaskHealth>,
}

fn steady(number: usize) -> Steady {
    let name = format!("web-{number}");
    let deployment = format!("ecs-svc/{number:019}");
    let service = json!({
        "scope": {"account": "123456789012", "region": "eu-central-1"}, "cluster": "default", "name": name,
        "status": "ACTIVE", "scheduling_strategy": "REPLICA", "desired_count": REPLICAS,
        "deployments": [{
            "id": deployment, "definition": {"family": "web", "revision": 3}, "launch_type": "FARGATE",
            "created_at": 0, "updated_at": 0, "failed_tasks": 0, "rollout_state": "COMPLETED",
            "rollout_state_reason": ""
        }],
        "minimum_healthy_percent": 100, "maximum_percent": 200, "health_check_grace_period_seconds": 0,
        "load_balancers": [{"targetGroupArn": "arn:tg", "containerName": "web", "containerPort": 80}],
        "enable_ecs_managed_tags": false, "enable_execute_command": false, "created_at": 0, "created_by": "",
        "tags": [], "throttle": {"failures": 0},
        "events": [{"id": "", "at": 0, "message": format!("(service {name}) has reached a steady state.")}]
    });
    let tasks = (0..REPLICAS).map(|replica| Arc::new(task((number * REPLICAS + replica) as u128, &name, &deployment)));
    let tasks: Vec<Arc<Task>> = tasks.collect();
    Steady {
        service: serde_json::from_value(service).expect("a service as the model has it"),
        health: tasks.iter().map(|task| (task.id, TaskHealth::Healthy)).collect(),
        tasks,
    }
}

fn task(id: u128, service: &str, deployment: &str) -> Task {
    let task = json!({
        "scope": {"account": "123456789012", "region": "eu-central-1"}, "cluster": "default", "id": TaskId(id),
        "definition": {"family": "web", "revision": 3}, "launch_type": "FARGATE",
        "group": format!("service:{service}"), "service": {"service": service, "deployment": deployment},
        "tags": [], "overrides": {}, "cpu": "256", "memory": "512", "enable_execute_command": false,
        "desired_status": "RUNNING", "last_status": "RUNNING", "placement": {"node": NodeId(1), "boot": BootId(1)},
        "containers": [], "version": 5, "created_at": 1_700_000_000_000_i64, "started_at": 1_700_000_000_400_i64
    });
    serde_json::from_value(task).expect("a task as the model has it")
}

/// Everything that a sweep decides; the count keeps the compiler from leaving it out.
fn pass(all: &[Steady]) -> usize {
    let here = Here {
        placement: Placement { node: NodeId(1), boot: BootId(1) },
        on_host: true,
        stop_asked: false,
        targets: 1,
    };
    let mut decided = 0;
    for one in all {
        let observed = Observed {
            service: &one.service,
            tasks: &one.tasks,
            health: &one.health,
            room: Room::Unlimited,
            closest_instance: "",
        };
        decided += plan_service(&observed, NOW, &mut std::iter::empty()).actions.len();
        decided += one.tasks.iter().filter(|task| task::next(task, here) != task::Next::Nothing).count();
    }
    let tasks = all.iter().flat_map(|one| &one.tasks).map(|task| &**task);
    decided + plan_forgotten(tasks, NOW).actions.len()
}

fn full_pass(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("full_pass");
    group.sample_size(20);
    for count in [1_000, 10_000, 100_000] {
        let all: Vec<Steady> = (0..count / REPLICAS).map(steady).collect();
        assert_eq!(pass(&all), 0, "a steady state asks for nothing");
        group.throughput(Throughput::Elements(count as u64));
        group.bench_with_input(BenchmarkId::from_parameter(count), &all, |bencher, all| bencher.iter(|| pass(all)));
    }
    group.finish();
}

criterion_group!(benches, full_pass);
criterion_main!(benches);
