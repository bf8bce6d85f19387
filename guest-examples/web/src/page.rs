//! The pages that this server writes itself.

use guest::task::Task;

/// Both pages' frame. It follows the reader's light or dark setting, and fetches nothing.
const STYLE: &str = "\
:root{color-scheme:light dark}\
body{font:1rem/1.5 system-ui,sans-serif;max-width:44rem;margin:12vh auto;padding:0 1.5rem}\
h1{font-weight:600;margin-bottom:.25rem}\
p{margin:.25rem 0 2rem;opacity:.75}\
table{border-collapse:collapse;width:100%}\
th,td{text-align:left;padding:.5rem .75rem .5rem 0;border-bottom:1px solid #8884;vertical-align:top}\
th{font-weight:500;opacity:.75;white-space:nowrap}\
td{font-family:ui-monospace,monospace;overflow-wrap:anywhere}";

/// What is shown where no volume is mounted: which task this is, so that a reload shows the rotation.
pub fn welcome() -> String {
    let task = Task::from_environment();
    let rows = [
        ("Task", task.id()),
        ("Task definition", &task.definition),
        ("Container", &task.container),
        ("Cluster", &task.cluster),
        ("Address", &task.address),
        ("Region", &task.region),
    ];
    let rows: String = rows.iter().map(|(name, value)| format!("<tr><th>{name}<td>{}\n", escape(value))).collect();
    frame(
        "The web server is running",
        &format!(
            "<h1>The web server is running</h1>\n\
             <p>Your ECS task definition runs as WebAssembly on Coracle. Reload to meet its other tasks; \
             mount a volume at /usr/share/nginx/html to serve your own files.</p>\n\
             <table>\n{rows}</table>\n"
        ),
    )
}

/// The body of an answer that is no file.
pub fn error(status: u16) -> String {
    let meaning = match status {
        301 => "This directory is one slash further",
        400 => "This path cannot be read",
        404 => "There is nothing here",
        405 => "Only GET and HEAD are answered",
        416 => "The file does not reach that far",
        _ => "This went wrong",
    };
    frame(meaning, &format!("<h1>{status}</h1>\n<p>{meaning}.</p>\n"))
}

fn frame(title: &str, body: &str) -> String {
    format!(
        "<!doctype html>\n<html lang=\"en\">\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width\">\n\
         <title>{title}</title>\n<style>{STYLE}</style>\n{body}</html>\n"
    )
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}
