//! The operations as pure functions of a view: no server, no clock, no store behind it.

use serde_json::{Value, json};

use super::*;
use crate::api::error::ErrorKind;
use crate::api::testing::Api;

impl Api {
    fn register(&mut self) -> Value {
        self.ok(
            task_definition::register,
            json!({
                "family": "web", "requiresCompatibilities": ["FARGATE"], "networkMode": "awsvpc",
                "cpu": ".25 vCPU", "memory": "0.5 GB",
                "containerDefinitions": [{"name": "web", "image": "nginx", "portMappings": [{"containerPort": 80}]}]
            }),
        )
    }
}

fn network() -> Value {
    json!({"awsvpcConfiguration": {"subnets": ["subnet-1"]}})
}

fn service(count: i32) -> Value {
    json!({"serviceName": "web", "taskDefinition": "web", "desiredCount": count, "launchType": "FARGATE",
           "networkConfiguration": network()})
}

#[test]
fn a_task_of_a_service_is_protected_for_a_time() {
    let mut api = Api::new();
    api.register();
    api.ok(service::create, service(1));
    let alone =
        api.ok(task::run, json!({"taskDefinition": "web", "launchType": "FARGATE", "networkConfiguration": network()}));
    let alone = alone["tasks"][0]["taskArn"].as_str().unwrap().to_owned();
    let id = alone.rsplit('/').next().unwrap().parse().unwrap();
    let refused = api.ok(
        task::protection::update,
        json!({"cluster": "default", "tasks": [alone, format!("{:032x}", 7)], "protectionEnabled": true}),
    );
    let reasons: Vec<_> = refused["failures"].as_array().unwrap().iter().map(|failure| &failure["reason"]).collect();
    assert_eq!(reasons, ["TASK_NOT_VALID", "MISSING"]);

    let of = api.view.get::<crate::model::Service>(&crate::store::Key::service(
        &api.cx.scope,
        &"default".parse().unwrap(),
        "web",
    ));
    let deployment = of.unwrap().deployments[0].id.clone();
    let key = crate::store::Key::task(&api.cx.scope, &"default".parse().unwrap(), id);
    let mut member = crate::model::Task::clone(&api.view.get(&key).unwrap());
    member.service = Some(crate::model::task::ServiceMembership { service: String::from("web"), deployment });
    api.view.put(member);
    let ask = |minutes: i32| json!({"cluster": "default", "tasks": [alone], "protectionEnabled": true, "expiresInMinutes": minutes});
    let answer = api.ok(task::protection::update, ask(5));
    assert_eq!(answer["protectedTasks"][0]["expirationDate"], 301.0);
    let shown = api.ok(task::protection::get, json!({"cluster": "default", "tasks": [alone]}));
    assert_eq!(shown["protectedTasks"], answer["protectedTasks"]);
    assert_eq!(api.refused(task::protection::update, ask(0)).0, ErrorKind::InvalidParameter);
    assert_eq!(api.refused(task::protection::update, ask(2881)).0, ErrorKind::InvalidParameter);
    let off = json!({"cluster": "default", "tasks": [alone], "protectionEnabled": false});
    let answer = api.ok(task::protection::update, off);
    assert_eq!(answer["protectedTasks"][0]["protectionEnabled"], false);
    assert!(answer["protectedTasks"][0].get("expirationDate").is_none_or(Value::is_null));
}

#[test]
fn a_cluster_is_there_by_name_until_it_is_deleted() {
    let mut api = Api::new();
    let first = api.ok(cluster::create, json!({"clusterName": "c"}));
    assert_eq!(first, {
        let mut again = api.ok(cluster::create, json!({"clusterName": "c"}));
        again["cluster"]["settings"] = first["cluster"]["settings"].clone();
        again
    });
    let listed = api.ok(cluster::list, json!({}));
    assert_eq!(listed["clusterArns"].as_array().unwrap().len(), 2, "c, and the default one on first use");
    api.ok(cluster::delete, json!({"cluster": "c"}));
    let described = api.ok(cluster::describe, json!({"clusters": ["c", "missing"]}));
    assert_eq!(described["clusters"][0]["status"], "INACTIVE");
    assert_eq!(described["failures"][0]["reason"], "MISSING");
    assert_eq!(api.refused(task::list, json!({"cluster": "missing"})).0, ErrorKind::ClusterNotFound);
}

#[test]
fn a_revision_is_never_given_out_twice_and_comes_back_with_ecs_defaults() {
    let mut api = Api::new();
    let registered = api.register();
    let definition = &registered["taskDefinition"];
    assert_eq!((&definition["cpu"], &definition["memory"]), (&json!("256"), &json!("512")));
    let container = &definition["containerDefinitions"][0];
    assert_eq!(container["portMappings"], json!([{"containerPort": 80, "hostPort": 80, "protocol": "tcp"}]));
    for empty in ["environment", "mountPoints", "volumesFrom", "systemControls"] {
        assert_eq!(container[empty], json!([]), "{empty}");
    }
    api.ok(task_definition::deregister, json!({"taskDefinition": "web:1"}));
    assert_eq!(api.register()["taskDefinition"]["revision"], 2);
    let (kind, text) = api.refused(task_definition::describe, json!({"taskDefinition": "other"}));
    assert_eq!((kind, text.as_str()), (ErrorKind::Client, "Unable to describe task definition."));
    let listed = api.ok(task_definition::list, json!({"status": "INACTIVE"}));
    assert!(listed["taskDefinitionArns"][0].as_str().unwrap().ends_with("web:1"));
}

