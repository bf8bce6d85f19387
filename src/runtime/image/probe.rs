//! Loads bytes of strangers as far as images ever get before something runs: looked at, compiled, mapped, linked. The fuzz
//! target of images calls this; whatever the bytes are, it must not panic.

use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;

use crate::model::StartFailure;
use crate::runtime::CompileIn;
use crate::runtime::capacity::Capacity;
use crate::runtime::compile::Compiler;
use crate::runtime::engine::Engines;
use crate::runtime::image::digest_of;
use crate::runtime::image::load::Loader;
use crate::runtime::sandbox::linker::Linkers;
use crate::runtime::spec::GuestKind;

/// Enough to map code for: nothing is instantiated.
const INSTANCES: u32 = 16;

/// A node's loader without the node. It compiles in this process, without the limits of a child: so that a panic is seen.
pub struct Probe {
    loader: Loader,
}

impl Probe {
    /// Artifacts are kept below `data_dir`.
    pub fn new(data_dir: &Path) -> wasmtime::Result<Probe> {
        let engines = Engines::new(&Capacity::of_instances(INSTANCES))?;
        let linkers = Linkers::new(&engines)?;
        let compiler = Compiler::new(data_dir, CompileIn::Process)?;
        Ok(Probe { loader: Loader::new(engines, linkers, Arc::new(compiler)) })
    }

    pub async fn load(&self, bytes: Bytes) -> Result<GuestKind, StartFailure> {
        self.loader.load(digest_of(&bytes), bytes).await.map(|image| image.kind())
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use proptest::prelude::*;
    use proptest::strategy::ValueTree;
    use proptest::test_runner::{Config, TestRunner};

    use super::*;
    use crate::runtime::image::built_in::find;
    use crate::runtime::image::inspect::inspect;

    /// Compiling these takes long, which is what they are for.
    const BOMBS: [&str; 2] = ["instance-bomb", "many-instances"];

    /// The same as the fuzz target begins with.
    fn seeds() -> Vec<Vec<u8>> {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("guest-examples/prebuilt/attacks");
        let mut paths: Vec<_> = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
        paths.sort();
        paths.retain(|path| !BOMBS.iter().any(|bomb| path.file_stem().is_some_and(|name| name == *bomb)));
        paths.iter().map(|path| fs::read(path).unwrap()).collect()
    }

    fn damage(bytes: &mut Vec<u8>, places: &[(usize, u8, u8)]) {
        for (at, byte, how) in places {
            if bytes.is_empty() {
                return;
            }
            // Not the magic number: everything else would be refused at once.
            let at = (8 + at % bytes.len()).min(bytes.len() - 1);
            match how % 4 {
                0 => bytes[at] = *byte,
                1 => bytes[at] ^= 1 << (byte % 8),
                2 => bytes.insert(at, *byte),
                _ => _ = bytes.remove(at),
            }
        }
    }

    fn places() -> impl Strategy<Value = Vec<(usize, u8, u8)>> {
        prop::collection::vec((any::<usize>(), any::<u8>(), any::<u8>()), 1..6)
    }

    #[tokio::test]
    async fn no_damage_of_an_image_panics() {
        let home = tempfile::tempdir().unwrap();
        let probe = Probe::new(home.path()).unwrap();
        let seeds = seeds();
        assert!(seeds.len() > 10);
        let mut runner = TestRunner::new(Config::with_cases(0));
        let (mut loaded, mut refused) = (0, 0);
        let strategy = (0..seeds.len(), places());
        for case in 0..400 {
            let (which, places) = strategy.new_tree(&mut runner).unwrap().current();
            let mut bytes = seeds[which].clone();
            // The first ones whole.
            if case >= seeds.len() {
                damage(&mut bytes, &places);
            }
            match probe.load(Bytes::from(bytes)).await {
                Ok(_) => loaded += 1,
                Err(failure) => {
                    // A compiler that panicked would have "died" here.
                    assert!(!failure.text().contains("crashes the compiler"), "{failure:?}");
                    refused += 1;
                }
            }
        }
        assert!(loaded > 0 && refused > 0, "{loaded} loaded, {refused} refused");
    }

    proptest! {
        #![proptest_config(Config::with_cases(300))]

        #[test]
        fn looking_at_a_damaged_component_does_not_panic(places in places(), cut: usize) {
            let mut bytes = find("coracle/batch").unwrap().bytes.to_vec();
            damage(&mut bytes, &places);
            let _ = inspect(&bytes);
            bytes.truncate(cut % bytes.len());
            let _ = inspect(&bytes);
        }
    }
}
