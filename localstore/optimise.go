package localstore

import (
	"context"
	"errors"
	"fmt"

	"pix/activity"
	"pix/internal/modes"
	"pix/internal/sizes"
	"pix/localstore/internal/objects"
	"pix/localstore/internal/temproots"
	"pix/store"
	"pix/storepath"
)

var _ store.Optimiser = (*Store)(nil)

// optimiseBatch is how many paths are temporary roots at a time, while their files are linked.
const optimiseBatch = 1000

// OptimiseStore replaces identical files in the store with hard links. It reports an activity of the type
// [activity.OptimiseStore], its progress in paths, and an [activity.FileLinked] for each file that it replaces.
//
// If a file cannot be linked, because it cannot be read, for example, OptimiseStore continues with the others and returns
// an [*IncompleteError].
func (s *Store) OptimiseStore(ctx context.Context) (err error) {
	if s.opts.ReadOnly {
		return ErrReadOnly
	}
	if err := s.checkWritable(); err != nil {
		return err
	}
	// On a full disk the database and the temporary roots need space.
	if err := s.freeReserved(); err != nil {
		return err
	}
	defer s.reserveSpace()
	if err := s.createDirs(); err != nil {
		return err
	}
	paths, err := s.QueryAllValidPaths(ctx)
	if err != nil {
		return err
	}
	o := &optimiser{Store: s, task: startTask(ctx, activity.LevelError, activity.OptimiseStore, "")}
	defer o.task.stop()
	o.linker = s.newLinker(ctx, &o.failures)
	o.linker.Replaced = o.countReplaced
	if err := o.linker.Load(ctx); err != nil {
		return err
	}
	o.task.progress(0, len(paths))
	for done := 0; done < len(paths); {
		some := paths[done:min(done+optimiseBatch, len(paths))]
		if err := o.optimise(ctx, some, done, len(paths)); err != nil {
			return err
		}
		done += len(some)
	}
	summary := fmt.Sprintf("%s freed by hard-linking %d files", sizes.Spell(o.freed), o.files)
	logf(ctx, "%s", summary)
	return o.failures.result("linked", summary)
}

// An optimiser is one call of OptimiseStore.
type optimiser struct {
	*Store
	linker   *objects.Linker
	task     task
	failures failureLog // files that could not be linked
	files    int        // that were replaced
	freed    int64      // their sizes in bytes
}

func (o *optimiser) countReplaced(size, blocks int64) {
	o.files++
	o.freed += size
	o.task.result(activity.FileLinked, uint64(size), uint64(blocks))
}

// newLinker returns a linker that reports to the handler of ctx, and adds files that cannot be linked to failures.
func (s *Store) newLinker(ctx context.Context, failures *failureLog) *objects.Linker {
	return &objects.Linker{
		StoreDir: s.storeDir,
		Display:  s.named,
		Report:   logLine(ctx),
		Failed:   func(err error) { failures.add(ctx, err) },
	}
}

// optimise links the files of the valid ones among paths. done is the number of earlier paths, and all of all paths.
func (o *optimiser) optimise(ctx context.Context, paths []storepath.Path, done, all int) (err error) {
	roots := temproots.Open(o.rootsState())
	defer func() { err = errors.Join(err, roots.Close()) }()
	if _, err := roots.Add(ctx, paths...); err != nil {
		return err
	}
	valid, err := o.QueryValidPaths(ctx, paths, false)
	if err != nil {
		return err
	}
	for i, p := range valid {
		err := o.linker.Link(ctx, o.object(p))
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		if err != nil {
			o.failures.add(ctx, err)
		}
		o.task.progress(done+i+1, all)
	}
	return nil
}

// linkNewObject links the files of an object that is being added. The caller holds the lock of its path. With repair,
// linkNewObject verifies a file in .links before it links to the file. The object can be added although files could not
// be linked, so linkNewObject only logs one warning about them.
func (s *Store) linkNewObject(ctx context.Context, path storepath.Path, repair bool) error {
	if err := modes.MkdirAll(s.links()); err != nil { // another process may have removed it
		return err
	}
	failures := &failureLog{silent: true}
	l := s.newLinker(ctx, failures)
	l.Repair = repair
	err := l.Link(ctx, s.object(path))
	if incomplete := failures.result("linked", "the object is added"); incomplete != nil {
		logf(ctx, "warning: optimising '%s': %v", path, incomplete)
	}
	return err
}
