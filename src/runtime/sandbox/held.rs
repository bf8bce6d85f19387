//! What the host holds in memory because of a guest's handles: headers, bodies on their way, streams, sockets.
//!
//! A guest can make all of it grow without growing itself, so it counts against the memory of its container and task. It
//! is looked at after every so many calls of the host, by going over the guest's table: what is dropped is then no longer
//! there, which no count of calls could know. Where the real size cannot be seen, what the host may keep at most is
//! counted. A request of the usual kind ends before the first look, and pays nothing.

use std::any::Any;

use wasmtime::component::ResourceTable;
use wasmtime_wasi::p2::{DynInputStream, DynOutputStream};
use wasmtime_wasi_http::FieldMap;
use wasmtime_wasi_http::p2::body::{HostIncomingBody, HostOutgoingBody};
use wasmtime_wasi_http::p2::types::{
    HostFutureIncomingResponse, HostIncomingRequest, HostIncomingResponse, HostOutgoingRequest, HostOutgoingResponse,
};
use wasmtime_wasi_http::p3;

use crate::runtime::memory::{MemoryLimiter, OutOfMemory};
use crate::runtime::sandbox::outgoing::BODY_CHUNK_BYTES_MAX;

/// Calls between two looks. One call makes the host keep 128 KiB at most (headers, or a chunk of a body), so a guest gets
/// 8 MiB ahead of the count; a look at the largest table takes half a millisecond, and is the guest's own time.
const CALLS_PER_LOOK: u32 = 64;
/// Where there are many handles, a look is that much rarer: it goes over so many of them for each call. A guest of 65,536
/// handles, which count as 16 MiB, gets 128 MiB ahead; looked at as often as the others, it would spend its time on looks.
const HANDLES_PER_CALL: u32 = 64;
/// A place in the table, and the small thing in it.
const HANDLE_BYTES: u64 = 256;
/// What the map of headers takes for each beside its text.
const HEADER_BYTES: u64 = 64;
/// A message of HTTP as it came from outside, whose headers the host bounded.
const MESSAGE_BYTES: u64 = 16 << 10;
/// A stream's write that the other side has not taken yet is 64 KiB at most, and mostly nothing.
const STREAM_BYTES: u64 = 16 << 10;
/// A body holds two chunks between the guest and whoever reads it.
const BODY_BYTES: u64 = 2 * BODY_CHUNK_BYTES_MAX as u64;

/// The count of one store.
#[derive(Debug, Default)]
pub struct Held {
    calls: u32,
    handles: u32,
    charged_bytes: u64,
}

impl Held {
    /// The guest returns from a call of the host.
    pub fn after_call(&mut self, table: &mut ResourceTable, memory: &mut MemoryLimiter) -> Result<(), OutOfMemory> {
        self.calls += 1;
        if self.calls < CALLS_PER_LOOK.max(self.handles / HANDLES_PER_CALL) {
            return Ok(());
        }
        self.calls = 0;
        self.look(table, memory)
    }

    fn look(&mut self, table: &mut ResourceTable, memory: &mut MemoryLimiter) -> Result<(), OutOfMemory> {
        let (mut handles, mut held_bytes) = (0u32, 0);
        for entry in table.iter_mut() {
            handles = handles.saturating_add(1);
            held_bytes += bytes_of(entry);
        }
        self.handles = handles;
        if held_bytes > self.charged_bytes {
            memory.charge_host(held_bytes - self.charged_bytes)?;
        } else {
            memory.release_host(self.charged_bytes - held_bytes);
        }
        self.charged_bytes = held_bytes;
        Ok(())
    }
}

fn bytes_of(entry: &(dyn Any + Send)) -> u64 {
    HANDLE_BYTES + headers_of(entry).map_or_else(|| buffered(entry), text_of)
}

/// The headers of what has some, as far as they can be seen.
fn headers_of(entry: &(dyn Any + Send)) -> Option<&FieldMap> {
    if let Some(fields) = entry.downcast_ref::<FieldMap>() {
        Some(fields)
    } else if let Some(request) = entry.downcast_ref::<HostOutgoingRequest>() {
        Some(&request.headers)
    } else if let Some(response) = entry.downcast_ref::<HostOutgoingResponse>() {
        Some(&response.headers)
    } else if let Some(request) = entry.downcast_ref::<p3::Request>() {
        Some(&request.headers)
    } else if let Some(response) = entry.downcast_ref::<p3::Response>() {
        Some(&response.headers)
    } else {
        None
    }
}

fn text_of(fields: &FieldMap) -> u64 {
    let bytes = |(name, value): (&http::HeaderName, &http::HeaderValue)| (name.as_str().len() + value.len()) as u64;
    fields.iter().map(|header| bytes(header) + HEADER_BYTES).sum()
}

fn buffered(entry: &(dyn Any + Send)) -> u64 {
    if entry.is::<HostOutgoingBody>() {
        BODY_BYTES
    } else if entry.is::<DynOutputStream>() || entry.is::<DynInputStream>() || entry.is::<HostIncomingBody>() {
        STREAM_BYTES
    } else if entry.is::<HostIncomingRequest>()
        || entry.is::<HostIncomingResponse>()
        || entry.is::<HostFutureIncomingResponse>()
    {
        MESSAGE_BYTES
    } else {
        0
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::runtime::memory::{MemoryMeter, NodeMeter, Slots};

    fn headers(bytes: usize) -> FieldMap {
        let mut fields = FieldMap::new_mutable(1 << 20);
        let value = http::HeaderValue::try_from("a".repeat(bytes)).unwrap();
        fields.append_raw(http::HeaderName::from_static("x-large"), value).unwrap();
        fields
    }

    #[test]
    fn handles_count_while_they_are_held_and_past_the_limit_the_guest_ends() {
        let meter = MemoryMeter::task(Some(100_000), &NodeMeter::default()).container(None);
        let mut memory = MemoryLimiter::new(meter.clone(), Slots::LARGEST, None);
        let (mut held, mut table) = (Held::default(), ResourceTable::new());
        let first = table.push(headers(40_000)).unwrap();
        for _ in 1..CALLS_PER_LOOK {
            held.after_call(&mut table, &mut memory).unwrap();
        }
        assert_eq!(meter.held(), 0);
        held.after_call(&mut table, &mut memory).unwrap();
        assert!((40_000..41_000).contains(&meter.held()), "{}", meter.held());

        table.delete(first).unwrap();
        held.look(&mut table, &mut memory).unwrap();
        assert_eq!(meter.held(), 0);

        for _ in 0..2 {
            table.push(headers(60_000)).unwrap();
        }
        assert!(held.look(&mut table, &mut memory).is_err());
        assert!(memory.out_of_memory().is_some());
        drop(memory);
        assert_eq!(meter.held(), 0);
    }
}
