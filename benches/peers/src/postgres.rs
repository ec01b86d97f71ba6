//! PostgreSQL with triggers, as a careful user keeps such columns up to date by hand: one trigger for a statement, that works
//! on its transition tables. Nothing is written through to the disk, as by nobody here.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail, ensure};
use postgres::{Client, NoTls};
use tempfile::TempDir;

use crate::workload::{Batch, Peer, Tables, Update, Workload};

const SCHEMA: &str = "
CREATE TABLE customers (id bigint PRIMARY KEY, sum numeric, score numeric GENERATED ALWAYS AS
    (CASE WHEN sum > 20000 THEN sum * 2 ELSE sum + 7 END) STORED);
CREATE TABLE orders (id bigint PRIMARY KEY, customer bigint NOT NULL, amount numeric NOT NULL, quantity numeric NOT NULL,
    total numeric GENERATED ALWAYS AS (amount * quantity) STORED, looked_up numeric) WITH (fillfactor = 50);
CREATE UNLOGGED TABLE changed (customer bool, id bigint, value bigint);
";

/// Made when everything is loaded.
const TRIGGERS: &str = "
CREATE INDEX ON orders (customer);
CREATE FUNCTION orders_changed() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
    UPDATE customers SET sum = customers.sum + change.sum FROM
        (SELECT customer, sum(total) AS sum FROM
            (SELECT customer, -total AS total FROM before UNION ALL SELECT customer, total FROM after) AS totals GROUP BY customer) AS change
        WHERE customers.id = change.customer AND change.sum <> 0;
    RETURN NULL;
END $$;
CREATE FUNCTION customers_changed() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
    INSERT INTO changed SELECT true, id, score FROM after;
    WITH told AS (UPDATE orders SET looked_up = after.score FROM after WHERE orders.customer = after.id RETURNING orders.id, looked_up)
        INSERT INTO changed SELECT false, id, looked_up FROM told;
    RETURN NULL;
END $$;
CREATE TRIGGER orders_changed AFTER UPDATE ON orders REFERENCING OLD TABLE AS before NEW TABLE AS after
    FOR EACH STATEMENT WHEN (pg_trigger_depth() = 0) EXECUTE FUNCTION orders_changed();
CREATE TRIGGER customers_changed AFTER UPDATE ON customers REFERENCING NEW TABLE AS after
    FOR EACH STATEMENT EXECUTE FUNCTION customers_changed();
";

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
    let server = Server::start()?;
    let mut client = server.connect()?;
    client.batch_execute(SCHEMA)?;
    let mut rows = client.copy_in("COPY orders (id, customer, amount, quantity) FROM STDIN")?;
    for (id, order) in workload.orders.iter().enumerate() {
        writeln!(rows, "{id}\t{}\t{}\t{}", order.customer, order.amount, order.quantity)?;
    }
    rows.finish()?;
    client.batch_execute(
        "INSERT INTO customers SELECT customer, sum(total) FROM orders GROUP BY customer;
         UPDATE orders SET looked_up = score FROM customers WHERE customers.id = orders.customer;
         INSERT INTO changed SELECT true, id, score FROM customers;
         INSERT INTO changed SELECT false, id, looked_up FROM orders;",
    )?;
    client.batch_execute(TRIGGERS)?;
    client.batch_execute("VACUUM ANALYZE")?;
    let mut peer = Triggers { client, _server: server, tables: Tables::empty(workload) };
    peer.take_in()?;
    Ok(Box::new(peer))
}

impl Triggers {
    /// What changed, read once.
    fn take_in(&mut self) -> anyhow::Result<()> {
        for row in self.client.query("DELETE FROM changed RETURNING customer, id, value", &[])? {
            let (is_customer, id, value): (bool, i64, i64) = (row.get(0), row.get(1), row.get(2));
            let table = if is_customer { &mut self.tables.scores } else { &mut self.tables.looked_up };
            table[id as usize] = value;
        }
        Ok(())
    }
}

impl Peer for Triggers {
    fn prepare(&mut self, updates: &[Update]) -> Batch {
        Batch::Updates(updates.to_vec())
    }

    fn apply(&mut self, batch: Batch) -> anyhow::Result<()> {
        let Batch::Updates(updates) = batch else { bail!("a batch of another peer") };
        let (ids, amounts): (Vec<i64>, Vec<i64>) = updates.iter().map(|update| (update.order as i64, update.amount)).unzip();
        // Of several for one order the last.
        let update = "UPDATE orders SET amount = made.amount FROM
            (SELECT DISTINCT ON (id) id, amount FROM unnest($1::bigint[], $2::bigint[]) WITH ORDINALITY AS made (id, amount, place)
             ORDER BY id, place DESC) AS made
            WHERE orders.id = made.id";
        self.client.execute(update, &[&ids, &amounts])?;
        self.take_in()
    }

    fn tables(&mut self) -> Option<Tables> {
        Some(self.tables.clone())
    }
}
