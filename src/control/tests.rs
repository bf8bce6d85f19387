//! The whole control plane in one thread: the real store and planners, a scripted host, paused time.

mod pressure;
mod lives;
mod scripted;
mod simulation;
mod targets;
mod world;

use serde_json::Value;

use crate::model::task_definition::DefinitionStatus;
use crate::model::{Scope, Task, TaskDefinition, Timestamp};

pub fn scope() -> Scope {
    Scope { account: "123456789012".parse().unwrap(), region: "eu-central-1".parse().unwrap() }
}

pub fn task(id: u128) -> Task {
    crate::plan::task::tests::task(id)
}

pub fn definition(document: Value) -> TaskDefinition {
    TaskDefinition {
        scope: scope(),
        id: "web:1".parse().unwrap(),
        status: DefinitionStatus::Active,
        registered_at: Timestamp(0),
        deregistered_at: None,
        registered_by: String::new(),
        tags: vec![],
        document: serde_json::from_value(document).unwrap(),
    }
}
