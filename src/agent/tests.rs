use http::Method;
use serde_json::{Value, json};

use super::*;
use crate::model::task::{LaunchType, NetworkInterface, ServiceMembership};
use crate::model::{DesiredStatus, TaskStatus};
use crate::store::View;
use crate::telemetry::Usage;

const NOW: Timestamp = Timestamp(1_700_000_100_000);
const MINE: TaskId = TaskId(1);
const OTHER: TaskId = TaskId(2);
const ROLE: &str = "arn:aws:iam::123456789012:role/app";

/// Every container has used half a second and holds 3 MiB; none is ever asked to stop, but those named `stopping`.
struct Node;

impl UsageSource for Node {
    fn usage(&self, _: TaskId) -> Option<Usage> {
        self.container_usage(MINE, "app")
    }

    fn container_usage(&self, _: TaskId, container: &str) -> Option<Usage> {
        (container != "gone").then(|| Usage {
            cpu: std::time::Duration::from_millis(500),
            memory_bytes: 3 << 20,
            memory_peak_bytes: 4 << 20,
            instances: 1,
            ..Usage::default()
        })
    }
}

impl StopSource for Node {
    fn stopping(&self, _: TaskId, container: &str) -> BoxFuture<'static, ()> {
        if container == "stopping" { Box::pin(std::future::ready(())) } else { Box::pin(std::future::pending()) }
    }
}

struct Scene {
    agent: Agent,
    store: Store,
    roles: TaskRoles,
}

fn definition() -> TaskDefinition {
    serde_json::from_value(json!({
        "scope": {"account": "123456789012", "region": "eu-west-1"},
        "id": {"family": "web", "revision": 3},
        "status": "ACTIVE", "registered_at": 0, "deregistered_at": null, "registered_by": "", "tags": [],
        "document": {
            "networkMode": "awsvpc", "cpu": "256", "memory": "512", "taskRoleArn": ROLE,
            "containerDefinitions": [
                {"name": "app", "image": "hello", "cpu": 64, "memory": 128, "portMappings": [{"containerPort": 80}],
                 "dockerLabels": {"a": "b"}, "logConfiguration": {"logDriver": "awslogs", "options": {
                    "awslogs-group": "g", "awslogs-stream-prefix": "p"}}},
                {"name": "stopping", "image": "hello", "stopTimeout": 7, "restartPolicy": {"enabled": true},
                 "healthCheck": {"command": ["CMD", "curl", "http://localhost/"]}},
                {"name": "gone", "image": "hello"}
            ]
        }
    }))
    .unwrap()
}

fn task(id: TaskId) -> Task {
    let mut task = Task::wanted(id, "default".parse().unwrap(), &definition(), Timestamp(0), || String::from("uuid"));
    task.launch_type = LaunchType::Fargate;
    task.last_status = TaskStatus::Running;
    task.started_at = Some(Timestamp(1_700_000_000_000));
    task.interface = Some(NetworkInterface {
        attachment_id: String::new(),
        interface_id: String::new(),
        subnet_id: String::new(),
        mac_address: String::from("0a:00:00:00:00:01"),
        address: Some([127, 64, 0, 9].into()),
        security_groups: Vec::new(),
        assign_public_ip: false,
    });
    for (number, container) in task.containers.iter_mut().enumerate() {
        container.runtime_id = Some(runtime_id(id, number));
    }
    task.tags = vec![crate::model::Tag { key: String::from("team"), value: Some(String::from("blue")) }];
    task
}

impl Scene {
    async fn new() -> Scene {
        Scene::with_keys(false).await
    }

    async fn with_keys(keys_configured: bool) -> Scene {
        let (store, roles) = (Store::in_memory(), TaskRoles::default());
        let config = AgentConfig { cores: 2, memory_bytes: 1 << 40, keys_configured };
        let agent = Agent::new(store.clone(), roles.clone(), Arc::new(Node), Arc::new(Node), config);
        let scene = Scene { agent, store, roles };
        scene
            .write(|view| {
                view.put(definition());
                view.put(task(MINE));
                view.put(task(OTHER));
            })
            .await;
        scene
    }

    async fn write(&self, mut write: impl FnMut(&mut View)) {
        self.store
            .transact(|view| {
                write(view);
                Ok::<_, std::convert::Infallible>(())
            })
            .await
            .unwrap();
    }

    async fn change(&self, change: impl Fn(&mut Task)) {
        let mut changed = task(MINE);
        change(&mut changed);
        self.write(|view| view.put(changed.clone())).await;
    }

