package localstore

import (
	"context"
	"errors"

	"pix/activity"
	"pix/internal/modes"
	"pix/localstore/internal/temproots"
	"pix/store"
	"pix/storepath"
)

var _ store.Optimiser = (*Store)(nil)

// rootedAtOnce is how many paths are kept from being collected while they are optimised.
const rootedAtOnce = 1000

// OptimiseStore makes equal files in the store one file with several names. Each has one more in
// .links, after the hash of its archive, by which it is found. What is told are an activity of the
// type [activity.OptimiseStore], its progress in paths, and an [activity.FileLinked] for each file.
func (s *Store) OptimiseStore(ctx context.Context) (err error) {
	if s.opts.ReadOnly {
		return ErrReadOnly
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
	say(ctx, "%s freed by hard-linking %d files", renderSize(int64(l.freed)), l.files)
	return nil
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
		if err := l.optimise(ctx, l.object(p)); err != nil {
			return err
		}
		l.task.progress(done+i+1, all)
	}
	return nil
}

// autoOptimise optimises an object that is being added, if the options say so. Nobody else
// changes the object meanwhile. With repair, files are read again that others are to be linked to.
func (s *Store) autoOptimise(ctx context.Context, path storepath.Path, repair bool) error {
	if !s.opts.AutoOptimise {
		return nil
	}
	if err := modes.MkdirAll(s.links()); err != nil { // another process may have removed it
		return err
	}
	l := &linker{Store: s, linked: make(map[inode]bool), repair: repair}
	return l.optimise(ctx, s.object(path))
}
