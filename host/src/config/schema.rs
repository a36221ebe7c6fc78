//! The JSON Schema of `forebay.toml`.

use schemars::Schema;
use serde_json::Value;

use super::file::File;

/// The JSON Schema of `forebay.toml`, for editors.
#[must_use]
pub fn schema() -> Value {
    let settings = schemars::generate::SchemaSettings::default()
        .with_transform(schemars::transform::RecursiveTransform(without_null))
        .with_transform(schemars::transform::RecursiveTransform(with_default));
    settings
        .into_generator()
        .into_root_schema_for::<File>()
        .to_value()
}

/// TOML has no null: a key that may be left out does not accept it.
fn without_null(schema: &mut Schema) {
    if let Some(Value::Array(types)) = schema.get("type")
        && let [only, Value::String(null)] | [Value::String(null), only] = types.as_slice()
        && null == "null"
    {
        let only = only.clone();
        schema.insert("type".into(), only);
    }
    if let Some(Value::Array(variants)) = schema.get("anyOf")
        && let [Value::Object(only), null] = variants.as_slice()
        && null.get("type").is_some_and(|name| name == "null")
    {
        let only = only.clone();
        schema.remove("anyOf");
        schema.ensure_object().extend(only);
    }
}

/// Repeats a default in the description, which is all that some editors show.
fn with_default(schema: &mut Schema) {
    let default = match schema.get("default") {
        Some(text @ Value::String(_)) => format!("`{text}`"),
        Some(Value::Number(number)) => number.to_string(),
        _ => return,
    };
    if let Some(Value::String(description)) = schema.get("description") {
        let description = format!("{description} Default: {default}.");
        schema.insert("description".into(), description.into());
    }
}
