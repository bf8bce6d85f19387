//! The APIs as raw requests, for what real clients would not send, and where a client's start would take too long.

use bytes::Bytes;
use http::{Request, StatusCode};
use serde_json::{Value, json};

use super::http::{Answer, once};
use super::server::Server;
use super::wait::until;

/// An error as the API tells it.
#[derive(Debug)]
pub struct Refused {
    pub status: StatusCode,
    pub kind: String,
    pub message: String,
}

impl Server {
    /// Calls an operation of ECS that must succeed.
    pub async fn ecs(&self, operation: &str, input: Value) -> Value {
        self.try_ecs(operation, input).await.unwrap_or_else(|refused| panic!("{operation}: {refused:?}"))
    }

    pub async fn try_ecs(&self, operation: &str, input: Value) -> Result<Value, Refused> {
        let answer = once(self.address, ecs_request(operation, &input.to_string())).await;
        ecs_answer(&answer)
    }

    /// Calls an operation of ELBv2 that must succeed; its XML.
    pub async fn elb(&self, operation: &str, parameters: &[(&str, &str)]) -> String {
        self.try_elb(operation, parameters).await.unwrap_or_else(|refused| panic!("{operation}: {refused:?}"))
    }

    pub async fn try_elb(&self, operation: &str, parameters: &[(&str, &str)]) -> Result<String, Refused> {
        let mut form = form_urlencoded::Serializer::new(String::new());
        form.append_pair("Action", operation).append_pair("Version", "2015-12-01").extend_pairs(parameters);
        let request = Request::post("/")
            .header("host", "localhost")
            .header("content-type", "application/x-www-form-urlencoded")
            .body(Bytes::from(form.finish()))
            .unwrap();
        let answer = once(self.address, request).await;
        let text = answer.text();
        if answer.status.is_success() {
            return Ok(text);
        }
        Err(Refused { status: answer.status, kind: element(&text, "Code"), message: element(&text, "Message") })
    }

    /// Registers a definition; its ARN.
    pub async fn register(&self, definition: Value) -> String {
        let answer = self.ecs("RegisterTaskDefinition", definition).await;
        answer["taskDefinition"]["taskDefinitionArn"].as_str().unwrap().to_owned()
    }

    /// Registers a definition and runs one task of it; its ARN.
    pub async fn run(&self, definition: Value) -> String {
        let definition = self.register(definition).await;
        self.run_with(json!({"taskDefinition": definition})).await
    }

    /// Runs one task; its ARN.
    pub async fn run_with(&self, mut input: Value) -> String {
        input["launchType"] = json!("FARGATE");
        input["networkConfiguration"] = json!({"awsvpcConfiguration": {"subnets": ["subnet-1"]}});
        let answer = self.ecs("RunTask", input).await;
        assert_eq!(answer["failures"], json!([]), "{answer}");
        answer["tasks"][0]["taskArn"].as_str().unwrap().to_owned()
    }

    pub async fn task(&self, arn: &str) -> Value {
        self.ecs("DescribeTasks", json!({"tasks": [arn]})).await["tasks"][0].take()
    }

    /// The task once it has a status.
    #[track_caller]
    pub fn task_in(&self, arn: &str, status: &str) -> impl Future<Output = Value> {
        let what = format!("{arn} to be {status}");
        let waited = {
            let (arn, status) = (arn.to_owned(), status.to_owned());
            async move || {
                let task = self.task(&arn).await;
                let is_late = task["lastStatus"] == "STOPPED" && status != "STOPPED";
                assert!(!is_late, "it stopped: {} {}", task["stoppedReason"], task["containers"]);
                (task["lastStatus"] == status.as_str()).then_some(task)
            }
        };
        async move { until(&what, waited).await }
    }

    pub async fn service(&self, name: &str) -> Value {
        self.ecs("DescribeServices", json!({"services": [name]})).await["services"][0].take()
    }

    /// The service once it has settled: one deployment, all of its tasks running.
    pub async fn steady(&self, name: &str) -> Value {
        until(&format!("{name} to be steady"), async || {
            let service = self.service(name).await;
            let has_one_deployment = service["deployments"].as_array().is_some_and(|all| all.len() == 1);
            let is_complete = service["deployments"][0]["rolloutState"] == "COMPLETED";
            (has_one_deployment && is_complete && service["runningCount"] == service["desiredCount"]).then_some(service)
        })
        .await
    }

    /// ARNs of the tasks of a service that are to run.
    pub async fn tasks_of(&self, service: &str) -> Vec<String> {
        let listed = self.ecs("ListTasks", json!({"serviceName": service})).await;
        strings(&listed["taskArns"])
    }

    /// What a task printed so far, one line each.
    pub async fn printed(&self, task: &str) -> Vec<String> {
        let id = task.rsplit('/').next().unwrap();
        let answer = once(self.address, super::http::get("localhost", &format!("/_coracle/logs/{id}"))).await;
        assert!(answer.status.is_success(), "{}", answer.text());
        let message = |line: &str| serde_json::from_str::<Value>(line).unwrap()["message"].as_str().unwrap().to_owned();
        answer.text().lines().map(message).collect()
    }
}

/// A request to ECS with this very body.
pub fn ecs_request(operation: &str, body: &str) -> Request<Bytes> {
    Request::post("/")
        .header("host", "localhost")
        .header("content-type", "application/x-amz-json-1.1")
        .header("x-amz-target", format!("AmazonEC2ContainerServiceV20141113.{operation}"))
        .body(Bytes::from(body.to_owned()))
        .unwrap()
}

pub fn ecs_answer(answer: &Answer) -> Result<Value, Refused> {
    let body = answer.json();
    if answer.status.is_success() {
        return Ok(body);
    }
    let text = |member: &str| body[member].as_str().unwrap_or_default().to_owned();
    let kind = text("__type").rsplit('#').next().unwrap_or_default().to_owned();
    let message = if body["message"].is_string() { text("message") } else { text("Message") };
    Err(Refused { status: answer.status, kind, message })
}

/// The text of the first element of this name.
pub fn element(xml: &str, name: &str) -> String {
    elements(xml, name).into_iter().next().unwrap_or_default()
}

/// The texts of all elements of this name.
pub fn elements(xml: &str, name: &str) -> Vec<String> {
    let (open, close) = (format!("<{name}>"), format!("</{name}>"));
    xml.split(&open).skip(1).filter_map(|rest| rest.split(&close).next()).map(String::from).collect()
}

/// A list of strings.
pub fn strings(list: &Value) -> Vec<String> {
    list.as_array().unwrap().iter().map(|item| item.as_str().unwrap().to_owned()).collect()
}
