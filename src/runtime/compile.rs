//! Compiles images, once, in a process that can be thrown away.
//!
//! A compiler given bytes by strangers may take forever, take all memory, or crash. So it runs as a child of our own
//! binary, with limits on time, memory and priority, and whatever happens to it is one clean error. What it made is kept
//! under the image's digest and the engine's compatibility hash (compiler, settings, target, CPU features); a second
//! start compiles nothing.

pub mod artifact;
pub mod child;

use std::path::PathBuf;
use std::process::Stdio;
use std::time::Duration;

use bytes::Bytes;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::process::Command;
use tokio::sync::Semaphore;
use wasmtime::Engine;

use crate::runtime::CompileIn;
use crate::runtime::compile::artifact::Artifacts;
use crate::runtime::engine::{Concurrency, compatibility, settings};

/// Elapsed time that one image may take. A JavaScript engine of 12 MiB takes about ten seconds on two cores.
const COMPILE_TIME_MAX: Duration = Duration::from_secs(120);
/// CPU time, over all threads of the child: the kernel ends it even if nobody waits any more.
const COMPILE_CPU_SECONDS_MAX: u64 = 240;
/// Address space of the child. The compiler takes some 60 bytes for each byte of code; its threads' heaps are in it too.
const COMPILE_MEMORY_BYTES_MAX: u64 = 4 << 30;
/// A compiled image. Machine code is two to five times as long as the image, of which the largest have some 50 MiB.
const ARTIFACT_BYTES_MAX: u64 = 1 << 30;
/// Children at once. Each uses several threads; more would only make each of them slower.
const COMPILES_AT_ONCE: usize = 2;
/// Threads of a child: more cost address space, and leave less for others.
const COMPILE_THREADS: u32 = 4;
/// What is read of a child's complaint.
const MESSAGE_BYTES_MAX: u64 = 4096;

/// What is compiled: the two forms that wasmtime tells apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    Component,
    Module,
}

/// An image that could not be compiled. The text is for the person whose image it is.
#[derive(Debug, thiserror::Error)]
pub enum CompileError {
    /// The image's fault.
    #[error("{0}")]
    Image(String),
    #[error("compiling it took longer than {} seconds", COMPILE_TIME_MAX.as_secs())]
    Time,
    #[error(
        "compiling it needs more than {} MiB of memory, makes more than {} MiB of code, or crashes the compiler",
        COMPILE_MEMORY_BYTES_MAX >> 20,
        ARTIFACT_BYTES_MAX >> 20
    )]
    Died,
    /// This node's fault.
    #[error("the compiler cannot be run here: {0}")]
    Host(String),
}

/// Compiles into a directory of artifacts.
pub struct Compiler {
    artifacts: Artifacts,
    mode: CompileIn,
    gate: Semaphore,
    off: String,
    on: String,
}

impl Compiler {
    /// `data_dir` is the node's; artifacts lie in a directory below it.
    pub fn new(data_dir: &std::path::Path, mode: CompileIn) -> std::io::Result<Compiler> {
        let name = |concurrency| -> std::io::Result<String> {
            let engine = Engine::new(&settings(concurrency)).map_err(std::io::Error::other)?;
            Ok(compatibility(&engine))
        };
        Ok(Compiler {
            artifacts: Artifacts::open(data_dir.join("compiled"))?,
            mode,
            gate: Semaphore::new(COMPILES_AT_ONCE),
            off: name(Concurrency::Off)?,
            on: name(Concurrency::On)?,
        })
    }

    /// The verified artifact of an image: found, or made now. `digest` is that of `image`, in hexadecimal.
    pub async fn artifact(
        &self,
        digest: &str,
        image: Bytes,
        form: Form,
        concurrency: Concurrency,
    ) -> Result<PathBuf, CompileError> {
        let compatibility = match concurrency {
            Concurrency::Off => &self.off,
            Concurrency::On => &self.on,
        };
        let name = format!("{digest}-{compatibility}");
        if let Some(path) = self.artifacts.find(&name) {
            return Ok(path);
        }
        let _permit = self.gate.acquire().await.expect("the semaphore is never closed");
        let temporary = self.artifacts.temporary(&name);
        let compiled = match &self.mode {
            CompileIn::Process => {
                let to = temporary.path().to_owned();
                let run = move || child::compile(&image, form, concurrency, &to).map_err(CompileError::Image);
                tokio::task::spawn_blocking(run).await.unwrap_or(Err(CompileError::Died))
            }
            CompileIn::Child { program, argument } => {
                let mut command = Command::new(program);
                command.arg(argument).args(child::arguments(form, concurrency, temporary.path(), &limits()));
                run_child(command, image).await
            }
        };
        compiled?;
        self.artifacts.keep(temporary, &name).map_err(|error| CompileError::Host(error.to_string()))
    }
}

fn limits() -> child::Limits {
    child::Limits {
        memory_bytes: COMPILE_MEMORY_BYTES_MAX,
        cpu_seconds: COMPILE_CPU_SECONDS_MAX,
        file_bytes: ARTIFACT_BYTES_MAX,
    }
}

/// Feeds the image to a child and waits for its end. Dropping the future kills the child.
async fn run_child(mut command: Command, image: Bytes) -> Result<(), CompileError> {
    // Nothing of our environment may change what is compiled, or leak into a crash.
    command.env_clear().env("RAYON_NUM_THREADS", COMPILE_THREADS.to_string());
    command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::piped()).kill_on_drop(true);
    let mut child = command.spawn().map_err(|error| CompileError::Host(error.to_string()))?;
    let stdin = child.stdin.take();
    let stderr = child.stderr.take();
    let feed = async {
        if let Some(mut stdin) = stdin {
            // A child that ends early closes its end; its status says why.
            let _ = stdin.write_all(&image).await;
        }
    };
    let complaint = async {
        let mut text = Vec::new();
        if let Some(stderr) = stderr {
            let _ = stderr.take(MESSAGE_BYTES_MAX).read_to_end(&mut text).await;
        }
        String::from_utf8_lossy(&text).trim().to_owned()
    };
    let run = async { tokio::join!(feed, complaint, child.wait()) };
    let Ok(((), complaint, status)) = tokio::time::timeout(COMPILE_TIME_MAX, run).await else {
        return Err(CompileError::Time);
    };
    let status = status.map_err(|error| CompileError::Host(error.to_string()))?;
    match status.code() {
        Some(0) => Ok(()),
        Some(child::EXIT_IMAGE) => Err(CompileError::Image(complaint)),
        Some(child::EXIT_HOST) => Err(CompileError::Host(complaint)),
        // Any other code or signal: no memory (the allocator aborts), no CPU time (SIGXCPU), or a bug of the compiler.
        _ => Err(CompileError::Died),
    }
}

#[cfg(test)]
mod tests;
