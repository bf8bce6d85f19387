//! Routes, rotation, retries and draining, with handlers in process.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};

use hyper::body::Frame;

use super::*;

#[tokio::test]
async fn the_rotation_is_strict_whatever_comes_and_goes() {
    let proxy = new_proxy();
    let all = || vec![target(1, named("a")), target(2, named("b")), target(3, named("c"))];
    publish_healthy(&proxy, &forwarding(all()), 3).await;
    let first = bodies(&proxy, 7).await;
    let last = first.chars().last().unwrap();
    let mut order = "abcabcabcabc".chars().skip_while(|name| *name != first.chars().next().unwrap());
    assert!(first.chars().all(|name| order.next() == Some(name)), "{first}");

    // Published again, it goes on where it was.
    proxy.publish(&forwarding(all()));
    let second = bodies(&proxy, 1).await;
    assert_ne!(second.chars().next().unwrap(), last);
    assert_eq!(bodies(&proxy, 3).await.chars().last(), second.chars().last());

    // Without the one whose turn it was, the next after it has the turn.
    let gone = second.chars().last().unwrap();
    let rest: Vec<_> = all().into_iter().zip("abc".chars()).filter(|(_, name)| *name != gone).collect();
    proxy.publish(&forwarding(rest.into_iter().map(|(target, _)| target).collect()));
    let wanted = match gone {
        'a' => "bcbc",
        'b' => "caca",
        _ => "abab",
    };
    assert_eq!(bodies(&proxy, 4).await, wanted);
}

#[tokio::test]
async fn concurrent_requests_share_one_rotation() {
    let proxy = new_proxy();
    publish_healthy(&proxy, &forwarding(vec![target(1, named("a")), target(2, named("b")), target(3, named("c"))]), 3)
        .await;
    let requests = (0..300).map(|_| {
        let proxy = Arc::clone(&proxy);
        tokio::spawn(async move { bodies(&proxy, 1).await })
    });
    let mut counts = BTreeMap::new();
    for request in requests.collect::<Vec<_>>() {
        *counts.entry(request.await.unwrap()).or_insert(0) += 1;
    }
    assert_eq!(counts.into_values().collect::<Vec<_>>(), [100, 100, 100]);
}

#[tokio::test]
async fn the_least_busy_target_is_chosen_where_asked_for() {
    let proxy = new_proxy();
    let busy = local(|request| {
        async move {
            if request.uri().path() == "/wait" {
                std::future::pending::<()>().await
            }
            Ok(ok("busy"))
        }
        .boxed()
    });
    let mut spec = forwarding(vec![target(1, busy), target(2, named("b"))]);
    spec.change_group(|group| {
        group.attributes.insert("load_balancing.algorithm.type".into(), "least_outstanding_requests".into());
    });
    publish_healthy(&proxy, &spec, 2).await;
    // One of two such requests in a row meets the target that waits.
    for _ in 0..2 {
        let proxy = Arc::clone(&proxy);
        let request = Request::get("/wait").header("host", "web.elb.localhost").body(Full::<Bytes>::default()).unwrap();
        tokio::spawn(async move { proxy.forward(Entrance::Host, request, &client()).await });
        tokio::task::yield_now().await;
    }
    assert_eq!(bodies(&proxy, 3).await, "bbb");
}

#[tokio::test]
async fn weights_split_between_groups() {
    let proxy = new_proxy();
    let mut spec = forwarding(vec![target(1, named("a"))]);
    let record = Arc::new(target_group("other"));
    let other = record.arn();
    spec.target_groups.push(TargetGroupSpec { record, targets: vec![target(2, named("b"))], scales_from_zero: false });
    let groups = vec![(group_arn().to_string(), 3), (other.to_string(), 1)];
    spec.change_listener(|listener| listener.default_actions = vec![Action::forward(groups)]);
    publish_healthy(&proxy, &spec, 2).await;
    let line = bodies(&proxy, 40).await;
    assert!((9..=11).contains(&line.matches('b').count()), "{line}");
    // Without any weight there is nowhere to go.
    spec.change_listener(|listener| listener.default_actions = vec![Action::forward(vec![(other.to_string(), 0)])]);
    proxy.publish(&spec);
    assert_eq!(status(&proxy, get()).await, 503);
}

