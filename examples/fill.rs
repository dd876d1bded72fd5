//! Fills the table `users` of a database with accounts that nobody can sign in to, for scripts/bench.sh.
//!
//!   fill DATABASE_URL USERS

use mysql::prelude::Queryable;

/// The same on each engine: one statement, no round trip a row.
fn statement(users: u64) -> String {
    format!(
        "INSERT INTO users (email, email_key, password_hash, is_disabled, created_at) \
         WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {users}) \
         SELECT CONCAT('user', i, '@example.com'), CAST(CONCAT('user', i, '@example.com') AS {{bytes}}), NULL, 0, 0 FROM n"
    )
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [url, users] = arguments.as_slice() else { return Err("usage: fill DATABASE_URL USERS".into()) };
    let statement = statement(users.parse()?);
    if let Some(path) = url.strip_prefix("sqlite://") {
        rusqlite::Connection::open(path)?.execute_batch(&statement.replace("{bytes}", "BLOB"))?;
        return Ok(());
    }
    let mut conn = mysql::Conn::new(url.as_str())?;
    // Each server has its own name for the same limit.
    for limit in ["cte_max_recursion_depth", "max_recursive_iterations"] {
        let _ = conn.query_drop(format!("SET SESSION {limit} = 4000000000"));
    }
    conn.query_drop(statement.replace("{bytes}", "BINARY"))?;
    Ok(())
}
