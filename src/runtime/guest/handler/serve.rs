//! One request in one instance, from the guest's side.

use std::future::poll_fn;
use std::pin::Pin;
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body_util::BodyExt;
use hyper::body::{Body, Frame, SizeHint};
use hyper::{Request, Response};
use tokio::sync::oneshot;
use wasmtime_wasi_http::p2::bindings::http::types::Scheme;
use wasmtime_wasi_http::{Error, WasiBody, WasiHttpView, p2, p3};

use crate::model::Exit;
use crate::runtime::exit::of_error;
use crate::runtime::guest::handler::{HeadSender, Seat, Shared};
use crate::runtime::guest::http::HandlerError;
use crate::runtime::guest::instance::{Exports, Failed, Instance};
use crate::runtime::guest::log_trap;
use crate::runtime::memory::Crowded;
use crate::runtime::sandbox::stdio::Stdin;
use crate::runtime::sandbox::{self, Guest};

/// How the guest's work ended. Set before its store is dropped, so that whoever sees a stream of it end can ask why.
pub(super) type Outcome = OnceLock<Result<(), HandlerError>>;

/// Runs the request in its seat, and keeps the instance where that is wanted and nothing went wrong.
pub(super) async fn serve(
    shared: Arc<Shared>,
    seat: Seat,
    request: Request<WasiBody>,
    head: HeadSender,
    outcome: Arc<Outcome>,
) {
    let parts = &shared.parts;
    let instance = match seat {
        Seat::Kept(mut instance) => match sandbox::begin(&mut instance.store) {
            Ok(()) => Ok(instance),
            Err(error) => Err(Failed { error, memory_refused: false }),
        },
        Seat::Fresh(permit, admitted) => {
            let code = &parts.image.code;
            let made = Instance::new(&parts.sandbox, &parts.engine, code, Stdin::Ended, permit, Some(admitted));
            made.await.map(Box::new)
        }
    };
    let mut instance = match instance {
        Ok(instance) => instance,
        Err(failed) => return settle(&outcome, Err(failure(&shared, &failed))),
    };
    let called = call(&mut instance, request, head).await;
    sandbox::settle(&mut instance.store);
    match called {
        Ok(()) => {
            settle(&outcome, Ok(()));
            // Where others wait for its memory it is not kept.
            let may_keep = !shared.open.is_closed() && !shared.admission.is_crowded();
            if let Some(idle) = shared.idle.as_ref().filter(|_| may_keep) {
                idle.give_back(instance);
            }
        }
        Err(error) => {
            let memory_refused = instance.store.data().memory_refused();
            settle(&outcome, ended(&shared, &Failed { error, memory_refused }));
        }
    }
}

fn settle(outcome: &Outcome, result: Result<(), HandlerError>) {
    // Only a cut may have been first, and then it is why.
    let _ = outcome.set(result);
}

/// A guest that called `exit(0)` has ended well; its response, if it gave one, stands.
fn ended(shared: &Shared, failed: &Failed) -> Result<(), HandlerError> {
    match of_error(&failed.error, failed.memory_refused) {
        Exit::Returned { code: 0 } => Ok(()),
        _ => Err(failure(shared, failed)),
    }
}

fn failure(shared: &Shared, failed: &Failed) -> HandlerError {
    if failed.error.is::<Crowded>() {
        return HandlerError::Overloaded;
    }
    match of_error(&failed.error, failed.memory_refused) {
        Exit::Trapped(trap) => {
            log_trap(&shared.parts.sandbox, &trap, &failed.error);
            HandlerError::Trapped(trap)
        }
        Exit::OutOfMemory => HandlerError::OutOfMemory,
        Exit::OutOfFuel => HandlerError::OutOfFuel,
        Exit::Returned { code } => HandlerError::InvalidResponse(format!("it exited with code {code}")),
        Exit::Stopped | Exit::Killed | Exit::OutOfDisk(_) | Exit::CouldNotStart(_) => HandlerError::Stopped,
    }
}

