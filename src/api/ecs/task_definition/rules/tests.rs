use serde_json::{Value, json};

use super::*;

/// The definition of the README, on the wire, with members replaced (`null` removes one).
fn with(changes: &[(&str, Value)]) -> Request {
    let mut definition = json!({
        "family": "webserver",
        "containerDefinitions": [{"name": "web", "image": "nginx", "memory": 100, "cpu": 99}],
        "requiresCompatibilities": ["FARGATE"], "networkMode": "awsvpc", "memory": "512", "cpu": "256"
    });
    for (pointer, value) in changes {
        let (parent, member) = pointer.rsplit_once('/').unwrap();
        let parent = definition.pointer_mut(parent).unwrap().as_object_mut().unwrap();
        match value {
            Value::Null => drop(parent.remove(member)),
            value => drop(parent.insert(member.to_owned(), value.clone())),
        }
    }
    serde_json::from_value(definition).unwrap()
}

#[test]
fn accepts_what_ecs_accepts() {
    for changes in [
        vec![],
        vec![("/cpu", json!("0.25 vCPU")), ("/memory", json!("1GB"))],
        vec![("/requiresCompatibilities", Value::Null), ("/networkMode", Value::Null), ("/cpu", Value::Null)],
        vec![("/executionRoleArn", json!("arn:aws:iam::123456789012:role/service-role/x"))],
        vec![("/containerDefinitions/0/image", json!("public.ecr.aws/nginx/nginx:1.27@sha256:00ff"))],
        vec![("/containerDefinitions/0/image", json!("file:///tmp/my image.wasm"))],
    ] {
        check(&with(&changes)).unwrap_or_else(|error| panic!("{changes:?}: {error}"));
    }
}

#[test]
fn refuses_with_ecs_texts() {
    let long = "a".repeat(256);
    let eleven: Vec<Value> = (0..11).map(|n| json!({"name": format!("c{n}"), "image": "nginx"})).collect();
    for (changes, text) in [
        (
            vec![
                ("/executionRoleArn", json!("role")),
                ("/containerDefinitions/0/environment", json!([{"name": "A", "value": "1"}])),
                ("/containerDefinitions/0/secrets", json!([{"name": "A", "valueFrom": "/a"}])),
            ],
            "The secret name must be unique and not shared with any new or existing environment variables set on the container, such as 'A'.",
        ),
        (
            vec![
                ("/executionRoleArn", json!("role")),
                ("/containerDefinitions/0/secrets", json!([{"name": "A", "valueFrom": "a b"}])),
            ],
            "The Systems Manager parameter name specified for secret A is invalid.",
        ),
        (
            vec![("/containerDefinitions/0/secrets", json!([{"name": "A", "valueFrom": "/a"}]))],
            "you must also specify a value for 'executionRoleArn'",
        ),
        (
            vec![("/containerDefinitions/0/environmentFiles", json!([{"type": "s3", "value": "conf/a.env"}]))],
            "must be the ARN of an object in Amazon S3",
        ),
        (vec![("/family", json!("a b"))], "Family contains invalid characters."),
        (vec![("/family", json!(long))], "Family contains invalid characters."),
        (vec![("/family", json!(""))], "Family should not be null or empty."),
        (vec![("/containerDefinitions", json!([]))], "Container list cannot be empty."),
        (vec![("/containerDefinitions", json!(eleven))], "Too many containers"),
        (vec![("/containerDefinitions/0/name", Value::Null)], "Container.name should not be null or empty."),
        (vec![("/containerDefinitions/0/name", json!("a b"))], "Container.name contains invalid characters."),
        (vec![("/containerDefinitions/0/image", Value::Null)], "Container.image should not be null or empty."),
        (vec![("/containerDefinitions/0/image", json!("<IMAGE>"))], "Container.image contains invalid characters."),
        (vec![("/containerDefinitions/0/essential", json!(false))], "at least one essential container"),
        (vec![("/networkMode", json!("bridge"))], "Fargate only supports network mode 'awsvpc'."),
        (vec![("/cpu", Value::Null)], "Fargate requires that 'cpu' be defined at the task level."),
        (vec![("/memory", json!("700"))], "No Fargate configuration exists for given values."),
        (vec![("/cpu", json!("300"))], "No Fargate configuration exists for given values."),
        (vec![("/requiresCompatibilities", json!(["EC2"])), ("/cpu", json!("64"))], "Invalid 'cpu' setting for task."),
        (
            vec![
                ("/requiresCompatibilities", json!(["EC2"])),
                ("/memory", Value::Null),
                ("/containerDefinitions/0/memory", Value::Null),
            ],
            "Invalid setting for container 'web'. At least one of 'memory' or 'memoryReservation' must be specified.",
        ),
        (
            vec![("/containerDefinitions/0/memory", json!(1024))],
            "The 'memory' setting for container is greater than for the task.",
        ),
        (vec![("/containerDefinitions/0/cpu", json!(512))], "Invalid 'cpu' setting for task"),
        (
            vec![("/containerDefinitions/0/portMappings", json!([{"containerPort": 80, "hostPort": 8080}]))],
            "When networkMode=awsvpc, the host ports and container ports in port mappings must match.",
        ),
        (vec![("/containerDefinitions/0/portMappings", json!([{"containerPort": 70000}]))], "'containerPort' is 70000"),
        (
            vec![("/containerDefinitions/0/image", json!("123456789012.dkr.ecr.eu-west-1.amazonaws.com/a"))],
            "Fargate requires task definition to have execution role ARN to support ECR images.",
        ),
        (vec![("/executionRoleArn", json!("arn:aws:iam::<account>:role/x"))], "Role is not valid"),
        (
            vec![("/containerDefinitions/0/mountPoints", json!([{"sourceVolume": "v", "containerPath": "/v"}]))],
            "Unknown volume 'v'.",
        ),
        (vec![("/containerDefinitions/0/privileged", json!(true))], "do not support privileged"),
        (
            vec![("/containerDefinitions/0/dependsOn", json!([{"containerName": "x", "condition": "START"}]))],
            "Cannot depend on container + 'x' because it does not exist",
        ),
        (vec![("/containerDefinitions/0/stopTimeout", json!(121))], "'stopTimeout' is 121"),
        (vec![("/containerDefinitions/0/startTimeout", json!(1))], "'startTimeout' is 1"),
        (
            vec![("/containerDefinitions/0/restartPolicy", json!({"enabled": true, "restartAttemptPeriod": 59}))],
            "'restartPolicy.restartAttemptPeriod' is 59",
        ),
        (
            vec![("/containerDefinitions/0/healthCheck", json!({"command": ["CMD", "true"], "interval": 4}))],
            "'healthCheck.interval' is 4",
        ),
    ] {
        let error = check(&with(&changes)).expect_err(text);
        assert!(error.message.contains(text), "{changes:?} gave: {error}");
    }
}

