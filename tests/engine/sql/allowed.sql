SELECT * FROM input
SELECT 1;
FROM input
TABLE input
VALUES (1), (2)
(SELECT 1) UNION ALL (SELECT 2)
SELECT * FROM INPUT AS "the ""input"""(a, b) WHERE a = $$text$$ -- a comment
SELECT date_trunc(unit, day), x.read_text, [x for x in list if x > 1] FROM input AS x
WITH input AS (SELECT * FROM input), b AS MATERIALIZED (FROM input) SELECT * FROM b
WITH RECURSIVE r AS (SELECT 1 AS n UNION ALL SELECT n + 1 FROM r WHERE n < 5) SELECT * FROM r
SELECT * FROM (WITH c AS (SELECT 1) SELECT * FROM c) JOIN input USING (a)
SELECT * FROM input PIVOT (sum(a) FOR b IN (1, 2))
UNPIVOT input ON a, b INTO NAME n VALUE v
SELECT COLUMNS('a.*'), * EXCLUDE (b) REPLACE (a AS c) FROM input
SELECT unnest([1, 2]), (SELECT max(a) FROM input), EXISTS (FROM input) FROM range(3), generate_series(1, 3), unnest([1])
SELECT * FROM input, LATERAL (SELECT * FROM unnest(input.list)) ORDER BY (SELECT count(*) FROM input) LIMIT 3
SELECT list_transform(list, lambda x: x + 1), row_number() OVER w FROM input WINDOW w AS (ORDER BY a) QUALIFY a > 1
SELECT sum(a) FILTER (b) FROM input GROUP BY ALL HAVING count(*) > 1
SELECT * FROM input TABLESAMPLE 10%
SELECT * FROM input AS a ASOF JOIN input AS b ON a.t >= b.t POSITIONAL JOIN input AS c
SELECT random(), now(), current_date, split_part(a, ',', 1), wavg(a, b), regexp_split_to_table(a, ',') FROM input
SELECT j ->> '$.a', a.b.c, a[1:2], {'a': 1}, MAP {'a': 1}, a::INT, TRY_CAST(a AS DATE), a COLLATE NOCASE FROM input
