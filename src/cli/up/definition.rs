//! Reads a definition as people keep it in files: lenient about numbers in strings, and about what describe calls add.

use std::path::Path;

use serde_json::Value;

use crate::api::protocol::tree::{self, Leniency};
use crate::api::wire::ecs::RegisterTaskDefinitionRequest;
use crate::cli::Failure;

/// The largest file that is read: ECS's own limit of a definition is 64 KiB.
const FILE_BYTES_MAX: u64 = 1 << 20;
/// What `describe-task-definition` shows beside what was registered.
const DESCRIBED: &[&str] = &[
    "taskDefinitionArn",
    "revision",
    "status",
    "requiresAttributes",
    "compatibilities",
    "registeredAt",
    "registeredBy",
    "deregisteredAt",
];

/// A definition that was read.
#[derive(Debug)]
pub struct Definition {
    pub request: RegisterTaskDefinitionRequest,
    pub leniencies: Vec<Leniency>,
    /// Paths of members that ECS does not know.
    pub ignored: Vec<String>,
}

pub fn read(file: &Path) -> Result<Definition, Failure> {
    let cannot = || format!("cannot read {}", file.display());
    let size = std::fs::metadata(file).map_err(|error| {
        Failure::new(cannot()).next("Name a file that holds a task definition as JSON.").caused_by(error)
    })?;
    if size.len() > FILE_BYTES_MAX {
        return Err(Failure::new(format!(
            "{} is larger than any task definition ({} bytes)",
            file.display(),
            size.len()
        )));
    }
    let text = std::fs::read(file).map_err(|error| Failure::new(cannot()).caused_by(error))?;
    let mut json: Value = serde_json::from_slice(&text).map_err(|error| {
        Failure::new(format!("{} is not JSON", file.display()))
            .next("A task definition is the JSON that `aws ecs register-task-definition --cli-input-json` takes.")
            .caused_by(error)
    })?;
    // The output of a describe call is taken as what it describes.
    if let Some(described) = json.get_mut("taskDefinition").filter(|value| value.is_object()) {
        json = described.take();
    }
    if let Some(members) = json.as_object_mut() {
        members.retain(|member, _| !DESCRIBED.contains(&member.as_str()));
    }
    let (request, leniencies, ignored) = tree::decode_lenient(json)
        .map_err(|error| Failure::new(format!("{} is not a task definition", file.display())).caused_by(error))?;
    Ok(Definition { request, leniencies, ignored })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_the_definition_of_the_readme_with_its_numbers_in_strings() {
        let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("guest-examples/webserver.json");
        let definition = read(&file).unwrap();
        let container = &definition.request.container_definitions.unwrap()[0];
        assert_eq!((container.memory, container.cpu), (Some(100), Some(99)));
        let paths: Vec<&str> = definition.leniencies.iter().map(|leniency| leniency.path.as_str()).collect();
        assert_eq!(paths, ["containerDefinitions[0].cpu", "containerDefinitions[0].memory"]);
    }

    #[test]
    fn a_file_that_is_none_is_refused_with_its_name() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("x.json");
        std::fs::write(&file, "{\"family\": 1, \"containerDefinitions\": {}}").unwrap();
        assert!(read(&file).unwrap_err().to_string().contains("x.json"));
        assert!(read(&dir.path().join("missing.json")).unwrap_err().to_string().contains("missing.json"));
    }
}
