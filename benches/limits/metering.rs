//! What metering costs: CPU time of four kernels with all limits on, against wasmtime without any.

use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};
use wasmtime::component::{Component, Linker, ResourceTable};
use wasmtime::{Config, Engine, Store};
use wasmtime_wasi::p2::bindings::Command;
use wasmtime_wasi::{WasiCtx, WasiCtxView, WasiView};

use super::node::Node;
use crate::Extent;
use crate::support::Failure;
use crate::support::server::guest_file;
use crate::support::table::{Row, Wanted, number};

/// Rounds of about 0.3 s each.
const KERNELS: &[(&str, &str)] = &[("sha", "300000"), ("matrix", "250"), ("sort", "250"), ("copy", "4000")];
const TRIES: usize = 5;

struct Host {
    wasi: WasiCtx,
    table: ResourceTable,
}

impl WasiView for Host {
    fn ctx(&mut self) -> WasiCtxView<'_> {
        WasiCtxView { ctx: &mut self.wasi, table: &mut self.table }
    }
}

/// wasmtime as it comes: no fuel, no limiter, no hook.
struct Bare {
    engine: Engine,
    component: Component,
    linker: Linker<Host>,
}

impl Bare {
    fn new() -> Result<Bare, Failure> {
        let engine = Engine::new(&Config::new())?;
        let component = Component::from_file(&engine, guest_file("kernels"))?;
        let mut linker = Linker::new(&engine);
        wasmtime_wasi::p2::add_to_linker_async(&mut linker)?;
        Ok(Bare { engine, component, linker })
    }

    async fn run(&self, kernel: &str, rounds: &str) -> Result<Duration, Failure> {
        let wasi = WasiCtx::builder().args(&["kernels", kernel, rounds]).build();
        let mut store = Store::new(&self.engine, Host { wasi, table: ResourceTable::new() });
        // It never waits, so it stays on this thread.
        let begun = thread_cpu();
        let command = Command::instantiate_async(&mut store, &self.component, &self.linker).await?;
        command.wasi_cli_run().call_run(&mut store).await?.map_err(|()| "the kernel failed")?;
        Ok(thread_cpu() - begun)
    }
}

fn thread_cpu() -> Duration {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    Duration::new(u64::try_from(time.tv_sec).unwrap_or(0), u32::try_from(time.tv_nsec).unwrap_or(0))
}

pub async fn measure(extent: &Extent) -> Result<Vec<Row>, Failure> {
    let (node, bare) = (Node::start()?, Bare::new()?);
    println!("\n| kernel | wasmtime, unmetered, ms | Coracle, all limits on, ms | ratio |\n|---|---|---|---|");
    let mut ratios = Vec::new();
    for (kernel, rounds) in KERNELS {
        let (mut unmetered, mut metered) = (Vec::new(), Vec::new());
        // Interleaved: the machine's speed drifts. The least of each is the least disturbed.
        for _ in 0..if extent.quick { 2 } else { TRIES } {
            unmetered.push(bare.run(kernel, rounds).await?.as_secs_f64() * 1e3);
            let (_, usage) = node.run(node.spec("kernels", &[kernel, rounds])?).await?;
            metered.push(usage.cpu.as_secs_f64() * 1e3);
        }
        let least = |of: &[f64]| of.iter().copied().fold(f64::MAX, f64::min);
        let (unmetered, metered) = (least(&unmetered), least(&metered));
        println!("| {kernel} | {} | {} | {} |", number(unmetered), number(metered), number(metered / unmetered));
        ratios.push(metered / unmetered);
    }
    let mean = ratios.iter().product::<f64>().powf(1.0 / ratios.len() as f64);
    let most = ratios.iter().copied().fold(0.0, f64::max);
    let detail = format!("geometric mean of {} kernels; the most {}", ratios.len(), number(most));
    Ok(vec![Row::new("CPU of metered guests, of unmetered", Wanted::AtMost, mean, "×", (None, 1.5), &detail)])
}
