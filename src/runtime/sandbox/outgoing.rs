//! HTTP requests that guests make.
//!
//! They are refused, as `wasi:http` says it: where a task may connect is the network table's to judge, on the address that
//! is really connected to, and the client that does so comes with the network of tasks. A guest sees the error code
//! `HTTP-request-denied`, and its log says so once.

use wasmtime_wasi_http::{Error, RequestOptions, Result, WasiBody, WasiHttpHooks};

/// What a guest may write to a body at once. The host holds two such chunks for each response whose client is slow; with
/// wasmtime's default of 1 MiB a thousand of them would hold 2 GiB that nobody counts.
const BODY_CHUNK_BYTES_MAX: usize = 64 << 10;

/// The hooks of one store.
#[derive(Debug, Default)]
pub struct Outgoing {
    was_refused: bool,
}

type Sent = (http::Response<WasiBody>, Box<dyn Future<Output = Result<(), Error>> + Send>);

impl WasiHttpHooks for Outgoing {
    fn send_request(
        &mut self,
        request: http::Request<WasiBody>,
        _: Option<RequestOptions>,
        _: Box<dyn Future<Output = Result<(), Error>> + Send>,
    ) -> Box<dyn Future<Output = Result<Sent>> + Send> {
        if !self.was_refused {
            self.was_refused = true;
            tracing::info!(to = ?request.uri().authority(), "refused a guest's HTTP request");
        }
        Box::new(std::future::ready(Err(Error::HttpRequestDenied)))
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
