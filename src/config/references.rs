//! What only the whole can tell: names that lead nowhere or to two things, and secrets that something uses.

use std::{collections::BTreeMap, io, sync::Arc};

use super::{
    Agent, Backend, Config, Extra, REGISTRAR, Tool, Trunk, Webhook, nearest::suggestion, place::Path, problem::Report,
    secret::Secret, value::shown_text,
};

/// Says which names lead nowhere, and which are taken twice.
pub(super) fn check(config: &Config, report: &mut Report) {
    check_trunks(&config.trunks, report);
    for (index, _) in config
        .trunks
        .iter()
        .enumerate()
        .filter(|(_, trunk)| trunk.name == REGISTRAR)
    {
        let path = Path::default().key("trunk").index(index).key("name");
        report.value(
            &path,
            format!("{path} = \"{REGISTRAR}\" is what [registrar] is called: take another name"),
        );
    }
    for (index, route) in config.routes.iter().enumerate() {
        let path = Path::default().key("route").index(index);
        if !route.agent.is_empty() && !config.agents.contains_key(&route.agent) {
            let agents = config.agents.keys().map(String::as_str);
            dangling(report, &path.key("agent"), "agent", &route.agent, agents);
        }
        let registrar = Some(REGISTRAR).filter(|_| config.registrar.is_open());
        let trunks = || config.trunks.iter().map(|trunk| trunk.name.as_str()).chain(registrar);
        if let Some(name) = route
            .literal_trunk()
            .filter(|name| !trunks().any(|trunk| trunk == *name))
        {
            dangling(report, &path.key("trunk"), "trunk", name, trunks());
        }
    }
    config.agents.values().for_each(|agent| {
        check_backends(config, agent, report);
        check_tools(config, agent, report);
        check_transfer(config, agent, report);
    });
    for name in config.tools.keys().filter(|name| Tool::is_built_in(name)) {
        let path = Path::default().key("tools").key(name);
        report.key(
            &path,
            format!("{path} is what a tool of the gateway is called: take another name"),
        );
    }
    check_money(config, report);
    check_webhooks(&config.webhooks, report);
}

fn check_money(config: &Config, report: &mut Report) {
    for backend in config.backends.values() {
        if let Some(name) = backend
            .prices
            .as_ref()
            .filter(|name| !config.prices.contains_key(*name))
        {
            let path = Path::default().key("backends").key(&backend.name).key("prices");
            dangling(report, &path, "prices", name, config.prices.keys().map(String::as_str));
        }
    }
    for budget in config.budgets.values() {
        let path = Path::default().key("budgets").key(&budget.name).key("agents");
        let agents = budget.agents.iter().enumerate();
        for (index, name) in agents.filter(|(_, name)| !config.agents.contains_key(*name)) {
            let agents = config.agents.keys().map(String::as_str);
            dangling(report, &path.index(index), "agent", name, agents);
        }
    }
}

fn check_webhooks(webhooks: &[Webhook], report: &mut Report) {
    for (index, webhook) in webhooks.iter().enumerate() {
        let before = webhooks.get(..index).unwrap_or_default();
        if !webhook.name.is_empty() && before.iter().any(|other| other.name == webhook.name) {
            let path = Path::default().key("webhook").index(index).key("name");
            report.value(
                &path,
                format!("{path} = \"{}\" is taken by another webhook", webhook.name),
            );
        }
    }
}

fn check_backends(config: &Config, agent: &Arc<Agent>, report: &mut Report) {
    let path = Path::default().key("agents").key(&agent.name).key("backends");
    for (index, name) in agent.backends.iter().enumerate() {
        if !config.backends.contains_key(name) {
            let backends = config.backends.keys().map(String::as_str);
            dangling(report, &path.index(index), "backend", name, backends);
        }
        let backend = config.backends.get(name);
        if !agent.tools.is_empty() && backend.is_some_and(Backend::lacks_delegation) {
            let path = path.index(index);
            let fault = format!(
                "{path} = \"{name}\" calls no tools: give it the key \"delegation_model\", or the agent tools = []"
            );
            report.value(&path, fault);
        }
    }
}

