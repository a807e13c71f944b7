package localstore

import (
	"context"
	"errors"
	"fmt"

	"pix/activity"
	"pix/internal/modes"
	"pix/internal/sizes"
	"pix/localstore/internal/temproots"
	"pix/store"
	"pix/storepath"
)

var _ store.Optimiser = (*Store)(nil)

// rootedAtOnce is how many paths are kept from being collected while they are optimised.
const rootedAtOnce = 1000

// OptimiseStore replaces identical files in the store with hard links. Each has one more name in
// .links, the hash of its archive, by which it is found. OptimiseStore reports an activity of the
// type [activity.OptimiseStore], its progress in paths, and an [activity.FileLinked] for each file.
//
// A file that cannot be linked, because it cannot be read, for instance, stays as it is. The error is an
// [*IncompleteError] then.
func (s *Store) OptimiseStore(ctx context.Context) (err error) {
	if s.opts.ReadOnly {
		return ErrReadOnly
	}
	if err := s.checkWritable(); err != nil {
		return err
	}
	// On a full disk the database and the temporary roots need the room.
	if err := s.giveUpReserved(); err != nil {
		return err
	}
	defer s.reserveSpace()
	if err := s.makeDirs(); err != nil {
		return err
	}
	paths, err := s.QueryAllValidPaths(ctx)
	if err != nil {
		return err
	}
	l := &linker{Store: s, task: begin(ctx, activity.LevelError, activity.OptimiseStore, "")}
	defer l.task.stop()
	if l.linked, err = s.linkedFiles(ctx); err != nil {
		return err
	}
	l.task.progress(0, len(paths))
	for done := 0; done < len(paths); {
		some := paths[done:min(done+rootedAtOnce, len(paths))]
		if err := l.paths(ctx, some, done, len(paths)); err != nil {
			return err
		}
		done += len(some)
	}
	say(ctx, "%s freed by hard-linking %d files", sizes.Spell(int64(l.freed)), l.files)
	return l.failures.result("linked", fmt.Sprintf("%s freed by hard-linking %d files", sizes.Spell(int64(l.freed)), l.files))
}

// paths optimises paths, of which done are done already.
func (l *linker) paths(ctx context.Context, paths []storepath.Path, done, all int) (err error) {
	roots := temproots.Open(l.rootsState())
	defer func() { err = errors.Join(err, roots.Close()) }()
	if _, err := roots.Add(ctx, paths...); err != nil {
		return err
	}
	valid, err := l.QueryValidPaths(ctx, paths, false)
	if err != nil {
		return err
	}
	for i, p := range valid {
		err := l.attempt(ctx, l.object(p), l.optimise(ctx, l.object(p)))
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		if err != nil {
			l.failures.add(ctx, err)
		}
		l.task.progress(done+i+1, all)
	}
	return nil
}

// autoOptimise optimises an object that is being added. No other process
// changes the object meanwhile. With repair, it reads files again to which others are to be linked. A file that
// cannot be linked is no reason not to add the object, so that is only reported.
func (s *Store) autoOptimise(ctx context.Context, path storepath.Path, repair bool) error {
	if err := modes.MkdirAll(s.links()); err != nil { // another process may have removed it
		return err
	}
	l := &linker{Store: s, linked: make(map[inode]bool), repair: repair}
	l.failures.silent = true // one warning is enough
	err := l.attempt(ctx, s.object(path), l.optimise(ctx, s.object(path)))
	if incomplete := l.failures.result("linked", "the object is added"); incomplete != nil {
		say(ctx, "warning: optimising '%s': %v", path, incomplete)
	}
	return err
}
