//! Health checks, in paused time.

use std::sync::atomic::{AtomicU16, Ordering};

use super::*;
use crate::model::{Tag, TargetAnomaly, TargetHealth};

/// A handler that answers health checks with what `status` holds: 0 is silence.
struct Moody(Arc<AtomicU16>);

impl LocalTarget for Moody {
    fn call(&self, _: Request<Body>) -> BoxFuture<'static, Result<Response<Body>, TargetError>> {
        let code = self.0.load(Ordering::Relaxed);
        async move {
            if code == 0 {
                std::future::pending::<()>().await;
            }
            let mut response = ok("");
            *response.status_mut() = StatusCode::from_u16(code).unwrap();
            Ok(response)
        }
        .boxed()
    }
}

async fn next(reports: &mut mpsc::Receiver<HealthReport>) -> TargetHealth {
    match reports.recv().await.unwrap().change {
        HealthChange::Health(health) => health,
        HealthChange::Drained | HealthChange::Anomaly(_) => panic!("nothing drains or fails here"),
    }
}

fn shown(state: TargetState, reason: &str, description: &str) -> TargetHealth {
    TargetHealth { state, reason: Some(reason.into()), description: Some(description.into()) }
}

const HEALTHY: TargetHealth = TargetHealth { state: TargetState::Healthy, reason: None, description: None };

#[tokio::test(start_paused = true)]
async fn a_target_goes_through_elbs_states() {
    let proxy = new_proxy();
    let mut reports = proxy.health_reports();
    let mood = Arc::new(AtomicU16::new(200));
    let started = tokio::time::Instant::now();
    proxy.publish(&forwarding(vec![target(1, Endpoint::Local(Arc::new(Moody(Arc::clone(&mood)))))]));
    let initial = shown(TargetState::Initial, "Elb.InitialHealthChecking", "Initial health checks in progress");
    assert_eq!(next(&mut reports).await, initial);
    assert_eq!(next(&mut reports).await, HEALTHY);
    assert_eq!(started.elapsed(), Duration::ZERO, "the first check is made at once");

    // Two failures in a row, an interval apart.
    mood.store(500, Ordering::Relaxed);
    let mismatch = "Health checks failed with these codes: [500]";
    assert_eq!(next(&mut reports).await, shown(TargetState::Unhealthy, "Target.ResponseCodeMismatch", mismatch));
    assert_eq!(started.elapsed().as_secs(), 20);

    // Another reason is shown when it comes.
    mood.store(0, Ordering::Relaxed);
    assert_eq!(next(&mut reports).await, shown(TargetState::Unhealthy, "Target.Timeout", "Request timed out"));
    assert_eq!(started.elapsed().as_secs(), 32);

    // Three passes in a row, the first an interval after the failure.
    mood.store(200, Ordering::Relaxed);
    assert_eq!(next(&mut reports).await, HEALTHY);
    assert_eq!(started.elapsed().as_secs(), 62);
}

#[tokio::test(start_paused = true)]
async fn a_target_that_begins_to_listen_is_asked_at_once() {
    let proxy = new_proxy();
    let mut reports = proxy.health_reports();
    proxy.publish(&forwarding(vec![target(1, Endpoint::NotListening)]));
    assert_eq!(next(&mut reports).await.state, TargetState::Initial);
    tokio::time::sleep(Duration::from_secs(5)).await;
    let listening = tokio::time::Instant::now();
    proxy.publish(&forwarding(vec![target(1, named("a"))]));
    assert_eq!(next(&mut reports).await, HEALTHY);
    assert_eq!(listening.elapsed(), Duration::ZERO);
}

#[tokio::test(start_paused = true)]
async fn a_target_that_never_passes_becomes_unhealthy_after_the_threshold() {
    let proxy = new_proxy();
    let mut reports = proxy.health_reports();
    let started = tokio::time::Instant::now();
    proxy.publish(&forwarding(vec![target(1, Endpoint::NotListening)]));
    assert_eq!(next(&mut reports).await.state, TargetState::Initial);
    let failed = shown(TargetState::Unhealthy, "Target.FailedHealthChecks", "Health checks failed");
    assert_eq!(next(&mut reports).await, failed);
    assert!((10..12).contains(&started.elapsed().as_secs()), "{:?}", started.elapsed());
}

