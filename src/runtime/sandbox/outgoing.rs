//! HTTP requests that guests make, as `wasi:http` 0.2 and 0.3 hand them to their host.
//!
//! 169.254.170.2 is answered in this process; everything else goes through the gateway. What the task may not reach is
//! refused as `wasi:http` says it, `HTTP-request-denied`, and the server's log says so once for each task.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use http_body_util::BodyExt;
use tokio_util::task::AbortOnDropHandle;
use wasmtime_wasi_http::{Error, RequestOptions, Result, WasiBody, WasiHttpHooks};

use crate::runtime::endpoint::is_task_endpoint;
use crate::runtime::outgoing::endpoint::answer;
use crate::runtime::outgoing::http as client;
use crate::runtime::sockets::Outlet;

/// What a guest may write to a body at once. The host holds two such chunks for each response whose client is slow; with
/// wasmtime's default of 1 MiB a thousand of them would hold 2 GiB that nobody counts.
pub const BODY_CHUNK_BYTES_MAX: usize = 64 << 10;

/// The hooks of one store.
#[derive(Debug)]
pub struct Outgoing {
    outlet: Outlet,
}

impl Outgoing {
    pub fn new(outlet: Outlet) -> Outgoing {
        Outgoing { outlet }
    }
}

type Io = Box<dyn Future<Output = Result<(), Error>> + Send>;
type Sent = (http::Response<WasiBody>, Io);
type Sending = Box<dyn Future<Output = Result<Sent>> + Send>;

impl WasiHttpHooks for Outgoing {
    fn send_request(&mut self, request: http::Request<WasiBody>, options: Option<RequestOptions>, _: Io) -> Sending {
        if goes_to_task_endpoint(request.uri()) {
            return Box::new(ask_task_endpoint(self.outlet.clone(), request, options));
        }
        Box::new(send(self.outlet.clone(), request, options))
    }

    fn p2_outgoing_body_chunk_size(&mut self) -> usize {
        BODY_CHUNK_BYTES_MAX
    }

    fn p3_outgoing_body_chunk_size(&mut self) -> usize {
        BODY_CHUNK_BYTES_MAX
    }

    /// A guest's mistake is the guest's to see, and not a warning of the server's.
    fn p2_error_from_hyper(&mut self, _: &hyper::Error) -> wasmtime_wasi_http::p2::bindings::http::types::ErrorCode {
        wasmtime_wasi_http::p2::bindings::http::types::ErrorCode::HttpProtocolError
    }

    fn p3_error_from_hyper(&mut self, _: &hyper::Error) -> wasmtime_wasi_http::p3::bindings::http::types::ErrorCode {
        wasmtime_wasi_http::p3::bindings::http::types::ErrorCode::HttpProtocolError
    }
}

fn goes_to_task_endpoint(uri: &http::Uri) -> bool {
    let host = uri.host().unwrap_or_default().trim_start_matches('[').trim_end_matches(']');
    let is_plain = uri.scheme() == Some(&http::uri::Scheme::HTTP);
    is_plain
        && host.parse::<IpAddr>().is_ok_and(|ip| is_task_endpoint(SocketAddr::new(ip, uri.port_u16().unwrap_or(80))))
}

/// On the guest threads, until nobody waits for it any more.
async fn send(outlet: Outlet, request: http::Request<WasiBody>, options: Option<RequestOptions>) -> Result<Sent> {
    let Some(gateway) = outlet.gateway().cloned() else { return Err(Error::HttpRequestDenied) };
    let sending = AbortOnDropHandle::new(gateway.guests().spawn(client::send(outlet, request, options)));
    let answered = sending.await.map_err(|_| Error::InternalError(Some(String::from("the request failed"))))?;
    // The body keeps the connection going, and tells of its errors.
    answered.map(|response| (response, Box::new(std::future::ready(Ok(()))) as Io))
}

/// On the guest threads: whoever waits for the answer is the guest, not the thread that polls it.
async fn ask_task_endpoint(
    outlet: Outlet,
    request: http::Request<WasiBody>,
    options: Option<RequestOptions>,
) -> Result<Sent> {
    let Some((gateway, caller)) = outlet.endpoint() else { return Err(Error::HttpRequestDenied) };
    let permit = Arc::clone(&caller.calls).try_acquire_owned().map_err(|_| Error::ConnectionLimitReached)?;
    let asked = AbortOnDropHandle::new(gateway.guests().spawn(answer(
        Arc::clone(gateway.task_endpoint()),
        caller.task,
        request,
    )));
    let answered = match options.and_then(|options| options.first_byte_timeout) {
        Some(limit) => tokio::time::timeout(limit, asked).await.map_err(|_| Error::ConnectionReadTimeout)?,
        None => asked.await,
    };
    let answered = answered.map_err(|_| Error::InternalError(Some(String::from("the task endpoint failed"))))?;
    let response = answered.map(|body| {
        body.map_err(move |error| {
            let _until_the_body_ends = &permit;
            Error::InternalError(Some(error.to_string()))
        })
        .boxed_unsync()
    });
    Ok((response, Box::new(std::future::ready(Ok(())))))
}
