//! Members of a document that its type does not know: a newer program wrote them, and they are kept for it.

use serde_json::{Map, Value};

/// What is in the document and not in what was understood of it, in the same places; `Null` for nothing.
pub(crate) fn beyond(document: &Value, understood: &Value) -> Value {
    match (document, understood) {
        (Value::Object(document), Value::Object(understood)) => {
            let members = document.iter().map(|(name, value)| {
                let left = understood.get(name).map_or_else(|| value.clone(), |known| beyond(value, known));
                (name.clone(), left)
            });
            // A member that is null and unknown says nothing.
            let left: Map<_, _> = members.filter(|(_, left)| !left.is_null()).collect();
            if left.is_empty() { Value::Null } else { Value::Object(left) }
        }
        (Value::Array(document), Value::Array(understood)) if document.len() == understood.len() => {
            let left: Vec<_> = document.iter().zip(understood).map(|(d, u)| beyond(d, u)).collect();
            if left.iter().all(Value::is_null) { Value::Null } else { Value::Array(left) }
        }
        _ => Value::Null,
    }
}

/// Puts what was left of another document into this one, where the place is there and free.
pub(crate) fn keep(document: &mut Value, left: &Value) {
    match (document, left) {
        (Value::Object(document), Value::Object(left)) => {
            for (name, left) in left {
                match document.get_mut(name) {
                    Some(there) => keep(there, left),
                    None => drop(document.insert(name.clone(), left.clone())),
                }
            }
        }
        (Value::Array(document), Value::Array(left)) if document.len() == left.len() => {
            document.iter_mut().zip(left).for_each(|(document, left)| keep(document, left));
        }
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn check(document: &Value, understood: &Value, next: Value, expected: &Value) {
        let mut kept = next;
        keep(&mut kept, &beyond(document, understood));
        assert_eq!(&kept, expected);
    }

    #[test]
    fn what_is_unknown_stays_in_its_place_and_what_is_known_changes() {
        check(&json!({"a": 1, "x": 2}), &json!({"a": 1}), json!({"a": 3}), &json!({"a": 3, "x": 2}));
        let document = json!({"list": [{"a": 1, "x": 2}, {"a": 2}]});
        let understood = json!({"list": [{"a": 1}, {"a": 2}]});
        check(&document, &understood, understood.clone(), &document);
        check(&document, &understood, json!({"list": []}), &json!({"list": []}));
        check(&json!({"o": {"x": 1}}), &json!({"o": {}}), json!({"o": null}), &json!({"o": null}));
        check(&json!({"a": 1}), &json!({"a": 1}), json!({"a": null}), &json!({"a": null}));
    }
}
