//! What `up` brings up for each definition, through the API's own operations: a task definition, a load balancer with a
//! listener and a target group for each served port, and a service. Brought up again, what is there is used.

use std::path::Path;

use parking_lot::Mutex;
use serde_json::{Value, json};

use crate::api::wire::ecs::RegisterTaskDefinitionRequest;
use crate::cli::Failure;
use crate::cli::server::{CallError, Server};
use crate::cli::up::Source;
use crate::cli::up::ports::{self, Served};
use crate::cli::up::progress::Progress;
use crate::runtime::GuestKind;

/// Longest name of a load balancer or a target group (ELB's limit).
const ELB_NAME_CHARS_MAX: usize = 32;
/// Where the listeners of `up` begin; one that is taken is opened elsewhere, and said.
const LISTENER_PORT: i32 = 8080;
/// Seconds between health checks, and how many may fail: a laptop can look more often than a cloud.
const HEALTH_INTERVAL: i32 = 5;
const HEALTH_TIMEOUT: i32 = 2;
/// Failed tasks after which a service that has not one running is given up.
const FAILED_TASKS_MAX: i64 = 3;
/// How long removing may take: ECS's longest `stopTimeout` and some more.
const REMOVE_TIMEOUT: std::time::Duration = std::time::Duration::from_secs(150);

pub struct Stack<'a> {
    server: &'a Server,
    cluster: String,
    count: u32,
    services: Mutex<Vec<UpService>>,
}

/// One definition that was brought up.
#[derive(Clone, Debug)]
struct UpService {
    name: String,
    load_balancer: Option<String>,
    target_groups: Vec<String>,
    listeners: Vec<(String, Served)>,
    images: Vec<String>,
}

