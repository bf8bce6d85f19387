//! The files of one task: what lies outside of it is opened before it starts, what is its own when a guest first asks.

use std::collections::BTreeMap;
use std::io;
use std::os::fd::AsRawFd;
use std::path::{Component, Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};

use cap_std::ambient_authority;
use cap_std::fs::Dir;
use parking_lot::Mutex;
use tokio::sync::OnceCell;
use tokio_util::sync::CancellationToken;
use wasmtime_wasi::filesystem::Dir as Preopen;
use wasmtime_wasi::{FsPerms, OpenMode};

use crate::model::{StartFailure, TaskId};
use crate::runtime::files::home::{Home, Outside, make};
use crate::runtime::files::io::{Gate, OpenFiles};
use crate::runtime::files::spec::{DISK_BYTES_DEFAULT, FilesSpec, Source, TaskFiles, VolumeSpec};
use crate::runtime::files::watch::Watched;

/// What every container has below its root, mounts or not.
const TMP: &str = "/tmp";

/// The files of a task. They are gone when this is dropped.
pub struct TaskDisk {
    shared: Arc<Shared>,
    containers: Vec<Arc<ContainerFiles>>,
}

struct Shared {
    home: Home,
    task: TaskId,
    volumes: Vec<VolumeSpec>,
    /// Those that are not the task's own, by index.
    outside: BTreeMap<usize, Dir>,
    size_bytes: u64,
    used_bytes: Arc<AtomicU64>,
    kill: CancellationToken,
    /// Made when a guest first asks for files.
    own: Mutex<Option<Own>>,
    is_closed: AtomicBool,
}

/// What is there once the task has a directory.
#[derive(Clone)]
struct Own {
    dir: Arc<Dir>,
    watched: Arc<Watched>,
    gate: Gate,
}

impl TaskDisk {
    /// Opens what lies outside of the task; `kill` is cancelled when the task is over its size.
    pub async fn open(
        home: &Home,
        task: TaskId,
        files: TaskFiles,
        containers: Vec<FilesSpec>,
        kill: CancellationToken,
    ) -> Result<TaskDisk, StartFailure> {
        let TaskFiles { volumes, size_bytes } = files;
        let (outside, volumes) = if volumes.iter().all(|volume| matches!(volume.source, Source::Scratch { .. })) {
            (BTreeMap::new(), volumes)
        } else if let Some(ahead) = home.opened_ahead() {
            (ahead?, volumes)
        } else {
            let home = home.clone();
            let opened = tokio::task::spawn_blocking(move || (outside(&home, &volumes), volumes)).await;
            let (outside, volumes) =
                opened.map_err(|error| StartFailure::ResourceInitialization(format!("volumes: {error}")))?;
            (outside?, volumes)
        };
        let shared = Arc::new(Shared {
            home: home.clone(),
            task,
            volumes,
            outside,
            size_bytes: size_bytes.unwrap_or(DISK_BYTES_DEFAULT),
            used_bytes: Arc::default(),
            kill,
            own: Mutex::default(),
            is_closed: AtomicBool::new(false),
        });
        let container = |(number, spec): (usize, FilesSpec)| {
            Arc::new(ContainerFiles {
                shared: Arc::clone(&shared),
                number,
                open: OpenFiles::new(spec.open_files_max),
                listed: AtomicUsize::new(0),
                spec,
                opened: OnceCell::new(),
            })
        };
        let containers = containers.into_iter().enumerate().map(container).collect();
        Ok(TaskDisk { shared, containers })
    }

    /// The files of a container, which it keeps when it is started again.
    pub fn container(&self, number: usize) -> Option<Arc<ContainerFiles>> {
        self.containers.get(number).cloned()
    }

    /// Why the task was ended, if it took too much of the disk.
    pub fn exceeded(&self) -> Option<String> {
        self.shared.own.lock().as_ref()?.watched.exceeded.get().cloned()
    }

