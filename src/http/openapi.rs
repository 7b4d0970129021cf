//! `GET /v1/openapi.json`: the control API in the words of OpenAPI 3.1.
//!
//! The document is a file beside this one, written by hand; tests compare it with what is routed and with what is said.

use axum::{
    http::header,
    response::{IntoResponse, Response},
};

/// The document.
pub(super) const DOCUMENT: &str = include_str!("openapi.json");

pub(super) async fn show() -> Response {
    ([(header::CONTENT_TYPE, "application/json")], DOCUMENT).into_response()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use serde_json::Value;

    use super::*;
    use crate::http::calls::OPERATIONS;

    #[test]
    fn the_document_has_the_operations_that_are_routed_and_no_other() {
        let document = document();
        let documented: BTreeSet<(String, String)> = operations(&document)
            .map(|(path, method, _)| (path.clone(), method.to_uppercase()))
            .collect();
        let routed = OPERATIONS
            .iter()
            .map(|operation| (operation.path.to_owned(), operation.method.to_string()));
        assert_eq!(documented, routed.collect());
    }

    #[test]
    fn every_reference_leads_somewhere() {
        let document = document();
        let mut found = 0;
        references(&document, &mut |pointer| {
            let pointer = pointer.strip_prefix('#').expect("a reference into this document");
            assert!(document.pointer(pointer).is_some(), "{pointer}");
            found += 1;
        });
        assert!(found > 10, "{found}");
    }

    #[test]
    fn every_operation_is_as_openapi_wants_it() {
        let document = document();
        assert!(document["openapi"].as_str().unwrap().starts_with("3.1."));
        assert!(document["info"]["title"].is_string() && document["info"]["version"].is_string());
        let mut ids = BTreeSet::new();
        for (path, method, operation) in operations(&document) {
            let id = operation["operationId"]
                .as_str()
                .unwrap_or_else(|| panic!("{method} {path} has no id"));
            assert!(ids.insert(id), "{id} twice");
            let responses = operation["responses"].as_object().unwrap();
            assert!(responses.keys().any(|status| status.starts_with('2')), "{id}");
            for (status, response) in responses {
                assert!(status.len() == 3 && (response["description"].is_string() || response["$ref"].is_string()));
            }
            let named = path.matches('{').count();
            let parameters = document["paths"][path]["parameters"].as_array().map_or(0, Vec::len);
            assert_eq!(named, parameters, "{path}");
            assert!(method != "post" || operation["requestBody"]["content"]["application/json"]["schema"].is_object());
        }
    }

    #[test]
    fn the_fields_documented_are_those_of_a_call() {
        let view = crate::http::CallView {
            id: String::new(),
            direction: String::new(),
            state: "ended",
            trunk: String::new(),
            agent: None,
            from: String::new(),
            to: String::new(),
            started_at: String::new(),
            answered_at: None,
            ended_at: None,
            answered_by: None,
            diagnosis: None,
            quality: None,
            cost: None,
            outcome: None,
        };
        let said: BTreeSet<String> = keys(&serde_json::to_value(view).unwrap());
        assert_eq!(keys(&document()["components"]["schemas"]["Call"]["properties"]), said);
    }

    fn keys(object: &Value) -> BTreeSet<String> {
        object.as_object().unwrap().keys().cloned().collect()
    }

    fn document() -> Value {
        serde_json::from_str(DOCUMENT).unwrap()
    }

    fn operations(document: &Value) -> impl Iterator<Item = (&String, &String, &Value)> {
        let paths = document["paths"].as_object().unwrap();
        paths.iter().flat_map(|(path, item)| {
            let methods = item.as_object().unwrap().iter().filter(|(key, _)| *key != "parameters");
            methods.map(move |(method, operation)| (path, method, operation))
        })
    }

    fn references(value: &Value, found: &mut impl FnMut(&str)) {
        match value {
            Value::Object(fields) => fields.iter().for_each(|(name, value)| match (name.as_str(), value) {
                ("$ref", Value::String(pointer)) => found(pointer),
                (_, value) => references(value, found),
            }),
            Value::Array(items) => items.iter().for_each(|item| references(item, found)),
            _ => {}
        }
    }
}
