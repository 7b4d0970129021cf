//! The sample configuration documents every setting there is, and no other, each with its real default.

use std::collections::{BTreeMap, BTreeSet};

use super::tests::read_with;

const SAMPLE: &str = include_str!("../../config/patchcord.toml");

/// A key nobody would mistake for one of ours, so that the whole list of valid ones comes back.
const NOBODYS_KEY: &str = "zzzzzzzzzzzzzzzzzzzzzzzzzzzzzz";

/// A section, and a key in it.
type Setting = (String, String);

#[test]
fn every_setting_is_documented_and_every_documented_setting_exists() {
    let documented: BTreeSet<Setting> = documented().into_keys().collect();
    assert_eq!(documented, known());
}

#[test]
fn every_documented_default_is_the_real_one() {
    let secret = format!("whsec_{}", "AAAA".repeat(8));
    let config = read_with(
        "[[trunk]]\nname = \"a\"\nusername = \"u\"\npassword = \"env:PASSWORD\"\n[[trunk]]\nname = \"b\"\n\
         from = [\"10.0.0.0/8\"]\n[registrar.users.x]\npassword = \"env:PASSWORD\"\n[[route]]\nagent = \"operator\"\n\
         [agents.b]\nbackends = [\"operator\"]\n\
         [agents.b.turn_detection]\ntype = \"semantic_vad\"\n[backends.x]\nkind = \"realtime\"\nurl = \"ws://x\"\n\
         [tools.t]\ndescription = \"d\"\nurl = \"https://x\"\n[mcp.m]\nurl = \"https://x\"\n[mcp.p]\n\
         command = [\"x\"]\n[prices.p]\n[budgets.b]\nmax = 1\n\
         [[webhook]]\nname = \"w\"\nurl = \"https://x/\"\nsecret = \"env:WEBHOOK\"",
        &[("PASSWORD", "hunter2"), ("WEBHOOK", secret.as_str())],
    );
    let effective = config.unwrap().effective_toml();
    for ((section, key), default) in documented() {
        let values = values(&effective, &section, &key);
        match default.as_str() {
            "required" => {}
            "the backend's" => assert_eq!(values, BTreeSet::new(), "{section} {key}"),
            default => assert!(
                values.contains(default),
                "{section} {key}: {default} is none of {values:?}"
            ),
        }
    }
}

#[test]
fn settings_left_out_of_the_sample_are_good_ones() {
    let given: String = SAMPLE
        .lines()
        .map(|line| format!("{}\n", disabled(line).unwrap_or(line)))
        .collect();
    let given = given
        .replace("env:TRUNK_PASSWORD", "env:PASSWORD")
        .replace("env:LOGIN_PASSWORD", "env:PASSWORD")
        .replace("env:ALICE_PASSWORD", "env:PASSWORD")
        .replace("env:PATCHCORD_HTTP_TOKEN", "env:PASSWORD")
        .replace("env:PATCHCORD_RECORDING_KEY", "env:RECORDING_KEY")
        .replace("env:CRM_WEBHOOK_SECRET", "env:WEBHOOK_SECRET")
        .replace("ca = \"/etc", "#ca = \"/etc")
        .replace("env:S3_ACCESS_KEY_ID", "env:PASSWORD")
        .replace("env:S3_SECRET_ACCESS_KEY", "env:PASSWORD")
        .replace("bucket = \"\"", "bucket = \"b\"")
        .replace("eagerness = \"auto\"", "");
    let env = BTreeMap::from([
        ("PASSWORD".to_owned(), "hunter2".to_owned()),
        ("RECORDING_KEY".to_owned(), "0f".repeat(32)),
        ("WEBHOOK_SECRET".to_owned(), format!("whsec_{}", "AAAA".repeat(8))),
    ]);
    super::load("f.toml", &given, &env, &|_| Err(std::io::ErrorKind::NotFound.into())).unwrap();
}

/// What the sample says, with the default of each setting; "required" for those without.
fn documented() -> BTreeMap<Setting, String> {
    let mut documented = BTreeMap::new();
    let (mut section, mut comment) = (String::new(), String::new());
    for line in SAMPLE.lines() {
        if let Some(line) = Some(disabled(line).unwrap_or(line)).filter(|line| line.starts_with('[')) {
            section = kind_of(line);
            documented.extend(inner_table(line).map(|table| (table, "required".to_owned())));
        } else if let Some(text) = line.strip_prefix("# ") {
            comment = format!("{comment} {text}");
            continue;
        } else if let Some((key, _)) = disabled(line).unwrap_or(line).split_once(" = ") {
            let default = match comment.split_once("Default: ") {
                Some((_, default)) => default.to_owned(),
                None => "required".to_owned(),
            };
            let first = documented
                .entry((section.clone(), key.to_owned()))
                .or_insert(default.clone());
            let told = comment.contains("Required") || comment.contains("Default: ") || first == "required";
            assert!(told, "{section} {key} has no default");
        }
        comment.clear();
    }
    documented
}

