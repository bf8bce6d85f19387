//! How a guest ended: a typed fact of the runtime, and the one table that turns it into what ECS shows.

use serde::{Deserialize, Serialize};

/// Why a container is no longer running.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Exit {
    /// It never ran.
    CouldNotStart(StartFailure),
    /// It returned, or called `exit`.
    Returned { code: u8 },
    /// It trapped; the text is wasmtime's.
    Trapped(Trap),
    /// It, or its task, went over the memory limit.
    OutOfMemory,
    /// It used up its instruction budget.
    OutOfFuel,
    /// Its task took more of the disk than it may; the text says what and how much.
    OutOfDisk(String),
    /// It was told to stop, and ended by itself within its `stopTimeout`.
    Stopped,
    /// It was told to stop and had to be cut off.
    Killed,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Trap {
    pub kind: TrapKind,
    pub message: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum TrapKind {
    /// `unreachable`: a panic or an abort.
    Unreachable,
    /// An access outside of the linear memory.
    MemoryAccess,
    /// Too deep a recursion.
    StackOverflow,
    /// A division by zero, an overflow, a bad conversion.
    Arithmetic,
    /// Everything else.
    Other,
}

/// Why a container could not be started. The message is for people and says what to do.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum StartFailure {
    /// The image is missing, is no component, or is a Linux image.
    CannotPull(String),
    /// The image needs what is not offered, or could not be instantiated.
    CannotCreate(String),
    /// Something of the machine that it asks for, such as a host port, is taken.
    CannotStart(String),
    /// A resource that the task needs (address, secret, volume) could not be had.
    ResourceInitialization(String),
    /// It did not start in time.
    Timeout(String),
}

/// What `DescribeTasks` shows of a container's end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ContainerEnd {
    /// Absent where the container never ran.
    pub exit_code: Option<i32>,
    pub reason: Option<String>,
}

/// The signal numbers that a container engine adds to 128.
const SIGABRT: i32 = 6;
const SIGFPE: i32 = 8;
const SIGKILL: i32 = 9;
const SIGSEGV: i32 = 11;
const SIGNALLED: i32 = 128;

/// A container's reason is cut here, as ECS cuts it.
const REASON_CHARS_MAX: usize = 1024;

impl Exit {
    /// The table: every way to end, as ECS shows it.
    pub fn container_end(&self) -> ContainerEnd {
        let (exit_code, reason) = match self {
            Exit::CouldNotStart(failure) => (None, Some(failure.text())),
            Exit::Returned { code } => (Some(i32::from(*code)), None),
            Exit::Trapped(trap) => (Some(SIGNALLED + trap.signal()), Some(trap.message.clone())),
            Exit::OutOfMemory => (
                Some(SIGNALLED + SIGKILL),
                Some(String::from("OutOfMemoryError: Container killed due to memory usage")),
            ),
            Exit::OutOfFuel => (
                Some(SIGNALLED + SIGKILL),
                Some(String::from("FuelExhaustedError: Container used up its instruction budget")),
            ),
            Exit::OutOfDisk(reason) => (Some(SIGNALLED + SIGKILL), Some(reason.clone())),
            Exit::Stopped => (Some(0), None),
            Exit::Killed => (Some(SIGNALLED + SIGKILL), None),
        };
        ContainerEnd { exit_code, reason: reason.map(|text| text.chars().take(REASON_CHARS_MAX).collect()) }
    }

    pub fn never_ran(&self) -> bool {
        matches!(self, Exit::CouldNotStart(_))
    }
}

impl Trap {
    fn signal(&self) -> i32 {
        match self.kind {
            TrapKind::Unreachable | TrapKind::Other => SIGABRT,
            TrapKind::MemoryAccess | TrapKind::StackOverflow => SIGSEGV,
            TrapKind::Arithmetic => SIGFPE,
        }
    }
}

impl StartFailure {
    /// With the error's name in front, as the agent of ECS writes it.
    pub fn text(&self) -> String {
        match self {
            StartFailure::CannotPull(message) => format!("CannotPullContainerError: {message}"),
            StartFailure::CannotCreate(message) => format!("CannotCreateContainerError: {message}"),
            StartFailure::CannotStart(message) => format!("CannotStartContainerError: {message}"),
            StartFailure::ResourceInitialization(message) => format!("ResourceInitializationError: {message}"),
            StartFailure::Timeout(message) => {
                format!(
                    "ContainerRuntimeTimeoutError: Could not transition to running; timed out after waiting {message}"
                )
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_end_has_ecs_code_and_reason() {
        let trap = |kind| Exit::Trapped(Trap { kind, message: String::from("why") });
        for (exit, code) in [
            (Exit::Returned { code: 255 }, Some(255)),
            (trap(TrapKind::Unreachable), Some(134)),
            (trap(TrapKind::MemoryAccess), Some(139)),
            (trap(TrapKind::Arithmetic), Some(136)),
            (Exit::OutOfMemory, Some(137)),
            (Exit::OutOfDisk(String::from("EphemeralStorageExceededError: why")), Some(137)),
            (Exit::Killed, Some(137)),
            (Exit::Stopped, Some(0)),
            (Exit::CouldNotStart(StartFailure::CannotPull(String::from("x"))), None),
        ] {
            assert_eq!(exit.container_end().exit_code, code, "{exit:?}");
        }
        assert_eq!(
            Exit::OutOfMemory.container_end().reason.unwrap(),
            "OutOfMemoryError: Container killed due to memory usage"
        );
    }
}
