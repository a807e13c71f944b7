package profile

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path/filepath"
	"time"

	"pix/storepath"
)

const (
	maxProfiles = 1 << 18 // that [Find] returns
	maxDepth    = 32      // of the directories that it reads
)

// Find returns the profiles below a directory, in the order of the walk: the symlinks that point to one of their own
// generations. It ignores directories that this process may not read, symlinks to directories, and profiles more than 32
// directories deep. A directory that does not exist has none.
func Find(ctx context.Context, dir storepath.Dir, root string) ([]*Profile, error) {
	return find(ctx, dir, root, maxDepth)
}

// FindIn is [Find] for the directory alone, without the directories in it.
func FindIn(ctx context.Context, dir storepath.Dir, root string) ([]*Profile, error) {
	return find(ctx, dir, root, 0)
}

func find(ctx context.Context, dir storepath.Dir, root string, depth int) ([]*Profile, error) {
	root, err := filepath.Abs(root)
	if err != nil {
		return nil, err
	}
	w := finder{storeDir: dir, root: root}
	d, err := openDir(root, ".")
	if err == nil {
		err = w.walk(ctx, d, ".", depth)
		d.Close()
	}
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, fs.ErrPermission) {
		err = nil
	}
	return w.found, err
}

type finder struct {
	storeDir storepath.Dir
	root     string
	found    []*Profile
}

// walk adds the profiles in d, whose name relative to the root is dir, and in its subdirectories down to a depth. The
// owner of the directory can change or delete it at the same time, so a file that is not as expected is ignored.
func (w *finder) walk(ctx context.Context, d *directory, dir string, depth int) error {
	for {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		names, err := d.Readdirnames(1024)
		for _, name := range names {
			if err := w.visit(ctx, d, dir, name, depth); err != nil {
				return err
			}
		}
		if err == io.EOF || errors.Is(err, fs.ErrNotExist) { // a directory that was deleted after it was opened cannot be read
			return nil
		}
		if err != nil {
			return err
		}
	}
}

func (w *finder) visit(ctx context.Context, d *directory, dir, name string, depth int) error {
	info, err := d.lstat(name)
	switch {
	case err != nil:
		return nil
	case info.isDir() && depth > 0:
		sub, err := d.openDir(name)
		if err != nil {
			return nil
		}
		defer sub.Close()
		return w.walk(ctx, sub, filepath.Join(dir, name), depth-1)
	case !info.isSymlink():
		return nil
	}
	p := &Profile{storeDir: w.storeDir, anchor: w.root, dir: dir, name: name, found: true}
	target, err := d.readlink(name)
	if err != nil {
		return nil
	}
	if _, ok := p.parseGeneration(filepath.Base(target)); !ok || !p.isOwnDir(filepath.Dir(target)) {
		return nil
	}
	if len(w.found) == maxProfiles {
		return fmt.Errorf("'%s' has more than %d profiles", w.root, maxProfiles)
	}
	w.found = append(w.found, p)
	return nil
}

// A Deletion is what [DeleteAll] did with one profile.
type Deletion struct {
	Profile     *Profile
	Generations []Generation // the deleted generations, or with dryRun the ones that would be deleted
	Err         error        // why no others were deleted
}

// lockWait is how long [DeleteAll] waits for the locks of all profiles together. Their owners could hold them for ever.
var lockWait = 30 * time.Second

// DeleteAll deletes the generations of profiles that sel selects, as [Profile.Delete] does, and calls report for each
// profile that has some or an error. With dryRun nothing is deleted. It leaves out profiles that this process may not
// change. A profile whose lock another process holds for long has the error [*LockedError].
func DeleteAll(ctx context.Context, profiles []*Profile, sel Selection, dryRun bool, report func(Deletion) error) error {
	remaining := lockWait
	for _, p := range profiles {
		done := Deletion{Profile: p}
		done.Generations, done.Err = p.Select(ctx, sel)
		if done.Err == nil && len(done.Generations) > 0 && !dryRun {
			begin := time.Now()
			wait, cancel := p.lockLimit(ctx, remaining)
			done.Generations, done.Err = p.deleteWithin(ctx, wait, sel)
			cancel()
			remaining -= time.Since(begin)
		}
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		if errors.Is(done.Err, fs.ErrPermission) || errors.Is(done.Err, fs.ErrNotExist) {
			continue
		}
		if len(done.Generations) > 0 || done.Err != nil {
			if err := report(done); err != nil {
				return err
			}
		}
	}
	return nil
}
