use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use tempfile::TempDir;

use super::*;
use crate::model::{Exit, StartFailure};
use crate::runtime::spec::{ContainerSpec, Report, Stream, TaskSpec};
use crate::runtime::testing::{TestNode, exit_of, reports};

const MIB: u64 = 1 << 20;

fn guest(steps: &str) -> ContainerSpec {
    let file = concat!(env!("CARGO_MANIFEST_DIR"), "/guest-examples/prebuilt/files.wasm");
    ContainerSpec {
        args: steps.split_whitespace().map(str::to_owned).collect(),
        may_name_any_file: true,
        ..ContainerSpec::new("main", format!("file://{file}"))
    }
}

/// A node with a data directory of its own.
struct Place {
    home: TempDir,
    node: TestNode,
}

impl Place {
    fn new() -> Place {
        let home = TempDir::new().unwrap();
        let node = TestNode::with(|config| config.data_dir = home.path().join("data"));
        Place { home, node }
    }

    fn path(&self, below: &str) -> std::path::PathBuf {
        self.home.path().join(below)
    }

    async fn run(&self, files: TaskFiles, containers: Vec<ContainerSpec>) -> Vec<Report> {
        let spec = TaskSpec { files, ..self.node.spec(containers) };
        let (_task, mut receiver) = self.node.runtime.run(spec);
        reports(&mut receiver).await
    }

    /// What a container with one volume at `/v` prints.
    async fn printed(&self, source: Source, read_only: bool, steps: &str) -> String {
        let before = self.node.logs.lines(Stream::Stdout).len();
        let files = TaskFiles { volumes: vec![volume(source)], size_bytes: None };
        let exit = exit_of(&self.run(files, vec![mounted(guest(steps), read_only)]).await);
        assert_eq!(exit, Exit::Returned { code: 0 }, "{:?}", self.node.logs.lines(Stream::Stderr));
        self.node.logs.lines(Stream::Stdout).split_off(before).join("\n")
    }
}

fn volume(source: Source) -> VolumeSpec {
    VolumeSpec { name: String::from("v"), source }
}

fn mounted(mut container: ContainerSpec, read_only: bool) -> ContainerSpec {
    container.files.mounts = vec![Mount { volume: 0, path: String::from("/v"), read_only }];
    container
}

fn scratch() -> Source {
    Source::Scratch { size_bytes: None }
}