fn check_tools(config: &Config, agent: &Arc<Agent>, report: &mut Report) {
    let path = Path::default().key("agents").key(&agent.name).key("tools");
    for (index, tool) in agent.tools.iter().enumerate() {
        let path = path.index(index);
        match tool {
            Tool::Http(name) if !config.tools.contains_key(name) => {
                let nearest = Tool::nearest(name, config.tools.keys().map(String::as_str));
                report.value(&path, format!("{path} = {} is not known: {nearest}", shown_text(name)));
            }
            Tool::Mcp(name) if !config.mcp.contains_key(name) => {
                let servers = config.mcp.keys().map(String::as_str);
                dangling(report, &path, "MCP server", name, servers);
            }
            _ => {}
        }
    }
}

fn check_transfer(config: &Config, agent: &Arc<Agent>, report: &mut Report) {
    let registrar = Some(REGISTRAR).filter(|_| config.registrar.is_open());
    let trunks = || config.trunks.iter().map(|trunk| trunk.name.as_str()).chain(registrar);
    let Some(name) = &agent.transfer.trunk else { return };
    let path = Path::default().key("agents").key(&agent.name).key("transfer_trunk");
    let known = config.trunks.iter().find(|trunk| trunk.name == *name);
    if !trunks().any(|trunk| trunk == name) {
        dangling(report, &path, "trunk", name, trunks());
    } else if known.is_some_and(|trunk| trunk.uplink.is_none()) {
        let shown = shown_text(name);
        report.value(
            &path,
            format!("{path} = {shown} cannot be called through: give that trunk the key \"host\""),
        );
    }
}

fn dangling<'a>(report: &mut Report, path: &Path, what: &str, name: &str, valid: impl Iterator<Item = &'a str>) {
    let shown = shown_text(name);
    report.value(
        path,
        format!("{path} = {shown} names no {what}: {}", suggestion(name, valid)),
    );
}

/// The first trunk with an address has it; of open trunks the user name tells which.
fn check_trunks(trunks: &[Trunk], report: &mut Report) {
    for (index, trunk) in trunks.iter().enumerate() {
        let path = Path::default().key("trunk").index(index);
        let before = trunks.get(..index).unwrap_or_default();
        if !trunk.name.is_empty() && before.iter().any(|other| other.name == trunk.name) {
            report.value(
                &path.key("name"),
                format!("{path}.name = \"{}\" is taken by another trunk", trunk.name),
            );
        }
        for (place, network) in trunk.from.iter().enumerate() {
            if let Some(other) = before
                .iter()
                .find(|other| other.from.iter().any(|taken| taken.contains(network)))
            {
                let path = path.key("from").index(place);
                report.value(
                    &path,
                    format!("{path} = \"{network}\" belongs to the trunk \"{}\" already", other.name),
                );
            }
        }
        let username = |trunk: &Trunk| {
            trunk
                .credentials
                .as_ref()
                .map(|credentials| credentials.username.clone())
        };
        let rival = before
            .iter()
            .find(|other| other.is_open() && trunk.is_open() && username(other) == username(trunk));
        if let Some(other) = rival {
            let path = path.key("username");
            report.value(
                &path,
                format!("{path} is the one of the trunk \"{}\" already", other.name),
            );
        }
    }
}

