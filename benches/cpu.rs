//! What sharing the processor costs: one poll of a guest alone, among contenders, and beside guests that are idle.

use std::future::{Future, poll_fn};
use std::hint::black_box;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use coracle::runtime::cpu::{CpuScheduler, Metered, SystemClock};
use criterion::{Criterion, criterion_group, criterion_main};

/// A guest that yields at every poll, as wasmtime does when fuel runs out.
fn yields_forever() -> impl Future<Output = ()> {
    poll_fn(|cx| {
        cx.waker().wake_by_ref();
        Poll::Pending
    })
}

fn node(cores: u32) -> CpuScheduler {
    CpuScheduler::with_clock(cores, Arc::new(SystemClock::new()))
}

fn guests(node: &CpuScheduler, count: u32, capped: bool) -> Vec<Pin<Box<Metered<impl Future<Output = ()> + use<>>>>> {
    (0..count).map(|_| Box::pin(node.task(1024, capped).container(2).meter(yields_forever()))).collect()
}

fn poll_all<F: Future>(guests: &mut [Pin<Box<F>>]) {
    let mut cx = Context::from_waker(Waker::noop());
    for guest in guests {
        let _ = black_box(guest.as_mut().poll(&mut cx));
    }
}

fn polls(c: &mut Criterion) {
    let mut group = c.benchmark_group("cpu");
    let quiet = node(2);
    let mut one = guests(&quiet, 1, false);
    group.bench_function("one poll, alone", |b| b.iter(|| poll_all(&mut one)));

    let capped = node(2);
    let mut one = guests(&capped, 1, true);
    group.bench_function("one poll, alone, with a cap", |b| b.iter(|| poll_all(&mut one)));

    // One poll reaches a guest at a time: the others find that it is not their turn.
    let contended = node(1);
    let mut sixteen = guests(&contended, 16, false);
    group.bench_function("16 contenders, one round", |b| b.iter(|| poll_all(&mut sixteen)));

    let crowded = node(2);
    let idle: Vec<_> = (0..10_000)
        .map(|_| {
            let mut guest = Box::pin(crowded.task(256, true).container(2).meter(std::future::pending::<()>()));
            let _ = guest.as_mut().poll(&mut Context::from_waker(Waker::noop()));
            guest
        })
        .collect();
    let mut one = guests(&crowded, 1, false);
    group.bench_function("one poll beside 10,000 that are idle", |b| b.iter(|| poll_all(&mut one)));
    drop(idle);

    let container = quiet.task(1024, false).container(2);
    group.bench_function("a guest from beginning to end in one poll", |b| {
        b.iter(|| poll_all(&mut [Box::pin(container.meter(async {}))]));
    });
    group.finish();
}

criterion_group!(benches, polls);
criterion_main!(benches);