impl<'a> Stack<'a> {
    pub fn new(server: &'a Server, cluster: &str, count: u32) -> Stack<'a> {
        Stack { server, cluster: cluster.to_owned(), count, services: Mutex::default() }
    }

    /// The services, each with its cluster.
    pub fn services(&self) -> Vec<(String, String)> {
        self.services.lock().iter().map(|service| (self.cluster.clone(), service.name.clone())).collect()
    }

    async fn ecs(&self, operation: &'static str, input: Value) -> Result<Value, CallError> {
        self.server.call("ecs", operation, input).await
    }

    async fn elb(&self, operation: &'static str, input: Value) -> Result<Value, CallError> {
        self.server.call("elbv2", operation, input).await
    }

    pub async fn bring_up(&self, source: &Source, progress: &Progress) -> Result<(), Failure> {
        let mut request = source.definition.request.clone();
        let name = request.family.clone().unwrap_or_default();
        progress.step(format!("{name}: looking at its images"));
        let (kinds, mut lines) = self.complete(&source.file, &mut request).await?;
        let (served, not_served) = ports::served(&request, &kinds);
        lines.extend(not_served);
        for line in lines {
            progress.note(&format!("{name}: {line}"));
        }
        self.ecs("CreateCluster", json!({"clusterName": self.cluster})).await?;
        let definition = self.register(&request).await?;
        progress.step(format!("{name}: registered {}", definition.rsplit('/').next().unwrap_or_default()));

        let mut service = UpService {
            images: images(&request),
            load_balancer: None,
            target_groups: Vec::new(),
            listeners: Vec::new(),
            name,
        };
        if !served.is_empty() {
            self.balance(&mut service, &request, &served).await?;
        }
        // From here on, what is there is removed at the end.
        self.services.lock().push(service.clone());
        self.serve(&service, &request, &definition, &served).await
    }

    /// Looks at the images, so that one that cannot run is said before anything is made, and maps ports where none are.
    async fn complete(
        &self,
        file: &Path,
        request: &mut RegisterTaskDefinitionRequest,
    ) -> Result<(Vec<GuestKind>, Vec<String>), Failure> {
        let mut kinds = Vec::new();
        for image in images(request) {
            let kind = self.server.inspect(&image).await;
            kinds.push(kind.map_err(|failure| Failure::new(format!("{}: {}", file.display(), failure.text())))?);
        }
        let lines = ports::assign(request, &kinds);
        Ok((kinds, lines))
    }

    async fn register(&self, request: &RegisterTaskDefinitionRequest) -> Result<String, Failure> {
        let input = serde_json::to_value(request).map_err(|error| Failure::new("cannot register").caused_by(error))?;
        let answer = self.ecs("RegisterTaskDefinition", input).await?;
        Ok(answer["taskDefinition"]["taskDefinitionArn"].as_str().unwrap_or_default().to_owned())
    }

    async fn balance(
        &self,
        service: &mut UpService,
        request: &RegisterTaskDefinitionRequest,
        served: &[Served],
    ) -> Result<(), Failure> {
        let target_type = if is_awsvpc(request) { "ip" } else { "instance" };
        let name = elb_name(&service.name, "");
        let balancer = self
            .elb("CreateLoadBalancer", json!({"Name": name, "Subnets": ["subnet-coracle-a", "subnet-coracle-b"]}))
            .await?;
        let balancer = balancer["LoadBalancers"][0]["LoadBalancerArn"].as_str().unwrap_or_default().to_owned();
        service.load_balancer = Some(balancer.clone());
        let taken = self.elb("DescribeListeners", json!({"LoadBalancerArn": balancer})).await?;
        for (at, port) in served.iter().enumerate() {
            let suffix = if at == 0 { String::new() } else { format!("-{}", port.port) };
            let group = json!({
                "Name": elb_name(&service.name, &suffix), "Protocol": "HTTP", "Port": port.port, "TargetType": target_type,
                "VpcId": "vpc-coracle", "HealthCheckIntervalSeconds": HEALTH_INTERVAL,
                "HealthCheckTimeoutSeconds": HEALTH_TIMEOUT, "Matcher": {"HttpCode": "200-499"},
            });
            let group = self.elb("CreateTargetGroup", group).await?;
            let group = group["TargetGroups"][0]["TargetGroupArn"].as_str().unwrap_or_default().to_owned();
            let existing = taken["Listeners"]
                .as_array()
                .into_iter()
                .flatten()
                .find(|listener| listener["DefaultActions"][0]["TargetGroupArn"].as_str() == Some(&group));
            let listener = match existing {
                Some(listener) => listener["ListenerArn"].clone(),
                None => self.listen(&balancer, &group, &ports::of_machine(request)).await?,
            };
            service.listeners.push((listener.as_str().unwrap_or_default().to_owned(), port.clone()));
            service.target_groups.push(group);
        }
        Ok(())
    }

    /// Makes a listener on the first port from `LISTENER_PORT` that no listener of `up` has yet, and that the service's own
    /// tasks do not ask for.
    async fn listen(&self, balancer: &str, group: &str, of_tasks: &[i32]) -> Result<Value, Failure> {
        let used: usize = self.services.lock().iter().map(|service| service.listeners.len()).sum();
        let mut port = LISTENER_PORT + i32::try_from(used).unwrap_or(0);
        loop {
            if of_tasks.contains(&port) && port < u16::MAX.into() {
                port += 1;
                continue;
            }
            let input = json!({
                "LoadBalancerArn": balancer, "Protocol": "HTTP", "Port": port,
                "DefaultActions": [{"Type": "forward", "TargetGroupArn": group}],
            });
            match self.elb("CreateListener", input).await {
                Err(error) if error.kind == "DuplicateListenerException" && port < u16::MAX.into() => port += 1,
                answer => return Ok(answer?["Listeners"][0]["ListenerArn"].clone()),
            }
        }
    }

    async fn serve(
        &self,
        service: &UpService,
        request: &RegisterTaskDefinitionRequest,
        definition: &str,
        served: &[Served],
    ) -> Result<(), Failure> {
        let balancers: Vec<Value> = served
            .iter()
            .zip(&service.target_groups)
            .map(|(port, group)| json!({"targetGroupArn": group, "containerName": port.container, "containerPort": port.port}))
            .collect();
        let fits_fargate = request.requires_compatibilities.iter().flatten().any(|asked| asked == "FARGATE");
        let mut input = json!({
            "cluster": self.cluster, "taskDefinition": definition, "desiredCount": self.count,
            "loadBalancers": balancers,
        });
        if is_awsvpc(request) {
            input["networkConfiguration"] = json!({"awsvpcConfiguration": {"subnets": ["subnet-coracle-a"]}});
        }
        let described =
            self.ecs("DescribeServices", json!({"cluster": self.cluster, "services": [service.name]})).await?;
        if described["services"][0]["status"] == "ACTIVE" {
            input["service"] = json!(service.name);
            input["forceNewDeployment"] = json!(true);
            self.ecs("UpdateService", input).await?;
        } else {
            input["serviceName"] = json!(service.name);
            input["launchType"] = json!(if fits_fargate { "FARGATE" } else { "EC2" });
            self.ecs("CreateService", input).await?;
        }
        Ok(())
    }

    /// Waits until every service has its tasks, and its deployment is complete; says how far it is.
    pub async fn steady(&self, progress: &Progress) -> Result<(), Failure> {
        let mut changed = self.server.store.watch();
        let mut told: Vec<String> = Vec::new();
        loop {
            changed.mark_unchanged();
            let mut steps = Vec::new();
            for (cluster, name) in self.services() {
                let answer = self.ecs("DescribeServices", json!({"cluster": cluster, "services": [name]})).await?;
                let service = &answer["services"][0];
                let (running, desired) = (&service["runningCount"], &service["desiredCount"]);
                let primary = &service["deployments"][0];
                for reason in self.server.failures_of(&cluster, &name) {
                    if !told.contains(&reason) {
                        progress.note(&format!("{name}: {reason}"));
                        told.push(reason);
                    }
                }
                if running == 0 && primary["failedTasks"].as_i64().unwrap_or(0) >= FAILED_TASKS_MAX {
                    return Err(Failure::new(format!("{name}: its tasks fail to start"))
                        .next("The lines above say what they ended with."));
                }
                if primary["rolloutState"] != "COMPLETED" {
                    steps.push(format!("{name}: {running} of {desired} tasks are running"));
                }
            }
            if steps.is_empty() {
                return Ok(());
            }
            progress.step(steps.join(", "));
            if changed.changed().await.is_err() {
                return Err(Failure::new("the server has stopped"));
            }
        }
    }

    /// A line for each served port, and for each service without one.
    pub async fn served(&self) -> Result<Vec<String>, Failure> {
        let services = self.services.lock().clone();
        let mut lines = Vec::new();
        for service in services {
            if service.listeners.is_empty() {
                lines.push(format!("running {} ({} tasks, no port is served)", service.name, self.count));
            }
            for (listener, served) in &service.listeners {
                let address = self.server.bound(listener).await?;
                let name = match service.listeners.len() {
                    1 => service.name.clone(),
                    _ => format!("{}, container {}, port {}", service.name, served.container, served.port),
                };
                lines.push(format!("serving on http://{address}/ ({name})"));
            }
        }
        Ok(lines)
    }

    /// Registers a changed definition and rolls it out.
    pub async fn roll_definition(&self, source: &Source) -> Result<(), Failure> {
        let mut request = source.definition.request.clone();
        let name = request.family.clone().unwrap_or_default();
        if !self.services.lock().iter().any(|service| service.name == name) {
            return Err(Failure::new(format!("{}: its family is now '{name}'", source.file.display()))
                .next("Start again to run it under another name."));
        }
        self.complete(&source.file, &mut request).await?;
        let definition = self.register(&request).await?;
        let input = json!({"cluster": self.cluster, "service": name, "taskDefinition": definition});
        self.ecs("UpdateService", input).await?;
        eprintln!("{name}: rolling out {}", definition.rsplit('/').next().unwrap_or_default());
        Ok(())
    }

    /// Rolls out every service that runs a changed component.
    pub async fn roll_component(&self, file: &Path) -> Result<(), Failure> {
        let services = self.services.lock().clone();
        for service in services {
            let images: Vec<&String> =
                service.images.iter().filter(|image| self.server.file_of(image).as_deref() == Some(file)).collect();
            for image in &images {
                // What cannot run is not rolled out.
                self.server.inspect(image).await.map_err(|failure| Failure::new(failure.text()))?;
            }
            if images.is_empty() {
                continue;
            }
            let input = json!({"cluster": self.cluster, "service": service.name, "forceNewDeployment": true});
            self.ecs("UpdateService", input).await?;
            eprintln!("{}: rolling out {}", service.name, file.display());
        }
        Ok(())
    }

    /// Removes everything again: services first, so that their targets drain.
    pub async fn remove(&self) {
        let services = self.services.lock().clone();
        for service in &services {
            let input = json!({"cluster": self.cluster, "service": service.name, "force": true});
            said(self.ecs("DeleteService", input).await);
        }
        if tokio::time::timeout(REMOVE_TIMEOUT, self.gone()).await.is_err() {
            eprintln!("some tasks have not stopped within {} s", REMOVE_TIMEOUT.as_secs());
        }
        for service in &services {
            if let Some(balancer) = &service.load_balancer {
                said(self.elb("DeleteLoadBalancer", json!({"LoadBalancerArn": balancer})).await);
            }
            for group in &service.target_groups {
                said(self.elb("DeleteTargetGroup", json!({"TargetGroupArn": group})).await);
            }
        }
    }

    async fn gone(&self) {
        let mut changed = self.server.store.watch();
        loop {
            changed.mark_unchanged();
            if self.server.live_tasks_of(&self.services()) == 0 || changed.changed().await.is_err() {
                return;
            }
        }
    }
}

/// Failures while removing are told and do not stop the rest.
fn said(result: Result<Value, CallError>) {
    if let Err(error) = result {
        eprintln!("{error}");
    }
}

fn is_awsvpc(request: &RegisterTaskDefinitionRequest) -> bool {
    request.network_mode.as_deref() == Some("awsvpc")
}

fn images(request: &RegisterTaskDefinitionRequest) -> Vec<String> {
    let containers = request.container_definitions.iter().flatten();
    containers.map(|container| container.image.clone().unwrap_or_default()).collect()
}

/// A name that ELB takes: letters, digits and hyphens, at most 32, no hyphen at either end.
fn elb_name(family: &str, suffix: &str) -> String {
    let clean: String = family.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '-' }).collect();
    let room = ELB_NAME_CHARS_MAX - suffix.len();
    let short: String = clean.chars().take(room).collect();
    let name = format!("{}{suffix}", short.trim_matches('-'));
    if name.is_empty() || name.starts_with("internal-") {
        format!("up-{name}").chars().take(room).collect()
    } else {
        name
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_fit_what_elb_takes() {
        assert_eq!(elb_name("webserver", ""), "webserver");
        assert_eq!(elb_name("my_app", "-81"), "my-app-81");
        assert_eq!(elb_name(&"a".repeat(60), "-81").len(), 32);
        assert_eq!(elb_name("_x_", ""), "x");
    }
}
