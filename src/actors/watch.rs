//! A task that belongs to an actor: it ends with the actor, and the actor hears when it ends first.

use std::future::Future;

use tokio::{
    sync::oneshot,
    task::{AbortHandle, JoinHandle},
};

/// The task; dropping this ends it at once.
#[derive(Debug)]
pub struct Watched {
    task: AbortHandle,
    watcher: Option<JoinHandle<()>>,
    stop: Option<oneshot::Sender<()>>,
}

/// Starts a task, given the moment when it is to stop. `ended` is called when it returns or panics unasked.
pub fn watch<F>(start: impl FnOnce(Stop) -> F, ended: impl FnOnce() + Send + 'static) -> Watched
where
    F: Future<Output = ()> + Send + 'static,
{
    let (stop, asked) = oneshot::channel();
    let running = tokio::spawn(start(Stop(asked)));
    let task = running.abort_handle();
    let watcher = tokio::spawn(async move {
        let aborted = running.await.is_err_and(|error| error.is_cancelled());
        if !aborted {
            ended();
        }
    });
    Watched {
        task,
        watcher: Some(watcher),
        stop: Some(stop),
    }
}

/// Resolves when the task is to stop.
#[derive(Debug)]
pub struct Stop(oneshot::Receiver<()>);

impl Stop {
    /// Waits until the task is to stop.
    pub async fn asked(self) {
        // A dropped sender means the same.
        let _ = self.0.await;
    }
}

impl Watched {
    /// Asks the task to stop and waits until it has; everything it held is given back then.
    pub async fn end(&mut self) {
        self.stop = None;
        if let Some(watcher) = self.watcher.take() {
            // The watcher only passes on how the task ended.
            let _ = watcher.await;
        }
    }
}

impl Drop for Watched {
    fn drop(&mut self) {
        self.task.abort();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_panicking_task_is_told_of() {
        let (told, hear) = oneshot::channel();
        let _watched = watch(|_| async { panic!("the task breaks") }, move || told.send(()).unwrap());
        assert_eq!(hear.await, Ok(()));
    }

    #[tokio::test]
    async fn dropping_ends_the_task_without_telling() {
        let (told, hear) = oneshot::channel();
        drop(watch(|_| std::future::pending(), move || told.send(()).unwrap()));
        assert!(hear.await.is_err());
    }

    #[tokio::test]
    async fn ending_lets_the_task_finish_what_it_does() {
        let (finished, hear) = oneshot::channel();
        let task = |stop: Stop| async move {
            stop.asked().await;
            finished.send(()).unwrap();
        };
        watch(task, || {}).end().await;
        assert_eq!(hear.await, Ok(()));
    }
}
