//! Services at zero that are waited for, and targets that clients took away.

use std::net::Ipv4Addr;
use std::sync::Arc;
use std::time::Duration;

use super::scope;
use super::world::{World, pass, target_group};
use crate::model::{Tag, Target, TargetAnomaly};
use crate::plan::targets::{draining, initial};
use crate::store::{Key, Prefix};

fn wait_for(world: &World, requests: usize) {
    world.balancer.wanted.send_modify(|wanted| {
        wanted.insert(target_group().arn(), requests);
    });
}

fn tag(world: &World, service: &str) {
    let tag = Tag { key: "coracle.scale-from-zero".into(), value: Some("true".into()) };
    world.change_service(service, |service| service.tags = vec![tag]);
}

#[tokio::test(start_paused = true)]
async fn requests_raise_a_service_from_zero_once() {
    let world = World::new().await;
    world.create_service("web", 0, 1);
    pass(100).await;
    // Without the tag a request changes nothing.
    wait_for(&world, 1);
    pass(1_000).await;
    assert_eq!(world.service("web").desired_count, 0);
    tag(&world, "web");
    pass(1_000).await;
    assert_eq!(world.service("web").desired_count, 1);
    assert_eq!(world.running().len(), 1);
    let raised = world.events("web").iter().filter(|event| event.contains("desired count from 0 to 1")).count();
    assert_eq!(raised, 1, "{:?}", world.events("web"));

    // Who sets it to zero while requests still wait has it raised again; once none does it stays there.
    world.change_service("web", |service| service.desired_count = 0);
    pass(1_000).await;
    assert_eq!(world.service("web").desired_count, 1);
    world.balancer.wanted.send_modify(|wanted| wanted.clear());
    world.change_service("web", |service| service.desired_count = 0);
    pass(10_000).await;
    assert_eq!((world.service("web").desired_count, world.running().len()), (0, 0));
}

#[tokio::test(start_paused = true)]
async fn a_wish_outlives_a_crash_as_the_count_that_it_set() {
    let mut world = World::new().await;
    world.create_service("web", 0, 1);
    tag(&world, "web");
    wait_for(&world, 3);
    pass(1_000).await;
    world.crash().await;
    pass(1_000).await;
    assert_eq!((world.service("web").desired_count, world.running().len()), (1, 1));
}

fn targets(world: &World) -> Vec<Arc<Target>> {
    world.store.snapshot().list(&Prefix::all_targets())
}

#[tokio::test(start_paused = true)]
async fn a_clients_target_is_gone_when_its_delay_is_over() {
    let world = World::new().await;
    // Something is in flight for longer than may be waited for.
    *world.balancer.drain_time.lock() = Duration::from_secs(3600);
    let now = world.now();
    let registered = |number| Target {
        scope: scope(),
        group: target_group().name,
        address: Ipv4Addr::new(10, 0, 0, number),
        port: 80,
        task: None,
        registered_at: now,
        draining_since: None,
        health: initial(),
        anomaly: TargetAnomaly::default(),
    };
    world.write(|view| {
        let mut group = target_group();
        group.attributes.insert("deregistration_delay.timeout_seconds".into(), "20".into());
        view.put(group);
        view.put(registered(1));
        view.put(Target { draining_since: Some(now), health: draining(), ..registered(2) });
    });
    let group = Key::target(&scope(), "tg", Ipv4Addr::new(10, 0, 0, 2), 80);
    pass(10_000).await;
    assert!(world.store.snapshot().get::<Target>(&group).is_some());
    pass(10_100).await;
    assert_eq!(targets(&world).iter().map(|target| target.address.octets()[3]).collect::<Vec<_>>(), [1]);
}