#[test]
fn finds_a_circle_of_dependencies() {
    let containers = json!([
        {"name": "a", "image": "nginx", "dependsOn": [{"containerName": "b", "condition": "START"}]},
        {"name": "b", "image": "nginx", "dependsOn": [{"containerName": "a", "condition": "START"}]},
        {"name": "c", "image": "nginx"}
    ]);
    let error = check(&with(&[("/containerDefinitions", containers)])).unwrap_err();
    assert!(error.message.contains("should not have a cycle"), "{error}");
}

#[test]
fn what_is_waited_for_must_be_able_to_come() {
    let refusal = |condition: &str, other: serde_json::Value| {
        let mut side = json!({"name": "side", "image": "nginx"});
        side.as_object_mut().unwrap().extend(other.as_object().unwrap().clone());
        let web = json!({"name": "web", "image": "nginx", "dependsOn": [
            {"containerName": "side", "condition": condition}]});
        check(&with(&[("/containerDefinitions", json!([web, side]))])).err().map(|error| error.message)
    };
    let essential = "A dependency container with SUCCESS or COMPLETE condition cannot be an essential container";
    let unchecked = "A dependency container with HEALTHY condition must have health check configured";
    let checked = json!({"healthCheck": {"command": ["CMD", "true"]}});
    assert_eq!(refusal("SUCCESS", json!({})).as_deref(), Some(essential));
    assert_eq!(refusal("COMPLETE", json!({})).as_deref(), Some(essential));
    assert_eq!(refusal("COMPLETE", json!({"essential": false})), None);
    assert_eq!(refusal("HEALTHY", json!({})).as_deref(), Some(unchecked));
    assert_eq!(refusal("HEALTHY", json!({"healthCheck": {"command": ["NONE"]}})).as_deref(), Some(unchecked));
    assert_eq!(refusal("HEALTHY", checked), None);
    assert!(refusal("SOON", json!({})).is_some());
}
