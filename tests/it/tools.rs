//! Tools that are done elsewhere, through a whole gateway: a scripted session calls them, a server of the test's own does
//! them.

use std::{net::SocketAddr, path::PathBuf, time::Duration};

use serde_json::{Value, json};
use tokio::{net::TcpListener, sync::mpsc, task::AbortHandle};

use crate::{
    control::{ask, events_until},
    gateway::TestGateway,
    phone::{Offer, PATIENCE, Phone},
    request::Request,
    script::{ScriptedBackend, ScriptedSession},
};

#[tokio::test]
async fn a_tool_over_http_is_told_to_the_session_asked_of_its_server_and_recorded() {
    let mut scene = Scene::start("tool_record = \"arguments\"\n", "").await;
    let tools = scene.session.configuration["tools"].as_array().unwrap().clone();
    assert!(
        tools
            .iter()
            .any(|tool| tool["name"] == "look_up" && tool["parameters"]["type"] == "object")
    );
    scene.call("t1", json!({ "id": 7 })).await;
    let mut asked = scene.server.asked().await;
    assert_eq!(asked.body, "{\"id\":7}");
    asked.answer("200 OK", "found 7").await;
    assert_eq!(scene.session.tool_result().await["output"], "found 7");
    let record = scene.hang_up().await;
    let events = events_until(&scene.gateway, "event: ended").await;
    for shown in [
        "event: tool_arguments",
        "\"so_far\":\"{\"",
        "\"state\":\"called\"",
        "\"result\":\"ok\"",
    ] {
        assert!(events.contains(shown), "{shown} {events}");
    }
    let (tool, result) = (&record["tools"][0]["tool"], &record["tools"][0]["result"]);
    assert_eq!((tool, result), (&"look_up".into(), &"ok".into()), "{record}");
    assert_eq!(record["tools"][0]["arguments"], "{\"id\":7}");
    assert_eq!(
        scene
            .gateway
            .sample("patchcord_tool_calls_total{result=\"ok\",tool=\"look_up\"}"),
        1.0
    );
}

#[tokio::test]
async fn a_tool_call_told_again_after_the_session_broke_runs_once() {
    let mut scene = Scene::start("", "").await;
    scene.call("t1", json!({ "id": 7 })).await;
    let mut asked = scene.server.asked().await;
    scene.session = scene.next_session().await;
    scene.call("t1", json!({ "id": 7 })).await;
    // What the model sees unanswered it may ask for anew. Its arguments are told before the call itself.
    scene.call("t2", json!({ "id": 7 })).await;
    events_until(&scene.gateway, "\"state\":\"called\",\"tool_call_id\":\"t2\"").await;
    asked.answer("200 OK", "found").await;
    let told = [scene.session.tool_result().await, scene.session.tool_result().await];
    assert!(told.iter().all(|result| result["output"] == "found"), "{told:?}");
    let record = scene.hang_up().await;
    assert_eq!(record["tools"].as_array().map(Vec::len), Some(1), "{record}");
    assert!(scene.server.requests.try_recv().is_err(), "the server was asked twice");
    scene.gateway.gateway.stop().await;
    let journal = std::fs::read_to_string(&scene.journal.0).unwrap();
    assert_eq!(journal.matches("begun").count(), 1, "{journal}");
    assert_eq!(journal.matches("\"ok\"").count(), 1, "{journal}");
}

#[tokio::test]
async fn the_end_of_the_call_gives_the_tool_up() {
    let mut scene = Scene::start("", "").await;
    scene.call("t1", json!({ "id": 7 })).await;
    let mut asked = scene.server.asked().await;
    let record = scene.hang_up().await;
    assert_eq!(record["tools"][0]["result"], "cancelled", "{record}");
    asked.gone().await;
    scene.gateway.settled().await;
}

#[tokio::test]
async fn a_person_decides_by_the_control_api() {
    let mut scene = Scene::start("", "approval = true\nfiller = \"One moment.\"\nfiller_after_ms = 50\n").await;
    scene.call("t1", json!({ "id": 7 })).await;
    let filler = scene.session.hear("response.create").await;
    assert!(filler.to_string().contains("One moment."), "{filler}");
    let id = scene.approval().await;
    let path = format!("/v1/approvals/{id}/reject");
    assert_eq!(
        ask(&scene.gateway, "POST", &path, "{\"reason\":\"too much\"}").await.0,
        204
    );
    let output = scene.session.tool_result().await["output"].as_str().unwrap().to_owned();
    assert!(output.ends_with("The reason: too much"), "{output}");
    assert_eq!(ask(&scene.gateway, "POST", &path, "{}").await.0, 404);
    scene.call("t2", json!({ "id": 8 })).await;
    let id = scene.approval().await;
    assert_eq!(
        ask(&scene.gateway, "POST", &format!("/v1/approvals/{id}/approve"), "{}")
            .await
            .0,
        204
    );
    let mut asked = scene.server.asked().await;
    asked.answer("200 OK", "paid").await;
    assert_eq!(scene.session.tool_result().await["output"], "paid");
    let record = scene.hang_up().await;
    let results: Vec<&Value> = (0..2).map(|index| &record["tools"][index]["result"]).collect();
    assert_eq!(results, ["rejected", "ok"]);
    assert_eq!(
        ask(&scene.gateway, "GET", "/v1/approvals", "").await.1,
        json!({ "approvals": [] })
    );
}

