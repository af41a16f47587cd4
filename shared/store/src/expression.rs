//! DynamoDB's expressions for changes and conditions. Every attribute name is a placeholder, so
//! none can collide with a reserved word.

use std::collections::HashMap;

use aws_sdk_dynamodb::types::AttributeValue;
use threads_auth_model::{Attribute, Change, Condition, Value};

use crate::item::attribute_value;

/// The placeholders of a request's expressions, with their names and values.
#[derive(Default)]
pub(crate) struct Expressions {
    names: HashMap<String, String>,
    values: HashMap<String, AttributeValue>,
}

impl Expressions {
    /// Returns the update expression of a change.
    pub(crate) fn update(&mut self, change: &Change) -> String {
        let mut set = Vec::new();
        for (attribute, value) in &change.set {
            set.push(format!("{} = {}", self.name(*attribute), self.value(value)));
        }
        for (attribute, value) in &change.set_if_absent {
            let name = self.name(*attribute);
            set.push(format!("{name} = if_not_exists({name}, {})", self.value(value)));
        }
        let remove: Vec<_> = change.remove.iter().map(|attribute| self.name(*attribute)).collect();
        let clause =
            |verb, parts: Vec<String>| (!parts.is_empty()).then(|| format!("{verb} {}", parts.join(", ")));
        let clauses = [clause("SET", set), clause("REMOVE", remove)];
        clauses.into_iter().flatten().collect::<Vec<_>>().join(" ")
    }

    /// Returns the expression of a condition, or `None` if it always holds.
    pub(crate) fn condition(&mut self, condition: &Condition) -> Option<String> {
        let text = match condition {
            Condition::Exists(attribute) => format!("attribute_exists({})", self.name(*attribute)),
            Condition::Absent(attribute) => format!("attribute_not_exists({})", self.name(*attribute)),
            Condition::Is(attribute, value) => self.compare(*attribute, "=", value),
            Condition::IsNot(attribute, value) => self.compare(*attribute, "<>", value),
            Condition::Below(attribute, value) => self.compare(*attribute, "<", value),
            Condition::AtMost(attribute, value) => self.compare(*attribute, "<=", value),
            Condition::Above(attribute, value) => self.compare(*attribute, ">", value),
            Condition::NotANumber(attribute) => {
                let number = self.value(&Value::from("N"));
                format!("NOT attribute_type({}, {number})", self.name(*attribute))
            }
            Condition::All(all) => return self.join(all, " AND "),
            Condition::Any(any) => return self.join(any, " OR "),
        };
        Some(text)
    }

    pub(crate) fn names(&self) -> Option<HashMap<String, String>> {
        (!self.names.is_empty()).then(|| self.names.clone())
    }

    pub(crate) fn values(&self) -> Option<HashMap<String, AttributeValue>> {
        (!self.values.is_empty()).then(|| self.values.clone())
    }

    pub(crate) fn name(&mut self, attribute: Attribute) -> String {
        let name = format!("#{attribute}");
        self.names.insert(name.clone(), attribute.to_string());
        name
    }

    pub(crate) fn value(&mut self, value: &Value) -> String {
        let name = format!(":v{}", self.values.len());
        self.values.insert(name.clone(), attribute_value(value));
        name
    }

    fn compare(&mut self, attribute: Attribute, operator: &str, value: &Value) -> String {
        format!("{} {operator} {}", self.name(attribute), self.value(value))
    }

    fn join(&mut self, conditions: &[Condition], operator: &str) -> Option<String> {
        // DynamoDB refuses redundant parentheses, so a part gets them only if it has several parts
        // and is not alone.
        let parts: Vec<_> = conditions
            .iter()
            .filter_map(|condition| {
                let part = self.condition(condition)?;
                let is_joined = matches!(condition, Condition::All(of) | Condition::Any(of) if of.len() > 1);
                Some(if is_joined && conditions.len() > 1 { format!("({part})") } else { part })
            })
            .collect();
        (!parts.is_empty()).then(|| parts.join(operator))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use Attribute::{DueAt, LeaseUntil, Pk, Status};

    #[test]
    fn a_change_becomes_placeholders_only() {
        let free =
            Condition::Any(vec![Condition::Absent(LeaseUntil), Condition::Below(LeaseUntil, 7_i64.into())]);
        let change =
            Change::of(threads_auth_model::Key::state("x"), "test", Condition::Exists(DueAt).and(free))
                .set(Status, "active")
                .set_if_absent(DueAt, 9_i64)
                .remove(&[LeaseUntil]);
        let mut expressions = Expressions::default();
        assert_eq!(
            expressions.update(&change),
            "SET #status = :v0, #due_at = if_not_exists(#due_at, :v1) REMOVE #lease_until"
        );
        assert_eq!(
            expressions.condition(&change.when).unwrap(),
            "attribute_exists(#due_at) AND (attribute_not_exists(#lease_until) OR #lease_until < :v2)"
        );
        assert_eq!(expressions.names().unwrap()["#status"], "status");
        assert_eq!(expressions.values().unwrap()[":v2"], AttributeValue::N("7".to_owned()));
        assert_eq!(expressions.condition(&Condition::NONE), None);
        assert_eq!(expressions.name(Pk), "#pk");
    }
}
