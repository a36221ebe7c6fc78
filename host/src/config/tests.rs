#![allow(clippy::unwrap_used)]

use insta::assert_snapshot;
use serde_json::Value;

use std::path::Path;
use std::time::Duration;

use super::*;
use crate::plugin;

const PATH: &str = "conf/forebay.toml";

/// The least that is a configuration.
const LEAST: &str = r#"
[pipelines.p]
source = { grpc = "http://localhost:1", dataset = "d" }
tables = ["t"]
"#;

fn parse(text: &str) -> Result<Config, ConfigError> {
    let variable = |name: &str| match name {
        "PASSWORD" => Some("s3cret".to_owned()),
        "BAD" => Some("a lot".to_owned()),
        _ => None,
    };
    Config::parse(Path::new(PATH), text, &variable)
}

/// All that is wrong with a text, as users see it.
fn problems(text: &str) -> String {
    parse(text).unwrap_err().to_string()
}

/// The least configuration with `text` after it has exactly this one problem.
#[track_caller]
fn check(text: &str, expected: &str) {
    let error = parse(&format!("{LEAST}{text}")).unwrap_err();
    assert_eq!(error.problems.len(), 1, "{error}");
    assert_eq!(error.to_string(), format!("{PATH}{expected}"));
}

#[test]
fn the_least_gets_defaults() {
    let config = parse(LEAST).unwrap();
    assert_eq!(config.directory, Path::new("conf"));
    assert_eq!(config.database, None);
    assert_eq!(config.sessions, Sessions::default());
    assert_eq!(config.plugins.directory, Path::new("conf/plugins"));
    assert_eq!(config.plugins.limits, plugin::Limits::default());
    assert_eq!(config.plugins.permissions, plugin::Permissions::default());
    assert_eq!(
        (config.plugins.canary.chunks, config.plugins.canary.faults),
        (20, 0.05)
    );
    assert_eq!(config.plugins.shadow, None);
    assert_eq!(config.limits, Limits::default());
    assert_eq!(config.give_up_after, Duration::from_secs(300));
    let [pipeline] = config.pipelines.as_slice() else {
        panic!("{config:?}")
    };
    assert_eq!(
        (pipeline.name.as_str(), pipeline.source.chunk_rows),
        ("p", 300)
    );
    assert_eq!(pipeline.source.max_chunk_rows, 1_200);
    assert_eq!(pipeline.writers, 1..=4);
    assert!(pipeline.plugins.is_none() && pipeline.notify.is_none() && pipeline.rename.is_empty());
}

