//! Members of a document that its type does not know: a newer program wrote them, and they are kept for it.

use serde_json::{Map, Value};

/// What a document says beside what its type knows: usually nothing.
#[derive(Debug, Default)]
pub(crate) struct Unknown(Option<Box<Reading>>);

/// A document, and what was understood of it.
#[derive(Debug)]
struct Reading {
    document: Value,
    understood: Value,
}

impl Unknown {
    /// Compares a document with what was understood of it.
    pub(crate) fn of(document: Value, understood: Value) -> Self {
        let nothing = beyond(&document, &understood).is_null();
        Self((!nothing).then(|| Box::new(Reading { document, understood })))
    }

    /// Whether all was understood.
    pub(crate) const fn is_nothing(&self) -> bool {
        self.0.is_none()
    }

    /// Puts it into the next document, in the same places.
    pub(crate) fn carry_into(&self, next: &mut Value) {
        if let Some(reading) = &self.0 {
            carry(&reading.document, &reading.understood, next);
        }
    }
}

/// What is in the document and not in what was understood of it, in the same places; `Null` for nothing.
fn beyond(document: &Value, understood: &Value) -> Value {
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

/// Puts what is in the document and was not understood of it into the next one, where the place is there and free.
///
/// What was understood and is not in the next one was taken out, and stays so, whatever was unknown within it.
fn carry(document: &Value, understood: &Value, next: &mut Value) {
    match (document, understood, next) {
        (Value::Object(document), Value::Object(understood), Value::Object(next)) => {
            for (name, value) in document {
                match (understood.get(name), next.get_mut(name)) {
                    (Some(known), Some(next)) => carry(value, known, next),
                    (None, None) => drop(next.insert(name.clone(), value.clone())),
                    _ => {}
                }
            }
        }
        (Value::Array(document), Value::Array(understood), Value::Array(next))
            if document.len() == understood.len() && document.len() == next.len() =>
        {
            let known = document.iter().zip(understood);
            known.zip(next).for_each(|((document, understood), next)| carry(document, understood, next));
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
        Unknown::of(document.clone(), understood.clone()).carry_into(&mut kept);
        assert_eq!(&kept, expected);
    }

    #[test]
    fn what_was_known_and_is_taken_out_takes_along_what_was_unknown_within_it() {
        let document = json!({"map": {"a": {"to": 1, "x": 2}, "b": {"to": 2, "x": 3}}});
        let understood = json!({"map": {"a": {"to": 1}, "b": {"to": 2}}});
        let next = json!({"map": {"b": {"to": 2}, "c": {"to": 3}}});
        check(&document, &understood, next, &json!({"map": {"b": {"to": 2, "x": 3}, "c": {"to": 3}}}));
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
