SELECT * FROM other
SELECT * FROM nodes.input
SELECT * FROM nodes.other
SELECT * FROM memory.nodes.other
SELECT * FROM 'data.csv'
SELECT * FROM "data.csv"
FROM 'https://example.com/data.parquet'
SELECT * FROM read_csv('data.csv')
SELECT * FROM "READ_CSV"('data.csv')
SELECT * FROM system.main.read_csv('data.csv')
SELECT 'data.csv'.read_text()
SELECT * FROM 'data.csv'.read_text()
SELECT * FROM input, LATERAL (SELECT * FROM read_csv(input.path))
SELECT * FROM input LEFT JOIN LATERAL (FROM glob('*')) ON true
SELECT * FROM input JOIN 'data.csv' USING (a)
SELECT * FROM input POSITIONAL JOIN 'data.csv'
SELECT * FROM input WHERE a IN (FROM glob('*'))
SELECT * FROM input ORDER BY (SELECT count(*) FROM duckdb_secrets())
SELECT 1 LIMIT (SELECT count(*) FROM glob('*'))
SELECT * FROM input GROUP BY ALL HAVING (FROM sniff_csv('x'))
SELECT * FROM input QUALIFY row_number() OVER (PARTITION BY (FROM glob('*'))) = 1
SELECT sum(a) OVER (ORDER BY 1 ROWS BETWEEN (FROM glob('*')) PRECEDING AND CURRENT ROW) FROM input
SELECT sum(a ORDER BY (FROM glob('*'))) FROM input
SELECT count(*) FILTER (WHERE (FROM glob('*')) IS NOT NULL) FROM input
SELECT list_transform([1], lambda x: (SELECT count(*) FROM glob('*')))
SELECT [x for x in (FROM glob('*'))]
SELECT {'a': (FROM glob('*'))}
SELECT * REPLACE ((FROM glob('*')) AS a) FROM input
SELECT COLUMNS(c -> (SELECT c FROM glob('*'))) FROM input
SELECT CASE WHEN true THEN (FROM 'data.csv') END
SELECT * FROM (VALUES ((FROM glob('*'))))
SELECT * FROM (FROM (FROM 'data.json'))
SELECT EXISTS (FROM 'data.parquet')
SELECT 1 UNION SELECT * FROM 'data.csv'
WITH c AS MATERIALIZED (FROM read_text('data.csv')) SELECT 1
WITH a AS (SELECT * FROM b), b AS (SELECT 1) SELECT * FROM a
WITH RECURSIVE a AS (SELECT * FROM b), b AS (SELECT 1) SELECT * FROM a
WITH other AS (SELECT * FROM other) SELECT * FROM other
SELECT * FROM (WITH duckdb_settings AS (SELECT 1) SELECT 1), duckdb_settings
WITH duKdb_settings AS (SELECT 1) SELECT * FROM duckdb_settings
WITH ducKdb_settings AS (SELECT 1) SELECT * FROM duckdb_settings
SELECT * FROM duckdb_settings
SELECT * FROM duckdb_settings()
SELECT * FROM pg_catalog.pg_settings
SELECT * FROM information_schema.tables
SELECT * FROM sqlite_master
SELECT * FROM query('SELECT 1')
SELECT * FROM query_table('other')
FROM query_table(['input', 'other'])
FROM histogram('other', 'a')
FROM json_execute_serialized_sql('{}')
SELECT json_execute_serialized_sql('{}')
SELECT json_serialize_plan('SELECT * FROM read_csv(''data.csv'')')
SELECT getvariable('x')
SELECT "getvariable"('x')
SELECT getVariable /* comment */ ('x')
SELECT system.main.getvariable('x')
SELECT U&"getv\0061riable"('x')
SELECT getenv('HOME')
SELECT current_setting('temp_directory')
SELECT nextval('s')
SELECT setseed(0.5)
SELECT sleep_ms(1000)
SELECT pg_sleep(1)
SELECT write_log('x')
SELECT txid_current()
SELECT pg_get_viewdef(1)
SELECT current_query()
SELECT seq_scan('other')
FROM seq_scan('other')
FROM arrow_scan(1, 2, 3)
FROM which_secret('x', 's3')
FROM parquet_metadata('x')
FROM read_duckdb('x.duckdb')
FROM duckdb_logs()
FROM pragma_table_info('other')
FROM summary((FROM other))
SELECT 1; SELECT 2
SELECT 1) AS x, (SELECT 2
SELECT 1) UNION (SELECT 2
SELECT 1 /* never closed
SELECT * INTO other FROM input
SELECT ?
SELECT $name
PIVOT input ON a
FROM (PIVOT input ON a)
DESCRIBE input
FROM (DESCRIBE input)
FROM (DESCRIBE SELECT * FROM 'data.csv')
SUMMARIZE input
FROM (SUMMARIZE 'data.csv')
SHOW TABLES
FROM (SHOW ALL TABLES)
EXPLAIN SELECT 1
EXPLAIN ANALYZE SELECT 1
ATTACH 'data.duckdb'
DETACH memory
USE memory
COPY input TO 'data.csv'
COPY (SELECT 1) TO 'data.csv'
EXPORT DATABASE 'x'
IMPORT DATABASE 'x'
INSTALL httpfs
LOAD httpfs
SET threads = 1
SET VARIABLE x = 1
RESET threads
PRAGMA database_list
CALL duckdb_settings()
CHECKPOINT
VACUUM
BEGIN
PREPARE p AS SELECT 1
EXECUTE p
CREATE TABLE t AS SELECT 1
CREATE MACRO m() AS 1
CREATE SECRET s (TYPE s3)
INSERT INTO input VALUES (1)
UPDATE input SET a = 1
DELETE FROM input
MERGE INTO input USING input AS i ON true WHEN MATCHED THEN DELETE
TRUNCATE input
DROP TABLE input
ALTER TABLE input ADD COLUMN b INT
COMMENT ON TABLE input IS 'x'
WITH d AS (DELETE FROM input RETURNING *) SELECT * FROM d