fn directory(allowed: &Path, path: &str) -> Source {
    Source::Directory { allowed: allowed.to_owned(), path: path.into(), read_only: false, failure: String::from("v: ") }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_root_of_its_own_a_volume_and_a_working_directory() {
    let place = Place::new();
    let printed = place
        .printed(
            scratch(),
            false,
            "ls / ls /tmp write /tmp/a one append /tmp/a two read /tmp/a write /v/b three ls /v read /v/b rm /v/b ls /v \
             read ../etc/passwd read /v/../../../etc/passwd cwd",
        )
        .await;
    let lines: Vec<&str> = printed.lines().collect();
    assert_eq!(lines[..6], ["/: tmp v", "/tmp: ", "onetwo", "/v: b", "three", "/v: "], "{printed}");
    assert!(lines[6].starts_with("failed: read ../etc/passwd"), "{printed}");
    assert!(lines[7].starts_with("failed: read /v/../../../etc/passwd"), "{printed}");
    assert_eq!(lines[8], "/");

    let mut container = guest("cwd write here x ls . ls /srv/app");
    container.files.working_directory = Some(String::from("/srv/app"));
    assert_eq!(exit_of(&place.node.run(vec![container]).await), Exit::Returned { code: 0 });
    let printed = place.node.logs.lines(Stream::Stdout).join("\n");
    assert!(printed.contains("/srv/app\n.: here\n/srv/app: here"), "{printed}");
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_written_where_it_is_read_only() {
    let place = Place::new();
    std::fs::create_dir(place.path("there")).unwrap();
    std::fs::write(place.path("there/kept"), "kept").unwrap();
    let steps = "read /v/kept write /v/kept x append /v/kept x mkdir /v/d rm /v/kept mv /v/kept /v/other ln /v/kept /tmp/k \
                 mv /v/kept /tmp/k symlink /etc /v/l";
    let printed = place.printed(directory(&place.path("there"), ""), true, steps).await;
    let lines: Vec<&str> = printed.lines().collect();
    assert_eq!(lines[0], "kept");
    assert_eq!(lines.len(), 9, "{printed}");
    assert!(lines[1..].iter().all(|line| line.starts_with("failed: ")), "{printed}");
    assert_eq!(std::fs::read_to_string(place.path("there/kept")).unwrap(), "kept");

    let mut container = guest("write /tmp/x y write /x y ls /");
    container.files.has_read_only_root = true;
    place.node.run(vec![container]).await;
    let printed = place.node.logs.lines(Stream::Stdout).join("\n");
    assert!(printed.contains("failed: write /tmp/x") && printed.contains("failed: write /x"), "{printed}");
}

#[tokio::test(flavor = "multi_thread")]
async fn links_lead_nowhere_out() {
    let place = Place::new();
    let outside = place.path("outside");
    std::fs::create_dir(&outside).unwrap();
    std::fs::write(outside.join("secret"), "secret").unwrap();
    std::fs::create_dir_all(place.path("allowed/data")).unwrap();
    std::os::unix::fs::symlink(&outside, place.path("allowed/data/absolute")).unwrap();
    std::os::unix::fs::symlink("../../outside", place.path("allowed/data/relative")).unwrap();
    let steps = "read /v/absolute/secret read /v/relative/secret write /v/relative/mine x ls /v/relative \
                 symlink ../../../outside/secret /v/own read /v/own symlink /proc/self/fd /v/fds ls /v/fds \
                 ln /v/relative/secret /v/hard mv /v/relative/secret /v/moved read /proc/self/environ \
                 mkdir /v/in symlink in /v/well write /v/well/file fine read /v/in/file";
    let printed = place.printed(directory(&place.path("allowed"), "data"), false, steps).await;
    assert!(!printed.contains("secret\n") && printed.lines().last() == Some("fine"), "{printed}");
    assert_eq!(printed.lines().filter(|line| line.starts_with("failed: ")).count(), 10, "{printed}");
    assert_eq!(std::fs::read_dir(&outside).unwrap().count(), 1);

    // A directory that is itself a way out is no volume.
    std::os::unix::fs::symlink(&outside, place.path("allowed/out")).unwrap();
    let files = TaskFiles { volumes: vec![volume(directory(&place.path("allowed"), "out"))], size_bytes: None };
    let exit = exit_of(&place.run(files, vec![mounted(guest("ls /v"), false)]).await);
    assert!(matches!(exit, Exit::CouldNotStart(StartFailure::ResourceInitialization(_))), "{exit:?}");
}

/// Somebody on the machine, or a task with the same volume, swaps a directory for a link all the while.
#[tokio::test(flavor = "multi_thread")]
async fn a_race_leads_nowhere_out() {
    let place = Place::new();
    std::fs::create_dir(place.path("outside")).unwrap();
    std::fs::write(place.path("outside/file"), "secret").unwrap();
    std::fs::create_dir_all(place.path("allowed/turn")).unwrap();
    std::fs::write(place.path("allowed/turn/file"), "own").unwrap();
    std::os::unix::fs::symlink("../outside", place.path("allowed/link")).unwrap();
    let over = Arc::new(AtomicBool::new(false));
    let (turn, link, hostile_over) = (place.path("allowed/turn"), place.path("allowed/link"), Arc::clone(&over));
    let hostile = std::thread::spawn(move || {
        while !hostile_over.load(Ordering::Relaxed) {
            let exchange = rustix::fs::RenameFlags::EXCHANGE;
            rustix::fs::renameat_with(rustix::fs::CWD, &turn, rustix::fs::CWD, &link, exchange).unwrap();
        }
    });
    let printed = place.printed(directory(&place.path("allowed"), ""), false, "spy /v/turn/file 1500 secret").await;
    over.store(true, Ordering::Relaxed);
    hostile.join().unwrap();
    assert_eq!(printed, "spied: some reads, some refusals");
}

#[tokio::test(flavor = "multi_thread")]
async fn scratch_goes_with_its_task_and_shared_volumes_stay() {
    let place = Place::new();
    let absent = Source::Shared { create: false };
    let files = TaskFiles { volumes: vec![volume(absent.clone())], size_bytes: None };
    let exit = exit_of(&place.run(files, vec![mounted(guest("ls /v"), false)]).await);
    let Exit::CouldNotStart(failure) = exit else { panic!("{exit:?}") };
    assert!(failure.text().contains("no such volume"), "{failure:?}");

    place.printed(Source::Shared { create: true }, false, "write /v/kept kept write /tmp/gone gone").await;
    assert_eq!(std::fs::read_dir(place.path("data/tasks")).unwrap().count(), 0);
    assert_eq!(place.printed(absent, true, "read /v/kept ls /tmp").await, "kept\n/tmp: ");
    assert_eq!(place.printed(scratch(), true, "ls /v").await, "/v: ");
}

/// A task that asks for no file has no directory; what a crash left is gone at the next start, shared volumes aside.
#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_made_before_it_is_asked_for() {
    let place = Place::new();
    let running = place.node.handler(ContainerSpec::new("main", "coracle/hello")).await;
    running.get("/plain").await.unwrap();
    assert_eq!(std::fs::read_dir(place.path("data/tasks")).unwrap().count(), 0);
    running.stop().await;

    let Place { home, node } = place;
    drop(node);
    std::fs::create_dir_all(home.path().join("data/tasks/left/root-0")).unwrap();
    std::fs::create_dir_all(home.path().join("data/volumes/shared/kept")).unwrap();
    let again = Home::open(&home.path().join("data")).unwrap();
    assert_eq!(std::fs::read_dir(home.path().join("data/tasks")).unwrap().count(), 0);
    assert!(again.shared("kept", false).is_ok());
}

async fn ends_with(place: &Place, files: TaskFiles, steps: &str, why: &str) {
    let exit = exit_of(&place.run(files, vec![mounted(guest(steps), false)]).await);
    let Exit::OutOfDisk(reason) = exit else { panic!("{steps}: {exit:?}") };
    assert!(reason.starts_with("EphemeralStorageExceededError: ") && reason.contains(why), "{steps}: {reason}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_task_over_its_size_ends() {
    let place = Place::new();
    let files = |source| TaskFiles { volumes: vec![volume(source)], size_bytes: Some(8 * MIB) };
    ends_with(&place, files(scratch()), "fill /tmp/a 6 fill /v/b 6 sleep 600000", "of 8 MiB").await;
    ends_with(&place, files(scratch()), "unnamed /tmp/a 12", "of 8 MiB").await;
    ends_with(&place, files(scratch()), "mkdir /v/d many /v/d 3000 sleep 600000", "of 8 MiB").await;
    ends_with(&place, files(scratch()), "nest /v 200 sleep 600000", "deeper").await;
    let sized = Source::Scratch { size_bytes: Some(2 * MIB) };
    ends_with(&place, files(sized.clone()), "fill /v/a 4 sleep 600000", "v holds").await;
    // A sized volume does not count in the task's size, nor does what a file only claims to hold.
    let roomy = Source::Scratch { size_bytes: Some(64 * MIB) };
    let exit = exit_of(
        &place.run(files(roomy), vec![mounted(guest("fill /v/a 16 sparse /tmp/a 5000 sleep 700"), false)]).await,
    );
    assert_eq!(exit, Exit::Returned { code: 0 });
}

#[tokio::test(flavor = "multi_thread")]
async fn open_files_are_limited() {
    let place = Place::new();
    let mut container = guest("write /tmp/a x open /tmp/a 100 open /tmp/a 20");
    container.files.open_files_max = 32;
    place.node.run(vec![container]).await;
    let printed = place.node.logs.lines(Stream::Stdout).join("\n");
    assert!(printed.contains("opened 3") && printed.contains("failed: open /tmp/a"), "{printed}");
    // What was opened first is closed by then.
    assert!(printed.ends_with("opened 20"), "{printed}");
}
