//! Our host of `wasi:filesystem` 0.2: the functions that give directories, open files, or read and write in the background.
//!
//! They replace those of wasmtime-wasi in its linker; all others stay its own, and work on the same descriptors. Modules of
//! WASI 0.1 do not come this way: they are given their directories when they start, and do one thing at a time.

mod streams;

use wasmtime::StoreContextMut;
use wasmtime::component::{Linker, Resource, ResourceType};
use wasmtime_wasi::filesystem::{Descriptor, WasiFilesystemView};
use wasmtime_wasi::p2::bindings::filesystem::types::{
    DescriptorFlags, DirectoryEntryStream, ErrorCode, HostDescriptor, HostDirectoryEntryStream, OpenFlags, PathFlags,
};
use wasmtime_wasi::p2::{DynInputStream, DynOutputStream, FsError, FsResult};

use super::FilesView;
use super::io::{Gate, Place};
use super::listings::{Entries, entries_of};

/// The version under which wasmtime-wasi 48 defines the interfaces; guests of every 0.2 resolve to it.
const TYPES: &str = "wasi:filesystem/types@0.2.12";
const PREOPENS: &str = "wasi:filesystem/preopens@0.2.12";

/// Replaces the functions in a linker to which wasmtime-wasi's WASI 0.2 was added before.
pub fn shadow_p2<T: FilesView>(linker: &mut Linker<T>) -> wasmtime::Result<()> {
    linker.allow_shadowing(true);
    let shadowed = shadow(linker);
    linker.allow_shadowing(false);
    shadowed
}

fn shadow<T: FilesView>(linker: &mut Linker<T>) -> wasmtime::Result<()> {
    let mut preopens = linker.instance(PREOPENS)?;
    preopens.func_wrap_async("get-directories", |store, (): ()| Box::new(directories(store)))?;
    let mut types = linker.instance(TYPES)?;
    types.func_wrap_async("[method]descriptor.open-at", |store, arguments| Box::new(open_at(store, arguments)))?;
    types.func_wrap_async("[method]descriptor.write", |store, arguments| Box::new(write(store, arguments)))?;
    types.func_wrap_async("[method]descriptor.read-directory", |store, arguments| {
        Box::new(read_directory(store, arguments))
    })?;
    types.resource("directory-entry-stream", ResourceType::host::<DirectoryEntryStream>(), |mut store, rep| {
        HostDirectoryEntryStream::drop(&mut store.data_mut().filesystem(), Resource::new_own(rep))?;
        store.data_mut().listings().dropped(rep);
        Ok(())
    })?;
    types.func_wrap("[method]descriptor.read-via-stream", read_via_stream)?;
    types.func_wrap("[method]descriptor.write-via-stream", |store, (file, offset): (Resource<Descriptor>, u64)| {
        write_via_stream(store, &file, Place::At(offset))
    })?;
    types.func_wrap("[method]descriptor.append-via-stream", |store, (file,): (Resource<Descriptor>,)| {
        write_via_stream(store, &file, Place::End)
    })
}

/// The result of a function as the guest gets it; the outer error ends the guest.
type Answer<R> = wasmtime::Result<(Result<R, ErrorCode>,)>;

fn answer<R>(result: FsResult<R>) -> Answer<R> {
    Ok((match result {
        Ok(value) => Ok(value),
        Err(error) => Err(error.downcast()?),
    },))
}

type Directories = Vec<(Resource<Descriptor>, String)>;

pub(super) async fn directories<T: FilesView>(mut store: StoreContextMut<'_, T>) -> wasmtime::Result<(Directories,)> {
    let files = store.data().files().clone();
    let opened = files.opened().await?;
    let table = store.data_mut().ctx().table;
    let give = |(dir, path): &(wasmtime_wasi::filesystem::Dir, String)| {
        Ok((table.push(Descriptor::Dir(dir.clone()))?, path.clone()))
    };
    Ok((opened.preopens.iter().map(give).collect::<wasmtime::Result<_>>()?,))
}

/// A guest that has a descriptor was given its first by us, so its files are open.
fn gate<T: FilesView>(store: &StoreContextMut<'_, T>) -> FsResult<Gate> {
    let gate = store.data().files().gate().cloned();
    gate.ok_or_else(|| FsError::from(ErrorCode::BadDescriptor))
}

type OpenAt = (Resource<Descriptor>, PathFlags, String, OpenFlags, DescriptorFlags);

