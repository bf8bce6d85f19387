//! A static file server as a handler of wasi:http 0.2: the image behind the names `nginx` and `amazon/amazon-ecs-sample`.
//!
//! Where a volume is mounted it serves the volume's files; without one, a page that says which task answers. It says one
//! line for each request on standard output, which is where ECS expects a container's log.

mod files;
mod page;
mod path;
mod range;
mod time;

use guest::answer::{self, Head};
use wasip2::http::types::{IncomingRequest, ResponseOutparam};

use path::WebPath;

wasip2::http::proxy::export!(Web);

const HTML: &str = "text/html; charset=utf-8";

struct Web;

impl wasip2::exports::http::incoming_handler::Guest for Web {
    fn handle(request: IncomingRequest, out: ResponseOutparam) {
        let request = Asked::new(&request);
        let (status, bytes) = serve(&request, out);
        println!("{}", request.access_line(status, bytes));
    }
}

/// What of a request matters here.
pub struct Asked {
    method: String,
    target: String,
    headers: Vec<(String, Vec<u8>)>,
}

impl Asked {
    fn new(request: &IncomingRequest) -> Asked {
        Asked {
            method: answer::method_name(&request.method()).to_owned(),
            target: request.path_with_query().unwrap_or_else(|| "/".to_owned()),
            headers: request.headers().entries(),
        }
    }

    /// The first header of that name (hosts give names in lower case), if it is text.
    pub fn header(&self, name: &str) -> Option<&str> {
        let (_, value) = self.headers.iter().find(|(known, _)| known.eq_ignore_ascii_case(name))?;
        std::str::from_utf8(value).ok().map(str::trim)
    }

    pub fn is_head(&self) -> bool {
        self.method == "HEAD"
    }

    /// Who (as the load balancer tells), what, the status, the body's length, with what.
    fn access_line(&self, status: u16, bytes: u64) -> String {
        let client = self.header("x-forwarded-for").and_then(|chain| chain.split(',').next()).unwrap_or("-");
        let agent = self.header("user-agent").unwrap_or("-");
        // What a client sends must not be able to forge a line, hence the escapes.
        format!(
            "{} \"{} {}\" {status} {bytes} \"{}\"",
            client.trim().escape_debug(),
            self.method.escape_debug(),
            self.target.escape_debug(),
            agent.escape_debug(),
        )
    }
}

/// Answers; gives the status and the number of bytes of the body, for the log.
fn serve(request: &Asked, out: ResponseOutparam) -> (u16, u64) {
    if !matches!(request.method.as_str(), "GET" | "HEAD") {
        return html(request, out, 405, &[("allow", "GET, HEAD")], &page::error(405));
    }
    let Some(path) = WebPath::parse(&request.target) else {
        return html(request, out, 400, &[], &page::error(400));
    };
    match files::root() {
        Some(root) => files::serve(&root, &path, request, out),
        None if matches!(path.file(), "" | "index.html") => {
            // The next request may be another task's: nobody may keep this page.
            html(request, out, 200, &[("cache-control", "no-store")], &page::welcome())
        }
        None => html(request, out, 404, &[], &page::error(404)),
    }
}

/// Answers with a page of our own; with its head alone where that is asked for.
pub fn html(request: &Asked, out: ResponseOutparam, status: u16, headers: &[(&str, &str)], body: &str) -> (u16, u64) {
    let mut headers = headers.to_vec();
    headers.push(("content-type", HTML));
    if request.is_head() {
        let length = body.len().to_string();
        headers.push(("content-length", &length));
        answer::bodiless(out, &Head { status, headers: &headers });
        return (status, 0);
    }
    answer::whole(out, &Head { status, headers: &headers }, body.as_bytes());
    (status, body.len() as u64)
}
