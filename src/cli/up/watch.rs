//! `--watch`: a changed definition is registered and rolled out; a changed component is rolled out under its name. What
//! is broken is said, and what runs goes on.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::time::Duration;

use notify::{EventKind, RecommendedWatcher, RecursiveMode, Watcher};
use tokio::sync::mpsc;

use crate::cli::Failure;
use crate::cli::serve::ImageAlias;
use crate::cli::up::stack::Stack;
use crate::cli::up::{Source, definition};

/// Builds write a file in several steps: it is read when it has been quiet for so long.
const QUIET: Duration = Duration::from_millis(200);
/// Changed paths that wait to be looked at. More are the same files again.
const EVENTS_QUEUED_MAX: usize = 256;

/// Watches the definitions and the components until it is cancelled.
pub async fn files(stack: &Stack<'_>, sources: &[Source], images: &[ImageAlias]) -> Result<(), Failure> {
    let mut watched = Watched::default();
    for source in sources {
        watched.definitions.insert(absolute(&source.file)?, source.file.clone());
        for container in source.definition.request.container_definitions.iter().flatten() {
            if let Some(file) = container.image.as_deref().and_then(|image| image.strip_prefix("file://")) {
                watched.components.insert(PathBuf::from(file));
            }
        }
    }
    for image in images {
        watched.components.insert(absolute(&image.file)?);
    }
    let (sender, mut events) = mpsc::channel::<PathBuf>(EVENTS_QUEUED_MAX);
    let _watcher = watcher(&watched, sender)?;
    eprintln!("watching {} files", watched.definitions.len() + watched.components.len());

    while let Some(first) = events.recv().await {
        let mut changed = BTreeSet::from([first]);
        while let Ok(Some(more)) = tokio::time::timeout(QUIET, events.recv()).await {
            changed.insert(more);
        }
        for path in changed {
            if let Err(failure) = roll(stack, &watched, &path).await {
                eprintln!("not rolled out, what runs goes on: {failure}");
                let mut cause = std::error::Error::source(&failure);
                while let Some(error) = cause {
                    eprintln!("  {error}");
                    cause = error.source();
                }
            }
        }
    }
    Ok(())
}

#[derive(Default)]
struct Watched {
    /// By absolute path: the path as it was given.
    definitions: BTreeMap<PathBuf, PathBuf>,
    components: BTreeSet<PathBuf>,
}

impl Watched {
    fn has(&self, path: &Path) -> bool {
        self.definitions.contains_key(path) || self.components.contains(path)
    }
}

fn absolute(path: &Path) -> Result<PathBuf, Failure> {
    let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let cannot = |error| Failure::new(format!("cannot watch {}", path.display())).caused_by(error);
    // The directory, not the file: a file that is replaced by a rename is followed too.
    Ok(parent.canonicalize().map_err(cannot)?.join(path.file_name().unwrap_or_default()))
}

fn watcher(watched: &Watched, sender: mpsc::Sender<PathBuf>) -> Result<RecommendedWatcher, Failure> {
    let wanted: BTreeSet<PathBuf> = watched.definitions.keys().chain(&watched.components).cloned().collect();
    let directories: BTreeSet<PathBuf> = wanted.iter().filter_map(|file| file.parent().map(Path::to_owned)).collect();
    let on_event = move |event: notify::Result<notify::Event>| {
        let Ok(event) = event else { return };
        if matches!(event.kind, EventKind::Access(_)) {
            return;
        }
        for path in event.paths.into_iter().filter(|path| wanted.contains(path)) {
            // A full queue holds the same file already, or soon will again.
            let _ = sender.try_send(path);
        }
    };
    let cannot =
        |error: notify::Error| Failure::new("cannot watch files").next("Run without --watch.").caused_by(error);
    let mut watcher = notify::recommended_watcher(on_event).map_err(cannot)?;
    for directory in directories {
        watcher.watch(&directory, RecursiveMode::NonRecursive).map_err(cannot)?;
    }
    Ok(watcher)
}

async fn roll(stack: &Stack<'_>, watched: &Watched, path: &Path) -> Result<(), Failure> {
    if !watched.has(path) || !path.exists() {
        return Ok(());
    }
    if let Some(file) = watched.definitions.get(path) {
        let source = Source { file: file.clone(), definition: definition::read(file)? };
        return stack.roll_definition(&source).await;
    }
    stack.roll_component(path).await
}
