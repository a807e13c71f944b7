package localstore

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"zombiezen.com/go/sqlite"

	"pix/derivation"
	"pix/nixhash"
	"pix/signature"
	"pix/store"
	"pix/storepath"
)

// realisationsMigration is the name of the migration that makes the tables of realisations, which
// are there only where somebody needed them; see src/libstore/ca-specific-schema.sql in Nix.
const realisationsMigration = "20220326-ca-derivations"

// The column drvPath is no path but the modulo hash of the derivation, "sha256:" and base 16.
// Nothing is written to RealisationsRefs any more.
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

// A RealisationConflictError says that an output has got another path already.
type RealisationConflictError struct {
	ID            string // of the output, as Nix spells it
	Local, Remote storepath.Path
}

func (e *RealisationConflictError) Error() string {
	return fmt.Sprintf("Trying to register a realisation of '%s', but we already have another one locally.\nLocal:  %s\nRemote: %s", e.ID, e.Local, e.Remote)
}

// hasRealisations reports whether the database has the tables of realisations.
func (c *conn) hasRealisations() (has bool, err error) {
	err = c.query("select 1 from sqlite_schema where type = 'table' and name = 'Realisations'", func(*sqlite.Stmt) error {
		has = true
		return nil
	})
	return has, err
}

// addRealisations makes the tables of realisations, within a transaction.
func (c *conn) addRealisations() error {
	if err := c.script(migrationsTable); err != nil {
		return err
	}
	done := false
	err := c.query("select 1 from SchemaMigrations where migration = ?", func(*sqlite.Stmt) error {
		done = true
		return nil
	}, realisationsMigration)
	if err != nil || done {
		return err
	}
	if err := c.script(realisationsSchema); err != nil {
		return err
	}
	return c.exec("insert into SchemaMigrations values (?)", realisationsMigration)
}

// DrvHash returns the modulo hash of a valid derivation, by which its realisations are known.
func (s *Store) DrvHash(ctx context.Context, drv storepath.Path) (nixhash.Hash, error) {
	return s.drvHash(ctx, store.DrvOutput{Path: drv})
}

// drvHash returns the hash by which the realisations of a derivation are known. Where a question
// has only the path, the derivation itself is read, which must be valid.
func (s *Store) drvHash(ctx context.Context, id store.DrvOutput) (nixhash.Hash, error) {
	if !id.Hash.IsZero() || id.Path == "" {
		return id.Hash, nil
	}
	valid, err := s.IsValidPath(ctx, id.Path)
	if err != nil {
		return nixhash.Hash{}, err
	}
	if !valid {
		return nixhash.Hash{}, notFound(id.Path)
	}
	r := drvReader{s: s}
	defer r.close()
	d, err := r.read(ctx, id.Path)
	if err != nil {
		return nixhash.Hash{}, err
	}
	return s.hashForOutputs(ctx, &r, d)
}

func (s *Store) hashForOutputs(ctx context.Context, r *drvReader, d *derivation.Derivation) (nixhash.Hash, error) {
	inputs, err := s.modulo.inputsOf(ctx, r, d, nil)
	if err != nil {
		return nixhash.Hash{}, err
	}
	h, err := d.HashModulo(derivation.ForOutputs, inputs, nil)
	return h.Hash, err
}

// QueryRealisation returns the path that an output has got. The error is [store.ErrNotFound]
// if it is not known.
func (s *Store) QueryRealisation(ctx context.Context, output store.DrvOutput) (r *store.Realisation, err error) {
	hash, err := s.drvHash(ctx, output)
	if err != nil {
		return nil, err
	}
	err = s.read(ctx, func(c *conn) error {
		r, err = c.realisation(s.dir, hash, output.Output)
		return err
	})
	if err == nil && r == nil {
		err = fmt.Errorf("output '%s' has no known path: %w", outputID(hash, output.Output), store.ErrNotFound)
	}
	return r, err
}

// outputID returns the name that Nix has for an output in messages.
func outputID(hash nixhash.Hash, output string) string {
	if hash.IsZero() {
		return output
	}
	return hash.WithBase16() + "!" + output
}

// realisedPath returns the path that an output of a valid derivation has got, or "".
func (s *Store) realisedPath(ctx context.Context, reader *drvReader, d *derivation.Derivation, output string) (storepath.Path, error) {
	hash, err := s.hashForOutputs(ctx, reader, d)
	if err != nil {
		return "", err
	}
	r, err := s.QueryRealisation(ctx, store.DrvOutput{Hash: hash, Output: output})
	if errors.Is(err, store.ErrNotFound) {
		return "", nil
	}
	if err != nil {
		return "", err
	}
	return r.OutPath, nil
}

// realisation returns what is known of an output, or nil.
func (c *conn) realisation(dir storepath.Dir, hash nixhash.Hash, output string) (r *store.Realisation, err error) {
	if has, err := c.hasRealisations(); err != nil || !has || hash.IsZero() {
		return nil, err
	}
	err = c.query(`select v.path, r.signatures from Realisations r join ValidPaths v on v.id = r.outputPath
		where r.drvPath = ? and r.outputName = ?`, func(row *sqlite.Stmt) (err error) {
		r = &store.Realisation{Signatures: strings.Fields(row.ColumnText(1))}
		slices.Sort(r.Signatures)
		r.OutPath, err = dir.Parse(row.ColumnText(0))
		return err
	}, hash.WithBase16(), output)
	return r, err
}

// RegisterDrvOutput notes which path an output has got, which must be valid. Signatures are
// added to those that are there, and not verified. Another path than the one that is known is
// a [*RealisationConflictError].
func (s *Store) RegisterDrvOutput(ctx context.Context, r store.KeyedRealisation) error {
	hash, err := s.drvHash(ctx, r.ID)
	if err != nil {
		return err
	}
	if hash.IsZero() {
		return fmt.Errorf("registering a realisation of output '%s': it does not say of which derivation", r.ID.Output)
	}
	signatures := make([]string, len(r.Signatures))
	for i, text := range r.Signatures {
		if signatures[i], err = signature.Canonical(text); err != nil {
			return err
		}
	}
	return s.write(ctx, func(c *conn) error {
		if err := c.addRealisations(); err != nil {
			return err
		}
		id, valid, err := c.pathID(r.OutPath)
		if err != nil {
			return err
		}
		if !valid {
			return notFound(r.OutPath)
		}
		old, err := c.realisation(s.dir, hash, r.ID.Output)
		switch {
		case err != nil:
			return err
		case old == nil:
			return c.exec("insert into Realisations (drvPath, outputName, outputPath, signatures) values (?, ?, ?, ?)",
				hash.WithBase16(), r.ID.Output, id, joinSignatures(signatures))
		case old.OutPath != r.OutPath:
			return &RealisationConflictError{outputID(hash, r.ID.Output), old.OutPath, r.OutPath}
		}
		return c.exec("update Realisations set signatures = ? where drvPath = ? and outputName = ?",
			joinSignatures(append(old.Signatures, signatures...)), hash.WithBase16(), r.ID.Output)
	})
}

// joinSignatures returns signatures as the database has them, sorted and each once.
func joinSignatures(signatures []string) string {
	signatures = slices.Clone(signatures)
	slices.Sort(signatures)
	return strings.Join(slices.Compact(signatures), " ")
}
