//! What requests notice of rules that change under them: a listener of a thousand rules, of which a hundred change each
//! second, beside the same listener left alone.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use tokio::task::JoinSet;
use tokio::time::{Instant, MissedTickBehavior, interval, sleep};

use crate::support::Failure;
use crate::support::server::{Api, Balanced, Server, definition, element};
use crate::support::table::{Row, Wanted, median, number, percentile, range};
use crate::support::wire::{Connection, get};

/// Changes a second, by one client of the API each of which waits for the one before.
const CHANGES_PER_SECOND: u64 = 100;
/// Connections that each have one request under way.
const CONNECTIONS: usize = 8;
/// Each connection asks this often, so that the cores are not full and a wait is seen as one.
const PAUSE: Duration = Duration::from_millis(2);

pub async fn measure(quick: bool) -> Result<Vec<Row>, Failure> {
    let (rules, rounds, window) =
        if quick { (100, 3, Duration::from_secs(1)) } else { (1_000, 7, Duration::from_secs(3)) };
    let home = tempfile::tempdir()?;
    let server = Server::start(home.path()).await?;
    let mut api = server.api().await?;
    let balanced = api.balance("ruled", &definition("ruled", "hello", &[], "1024", "2048")).await?;
    let mut arns = Vec::with_capacity(rules);
    for number in 1..=rules {
        arns.push(create_rule(&mut api, &balanced, number).await?);
    }
    let (mut quiet, mut changed, mut rates) = (Vec::new(), Vec::new(), Vec::new());
    for round in 1..=rounds {
        quiet.push(p99(&balanced, window).await?);
        let stop = Arc::new(AtomicBool::new(false));
        let done = Arc::new(AtomicU64::new(0));
        let changing = tokio::spawn(change(server.address, arns.clone(), round, Arc::clone(&stop), Arc::clone(&done)));
        let begun = Instant::now();
        changed.push(p99(&balanced, window).await?);
        rates.push(done.load(Ordering::Relaxed) as f64 / begun.elapsed().as_secs_f64());
        stop.store(true, Ordering::Relaxed);
        changing.await??;
        eprintln!("round {round} of {rounds}");
    }
    let effect = effect(&mut api, &balanced, &arns).await?;
    server.kill().await?;
    let mut ratios: Vec<f64> = changed.iter().zip(&quiet).map(|(changed, quiet)| changed / quiet).collect();
    let detail = format!(
        "{} rules, {} changes/s done; p99 {} ms with, {} ms without; rounds {}",
        rules,
        number(median(&mut rates)),
        number(median(&mut changed)),
        number(median(&mut quiet)),
        range(&mut ratios)
    );
    Ok(vec![
        Row::new(
            "p99 during changes of rules, over p99 without",
            Wanted::AtMost,
            median(&mut ratios),
            "×",
            (Some(1.2), 1.0),
            &detail,
        ),
        Row::new(
            "a changed rule answers",
            Wanted::AtMost,
            effect,
            "ms",
            (None, 10.0),
            "from ModifyRule's answer to the first request that meets it, the request included",
        ),
    ])
}

fn condition(number: usize, round: usize) -> (String, String) {
    (format!("/rule-{number}-{round}/*"), format!("rule {number} of round {round}"))
}

async fn create_rule(api: &mut Api, balanced: &Balanced, number: usize) -> Result<String, Failure> {
    let (path, body) = condition(number, 0);
    let priority = number.to_string();
    let created = api
        .elb(
            "CreateRule",
            &[
                ("ListenerArn", balanced.listener.as_str()),
                ("Priority", priority.as_str()),
                ("Conditions.member.1.Field", "path-pattern"),
                ("Conditions.member.1.PathPatternConfig.Values.member.1", path.as_str()),
                ("Actions.member.1.Type", "fixed-response"),
                ("Actions.member.1.FixedResponseConfig.StatusCode", "200"),
                ("Actions.member.1.FixedResponseConfig.MessageBody", body.as_str()),
            ],
        )
        .await?;
    element(&created, "RuleArn")
}

async fn modify(api: &mut Api, arn: &str, number: usize, round: usize) -> Result<(), Failure> {
    let (path, body) = condition(number, round);
    let modified = api
        .elb(
            "ModifyRule",
            &[
                ("RuleArn", arn),
                ("Conditions.member.1.Field", "path-pattern"),
                ("Conditions.member.1.PathPatternConfig.Values.member.1", path.as_str()),
                ("Actions.member.1.Type", "fixed-response"),
                ("Actions.member.1.FixedResponseConfig.StatusCode", "200"),
                ("Actions.member.1.FixedResponseConfig.MessageBody", body.as_str()),
            ],
        )
        .await;
    modified.map(|_| ())
}

async fn change(
    address: std::net::SocketAddr,
    arns: Vec<String>,
    round: usize,
    stop: Arc<AtomicBool>,
    done: Arc<AtomicU64>,
) -> Result<(), Failure> {
    let mut api = Api::open(address).await?;
    let mut turns = interval(Duration::from_micros(1_000_000 / CHANGES_PER_SECOND));
    turns.set_missed_tick_behavior(MissedTickBehavior::Burst);
    for (at, arn) in arns.iter().enumerate().cycle() {
        if stop.load(Ordering::Relaxed) {
            break;
        }
        turns.tick().await;
        modify(&mut api, arn, at + 1, round).await?;
        done.fetch_add(1, Ordering::Relaxed);
    }
    Ok(())
}

/// Milliseconds below which 99 of 100 requests are answered that meet no rule but the default.
async fn p99(balanced: &Balanced, window: Duration) -> Result<f64, Failure> {
    let mut clients = JoinSet::new();
    let end = Instant::now() + window;
    for _ in 0..CONNECTIONS {
        let (address, request) = (balanced.address, get(&balanced.host, "/plain"));
        clients.spawn(async move {
            let mut connection = Connection::open(address).await?;
            let mut times = Vec::new();
            while Instant::now() < end {
                let begun = Instant::now();
                let status = connection.exchange(&request).await?.status;
                times.push(begun.elapsed().as_secs_f64() * 1e3);
                if status != 200 {
                    return Err(format!("answered {status}").into());
                }
                sleep(PAUSE).await;
            }
            Ok::<_, Failure>(times)
        });
    }
    let mut all = Vec::new();
    while let Some(ended) = clients.join_next().await {
        all.extend(ended??);
    }
    Ok(percentile(&mut all, 0.99))
}

/// Milliseconds from the answer of ModifyRule to that of a request that meets what was changed; the median of several.
async fn effect(api: &mut Api, balanced: &Balanced, arns: &[String]) -> Result<f64, Failure> {
    let mut times = Vec::new();
    let mut connection = Connection::open(balanced.address).await?;
    for (at, arn) in arns.iter().enumerate().take(20) {
        let round = 1_000_000;
        modify(api, arn, at + 1, round).await?;
        let begun = Instant::now();
        let (path, body) = condition(at + 1, round);
        let request = get(&balanced.host, &path.replace('*', "x"));
        while connection.exchange(&request).await?.body != body.as_bytes() {
            if begun.elapsed() > Duration::from_secs(10) {
                return Err("a changed rule had no effect within 10 s".into());
            }
        }
        times.push(begun.elapsed().as_secs_f64() * 1e3);
    }
    Ok(median(&mut times))
}