#[tokio::test]
async fn load_balancers_are_found_by_host_and_by_listener() {
    let proxy = new_proxy();
    let high = Listener { id: "0000000000000004".into(), ..listener(8080, vec![fixed("high")]) };
    let far = Scope { region: "us-east-1".parse().unwrap(), ..scope() };
    let elsewhere = LoadBalancerSpec {
        record: Arc::new(LoadBalancer { scope: far.clone(), ..load_balancer("web") }),
        listeners: vec![listening(Listener { scope: far, ..listener(80, vec![fixed("elsewhere")]) })],
    };
    let mut spec = RoutesSpec {
        load_balancers: vec![balancer("Web", vec![listening(high), listening(listener(80, vec![fixed("low")]))])],
        target_groups: Vec::new(),
    };
    proxy.publish(&spec);
    let own = listener_arn();
    let found = async |host: &str, entrance| {
        let request = Request::get("/").header("host", host).body(Full::<Bytes>::default()).unwrap();
        text(proxy.forward(entrance, request, &client()).await).await
    };
    for host in
        ["web.elb.localhost", "WEB.eu-west-1.ELB.localhost:4566", "web.elb.localhost.:80", "80.web.elb.localhost"]
    {
        assert_eq!(found(host, Entrance::Host).await, "low", "{host}");
    }
    assert_eq!(found("8080.web.eu-west-1.elb.localhost", Entrance::Host).await, "high");
    assert_eq!(found("anything.example", Entrance::Listener(&own)).await, "low");
    let unknown = Request::get("/").header("host", "other.elb.localhost").body(Full::default()).unwrap();
    assert_eq!(status(&proxy, unknown).await, 404);

    // Once the name is not unique, only the full ones are right.
    spec.load_balancers.push(elsewhere);
    proxy.publish(&spec);
    assert_eq!(status(&proxy, get()).await, 404);
    assert_eq!(found("web.us-east-1.elb.localhost", Entrance::Host).await, "elsewhere");
    assert_eq!(found("web.eu-west-1.elb.localhost", Entrance::Host).await, "low");
}

#[tokio::test]
async fn redirects_fill_in_the_parts_of_the_address() {
    let proxy = new_proxy();
    let action = Action::Redirect {
        status: 301,
        protocol: "HTTPS".into(),
        host: "www.#{host}".into(),
        port: "#{port}".into(),
        path: "/new/#{path}".into(),
        query: "#{query}&x=1".into(),
    };
    let load_balancers = vec![balancer("web", vec![listening(listener(80, vec![action]))])];
    proxy.publish(&RoutesSpec { load_balancers, target_groups: Vec::new() });
    let request =
        Request::get("/a/b?q=1").header("host", "web.elb.localhost:4566").body(Full::<Bytes>::default()).unwrap();
    let response = proxy.forward(Entrance::Host, request, &client()).await;
    assert_eq!(response.status(), 301);
    assert_eq!(response.headers()["location"], "https://www.web.elb.localhost:4566/new/a/b?q=1&x=1");
}

#[tokio::test]
async fn failures_become_statuses() {
    let proxy = new_proxy();
    proxy.publish(&forwarding(Vec::new()));
    assert_eq!(status(&proxy, get()).await, 503);
    for (number, error, wanted) in [
        (1, (|| TargetError::Trapped("unreachable".into())) as fn() -> TargetError, 502),
        (2, || TargetError::OutOfMemory, 502),
        (3, || TargetError::InvalidResponse("none".into()), 502),
        (4, || TargetError::Overloaded, 503),
        (5, || TargetError::NotStarted, 503),
        (6, || TargetError::TimedOut, 504),
    ] {
        publish_healthy(&proxy, &forwarding(vec![target(number, failing(error))]), 1).await;
        assert_eq!(status(&proxy, get()).await, wanted, "{}", error());
    }
    proxy.publish(&forwarding(vec![target(7, Endpoint::NotListening)]));
    assert_eq!(status(&proxy, get()).await, 502);
}