#[tokio::test(start_paused = true)]
async fn unhealthy_targets_get_requests_only_while_none_is_healthy() {
    let proxy = new_proxy();
    let mut reports = proxy.health_reports();
    let sick = Endpoint::Local(Arc::new(Moody(Arc::new(AtomicU16::new(500)))));
    proxy.publish(&forwarding(vec![target(1, sick.clone())]));
    while next(&mut reports).await.state != TargetState::Unhealthy {}
    assert_eq!(status(&proxy, get()).await, 500, "ELB fails open");
    publish_healthy(&proxy, &forwarding(vec![target(1, sick), target(2, named("b"))]), 1).await;
    assert_eq!(bodies(&proxy, 3).await, "bbb");
}

#[tokio::test(start_paused = true)]
async fn a_group_that_no_listener_uses_is_not_checked() {
    let proxy = new_proxy();
    let mut reports = proxy.health_reports();
    let mut spec = forwarding(vec![target(1, named("a"))]);
    let balancers = std::mem::take(&mut spec.load_balancers);
    proxy.publish(&spec);
    let description = "Target group is not configured to receive traffic from the load balancer";
    assert_eq!(next(&mut reports).await, shown(TargetState::Unused, "Target.NotInUse", description));
    tokio::time::sleep(Duration::from_secs(100)).await;
    assert!(reports.try_recv().is_err());
    spec.load_balancers = balancers;
    proxy.publish(&spec);
    assert_eq!(next(&mut reports).await.state, TargetState::Initial);
    assert_eq!(next(&mut reports).await, HEALTHY);
}

#[tokio::test(start_paused = true)]
async fn a_new_task_at_an_old_address_is_a_new_target() {
    let proxy = new_proxy();
    let mut reports = proxy.health_reports();
    proxy.publish(&forwarding(vec![target(1, named("a"))]));
    assert_eq!(next(&mut reports).await.state, TargetState::Initial);
    assert_eq!(next(&mut reports).await, HEALTHY);
    // The same task behind another object is the same target.
    proxy.publish(&forwarding(vec![target(1, named("a"))]));
    tokio::time::sleep(Duration::from_secs(60)).await;
    assert!(reports.try_recv().is_err());
    let mut replaced = target(1, named("b"));
    replaced.task = Some(TaskId(9));
    proxy.publish(&forwarding(vec![replaced]));
    assert_eq!(next(&mut reports).await.state, TargetState::Initial);
    assert_eq!(next(&mut reports).await, HEALTHY);
}

#[tokio::test(start_paused = true)]
async fn a_target_that_cannot_be_one_is_shown_with_the_reason_and_gets_nothing() {
    let proxy = new_proxy();
    let mut reports = proxy.health_reports();
    for (unusable, reason, description) in [
        (Unusable::Stopped, "Target.InvalidState", "Target is in the stopped state"),
        (Unusable::ReservedAddress, "Target.IpUnusable", "The IP address is in use by a load balancer"),
    ] {
        let mut only = target(1, named("a"));
        only.unusable = Some(unusable);
        proxy.publish(&forwarding(vec![only]));
        assert_eq!(next(&mut reports).await, shown(TargetState::Unused, reason, description));
        assert_eq!(status(&proxy, get()).await, 503);
    }
}

#[tokio::test(start_paused = true)]
async fn without_checks_a_target_is_unavailable_and_gets_requests() {
    let proxy = new_proxy();
    let mut reports = proxy.health_reports();
    let mut spec = forwarding(vec![target(1, named("a"))]);
    spec.change_group(|group| group.health_check.enabled = false);
    proxy.publish(&spec);
    let description = "Health checks are not enabled for this target";
    let unavailable = shown(TargetState::Unavailable, "Target.HealthCheckDisabled", description);
    assert_eq!(next(&mut reports).await, unavailable);
    assert_eq!(bodies(&proxy, 2).await, "aa");
}

