//! Whole configurations: several problems at once, the environment, secrets, and the way back through text.

use std::{collections::BTreeMap, io};

use super::{Config, LogFormat, Problems, load};

/// What every configuration below ends with, so that there is an agent to route to.
const BASE: &str = "\n[agents.operator]\nbackends = [\"operator\"]\n[backends.operator]\nkind = \"operator\"\n";

const SAMPLE: &str = include_str!("../../config/patchcord.toml");

#[test]
fn an_empty_file_gives_the_defaults() {
    assert_eq!(
        load("f.toml", "", &BTreeMap::new(), &no_file).unwrap(),
        Config::default()
    );
}

#[test]
fn the_sample_runs_as_it_is_and_sets_the_defaults() {
    let sample = load("patchcord.toml", SAMPLE, &BTreeMap::new(), &no_file).unwrap();
    let names = |names: Vec<&String>| names.into_iter().cloned().collect::<Vec<_>>();
    assert_eq!(names(sample.agents.keys().collect()), ["operator"]);
    assert_eq!(names(sample.backends.keys().collect()), ["openai", "operator"]);
    assert_eq!((sample.trunks.len(), sample.routes.len()), (1, 1));
    let sections = Config {
        trunks: Vec::new(),
        routes: Vec::new(),
        agents: BTreeMap::new(),
        backends: BTreeMap::new(),
        ..sample
    };
    assert_eq!(sections, Config::default());
}

#[test]
fn everything_wrong_is_told_at_once_in_the_order_of_the_file() {
    let text = "[sipp]\n[sip]\nlisen = []\n[limits]\ncalls_max = -3\n[[route]]\nagent = \"nobody\"\n[agents.a]\n";
    let env = variables(&[
        ("PATCHCORD__HTTP__LISTEN", "here"),
        ("PATCHCORD__HTTPS__LISTEN", "there"),
    ]);
    assert_eq!(
        lines(load_with_base(text, &env).unwrap_err()),
        [
            "f.toml:1:2: unknown section sipp: did you mean \"sip\"?",
            "f.toml:3:1: unknown key \"lisen\" in [sip]: did you mean \"listen\"?",
            "f.toml:5:13: limits.calls_max = -3 is out of range: 1 to 100000 calls",
            "f.toml:7:9: route[0].agent = \"nobody\" names no agent: there are \"a\" and \"operator\"",
            "f.toml:8:1: [agents.a] needs the key \"backends\"",
            "PATCHCORD__HTTPS__LISTEN: there is no section \"https\": did you mean \"http\"?",
            "PATCHCORD__HTTP__LISTEN: http.listen = \"here\" is not an IP address with a port: write it like \
             \"127.0.0.1:8080\"",
        ]
    );
}

#[test]
fn text_that_is_not_toml_is_told_with_its_position() {
    let found = problems("[sip]\nlisten = [\"udp:0.0.0.0:5060\"\nexternal_ip = \"\"");
    assert_eq!(found.len(), 1);
    assert!(found[0].starts_with("f.toml:3:1: this is not TOML: "), "{found:?}");
    let twice = problems("[sip]\n[sip]");
    assert_eq!(twice, ["f.toml:2:2: this is not TOML: duplicate key"]);
}

#[test]
fn parts_of_the_wrong_shape_are_told_with_the_right_one() {
    let text =
        "sip = 1\nroute = [{ agent = \"x\" }, 1]\nagents = { x = 3, y = [] }\nbackends = true\n[trunk]\nname = \"a\"";
    let found = lines(load("f.toml", text, &BTreeMap::new(), &no_file).unwrap_err());
    assert_eq!(
        found,
        [
            "f.toml:1:1: sip must be a table: write [sip]",
            "f.toml:2:20: route[0].agent = \"x\" names no agent: there are none",
            "f.toml:2:27: route[1] must be a table: write [[route]]",
            "f.toml:3:12: agents.x must be a table: write [agents.x]",
            "f.toml:3:19: agents.y must be a table: write [agents.y]",
            "f.toml:4:1: backends must be tables by name: write [backends.NAME]",
            "f.toml:5:2: trunk must be a list of tables: write [[trunk]]",
        ]
    );
}

#[test]
fn inline_tables_and_dotted_keys_have_positions_too() {
    assert_eq!(
        problems("http.lisen = \"x\"\nlog = { format = \"xml\", lvl = \"info\" }"),
        [
            "f.toml:1:6: unknown key \"lisen\" in [http]: did you mean \"listen\"?",
            "f.toml:2:18: log.format = \"xml\" is not known: there are \"human\" and \"json\"",
            "f.toml:2:25: unknown key \"lvl\" in [log]: did you mean \"level\"?",
        ]
    );
}

