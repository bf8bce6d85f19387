//! Requests for a service at zero, in paused time.

use super::*;
use crate::proxy::hold::{HELD_MAX, HOLD_MAX};

/// A group without a target, whose service will start one.
fn sleeping() -> RoutesSpec {
    let mut spec = forwarding(Vec::new());
    spec.target_groups[0].scales_from_zero = true;
    spec
}

fn ask(proxy: &Arc<Proxy>) -> tokio::task::JoinHandle<(StatusCode, String)> {
    let proxy = Arc::clone(proxy);
    tokio::spawn(async move {
        let response = proxy.forward(Entrance::Host, get(), &client()).await;
        (response.status(), text(response).await)
    })
}

/// Waits until requests wait at the group.
async fn wanted(proxy: &Proxy) {
    let mut wanted = proxy.wanted_groups();
    wanted.wait_for(|wanted| wanted.contains_key(&group_arn())).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn requests_wait_for_the_first_target_and_are_answered() {
    let proxy = new_proxy();
    let mut spec = sleeping();
    proxy.publish(&spec);
    let requests: Vec<_> = (0..20).map(|_| ask(&proxy)).collect();
    wanted(&proxy).await;
    // Its task is placed and does not listen yet: there is still nothing to answer.
    tokio::time::sleep(Duration::from_secs(1)).await;
    spec.target_groups[0].targets = vec![target(1, Endpoint::NotListening)];
    proxy.publish(&spec);
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert!(requests.iter().all(|request| !request.is_finished()));
    spec.target_groups[0].targets = vec![target(1, named("a"))];
    proxy.publish(&spec);
    for request in requests {
        assert_eq!(request.await.unwrap(), (StatusCode::OK, "a".to_owned()));
    }
    assert!(proxy.wanted_groups().borrow().is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_request_waits_no_longer_than_it_may() {
    let proxy = new_proxy();
    proxy.publish(&sleeping());
    let begun = tokio::time::Instant::now();
    assert_eq!(ask(&proxy).await.unwrap().0, StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(begun.elapsed(), HOLD_MAX);
    assert!(proxy.wanted_groups().borrow().is_empty());
}

#[tokio::test(start_paused = true)]
async fn no_more_than_so_many_wait_and_who_goes_makes_room() {
    let proxy = new_proxy();
    proxy.publish(&sleeping());
    let requests: Vec<_> = (0..HELD_MAX).map(|_| ask(&proxy)).collect();
    wanted(&proxy).await;
    tokio::task::yield_now().await;
    let begun = tokio::time::Instant::now();
    assert_eq!(ask(&proxy).await.unwrap().0, StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(begun.elapsed(), Duration::ZERO);
    for request in &requests {
        request.abort();
    }
    for request in requests {
        assert!(request.await.unwrap_err().is_cancelled());
    }
    assert!(proxy.wanted_groups().borrow().is_empty());
}

#[tokio::test(start_paused = true)]
async fn nobody_waits_for_what_will_not_come() {
    let proxy = new_proxy();
    let spec = sleeping();
    proxy.publish(&spec);
    let request = ask(&proxy);
    wanted(&proxy).await;
    let begun = tokio::time::Instant::now();
    // The service was deleted, or its tag was.
    proxy.publish(&forwarding(Vec::new()));
    assert_eq!(request.await.unwrap().0, StatusCode::SERVICE_UNAVAILABLE);
    // The whole group was.
    proxy.publish(&spec);
    let request = ask(&proxy);
    wanted(&proxy).await;
    proxy.publish(&RoutesSpec::default());
    assert_eq!(request.await.unwrap().0, StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(begun.elapsed(), Duration::ZERO);
}

#[tokio::test(start_paused = true)]
async fn a_target_that_is_unhealthy_is_asked_all_the_same() {
    let proxy = new_proxy();
    let mut reports = proxy.health_reports();
    let mut spec = sleeping();
    spec.target_groups[0].targets = vec![target(1, Endpoint::NotListening)];
    proxy.publish(&spec);
    let unhealthy = |change| matches!(change, HealthChange::Health(health) if health.state == TargetState::Unhealthy);
    while !unhealthy(reports.recv().await.unwrap().change) {}
    assert_eq!(status(&proxy, get()).await, 502, "ELB fails open");
}
