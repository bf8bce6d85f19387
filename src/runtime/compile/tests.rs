use super::*;
use crate::runtime::compile::artifact::hex_digest;
use crate::runtime::image::built_in::find;

fn compiler(home: &tempfile::TempDir) -> Compiler {
    Compiler::new(home.path(), CompileIn::Process).unwrap()
}

fn image(name: &str) -> Bytes {
    Bytes::from_static(find(name).unwrap().bytes)
}

#[tokio::test]
async fn a_second_start_compiles_nothing() {
    let home = tempfile::tempdir().unwrap();
    let batch = image("coracle/batch");
    let digest = hex_digest(&batch);
    let make = |compiler: Compiler, bytes: Bytes| {
        let digest = digest.clone();
        async move { compiler.artifact(&digest, bytes, Form::Component, Concurrency::Off).await.unwrap() }
    };
    let made = make(compiler(&home), batch).await;
    // Bytes that cannot be compiled: it must not even look at them.
    assert_eq!(make(compiler(&home), Bytes::from_static(b"nothing")).await, made);
}

#[tokio::test]
async fn what_cannot_be_compiled_says_why_and_leaves_nothing() {
    let home = tempfile::tempdir().unwrap();
    let compiler = compiler(&home);
    let broken = Bytes::from_static(b"\0asm\x0d\0\x01\0\xff");
    let error = compiler.artifact("0", broken, Form::Component, Concurrency::Off).await.unwrap_err();
    assert!(matches!(error, CompileError::Image(_)), "{error}");
    assert_eq!(std::fs::read_dir(home.path().join("compiled")).unwrap().count(), 0);
}

#[tokio::test]
async fn a_child_that_dies_is_an_error_of_the_image_and_one_that_complains_is_heard() {
    let shell = |script: &str| {
        let mut command = Command::new("/bin/sh");
        command.arg("-c").arg(script);
        command
    };
    let run = |script| run_child(shell(script), Bytes::from_static(b"image"));
    assert!(run("exec cat >/dev/null").await.is_ok());
    assert!(matches!(run("kill -9 $$").await, Err(CompileError::Died)));
    match run("echo 'it is bad' >&2; exit 3").await {
        Err(CompileError::Image(message)) => assert_eq!(message, "it is bad"),
        other => panic!("{other:?}"),
    }
    let missing = run_child(Command::new("/nowhere/coracle"), Bytes::new()).await;
    assert!(matches!(missing, Err(CompileError::Host(_))));
}

#[test]
fn the_child_reads_what_the_parent_writes() {
    let limits = child::Limits { memory_bytes: 1, cpu_seconds: 2, file_bytes: 3 };
    let arguments = child::arguments(Form::Module, Concurrency::On, std::path::Path::new("/x y"), &limits);
    assert_eq!(arguments[0], "module");
    assert_eq!(child::child_main([std::ffi::OsString::from("nonsense")]), child::EXIT_HOST);
}
