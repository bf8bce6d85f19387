//! The server's side of a worker: starts the process, relays orders to it and reports from it, and knows how it ended.
//!
//! A worker is not believed more than its guest would be: it can report on its own containers only, in the order that
//! [`Report`] allows, and when its process is gone, whatever it did not report is reported for it.

mod process;
mod relay;

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::Arc;

use bytes::Bytes;
use http_body_util::{BodyExt as _, Empty};
use parking_lot::Mutex;
use tokio::sync::mpsc;

use crate::model::Usage;
use crate::runtime::Node;
use crate::runtime::guest::http::HandlerError;
use crate::runtime::guest::http::{RequestBody, ResponseBody};
use crate::runtime::memory::NodeShare;
use crate::runtime::spec::{Report, TaskSpec};
use crate::runtime::worker::child::Order;
use crate::runtime::worker::http::Requests;
use crate::runtime::worker::protocol::{ToWorker, Used};

/// Orders on their way to a worker: a start and a stop of each of ten containers, and those of the task.
const ORDERS_MAX: usize = 64;

/// Between a container's name, which has no spaces, and that of a function which is to be called.
const EXPORT: &str = " wasm:";

/// The container and the function, where a request asks for one.
pub(super) fn exported(container: &str) -> Option<(&str, &str)> {
    container.split_once(EXPORT)
}

/// How tasks are given processes of their own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WorkerConfig {
    /// This program, called with this first argument and the path of the socket.
    pub program: PathBuf,
    pub argument: String,
    /// Where the sockets are made: private to the user.
    pub socket_dir: PathBuf,
    /// The first of the 65,536 users that workers become; only where the server is root.
    pub first_user: Option<u32>,
}

/// A task in a process of its own. A cheap handle; dropping it does not stop the task.
#[derive(Clone)]
pub struct IsolatedTask {
    shared: Arc<Shared>,
}

pub(super) struct Shared {
    orders: mpsc::Sender<ToWorker<Order>>,
    /// What the worker said last.
    used: Mutex<Used>,
    /// What it holds of the node's memory, by that.
    memory: Mutex<NodeShare>,
    /// While the worker runs.
    connection: Mutex<Option<Requests>>,
    /// The handlers that run now, and the connection to their worker.
    handlers: Mutex<HashMap<String, Requests>>,
}

impl IsolatedTask {
    pub fn start(
        node: &Arc<Node>,
        config: Arc<WorkerConfig>,
        spec: TaskSpec,
    ) -> (IsolatedTask, mpsc::Receiver<Report>) {
        let (reports, receiver) = mpsc::channel(crate::runtime::task::reports_max(spec.containers.len()));
        let (orders, ordered) = mpsc::channel(ORDERS_MAX);
        let memory = Mutex::new(node.memory.share());
        let shared = Arc::new(Shared {
            orders,
            used: Mutex::default(),
            memory,
            connection: Mutex::default(),
            handlers: Mutex::default(),
        });
        let relay = relay::Relay::new(Arc::clone(node), config, Arc::clone(&shared), reports);
        node.control.spawn(relay.live(spec, ordered));
        (IsolatedTask { shared }, receiver)
    }

    /// Orders may be repeated, so one that finds the queue full is lost only where the worker does not read at all; that one
    /// is ended by its deadline.
    pub fn order(&self, order: ToWorker<Order>) {
        if self.shared.orders.try_send(order).is_err() {
            tracing::debug!("an order for a worker that has ended, or does not read");
        }
    }

    pub fn handler(&self, container: &str) -> Option<IsolatedHandler> {
        let requests = self.shared.handlers.lock().get(container)?.clone();
        Some(IsolatedHandler { container: Arc::from(container), requests })
    }

    /// As a request for a name that no container can have: see [`exported`].
    pub async fn call_export(&self, container: &str, name: &str) -> Result<(), String> {
        let connection = self.shared.connection.lock().clone();
        let connection = connection.ok_or("the container does not run")?;
        let nothing = Empty::<Bytes>::new().map_err(|never| match never {}).boxed_unsync();
        let called = format!("{container}{EXPORT}{name}");
        match connection.send(Some(&called), hyper::Request::new(nothing)).await {
            Ok(_) => Ok(()),
            Err(HandlerError::Failed(why)) => Err(why),
            Err(error) => Err(error.to_string()),
        }
    }

    pub fn usage(&self) -> Usage {
        self.shared.used.lock().task
    }

    pub fn container_usage(&self, container: &str) -> Option<Usage> {
        self.shared.used.lock().containers.get(container).copied()
    }
}

/// A handler in a worker.
#[derive(Clone)]
pub struct IsolatedHandler {
    container: Arc<str>,
    requests: Requests,
}

impl IsolatedHandler {
    /// Whether its process is there.
    pub fn is_running(&self) -> bool {
        self.requests.is_open()
    }

    pub async fn call(
        &self,
        request: hyper::Request<RequestBody>,
    ) -> Result<hyper::Response<ResponseBody>, HandlerError> {
        self.requests.send(Some(&self.container), request).await
    }
}
