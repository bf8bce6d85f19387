//! What EC2 and EXTERNAL tasks reserve of a container instance. FARGATE reserves nothing: its sizes are caps.

use serde_json::Value;

use crate::model::task::LaunchType;
use crate::model::{ContainerDefinition, ContainerInstance, Task, TaskDefinition, size};

/// CPU units and MiB.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Reservation {
    pub cpu_units: u64,
    pub memory_mib: u64,
}

/// What a task reserves: its own size where it has one, else the sum of its containers'.
pub fn reservation(task: &Task, definition: Option<&TaskDefinition>) -> Reservation {
    if task.launch_type == LaunchType::Fargate {
        return Reservation::default();
    }
    let own_cpu = task.cpu.as_deref().and_then(size::cpu_units);
    let own_memory = task.memory.as_deref().and_then(size::memory_mib);
    let containers = definition.map_or(&[][..], |definition| &definition.document.container_definitions);
    let cpu = || containers.iter().map(|it| overridden(task, &it.name, "cpu").unwrap_or(u64::from(it.cpu))).sum();
    let memory = || containers.iter().filter_map(|it| reserved_mib(task, it, true)).sum();
    Reservation {
        cpu_units: own_cpu.map_or_else(cpu, u64::from),
        memory_mib: own_memory.map_or_else(memory, u64::from),
    }
}

/// What a container reserves of memory: `memoryReservation`, and without one its `memory` where `or_limit`; as the task's
/// overrides have them, else as they are defined.
pub fn reserved_mib(task: &Task, container: &ContainerDefinition, or_limit: bool) -> Option<u64> {
    let of = |member: &str, defined: Option<u32>| overridden(task, &container.name, member).or(defined.map(u64::from));
    let limit = || of("memory", container.memory).filter(|_| or_limit);
    of("memoryReservation", container.memory_reservation).or_else(limit)
}

/// A number of the `containerOverrides` of this container.
fn overridden(task: &Task, container: &str, member: &str) -> Option<u64> {
    let overrides = task.overrides.get("containerOverrides")?.as_array()?;
    let given = overrides.iter().find(|given| given.get("name").and_then(Value::as_str) == Some(container))?;
    given.get(member)?.as_u64()
}

/// What a task of this definition reserves without overrides.
pub fn of_definition(definition: &TaskDefinition) -> Reservation {
    let document = &definition.document;
    let containers = &document.container_definitions;
    let cpu = containers.iter().map(|container| u64::from(container.cpu)).sum();
    let memory = containers
        .iter()
        .map(|container| u64::from(container.memory_reservation.or(container.memory).unwrap_or(0)))
        .sum();
    Reservation {
        cpu_units: document.cpu_units().map_or(cpu, u64::from),
        memory_mib: document.memory_mib().map_or(memory, u64::from),
    }
}

/// What is left of an instance.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Remaining(pub Reservation);

impl Remaining {
    pub fn of(instance: &ContainerInstance, reserved: impl Iterator<Item = Reservation>) -> Remaining {
        let used = reserved.fold(Reservation::default(), |sum, one| Reservation {
            cpu_units: sum.cpu_units + one.cpu_units,
            memory_mib: sum.memory_mib + one.memory_mib,
        });
        Remaining(Reservation {
            cpu_units: u64::from(instance.cpu_units).saturating_sub(used.cpu_units),
            memory_mib: u64::from(instance.memory_mib).saturating_sub(used.memory_mib),
        })
    }

    /// What such a task lacks, in ECS's words.
    pub fn lacking(&self, wanted: Reservation) -> Option<&'static str> {
        if wanted.cpu_units > self.0.cpu_units {
            Some("CPU units")
        } else if wanted.memory_mib > self.0.memory_mib {
            Some("memory")
        } else {
            None
        }
    }

    /// How many such tasks fit.
    pub fn count(&self, wanted: Reservation) -> usize {
        let times = |have: u64, each: u64| have.checked_div(each).unwrap_or(u64::MAX);
        let count = times(self.0.cpu_units, wanted.cpu_units).min(times(self.0.memory_mib, wanted.memory_mib));
        usize::try_from(count).unwrap_or(usize::MAX)
    }

    pub fn take(&mut self, taken: Reservation) {
        self.0.cpu_units = self.0.cpu_units.saturating_sub(taken.cpu_units);
        self.0.memory_mib = self.0.memory_mib.saturating_sub(taken.memory_mib);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn overrides_count_as_what_they_override() {
        let overrides = serde_json::json!({"containerOverrides": [{"name": "a", "memoryReservation": 7, "memory": 9}]});
        let mut task = crate::plan::task::tests::task(1);
        let container = |json: Value| serde_json::from_value::<ContainerDefinition>(json).unwrap();
        let (a, b) = (
            container(serde_json::json!({"name": "a", "image": "i", "memory": 50, "memoryReservation": 20})),
            container(serde_json::json!({"name": "b", "image": "i", "memory": 50})),
        );
        assert_eq!((reserved_mib(&task, &a, true), reserved_mib(&task, &b, true)), (Some(20), Some(50)));
        task.overrides = overrides.as_object().unwrap().clone();
        assert_eq!((reserved_mib(&task, &a, true), reserved_mib(&task, &b, true)), (Some(7), Some(50)));
        assert_eq!((reserved_mib(&task, &a, false), reserved_mib(&task, &b, false)), (Some(7), None));
    }

    #[test]
    fn what_runs_out_first_is_named() {
        let remaining = Remaining(Reservation { cpu_units: 1024, memory_mib: 512 });
        let task = Reservation { cpu_units: 256, memory_mib: 256 };
        assert_eq!(remaining.count(task), 2);
        assert_eq!(remaining.lacking(task), None);
        assert_eq!(remaining.lacking(Reservation { cpu_units: 2048, ..task }), Some("CPU units"));
        assert_eq!(remaining.lacking(Reservation { memory_mib: 1024, ..task }), Some("memory"));
        assert_eq!(remaining.count(Reservation::default()), usize::MAX);
    }
}
