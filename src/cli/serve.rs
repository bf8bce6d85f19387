//! `coracle serve`: the server, until it is told to stop.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;
use std::str::FromStr;

use clap::{Args, ValueEnum};
use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::cli::client::default_region;
use crate::cli::log::{self, LogFormat};
use crate::cli::server::Server;
use crate::cli::{Failure, output};
use crate::model::{AccountId, Region};

/// Run the server for real clients.
///
/// Standard output carries one line, `listening on http://ADDR:PORT`, once it answers; its log goes to standard error.
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  coracle serve\n  coracle serve --listen 127.0.0.1:0 --data-dir /tmp/coracle\n  aws --endpoint-url http://127.0.0.1:4566 ecs list-clusters"
)]
pub struct ServeArgs {
    #[command(flatten)]
    pub options: ServerOptions,
}

/// Options that `serve` and `up` share.
#[derive(Clone, Debug, Args)]
pub struct ServerOptions {
    /// Where to listen; port 0 picks a free one. Beyond loopback only with --access-keys.
    #[arg(long, default_value = "127.0.0.1:4566", value_name = "ADDR:PORT", env = "CORACLE_LISTEN")]
    pub listen: SocketAddr,
    /// Where the state and the compiled images are kept [default: `coracle` under the user's data directory].
    #[arg(long, value_name = "DIR", env = "CORACLE_DATA_DIR")]
    pub data_dir: Option<PathBuf>,
    /// Run FILE wherever a definition says the image NAME; `*` stands for every name. May be repeated.
    #[arg(long = "image", value_name = "NAME=FILE.wasm")]
    pub images: Vec<ImageAlias>,
    /// The directory in which `file://` images of callers must lie, where they may not name any file.
    #[arg(long, value_name = "DIR")]
    pub image_dir: Option<PathBuf>,
    /// A JSON file of the access keys that may call: {"accessKeys": [{"accessKeyId": "…", "secretAccessKey": "…"}]}.
    #[arg(long, value_name = "FILE")]
    pub access_keys: Option<PathBuf>,
    /// A JSON file of what tasks may use of this machine: directories, ports, security groups (see the README).
    #[arg(long, value_name = "FILE", env = "CORACLE_CONFIG")]
    pub config: Option<PathBuf>,
    /// The account that everything belongs to.
    #[arg(long, default_value = "123456789012")]
    pub account: AccountId,
    /// The region of requests that name none.
    #[arg(long, default_value_t = default_region())]
    pub region: Region,
    /// Cores that tasks may use [default: all].
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..=1024))]
    pub cores: Option<u32>,
    /// MiB of memory that tasks may use [default: 80 % of the machine's].
    #[arg(long, value_name = "MIB", value_parser = clap::value_parser!(u64).range(16..))]
    pub memory: Option<u64>,
    /// Instances that may live at once [default: what the machine can hold].
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..))]
    pub instances_max: Option<u32>,
    /// `process` gives each task a process of its own, under a filter of system calls and, as root, its own user: slower to
    /// start, for guests whose authors nobody knows.
    #[arg(long, value_enum, value_name = "MODE")]
    pub isolate: Option<Isolation>,
    /// Seconds that tasks have to stop in when the server is told to.
    #[arg(long, value_name = "SECONDS", default_value_t = 30)]
    pub drain_timeout: u64,
    /// How the server's log is written.
    #[arg(long, value_enum, default_value_t)]
    pub log_format: LogFormat,
}

/// How tasks are kept apart beyond WebAssembly.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Isolation {
    /// One worker process for each task.
    Process,
}

/// `NAME=FILE`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ImageAlias {
    pub name: String,
    pub file: PathBuf,
}

impl FromStr for ImageAlias {
    type Err = String;

    fn from_str(text: &str) -> Result<ImageAlias, String> {
        match text.split_once('=') {
            Some((name, file)) if !name.is_empty() && !file.is_empty() => {
                Ok(ImageAlias { name: name.to_owned(), file: PathBuf::from(file) })
            }
            _ => Err(String::from("write NAME=FILE.wasm, such as nginx=./site.wasm; '*' stands for every name")),
        }
    }
}

/// Tells that the process should end; again, that it should do so at once.
pub struct Signals {
    terminate: Signal,
    interrupt: Signal,
}

impl Signals {
    pub fn new() -> Result<Signals, Failure> {
        let listen = |kind| signal(kind).map_err(|error| Failure::new("cannot listen for signals").caused_by(error));
        Ok(Signals { terminate: listen(SignalKind::terminate())?, interrupt: listen(SignalKind::interrupt())? })
    }

    pub async fn next(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }
}

/// Runs on the runtime of the control plane: apart from that of the data path and from that of the guests.
pub fn on_control_runtime(command: impl Future<Output = Result<ExitCode, Failure>>) -> Result<ExitCode, Failure> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(CONTROL_THREADS)
        .thread_name("control")
        .enable_all()
        .build()
        .map_err(|error| Failure::new("cannot start threads").caused_by(error))?;
    let done = runtime.block_on(command);
    // What still blocks (a look at a file) has had its time.
    runtime.shutdown_timeout(std::time::Duration::from_secs(1));
    done
}

/// Threads of the API and the loops: two, so that a long pass does not delay an answer.
const CONTROL_THREADS: usize = 2;

pub fn run(arguments: ServeArgs) -> Result<ExitCode, Failure> {
    log::start(arguments.options.log_format, "info");
    on_control_runtime(async {
        let mut signals = Signals::new()?;
        let server = Server::start(&arguments.options).await?;
        output::print(&format!("listening on http://{}\n", server.address))?;
        signals.next().await;
        tracing::info!("stopping: tasks may finish what they have; a second signal cuts them off");
        tokio::select! {
            () = server.shutdown() => {}
            () = signals.next() => tracing::warn!("stopping at once"),
        }
        Ok(ExitCode::SUCCESS)
    })
}
