//! What a component can do before it is called with rows, and what it can be.

use super::catalog::{End, Hostile, hostile};

const LOOP: &str = "(loop $on (br $on))";
const EAT: &str =
    "(loop $on (br_if $on (i32.ne (memory.grow (i32.const 16)) (i32.const -1)))) unreachable";
const HOARD: &str = "(loop $on (br_if $on (i32.ne (memory.grow (i32.const 16)) (i32.const -1))))";
const NORMALIZE: &str = "(call $normalize (i32.const 112) (i32.const 6))";

pub fn all() -> Vec<Hostile> {
    [
        starting(),
        describing(),
        allocating(),
        importing(),
        exporting(),
    ]
    .into_iter()
    .flatten()
    .collect()
}

fn starting() -> Vec<Hostile> {
    let start = |code: &str| format!("(func $start {code}) (start $start)");
    vec![
        hostile(
            "start-loops",
            "never starts",
            &[("start", &start(LOOP))],
            End::Refused("cannot be started: did not answer before its deadline"),
        ),
        hostile(
            "start-traps",
            "traps when it is started",
            &[("start", &start("unreachable"))],
            End::Refused("cannot be started: trapped"),
        ),
        hostile(
            "start-eats",
            "takes all memory when it is started",
            &[("start", &start(EAT))],
            End::Refused("exceeded its memory limit"),
        ),
        hostile(
            "start-normalizes",
            "uses embeddings when it is started",
            &[("start", &start(NORMALIZE))],
            End::Refused("embeddings exist only during transform and validate"),
        ),
        hostile(
            "memory-at-once",
            "begins with 4 GiB of memory",
            &[("libc", "(memory 65536)")],
            End::Refused("exceeded its memory limit"),
        ),
        hostile(
            "table-at-once",
            "begins with a table of 4 billion elements",
            &[("libc", "(table 0xf0000000 funcref)")],
            End::Refused("exceeded its limit of 10000 table elements"),
        ),
        hostile(
            "start-hoards",
            "takes all memory when it is started, and goes on",
            &[("start", &start(HOARD))],
            End::Refused("its answer is not believed"),
        ),
        hostile(
            "configure-hoards",
            "takes all memory when it is configured, and goes on",
            &[("configure", HOARD)],
            End::Unsettled("its answer is not believed"),
        ),
        hostile(
            "configure-loops",
            "never takes its settings",
            &[("configure", LOOP)],
            End::Unsettled("did not answer before its deadline"),
        ),
        hostile(
            "configure-normalizes",
            "uses embeddings when it is configured",
            &[("configure", NORMALIZE)],
            End::Unsettled("embeddings exist only during transform and validate"),
        ),
        hostile(
            "configure-refuses-badly",
            "refuses its settings with what is not UTF-8",
            &[(
                "configure",
                "(i64.store (i32.const 65536) (i64.const -1)) (i32.store (i32.const 256) (i32.const 1)) (i32.store (i32.const 260) (i32.const 65536)) (i32.store (i32.const 264) (i32.const 8))",
            )],
            End::Unsettled("utf-8"),
        ),
    ]
}

