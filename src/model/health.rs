//! Health checks of containers: what a definition asks for, and what stands in for its command.
//!
//! ECS runs a command inside of the container. A component has no shell and no `curl`, so a command that asks over HTTP is
//! understood and the question asked from here; `wasm:EXPORT` calls a function of the component. What is not understood
//! says why: its container's health stays UNKNOWN, as if there were no check.

pub mod command;
pub mod shell;

use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::model::ContainerDefinition;

pub use command::{HttpProbe, MAPPABLE};

/// As ECS shows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum HealthStatus {
    Healthy,
    Unhealthy,
    /// Not known yet, or never checked.
    Unknown,
}

impl HealthStatus {
    pub fn as_str(self) -> &'static str {
        match self {
            HealthStatus::Healthy => "HEALTHY",
            HealthStatus::Unhealthy => "UNHEALTHY",
            HealthStatus::Unknown => "UNKNOWN",
        }
    }

    /// Of a task: that of its essential containers which are checked, the worst first. `None` where none is.
    pub fn of_task(containers: impl Iterator<Item = HealthStatus>) -> Option<HealthStatus> {
        let rank = |status: &HealthStatus| match status {
            HealthStatus::Unhealthy => 0,
            HealthStatus::Unknown => 1,
            HealthStatus::Healthy => 2,
        };
        containers.min_by_key(rank)
    }
}

/// A check that can be made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HealthCheck {
    pub probe: Probe,
    /// From the start to the first probe, and from the end of each to the next.
    pub interval: Duration,
    pub timeout: Duration,
    /// Failures in a row that make a container unhealthy.
    pub retries: u32,
    /// From the start: until then failures do not count, unless a probe has passed.
    pub start_period: Duration,
}

/// One command, as a list of steps: the shell's `A && B || C`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Probe {
    pub first: Step,
    pub rest: Vec<(Connector, Step)>,
}

/// When the next step is taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Connector {
    /// `&&`
    IfPassed,
    /// `||`
    IfFailed,
    /// `;`
    Always,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// `curl`, `wget`
    Http(HttpProbe),
    /// `nc -z`: something listens on this port of the task.
    Connect { port: u16 },
    /// `wasm:NAME`: an exported function.
    Export(String),
    /// `true`, `false`, `echo`: known beforehand.
    Known { passes: bool },
    /// `exit N`: ends the command.
    Exit { passes: bool },
}

/// What becomes of `healthCheck`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Mapping {
    /// There is none, or it says NONE.
    Absent,
    Mapped(HealthCheck),
    /// It cannot be made here; the text says why, and what could.
    Unmapped(String),
}

/// ECS's defaults, in seconds, and of retries.
const INTERVAL_SECONDS: u64 = 30;
const TIMEOUT_SECONDS: u64 = 5;
const RETRIES: u32 = 3;

/// A label: milliseconds in place of `interval`, for tests that cannot wait for ECS's least of five seconds.
pub const INTERVAL_LABEL: &str = "coracle.health.interval-ms";
/// The shortest interval that the label may ask for: a thousand containers then ask 20,000 times a second at most.
const LABEL_INTERVAL_MIN: Duration = Duration::from_millis(50);

impl ContainerDefinition {
    /// What stands in for the container's health check.
    pub fn health_check(&self) -> Mapping {
        match self.other.get("healthCheck") {
            Some(check) => {
                let label = self.docker_labels.get(INTERVAL_LABEL).and_then(|text| text.parse().ok());
                map(check, label.map(|milliseconds| Duration::from_millis(milliseconds).max(LABEL_INTERVAL_MIN)))
            }
            None => Mapping::Absent,
        }
    }

    /// Whether its health is ever known.
    pub fn is_checked(&self) -> bool {
        matches!(self.health_check(), Mapping::Mapped(_))
    }
}

/// What becomes of a `healthCheck` in the wire's form.
pub fn map(check: &Value, interval: Option<Duration>) -> Mapping {
    let words = check.get("command").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
    let words: Vec<&str> = words.iter().filter_map(Value::as_str).collect();
    let probe = match command::parse(&words) {
        Ok(Some(probe)) => probe,
        Ok(None) => return Mapping::Absent,
        Err(why) => return Mapping::Unmapped(format!("{why}, so the health is UNKNOWN; {MAPPABLE}")),
    };
    let number = |name: &str| check.get(name).and_then(Value::as_u64);
    let seconds = |name: &str, default: u64| Duration::from_secs(number(name).unwrap_or(default));
    Mapping::Mapped(HealthCheck {
        probe,
        interval: interval.unwrap_or_else(|| seconds("interval", INTERVAL_SECONDS)),
        timeout: seconds("timeout", TIMEOUT_SECONDS),
        retries: number("retries").and_then(|count| u32::try_from(count).ok()).unwrap_or(RETRIES).max(1),
        start_period: seconds("startPeriod", 0),
    })
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Step::Http(http) => write!(f, "{} http://localhost:{}{}", http.method, http.port, http.path),
            Step::Connect { port } => write!(f, "a connection to port {port}"),
            Step::Export(name) => write!(f, "the function {name}"),
            Step::Known { passes: true } | Step::Exit { passes: true } => f.write_str("a command that always passes"),
            Step::Known { passes: false } | Step::Exit { passes: false } => f.write_str("a command that always fails"),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_check_has_ecs_defaults() {
        let Mapping::Mapped(check) = map(&json!({"command": ["CMD", "true"]}), None) else { panic!("not mapped") };
        assert_eq!((check.interval.as_secs(), check.timeout.as_secs()), (30, 5));
        assert_eq!((check.retries, check.start_period), (3, Duration::ZERO));
        let given = json!({"command": ["CMD", "true"], "interval": 5, "timeout": 2, "retries": 1, "startPeriod": 9});
        let Mapping::Mapped(check) = map(&given, Some(Duration::from_millis(100))) else { panic!("not mapped") };
        assert_eq!((check.interval.as_millis(), check.timeout.as_secs()), (100, 2));
        assert_eq!((check.retries, check.start_period.as_secs()), (1, 9));
        assert_eq!(map(&json!({"command": ["NONE"]}), None), Mapping::Absent);
        assert!(
            matches!(map(&json!({"command": ["CMD", "pg_isready"]}), None), Mapping::Unmapped(why) if why.contains("wasm:"))
        );
    }

    #[test]
    fn the_worst_of_the_checked_containers_is_the_health_of_the_task() {
        use HealthStatus::{Healthy, Unhealthy, Unknown};
        for (containers, of_task) in [
            (vec![], None),
            (vec![Healthy, Healthy], Some(Healthy)),
            (vec![Healthy, Unknown], Some(Unknown)),
            (vec![Unknown, Unhealthy, Healthy], Some(Unhealthy)),
        ] {
            assert_eq!(HealthStatus::of_task(containers.into_iter()), of_task);
        }
    }
}
