//! Makes an image ready to run: inspects, compiles, maps and links it.

use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use wasmtime::component::Component;
use wasmtime::{InstancePre, Module, ResourcesRequired};
use wasmtime_wasi::{p2, p3};
use wasmtime_wasi_http::{p2 as http2, p3 as http3};

use crate::model::StartFailure;
use crate::runtime::compile::{CompileError, Compiler, Form};
use crate::runtime::engine::{EngineKind, Engines, POOL_WEIGHT_MAX};
use crate::runtime::exit::message_of;
use crate::runtime::image::inspect::{Inspected, World, inspect};
use crate::runtime::image::written_digest;
use crate::runtime::sandbox::Guest;
use crate::runtime::sandbox::linker::Linkers;
use crate::runtime::spec::GuestKind;

/// An image that can be instantiated.
pub struct Image {
    /// `sha256:…`.
    pub digest: String,
    pub world: World,
    pub engine: EngineKind,
    /// Permits of its engine's pool that an instance takes.
    pub weight: u32,
    /// What an instance needs before its first instruction.
    pub initial_memory_bytes: u64,
    pub code: Code,
}

impl Image {
    pub fn kind(&self) -> GuestKind {
        self.world.kind()
    }
}

/// Code with its imports resolved, one for each world.
#[derive(Clone)]
pub enum Code {
    Module(InstancePre<Guest>),
    Command2(p2::bindings::CommandPre<Guest>),
    Command3(p3::bindings::CommandPre<Guest>),
    Http2(http2::bindings::ProxyPre<Guest>),
    Http3(http3::bindings::ServicePre<Guest>),
}

/// A page of a linear memory.
const PAGE_BYTES: u64 = 65_536;

/// What loading needs of the node.
pub struct Loader {
    engines: Engines,
    linkers: Linkers,
    compiler: Arc<Compiler>,
}

impl Loader {
    pub fn new(engines: Engines, linkers: Linkers, compiler: Arc<Compiler>) -> Loader {
        Loader { engines, linkers, compiler }
    }

    /// `digest` is that of `bytes`, in hexadecimal.
    pub async fn load(&self, digest: String, bytes: Bytes) -> Result<Image, StartFailure> {
        // It reads all of the image, and these threads serve others.
        let looked_at = bytes.clone();
        let inspecting = tokio::task::spawn_blocking(move || inspect(&looked_at));
        let inspected = inspecting.await.map_err(|error| StartFailure::CannotPull(error.to_string()))??;
        match self.load_for(inspected.engine, inspected, &digest, &bytes).await {
            // What the pool's slots do not hold is told by wasmtime when it maps the code.
            Err(Unfit::Pool(_)) if inspected.engine != EngineKind::OnDemand => {
                let retried = self.load_for(EngineKind::OnDemand, inspected, &digest, &bytes).await;
                retried.map_err(Unfit::into_failure)
            }
            other => other.map_err(Unfit::into_failure),
        }
    }

    async fn load_for(
        &self,
        engine: EngineKind,
        inspected: Inspected,
        digest: &str,
        bytes: &Bytes,
    ) -> Result<Image, Unfit> {
        let form = if inspected.world == World::Module { Form::Module } else { Form::Component };
        let artifact = self.compiler.artifact(digest, bytes.clone(), form, engine.concurrency());
        let path = artifact.await.map_err(|error| Unfit::Image(of_compile(error)))?;
        let (code, resources) = match form {
            Form::Module => self.module(engine, &path)?,
            Form::Component => self.component(engine, inspected.world, &path)?,
        };
        let counted = resources.as_ref().map_or(1, |needed| needed.num_memories.max(needed.num_tables.div_ceil(4)));
        let weight = inspected.weight.max(counted);
        if weight > POOL_WEIGHT_MAX && engine != EngineKind::OnDemand {
            return Err(Unfit::Pool(format!("it takes {weight} shares of a pool")));
        }
        Ok(Image {
            digest: written_digest(digest),
            world: inspected.world,
            engine,
            weight,
            initial_memory_bytes: resources
                .and_then(|needed| needed.max_initial_memory_size)
                .map_or(0, |pages| pages.saturating_mul(PAGE_BYTES)),
            code,
        })
    }

    fn module(&self, engine: EngineKind, path: &Path) -> Result<(Code, Option<ResourcesRequired>), Unfit> {
        // SAFETY: wasmtime made this file, for an engine of the same settings (its name carries their hash, and wasmtime
        // checks them again); its digest was just verified; only this user can write to its directory, in which files
        // are replaced by renaming and never changed.
        let module = unsafe { Module::deserialize_file(self.engines.get(engine), path) }.map_err(Unfit::pool)?;
        let linked = self.linkers.get(engine).modules.instantiate_pre(&module).map_err(Unfit::link)?;
        Ok((Code::Module(linked), Some(module.resources_required())))
    }

    fn component(
        &self,
        engine: EngineKind,
        world: World,
        path: &Path,
    ) -> Result<(Code, Option<ResourcesRequired>), Unfit> {
        // SAFETY: as for modules, above.
        let component = unsafe { Component::deserialize_file(self.engines.get(engine), path) }.map_err(Unfit::pool)?;
        let linked = self.linkers.get(engine).components.instantiate_pre(&component).map_err(Unfit::link)?;
        let code = match world {
            World::Http2 => http2::bindings::ProxyPre::new(linked).map(Code::Http2),
            World::Http3 => http3::bindings::ServicePre::new(linked).map(Code::Http3),
            World::Command3 => p3::bindings::CommandPre::new(linked).map(Code::Command3),
            World::Command2 | World::Module => p2::bindings::CommandPre::new(linked).map(Code::Command2),
        };
        Ok((code.map_err(Unfit::link)?, component.resources_required()))
    }
}

/// Why an image cannot run on an engine.
enum Unfit {
    /// It may on the on-demand engine.
    Pool(String),
    Image(StartFailure),
}

impl Unfit {
    fn pool(error: wasmtime::Error) -> Unfit {
        Unfit::Pool(message_of(&error))
    }

    /// An interface that is offered, but not with the function or the type that the image wants.
    fn link(error: wasmtime::Error) -> Unfit {
        let message = format!("{error:#}").split_whitespace().collect::<Vec<_>>().join(" ");
        Unfit::Image(StartFailure::CannotCreate(format!("it wants what is not offered here: {message}")))
    }

    fn into_failure(self) -> StartFailure {
        match self {
            Unfit::Pool(message) => StartFailure::CannotCreate(message),
            Unfit::Image(failure) => failure,
        }
    }
}

fn of_compile(error: CompileError) -> StartFailure {
    match error {
        CompileError::Host(_) => {
            tracing::error!(%error, "an image cannot be compiled");
            StartFailure::CannotCreate(error.to_string())
        }
        CompileError::Image(_) | CompileError::Time | CompileError::Died => StartFailure::CannotPull(error.to_string()),
    }
}
