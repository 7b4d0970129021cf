//! The socket of a second session behind the first, and of a first that is being closed.

use std::{
    task::{Context, Poll},
    time::Instant,
};

use super::{
    Dialling, Driver, SOCKET_EVENTS_MAX, SessionReport,
    sources::{Source, Woken},
};
use crate::{
    drivers::realtime::{Event, SessionSocket},
    realtime,
};

/// A second session being connected, or waiting.
pub(super) struct Standby {
    socket: SessionSocket,
    backend: String,
    /// What it is to be, until it is connected.
    settings: Option<Box<realtime::Settings>>,
}

impl Driver {
    /// Connects a second session; one that was there before is dropped.
    pub(super) fn renew(&mut self, dialling: Dialling) {
        let Dialling { dial, settings, .. } = dialling;
        self.drop_standby();
        let backend = settings.backend.clone();
        if !self.bridge.is_served() {
            // The loss of the first is on its way to whoever ordered this.
            let (word, detail) = ("away", "there is no session to take the place of".to_owned());
            return self.post_session(SessionReport::NotRenewed { backend, word, detail });
        }
        let mut socket = SessionSocket::default();
        socket.dial(dial());
        self.standby = Some(Box::new(Standby {
            socket,
            backend,
            settings: Some(settings),
        }));
    }

    pub(super) fn drop_standby(&mut self) {
        self.standby = None;
        self.bridge.standby_lost();
    }

    pub(super) fn serve_standby(&mut self, now: Instant, woken: Woken<'_>, read: &mut [u8]) {
        let sockets = [
            self.standby.as_deref().map(|standby| &standby.socket),
            self.retired.as_deref(),
        ];
        let wanted = sockets.into_iter().flatten().any(SessionSocket::wants_polling);
        if woken.by(Source::Standby).is_none() && !wanted {
            return;
        }
        let mut context = woken.context(Source::Standby);
        self.hear_standby(now, &mut context, read);
        self.serve_retired(now, &mut context, read);
        if self.socket.wants_polling() {
            // The call has gone over: what it says first is to be written.
            self.serve_session(now, &mut woken.context(Source::Session), read);
        }
    }

    fn hear_standby(&mut self, now: Instant, context: &mut Context<'_>, read: &mut [u8]) {
        for _ in 0..SOCKET_EVENTS_MAX {
            let Self { standby, bridge, .. } = self;
            let Some(standby) = standby else { return };
            match standby
                .socket
                .poll(context, read, &mut |text| bridge.handle_standby(now, text))
            {
                Poll::Pending => return,
                Poll::Ready(Event::Heard) => {}
                Poll::Ready(Event::Opened) => {
                    if let Some(settings) = standby.settings.take() {
                        bridge.standby_opened(now, *settings);
                    }
                }
                Poll::Ready(Event::Lost(loss)) => {
                    let (_, word, detail) = loss.classify();
                    self.not_renewed(word, detail);
                }
            }
            self.perform();
        }
        context.waker().wake_by_ref();
    }

    /// Sends what the second session is told, and goes over once the bridge has.
    pub(super) fn perform_standby(&mut self) {
        if let Some(standby) = &mut self.standby {
            while let Some(message) = self.bridge.poll_standby_message() {
                standby.socket.send(message.text, message.audio);
            }
        }
        if self.bridge.take_switched() {
            self.go_over(None);
        }
        self.close_retired();
    }

    /// Lets the second session's socket be the one that counts, because the first was lost if there is a word for that.
    pub(super) fn go_over(&mut self, lost: Option<&'static str>) {
        let Some(Standby {
            mut socket, backend, ..
        }) = self.standby.take().map(|standby| *standby)
        else {
            return;
        };
        socket.hand_over();
        let before = std::mem::replace(&mut self.socket, socket);
        self.retired = Some(Box::new(before));
        self.backend.clone_from(&backend);
        self.post_session(SessionReport::Renewed { backend, lost });
    }

    pub(super) fn standby_fault(&mut self, fault: &realtime::Fault) {
        self.not_renewed("fault", format!("{}: {}", fault.code, fault.message));
    }

    fn not_renewed(&mut self, word: &'static str, detail: String) {
        let backend = self.standby.as_ref().map(|standby| standby.backend.clone());
        self.drop_standby();
        if let Some(backend) = backend {
            self.post_session(SessionReport::NotRenewed { backend, word, detail });
        }
    }

    /// Begins to close the session that the call left, once it has nothing more to say.
    fn close_retired(&mut self) {
        if self.bridge.take_heard_out()
            && let Some(socket) = &mut self.retired
        {
            socket.retire();
        }
    }

    /// Reads what still comes of a session that the call has left, until it is closed.
    fn serve_retired(&mut self, now: Instant, context: &mut Context<'_>, scratch: &mut [u8]) {
        for _ in 0..SOCKET_EVENTS_MAX {
            let Self { retired, bridge, .. } = self;
            let Some(socket) = retired else { return };
            match socket.poll(context, scratch, &mut |text| bridge.handle_retired(now, text)) {
                Poll::Pending => {
                    self.perform();
                    if !self.retired.as_deref().is_some_and(SessionSocket::wants_polling) {
                        return;
                    }
                }
                Poll::Ready(Event::Heard | Event::Opened) => {}
                Poll::Ready(Event::Lost(_)) => self.retired = None,
            }
        }
        context.waker().wake_by_ref();
    }
}
