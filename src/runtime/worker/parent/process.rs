//! The process of a worker, and its four connections.
//!
//! The worker connects to a socket in a private directory, and the kernel says whose process is at the other end: nobody
//! else can take its place. Its environment is empty, its standard input and output lead nowhere, and it dies with us.

use std::io;
use std::process::Stdio;
use std::time::Duration;

use tokio::io::{AsyncBufReadExt, AsyncReadExt, BufReader};
use tokio::net::{UnixListener, UnixStream};
use tokio::process::{Child, Command};

use crate::model::TaskId;
use crate::runtime::worker::parent::WorkerConfig;
use crate::runtime::worker::protocol::Purpose;

/// How long a worker may take from its start to its last connection.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// Of what a worker writes to its standard error, so much of a line and so many lines are logged.
const ERROR_LINES_MAX: usize = 100;
const ERROR_LINE_BYTES_MAX: u64 = 4096;

/// A worker that has started.
pub struct Process {
    pub child: Child,
    pub control: UnixStream,
    pub handlers: UnixStream,
    pub endpoint: UnixStream,
    pub table: UnixStream,
}

impl Process {
    /// Starts a worker and waits for its connections.
    pub async fn start(config: &WorkerConfig, task: TaskId) -> io::Result<Process> {
        let socket = config.socket_dir.join(format!("{task}.sock"));
        match std::fs::remove_file(&socket) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let listener = UnixListener::bind(&socket)?;
        let connected = tokio::time::timeout(CONNECT_TIMEOUT, connect(config, &socket, &listener, task)).await;
        let _ = std::fs::remove_file(&socket);
        connected.map_err(|_| io::Error::other("the worker process did not connect in time"))?
    }
}

async fn connect(
    config: &WorkerConfig,
    socket: &std::path::Path,
    listener: &UnixListener,
    task: TaskId,
) -> io::Result<Process> {
    let mut child = Command::new(&config.program)
        .arg(&config.argument)
        .arg(socket)
        .env_clear()
        .current_dir("/")
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()?;
    if let Some(errors) = child.stderr.take() {
        tokio::spawn(log_errors(errors, task));
    }
    let process = child.id();
    let mut connections = [None, None, None, None];
    while connections.iter().any(Option::is_none) {
        let (mut stream, _) = tokio::select! {
            accepted = listener.accept() => accepted?,
            ended = child.wait() => {
                return Err(io::Error::other(format!("the worker process ended at once: {}", ended?)));
            }
        };
        let peer = stream.peer_cred()?.pid().and_then(|pid| u32::try_from(pid).ok());
        if peer.is_none() || peer != process {
            tracing::warn!(?peer, "a stranger connected to the socket of a worker");
            continue;
        }
        let purpose = Purpose::of(stream.read_u8().await?).ok_or_else(|| io::Error::other("an unknown connection"))?;
        if let Some(place) = Purpose::ALL.iter().position(|of| *of == purpose).and_then(|at| connections.get_mut(at)) {
            *place = Some(stream);
        }
    }
    let [control, handlers, endpoint, table] = connections;
    let missing = || io::Error::other("a connection of the worker is missing");
    Ok(Process {
        child,
        control: control.ok_or_else(missing)?,
        handlers: handlers.ok_or_else(missing)?,
        endpoint: endpoint.ok_or_else(missing)?,
        table: table.ok_or_else(missing)?,
    })
}

/// A worker's warnings come into the server's log, bounded, as text: they may be a guest's.
async fn log_errors(errors: tokio::process::ChildStderr, task: TaskId) {
    let mut errors = BufReader::new(errors);
    for _ in 0..ERROR_LINES_MAX {
        let mut line = Vec::new();
        match (&mut errors).take(ERROR_LINE_BYTES_MAX).read_until(b'\n', &mut line).await {
            Ok(0) | Err(_) => return,
            Ok(_) => tracing::warn!(%task, line = ?String::from_utf8_lossy(&line).trim_end(), "a worker says"),
        }
    }
    // What follows is thrown away, so that the worker never waits for a full pipe.
    let _ = tokio::io::copy(&mut errors, &mut tokio::io::sink()).await;
}
