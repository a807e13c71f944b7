package profile

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"syscall"
	"time"

	"pix/activity"
	"pix/internal/flock"
)

// A LockedError reports that another process holds the lock of a profile for longer than the caller wants to wait.
type LockedError struct{ Link string }

func (e *LockedError) Error() string {
	return fmt.Sprintf("another process holds the lock of profile '%s'", e.Link)
}

// locked calls work with the directory of the profile, while it holds the lock of the profile. It waits for the lock until
// ctx ends.
func (p *Profile) locked(ctx context.Context, work func(dir *directory) error) error {
	return p.lockedWithin(ctx, ctx, work)
}

// lockedWithin is like locked, and waits for the lock until wait ends.
func (p *Profile) lockedWithin(ctx, wait context.Context, work func(dir *directory) error) error {
	dir, err := p.open()
	if err != nil {
		return err
	}
	defer dir.Close()
	name := p.name + ".lock"
	f, err := p.lock(wait, dir, name)
	if err != nil {
		return err
	}
	defer func() {
		if linked, err := f.IsLinked(); linked && err == nil { // another process may have deleted the file, and created a new one
			dir.remove(name) // if it remains, the next process takes it
		}
		f.Retire()
	}()
	return work(dir)
}

// lock opens the lock file and locks it, until the file has no stale mark. A file with the mark has lost its name, so
// its lock excludes no other process: see package pathlock. If it still has its name, which a power cut can cause, it is
// deleted, because Nix would try for ever.
func (p *Profile) lock(ctx context.Context, dir *directory, name string) (*flock.File, error) {
	for {
		f, err := openLock(dir, name)
		if err != nil {
			return nil, err
		}
		if err = flock.Lock(ctx, f.File, flock.Exclusive, func() { p.reportWait(ctx) }); err == nil {
			var fresh, linked bool
			if fresh, err = f.IsEmpty(); fresh {
				return f, nil
			}
			if err == nil {
				linked, err = f.IsLinked()
			}
			if linked {
				err = dir.remove(name)
			}
		}
		f.Close()
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return nil, err
		}
		if ctx.Err() != nil {
			return nil, context.Cause(ctx)
		}
	}
}

// openLock opens or creates a lock file, which is a regular file. It has one name, or none if another process has just
// deleted it. A hostile user can make a hard link to a file of another user, which must not get the stale mark.
func openLock(dir *directory, name string) (*flock.File, error) {
	f, err := dir.create(name)
	if err != nil {
		return nil, err
	}
	info, err := f.Stat()
	switch {
	case err != nil:
	case !info.Mode().IsRegular():
		err = errors.New("it is not a regular file")
	case info.Sys().(*syscall.Stat_t).Nlink > 1:
		err = errors.New("it has another name, too (a hard link)")
	default:
		return flock.New(f)
	}
	return nil, errors.Join(&fs.PathError{Op: "lock", Path: f.Name(), Err: err}, f.Close())
}

// reportWait logs that another process holds the lock, in the words of Nix.
func (p *Profile) reportWait(ctx context.Context) {
	if h := activity.HandlerOf(ctx); h != nil {
		h.HandleEvent(activity.Log{Text: fmt.Sprintf("waiting for lock on profile '%s'", p.Link())})
	}
}

// lockLimit returns a context for [Profile.lockedWithin], which waits at most so long.
func (p *Profile) lockLimit(ctx context.Context, limit time.Duration) (context.Context, context.CancelFunc) {
	return context.WithTimeoutCause(ctx, limit, &LockedError{p.Link()})
}
