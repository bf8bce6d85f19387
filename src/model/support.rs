//! What happens here to every field of a task definition: honoured, mapped to something, without effect, or refused.
//!
//! One table, read by `coracle check` before a definition is used and by the node when a task starts, so that nothing
//! that was asked for is dropped in silence.

use std::collections::BTreeMap;

use serde::Serialize;
use serde_json::Value;

use crate::model::health::{self, Mapping};
use crate::model::labels;

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Verdict {
    /// As on AWS.
    Honoured,
    /// Something of WebAssembly stands in for it.
    Mapped,
    /// Kept and shown; nothing acts on it.
    WithoutEffect,
    /// The definition is refused, or its task cannot start.
    Refused,
}

/// One field of one definition.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Field {
    /// Such as `containerDefinitions[0].memory`.
    pub path: String,
    pub verdict: Verdict,
    pub text: String,
}

type Row = (&'static str, Verdict, &'static str);
use Verdict::{Honoured, Mapped, Refused, WithoutEffect};

/// Members of the definition itself.
#[rustfmt::skip]
const TASK: &[Row] = &[
    ("family", Honoured, ""),
    ("cpu", Honoured, "CPU units; a cap on FARGATE, a weight elsewhere"),
    ("memory", Honoured, "bounds what all containers hold together"),
    ("networkMode", Mapped, "a loopback address for each task; host ports of `bridge` and `host` are on loopback; `none`: no sockets"),
    ("requiresCompatibilities", Honoured, ""),
    ("tags", Honoured, ""),
    ("runtimePlatform", Mapped, "WebAssembly runs on every Linux platform"),
    ("taskRoleArn", Mapped, "credentials that this server's own API accepts, from the credentials endpoint"),
    ("executionRoleArn", WithoutEffect, "nothing is pulled from AWS"),
    ("volumes", Mapped, "scratch, Docker volumes with the driver local, and what the operator's configuration allows: host paths, EFS, S3 Files"),
    ("ephemeralStorage", Honoured, "watched by usage; a task over it ends"),
    ("placementConstraints", WithoutEffect, "there is one node"),
    ("pidMode", WithoutEffect, "there are no processes to share"),
    ("ipcMode", WithoutEffect, "there is nothing to share"),
    ("proxyConfiguration", WithoutEffect, "App Mesh is not there"),
    ("inferenceAccelerators", WithoutEffect, "there are no accelerators"),
    ("enableFaultInjection", WithoutEffect, "the fault endpoints say that it is not enabled"),
];

/// Members of a container definition.
#[rustfmt::skip]
const CONTAINER: &[Row] = &[
    ("name", Honoured, ""),
    ("image", Mapped, "a WebAssembly component: a file, a built-in image, or an alias (--image NAME=FILE)"),
    ("cpu", Honoured, "the weight among the task's containers"),
    ("memory", Honoured, "a hard limit on all that its instances hold"),
    ("memoryReservation", Honoured, "what placement on EC2 counts, and what a task keeps when the node is short of memory"),
    ("portMappings", Honoured, ""),
    ("essential", Honoured, ""),
    ("entryPoint", Mapped, "its first word is argv[0], the others are the first arguments"),
    ("command", Mapped, "the arguments after entryPoint"),
    ("environment", Honoured, ""),
    ("stopTimeout", Honoured, "seconds until a guest that does not end is cut off"),
    ("dockerLabels", Honoured, "those named coracle.* say what ECS has no field for"),
    ("logConfiguration", Mapped, "read the lines with `coracle logs`"),
    ("interactive", Mapped, "standard input stays open, and empty, until the stop"),
    ("pseudoTerminal", WithoutEffect, "there is no terminal"),
    ("repositoryCredentials", WithoutEffect, "nothing is pulled from a registry yet"),
    ("links", Honoured, "all containers of a task know each other by name; what is linked to starts first"),
    ("restartPolicy", Honoured, ""),
    ("environmentFiles", Mapped, "read from the directory that stands for S3: files.objectDirectory of the configuration"),
    ("mountPoints", Honoured, ""),
    ("volumesFrom", Honoured, ""),
    ("linuxParameters", Mapped, "tmpfs is kept on the disk, within its size; the rest has no effect"),
    ("secrets", Honoured, "from Secrets Manager and Parameter Store of this server"),
    ("dependsOn", Honoured, "and in reversed order at the stop"),
    ("startTimeout", Honoured, "seconds until others stop waiting for this container"),
    ("versionConsistency", WithoutEffect, "the digest is resolved at each start"),
    ("hostname", Mapped, "a name that the task resolves, and the environment variable HOSTNAME"),
    ("user", WithoutEffect, "WASI has no users"),
    ("workingDirectory", Mapped, "told as WASI's initial-cwd; a guest whose library does not ask for it begins at /"),
    ("disableNetworking", Honoured, "no sockets, and no port is open"),
    ("privileged", WithoutEffect, "there are no privileges to give"),
    ("readonlyRootFilesystem", Honoured, ""),
    ("dnsServers", Honoured, ""),
    ("dnsSearchDomains", Honoured, ""),
    ("extraHosts", Honoured, ""),
    ("dockerSecurityOptions", WithoutEffect, "the sandbox is always the same"),
    ("ulimits", Mapped, "nofile bounds open files; the node's own limits hold otherwise"),
    ("healthCheck", Mapped, ""),
    ("systemControls", WithoutEffect, "there is no kernel of its own"),
    ("resourceRequirements", WithoutEffect, "there are no GPUs"),
    ("firelensConfiguration", WithoutEffect, "logs are not routed yet"),
    ("credentialSpecs", WithoutEffect, "there is no Windows"),
];

