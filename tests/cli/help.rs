//! The output of `-h` for every command.

use insta::assert_snapshot;
use support::Place;

#[test]
fn help_of_every_command() {
    let place = Place::new();
    assert_snapshot!(place.done(&["-h"]), @r#"
    Streams embedding rows from AI servers through WASM plugins into PostgreSQL + pgvector

    Usage: forebay [OPTIONS] <COMMAND>

    Commands:
      demo        Run an example pipeline: embedded database, sample servers, 10,000 rows
      load        Load files into a table, without a configuration
      nearest     Show the rows nearest to one of them
      run         Run pipelines to the end of their datasets
      serve       Run pipelines on their schedules until stopped
      check       Check configuration, plugins, source and tables without moving data
      verify      Compare the tables of a pipeline with its source, and repair them
      migrate     Bring the schema `forebay` in the database up to date
      plugin      Write, test, inspect and promote plugins
      dlq         List and show dead letters
      checkpoint  Show or reset the progress of a pipeline
      db          Manage the embedded PostgreSQL
      help        Print this message or the help of the given subcommand(s)

    Options:
          --config <FILE>        Configuration file [default: forebay.toml]
          --json                 Print results as JSON
          --log-format <FORMAT>  Format of the log [default: text] [possible values: text, json]
          --log <FILTER>         Filter of the log, such as `info` or `forebay=debug,plugin=info` [env:
                                 FOREBAY_LOG=]
          --pg-dir <DIR>         PostgreSQL installation with pgvector to use for the embedded server
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
    assert_snapshot!(commands.iter().map(own).collect::<Vec<_>>().join("\n---\n"), @"
    Run pipelines to the end of their datasets

    Usage: forebay run [OPTIONS] [PIPELINES]...

    Arguments:
      [PIPELINES]...  Names of the pipelines [default: all]

    Options:
          --report <FILE>        Write the report to this file as JSON: an object, or an array for
                                 several pipelines
          --allow-missing        Ignore `missing_limit` and the source's `row_count` for this run
          --allow-dead-letters   Ignore `dead_letter_limit` for this run
    ---
    Run pipelines on their schedules until stopped

    Usage: forebay serve [OPTIONS] [PIPELINES]...

    Arguments:
      [PIPELINES]...  Names of the pipelines [default: all]

    Options:
          --listen <ADDRESS>     Address of /metrics, /livez, /readyz and /health, such as
                                 127.0.0.1:9464; overrides serve.listen
    ---
    Check configuration, plugins, source and tables without moving data

    Usage: forebay check [OPTIONS]

    Options:
          --schema                     Print the JSON Schema of the configuration, for editors, and exit
          --accept-mapping <PIPELINE>  Confirm that the columns and embeddings that this pipeline has
                                       lost are not wanted any more
          --rows <N>                   Find out what would become of the first N rows of each dataset,
                                       without writing any
                                       server
    ---
    Run an example pipeline: embedded database, sample servers, 10,000 rows

    Usage: forebay demo [OPTIONS]

    Options:
          --rows <N>             Number of rows of the sample server [default: 10000]
          --dimensions <N>       Dimensions of the embeddings, 1 to 16,000 [default: 1536]
          --report <FILE>        Write the report to this file as JSON
          --plugins <DIR>        Directory of the three recruit plugins, which `make plugins` builds
          --fresh                Start afresh: drop the demo's tables and forget its runs
    ---
    Bring the schema `forebay` in the database up to date

    Usage: forebay migrate [OPTIONS]

    Options:
          --grants <ROLE>        Also print the statements that let this role run the configured
                                 pipelines
    ---
    List and show dead letters

    Usage: forebay dlq [OPTIONS] <COMMAND>

    Commands:
      list  List dead letters, latest first
      show  Show a dead letter with its row as received
      help  Print this message or the help of the given subcommand(s)

    Options:
    ---
    List dead letters, latest first

    Usage: forebay dlq list [OPTIONS] [PIPELINE]

    Arguments:
      [PIPELINE]  Only those of this pipeline

    Options:
          --code <CODE>          Only those with this code
          --queue <QUEUE>        Only those in this queue
          --stage <STAGE>        Only those that failed at this stage [possible values: decode,
                                 transform, validate, write]
          --status <STATUS>      Only those with this status [possible values: open, resolved,
                                 superseded, replayed, discarded]
          --limit <LIMIT>        Maximum number of dead letters [default: 50]
    ---
    Show or reset the progress of a pipeline

    Usage: forebay checkpoint [OPTIONS] <COMMAND>

    Commands:
      show   Show the checkpoints of a pipeline
      reset  Make the next run start from the beginning
      help   Print this message or the help of the given subcommand(s)

    Options:
    ---
    Manage the embedded PostgreSQL

    Usage: forebay db [OPTIONS] <COMMAND>

    Commands:
      start  Start the server and keep it running until `db stop`
      stop   Stop the server: at once, or when the last process that uses it ends
      url    Print the connection URL for clients that use libpq or sqlx
      psql   Open psql on the embedded database; starts the server if it is not running
      help   Print this message or the help of the given subcommand(s)

    Options:
    ");
}