#[test]
fn dates_are_no_texts() {
    assert_eq!(
        problems("[records]\npath = 2020-01-01"),
        ["f.toml:2:8: records.path = a date is not a text: put it in quotes"]
    );
}

#[test]
fn names_of_agents_and_backends_are_checked() {
    assert_eq!(
        problems("[agents.Sales]\nbackends = [\"operator\"]"),
        [
            "f.toml:1:9: agents.Sales is not a good name: use 1 to 64 of a-z, 0-9, \"-\" and single \"_\" inside, \
          beginning with a letter or digit"
        ]
    );
}

#[test]
fn nothing_nests_too_deep_to_be_read() {
    let deep = 100_000;
    for text in [
        format!("sip{} = 1", ".a".repeat(deep)),
        format!("[sip{}]", ".a".repeat(deep)),
        format!("[sip]\nlisten = {}{}", "[".repeat(deep), "]".repeat(deep)),
        format!("[agents]\na = {}1{}", "{a=".repeat(deep / 2), "}".repeat(deep / 2)),
    ] {
        assert!(!problems(&text).is_empty());
    }
}

#[test]
fn there_is_a_most_of_everything() {
    let routes = "[[route]]\nagent = \"operator\"\n".repeat(1025);
    assert_eq!(
        problems(&routes),
        ["f.toml:2049:1: there are 1025 [[route]]: at most 1024 are possible"]
    );
    let long = format!("#{}", " ".repeat(1 << 20));
    assert_eq!(
        problems(&long),
        ["f.toml:1:1: the file is longer than 1048576 bytes: that is not a configuration"]
    );
}

#[test]
fn variables_override_the_file() {
    let text = "[sip]\nlisten = [\"udp:0.0.0.0:5060\"]\n[limits]\ncalls_max = 1\n[log]\nformat = \"human\"";
    let env = variables(&[
        ("PATCHCORD__SIP__LISTEN", "udp:127.0.0.1:1, tcp:127.0.0.1:2"),
        ("PATCHCORD__LIMITS__CALLS_MAX", "7"),
        ("PATCHCORD__LOG__FORMAT", "json"),
        ("PATCHCORD__AGENTS__OPERATOR__GREETING", "Hi, and welcome."),
        ("PATCHCORD__AGENTS__OPERATOR__TOOLS", ""),
        ("PATCHCORD__AGENTS__OPERATOR__TURN_DETECTION__THRESHOLD", "0.75"),
        ("PATCHCORD__AGENTS__OPERATOR__TURN_DETECTION__CREATE_RESPONSE", "TRUE"),
        ("PATCHCORD_CONFIG", "elsewhere"),
        ("PATH", "/bin"),
    ]);
    let config = load_with_base(text, &env).unwrap();
    assert_eq!(config.sip.listen.len(), 2);
    assert_eq!((config.limits.calls_max, config.log.format), (7, LogFormat::Json));
    let agent = &config.agents["operator"];
    assert_eq!(
        (agent.greeting.as_deref(), agent.tools.len()),
        (Some("Hi, and welcome."), 0)
    );
    assert_eq!(agent.turn_detection["threshold"], 0.75);
    assert_eq!(agent.turn_detection["create_response"], true);
}

#[test]
fn variables_alone_can_make_an_agent_and_a_backend() {
    let env = variables(&[
        ("PATCHCORD__AGENTS__NEW__BACKENDS", "cloud"),
        ("PATCHCORD__BACKENDS__CLOUD__KIND", "realtime"),
        ("PATCHCORD__BACKENDS__CLOUD__URL", "wss://example.com/v1/realtime"),
        ("PATCHCORD__BACKENDS__CLOUD__API_KEY", "hunter2"),
    ]);
    let config = load_with_base("", &env).unwrap();
    assert_eq!(config.agents["new"].backends, ["cloud"]);
    assert_eq!(config.backends["cloud"].api_key().unwrap().reveal(), "hunter2");
}

