//! Fields by their names, as a configuration writes them.

use prost_reflect::{FieldDescriptor, MessageDescriptor};

use super::problem::Problem;
use crate::config::closest;

/// The fields that a path names, from a message down.
pub(super) fn resolve(
    message: &MessageDescriptor,
    key: &str,
    path: &str,
) -> Result<Vec<FieldDescriptor>, Problem> {
    let mut fields: Vec<FieldDescriptor> = Vec::new();
    let mut within = Some(message.clone());
    for name in path.split('.') {
        let Some(message) = within else {
            let before: Vec<&str> = fields.iter().map(FieldDescriptor::name).collect();
            let what = format!("`{path}`: `{}` has no fields", before.join("."));
            return Err(Problem::new(key, what, "name a field of a message"));
        };
        let Some(field) = message.get_field_by_name(name) else {
            let names: Vec<FieldDescriptor> = message.fields().collect();
            let names = names.iter().map(FieldDescriptor::name);
            let hint = match closest(name, names.clone()) {
                Some(candidate) => format!("did you mean `{candidate}`?"),
                None => format!("it has: {}", names.collect::<Vec<_>>().join(", ")),
            };
            let what = format!("`{path}`: {} has no field `{name}`", message.full_name());
            return Err(Problem::new(key, what, hint));
        };
        within = match field.kind() {
            prost_reflect::Kind::Message(inner) if !field.is_map() => Some(inner),
            _ => None,
        };
        fields.push(field);
    }
    Ok(fields)
}
