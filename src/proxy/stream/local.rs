//! A handler behind a network load balancer: it has no socket, so the connection is served here, as HTTP.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;

use http::header::{HOST, HeaderValue};
use http::{Request, Response, Uri, Version};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto::Builder;

use crate::proxy::answer::ForwardError;
use crate::proxy::headers;
use crate::proxy::stream::{Carried, IDLE_TIMEOUT, Socket};
use crate::proxy::target::{Body, BoxError, InFlight, LocalTarget, TargetStanding};

/// As the front takes it of clients.
const HEAD_BYTES_MAX: usize = 64 * 1024;

/// Serves requests, of HTTP/1.1 or HTTP/2, until the client ends, the listener goes, or the target drains.
pub async fn serve<S: Socket + 'static>(
    carried: Carried<S>,
    handler: Arc<dyn LocalTarget>,
    in_flight: InFlight,
    state: &TargetStanding,
) {
    let Carried { stream, peer, local: _, closing } = carried;
    let service = service_fn(move |request: Request<Incoming>| {
        let handler = Arc::clone(&handler);
        async move { Ok::<_, Infallible>(answer(&*handler, request, peer).await) }
    });
    let mut builder = Builder::new(TokioExecutor::new());
    builder.http1().timer(TokioTimer::new()).header_read_timeout(IDLE_TIMEOUT).max_buf_size(HEAD_BYTES_MAX);
    builder.http2().timer(TokioTimer::new());
    let mut connection = pin!(builder.serve_connection(TokioIo::new(stream), service));
    let drains = async {
        loop {
            let told = state.told.notified();
            if state.is_draining() {
                return;
            }
            told.await;
        }
    };
    let ended = tokio::select! {
        ended = connection.as_mut() => ended,
        () = async { tokio::select! { () = closing.cancelled() => {}, () = drains => {} } } => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    drop(in_flight);
    if let Err(error) = ended {
        tracing::debug!(error, %peer, "a connection to a handler ended");
    }
}

async fn answer(handler: &dyn LocalTarget, request: Request<Incoming>, peer: SocketAddr) -> Response<Body> {
    let host = match headers::host(&request) {
        Ok(host) => HeaderValue::from_str(host),
        Err(error) => return error.answer(),
    };
    let (mut parts, body) = request.into_parts();
    if let Ok(host) = host {
        parts.headers.insert(HOST, host);
    }
    if let Some(path) = parts.uri.path_and_query() {
        parts.uri = Uri::from(path.clone());
    }
    parts.version = Version::HTTP_11;
    parts.extensions.clear();
    headers::remove_hop_by_hop(&mut parts.headers);
    let body = body.map_err(BoxError::from).boxed_unsync();
    match handler.call(Request::from_parts(parts, body)).await {
        Ok(mut response) => {
            headers::remove_hop_by_hop(response.headers_mut());
            response
        }
        Err(error) => {
            tracing::debug!(%peer, %error, "answered in a handler's stead");
            ForwardError::Target(error).answer()
        }
    }
}
