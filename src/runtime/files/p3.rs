//! Our host of `wasi:filesystem` 0.3: the functions that give directories, open files, or read and write in the background.
//!
//! wasmtime-wasi holds a thread for every directory that a guest lists, until the guest has read to the end of it; a guest
//! that never does would take them all. Ours reads a piece at a time.

mod streams;

use std::sync::Arc;

use tokio::sync::oneshot;
use wasmtime::StoreContextMut;
use wasmtime::component::{Accessor, FutureReader, Linker, Resource, StreamReader};
use wasmtime_wasi::filesystem::{Descriptor, WasiFilesystem, WasiFilesystemView};
use wasmtime_wasi::p3::bindings::filesystem::types::{
    DescriptorFlags, DirectoryEntry, ErrorCode, HostDescriptor, HostDescriptorWithStore, OpenFlags, PathFlags,
};
use wasmtime_wasi::p3::filesystem::{FilesystemError, FilesystemResult};

use super::FilesView;
use super::io::{Gate, Place};

const TYPES: &str = "wasi:filesystem/types@0.3.0";
const PREOPENS: &str = "wasi:filesystem/preopens@0.3.0";

/// Replaces the functions in a linker to which wasmtime-wasi's WASI 0.3 was added before. Guests of 0.3 also use 0.2, so this
/// does not replace [`super::shadow_p2`].
pub fn shadow_p3<T: FilesView>(linker: &mut Linker<T>) -> wasmtime::Result<()> {
    linker.allow_shadowing(true);
    let shadowed = shadow(linker);
    linker.allow_shadowing(false);
    shadowed
}

fn shadow<T: FilesView>(linker: &mut Linker<T>) -> wasmtime::Result<()> {
    let mut preopens = linker.instance(PREOPENS)?;
    preopens.func_wrap_async("get-directories", |store, (): ()| Box::new(super::p2::directories(store)))?;
    let mut types = linker.instance(TYPES)?;
    types.func_wrap_concurrent("[method]descriptor.open-at", |accessor, arguments| {
        Box::pin(open_at(accessor, arguments))
    })?;
    types.func_wrap("[method]descriptor.read-via-stream", read_via_stream)?;
    types.func_wrap(
        "[method]descriptor.write-via-stream",
        |store, (file, data, offset): (Resource<Descriptor>, StreamReader<u8>, u64)| {
            write_via_stream(store, &file, data, Place::At(offset))
        },
    )?;
    types.func_wrap(
        "[method]descriptor.append-via-stream",
        |store, (file, data): (Resource<Descriptor>, StreamReader<u8>)| {
            write_via_stream(store, &file, data, Place::End)
        },
    )?;
    types.func_wrap("[method]descriptor.read-directory", read_directory)
}

/// How something in the background ended: the other half of a stream.
type Ended = FutureReader<Result<(), ErrorCode>>;

/// A guest that has a descriptor was given its first by us, so its files are open.
fn gate(data: &impl FilesView) -> Result<Gate, ErrorCode> {
    data.files().gate().cloned().ok_or(ErrorCode::BadDescriptor)
}

type OpenAt = (Resource<Descriptor>, PathFlags, String, OpenFlags, DescriptorFlags);

async fn open_at<T: FilesView>(
    accessor: &Accessor<T>,
    arguments: OpenAt,
) -> wasmtime::Result<(Result<Resource<Descriptor>, ErrorCode>,)> {
    Ok((match open(accessor, arguments).await {
        Ok(opened) => Ok(opened),
        Err(error) => Err(error.downcast()?),
    },))
}

