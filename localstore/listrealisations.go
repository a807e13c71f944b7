package localstore

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"zombiezen.com/go/sqlite"

	"pix/nixhash"
	"pix/store"
)

// QueryAllRealisations returns the realisations in both tables: the ones of Nix up to 2.34 by the hash of the
// derivation, and the ones of later versions by its path. If some rows are malformed, the error is a
// [*store.RealisationsError], and the other realisations are returned, too.
func (s *Store) QueryAllRealisations(ctx context.Context) (all []store.KeyedRealisation, err error) {
	var failed []error
	err = s.read(ctx, func(c *conn) error {
		all, failed = nil, nil // the call may be repeated
		err := c.listRealisations("Realisations", `select r.drvPath, r.outputName, v.path, r.signatures
			from Realisations r join ValidPaths v on v.id = r.outputPath`, func(drv string, id *store.DrvOutput) (err error) {
			id.Hash, err = nixhash.Parse(drv)
			return err
		}, s, &all, &failed)
		if err != nil {
			return err
		}
		return c.listRealisations("BuildTraceV3", "select drvPath, outputName, outputPath, signatures from BuildTraceV3",
			func(drv string, id *store.DrvOutput) (err error) {
				id.Path, err = s.dir.ParseBase(drv)
				return err
			}, s, &all, &failed)
	})
	if err == nil && len(failed) > 0 {
		err = &store.RealisationsError{Failed: failed}
	}
	return all, err
}

// listRealisations appends the realisations of a table, if it exists, and the errors of malformed rows. parse parses
// the column drvPath.
func (c *conn) listRealisations(table, query string, parse func(drv string, id *store.DrvOutput) error, s *Store, all *[]store.KeyedRealisation, failed *[]error) error {
	has, err := c.hasTable(table)
	if err != nil || !has {
		return err
	}
	return c.query(query, func(row *sqlite.Stmt) error {
		r := store.KeyedRealisation{ID: store.DrvOutput{Output: row.ColumnText(1)}}
		err := parse(row.ColumnText(0), &r.ID)
		if err == nil {
			r.OutPath, err = s.dir.Parse(row.ColumnText(2))
		}
		if err != nil {
			*failed = append(*failed, fmt.Errorf("the table %s: %w", table, err))
			return nil
		}
		r.Signatures = slices.Sorted(strings.FieldsSeq(row.ColumnText(3)))
		*all = append(*all, r)
		return nil
	})
}
