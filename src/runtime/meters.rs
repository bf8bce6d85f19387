//! What counts a task's use, and that of each of its containers: made with the task, so that a container that ended, or was
//! started again, stays counted.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use crate::model::Usage;
use crate::runtime::cpu::{ContainerCpu, CpuScheduler, CpuUsage, TaskCpu};
use crate::runtime::fuel::Budget;
use crate::runtime::memory::{MemoryMeter, NodeMeter};
use crate::runtime::spec::{ContainerSpec, TaskSpec};

/// Of a task.
pub struct TaskMeters {
    cpu: TaskCpu,
    memory: MemoryMeter,
    fuel_budget: Option<Arc<Budget>>,
    containers: BTreeMap<String, Arc<ContainerMeters>>,
}

/// Of one container of it.
pub struct ContainerMeters {
    pub cpu: ContainerCpu,
    pub memory: MemoryMeter,
    /// Instances that live now.
    pub instances: Arc<AtomicU64>,
    /// Requests that its handler was given.
    pub requests: Arc<AtomicU64>,
    /// Instructions, and host calls as they are charged.
    pub fuel: Arc<AtomicU64>,
}

impl TaskMeters {
    pub fn new(scheduler: &CpuScheduler, node: &NodeMeter, spec: &TaskSpec) -> TaskMeters {
        let cpu = scheduler.task(spec.cpu_units, spec.cpu_capped);
        let memory = MemoryMeter::task(spec.memory_bytes, node);
        let meters = |container: &ContainerSpec| ContainerMeters {
            cpu: cpu.container(container.cpu_weight),
            memory: memory.container(container.memory_bytes),
            instances: Arc::default(),
            requests: Arc::default(),
            fuel: Arc::default(),
        };
        let containers = spec.containers.iter().map(|it| (it.name.clone(), Arc::new(meters(it)))).collect();
        let fuel_budget = spec.fuel.map(|instructions| Arc::new(Budget::new(instructions)));
        TaskMeters { cpu, memory, fuel_budget, containers }
    }

    /// The meters of a container that the task was made with.
    pub fn container(&self, name: &str) -> Option<&Arc<ContainerMeters>> {
        self.containers.get(name)
    }

    /// The task's budget of instructions.
    pub fn fuel_budget(&self) -> Option<&Arc<Budget>> {
        self.fuel_budget.as_ref()
    }

    pub fn usage(&self) -> Usage {
        let sum = |count: fn(&ContainerMeters) -> &AtomicU64| {
            self.containers.values().map(|it| count(it).load(Ordering::Relaxed)).fold(0, u64::saturating_add)
        };
        Usage {
            instances: sum(|it| &it.instances),
            requests: sum(|it| &it.requests),
            fuel: sum(|it| &it.fuel),
            ..held(self.cpu.usage(), &self.memory)
        }
    }
}

impl ContainerMeters {
    pub fn usage(&self) -> Usage {
        Usage {
            instances: self.instances.load(Ordering::Relaxed),
            requests: self.requests.load(Ordering::Relaxed),
            fuel: self.fuel.load(Ordering::Relaxed),
            ..held(self.cpu.usage(), &self.memory)
        }
    }
}

fn held(cpu: CpuUsage, memory: &MemoryMeter) -> Usage {
    Usage {
        cpu: Duration::from_nanos(cpu.charged_ns),
        throttled: Duration::from_nanos(cpu.throttled_ns),
        throttled_times: cpu.throttled_times,
        turns: cpu.polls,
        memory_bytes: memory.held(),
        memory_peak_bytes: memory.peak(),
        gb_seconds: memory.gb_seconds(),
        ..Usage::default()
    }
}
