//! Where the files of all tasks of the node are: `tasks/ID` while a task is there, `trash` until what it left is removed, and
//! `volumes/shared/NAME` for good, all below the data directory.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

use cap_std::ambient_authority;
use cap_std::fs::{Dir, DirBuilder, DirBuilderExt};
use parking_lot::Mutex;
use rustix::fs::{AtFlags, chownat};
use rustix::process::{Gid, Uid};

use crate::model::{StartFailure, TaskId};
use crate::runtime::files::disk::outside;
use crate::runtime::files::remove::{Sweeper, move_aside};
use crate::runtime::files::spec::TaskFiles;
use crate::runtime::files::watch::Watcher;

/// Nobody but our own user.
const PRIVATE: u32 = 0o700;

/// A directory of the node could not be had.
#[derive(Debug, thiserror::Error)]
#[error("cannot use the directory {}", path.display())]
pub struct HomeError {
    path: PathBuf,
    #[source]
    source: io::Error,
}

/// What a worker process opens before it gives up the right to.
#[derive(Clone, Debug)]
pub struct OnlyTask {
    pub id: TaskId,
    /// Whom its directory must belong to, if not to who makes it.
    pub user: Option<u32>,
    pub files: TaskFiles,
}

/// What lies outside of a task, by index of its volume.
pub type Outside = Result<BTreeMap<usize, Dir>, StartFailure>;

/// A cheap handle.
#[derive(Clone)]
pub struct Home(Arc<Inner>);

struct Inner {
    tasks: Dir,
    trash: Dir,
    shared: Dir,
    sweeper: Sweeper,
    watcher: Watcher,
    /// Opened ahead, by a worker.
    ahead: Mutex<Option<Outside>>,
    /// The directory of a worker's task: made, and opened, while it still might.
    only: OnceLock<Dir>,
}

impl Home {
    /// Throws away what tasks of an earlier run left, except for what they share.
    pub fn open(data_dir: &Path) -> Result<Home, HomeError> {
        let home = Home::open_dirs(data_dir)?;
        let throw = home.0.throw_away_all();
        throw.map_err(|source| HomeError { path: data_dir.join("tasks"), source })?;
        Ok(home)
    }

    /// Makes the directory of one task, and opens all that lies outside of it.
    pub fn open_for(data_dir: &Path, task: &OnlyTask) -> Result<Home, HomeError> {
        let home = Home::open_dirs(data_dir)?;
        let own = home.make_task(task.id).and_then(|dir| {
            if let Some(user) = task.user {
                // By its name: a directory that was opened only to look below it cannot be changed itself.
                let (user, group) = (Some(Uid::from_raw(user)), Some(Gid::from_raw(user)));
                chownat(&home.0.tasks, task.id.to_string(), user, group, AtFlags::SYMLINK_NOFOLLOW)?;
            }
            Ok(dir)
        });
        let own = own.map_err(|source| HomeError { path: data_dir.join("tasks").join(task.id.to_string()), source })?;
        let _ = home.0.only.set(own);
        *home.0.ahead.lock() = Some(outside(&home, &task.files.volumes));
        Ok(home)
    }

    fn open_dirs(data_dir: &Path) -> Result<Home, HomeError> {
        let open = |name: &str| {
            let path = data_dir.join(name);
            ambient(&path).map_err(|source| HomeError { path, source })
        };
        let (tasks, trash, shared) = (open("tasks")?, open("trash")?, open("volumes/shared")?);
        let again =
            |dir: &Dir, name: &str| dir.try_clone().map_err(|source| HomeError { path: data_dir.join(name), source });
        let sweeper = Sweeper::start(again(&trash, "trash")?);
        let watcher = Watcher::start(again(&tasks, "tasks")?);
        Ok(Home(Arc::new(Inner {
            tasks,
            trash,
            shared,
            sweeper,
            watcher,
            ahead: Mutex::default(),
            only: OnceLock::new(),
        })))
    }

    pub fn opened_ahead(&self) -> Option<Outside> {
        self.0.ahead.lock().take()
    }

    /// Makes the directory of a task.
    pub fn make_task(&self, task: TaskId) -> io::Result<Dir> {
        if let Some(own) = self.0.only.get() {
            return own.try_clone();
        }
        make(&self.0.tasks, &task.to_string())
    }

    /// The files of a task are gone, for everybody who looks; their space is free soon after.
    pub fn throw_away(&self, task: TaskId) {
        if self.0.only.get().is_some() {
            // The server of this worker does it, who may.
            return;
        }
        self.0.throw_away(&task.to_string());
        self.0.sweeper.wake();
    }

    /// A volume that all tasks of the node share.
    pub fn shared(&self, name: &str, create: bool) -> io::Result<Dir> {
        if create { make(&self.0.shared, name) } else { self.0.shared.open_dir(name) }
    }

    pub fn watcher(&self) -> &Watcher {
        &self.0.watcher
    }
}

impl Inner {
    fn throw_away_all(&self) -> io::Result<()> {
        for entry in self.tasks.entries()? {
            if let Some(name) = entry?.file_name().to_str() {
                self.throw_away(name);
            }
        }
        self.sweeper.wake();
        Ok(())
    }

    fn throw_away(&self, name: &str) {
        match move_aside(&self.tasks, name, &self.trash) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                tracing::error!(task = name, %error, "cannot throw away the files of a task");
            }
            _ => {}
        }
    }
}

/// Opens a directory of our own, and makes it, and those above it, if it is not there.
fn ambient(path: &Path) -> io::Result<Dir> {
    std::fs::create_dir_all(path)?;
    let dir = Dir::open_ambient_dir(path, ambient_authority())?;
    dir.set_permissions(".", private())?;
    Ok(dir)
}

fn private() -> cap_std::fs::Permissions {
    use cap_std::fs::PermissionsExt;
    cap_std::fs::Permissions::from_mode(PRIVATE)
}

/// Opens a directory below another, and makes it if it is not there.
pub fn make(parent: &Dir, name: &str) -> io::Result<Dir> {
    match parent.create_dir_with(name, DirBuilder::new().mode(PRIVATE)) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
        _ => {}
    }
    parent.open_dir(name)
}
