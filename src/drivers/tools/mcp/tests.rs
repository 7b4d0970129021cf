//! A server of tools that is away, and what results are told as. Servers that are there are played in the interop tests.

use rmcp::model::CallToolResult;
use serde_json::json;

use super::*;
use crate::{config::ToolManners, net::tls::Tls, tools::Origin};

#[tokio::test]
async fn the_tools_of_a_server_that_is_away_explain_themselves() {
    let server = server(McpWay::Program {
        command: vec!["/nonexistent/server".to_owned()],
        env: Vec::new(),
    });
    let listed = tokio::time::timeout(Duration::from_millis(100), server.listed());
    assert!(listed.await.is_err() && server.tools().is_empty());
    let errand = Errand {
        session: 1,
        call_id: "t".to_owned(),
        tool: Arc::new(External {
            name: "lab__add".to_owned(),
            description: String::new(),
            parameters: json!({}),
            origin: Origin::Http,
            approval: false,
            manners: ToolManners::default(),
        }),
        arguments: json!({}),
        digits: Default::default(),
    };
    let Reply::Failed(why) = server.call("add", &errand).await else {
        panic!("done")
    };
    assert!(why.contains("The server lab is not there now"), "{why}");
}

#[tokio::test]
async fn results_are_texts_and_bounded() {
    let server = server(McpWay::Http {
        url: "http://127.0.0.1:1/mcp".to_owned(),
        bearer: None,
    });
    let read = |result| server.read(&serde_json::from_value::<CallToolResult>(result).unwrap());
    let text = |text: &str| json!({ "type": "text", "text": text });
    assert_eq!(
        read(json!({ "content": [text("a"), text("b")] })),
        Reply::Done("a\nb".to_owned())
    );
    assert_eq!(
        read(json!({ "content": [text("no")], "isError": true })),
        Reply::Failed("no".to_owned())
    );
    assert_eq!(
        read(json!({ "content": [], "structuredContent": { "a": 1 } })),
        Reply::Done("{\"a\":1}".to_owned())
    );
    let image = json!({ "type": "image", "data": "AAAA", "mimeType": "image/png" });
    assert_eq!(read(json!({ "content": [image] })), Reply::Done("(image)".to_owned()));
    let Reply::Done(long) = read(json!({ "content": [text(&"x".repeat(100_000))] })) else {
        panic!("failed")
    };
    assert!(long.len() < 17_000 && long.ends_with("(cut off: the rest is too long)"));
}

fn server(way: McpWay) -> Server {
    let settings = McpServer {
        name: "lab".to_owned(),
        way,
        tools: Vec::new(),
        approval: Vec::new(),
        refresh: Duration::from_secs(60),
        manners: ToolManners::default(),
    };
    let client = super::super::http::client(&Tls::new(None).unwrap()).unwrap();
    Server::start(&settings, &client, watch::Sender::new(0))
}
