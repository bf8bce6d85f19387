//! The files of tasks: nothing but what their definitions declare.
//!
//! Each container has a root of its own, empty but for its mount points, and below it the volumes of its task. All of it
//! lies under the data directory, or in directories that the operator allows; a guest gets *directories*, never paths of the
//! machine, and every path that it names is resolved below one of them by the kernel (`openat2` with `RESOLVE_BENEATH`, in
//! wasmtime-wasi): no `..`, symbolic link or rename in between leads out.
//!
//! - A task that never looks at a file costs nothing: its directories are made, and opened, when a guest first asks for them
//!   ([`disk`]). What lies outside of the task (host paths, shared volumes) is opened before it starts, once: what cannot be had
//!   fails the start, and what is moved later is not followed.
//! - What a task made is gone when it ends: renamed away at once, removed by a thread of its own ([`remove`]).
//! - Sizes are limited as a kubelet does it: by looking ([`watch`]). A task over its size ends, and its reason says so.
//! - Open files are counted where they are opened, and reads and writes run on threads that may wait, few for each task
//!   ([`io`]), so that a task that hammers the disk delays itself.

pub mod disk;
mod home;
mod io;
mod listings;
mod measure;
mod p2;
mod p3;
mod remove;
pub mod spec;
mod watch;

use std::sync::Arc;

use wasmtime_wasi::WasiView;

pub use disk::{ContainerFiles, Given, TaskDisk};
pub use home::{Home, HomeError, OnlyTask};
pub use listings::Listings;
pub use p2::shadow_p2;
pub use p3::shadow_p3;
pub use spec::{FilesSpec, Mount, Source, TaskFiles, VolumeSpec};

/// The data of a store whose guest may use files.
pub trait FilesView: WasiView + 'static {
    fn files(&self) -> &Arc<ContainerFiles>;
    fn listings(&mut self) -> &mut Listings;
}

/// Nobody but our own user reads what tasks write, whatever modes they ask for.
pub fn keep_files_private() {
    rustix::process::umask(rustix::fs::Mode::RWXG | rustix::fs::Mode::RWXO);
}

#[cfg(test)]
mod tests;
