//! The house rules a compiler does not know, checked on the text of the sources.
//!
//! Which module may use which, what a pure machine may not name, how long things may grow, and who may print. The rules
//! are the tables right below; everything after them only reads text. It is a reader of lines and tokens, not of Rust:
//! it blanks comments and literals, knows what stands under `#[cfg(test)]`, and takes names literally.

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};

/// The modules in their order, with what each may use; a pure module is a machine or plain functions.
const MODULES: &[Module] = &[
    pure("audio", &[]),
    pure("rtp", &[]),
    pure("sip", &[]),
    pure("config", &["audio", "rtp"]),
    pure("sdp", &["audio", "rtp"]),
    pure("realtime", &["audio"]),
    pure("routing", &["sip", "config"]),
    pure("media", &["audio", "rtp", "sdp"]),
    pure("tools", &["config", "realtime"]),
    pure("call", &[EVERY_PURE]),
    pure("operator", &["audio", "realtime"]),
    doing("telemetry", &["config"]),
    doing("net", &["config"]),
    doing(
        "store",
        &["audio", "config", "realtime", "media", "call", "telemetry", "net"],
    ),
    doing("http", &["config", "routing", "telemetry", "net"]),
    doing("drivers", &[EVERY_PURE, "telemetry", "net", "store"]),
    doing("actors", &[EVERYTHING]),
    doing("cli", &[EVERYTHING]),
];

/// In a list of uses: every pure module that comes earlier.
const EVERY_PURE: &str = "every pure module";
/// In a list of uses: every module that comes earlier.
const EVERYTHING: &str = "every module";

/// Names a pure module never says: its time and randomness are arguments, its sockets, threads and locks someone else's.
const IMPURE: &[&str] = &[
    "tokio",
    "ractor",
    "Instant::now",
    "SystemTime",
    "getrandom",
    "rand",
    "UdpSocket",
    "TcpStream",
    "TcpListener",
    "std::thread",
    "thread::spawn",
    "Mutex",
    "RwLock",
];

/// Crates of the trade, each named in one module, so that replacing one touches one folder.
const OWNERS: &[(&str, &str)] = &[
    ("rsip", "sip"),
    ("rsiprtp", "sip"),
    ("rtp_rs", "rtp"),
    ("rtcp_types", "rtp"),
    ("rtc_dtls", "rtp"),
    ("object_store", "store"),
    ("rmcp", "drivers"),
    ("sdp_types", "sdp"),
    ("audiopus", "audio"),
];

/// Queues without a bound: what would be lost, and when, could not be said.
const UNBOUNDED: &[&str] = &[
    "unbounded_channel",
    "UnboundedSender",
    "UnboundedReceiver",
    "unbounded",
    // A `sync_channel` is bounded.
    "std::sync::mpsc::channel",
    "std::sync::mpsc;",
];

const PRINTS: &[&str] = &["print!", "println!", "eprint!", "eprintln!", "dbg!"];
const UNFINISHED: &[&str] = &[
    concat!("TO", "DO"),
    concat!("FIX", "ME"),
    concat!("XX", "X"),
    "unimplemented!",
    "todo!",
];

/// The longest file, in lines, without its tests.
const FILE_LINES_MAX: usize = 600;
/// The longest function outside tests, in lines, signature and braces included.
const FUNCTION_LINES_MAX: usize = 70;

struct Module {
    name: &'static str,
    pure: bool,
    uses: &'static [&'static str],
}

