//! Clusters.

use std::sync::Arc;

use crate::api::context::Context;
use crate::api::ecs::page;
use crate::api::ecs::reference::{blank_cluster, cluster_name, from_map, put_cluster, to_map};
use crate::api::ecs::tag;
use crate::api::error::{ApiError, ErrorKind};
use crate::api::wire::ecs as wire;
use crate::model::task::{LaunchType, TaskStatus};
use crate::model::{Cluster, ClusterStatus, ContainerInstance, DesiredStatus, Service, ServiceStatus, Task};
use crate::store::{Key, Prefix, View};

pub fn create(
    cx: &Context,
    view: &mut View,
    input: wire::CreateClusterRequest,
) -> Result<wire::CreateClusterResponse, ApiError> {
    let name = cluster_name(cx, input.cluster_name.as_deref())
        .map_err(|_| ApiError::invalid_parameter("Cluster name contains invalid characters. Up to 255 letters (uppercase and lowercase), numbers, underscores, and hyphens are allowed."))?;
    if let Some(existing) = view.get::<Cluster>(&Key::cluster(&cx.scope, &name))
        && existing.status == ClusterStatus::Active
    {
        // Idempotent by name, as at AWS.
        return Ok(wire::CreateClusterResponse { cluster: Some(show(view, &existing, &[])) });
    }
    let mut cluster = blank_cluster(cx, name);
    cluster.tags = tag::given(input.tags.as_deref())?;
    let mut document = to_map(&input);
    document.retain(|member, _| !matches!(member.as_str(), "clusterName" | "tags"));
    cluster.document = document;
    let cluster = put_cluster(cx, view, cluster);
    Ok(wire::CreateClusterResponse { cluster: Some(show(view, &cluster, &["SETTINGS", "CONFIGURATIONS", "TAGS"])) })
}

pub fn describe(
    cx: &Context,
    view: &mut View,
    input: wire::DescribeClustersRequest,
) -> Result<wire::DescribeClustersResponse, ApiError> {
    let include = input.include.unwrap_or_default();
    let include: Vec<&str> = include.iter().map(String::as_str).collect();
    let wanted = input.clusters.filter(|names| !names.is_empty()).unwrap_or_else(|| vec![String::from("default")]);
    if wanted.len() > 100 {
        return Err(ApiError::invalid_parameter("clusters: at most 100 clusters can be described at once."));
    }
    let (mut clusters, mut failures) = (Vec::new(), Vec::new());
    for text in wanted {
        let name = cluster_name(cx, Some(&text)).ok();
        let found = match name {
            Some(name) if name.as_str() == "default" => super::reference::cluster(cx, view, Some("default")).ok(),
            Some(name) => view.get::<Cluster>(&Key::cluster(&cx.scope, &name)),
            None => None,
        };
        match found {
            Some(cluster) => clusters.push(show(view, &cluster, &include)),
            None => {
                let arn = match text.starts_with("arn:") {
                    true => text,
                    false => format!("arn:aws:ecs:{}:{}:cluster/{text}", cx.scope.region, cx.scope.account),
                };
                failures.push(wire::Failure { arn: Some(arn), reason: Some(String::from("MISSING")), detail: None });
            }
        }
    }
    Ok(wire::DescribeClustersResponse { clusters: Some(clusters), failures: Some(failures) })
}

pub fn list(
    cx: &Context,
    view: &mut View,
    input: wire::ListClustersRequest,
) -> Result<wire::ListClustersResponse, ApiError> {
    super::reference::cluster(cx, view, None).ok();
    let clusters: Vec<Arc<Cluster>> = view
        .list::<Cluster>(&Prefix::clusters(&cx.scope))
        .into_iter()
        .filter(|cluster| cluster.status == ClusterStatus::Active)
        .collect();
    let (clusters, next_token) = page::page(
        clusters,
        |cluster| cluster.name.as_str().to_owned(),
        false,
        input.next_token.as_deref(),
        input.max_results,
        page::HUNDRED,
    )?;
    Ok(wire::ListClustersResponse {
        cluster_arns: Some(clusters.iter().map(|cluster| cluster.arn().into()).collect()),
        next_token,
    })
}

