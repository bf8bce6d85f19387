//! `coracle up`: from a file to a served page, and away again.

use std::fs;
use std::net::SocketAddr;
use std::path::Path;
use std::process::Stdio;
use std::sync::{Arc, Mutex};

use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, ChildStdout};

use super::definitions::guest_file;
use super::http::{Connection, get, once};
use super::load::Load;
use super::server::{coracle, send_signal};
use super::wait::{bounded, until};

/// The definition of the front page, as people write it.
const WEBSERVER: &str = r#"{
    "family": "webserver",
    "containerDefinitions": [
        {
            "name": "web",
            "image": "nginx",
            "memory": "100",
            "cpu": "99"
        }
    ],
    "requiresCompatibilities": [
        "FARGATE"
    ],
    "networkMode": "awsvpc",
    "memory": "512",
    "cpu": "256"
}
"#;

struct Up {
    child: Child,
    output: tokio::io::Lines<BufReader<ChildStdout>>,
    progress: Arc<Mutex<String>>,
    // Removed with it.
    _home: TempDir,
}

impl Up {
    fn start(arguments: &[&str]) -> Up {
        let home = TempDir::new().unwrap();
        let mut command = coracle();
        command.args(["up", "--listen", "127.0.0.1:0", "--data-dir"]).arg(home.path().join("data")).args(arguments);
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let output = BufReader::new(child.stdout.take().unwrap()).lines();
        let progress = Arc::new(Mutex::new(String::new()));
        let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
        let told = Arc::clone(&progress);
        tokio::spawn(async move {
            while let Ok(Some(line)) = lines.next_line().await {
                told.lock().unwrap().push_str(&format!("{line}\n"));
            }
        });
        Up { child, output, progress, _home: home }
    }

    fn told(&self) -> String {
        self.progress.lock().unwrap().clone()
    }

    /// The next line of standard output that has all of these.
    async fn line_with(&mut self, words: &[&str]) -> String {
        let search = async {
            loop {
                match self.output.next_line().await.unwrap() {
                    Some(line) if words.iter().all(|word| line.contains(word)) => break line,
                    Some(_) => {}
                    None => panic!("it ended before it printed {words:?}: {}", self.progress.lock().unwrap()),
                }
            }
        };
        bounded("a line of coracle up", search).await
    }

    /// Where it says that it serves.
    async fn serving(&mut self) -> SocketAddr {
        let line = self.line_with(&["serving on http://"]).await;
        let rest = line.strip_prefix("serving on http://").unwrap();
        rest.split('/').next().unwrap().parse().unwrap()
    }

    async fn interrupt(&self) {
        send_signal(self.child.id().unwrap(), "INT").await;
    }

