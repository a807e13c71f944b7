package localstore

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"pix/localstore/internal/nixdb"
	"pix/storepath"
)

// An InUseError says that a path cannot be made invalid, because others refer to it.
type InUseError struct {
	Path      storepath.Path
	Referrers []storepath.Path
}

func (e *InUseError) Error() string {
	names := make([]string, len(e.Referrers))
	for i, p := range e.Referrers {
		names[i] = "'" + string(p) + "'"
	}
	return fmt.Sprintf("cannot delete path '%s' because it is in use by %s", e.Path, strings.Join(names, ", "))
}

// invalidatePath makes a path no longer valid, if it is. Its object stays. The error is an
// [*InUseError] if other valid paths refer to it.
func (s *Store) invalidatePath(ctx context.Context, path storepath.Path) error {
	return s.write(ctx, func(c *conn) error { return c.invalidate(s.dir, path) })
}

// invalidate makes a path no longer valid, within a transaction.
func (c *conn) invalidate(dir storepath.Dir, path storepath.Path) error {
	referrers, err := c.paths(dir, nixdb.ReferrersQuery, string(path))
	if err != nil {
		return err
	}
	referrers = slices.DeleteFunc(referrers, func(p storepath.Path) bool { return p == path })
	if len(referrers) > 0 {
		return &InUseError{path, referrers}
	}
	return (*nixdb.Conn)(c).DeletePath(path)
}