#[tokio::test(start_paused = true)]
async fn a_silent_target_is_a_time_out_of_504() {
    let proxy = new_proxy();
    let silent = local(|_| std::future::pending().boxed());
    publish_healthy(&proxy, &forwarding(vec![target(1, silent)]), 1).await;
    let started = tokio::time::Instant::now();
    assert_eq!(status(&proxy, get()).await, 504);
    assert_eq!(started.elapsed(), settings::IDLE_TIMEOUT);
}

#[tokio::test]
async fn what_must_not_reach_a_target_is_refused() {
    let proxy = new_proxy();
    publish_healthy(&proxy, &forwarding(vec![target(1, named("a"))]), 1).await;
    let with = |name: &str, value: &str| {
        let mut request = get();
        request.headers_mut().append(name.parse::<http::HeaderName>().unwrap(), value.parse().unwrap());
        request
    };
    assert_eq!(status(&proxy, with("host", "web.elb.localhost")).await, 400);
    assert_eq!(status(&proxy, with("x-forwarded-for", &vec!["1.1.1.1"; 31].join(","))).await, 463);
    assert_eq!(status(&proxy, with("x-forwarded-for", &vec!["1.1.1.1"; 30].join(","))).await, 200);
    let mut trace = get();
    *trace.method_mut() = http::Method::TRACE;
    assert_eq!(status(&proxy, trace).await, 405);
    let mut websocket = with("upgrade", "websocket");
    websocket.headers_mut().insert("connection", "Upgrade".parse().unwrap());
    assert_eq!(status(&proxy, websocket).await, 501);
}

#[tokio::test]
async fn targets_see_where_a_request_came_from_and_nothing_of_the_connection() {
    let proxy = new_proxy();
    let echo = local(|request| {
        let seen = format!("{} {:?}", request.uri(), request.headers());
        std::future::ready(Ok(Response::new(full(seen)))).boxed()
    });
    publish_healthy(&proxy, &forwarding(vec![target(1, echo)]), 1).await;
    let request = Request::get("http://web.elb.localhost:4566/p?q")
        .header("host", "web.elb.localhost:4566")
        .header("connection", "x-secret, keep-alive")
        .header("x-secret", "1")
        .header("keep-alive", "5")
        .header("x-forwarded-for", "9.9.9.9")
        .body(Full::<Bytes>::default())
        .unwrap();
    let seen = text(proxy.forward(Entrance::Host, request, &client()).await).await;
    for part in [
        "/p?q ",
        r#""host": "web.elb.localhost:4566""#,
        "9.9.9.9, 10.1.2.3",
        r#""x-forwarded-port": "4566""#,
        "Root=1-",
    ] {
        assert!(seen.contains(part), "{part} in {seen}");
    }
    assert!(!seen.contains("x-secret") && !seen.contains("keep-alive") && !seen.contains("connection"), "{seen}");
}

#[tokio::test]
async fn a_target_that_was_just_stopped_passes_its_request_on() {
    let proxy = new_proxy();
    let echo = || {
        local(|request| {
            async move {
                let body = request
                    .into_body()
                    .collect()
                    .await
                    .map_err(|error| TargetError::Failed(error.to_string().into()))?;
                Ok(Response::new(full(body.to_bytes())))
            }
            .boxed()
        })
    };
    let stopped = failing(|| TargetError::NotStarted);
    publish_healthy(&proxy, &forwarding(vec![target(1, stopped.clone()), target(2, echo()), target(3, stopped)]), 3)
        .await;
    for number in 0..9 {
        let content = format!("body {number}");
        let request = Request::post("/").header("host", "web.elb.localhost").body(Full::from(content.clone())).unwrap();
        let response = proxy.forward(Entrance::Host, request, &client()).await;
        assert_eq!((response.status(), text(response).await), (StatusCode::OK, content));
    }
}