#[test]
fn every_key_arrives() {
    let text = r#"
[database]
url = "postgres://me:${PASSWORD}@db.example/jobs"
connections = 7
statement_timeout = "2m"
lock_timeout = "1500ms"
idle_in_transaction_timeout = "20s"
application_name = "nightly"
[plugins]
directory = "/opt/plugins"
canary = { chunks = 5, faults = 0.5 }
shadow = { plugins = ["one"], promote_after = 1000, differences = 0.25 }
wasi = "refuse"
[plugins.limits]
memory = "32MiB"
deadline = "2s"
stack = "1MiB"
table_elements = 1
instances = 2
host_calls = 3
log_lines = 4
output = "5KiB"
compile_time = "7s"
compile_memory = "8MiB"
[plugins.limits.one]
deadline = "1s"
[plugins.limits.memory-heavy]
memory = "64MiB"
may_exceed = true
[plugins.grants]
one = ["stdio", "clock"]
two = ["random"]
[limits]
row = "2MiB"
chunk = "8MiB"
in_flight = "16MB"
[retry]
give_up_after = "1h 30m"
[serve]
listen = "[::1]:9464"
[pipelines.b]
source = { grpc = "unix:/run/embed.sock", dataset = "d", chunk_rows = 50 }
writers = 3
plugins = ["two", "one"]
tables = ["a", "s.b"]
rename = { text = "body" }
notify = { grpc = "https://api.example", target = "cost: $${5}" }
settings = { one = { low = "1" } }
schedule = "0 0 2 * * ?"
[pipelines.a]
source = { grpc = "http://localhost:1", dataset = "d" }
plugins = []
tables = ["t"]
"#;
    let config = parse(text).unwrap();
    assert_eq!(
        config.database,
        Some(DatabaseUrl::new(
            "postgres://me:s3cret@db.example/jobs".into()
        ))
    );
    assert_eq!(
        config.sessions,
        Sessions {
            connections: 7,
            statement_timeout: Duration::from_secs(120),
            lock_timeout: Duration::from_millis(1_500),
            idle_in_transaction_timeout: Duration::from_secs(20),
            application_name: Some("nightly".into()),
        }
    );
    assert_eq!(config.plugins.directory, Path::new("/opt/plugins"));
    assert_eq!(
        config.plugins.limits,
        plugin::Limits {
            memory: 32 << 20,
            deadline: Duration::from_secs(2),
            stack: 1 << 20,
            table_elements: 1,
            instances: 2,
            host_calls: 3,
            log_lines: 4,
            output: 5 << 10,
            compile_time: Duration::from_secs(7),
            compile_memory: 8 << 20,
        }
    );
    let (common, own) = (config.plugins.limits, &config.plugins.own_limits);
    let names: Vec<_> = own.keys().map(String::as_str).collect();
    assert_eq!(names, ["memory-heavy", "one"]);
    let one = plugin::Limits {
        deadline: Duration::from_secs(1),
        ..common
    };
    assert_eq!(own["one"], one);
    assert_eq!(own["memory-heavy"].memory, 64 << 20);
    assert_eq!(config.plugins.shortest_deadline(), one.deadline);
    let permissions = &config.plugins.permissions;
    assert_eq!(permissions.wasi, plugin::Wasi::Refuse);
    assert_eq!(
        permissions.of("one"),
        [plugin::Grant::Clock, plugin::Grant::Stdio].into()
    );
    assert_eq!(permissions.of("two"), [plugin::Grant::Random].into());
    assert!(permissions.of("three").is_empty());
    assert_eq!(
        config.plugins.canary,
        Canary {
            chunks: 5,
            faults: 0.5
        }
    );
    assert!(config.plugins.is_shadowed("one") && !config.plugins.is_shadowed("two"));
    let shadow = config.plugins.shadow.clone().unwrap();
    assert_eq!(
        (shadow.promote_after, shadow.differences),
        (Some(1_000), 0.25)
    );
    assert_eq!(
        config.limits,
        Limits {
            fields: 2_000,
            partitions: 1_000,
            row: 2 << 20,
            chunk: 8 << 20,
            in_flight: 16_000_000
        }
    );
    assert_eq!(config.give_up_after, Duration::from_secs(5_400));
    let [a, b] = config.pipelines.as_slice() else {
        panic!("{config:?}")
    };
    assert_eq!(
        (a.name.as_str(), a.plugins.as_deref()),
        ("a", Some(&[][..]))
    );
    let Transport::Grpc(grpc) = &b.source.transport else {
        panic!("{b:?}")
    };
    assert_eq!(
        (grpc.address.as_str(), b.source.chunk_rows),
        ("unix:/run/embed.sock", 50)
    );
    assert_eq!((b.source.max_chunk_rows, &b.writers), (50, &(3..=3)));
    assert_eq!(b.plugins.as_deref().unwrap(), ["two", "one"]);
    assert_eq!(b.tables, ["a", "s.b"]);
    assert_eq!(b.rename["text"], "body");
    assert_eq!(b.notify.as_ref().unwrap().target, "cost: ${5}");
    assert_eq!(b.settings["one"], [("low".to_owned(), "1".to_owned())]);
    assert_eq!(b.schedule, "0 0 2 * * ?".parse().ok());
    assert_eq!(a.schedule, None);
    assert_eq!(config.serve.listen, "[::1]:9464".parse().ok());
}