#[tokio::test]
async fn keys_for_the_vault_reach_the_tool_and_nobody_else() {
    let mut scene = Scene::start(
        "dtmf_record = \"full\"\ntool_record = \"arguments\"\n",
        "body = '{{digits.pin}}'\n",
    )
    .await;
    scene
        .session
        .call_tool("t1", "collect_digits", &json!({ "length": 4 }))
        .await;
    events_until(&scene.gateway, "collect_digits").await;
    scene.phone.say(440.0, Duration::from_secs(5));
    scene.phone.press_all("4711").await;
    // Nothing between the tool call and its result tells of a key.
    let (mut told, mut sound) = (Vec::new(), Vec::new());
    let result = loop {
        let event = scene.session.hear_any().await;
        if event["item"]["type"] == "function_call_output" {
            break event["item"]["output"].as_str().unwrap().to_owned();
        }
        match event["audio"].as_str() {
            Some(audio) => sound.push(base64_simd::STANDARD.decode_to_vec(audio).unwrap()),
            None => told.push(event.to_string()),
        }
    };
    assert!(
        result.starts_with("Collected 4 digits, reference \"digits_1\""),
        "{result}"
    );
    assert!(!told.iter().any(|event| event.contains("DTMF")), "{told:?}");
    // The first may have been on its way.
    let hushed = sound.iter().skip(5).flatten();
    assert!(
        sound.len() > 20 && hushed.copied().all(|byte| byte == 0),
        "{} frames",
        sound.len()
    );
    scene.call("t2", json!({ "id": 1, "pin": "digits_1" })).await;
    let mut asked = scene.server.asked().await;
    assert_eq!(asked.body, "\"4711\"");
    asked.answer("200 OK", "4711 is right").await;
    assert_eq!(scene.session.tool_result().await["output"], "**** is right");
    let record = scene.hang_up().await;
    let events = events_until(&scene.gateway, "event: ended").await;
    assert!(
        !record.to_string().contains("4711") && !events.contains("4711"),
        "{record} {events}"
    );
    assert_eq!((&record["dtmf"], &record["digits"]), (&Value::Null, &json!(0)));
}

/// A call that is answered, with a scripted session and a server for its tool.
struct Scene {
    gateway: TestGateway,
    backend: ScriptedBackend,
    session: ScriptedSession,
    server: ToolServer,
    phone: Phone,
    journal: Scratch,
}

/// Removed when dropped.
struct Scratch(PathBuf);

impl Drop for Scratch {
    fn drop(&mut self) {
        // Left over in the temporary directory it would only be litter.
        let _ = std::fs::remove_file(&self.0);
    }
}

impl Scene {
    async fn start(agent: &str, tool: &str) -> Self {
        let mut backend = ScriptedBackend::start().await;
        let server = ToolServer::start().await;
        let journal = std::env::temp_dir().join(format!(
            "patchcord-it-{}-{}.jsonl",
            std::process::id(),
            server.address.port()
        ));
        let gateway = TestGateway::start_with(&format!(
            "[agents.operator]\nbackends = [\"test\"]\ntools = [\"look_up\", \"collect_digits\"]\n{agent}\
             [backends.test]\nkind = \"realtime\"\nurl = \"ws://{}/v1/realtime\"\naudio = \"pcm16\"\n\
             [journal]\npath = \"{}\"\n\
             [tools.look_up]\ndescription = \"Looks up.\"\nurl = \"http://{}/look\"\n\
             parameters = {{ type = \"object\", required = [\"id\"], properties = {{ id = {{ type = \"integer\" }} }} }}\n{tool}",
            backend.address,
            journal.display(),
            server.address
        ))
        .await;
        let mut phone = Phone::new(gateway.sip()).await;
        let (_, session) = tokio::join!(phone.dial("operator", Offer::Pcmu), backend.session());
        Self {
            gateway,
            backend,
            session,
            server,
            phone,
            journal: Scratch(journal),
        }
    }

    async fn call(&mut self, call_id: &str, arguments: Value) {
        self.session.call_tool(call_id, "look_up", &arguments).await;
    }

    /// Breaks the session; the one that takes over.
    async fn next_session(&mut self) -> ScriptedSession {
        self.session.close().await;
        self.backend.session().await
    }

    async fn approval(&self) -> String {
        let waiting = async {
            loop {
                let (_, list) = ask(&self.gateway, "GET", "/v1/approvals", "").await;
                if let Some(id) = list["approvals"][0]["id"].as_str() {
                    assert_eq!(list["approvals"][0]["tool"], "look_up");
                    return id.to_owned();
                }
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(PATIENCE, waiting)
            .await
            .expect("an approval is asked for")
    }

    async fn hang_up(&mut self) -> Value {
        self.phone.hang_up().await;
        self.gateway.records(1).await[0].clone()
    }
}

/// Does what the tool asks for, when the test says so.
struct ToolServer {
    address: SocketAddr,
    requests: mpsc::Receiver<Request>,
    task: AbortHandle,
}

impl ToolServer {
    async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (sender, requests) = mpsc::channel(8);
        let task = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                if sender.send(Request::read(stream).await).await.is_err() {
                    return;
                }
            }
        });
        Self {
            address,
            requests,
            task: task.abort_handle(),
        }
    }

    async fn asked(&mut self) -> Request {
        let waiting = tokio::time::timeout(PATIENCE, self.requests.recv());
        waiting.await.expect("a request in time").expect("a request")
    }
}

impl Drop for ToolServer {
    fn drop(&mut self) {
        self.task.abort();
    }
}
