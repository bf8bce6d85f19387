//! What a definition says of each container's life, with names resolved to numbers.

use std::time::Duration;

use crate::model::dependency::{Condition, RestartPolicy};
use crate::model::health::{HealthCheck, Mapping};
use crate::model::{ContainerDefinition, TaskDefinition};

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rule {
    pub name: String,
    pub image: String,
    pub depends: Vec<(usize, Condition)>,
    pub start_timeout: Option<Duration>,
    pub restart: Option<RestartPolicy>,
    pub check: Option<HealthCheck>,
    /// Why its health check cannot be made, where it has one.
    pub unmapped: Option<String>,
}

impl Rule {
    /// It starts only when it is told to.
    pub fn waits(&self) -> bool {
        !self.depends.is_empty()
    }
}

/// One for each container, in order.
pub fn of(definition: &TaskDefinition) -> Vec<Rule> {
    let containers = &definition.document.container_definitions;
    let number = |name: &str| containers.iter().position(|known| known.name == name);
    let rule = |container: &ContainerDefinition| {
        let (check, unmapped) = match container.health_check() {
            Mapping::Mapped(check) => (Some(check), None),
            Mapping::Absent => (None, None),
            Mapping::Unmapped(why) => (None, Some(why)),
        };
        Rule {
            name: container.name.clone(),
            image: container.image.clone(),
            // Registration allows only names that are there.
            depends: container
                .dependencies()
                .into_iter()
                .filter(|on| on.container != container.name)
                .filter_map(|on| Some((number(&on.container)?, on.condition)))
                .collect(),
            start_timeout: container.start_timeout(),
            restart: container.restart_policy(),
            check,
            unmapped,
        }
    };
    containers.iter().map(rule).collect()
}