    /// In a service of one deployment, `ecs-svc/1`.
    async fn in_a_service(&self) {
        let service: crate::model::Service = serde_json::from_value(json!({
            "scope": {"account": "123456789012", "region": "eu-west-1"}, "cluster": "default", "name": "web",
            "status": "ACTIVE", "scheduling_strategy": "REPLICA", "desired_count": 1, "deployments": [{
                "id": "ecs-svc/1", "definition": {"family": "web", "revision": 3}, "launch_type": "FARGATE",
                "capacity_provider": null, "platform_version": null, "network_configuration": null, "created_at": 0,
                "updated_at": 0, "failed_tasks": 0, "rollout_state": "COMPLETED", "rollout_state_reason": ""
            }],
            "minimum_healthy_percent": 100, "maximum_percent": 200, "health_check_grace_period_seconds": 0,
            "load_balancers": [], "propagate_tags": null, "enable_ecs_managed_tags": false,
            "enable_execute_command": false, "created_at": 0, "created_by": "", "tags": [], "events": [],
            "throttle": {"failures": 0, "not_before": null}
        }))
        .unwrap();
        self.write(|view| view.put(service.clone())).await;
        let membership = ServiceMembership { service: String::from("web"), deployment: String::from("ecs-svc/1") };
        self.change(|task| task.service = Some(membership.clone())).await;
    }

    async fn ask(&self, method: Method, path: &str, body: &str) -> (u16, Value) {
        let request = Request::builder().method(method).uri(path).body(Bytes::from(body.to_owned())).unwrap();
        let response = self.agent.answer(MINE, request, Moment { now: NOW, entropy: [3; 96] }).await;
        let value = serde_json::from_slice(response.body());
        let text = || Value::from(String::from_utf8_lossy(response.body()).into_owned());
        (response.status().as_u16(), value.unwrap_or_else(|_| text()))
    }

    async fn get(&self, path: &str) -> (u16, Value) {
        self.ask(Method::GET, path, "").await
    }

    async fn put(&self, body: &str) -> (u16, Value) {
        self.ask(Method::PUT, &format!("/api/{}/task-protection/v1/state", id(MINE, 0)), body).await
    }
}

fn id(task: TaskId, number: usize) -> String {
    runtime_id(task, number)
}

#[tokio::test]
async fn the_fourth_version_says_what_fargate_says() {
    let scene = Scene::new().await;
    let (status, container) = scene.get(&format!("/v4/{}", id(MINE, 0))).await;
    assert_eq!(status, 200);
    assert_eq!(container["DockerId"], id(MINE, 0));
    assert_eq!(container["Limits"], json!({"CPU": 64, "Memory": 128}));
    assert_eq!(container["Labels"]["com.amazonaws.ecs.task-definition-version"], "3");
    assert_eq!(container["Labels"]["a"], "b");
    assert_eq!(container["Networks"][0]["IPv4Addresses"], json!(["127.64.0.9"]));
    assert_eq!(container["Networks"][0]["MACAddress"], "0a:00:00:00:00:01");
    assert_eq!(container["Ports"], json!([{"ContainerPort": 80, "Protocol": "tcp", "HostPort": 80}]));
    assert_eq!(container["LogOptions"]["awslogs-stream"], format!("p/app/{MINE}"));
    assert!(container["ContainerARN"].as_str().is_some_and(|arn| arn.starts_with("arn:aws:ecs:eu-west-1:")));
    let (_, task) = scene.get(&format!("/v4/{}/task", id(MINE, 1))).await;
    assert_eq!(task["Cluster"], "arn:aws:ecs:eu-west-1:123456789012:cluster/default");
    assert_eq!((&task["Family"], &task["Revision"]), (&json!("web"), &json!("3")));
    assert_eq!(task["Limits"], json!({"CPU": 0.25, "Memory": 512}));
    assert_eq!((&task["KnownStatus"], &task["LaunchType"]), (&json!("RUNNING"), &json!("FARGATE")));
    assert_eq!(task["EphemeralStorageMetrics"], json!({"Utilized": 0, "Reserved": 20480}));
    assert_eq!(task["ClockDrift"]["ReferenceTimestamp"], "2023-11-14T22:15:00.000Z");
    assert_eq!(task["Containers"].as_array().map(Vec::len), Some(3));
    assert_eq!(task["Containers"][1]["RestartCount"], 0);
    assert!(task["Containers"][1]["Health"].is_object() && task["Containers"][0].get("Health").is_none());
    assert!(task.get("TaskTags").is_none());
    let (_, tagged) = scene.get(&format!("/v4/{}/taskWithTags", id(MINE, 1))).await;
    assert_eq!(tagged["TaskTags"], json!({"team": "blue"}));
}

