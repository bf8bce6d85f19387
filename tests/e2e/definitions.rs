//! Task definitions that the journeys register, and the services and load balancers that they stand behind.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use super::api::element;
use super::server::Server;
use super::wait::until;

/// Programs that sleep do not hear that they should stop: ECS would wait 30 s until it cuts them off.
const STOP_TIMEOUT_SECONDS: u32 = 2;

/// The file of a guest.
pub fn guest_file(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("guest-examples/prebuilt/{name}.wasm"))
}

/// A guest as callers name it.
pub fn guest(name: &str) -> String {
    format!("file://{}", guest_file(name).display())
}

/// A definition with one container, named after the family.
pub fn single(family: &str, image: &str, command: &[&str]) -> Value {
    json!({
        "family": family,
        "requiresCompatibilities": ["FARGATE"],
        "networkMode": "awsvpc",
        "cpu": "256",
        "memory": "512",
        "containerDefinitions": [
            {"name": family, "image": image, "command": command, "essential": true, "stopTimeout": STOP_TIMEOUT_SECONDS}
        ],
    })
}

/// A definition of a program among the guests.
pub fn program(family: &str, name: &str, command: &[&str]) -> Value {
    single(family, &guest(name), command)
}

/// A definition of a handler among the guests, on port 80.
pub fn handler(family: &str, name: &str) -> Value {
    let mut definition = single(family, &guest(name), &[]);
    definition["containerDefinitions"][0]["portMappings"] = json!([{"containerPort": 80}]);
    definition
}

/// A service behind a load balancer of the same name.
pub struct Balanced {
    pub name: String,
    pub load_balancer: String,
    pub target_group: String,
    pub listener: String,
    pub host: String,
}

impl Server {
    /// Creates a load balancer, its listener and its target group, and a service of `count` tasks behind it, and waits
    /// until it is steady.
    pub async fn balanced(&self, definition: Value, count: u32) -> Balanced {
        let balanced = self.balance(&definition, count).await;
        self.steady(&balanced.name).await;
        balanced
    }

    /// The same without waiting.
    pub async fn balance(&self, definition: &Value, count: u32) -> Balanced {
        let name = definition["family"].as_str().unwrap().to_owned();
        let created = self.elb("CreateLoadBalancer", &[("Name", &name), ("Subnets.member.1", "subnet-1")]).await;
        let load_balancer = element(&created, "LoadBalancerArn");
        let group = [
            ("Name", name.as_str()),
            ("Protocol", "HTTP"),
            ("Port", "80"),
            ("TargetType", "ip"),
            ("VpcId", "vpc-1"),
            ("Matcher.HttpCode", "200-499"),
            ("HealthCheckIntervalSeconds", "5"),
            ("HealthCheckTimeoutSeconds", "2"),
        ];
        let target_group = element(&self.elb("CreateTargetGroup", &group).await, "TargetGroupArn");
        let listener = [
            ("LoadBalancerArn", load_balancer.as_str()),
            ("Protocol", "HTTP"),
            ("Port", "80"),
            ("DefaultActions.member.1.Type", "forward"),
            ("DefaultActions.member.1.TargetGroupArn", target_group.as_str()),
        ];
        let listener = element(&self.elb("CreateListener", &listener).await, "ListenerArn");
        let registered = self.register(definition.clone()).await;
        self.ecs(
            "CreateService",
            json!({
                "serviceName": name, "taskDefinition": registered, "desiredCount": count, "launchType": "FARGATE",
                "loadBalancers": [{"targetGroupArn": target_group, "containerName": name, "containerPort": 80}],
                "networkConfiguration": {"awsvpcConfiguration": {"subnets": ["subnet-1"]}},
            }),
        )
        .await;
        Balanced { host: element(&created, "DNSName"), name, load_balancer, target_group, listener }
    }

    /// Where a listener's own port really is.
    pub async fn bound(&self, listener: &str) -> SocketAddr {
        until("the listener's own port", async || {
            let node = super::http::once(self.address, super::http::get("localhost", "/_coracle/node")).await.json();
            let listeners = node["listeners"].as_array()?.iter();
            let found = listeners.into_iter().find(|known| known["listenerArn"] == listener)?;
            found["address"].as_str()?.parse().ok()
        })
        .await
    }
}
