;; What all hostile components are made of: a plugin that leaves every row as it is, but for one
;; with the key `evil`, for which it calls `$evil` with its index. The parts in double braces are
;; put in by `component.rs`; by default there is nothing in them, and the plugin is a good one.
;;
;; Memory: 16 name, 96 version, 112 name of the embedding, 128 a line of text, 256 what a call
;; returns, 512 what a host function returns, 1024 one outcome of 32 bytes for each row, 65536
;; what the host passes in. It is all forgotten after the call.
(component
  {{imports}}
  (import "forebay:plugin/types@{{version}}" (instance $types
    (type $v (variant (case "none") (case "boolean" bool) (case "integer" s64) (case "real" f64)
      (case "text" string) (case "binary" (list u8)) (case "timestamp" s64)
      (case "json" string) (case "texts" (list string))))
    (export "value" (type $value (eq $v)))
    (type $r (record (field "key" string) (field "values" (list $value))))
    (export "row" (type $row (eq $r)))
    (type $b (record (field "columns" (list string)) (field "rows" (list $row))))
    (export "batch" (type (eq $b)))
    (type $f (record (field "name" string) (field "value" $value)))
    (export "field" (type $field (eq $f)))
    (type $j (record (field "code" string) (field "message" string) (field "field" (option string))))
    (export "rejection" (type $rejection (eq $j)))
    (type $o (variant (case "unchanged") (case "set" (list $field)) (case "drop" string)
      (case "reject" $rejection)))
    (export "outcome" (type (eq $o)))))
  (import "forebay:plugin/log@{{version}}" (instance $log
    (type $l (enum "debug" "info" "warn" "error"))
    (export "level" (type $level (eq $l)))
    (export "log" (func (param "level" $level) (param "message" string)))))
  (import "forebay:plugin/embeddings@{{version}}" (instance $embeddings
    (export "dimensions" (func (param "row" u32) (param "name" string) (result (option u32))))
    (export "read" (func (param "row" u32) (param "name" string) (result (list f32))))
    (export "write" (func (param "row" u32) (param "name" string) (param "values" (list f32))))
    (export "norms" (func (param "name" string) (result (list f32))))
    (export "normalize" (func (param "name" string)))
    (export "truncate" (func (param "name" string) (param "dimensions" u32)))))
  (alias export $types "batch" (type $batch))
  (alias export $types "outcome" (type $outcome))
  (alias export $types "rejection" (type $rejection))

  ;; Memory and allocation, apart from the rest so that host functions can be lowered to it.
  (core module $libc
    (memory (export "memory") 4)
    (table (export "hooks") 1 funcref)
    {{libc}}
    (global $heap (mut i32) (i32.const 65536))
    (func (export "reset") (param i32) (global.set $heap (i32.const 65536)) {{reset}})
    (func $realloc (export "realloc") (param $old i32) (param $was i32) (param $align i32) (param $size i32)
      (result i32)
      (local $at i32)
      {{realloc}}
      (local.set $at (i32.and (i32.add (global.get $heap) (i32.sub (local.get $align) (i32.const 1)))
        (i32.sub (i32.const 0) (local.get $align))))
      (global.set $heap (i32.add (local.get $at) (local.get $size)))
      (block $enough
        (loop $more
          (br_if $enough (i32.le_u (global.get $heap) (i32.mul (memory.size) (i32.const 65536))))
          (br_if $more (i32.ne (memory.grow (i32.const 16)) (i32.const -1)))
          unreachable))
      (memory.copy (local.get $at) (local.get $old) (local.get $was))
      (local.get $at)))
  (core instance $libc (instantiate $libc))
  (alias core export $libc "memory" (core memory $memory))
  (alias core export $libc "realloc" (core func $realloc))
  (alias core export $libc "reset" (core func $reset))
  (core func $log (canon lower (func $log "log") (memory $memory)))
  (core func $dimensions (canon lower (func $embeddings "dimensions") (memory $memory)))
  (core func $read (canon lower (func $embeddings "read") (memory $memory) (realloc $realloc)))
  (core func $write (canon lower (func $embeddings "write") (memory $memory)))
  (core func $norms (canon lower (func $embeddings "norms") (memory $memory) (realloc $realloc)))
  (core func $normalize (canon lower (func $embeddings "normalize") (memory $memory)))
  (core func $truncate (canon lower (func $embeddings "truncate") (memory $memory)))
  {{lowered}}

  (core module $main
    (import "libc" "memory" (memory 4))
    (import "libc" "hooks" (table $hooks 1 funcref))
    (import "host" "log" (func $log (param $level i32) (param $text i32) (param $len i32)))
    (import "host" "dimensions" (func $dimensions (param i32 i32 i32 i32)))
    (import "host" "read" (func $read (param $row i32) (param $name i32) (param $len i32) (param $to i32)))
    (import "host" "write" (func $write (param $row i32) (param $name i32) (param $len i32) (param $values i32) (param $count i32)))
    (import "host" "norms" (func $norms (param i32 i32 i32)))
    (import "host" "normalize" (func $normalize (param i32 i32)))
    (import "host" "truncate" (func $truncate (param i32 i32 i32)))
    {{core}}
    (data (i32.const 16) "{{name}}")
    (data (i32.const 96) "1.0.0")
    (data (i32.const 112) "vector")
    (data (i32.const 128) "evil was here")

    (func $evil (param $row i32)
      (local $i i32) (local $j i32)
      {{evil}})

    (func (export "describe") (result i32)
      (i32.store (i32.const 256) (i32.const 16))
      (i32.store (i32.const 260) (i32.const {{name_len}}))
      (i32.store (i32.const 264) (i32.const 96))
      (i32.store (i32.const 268) (i32.const 5))
      (i32.store (i32.const 272) (i32.const 0))
      {{describe}}
      (i32.const 256))

    (func (export "configure") (param i32 i32) (result i32)
      (i32.store (i32.const 256) (i32.const 0))
      {{configure}}
      (i32.const 256))

    (func (export "answer") (param $columns i32) (param $width i32) (param $rows i32) (param $count i32)
      (result i32)
      (local $i i32) (local $at i32)
      (memory.fill (i32.const 1024) (i32.const 0) (i32.mul (local.get $count) (i32.const 32)))
      (i32.store (i32.const 256) (i32.const 0))
      (i32.store (i32.const 260) (i32.const 1024))
      (i32.store (i32.const 264) (local.get $count))
      {{answer}}
      (block $done
        (loop $next
          (br_if $done (i32.ge_u (local.get $i) (local.get $count)))
          (local.set $at (i32.add (local.get $rows) (i32.mul (local.get $i) (i32.const 16))))
          (if (i32.eq (i32.load offset=4 (local.get $at)) (i32.const 4))
            (then
              ;; "evil"
              (if (i32.eq (i32.load align=1 (i32.load (local.get $at))) (i32.const 0x6c697665))
                (then (call $evil (local.get $i))))))
          (local.set $i (i32.add (local.get $i) (i32.const 1)))
          (br $next)))
      (i32.const 256))
    ;; One decision of 12 bytes for each failure: `drop`.
    (func (export "decide") (param $failures i32) (param $count i32) (result i32)
      (local $i i32)
      (i32.store (i32.const 256) (i32.const 0))
      (i32.store (i32.const 260) (i32.const 1024))
      (i32.store (i32.const 264) (local.get $count))
      (block $done
        (loop $next
          (br_if $done (i32.ge_u (local.get $i) (local.get $count)))
          (i32.store offset=1024 (i32.mul (local.get $i) (i32.const 12)) (i32.const 2))
          (local.set $i (i32.add (local.get $i) (i32.const 1)))
          (br $next)))
      {{decide}}
      (i32.const 256))
    {{packed}}
    (func (export "nothing"))
    {{start}})
  (core instance $main (instantiate $main
    (with "libc" (instance $libc))
    (with "host" (instance
      (export "log" (func $log))
      (export "dimensions" (func $dimensions))
      (export "read" (func $read))
      (export "write" (func $write))
      (export "norms" (func $norms))
      (export "normalize" (func $normalize))
      (export "truncate" (func $truncate))
      {{linked}}))))

  (type $descriptor (record (field "name" string) (field "version" string) (field "reads" (option (list string)))))
  (func $describe (result $descriptor)
    (canon lift (core func $main "describe") (memory $memory)))
  (func $configure (param "config" (list (tuple string string))) (result (result (error string)))
    (canon lift (core func $main "configure") (memory $memory) (realloc $realloc)))
  (instance $describe-instance
    (export "descriptor" (type $descriptor))
    (export "describe" (func $describe))
    (export "configure" (func $configure)))
  (export "forebay:plugin/describe@{{version}}" (instance $describe-instance))
  {{role}}
  {{component}})
