# Asks every question of a document of both DuckDB and Polars, and tells whether they answer alike:
# a line for each, `ok TITLE: ROWS` or `FAILED TITLE: WHY`.
import decimal
import re
import sys

import duckdb
import polars

document, parquet, folder = sys.argv[1:]
duckdb.execute(f"CREATE VIEW trace AS SELECT * FROM '{parquet}'")
parts = f"read_parquet('{folder}/**/*.parquet', hive_partitioning = true)"
duckdb.execute(f"CREATE VIEW traces AS SELECT * FROM {parts}")
context = polars.SQLContext(
    trace=polars.scan_parquet(parquet),
    traces=polars.scan_parquet(folder, hive_partitioning=True),
)


# A sum is a decimal in one and an integer in the other.
def plain(rows):
    whole = (decimal.Decimal, float)
    return [tuple(int(cell) if isinstance(cell, whole) else cell for cell in row) for row in rows]


for title, query in re.findall(r"^## (.*?)$.*?```sql\n(.*?)```", open(document).read(), re.M | re.S):
    try:
        one = plain(duckdb.execute(query).fetchall())
        two = plain(context.execute(query, eager=True).rows())
    except Exception as error:
        print(f"FAILED {title}: {str(error).splitlines()[0]}")
        continue
    if one and one == two:
        print(f"ok {title}: {one}")
    else:
        print(f"FAILED {title}: DuckDB says {one}, Polars {two}")
