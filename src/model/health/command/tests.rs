//! Commands as people write them.

use proptest::prelude::*;

use super::*;

fn shell(text: &str) -> Probe {
    parse(&["CMD-SHELL", text]).unwrap_or_else(|why| panic!("{text}: {why}")).unwrap()
}

fn http(text: &str) -> HttpProbe {
    match shell(text).first {
        Step::Http(http) => http,
        other => panic!("{text}: {other:?}"),
    }
}

#[test]
fn curl_and_wget_of_localhost_are_understood() {
    for (text, method, port, path, fails) in [
        ("curl -f http://localhost/ || exit 1", "GET", 80, "/", true),
        ("curl -fsS -o /dev/null http://127.0.0.1:8080/health", "GET", 8080, "/health", true),
        ("curl --fail --silent --max-time 3 \"http://[::1]:9000/a?b=c\" > /dev/null 2>&1", "GET", 9000, "/a?b=c", true),
        ("/usr/bin/curl -s localhost:81", "GET", 81, "/", false),
        ("curl -sf -I http://localhost:80/x#y", "HEAD", 80, "/x", true),
        ("curl -XPOST -d x http://0.0.0.0:3000/", "POST", 3000, "/", false),
        ("wget -q --spider http://localhost:80/health || exit 1", "HEAD", 80, "/health", true),
        ("wget -qO- http://localhost/", "GET", 80, "/", true),
        ("wget --no-verbose --tries=1 --timeout=2 -O /dev/null http://LOCALHOST:1/", "GET", 1, "/", true),
        ("wget -nv -T 5 -t 1 http://localhost:2?q", "GET", 2, "/?q", true),
    ] {
        let probe = http(text);
        assert_eq!((probe.method.as_str(), probe.port, probe.path.as_str()), (method, port, path), "{text}");
        assert_eq!(probe.fails_on_errors, fails, "{text}");
    }
    assert_eq!(http("curl -m 1.5 http://localhost/").timeout, Some(Duration::from_millis(1500)));
    assert_eq!(http("curl -H 'Host: shop' http://localhost/").headers, [(String::from("Host"), String::from("shop"))]);
    assert_eq!((http("curl http://localhost/").follows, http("curl -L http://localhost/").follows), (0, FOLLOWS_MAX));
}

#[test]
fn every_form_of_a_command_is_read() {
    let steps = |command: &[&str]| {
        let probe = parse(command).unwrap().unwrap();
        (probe.first, probe.rest)
    };
    let (first, rest) = steps(&["CMD", "curl", "-f", "http://localhost/"]);
    assert!(matches!(first, Step::Http(_)) && rest.is_empty());
    let exit = (Connector::IfFailed, Step::Exit { passes: false });
    for command in [
        &["CMD-SHELL", "curl -f http://localhost/ || exit 1"][..],
        &["curl -f http://localhost/ || exit 1"],
        &["CMD-SHELL", "curl -f", "http://localhost/", "|| exit 1"],
        &["CMD", "curl", "-f", "http://localhost/", "||", "exit", "1"],
        &["CMD", "sh", "-c", "curl -f http://localhost/ || exit 1"],
    ] {
        assert_eq!(steps(command).1, std::slice::from_ref(&exit), "{command:?}");
    }
    assert_eq!(steps(&["CMD", "wasm:check"]).0, Step::Export(String::from("check")));
    assert_eq!(steps(&["CMD-SHELL", "exit 0"]).0, Step::Exit { passes: true });
    assert_eq!(steps(&["CMD", "true"]).0, Step::Known { passes: true });
    assert_eq!(steps(&["CMD-SHELL", "nc -zv localhost 6379"]).0, Step::Connect { port: 6379 });
    assert_eq!(parse(&["NONE"]), Ok(None));
}

#[test]
fn what_cannot_be_made_says_why() {
    for (text, why) in [
        ("curl -f http://example.com/", "only ask localhost"),
        ("curl -f https://localhost/", "over https"),
        ("curl -f http://localhost:$PORT/", "needs a shell"),
        ("curl -s http://localhost/ | grep ok", "pipe"),
        ("curl --cert a http://localhost/", "flag `cert`"),
        ("curl -f", "no URL"),
        ("curl http://localhost http://localhost", "more than one URL"),
        ("curl http://localhost:0/", "no valid port"),
        ("pg_isready -U app", "`pg_isready` cannot be run"),
        ("wasm:", "names no function"),
        ("nc localhost 80", "nc -z"),
        ("exit soon", "no exit code"),
    ] {
        let failure = parse(&["CMD-SHELL", text]).unwrap_err();
        assert!(failure.contains(why), "{text}: {failure}");
    }
}

proptest! {
    #[test]
    fn nothing_that_is_written_breaks_the_parser(text in "[ -~]{0,80}") {
        let _ = parse(&["CMD-SHELL", &text]);
        let _ = parse(&["CMD", &text]);
        if let Ok((_, port, path)) = local(&text) {
            prop_assert!(port > 0 && path.starts_with('/'));
        }
    }

    #[test]
    fn quoting_changes_no_word(words in prop::collection::vec("[a-z$|&;> ]{1,8}", 1..5)) {
        let line = words.iter().map(|word| format!("'{word}'")).collect::<Vec<_>>().join(" ");
        let split = split(&line).unwrap();
        prop_assert_eq!(&split[0].1, &words);
    }
}
