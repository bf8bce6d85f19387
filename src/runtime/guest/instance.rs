//! An instance of an image, with everything that it holds.

use std::sync::Arc;
use std::time::Duration;

use wasmtime::{Engine, PoolConcurrencyLimitError, Store};
use wasmtime_wasi::{p2, p3};
use wasmtime_wasi_http::{p2 as http2, p3 as http3};

use crate::runtime::capacity::Permit;
use crate::runtime::image::load::Code;
use crate::runtime::memory::Reservation;
use crate::runtime::sandbox::stdio::Stdin;
use crate::runtime::sandbox::{Guest, Sandbox};

/// The fields are in the order in which they must go: the slot is free only after the store is dropped.
pub struct Instance {
    pub exports: Exports,
    pub store: Store<Guest>,
    _permit: Permit,
}

/// What can be called, by world.
pub enum Exports {
    Module(wasmtime::Instance),
    Command2(p2::bindings::Command),
    Command3(p3::bindings::Command),
    Http2(http2::bindings::Proxy),
    Http3(http3::bindings::Service),
}

/// Permits count what images say of themselves; should a pool still be full, the slot is waited for like this.
const POOL_RETRY: Duration = Duration::from_millis(5);

/// A failed instantiation, and whether the guest was refused memory in it.
pub struct Failed {
    pub error: wasmtime::Error,
    pub memory_refused: bool,
}

impl Instance {
    /// Makes a store and instantiates. wasmtime's "maximum concurrent limit reached" means "not now", never a failure.
    pub async fn new(
        sandbox: &Arc<Sandbox>,
        engine: &Engine,
        code: &Code,
        stdin: Stdin,
        permit: Permit,
        mut admitted: Option<Reservation>,
    ) -> Result<Instance, Failed> {
        let failed = |error| Failed { error, memory_refused: false };
        let given = match code {
            Code::Module(_) => Some(sandbox.files.given().await.map_err(|error| failed(error.into()))?),
            _ => None,
        };
        loop {
            let mut store = sandbox.store(engine, stdin.clone(), admitted.take(), given.as_ref()).map_err(failed)?;
            match instantiate(code, &mut store).await {
                Ok(exports) => return Ok(Instance { exports, store, _permit: permit }),
                Err(error) if error.is::<PoolConcurrencyLimitError>() => {
                    drop(store);
                    tokio::time::sleep(POOL_RETRY).await;
                }
                Err(error) => return Err(Failed { error, memory_refused: store.data().memory_refused() }),
            }
        }
    }
}

async fn instantiate(code: &Code, store: &mut Store<Guest>) -> wasmtime::Result<Exports> {
    Ok(match code {
        Code::Module(pre) => Exports::Module(pre.instantiate_async(store).await?),
        Code::Command2(pre) => Exports::Command2(pre.instantiate_async(store).await?),
        Code::Command3(pre) => Exports::Command3(pre.instantiate_async(store).await?),
        Code::Http2(pre) => Exports::Http2(pre.instantiate_async(store).await?),
        Code::Http3(pre) => Exports::Http3(pre.instantiate_async(store).await?),
    })
}