async fn open<T: FilesView>(
    accessor: &Accessor<T>,
    (dir, path_flags, path, open_flags, flags): OpenAt,
) -> FilesystemResult<Resource<Descriptor>> {
    let (gate, files) = accessor.with(|mut store| {
        let data = store.data_mut();
        FilesystemResult::Ok((gate(data)?, Arc::clone(data.files())))
    })?;
    let too_many = |_| FilesystemError::from(ErrorCode::InsufficientMemory);
    files.open.check().map_err(too_many)?;
    if open_flags.contains(OpenFlags::CREATE) {
        gate.check_space()?;
    }
    let turn = gate.turn().await;
    let host = accessor.with_getter::<WasiFilesystem>(T::filesystem);
    let opened =
        <WasiFilesystem as HostDescriptorWithStore<T>>::open_at(&host, dir, path_flags, path, open_flags, flags);
    let opened = opened.await?;
    drop(turn);
    accessor.with(|mut store| {
        let mut host = store.data_mut().filesystem();
        let file = match host.table.get(&opened).map_err(FilesystemError::trap)? {
            Descriptor::File(file) => &file.file,
            Descriptor::Dir(dir) => &dir.dir,
        };
        if let Err(error) = files.open.count(file) {
            HostDescriptor::drop(&mut host, opened).map_err(FilesystemError::trap)?;
            return Err(too_many(error));
        }
        Ok(opened)
    })
}

fn read_via_stream<T: FilesView>(
    mut store: StoreContextMut<'_, T>,
    (file, offset): (Resource<Descriptor>, u64),
) -> wasmtime::Result<((StreamReader<u8>, Ended),)> {
    let (ended, end) = oneshot::channel();
    let gate = gate(store.data());
    let file = match (gate, store.data_mut().ctx().table.get(&file)?) {
        (Ok(gate), Descriptor::File(file)) => Ok((gate, Arc::clone(&file.file))),
        (Ok(_), Descriptor::Dir(_)) => Err(ErrorCode::IsDirectory),
        (Err(code), _) => Err(code),
    };
    let stream = match file {
        Ok((gate, file)) => StreamReader::new(&mut store, streams::Reader::new(gate, file, offset, ended))?,
        Err(code) => {
            let _ = ended.send(Err(code));
            StreamReader::new(&mut store, std::iter::empty())?
        }
    };
    Ok(((stream, FutureReader::new(&mut store, end)?),))
}

fn write_via_stream<T: FilesView>(
    mut store: StoreContextMut<'_, T>,
    file: &Resource<Descriptor>,
    mut data: StreamReader<u8>,
    place: Place,
) -> wasmtime::Result<(Ended,)> {
    let (ended, end) = oneshot::channel();
    let gate = gate(store.data());
    let file = match (gate, store.data_mut().ctx().table.get(file)?) {
        (Ok(_), Descriptor::File(file)) if file.perms.write_not_permitted() => Err(ErrorCode::NotPermitted),
        (Ok(gate), Descriptor::File(file)) => Ok((gate, Arc::clone(&file.file))),
        (Ok(_), Descriptor::Dir(_)) => Err(ErrorCode::BadDescriptor),
        (Err(code), _) => Err(code),
    };
    match file {
        Ok((gate, file)) => data.pipe(&mut store, streams::Writer::new(gate, file, place, ended))?,
        Err(code) => {
            data.close(&mut store)?;
            let _ = ended.send(Err(code));
        }
    }
    Ok((FutureReader::new(&mut store, end)?,))
}

fn read_directory<T: FilesView>(
    mut store: StoreContextMut<'_, T>,
    (dir,): (Resource<Descriptor>,),
) -> wasmtime::Result<((StreamReader<DirectoryEntry>, Ended),)> {
    let (ended, end) = oneshot::channel();
    let files = Arc::clone(store.data().files());
    let gate = gate(store.data());
    let dir = match (gate, store.data_mut().ctx().table.get(&dir)?) {
        (Ok(gate), Descriptor::Dir(dir)) => Ok((gate, Arc::clone(&dir.dir))),
        (Ok(_), Descriptor::File(_)) => Err(ErrorCode::NotDirectory),
        (Err(code), _) => Err(code),
    };
    // A listing holds a descriptor of its own.
    let listing = dir.and_then(|(gate, dir)| {
        let dir = Arc::new(dir.try_clone()?);
        files.open.count(&dir).map_err(|_| ErrorCode::InsufficientMemory)?;
        Ok(streams::Listing::new(gate, dir))
    });
    let stream = match listing {
        Ok(listing) => StreamReader::new(&mut store, listing.told(ended))?,
        Err(code) => {
            let _ = ended.send(Err(code));
            StreamReader::new(&mut store, std::iter::empty())?
        }
    };
    Ok(((stream, FutureReader::new(&mut store, end)?),))
}
