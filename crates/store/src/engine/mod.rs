//! Runs statements on PostgreSQL or SQLite: values in, rows out. Knows no table.
//!
//! Reads go through a `ReadPool` (`read_pool.rs`), which bounds them by permits and joins those that wait together;
//! reads by key go through a `BatchLoader` before it. Writes go through an `Executor` (`executor.rs`), within the
//! transaction of the writer. `value.rs` has the parameters and columns, `sql.rs` the two dialects.

mod batch_loader;
mod bound_statement;
pub mod bus;
mod database_url;
mod error;
mod executor;
pub mod migrations;
pub mod postgres;
pub mod postgres_check;
pub mod postgres_connection;
mod read_backend;
mod read_pool;
mod row_batches;
mod shared_runs;
mod single_flight;
mod sql;
pub mod sqlite;
pub mod sqlite_connection;
pub mod sqlite_file;
pub mod value;

pub use batch_loader::BatchLoader;
pub use bound_statement::Lane;
pub use bus::{Bus, MAX_MESSAGE as MAX_BUS_MESSAGE};
pub use database_url::DatabaseUrl;
pub use error::{Error, Result};
pub use executor::Executor;
pub use read_backend::ReadBackend;
pub use read_pool::ReadPool;
pub use sql::{DatabaseClock, Sql, millis};
pub use value::{Columns, Row, Value};
