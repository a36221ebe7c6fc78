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

/// The function of the packed form, which calls `$evil` for each row whose key is `evil`, and
/// before that has an answer ready in which there is nothing. Its lists are at 260.
pub const PACKED: &str = r#"
    (func (export "packed") (param $columns i32) (param $width i32) (param $rows i32)
      (param $kinds i32) (param i32) (param $words i32) (param i32) (param $text i32) (param i32)
      (param i32) (param i32) (param i32) (param i32) (result i32)
      (local $i i32) (local $at i32)
      (memory.fill (i32.const 256) (i32.const 0) (i32.const 68))
      (memory.fill (i32.const 2048) (i32.const 0) (i32.const 128))
      {{answer}}
      (block $done
        (loop $next
          (br_if $done (i32.ge_u (local.get $i) (local.get $rows)))
          ;; The key's span: its length, then its begin.
          (local.set $at (i32.add (local.get $words) (i32.mul (i32.const 8)
            (i32.mul (local.get $i) (i32.add (local.get $width) (i32.const 1))))))
          (if (i32.eq (i32.load (local.get $at)) (i32.const 4))
            (then
              ;; "evil"
              (if (i32.eq (i32.const 0x6c697665) (i32.load align=1
                    (i32.add (local.get $text) (i32.load offset=4 (local.get $at)))))
                (then (call $evil (local.get $i))))))
          (local.set $i (i32.add (local.get $i) (i32.const 1)))
          (br $next)))
      (i32.const 256))"#;

/// The types of the packed form, for either role.
const PACKED_TYPES: &str = r#"
  (import "forebay:packed/types@0.1.0" (instance $packed
    (alias outer 1 $rejection (type $r))
    (export "rejection" (type $rejection (eq $r)))
    (type $c (record (field "kinds" (list u8)) (field "words" (list u64)) (field "text" string)
      (field "binary" (list u8)) (field "items" (list u64))))
    (export "cells" (type $cells (eq $c)))
    (type $b (record (field "columns" (list string)) (field "rows" u32) (field "cells" $cells)))
    (export "batch" (type (eq $b)))
    (type $w (variant (case "drop" string) (case "reject" $rejection)))
    (export "reason" (type $reason (eq $w)))
    (type $d (record (field "row" u32) (field "why" $reason)))
    (export "departure" (type $departure (eq $d)))
    (type $a (record (field "columns" (list string)) (field "places" (list u64))
      (field "cells" $cells) (field "gone" (list $departure))))
    (export "changes" (type (eq $a)))
    (type $f (record (field "row" u32) (field "why" $rejection)))
    (export "fault" (type (eq $f)))))
  (alias export $packed "batch" (type $packed-batch))"#;

/// As what the packed function is exported.
pub const PACKED_TRANSFORM: &str = r#"
  {{packed_types}}
  (alias export $packed "changes" (type $changes))
  (func $answer (param "batch" $packed-batch) (result (result $changes (error string)))
    (canon lift (core func $main "packed") (memory $memory) (realloc $realloc)
      (post-return (core func $reset))))
  (instance $role
    (export "batch" (type $packed-batch))
    (export "changes" (type $changes))
    (export "transform" (func $answer)))
  (export "forebay:packed/transform@0.1.0" (instance $role))"#;

/// The list of faults is the first list of an answer.
pub const PACKED_VALIDATE: &str = r#"
  {{packed_types}}
  (alias export $packed "fault" (type $fault))
  (func $answer (param "batch" $packed-batch) (result (result (list $fault) (error string)))
    (canon lift (core func $main "packed") (memory $memory) (realloc $realloc)
      (post-return (core func $reset))))
  (instance $role
    (export "batch" (type $packed-batch))
    (export "fault" (type $fault))
    (export "validate" (func $answer)))
  (export "forebay:packed/validate@0.1.0" (instance $role))"#;

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
const DEFAULTS: [(&str, &str); 20] = [
    // Before the others, because there are places in it.
    ("role", TRANSFORM),
    ("packed_types", PACKED_TYPES),
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
    ("packed", ""),
    // Also in what packs.
    ("answer", ""),
    ("imports", ""),
    ("lowered", ""),
    ("linked", ""),
    ("libc", ""),
    ("component", ""),
];

/// A plugin that keeps a copy of each `company_name` for ever, in `bytes` bytes of its memory, and
/// sets the field to the copy. As an unchecked `malloc`, it does not look whether it got the memory:
/// a copy for which there is none is written at address 0, over the one before.
///
/// Names have at most 16 bytes.
pub fn leaky(bytes: u32) -> Vec<u8> {
    let keep = format!(
        r#"
    (global $at (mut i32) (i32.const 0))
    (global $end (mut i32) (i32.const 0))
    (data (i32.const 48) "company_name")
    (func $keep (param $from i32) (param $len i32) (result i32)
      (local $to i32)
      (if (i32.gt_u (i32.add (global.get $at) (i32.const {bytes})) (global.get $end))
        (then
          (local.set $to (memory.grow (i32.const 1)))
          (if (i32.eq (local.get $to) (i32.const -1))
            (then
              (memory.copy (i32.const 0) (local.get $from) (local.get $len))
              (return (i32.const 0))))
          (global.set $at (i32.mul (local.get $to) (i32.const 65536)))
          (global.set $end (i32.add (global.get $at) (i32.const 65536)))))
      (local.set $to (global.get $at))
      (global.set $at (i32.add (local.get $to) (i32.const {bytes})))
      (memory.copy (local.get $to) (local.get $from) (local.get $len))
      (local.get $to))
    ;; Row $i, whose first value is at $value: sets the field, with an outcome of 32 bytes at 1024
    ;; and a field of 24 bytes at 16384.
    (func $set (param $i i32) (param $value i32)
      (local $outcome i32) (local $field i32)
      (local.set $outcome (i32.add (i32.const 1024) (i32.mul (local.get $i) (i32.const 32))))
      (local.set $field (i32.add (i32.const 16384) (i32.mul (local.get $i) (i32.const 24))))
      (i32.store (local.get $outcome) (i32.const 1))
      (i32.store offset=4 (local.get $outcome) (local.get $field))
      (i32.store offset=8 (local.get $outcome) (i32.const 1))
      (i32.store (local.get $field) (i32.const 48))
      (i32.store offset=4 (local.get $field) (i32.const 12))
      (i32.store offset=8 (local.get $field) (i32.const 4))
      (i32.store offset=16 (local.get $field)
        (call $keep (i32.load offset=8 (local.get $value)) (i32.load offset=12 (local.get $value))))
      (i32.store offset=20 (local.get $field) (i32.load offset=12 (local.get $value))))"#
    );
    let answer = "
      (block $all
        (loop $each
          (br_if $all (i32.ge_u (local.get $i) (local.get $count)))
          (call $set (local.get $i)
            (i32.load offset=8 (i32.add (local.get $rows) (i32.mul (local.get $i) (i32.const 16)))))
          (local.set $i (i32.add (local.get $i) (i32.const 1)))
          (br $each)))
      (local.set $i (i32.const 0))";
    component(&[
        ("name", "leaky"),
        ("name_len", "5"),
        // Only the name is read; so the host passes in little.
        (
            "describe",
            "(i32.store (i32.const 272) (i32.const 1)) (i32.store (i32.const 276) (i32.const 64))
             (i32.store (i32.const 280) (i32.const 1)) (i32.store (i32.const 64) (i32.const 48))
             (i32.store (i32.const 68) (i32.const 12))",
        ),
        ("core", &keep),
        ("answer", answer),
    ])
}

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