fn describing() -> Vec<Hostile> {
    let reads = |at: &str, len: &str| {
        format!(
            "(i32.store (i32.const 272) (i32.const 1)) (i32.store (i32.const 276) (i32.const {at})) (i32.store (i32.const 280) (i32.const {len}))"
        )
    };
    vec![
        hostile(
            "describe-loops",
            "never says what it is",
            &[("describe", LOOP)],
            End::Refused("`describe` failed: did not answer before its deadline"),
        ),
        hostile(
            "describe-eats",
            "takes all memory when it describes itself",
            &[("describe", EAT)],
            End::Refused("exceeded its memory limit"),
        ),
        hostile(
            "describe-hoards",
            "takes all memory when it describes itself, and goes on",
            &[("describe", HOARD)],
            End::Refused("its answer is not believed"),
        ),
        hostile(
            "describe-normalizes",
            "uses embeddings when it describes itself",
            &[("describe", NORMALIZE)],
            End::Refused("embeddings exist only during transform and validate"),
        ),
        hostile(
            "name-is-none",
            "has a name with spaces",
            &[("name", "Evil Name!"), ("name_len", "10")],
            End::Refused("describes itself as \"Evil Name!\", which is not a valid name"),
        ),
        hostile(
            "name-is-a-path",
            "has a path as its name",
            &[("name", "../../etc/cron.d"), ("name_len", "16")],
            End::Refused("which is not a valid name"),
        ),
        hostile(
            "name-is-empty",
            "has no name",
            &[("name_len", "0")],
            End::Refused("which is not a valid name"),
        ),
        hostile(
            "name-is-long",
            "has a name of 64 KiB",
            &[("name_len", "0x10000")],
            End::Refused("which is not a valid name"),
        ),
        hostile(
            "name-is-gigantic",
            "has a name of 2 GiB",
            &[("name_len", "0x7fffffff")],
            End::Refused("out of bounds"),
        ),
        hostile(
            "name-is-no-text",
            "has a name that is not UTF-8",
            &[("name", "\\ff\\fe"), ("name_len", "2")],
            End::Refused("utf-8"),
        ),
        hostile(
            "reads-gigantic",
            "reads 2,147,483,647 columns",
            &[("describe", &reads("1024", "0x7fffffff"))],
            End::Refused("out of bounds"),
        ),
        hostile(
            "reads-many",
            "reads 20,000 columns",
            &[("describe", &reads("1024", "20000"))],
            End::Refused("reads 20000 columns"),
        ),
        hostile(
            "reads-terminal",
            "reads a column whose name would clear a terminal",
            &[
                ("describe", &reads("1024", "1")),
                (
                    "core",
                    r#"(data (i32.const 1024) "\00\05\00\00\0a\00\00\00") (data (i32.const 1280) "\1b[2J\0agrants")"#,
                ),
            ],
            End::Refused(r#"reads "\u{1b}[2J\ngrant", which is not a valid column name"#),
        ),
        hostile(
            "configure-forges",
            "refuses its settings with what looks like a line of the log",
            &[
                (
                    "configure",
                    "(i32.store (i32.const 256) (i32.const 1)) (i32.store (i32.const 260) (i32.const 1024)) (i32.store (i32.const 264) (i32.const 13))",
                ),
                ("core", r#"(data (i32.const 1024) "no\0aERROR gone")"#),
            ],
            End::Unsettled("no ERROR gone"),
        ),
        hostile(
            "reads-twice",
            "reads a column twice",
            &[("describe", &reads("1024", "2"))],
            End::Refused("reads the column \"\" twice"),
        ),
    ]
}

fn allocating() -> Vec<Hostile> {
    // For batches; `configure` gets by without.
    let realloc = |code: &str| format!("(if (local.get $size) (then {code}))");
    vec![
        hostile(
            "realloc-loops",
            "never gives the host memory for a batch",
            &[("realloc", &realloc(LOOP))],
            End::Broken("PLUGIN_DEADLINE"),
        ),
        hostile(
            "realloc-beyond",
            "gives the host memory that it does not have",
            &[("realloc", &realloc("(return (i32.const 0x7ffffff0))"))],
            End::Broken("realloc return: beyond end of memory"),
        ),
        hostile(
            "realloc-askew",
            "gives the host memory that is not aligned",
            &[("realloc", &realloc("(return (i32.const 65537))"))],
            End::Broken("realloc return: result not aligned"),
        ),
        hostile(
            "post-return-loops",
            "never ends after it has answered",
            &[("reset", LOOP)],
            End::Broken("PLUGIN_DEADLINE"),
        ),
        hostile(
            "post-return-traps",
            "traps after it has answered",
            &[("reset", "unreachable")],
            End::Broken("unreachable"),
        ),
        hostile(
            "realloc-low",
            "gives the host the same memory for everything",
            &[("realloc", "(return (i32.const 0))")],
            End::Harmless("it spoils nothing but its own memory"),
        ),
        hostile(
            "realloc-reenters",
            "calls the host while that asks for memory",
            &[
                ("realloc", &realloc("(call_indirect (i32.const 0))")),
                (
                    "core",
                    "(func $hook (call $log (i32.const 1) (i32.const 128) (i32.const 13)))
                     (elem (table $hooks) (i32.const 0) func $hook)",
                ),
            ],
            End::Broken("cannot leave component instance"),
        ),
    ]
}

fn importing() -> Vec<Hostile> {
    let import = |name: &'static str, tries, import: &str, end| {
        hostile(name, tries, &[("imports", import)], end)
    };
    vec![
        import(
            "import-http",
            "wants to make requests",
            r#"(import "wasi:http/outgoing-handler@0.2.0" (instance))"#,
            End::Harmless("it loads; every call of it would trap"),
        ),
        hostile(
            "call-http",
            "makes a request",
            &[
                (
                    "imports",
                    r#"
                    (import "wasi:io/poll@0.2.0" (instance $poll
                      (export "pollable" (type (sub resource)))))
                    (alias export $poll "pollable" (type $pollable))
                    (import "wasi:http/types@0.2.0" (instance $http
                      (alias outer 1 $pollable (type $p))
                      (export "pollable" (type (eq $p)))
                      (export "fields" (type $fields (sub resource)))
                      (export "[constructor]fields" (func (result (own $fields))))))"#,
                ),
                (
                    "lowered",
                    r#"(core func $fields (canon lower (func $http "[constructor]fields")))"#,
                ),
                ("linked", r#"(export "fields" (func $fields))"#),
                (
                    "core",
                    r#"(import "host" "fields" (func $fields (result i32)))"#,
                ),
                ("evil", "(drop (call $fields))"),
            ],
            End::Row(
                "PLUGIN_TRAP",
                "called `wasi:http/types@0.2.0#[constructor]fields`: plugins have no network",
            ),
        ),
        import(
            "import-own",
            "wants an interface of its own",
            r#"(import "my:own/thing@1.0.0" (instance (export "do" (func))))"#,
            End::Refused("imports `my:own/thing@1.0.0`: unknown to this host"),
        ),
        import(
            "import-function",
            "wants a function without an interface",
            r#"(import "system" (func (param "command" string)))"#,
            End::Refused("imports `system`: unknown to this host"),
        ),
        import(
            "import-module",
            "wants code from elsewhere",
            r#"(import "payload" (core module))"#,
            End::Refused("imports the core module `payload`"),
        ),
        hostile(
            "import-nul",
            "wants something by a name that PostgreSQL cannot store",
            &[(
                "component",
                r#"(core module $x (import "a\00b" "c" (func))) (core instance (instantiate $x))"#,
            )],
            End::Refused("named `a\u{fffd}b`"),
        ),
        import(
            "import-component",
            "wants another plugin",
            r#"(import "neighbour" (component))"#,
            End::Refused("imports the component `neighbour`"),
        ),
        import(
            "import-wasi-later",
            "wants a WASI that is to come",
            r#"(import "wasi:clocks/system-clock@0.3.0" (instance))"#,
            End::Refused("imports `wasi:clocks/system-clock@0.3.0`"),
        ),
        import(
            "import-secret",
            "wants a part of the interface that there is not",
            r#"(import "forebay:plugin/store@0.1.0" (instance (export "query" (func (param "sql" string)))))"#,
            End::Refused("imports `forebay:plugin/store@0.1.0`"),
        ),
        import(
            "import-wrong-type",
            "wants more of the clock than it has",
            r#"(import "wasi:clocks/wall-clock@0.2.0" (instance (export "set" (func (param "to" u64)))))"#,
            End::Refused("an import does not match what the host provides"),
        ),
        hostile(
            "import-sockets",
            "opens a socket and looks up a name, and traps if it gets either",
            &[
                ("imports", SOCKETS),
                ("lowered", SOCKETS_LOWERED),
                (
                    "linked",
                    r#"(export "socket" (func $socket)) (export "network" (func $network)) (export "resolve" (func $resolve))"#,
                ),
                (
                    "core",
                    r#"(import "host" "socket" (func $socket (param $family i32) (param $to i32)))
                       (import "host" "network" (func $network (result i32)))
                       (import "host" "resolve" (func $resolve (param $network i32) (param $name i32) (param $len i32) (param $to i32)))"#,
                ),
                (
                    "evil",
                    "(call $socket (i32.const 0) (i32.const 512))
                     (if (i32.eqz (i32.load8_u (i32.const 512))) (then unreachable))
                     (call $resolve (call $network) (i32.const 128) (i32.const 4) (i32.const 512))
                     (if (i32.eqz (i32.load8_u (i32.const 512))) (then unreachable))",
                ),
            ],
            End::Harmless("there are none in the empty world"),
        ),
        hostile(
            "older",
            "is made for an older interface",
            &[("version", "0.0.9")],
            End::Refused("built for `forebay:plugin@0.0.9`; this host has 0.1.0"),
        ),
        hostile(
            "newer",
            "is made for a newer interface",
            &[("version", "0.2.0")],
            End::Refused("built for `forebay:plugin@0.2.0`; this host has 0.1.0"),
        ),
        hostile(
            "newer-but-fits",
            "is made for a newer interface that fits",
            &[("version", "0.1.9")],
            End::Harmless("what has the same 0.1 fits"),
        ),
    ]
}

fn exporting() -> Vec<Hostile> {
    let role =
        |name: &'static str, tries, role: &str, end| hostile(name, tries, &[("role", role)], end);
    vec![
        role(
            "no-role",
            "does nothing",
            "",
            End::Refused("exports no role of `forebay:plugin@0.1.0`"),
        ),
        role(
            "wrong-type",
            "exports a transform that takes nothing",
            r#"(func $answer (canon lift (core func $main "nothing")))
               (instance $role (export "transform" (func $answer)))
               (export "forebay:plugin/transform@0.1.0" (instance $role))"#,
            End::Refused("cannot be started"),
        ),
        role(
            "packed-wrong-type",
            "exports a packed transform that takes nothing",
            r#"(func $answer (canon lift (core func $main "nothing")))
               (instance $role (export "transform" (func $answer)))
               (export "forebay:packed/transform@0.1.0" (instance $role))"#,
            End::Refused("cannot be started"),
        ),
        role(
            "wrong-kind",
            "exports a function where the interface should be",
            r#"(func $answer (canon lift (core func $main "nothing")))
               (export "forebay:plugin/transform@0.1.0" (func $answer))"#,
            End::Refused("exports no role"),
        ),
        role(
            "empty-role",
            "exports the interface without its function",
            r#"(instance $role) (export "forebay:plugin/transform@0.1.0" (instance $role))"#,
            End::Refused("exports no role"),
        ),
    ]
}

/// What a guest needs of `wasi:sockets` to get anywhere.
const SOCKETS: &str = r#"
  (import "wasi:sockets/network@0.2.0" (instance $network
    (export "network" (type (sub resource)))
    (type $e (enum "unknown" "access-denied" "not-supported" "invalid-argument" "out-of-memory"
      "timeout" "concurrency-conflict" "not-in-progress" "would-block" "invalid-state"
      "new-socket-limit" "address-not-bindable" "address-in-use" "remote-unreachable"
      "connection-refused" "connection-reset" "connection-aborted" "datagram-too-large"
      "name-unresolvable" "temporary-resolver-failure" "permanent-resolver-failure"))
    (export "error-code" (type (eq $e)))
    (type $f (enum "ipv4" "ipv6"))
    (export "ip-address-family" (type (eq $f)))))
  (alias export $network "network" (type $network-resource))
  (alias export $network "error-code" (type $error-code))
  (alias export $network "ip-address-family" (type $family))
  (import "wasi:sockets/tcp@0.2.0" (instance $tcp (export "tcp-socket" (type (sub resource)))))
  (alias export $tcp "tcp-socket" (type $tcp-socket))
  (import "wasi:sockets/tcp-create-socket@0.2.0" (instance $create
    (export "tcp-socket" (type $s (eq $tcp-socket)))
    (export "error-code" (type $e (eq $error-code)))
    (export "ip-address-family" (type $f (eq $family)))
    (export "create-tcp-socket" (func (param "address-family" $f)
      (result (result (own $s) (error $e)))))))
  (import "wasi:sockets/instance-network@0.2.0" (instance $instance-network
    (export "network" (type $n (eq $network-resource)))
    (export "instance-network" (func (result (own $n))))))
  (import "wasi:sockets/ip-name-lookup@0.2.0" (instance $lookup
    (export "network" (type $n (eq $network-resource)))
    (export "error-code" (type $e (eq $error-code)))
    (export "resolve-address-stream" (type $a (sub resource)))
    (export "resolve-addresses" (func (param "network" (borrow $n)) (param "name" string)
      (result (result (own $a) (error $e)))))))"#;

/// The functions of that, as core functions.
const SOCKETS_LOWERED: &str = r#"
  (core func $socket (canon lower (func $create "create-tcp-socket") (memory $memory)))
  (core func $network (canon lower (func $instance-network "instance-network")))
  (core func $resolve (canon lower (func $lookup "resolve-addresses") (memory $memory)))"#;
