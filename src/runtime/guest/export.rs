//! Calls a function that a component exports, as a health check: `wasm:NAME`.
//!
//! A fresh instance of the container's image, with the container's own limits, environment and share of the processor; it
//! takes a slot of the node as every instance does. The function takes nothing. It says that all is well by returning
//! nothing, `true`, `0` (of any integer type), or `ok`; everything else, a trap included, says that it is not.

use std::sync::Arc;
use std::time::Duration;

use tokio::runtime::Handle;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;
use tokio_util::task::{AbortOnDropHandle, TaskTracker};
use wasmtime::component::{InstancePre, Val};
use wasmtime::{Engine, PoolConcurrencyLimitError, Store};

use crate::runtime::capacity::Permits;
use crate::runtime::cpu::ContainerCpu;
use crate::runtime::exit::message_of;
use crate::runtime::guest::handler::acquire_under_pressure;
use crate::runtime::image::load::{Code, Image};
use crate::runtime::sandbox::stdio::Stdin;
use crate::runtime::sandbox::{Guest, Sandbox};

/// What a container is called with, while it runs.
#[derive(Clone)]
pub struct Callable {
    pub sandbox: Arc<Sandbox>,
    pub image: Arc<Image>,
    pub engine: Engine,
    pub cpu: ContainerCpu,
    /// Calls that are under way end with the container.
    pub cut: CancellationToken,
    pub open: TaskTracker,
}

/// Permits count what images say of themselves; should a pool still be full, the slot is waited for like this.
const POOL_RETRY: Duration = Duration::from_millis(5);

impl Callable {
    /// When this returns, nothing is left of any call.
    pub async fn close(self) {
        self.cut.cancel();
        self.open.close();
        self.open.wait().await;
    }

    /// Waits while the node is full; whoever calls sets the limit. Dropping the future ends the guest.
    pub async fn call(
        self,
        name: &str,
        permits: &Permits,
        pressure: &Arc<Notify>,
        guests: &Handle,
    ) -> Result<(), String> {
        let permit = acquire_under_pressure(permits, &self.image, pressure).await;
        let Callable { sandbox, image, engine, cpu, cut, open } = self;
        let name = name.to_owned();
        let work = cpu.meter(async move {
            let called = call(&sandbox, &image, &engine, &name).await;
            // The slot is free only after the store is gone.
            drop(permit);
            called
        });
        let work = open.track_future(async move {
            tokio::select! {
                biased;
                () = cut.cancelled() => Err(String::from("the container stopped")),
                called = work => called,
            }
        });
        let running = AbortOnDropHandle::new(guests.spawn(work));
        running.await.unwrap_or_else(|error| Err(error.to_string()))
    }
}

async fn call(sandbox: &Arc<Sandbox>, image: &Image, engine: &Engine, name: &str) -> Result<(), String> {
    let failed = |error: wasmtime::Error| format!("{name}: {}", message_of(&error));
    let component = match &image.code {
        Code::Module(module) => return call_module(sandbox, module, engine, name).await,
        Code::Command2(pre) => pre.instance_pre(),
        Code::Command3(pre) => pre.instance_pre(),
        Code::Http2(pre) => pre.instance_pre(),
        Code::Http3(pre) => pre.instance_pre(),
    };
    let (instance, mut store) = instantiate(sandbox, engine, component).await.map_err(failed)?;
    // `INTERFACE#FUNCTION`, or a function of the world itself.
    let function = match name.split_once('#') {
        Some((interface, function)) => {
            let interface = instance.get_export_index(&mut store, None, interface);
            let index = interface.and_then(|found| instance.get_export_index(&mut store, Some(&found), function));
            index.and_then(|index| instance.get_func(&mut store, index))
        }
        None => instance.get_func(&mut store, name),
    };
    let function = function.ok_or_else(|| format!("the component exports no function `{name}`"))?;
    let kind = function.ty(&store);
    if kind.params().len() > 0 {
        return Err(format!("the function `{name}` wants arguments"));
    }
    let mut results = vec![Val::Bool(false); kind.results().len()];
    function.call_async(&mut store, &[], &mut results).await.map_err(failed)?;
    match results.first() {
        None => Ok(()),
        Some(said) if is_well(said) => Ok(()),
        Some(said) => Err(format!("{name} returned {said:?}")),
    }
}

fn is_well(said: &Val) -> bool {
    match said {
        Val::Bool(well) => *well,
        Val::S8(code) => *code == 0,
        Val::U8(code) => *code == 0,
        Val::S16(code) => *code == 0,
        Val::U16(code) => *code == 0,
        Val::S32(code) => *code == 0,
        Val::U32(code) => *code == 0,
        Val::S64(code) => *code == 0,
        Val::U64(code) => *code == 0,
        Val::Result(result) => result.is_ok(),
        _ => false,
    }
}

async fn instantiate(
    sandbox: &Arc<Sandbox>,
    engine: &Engine,
    component: &InstancePre<Guest>,
) -> wasmtime::Result<(wasmtime::component::Instance, Store<Guest>)> {
    loop {
        let mut store = sandbox.store(engine, Stdin::Ended, None, None)?;
        match component.instantiate_async(&mut store).await {
            Ok(instance) => return Ok((instance, store)),
            Err(error) if error.is::<PoolConcurrencyLimitError>() => {
                drop(store);
                tokio::time::sleep(POOL_RETRY).await;
            }
            Err(error) => return Err(error),
        }
    }
}

/// A module of WASI 0.1: nothing is returned, or an `i32`.
async fn call_module(
    sandbox: &Arc<Sandbox>,
    module: &wasmtime::InstancePre<Guest>,
    engine: &Engine,
    name: &str,
) -> Result<(), String> {
    let failed = |error: wasmtime::Error| format!("{name}: {}", message_of(&error));
    let given = sandbox.files.given().await.map_err(|error| failed(error.into()))?;
    let mut store = sandbox.store(engine, Stdin::Ended, None, Some(&given)).map_err(failed)?;
    let instance = module.instantiate_async(&mut store).await.map_err(failed)?;
    let function = instance.get_func(&mut store, name);
    let function = function.ok_or_else(|| format!("the module exports no function `{name}`"))?;
    if let Ok(function) = function.typed::<(), i32>(&store) {
        return match function.call_async(&mut store, ()).await.map_err(failed)? {
            0 => Ok(()),
            code => Err(format!("{name} returned {code}")),
        };
    }
    let function = function.typed::<(), ()>(&store).map_err(failed)?;
    function.call_async(&mut store, ()).await.map_err(failed)
}

#[cfg(test)]
mod tests;
