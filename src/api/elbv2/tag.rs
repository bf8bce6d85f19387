//! Tags of load balancers, target groups, listeners and rules.

use crate::api::context::Context;
use crate::api::elbv2::{reference, rule, target_group};
use crate::api::error::{ApiError, ErrorKind};
use crate::api::tags::{KEY_CHARS_MAX, TAGS_MAX, VALUE_CHARS_MAX};
use crate::api::wire::elbv2 as wire;
use crate::model::arn::ArnParts;
use crate::model::{Listener, LoadBalancer, Rule, Tag, TargetGroup};
use crate::store::View;

/// Resources of one call, which is ELB's own limit; it also keeps the call within one transaction.
const RESOURCES_MAX: usize = 20;

pub fn describe(
    cx: &Context,
    view: &mut View,
    input: wire::DescribeTagsInput,
) -> Result<wire::DescribeTagsOutput, ApiError> {
    let mut descriptions = Vec::new();
    for arn in resources(input.resource_arns)? {
        let tags = shown(Tagged::find(cx, view, &arn)?.tags());
        descriptions.push(wire::TagDescription { resource_arn: Some(arn), tags: Some(tags) });
    }
    Ok(wire::DescribeTagsOutput { tag_descriptions: Some(descriptions) })
}

pub fn add(cx: &Context, view: &mut View, input: wire::AddTagsInput) -> Result<wire::AddTagsOutput, ApiError> {
    let new = given(input.tags.as_deref())?;
    if new.is_empty() {
        return Err(ApiError::validation("At least one tag must be specified"));
    }
    for arn in resources(input.resource_arns)? {
        let mut resource = Tagged::find(cx, view, &arn)?;
        if let Tagged::TargetGroup(_) = resource {
            target_group::check_tags(&new)?;
        }
        let tags = resource.tags();
        for new in &new {
            match tags.iter_mut().find(|tag| tag.key == new.key) {
                Some(tag) => tag.value.clone_from(&new.value),
                None => tags.push(new.clone()),
            }
        }
        if tags.len() > TAGS_MAX {
            return Err(too_many());
        }
        resource.put(view)?;
    }
    Ok(wire::AddTagsOutput::default())
}

pub fn remove(cx: &Context, view: &mut View, input: wire::RemoveTagsInput) -> Result<wire::RemoveTagsOutput, ApiError> {
    let keys = input.tag_keys.unwrap_or_default();
    for arn in resources(input.resource_arns)? {
        let mut resource = Tagged::find(cx, view, &arn)?;
        let tags = resource.tags();
        let before = tags.len();
        tags.retain(|tag| !keys.contains(&tag.key));
        if tags.len() < before {
            resource.put(view)?;
        }
    }
    Ok(wire::RemoveTagsOutput::default())
}

fn resources(arns: Option<Vec<String>>) -> Result<Vec<String>, ApiError> {
    let mut arns = arns.unwrap_or_default();
    if arns.is_empty() {
        return Err(ApiError::validation("At least one resource ARN must be specified"));
    }
    if arns.len() > RESOURCES_MAX {
        return Err(ApiError::validation(format_args!("At most {RESOURCES_MAX} resource ARNs can be specified")));
    }
    arns.sort();
    arns.dedup();
    Ok(arns)
}

/// Tags of a request, checked.
pub fn given(tags: Option<&[wire::Tag]>) -> Result<Vec<Tag>, ApiError> {
    let mut checked: Vec<Tag> = Vec::new();
    for tag in tags.unwrap_or_default() {
        let key = tag.key.clone().unwrap_or_default();
        if !(1..=KEY_CHARS_MAX).contains(&key.chars().count()) || !key.chars().all(may_be_in_a_tag) {
            return Err(ApiError::validation(format_args!("The tag key '{key}' is not valid")));
        }
        if key.to_ascii_lowercase().starts_with("aws:") {
            return Err(ApiError::validation(format_args!("The tag key '{key}' cannot begin with 'aws:'")));
        }
        let value = tag.value.clone();
        if value.iter().any(|value| value.chars().count() > VALUE_CHARS_MAX || !value.chars().all(may_be_in_a_tag)) {
            return Err(ApiError::validation(format_args!("The value of the tag '{key}' is not valid")));
        }
        if checked.iter().any(|earlier| earlier.key == key) {
            return Err(ApiError::new(
                ErrorKind::DuplicateTagKeys,
                format_args!("The tag key '{key}' was specified more than once"),
            ));
        }
        checked.push(Tag { key, value });
    }
    if checked.len() > TAGS_MAX {
        return Err(too_many());
    }
    Ok(checked)
}

