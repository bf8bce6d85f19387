//! A container that answers HTTP requests: `wasi:http` of 0.2 or 0.3, with the runtime as its server.
//!
//! A request begins on the thread that read it: the guest is polled within the caller's own task, which saves the hop to
//! another thread and back (a tenth of a request, measured). What takes longer than its first slices is handed to the guest
//! threads, so that a slow guest never delays its caller's other connections. Each request has a fresh instance, unless
//! the container keeps them.

mod body;
mod idle;
mod request;
mod serve;
mod work;

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Weak};
use std::time::Duration;

use hyper::{Request, Response};
use parking_lot::Mutex;
use tokio::runtime::Handle;
use tokio::sync::{Notify, oneshot};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use wasmtime::Engine;

use crate::model::Exit;
use crate::runtime::capacity::{Permit, Permits};
use crate::runtime::cpu::ContainerCpu;
use crate::runtime::guest::handler::body::{Head, respond};
use crate::runtime::guest::handler::idle::Idle;
use crate::runtime::guest::handler::work::{Travelling, Work};
use crate::runtime::guest::http::{HandlerError, RequestBody, ResponseBody};
use crate::runtime::guest::instance::Instance;
use crate::runtime::image::load::Image;
use crate::runtime::memory::{Admission, Reservation};
use crate::runtime::sandbox::Sandbox;
use crate::runtime::worker::parent::IsolatedHandler;

/// Requests of one container that wait for a slot of the node: as many as may wait for memory (`Admission`).
const WAITING_MAX: usize = 1024;
/// And how long, at most: below the 60 seconds after which a load balancer gives up on a silent target.
const WAIT_MAX: Duration = Duration::from_secs(20);

/// A handler's container, to be called. A cheap handle that keeps nothing alive: once the container has stopped, every
/// call says [`HandlerError::NotRunning`].
#[derive(Clone)]
pub struct Handler {
    place: Place,
}

#[derive(Clone)]
enum Place {
    Here(Weak<Shared>),
    /// In the process of its task.
    Apart(IsolatedHandler),
}

impl From<IsolatedHandler> for Handler {
    fn from(handler: IsolatedHandler) -> Handler {
        Handler { place: Place::Apart(handler) }
    }
}

/// The container's own hold on it: with this the container ends.
pub struct HandlerContainer {
    shared: Arc<Shared>,
}

/// What a handler is made of.
pub struct Parts {
    pub sandbox: Arc<Sandbox>,
    pub image: Arc<Image>,
    pub engine: Engine,
    pub permits: Permits,
    pub cpu: ContainerCpu,
    pub guests: Handle,
    /// Tells all handlers of the node that somebody waits for a slot.
    pub pressure: Arc<Notify>,
    pub keep_instances: bool,
    /// The task's count of requests.
    pub requests: Arc<AtomicU64>,
}

struct Shared {
    parts: Parts,
    admission: Admission,
    /// Instances between two requests; `None` where each request has its own.
    idle: Option<Idle>,
    /// Requests whose guest still runs; closed when the container stops.
    open: TaskTracker,
    /// Ends all of them.
    cut: CancellationToken,
    /// Guests that travel in a response's body.
    travelling: Mutex<Travelling>,
    waiting: AtomicUsize,
}

/// What a request runs in.
enum Seat {
    Kept(Box<Instance>),
    Fresh(Permit, Reservation),
}

impl Handler {
    /// Gives the request to an instance of the component. Waits, bounded, while the node or the task's memory is full.
    /// Dropping the future, or the response's body before its end, cancels the guest.
    pub async fn call(&self, request: Request<RequestBody>) -> Result<Response<ResponseBody>, HandlerError> {
        let shared = match &self.place {
            Place::Here(shared) => shared.upgrade().ok_or(HandlerError::NotRunning)?,
            Place::Apart(handler) => return handler.call(request).await,
        };
        // The token first: a stop that comes after it waits for this request.
        let in_flight = shared.open.token();
        if shared.open.is_closed() {
            return Err(HandlerError::NotRunning);
        }
        shared.parts.requests.fetch_add(1, Ordering::Relaxed);
        let has_body = request.method() != hyper::Method::HEAD;
        let request = request::prepare(request, shared.parts.sandbox.network.address().ip())?;
        let seat = tokio::select! {
            biased;
            () = shared.cut.cancelled() => return Err(HandlerError::NotRunning),
            seat = shared.seat() => seat?,
        };
        let (sender, head) = oneshot::channel();
        let mut work = Work::begin(&shared, seat, request, sender, in_flight);
        let response = work.head(head).await?;
        Ok(respond(&shared, response, work, has_body))
    }
}

impl Handler {
    /// Ready once a request could begin: the container runs, and there is room for an instance of it, which is left again.
    pub async fn admit(&self) -> Result<(), HandlerError> {
        let shared = match &self.place {
            Place::Here(shared) => shared.upgrade().ok_or(HandlerError::NotRunning)?,
            // Who runs apart admits by itself; that its process is there is known as long as this is.
            Place::Apart(handler) => return if handler.is_running() { Ok(()) } else { Err(HandlerError::NotRunning) },
        };
        let _in_flight = shared.open.token();
        if shared.open.is_closed() {
            return Err(HandlerError::NotRunning);
        }
        let seat = tokio::select! {
            biased;
            () = shared.cut.cancelled() => return Err(HandlerError::NotRunning),
            seat = shared.seat() => seat?,
        };
        if let (Seat::Kept(instance), Some(idle)) = (seat, &shared.idle) {
            idle.give_back(instance);
        }
        Ok(())
    }
}

