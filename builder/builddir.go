package builder

import (
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"

	"pix/internal/modes"
	"pix/internal/removetree"
)

// A buildDir is the directory in which a builder works. For a sandbox, only the user of this process may enter its
// parent. So no other user can enter it, even if the builder changes its mode.
//
// The file NAME.lock beside it, the mark, shows that the directory belongs to a build. It is locked while the build
// runs. If this process is killed, the next one finds a mark that is not locked, and removes the directory: see
// removeDead.
type buildDir struct {
	base string
	name string // in base
	path string // of the directory that the builder works in: base/name or base/name/build
	top  string // base/name

	dir  *os.File // path
	mark *mark
	kept bool
}

// tmpDirName is the name of the builder's directory in its private parent.
const tmpDirName = "build"

// makeBuildDir makes the directory, owned by the builder.
func (b *build) makeBuildDir() (*buildDir, error) {
	base := b.buildDirs()
	if err := modes.MkdirAll(base); err != nil {
		return nil, err
	}
	if b.user != nil {
		if err := checkNotWorldWritable(base); err != nil {
			return nil, err
		}
	}
	d := &buildDir{base: base}
	err := d.makeTop(b.markText())
	if err == nil {
		err = d.open(b.sandboxed)
	}
	if err == nil {
		err = b.giveToBuilder(d.dir)
	}
	if err != nil {
		return nil, errors.Join(err, d.remove())
	}
	return d, nil
}

// open opens the builder's directory. In a sandbox it is one below top.
func (d *buildDir) open(sandboxed bool) (err error) {
	d.path = d.top
	if sandboxed {
		d.path = filepath.Join(d.top, tmpDirName)
		if err := makeDir(d.path, 0o700); err != nil {
			return err
		}
	}
	d.dir, err = os.OpenFile(d.path, os.O_RDONLY|unix.O_NOFOLLOW|unix.O_DIRECTORY, 0)
	return err
}

// makeTop makes the mark and the directory, with a name that is free.
func (d *buildDir) makeTop(text string) error {
	for {
		var random [4]byte
		rand.Read(random[:])
		d.name = fmt.Sprintf("nix-%d-%d", os.Getpid(), binary.NativeEndian.Uint32(random[:]))
		d.top = filepath.Join(d.base, d.name)
		var err error
		if d.mark, err = makeMark(d.top+markExt, text); err != nil {
			return err
		}
		if d.mark == nil {
			continue
		}
		err = makeDir(d.top, 0o700)
		if !errors.Is(err, fs.ErrExist) {
			return err
		}
		if err := d.mark.remove(); err != nil {
			return err
		}
	}
}

// buildDirs returns the directory that contains all build directories.
func (b *build) buildDirs() string {
	if b.opts.BuildDir != "" {
		return b.opts.BuildDir
	}
	return filepath.Join(b.store.StateDir(), "builds")
}

// checkNotWorldWritable refuses a directory that another user may replace, or one above it. Nix refuses everything below /tmp.
// pix allows it: in a sticky directory, other users cannot rename or remove what belongs to root or this user.
func checkNotWorldWritable(path string) error {
	protected := false // the directory below belongs to root or this user
	for {
		info, err := os.Lstat(path)
		if err != nil {
			return err
		}
		trusted := ownedByTrusted(info)
		sticky := protected && trusted && info.Mode()&fs.ModeSticky != 0
		if info.Mode()&fs.ModeSymlink != 0 || info.Mode().Perm()&0o002 != 0 && !sticky {
			return fmt.Errorf("Path %q is world-writable or a symlink. That's not allowed for security.", path) //nolint:staticcheck // Nix's words
		}
		parent := filepath.Dir(path)
		if parent == path {
			return nil
		}
		path, protected = parent, trusted
	}
}

// ownedByTrusted reports whether a file belongs to root or to the user of this process.
func ownedByTrusted(info fs.FileInfo) bool {
	st, ok := info.Sys().(*syscall.Stat_t)
	return ok && (st.Uid == 0 || int(st.Uid) == os.Geteuid())
}

// giveToBuilder makes the builder the owner of an open file.
func (b *build) giveToBuilder(f *os.File) error {
	if b.user == nil {
		return nil
	}
	return f.Chown(b.user.uid, b.user.gid)
}

// writeBuilderFile makes a file in the build directory, owned by the builder. A file of that name must not exist.
func (b *build) writeBuilderFile(name, text string) error {
	fd, err := unix.Openat(int(b.dir.dir.Fd()), name, unix.O_WRONLY|unix.O_CREAT|unix.O_EXCL|unix.O_NOFOLLOW|unix.O_CLOEXEC, uint32(modes.File))
	if err != nil {
		return &os.PathError{Op: "create", Path: filepath.Join(b.dir.path, name), Err: err}
	}
	f := os.NewFile(uintptr(fd), name)
	_, err = f.WriteString(text)
	if err == nil {
		err = f.Chmod(modes.File) // whatever the umask
	}
	if err == nil {
		err = b.giveToBuilder(f)
	}
	return errors.Join(err, f.Close())
}

// countKept returns how many directories of ended builds are kept beside this one. They are those without a mark.
func (d *buildDir) countKept() (kept int) {
	entries, err := os.ReadDir(d.base)
	if err != nil {
		return 0
	}
	marked := map[string]bool{}
	for _, e := range entries {
		if name, ok := strings.CutSuffix(e.Name(), markExt); ok {
			marked[name] = true
		}
	}
	for _, e := range entries {
		if e.IsDir() && strings.HasPrefix(e.Name(), "nix-") && !marked[e.Name()] {
			kept++
		}
	}
	return kept
}

// keep leaves the directory, and lets all users read it.
func (d *buildDir) keep() error {
	d.kept = true
	err := d.dir.Chmod(0o755)
	if d.top != d.path {
		err = errors.Join(err, os.Chmod(d.top, 0o755))
	}
	return errors.Join(err, d.close())
}

// remove removes the directory. It first removes all permissions, so that a process with a descriptor of the
// directory can no longer create files in it.
func (d *buildDir) remove() error {
	if d == nil || d.kept {
		return nil
	}
	var err error
	if d.dir != nil {
		err = errors.Join(os.Chmod(d.top, 0), d.dir.Chmod(0))
	}
	if d.top != "" {
		err = errors.Join(err, removetree.RemovePath(d.top))
	}
	if err != nil {
		// The mark stays, so that the next process tries again.
		return errors.Join(err, d.closeDir(), d.mark.close())
	}
	return d.close()
}

// close closes the descriptors and removes the mark. The directory must be removed already, or kept.
func (d *buildDir) close() error { return errors.Join(d.closeDir(), d.mark.remove()) }

func (d *buildDir) closeDir() error {
	if d.dir == nil {
		return nil
	}
	return d.dir.Close()
}