/// A setting or a table that is left out: `#key = value`, `#[table]`.
fn disabled(line: &str) -> Option<&str> {
    line.strip_prefix('#')
        .filter(|rest| rest.starts_with(|first: char| first.is_ascii_lowercase() || first == '['))
}

/// The section without the name that is not ours.
fn kind_of(header: &str) -> String {
    let header = header.trim_matches(['[', ']']);
    let last = header.rsplit('.').next().unwrap_or_default();
    match last {
        "turn_detection" | "tls" | "upload" => last.to_owned(),
        _ if header.starts_with("registrar.users.") => "users".to_owned(),
        _ => header.split('.').next().unwrap_or_default().to_owned(),
    }
}

/// A table inside a named one, or inside `[sip]` or `[recording]`, is a setting of it.
fn inner_table(header: &str) -> Option<Setting> {
    match header.trim_matches(['[', ']']).split('.').collect::<Vec<_>>()[..] {
        ["registrar", "users", _] => Some(("registrar".to_owned(), "users".to_owned())),
        [part, _, table] | [part @ ("sip" | "recording"), table] => Some((part.to_owned(), table.to_owned())),
        _ => None,
    }
}

/// The settings the code reads, as it lists them to somebody who gives an unknown one.
fn known() -> BTreeSet<Setting> {
    let plain = [
        "sip",
        "sip.tls",
        "media",
        "http",
        "limits",
        "defence",
        "session",
        "records",
        "recording",
        "recording.upload",
        "journal",
        "log",
        "registrar",
    ]
    .map(|name| format!("[{name}]"));
    let tables = [
        "[[trunk]]\nname = \"a\"\nfrom = [\"10.0.0.0/8\"]",
        "[registrar.users.x]\npassword = \"env:PASSWORD\"",
        "[[route]]\nagent = \"operator\"",
        "[backends.x]\nkind = \"operator\"",
        "[backends.x]\nkind = \"realtime\"\nurl = \"ws://x\"",
        "[prices.x]",
        "[budgets.x]\nmax = 1",
        "[[webhook]]\nname = \"w\"\nurl = \"https://x/\"\nsecret = \"env:WEBHOOK\"",
        "[agents.x]\nbackends = [\"operator\"]",
        "[tools.x]\ndescription = \"d\"\nurl = \"https://x\"",
        "[mcp.x]\nurl = \"https://x\"",
        "[agents.x]\nbackends = [\"operator\"]\n[agents.x.turn_detection]\ntype = \"server_vad\"",
        "[agents.x]\nbackends = [\"operator\"]\n[agents.x.turn_detection]\ntype = \"semantic_vad\"",
    ];
    plain
        .into_iter()
        .chain(tables.map(str::to_owned))
        .flat_map(|table| known_in(&table))
        .collect()
}

fn known_in(table: &str) -> Vec<Setting> {
    let secret = format!("whsec_{}", "AAAA".repeat(8));
    let env = [("PASSWORD", "hunter2"), ("WEBHOOK", secret.as_str())];
    let found = read_with(&format!("{table}\n{NOBODYS_KEY} = 1"), &env).unwrap_err();
    let [problem] = found.as_slice() else {
        panic!("{found:?}")
    };
    let section = table.lines().rfind(|line| line.starts_with('[')).map(kind_of).unwrap();
    let (_, list) = problem.rsplit_once(": ").unwrap();
    list.split('"')
        .skip(1)
        .step_by(2)
        .map(|key| (section.clone(), key.to_owned()))
        .collect()
}

/// All values a setting has in the sections of its kind.
fn values(effective: &str, section: &str, key: &str) -> BTreeSet<String> {
    let mut current = String::new();
    let mut values = BTreeSet::new();
    for line in effective.lines() {
        match line.split_once(" = ") {
            None if line.starts_with('[') => current = kind_of(line),
            Some((name, value)) if current == section && name == key => drop(values.insert(value.to_owned())),
            _ => {}
        }
    }
    values
}
