//! What a task, or one of its containers, has used: read live while it runs, and kept with its record when it has ended.

use std::time::Duration;

use serde::{Deserialize, Serialize};

/// Used until a moment. Sums only ever grow; `memory_bytes` and `instances` are of that moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Usage {
    /// CPU time of the threads that ran the guests, their host calls included.
    pub cpu: Duration,
    /// Wall time during which some guest wanted to run and the task's own cap held it.
    pub throttled: Duration,
    /// How often the cap was used up.
    pub throttled_times: u64,
    /// Turns on a core: what cgroups call periods.
    pub turns: u64,
    /// Held now.
    pub memory_bytes: u64,
    pub memory_peak_bytes: u64,
    /// The memory held, over the time that it was held. A GB is 1024 MiB, as in ECS's sizes.
    pub gb_seconds: f64,
    /// Instances of its components that live now.
    pub instances: u64,
    /// Requests that its handlers were given.
    pub requests: u64,
    /// WebAssembly instructions, and what host calls were charged as. Of what runs now, up to its last turn.
    pub fuel: u64,
}

impl Usage {
    /// What stays of it when the task has ended.
    pub fn ended(self) -> Usage {
        Usage { memory_bytes: 0, instances: 0, ..self }
    }

    /// Adds what another one used. Peaks add up to what both could have held at once.
    pub fn add(&mut self, other: &Usage) {
        self.cpu += other.cpu;
        self.throttled += other.throttled;
        self.throttled_times += other.throttled_times;
        self.turns += other.turns;
        self.memory_bytes += other.memory_bytes;
        self.memory_peak_bytes += other.memory_peak_bytes;
        self.gb_seconds += other.gb_seconds;
        self.instances += other.instances;
        self.requests += other.requests;
        self.fuel = self.fuel.saturating_add(other.fuel);
    }
}