#[test]
fn what_has_no_effect_is_said() {
    let mut api = Api::new();
    api.ok(
        task_definition::register,
        json!({"family": "f", "containerDefinitions": [{"name": "a", "image": "nginx", "memory": 64, "user": "root"}]}),
    );
    assert_eq!(api.cx.without_effect.noted(), ["containerDefinitions[0].user"]);
}

#[test]
fn a_task_is_asked_for_once_with_one_token() {
    let mut api = Api::new();
    api.register();
    let run = |token: &str, count: i32| {
        json!({"taskDefinition": "web", "launchType": "FARGATE", "networkConfiguration": network(),
               "clientToken": token, "count": count})
    };
    let first = api.ok(task::run, run("t", 2));
    assert_eq!(first["tasks"][0]["lastStatus"], "PROVISIONING");
    let arns = |answer: &Value| -> Vec<Value> {
        answer["tasks"].as_array().unwrap().iter().map(|task| task["taskArn"].clone()).collect()
    };
    assert_eq!(arns(&api.ok(task::run, run("t", 2))), arns(&first));
    assert_eq!(api.refused(task::run, run("t", 1)).0, ErrorKind::Conflict);
    assert_eq!(api.ok(task::list, json!({}))["taskArns"].as_array().unwrap().len(), 2);

    let arn = &arns(&first)[0];
    let stopped = api.ok(task::stop, json!({"task": arn, "reason": "enough"}));
    assert_eq!(
        (&stopped["task"]["desiredStatus"], &stopped["task"]["stoppedReason"]),
        (&json!("STOPPED"), &json!("enough"))
    );
    assert_eq!(api.ok(task::list, json!({}))["taskArns"].as_array().unwrap().len(), 1);
}

#[test]
fn a_task_that_cannot_be_launched_is_refused_with_ecs_texts() {
    let mut api = Api::new();
    api.register();
    let text = |api: &mut Api, input: Value| api.refused(task::run, input).1;
    assert_eq!(text(&mut api, json!({"taskDefinition": "none"})), "TaskDefinition not found.");
    assert_eq!(
        text(&mut api, json!({"taskDefinition": "web", "launchType": "FARGATE"})),
        "Network Configuration must be provided when networkMode 'awsvpc' is specified."
    );
    assert_eq!(
        text(
            &mut api,
            json!({"taskDefinition": "web", "networkConfiguration": network(),
                              "overrides": {"containerOverrides": [{"name": "x"}]}})
        ),
        "Override for container named x is not a container in the TaskDefinition."
    );
    assert!(text(&mut api, json!({"taskDefinition": "web", "count": 11})).contains("count"));
    let sized = |cpu: &str| {
        json!({"taskDefinition": "web", "launchType": "FARGATE", "networkConfiguration": network(),
               "overrides": {"cpu": cpu, "memory": "1 GB"}})
    };
    assert_eq!(text(&mut api, sized("4 vCPU")), "No Fargate configuration exists for given values.");
    assert_eq!(api.ok(task::run, sized("0.5 vCPU"))["tasks"][0]["cpu"], "512");
}

#[test]
fn an_update_rolls_only_what_changes_the_tasks() {
    let mut api = Api::new();
    api.register();
    api.ok(service::create, service(2));
    assert_eq!(api.refused(service::create, service(3)).1, "Creation of service was not idempotent.");
    let deployments = |answer: &Value| answer["service"]["deployments"].as_array().unwrap().len();

    let scaled = api.ok(service::update, json!({"service": "web", "desiredCount": 5}));
    assert_eq!((deployments(&scaled), &scaled["service"]["desiredCount"]), (1, &json!(5)));
    let forced = api.ok(service::update, json!({"service": "web", "forceNewDeployment": true}));
    assert_eq!(deployments(&forced), 2);
    api.register();
    let rolled = api.ok(service::update, json!({"service": "web", "taskDefinition": "web"}));
    assert_eq!(deployments(&rolled), 3);
    assert_eq!(rolled["service"]["deployments"][0]["status"], "PRIMARY");
    assert!(rolled["service"]["taskDefinition"].as_str().unwrap().ends_with("web:2"));
}

#[test]
fn a_service_is_deleted_by_ecs_rules() {
    let mut api = Api::new();
    api.register();
    api.ok(service::create, service(1));
    assert_eq!(
        api.refused(service::delete, json!({"service": "web"})).1,
        "The service cannot be stopped while it is scaled above 0."
    );
    assert_eq!(api.refused(cluster::delete, json!({"cluster": "default"})).0, ErrorKind::ClusterContainsServices);
    assert_eq!(api.ok(service::delete, json!({"service": "web", "force": true}))["service"]["status"], "DRAINING");
    assert_eq!(api.refused(service::create, service(1)).1, "Unable to Start a service that is still Draining.");
    assert_eq!(api.refused(service::update, json!({"service": "none"})).0, ErrorKind::ServiceNotFound);
}