async fn open_at<T: FilesView>(store: StoreContextMut<'_, T>, arguments: OpenAt) -> Answer<Resource<Descriptor>> {
    answer(open(store, arguments).await)
}

async fn open<T: FilesView>(
    mut store: StoreContextMut<'_, T>,
    (dir, path_flags, path, open_flags, flags): OpenAt,
) -> FsResult<Resource<Descriptor>> {
    let gate = gate(&store)?;
    let files = store.data().files().clone();
    let too_many = |_| FsError::from(ErrorCode::InsufficientMemory);
    files.open.check().map_err(too_many)?;
    if open_flags.contains(OpenFlags::CREATE) {
        gate.check_space()?;
    }
    let turn = gate.turn().await;
    let mut host = store.data_mut().filesystem();
    let opened = HostDescriptor::open_at(&mut host, dir, path_flags, path, open_flags, flags).await?;
    drop(turn);
    let file = match host.table.get(&opened)? {
        Descriptor::File(file) => &file.file,
        Descriptor::Dir(dir) => &dir.dir,
    };
    if let Err(error) = files.open.count(file) {
        HostDescriptor::drop(&mut host, opened).map_err(FsError::trap)?;
        return Err(too_many(error));
    }
    Ok(opened)
}

async fn write<T: FilesView>(
    store: StoreContextMut<'_, T>,
    (file, bytes, offset): (Resource<Descriptor>, Vec<u8>, u64),
) -> Answer<u64> {
    let written = async |mut store: StoreContextMut<'_, T>| {
        let gate = gate(&store)?;
        gate.check_space()?;
        let _turn = gate.turn().await;
        let count = HostDescriptor::write(&mut store.data_mut().filesystem(), file, bytes, offset).await?;
        gate.has_written(count);
        FsResult::Ok(count)
    };
    answer(written(store).await)
}

/// wasmtime-wasi reads a directory as a whole: what the host would hold for that is bounded here.
async fn read_directory<T: FilesView>(
    store: StoreContextMut<'_, T>,
    (dir,): (Resource<Descriptor>,),
) -> Answer<Resource<DirectoryEntryStream>> {
    let read = async |mut store: StoreContextMut<'_, T>| {
        let gate = gate(&store)?;
        let files = store.data().files().clone();
        let mut host = store.data_mut().filesystem();
        let count = match host.table.get(&dir)? {
            Descriptor::Dir(dir) => {
                let dir = dir.dir.clone();
                gate.run(move || entries_of(&dir)).await?
            }
            Descriptor::File(_) => 0,
        };
        let entries = Entries::count(&files, count).ok_or(ErrorCode::InsufficientMemory)?;
        let turn = gate.turn().await;
        let listing = HostDescriptor::read_directory(&mut host, dir).await?;
        drop(turn);
        store.data_mut().listings().opened(listing.rep(), entries);
        FsResult::Ok(listing)
    };
    answer(read(store).await)
}

fn read_via_stream<T: FilesView>(
    mut store: StoreContextMut<'_, T>,
    (file, offset): (Resource<Descriptor>, u64),
) -> Answer<Resource<DynInputStream>> {
    let mut read = || {
        let gate = gate(&store)?;
        let table = store.data_mut().ctx().table;
        let stream: DynInputStream = match table.get(&file)? {
            Descriptor::File(file) => Box::new(streams::Reader::new(gate, file.file.clone(), offset)),
            Descriptor::Dir(_) => return Err(FsError::from(ErrorCode::IsDirectory)),
        };
        FsResult::Ok(table.push(stream)?)
    };
    answer(read())
}

fn write_via_stream<T: FilesView>(
    mut store: StoreContextMut<'_, T>,
    file: &Resource<Descriptor>,
    place: Place,
) -> Answer<Resource<DynOutputStream>> {
    let mut write = || {
        let gate = gate(&store)?;
        let table = store.data_mut().ctx().table;
        let stream: DynOutputStream = match table.get(file)? {
            Descriptor::File(file) if file.perms.write_not_permitted() => {
                return Err(FsError::from(ErrorCode::NotPermitted));
            }
            Descriptor::File(file) => Box::new(streams::Writer::new(gate, file.file.clone(), place)),
            Descriptor::Dir(_) => return Err(FsError::from(ErrorCode::BadDescriptor)),
        };
        FsResult::Ok(table.push(stream)?)
    };
    answer(write())
}
