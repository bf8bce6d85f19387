//! Where an image's bytes come from, and who may name what.

use std::collections::{BTreeMap, HashMap};
use std::fs::Metadata;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use bytes::Bytes;
use parking_lot::Mutex;

use crate::model::StartFailure;
use crate::runtime::image::built_in::{BUILT_IN, BuiltIn, find};
use crate::runtime::image::reference::Reference;
use crate::runtime::image::{ImageSummary, digest_of, written_digest};

/// A larger file is not read. A JavaScript engine with its application is 12 MiB; a Linux image's layer may be gigabytes.
const IMAGE_BYTES_MAX: u64 = 256 << 20;
/// Files whose digest is remembered: 200 bytes each.
const DIGESTS_MAX: usize = 4096;
/// The alias for every name that has none of its own.
const ANY: &str = "*";

/// What a reference resolved to.
#[derive(Debug)]
pub enum Found {
    File(PathBuf),
    BuiltIn(&'static BuiltIn),
}

/// The configuration's part of resolving.
pub struct Sources {
    aliases: BTreeMap<String, PathBuf>,
    image_dir: Option<PathBuf>,
    /// By path: the file's state and the digest of its bytes in that state.
    digests: Mutex<HashMap<PathBuf, (Stamp, String)>>,
}

/// A file that agrees in all of this is taken for unchanged.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Stamp {
    modified: (i64, i64),
    changed: (i64, i64),
    length: u64,
    inode: u64,
}

impl Stamp {
    fn of(file: &Metadata) -> Stamp {
        Stamp {
            modified: (file.mtime(), file.mtime_nsec()),
            changed: (file.ctime(), file.ctime_nsec()),
            length: file.len(),
            inode: file.ino(),
        }
    }
}

impl Sources {
    pub fn new(aliases: BTreeMap<String, PathBuf>, image_dir: Option<PathBuf>) -> Sources {
        Sources { aliases, image_dir, digests: Mutex::default() }
    }

    /// Aliases come first, so that a person can put their own component in the place of anything.
    pub fn find(&self, written: &str, may_name_any_file: bool) -> Result<Found, StartFailure> {
        if let Some(path) = self.aliases.get(written) {
            return Ok(Found::File(path.clone()));
        }
        if let Some(path) = written.strip_prefix("file://") {
            return self.file(written, path, may_name_any_file).map(Found::File);
        }
        let reference = Reference::parse(written);
        if let Some(path) = reference.spellings().into_iter().find_map(|name| self.aliases.get(name)) {
            return Ok(Found::File(path.clone()));
        }
        // `*` is every name, the built-in ones too: who writes it wants their own component.
        if let Some(path) = self.aliases.get(ANY) {
            return Ok(Found::File(path.clone()));
        }
        match find(reference.name) {
            Some(built_in) => Ok(Found::BuiltIn(built_in)),
            None => Err(StartFailure::CannotPull(linux_image(&reference))),
        }
    }

    /// A caller who could not read the file themselves must not make us read it: then only the image directory is open,
    /// and a symbolic link leads out of it no more than `..` does.
    fn file(&self, written: &str, path: &str, may_name_any_file: bool) -> Result<PathBuf, StartFailure> {
        let refuse = |message: String| StartFailure::CannotPull(format!("image '{written}': {message}"));
        let path = Path::new(path);
        if !path.is_absolute() {
            return Err(refuse(String::from("a file:// image is an absolute path, as in file:///srv/app.wasm")));
        }
        if may_name_any_file {
            return Ok(path.to_owned());
        }
        let Some(dir) = &self.image_dir else {
            return Err(refuse(String::from(
                "files can be named by callers only below the directory given with --image-dir, and none was given",
            )));
        };
        let outside = || refuse(String::from("it does not lie in the directory given with --image-dir"));
        let dir = dir.canonicalize().map_err(|_| outside())?;
        // A missing file is no different from one outside: whether it exists is not the caller's to know.
        let real = path.canonicalize().map_err(|_| outside())?;
        if real.starts_with(&dir) { Ok(real) } else { Err(outside()) }
    }

