//! The `dockerLabels` that say what AWS has no field for. AWS accepts any label, and so do we: one whose value says nothing
//! fails the start of the task, and `coracle check` tells before.

use std::collections::BTreeMap;

use crate::model::ContainerDefinition;

/// Every label of ours that a container may have.
pub const KEEP: &str = "coracle.instances.keep";
pub const BURST: &str = "coracle.cpu.burst";
pub const FUEL_TASK: &str = "coracle.fuel.task";
pub const FUEL_REQUEST: &str = "coracle.fuel.request";
pub const DETERMINISTIC: &str = "coracle.deterministic";

/// What the labels of a task's containers say, those of the whole task once.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Labels {
    /// Whether idle CPU beyond the task's units may be used; the launch type decides where none says.
    pub burst: Option<bool>,
    /// The instruction budget of the whole task.
    pub fuel: Option<u64>,
    /// In the order of the containers.
    pub containers: Vec<ContainerLabels>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ContainerLabels {
    /// The instruction budget of each request.
    pub request_fuel: Option<u64>,
    pub deterministic: bool,
}

/// A label that cannot be honoured.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BadLabel {
    /// The index of its container.
    pub container: usize,
    pub name: &'static str,
    pub text: String,
}

impl Labels {
    pub fn of(containers: &[ContainerDefinition]) -> Result<Labels, BadLabel> {
        parse(containers.iter().map(|container| &container.docker_labels))
    }
}

/// Reads the labels of all containers of a task.
pub fn parse<'a>(containers: impl Iterator<Item = &'a BTreeMap<String, String>>) -> Result<Labels, BadLabel> {
    let mut labels = Labels::default();
    for (at, given) in containers.enumerate() {
        let bad = |name, text: String| BadLabel { container: at, name, text };
        let value = |name: &str| given.get(name).map(String::as_str);
        let yes = |name| value(name).map(|value| yes_or_no(value).map_err(|text| bad(name, text))).transpose();
        let count = |name| value(name).map(|value| instructions(value).map_err(|text| bad(name, text))).transpose();
        let keeps = yes(KEEP)?.unwrap_or(false);
        let of_container =
            ContainerLabels { request_fuel: count(FUEL_REQUEST)?, deterministic: yes(DETERMINISTIC)?.unwrap_or(false) };
        if keeps && of_container.deterministic {
            let text = format!("each run begins with fresh instances, and {KEEP} is true");
            return Err(bad(DETERMINISTIC, text));
        }
        once(&mut labels.burst, yes(BURST)?).map_err(|text| bad(BURST, text))?;
        once(&mut labels.fuel, count(FUEL_TASK)?).map_err(|text| bad(FUEL_TASK, text))?;
        labels.containers.push(of_container);
    }
    Ok(labels)
}

/// A label of the whole task: any container may have it, and those that do agree.
fn once<T: PartialEq>(known: &mut Option<T>, given: Option<T>) -> Result<(), String> {
    match (known.as_ref(), given) {
        (Some(known), Some(given)) if *known != given => {
            Err(String::from("it is of the whole task, and another container says something else"))
        }
        (_, Some(given)) => {
            *known = Some(given);
            Ok(())
        }
        (_, None) => Ok(()),
    }
}

fn yes_or_no(value: &str) -> Result<bool, String> {
    match value {
        "true" => Ok(true),
        "false" => Ok(false),
        _ => Err(format!("'{value}' is neither true nor false")),
    }
}

fn instructions(value: &str) -> Result<u64, String> {
    let digits = !value.is_empty() && value.bytes().all(|byte| byte.is_ascii_digit());
    match value.parse::<u64>() {
        Ok(count) if digits && count > 0 => Ok(count),
        _ => Err(format!("'{value}' is no number of instructions above 0")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(containers: &[&[(&str, &str)]]) -> Result<Labels, BadLabel> {
        let containers: Vec<BTreeMap<String, String>> = containers
            .iter()
            .map(|labels| labels.iter().map(|(name, value)| (name.to_string(), value.to_string())).collect())
            .collect();
        parse(containers.iter())
    }

    #[test]
    fn labels_of_the_task_may_be_on_any_container() {
        let labels = of(&[
            &[("team", "any"), (FUEL_REQUEST, "5000")],
            &[(BURST, "true"), (FUEL_TASK, "1000000000"), (DETERMINISTIC, "true")],
        ])
        .unwrap();
        assert_eq!((labels.burst, labels.fuel), (Some(true), Some(1_000_000_000)));
        assert_eq!(labels.containers[0], ContainerLabels { request_fuel: Some(5000), deterministic: false });
        assert_eq!(labels.containers[1], ContainerLabels { request_fuel: None, deterministic: true });
        assert_eq!(of(&[&[(BURST, "false")], &[(BURST, "false")]]).unwrap().burst, Some(false));
    }

    #[test]
    fn what_says_nothing_is_named() {
        for (name, value) in [
            (BURST, "yes"),
            (KEEP, ""),
            (FUEL_TASK, "0"),
            (FUEL_TASK, "+5"),
            (FUEL_REQUEST, "1e9"),
            (FUEL_REQUEST, "99999999999999999999"),
            (DETERMINISTIC, "True"),
        ] {
            let bad = of(&[&[], &[(name, value)]]).unwrap_err();
            assert_eq!((bad.container, bad.name), (1, name), "{value}");
        }
    }

    #[test]
    fn what_contradicts_itself_is_named() {
        assert_eq!(of(&[&[(FUEL_TASK, "1")], &[(FUEL_TASK, "2")]]).unwrap_err().name, FUEL_TASK);
        assert_eq!(of(&[&[(KEEP, "true"), (DETERMINISTIC, "true")]]).unwrap_err().name, DETERMINISTIC);
    }
}
