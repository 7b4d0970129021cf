//! A bounded queue from a driver to an actor, with a doorbell.
//!
//! An actor's mailbox has no bound, so drivers put what they report into a bounded queue and ring once; the bell is one
//! message in the mailbox, however much waits in the queue. The queue may fill before the actor has hung its bell: then
//! it rings as soon as there is one. Posting never blocks. What does not fit comes back to the driver, which counts it.
//! When the driver's end is dropped the bell rings once more, and the actor finds the queue closed behind the last item:
//! an end cannot be lost.

use std::sync::{
    Arc, OnceLock,
    atomic::{AtomicBool, Ordering},
};

use tokio::sync::mpsc::{self, error::TryRecvError, error::TrySendError};

/// Places that only [`Post::send`] may take, so that what merely informs never crowds out what matters.
const KEPT_FREE: usize = 8;

/// The driver's end.
#[derive(Debug)]
pub struct Post<T> {
    queue: Option<mpsc::Sender<T>>,
    bell: Arc<Bell>,
}

/// The actor's end.
#[derive(Debug)]
pub struct PostBox<T> {
    queue: mpsc::Receiver<T>,
    bell: Arc<Bell>,
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

#[derive(Default)]
struct Bell {
    rung: AtomicBool,
    ring: OnceLock<Box<dyn Fn() + Send + Sync>>,
}

/// A post and its box.
pub fn post<T>(items_max: usize) -> (Post<T>, PostBox<T>) {
    let (sender, receiver) = mpsc::channel(items_max);
    let bell = Arc::new(Bell::default());
    let post = Post {
        queue: Some(sender),
        bell: bell.clone(),
    };
    (post, PostBox { queue: receiver, bell })
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

    /// The same for what may be lost: it leaves a few places free.
    pub fn send_if_roomy(&self, item: T) -> Result<(), T> {
        match &self.queue {
            Some(queue) if queue.capacity() > KEPT_FREE => self.send(item),
            _ => Err(item),
        }
    }
}

impl<T> Drop for Post<T> {
    fn drop(&mut self) {
        self.queue = None;
        self.bell.ring();
    }
}

impl<T> PostBox<T> {
    /// Hangs the bell: `ring` must put one wake message into the actor's mailbox. It rings at once, for what waits.
    pub fn ring_with(&self, ring: impl Fn() + Send + Sync + 'static) {
        // A bell that hangs already stays.
        let _ = self.bell.ring.set(Box::new(ring));
        self.bell.rung.store(false, Ordering::Release);
        self.bell.ring();
    }

    /// Answers the bell: what is posted from now on rings again. Call it before [`Self::take`].
    pub fn answer(&self) {
        self.bell.rung.store(false, Ordering::Release);
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
        if !self.rung.swap(true, Ordering::AcqRel)
            && let Some(ring) = self.ring.get()
        {
            ring();
        }
    }
}

impl std::fmt::Debug for Bell {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("Bell")
            .field("rung", &self.rung)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicUsize;

    use super::*;

    #[test]
    fn many_items_ring_once_until_the_bell_is_answered() {
        let (rings, post, mut inbox) = counted(16);
        inbox.answer();
        post.send(1).unwrap();
        post.send(2).unwrap();
        assert_eq!(rings.load(Ordering::Relaxed), 2);
        inbox.answer();
        assert_eq!(
            (inbox.take(), inbox.take(), inbox.take()),
            (Posted::Item(1), Posted::Item(2), Posted::Empty)
        );
        post.send(3).unwrap();
        assert_eq!(rings.load(Ordering::Relaxed), 3);
    }

    #[test]
    fn what_was_posted_before_the_bell_hung_rings_when_it_does() {
        let (post, mut inbox) = super::post(4);
        post.send(1).unwrap();
        drop(post);
        let rings = hang(&inbox);
        assert_eq!(rings.load(Ordering::Relaxed), 1);
        inbox.answer();
        assert_eq!((inbox.take(), inbox.take()), (Posted::Item(1), Posted::Closed));
    }

    #[test]
    fn a_full_box_gives_the_item_back() {
        let (_, post, _inbox) = counted(1);
        assert_eq!(post.send(1), Ok(()));
        assert_eq!(post.send(2), Err(2));
    }

    #[test]
    fn what_may_be_lost_leaves_room_for_what_may_not() {
        let (_, post, _inbox) = counted(KEPT_FREE + 1);
        assert_eq!(post.send_if_roomy(1), Ok(()));
        assert_eq!(post.send_if_roomy(2), Err(2));
        assert_eq!(post.send(3), Ok(()));
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
        let (post, inbox) = super::post(items_max);
        (hang(&inbox), post, inbox)
    }

    fn hang(inbox: &PostBox<u32>) -> Arc<AtomicUsize> {
        let rings = Arc::new(AtomicUsize::new(0));
        let counter = rings.clone();
        inbox.ring_with(move || {
            counter.fetch_add(1, Ordering::Relaxed);
        });
        rings
    }
}
