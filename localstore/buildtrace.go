package localstore

import (
	"slices"
	"strings"

	"zombiezen.com/go/sqlite"

	"pix/localstore/internal/nixdb"
	"pix/nixhash"
	"pix/store"
	"pix/storepath"
)

// Nix stores realisations in two tables, which it creates when it needs them; see src/libstore/ca-specific-schema.sql in
// Nix. Nix up to 2.34 uses Realisations: its key is the modulo hash of the derivation ("sha256:" and base 16, in the
// column drvPath), and a row is deleted with its output path. Nix from 2.35 on uses BuildTraceV3: its key is the base
// name of the path of the derivation, and rows are not deleted. Each version ignores the other table, so this package
// reads and writes both.
const (
	realisationsMigration = "20220326-ca-derivations"
	buildTraceMigration   = "20251017-ca-derivations"
)

// Current versions do not write to RealisationsRefs.
const realisationsSchema = `
create table if not exists Realisations (
	id integer primary key autoincrement not null,
	drvPath text not null,
	outputName text not null,
	outputPath integer not null,
	signatures text,
	foreign key (outputPath) references ValidPaths(id) on delete cascade
);
create index if not exists IndexRealisations on Realisations(drvPath, outputName);
create trigger if not exists DeleteSelfRefsViaRealisations before delete on ValidPaths begin
	delete from RealisationsRefs where realisationReference in (select id from Realisations where outputPath = old.id);
end;
create table if not exists RealisationsRefs (
	referrer integer not null,
	realisationReference integer,
	foreign key (referrer) references Realisations(id) on delete cascade,
	foreign key (realisationReference) references Realisations(id) on delete restrict
);
create index if not exists IndexRealisationsRefsRealisationReference on RealisationsRefs(realisationReference);
create index if not exists IndexRealisationsRefs on RealisationsRefs(referrer);
create index if not exists IndexRealisationsRefsOnOutputPath on Realisations(outputPath);
`

const buildTraceSchema = `
create table if not exists BuildTraceV3 (
	id integer primary key autoincrement not null,
	drvPath text not null,
	outputName text not null,
	outputPath text not null,
	signatures text
);
create index if not exists IndexBuildTraceV3 on BuildTraceV3(drvPath, outputName);
`

// hasTable reports whether the database has a table.
func (c *conn) hasTable(name string) (has bool, err error) {
	err = c.query("select 1 from sqlite_schema where type = 'table' and name = ?", func(*sqlite.Stmt) error {
		has = true
		return nil
	}, name)
	return has, err
}

// hasRealisations reports whether the database has a table of realisations.
func (c *conn) hasRealisations() (bool, error) {
	has, err := c.hasTable("Realisations")
	if err == nil && !has {
		has, err = c.hasTable("BuildTraceV3")
	}
	return has, err
}

// migrate creates tables, within a transaction, unless this migration was done before.
func (c *conn) migrate(migration, script string) error {
	if err := c.script(nixdb.MigrationsTable); err != nil {
		return err
	}
	done := false
	err := c.query("select 1 from SchemaMigrations where migration = ?", func(*sqlite.Stmt) error {
		done = true
		return nil
	}, migration)
	if err != nil || done {
		return err
	}
	if err := c.script(script); err != nil {
		return err
	}
	return c.exec("insert into SchemaMigrations values (?)", migration)
}

// realisation returns the realisation of an output by the hash of its derivation, or nil.
func (c *conn) realisation(dir storepath.Dir, hash nixhash.Hash, output string) (*store.Realisation, error) {
	if has, err := c.hasTable("Realisations"); err != nil || !has {
		return nil, err
	}
	return c.oneRealisation(dir, `select v.path, r.signatures from Realisations r join ValidPaths v on v.id = r.outputPath
		where r.drvPath = ? and r.outputName = ?`, hash.WithBase16(), output)
}

// buildTrace returns the realisation of an output by the path of its derivation, or nil. The output path may be invalid.
// The table must exist.
func (c *conn) buildTrace(dir storepath.Dir, drv storepath.Path, output string) (*store.Realisation, error) {
	return c.oneRealisation(dir, "select outputPath, signatures from BuildTraceV3 where drvPath = ? and outputName = ?", drv.Base(), output)
}

// oneRealisation returns the realisation that a query selects, or nil.
func (c *conn) oneRealisation(dir storepath.Dir, query, drv, output string) (r *store.Realisation, err error) {
	err = c.query(query, func(row *sqlite.Stmt) (err error) {
		r = &store.Realisation{Signatures: strings.Fields(row.ColumnText(1))}
		slices.Sort(r.Signatures)
		r.OutPath, err = dir.Parse(row.ColumnText(0))
		return err
	}, drv, output)
	return r, err
}

// registerRealisation stores the path of an output under the hash of its derivation. The path must be valid.
func (c *conn) registerRealisation(dir storepath.Dir, hash nixhash.Hash, output string, r *store.Realisation) error {
	if err := c.migrate(realisationsMigration, realisationsSchema); err != nil {
		return err
	}
	id, valid, err := c.pathID(r.OutPath)
	if err != nil {
		return err
	}
	if !valid {
		return notFound(r.OutPath)
	}
	old, err := c.realisation(dir, hash, output)
	switch {
	case err != nil:
		return err
	case old == nil:
		return c.exec("insert into Realisations (drvPath, outputName, outputPath, signatures) values (?, ?, ?, ?)",
			hash.WithBase16(), output, id, nixdb.JoinSignatures(r.Signatures))
	case old.OutPath != r.OutPath:
		return &RealisationConflictError{hash.WithBase16() + "!" + output, old.OutPath, r.OutPath}
	}
	return c.exec("update Realisations set signatures = ? where drvPath = ? and outputName = ?",
		nixdb.JoinSignatures(slices.Concat(old.Signatures, r.Signatures)), hash.WithBase16(), output)
}

// registerBuildTrace stores the path of an output under the path of its derivation. It replaces an old path that is no
// longer valid. Nix 2.35 keeps the old path and refuses the new one.
func (c *conn) registerBuildTrace(dir storepath.Dir, drv storepath.Path, output string, r *store.Realisation) error {
	if err := c.migrate(buildTraceMigration, buildTraceSchema); err != nil {
		return err
	}
	old, err := c.buildTrace(dir, drv, output)
	if err != nil {
		return err
	}
	if old == nil {
		return c.exec("insert into BuildTraceV3 (drvPath, outputName, outputPath, signatures) values (?, ?, ?, ?)",
			drv.Base(), output, string(r.OutPath), nixdb.JoinSignatures(r.Signatures))
	}
	signatures := r.Signatures
	if old.OutPath == r.OutPath {
		signatures = slices.Concat(old.Signatures, signatures)
	} else if _, valid, err := c.pathID(old.OutPath); err != nil || valid {
		if err == nil {
			err = &RealisationConflictError{drv.Base() + "^" + output, old.OutPath, r.OutPath}
		}
		return err
	}
	return c.exec("update BuildTraceV3 set outputPath = ?, signatures = ? where drvPath = ? and outputName = ?",
		string(r.OutPath), nixdb.JoinSignatures(signatures), drv.Base(), output)
}
