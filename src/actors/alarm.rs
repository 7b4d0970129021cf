//! One deadline of an actor, as a message to itself.

use std::time::Instant;

use ractor::{ActorRef, Message, concurrency::JoinHandle};

/// The armed deadline, if any. Dropping it disarms it.
#[derive(Debug, Default)]
pub struct Alarm {
    armed: Option<(Instant, JoinHandle<()>)>,
}

impl Alarm {
    /// Arms the alarm for `at`, or disarms it. Nothing happens when it is armed for that moment already.
    pub fn set<M: Message>(
        &mut self,
        at: Option<Instant>,
        actor: &ActorRef<M>,
        message: impl FnOnce() -> M + Send + 'static,
    ) {
        if self.armed.as_ref().map(|(armed, _)| *armed) == at {
            return;
        }
        self.disarm();
        let Some(at) = at else { return };
        let actor = actor.clone();
        let waiting = ractor::concurrency::spawn(async move {
            tokio::time::sleep_until(at.into()).await;
            // The actor may have ended meanwhile; then nobody waits for the alarm.
            let _ = actor.cast(message());
        });
        self.armed = Some((at, waiting));
    }

    /// Forgets the deadline; to be called when it has come, so that the same moment can be armed again.
    pub fn disarm(&mut self) {
        if let Some((_, waiting)) = self.armed.take() {
            waiting.abort();
        }
    }
}

impl Drop for Alarm {
    fn drop(&mut self) {
        self.disarm();
    }
}
