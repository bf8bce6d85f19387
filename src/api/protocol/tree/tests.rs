use proptest::prelude::*;
use serde_json::json;

use super::*;
use crate::api::wire::ecs::{
    CreateServiceRequest, RegisterTaskDefinitionRequest, RunTaskRequest, StopTaskRequest, Tag,
};
use crate::api::wire::{ecs, elbv2};

fn strict<T: Wire>(tree: Value) -> Result<(T, Vec<String>), DecodeError> {
    let decoded = decode(T::SHAPE, tree, Mode::Strict)?;
    Ok((to_struct(decoded.tree)?, decoded.ignored))
}

fn refusal<T: Wire + std::fmt::Debug>(tree: Value) -> String {
    strict::<T>(tree).unwrap_err().to_string()
}

/// The definition that people write, with numbers in strings.
fn webserver() -> Value {
    json!({
        "family": "webserver",
        "containerDefinitions": [{"name": "web", "image": "nginx", "memory": "100", "cpu": "99"}],
        "requiresCompatibilities": ["FARGATE"], "networkMode": "awsvpc", "memory": "512", "cpu": "256",
    })
}

#[test]
fn a_wrong_type_is_named_by_its_path() {
    assert_eq!(
        refusal::<RegisterTaskDefinitionRequest>(webserver()),
        "containerDefinitions[0].cpu: expected an integer, found a string"
    );
    assert_eq!(refusal::<StopTaskRequest>(json!([])), "the request: expected an object, found a list");
    assert_eq!(refusal::<RunTaskRequest>(json!({"count": 1.5})), "count: expected an integer, found 1.5");
    assert_eq!(
        refusal::<RunTaskRequest>(json!({"count": 1_u64 << 40})),
        "count: expected an integer, found 1099511627776"
    );
}

#[test]
fn files_may_write_numbers_as_strings_and_strings_as_numbers() {
    let mut definition = webserver();
    definition["memory"] = json!(512);
    definition["containerDefinitions"][0]["essential"] = json!("true");
    let (input, leniencies, ignored): (RegisterTaskDefinitionRequest, _, _) = decode_lenient(definition).unwrap();
    let container = &input.container_definitions.as_ref().unwrap()[0];
    assert_eq!((container.memory, container.cpu, container.essential), (Some(100), Some(99), Some(true)));
    assert_eq!(input.memory.as_deref(), Some("512"));
    assert_eq!(ignored, [""; 0]);
    let paths: Vec<&str> = leniencies.iter().map(|leniency| leniency.path.as_str()).collect();
    let container = "containerDefinitions[0]";
    assert_eq!(paths.len(), 4);
    for member in ["cpu", "memory", "essential"] {
        assert!(paths.contains(&format!("{container}.{member}").as_str()), "{paths:?}");
    }
    let refused = decode_lenient::<RunTaskRequest>(json!({"taskDefinition": "a", "count": "many"})).unwrap_err();
    assert_eq!(refused.to_string(), "count: expected an integer, found a string");
}

#[test]
fn unknown_members_are_reported_and_nulls_are_absent() {
    let tree = json!({"task": "t", "cluster": null, "colour": 1, "reason": "because"});
    let (input, ignored) = strict::<StopTaskRequest>(tree).unwrap();
    assert_eq!(input.cluster, None);
    assert_eq!(input.reason.as_deref(), Some("because"));
    assert_eq!(ignored, ["colour"]);
    let tree = json!({"family": "f", "containerDefinitions": [], "ipcMode": ""});
    assert_eq!(strict::<RegisterTaskDefinitionRequest>(tree).unwrap().0.ipc_mode, None);
    let tree = json!({"family": "f", "containerDefinitions": [{"environment": [{"nam": "x"}]}]});
    let (_, ignored) = strict::<RegisterTaskDefinitionRequest>(tree).unwrap();
    assert_eq!(ignored, ["containerDefinitions[0].environment[0].nam"]);
}

#[test]
fn missing_members_and_unknown_values_are_told_in_awss_words() {
    assert_eq!(
        refusal::<StopTaskRequest>(json!({})),
        "1 validation error detected: Value null at 'task' failed to satisfy constraint: Member must not be null"
    );
    assert_eq!(
        refusal::<CreateServiceRequest>(json!({"serviceName": "s", "launchType": "MOON"})),
        "1 validation error detected: Value 'MOON' at 'launchType' failed to satisfy constraint: \
         Member must satisfy enum value set: [EC2, FARGATE, EXTERNAL, MANAGED_INSTANCES]"
    );
    assert_eq!(
        refusal::<RunTaskRequest>(json!({"tags": [{"key": ""}, null]})),
        "3 validation errors detected: Value '' at 'tags.1.member.key' failed to satisfy constraint: \
         Member must have length greater than or equal to 1; Value null at 'tags.2.member' failed to satisfy \
         constraint: Member must not be null; Value null at 'taskDefinition' failed to satisfy constraint: \
         Member must not be null"
    );
}

