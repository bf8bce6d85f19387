//! What a node would be told to run, without running it: the fuzz target of definitions goes on here with what was accepted.

use std::sync::atomic::{AtomicU64, Ordering};

use crate::control::spec::{ImagePolicy, task_spec};
use crate::model::exit::StartFailure;
use crate::model::task::LaunchType;
use crate::model::task_definition::{DefinitionStatus, TaskDocument};
use crate::model::{DefinitionId, Family, Scope, Settings, Task, TaskDefinition, TaskId, Timestamp};
use crate::network::Table;
use crate::runtime::TaskSpec;

/// The specification of a task of this definition in a scope, at the beginning of time, alone on its node.
pub fn dry_run(scope: &Scope, family: Family, document: TaskDocument) -> Result<TaskSpec, StartFailure> {
    let at = Timestamp(0);
    let definition = TaskDefinition {
        scope: scope.clone(),
        id: DefinitionId { family, revision: 1 },
        status: DefinitionStatus::Active,
        registered_at: at,
        deregistered_at: None,
        registered_by: String::new(),
        tags: Vec::new(),
        document,
    };
    let taken = AtomicU64::new(0);
    let uuid = || format!("{:032x}", taken.fetch_add(1, Ordering::Relaxed));
    let cluster = "default".parse().expect("it is ECS's own name for a cluster");
    let mut task = Task::wanted(TaskId(1), cluster, &definition, at, uuid);
    task.launch_type = LaunchType::Fargate;
    let address = Table::default().attach(task.id).map_err(|error| StartFailure::CannotCreate(error.to_string()))?;
    task_spec(&task, &definition, address, ImagePolicy { any_file: true }, &Settings::default())
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::Path;

    use super::*;

    /// What is accepted builds a specification, or fails its start with a reason.
    #[test]
    fn every_seed_builds_or_says_why() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/seeds/definition");
        let scope = Scope { account: "123456789012".parse().unwrap(), region: "us-east-1".parse().unwrap() };
        let mut built = 0;
        for entry in fs::read_dir(folder).unwrap() {
            let text: serde_json::Value = serde_json::from_slice(&fs::read(entry.unwrap().path()).unwrap()).unwrap();
            let mut document = text.clone();
            document.as_object_mut().unwrap().remove("family");
            // Some of the seeds are no definitions at all.
            let Ok(document) = serde_json::from_value::<TaskDocument>(document) else { continue };
            let containers = document.container_definitions.len();
            match dry_run(&scope, "seed".parse().unwrap(), document) {
                Ok(spec) => {
                    assert_eq!(spec.containers.len(), containers);
                    built += 1;
                }
                Err(failure) => assert!(!failure.text().is_empty()),
            }
        }
        assert!(built > 0);
    }
}