async fn call(instance: &mut Instance, request: Request<WasiBody>, head: HeadSender) -> wasmtime::Result<()> {
    match &instance.exports {
        Exports::Http2(proxy) => call_2(&mut instance.store, proxy, request, head).await,
        Exports::Http3(service) => call_3(&mut instance.store, service, request, head).await,
        Exports::Module(_) | Exports::Command2(_) | Exports::Command3(_) => {
            wasmtime::bail!("a program was started as a handler")
        }
    }
}

async fn call_2(
    store: &mut wasmtime::Store<Guest>,
    proxy: &p2::bindings::Proxy,
    request: Request<WasiBody>,
    head: HeadSender,
) -> wasmtime::Result<()> {
    let request = store.data_mut().http().new_incoming_request(Scheme::Http, request)?;
    let out = store.data_mut().http().new_response_outparam_from_callback(move |given| {
        // The caller may be gone.
        let _ = head.send(given.map_err(|code| HandlerError::Failed(format!("{code:?}"))));
    })?;
    proxy.wasi_http_incoming_handler().call_handle(store, request, out).await
}

async fn call_3(
    store: &mut wasmtime::Store<Guest>,
    service: &p3::bindings::Service,
    request: Request<WasiBody>,
    head: HeadSender,
) -> wasmtime::Result<()> {
    let (request, sent) = p3::Request::from_http(store.data_mut().http().hooks, request);
    let called = store.run_concurrent(async |accessor| -> wasmtime::Result<()> {
        match service.handle(accessor, request).await? {
            Ok(response) => {
                let (body_ends, body_ended) = oneshot::channel();
                let response = accessor.with(|access| response.into_http(access, sent))?;
                let response = response.map(|body| Signalling { body, _ends: body_ends }.boxed_unsync());
                // The caller may be gone; then the body is dropped, and that is its end.
                let _ = head.send(Ok(response));
                // The body comes out of this store's own streams, so the store must go on until its end.
                let _ = body_ended.await;
            }
            Err(code) => {
                let _ = head.send(Err(HandlerError::Failed(format!("{code:?}"))));
            }
        }
        // What the guest still does after its response.
        poll_fn(|cx| accessor.poll_no_interesting_tasks(cx)).await;
        Ok(())
    });
    called.await?
}

/// A body that tells when it has ended, or is not wanted any more: the other side of the channel sees it dropped.
struct Signalling {
    body: WasiBody,
    _ends: oneshot::Sender<()>,
}

impl Body for Signalling {
    type Data = Bytes;
    type Error = Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Error>>> {
        Pin::new(&mut self.body).poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// Headers of a response: as much as the listeners in front accept of a request. Clients and proxies take less.
const HEADERS_BYTES_MAX: usize = 64 << 10;

/// A response that HTTP allows a server to give, and that clients take.
pub(super) fn check<B>(response: &Response<B>) -> Result<(), HandlerError> {
    let headers = response.headers().iter();
    let bytes: usize = headers.map(|(name, value)| name.as_str().len() + value.len()).sum();
    if bytes > HEADERS_BYTES_MAX {
        let message = format!("its headers have {bytes} bytes, and {HEADERS_BYTES_MAX} at most are passed on");
        return Err(HandlerError::InvalidResponse(message));
    }
    if response.status().as_u16() < 200 || response.status().as_u16() > 599 {
        return Err(HandlerError::InvalidResponse(format!("its status is {}", response.status().as_u16())));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_response_has_a_final_status_and_headers_that_clients_take() {
        let response =
            |status: u16, bytes: usize| Response::builder().status(status).header("a", "x".repeat(bytes)).body(());
        assert_eq!(check(&response(200, 60_000).unwrap()), Ok(()));
        for (status, bytes, text) in [(101, 1, "status"), (999, 1, "status"), (200, 70_000, "70001 bytes")] {
            let Err(HandlerError::InvalidResponse(message)) = check(&response(status, bytes).unwrap()) else {
                panic!("{status} with {bytes} bytes was passed on");
            };
            assert!(message.contains(text), "{message}");
        }
    }
}
