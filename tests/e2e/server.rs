//! The server under test: the real binary, on a free port, with a data directory of its own.

use std::fs::{self, File};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::sync::Arc;

use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, ChildStdout, Command};

use super::wait::bounded;

/// Lines of the server's log that are shown when a test fails.
const LOG_LINES_SHOWN: usize = 40;

/// A running server. It is killed when dropped.
pub struct Server {
    pub address: SocketAddr,
    child: Child,
    home: Arc<TempDir>,
    options: Vec<String>,
    // Closed, the server's next line would fail.
    _output: BufReader<ChildStdout>,
}

impl Server {
    pub async fn start() -> Server {
        Server::start_with(&[]).await
    }

    pub async fn start_with(options: &[&str]) -> Server {
        let home = Arc::new(TempDir::new().unwrap());
        Server::start_in(home, options.iter().map(|option| (*option).to_owned()).collect()).await
    }

    async fn start_in(home: Arc<TempDir>, options: Vec<String>) -> Server {
        let log = File::options().create(true).append(true).open(home.path().join("log")).unwrap();
        let mut command = coracle();
        command.args(["serve", "--listen", "127.0.0.1:0", "--data-dir"]).arg(home.path().join("data")).args(&options);
        let mut child = command.stdout(Stdio::piped()).stderr(log).spawn().unwrap();
        let mut output = BufReader::new(child.stdout.take().unwrap());
        let mut line = String::new();
        bounded("the server's first line", output.read_line(&mut line)).await.unwrap();
        let address = line.trim_end().strip_prefix("listening on http://").and_then(|address| address.parse().ok());
        let Some(address) = address else {
            panic!("the first line was {line:?}\n{}", log_tail(home.path()));
        };
        Server { address, child, home, options, _output: output }
    }

    pub fn endpoint(&self) -> String {
        format!("http://{}", self.address)
    }

    pub fn data_dir(&self) -> PathBuf {
        self.home.path().join("data")
    }

    /// What the server wrote to standard error so far.
    pub fn log(&self) -> String {
        fs::read_to_string(self.home.path().join("log")).unwrap()
    }

    pub fn process_id(&self) -> u32 {
        self.child.id().expect("it was not waited for")
    }

    /// `kill -9`, then a new process on the same data.
    pub async fn kill_and_restart(mut self) -> Server {
        self.child.kill().await.unwrap();
        Server::start_in(Arc::clone(&self.home), self.options.clone()).await
    }

    /// Ends it and keeps the data.
    pub async fn kill(mut self) -> Arc<TempDir> {
        self.child.kill().await.unwrap();
        Arc::clone(&self.home)
    }

    /// SIGTERM; the exit status once it has drained.
    pub async fn terminate(mut self) -> ExitStatus {
        send_signal(self.process_id(), "TERM").await;
        bounded("the server to end", self.child.wait()).await.unwrap()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("the server's log ends with:\n{}", log_tail(self.home.path()));
        }
    }
}

fn log_tail(home: &Path) -> String {
    let log = fs::read_to_string(home.join("log")).unwrap_or_default();
    let lines: Vec<&str> = log.lines().collect();
    lines[lines.len().saturating_sub(LOG_LINES_SHOWN)..].join("\n")
}

/// The binary under test, without what the environment of whoever runs the tests would tell it.
pub fn coracle() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_coracle"));
    for variable in ["CORACLE_LISTEN", "CORACLE_DATA_DIR", "CORACLE_ENDPOINT", "AWS_REGION", "RUST_LOG"] {
        command.env_remove(variable);
    }
    command.kill_on_drop(true).stdin(Stdio::null());
    command
}

/// Sends a signal to a process that a test started.
pub async fn send_signal(process_id: u32, name: &str) {
    let sent = Command::new("kill").args(["-s", name, &process_id.to_string()]).status().await.unwrap();
    assert!(sent.success(), "kill -s {name} {process_id}");
}
