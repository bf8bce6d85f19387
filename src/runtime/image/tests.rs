use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use super::*;
use crate::runtime::image::built_in::find;

fn sources(aliases: &[(&str, &Path)], image_dir: Option<&Path>) -> Sources {
    let aliases: BTreeMap<_, _> = aliases.iter().map(|(name, path)| (name.to_string(), path.to_path_buf())).collect();
    Sources::new(aliases, image_dir.map(Path::to_path_buf))
}

fn message(found: Result<Found, StartFailure>) -> String {
    found.unwrap_err().text()
}

#[test]
fn aliases_come_first_and_the_star_is_every_name_without_one() {
    let (mine, any) = (Path::new("/mine.wasm"), Path::new("/any.wasm"));
    let with_star = sources(&[("nginx", mine), ("*", any)], None);
    for (name, path) in [
        ("nginx:1.27", mine),
        ("public.ecr.aws/nginx/nginx", mine),
        ("mysql:8", any),
        ("amazon/amazon-ecs-sample", any),
    ] {
        assert!(matches!(with_star.find(name, false), Ok(Found::File(found)) if found == path), "{name}");
    }
    let without = sources(&[("nginx", mine)], None);
    assert!(matches!(without.find("amazon/amazon-ecs-sample:latest", false), Ok(Found::BuiltIn(_))));
}

#[test]
fn a_linux_image_says_what_to_do() {
    let text = message(sources(&[], None).find("docker.io/library/mysql:8", false));
    assert!(
        text.starts_with("CannotPullContainerError: image 'docker.io/library/mysql:8' names a Linux image"),
        "{text}"
    );
    assert!(text.contains("--image docker.io/library/mysql=FILE.wasm"), "{text}");
}

#[test]
fn only_the_image_directory_is_open_to_strangers() {
    let home = tempfile::tempdir().unwrap();
    let (open, secret) = (home.path().join("open"), home.path().join("secret.wasm"));
    fs::create_dir(&open).unwrap();
    fs::write(&secret, b"x").unwrap();
    fs::write(open.join("app.wasm"), b"x").unwrap();
    std::os::unix::fs::symlink(&secret, open.join("link.wasm")).unwrap();
    let sources = sources(&[], Some(&open));
    let url = |path: &Path| format!("file://{}", path.display());

    assert!(sources.find(&url(&open.join("app.wasm")), false).is_ok());
    for path in [secret.clone(), open.join("../secret.wasm"), open.join("link.wasm"), home.path().join("missing")] {
        assert!(message(sources.find(&url(&path), false)).contains("--image-dir"), "{}", path.display());
        assert!(sources.find(&url(&path), true).is_ok());
    }
    assert!(message(sources.find("file://relative.wasm", true)).contains("absolute"));
    assert!(message(super::tests::sources(&[], None).find(&url(&secret), false)).contains("none was given"));
}

#[tokio::test]
async fn a_changed_file_is_another_image() {
    let home = tempfile::tempdir().unwrap();
    let path = home.path().join("app.wasm");
    let sources = sources(&[], None);
    let found = Found::File(path.clone());
    assert_eq!(sources.known_digest(&found), None);
    assert!(sources.read(&found).await.unwrap_err().text().contains("cannot read"));

    fs::write(&path, b"one").unwrap();
    let (_, one) = sources.read(&found).await.unwrap();
    assert_eq!(sources.known_digest(&found), Some(one.clone()));

    // Replaced by renaming, as compilers do: another inode, whatever the clock says.
    fs::write(home.path().join("new"), b"two").unwrap();
    fs::rename(home.path().join("new"), &path).unwrap();
    assert_eq!(sources.known_digest(&found), None);
    assert_ne!(sources.read(&found).await.unwrap().1, one);
}

#[tokio::test]
async fn a_directory_is_no_image() {
    let home = tempfile::tempdir().unwrap();
    let found = Found::File(home.path().to_path_buf());
    assert!(sources(&[], None).read(&found).await.unwrap_err().text().contains("not a regular file"));
}

#[test]
fn what_is_loaded_is_bounded_and_failures_are_forgotten() {
    let mut loaded = Loaded::default();
    let first = loaded.cell("first");
    assert!(Arc::ptr_eq(&first, &loaded.cell("first")));
    for number in 0..LOADED_MAX {
        loaded.cell(&number.to_string());
    }
    assert_eq!(loaded.entries.len(), LOADED_MAX);
    assert!(!Arc::ptr_eq(&first, &loaded.cell("first")));
}

#[test]
fn built_in_images_have_digests_and_are_listed_after_aliases() {
    let summaries = sources(&[("mine", Path::new("/nowhere.wasm"))], None).summaries();
    assert_eq!((summaries[0].names[0].as_str(), summaries[0].digest.as_deref()), ("mine", None));
    let web = summaries.iter().find(|image| image.names.iter().any(|name| name == "nginx")).unwrap();
    assert_eq!(web.digest, Some(written_digest(find("nginx").unwrap().digest())));
}
