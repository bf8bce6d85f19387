use std::collections::BTreeMap;
use std::fs;
use std::io::Read;
use std::path::Path;
use std::time::UNIX_EPOCH;

use flate2::read::GzDecoder;

use super::testing::entry;
use super::*;
use crate::model::{LoadBalancer, Tag};
use crate::proxy::testing::load_balancer;

fn logged(attributes: &[(&str, &str)]) -> LoadBalancer {
    let attributes: BTreeMap<_, _> =
        attributes.iter().map(|(key, value)| (String::from(*key), (*value).into())).collect();
    LoadBalancer { attributes, ..load_balancer("web") }
}

fn enabled(bucket: &str, prefix: &str) -> LoadBalancer {
    logged(&[("access_logs.s3.enabled", "true"), ("access_logs.s3.bucket", bucket), ("access_logs.s3.prefix", prefix)])
}

fn place(record: &LoadBalancer) -> Arc<LogPlace> {
    Arc::new(LogPlace::of(record, LogKind::Access).unwrap().unwrap())
}

/// All files below a directory, with what they hold, decompressed.
fn found(root: &Path) -> BTreeMap<String, String> {
    let mut found = BTreeMap::new();
    let mut directories = vec![root.to_path_buf()];
    while let Some(directory) = directories.pop() {
        for entry in fs::read_dir(directory).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                directories.push(path);
                continue;
            }
            let bytes = fs::read(&path).unwrap();
            let mut text = String::new();
            if path.extension().is_some_and(|extension| extension == "gz") {
                GzDecoder::new(bytes.as_slice()).read_to_string(&mut text).unwrap();
            } else {
                text = String::from_utf8_lossy(&bytes).into_owned();
            }
            found.insert(path.strip_prefix(root).unwrap().display().to_string(), text);
        }
    }
    found
}

#[test]
fn a_log_is_where_elb_puts_it() {
    let place = place(&enabled("logs", "/team/web/"));
    assert_eq!(
        place.file(UNIX_EPOCH + Duration::from_secs(1_530_570_180), "10.0.0.9", "20sg8hgm").display().to_string(),
        "logs/team/web/AWSLogs/123456789012/elasticloadbalancing/eu-west-1/2018/07/02/\
         123456789012_elasticloadbalancing_eu-west-1_app.web.0000000000000002_20180702T2223Z_10.0.0.9_20sg8hgm.log.gz"
    );
    assert_eq!(place.test_file().display().to_string(), "logs/team/web/AWSLogs/123456789012/ELBAccessLogTestFile");
    assert_eq!(place.interval, Duration::from_secs(300));
    assert_eq!(LogPlace::of(&logged(&[]), LogKind::Access), Ok(None));
    let mut tagged = enabled("logs", "");
    tagged.tags.push(Tag { key: "coracle.access-logs.interval-ms".into(), value: Some("100".into()) });
    assert_eq!(self::place(&tagged).interval, Duration::from_millis(100));
}

#[test]
fn no_attribute_leads_out_of_the_directory() {
    for bucket in ["", "..", "a/b", "../..", "Upper", "-ab", "a..b"] {
        assert!(LogPlace::of(&enabled(bucket, ""), LogKind::Access).is_err(), "{bucket}");
    }
    for prefix in ["..", "a/../b", "a//b", "AWSLogs", "a/AWSLogs/b", "a/.", "a b", "a\\b"] {
        assert!(LogPlace::of(&enabled("logs", prefix), LogKind::Access).is_err(), "{prefix}");
    }
}

#[test]
fn lines_are_read_back_as_they_were_written() {
    let root = tempfile::tempdir().unwrap();
    let sink = LogSink::start(root.path().to_owned()).unwrap();
    let place = place(&enabled("logs", "web"));
    sink.put(Message::Enabled(Arc::clone(&place)));
    for status in [200, 201] {
        let entry = Entry { place: Some(Arc::clone(&place)), status, ..entry() };
        sink.put(Message::Request(Box::new(entry)));
    }
    sink.close();
    assert_eq!(sink.lost(), 0);
    let files = found(root.path());
    assert_eq!(files.len(), 2, "{files:?}");
    assert!(files.contains_key("logs/web/AWSLogs/123456789012/ELBAccessLogTestFile"), "{files:?}");
    let (name, text) = files.iter().find(|(name, _)| name.ends_with(".log.gz")).unwrap();
    assert!(name.starts_with("logs/web/AWSLogs/123456789012/elasticloadbalancing/eu-west-1/"), "{name}");
    let wanted = [200, 201].map(|status| format!("{}\n", Line(&Entry { status, ..entry() })));
    assert_eq!(*text, wanted.concat());
}

#[test]
fn a_file_is_closed_when_it_is_large() {
    let root = tempfile::tempdir().unwrap();
    let mut files = Files::new(root.path().to_owned());
    let place = place(&enabled("logs", ""));
    let now = Instant::now();
    let line = "x".repeat(1 << 19);
    files.write(&place, &line, now).unwrap();
    assert!(files.close_due(now).is_empty() && found(root.path()).keys().all(|name| name.ends_with(".part")));
    files.write(&place, &line, now).unwrap();
    assert!(files.close_due(now).is_empty());
    assert_eq!(files.next_close(), None);
    let found = found(root.path());
    assert!(found.len() == 1 && found.keys().all(|name| name.ends_with(".log.gz")), "{:?}", found.keys());
    assert_eq!(found.values().next().unwrap().len(), (1 << 20) + 2);
}

#[test]
fn a_file_is_closed_when_its_time_has_come() {
    let root = tempfile::tempdir().unwrap();
    let mut files = Files::new(root.path().to_owned());
    let place = place(&enabled("logs", ""));
    let now = Instant::now();
    files.write(&place, "a", now).unwrap();
    assert_eq!(files.next_close(), Some(now + Duration::from_secs(300)));
    files.close_due(now + Duration::from_secs(299));
    assert!(files.next_close().is_some());
    files.close_due(now + Duration::from_secs(300));
    assert_eq!(files.next_close(), None);
    assert_eq!(found(root.path()).values().collect::<Vec<_>>(), ["a\n"]);
}

#[test]
fn what_the_queue_does_not_hold_is_counted() {
    let (sink, queue) = LogSink::queued(2);
    for _ in 0..5 {
        sink.put(Message::Request(Box::new(entry())));
    }
    assert_eq!(sink.lost(), 3);
    assert_eq!(queue.try_iter().count(), 2);
}

#[test]
fn what_the_disk_refuses_is_counted() {
    let root = tempfile::tempdir().unwrap();
    let file = root.path().join("a-file");
    fs::write(&file, "").unwrap();
    let sink = LogSink::start(file).unwrap();
    let entry = Entry { place: Some(place(&enabled("logs", ""))), ..entry() };
    sink.put(Message::Request(Box::new(entry)));
    sink.close();
    assert_eq!(sink.lost(), 1);
}
