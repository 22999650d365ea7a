-- Nodes, each alive while its row was renewed within a minute, by the database's clock: src/store/nodes.rs.
CREATE TABLE nodes (
    node       INTEGER PRIMARY KEY,
    renewed_at INTEGER NOT NULL
) STRICT;

-- Which of a question's askings is under way: a retry that has taken over has another than the request before it.
ALTER TABLE asks ADD COLUMN attempt BLOB;
