//! A task that belongs to an actor: it ends with the actor, and the actor hears when it ends first.

use std::future::Future;

use tokio::task::AbortHandle;

/// The task; dropping this ends it.
#[derive(Debug)]
pub struct Watched {
    task: AbortHandle,
}

/// Starts a task; `ended` is called when it returns or panics, not when it is ended by dropping.
pub fn watch<F>(task: F, ended: impl FnOnce() + Send + 'static) -> Watched
where
    F: Future<Output = ()> + Send + 'static,
{
    let running = tokio::spawn(task);
    let task = running.abort_handle();
    tokio::spawn(async move {
        let aborted = running.await.is_err_and(|error| error.is_cancelled());
        if !aborted {
            ended();
        }
    });
    Watched { task }
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
        let (told, hear) = tokio::sync::oneshot::channel();
        let _watched = watch(async { panic!("the task breaks") }, move || told.send(()).unwrap());
        assert_eq!(hear.await, Ok(()));
    }

    #[tokio::test]
    async fn dropping_ends_the_task_without_telling() {
        let (told, hear) = tokio::sync::oneshot::channel();
        drop(watch(std::future::pending(), move || told.send(()).unwrap()));
        assert!(hear.await.is_err());
    }
}