/// Letters, separators and digits of any script, and some signs: the pattern of the model.
fn may_be_in_a_tag(char: char) -> bool {
    char.is_alphanumeric() || (char.is_whitespace() && !char.is_control()) || "_.:/=+-@".contains(char)
}

fn too_many() -> ApiError {
    ApiError::new(ErrorKind::TooManyTags, format_args!("A resource can have at most {TAGS_MAX} tags"))
}

pub fn shown(tags: &[Tag]) -> Vec<wire::Tag> {
    tags.iter().map(|tag| wire::Tag { key: Some(tag.key.clone()), value: tag.value.clone() }).collect()
}

/// Whether both are the same tags, in whatever order.
pub fn same(one: &[Tag], other: &[Tag]) -> bool {
    one.len() == other.len() && one.iter().all(|tag| other.contains(tag))
}

/// A resource that has tags, by its ARN.
enum Tagged {
    LoadBalancer(Box<LoadBalancer>),
    Listener(Box<Listener>),
    TargetGroup(Box<TargetGroup>),
    Rule(Box<Rule>),
    /// A listener's default rule is no record of its own, and has no tags.
    DefaultRule(Vec<Tag>),
}

impl Tagged {
    fn find(cx: &Context, view: &View, arn: &str) -> Result<Tagged, ApiError> {
        let kind = ArnParts::parse(arn).and_then(|parts| parts.resource.split_once('/')).map(|(kind, _)| kind);
        match kind {
            Some("loadbalancer") => {
                Ok(Tagged::LoadBalancer(Box::new((*reference::load_balancer(cx, view, Some(arn))?).clone())))
            }
            Some("listener") => Ok(Tagged::Listener(Box::new((*reference::listener(cx, view, Some(arn))?).clone()))),
            Some("targetgroup") => {
                Ok(Tagged::TargetGroup(Box::new((*reference::target_group(cx, view, Some(arn))?).clone())))
            }
            Some("listener-rule") => match rule::find(cx, view, Some(arn))? {
                rule::Found::Stored(_, rule) => Ok(Tagged::Rule(Box::new(Rule::clone(&rule)))),
                rule::Found::Default(_) => Ok(Tagged::DefaultRule(Vec::new())),
            },
            _ => Err(ApiError::validation(format_args!("'{arn}' is not a valid resource ARN"))),
        }
    }

    fn tags(&mut self) -> &mut Vec<Tag> {
        match self {
            Tagged::LoadBalancer(record) => &mut record.tags,
            Tagged::Listener(record) => &mut record.tags,
            Tagged::TargetGroup(record) => &mut record.tags,
            Tagged::Rule(record) => &mut record.tags,
            Tagged::DefaultRule(none) => none,
        }
    }

    fn put(self, view: &mut View) -> Result<(), ApiError> {
        match self {
            Tagged::LoadBalancer(record) => view.put(*record),
            Tagged::Listener(record) => view.put(*record),
            Tagged::TargetGroup(record) => view.put(*record),
            Tagged::Rule(record) => view.put(*record),
            Tagged::DefaultRule(_) => {
                return Err(ApiError::new(
                    ErrorKind::OperationNotPermitted,
                    "A default rule has no tags of its own: tag its listener",
                ));
            }
        }
        Ok(())
    }
}
