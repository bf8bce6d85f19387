//! `coracle up`: from a file to a served page. It is a client of its own server: everything that it does goes through the
//! API's operations, in process.

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::Args;
use futures_util::future::{self, Either};

use crate::cli::log::{self, LogFormat};
use crate::cli::serve::{ServerOptions, Signals, on_control_runtime};
use crate::cli::server::Server;
use crate::cli::up::progress::Progress;
use crate::cli::up::stack::Stack;
use crate::cli::{Failure, output};

pub mod definition;
mod follow;
mod ports;
mod progress;
mod stack;
mod watch;

/// Run task definitions: a service for each, behind a load balancer of its own, with its logs on standard output.
///
/// Ctrl-C drains and removes everything; a second Ctrl-C ends at once.
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  coracle up webserver.json\n  coracle up app.json --image my/app=./target/wasm32-wasip2/release/app.wasm --watch\n  coracle up web.json worker.json --count 3 --listen 127.0.0.1:0"
)]
pub struct UpArgs {
    /// Task definitions, as `aws ecs register-task-definition --cli-input-json` takes them.
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
    /// Tasks of each service.
    #[arg(long, short = 'n', default_value_t = 2, value_parser = clap::value_parser!(u32).range(0..=5000))]
    count: u32,
    /// The cluster that the services run in.
    #[arg(long, default_value = "default")]
    cluster: String,
    /// Roll out a definition or a component when its file changes, without dropping a request.
    #[arg(long)]
    watch: bool,
    #[command(flatten)]
    server: ServerOptions,
}

/// How long the services may take until they are steady, before the command gives up. Compiling a large image is the
/// longest part of it.
const STEADY_TIMEOUT: Duration = Duration::from_secs(300);

pub fn run(arguments: UpArgs) -> Result<ExitCode, Failure> {
    // The server's own log would drown the tasks'; JSON is for those who collect it.
    let level = if arguments.server.log_format == LogFormat::Json { "info" } else { "warn" };
    log::start(arguments.server.log_format, level);
    on_control_runtime(up(arguments))
}

async fn up(arguments: UpArgs) -> Result<ExitCode, Failure> {
    let mut signals = Signals::new()?;
    let definitions = read_all(&arguments.files)?;
    let server = Server::start(&arguments.server).await?;
    eprintln!("listening on http://{} (aws --endpoint-url http://{} ecs …)", server.address, server.address);

    let stack = Stack::new(&server, &arguments.cluster, arguments.count);
    let worked = {
        let work = work(&server, &stack, &arguments, definitions);
        tokio::pin!(work);
        let signal = signals.next();
        tokio::pin!(signal);
        match future::select(work, signal).await {
            Either::Left((done, _)) => done,
            Either::Right(_) => Ok(()),
        }
    };
    eprintln!("stopping: draining and removing everything (again to end at once)");
    let ended = async {
        stack.remove().await;
        server.shutdown().await;
    };
    tokio::select! {
        () = ended => {}
        () = signals.next() => eprintln!("ended at once"),
    }
    worked.map(|()| ExitCode::SUCCESS)
}

/// A definition and the file that it came from.
pub struct Source {
    pub file: PathBuf,
    pub definition: definition::Definition,
}

fn read_all(files: &[PathBuf]) -> Result<Vec<Source>, Failure> {
    let mut sources: Vec<Source> = Vec::new();
    for file in files {
        let definition = definition::read(file)?;
        let family = definition.request.family.clone().unwrap_or_default();
        if sources.iter().any(|earlier| earlier.definition.request.family.as_deref() == Some(&family)) {
            return Err(Failure::new(format!("{}: the family '{family}' is in another file too", file.display()))
                .next("Each definition becomes a service that is named after its family: give them different ones."));
        }
        sources.push(Source { file: file.clone(), definition });
    }
    Ok(sources)
}

/// Brings everything up and follows it until it is cancelled.
async fn work(server: &Server, stack: &Stack<'_>, arguments: &UpArgs, sources: Vec<Source>) -> Result<(), Failure> {
    let progress = Progress::new();
    for source in &sources {
        report_leniencies(source);
        stack.bring_up(source, &progress).await?;
    }
    tokio::time::timeout(STEADY_TIMEOUT, stack.steady(&progress)).await.map_err(|_| {
        Failure::new(format!("the services are not steady after {} s", STEADY_TIMEOUT.as_secs()))
            .next("The lines above say what their tasks ended with.")
    })??;
    progress.finish();
    for line in stack.served().await? {
        output::print(&format!("{line}\n"))?;
    }
    let follow = follow::logs(server, stack.services());
    if !arguments.watch {
        return follow.await;
    }
    let watch = watch::files(stack, &sources, &arguments.server.images);
    tokio::try_join!(follow, watch).map(|_| ())
}

fn report_leniencies(source: &Source) {
    let written: Vec<String> =
        source.definition.leniencies.iter().map(|leniency| format!("{} ({})", leniency.path, leniency.found)).collect();
    if !written.is_empty() {
        eprintln!(
            "{}: read what a client would have to write otherwise: {}",
            source.file.display(),
            written.join(", ")
        );
    }
    if !source.definition.ignored.is_empty() {
        eprintln!(
            "{}: ignored, as ECS has no such members: {}",
            source.file.display(),
            source.definition.ignored.join(", ")
        );
    }
}