    /// The digest of what was found, if it was read before and did not change.
    pub fn known_digest(&self, found: &Found) -> Option<String> {
        match found {
            Found::BuiltIn(built_in) => Some(built_in.digest().to_owned()),
            Found::File(path) => {
                let now = Stamp::of(&std::fs::metadata(path).ok()?);
                let digests = self.digests.lock();
                digests.get(path).filter(|(then, _)| *then == now).map(|(_, digest)| digest.clone())
            }
        }
    }

    /// The bytes and their digest.
    pub async fn read(&self, found: &Found) -> Result<(Bytes, String), StartFailure> {
        let path = match found {
            Found::BuiltIn(built_in) => {
                return Ok((Bytes::from_static(built_in.bytes), built_in.digest().to_owned()));
            }
            Found::File(path) => path.clone(),
        };
        let reading = path.clone();
        let read = tokio::task::spawn_blocking(move || {
            let (stamp, bytes) = read_file(&reading)?;
            let digest = digest_of(&bytes);
            io::Result::Ok((stamp, bytes, digest))
        });
        let read = read.await.unwrap_or_else(|error| Err(io::Error::other(error)));
        let (stamp, bytes, digest) =
            read.map_err(|error| StartFailure::CannotPull(format!("cannot read {}: {error}", path.display())))?;
        let mut digests = self.digests.lock();
        if digests.len() >= DIGESTS_MAX {
            // They are read again when they are needed.
            digests.clear();
        }
        digests.insert(path, (stamp, digest.clone()));
        Ok((Bytes::from(bytes), digest))
    }

    pub fn summaries(&self) -> Vec<ImageSummary> {
        let aliases = self.aliases.iter().map(|(name, path)| {
            let file = std::fs::metadata(path);
            ImageSummary {
                names: vec![name.clone()],
                file: Some(path.clone()),
                size_bytes: file.as_ref().map_or(0, Metadata::len),
                digest: read_file(path).ok().map(|(_, bytes)| written_digest(&digest_of(&bytes))),
            }
        });
        let is_alias = |name: &str| [name, ANY].iter().any(|name| self.aliases.contains_key(*name));
        let built_in = BUILT_IN.iter().map(|image| ImageSummary {
            // A name that an alias has taken leads there.
            names: image.names.iter().filter(|name| !is_alias(name)).map(ToString::to_string).collect(),
            file: None,
            size_bytes: image.bytes.len() as u64,
            digest: Some(written_digest(image.digest())),
        });
        aliases.chain(built_in.filter(|image| !image.names.is_empty())).collect()
    }
}

/// The stamp is taken of the open file, before it is read: a change while we read makes the next start read again.
fn read_file(path: &Path) -> io::Result<(Stamp, Vec<u8>)> {
    use std::io::Read;

    let file = std::fs::File::open(path)?;
    let metadata = file.metadata()?;
    if !metadata.is_file() {
        return Err(io::Error::other("it is not a regular file"));
    }
    let mut bytes = Vec::new();
    file.take(IMAGE_BYTES_MAX + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > IMAGE_BYTES_MAX {
        let message = format!("it is larger than {} MiB, the most that an image may have", IMAGE_BYTES_MAX >> 20);
        return Err(io::Error::other(message));
    }
    Ok((Stamp::of(&metadata), bytes))
}

/// What to tell the person whose definition names an image of a registry.
fn linux_image(reference: &Reference<'_>) -> String {
    format!(
        "image '{}' names a Linux image of a registry. Tasks run WebAssembly components here, and Linux images cannot run: \
         build the application for WebAssembly (wasm32-wasip2) and run it under this name with --image {}=FILE.wasm, or \
         name it in the task definition as file:///absolute/path.wasm",
        reference.written, reference.repository
    )
}