/// What happens to every member of a registered definition (wire form). Empty lists and objects ask for nothing.
pub fn fields(document: &Value) -> Vec<Field> {
    let mut fields = Vec::new();
    let Some(members) = document.as_object() else { return fields };
    for (name, value) in members.iter().filter(|(_, value)| !asks_for_nothing(value)) {
        if name != "containerDefinitions" {
            fields.push(field(TASK, name, String::from(name), value));
            continue;
        }
        for (at, container) in value.as_array().into_iter().flatten().enumerate() {
            for (name, value) in
                container.as_object().into_iter().flatten().filter(|(_, value)| !asks_for_nothing(value))
            {
                fields.push(field(CONTAINER, name, format!("containerDefinitions[{at}].{name}"), value));
            }
        }
    }
    fields.extend(bad_label(members.get("containerDefinitions")));
    fields
}

/// A label of ours that says nothing: registered all the same, because ECS registers any.
fn bad_label(containers: Option<&Value>) -> Option<Field> {
    let labels =
        |container: &Value| serde_json::from_value::<BTreeMap<String, String>>(container["dockerLabels"].clone());
    let given: Vec<_> = containers?.as_array()?.iter().map(|container| labels(container).unwrap_or_default()).collect();
    let bad = labels::parse(given.iter()).err()?;
    let path = format!("containerDefinitions[{}].dockerLabels.{}", bad.container, bad.name);
    Some(Field { path, verdict: Refused, text: bad.text })
}

/// `false` is what a member that is off says.
fn asks_for_nothing(value: &Value) -> bool {
    match value {
        Value::Null | Value::Bool(false) => true,
        Value::Array(items) => items.is_empty(),
        Value::Object(members) => members.is_empty(),
        _ => false,
    }
}

fn field(table: &[Row], name: &str, path: String, value: &Value) -> Field {
    let row = table.iter().find(|(known, _, _)| *known == name);
    let (verdict, text) = match row {
        // What Windows needs cannot be given.
        Some((_, _, _)) if name == "runtimePlatform" && is_windows(value) => {
            (Refused, "Windows containers cannot run here")
        }
        Some((_, _, _)) if name == "healthCheck" => return health_check(path, value),
        Some((_, verdict, text)) => (*verdict, *text),
        None => (WithoutEffect, "ECS has no such member; it is ignored"),
    };
    Field { path, verdict, text: text.to_owned() }
}

/// What stands in for its command, or why nothing can.
fn health_check(path: String, value: &Value) -> Field {
    let (verdict, text) = match health::map(value, None) {
        Mapping::Mapped(check) => (Mapped, format!("its command is stood in for: {}", check.probe.first)),
        Mapping::Absent => (Honoured, String::from("there is none")),
        Mapping::Unmapped(why) => (WithoutEffect, why),
    };
    Field { path, verdict, text }
}

fn is_windows(platform: &Value) -> bool {
    platform["operatingSystemFamily"].as_str().is_some_and(|family| family.starts_with("WINDOWS"))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn every_field_that_asks_for_something_is_told_of() {
        let fields = fields(&json!({
            "family": "web", "cpu": "256", "volumes": [], "wrong": 1,
            "containerDefinitions": [{"name": "web", "image": "nginx", "privileged": false, "user": "root"}]
        }));
        let verdict = |path: &str| fields.iter().find(|field| field.path == path).map(|field| field.verdict);
        assert_eq!(verdict("cpu"), Some(Honoured));
        assert_eq!(verdict("volumes"), None);
        assert_eq!(verdict("wrong"), Some(WithoutEffect));
        assert_eq!(verdict("containerDefinitions[0].image"), Some(Mapped));
        assert_eq!(verdict("containerDefinitions[0].user"), Some(WithoutEffect));
        assert_eq!(verdict("containerDefinitions[0].privileged"), None);
    }

    #[test]
    fn a_health_check_says_what_stands_in_for_it() {
        let field = |command: Value| {
            let document = json!({"containerDefinitions": [{"healthCheck": {"command": command}}]});
            let field = fields(&document).remove(0);
            (field.verdict, field.text)
        };
        let (verdict, text) = field(json!(["CMD-SHELL", "curl -f http://localhost:8080/up || exit 1"]));
        assert!(verdict == Mapped && text.ends_with("GET http://localhost:8080/up"), "{text}");
        let (verdict, text) = field(json!(["CMD", "pg_isready"]));
        assert!(verdict == WithoutEffect && text.contains("wasm:EXPORT"), "{text}");
    }

    #[test]
    fn a_label_that_says_nothing_is_refused_and_named() {
        let fields = fields(&json!({"containerDefinitions": [
            {"name": "a", "dockerLabels": {"coracle.fuel.task": "1000"}},
            {"name": "b", "dockerLabels": {"coracle.fuel.request": "many"}}
        ]}));
        let bad = fields.iter().find(|field| field.verdict == Refused).unwrap();
        assert_eq!(bad.path, "containerDefinitions[1].dockerLabels.coracle.fuel.request");
    }

    #[test]
    fn windows_is_refused() {
        let fields = fields(&json!({"runtimePlatform": {"operatingSystemFamily": "WINDOWS_SERVER_2022_CORE"}}));
        assert_eq!(fields[0].verdict, Refused);
    }
}