#[tokio::test]
async fn the_older_versions_leave_out_what_they_never_had() {
    let scene = Scene::new().await;
    for path in [format!("/v3/{}/task", id(MINE, 0)), String::from("/v2/metadata")] {
        let (status, task) = scene.get(&path).await;
        assert_eq!((status, &task["Family"]), (200, &json!("web")));
        let container = &task["Containers"][0];
        assert_eq!(container["Networks"], json!([{"NetworkMode": "awsvpc", "IPv4Addresses": ["127.64.0.9"]}]));
        for absent in ["LaunchType", "VPCID", "FaultInjectionEnabled", "ClockDrift"] {
            assert!(task.get(absent).is_none(), "{path}: {absent}");
        }
        for absent in ["ContainerARN", "LogDriver", "Snapshotter"] {
            assert!(container.get(absent).is_none(), "{path}: {absent}");
        }
    }
    let (status, container) = scene.get(&format!("/v2/metadata/{}", id(MINE, 1))).await;
    assert_eq!((status, &container["Name"]), (200, &json!("stopping")));
}

#[tokio::test]
async fn another_tasks_id_is_like_one_that_does_not_exist() {
    let scene = Scene::new().await;
    for stranger in [id(OTHER, 0), String::from("nobody"), String::new()] {
        let (status, text) = scene.get(&format!("/v4/{stranger}")).await;
        let expected = format!(
            "V4 container metadata handler: unable to get container ID from request: unable to get docker ID from v3 \
             endpoint ID: {stranger}"
        );
        assert_eq!((status, text), (404, Value::from(expected)));
        assert_eq!(scene.get(&format!("/v4/{stranger}/task/stats")).await.0, 404);
        assert_eq!(scene.get(&format!("/v3/{stranger}/task")).await.0, 400);
        assert_eq!(scene.get(&format!("/api/{stranger}/coracle/stop")).await.0, 404);
        let (status, answer) = scene.get(&format!("/api/{stranger}/task-protection/v1/state")).await;
        assert_eq!((status, &answer["error"]["Code"]), (404, &json!("ResourceNotFoundException")));
    }
    let (status, text) = scene.get(&format!("/v2/stats/{}", id(OTHER, 0))).await;
    assert_eq!((status, text), (400, Value::from(format!("Unable to get container stats for: {}", id(OTHER, 0)))));
    assert_eq!(scene.get("/v5/what").await, (404, json!("404 page not found\n")));
}

#[tokio::test]
async fn the_stats_are_dockers() {
    let scene = Scene::new().await;
    let (status, stats) = scene.get(&format!("/v4/{}/stats", id(MINE, 0))).await;
    assert_eq!(status, 200);
    assert_eq!(stats["cpu_stats"]["cpu_usage"]["total_usage"], 500_000_000);
    assert_eq!(stats["cpu_stats"]["system_cpu_usage"], 200_000_000_000_u64);
    assert_eq!(stats["cpu_stats"]["online_cpus"], 2);
    assert_eq!(
        (&stats["preread"], &stats["precpu_stats"]["cpu_usage"]["total_usage"]),
        (&json!("0001-01-01T00:00:00Z"), &json!(0))
    );
    assert_eq!(stats["memory_stats"]["usage"], 3 << 20);
    assert_eq!(
        (&stats["memory_stats"]["max_usage"], &stats["memory_stats"]["limit"]),
        (&json!(4 << 20), &json!(128 << 20))
    );
    let (_, of_task) = scene.get(&format!("/v4/{}/task/stats", id(MINE, 0))).await;
    assert_eq!(of_task[id(MINE, 1)]["memory_stats"]["limit"], 512 << 20);
    assert_eq!(of_task[id(MINE, 2)], Value::Null);
    assert_eq!(scene.get(&format!("/v4/{}/stats", id(MINE, 2))).await.0, 500);
}

#[tokio::test]
async fn credentials_are_given_to_the_task_that_they_are_of() {
    let scene = Scene::new().await;
    assert_eq!(scene.get("/v2/credentials/x").await.1["code"], "NoCredentialsAssociated");
    let mine = scene.roles.associate(MINE, ROLE, 17);
    let other = scene.roles.associate(OTHER, ROLE, 18);
    let (status, given) = scene.get(&format!("/v2/credentials/{}", mine.as_str())).await;
    assert_eq!((status, &given["RoleArn"], &given["Expiration"]), (200, &json!(ROLE), &json!("2023-11-14T23:15:00Z")));
    for member in ["AccessKeyId", "SecretAccessKey", "Token"] {
        assert!(given[member].as_str().is_some_and(|text| text.len() >= 20), "{member}");
    }
    let (status, refused) = scene.get(&format!("/v2/credentials/{}", other.as_str())).await;
    assert_eq!((status, &refused["code"]), (400, &json!("InvalidIdInRequest")));
    assert_eq!(scene.get("/v2/credentials/").await.1["code"], "NoIdInRequest");
    assert_eq!(scene.get("/v2/credentials").await.1["code"], "NoIdInRequest");
}