#[test]
fn bounds_of_numbers_are_the_models() {
    let tree = json!({"Name": "t", "Port": 0, "HealthCheckIntervalSeconds": 301});
    let refused = refusal::<elbv2::CreateTargetGroupInput>(tree);
    assert!(refused.contains("Value '301' at 'healthCheckIntervalSeconds' failed to satisfy constraint"), "{refused}");
    assert!(refused.contains("Member must have value less than or equal to 300"), "{refused}");
    assert!(refused.contains("Member must have value greater than or equal to 1"), "{refused}");
}

#[test]
fn a_whole_float_is_an_integer() {
    let (input, _) = strict::<RunTaskRequest>(json!({"taskDefinition": "a", "count": 3.0})).unwrap();
    assert_eq!(input.count, Some(3));
}

#[test]
fn lists_and_lists_of_violations_are_bounded() {
    let tags = vec![json!({}); LIST_ITEMS_MAX + 1];
    let refused = strict::<RunTaskRequest>(json!({"taskDefinition": "a", "tags": tags})).unwrap_err();
    assert!(matches!(refused, DecodeError::TooLong { .. }), "{refused}");
    let wrong = vec![json!("X"); 100];
    let refused = refusal::<RegisterTaskDefinitionRequest>(json!({"requiresCompatibilities": wrong}));
    assert!(refused.starts_with("16 validation errors detected"), "{refused}");
}

#[test]
fn an_answer_reads_back_as_it_was_written() {
    let tag = Tag { key: Some(String::from("k")), value: None };
    let input =
        RunTaskRequest { tags: Some(vec![tag]), task_definition: Some(String::from("a")), ..Default::default() };
    let (read, ignored) = strict::<RunTaskRequest>(serde_json::to_value(&input).unwrap()).unwrap();
    assert_eq!((read, ignored.len()), (input, 0));
}

/// The deepest path of the models, which `DEPTH_MAX` must exceed.
fn depth(shape: &'static Shape) -> usize {
    match shape {
        Shape::Structure { members, .. } => members.iter().map(|member| 1 + depth(member.shape)).max().unwrap_or(0),
        Shape::List { member: inner, .. } | Shape::Map { value: inner, .. } => 1 + depth(inner),
        _ => 0,
    }
}

#[test]
fn the_models_fit_the_depth_limit() {
    let shapes = [&ecs::SERVICE, &elbv2::SERVICE].into_iter().flat_map(|service| service.operations);
    let deepest = shapes.map(|operation| depth(operation.input)).max().unwrap();
    assert!((5..DEPTH_MAX).contains(&deepest), "{deepest}");
}

/// Any JSON, of which some names are those of the models.
fn any_json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        "[A-Za-z0-9 .é]{0,12}".prop_map(Value::from),
    ];
    let name = prop_oneof![
        Just("containerDefinitions"),
        Just("environment"),
        Just("name"),
        Just("cpu"),
        Just("family"),
        Just("volumes"),
        Just("requiresCompatibilities"),
        Just("unknown"),
    ];
    leaf.prop_recursive(6, 64, 6, move |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..5).prop_map(Value::Array),
            prop::collection::vec((name.clone(), inner), 0..6).prop_map(|pairs| {
                Value::Object(pairs.into_iter().map(|(name, value)| (name.to_owned(), value)).collect())
            }),
        ]
    })
}

proptest! {
    /// Whatever comes is refused or becomes a struct: what was decoded always deserializes, and decodes to itself.
    #[test]
    fn whatever_comes_never_panics(tree in any_json(), lenient: bool) {
        let mode = if lenient { Mode::Lenient } else { Mode::Strict };
        let shape = RegisterTaskDefinitionRequest::SHAPE;
        if let Ok(decoded) = decode(shape, tree, mode) {
            let input: RegisterTaskDefinitionRequest = to_struct(decoded.tree.clone()).unwrap();
            let again = decode(shape, serde_json::to_value(&input).unwrap(), Mode::Strict).unwrap();
            prop_assert_eq!(again.tree, decoded.tree);
            prop_assert!(again.ignored.is_empty());
        }
    }
}
