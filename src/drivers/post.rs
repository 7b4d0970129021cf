//! A bounded queue from a driver to an actor, with a doorbell.
//!
//! An actor's mailbox has no bound, so drivers put what they report into a bounded queue and ring once; the bell is one
//! message in the mailbox, however much waits in the queue. Posting never blocks. When the queue is full the item comes
//! back to the driver, which counts it. When the driver's end is dropped the bell rings once more, and the actor finds
//! the queue closed: an end cannot be lost.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use tokio::sync::mpsc::{self, error::TryRecvError, error::TrySendError};

/// The driver's end.
pub struct Post<T> {
    queue: Option<mpsc::Sender<T>>,
    bell: Bell,
}

/// The actor's end.
#[derive(Debug)]
pub struct PostBox<T> {
    queue: mpsc::Receiver<T>,
    rung: Arc<AtomicBool>,
}

/// What the actor found in its box.
#[derive(Debug, PartialEq, Eq)]
pub enum Posted<T> {
    /// An item.
    Item(T),
    /// Nothing waits now.
    Empty,
    /// Nothing waits and nothing will: the driver's end is gone.
    Closed,
}

struct Bell {
    rung: Arc<AtomicBool>,
    ring: Box<dyn Fn() + Send + Sync>,
}

/// A post and its box; `ring` must put one wake message into the actor's mailbox.
pub fn post<T>(items_max: usize, ring: impl Fn() + Send + Sync + 'static) -> (Post<T>, PostBox<T>) {
    let (sender, receiver) = mpsc::channel(items_max);
    let rung = Arc::new(AtomicBool::new(false));
    let bell = Bell {
        rung: rung.clone(),
        ring: Box::new(ring),
    };
    (
        Post {
            queue: Some(sender),
            bell,
        },
        PostBox { queue: receiver, rung },
    )
}

impl<T> Post<T> {
    /// Puts an item into the box; gives it back when the box is full or the actor is gone.
    pub fn send(&self, item: T) -> Result<(), T> {
        let Some(queue) = &self.queue else { return Err(item) };
        match queue.try_send(item) {
            Ok(()) => {
                self.bell.ring();
                Ok(())
            }
            Err(TrySendError::Full(item) | TrySendError::Closed(item)) => Err(item),
        }
    }
}

impl<T> Drop for Post<T> {
    fn drop(&mut self) {
        self.queue = None;
        self.bell.ring();
    }
}

impl<T> std::fmt::Debug for Post<T> {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("Post")
            .field("open", &self.queue.is_some())
            .finish()
    }
}

impl<T> PostBox<T> {
    /// Answers the bell: what is posted from now on rings again. Call it before [`Self::take`].
    pub fn answer(&self) {
        self.rung.store(false, Ordering::Release);
    }

    /// The next item.
    pub fn take(&mut self) -> Posted<T> {
        match self.queue.try_recv() {
            Ok(item) => Posted::Item(item),
            Err(TryRecvError::Empty) => Posted::Empty,
            Err(TryRecvError::Disconnected) => Posted::Closed,
        }
    }
}

impl Bell {
    fn ring(&self) {
        if !self.rung.swap(true, Ordering::AcqRel) {
            (self.ring)();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicUsize;

    use super::*;

    #[test]
    fn many_items_ring_once_until_the_bell_is_answered() {
        let (rings, post, mut inbox) = counted(8);
        post.send(1).unwrap();
        post.send(2).unwrap();
        assert_eq!(rings.load(Ordering::Relaxed), 1);
        inbox.answer();
        assert_eq!(
            (inbox.take(), inbox.take(), inbox.take()),
            (Posted::Item(1), Posted::Item(2), Posted::Empty)
        );
        post.send(3).unwrap();
        assert_eq!(rings.load(Ordering::Relaxed), 2);
    }

    #[test]
    fn a_full_box_gives_the_item_back() {
        let (_, post, _inbox) = counted(1);
        assert_eq!(post.send(1), Ok(()));
        assert_eq!(post.send(2), Err(2));
    }

    #[test]
    fn the_end_of_the_driver_rings_and_closes_after_the_last_item() {
        let (rings, post, mut inbox) = counted(4);
        post.send(1).unwrap();
        inbox.answer();
        drop(post);
        assert_eq!(rings.load(Ordering::Relaxed), 2);
        assert_eq!((inbox.take(), inbox.take()), (Posted::Item(1), Posted::Closed));
    }

    fn counted(items_max: usize) -> (Arc<AtomicUsize>, Post<u32>, PostBox<u32>) {
        let rings = Arc::new(AtomicUsize::new(0));
        let counter = rings.clone();
        let (post, inbox) = post(items_max, move || {
            counter.fetch_add(1, Ordering::Relaxed);
        });
        (rings, post, inbox)
    }
}
