//! What guests may import: one linker for each engine, made once.
//!
//! Every image is linked against all that is offered for its world; what it does not import costs nothing. Our hosts of
//! `wasi:sockets` replace those of wasmtime-wasi, so that a task has a loopback of its own.

use wasmtime::component::Linker;

use crate::runtime::engine::{EngineKind, Engines};
use crate::runtime::files;
use crate::runtime::sandbox::{Guest, polling, sleep};
use crate::runtime::sockets::{shadow_p2, shadow_p3};

/// The linkers of the node's engines.
pub struct Linkers {
    sequential: Linked,
    concurrent: Linked,
    on_demand: Linked,
}

/// For one engine: components and, where it runs them, modules of WASI 0.1.
pub struct Linked {
    pub components: Linker<Guest>,
    pub modules: wasmtime::Linker<Guest>,
}

impl Linkers {
    pub fn new(engines: &Engines) -> wasmtime::Result<Linkers> {
        let linked = |kind| link(engines, kind);
        Ok(Linkers {
            sequential: linked(EngineKind::Sequential)?,
            concurrent: linked(EngineKind::Concurrent)?,
            on_demand: linked(EngineKind::OnDemand)?,
        })
    }

    pub fn get(&self, kind: EngineKind) -> &Linked {
        match kind {
            EngineKind::Sequential => &self.sequential,
            EngineKind::Concurrent => &self.concurrent,
            EngineKind::OnDemand => &self.on_demand,
        }
    }
}

fn link(engines: &Engines, kind: EngineKind) -> wasmtime::Result<Linked> {
    let engine = engines.get(kind);
    let mut components = Linker::new(engine);
    wasmtime_wasi::p2::add_to_linker_async(&mut components)?;
    wasmtime_wasi_http::p2::add_only_http_to_linker_async(&mut components)?;
    shadow_p2(&mut components)?;
    files::shadow_p2(&mut components)?;
    sleep::shadow_p2(&mut components)?;
    polling::shadow_p2(&mut components)?;
    if kind != EngineKind::Sequential {
        wasmtime_wasi::p3::add_to_linker(&mut components)?;
        wasmtime_wasi_http::p3::add_to_linker(&mut components)?;
        shadow_p3(&mut components)?;
        files::shadow_p3(&mut components)?;
        sleep::shadow_p3(&mut components)?;
    }
    let mut modules = wasmtime::Linker::new(engine);
    wasmtime_wasi::p1::add_to_linker_async(&mut modules, |guest: &mut Guest| &mut guest.wasi)?;
    Ok(Linked { components, modules })
}