#[cfg(test)]
impl Handler {
    fn local(&self) -> Option<Arc<Shared>> {
        match &self.place {
            Place::Here(shared) => shared.upgrade(),
            Place::Apart(_) => None,
        }
    }
}

impl HandlerContainer {
    pub fn start(parts: Parts) -> HandlerContainer {
        let keep = parts.keep_instances;
        let shared = Arc::new(Shared {
            admission: Admission::new(parts.sandbox.memory.clone()),
            idle: keep.then(Idle::default),
            open: TaskTracker::new(),
            cut: CancellationToken::new(),
            travelling: Mutex::default(),
            waiting: AtomicUsize::new(0),
            parts,
        });
        if keep {
            let pressure = Arc::clone(&shared.parts.pressure);
            let memory = shared.parts.sandbox.memory.clone();
            shared.parts.guests.spawn(idle::sweep(Arc::downgrade(&shared), pressure, memory, shared.cut.clone()));
        }
        HandlerContainer { shared }
    }

    pub fn sandbox(&self) -> Arc<Sandbox> {
        Arc::clone(&self.shared.parts.sandbox)
    }

    pub fn handler(&self) -> Handler {
        Handler { place: Place::Here(Arc::downgrade(&self.shared)) }
    }

    /// Waits to be stopped, lets what is in flight finish within `stop_timeout`, and cuts off the rest. When this returns, no
    /// instance is left.
    pub async fn run(self, stop: CancellationToken, kill: CancellationToken, stop_timeout: Duration) -> Exit {
        let shared = &self.shared;
        tokio::select! {
            biased;
            () = kill.cancelled() => {}
            () = shared.parts.sandbox.fuel_exhausted() => {}
            () = stop.cancelled() => {}
        }
        shared.open.close();
        let drained = tokio::select! {
            biased;
            () = kill.cancelled() => false,
            () = shared.parts.sandbox.fuel_exhausted() => false,
            () = shared.open.wait() => true,
            () = tokio::time::sleep(stop_timeout) => false,
        };
        shared.cut.cancel();
        // A guest in the body of a client that does not read is polled by nobody, and must be taken from it.
        shared.travelling.lock().drop_all();
        shared.open.wait().await;
        if let Some(idle) = &shared.idle {
            idle.clear();
        }
        if shared.parts.sandbox.is_fuel_exhausted() {
            return Exit::OutOfFuel;
        }
        if drained { Exit::Stopped } else { Exit::Killed }
    }
}

impl Shared {
    async fn seat(&self) -> Result<Seat, HandlerError> {
        let Some(idle) = &self.idle else { return self.fresh_seat().await };
        if let Some(instance) = idle.take() {
            return Ok(Seat::Kept(instance));
        }
        // An instance that comes back frees no memory, so nobody who waits for memory alone would hear of it.
        tokio::select! {
            biased;
            instance = idle.returned() => Ok(Seat::Kept(instance)),
            seat = self.fresh_seat() => seat,
        }
    }

    /// Memory first, then a slot of the node: the other way round a slot would be held by who waits for a neighbour.
    async fn fresh_seat(&self) -> Result<Seat, HandlerError> {
        let admitted = self.admission.admit().await.map_err(|_| HandlerError::Overloaded)?;
        let image = &self.parts.image;
        if let Some(permit) = self.parts.permits.try_acquire(image.engine, image.weight) {
            return Ok(Seat::Fresh(permit, admitted));
        }
        let _waiting = Waiting::enter(&self.waiting)?;
        let slot = acquire_under_pressure(&self.parts.permits, image, &self.parts.pressure);
        let permit = tokio::time::timeout(WAIT_MAX, slot).await.map_err(|_| HandlerError::Overloaded)?;
        Ok(Seat::Fresh(permit, admitted))
    }
}

/// While somebody waits for a slot, kept instances that are idle give way, this often.
const PRESSURE_PERIOD: Duration = Duration::from_millis(100);

/// Waits for a slot of the node; idle instances of all handlers give way.
pub async fn acquire_under_pressure(permits: &Permits, image: &Image, pressure: &Notify) -> Permit {
    if let Some(permit) = permits.try_acquire(image.engine, image.weight) {
        return permit;
    }
    let acquire = permits.acquire(image.engine, image.weight);
    tokio::pin!(acquire);
    loop {
        pressure.notify_waiters();
        tokio::select! {
            permit = &mut acquire => return permit,
            () = tokio::time::sleep(PRESSURE_PERIOD) => {}
        }
    }
}

/// One place among those that wait for a slot.
struct Waiting<'a>(&'a AtomicUsize);

impl<'a> Waiting<'a> {
    fn enter(waiting: &'a AtomicUsize) -> Result<Waiting<'a>, HandlerError> {
        let before = waiting.fetch_add(1, Ordering::Relaxed);
        let place = Waiting(waiting);
        if before >= WAITING_MAX { Err(HandlerError::Overloaded) } else { Ok(place) }
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// What the guest gave as its head, or why there is none.
type HeadSender = oneshot::Sender<Result<Head, HandlerError>>;

#[cfg(test)]
mod tests;
