//! What the backends bill, what it costs, and who is told of calls.

use std::time::Duration;

use super::{Metrics, whole, word};

impl Metrics {
    /// A backend counted tokens of this kind, a fixed word such as `input_audio`, in a call of this agent. Does nothing
    /// for none.
    pub fn tokens(&self, agent: &str, backend: &str, kind: &'static str, tokens: u64) {
        if tokens > 0 {
            let counter = self.handles.tokens.with_label_values(&[agent, backend, kind]);
            counter.inc_by(tokens);
        }
    }

    /// A backend wrote down so much audio and counts its length.
    pub fn transcribed(&self, agent: &str, backend: &str, heard: Duration) {
        if !heard.is_zero() {
            let counter = self.handles.transcription_seconds.with_label_values(&[agent, backend]);
            counter.inc_by(heard.as_secs_f64());
        }
    }

    /// That cost so many millionths of this currency.
    pub fn cost(&self, agent: &str, backend: &str, currency: &str, micros: u64) {
        let counter = self.handles.cost.with_label_values(&[agent, backend, currency]);
        counter.inc_by(micros);
    }

    /// A budget came to this action, a fixed word.
    pub fn budget_action(&self, budget: &str, action: &'static str) {
        self.handles.budget_actions.with_label_values(&[budget, action]).inc();
    }

    /// An attempt to hand over a webhook; `result` is `ok` or a fixed word.
    pub fn webhook_attempt(&self, webhook: &str, result: &str) {
        let counter = self
            .handles
            .webhook_attempts
            .with_label_values(&[webhook, word(result)]);
        counter.inc();
    }

    /// So many webhooks will never be handed over.
    pub fn webhooks_lost(&self, webhook: &str, reason: &'static str, lost: u64) {
        let counter = self.handles.webhooks_lost.with_label_values(&[webhook, reason]);
        counter.inc_by(lost);
    }

    /// So many webhooks wait.
    pub fn webhooks_pending(&self, webhook: &str, pending: usize) {
        self.handles
            .webhooks_pending
            .with_label_values(&[webhook])
            .set(whole(pending));
    }

    /// A listener was let go before the end.
    pub fn listener_dropped(&self, reason: &'static str) {
        self.handles.listeners_dropped.with_label_values(&[reason]).inc();
    }
}
