//! Looks at an image's bytes before anything is compiled: what it is, what it exports, what it wants of its host.
//!
//! The bytes come from strangers. Only headers, imports, exports and types are read here; validation is the compiler's,
//! in its own process.

use wasmparser::{
    ComponentExternalKind, ComponentTypeRef, CompositeInnerType, Encoding, Instance, Parser, Payload, TypeRef, ValType,
};

use crate::model::StartFailure;
use crate::runtime::engine::{CORE_INSTANCES_PER_PERMIT, EngineKind, POOL_WEIGHT_MAX};
use crate::runtime::memory::{MAX_INSTANCES, MAX_MEMORIES, MAX_TABLES};
use crate::runtime::spec::GuestKind;

/// The contract that an image was built for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum World {
    /// A core module of WASI 0.1 with `_start`.
    Module,
    /// `wasi:cli/run@0.2`.
    Command2,
    /// `wasi:cli/run@0.3`.
    Command3,
    /// `wasi:http/incoming-handler@0.2`.
    Http2,
    /// `wasi:http/handler@0.3`.
    Http3,
}

impl World {
    pub fn kind(self) -> GuestKind {
        match self {
            World::Module | World::Command2 | World::Command3 => GuestKind::Program,
            World::Http2 | World::Http3 => GuestKind::Handler,
        }
    }
}

/// What the bytes say of themselves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Inspected {
    pub world: World,
    /// The engine to try first.
    pub engine: EngineKind,
    /// Permits that an instance takes, as far as its core instances tell.
    pub weight: u32,
}

/// Interfaces of WASI 0.2 that are offered, without their version.
const OFFERED_2: [&str; 29] = [
    "wasi:cli/environment",
    "wasi:cli/exit",
    "wasi:cli/stdin",
    "wasi:cli/stdout",
    "wasi:cli/stderr",
    "wasi:cli/terminal-input",
    "wasi:cli/terminal-output",
    "wasi:cli/terminal-stdin",
    "wasi:cli/terminal-stdout",
    "wasi:cli/terminal-stderr",
    "wasi:clocks/monotonic-clock",
    "wasi:clocks/wall-clock",
    "wasi:filesystem/preopens",
    "wasi:filesystem/types",
    "wasi:http/outgoing-handler",
    "wasi:http/types",
    "wasi:io/error",
    "wasi:io/poll",
    "wasi:io/streams",
    "wasi:random/insecure",
    "wasi:random/insecure-seed",
    "wasi:random/random",
    "wasi:sockets/instance-network",
    "wasi:sockets/ip-name-lookup",
    "wasi:sockets/network",
    "wasi:sockets/tcp",
    "wasi:sockets/udp",
    "wasi:sockets/tcp-create-socket",
    "wasi:sockets/udp-create-socket",
];

/// Interfaces of WASI 0.3 that are offered, without their version.
const OFFERED_3: [&str; 23] = [
    "wasi:cli/environment",
    "wasi:cli/exit",
    "wasi:cli/stdin",
    "wasi:cli/stdout",
    "wasi:cli/stderr",
    "wasi:cli/types",
    "wasi:cli/terminal-input",
    "wasi:cli/terminal-output",
    "wasi:cli/terminal-stdin",
    "wasi:cli/terminal-stdout",
    "wasi:cli/terminal-stderr",
    "wasi:clocks/monotonic-clock",
    "wasi:clocks/system-clock",
    "wasi:clocks/types",
    "wasi:filesystem/preopens",
    "wasi:filesystem/types",
    "wasi:http/client",
    "wasi:http/types",
    "wasi:random/insecure",
    "wasi:random/insecure-seed",
    "wasi:random/random",
    "wasi:sockets/ip-name-lookup",
    "wasi:sockets/types",
];

/// What the host of WASI 0.1 is imported as.
const MODULE_HOST: &str = "wasi_snapshot_preview1";

/// Imports, and exports, of the image itself. The largest known programs have some thousands; each name is kept while the
/// image is looked at.
const NAMED_MAX: usize = 100_000;
/// Core instances, memories and tables of one image: what a store admits (`memory::limiter`), so that an image with more
/// is refused here, with words, and not when it runs. Components of the toolchains have 3 to 10 instances.
const CORE_INSTANCES_MAX: u32 = MAX_INSTANCES as u32;
const MEMORIES_MAX: u32 = MAX_MEMORIES as u32;
const TABLES_MAX: u32 = MAX_TABLES as u32;

