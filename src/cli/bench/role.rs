//! What the processes of a benchmark have in common: they are told what to do on standard input, a line at a time, and
//! end when that does. So none outlives the command that started it, however that ends.

use std::{io::BufRead, process, thread};

use anyhow::Context;
use serde::Serialize;
use tokio::sync::mpsc;

use super::{
    backend, callers, gateway,
    plan::{Order, Task},
};

/// Orders that may wait; each is answered before the next is given.
const ORDERS_MAX: usize = 4;

/// Orders as they come in.
pub type Orders = mpsc::Receiver<Order>;

/// Reads what this process is to be, and is it until standard input ends.
pub fn run() -> anyhow::Result<()> {
    let mut line = String::new();
    std::io::stdin().lock().read_line(&mut line)?;
    let task = serde_json::from_str(&line).context("the first line is no task")?;
    match task {
        Task::Callers { gateway, codec } => callers::run(gateway, codec.audio(), orders()),
        Task::Backend { deltas } => backend::run(deltas, orders()),
        Task::Gateway { folder } => gateway::be(&folder),
    }
}

/// Answers an order.
pub fn answer(value: &impl Serialize) -> anyhow::Result<()> {
    super::super::say(&serde_json::to_string(value)?);
    Ok(())
}

/// Has the process end when standard input does.
pub fn end_with_parent(tidy: impl FnOnce() + Send + 'static) {
    thread::spawn(move || {
        for _ in std::io::stdin().lock().lines().map_while(Result::ok) {}
        tidy();
        process::exit(0);
    });
}

fn orders() -> Orders {
    let (sender, orders) = mpsc::channel(ORDERS_MAX);
    thread::spawn(move || {
        let lines = std::io::stdin().lock().lines().map_while(Result::ok);
        for order in lines.filter_map(|line| serde_json::from_str(&line).ok()) {
            // The only receiver is the loop of this process.
            let _ = sender.blocking_send(order);
        }
        process::exit(0);
    });
    orders
}