#[test]
fn what_is_wrong_in_a_variable_names_the_variable() {
    for (name, value, text) in [
        (
            "LIMITS__CALLS_MAX",
            "many",
            "limits.calls_max = \"many\" is not a whole number: 1 to 100000 calls",
        ),
        (
            "LIMITS__CALLS",
            "1",
            "unknown key \"calls\" in [limits]: did you mean \"calls_max\"?",
        ),
        (
            "SIP__LISTEN",
            "udp:x",
            "sip.listen[0] = \"udp:x\" has no IP address with a port: write \
          \"udp:ADDRESS:PORT\", or the same with tcp, tls, ws or wss",
        ),
        ("AGENTS__X__VOICE", "marin", "[agents.x] needs the key \"backends\""),
        (
            "AGENTS__OPERATOR__BACKENDS",
            "operatr",
            "agents.operator.backends[0] = \"operatr\" names no backend: did \
          you mean \"operator\"?",
        ),
        (
            "TRUNK__0__NAME",
            "x",
            "[[trunk]] is a list, which variables cannot change: write it into the file",
        ),
        (
            "ROUTES__0__TO",
            "x",
            "there is no section \"routes\": did you mean \"route\"?",
        ),
        (
            "SIP",
            "x",
            "does not name a setting: write PATCHCORD__SECTION__KEY or PATCHCORD__AGENTS__NAME__KEY",
        ),
        (
            "AGENTS__X__TURN_DETECTION",
            "x",
            "does not name a setting: write PATCHCORD__SECTION__KEY or \
          PATCHCORD__AGENTS__NAME__KEY",
        ),
        (
            "SIP__",
            "x",
            "does not name a setting: write PATCHCORD__SECTION__KEY or PATCHCORD__AGENTS__NAME__KEY",
        ),
    ] {
        let name = format!("PATCHCORD__{name}");
        let found = lines(load_with_base("", &variables(&[(&name, value)])).unwrap_err());
        assert!(found.contains(&format!("{name}: {text}")), "{found:#?}");
        assert!(found.iter().all(|line| line.starts_with(&name)), "{found:#?}");
    }
}

#[test]
fn two_variables_for_one_setting_are_refused() {
    let env = variables(&[("PATCHCORD__LOG__LEVEL", "info"), ("PATCHCORD__log__level", "warn")]);
    assert_eq!(
        lines(load_with_base("", &env).unwrap_err()),
        ["PATCHCORD__log__level: sets the same as PATCHCORD__LOG__LEVEL: remove one of them"]
    );
}

#[test]
fn secrets_show_neither_in_debug_nor_in_the_effective_settings() {
    let text = "[[trunk]]\nname = \"a\"\nusername = \"u\"\npassword = \"env:PASSWORD\"\n[agents.a]\n\
                backends = [\"x\"]\n[backends.x]\nkind = \"realtime\"\nurl = \"ws://x\"\napi_key = \"file:/key\"\n\
                [backends.y]\nkind = \"realtime\"\nurl = \"ws://y\"\napi_key = \"env:NOT_SET\"";
    let config = read(text);
    let effective = config.effective_toml();
    assert!(!format!("{config:?}{config:#?}{effective}").contains("hunter2"));
    for line in [
        "password = \"env:PASSWORD\" # ***",
        "api_key = \"file:/key\" # ***",
        "api_key = \"env:NOT_SET\" # not fetched: nothing uses it",
    ] {
        assert!(
            effective.lines().any(|written| written == line),
            "{line} in {effective}"
        );
    }
}

#[test]
fn no_problem_shows_a_secret() {
    let text = "[[trunk]]\nname = \"a\"\nusername = \"u\"\npassword = \"hunter2\"\n[agents.a]\nbackends = [\"x\"]\n\
                [backends.x]\nkind = \"realtime\"\nurl = \"ws://u:hunter2@x\"\napi_key = \"env:hunter2-\"\n\
                [backends.y]\nkind = \"operator\"\napi_key = \"hunter2\"";
    let found = problems(text).join("\n");
    assert_eq!(found.lines().count(), 4, "{found}");
    assert!(!found.contains("hunter2"), "{found}");
    let env = variables(&[("PATCHCORD__BACKENDS__OPERATOR__API_KEY", "hunter2")]);
    assert!(!load_with_base("", &env).unwrap_err().to_string().contains("hunter2"));
}