pub fn delete(
    cx: &Context,
    view: &mut View,
    input: wire::DeleteClusterRequest,
) -> Result<wire::DeleteClusterResponse, ApiError> {
    let name = cluster_name(cx, input.cluster.as_deref())?;
    let key = Key::cluster(&cx.scope, &name);
    let cluster = view.get::<Cluster>(&key).ok_or_else(ApiError::cluster_not_found)?;
    let has_service = view
        .list::<Service>(&Prefix::services(&cx.scope, &name))
        .iter()
        .any(|service| service.status != ServiceStatus::Inactive);
    if has_service {
        return Err(ApiError::new(
            ErrorKind::ClusterContainsServices,
            "The Cluster cannot be deleted while Services are active.",
        ));
    }
    if view.tasks_of_cluster(&cx.scope, &name).iter().any(|task| !task.is_stopped()) {
        return Err(ApiError::new(
            ErrorKind::ClusterContainsTasks,
            "The Cluster cannot be deleted while Tasks are active.",
        ));
    }
    let mut deleted = (*cluster).clone();
    deleted.status = ClusterStatus::Inactive;
    view.put(deleted.clone());
    view.delete::<ContainerInstance>(&Key::container_instance(&cx.scope, &name, cx.config.node));
    Ok(wire::DeleteClusterResponse { cluster: Some(show(view, &deleted, &[])) })
}

/// A cluster as the wire shows it; parts that are not in `include` are left out.
fn show(view: &mut View, cluster: &Cluster, include: &[&str]) -> wire::Cluster {
    let tasks = match cluster.status {
        ClusterStatus::Active => view.tasks_of_cluster(&cluster.scope, &cluster.name),
        ClusterStatus::Inactive => Vec::new(),
    };
    let services: Vec<Arc<Service>> = view
        .list::<Service>(&Prefix::services(&cluster.scope, &cluster.name))
        .into_iter()
        .filter(|service| service.status != ServiceStatus::Inactive)
        .collect();
    let instances = view.list::<ContainerInstance>(&Prefix::container_instances(&cluster.scope, &cluster.name));
    let given: wire::Cluster = from_map(&cluster.document);
    let asked = |part| include.contains(&part);
    wire::Cluster {
        cluster_arn: Some(cluster.arn().into()),
        cluster_name: Some(cluster.name.to_string()),
        status: Some(String::from(match cluster.status {
            ClusterStatus::Active => "ACTIVE",
            ClusterStatus::Inactive => "INACTIVE",
        })),
        registered_container_instances_count: Some(count(instances.len())),
        running_tasks_count: Some(count(tasks.iter().filter(|task| is_running(task)).count())),
        pending_tasks_count: Some(count(tasks.iter().filter(|task| is_pending(task)).count())),
        active_services_count: Some(count(
            services.iter().filter(|service| service.status == ServiceStatus::Active).count(),
        )),
        statistics: Some(if asked("STATISTICS") { statistics(&tasks, &services) } else { Vec::new() }),
        tags: Some(if asked("TAGS") { tag::shown(&cluster.tags) } else { Vec::new() }),
        settings: Some(if asked("SETTINGS") {
            given.settings.unwrap_or_else(|| {
                vec![wire::ClusterSetting {
                    name: Some(String::from("containerInsights")),
                    value: Some(String::from("disabled")),
                }]
            })
        } else {
            Vec::new()
        }),
        configuration: given.configuration.filter(|_| asked("CONFIGURATIONS")),
        capacity_providers: Some(given.capacity_providers.unwrap_or_default()),
        default_capacity_provider_strategy: Some(given.default_capacity_provider_strategy.unwrap_or_default()),
        service_connect_defaults: given.service_connect_defaults,
        ..wire::Cluster::default()
    }
}

pub fn is_running(task: &Task) -> bool {
    task.last_status == TaskStatus::Running
}

pub fn is_pending(task: &Task) -> bool {
    task.last_status < TaskStatus::Running && task.desired_status == DesiredStatus::Running
}

fn statistics(tasks: &[Arc<Task>], services: &[Arc<Service>]) -> Vec<wire::KeyValuePair> {
    let mut rows = Vec::new();
    for (launch_type, word) in
        [(LaunchType::Ec2, "EC2"), (LaunchType::Fargate, "Fargate"), (LaunchType::External, "External")]
    {
        let of_type = |task: &&Arc<Task>| task.launch_type == launch_type;
        let service_is = |service: &&Arc<Service>, status| {
            service.status == status && service.primary().is_some_and(|primary| primary.launch_type == launch_type)
        };
        rows.extend([
            (format!("running{word}TasksCount"), tasks.iter().filter(of_type).filter(|task| is_running(task)).count()),
            (format!("pending{word}TasksCount"), tasks.iter().filter(of_type).filter(|task| is_pending(task)).count()),
            (
                format!("active{word}ServiceCount"),
                services.iter().filter(|service| service_is(service, ServiceStatus::Active)).count(),
            ),
            (
                format!("draining{word}ServiceCount"),
                services.iter().filter(|service| service_is(service, ServiceStatus::Draining)).count(),
            ),
        ]);
    }
    rows.into_iter()
        .map(|(name, value)| wire::KeyValuePair { name: Some(name), value: Some(value.to_string()) })
        .collect()
}

fn count(number: usize) -> i32 {
    i32::try_from(number).unwrap_or(i32::MAX)
}