/// Fetches the secrets of trunks, and of the backends that some agent uses. A key that nothing uses may be absent.
pub(super) fn resolve_secrets(
    config: &mut Config,
    report: &mut Report,
    env: &BTreeMap<String, String>,
    read_file: &dyn Fn(&str) -> io::Result<String>,
) {
    let used: Vec<String> = config.backends_in_use().map(|backend| backend.name.clone()).collect();
    let mut fetch = |path: &Path, secret: &mut Secret| {
        let fetched = secret.resolve(env, read_file);
        fetched.unwrap_or_else(|fault| report.value(path, format!("{path} {fault}")));
    };
    if let Some(token) = &mut config.http.token {
        fetch(&Path::default().key("http").key("token"), token);
    }
    if let Some(key) = &mut config.recording.key {
        fetch(&Path::default().key("recording").key("key"), key);
    }
    if let Some(upload) = &mut config.recording.upload {
        let path = Path::default().key("recording").key("upload");
        for (key, secret) in upload.secrets() {
            fetch(&path.key(key), secret);
        }
    }
    for (index, trunk) in config.trunks.iter_mut().enumerate() {
        let path = Path::default().key("trunk").index(index);
        if let Some(credentials) = &mut trunk.credentials {
            fetch(&path.key("password"), &mut credentials.password);
        }
        if let Some(login) = trunk.uplink.as_mut().and_then(|uplink| uplink.login.as_mut()) {
            fetch(&path.key("login_password"), &mut login.password);
        }
    }
    for (name, user) in config.registrar.users.iter_mut() {
        let path = Path::default().key("registrar").key("users").key(name);
        fetch(&path.key("password"), &mut user.password);
    }
    for (name, backend) in config.backends.iter_mut().filter(|(name, _)| used.contains(name)) {
        let path = Path::default().key("backends").key(name);
        if let Some(key) = backend.api_key_mut() {
            fetch(&path.key("api_key"), key);
        }
        for (key, extra) in backend.extras_mut() {
            if let Extra::Secret(secret) = extra {
                fetch(&path.key(key), secret);
            }
        }
    }
    resolve_tool_secrets(config, &mut fetch);
    for (index, webhook) in config.webhooks.iter_mut().enumerate() {
        let path = Path::default().key("webhook").index(index).key("secret");
        if let Some(secret) = &mut webhook.secret {
            fetch(&path, secret);
        }
    }
    check_webhook_keys(config, report);
    if let Err(fault) = config.recording.key_bytes() {
        let path = Path::default().key("recording").key("key");
        report.value(&path, format!("{path} {fault}"));
    }
    check_header_secrets(config, report);
}

fn check_webhook_keys(config: &Config, report: &mut Report) {
    for (index, webhook) in config.webhooks.iter().enumerate() {
        let path = Path::default().key("webhook").index(index).key("secret");
        let fetched = webhook.secret.as_ref().is_some_and(Secret::is_resolved);
        if let Some(fault) = webhook.key().err().filter(|_| fetched) {
            report.value(&path, format!("{path} {fault}"));
        }
    }
}

fn check_header_secrets(config: &Config, report: &mut Report) {
    for backend in config.backends.values() {
        let path = Path::default().key("backends").key(&backend.name);
        let headers = backend.realtime().map(|realtime| &realtime.headers);
        let secrets = headers
            .into_iter()
            .flatten()
            .map(|(_, extra)| ("headers", extra.reveal()));
        let key = backend.api_key().map(|key| ("api_key", key.reveal()));
        for (key, _) in secrets.chain(key).filter(|(_, value)| !value.is_ascii()) {
            let path = path.key(key);
            let fault = format!("{path} holds letters that no header can carry: use ASCII alone");
            report.value(&path, fault);
        }
    }
}

/// Those of the tools and servers of tools that some agent has.
fn resolve_tool_secrets(config: &mut Config, fetch: &mut impl FnMut(&Path, &mut Secret)) {
    let used: Vec<Tool> = config.agents.values().flat_map(|agent| agent.tools.clone()).collect();
    for (name, tool) in config
        .tools
        .iter_mut()
        .filter(|(name, _)| used.contains(&Tool::Http((*name).clone())))
    {
        let path = Path::default().key("tools").key(name);
        for (key, secret) in tool.secrets() {
            fetch(&path.key(key), secret);
        }
    }
    for (name, server) in config
        .mcp
        .iter_mut()
        .filter(|(name, _)| used.contains(&Tool::Mcp((*name).clone())))
    {
        if let Some(bearer) = server.bearer_mut() {
            fetch(&Path::default().key("mcp").key(name).key("bearer"), bearer);
        }
    }
}

