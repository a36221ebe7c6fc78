//! `forebay plugin inspect`, as users see it.

use std::fs;
use std::path::Path;

use insta::{Settings, assert_snapshot};
use serde_json::Value;
use support::command;
use support::command::Ended;
use support::sandbox::guest;

use super::catalog;

/// Exit code, standard output and standard error of `forebay …` in a directory.
fn forebay(directory: &Path, arguments: &[&str]) -> (i32, String, String) {
    let ended = Ended::of(command::forebay(directory).args(arguments));
    (ended.code.unwrap(), ended.out, ended.err)
}

/// A directory with a configuration, and `plugins` with these components.
fn place(plugins: &str) -> tempfile::TempDir {
    let directory = tempfile::tempdir().unwrap();
    let config = format!(
        "[plugins]\n{plugins}\n[pipelines.p]\ntables = [\"t\"]\n\
         source = {{ grpc = \"http://localhost:1\", dataset = \"d\" }}\n"
    );
    fs::write(directory.path().join("forebay.toml"), config).unwrap();
    fs::create_dir(directory.path().join("plugins")).unwrap();
    directory
}

/// What differs between builds and runs.
fn filtered() -> Settings {
    let mut settings = Settings::clone_current();
    settings.add_filter(r"\([\d,]+ bytes\)", "(… bytes)");
    settings.add_filter(r"[0-9a-f]{64}", "(digest)");
    settings.add_filter(r"in [\d.]+ ms(, from the cache)?", "in … ms");
    settings
}