#[test]
fn everything_wrong_is_reported_together() {
    let ugly = r#"
[databse]
url = "x"

[database]
url = "mysql://root:hunter2@localhost/jobs"

[plugins]
limits = { memory = "lots", deadline = 500, fuel = 7 }

[limits]
row = "65MiB"
in_flight = "${BAD}"

[retry]
give_up_after = "0s"

[pipelines.recruit]
source = { grcp = "http://localhost:50051", dataset = "recruit", chunk_rows = 0 }
plugins = ["recruit-rules"]
tables = []
rename = "none"
notify = { grpc = "localhost:50052", target = "${UNSET}", when = "always" }

[pipelines.recruit.settings.recruit-rules]
min_years = 0

[pipelines.recruit.settings.recruit-dlq]
drop_codes = "KEY_MISSING"

[pipelines.other]
source = "http://localhost:50051"
"#;
    assert_snapshot!(problems(ugly), @r#"
    conf/forebay.toml:2: databse: unknown key
      hint: did you mean `database`?
    conf/forebay.toml:6: database.url: is not a PostgreSQL URL
      hint: such as postgres://user@host/database; leave `url` out for an embedded server
    conf/forebay.toml:9: plugins.limits.deadline: is not a string
      hint: write the value in quotes
    conf/forebay.toml:9: plugins.limits.fuel: unknown key
      hint: remove it; known keys: memory, deadline, stack, table_elements, instances, host_calls, log_lines, output, compile_time, compile_memory
    conf/forebay.toml:9: plugins.limits.memory: `lots` is not a size
      hint: such as "64MiB"
    conf/forebay.toml:12: limits.row: is larger than limits.chunk
      hint: a row must fit into a chunk
    conf/forebay.toml:13: limits.in_flight: `a lot` is not a size
      hint: such as "64MiB"
    conf/forebay.toml:16: retry.give_up_after: `0s` is not a duration
      hint: such as "500ms" or "5m"
    conf/forebay.toml:19: pipelines.recruit.source.chunk_rows: 0 is less than the minimum of 1
    conf/forebay.toml:19: pipelines.recruit.source.grcp: unknown key
      hint: did you mean `grpc`?
    conf/forebay.toml:19: pipelines.recruit.source.grpc: missing
      hint: add this key, or `files = "data/*.parquet"` to read files
    conf/forebay.toml:21: pipelines.recruit.tables: is empty
      hint: name at least one
    conf/forebay.toml:22: pipelines.recruit.rename: is not a table
      hint: write { key = "value" }
    conf/forebay.toml:23: pipelines.recruit.notify.target: the environment variable UNSET is not set
      hint: set UNSET, or write the value here
    conf/forebay.toml:23: pipelines.recruit.notify.grpc: `localhost:50052` is not a gRPC address
      hint: write http://host:port, https://host:port or unix:/path
    conf/forebay.toml:23: pipelines.recruit.notify.when: unknown key
      hint: remove it; known keys: grpc, target, every, auth
    conf/forebay.toml:26: pipelines.recruit.settings.recruit-rules.min_years: is not a string
      hint: write the value in quotes
    conf/forebay.toml:28: pipelines.recruit.settings.recruit-dlq: settings of a plugin that the pipeline does not use
      hint: name it in pipelines.recruit.plugins, or remove its settings
    conf/forebay.toml:31: pipelines.other.tables: missing
      hint: add this key
    conf/forebay.toml:32: pipelines.other.source: is not a table
      hint: write { key = "value" }
    "#);
}

#[test]
fn one_problem_each() {
    for (text, expected) in [
        (
            "writers = 4\nmax_writers = 3",
            ":6: pipelines.p.max_writers: 3 is less than `writers` (4)\n  hint: leave it out to pin `writers`",
        ),
        (
            "[pipelines.q]\nsource = { grpc = \"http://h:1\", dataset = \"d\", max_chunk_rows = 200 }\ntables = [\"t\"]",
            ":6: pipelines.q.source.max_chunk_rows: 200 is less than `chunk_rows` (300)\n  hint: leave it out to pin `chunk_rows`",
        ),
        (
            "[limits]\nrow = \"0\"",
            ":6: limits.row: `0` is not a size\n  hint: such as \"64MiB\"",
        ),
        (
            "[limits]\nrow = 7",
            ":6: limits.row: is not a string\n  hint: write the value in quotes",
        ),
        (
            "[limits]\nchunk = \"1KiB\"",
            // What is left out counts with its default.
            ":5: limits.row: is larger than limits.chunk\n  hint: a row must fit into a chunk",
        ),
        (
            "[plugins.limits]\nstack = \"2MiB\"",
            ":6: plugins.limits.stack: is out of range\n  hint: from \"64KiB\" to \"1MiB\"",
        ),
        (
            "[plugins.limits.a]\nmemory = \"65MiB\"",
            ":6: plugins.limits.a.memory: is above plugins.limits.memory, the limit of all plugins\n  hint: lower it, raise plugins.limits.memory, or write `may_exceed = true` beside it",
        ),
        (
            "[plugins.limits]\ndeadline = \"1s\"\na = { deadline = \"2s\", may_exceed = false }",
            ":7: plugins.limits.a.deadline: is above plugins.limits.deadline, the limit of all plugins\n  hint: lower it, raise plugins.limits.deadline, or write `may_exceed = true` beside it",
        ),
        (
            "[plugins.limits.a]\nhost_calls = 100001",
            ":6: plugins.limits.a.host_calls: is above plugins.limits.host_calls, the limit of all plugins\n  hint: lower it, raise plugins.limits.host_calls, or write `may_exceed = true` beside it",
        ),
        (
            "[plugins.limits.a]\nmemory = \"lots\"",
            ":6: plugins.limits.a.memory: `lots` is not a size\n  hint: such as \"64MiB\"",
        ),
        (
            "[plugins.limits.a]\nstack = \"64KiB\"",
            ":6: plugins.limits.a.stack: unknown key\n  hint: remove it; known keys: memory, deadline, table_elements, host_calls, log_lines, output, may_exceed",
        ),
        (
            "[plugins.limits.a]\nmemroy = \"1MiB\"",
            ":6: plugins.limits.a.memroy: unknown key\n  hint: did you mean `memory`?",
        ),
        (
            "[plugins.limits]\nmemroy = \"1MiB\"",
            ":6: plugins.limits.memroy: unknown key\n  hint: did you mean `memory`?",
        ),
        (
            "[plugins.limits.No_Name]\nmemory = \"1MiB\"",
            ":5: plugins.limits.No_Name: is not a name of a plugin\n  hint: a plugin's name consists of lower-case words joined by hyphens",
        ),
        (
            "[plugins.limits]\nlog_lines = -1",
            ":6: plugins.limits.log_lines: -1 is less than the minimum of 0",
        ),
        (
            "[plugins]\nwasi = \"full\"",
            ":6: plugins.wasi: \"full\" is not one of \"empty\" or \"refuse\"",
        ),
        (
            "[plugins.grants]\na = [\"clock\", \"files\"]",
            ":6: plugins.grants.a.1: \"files\" is not one of \"clock\", \"random\" or \"stdio\"",
        ),
        (
            "[retry]\ngive_up_after = \"soon\"",
            ":6: retry.give_up_after: `soon` is not a duration\n  hint: such as \"500ms\" or \"5m\"",
        ),
        (
            "[database]\nurl = \"${PASSWORD}\"",
            ":6: database.url: is not a PostgreSQL URL\n  hint: such as postgres://user@host/database; leave `url` out for an embedded server",
        ),
        (
            "[database]\nconnections = 1",
            ":6: database.connections: 1 is less than the minimum of 2",
        ),
        (
            "[database]\nlock_timeout = \"500us\"",
            ":6: database.lock_timeout: is out of range\n  hint: from \"1ms\" to \"24days\"",
        ),
        (
            "[database]\nstatement_timeout = \"30s\"",
            // What is left out counts with its default.
            ":5: database.lock_timeout: is not shorter than database.statement_timeout\n  hint: otherwise statement_timeout always ends the wait first",
        ),
        (
            "[database]\nstatement_timeout = 30",
            ":6: database.statement_timeout: is not a string\n  hint: write the value in quotes",
        ),
        (
            "[database]\napplication_name = \"\"",
            ":6: database.application_name: \"\" is shorter than 1 character",
        ),
        (
            "[plugins]\ndirectory = \"${\"",
            ":6: plugins.directory: `${` without `}`\n  hint: write $${ for a literal ${",
        ),
        (
            "[limits]\nchunk = \"${NO}\"",
            ":6: limits.chunk: the environment variable NO is not set\n  hint: set NO, or write the value here",
        ),
        (
            "[plugin]",
            ":5: plugin: unknown key\n  hint: did you mean `plugins`?",
        ),
        (
            "[xyz]",
            ":5: xyz: unknown key\n  hint: remove it; known keys: database, plugins, limits, retry, serve, pipelines",
        ),
        (
            "[pipelines.\"a/b~c\"]\nsource = { grpc = \"http://h\", dataset = \"d\" }",
            ":5: pipelines.a/b~c.tables: missing\n  hint: add this key",
        ),
        (
            "notify = { grpc = \"unix:relative\", target = \"t\" }",
            ":5: pipelines.p.notify.grpc: `unix:relative` is not a gRPC address\n  hint: write http://host:port, https://host:port or unix:/path",
        ),
        (
            "notify = { grpc = \"http://a b\", target = \"t\" }",
            ":5: pipelines.p.notify.grpc: `http://a b` is not a gRPC address\n  hint: write http://host:port, https://host:port or unix:/path",
        ),
        (
            "schedule = \"0 2 * * *\"",
            ":5: pipelines.p.schedule: `0 2 * * *` is not a valid schedule, or never fires\n  hint: such as \"0 0 2 * * ?\": second, minute, hour, day, month, weekday by name (MON to SUN)",
        ),
        (
            "[serve]\nlisten = \":9464\"",
            ":6: serve.listen: `:9464` is not an IP address with a port\n  hint: such as 127.0.0.1:9464, or 0.0.0.0:9464 for all networks",
        ),
        (
            "rename = { a = 1 }",
            ":5: pipelines.p.rename.a: is not a string\n  hint: write the value in quotes",
        ),
        (
            "plugins = [\"a\"]\nsettings = { b = {} }",
            ":6: pipelines.p.settings.b: settings of a plugin that the pipeline does not use\n  hint: name it in pipelines.p.plugins, or remove its settings",
        ),
        (
            "plugins = [\"a\", \"b\", \"a\"]",
            ":5: pipelines.p.plugins: `a` is named twice\n  hint: a row passes each plugin once: remove one",
        ),
        (
            "rename = {",
            ":5: not valid TOML: unclosed inline table, expected `}`",
        ),
    ] {
        check(text, expected);
    }
}

#[test]
fn nothing_is_too_little() {
    assert_snapshot!(problems(""), @r#"
    conf/forebay.toml: pipelines: missing
      hint: add this key
    "#);
    assert_snapshot!(problems("[pipelines]"), @r#"
    conf/forebay.toml:1: pipelines: is empty
      hint: add at least one, such as [pipelines.recruit]
    "#);
}

#[test]
fn a_file_that_is_not_there_is_named() {
    let error = Config::load(Path::new("/nowhere/forebay.toml")).unwrap_err();
    assert_snapshot!(error, @r#"
    /nowhere/forebay.toml: cannot be read: No such file or directory (os error 2)
      hint: name another file with --config, or start from examples/recruit/forebay.toml
    "#);
}

#[test]
fn passwords_are_never_shown() {
    for (url, shown) in [
        (
            "postgres://me:s3cret@host:5432/jobs?sslmode=require",
            "postgres://me@host:5432/jobs",
        ),
        ("postgres://me@host/jobs", "postgres://me@host/jobs"),
        (
            "postgres:///jobs?host=/run&password=s3cret",
            "postgres:///jobs",
        ),
        // Passwords that should have been percent-encoded.
        (
            "postgres://me:s3@s3cret@host/jobs",
            "postgres://me@host/jobs",
        ),
        (
            "postgres://me:s3cret/s3cret@host/jobs",
            "postgres://me@host/jobs",
        ),
        ("postgres://me:s3cret?s3cret@host/jobs", "postgres://…"),
        ("postgres://me:s3@s3cret?s3cret@host/jobs", "postgres://…"),
        ("me:s3cret@host", "…"),
    ] {
        let url = DatabaseUrl::new(url.into());
        assert_eq!(
            (url.to_string().as_str(), format!("{url:?}").as_str()),
            (shown, shown)
        );
    }
    let config = parse(&format!(
        "{LEAST}[database]\nurl = \"postgres://me:${{PASSWORD}}@host/jobs\""
    ))
    .unwrap();
    assert!(!format!("{config:?}").contains("s3cret"), "{config:?}");
}

/// Every key of the schema, with dots; `*` for names of the user's choice.
fn keys(schema: &Value, node: &Value, path: &str, found: &mut Vec<String>) {
    let node = match node.get("$ref").and_then(Value::as_str) {
        Some(reference) => schema.pointer(reference.trim_start_matches('#')).unwrap(),
        None => node,
    };
    let properties = node
        .get("properties")
        .and_then(Value::as_object)
        .into_iter()
        .flatten();
    let additional = node
        .get("additionalProperties")
        .filter(|free| free.is_object());
    for (name, inner) in properties
        .map(|(name, inner)| (name.as_str(), inner))
        .chain(additional.map(|inner| ("*", inner)))
    {
        let path = if path.is_empty() {
            name.to_owned()
        } else {
            format!("{path}.{name}")
        };
        keys(schema, inner, &path, found);
        found.push(path);
    }
}

#[test]
fn indexes_are_kept_unless_it_says_otherwise() {
    let index = |text: &str| {
        let config = parse(&format!("{LEAST}{text}")).unwrap();
        let pipeline = config.pipelines.first().unwrap();
        (pipeline.index.as_str(), pipeline.index_memory)
    };
    assert_eq!(index(""), ("keep", 1 << 30));
    for mode in ["keep", "defer", "defer-always", "rebuild", "rebuild-frozen"] {
        assert_eq!(index(&format!("index = \"{mode}\"")).0, mode);
    }
    assert_eq!(index("index_memory = \"64MiB\"").1, 64 << 20);
    check(
        "index = \"later\"",
        ":5: pipelines.p.index: \"later\" is not one of \"keep\", \"defer\", \"defer-always\", \"rebuild\" or \"rebuild-frozen\"",
    );
}

#[test]
fn the_schema_shows_the_defaults() {
    let schema = schema();
    let shown = |place: &str, key: &str| {
        let key = schema.pointer(&format!("/$defs/{place}/properties/{key}"));
        let description = key.unwrap()["description"].as_str().unwrap();
        description.rsplit_once("Default: ").unwrap().1.to_owned()
    };
    for (place, key, default) in [
        ("Source", "chunk_rows", "300."),
        (
            "Source",
            "max_chunk_rows",
            "the same as `chunk_rows` if given, or else 1200.",
        ),
        ("Limits", "row", "`\"1MiB\"`."),
        ("Retry", "give_up_after", "`\"5m\"`."),
        ("Canary", "faults", "0.05."),
        ("PluginLimits", "deadline", "`\"500ms\"`."),
        ("Pipeline", "missing_limit", "`\"10%\"`."),
        ("Pipeline", "dead_letter_limit", "`\"20%\"`."),
    ] {
        assert_eq!(shown(place, key), default, "{key}");
    }
}

#[test]
fn the_schema_names_every_key_and_accepts_the_example() {
    let schema = schema();
    let mut found = Vec::new();
    keys(&schema, &schema, "", &mut found);
    found.sort_unstable();
    assert_snapshot!(found.join("\n"), @r#"
    database
    database.application_name
    database.connections
    database.idle_in_transaction_timeout
    database.lock_timeout
    database.password
    database.password_file
    database.statement_timeout
    database.url
    database.url_file
    limits
    limits.chunk
    limits.fields
    limits.in_flight
    limits.partitions
    limits.row
    pipelines
    pipelines.*
    pipelines.*.dead_letter_limit
    pipelines.*.index
    pipelines.*.index_memory
    pipelines.*.key
    pipelines.*.max_writers
    pipelines.*.missing
    pipelines.*.missing_limit
    pipelines.*.notify
    pipelines.*.notify.auth
    pipelines.*.notify.auth.ca
    pipelines.*.notify.auth.certificate
    pipelines.*.notify.auth.key
    pipelines.*.notify.auth.server_name
    pipelines.*.notify.auth.token
    pipelines.*.notify.auth.token_file
    pipelines.*.notify.every
    pipelines.*.notify.grpc
    pipelines.*.notify.target
    pipelines.*.plugins
    pipelines.*.rename
    pipelines.*.rename.*
    pipelines.*.roll_over
    pipelines.*.roll_over.after
    pipelines.*.roll_over.rows
    pipelines.*.schedule
    pipelines.*.settings
    pipelines.*.settings.*
    pipelines.*.settings.*.*
    pipelines.*.source
    pipelines.*.source.auth
    pipelines.*.source.auth.ca
    pipelines.*.source.auth.certificate
    pipelines.*.source.auth.key
    pipelines.*.source.auth.server_name
    pipelines.*.source.auth.token
    pipelines.*.source.auth.token_file
    pipelines.*.source.chunk_rows
    pipelines.*.source.chunk_size
    pipelines.*.source.dataset
    pipelines.*.source.deleted
    pipelines.*.source.delivery
    pipelines.*.source.descriptors
    pipelines.*.source.embeddings
    pipelines.*.source.embeddings.*
    pipelines.*.source.fields
    pipelines.*.source.fields.*
    pipelines.*.source.files
    pipelines.*.source.grpc
    pipelines.*.source.idle_timeout
    pipelines.*.source.key
    pipelines.*.source.max_chunk_rows
    pipelines.*.source.method
    pipelines.*.source.position
    pipelines.*.source.position.field
    pipelines.*.source.position.request
    pipelines.*.source.proto
    pipelines.*.source.proto_path
    pipelines.*.source.reflection
    pipelines.*.source.request
    pipelines.*.source.request.*
    pipelines.*.source.rows
    pipelines.*.tables
    pipelines.*.writers
    plugins
    plugins.canary
    plugins.canary.chunks
    plugins.canary.faults
    plugins.directory
    plugins.grants
    plugins.grants.*
    plugins.limits
    plugins.limits.*
    plugins.limits.*.deadline
    plugins.limits.*.host_calls
    plugins.limits.*.log_lines
    plugins.limits.*.may_exceed
    plugins.limits.*.memory
    plugins.limits.*.output
    plugins.limits.*.table_elements
    plugins.limits.compile_memory
    plugins.limits.compile_time
    plugins.limits.deadline
    plugins.limits.host_calls
    plugins.limits.instances
    plugins.limits.log_lines
    plugins.limits.memory
    plugins.limits.output
    plugins.limits.stack
    plugins.limits.table_elements
    plugins.shadow
    plugins.shadow.differences
    plugins.shadow.plugins
    plugins.shadow.promote_after
    plugins.wasi
    retry
    retry.give_up_after
    retry.stop_timeout
    serve
    serve.listen
    "#);
    // It is what editors validate with, so it stands alone.
    assert!(!schema.to_string().contains("\"null\""));
    let validator = jsonschema::validator_for(&schema).unwrap();
    let example = include_str!("../../../examples/recruit/forebay.toml");
    let errors: Vec<String> = validator
        .iter_errors(&toml::from_str(example).unwrap())
        .map(|error| error.to_string())
        .collect();
    assert!(errors.is_empty(), "{errors:?}");
    Config::parse(Path::new(PATH), example, &|_| None).unwrap();
}

#[test]
fn the_database_has_one_url_and_one_password() {
    let config = |keys: &str| parse(&format!("{LEAST}[database]\n{keys}"));
    let read = |keys: &str| config(keys).unwrap().database_url().unwrap().read();
    let access = read("url = \"postgres://me@h/d\"\npassword = \"p@ss/w%rd ${PASSWORD}\"").unwrap();
    assert_eq!(access.url, "postgres://me@h/d");
    assert_eq!(access.password.as_deref(), Some("p@ss/w%rd s3cret"));

    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("secret");
    let keys = format!(
        "url = \"postgres://me@h/d\"\npassword = \"${{file:{}}}\"",
        file.display()
    );
    let unreadable = read(&keys).err().unwrap();
    assert!(unreadable.starts_with("cannot read "), "{unreadable}");
    for secret in ["one", "two ${PASSWORD} "] {
        std::fs::write(&file, format!("{secret}\n")).unwrap();
        assert_eq!(read(&keys).unwrap().password.as_deref(), Some(secret));
    }
    std::fs::write(&file, "postgres://you:s3cret@h/d\n").unwrap();
    let keys = format!("url = \"${{file:{}}}\"", file.display());
    assert_eq!(read(&keys).unwrap().url, "postgres://you:s3cret@h/d");
    let shown = format!("{:?}", config(&keys).unwrap());
    assert!(!shown.contains("s3cret"), "{shown}");

    let mut said = String::new();
    for keys in [
        "url = \"postgres://me:x@h/d\"\npassword = \"y\"",
        "url = \"postgres://me@h/d?password=x\"\npassword_file = \"y\"",
        "url = \"postgres://me@h/d\"\nurl_file = \"y\"",
        "url = \"postgres://me:${file:x}@h/d\"",
        "url = \"postgres://me@one,two/d\"",
        "url = \"postgres://me@one:5432,two:5432/d\"",
        "url = \"postgres:///d?host=one%2Ctwo\"",
        "application_name = \"${file:x}\"",
    ] {
        said += &format!("{}\n", config(keys).unwrap_err());
    }
    let said = said.replace("forebay.toml", "f");
    let one = "lists several servers, but Forebay connects to one\n  hint: name an address that follows the primary server, such as the writer endpoint of the provider, or a proxy before them; a standby that answers there is waited for";
    assert_snapshot!(said.replace(one, "lists several servers"), @"
    conf/f:7: database.password: `url` has a password as well
      hint: keep one of them
    conf/f:7: database.password_file: `url` has a password as well
      hint: keep one of them
    conf/f:7: database.url_file: `url` is given as well
      hint: keep one of them
    conf/f:6: database.url: has more than `${file:…}`: a file holds the whole secret
      hint: write the password as database.password
    conf/f:6: database.url: lists several servers
    conf/f:6: database.url: lists several servers
    conf/f:6: database.url: lists several servers
    conf/f:6: database.application_name: takes no `${file:…}`: only secrets are read from files
      hint: these are database.url, database.password, and `token` of an `auth`
    ");
}