/// Says what an image is, or why it cannot run.
pub fn inspect(bytes: &[u8]) -> Result<Inspected, StartFailure> {
    let mut found = Found::default();
    if !bytes.starts_with(b"\0asm") {
        return Err(StartFailure::CannotPull(format!("it is {}, not a WebAssembly component", sniff(bytes))));
    }
    for payload in Parser::new(0).parse_all(bytes) {
        let taken = payload.and_then(|payload| found.take(payload));
        taken.map_err(|error| StartFailure::CannotPull(format!("it is a damaged WebAssembly file: {error}")))?;
        found.check_counts()?;
    }
    found.judge()
}

/// What it is instead, for the person who named it.
fn sniff(bytes: &[u8]) -> &'static str {
    let text = std::str::from_utf8(bytes.get(..bytes.len().min(512)).unwrap_or_default()).map(str::trim_start);
    match bytes {
        [] => "an empty file",
        [0x7f, b'E', b'L', b'F', ..] => "a Linux executable (ELF)",
        [0xcf | 0xce, 0xfa, 0xed, 0xfe, ..] => "a macOS executable (Mach-O)",
        [b'M', b'Z', ..] => "a Windows executable",
        [b'#', b'!', ..] => "a script",
        [0x1f, 0x8b, ..] | [0x28, 0xb5, 0x2f, 0xfd, ..] => {
            "a compressed archive (a layer or an export of a Linux image?)"
        }
        [b'P', b'K', 3, 4, ..] => "a ZIP archive",
        _ if bytes.get(257..262) == Some(b"ustar") => "a tar archive (a layer or an export of a Linux image?)",
        _ => match text {
            Ok(text) if text.starts_with("(module") || text.starts_with("(component") => {
                "WebAssembly in its text form (`wasm-tools parse` makes the binary form)"
            }
            Ok(text) if text.starts_with('{') => "a JSON file",
            Ok(_) => "a text file",
            Err(_) => "a file of unknown form",
        },
    }
}

#[derive(Default)]
struct Found {
    encoding: Option<Encoding>,
    depth: usize,
    imports: Vec<String>,
    exports: Vec<String>,
    core_instances: u32,
    tables: u32,
    memories: u32,
    collects_garbage: bool,
}

impl Found {
    /// One more than may be, so that too many are noticed.
    fn names_left(&self, of: impl Fn(&Found) -> &Vec<String>) -> usize {
        (NAMED_MAX + 1).saturating_sub(of(self).len())
    }

    fn take(&mut self, payload: Payload<'_>) -> wasmparser::Result<()> {
        match payload {
            Payload::Version { encoding, .. } => {
                self.depth += 1;
                self.encoding.get_or_insert(encoding);
            }
            Payload::End(_) => self.depth -= 1,
            Payload::ComponentImportSection(imports) if self.depth == 1 => {
                for import in imports.into_iter().take(self.names_left(|found| &found.imports)) {
                    let import = import?;
                    // Types alone need nobody to offer them.
                    if !matches!(import.ty, ComponentTypeRef::Type(_)) {
                        self.imports.push(import.name.name.to_owned());
                    }
                }
            }
            Payload::ComponentExportSection(exports) if self.depth == 1 => {
                for export in exports.into_iter().take(self.names_left(|found| &found.exports)) {
                    let export = export?;
                    if export.kind == ComponentExternalKind::Instance {
                        self.exports.push(export.name.name.to_owned());
                    }
                }
            }
            Payload::ImportSection(imports) if self.depth == 1 => {
                for import in imports.into_imports().take(self.names_left(|found| &found.imports)) {
                    let import = import?;
                    self.imports.push(match import.ty {
                        TypeRef::Func(_) if import.module == MODULE_HOST => import.module.to_owned(),
                        _ => format!("{}.{}", import.module, import.name),
                    });
                }
            }
            Payload::ExportSection(exports) if self.depth == 1 => {
                for export in exports.into_iter().take(self.names_left(|found| &found.exports)) {
                    self.exports.push(export?.name.to_owned());
                }
            }
            Payload::InstanceSection(instances) => {
                for instance in instances {
                    self.core_instances += u32::from(matches!(instance?, Instance::Instantiate { .. }));
                }
            }
            Payload::TypeSection(groups) => {
                for group in groups {
                    self.collects_garbage |= group?.types().any(|kind| uses_heap(&kind.composite_type.inner));
                }
            }
            Payload::TableSection(tables) => self.tables = self.tables.saturating_add(tables.count()),
            Payload::MemorySection(memories) => self.memories = self.memories.saturating_add(memories.count()),
            // Exceptions live on the collected heap.
            Payload::TagSection(_) => self.collects_garbage = true,
            _ => {}
        }
        Ok(())
    }

