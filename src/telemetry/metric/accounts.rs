//! The rows of what is written down and told: records, recordings, what the backends bill, events and webhooks.

use super::{Metric, Row, counter, gauge};

/// What each of these metrics is called and means.
pub(super) const ROWS: &[(Metric, Row)] = &[
    (
        Metric::Tokens,
        counter(
            "patchcord_tokens_total",
            "Tokens counted by the backends, by agent, backend and kind of token; cached ones are part of the input.",
        )
        .by(&["agent", "backend", "kind"]),
    ),
    (
        Metric::RecordsWritten,
        counter("patchcord_records_written_total", "Call records written."),
    ),
    (
        Metric::RecordsFailed,
        counter(
            "patchcord_records_failed_total",
            "Failed attempts to write call records; each is tried again.",
        ),
    ),
    (
        Metric::RecordingsActive,
        gauge(
            "patchcord_recordings_active",
            "Recordings being made now, paused ones included.",
        ),
    ),
    (
        Metric::RecordingBytes,
        counter(
            "patchcord_recording_bytes_total",
            "Bytes of sound recorded, before they are coded or sealed.",
        ),
    ),
    (
        Metric::RecordingLost,
        counter(
            "patchcord_recording_lost_seconds_total",
            "Sound that is silence in a recording because the disk did not keep up.",
        ),
    ),
    (
        Metric::RecordingsFailed,
        counter(
            "patchcord_recordings_failed_total",
            "Recordings that could not be begun or ended before their call, by reason word.",
        )
        .by(&["reason"]),
    ),
    (
        Metric::RecordingUploadsPending,
        gauge(
            "patchcord_recording_uploads_pending",
            "Finished recordings that wait to be uploaded.",
        ),
    ),
    (
        Metric::RecordingUploads,
        counter(
            "patchcord_recording_uploads_total",
            "Attempts to upload a recording, by result: ok or failed; a failed one is tried again.",
        )
        .by(&["result"]),
    ),
    (
        Metric::TranscriptionSeconds,
        counter(
            "patchcord_transcription_seconds_total",
            "Audio written down by backends that bill its length, by agent and backend.",
        )
        .by(&["agent", "backend"]),
    ),
    (
        Metric::Cost,
        counter(
            "patchcord_cost_total",
            "What calls cost by the configured prices, in millionths of the currency, by agent, backend and currency.",
        )
        .by(&["agent", "backend", "currency"]),
    ),
    (
        Metric::BudgetActions,
        counter(
            "patchcord_budget_actions_total",
            "What was done because a budget was spent so far, by budget and action: warn, downgrade, end or refuse.",
        )
        .by(&["budget", "action"]),
    ),
    (
        Metric::Transfers,
        counter(
            "patchcord_transfers_total",
            "Transfers that ended, by way (refer or bridge) and result: ok, or the cause word of the target's answer.",
        )
        .by(&["way", "result"]),
    ),
    (
        Metric::WebhookAttempts,
        counter(
            "patchcord_webhook_attempts_total",
            "Attempts to hand over a webhook, by webhook and result: ok or a word; a failed one is tried again.",
        )
        .by(&["webhook", "result"]),
    ),
    (
        Metric::WebhooksLost,
        counter(
            "patchcord_webhooks_lost_total",
            "Webhooks that nobody will get, by webhook and reason word.",
        )
        .by(&["webhook", "reason"]),
    ),
    (
        Metric::WebhooksPending,
        gauge(
            "patchcord_webhooks_pending",
            "Webhooks that wait to be handed over, by webhook.",
        )
        .by(&["webhook"]),
    ),
    (
        Metric::ListenersDropped,
        counter(
            "patchcord_listeners_dropped_total",
            "Listeners to the events of calls that were let go before the end, by reason word.",
        )
        .by(&["reason"]),
    ),
];
