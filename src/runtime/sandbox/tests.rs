use crate::model::exit::StartFailure;
use crate::model::{Exit, Usage};
use crate::runtime::HandlerError;
use crate::runtime::fuel::{HOST_CALL, SLICE};
use crate::runtime::spec::{ContainerSpec, Report, TaskSpec};
use crate::runtime::testing::{TestNode, container, exit_of, reports};

async fn run(node: &TestNode, spec: TaskSpec) -> (Vec<Report>, Usage) {
    let (task, mut receiver) = node.runtime.run(spec);
    let reports = reports(&mut receiver).await;
    (reports, task.usage())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_task_ends_where_its_budget_of_instructions_does() {
    let node = TestNode::start();
    let budget = 50 * SLICE + 12_345;
    let spec = TaskSpec { fuel: Some(budget), ..node.spec(vec![container("coracle/hog", &["spin"])]) };
    let (reports, usage) = run(&node, spec).await;
    assert_eq!(exit_of(&reports), Exit::OutOfFuel);
    // The last check is at a loop's head: some instructions of its body come before it.
    assert!(usage.fuel >= budget && usage.fuel < budget + 100, "{}", usage.fuel);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_container_that_uses_up_the_budget_ends_all() {
    let node = TestNode::start();
    let named = |name: &str, args: &[&str]| ContainerSpec { name: name.to_owned(), ..container("coracle/hog", args) };
    let sleeper = ContainerSpec { name: String::from("sleeper"), ..container("coracle/batch", &["sleep", "3600000"]) };
    let handler = ContainerSpec { name: String::from("web"), ..container("coracle/hello", &[]) };
    let containers = vec![named("one", &["spin"]), named("two", &["spin"]), sleeper, handler];
    let budget = 100 * SLICE;
    let (reports, usage) = run(&node, TaskSpec { fuel: Some(budget), ..node.spec(containers) }).await;
    let exits =
        reports.iter().filter(|report| matches!(report, Report::ContainerStopped { exit: Exit::OutOfFuel, .. }));
    assert_eq!(exits.count(), 4, "{reports:?}");
    // Three instances lived at once: each may hold a slice that it never used, or have been cut within one.
    assert!(usage.fuel <= budget + 3 * SLICE && usage.fuel >= budget - 4 * SLICE, "{}", usage.fuel);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_request_beyond_its_budget_fails_alone() {
    let node = TestNode::start();
    for keep_instances in [false, true] {
        let limited =
            ContainerSpec { request_fuel: Some(20 * SLICE), keep_instances, ..container("coracle/hello", &[]) };
        let running = node.handler(limited).await;
        assert_eq!(running.get("/plain").await.unwrap().0, 200);
        assert_eq!(running.get("/spin/60000").await.unwrap_err(), HandlerError::OutOfFuel);
        // A budget is of each request: ten that use some of it never add up.
        for _ in 0..10 {
            assert_eq!(running.get("/plain").await.unwrap().0, 200);
        }
        assert_eq!(running.stop().await, Exit::Stopped);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_program_has_no_requests_to_bound() {
    let node = TestNode::start();
    let limited = ContainerSpec { request_fuel: Some(SLICE), ..container("coracle/batch", &[]) };
    match node.exit(limited).await {
        Exit::CouldNotStart(StartFailure::CannotCreate(text)) => {
            assert!(text.contains("coracle.fuel.request"), "{text}")
        }
        exit => panic!("{exit:?}"),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn host_calls_are_charged() {
    let node = TestNode::start();
    let fuel = async |lines: &str| {
        let spec = node.spec(vec![container("coracle/hog", &["lines", lines])]);
        run(&node, spec).await.1.fuel
    };
    let (few, many) = (fuel("1000").await, fuel("2000000").await);
    // It writes some KiB with each call, and each line takes some 30 instructions.
    assert!(many - few > 100 * HOST_CALL, "{few} {many}");
    let calls = async |count: &str| {
        let spec = node.spec(vec![ContainerSpec { deterministic: true, ..container("coracle/hog", &["spin", count]) }]);
        run(&node, spec).await.1.fuel
    };
    assert!(calls("1").await >= 1_000_000);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_same_input_uses_the_same_fuel_whatever_runs_beside_it() {
    let node = TestNode::start();
    let beside = node.task(node.spec(vec![container("coracle/hog", &["spin"])])).await;
    let deterministic = |image: &str, args: &[&str]| ContainerSpec { deterministic: true, ..container(image, args) };
    for (image, args) in
        [("coracle/hog", &["spin", "5"][..]), ("coracle/batch", &["print", "hi", "sleep", "3", "exit", "3"])]
    {
        let mut used = Vec::new();
        for _ in 0..5 {
            let (_, usage) = run(&node, node.spec(vec![deterministic(image, args)])).await;
            used.push(usage.fuel);
        }
        assert!(used[0] > 0 && used.iter().all(|fuel| *fuel == used[0]), "{image}: {used:?}");
    }
    for image in ["coracle/hello", "coracle/hello-p3"] {
        let running = node.handler(deterministic(image, &[])).await;
        let mut used = Vec::new();
        for _ in 0..10 {
            let before = running.task.usage().fuel;
            assert_eq!(running.get("/headers").await.unwrap().0, 200);
            while running.task.usage().instances > 0 {
                tokio::task::yield_now().await;
            }
            used.push(running.task.usage().fuel - before);
        }
        assert!(used.iter().all(|fuel| *fuel == used[0]), "{image}: {used:?}");
        running.stop().await;
    }
    beside.task.kill();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_sleep_moves_the_virtual_clock() {
    let node = TestNode::start();
    let running = node.handler(ContainerSpec { deterministic: true, ..container("coracle/hello", &[]) }).await;
    assert_eq!(running.get("/sleep/20").await.unwrap(), (200, String::from("slept 20 ms\n")));
    // A loop that waits for the clock ends, though nothing but itself moves it.
    assert_eq!(running.get("/spin/3").await.unwrap().0, 200);
    running.stop().await;
}
