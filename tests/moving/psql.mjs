// Stands in for psql and its server: PostgreSQL itself, compiled for this process, with its data in
// the folder of PGDATA. It takes SQL from standard input, and of psql's options knows --csv.
import { readFileSync } from "node:fs";

import { PGlite } from "@electric-sql/pglite";

const sql = readFileSync(0, "utf8").trim().replace(/;$/, "");
const database = await PGlite.create(process.env.PGDATA);
if (process.argv.includes("--csv")) {
  const { blob } = await database.query(`COPY (${sql}) TO '/dev/blob' WITH (FORMAT csv, HEADER)`);
  process.stdout.write(await blob.text());
} else {
  await database.exec(sql);
}
await database.close();
