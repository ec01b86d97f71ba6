//! PostgreSQL with triggers, as a careful user keeps such columns up to date by hand: one trigger for a statement, that works
//! on its transition tables. Nothing is written through to the disk, as by nobody here.

use std::collections::BTreeMap;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail, ensure};
use postgres::{Client, NoTls};
use tempfile::TempDir;

use crate::workload::{Batch, Peer, Tables, Update, Work, Workload};

/// What changed, to be read once: the column of the consumer's table, in the order of the work's columns.
const CHANGED: &str = "CREATE UNLOGGED TABLE changed (of smallint, id bigint, value bigint)";

/// The program of one work.
struct Program {
    schema: &'static str,
    /// Computes everything for the first time, and tells it.
    fill: &'static str,
    /// Made when everything is loaded.
    triggers: &'static str,
}

const ORDERS: Program = Program {
    schema: "
CREATE TABLE owners (id bigint PRIMARY KEY, sum numeric, score numeric GENERATED ALWAYS AS
    (CASE WHEN sum > 20000 THEN sum * 2 ELSE sum + 7 END) STORED);
CREATE TABLE items (id bigint PRIMARY KEY, owner bigint NOT NULL, amount numeric NOT NULL, quantity numeric NOT NULL,
    total numeric GENERATED ALWAYS AS (amount * quantity) STORED, looked_up numeric) WITH (fillfactor = 50);
",
    fill: "
INSERT INTO owners SELECT owner, sum(total) FROM items GROUP BY owner;
UPDATE items SET looked_up = score FROM owners WHERE owners.id = items.owner;
INSERT INTO changed SELECT 0, id, total FROM items;
INSERT INTO changed SELECT 1, id, looked_up FROM items;
INSERT INTO changed SELECT 2, id, score FROM owners;
",
    triggers: "
CREATE INDEX ON items (owner);
CREATE FUNCTION items_changed() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
    INSERT INTO changed SELECT 0, id, total FROM after;
    UPDATE owners SET sum = owners.sum + change.sum FROM
        (SELECT owner, sum(total) AS sum FROM
            (SELECT owner, -total AS total FROM before UNION ALL SELECT owner, total FROM after) AS totals GROUP BY owner) AS change
        WHERE owners.id = change.owner AND change.sum <> 0;
    RETURN NULL;
END $$;
CREATE FUNCTION owners_changed() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
    INSERT INTO changed SELECT 2, id, score FROM after;
    WITH told AS (UPDATE items SET looked_up = after.score FROM after WHERE items.owner = after.id RETURNING items.id, looked_up)
        INSERT INTO changed SELECT 1, id, looked_up FROM told;
    RETURN NULL;
END $$;
CREATE TRIGGER items_changed AFTER UPDATE ON items REFERENCING OLD TABLE AS before NEW TABLE AS after
    FOR EACH STATEMENT WHEN (pg_trigger_depth() = 0) EXECUTE FUNCTION items_changed();
CREATE TRIGGER owners_changed AFTER UPDATE ON owners REFERENCING NEW TABLE AS after
    FOR EACH STATEMENT EXECUTE FUNCTION owners_changed();
",
};

/// What is linear is kept by differences; extremes and different amounts are read from an index.
const LEDGER: Program = Program {
    schema: "
CREATE TABLE owners (id bigint PRIMARY KEY, sum numeric, count bigint, large numeric, mean numeric GENERATED ALWAYS AS
    (CASE WHEN count > 0 THEN sum / count END) STORED, smallest numeric, largest numeric, different bigint) WITH (fillfactor = 50);
CREATE TABLE items (id bigint PRIMARY KEY, owner bigint NOT NULL, amount numeric NOT NULL, quantity numeric NOT NULL)
    WITH (fillfactor = 50);
CREATE FUNCTION tell(those owners) RETURNS TABLE (of smallint, value bigint) LANGUAGE sql IMMUTABLE AS $$
    VALUES (0::smallint, those.sum::bigint), (1::smallint, those.count), (2::smallint, those.large::bigint),
        (3::smallint, trunc(those.mean)::bigint), (4::smallint, those.smallest::bigint), (5::smallint, those.largest::bigint),
        (6::smallint, those.different)
$$;
",
    fill: "
INSERT INTO owners (id, sum, count, large, smallest, largest, different)
    SELECT owner, sum(amount), count(*), coalesce(sum(amount) FILTER (WHERE amount > 500), 0), min(amount),
        max(amount), count(DISTINCT amount) FROM items GROUP BY owner;
INSERT INTO changed SELECT of, id, value FROM owners, tell(owners);
",
    triggers: "
CREATE INDEX ON items (owner, amount);
CREATE FUNCTION items_updated() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
    WITH change AS (
        SELECT owner, sum(sign * amount) AS sum, sum(sign) AS count, coalesce(sum(sign * amount) FILTER (WHERE amount > 500), 0) AS large
        FROM (SELECT owner, amount, -1 AS sign FROM before UNION ALL SELECT owner, amount, 1 FROM after) AS signed GROUP BY owner),
    told AS (
        UPDATE owners SET sum = owners.sum + change.sum, count = owners.count + change.count, large = owners.large + change.large,
            smallest = (SELECT min(amount) FROM items WHERE owner = owners.id),
            largest = (SELECT max(amount) FROM items WHERE owner = owners.id),
            different = (SELECT count(DISTINCT amount) FROM items WHERE owner = owners.id)
        FROM change WHERE owners.id = change.owner RETURNING owners.*)
    INSERT INTO changed SELECT of, id, value FROM told, tell(told::owners);
    RETURN NULL;
END $$;
CREATE TRIGGER items_updated AFTER UPDATE ON items REFERENCING OLD TABLE AS before NEW TABLE AS after
    FOR EACH STATEMENT EXECUTE FUNCTION items_updated();
",
};

