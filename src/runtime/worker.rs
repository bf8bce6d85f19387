//! `--isolate process`: a task in a process of its own, for those to whom one process for all tenants is not enough.
//!
//! The boundary between tasks is then the kernel's, and a bug of wasmtime costs one task and not all of them. The server
//! starts one *worker* for each task: this program again, which opens what the task needs, gives up everything else
//! ([`lockdown`]), and runs the task with the same runtime, so that all limits hold as before. What it has to say goes
//! through four connections to a Unix socket of the server: [`protocol`] for orders and reports, [`http`] for requests to
//! its handlers and to the task endpoint, and one for the table of addresses, which stays the server's.
//!
//! What it costs: a process (some 50 MB) and a start of tens of milliseconds for each task, and a hop for each request. The
//! cap of a task's CPU holds as before; between the tasks of different processes the kernel shares the cores.

pub mod http;
pub mod lockdown;
pub mod protocol;
pub mod table;
pub mod child;
pub mod parent;
