//! What `-h` says, of every command.

use insta::assert_snapshot;
use support::Place;

#[test]
fn help_says_what_there_is() {
    let place = Place::new();
    assert_snapshot!(place.done(&["-h"]), @r#"
    Brings embedding rows from AI servers into PostgreSQL + pgvector, through WASM plugins

    Usage: forebay [OPTIONS] <COMMAND>

    Commands:
      demo        Watch a pipeline at work: embedded database, sample servers, 10,000 rows
      run         Run pipelines to the end of their datasets
      serve       Run pipelines at the times of their schedules, until stopped
      check       Check configuration, plugins, source and tables; no data is moved
      migrate     Bring the schema `forebay` in the database up to date
      plugin      Write, test, look at and switch plugins
      dlq         Read the dead letters
      checkpoint  Read or reset how far a pipeline has come
      db          The embedded PostgreSQL
      help        Print this message or the help of the given subcommand(s)

    Options:
          --config <FILE>        The configuration [default: forebay.toml]
          --json                 Print results as JSON
          --log-format <FORMAT>  How logs are written; by default as text [default: text] [possible
                                 values: text, json]
          --log <FILTER>         What is logged, such as `info` or `forebay=debug,plugin=info` [env:
                                 FOREBAY_LOG=]
          --pg-dir <DIR>         A PostgreSQL installation with pgvector, for the embedded server
      -h, --help                 Print help (see more with '--help')
      -V, --version              Print version
    "#);
    let commands = [
        &["run"][..],
        &["serve"],
        &["check"],
        &["demo"],
        &["migrate"],
        &["dlq"],
        &["dlq", "list"],
        &["checkpoint"],
        &["db"],
    ];
    // Without the options that all of them have.
    let own = |arguments: &&[&str]| {
        let text = place.done(&[arguments, &["-h"][..]].concat());
        let common = [
            "--config",
            "--json",
            "--log-format",
            "--log <",
            "--pg-dir",
            "--help",
            "values: text",
            "FOREBAY_LOG",
        ];
        let lines = text
            .lines()
            .filter(|line| !common.iter().any(|option| line.contains(option)));
        lines.map(str::trim_end).collect::<Vec<_>>().join("\n")
    };
    assert_snapshot!(commands.iter().map(own).collect::<Vec<_>>().join("\n---\n"), @r#"
    Run pipelines to the end of their datasets

    Usage: forebay run [OPTIONS] [PIPELINES]...

    Arguments:
      [PIPELINES]...  Names of pipelines; all of the configuration if none is given

    Options:
          --report <FILE>        Write the report as JSON to this file: an object, or an array for
                                 several pipelines
          --allow-missing        This once, let rows go that the source no longer has, however many: no
                                 missing_limit
    ---
    Run pipelines at the times of their schedules, until stopped

    Usage: forebay serve [OPTIONS] [PIPELINES]...

    Arguments:
      [PIPELINES]...  Names of pipelines; all of the configuration if none is given

    Options:
          --listen <ADDRESS>     Where /metrics and /health are, such as 127.0.0.1:9464; instead of
                                 serve.listen
    ---
    Check configuration, plugins, source and tables; no data is moved

    Usage: forebay check [OPTIONS]

    Options:
          --schema               Print the JSON Schema of the configuration, for editors, and do nothing
                                 else
    ---
    Watch a pipeline at work: embedded database, sample servers, 10,000 rows

    Usage: forebay demo [OPTIONS]

    Options:
          --rows <N>             Rows the sample server has [default: 10000]
          --dimensions <N>       Elements of each embedding, 1 to 16,000 [default: 1536]
          --report <FILE>        Write the report as JSON to this file
          --plugins <DIR>        Where the three recruit plugins are, as `make plugins` builds them
          --fresh                Begin anew: drop the demo's tables and forget its runs
    ---
    Bring the schema `forebay` in the database up to date

    Usage: forebay migrate [OPTIONS]

    Options:
    ---
    Read the dead letters

    Usage: forebay dlq [OPTIONS] <COMMAND>

    Commands:
      list  List dead letters, the latest first
      show  Show one with its row as it came
      help  Print this message or the help of the given subcommand(s)

    Options:
    ---
    List dead letters, the latest first

    Usage: forebay dlq list [OPTIONS] [PIPELINE]

    Arguments:
      [PIPELINE]  Of this pipeline only

    Options:
          --code <CODE>          With this code only
          --queue <QUEUE>        In this queue only
          --stage <STAGE>        At this stage only: decode, transform, validate or write
          --status <STATUS>      With this status only: open, replayed or discarded
          --limit <LIMIT>        At most so many [default: 50]
    ---
    Read or reset how far a pipeline has come

    Usage: forebay checkpoint [OPTIONS] <COMMAND>

    Commands:
      show   Show how far a pipeline has come
      reset  Make the next run begin from the start
      help   Print this message or the help of the given subcommand(s)

    Options:
    ---
    The embedded PostgreSQL

    Usage: forebay db [OPTIONS] <COMMAND>

    Commands:
      start  Start the server and keep it running until `db stop`
      stop   Stop the server, at once or when the last process that uses it is done
      url    Print the connection URL, for sqlx and everything that uses libpq
      psql   Open psql on the embedded database, starting the server if need be
      help   Print this message or the help of the given subcommand(s)

    Options:
    "#);
}
