//! Tasks of no service, as a client runs them.

use serde_json::json;
use tokio::time::Instant;

use crate::support::Failure;
use crate::support::server::{Api, PATIENCE};

impl Api {
    /// Runs tasks; the ARN of the first.
    pub async fn run(&mut self, definition: &str, count: usize) -> Result<String, Failure> {
        let input = json!({
            "taskDefinition": definition, "count": count, "launchType": "FARGATE",
            "networkConfiguration": {"awsvpcConfiguration": {"subnets": ["subnet-1"]}},
        });
        let answer = self.ecs("RunTask", input).await?;
        let arn = answer["tasks"][0]["taskArn"].as_str().map(str::to_owned);
        arn.filter(|_| answer["failures"] == json!([])).ok_or_else(|| format!("RunTask: {answer}").into())
    }

    /// Waits until a task is RUNNING, looking as fast as the API answers.
    pub async fn until_running(&mut self, task: &str) -> Result<(), Failure> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let described = self.ecs("DescribeTasks", json!({"tasks": [task]})).await?;
            match described["tasks"][0]["lastStatus"].as_str() {
                Some("RUNNING") => return Ok(()),
                Some("STOPPED") => return Err(format!("it stopped: {described}").into()),
                _ if Instant::now() > deadline => return Err("the task does not run".into()),
                _ => {}
            }
        }
    }
}
