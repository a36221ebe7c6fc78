//! What commands say of names that nobody has and numbers that are none, and of where a report goes:
//! a slip of the pen does not look like good news.

use std::fs;
use std::io::Read;
use std::os::unix::fs::{FileTypeExt, MetadataExt, symlink};
use std::sync::Arc;

use forebay::demo::dataset::Dataset;
use forebay::demo::embedding_server;
use forebay::demo::running::Running;
use insta::assert_snapshot;
use nix::sys::stat::{Mode, SFlag, makedev, mknod};
use nix::unistd::mkfifo;
use serde_json::Value;
use support::{Place, anywhere, guests, nowhere};

const DIMENSIONS: usize = 8;

/// A place with the example's tables, a configuration that names a source of 900 rows, and more.
async fn place(more: &str) -> (Place, Running) {
    let place = Place::new();
    place.start_server();
    place.make_tables(DIMENSIONS).await;
    let dataset = Dataset::new(900, DIMENSIONS).unwrap().with_revisions();
    let source = embedding_server::start(Arc::new(dataset), anywhere()).unwrap();
    let (plugins, url) = (guests("plugins"), source.url());
    place.write(
        "forebay.toml",
        &format!(
            "plugins.directory = {plugins:?}\nretry.give_up_after = \"500ms\"\n\
             [pipelines.recruit]\nsource = {{ grpc = \"{url}\", dataset = \"recruit\" }}\n\
             tables = [\"recruit_metadata\", \"recruit_embedding\"]\n{more}"
        ),
    );
    (place, source)
}

fn refused(place: &Place, arguments: &[&str]) -> String {
    let ended = place.run(arguments);
    assert_eq!((ended.code, ended.out.as_str()), (Some(2), ""), "{ended:?}");
    ended.err
}