#[test]
fn a_plugin_is_shown_by_name() {
    let directory = place("[plugins.grants]\nwasi-user = [\"clock\", \"random\"]");
    let plugins = directory.path().join("plugins");
    fs::copy(guest("wasi-user"), plugins.join("user.wasm")).unwrap();
    let (code, out, err) = forebay(directory.path(), &["plugin", "inspect", "wasi-user"]);
    assert_eq!((code, err.as_str()), (0, ""));
    filtered().bind(|| {
        assert_snapshot!(out, @r#"
    file       ./plugins/user.wasm (… bytes)
    sha256     (digest)
    plugin     wasi-user 0.1.0
    interface  forebay:plugin@0.1.0
    roles      transform
    reads      no columns
    grants     clock, random
    compiled   in … ms
    limits     memory 64.0 MiB, deadline 500ms, stack 512.0 KiB, output 64.0 MiB,
               host_calls 100000, log_lines 100, table_elements 1048576,
               instances 1000
    imports    forebay:plugin/types@0.1.0         interface
               wasi:cli/environment@0.2.6         empty stand-in
               wasi:io/error@0.2.6                empty stand-in
               wasi:io/poll@0.2.6                 granted (clock)
               wasi:io/streams@0.2.6              empty stand-in
               wasi:cli/stderr@0.2.6              empty stand-in
               wasi:clocks/monotonic-clock@0.2.6  granted (clock)
               wasi:clocks/wall-clock@0.2.6       granted (clock)
               wasi:filesystem/types@0.2.6        empty stand-in
               wasi:filesystem/preopens@0.2.6     empty stand-in
               wasi:random/random@0.2.6           granted (random)
               wasi:random/insecure@0.2.6         granted (random)
               wasi:random/insecure-seed@0.2.6    granted (random)
    "#)
    });

    let (code, _, err) = forebay(directory.path(), &["plugin", "inspect", "other"]);
    assert_eq!(code, 2);
    assert_snapshot!(err, @r#"
    error: no plugin other in ./plugins, and no file of that name
      hint: plugins there: wasi-user
    "#);
}

#[test]
fn what_is_refused_is_shown_as_well() {
    let directory = place("wasi = \"refuse\"\n[plugins.limits]\nhost_calls = 7");
    let component = catalog::all()
        .into_iter()
        .find(|it| it.name == "import-http");
    fs::write(directory.path().join("http.wasm"), component.unwrap().bytes).unwrap();
    fs::write(directory.path().join("text.wasm"), "text").unwrap();
    fs::copy(guest("wasi-user"), directory.path().join("user.wasm")).unwrap();
    let arguments = ["plugin", "inspect", "http.wasm", "text.wasm", "user.wasm"];
    let (code, out, err) = forebay(directory.path(), &arguments);
    assert_eq!((code, err.as_str()), (1, ""));
    filtered().bind(|| assert_snapshot!(out, @r#"
    file       http.wasm (… bytes)
    sha256     (digest)
    interface  forebay:plugin@0.1.0
    roles      transform
    compiled   in … ms
    limits     memory 64.0 MiB, deadline 500ms, stack 512.0 KiB, output 64.0 MiB,
               host_calls 7, log_lines 100, table_elements 1048576, instances 1000
    imports    wasi:http/outgoing-handler@0.2.0  REFUSED
               forebay:plugin/types@0.1.0        interface
               forebay:plugin/log@0.1.0          interface
               forebay:plugin/embeddings@0.1.0   interface
    REFUSED: plugin hostile imports `wasi:http/outgoing-handler@0.2.0`: not granted, and `plugins.wasi` is "refuse"
      hint: build it without WASI, grant what it needs under `[plugins.grants]`, or give it an empty world with `wasi = "empty"`

    file       text.wasm (… bytes)
    limits     memory 64.0 MiB, deadline 500ms, stack 512.0 KiB, output 64.0 MiB,
               host_calls 7, log_lines 100, table_elements 1048576, instances 1000
    REFUSED: not a WebAssembly component
      hint: build the plugin and pass the `.wasm` file

    file       user.wasm (… bytes)
    sha256     (digest)
    interface  forebay:plugin@0.1.0
    roles      transform
    compiled   in … ms
    limits     memory 64.0 MiB, deadline 500ms, stack 512.0 KiB, output 64.0 MiB,
               host_calls 7, log_lines 100, table_elements 1048576, instances 1000
    imports    forebay:plugin/types@0.1.0         interface
               wasi:cli/environment@0.2.6         REFUSED
               wasi:io/error@0.2.6                REFUSED
               wasi:io/poll@0.2.6                 REFUSED
               wasi:io/streams@0.2.6              REFUSED
               wasi:cli/stderr@0.2.6              REFUSED
               wasi:clocks/monotonic-clock@0.2.6  REFUSED
               wasi:clocks/wall-clock@0.2.6       REFUSED
               wasi:filesystem/types@0.2.6        REFUSED
               wasi:filesystem/preopens@0.2.6     REFUSED
               wasi:random/random@0.2.6           REFUSED
               wasi:random/insecure@0.2.6         REFUSED
               wasi:random/insecure-seed@0.2.6    REFUSED
    REFUSED: plugin wasi-user imports `wasi:cli/environment@0.2.6`, `wasi:io/error@0.2.6`, `wasi:io/poll@0.2.6`, `wasi:io/streams@0.2.6`, `wasi:cli/stderr@0.2.6`, `wasi:clocks/monotonic-clock@0.2.6`, `wasi:clocks/wall-clock@0.2.6`, `wasi:filesystem/types@0.2.6`, `wasi:filesystem/preopens@0.2.6`, `wasi:random/random@0.2.6`, `wasi:random/insecure@0.2.6`, `wasi:random/insecure-seed@0.2.6`: not granted, and `plugins.wasi` is "refuse"
      hint: build it without WASI, grant what it needs under `[plugins.grants]`, or give it an empty world with `wasi = "empty"`
    "#));
}

#[test]
fn json_says_the_same() {
    let directory = place("");
    let path = guest("recruit-rules");
    let path = path.to_str().unwrap();
    let (code, out, _) = forebay(directory.path(), &["plugin", "inspect", path, "--json"]);
    assert_eq!(code, 0);
    let all: Value = serde_json::from_str(&out).unwrap();
    let one = &all[0];
    assert_eq!(one["name"], "recruit-rules");
    assert_eq!(one["loads"], true);
    assert_eq!(one["interface"], "0.1.0");
    assert_eq!(one["packed"], "0.1.0");
    assert_eq!(one["roles"][0], "validate");
    assert_eq!(one["imports"][0]["standing"], "interface");
    assert_eq!(one["limits"]["deadline_ms"], 500);
    assert_eq!(one["limits"]["host_calls"], 100_000);
    assert_eq!(one["sha256"].as_str().unwrap().len(), 64);
}

/// What a plugin with the grant prints is on standard error as it is; of another it is logged.
#[test]
fn what_is_printed_goes_where_it_may() {
    let printed = |plugins: &str| {
        let directory = place(plugins);
        let component = directory.path().join("user.wasm");
        fs::copy(guest("wasi-user"), &component).unwrap();
        let cases = "[[case]]\nname = \"any\"\nrow = [{ key = \"k\", fields = { company_name = \"a\" } }]\n";
        fs::write(directory.path().join("user.cases.toml"), cases).unwrap();
        forebay(
            directory.path(),
            &["--log", "info", "plugin", "test", "user.wasm"],
        )
        .2
    };
    let lines = |text: &str| text.lines().filter(|line| *line == "configured").count();
    let granted = printed("[plugins.grants]\nwasi-user = [\"stdio\"]");
    assert!(lines(&granted) > 0, "{granted}");
    let logged = printed("");
    assert!(
        lines(&logged) == 0 && logged.contains("configured"),
        "{logged}"
    );
}

/// A plugin cannot write to a terminal what that obeys, nor a line that looks like the host's.
#[test]
fn what_is_logged_is_plain() {
    let directory = place("");
    let component = catalog::all()
        .into_iter()
        .find(|it| it.name == "log-terminal");
    fs::write(directory.path().join("evil.wasm"), component.unwrap().bytes).unwrap();
    let cases = "[[case]]\nname = \"any\"\nrow = [{ key = \"evil\" }]\n";
    fs::write(directory.path().join("evil.cases.toml"), cases).unwrap();
    let arguments = ["--log", "info", "plugin", "test", "evil.wasm"];
    let (code, out, err) = forebay(directory.path(), &arguments);
    assert_eq!(code, 0, "{out}{err}");
    let mut lines = err.lines();
    let both = (lines.next().unwrap(), lines.next().unwrap());
    assert!(
        both.0.ends_with("WARN \u{fffd}[2J plugin=\"hostile\""),
        "{err}"
    );
    assert!(both.1.ends_with("WARN ERROR plugin=\"hostile\""), "{err}");
    assert!(!err.contains('\x1b'), "{err:?}");
}