#[test]
fn the_effective_settings_read_back_as_the_same() {
    let full = "[sip]\nexternal_ip = \"192.0.2.1\"\n[media]\nsilence_timeout_s = 0\n[records]\npath = \"\"\n\
                [[trunk]]\nname = \"a\"\nusername = \"ü\"\npassword = \"env:PASSWORD\"\nfrom = [\"::/0\"]\n\
                [[route]]\nto = \"9?*@x\"\nagent = \"b-2\"\n[agents.b-2]\nbackends = [\"x\", \"operator\"]\n\
                instructions = \"\"\"\nSay \"yes\".\n\\\\ \\u0007 é\n\"\"\"\nanswer = \"at_once\"\ntools = []\n\
                [agents.b-2.turn_detection]\ntype = \"server_vad\"\nthreshold = 0.1\nprefix_padding_ms = 3\n\
                create_response = false\n[backends.x]\nkind = \"realtime\"\nurl = \"ws://x\"\napi_key = \"file:/key\"";
    for config in [read(full), read(""), Config::default(), load_sample()] {
        let effective = config.effective_toml();
        let env = variables(&[("PASSWORD", "hunter2")]);
        let again = load("effective.toml", &effective, &env, &key_file);
        assert_eq!(
            again.unwrap_or_else(|problems| panic!("{problems}\n{effective}")),
            config
        );
    }
}

#[test]
fn no_text_makes_the_reader_panic() {
    let mut random = Random(7);
    let bare: String = SAMPLE
        .lines()
        .filter(|line| !line.starts_with('#'))
        .map(|line| format!("{line}\n"))
        .collect();
    for _ in 0..1_500 {
        let text = mutated(&bare, &mut random);
        let env = variables(&[("PATCHCORD__AGENTS__OPERATOR__TURN_DETECTION__THRESHOLD", "0.5")]);
        match load("f.toml", &text, &env, &no_file) {
            Ok(config) => drop(load("e.toml", &config.effective_toml(), &BTreeMap::new(), &no_file).unwrap()),
            Err(problems) => assert!(!problems.to_string().is_empty()),
        }
    }
}

/// Reads what must be good; `PASSWORD` is set and the file `/key` is there.
pub(super) fn read(text: &str) -> Config {
    let env = variables(&[("PASSWORD", "hunter2")]);
    load_with_base(text, &env).unwrap_or_else(|problems| panic!("{problems}"))
}

/// The same with these variables; the problems as lines.
pub(crate) fn read_with(text: &str, env: &[(&str, &str)]) -> Result<Config, Vec<String>> {
    load_with_base(text, &variables(env)).map_err(lines)
}

/// The problems of what must be bad.
pub(super) fn problems(text: &str) -> Vec<String> {
    let env = variables(&[("PASSWORD", "hunter2")]);
    lines(load_with_base(text, &env).expect_err("something is wrong"))
}

fn load_with_base(text: &str, env: &BTreeMap<String, String>) -> Result<Config, Problems> {
    load("f.toml", &format!("{text}{BASE}"), env, &key_file)
}

fn load_sample() -> Config {
    load("patchcord.toml", SAMPLE, &BTreeMap::new(), &no_file).unwrap()
}

fn lines(problems: Problems) -> Vec<String> {
    problems.to_string().lines().map(str::to_owned).collect()
}

fn variables(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
    pairs
        .iter()
        .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
        .collect()
}

fn key_file(path: &str) -> io::Result<String> {
    match path {
        "/key" => Ok("hunter2\n".to_owned()),
        "/umlaut" => Ok("hünter2\n".to_owned()),
        _ => no_file(path),
    }
}

fn no_file(_: &str) -> io::Result<String> {
    Err(io::ErrorKind::NotFound.into())
}

/// Some characters changed, removed, or copied from elsewhere in the text.
fn mutated(text: &str, random: &mut Random) -> String {
    const SPICE: &[char] = &[
        '"', '[', ']', '=', '.', '\n', '{', '}', ',', '#', '\'', '\\', '-', '0', '9', 'é', '\0',
    ];
    let mut letters: Vec<char> = text.chars().collect();
    for _ in 0..=random.below(6) {
        let at = random.below(letters.len());
        match random.below(4) {
            0 => letters[at] = SPICE[random.below(SPICE.len())],
            1 => letters.insert(at, SPICE[random.below(SPICE.len())]),
            2 => drop(letters.drain(at..(at + random.below(40)).min(letters.len()))),
            _ => {
                let from = random.below(letters.len());
                let copy = letters[from..(from + random.below(60)).min(letters.len())].to_vec();
                drop(letters.splice(at..at, copy));
            }
        }
    }
    letters.into_iter().collect()
}

/// Numbers that look random and are the same in every run.
struct Random(u64);

impl Random {
    fn below(&mut self, bound: usize) -> usize {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        ((self.0 >> 33) as usize) % bound.max(1)
    }
}
