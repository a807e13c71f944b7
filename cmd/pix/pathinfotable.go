package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"pix/closure"
	"pix/internal/sizes"
	"pix/store"
	"pix/storepath"
)

// sizeSortKeys are the values of path-info --sort.
var sizeSortKeys = []string{"closure-size", "nar-size", "added-size", "path"}

// checkTable returns an error for flags that exclude each other, and sets the default order of the table.
func (o *pathInfoOptions) checkTable() error {
	switch {
	case o.table && (o.asJSON || o.size || o.closureSize || o.sigs):
		return errors.New("--table has its own columns; leave out --json, -s, -S and --sigs")
	case o.sort != "" && !o.table:
		return errors.New("--sort is the order of --table")
	case o.sort != "" && !slices.Contains(sizeSortKeys, o.sort):
		return fmt.Errorf("--sort is '%s', expected one of: %s", o.sort, strings.Join(sizeSortKeys, ", "))
	}
	o.sort = cmp.Or(o.sort, sizeSortKeys[0])
	return nil
}

// A sizeRow is a line of the table of path-info.
type sizeRow struct {
	path                storepath.Path
	nar, closure, added uint64
}

// printSizeTable prints the sizes of paths, or of their closure, as a table.
func (a *app) printSizeTable(ctx context.Context, s store.Store, paths []storepath.Path, o pathInfoOptions) error {
	c, err := closure.Load(ctx, s, paths...)
	if err != nil {
		return err
	}
	listed := paths
	if o.recursive {
		listed = c.Paths()
	}
	rows, err := sizeRows(ctx, c, paths, listed)
	if err != nil {
		return err
	}
	sortSizeRows(rows, o.sort)
	return a.print(sizeTable(rows))
}

// sizeRows returns the rows of the listed paths in the closure of the roots.
func sizeRows(ctx context.Context, c *closure.Closure, roots, listed []storepath.Path) ([]sizeRow, error) {
	closures, err := c.ClosureSizes(ctx, listed...)
	if err != nil {
		return nil, err
	}
	added, err := c.AddedSizes(ctx, roots...)
	if err != nil {
		return nil, err
	}
	rows := make([]sizeRow, len(listed))
	for i, path := range listed {
		object, _ := c.Get(path)
		rows[i] = sizeRow{path, object.NARSize, closures[path], added[path]}
	}
	return rows, nil
}

// sortSizeRows sorts the rows by one of sizeSortKeys, the largest first, and rows of the same size by path.
func sortSizeRows(rows []sizeRow, key string) {
	size := map[string]func(sizeRow) uint64{
		"closure-size": func(r sizeRow) uint64 { return r.closure },
		"nar-size":     func(r sizeRow) uint64 { return r.nar },
		"added-size":   func(r sizeRow) uint64 { return r.added },
		"path":         func(sizeRow) uint64 { return 0 },
	}[key]
	slices.SortFunc(rows, func(x, y sizeRow) int {
		return cmp.Or(cmp.Compare(size(y), size(x)), cmp.Compare(x.path, y.path))
	})
}

// sizeTable returns the rows as text, with a header.
func sizeTable(rows []sizeRow) string {
	var b strings.Builder
	line := func(nar, closure, added string, path storepath.Path) {
		fmt.Fprintf(&b, "%12s  %12s  %12s  %s\n", nar, closure, added, path)
	}
	line("NAR size", "closure size", "added size", "path")
	for _, r := range rows {
		line(sizes.Human(r.nar), sizes.Human(r.closure), sizes.Human(r.added), r.path)
	}
	return b.String()
}
