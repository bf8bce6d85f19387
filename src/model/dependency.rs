//! What a container definition says of order and of restarts. Kept as it came in `other`, and read here.

use std::time::Duration;

use serde_json::Value;

use crate::model::ContainerDefinition;

/// What a container waits for before it starts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Dependency {
    pub container: String,
    pub condition: Condition,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Condition {
    Start,
    Complete,
    Success,
    Healthy,
}

impl Condition {
    fn of(text: &str) -> Condition {
        match text {
            "COMPLETE" => Condition::Complete,
            "SUCCESS" => Condition::Success,
            "HEALTHY" => Condition::Healthy,
            // Registration allows nothing but these.
            _ => Condition::Start,
        }
    }
}

/// A container that ends starts again within its task.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RestartPolicy {
    pub ignored_exit_codes: Vec<i64>,
    /// A container that ran for less is not started again.
    pub attempt_period: Duration,
}

/// ECS's default `restartAttemptPeriod`.
const ATTEMPT_PERIOD: Duration = Duration::from_secs(300);
/// A label: milliseconds in place of `restartAttemptPeriod`, for tests that cannot wait for ECS's least of a minute.
pub const ATTEMPT_PERIOD_LABEL: &str = "coracle.restart.attempt-period-ms";
/// The shortest that the label may ask for: a container is then restarted ten times a second at most.
const LABEL_ATTEMPT_PERIOD_MIN: Duration = Duration::from_millis(100);
/// ECS's default `stopTimeout`.
const STOP_TIMEOUT: Duration = Duration::from_secs(30);

impl ContainerDefinition {
    fn member(&self, name: &str) -> &Value {
        self.other.get(name).unwrap_or(&Value::Null)
    }

    fn list(&self, name: &str) -> &[Value] {
        self.member(name).as_array().map(Vec::as_slice).unwrap_or_default()
    }

    /// What `dependsOn` names, and what `links` and `volumesFrom` imply: who is linked to, or whose volumes are used, is
    /// there first.
    pub fn dependencies(&self) -> Vec<Dependency> {
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let depends = self.list("dependsOn").iter().map(|on| Dependency {
            container: text(&on["containerName"]),
            condition: Condition::of(on["condition"].as_str().unwrap_or_default()),
        });
        let links = self.list("links").iter().map(|link| text(link).split(':').next().unwrap_or_default().to_owned());
        let volumes = self.list("volumesFrom").iter().map(|from| text(&from["sourceContainer"]));
        let implied = links.chain(volumes).filter(|name| !name.is_empty());
        depends.chain(implied.map(|container| Dependency { container, condition: Condition::Start })).collect()
    }

    /// How long others wait for this container to reach what they need of it.
    pub fn start_timeout(&self) -> Option<Duration> {
        self.member("startTimeout").as_u64().filter(|seconds| *seconds > 0).map(Duration::from_secs)
    }

    /// From being told to stop to being cut off.
    pub fn stop_timeout(&self) -> Duration {
        self.stop_timeout.map_or(STOP_TIMEOUT, |seconds| Duration::from_secs(u64::from(seconds)))
    }

    /// `None` where it is not started again.
    pub fn restart_policy(&self) -> Option<RestartPolicy> {
        let policy = self.member("restartPolicy");
        if policy["enabled"] != Value::Bool(true) {
            return None;
        }
        let codes = policy["ignoredExitCodes"].as_array().map(Vec::as_slice).unwrap_or_default();
        let label = self.docker_labels.get(ATTEMPT_PERIOD_LABEL).and_then(|text| text.parse().ok());
        let asked = || policy["restartAttemptPeriod"].as_u64().map_or(ATTEMPT_PERIOD, Duration::from_secs);
        Some(RestartPolicy {
            ignored_exit_codes: codes.iter().filter_map(Value::as_i64).collect(),
            attempt_period: label
                .map_or_else(asked, |milliseconds| Duration::from_millis(milliseconds).max(LABEL_ATTEMPT_PERIOD_MIN)),
        })
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn container(members: Value) -> ContainerDefinition {
        let mut document = json!({"name": "web", "image": "i"});
        document.as_object_mut().unwrap().extend(members.as_object().unwrap().clone());
        serde_json::from_value(document).unwrap()
    }

    #[test]
    fn order_is_said_or_implied() {
        let web = container(json!({
            "dependsOn": [{"containerName": "db", "condition": "HEALTHY"}],
            "links": ["cache:c"], "volumesFrom": [{"sourceContainer": "data"}], "startTimeout": 7
        }));
        let named: Vec<_> = web.dependencies().into_iter().map(|on| (on.container, on.condition)).collect();
        let expected = [("db", Condition::Healthy), ("cache", Condition::Start), ("data", Condition::Start)];
        assert_eq!(named, expected.map(|(name, condition)| (String::from(name), condition)));
        assert_eq!((web.start_timeout(), web.stop_timeout().as_secs()), (Some(Duration::from_secs(7)), 30));
    }

    #[test]
    fn a_policy_that_is_off_is_none() {
        assert_eq!(container(json!({})).restart_policy(), None);
        assert_eq!(container(json!({"restartPolicy": {"enabled": false}})).restart_policy(), None);
        let policy = container(json!({"restartPolicy": {"enabled": true, "ignoredExitCodes": [0]}})).restart_policy();
        let expected = RestartPolicy { ignored_exit_codes: vec![0], attempt_period: Duration::from_secs(300) };
        assert_eq!(policy, Some(expected));
    }
}
