//! Flows made through Langflow's API, as its editor does.

use reqwest::{Client, RequestBuilder};
use serde_json::{Value, json};

/// The one that `cargo xtask bots` names in the settings.
const OPERATOR: &str = "username=operator&password=correct-horse";

/// Langflow's API, for the operator.
pub struct Langflow {
    base: String,
    client: Client,
    token: String,
}

impl Langflow {
    pub async fn sign_in(base: &str) -> Self {
        let client = wicara_outbound::client_for(&base.parse().unwrap()).build().unwrap();
        let mut langflow = Self { base: base.to_owned(), client, token: String::new() };
        let login = langflow.client.post(format!("{base}/api/v1/login")).body(OPERATOR);
        let signed_in = sent(login.header("content-type", "application/x-www-form-urlencoded")).await;
        signed_in["access_token"].as_str().unwrap().clone_into(&mut langflow.token);
        langflow
    }

    pub async fn key_create(&self) -> String {
        let created = self.post("api_key/", &json!({"name": "wicara"})).await;
        created["api_key"].as_str().unwrap().to_owned()
    }

    /// A flow from a chat input through a component with this source to a chat output: its id.
    pub async fn flow_create(&self, name: &str, source: &str) -> String {
        let components =
            sent(self.client.get(format!("{}/api/v1/all", self.base)).bearer_auth(&self.token)).await;
        let groups = components.as_object().unwrap();
        let known = |name: &str| groups.values().find_map(|group| group.get(name)).unwrap();
        let ours = &self.post("custom_component", &json!({"code": source})).await["data"];
        let (input, output) = (known("ChatInput"), known("ChatOutput"));
        let flow = json!({
            "name": name,
            "data": {
                "nodes": [node("ChatInput-1", input), node("Ours-2", ours), node("ChatOutput-3", output)],
                "edges": [
                    edge(("ChatInput-1", "message"), ("Ours-2", ours)),
                    edge(("Ours-2", "answer"), ("ChatOutput-3", output)),
                ],
                "viewport": {"x": 0, "y": 0, "zoom": 1},
            },
        });
        self.post("flows/", &flow).await["id"].as_str().unwrap().to_owned()
    }

    async fn post(&self, path: &str, body: &Value) -> Value {
        let request = self.client.post(format!("{}/api/v1/{path}", self.base)).bearer_auth(&self.token);
        sent(request.header("content-type", "application/json").body(body.to_string())).await
    }
}

async fn sent(request: RequestBuilder) -> Value {
    let response = request.send().await.unwrap();
    let (url, status) = (response.url().clone(), response.status());
    let text = response.text().await.unwrap();
    assert!(status.is_success(), "{url}: {status} {text}");
    serde_json::from_str(&text).unwrap()
}

/// The id begins with the component's type.
fn node(id: &str, component: &Value) -> Value {
    let kind = id.split('-').next();
    json!({
        "id": id,
        "type": "genericNode",
        "position": {"x": 0, "y": 0},
        "data": {"id": id, "type": kind, "node": component, "showNode": true},
    })
}

/// From an output of a node to the `input_value` of another.
fn edge((source, output): (&str, &str), (target, component): (&str, &Value)) -> Value {
    let field = &component["template"]["input_value"];
    let from = json!({
        "dataType": source.split('-').next(), "id": source, "name": output, "output_types": ["Message"],
    });
    let to = json!({
        "fieldName": "input_value", "id": target, "inputTypes": field["input_types"], "type": field["type"],
    });
    // The editor writes quotes so.
    let handle = |end: &Value| end.to_string().replace('"', "œ");
    json!({
        "id": format!("{source}-{target}"),
        "source": source,
        "target": target,
        "sourceHandle": handle(&from),
        "targetHandle": handle(&to),
        "data": {"sourceHandle": from, "targetHandle": to},
    })
}