#[tokio::test]
async fn a_task_of_a_service_protects_itself() {
    let scene = Scene::new().await;
    let (status, answer) = scene.put(r#"{"ProtectionEnabled": true}"#).await;
    assert_eq!((status, &answer["failure"]["Reason"]), (200, &json!("TASK_NOT_VALID")));
    scene.in_a_service().await;
    let (status, answer) = scene.put(r#"{"ProtectionEnabled": true, "ExpiresInMinutes": 5}"#).await;
    let protection = &answer["protection"];
    assert_eq!((status, &protection["ExpirationDate"]), (200, &json!("2023-11-14T22:20:00.000Z")));
    let shown = scene.get(&format!("/api/{}/task-protection/v1/state", id(MINE, 0))).await;
    assert_eq!(&shown.1["protection"], protection);
    let (_, answer) = scene.put(r#"{"ProtectionEnabled": false}"#).await;
    assert_eq!(answer["protection"]["ProtectionEnabled"], false);
    assert_eq!(answer["protection"]["ExpirationDate"], Value::Null);
}

#[tokio::test]
async fn a_protection_that_is_written_wrong_is_refused() {
    let scene = Scene::new().await;
    scene.in_a_service().await;
    for body in [r#"{"ProtectionEnabled": true, "Expires": 5}"#, "", "[]", r#"{"ProtectionEnabled": "yes"}"#] {
        let (status, answer) = scene.put(body).await;
        assert_eq!((status, &answer["error"]["Code"]), (400, &json!("InvalidParameterException")), "{body}");
    }
    let (_, answer) = scene.put("{}").await;
    assert_eq!(answer["error"]["Message"], "Invalid request: does not contain 'ProtectionEnabled' field");
    let (status, answer) = scene.put(r#"{"ProtectionEnabled": true, "ExpiresInMinutes": 2881}"#).await;
    assert_eq!((status, &answer["error"]["Code"]), (400, &json!("InvalidParameterException")));
    assert_eq!(answer["requestID"].as_str().map(str::len), Some(36));
}

#[tokio::test]
async fn where_callers_must_prove_who_they_are_a_task_needs_a_role() {
    let scene = Scene::with_keys(true).await;
    scene.in_a_service().await;
    assert_eq!(scene.put(r#"{"ProtectionEnabled": true}"#).await.0, 403);
    scene.roles.associate(MINE, ROLE, 17);
    assert_eq!(scene.put(r#"{"ProtectionEnabled": true}"#).await.0, 200);
}

#[tokio::test(start_paused = true)]
async fn a_poll_is_answered_by_the_stop_or_ends_empty() {
    let scene = Scene::new().await;
    let (status, stop) = scene.get(&format!("/api/{}/coracle/stop", id(MINE, 1))).await;
    assert_eq!((status, &stop["DesiredStatus"], &stop["StopTimeout"]), (200, &json!("STOPPED"), &json!(7)));
    let began = tokio::time::Instant::now();
    assert_eq!(scene.get(&format!("/api/{}/coracle/stop", id(MINE, 0))).await.0, 204);
    assert!(began.elapsed() >= POLL_TIMEOUT && began.elapsed() < POLL_TIMEOUT * 2);
}

#[tokio::test]
async fn faults_are_not_enabled_and_associations_not_there() {
    let scene = Scene::new().await;
    let path = format!("/api/{}/fault/v1/network-latency/start", id(MINE, 0));
    let (status, answer) = scene.ask(Method::POST, &path, "{}").await;
    assert_eq!(status, 400);
    assert!(answer["Error"].as_str().is_some_and(|text| text.starts_with("enableFaultInjection is not enabled")));
    assert_eq!(scene.get(&format!("/v3/{}/associations/elastic-inference/x", id(MINE, 0))).await.0, 404);
}

#[tokio::test(start_paused = true)]
async fn an_answer_waits_a_moment_for_the_start_to_be_on_record() {
    let scene = Scene::new().await;
    scene.change(|task| task.containers[0].runtime_id = None).await;
    let path = format!("/v4/{}", id(MINE, 0));
    let asked = scene.get(&path);
    let recorded = scene.change(|task| task.containers[0].image_digest = Some(String::from("sha256:1")));
    let ((_, container), ()) = tokio::join!(asked, recorded);
    assert_eq!(container["ImageID"], "sha256:1");
    // One that does not start is not waited for without end.
    scene.change(|task| task.containers[0].runtime_id = None).await;
    let (status, container) = scene.get(&path).await;
    assert_eq!((status, &container["ImageID"]), (200, &json!("")));
}

#[tokio::test]
async fn a_task_that_is_told_to_stop_sees_it_in_its_metadata() {
    let scene = Scene::new().await;
    scene.change(|task| task.desired_status = DesiredStatus::Stopped).await;
    let (_, task) = scene.get(&format!("/v4/{}/task", id(MINE, 0))).await;
    assert_eq!((&task["DesiredStatus"], &task["KnownStatus"]), (&json!("STOPPED"), &json!("RUNNING")));
}