    async fn ended(mut self) -> (i32, String) {
        // What it still prints must be read, or it would wait for us.
        while let Ok(Some(_)) = bounded("coracle up to end", self.output.next_line()).await {}
        let status = bounded("coracle up to end", self.child.wait()).await.unwrap();
        (status.code().unwrap_or(-1), self.told())
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_front_page_as_it_says() {
    let shipped =
        fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("guest-examples/webserver.json")).unwrap();
    assert_eq!(shipped.trim_end(), WEBSERVER.trim_end(), "the file is the issue's text");
    let folder = TempDir::new().unwrap();
    let file = folder.path().join("webserver.json");
    fs::write(&file, WEBSERVER).unwrap();

    let mut up = Up::start(&[file.to_str().unwrap()]);
    let line = up.line_with(&["serving on http://127.0.0.1:"]).await;
    assert!(line.ends_with("/ (webserver)"), "{line}");
    let address: SocketAddr = line["serving on http://".len()..].split('/').next().unwrap().parse().unwrap();
    assert!(up.told().contains("no portMappings"), "{}", up.told());

    // Two replicas, in strict rotation, over one connection.
    let mut connection = Connection::open(address).await;
    let mut pages = Vec::new();
    for _ in 0..6 {
        pages.push(connection.get("localhost", "/").await.text());
    }
    assert!(pages[0].contains("<td>webserver:1") && pages[0].contains("<td>127."), "{}", pages[0]);
    assert_ne!(pages[0], pages[1]);
    assert!(pages.windows(3).all(|three| three[0] == three[2]));

    // The tasks' logs follow, each line with its task and container.
    let line = up.line_with(&["web | ", "GET /"]).await;
    let task = line.split(' ').next().unwrap();
    assert!(task.len() >= 8 && pages.iter().any(|page| page.contains(task)), "{line}");

    up.interrupt().await;
    let (code, told) = up.ended().await;
    assert_eq!(code, 0, "{told}");
    assert!(told.contains("stopping"), "{told}");
}

/// A request that is under way when Ctrl-C comes is answered.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_interrupt_drains() {
    let hello = guest_file("hello");
    let alias = format!("nginx={}", hello.display());
    let folder = TempDir::new().unwrap();
    let file = folder.path().join("webserver.json");
    fs::write(&file, WEBSERVER).unwrap();
    let mut up = Up::start(&["--count", "1", "--image", &alias, file.to_str().unwrap()]);
    let address = up.serving().await;
    let mut slow = Connection::open(address).await;
    let begun = slow.begin(get("localhost", "/drip/10")).await;
    up.interrupt().await;
    let answer = begun.whole().await;
    assert!(answer.status.is_success(), "{}", answer.status);
    assert_eq!(answer.text().lines().count(), 10);
    assert_eq!(up.ended().await.0, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_changed_component_is_rolled_out_under_load() {
    let folder = TempDir::new().unwrap();
    let (component, file) = (folder.path().join("app.wasm"), folder.path().join("app.json"));
    fs::copy(guest_file("hello"), &component).unwrap();
    fs::write(&file, WEBSERVER.replace("\"nginx\"", "\"my/app\"")).unwrap();
    let alias = format!("my/app={}", component.display());
    let mut up = Up::start(&["--watch", "--image", &alias, file.to_str().unwrap()]);
    let address = up.serving().await;
    let page = async || once(address, get("localhost", "/")).await.text();
    assert!(page().await.contains("Hello from"));
    let load = Load::start(address, "localhost", "/", 4);
    load.more(20).await;

    // As a build does it: written beside, and renamed.
    let beside = folder.path().join("app.wasm.new");
    fs::copy(guest_file("web"), &beside).unwrap();
    fs::rename(&beside, &component).unwrap();
    until("the new version to answer", async || {
        let seen = [page().await, page().await, page().await, page().await];
        seen.iter().all(|page| page.contains("<!doctype html>")).then_some(())
    })
    .await;
    // A broken one is not rolled out, and what runs goes on.
    fs::write(&beside, "no component at all").unwrap();
    fs::rename(&beside, &component).unwrap();
    until("the broken version to be refused", async || up.told().contains("not rolled out").then_some(())).await;
    // A changed definition is.
    fs::write(&file, WEBSERVER.replace("\"nginx\"", "\"nginx:latest\"")).unwrap();
    until("the new revision to answer", async || {
        let seen = [page().await, page().await, page().await, page().await];
        seen.iter().all(|page| page.contains("<td>webserver:2")).then_some(())
    })
    .await;
    load.more(20).await;
    let failures = load.stop().await;
    assert!(failures.is_empty(), "{failures:?}");
    up.interrupt().await;
    assert_eq!(up.ended().await.0, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_cannot_run_is_said_and_ends() {
    let folder = TempDir::new().unwrap();
    let file = folder.path().join("linux.json");
    fs::write(&file, WEBSERVER.replace("\"nginx\"", "\"postgres:16\"")).unwrap();
    let up = Up::start(&[file.to_str().unwrap()]);
    let (code, told) = up.ended().await;
    assert_eq!(code, 1, "{told}");
    assert!(told.contains("CannotPullContainerError") && told.contains("postgres"), "{told}");
}

/// A task that takes its time to stop is not waited for when asked twice.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_second_interrupt_ends_at_once() {
    let folder = TempDir::new().unwrap();
    let file = folder.path().join("slow.json");
    let mut definition = super::definitions::program("slow", "batch", &["print", "begun", "sleep", "600000"]);
    definition["containerDefinitions"][0]["stopTimeout"] = serde_json::json!(120);
    fs::write(&file, definition.to_string()).unwrap();
    let mut up = Up::start(&["--count", "1", file.to_str().unwrap()]);
    up.line_with(&["slow | begun"]).await;
    up.interrupt().await;
    until("it to begin to stop", async || up.told().contains("stopping").then_some(())).await;
    let begun = std::time::Instant::now();
    up.interrupt().await;
    let (code, told) = up.ended().await;
    assert_eq!(code, 0, "{told}");
    // A fourth of the time that the task might take.
    assert!(begun.elapsed().as_secs() < 30, "{told}");
}
