package builder

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"

	"golang.org/x/sys/unix"

	"pix/activity"
	"pix/builder/internal/canonical"
)

// cleanUp removes everything that the build has created, except its outputs, and releases its user. It may keep the
// build directory of a failed build. It also removes the files that a failed build has written to the paths of its
// outputs. Nix leaves them there, owned by the build user.
//
// The removal of empty directories may be left to the caller, who can begin the next build before it: see [Request].Later. The removal
// took 0.84 ms of the 7.4 ms of a trivial build. The build user is released first: it has no processes, and only root can enter the
// directories.
func (b *build) cleanUp(ctx context.Context, succeeded bool) error {
	ctx = context.WithoutCancel(ctx)
	b.closeSocket()
	var err error
	if !succeeded && b.dir != nil && b.mayKeep() {
		err = b.keepBuildDir()
	}
	if !b.sandboxed && b.dir != nil {
		err = errors.Join(err, b.removeScratch(ctx))
	}
	err = errors.Join(err, b.removeCgroup())
	if succeeded && b.req.Later != nil && b.leavesOnlyDirectories() {
		err = errors.Join(err, b.user.release())
		b.req.Later(b.removeDirectories)
		return err
	}
	return errors.Join(err, b.removeDirectories(), b.user.release())
}

// removeDirectories removes the directories of the build. The mark is last, so that the next process removes what a killed one
// has left.
func (b *build) removeDirectories() error { return errors.Join(b.chroot.remove(), b.dir.remove()) }

// leavesOnlyDirectories reports whether the directories of the build have no files except mount points, so that they take
// no space that the next build may need.
func (b *build) leavesOnlyDirectories() bool {
	if !b.sandboxed || !b.inMemory() {
		return false
	}
	none := func(string) bool { return false }
	isInput := func(name string) bool {
		path, err := b.store.Dir().ParseBase(name)
		return err == nil && b.closure[path]
	}
	return hasOnly(b.dir.path, none) && hasOnly(b.chroot.file("tmp"), none) && hasOnly(b.chroot.file(string(b.store.Dir())), isInput)
}

// hasOnly reports whether all names in a directory satisfy a condition.
func hasOnly(dir string, condition func(name string) bool) bool {
	f, err := os.OpenFile(dir, os.O_RDONLY|unix.O_DIRECTORY|unix.O_NOFOLLOW, 0)
	if err != nil {
		return false
	}
	defer f.Close()
	names, err := f.Readdirnames(-1)
	return err == nil && !slices.ContainsFunc(names, func(name string) bool { return !condition(name) })
}

// mayKeep reports whether to keep the build directory of the failed build. Builtins may have passwords there.
func (b *build) mayKeep() bool {
	if !b.opts.KeepFailed || b.isBuiltin() {
		return false
	}
	if kept := b.dir.countKept(); b.opts.MaxKept > 0 && kept >= b.opts.MaxKept {
		b.warn(fmt.Sprintf("the build directory of '%s' is not kept, since %d in '%s' are kept already", b.req.Path, kept, b.dir.base))
		return false
	}
	return true
}

// keepBuildDir keeps the build directory, and moves the outputs beside it.
func (b *build) keepBuildDir() error {
	if b.chroot != nil {
		if err := b.keepOutputs(); err != nil {
			b.warn(fmt.Sprintf("the outputs of '%s' are not kept: %v", b.req.Path, err))
		}
	}
	if err := b.clearSetID(); err != nil {
		return fmt.Errorf("the build directory is not kept: %w", err)
	}
	b.say(activity.LevelError, fmt.Sprintf("note: keeping build directory %q", b.dir.path))
	return b.dir.keep()
}

// clearSetID clears the setuid and setgid bits of what the builder has made. The system call filter denies chmod with these bits, but
// a file can also be created with them. A builder without a sandbox and without a build user could make such files anywhere.
func (b *build) clearSetID() error {
	if !b.sandboxed && b.user == nil {
		return nil
	}
	dir, err := os.OpenFile(b.dir.top, os.O_RDONLY|unix.O_DIRECTORY|unix.O_NOFOLLOW, 0)
	if err != nil {
		return err
	}
	defer dir.Close()
	return canonical.New(&canonical.Options{FirstUser: b.owner.uid, Users: b.owner.count}).ClearSetID(dir)
}

// keptOutputs is the directory with the outputs, beside the build directory.
const keptOutputs = "outputs"

// keepOutputs moves what the builder has made out of the sandbox. Its store directory is opened as for a build that succeeds: a
// path could lead through a symlink of the builder to an object of the store.
func (b *build) keepOutputs() error {
	dir := filepath.Join(b.dir.top, keptOutputs)
	if err := makeDir(dir, 0o755); err != nil {
		return err
	}
	made, err := b.openStoreDir()
	if err != nil {
		return err
	}
	defer made.Close()
	for _, o := range b.outputs {
		err := unix.Renameat(int(made.Fd()), o.scratch.Base(), unix.AT_FDCWD, filepath.Join(dir, o.scratch.Base()))
		if errors.Is(err, unix.EXDEV) {
			return errors.New("build-dir is on another file system than the store")
		}
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	return nil
}

// removeScratch removes the scratch paths in the store that are not valid.
func (b *build) removeScratch(ctx context.Context) error {
	var errs error
	for _, o := range b.outputs {
		if o.scratch == "" {
			continue
		}
		valid, err := b.store.IsValidPath(ctx, o.scratch)
		if err == nil && !valid {
			err = b.store.RemoveObject(ctx, o.scratch)
		}
		errs = errors.Join(errs, err)
	}
	return errs
}
