//! How large a configuration may be.

/// Bytes of the file. A longer one is refused: it is not a configuration but a mistake.
pub const FILE_BYTES_MAX: usize = 1 << 20;

/// Trunks. Each source address is compared with each of them in turn, so more would slow every datagram.
pub const TRUNKS_MAX: usize = 256;

/// Routes. Each call is compared with each of them in turn, so more would slow every INVITE.
pub const ROUTES_MAX: usize = 1024;

/// Agents. Each is a label value of metrics, so more would swell what is scraped.
pub const AGENTS_MAX: usize = 256;

/// Backends. Each is a label value of metrics, so more would swell what is scraped.
pub const BACKENDS_MAX: usize = 64;

/// Tools over HTTP. Each is a label value of metrics, so more would swell what is scraped.
pub const TOOLS_MAX: usize = 256;

/// Servers of tools. Each is a connection or a process that is kept.
pub const MCP_MAX: usize = 32;
/// Tables of prices. More than there are backends have no use.
pub const PRICES_MAX: usize = 64;

/// Budgets. Each is a label value of metrics and is looked at whenever something is paid for.
pub const BUDGETS_MAX: usize = 64;

/// Webhooks. Each has a spool of its own and is a label value of metrics.
pub const WEBHOOKS_MAX: usize = 16;

/// Items of a list inside a section; a longer list is refused.
pub(super) const LIST_ITEMS_MAX: usize = 256;

/// Bytes of a setting that is one line, such as a name, a URL or a path; a longer one is refused.
pub(super) const LINE_BYTES_MAX: usize = 2048;

/// Bytes of a text for a model; a longer one is refused, because backends refuse it in the middle of a call.
pub(super) const PROSE_BYTES_MAX: usize = 64 * 1024;

/// Bytes of a resolved secret. A longer one is refused: it would not fit into a header.
pub(super) const SECRET_BYTES_MAX: usize = 4096;

/// Problems that are told; of more only the number is told, because nobody reads them.
pub(super) const PROBLEMS_MAX: usize = 100;