struct Triggers {
    // Before the server's folder.
    client: Client,
    _server: Server,
    tables: Tables,
}

/// A server of its own, in a folder of its own; ends with it.
struct Server {
    process: Child,
    folder: TempDir,
}

impl Server {
    fn start() -> anyhow::Result<Self> {
        let programs = programs()?;
        let folder = TempDir::new()?;
        let data = folder.path().join("data");
        // It does not run as root.
        let as_user = |program: &str| {
            let program = programs.join(program);
            if !is_root() {
                return Command::new(program);
            }
            let mut command = Command::new("runuser");
            command.args(["-u", "postgres", "--"]).arg(program);
            command
        };
        if is_root() {
            ensure!(Command::new("chown").arg("postgres").arg(folder.path()).status()?.success(), "the server's folder is not its own");
        }
        let made = as_user("initdb").arg("-D").arg(&data).args(["-A", "trust", "-U", "postgres", "--no-sync"]).output()?;
        ensure!(made.status.success(), "initdb: {}", String::from_utf8_lossy(&made.stderr));
        let settings = [
            "listen_addresses=",
            "fsync=off",
            "synchronous_commit=off",
            "full_page_writes=off",
            "shared_buffers=1GB",
            "max_wal_size=8GB",
            "work_mem=64MB",
            "jit=off",
        ];
        let mut start = as_user("postgres");
        start.arg("-D").arg(&data).arg("-k").arg(folder.path()).args(settings.iter().flat_map(|setting| ["-c", setting]));
        let process = start.stdout(Stdio::null()).stderr(Stdio::null()).spawn().context("postgres cannot be started")?;
        Ok(Self { process, folder })
    }

    fn connect(&self) -> anyhow::Result<Client> {
        let until = Instant::now() + Duration::from_secs(30);
        let address = format!("host={} user=postgres", self.folder.path().display());
        loop {
            match Client::connect(&address, NoTls) {
                Ok(client) => return Ok(client),
                Err(error) if Instant::now() > until => return Err(error).context("postgres does not answer"),
                Err(_) => std::thread::sleep(Duration::from_millis(50)),
            }
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // The first line of the file is its process; an immediate end, for nothing is to be kept.
        let id = std::fs::read_to_string(self.folder.path().join("data/postmaster.pid")).unwrap_or_default();
        _ = Command::new("kill").args(["-QUIT", id.lines().next().unwrap_or_default()]).stderr(Stdio::null()).status();
        _ = self.process.wait();
    }
}

fn is_root() -> bool {
    Command::new("id").arg("-u").output().is_ok_and(|output| output.stdout == b"0\n")
}

/// Where the server's programs are.
fn programs() -> anyhow::Result<PathBuf> {
    let mut found: Vec<_> =
        std::fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten().map(|version| version.path().join("bin")).collect();
    found.sort();
    let in_path = std::env::var_os("PATH").into_iter().flat_map(|path| std::env::split_paths(&path).collect::<Vec<_>>());
    let has_it = |folder: &Path| folder.join("initdb").exists();
    match in_path.chain(found.into_iter().rev()).find(|folder| has_it(folder)) {
        Some(folder) => Ok(folder),
        None => bail!("PostgreSQL is not installed: there is no initdb in PATH or below /usr/lib/postgresql"),
    }
}

pub fn start(workload: &Workload) -> anyhow::Result<Box<dyn Peer>> {
    let program = match workload.work {
        Work::Orders => ORDERS,
        Work::Ledger => LEDGER,
    };
    let server = Server::start()?;
    let mut client = server.connect()?;
    client.batch_execute(CHANGED)?;
    client.batch_execute(program.schema)?;
    let mut rows = client.copy_in("COPY items (id, owner, amount, quantity) FROM STDIN")?;
    for (id, row) in workload.rows.iter().enumerate() {
        writeln!(rows, "{id}\t{}\t{}\t{}", row.owner, row.amount, row.quantity)?;
    }
    rows.finish()?;
    client.batch_execute(program.fill)?;
    client.batch_execute(program.triggers)?;
    client.batch_execute("VACUUM ANALYZE")?;
    let mut peer = Triggers { client, _server: server, tables: Tables::empty(workload) };
    peer.take_in()?;
    Ok(Box::new(peer))
}

impl Triggers {
    /// What changed, read once.
    fn take_in(&mut self) -> anyhow::Result<()> {
        for row in self.client.query("DELETE FROM changed RETURNING of, id, value", &[])? {
            let (column, id, value): (i16, i64, i64) = (row.get(0), row.get(1), row.get(2));
            self.tables.0[column as usize][id as usize] = value;
        }
        Ok(())
    }
}

impl Peer for Triggers {
    fn prepare(&mut self, updates: &[Update]) -> Batch {
        // Of several for one row the last.
        let last: BTreeMap<usize, Update> = updates.iter().map(|update| (update.row, *update)).collect();
        Batch::Updates(last.into_values().collect())
    }

    fn apply(&mut self, batch: Batch) -> anyhow::Result<()> {
        let Batch::Updates(updates) = batch else { bail!("a batch of another peer") };
        let (ids, amounts): (Vec<i64>, Vec<i64>) = updates.iter().map(|update| (update.row as i64, update.amount)).unzip();
        let update =
            "UPDATE items SET amount = made.amount FROM unnest($1::bigint[], $2::bigint[]) AS made (id, amount) WHERE items.id = made.id";
        self.client.execute(update, &[&ids, &amounts])?;
        self.take_in()
    }

    fn tables(&mut self) -> Option<Tables> {
        Some(self.tables.clone())
    }
}
