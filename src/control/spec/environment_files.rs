//! `environmentFiles` of containers: files of variables, read when a task starts from the directory that stands for S3.
//!
//! They are files as container engines read them: a variable a line, nothing is quoted or expanded. As on ECS a variable
//! that `environment` sets is not changed, and of several files that set one the first wins. Reading may block, so it is
//! done before the specification is made, away from the loop.

use std::collections::BTreeMap;
use std::io::Read;

use cap_std::ambient_authority;
use cap_std::fs::{Dir, OpenOptions, OpenOptionsExt};
use serde_json::Value;

use crate::control::spec::overrides_of;
use crate::model::exit::StartFailure;
use crate::model::settings::FileSettings;
use crate::model::task_definition::ContainerDefinition;
use crate::model::{Task, TaskDefinition};

/// Bytes of one file: ten of them for each of ten containers are still held at once without harm, and no real
/// environment comes near.
const FILE_BYTES_MAX: u64 = 1 << 20;
/// Files of one container (ECS's limit).
pub const FILES_MAX: usize = 10;

/// The variables of containers, by the container's name, as their files give them.
#[derive(Default)]
pub struct Variables(BTreeMap<String, BTreeMap<String, String>>);

impl Variables {
    pub fn of(&self, container: &str) -> impl Iterator<Item = (&String, &String)> {
        self.0.get(container).into_iter().flatten()
    }
}

/// Whether any container of the task has such files.
pub fn are_asked_for(task: &Task, definition: &TaskDefinition) -> bool {
    definition.document.container_definitions.iter().any(|container| !files(task, container).is_empty())
}

/// Reads the files of all containers. Blocks.
pub fn read(settings: &FileSettings, task: &Task, definition: &TaskDefinition) -> Result<Variables, StartFailure> {
    let mut variables = Variables::default();
    for container in &definition.document.container_definitions {
        let of_container = variables.0.entry(container.name.clone()).or_default();
        for file in files(task, container) {
            let text = object(settings, file).map_err(failure)?;
            for (name, value) in parse(&text).map_err(|why| failure(format!("{file}: {why}")))? {
                of_container.entry(name).or_insert(value);
            }
        }
    }
    Ok(variables)
}

fn failure(why: String) -> StartFailure {
    StartFailure::ResourceInitialization(format!("failed to download env files: {why}"))
}

/// The ARNs of a container's files: the task's own instead of the definition's.
fn files<'a>(task: &'a Task, container: &'a ContainerDefinition) -> Vec<&'a str> {
    let of_task = overrides_of(task, &container.name).and_then(|given| given.get("environmentFiles"));
    let list = |value: Option<&'a Value>| value.and_then(Value::as_array).filter(|files| !files.is_empty());
    let files = list(of_task).or_else(|| list(container.other.get("environmentFiles")));
    files.into_iter().flatten().filter_map(|file| file.get("value")?.as_str()).take(FILES_MAX).collect()
}

/// The text of `arn:aws:s3:::BUCKET/KEY`: the file KEY in the directory BUCKET. No name and no link leads out of the bucket.
fn object(settings: &FileSettings, arn: &str) -> Result<String, String> {
    let path = arn.strip_prefix("arn:aws:s3:::").and_then(|rest| rest.split_once('/'));
    let (bucket, key) = path
        .filter(|(bucket, key)| is_bucket(bucket) && !key.is_empty())
        .ok_or_else(|| format!("{arn} is not the ARN of an object: arn:aws:s3:::BUCKET/KEY"))?;
    let Some(directory) = &settings.object_directory else {
        return Err(format!(
            "{bucket}/{key} cannot be had, because no directory stands for S3: name one as files.objectDirectory in the configuration file (--config)"
        ));
    };
    let directory = Dir::open_ambient_dir(directory, ambient_authority()).map_err(|error| {
        format!("the directory that stands for S3 (files.objectDirectory) cannot be opened: {error}")
    })?;
    let missing = |why: String| {
        format!(
            "service call has been retried 1 time(s): operation error S3: HeadObject, https response error StatusCode: 404, api error NotFound: Not Found. ({bucket}/{key} is not in the directory that stands for S3: {why})"
        )
    };
    let mut options = OpenOptions::new();
    // What is no regular file must not hold up whoever opens it.
    options.read(true).custom_flags(i32::try_from(rustix::fs::OFlags::NONBLOCK.bits()).unwrap_or(0));
    let bucket = directory.open_dir(bucket).map_err(|error| missing(error.to_string()))?;
    let file = bucket.open_with(key, &options).map_err(|error| missing(error.to_string()))?;
    if !file.metadata().is_ok_and(|metadata| metadata.is_file()) {
        return Err(missing(String::from("it is not a file")));
    }
    let mut bytes = Vec::new();
    file.take(FILE_BYTES_MAX + 1).read_to_end(&mut bytes).map_err(|error| missing(error.to_string()))?;
    if u64::try_from(bytes.len()).unwrap_or(u64::MAX) > FILE_BYTES_MAX {
        return Err(format!("{arn} has more than {FILE_BYTES_MAX} bytes"));
    }
    String::from_utf8(bytes).map_err(|_| format!("{arn} is not UTF-8"))
}

/// A name of a bucket, which is never `.` or `..`.
fn is_bucket(name: &str) -> bool {
    let is_allowed = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-' || c == '.';
    (3..=63).contains(&name.len())
        && name.chars().all(is_allowed)
        && name.starts_with(|c: char| c.is_ascii_alphanumeric())
}

/// The variables of a file. Of a name that comes twice the later line wins.
fn parse(text: &str) -> Result<Vec<(String, String)>, String> {
    let mut variables = Vec::new();
    for (number, line) in (1..).zip(text.strip_prefix('\u{feff}').unwrap_or(text).lines()) {
        let line = line.trim_start();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        // A name alone takes the variable of whoever starts the container: nobody's here.
        let Some((name, value)) = line.split_once('=') else { continue };
        if name.is_empty() || name.contains(char::is_whitespace) || line.contains('\0') {
            return Err(format!("line {number} is not VARIABLE=VALUE"));
        }
        variables.retain(|(known, _)| known != name);
        variables.push((String::from(name), String::from(value)));
    }
    Ok(variables)
}

#[cfg(test)]
mod tests;