#[tokio::test]
async fn what_a_target_has_begun_is_not_begun_again() {
    let proxy = new_proxy();
    let calls = Arc::new(AtomicUsize::new(0));
    let stops = |reads: bool| {
        let calls = Arc::clone(&calls);
        local(move |request| {
            calls.fetch_add(1, Ordering::Relaxed);
            async move {
                if reads {
                    let _ = request.into_body().frame().await;
                }
                Err(if reads { TargetError::NotStarted } else { TargetError::Stopped })
            }
            .boxed()
        })
    };
    let post = || Request::post("/").header("host", "web.elb.localhost").body(Full::from("x")).unwrap();
    // At a target that may have seen it.
    publish_healthy(&proxy, &forwarding(vec![target(1, stops(false)), target(2, stops(false))]), 2).await;
    assert_eq!(status(&proxy, post()).await, 502);
    assert_eq!(calls.load(Ordering::Relaxed), 1);
    // Nor is an idempotent one sent on: what it does there twice is not for us to judge.
    assert_eq!(status(&proxy, get()).await, 502);
    assert_eq!(calls.load(Ordering::Relaxed), 2);
    // A body of which a byte was read is gone.
    publish_healthy(&proxy, &forwarding(vec![target(3, stops(true)), target(4, stops(true))]), 2).await;
    assert_eq!(status(&proxy, post()).await, 503);
    assert_eq!(calls.load(Ordering::Relaxed), 3);
}

#[tokio::test]
async fn a_draining_target_keeps_what_it_has_and_is_drained_when_that_ends() {
    let proxy = new_proxy();
    let mut reports = proxy.health_reports();
    let (sender, receiver) = tokio::sync::mpsc::channel::<Result<Frame<Bytes>, BoxError>>(1);
    let receiver = Arc::new(parking_lot::Mutex::new(Some(receiver)));
    let streaming = local(move |_| {
        let mut receiver = receiver.lock().take().expect("one request");
        let frames = futures_util::stream::poll_fn(move |cx| receiver.poll_recv(cx));
        std::future::ready(Ok(Response::new(Body::new(http_body_util::StreamBody::new(frames))))).boxed()
    });
    let mut spec = forwarding(vec![target(1, streaming)]);
    publish_healthy(&proxy, &spec, 1).await;
    let response = proxy.forward(Entrance::Host, get(), &client()).await;
    assert_eq!(proxy.stats()[0].targets[0].in_flight, 1);

    spec.target_groups[0].targets[0].draining = true;
    spec.target_groups[0].targets.push(target(2, named("b")));
    publish_healthy(&proxy, &spec, 1).await;
    assert_eq!(bodies(&proxy, 4).await, "bbbb");
    let mut seen = Vec::new();
    while let Ok(report) = reports.try_recv() {
        seen.push(report.change);
    }
    assert!(!seen.contains(&HealthChange::Drained), "{seen:?}");

    sender.send(Ok(Frame::data(Bytes::from("whole")))).await.unwrap();
    drop(sender);
    assert_eq!(text(response).await, "whole");
    let drained = async {
        loop {
            let report = reports.recv().await.unwrap();
            if report.change == HealthChange::Drained {
                return report.target.task;
            }
        }
    };
    assert_eq!(tokio::time::timeout(WAIT_MAX, drained).await.unwrap(), Some(TaskId(1)));
}

#[tokio::test]
async fn an_idle_target_is_drained_at_once() {
    let proxy = new_proxy();
    let mut reports = proxy.health_reports();
    let mut only = target(1, named("a"));
    only.draining = true;
    proxy.publish(&forwarding(vec![only]));
    let state = |state| {
        HealthChange::Health(crate::model::TargetHealth {
            state,
            reason: Some("Target.DeregistrationInProgress".into()),
            description: Some("Target deregistration is in progress".into()),
        })
    };
    assert_eq!(reports.recv().await.unwrap().change, state(TargetState::Draining));
    assert_eq!(reports.recv().await.unwrap().change, HealthChange::Drained);
    assert_eq!(status(&proxy, get()).await, 503);
}
