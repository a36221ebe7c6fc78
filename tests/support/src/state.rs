//! Everything that must be the same after a run, whatever happened on the way.

use std::collections::BTreeSet;

use crate::Database;

/// Tables, dead letters, totals, checkpoints and outbox, as sorted lines. Without times, random
/// ids and what counts attempts and starts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct State(Vec<(String, Vec<String>)>);

const HOST: [(&str, &str); 7] = [
    (
        "digests",
        "select key || ' ' || digest from forebay.row_digest order by 1",
    ),
    (
        "dead letters",
        "select jsonb_build_object('partition', partition, 'identity', identity, 'key', key, 'queue', queue,
             'stage', stage, 'code', code, 'message', regexp_replace(message, '[0-9-]{10} [0-9:.]{8,}[+][0-9]{2}', 'TIME', 'g'), 'field', field, 'plugin', plugin,
             'digest', plugin_digest, 'attempts', attempts, 'seen', seen, 'status', status,
             'wire', md5(wire))::text
         from forebay.dead_letter order by 1",
    ),
    (
        "runs",
        "select (row_number() over (order by started_at, id)) || ' ' ||
             (to_jsonb(r) - '{id,pipeline,starts,started_at,finished_at}'::text[])::text
         from forebay.run r order by 1",
    ),
    (
        "codes",
        "select c.fate || ' ' || c.stage || ' ' || c.code || ' ' || c.rows
         from forebay.run_code c join forebay.run r on r.id = c.run order by r.started_at, 1",
    ),
    (
        "checkpoints",
        "select (to_jsonb(c) - '{pipeline,epoch,run,updated_at}'::text[])::text from forebay.checkpoint c order by 1",
    ),
    (
        "outbox",
        // A run that was stopped has told what it had done.
        "select target || ' ' || sum(changed_rows) || case when delivered_at is null then ' owed' else ' delivered' end
         from forebay.outbox group by run, target, delivered_at is null order by min(created_at)",
    ),
    (
        "plugins",
        "select name || ' ' || version || ' ' || digest from forebay.plugin_version order by 1",
    ),
];

impl State {
    /// Of the host's own tables and of `tables`.
    pub async fn of(database: &Database, tables: &[&str]) -> Self {
        let mut parts = Vec::new();
        for table in tables {
            let query =
                format!("select (to_jsonb(t) - 'updated_at')::text from {table} t order by 1");
            parts.push(((*table).to_owned(), database.texts(&query).await));
        }
        for (name, query) in HOST {
            parts.push((name.to_owned(), database.texts(query).await));
        }
        Self(parts)
    }

    /// Of the recruit pipeline.
    pub async fn recruit(database: &Database) -> Self {
        Self::of(database, &["recruit_metadata", "recruit_embedding"]).await
    }

    /// Asserts that another state is the same; says which lines are not.
    #[track_caller]
    pub fn assert_same(&self, other: &Self, what: &str) {
        for ((name, mine), (_, theirs)) in self.0.iter().zip(&other.0) {
            if mine == theirs {
                continue;
            }
            let (mine, theirs): (BTreeSet<_>, BTreeSet<_>) =
                (mine.iter().collect(), theirs.iter().collect());
            let missing: Vec<_> = mine.difference(&theirs).take(10).collect();
            let surplus: Vec<_> = theirs.difference(&mine).take(10).collect();
            panic!("{what}: {name} differ\nmissing: {missing:#?}\nsurplus: {surplus:#?}");
        }
        assert_eq!(self, other, "{what}");
    }

    /// The same but for which plugins there were.
    pub fn apart_from_plugins(mut self) -> Self {
        self.0.retain(|(part, _)| part != "plugins");
        for (_, lines) in self.0.iter_mut().filter(|(part, _)| part == "dead letters") {
            for line in &mut *lines {
                let mut entry: serde_json::Value = serde_json::from_str(line).unwrap();
                // The identity depends on the plugin's name.
                for column in ["plugin", "digest", "identity"] {
                    entry.as_object_mut().unwrap().remove(column).unwrap();
                }
                *line = entry.to_string();
            }
            lines.sort_unstable();
        }
        self
    }

    /// The lines of a part.
    pub fn part(&self, name: &str) -> &[String] {
        let part = self.0.iter().find(|(part, _)| part == name);
        &part.unwrap().1
    }
}
