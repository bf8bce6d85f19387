use std::fs;
use std::path::Path;

use serde_json::json;

use super::*;
use crate::control::tests;

fn settings(directory: &Path) -> FileSettings {
    FileSettings { object_directory: Some(directory.to_owned()), ..FileSettings::default() }
}

fn variables(settings: &FileSettings, files: &[&str], overriding: &[&str]) -> Result<Vec<String>, String> {
    let list = |files: &[&str]| -> Value {
        files.iter().map(|file| json!({"type": "s3", "value": format!("arn:aws:s3:::{file}")})).collect()
    };
    let definition = tests::definition(json!({
        "containerDefinitions": [{"name": "web", "image": "i", "environmentFiles": list(files)}]
    }));
    let mut task = tests::task(1);
    if !overriding.is_empty() {
        let overrides = json!({"containerOverrides": [{"name": "web", "environmentFiles": list(overriding)}]});
        task.overrides = overrides.as_object().unwrap().clone();
    }
    assert!(are_asked_for(&task, &definition));
    let read = read(settings, &task, &definition).map_err(|failure| failure.text())?;
    Ok(read.of("web").map(|(name, value)| format!("{name}={value}")).collect())
}

#[test]
fn a_file_is_read_as_container_engines_read_it() {
    let text = "\u{feff}A=1\n# comment\n\n  B= spaces \"and quotes\" \r\nC=a=b\nD=\nHOME\n\tE=tab\nA=2\n";
    let parsed = parse(text).unwrap();
    let parsed: Vec<String> = parsed.iter().map(|(name, value)| format!("{name}={value}")).collect();
    assert_eq!(parsed, ["B= spaces \"and quotes\" ", "C=a=b", "D=", "E=tab", "A=2"]);
    assert_eq!(parse("A=1\nexport B=2").unwrap_err(), "line 2 is not VARIABLE=VALUE");
    assert!(parse("=x").is_err() && parse("A=\0").is_err());
}

#[test]
fn the_first_file_wins_and_the_tasks_own_replace_the_definitions() {
    let dir = tempfile::tempdir().unwrap();
    fs::create_dir_all(dir.path().join("conf/deep")).unwrap();
    fs::write(dir.path().join("conf/one.env"), "A=1\nB=1\n").unwrap();
    fs::write(dir.path().join("conf/deep/two.env"), "B=2\nC=2\n").unwrap();
    let settings = settings(dir.path());
    let both = ["conf/one.env", "conf/deep/two.env"];
    assert_eq!(variables(&settings, &both, &[]).unwrap(), ["A=1", "B=1", "C=2"]);
    assert_eq!(variables(&settings, &both, &["conf/deep/two.env"]).unwrap(), ["B=2", "C=2"]);
}

#[test]
fn nothing_outside_of_the_bucket_is_read() {
    let dir = tempfile::tempdir().unwrap();
    let objects = dir.path().join("objects");
    fs::create_dir_all(objects.join("conf")).unwrap();
    fs::create_dir_all(objects.join("other")).unwrap();
    fs::write(objects.join("other/x.env"), "A=1").unwrap();
    fs::write(dir.path().join("x.env"), "A=1").unwrap();
    std::os::unix::fs::symlink("../other/x.env", objects.join("conf/link.env")).unwrap();
    std::os::unix::fs::symlink(dir.path().join("x.env"), objects.join("conf/absolute.env")).unwrap();
    std::os::unix::fs::symlink("..", objects.join("outside")).unwrap();
    let settings = settings(&objects);
    for file in
        ["conf/link.env", "conf/absolute.env", "conf/../other/x.env", "outside/x.env", "../x.env", "conf//x.env"]
    {
        let text = variables(&settings, &[file], &[]).unwrap_err();
        assert!(text.starts_with("ResourceInitializationError: failed to download env files: "), "{text}");
    }
}

#[test]
fn what_cannot_be_read_says_what_to_do() {
    let dir = tempfile::tempdir().unwrap();
    fs::create_dir_all(dir.path().join("conf/dir.env")).unwrap();
    fs::write(dir.path().join("conf/large.env"), vec![b'a'; 2 << 20]).unwrap();
    fs::write(dir.path().join("conf/latin.env"), b"A=\xe9").unwrap();
    let said = |file: &str| variables(&settings(dir.path()), &[file], &[]).unwrap_err();
    assert!(said("conf/none.env").contains("StatusCode: 404, api error NotFound: Not Found."));
    assert!(said("conf/dir.env").contains("it is not a file"));
    assert!(said("conf/large.env").contains("has more than 1048576 bytes"));
    assert!(said("conf/latin.env").contains("is not UTF-8"));
    assert!(said("conf").contains("is not the ARN of an object"));
    let without = variables(&FileSettings::default(), &["conf/a.env"], &[]).unwrap_err();
    assert!(without.contains("name one as files.objectDirectory in the configuration file (--config)"), "{without}");
}
