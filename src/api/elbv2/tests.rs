use std::collections::BTreeMap;

use serde_json::{Value, json};

use crate::api::context::Context;
use crate::api::elbv2::operations;
use crate::api::error::{ApiError, ErrorKind};
use crate::api::operation::Operation;
use crate::api::protocol::tree::{self, Mode};
use crate::model::container_instance::ec2_instance_id;
use crate::model::target::TargetTask;
use crate::model::{Listener, LoadBalancer, Target, TargetGroup, TargetHealth, TargetState, TaskId, Timestamp};
use crate::store::{Key, Prefix, Snapshot, View};
use crate::telemetry::Logs;

mod certificates;
mod listeners;
mod conditions;
mod load_balancers;
mod network;
mod rules;
mod target_groups;
mod targets;

/// The operations of the table over a view in memory: requests and answers as the wire's trees, so that the model's bounds
/// hold in the tests as they do for clients.
struct Api {
    operations: BTreeMap<&'static str, Operation>,
    cx: Context,
    view: View,
    logs: Logs,
}

impl Api {
    fn new() -> Api {
        Api {
            operations: operations(),
            cx: Context::scripted(Timestamp(1_700_000_000_000)),
            view: View::new(Snapshot::default()),
            logs: Logs::default(),
        }
    }

    fn call(&mut self, operation: &str, input: Value) -> Result<Value, ApiError> {
        let operation = self.operations.get(operation).expect(operation);
        let decoded = tree::decode(operation.input, input, Mode::Strict)
            .map_err(|error| ApiError::validation(error.to_string()))?;
        assert_eq!(decoded.ignored, Vec::<String>::new(), "the test misspells a member");
        self.cx.without_effect.clear();
        let answer = operation.run(&self.cx, &mut self.view, &self.logs, &decoded.tree)?;
        Ok(answer.tree().unwrap())
    }

    #[track_caller]
    fn done(&mut self, operation: &str, input: Value) -> Value {
        self.call(operation, input).unwrap_or_else(|error| panic!("{operation}: {:?} {error}", error.kind))
    }

    #[track_caller]
    fn refused(&mut self, operation: &str, input: Value) -> (ErrorKind, String) {
        match self.call(operation, input) {
            Err(error) => (error.kind, error.message),
            Ok(answer) => panic!("{operation} was not refused: {answer}"),
        }
    }

    /// The ARN of a new load balancer.
    #[track_caller]
    fn load_balancer(&mut self, name: &str) -> String {
        let answer = self.done("CreateLoadBalancer", json!({ "Name": name }));
        text(&answer["LoadBalancers"][0]["LoadBalancerArn"])
    }

    /// The ARN of a new target group of addresses.
    #[track_caller]
    fn target_group(&mut self, name: &str) -> String {
        let input = json!({ "Name": name, "Protocol": "HTTP", "Port": 80, "TargetType": "ip" });
        text(&self.done("CreateTargetGroup", input)["TargetGroups"][0]["TargetGroupArn"])
    }

    /// The ARN of a new listener that forwards to a group.
    #[track_caller]
    fn listener(&mut self, load_balancer: &str, port: u16, group: &str) -> String {
        text(&self.done("CreateListener", listener(load_balancer, port, group))["Listeners"][0]["ListenerArn"])
    }
}

fn listener(load_balancer: &str, port: u16, group: &str) -> Value {
    json!({
        "LoadBalancerArn": load_balancer, "Protocol": "HTTP", "Port": port,
        "DefaultActions": [{ "Type": "forward", "TargetGroupArn": group }],
    })
}

#[track_caller]
fn text(value: &Value) -> String {
    value.as_str().unwrap().to_owned()
}

/// One member of each element of a list.
#[track_caller]
fn column(list: &Value, member: &str) -> Vec<String> {
    list.as_array().unwrap().iter().map(|element| text(&element[member])).collect()
}

#[test]
fn every_resource_has_tags() {
    let mut api = Api::new();
    let load_balancer = api.load_balancer("web");
    let group = api.target_group("web");
    let listener = api.listener(&load_balancer, 80, &group);
    let arns = json!([load_balancer, group, listener]);
    let tags = json!([{ "Key": "team", "Value": "a" }, { "Key": "stage" }]);
    api.done("AddTags", json!({ "ResourceArns": arns, "Tags": tags }));
    api.done("AddTags", json!({ "ResourceArns": [group], "Tags": [{ "Key": "team", "Value": "b" }] }));
    api.done("RemoveTags", json!({ "ResourceArns": arns, "TagKeys": ["stage", "absent"] }));
    let answer = api.done("DescribeTags", json!({ "ResourceArns": arns }));
    let descriptions = answer["TagDescriptions"].as_array().unwrap();
    assert_eq!(descriptions.len(), 3);
    for description in descriptions {
        let value = if description["ResourceArn"] == json!(group) { "b" } else { "a" };
        assert_eq!(description["Tags"], json!([{ "Key": "team", "Value": value }]));
    }

    let missing = group.replace("/web/", "/other/");
    let (kind, _) = api.refused("DescribeTags", json!({ "ResourceArns": [missing] }));
    assert_eq!(kind, ErrorKind::TargetGroupNotFound);
    let twice = json!([{ "Key": "a" }, { "Key": "a" }]);
    let (kind, _) = api.refused("AddTags", json!({ "ResourceArns": [group], "Tags": twice }));
    assert_eq!(kind, ErrorKind::DuplicateTagKeys);
    let many: Vec<Value> = (0..50).map(|number| json!({ "Key": format!("key{number}") })).collect();
    let (kind, _) = api.refused("AddTags", json!({ "ResourceArns": [group], "Tags": many }));
    assert_eq!(kind, ErrorKind::TooManyTags, "one is there already");
    let (kind, message) = api.refused("DescribeTags", json!({ "ResourceArns": ["web"] }));
    assert_eq!((kind, message.as_str()), (ErrorKind::Validation, "'web' is not a valid resource ARN"));
}

#[test]
fn the_table_has_all_that_the_list_offers() {
    let listed: Vec<&str> = crate::api::wire::elbv2::SERVICE.operations.iter().map(|shape| shape.name).collect();
    let operations = operations();
    assert_eq!(listed.len(), operations.len());
    assert!(listed.iter().all(|name| operations.contains_key(name)));
}
