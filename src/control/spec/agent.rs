//! Where a task finds its agent: the variables that point to 169.254.170.2.
//!
//! As on ECS they win over what the definition says, or a definition could send an SDK's credentials elsewhere.

use crate::control::spec::environment::set;
use crate::identity::CredentialsId;
use crate::model::Task;
use crate::model::task::runtime_id;
use crate::runtime::TaskSpec;

/// Every SDK takes this address, and plain HTTP, for the credentials of a container.
const ENDPOINT: &str = "http://169.254.170.2";

/// Tells each container of `spec`; `credentials` where the task has a role.
pub fn tell(spec: &mut TaskSpec, task: &Task, credentials: Option<&CredentialsId>) {
    for container in &mut spec.containers {
        let mut tell = |name: &str, value: String| set(&mut container.environment, String::from(name), value);
        if let Some(number) = task.containers.iter().position(|known| known.name == container.name) {
            let id = runtime_id(task.id, number);
            tell("ECS_CONTAINER_METADATA_URI", format!("{ENDPOINT}/v3/{id}"));
            tell("ECS_CONTAINER_METADATA_URI_V4", format!("{ENDPOINT}/v4/{id}"));
            tell("ECS_AGENT_URI", format!("{ENDPOINT}/api/{id}"));
        }
        if let Some(id) = credentials {
            // Without AWS_CONTAINER_AUTHORIZATION_TOKEN: who asks is known from its socket, which no token could prove better.
            let path = format!("/v2/credentials/{}", id.as_str());
            tell("AWS_CONTAINER_CREDENTIALS_FULL_URI", format!("{ENDPOINT}{path}"));
            tell("AWS_CONTAINER_CREDENTIALS_RELATIVE_URI", path);
        }
    }
}
