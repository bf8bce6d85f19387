use std::time::Duration;

use super::*;
use crate::model::exit::TrapKind;
use crate::runtime::spec::Stream;
use crate::runtime::testing::{TestNode, container, exit_of, reports};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn exit_codes_are_whole() {
    let node = TestNode::start();
    for code in [0, 3, 255] {
        let exit = node.exit(container("coracle/batch", &["exit", &code.to_string()])).await;
        assert_eq!(exit, Exit::Returned { code });
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn reports_come_in_order_and_after_all_that_was_printed() {
    let node = TestNode::start();
    let mut batch =
        container("coracle/batch", &["print", "one", "env", "NAME", "err", "two", "lines", "500", "exit", "7"]);
    batch.environment.push((String::from("NAME"), String::from("value")));
    let (_task, mut receiver) = node.runtime.run(node.spec(vec![batch]));
    let mut all = Vec::new();
    while let Some(report) = receiver.recv().await {
        if matches!(report, Report::ContainerStopped { .. }) {
            assert_eq!(node.logs.lines(Stream::Stdout).len(), 502);
        }
        all.push(report);
    }
    assert!(
        matches!(
            &all[..],
            [
                Report::PullStarted,
                Report::Resolved { kind: GuestKind::Program, .. },
                Report::PullStopped,
                Report::ContainerStarted { .. },
                Report::ContainerStopped { exit: Exit::Returned { code: 7 }, .. },
                Report::Ended
            ]
        ),
        "{all:?}"
    );
    let out = node.logs.lines(Stream::Stdout);
    assert_eq!(out[0], "one");
    assert!(out[1].contains("value"), "{}", out[1]);
    assert_eq!(node.logs.lines(Stream::Stderr), ["two"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_guest_has_nothing_of_the_host() {
    let node = TestNode::start();
    assert!(std::env::var("PATH").is_ok());
    let exit = node.exit(container("coracle/batch", &["env", "PATH", "env", "HOME"])).await;
    assert_eq!(exit, Exit::Returned { code: 0 });
    let path = std::env::var("PATH").unwrap();
    assert!(node.logs.lines(Stream::Stdout).iter().all(|line| !line.contains(&path)));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn traps_are_told_apart_and_logged() {
    let node = TestNode::start();
    for (misdeed, kind) in [("panic", TrapKind::Unreachable), ("recurse", TrapKind::StackOverflow)] {
        match node.exit(container("coracle/hog", &[misdeed])).await {
            Exit::Trapped(trap) => assert_eq!(trap.kind, kind, "{trap:?}"),
            other => panic!("{misdeed}: {other:?}"),
        }
    }
    let words = node.logs.lines(Stream::Stderr);
    assert!(words.iter().any(|line| line.contains("wasm trap")), "{words:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn growing_without_end_is_out_of_memory_by_container_or_task() {
    let node = TestNode::start();
    let limited = ContainerSpec { memory_bytes: Some(64 << 20), ..container("coracle/hog", &["grow-forever"]) };
    assert_eq!(node.exit(limited).await, Exit::OutOfMemory);

    let spec =
        TaskSpec { memory_bytes: Some(64 << 20), ..node.spec(vec![container("coracle/hog", &["grow-forever"])]) };
    let (task, mut receiver) = node.runtime.run(spec);
    assert_eq!(exit_of(&reports(&mut receiver).await), Exit::OutOfMemory);
    let usage = task.usage();
    assert_eq!((usage.memory_bytes, usage.instances), (0, 0));
    assert!(usage.memory_peak_bytes > 32 << 20, "{usage:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_image_that_begins_above_the_limit_does_not_start() {
    let node = TestNode::start();
    let tiny = ContainerSpec { memory_bytes: Some(64 << 10), ..container("coracle/batch", &[]) };
    assert_eq!(node.exit(tiny).await, Exit::OutOfMemory);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_spinning_program_is_cut_off() {
    let node = TestNode::start();
    let spinning = ContainerSpec { stop_timeout: Duration::ZERO, ..container("coracle/hog", &["spin"]) };
    let running = node.task(node.spec(vec![spinning])).await;
    assert_eq!(running.stop().await, Exit::Killed);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_task_that_is_killed_while_it_sleeps_releases_everything() {
    let node = TestNode::start();
    let mut running = node.task(node.spec(vec![container("coracle/batch", &["sleep", "3600000"])])).await;
    let address = node.network.owner([127, 64, 0, 1].into());
    assert!(address.is_some());
    running.task.kill();
    assert_eq!(exit_of(&reports(&mut running.receiver).await), Exit::Killed);
    assert_eq!(node.network.owner([127, 64, 0, 1].into()), None);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_capped_spinner_gets_its_share() {
    let node = TestNode::start();
    let spec =
        TaskSpec { cpu_units: 256, cpu_capped: true, ..node.spec(vec![container("coracle/hog", &["spin", "600"])]) };
    let began = std::time::Instant::now();
    let (task, mut receiver) = node.runtime.run(spec);
    assert_eq!(exit_of(&reports(&mut receiver).await), Exit::Returned { code: 0 });
    let share = task.usage().cpu.as_secs_f64() / began.elapsed().as_secs_f64();
    // The other tests run beside it, so only the cap can be checked here; the burst is 10 ms.
    assert!(share < 0.32, "{share}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_core_module_of_wasi_01_runs() {
    let file = concat!("file://", env!("CARGO_MANIFEST_DIR"), "/guest-examples/prebuilt/c-hello.wasm");
    let node = TestNode::start();
    let hello = ContainerSpec {
        may_name_any_file: true,
        environment: vec![(String::from("EXIT_CODE"), String::from("9"))],
        ..container(file, &["argument"])
    };
    assert_eq!(node.exit(hello).await, Exit::Returned { code: 9 });
    assert!(node.logs.lines(Stream::Stdout).iter().any(|line| line.contains("argument")));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_container_starts_where_the_image_of_another_is_missing() {
    let node = TestNode::start();
    let mut other = container("mysql:8", &[]);
    other.name = String::from("db");
    let all = node.run(vec![container("coracle/batch", &["print", "hello"]), other]).await;
    let text = format!("{all:?}");
    assert!(text.contains("--image mysql=FILE.wasm"), "{text}");
    assert!(!text.contains("ContainerStarted") && node.logs.lines(Stream::Stdout).is_empty(), "{text}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn more_programs_than_the_node_holds_queue() {
    let node = TestNode::with(|config| config.instances_max = Some(8));
    let runs = (0..40).map(|_| node.exit(container("coracle/batch", &["sleep", "20", "exit", "1"])));
    for exit in join_all(runs).await {
        assert_eq!(exit, Exit::Returned { code: 1 });
    }
}

fn named(name: &str, args: &[&str]) -> ContainerSpec {
    ContainerSpec { name: String::from(name), ..container("coracle/batch", args) }
}

async fn until(receiver: &mut mpsc::Receiver<Report>, wanted: impl Fn(&Report) -> bool) {
    while !wanted(&receiver.recv().await.unwrap()) {}
}

fn is_start(of: &str) -> impl Fn(&Report) -> bool {
    move |report| matches!(report, Report::ContainerStarted { container, .. } if container == of)
}

fn is_stop(of: &str) -> impl Fn(&Report) -> bool {
    move |report| matches!(report, Report::ContainerStopped { container, .. } if container == of)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_container_that_waits_starts_when_it_is_ordered_to() {
    let node = TestNode::start();
    let later = ContainerSpec { waits: true, ..named("later", &["sleep", "200", "exit", "4"]) };
    let never = ContainerSpec { waits: true, ..named("never", &[]) };
    let (task, mut receiver) = node.runtime.run(node.spec(vec![named("first", &[]), later, never]));
    until(&mut receiver, is_stop("first")).await;
    assert!(receiver.try_recv().is_err(), "the task goes on without anything that runs");
    task.start_container("later");
    task.start_container("later");
    until(&mut receiver, is_start("later")).await;
    task.finish();
    let rest = reports(&mut receiver).await;
    let exits: Vec<_> = rest
        .iter()
        .filter_map(|report| match report {
            Report::ContainerStopped { container, exit } => Some((container.as_str(), exit.clone())),
            _ => None,
        })
        .collect();
    let not_started = Exit::CouldNotStart(stopped_before());
    assert_eq!(exits, [("later", Exit::Returned { code: 4 }), ("never", not_started)]);
    assert_eq!(rest.last(), Some(&Report::Ended));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_container_lives_again_as_often_as_it_is_ordered_and_no_report_is_lost() {
    let node = TestNode::start();
    let spec =
        TaskSpec { held: true, ..node.spec(vec![named("again", &["exit", "1"]), named("beside", &["exit", "2"])]) };
    let (task, mut receiver) = node.runtime.run(spec);
    let mut lives = 0;
    while let Some(report) = receiver.recv().await {
        match report {
            Report::ContainerStarted { container, .. } if container == "again" => lives += 1,
            // The first is not read on: what is in the channel then waits for its reader.
            Report::ContainerStopped { container, .. } if lives < 40 => task.start_container(&container),
            Report::ContainerStopped { .. } => task.finish(),
            _ => {}
        }
    }
    assert_eq!(lives, 40);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_container_is_stopped_while_its_task_goes_on() {
    let node = TestNode::start();
    let sleeper = |name| ContainerSpec { stop_timeout: Duration::ZERO, ..named(name, &["sleep", "3600000"]) };
    let (task, mut receiver) = node.runtime.run(node.spec(vec![sleeper("one"), sleeper("two")]));
    until(&mut receiver, is_start("one")).await;
    until(&mut receiver, is_start("two")).await;
    task.stop_container("one");
    until(&mut receiver, is_stop("one")).await;
    assert!(receiver.try_recv().is_err());
    task.stop();
    until(&mut receiver, is_stop("two")).await;
    assert_eq!(receiver.recv().await, Some(Report::Ended));
}

/// `(module (func (loop br 0)) (start 0) (export "_start" (func 0)))`: it never gets as far as to be called.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_start_function_that_never_returns_is_charged_and_cut_off() {
    let module: &[u8] = b"\0asm\x01\0\0\0\x01\x04\x01\x60\0\0\x03\x02\x01\0\x07\x0a\x01\x06_start\0\0\x08\x01\0\
        \x0a\x09\x01\x07\0\x03\x40\x0c\0\x0b\x0b";
    let home = tempfile::tempdir().unwrap();
    let file = home.path().join("endless.wasm");
    std::fs::write(&file, module).unwrap();
    let node = TestNode::with(|config| _ = config.aliases.insert(String::from("endless"), file));
    let endless = ContainerSpec { stop_timeout: Duration::ZERO, ..container("endless", &[]) };
    let running = node.task(node.spec(vec![endless])).await;
    while running.task.usage().cpu < Duration::from_millis(20) {
        tokio::task::yield_now().await;
    }
    assert_eq!(running.stop().await, Exit::Killed);
}