    /// What it held when it was last looked at: a count that outlives it.
    pub fn used_bytes(&self) -> Arc<AtomicU64> {
        Arc::clone(&self.shared.used_bytes)
    }
}

impl Drop for TaskDisk {
    fn drop(&mut self) {
        let own = {
            let own = self.shared.own.lock();
            self.shared.is_closed.store(true, Ordering::Relaxed);
            own.is_some()
        };
        if own {
            self.shared.home.throw_away(self.shared.task);
        }
    }
}

pub(in crate::runtime::files) fn outside(home: &Home, volumes: &[VolumeSpec]) -> Outside {
    let mut opened = BTreeMap::new();
    for (at, volume) in volumes.iter().enumerate() {
        let dir = match &volume.source {
            Source::Scratch { .. } => continue,
            Source::Shared { create } => home.shared(&volume.name, *create).map_err(|error| shared(volume, &error)),
            Source::Directory { allowed, path, failure, .. } => below(allowed, path)
                .map_err(|error| StartFailure::ResourceInitialization(format!("{failure}{}", said(&error)))),
        };
        opened.insert(at, dir?);
    }
    Ok(opened)
}

fn shared(volume: &VolumeSpec, error: &io::Error) -> StartFailure {
    let name = &volume.name;
    StartFailure::ResourceInitialization(match error.kind() {
        io::ErrorKind::NotFound => format!(
            "volume '{name}': get {name}: no such volume. Set autoprovision to true, or start a task before that does"
        ),
        _ => format!("volume '{name}': {}", said(error)),
    })
}

/// As the system says it, without the number.
fn said(error: &io::Error) -> String {
    let text = error.to_string();
    text.split(" (os error").next().unwrap_or(&text).to_owned()
}

/// Opens a directory below one that the operator named. The kernel resolves the rest: whatever links are within, or are put
/// there meanwhile, what is opened lies below.
fn below(allowed: &Path, path: &Path) -> io::Result<Dir> {
    let dir = Dir::open_ambient_dir(allowed, ambient_authority())?;
    if path.as_os_str().is_empty() { Ok(dir) } else { dir.open_dir(path) }
}

impl Shared {
    /// The task's own directory. Blocks for a moment, the first time.
    fn own(&self) -> io::Result<Own> {
        let mut own = self.own.lock();
        if let Some(own) = &*own {
            return Ok(own.clone());
        }
        if self.is_closed.load(Ordering::Relaxed) {
            return Err(io::Error::other("the task has ended"));
        }
        let dir = self.home.make_task(self.task)?;
        let own_sizes = self.volumes.iter().enumerate().filter_map(|(at, volume)| match volume.source {
            Source::Scratch { size_bytes: Some(size) } => Some((volume_dir(at), (volume.name.clone(), size))),
            _ => None,
        });
        let watched = Arc::new(Watched {
            task: self.task.to_string(),
            dir: dir.try_clone()?,
            size_bytes: self.size_bytes,
            own_sizes: own_sizes.collect(),
            written: AtomicU64::new(0),
            used_bytes: Arc::clone(&self.used_bytes),
            kill: self.kill.clone(),
            exceeded: OnceLock::new(),
        });
        let watcher = self.home.watcher();
        watcher.watch(&watched);
        let gate = Gate::new(Arc::clone(&watched), watcher.clone());
        let made = Own { dir: Arc::new(dir), watched, gate };
        *own = Some(made.clone());
        Ok(made)
    }

    fn volume(&self, own: &Own, at: usize) -> io::Result<Dir> {
        match self.outside.get(&at) {
            Some(dir) => dir.try_clone(),
            None => make(&own.dir, &volume_dir(at)),
        }
    }

    /// A volume that is read-only for everybody.
    fn is_read_only(&self, at: usize) -> bool {
        self.volumes.get(at).is_some_and(|volume| matches!(volume.source, Source::Directory { read_only: true, .. }))
    }
}

