//! A guest's work on one request, and where it is polled: here, within the caller's task, until it has had its first
//! slices; then on the guest threads.

use std::collections::HashMap;
use std::future::poll_fn;
use std::pin::Pin;
use std::sync::{Arc, OnceLock, Weak};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use hyper::{Request, Response};
use parking_lot::Mutex;
use tokio::runtime::Handle;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tokio_util::task::task_tracker::TaskTrackerToken;
use wasmtime_wasi_http::WasiBody;

use crate::runtime::guest::handler::body::Head;
use crate::runtime::guest::handler::serve::{Outcome, check, serve};
use crate::runtime::guest::handler::{HeadSender, Seat, Shared};
use crate::runtime::guest::http::HandlerError;

/// What a guest may take of its caller's thread: some three slices. A request of the usual kind takes 0.05 ms in all, and
/// is never handed over; one that computes would delay the caller's other connections.
const INLINE_MAX: Duration = Duration::from_millis(1);

/// Dropping it cancels the guest.
pub(super) struct Work {
    state: State,
    outcome: Arc<Outcome>,
    guests: Handle,
}

enum State {
    Here { future: Pin<Box<dyn Future<Output = ()> + Send>>, spent: Duration },
    Away(JoinHandle<()>),
    Done,
}

impl Work {
    pub fn begin(
        shared: &Arc<Shared>,
        seat: Seat,
        request: Request<WasiBody>,
        head: HeadSender,
        in_flight: TaskTrackerToken,
    ) -> Work {
        let outcome = Arc::new(OnceLock::new());
        let serving = serve(Arc::clone(shared), seat, request, head, Arc::clone(&outcome));
        let metered = shared.parts.cpu.meter(serving);
        let (cut, why) = (shared.cut.clone(), Arc::clone(&outcome));
        let future = Box::pin(async move {
            let _in_flight = in_flight;
            let cut = async move {
                cut.cancelled().await;
                // The first reason counts.
                let _ = why.set(Err(HandlerError::Stopped));
            };
            tokio::select! {
                biased;
                () = cut => {}
                () = metered => {}
            }
        });
        Work { state: State::Here { future, spent: Duration::ZERO }, outcome, guests: shared.parts.guests.clone() }
    }

    /// The head of the response. If the guest failed as well by then, the failure is the answer: nothing was sent yet.
    pub async fn head(
        &mut self,
        mut head: oneshot::Receiver<Result<Head, HandlerError>>,
    ) -> Result<Response<WasiBody>, HandlerError> {
        poll_fn(|cx| {
            let work = self.poll(cx);
            let given = match Pin::new(&mut head).poll(cx) {
                Poll::Pending if work.is_pending() => return Poll::Pending,
                Poll::Ready(Ok(given)) => given,
                Poll::Ready(Err(_)) | Poll::Pending => Err(self.no_response()),
            };
            if let Some(failure) = self.failure() {
                return Poll::Ready(Err(failure));
            }
            Poll::Ready(given.and_then(|response| check(&response).map(|()| response)))
        })
        .await
    }

    pub fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if let State::Here { future, spent } = &mut self.state {
            let began = Instant::now();
            if future.as_mut().poll(cx).is_ready() {
                self.state = State::Done;
                return Poll::Ready(());
            }
            *spent += began.elapsed();
            if *spent < INLINE_MAX {
                return Poll::Pending;
            }
            self.hand_over();
        }
        match &mut self.state {
            State::Away(task) => {
                // A panic of the host was reported by the runtime; the guest left no outcome, which says enough.
                let ended = Pin::new(task).poll(cx).map(drop);
                if ended.is_ready() {
                    self.state = State::Done;
                }
                ended
            }
            State::Here { .. } | State::Done => Poll::Ready(()),
        }
    }

    pub fn is_done(&self) -> bool {
        matches!(self.state, State::Done)
    }

    /// Why the guest failed, if it did.
    pub fn failure(&self) -> Option<HandlerError> {
        self.outcome.get().and_then(|result| result.clone().err())
    }

    /// Lets the guest finish by itself: it has answered, and may have things to do.
    pub fn detach(&mut self) {
        self.hand_over();
        // Without its handle the task goes on.
        self.state = State::Done;
    }

    fn hand_over(&mut self) {
        match std::mem::replace(&mut self.state, State::Done) {
            State::Here { future, .. } => self.state = State::Away(self.guests.spawn(future)),
            other => self.state = other,
        }
    }

    fn no_response(&self) -> HandlerError {
        self.failure().unwrap_or_else(|| HandlerError::InvalidResponse(String::from("it returned without one")))
    }

    /// Ends the guest now, wherever it is; whoever reads its body learns that it is not whole.
    fn cancel(&mut self) {
        let _ = self.outcome.set(Err(HandlerError::Stopped));
        if let State::Away(task) = std::mem::replace(&mut self.state, State::Done) {
            task.abort();
        }
    }
}

impl Drop for Work {
    fn drop(&mut self) {
        if let State::Away(task) = &self.state {
            task.abort();
        }
    }
}

/// The guests of one container whose work travels in a body. Weak: a body that is dropped takes its guest with it.
#[derive(Default)]
pub(super) struct Travelling {
    guests: HashMap<u64, Weak<Mutex<Work>>>,
    next: u64,
}

impl Travelling {
    pub fn enter(&mut self, work: &Arc<Mutex<Work>>) -> u64 {
        self.next += 1;
        self.guests.insert(self.next, Arc::downgrade(work));
        self.next
    }

    pub fn leave(&mut self, number: u64) {
        self.guests.remove(&number);
    }

    /// Ends all of them. Waits at most for the slices that are being run.
    pub fn drop_all(&mut self) {
        for work in std::mem::take(&mut self.guests).into_values().filter_map(|work| work.upgrade()) {
            work.lock().cancel();
        }
    }
}