/// Fetches the secrets of one backend, whether or not an agent uses it.
pub(super) fn resolve_backend(
    backend: &mut Backend,
    env: &BTreeMap<String, String>,
    read_file: &dyn Fn(&str) -> io::Result<String>,
) -> Result<(), String> {
    if let Some(key) = backend.api_key_mut() {
        key.resolve(env, read_file)
            .map_err(|fault| format!("api_key {fault}"))?;
    }
    for (key, extra) in backend.extras_mut() {
        if let Extra::Secret(secret) = extra {
            secret
                .resolve(env, read_file)
                .map_err(|fault| format!("{key} {fault}"))?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::super::tests::{problems, read};

    #[test]
    fn a_route_to_no_agent_gets_the_nearest_one() {
        assert_eq!(
            problems("[[route]]\nagent = \"operater\""),
            ["f.toml:2:9: route[0].agent = \"operater\" names no agent: did you mean \"operator\"?"]
        );
        assert_eq!(
            problems("[[route]]\nagent = \"zzzz\""),
            ["f.toml:2:9: route[0].agent = \"zzzz\" names no agent: there is only \"operator\""]
        );
    }

    #[test]
    fn a_route_from_no_trunk_is_told_unless_it_is_a_pattern() {
        let trunk = "[[trunk]]\nname = \"lan\"\nfrom = [\"10.0.0.0/8\"]\n[[route]]\nagent = \"operator\"\n";
        assert_eq!(
            problems(&format!("{trunk}trunk = \"lam\"")),
            ["f.toml:6:9: route[0].trunk = \"lam\" names no trunk: did you mean \"lan\"?"]
        );
        read(&format!("{trunk}trunk = \"wan*\""));
        assert_eq!(
            problems("[[route]]\nagent = \"operator\"\ntrunk = \"lan\""),
            ["f.toml:3:9: route[0].trunk = \"lan\" names no trunk: there are none"]
        );
    }

    #[test]
    fn an_agent_on_no_backend_is_told() {
        assert_eq!(
            problems("[agents.a]\nbackends = [\"operator\", \"operat\"]"),
            ["f.toml:2:25: agents.a.backends[1] = \"operat\" names no backend: did you mean \"operator\"?"]
        );
    }

    #[test]
    fn the_phones_that_register_are_a_trunk_of_their_own() {
        let route = "[[route]]\nagent = \"operator\"\ntrunk = \"registrar\"\n";
        read(&format!("{route}[registrar.users.alice]\npassword = \"env:PASSWORD\""));
        assert_eq!(
            problems(route),
            ["f.toml:3:9: route[0].trunk = \"registrar\" names no trunk: there are none"]
        );
        assert_eq!(
            problems("[[trunk]]\nname = \"registrar\"\nfrom = [\"10.0.0.0/8\"]"),
            ["f.toml:2:8: trunk[0].name = \"registrar\" is what [registrar] is called: take another name"]
        );
    }

    #[test]
    fn two_trunks_cannot_be_the_same() {
        assert_eq!(
            problems(
                "[[trunk]]\nname = \"a\"\nfrom = [\"10.0.0.0/8\"]\n[[trunk]]\nname = \"a\"\nfrom = [\"10.1.0.0/16\"]"
            ),
            [
                "f.toml:5:8: trunk[1].name = \"a\" is taken by another trunk",
                "f.toml:6:9: trunk[1].from[0] = \"10.1.0.0/16\" belongs to the trunk \"a\" already",
            ]
        );
        let open =
            |name: &str| format!("[[trunk]]\nname = \"{name}\"\nusername = \"u\"\npassword = \"env:PASSWORD\"\n");
        assert_eq!(
            problems(&format!("{}{}", open("a"), open("b"))),
            ["f.toml:7:12: trunk[1].username is the one of the trunk \"a\" already"]
        );
    }

    #[test]
    fn a_key_that_no_header_can_carry_is_refused() {
        let text = "[agents.a]\nbackends = [\"x\"]\n[backends.x]\nkind = \"realtime\"\nurl = \"ws://x\"\n\
                    api_key = \"file:/umlaut\"";
        assert_eq!(
            problems(text),
            ["f.toml:6:11: backends.x.api_key holds letters that no header can carry: use ASCII alone"]
        );
    }

    #[test]
    fn a_secret_that_is_missing_matters_only_where_it_is_used() {
        let backend = "[backends.x]\nkind = \"realtime\"\nurl = \"ws://x\"\napi_key = \"env:MISSING\"\n";
        assert!(!read(backend).backends["x"].api_key().unwrap().is_resolved());
        assert_eq!(
            problems(&format!("{backend}[agents.a]\nbackends = [\"x\"]")),
            ["f.toml:4:11: backends.x.api_key needs the environment variable MISSING, which is not set"]
        );
        assert_eq!(
            problems("[[trunk]]\nname = \"a\"\nusername = \"u\"\npassword = \"file:/no/such\""),
            ["f.toml:4:12: trunk[0].password needs the file /no/such, which cannot be read: entity not found"]
        );
    }
}