fn volume_dir(at: usize) -> String {
    format!("volume-{at}")
}

/// The files of one container: what its guests are given, all the same handles.
pub struct ContainerFiles {
    shared: Arc<Shared>,
    number: usize,
    spec: FilesSpec,
    pub(in crate::runtime::files) open: OpenFiles,
    /// Entries of directories that guests are listing.
    pub(in crate::runtime::files) listed: AtomicUsize,
    opened: OnceCell<Opened>,
}

/// Directories by path: where they are, how the guest calls them, and what it may do there.
pub type Given = Vec<(PathBuf, String, FsPerms)>;

/// Once a guest asked.
pub struct Opened {
    /// The root first: a guest's own library looks for the longest path that fits.
    pub preopens: Vec<(Preopen, String)>,
    pub gate: Gate,
}

impl ContainerFiles {
    /// The directories of the container, made and opened when a guest asks for the first time.
    pub async fn opened(self: &Arc<ContainerFiles>) -> io::Result<&Opened> {
        let files = Arc::clone(self);
        let open = || async move {
            let opened = tokio::task::spawn_blocking(move || files.open()).await;
            opened.unwrap_or_else(|error| Err(io::Error::other(error)))
        };
        self.opened.get_or_try_init(open).await
    }

    /// What was opened before.
    pub(in crate::runtime::files) fn gate(&self) -> Option<&Gate> {
        self.opened.get().map(|opened| &opened.gate)
    }

    pub fn working_directory(&self) -> Option<&str> {
        self.spec.working_directory.as_deref()
    }

    pub fn open_files_max(&self) -> u32 {
        self.spec.open_files_max
    }

    /// The container's directories by a path of this machine that leads to them, for who takes nothing else, and to nobody
    /// else: it names an open descriptor of this process.
    pub async fn given(self: &Arc<ContainerFiles>) -> io::Result<Given> {
        let opened = self.opened().await?;
        let path = |(dir, path): &(Preopen, String)| {
            (PathBuf::from(format!("/dev/fd/{}", dir.dir.as_raw_fd())), path.clone(), dir.perms)
        };
        Ok(opened.preopens.iter().map(path).collect())
    }

    fn open(&self) -> io::Result<Opened> {
        let own = self.shared.own()?;
        let root = make(&own.dir, &format!("root-{}", self.number))?;
        let working_directory = self.spec.working_directory.as_deref();
        let paths = self.spec.mounts.iter().map(|mount| mount.path.as_str());
        for path in paths.chain(working_directory).chain([TMP]) {
            make_all(&root, path)?;
        }
        let mut preopens = vec![(preopen(root, self.spec.has_read_only_root), String::from("/"))];
        for mount in &self.spec.mounts {
            let dir = self.shared.volume(&own, mount.volume)?;
            let read_only = mount.read_only || self.shared.is_read_only(mount.volume);
            preopens.push((preopen(dir, read_only), mount.path.clone()));
        }
        Ok(Opened { preopens, gate: own.gate })
    }
}

fn preopen(dir: Dir, read_only: bool) -> Preopen {
    let (permissions, mode) = match read_only {
        true => (FsPerms::ReadOnly, OpenMode::READ),
        false => (FsPerms::ReadWrite, OpenMode::READ | OpenMode::WRITE),
    };
    // Never on the thread of the guest, which serves others.
    Preopen::new(dir.into_std_file(), permissions, mode, false)
}

/// Makes the directories of an absolute path below a root. The root is new: nobody put a link there.
fn make_all(root: &Dir, path: &str) -> io::Result<()> {
    let mut dir = root.try_clone()?;
    for component in Path::new(path).components() {
        if let Component::Normal(name) = component {
            let name = name.to_str().ok_or_else(|| io::Error::other("a path is no text"))?;
            dir = make(&dir, name)?;
        }
    }
    Ok(())
}
