//! What a connection and a stream on it know of each other: a connection with a stream is not ended for its age, a stream
//! ends when the server stops, and a client that reads too slowly loses its connection.

use std::sync::Arc;

use tokio::sync::watch;

/// One connection's.
#[derive(Debug, Clone)]
pub(super) struct Lease {
    uses: Arc<watch::Sender<Use>>,
    /// Its sender says nothing; it is dropped when the server stops.
    stopping: watch::Receiver<()>,
    /// That sender, where there is no server.
    _alone: Option<Arc<watch::Sender<()>>>,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Use {
    streams: usize,
    cut: bool,
}

/// A stream goes on.
#[derive(Debug)]
pub(super) struct Streaming(Lease);

impl Lease {
    /// Of a connection of this server.
    pub(super) fn new(stopping: watch::Receiver<()>) -> Self {
        Self {
            uses: Arc::new(watch::Sender::default()),
            stopping,
            _alone: None,
        }
    }

    /// Of a connection of nobody's: it does not stop.
    pub(super) fn alone() -> Self {
        let (forever, stopping) = watch::channel(());
        Self {
            _alone: Some(Arc::new(forever)),
            ..Self::new(stopping)
        }
    }

    /// A stream begins.
    pub(super) fn stream(&self) -> Streaming {
        self.uses.send_modify(|uses| uses.streams += 1);
        Streaming(self.clone())
    }

    /// Ready when no stream goes on.
    pub(super) async fn unused(&self) {
        self.when(|uses| uses.streams == 0).await;
    }

    /// Ready when the connection is to be cut.
    pub(super) async fn is_cut(&self) {
        self.when(|uses| uses.cut).await;
    }

    async fn when(&self, condition: fn(&Use) -> bool) {
        // It cannot be closed: its sender is here.
        drop(self.uses.subscribe().wait_for(condition).await);
    }
}

impl Streaming {
    /// Have the connection cut: its client takes nothing.
    pub(super) fn cut(&self) {
        self.0.uses.send_modify(|uses| uses.cut = true);
    }

    /// Ready when the server stops.
    pub(super) async fn stopping(&self) {
        // The sender says nothing; it is dropped.
        let _ = self.0.stopping.clone().changed().await;
    }
}

impl Drop for Streaming {
    fn drop(&mut self) {
        self.0.uses.send_modify(|uses| uses.streams -= 1);
    }
}