    fn check_counts(&self) -> Result<(), StartFailure> {
        let named_max = NAMED_MAX as u64;
        for (count, most, what) in [
            (self.imports.len() as u64, named_max, "imports"),
            (self.exports.len() as u64, named_max, "exports"),
            (u64::from(self.core_instances), u64::from(CORE_INSTANCES_MAX), "core instances"),
            (u64::from(self.memories), u64::from(MEMORIES_MAX), "memories"),
            (u64::from(self.tables), u64::from(TABLES_MAX), "tables"),
        ] {
            if count > most {
                let text = format!("it has more than {most} {what}, the most that a guest may have");
                return Err(StartFailure::CannotCreate(text));
            }
        }
        Ok(())
    }

    fn judge(self) -> Result<Inspected, StartFailure> {
        let (world, offered): (World, fn(&str) -> bool) = match self.encoding {
            Some(Encoding::Component) => (self.component_world()?, offered_to_components),
            Some(Encoding::Module) => (self.module_world()?, |name| name == MODULE_HOST),
            None => return Err(StartFailure::CannotPull(String::from("it is a WebAssembly file without a header"))),
        };
        let missing: Vec<&str> = self.imports.iter().map(String::as_str).filter(|name| !offered(name)).collect();
        if !missing.is_empty() {
            let text = format!("it imports what is not offered here: {}", shortened(&missing));
            return Err(StartFailure::CannotCreate(text));
        }
        let weight = self.core_instances.max(self.tables).div_ceil(CORE_INSTANCES_PER_PERMIT).max(self.memories).max(1);
        let of_3 = |names: &[String]| names.iter().any(|name| version(name).is_some_and(|v| v.starts_with("0.3")));
        let engine = if self.collects_garbage || weight > POOL_WEIGHT_MAX {
            EngineKind::OnDemand
        } else if of_3(&self.imports) || of_3(&self.exports) {
            EngineKind::Concurrent
        } else {
            EngineKind::Sequential
        };
        Ok(Inspected { world, engine, weight })
    }

    fn component_world(&self) -> Result<World, StartFailure> {
        let exports = |interface: &str, track: &str| {
            self.exports.iter().any(|name| {
                name.strip_prefix(interface)
                    .and_then(|rest| rest.strip_prefix('@'))
                    .is_some_and(|version| version.starts_with(track))
            })
        };
        if exports("wasi:http/handler", "0.3.") {
            Ok(World::Http3)
        } else if exports("wasi:http/incoming-handler", "0.2.") {
            Ok(World::Http2)
        } else if exports("wasi:cli/run", "0.3.") {
            Ok(World::Command3)
        } else if exports("wasi:cli/run", "0.2.") {
            Ok(World::Command2)
        } else {
            let found: Vec<&str> = self.exports.iter().map(String::as_str).collect();
            Err(StartFailure::CannotCreate(format!(
                "it is a WebAssembly component that exports neither wasi:http/incoming-handler (0.2), wasi:http/handler \
                 (0.3) nor wasi:cli/run (0.2, 0.3), but {}",
                if found.is_empty() { String::from("nothing") } else { shortened(&found) }
            )))
        }
    }

    fn module_world(&self) -> Result<World, StartFailure> {
        if self.exports.iter().any(|name| name == "_start") {
            return Ok(World::Module);
        }
        Err(StartFailure::CannotCreate(String::from(
            "it is a WebAssembly core module without a `_start` function; what runs here is a component, or a command of \
             WASI 0.1",
        )))
    }
}

/// A `reason` of ECS holds 1,024 characters; a list beyond this many names says how many more there are.
const NAMES_MAX: usize = 8;

fn shortened(names: &[&str]) -> String {
    let shown: Vec<String> = names.iter().take(NAMES_MAX).map(|name| name.chars().take(80).collect()).collect();
    match names.len().saturating_sub(NAMES_MAX) {
        0 => shown.join(", "),
        more => format!("{} and {more} more", shown.join(", ")),
    }
}

fn version(name: &str) -> Option<&str> {
    Some(name.split_once('@')?.1)
}

/// By track only: a newer patch version is offered as far as the component uses nothing that is new in it, which the
/// linker finds out.
fn offered_to_components(name: &str) -> bool {
    let Some((interface, version)) = name.split_once('@') else { return false };
    match version {
        _ if version.starts_with("0.2.") => OFFERED_2.contains(&interface),
        _ if version.starts_with("0.3.") => OFFERED_3.contains(&interface),
        _ => false,
    }
}

