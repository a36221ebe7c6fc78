//! From the parts in which a hostile component differs from a good one to its bytes.

/// The good component, with a place for each part.
const TEMPLATE: &str = include_str!("component.wat");

/// As what `$answer` is exported.
pub const TRANSFORM: &str = r#"
  (func $answer (param "batch" $batch) (result (result (list $outcome) (error string)))
    (canon lift (core func $main "answer") (memory $memory) (realloc $realloc)
      (post-return (core func $reset))))
  (instance $role
    (export "batch" (type $batch))
    (export "outcome" (type $outcome))
    (export "transform" (func $answer)))
  (export "forebay:plugin/transform@{{version}}" (instance $role))"#;

/// The first eight bytes of an answer are 0, which `validate` takes for an empty list; so it
/// can answer with what `transform` does, if each entry has 8 bytes.
pub const VALIDATE: &str = r#"
  (func $answer (param "batch" $batch)
      (result (result (list (list $rejection)) (error string)))
    (canon lift (core func $main "answer") (memory $memory) (realloc $realloc)
      (post-return (core func $reset))))
  (instance $role
    (export "batch" (type $batch))
    (export "rejection" (type $rejection))
    (export "validate" (func $answer)))
  (export "forebay:plugin/validate@{{version}}" (instance $role))"#;

/// Decides to drop.
pub const POLICY: &str = r#"
  (alias export $types "field" (type $field))
  (type $failure (record (field "key" string) (field "stage" string) (field "code" string)
    (field "message" string) (field "attempt" u32) (field "fields" (list $field))))
  (type $decision (variant (case "retry" u32) (case "dead-letter" string) (case "drop")
    (case "halt" string)))
  (func $decide (param "failures" (list $failure))
      (result (result (list $decision) (error string)))
    (canon lift (core func $main "decide") (memory $memory) (realloc $realloc)
      (post-return (core func $reset))))
  (instance $role
    (export "failure" (type $failure))
    (export "decision" (type $decision))
    (export "decide" (func $decide)))
  (export "forebay:plugin/dead-letter-policy@{{version}}" (instance $role))"#;

/// What is in a place where nothing is put.
const DEFAULTS: [(&str, &str); 17] = [
    // Before the others, because the version is a place in it.
    ("role", TRANSFORM),
    ("version", "0.1.0"),
    ("name", "hostile"),
    ("name_len", "7"),
    ("evil", ""),
    ("describe", ""),
    ("configure", ""),
    ("decide", ""),
    ("start", ""),
    ("realloc", ""),
    ("reset", ""),
    ("core", ""),
    ("imports", ""),
    ("lowered", ""),
    ("linked", ""),
    ("libc", ""),
    ("component", ""),
];

/// The component with these parts.
pub fn component(parts: &[(&str, &str)]) -> Vec<u8> {
    let mut text = TEMPLATE.to_owned();
    for (place, default) in DEFAULTS {
        let part = parts.iter().find(|(part, _)| *part == place);
        text = text.replace(&format!("{{{{{place}}}}}"), part.map_or(default, |it| it.1));
    }
    for (place, _) in parts {
        let known = DEFAULTS.iter().any(|(default, _)| default == place);
        assert!(known, "there is no place for {place}");
    }
    wat::parse_str(&text).unwrap_or_else(|error| panic!("{error}\n{text}"))
}
