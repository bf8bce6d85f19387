//! How a wasmtime call ended, as a typed fact.
//!
//! wasmtime reports everything as one error type. This is the only place that looks into it: a returned code, a trap,
//! no memory, no fuel, each told apart by type, never by text.

use wasmtime::Trap as WasmTrap;
use wasmtime::component::ResourceTableError;
use wasmtime_wasi::I32Exit;

use crate::model::Exit;
use crate::model::exit::{Trap, TrapKind};
use crate::runtime::memory::{Crowded, OutOfMemory};
use crate::runtime::sandbox::RESOURCES_MAX;

/// A guest's message is cut here: it ends in a `reason` of 1,024 characters, and in one line of a log.
const MESSAGE_CHARS_MAX: usize = 1000;

/// What `exit` with a status outside of 0..=255 becomes, as in POSIX: its low byte.
fn code_of(status: i32) -> u8 {
    (status & 0xff) as u8
}

/// Why a guest's call failed. `memory_refused` says that its limiter refused it memory before: a Rust guest answers a
/// failed `memory.grow` by aborting, which is an out of memory, not a bug of the guest.
pub fn of_error(error: &wasmtime::Error, memory_refused: bool) -> Exit {
    if let Some(exit) = error.downcast_ref::<I32Exit>() {
        return Exit::Returned { code: code_of(exit.0) };
    }
    if error.is::<OutOfMemory>() || error.is::<Crowded>() {
        return Exit::OutOfMemory;
    }
    // The collector's heap grows through the limiter like any memory; of a refusal it tells only its own kind of error.
    if memory_refused && error.downcast_ref::<wasmtime::GcHeapOutOfMemory<()>>().is_some() {
        return Exit::OutOfMemory;
    }
    match error.downcast_ref::<WasmTrap>() {
        Some(WasmTrap::OutOfFuel) => Exit::OutOfFuel,
        Some(WasmTrap::UnreachableCodeReached | WasmTrap::AllocationTooLarge) if memory_refused => Exit::OutOfMemory,
        Some(trap) => Exit::Trapped(Trap { kind: kind_of(*trap), message: message_of(error) }),
        None => Exit::Trapped(Trap { kind: TrapKind::Other, message: message_of(error) }),
    }
}

/// The kinds that ECS's exit codes tell apart (128 + the signal that a Linux process would have got).
fn kind_of(trap: WasmTrap) -> TrapKind {
    match trap {
        WasmTrap::UnreachableCodeReached => TrapKind::Unreachable,
        WasmTrap::StackOverflow => TrapKind::StackOverflow,
        WasmTrap::MemoryOutOfBounds | WasmTrap::HeapMisaligned | WasmTrap::ArrayOutOfBounds => TrapKind::MemoryAccess,
        WasmTrap::IntegerOverflow | WasmTrap::IntegerDivisionByZero | WasmTrap::BadConversionToInteger => {
            TrapKind::Arithmetic
        }
        // wasmtime's list is open; what it adds is a trap like any other until it is sorted here.
        _ => TrapKind::Other,
    }
}

/// The root cause first, on one line: the backtrace of wasm frames belongs into the log, not into a `reason`.
pub fn message_of(error: &wasmtime::Error) -> String {
    if let Some(ResourceTableError::Full) = error.downcast_ref::<ResourceTableError>() {
        return format!(
            "it holds {RESOURCES_MAX} handles (streams, requests, sockets, timers), the most that a guest may"
        );
    }
    let cause = error.root_cause().to_string();
    let line = cause.lines().next().unwrap_or_default();
    line.chars().take(MESSAGE_CHARS_MAX).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn exit(error: impl Into<wasmtime::Error>, refused: bool) -> Exit {
        of_error(&error.into().context("error while executing at wasm backtrace"), refused)
    }

    #[test]
    fn codes_are_whole() {
        for (status, code) in [(0, 0), (3, 3), (255, 255), (256, 0), (-1, 255)] {
            assert_eq!(exit(wasmtime::Error::new(I32Exit(status)), false), Exit::Returned { code });
        }
    }

    #[test]
    fn traps_are_sorted() {
        for (trap, kind) in [
            (WasmTrap::UnreachableCodeReached, TrapKind::Unreachable),
            (WasmTrap::MemoryOutOfBounds, TrapKind::MemoryAccess),
            (WasmTrap::StackOverflow, TrapKind::StackOverflow),
            (WasmTrap::IntegerDivisionByZero, TrapKind::Arithmetic),
            (WasmTrap::BadSignature, TrapKind::Other),
        ] {
            match exit(wasmtime::Error::new(trap), false) {
                Exit::Trapped(found) => assert_eq!(found.kind, kind, "{trap:?}"),
                other => panic!("{trap:?} became {other:?}"),
            }
        }
        assert_eq!(exit(wasmtime::Error::new(WasmTrap::OutOfFuel), false), Exit::OutOfFuel);
    }

    #[test]
    fn an_abort_after_refused_memory_is_out_of_memory() {
        assert_eq!(exit(wasmtime::Error::new(WasmTrap::UnreachableCodeReached), true), Exit::OutOfMemory);
        assert!(matches!(exit(wasmtime::Error::new(WasmTrap::IntegerOverflow), true), Exit::Trapped(_)));
    }

    #[test]
    fn a_message_is_one_line_of_the_root_cause() {
        let error = wasmtime::Error::msg("the cause\nmore").context("outer");
        assert_eq!(message_of(&error), "the cause");
        let full = wasmtime::Error::new(ResourceTableError::Full).context("outer");
        assert!(message_of(&full).contains("65536 handles"));
    }
}