#[tokio::test(start_paused = true)]
async fn an_unhealthy_target_may_be_shown_draining_first() {
    let proxy = new_proxy();
    let mut reports = proxy.health_reports();
    let mut spec = forwarding(vec![target(1, Endpoint::NotListening)]);
    spec.change_group(|group| {
        let set = &mut group.attributes;
        set.insert("target_health_state.unhealthy.connection_termination.enabled".into(), "false".into());
        set.insert("target_health_state.unhealthy.draining_interval_seconds".into(), "15".into());
    });
    proxy.publish(&spec);
    assert_eq!(next(&mut reports).await.state, TargetState::Initial);
    let reason = "Target.FailedHealthChecks";
    let draining = shown(TargetState::UnhealthyDraining, reason, "Health checks failed");
    assert_eq!(next(&mut reports).await, draining);
    let begun = tokio::time::Instant::now();
    assert_eq!(next(&mut reports).await, shown(TargetState::Unhealthy, reason, "Health checks failed"));
    assert!((15..=17).contains(&begun.elapsed().as_secs()), "{:?}", begun.elapsed());
}

#[tokio::test(start_paused = true)]
async fn a_tag_makes_checks_as_frequent_as_it_says() {
    let proxy = new_proxy();
    let mut reports = proxy.health_reports();
    let mood = Arc::new(AtomicU16::new(200));
    let mut spec = forwarding(vec![target(1, Endpoint::Local(Arc::new(Moody(Arc::clone(&mood)))))]);
    let tag = |value: &str| vec![Tag { key: "coracle.health.interval-ms".into(), value: Some(value.into()) }];
    spec.change_group(|group| group.tags = tag("200"));
    proxy.publish(&spec);
    assert_eq!(next(&mut reports).await.state, TargetState::Initial);
    assert_eq!(next(&mut reports).await, HEALTHY);
    let begun = tokio::time::Instant::now();
    mood.store(500, Ordering::Relaxed);
    assert_eq!(next(&mut reports).await.state, TargetState::Unhealthy);
    assert_eq!(begun.elapsed().as_millis(), 400);
    // A silent target costs no more than that either.
    mood.store(0, Ordering::Relaxed);
    assert_eq!(next(&mut reports).await.reason.as_deref(), Some("Target.Timeout"));
    assert_eq!(begun.elapsed().as_millis(), 800);
}

#[tokio::test(start_paused = true)]
async fn a_target_that_fails_its_clients_is_an_anomaly_and_gets_fewer_of_them() {
    let proxy = new_proxy();
    let mut reports = proxy.health_reports();
    let failing = local(|_| {
        let mut response = ok("!");
        *response.status_mut() = StatusCode::INTERNAL_SERVER_ERROR;
        std::future::ready(Ok(response)).boxed()
    });
    let mut spec = forwarding(vec![target(1, named("a")), target(2, failing), target(3, named("c"))]);
    spec.change_group(|group| {
        group.attributes.insert("load_balancing.algorithm.type".into(), "weighted_random".into());
        group.attributes.insert("load_balancing.algorithm.anomaly_mitigation".into(), "on".into());
    });
    publish_healthy(&proxy, &spec, 3).await;
    bodies(&proxy, 300).await;
    let anomaly = async {
        loop {
            let report = reports.recv().await.unwrap();
            if let HealthChange::Anomaly(anomaly) = report.change {
                return (report.target.task, anomaly);
            }
        }
    };
    let wanted = TargetAnomaly { is_anomalous: true, is_mitigated: true };
    let found = tokio::time::timeout(Duration::from_secs(60), anomaly).await.expect("it is seen");
    assert_eq!(found, (Some(TaskId(2)), wanted));
    tokio::time::sleep(Duration::from_secs(6)).await;
    let line = bodies(&proxy, 300).await;
    assert!(line.matches('!').count() < 30, "{line}");
}
