//! The task that this guest runs in, as the runtime tells it through the environment.

use std::env;

use crate::json::Object;

/// Shown where a variable is missing, that is, outside of Coracle.
const UNKNOWN: &str = "unknown";

/// One running task, in the words of the ECS API.
pub struct Task {
    pub arn: String,
    /// `FAMILY:REVISION`.
    pub definition: String,
    pub address: String,
    pub container: String,
    pub cluster: String,
    pub region: String,
}

impl Task {
    pub fn from_environment() -> Task {
        let variable = |name| env::var(name).unwrap_or_else(|_| UNKNOWN.to_owned());
        Task {
            arn: variable("CORACLE_TASK_ARN"),
            definition: variable("CORACLE_TASK_DEFINITION"),
            address: variable("CORACLE_TASK_ADDRESS"),
            container: variable("CORACLE_CONTAINER_NAME"),
            cluster: variable("CORACLE_CLUSTER"),
            region: variable("AWS_REGION"),
        }
    }

    pub fn to_json(&self) -> Object {
        let mut object = Object::new();
        object.string("id", self.id());
        object.string("arn", &self.arn);
        object.string("definition", &self.definition);
        object.string("container", &self.container);
        object.string("cluster", &self.cluster);
        object.string("address", &self.address);
        object.string("region", &self.region);
        object
    }

    /// The last part of the ARN, which is how people name a task.
    pub fn id(&self) -> &str {
        id_of(&self.arn)
    }
}

/// The id of this guest's task alone: one variable read instead of six, for the answers that benchmarks ask for.
pub fn id() -> String {
    match env::var("CORACLE_TASK_ARN") {
        Ok(arn) => id_of(&arn).to_owned(),
        Err(_) => UNKNOWN.to_owned(),
    }
}

fn id_of(arn: &str) -> &str {
    arn.rsplit('/').next().unwrap_or(arn)
}