#[tokio::test]
async fn g_a_name_that_nobody_has_is_not_an_empty_result() {
    let (place, _source) = place("").await;
    // Configured, and never run: that is not an error.
    assert_eq!(place.done(&["dlq", "list", "recruit"]), "no dead letters\n");
    assert_snapshot!(refused(&place, &["dlq", "list", "recruti"]), @r"
    error: unknown pipeline `recruti`; known: recruit
      hint: did you mean `recruit`?
    ");
    place.done(&["run"]);
    for arguments in [
        &["dlq", "list", "nosuch"][..],
        &["checkpoint", "show", "nosuch"],
        &["checkpoint", "reset", "nosuch"],
        &["plugin", "promote", "recruit-rules", "--pipeline", "nosuch"],
        &["plugin", "diff", "recruit-rules", "--pipeline", "nosuch"],
        &["plugin", "record", "recruit-rules", "--pipeline", "nosuch"],
        &["run", "nosuch"],
        &["serve", "nosuch"],
    ] {
        let said = refused(&place, arguments);
        assert!(
            said.starts_with("error: unknown pipeline `nosuch`; "),
            "{said}"
        );
        assert!(said.contains(": recruit\n"), "{said}");
    }
    assert_snapshot!(refused(&place, &["dlq", "list", "--code", "FIELD_RANG"]).lines().last().unwrap(), @"  hint: did you mean `FIELD_RANGE`?");
    let said = refused(&place, &["dlq", "list", "--code", "NOSUCH"]);
    assert!(
        said.starts_with("error: unknown code of dead letters `NOSUCH`; so far there were: "),
        "{said}"
    );
    assert!(said.contains("FIELD_RANGE"), "{said}");
    let said = refused(&place, &["dlq", "list", "--queue", "nosuch"]);
    assert!(
        said.starts_with("error: unknown queue of dead letters `nosuch`; "),
        "{said}"
    );
    let said = refused(&place, &["dlq", "list", "--status", "solved"]);
    assert!(
        said.contains("[possible values: open, resolved, superseded, replayed, discarded]"),
        "{said}"
    );
    let said = refused(&place, &["dlq", "list", "--stage", "wirte"]);
    assert!(said.contains("'write'"), "{said}");
    // A name that is right, and of which there are none.
    let none = place.done(&["dlq", "list", "--status", "replayed"]);
    assert!(none.starts_with("no dead letter matches, of "), "{none}");
    // A pipeline that is no longer configured has its dead letters still.
    let config = fs::read_to_string(place.path().join("forebay.toml")).unwrap();
    place.write("forebay.toml", &config.replace("s.recruit]", "s.renamed]"));
    assert!(
        place
            .done(&["dlq", "list", "recruit"])
            .contains("FIELD_RANGE")
    );
}

#[test]
fn g_a_number_that_is_none_is_explained() {
    let place = Place::new();
    let first = |arguments: &[&str]| {
        let said = refused(&place, arguments);
        said.lines().next().unwrap().to_owned()
    };
    assert_snapshot!(
        [
            first(&["dlq", "show", "abc"]),
            first(&["dlq", "list", "--limit", "many"]),
            first(&["dlq", "list", "--limit", "0"]),
            first(&["demo", "--rows", "1e4"]),
            first(&["demo", "--dimensions", "wide"]),
            first(&["serve", "--listen", "9464"]),
            first(&["plugin", "record", "p", "--id", "abc"]),
        ]
        .join("\n"),
        @r"
    error: invalid value 'abc' for '<ID>': it is not the number of a dead letter; `forebay dlq list` shows them
    error: invalid value 'many' for '--limit <LIMIT>': it is not a whole number from 1 to 4294967295
    error: invalid value '0' for '--limit <LIMIT>': it is not a whole number from 1 to 4294967295
    error: invalid value '1e4' for '--rows <N>': it is not a whole number, such as 10000
    error: invalid value 'wide' for '--dimensions <N>': it is not a whole number, such as 1536
    error: invalid value '9464' for '--listen <ADDRESS>': it is not an IP address and a port, such as 127.0.0.1:9464
    error: invalid value 'abc' for '--id <ID>': it is not the number of a dead letter; `forebay dlq list` shows them
    "
    );
}

#[tokio::test]
async fn g_a_run_that_cannot_begin_leaves_a_trace() {
    let (place, source) = place("").await;
    source.stop().unwrap();
    for _ in 0..2 {
        assert_eq!(place.run(&["run"]).code, Some(1));
    }
    let runs =
        "select status, starts, received, message like 'gave up after 500ms: source %' as away,
                       finished_at is not null as ended from forebay.run";
    // A failure that is repeated is one record.
    assert_eq!(
        place.rows(runs).await,
        [r#"{"away": true, "ended": true, "starts": 0, "status": "failed", "received": 0}"#]
    );
    // The next run is not a continuation of it.
    let (again, _source) = (
        fs::read_to_string(place.path().join("forebay.toml")).unwrap(),
        {
            let dataset = Dataset::new(300, DIMENSIONS).unwrap();
            embedding_server::start(Arc::new(dataset), anywhere()).unwrap()
        },
    );
    let old = again
        .split("grpc = \"")
        .nth(1)
        .unwrap()
        .split('"')
        .next()
        .unwrap();
    place.write("forebay.toml", &again.replace(old, &_source.url()));
    let ended = place.run(&["run", "--json"]);
    let report: Value = serde_json::from_str(&ended.out).unwrap();
    assert_eq!(
        (&report["starts"], &report["status"]),
        (&1.into(), &"succeeded".into())
    );
    // The log says what became of the rows, and how long it took.
    let line = ended.err.lines().find(|line| line.contains("run ended"));
    let line = line.unwrap_or_else(|| panic!("{}", ended.err));
    for count in [
        "rows",
        "inserted",
        "updated",
        "unchanged",
        "dropped",
        "dead_lettered",
    ] {
        let key = if count == "rows" { "received" } else { count };
        let said = format!(" {count}={}", report["rows"][key]);
        assert!(line.contains(&said), "{said}: {line}");
    }
    assert!(line.contains(" seconds="), "{line}");
}

#[tokio::test]
async fn i11_what_can_run_runs_beside_what_is_away() {
    let away = format!(
        "[pipelines.away]\nsource = {{ grpc = \"http://{}\", dataset = \"recruit\" }}\n\
         tables = [\"recruit_metadata\", \"recruit_embedding\"]\n",
        nowhere()
    );
    let (place, _source) = place(&away).await;
    let ended = place.run(&["run", "recruit", "away", "--report", "reports.json"]);
    assert_eq!(ended.code, Some(1), "{ended:?}");
    assert!(ended.out.contains("recruit: done, "), "{ended:?}");
    assert!(
        ended
            .out
            .contains("away: failed before the first row\n  gave up after"),
        "{ended:?}"
    );
    assert!(
        ended.err.contains("error: pipeline away: gave up after"),
        "{ended:?}"
    );
    let reports = fs::read(place.path().join("reports.json")).unwrap();
    let reports: Value = serde_json::from_slice(&reports).unwrap();
    let of = |place: usize| {
        (
            reports[place]["pipeline"].clone(),
            reports[place]["status"].clone(),
        )
    };
    assert_eq!(of(0), ("recruit".into(), "succeeded".into()));
    assert_eq!(of(1), ("away".into(), "failed".into()));
    // A misfit is another matter: nothing moves before it is mended.
    let config = fs::read_to_string(place.path().join("forebay.toml")).unwrap();
    let misfit = config.replacen("recruit_metadata\", \"recruit_embedding", "nowhere", 1);
    place.write("forebay.toml", &misfit);
    let ended = place.run(&["run", "--json"]);
    assert_eq!(ended.code, Some(2), "{ended:?}");
    assert!(ended.err.contains("nowhere: no such table"), "{ended:?}");
}

#[tokio::test]
async fn i1_a_report_goes_where_it_is_told_and_nothing_is_replaced_by_it() {
    let (place, _source) = place("").await;
    let at = |name: &str| place.path().join(name);
    // Said before anything runs.
    let said = refused(&place, &["run", "--report", "nowhere/report.json"]);
    assert!(
        said.starts_with("error: cannot write the report to nowhere/report.json: No such file"),
        "{said}"
    );
    let said = refused(&place, &["run", "--report", "."]);
    assert!(said.contains("is a directory"), "{said}");
    let said = refused(&place, &["demo", "--report", "nowhere/report.json"]);
    assert!(
        said.contains("cannot write the report to nowhere/"),
        "{said}"
    );
    assert_eq!(
        place.done(&["checkpoint", "show", "recruit"]),
        "recruit has not run yet\n"
    );

    // A regular file is replaced as a whole; a link stays, and what it leads to is written.
    fs::write(at("report.json"), "old and much longer than nothing").unwrap();
    let before = fs::metadata(at("report.json")).unwrap().ino();
    place.done(&["run", "--report", "report.json"]);
    assert_ne!(fs::metadata(at("report.json")).unwrap().ino(), before);
    let read =
        |name: &str| -> Value { serde_json::from_slice(&fs::read(at(name)).unwrap()).unwrap() };
    assert_eq!(read("report.json")["status"], "succeeded");
    for target in ["there.json", "not-yet.json"] {
        if target == "there.json" {
            fs::write(at(target), "old").unwrap();
        }
        let link = format!("link-to-{target}");
        symlink(target, at(&link)).unwrap();
        place.done(&["run", "--report", &link]);
        assert!(fs::symlink_metadata(at(&link)).unwrap().is_symlink());
        assert_eq!(read(target)["status"], "succeeded");
    }

    // A FIFO is given to whoever reads it.
    mkfifo(&at("fifo"), Mode::S_IRWXU).unwrap();
    let fifo = at("fifo");
    let reader = std::thread::spawn(move || {
        let mut text = String::new();
        fs::File::open(fifo)
            .unwrap()
            .read_to_string(&mut text)
            .unwrap();
        text
    });
    place.done(&["run", "--report", "fifo"]);
    let report: Value = serde_json::from_str(&reader.join().unwrap()).unwrap();
    assert_eq!(report["status"], "succeeded");
    assert!(fs::metadata(at("fifo")).unwrap().file_type().is_fifo());
    let ended = place.run(&["run", "--report", "fifo"]);
    assert_eq!(ended.code, Some(1), "{ended:?}");
    assert!(
        ended
            .err
            .contains("cannot write the report to fifo: no process reads"),
        "{ended:?}"
    );
    assert!(ended.out.contains("recruit: done"), "{ended:?}");

    // What the results go to gets both.
    let out = place.done(&["run", "--report", "/dev/stdout"]);
    assert!(
        out.starts_with("{\n  \"pipeline\": \"recruit\"") && out.contains("}\nrecruit: done"),
        "{out}"
    );

    if !nix::unistd::geteuid().is_root() {
        return support::skip("only root makes devices: run as root");
    }
    mknod(&at("null"), SFlag::S_IFCHR, Mode::S_IRWXU, makedev(1, 3)).unwrap();
    place.done(&["run", "--report", "null"]);
    assert!(
        fs::metadata(at("null"))
            .unwrap()
            .file_type()
            .is_char_device()
    );
}

#[test]
fn i11_a_wrong_port_is_named_and_a_password_is_not() {
    let place = Place::new();
    let (address, url) = (nowhere(), nowhere());
    place.write(
        "forebay.toml",
        &format!(
            "database.url = \"postgres://me:pass1@{address}/d?sslpassword=pass2&connect_timeout=3\"\n\
             [pipelines.p]\nsource = {{ grpc = \"http://{url}\", dataset = \"d\" }}\n\
             tables = [\"t\"]\nplugins = []\n"
        ),
    );
    let ended = place.run(&["checkpoint", "show", "p"]);
    assert_eq!(ended.code, Some(1), "{ended:?}");
    assert!(ended.err.contains("Connection refused"), "{ended:?}");
    assert!(
        ended
            .err
            .contains("hint: nothing listens there: is the server running"),
        "{ended:?}"
    );
    assert!(
        ended.err.contains("sslpassword, connect_timeout"),
        "{ended:?}"
    );
    assert!(
        !ended.err.contains("pass1") && !ended.err.contains("pass2"),
        "{ended:?}"
    );
}

#[test]
fn i11_two_first_demos_in_one_folder_take_turns() {
    let place = Place::new();
    let plugins = guests("plugins");
    let demo = |report: &str| {
        support::command::forebay(place.path())
            .args([
                "demo",
                "--rows",
                "400",
                "--dimensions",
                "8",
                "--json",
                "--plugins",
            ])
            .arg(&plugins)
            .args(["--report", report])
            .stdout(std::process::Stdio::null())
            .spawn()
            .unwrap()
    };
    let demos = [demo("one.json"), demo("two.json")];
    for mut demo in demos {
        assert_eq!(demo.wait().unwrap().code(), Some(0));
    }
    let inserted = ["one.json", "two.json"].map(|name| {
        let report = fs::read(place.path().join(name)).unwrap();
        let report: Value = serde_json::from_slice(&report).unwrap();
        assert_eq!(report["status"], "succeeded", "{report:#}");
        report["rows"]["inserted"].as_u64().unwrap()
    });
    // The one that came second finds the rows of the first.
    assert!(
        inserted.contains(&0) && inserted.iter().sum::<u64>() > 300,
        "{inserted:?}"
    );
}

#[cfg(target_os = "linux")]
#[test]
fn i11_a_folder_need_not_be_utf_8() {
    use std::os::unix::ffi::OsStrExt;
    let place = Place::new();
    let folder = place
        .path()
        .join(std::ffi::OsStr::from_bytes(b"f\xffolder"));
    fs::create_dir(&folder).unwrap();
    fs::set_permissions(&folder, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    let plugins = folder.join("plugins");
    fs::create_dir(&plugins).unwrap();
    for name in ["recruit-normalize", "recruit-rules", "recruit-dlq"] {
        let file = format!("{name}.wasm");
        fs::copy(guests("plugins").join(&file), plugins.join(&file)).unwrap();
    }
    let mut demo = support::command::forebay(&folder);
    demo.args(["demo", "--rows", "200", "--dimensions", "8", "--plugins"])
        .arg(&plugins);
    let ended = support::command::Ended::of(&mut demo);
    assert_eq!(ended.code, Some(0), "{ended:?}");
    assert!(ended.out.contains("recruit: done"), "{ended:?}");
}