const fn pure(name: &'static str, uses: &'static [&'static str]) -> Module {
    Module { name, pure: true, uses }
}

const fn doing(name: &'static str, uses: &'static [&'static str]) -> Module {
    Module {
        name,
        pure: false,
        uses,
    }
}

impl Module {
    /// Whether it may use a module, by the house's word for both.
    fn may_use(&self, other: &str) -> bool {
        let mut earlier = MODULES.iter().take_while(|module| module.name != self.name);
        other == self.name || earlier.any(|module| module.name == other && self.lists(module))
    }

    fn lists(&self, other: &Module) -> bool {
        let mut uses = self.uses.iter();
        uses.any(|word| *word == other.name || *word == EVERYTHING || (*word == EVERY_PURE && other.pure))
    }
}

#[test]
fn modules_use_only_what_the_house_lets_them() {
    assert_clean(sources("src").iter().flat_map(edge_faults));
}

#[test]
fn the_table_of_modules_is_in_order() {
    for module in MODULES {
        let named = module
            .uses
            .iter()
            .filter(|word| ![EVERY_PURE, EVERYTHING].contains(word));
        named.for_each(|word| assert!(module.may_use(word), "{} comes before {word}", module.name));
    }
}

#[test]
fn pure_modules_name_no_runtime_clock_randomness_socket_or_lock() {
    assert_clean(
        sources("src")
            .iter()
            .filter(|source| source.is_pure())
            .flat_map(|source| source.names(IMPURE)),
    );
}

#[test]
fn every_file_opens_with_a_module_doc() {
    let all = sources("src").into_iter().chain(sources("tests"));
    assert_clean(
        all.filter(|source| !source.text.starts_with("//!"))
            .map(|source| source.fault(1, "no module doc")),
    );
}

#[test]
fn only_the_command_line_prints() {
    let speakers = ["cli", "main"];
    let silent = sources("src")
        .into_iter()
        .filter(|source| !speakers.contains(&source.module.as_str()));
    assert_clean(
        silent
            .collect::<Vec<_>>()
            .iter()
            .flat_map(|source| source.names(PRINTS)),
    );
}

#[test]
fn nothing_is_left_unfinished() {
    let all = sources("src").into_iter().chain(sources("tests"));
    assert_clean(
        all.collect::<Vec<_>>()
            .iter()
            .filter(|source| !source.is_this_file())
            .flat_map(unfinished),
    );
}

#[test]
fn a_crate_of_the_trade_is_named_in_one_module() {
    assert_clean(sources("src").iter().flat_map(ownership_faults));
}

#[test]
fn no_queue_is_unbounded() {
    assert_clean(sources("src").iter().flat_map(|source| source.names(UNBOUNDED)));
}

#[test]
fn nothing_unwraps_outside_tests() {
    assert_clean(sources("src").iter().flat_map(|source| source.names(&[".unwrap()"])));
}

#[test]
fn flows_and_simulations_never_sleep() {
    let flows = sources("tests/it")
        .into_iter()
        .chain(sources("tests/sim"))
        .collect::<Vec<_>>();
    assert_clean(flows.iter().flat_map(|source| source.names(&["sleep", "sleep_until"])));
}

#[test]
fn files_stay_short() {
    assert_clean(sources("src").iter().filter_map(length_fault));
}

#[test]
fn functions_stay_short() {
    assert_clean(sources("src").iter().flat_map(function_faults));
}

#[test]
fn the_rules_catch_what_they_are_for() {
    let source = |path: &str, text: &str| Source::new(PathBuf::from(path), text.to_owned());
    let edges = |path: &str, text: &str| edge_faults(&source(path, text)).len();
    assert_eq!(edges("src/rtp/a.rs", "use crate::audio::Law;"), 1);
    assert_eq!(
        edges(
            "src/sdp/a.rs",
            "use crate::rtp::Packet; // crate::sip\nlet a = \"crate::sip\";"
        ),
        0
    );
    assert_eq!(
        edges(
            "src/media/a.rs",
            "use crate::{audio::{Law, level}, rtp, sip::Uri, drivers};"
        ),
        2
    );
    assert_eq!(edges("src/media/a.rs", "use super::super::sip::Uri;"), 1);
    assert_eq!(
        edges(
            "src/media/a.rs",
            "#[cfg(test)]\nmod tests { use super::super::machine::Machine; }"
        ),
        0
    );
    assert_eq!(edges("src/attic/a.rs", "fn a() {}"), 1);

    let pure = |text: &str| source("src/sip/a.rs", text).names(IMPURE).len();
    assert_eq!(pure("let now = Instant::now();"), 1);
    assert_eq!(pure("let brand = operand; // tokio"), 0);
    assert_eq!(
        pure("#[cfg(test)]\nmod tests {\n fn a() { Instant::now(); }\n}\nfn b() {}"),
        0
    );
    assert_eq!(pure("let quote = '\"'; tokio::spawn(a); let end = '\"';"), 1);
    assert_eq!(
        pure("let raw = r#\"a \" tokio\"#; fn a<'a>(b: &'a str) { Mutex::new(b); }"),
        1
    );

    let lines = |count: usize| format!("fn long() {{\n{}}}\n", "a();\n".repeat(count));
    assert_eq!(
        function_faults(&source("src/sip/a.rs", &lines(FUNCTION_LINES_MAX))).len(),
        1
    );
    assert_eq!(
        function_faults(&source("src/sip/a.rs", &lines(FUNCTION_LINES_MAX - 2))).len(),
        0
    );
    assert!(length_fault(&source("src/sip/a.rs", &"a();\n".repeat(FILE_LINES_MAX + 1))).is_some());
    assert_eq!(ownership_faults(&source("src/net/a.rs", "use rsip::Uri;")).len(), 1);
    assert_eq!(
        unfinished(&source("src/net/a.rs", concat!("// TO", "DO later"))).len(),
        1
    );
    assert_eq!(
        source("src/net/a.rs", "let (a, b) = mpsc::unbounded_channel();")
            .names(UNBOUNDED)
            .len(),
        1
    );
    assert_eq!(
        source("src/net/a.rs", "eprintln!(\"a\"); tracing::info!(\"b\");")
            .names(PRINTS)
            .len(),
        1
    );
}

/// Fails with every fault at once.
fn assert_clean(faults: impl Iterator<Item = String>) {
    let all = faults.fold(String::new(), |mut all, fault| {
        let _ = writeln!(all, "{fault}");
        all
    });
    assert!(all.is_empty(), "\n{all}");
}

fn edge_faults(source: &Source) -> Vec<String> {
    if ["lib", "main"].contains(&source.module.as_str()) {
        return Vec::new();
    }
    let Some(module) = MODULES.iter().find(|module| module.name == source.module) else {
        return vec![source.fault(1, &format!("module {} is not in the table of modules", source.module))];
    };
    let edges = source.edges().into_iter();
    let wrong = edges.filter(|(_, to)| !module.may_use(to));
    wrong
        .map(|(line, to)| source.fault(line, &format!("{} may not use {to}", module.name)))
        .collect()
}

fn unfinished(source: &Source) -> Vec<String> {
    let marks = |line: &str| UNFINISHED.iter().find(|mark| has_word(line, mark)).copied();
    let lines = source.text.lines().enumerate();
    lines
        .filter_map(|(at, line)| marks(line).map(|mark| source.fault(at + 1, mark)))
        .collect()
}

fn ownership_faults(source: &Source) -> Vec<String> {
    let foreign = OWNERS
        .iter()
        .filter(|(_, owner)| *owner != source.module)
        .map(|(name, _)| *name);
    source.names(&foreign.collect::<Vec<_>>())
}

fn length_fault(source: &Source) -> Option<String> {
    let lines = source.product.lines().filter(|line| *line != TEST_LINE).count();
    (lines > FILE_LINES_MAX).then(|| source.fault(1, &format!("{lines} lines without tests, split it by noun")))
}

fn function_faults(source: &Source) -> Vec<String> {
    let code = &source.product;
    let mut faults = Vec::new();
    for at in word_positions(code, "fn ") {
        let Some(open) = body(code, at) else { continue };
        let lines = code[at..closing(code, open)].matches('\n').count() + 1;
        if lines > FUNCTION_LINES_MAX {
            faults.push(source.fault(line_of(code, at), &format!("a function of {lines} lines")));
        }
    }
    faults
}

const TEST_ONLY: &str = "#[cfg(test)]";
/// Stands for every line under `#[cfg(test)]` in [`Source::product`].
const TEST_LINE: &str = "\u{1}";

/// One file: as written, and its code with comments and literals blanked and with lines for test code.
struct Source {
    path: PathBuf,
    /// The top-level module it belongs to; `lib` and `main` for those two, the folder for a file of `tests`.
    module: String,
    text: String,
    code: String,
    product: String,
}

impl Source {
    fn new(path: PathBuf, text: String) -> Self {
        let inside = path.strip_prefix("src").or(path.strip_prefix("tests")).unwrap_or(&path);
        let first = inside
            .iter()
            .next()
            .map(Path::new)
            .and_then(Path::file_stem)
            .unwrap_or_default();
        let module = first.to_string_lossy().into_owned();
        let code = blank(&text);
        let product = without_tests(&code);
        Self {
            path,
            module,
            text,
            code,
            product,
        }
    }

    /// The same with nothing that runs outside tests.
    fn into_tests(self) -> Self {
        let product = format!("{TEST_LINE}\n").repeat(self.code.lines().count());
        Self { product, ..self }
    }

    /// Where the modules live that this file mounts for tests only.
    fn test_modules(&self) -> Vec<PathBuf> {
        let folder = match self.path.file_stem().and_then(OsStr::to_str) {
            Some("mod" | "lib" | "main") => self.path.with_file_name(""),
            _ => self.path.with_extension(""),
        };
        let after = |at: usize| {
            self.code[at + TEST_ONLY.len()..]
                .trim_start()
                .trim_start_matches("pub(crate)")
        };
        let mounted = |at: usize| after(at).trim_start().strip_prefix("mod ")?.split_once(';');
        let names = self.code.match_indices(TEST_ONLY).filter_map(|(at, _)| mounted(at));
        names
            .filter(|(name, _)| !name.contains('{'))
            .map(|(name, _)| folder.join(name))
            .collect()
    }

    fn is_pure(&self) -> bool {
        MODULES.iter().any(|module| module.pure && module.name == self.module)
    }

    fn is_this_file(&self) -> bool {
        self.path.ends_with("tests/tidy.rs")
    }

    fn fault(&self, line: usize, what: &str) -> String {
        format!("{}:{line}: {what}", self.path.display())
    }

    /// A fault for every place outside tests that says one of these names.
    fn names(&self, names: &[&str]) -> Vec<String> {
        let found = |name| {
            word_positions(&self.product, name)
                .into_iter()
                .map(move |at| (at, name))
        };
        let faults = names.iter().flat_map(|name| found(*name));
        faults
            .map(|(at, name)| self.fault(line_of(&self.product, at), name))
            .collect()
    }

    /// Every top-level module named through `crate::` or by climbing out with `super::`, tests included, with its line.
    fn edges(&self) -> BTreeSet<(usize, String)> {
        let mut edges = BTreeSet::new();
        for at in word_positions(&self.code, "crate::") {
            let line = line_of(&self.code, at);
            edges.extend(
                top_names(&self.code[at + "crate::".len()..])
                    .into_iter()
                    .map(|name| (line, name)),
            );
        }
        let depth = self.path.iter().count() - 1 - usize::from(self.path.ends_with("mod.rs"));
        let climb = "super::".repeat(depth);
        for at in word_positions(&self.product, &climb).into_iter().filter(|_| depth > 1) {
            let line = line_of(&self.product, at);
            edges.extend(
                top_names(&self.product[at + climb.len()..])
                    .into_iter()
                    .map(|name| (line, name)),
            );
        }
        edges.retain(|(_, name)| name.starts_with(|first: char| first.is_lowercase()));
        edges
    }
}

/// The first segments of a path or of a braced group of paths.
fn top_names(path: &str) -> Vec<String> {
    let Some(group) = path.strip_prefix('{') else {
        return vec![path.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect()];
    };
    let mut names = vec![String::new()];
    let mut depth = 0;
    for c in group.chars() {
        match c {
            '}' if depth == 0 => break,
            '{' => depth += 1,
            '}' => depth -= 1,
            ',' if depth == 0 => names.push(String::new()),
            _ if depth == 0 => names.last_mut().expect("never empty").push(c),
            _ => {}
        }
    }
    names
        .iter()
        .map(|name| name.trim().split("::").next().unwrap_or_default().to_owned())
        .collect()
}

/// Where a name stands by itself; an end of the name that is not a word character may touch anything.
fn word_positions(text: &str, name: &str) -> Vec<usize> {
    let is_word = |byte: Option<&u8>| byte.is_some_and(|byte| byte.is_ascii_alphanumeric() || *byte == b'_');
    let (bytes, ends) = (text.as_bytes(), name.as_bytes());
    let free = |at: usize| {
        let before = at.checked_sub(1).and_then(|before| bytes.get(before));
        let after = bytes.get(at + name.len());
        !(is_word(ends.first()) && is_word(before) || is_word(ends.last()) && is_word(after))
    };
    text.match_indices(name)
        .map(|(at, _)| at)
        .filter(|at| free(*at))
        .collect()
}

fn has_word(text: &str, name: &str) -> bool {
    !word_positions(text, name).is_empty()
}

fn line_of(text: &str, at: usize) -> usize {
    text[..at].matches('\n').count() + 1
}

/// Where the body of the item at `from` opens; an item that ends in a semicolon has none.
fn body(code: &str, from: usize) -> Option<usize> {
    let mut depth = 0_usize;
    for (at, byte) in code.bytes().enumerate().skip(from) {
        match byte {
            b'(' | b'[' => depth += 1,
            b')' | b']' => depth = depth.saturating_sub(1),
            b'{' if depth == 0 => return Some(at),
            b';' if depth == 0 => return None,
            _ => {}
        }
    }
    None
}

/// The position after the brace that closes the one at `open`.
fn closing(code: &str, open: usize) -> usize {
    let mut depth = 0_usize;
    for (at, byte) in code.bytes().enumerate().skip(open) {
        match byte {
            b'{' => depth += 1,
            b'}' if depth == 1 => return at + 1,
            b'}' => depth = depth.saturating_sub(1),
            _ => {}
        }
    }
    code.len()
}

/// Replaces every line of the items under `#[cfg(test)]`.
fn without_tests(code: &str) -> String {
    let mut kept = String::with_capacity(code.len());
    let mut from = 0;
    while let Some(found) = code[from..].find(TEST_ONLY) {
        let start = from + found;
        let after_item = |open| closing(code, open);
        let after_semicolon = || code[start..].find(';').map_or(code.len(), |offset| start + offset + 1);
        let end = body(code, start).map_or_else(after_semicolon, after_item);
        kept.push_str(&code[from..start]);
        kept.push_str(TEST_LINE);
        kept.push_str(&format!("\n{TEST_LINE}").repeat(code[start..end].matches('\n').count()));
        from = end;
    }
    kept + &code[from..]
}

/// The text with comments and the insides of literals turned to spaces; lines stay where they are.
fn blank(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        let (code, blanked) = next_piece(rest, first, out.chars().next_back());
        out.push_str(&rest[..code]);
        out.extend(
            rest[code..code + blanked]
                .chars()
                .map(|c| if c == '\n' { '\n' } else { ' ' }),
        );
        rest = &rest[code + blanked..];
    }
    out
}

/// How many bytes to keep and then how many to blank.
fn next_piece(rest: &str, first: char, before: Option<char>) -> (usize, usize) {
    let in_word = before.is_some_and(|c| c.is_alphanumeric() || c == '_');
    match first {
        '/' if rest.starts_with("//") => (0, rest.find('\n').unwrap_or(rest.len())),
        '/' if rest.starts_with("/*") => (0, block_comment(rest)),
        '"' => (1, quoted(&rest[1..], '"')),
        'r' | 'b' | 'c' if !in_word => raw_string(rest).unwrap_or((1, 0)),
        '\'' => (1, char_literal(&rest[1..])),
        _ => (first.len_utf8(), 0),
    }
}

fn block_comment(rest: &str) -> usize {
    let mut depth = 0_usize;
    let mut at = 0;
    while at < rest.len() {
        if rest[at..].starts_with("/*") {
            depth += 1;
            at += 2;
        } else if rest[at..].starts_with("*/") {
            depth -= 1;
            at += 2;
            if depth == 0 {
                return at;
            }
        } else {
            at += rest[at..].chars().next().map_or(1, char::len_utf8);
        }
    }
    rest.len()
}

/// The length of what stands before the closing quote, and the quote.
fn quoted(rest: &str, quote: char) -> usize {
    let mut escaped = false;
    for (at, c) in rest.char_indices() {
        match c {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            _ if c == quote => return at + 1,
            _ => {}
        }
    }
    rest.len()
}

/// `r"…"`, `br#"…"#` and the like; plain `b"…"` is left to the quote that follows.
fn raw_string(rest: &str) -> Option<(usize, usize)> {
    let head = rest.find('r').filter(|at| *at <= 1)? + 1;
    let hashes = rest[head..].bytes().take_while(|byte| *byte == b'#').count();
    let body = rest[head + hashes..].strip_prefix('"')?;
    let end = format!("\"{}", "#".repeat(hashes));
    Some((
        head + hashes + 1,
        body.find(&end).map_or(body.len(), |at| at + end.len()),
    ))
}

/// A character literal's inside and quote; nothing for a lifetime.
fn char_literal(rest: &str) -> usize {
    let mut chars = rest.chars();
    match (chars.next(), chars.next()) {
        (Some('\\'), _) => quoted(rest, '\''),
        (Some(c), Some('\'')) => c.len_utf8() + 1,
        _ => 0,
    }
}

/// Every Rust file below a folder of the package, paths relative to the package.
fn sources(folder: &str) -> Vec<Source> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut folders = vec![root.join(folder)];
    let mut found = Vec::new();
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder).into_iter().flatten().flatten() {
            let path = entry.path();
            if path.is_dir() && !path.ends_with("target") {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let text = std::fs::read_to_string(&path).expect("a source file is readable text");
                found.push(Source::new(
                    path.strip_prefix(root).expect("below the root").to_path_buf(),
                    text,
                ));
            }
        }
    }
    found.sort_by(|a, b| a.path.cmp(&b.path));
    let for_tests = found.iter().flat_map(Source::test_modules).collect::<Vec<_>>();
    let is_test = |path: &Path| {
        for_tests
            .iter()
            .any(|module| path.with_extension("").starts_with(module))
    };
    found
        .into_iter()
        .map(|source| {
            if is_test(&source.path) {
                source.into_tests()
            } else {
                source
            }
        })
        .collect()
}
