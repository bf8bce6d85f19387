use bytes::Bytes;
use futures_util::future::join_all;

use super::*;
use crate::runtime::spec::{ContainerSpec, Report, Stream, TaskSpec};
use crate::runtime::testing::{TestNode, container, request, text};

fn kept() -> ContainerSpec {
    ContainerSpec { keep_instances: true, ..container("coracle/hello", &[]) }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_fresh_instance_counts_from_one_and_a_kept_one_goes_on() {
    let node = TestNode::start();
    for (spec, counts) in [
        (container("coracle/hello", &[]), ["1", "1", "1"]),
        (kept(), ["1", "2", "3"]),
        (container("coracle/hello-p3", &[]), ["1", "1", "1"]),
        (ContainerSpec { keep_instances: true, ..container("coracle/hello-p3", &[]) }, ["1", "2", "3"]),
    ] {
        let image = spec.image.clone();
        let running = node.handler(spec).await;
        for count in counts {
            assert_eq!(running.get("/count").await.unwrap().1.trim(), count, "{image}");
            // An instance of WASI 0.3 comes back after its client has all: the next request must not be faster.
            let shared = running.task.handler("main").unwrap().local().unwrap();
            while !shared.open.is_empty() {
                tokio::task::yield_now().await;
            }
        }
        assert_eq!(running.stop().await, Exit::Stopped);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_trap_answers_one_request_and_the_task_lives() {
    let node = TestNode::start();
    for spec in [container("coracle/hello", &[]), kept(), container("coracle/hello-p3", &[])] {
        let running = node.handler(spec).await;
        assert!(matches!(running.get("/panic").await, Err(HandlerError::Trapped(_))));
        assert_eq!(running.get("/count").await.unwrap().1.trim(), "1");
        assert_eq!(running.stop().await, Exit::Stopped);
    }
    assert!(node.logs.lines(Stream::Stderr).iter().any(|line| line.contains("wasm trap")));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bodies_stream_both_ways() {
    let node = TestNode::start();
    let body = Bytes::from(vec![b'x'; 3 << 20]);
    for image in ["coracle/hello", "coracle/hello-p3"] {
        let running = node.handler(container(image, &[])).await;
        let handler = running.task.handler("main").unwrap();
        let response = handler.call(request("POST", "/echo", body.clone())).await.unwrap();
        assert_eq!(text(response).await.unwrap().len(), body.len(), "{image}");
        assert_eq!(running.stop().await, Exit::Stopped);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_guest_that_is_done_has_a_body_with_a_length() {
    let node = TestNode::start();
    let running = node.handler(container("coracle/hello", &[])).await;
    let handler = running.task.handler("main").unwrap();
    let response = handler.call(request("GET", "/plain", Bytes::new())).await.unwrap();
    let length = hyper::body::Body::size_hint(response.body()).exact();
    assert_eq!(length, Some(text(response).await.unwrap().len() as u64));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_guest_that_computes_is_handed_over_and_answers() {
    let node = TestNode::start();
    let running = node.handler(container("coracle/hello", &[])).await;
    let (status, _) = running.get("/spin/50").await.unwrap();
    assert_eq!(status, 200);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_that_goes_away_takes_its_guest_along() {
    let node = TestNode::start();
    let running = node.handler(container("coracle/hello", &[])).await;
    let handler = running.task.handler("main").unwrap();
    // While it computes on the guest threads, and in the middle of a body.
    let spinning = handler.call(request("GET", "/spin/3600000", Bytes::new()));
    assert!(tokio::time::timeout(Duration::from_millis(30), spinning).await.is_err());
    let dripping = handler.call(request("GET", "/drip/1000000", Bytes::new())).await.unwrap();
    drop(dripping);
    // A polite stop waits for all guests: it would wait for an hour if they were still there.
    assert_eq!(running.stop().await, Exit::Stopped);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stop_lets_requests_finish_and_a_kill_ends_them() {
    let node = TestNode::start();
    let running = node.handler(container("coracle/hello", &[])).await;
    let handler = running.task.handler("main").unwrap();
    let slow = tokio::spawn(async move { handler.call(request("GET", "/sleep/100", Bytes::new())).await });
    while running.task.usage().instances == 0 {
        tokio::task::yield_now().await;
    }
    let late = running.task.handler("main").unwrap();
    assert_eq!(running.stop().await, Exit::Stopped);
    assert_eq!(slow.await.unwrap().unwrap().status(), 200);
    assert_eq!(late.call(request("GET", "/", Bytes::new())).await.unwrap_err(), HandlerError::NotRunning);

    let mut running = node.handler(container("coracle/hello", &[])).await;
    let handler = running.task.handler("main").unwrap();
    let stuck = handler.call(request("GET", "/drip/1000000", Bytes::new())).await.unwrap();
    running.task.kill();
    // Nobody polls the body; its guest is taken out of it all the same.
    let ended = crate::runtime::testing::reports(&mut running.receiver).await;
    assert_eq!(crate::runtime::testing::exit_of(&ended), Exit::Killed);
    assert!(text(stuck).await.is_err(), "a body that was cut off looked complete");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_request_that_grows_too_large_fails_alone() {
    let node = TestNode::start();
    let running = node.handler(ContainerSpec { memory_bytes: Some(32 << 20), ..container("coracle/hello", &[]) }).await;
    assert_eq!(running.get("/grow/64").await.unwrap_err(), HandlerError::OutOfMemory);
    assert_eq!(running.get("/plain").await.unwrap().0, 200);
    let usage = running.task.usage();
    assert_eq!((usage.instances, usage.memory_bytes, usage.requests), (0, 0, 2));
}

/// Nothing is known of the handler when the burst comes, and each request needs nearly half of the memory.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_burst_of_large_requests_waits_and_none_fails() {
    let node = TestNode::start();
    for keep_instances in [false, true] {
        let hello = ContainerSpec { keep_instances, memory_bytes: Some(50 << 20), ..container("coracle/hello", &[]) };
        let running = node.handler(hello).await;
        for answer in join_all((0..24).map(|_| running.get("/grow/20"))).await {
            assert_eq!(answer.unwrap(), (200, String::from("held 20 MiB\n")));
        }
        // Small ones came first: what was learned of them is wrong for the next burst.
        for _ in 0..20 {
            running.get("/plain").await.unwrap();
        }
        for answer in join_all((0..12).map(|_| running.get("/grow/20"))).await {
            assert!(matches!(answer, Ok((200, _)) | Err(HandlerError::Overloaded)), "{answer:?}");
        }
        let usage = running.task.usage();
        assert!(usage.memory_peak_bytes <= 50 << 20, "{usage:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn more_requests_than_memory_or_slots_wait() {
    for (instances, memory_bytes) in [(8, None), (64, Some(6 << 20))] {
        let node = TestNode::with(|config| config.instances_max = Some(instances));
        for keep_instances in [false, true] {
            let hello = ContainerSpec { keep_instances, ..container("coracle/hello", &[]) };
            let spec = TaskSpec { memory_bytes, ..node.spec(vec![hello]) };
            let running = node.task(spec).await;
            for answer in join_all((0..60).map(|_| running.get("/sleep/3"))).await {
                assert_eq!(answer.unwrap().0, 200);
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_port_is_really_open_on_the_tasks_address() {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    let node = TestNode::start();
    let spec = ContainerSpec { ports: vec![(8080, crate::network::Protocol::Tcp)], ..container("coracle/hello", &[]) };
    let running = node.handler(spec).await;
    let Some(Report::ContainerStarted { bindings, .. }) = running.seen.last() else { panic!("{:?}", running.seen) };
    assert_eq!(bindings[0].container_port, 8080);
    let mut stream = tokio::net::TcpStream::connect(bindings[0].host).await.unwrap();
    stream.write_all(b"GET /plain HTTP/1.0\r\n\r\n").await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    assert!(answer.starts_with("HTTP/1.0 200") && answer.contains("Hello from"), "{answer}");
    let host = bindings[0].host;
    assert_eq!(running.stop().await, Exit::Stopped);
    assert!(tokio::net::TcpStream::connect(host).await.is_err());
}
