//! A container that runs a program: `wasi:cli/run` of 0.2 or 0.3, or `_start` of a module of WASI 0.1.

use std::sync::Arc;
use std::time::Duration;

use tokio::runtime::Handle;
use tokio_util::sync::CancellationToken;
use wasmtime::Engine;

use crate::model::Exit;
use crate::model::exit::{Trap, TrapKind};
use crate::runtime::capacity::Permit;
use crate::runtime::cpu::ContainerCpu;
use crate::runtime::exit::of_error;
use crate::runtime::guest::instance::{Exports, Failed, Instance};
use crate::runtime::guest::log_trap;
use crate::runtime::image::load::Image;
use crate::runtime::sandbox::stdio::Stdin;
use crate::runtime::sandbox::{self, Sandbox};

/// What `wasi:cli/run` returns where it fails: every shell's general error.
const RUN_FAILED: u8 = 1;

/// A program, ready to run.
pub struct Program {
    pub sandbox: Arc<Sandbox>,
    pub image: Arc<Image>,
    pub engine: Engine,
    pub permit: Permit,
    pub cpu: ContainerCpu,
    pub stop_timeout: Duration,
    /// Its standard input stays open until the stop.
    pub interactive: bool,
}

impl Program {
    /// Runs to the end, or until it is cut off: at once when `kill` is, or after its `stop_timeout` when `stop` is. When this
    /// returns, the store and all that it held are gone, and all that was printed is in the log.
    pub async fn run(self, guests: &Handle, stop: CancellationToken, kill: CancellationToken) -> Exit {
        let cut = kill.child_token();
        let stop_timeout = self.stop_timeout;
        let sandbox = Arc::clone(&self.sandbox);
        let cpu = self.cpu.clone();
        let work = cpu.meter(self.call(stop.clone()));
        let cut_here = cut.clone();
        let mut task = guests.spawn(async move {
            tokio::select! {
                biased;
                () = cut_here.cancelled() => Exit::Killed,
                exit = work => exit,
            }
        });
        let stopped = async {
            stop.cancelled().await;
            tokio::time::sleep(stop_timeout).await;
        };
        let ended = tokio::select! {
            ended = &mut task => ended,
            () = sandbox.fuel_exhausted() => {
                cut.cancel();
                // Also where another container of the task used up the last of it.
                task.await.map(|exit| if exit == Exit::Killed { Exit::OutOfFuel } else { exit })
            }
            () = stopped => {
                cut.cancel();
                task.await
            }
        };
        match ended {
            // It was asked to end, and did.
            Ok(Exit::Returned { code: 0 }) if stop.is_cancelled() => Exit::Stopped,
            Ok(exit) => exit,
            Err(panic) => {
                tracing::error!(%panic, "the host of a guest panicked");
                let message = String::from("the runtime failed; see the log of the server");
                Exit::Trapped(Trap { kind: TrapKind::Other, message })
            }
        }
    }

    async fn call(self, stop: CancellationToken) -> Exit {
        let Program { sandbox, image, engine, permit, interactive, .. } = self;
        let stdin = if interactive { Stdin::UntilStop(stop) } else { Stdin::Ended };
        let instance = Instance::new(&sandbox, &engine, &image.code, stdin, permit, None).await;
        let failed = match instance {
            Ok(mut instance) => {
                let returned = run(&mut instance).await;
                sandbox::settle(&mut instance.store);
                match returned {
                    Ok(code) => return Exit::Returned { code },
                    Err(error) => Failed { error, memory_refused: instance.store.data().memory_refused() },
                }
            }
            Err(failed) => failed,
        };
        let exit = of_error(&failed.error, failed.memory_refused);
        if let Exit::Trapped(trap) = &exit {
            log_trap(&sandbox, trap, &failed.error);
        }
        exit
    }
}

/// The exit code of a program that returned. One that calls `exit` comes back as an error, which `exit` sorts.
async fn run(instance: &mut Instance) -> wasmtime::Result<u8> {
    let store = &mut instance.store;
    let returned = match &instance.exports {
        Exports::Command2(command) => command.wasi_cli_run().call_run(store).await?,
        Exports::Command3(command) => {
            store.run_concurrent(async |accessor| command.wasi_cli_run().call_run(accessor).await).await??
        }
        Exports::Module(module) => {
            let start = module.get_typed_func::<(), ()>(&mut *store, "_start")?;
            start.call_async(store, ()).await?;
            Ok(())
        }
        Exports::Http2(_) | Exports::Http3(_) => wasmtime::bail!("a handler was started as a program"),
    };
    Ok(if returned.is_ok() { 0 } else { RUN_FAILED })
}
