//! The command line: what a person or a script asks of Coracle. `serve` assembles everything.
//!
//! Standard output carries only what was asked for; progress, warnings and the server's own log go to standard error.
//! An error says what to do next.

use std::process::ExitCode;

use clap::{Parser, Subcommand, ValueEnum};

mod balancers;
mod check;
mod client;
mod data_dir;
mod endpoint;
mod find;
mod images;
mod local_api;
mod log;
mod logs;
mod output;
mod predecessor;
mod ps;
mod serve;
mod server;
mod stop;
mod up;
mod usage;

/// Run Amazon ECS task definitions as sandboxed WebAssembly components.
#[derive(Debug, Parser)]
#[command(name = "coracle", version, about, max_term_width = 100, propagate_version = true)]
#[command(
    after_help = "Example:\n  coracle up webserver.json\n\nSee `coracle COMMAND --help` for more, with examples."
)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run task definitions: register them, start a service each behind a load balancer, follow their logs.
    Up(Box<up::UpArgs>),
    /// Run the server for real clients: the aws CLI, boto3, Terraform.
    Serve(serve::ServeArgs),
    /// List the tasks of a server.
    Ps(ps::PsArgs),
    /// Show what a task or a service printed.
    Logs(logs::LogsArgs),
    /// Stop a task, or scale a service to 0.
    Stop(stop::StopArgs),
    /// List the images that a server knows by name.
    Images(images::ImagesArgs),
    /// Show what tasks have used: CPU, memory over time, requests, instructions.
    Usage(usage::UsageArgs),
    /// Show what load balancers do: requests, codes, latencies, healthy targets, requests in flight.
    Balancers(balancers::BalancersArgs),
    /// Say of every field of a task definition what happens to it here.
    Check(check::CheckArgs),
    /// Compile one image: what the server runs as a child, so that a compile bomb hurts nobody.
    #[command(name = "compile-image", hide = true)]
    CompileImage {
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        arguments: Vec<std::ffi::OsString>,
    },
    /// Run one task in this process: what the server runs as a child with `--isolate process`.
    #[command(name = "task-worker", hide = true)]
    TaskWorker { socket: std::path::PathBuf },
}

/// How results are written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
enum Output {
    /// For people.
    #[default]
    Text,
    /// For scripts.
    Json,
}

/// A failure of a command: one line of what went wrong and one of what to do next.
#[derive(Debug, thiserror::Error)]
#[error("{message}")]
pub struct Failure {
    message: String,
    next: Option<String>,
    #[source]
    cause: Option<Box<dyn std::error::Error + Send + Sync>>,
}

impl Failure {
    fn new(message: impl std::fmt::Display) -> Failure {
        Failure { message: message.to_string(), next: None, cause: None }
    }

    /// What the person can do about it.
    fn next(mut self, next: impl std::fmt::Display) -> Failure {
        self.next = Some(next.to_string());
        self
    }

    fn caused_by(mut self, cause: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Failure {
        self.cause = Some(cause.into());
        self
    }

    fn print(&self) {
        eprint!("error: {}", self.message);
        let mut cause = std::error::Error::source(self);
        while let Some(error) = cause {
            eprint!(": {error}");
            cause = error.source();
        }
        eprintln!();
        if let Some(next) = &self.next {
            eprintln!("  {next}");
        }
    }
}

fn compile_image(arguments: Vec<std::ffi::OsString>) -> u8 {
    u8::try_from(crate::runtime::compile::child::child_main(arguments)).unwrap_or(1)
}

/// Parses the arguments and runs the command.
pub fn main() -> ExitCode {
    let cli = Cli::parse();
    let done = match cli.command {
        // The child that compiles needs neither a runtime nor logs.
        Command::CompileImage { arguments } => return ExitCode::from(compile_image(arguments)),
        Command::TaskWorker { socket } => return crate::runtime::worker::child::child_main(&socket),
        Command::Check(arguments) => check::run(&arguments),
        Command::Serve(arguments) => serve::run(arguments),
        Command::Up(arguments) => up::run(*arguments),
        Command::Ps(arguments) => client::block_on(ps::run(arguments)),
        Command::Logs(arguments) => client::block_on(logs::run(arguments)),
        Command::Stop(arguments) => client::block_on(stop::run(arguments)),
        Command::Balancers(arguments) => client::block_on(balancers::run(arguments)),
        Command::Usage(arguments) => client::block_on(usage::run(arguments)),
        Command::Images(arguments) => client::block_on(images::run(arguments)),
    };
    done.unwrap_or_else(|failure| {
        failure.print();
        ExitCode::FAILURE
    })
}
