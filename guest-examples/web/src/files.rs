//! Serves the files of a mounted volume.

use std::fs::{self, File, Metadata};
use std::io::{Read, Seek, SeekFrom, Write};
use std::time::UNIX_EPOCH;

use guest::answer::{self, Head};
use wasip2::filesystem::preopens;
use wasip2::http::types::ResponseOutparam;

use crate::path::WebPath;
use crate::range::{self, Ranged};
use crate::{Asked, html, page, time};

/// Where images of web servers expect their files; looked at before any other volume.
const WELL_KNOWN_ROOTS: [&str; 2] = ["/usr/share/nginx/html", "/data"];

/// A task's own scratch space: it is no volume, so nobody put pages there.
const SCRATCH: [&str; 2] = ["/", "/tmp"];

/// Read at once from a file: as much as a host takes in one write without waiting.
const CHUNK_BYTES: usize = 64 * 1024;

/// The directory to serve from, if one is mounted.
pub fn root() -> Option<String> {
    let mounted: Vec<String> = preopens::get_directories().into_iter().map(|(_, path)| path).collect();
    if mounted.is_empty() {
        return None;
    }
    let well_known = WELL_KNOWN_ROOTS.into_iter().find(|path| fs::metadata(path).is_ok_and(|found| found.is_dir()));
    let any = || mounted.into_iter().find(|path| !SCRATCH.contains(&path.as_str()));
    well_known.map(str::to_owned).or_else(any)
}

/// Answers with a file; gives the status and the number of bytes of the body.
pub fn serve(root: &str, path: &WebPath, request: &Asked, out: ResponseOutparam) -> (u16, u64) {
    let mut name = format!("{root}/{}", path.file());
    let Ok(mut metadata) = fs::metadata(&name) else { return refuse(request, out, 404) };
    if metadata.is_dir() {
        if !path.is_directory() {
            let location = path.as_directory();
            return html(request, out, 301, &[("location", &location)], &page::error(301));
        }
        name = format!("{}/index.html", name.trim_end_matches('/'));
        match fs::metadata(&name) {
            Ok(index) => metadata = index,
            Err(_) => return refuse(request, out, 404),
        }
    } else if path.is_directory() {
        return refuse(request, out, 404);
    }
    match File::open(&name) {
        Ok(file) if metadata.is_file() => send(file, &Facts::new(&name, &metadata), request, out),
        _ => refuse(request, out, 404),
    }
}

fn refuse(request: &Asked, out: ResponseOutparam, status: u16) -> (u16, u64) {
    html(request, out, status, &[], &page::error(status))
}

/// What an answer says of a file.
struct Facts {
    length: u64,
    content_type: &'static str,
    modified: String,
    etag: String,
}

impl Facts {
    fn new(name: &str, metadata: &Metadata) -> Facts {
        let modified = metadata.modified().ok().and_then(|time| time.duration_since(UNIX_EPOCH).ok());
        let seconds = modified.map_or(0, |since| since.as_secs());
        let nanos = modified.map_or(0, |since| since.subsec_nanos());
        Facts {
            length: metadata.len(),
            content_type: content_type(name),
            modified: time::http_date(seconds),
            etag: format!("\"{seconds:x}.{nanos:x}-{:x}\"", metadata.len()),
        }
    }

    /// Whether what the client has is still this file. An ETag decides where one is given (RFC 9110, section 13.2.2).
    fn is_known_to(&self, request: &Asked) -> bool {
        match request.header("if-none-match") {
            Some(tags) => tags == "*" || tags.split(',').any(|tag| tag.trim().trim_start_matches("W/") == self.etag),
            None => request.header("if-modified-since") == Some(&self.modified),
        }
    }

    /// A range counts only while the file is the one that the client has a part of.
    fn ranged(&self, request: &Asked) -> Ranged {
        match request.header("if-range") {
            Some(known) if known != self.etag && known != self.modified => Ranged::Whole,
            _ => range::parse(request.header("range"), self.length),
        }
    }
}

fn send(mut file: File, facts: &Facts, request: &Asked, out: ResponseOutparam) -> (u16, u64) {
    let mut headers = vec![("etag", facts.etag.as_str()), ("last-modified", facts.modified.as_str())];
    if facts.is_known_to(request) {
        answer::bodiless(out, &Head { status: 304, headers: &headers });
        return (304, 0);
    }
    let (status, first, length) = match facts.ranged(request) {
        Ranged::Whole => (200, 0, facts.length),
        Ranged::Part(first, last) => (206, first, last - first + 1),
        Ranged::Outside => {
            let all = format!("bytes */{}", facts.length);
            return html(request, out, 416, &[("content-range", &all)], &page::error(416));
        }
    };
    if file.seek(SeekFrom::Start(first)).is_err() {
        return refuse(request, out, 500);
    }
    let part = format!("bytes {first}-{}/{}", (first + length).saturating_sub(1), facts.length);
    if status == 206 {
        headers.push(("content-range", &part));
    }
    let length_text = length.to_string();
    headers.push(("accept-ranges", "bytes"));
    headers.push(("content-type", facts.content_type));
    headers.push(("content-length", &length_text));
    let head = Head { status, headers: &headers };
    if request.is_head() {
        answer::bodiless(out, &head);
        return (status, 0);
    }
    let mut sent = 0;
    answer::streamed(out, &head, |stream| sent = copy(file.take(length), stream));
    (status, sent)
}

/// Copies until the file ends or the client is gone; gives the number of bytes.
fn copy(mut file: impl Read, stream: &mut impl Write) -> u64 {
    let mut chunk = vec![0; CHUNK_BYTES];
    let mut sent = 0;
    loop {
        match file.read(&mut chunk) {
            Ok(0) | Err(_) => return sent,
            Ok(count) if stream.write_all(&chunk[..count]).is_err() => return sent,
            Ok(count) => sent += count as u64,
        }
    }
}

fn content_type(name: &str) -> &'static str {
    let extension =
        name.rsplit('/').next().and_then(|file| file.rsplit_once('.')).map_or("", |(_, extension)| extension);
    match extension.to_ascii_lowercase().as_str() {
        "html" | "htm" => crate::HTML,
        "css" => "text/css; charset=utf-8",
        "js" | "mjs" => "text/javascript; charset=utf-8",
        "json" | "map" => "application/json",
        "txt" => "text/plain; charset=utf-8",
        "md" => "text/markdown; charset=utf-8",
        "csv" => "text/csv; charset=utf-8",
        "xml" => "application/xml",
        "svg" => "image/svg+xml",
        "png" => "image/png",
        "jpg" | "jpeg" => "image/jpeg",
        "gif" => "image/gif",
        "webp" => "image/webp",
        "avif" => "image/avif",
        "ico" => "image/x-icon",
        "woff" => "font/woff",
        "woff2" => "font/woff2",
        "ttf" => "font/ttf",
        "otf" => "font/otf",
        "wasm" => "application/wasm",
        "pdf" => "application/pdf",
        "zip" => "application/zip",
        "gz" | "tgz" => "application/gzip",
        "mp3" => "audio/mpeg",
        "mp4" => "video/mp4",
        "webm" => "video/webm",
        "webmanifest" => "application/manifest+json",
        _ => "application/octet-stream",
    }
}
