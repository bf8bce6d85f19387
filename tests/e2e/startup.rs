//! What keeps the server from starting, and how it ends.

use std::fs;
use std::process::{Output, Stdio};

use super::command::text;
use super::definitions::program;
use super::server::{Server, coracle};
use super::wait::bounded;

/// Starts a server that must not start; what it said.
async fn refused(arguments: &[&str]) -> String {
    let mut command = coracle();
    command.arg("serve").args(arguments).stdout(Stdio::piped()).stderr(Stdio::piped());
    let Output { status, stdout, stderr } = bounded("the server to refuse", command.output()).await.unwrap();
    assert_eq!(status.code(), Some(1), "{}", text(&stderr));
    assert!(stdout.is_empty(), "standard output is for what was asked: {}", text(&stdout));
    text(&stderr)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_port_or_a_data_directory_in_use() {
    let server = Server::start().await;
    let folder = tempfile::tempdir().unwrap();
    let port = server.address.to_string();
    let said = refused(&["--listen", &port, "--data-dir", folder.path().to_str().unwrap()]).await;
    assert!(said.contains(&port) && said.contains("in use") && said.contains("--listen"), "{said}");
    let data = server.data_dir();
    let said = refused(&["--listen", "127.0.0.1:0", "--data-dir", data.to_str().unwrap()]).await;
    assert!(said.contains(data.to_str().unwrap()) && said.contains("--data-dir"), "{said}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_corrupt_data_directory_is_left_as_it_is() {
    let server = Server::start().await;
    server.register(program("kept", "batch", &[])).await;
    let data = server.data_dir();
    let home = server.kill().await;
    let store = largest_file(&data);
    let mut bytes = fs::read(&store).unwrap();
    // Its beginning, which says what the file is.
    bytes[..64].fill(0xa5);
    fs::write(&store, &bytes).unwrap();
    let said = refused(&["--listen", "127.0.0.1:0", "--data-dir", data.to_str().unwrap()]).await;
    assert!(said.contains(store.file_name().unwrap().to_str().unwrap()), "{said}");
    assert!(fs::read(&store).unwrap() == bytes, "it was changed");
    drop(home);
}

/// The store: the largest file at the top of the data directory.
fn largest_file(folder: &std::path::Path) -> std::path::PathBuf {
    let files = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap()).filter(|entry| entry.path().is_file());
    files.max_by_key(|entry| entry.metadata().unwrap().len()).unwrap().path()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn beyond_this_machine_only_with_keys() {
    let folder = tempfile::tempdir().unwrap();
    let said = refused(&["--listen", "0.0.0.0:0", "--data-dir", folder.path().to_str().unwrap()]).await;
    assert!(said.contains("--access-keys"), "{said}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_signal_drains_and_ends_with_0() {
    let server = Server::start().await;
    let arn = server.run(program("polite", "batch", &["print", "begun", "sleep", "600000"])).await;
    server.task_in(&arn, "RUNNING").await;
    // It says on standard error, and only there, what it did.
    assert!(server.log().contains("this node"), "{}", server.log());
    let status = server.terminate().await;
    assert_eq!(status.code(), Some(0));
}

/// What was compiled is kept: the second start compiles nothing.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn compiled_images_outlive_the_server() {
    let server = Server::start().await;
    let definition = server.register(program("kept", "batch", &["exit", "0"])).await;
    let run = async |server: &Server| {
        let arn = server.run_with(serde_json::json!({"taskDefinition": definition})).await;
        assert_eq!(server.task_in(&arn, "STOPPED").await["containers"][0]["exitCode"], 0);
    };
    run(&server).await;
    let compiled = compiled_files(&server);
    assert!(!compiled.is_empty());
    let server = server.kill_and_restart().await;
    run(&server).await;
    assert_eq!(compiled_files(&server), compiled);
}

/// Each compiled image with its time of writing.
fn compiled_files(server: &Server) -> Vec<(std::path::PathBuf, std::time::SystemTime)> {
    let files = fs::read_dir(server.data_dir().join("compiled")).unwrap().map(|entry| entry.unwrap());
    let mut files: Vec<_> = files.map(|file| (file.path(), file.metadata().unwrap().modified().unwrap())).collect();
    files.sort();
    files
}