/// Whether a type lives on the garbage-collected heap, or a function passes what does.
fn uses_heap(kind: &CompositeInnerType) -> bool {
    let collected = |kind: &ValType| matches!(kind, ValType::Ref(reference) if !reference.is_func_ref());
    match kind {
        CompositeInnerType::Func(function) => function.params().iter().chain(function.results()).any(collected),
        CompositeInnerType::Array(_) | CompositeInnerType::Struct(_) | CompositeInnerType::Cont(_) => true,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::runtime::image::built_in::find;

    fn failure(bytes: &[u8]) -> String {
        inspect(bytes).unwrap_err().text()
    }

    #[test]
    fn knows_what_the_guests_are() {
        for (name, world, engine) in [
            ("coracle/hello", World::Http2, EngineKind::Sequential),
            ("coracle/web", World::Http2, EngineKind::Sequential),
            ("coracle/hello-p3", World::Http3, EngineKind::Concurrent),
            ("coracle/batch", World::Command2, EngineKind::Sequential),
        ] {
            let found = inspect(find(name).unwrap().bytes).unwrap();
            assert_eq!((found.world, found.engine, found.weight), (world, engine, 1), "{name}");
        }
    }

    #[test]
    fn says_what_it_is_instead() {
        for (bytes, text) in [
            (&b""[..], "an empty file"),
            (b"\x7fELF\x02\x01", "a Linux executable"),
            (b"#!/bin/sh\n", "a script"),
            (b"\x1f\x8b\x08", "a compressed archive"),
            (b"  (component)", "text form"),
            (b"{\"a\":1}", "a JSON file"),
            (b"hello", "a text file"),
            (b"\xff\xfe\x00", "unknown form"),
        ] {
            let message = failure(bytes);
            assert!(message.starts_with("CannotPullContainerError: ") && message.contains(text), "{message}");
        }
    }

    #[test]
    fn a_damaged_file_is_no_panic() {
        let whole = find("coracle/hello").unwrap().bytes;
        // Eight bytes would be a whole, empty component.
        for cut in [5, 9, 100, 1000, whole.len() - 1] {
            assert!(failure(&whole[..cut]).starts_with("CannotPullContainerError: "), "{cut}");
        }
        assert!(failure(b"\0asm\xff\xff\xff\xff").contains("damaged"));
    }

    #[test]
    fn a_module_without_a_start_and_one_with_foreign_imports_are_told_apart() {
        assert!(failure(b"\0asm\x01\0\0\0").contains("without a `_start`"));
        // (module (import "env" "f" (func)) (func (export "_start")))
        let module = b"\0asm\x01\0\0\0\x01\x04\x01\x60\0\0\x02\x09\x01\x03env\x01f\0\0\x03\x02\x01\0\
            \x07\x0a\x01\x06_start\0\x01\x0a\x04\x01\x02\0\x0b";
        assert_eq!(failure(module), "CannotCreateContainerError: it imports what is not offered here: env.f");
    }

    /// A section of a module: its number, its length, then how many of the same thing.
    fn section(number: u8, count: usize, each: &[u8]) -> Vec<u8> {
        let leb = |mut value: usize| {
            let mut bytes = Vec::new();
            while value >= 0x80 {
                bytes.push(value as u8 & 0x7f | 0x80);
                value >>= 7;
            }
            bytes.push(value as u8);
            bytes
        };
        let body = [leb(count), each.repeat(count)].concat();
        [vec![number], leb(body.len()), body].concat()
    }

    #[test]
    fn too_many_of_anything_are_refused_and_named() {
        let module = |section: Vec<u8>| failure(&[b"\0asm\x01\0\0\0".to_vec(), section].concat());
        // (import "a" "b" (global i32)), (export "" (func 0)), (memory 0), (table 0 funcref)
        for (section, what) in [
            (section(2, 2_000_000, b"\x01a\x01b\x03\x7f\0"), "100000 imports"),
            (section(7, 100_001, b"\0\0\0"), "100000 exports"),
            (section(5, 101, b"\0\0"), "100 memories"),
            (section(4, 201, b"\x70\0\0"), "200 tables"),
        ] {
            let message = module(section);
            assert!(message.starts_with("CannotCreateContainerError: ") && message.contains(what), "{message}");
        }
    }

    #[test]
    fn an_interface_is_offered_by_track() {
        for (name, offered) in [
            ("wasi:cli/environment@0.2.0", true),
            ("wasi:cli/environment@0.2.99", true),
            ("wasi:http/client@0.3.0", true),
            ("wasi:nn/graph@0.2.0", false),
            ("wasi:cli/environment@0.4.0", false),
            ("wasi:cli/environment", false),
            ("something", false),
        ] {
            assert_eq!(offered_to_components(name), offered, "{name}");
        }
    }
}
