package unpack

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"strings"
)

// A kind is the kind of a member of an archive.
type kind uint8

const (
	file kind = iota
	directory
	symlink
	hardLink
)

// A member is a member of an archive.
type member struct {
	kind       kind
	name       string // as in the archive
	link       string // the target of a link
	executable bool
}

var (
	errDotDot  = errors.New("the name contains '..'")
	errThrough = errors.New("the name leads through a symlink")
)

// add creates a member, unless it is the root itself. The error names it.
func (u *unpacker) add(m *member, contents io.Reader) error {
	if err := u.countEntry(); err != nil {
		return err
	}
	if err := u.ctx.Err(); err != nil {
		return err
	}
	name, err := u.nameOf(m.name)
	if err == nil && name != "" {
		err = u.create(m, name, contents)
	}
	if limit := (*LimitError)(nil); errors.As(err, &limit) {
		return limit
	}
	if err != nil {
		return fmt.Errorf("member '%s': %w", m.name, err)
	}
	return nil
}

// countEntry counts a new file, directory or link. The error is a [*LimitError].
func (u *unpacker) countEntry() error {
	if u.entries++; u.entries > u.limits.Entries {
		return &LimitError{"entries", int64(u.limits.Entries)}
	}
	return nil
}

// nameOf returns the name of a member in root, or "" for root itself. An absolute name is taken relative to root. The
// directories above it must not be symlinks.
func (u *unpacker) nameOf(name string) (string, error) {
	for part := range strings.SplitSeq(name, "/") {
		if part == ".." {
			return "", errDotDot
		}
	}
	clean := strings.TrimPrefix(path.Clean("/"+name), "/")
	if depth := strings.Count(clean, "/"); depth > u.limits.Depth {
		return "", &LimitError{"nested directories", int64(u.limits.Depth)}
	}
	for dir := path.Dir(clean); dir != "."; dir = path.Dir(dir) {
		info, err := u.root.Lstat(dir)
		if err == nil && info.Mode()&fs.ModeSymlink != 0 {
			return "", errThrough
		}
	}
	return clean, nil
}

// create creates one file, directory or link. It replaces an earlier member with the same name, unless both are
// directories.
func (u *unpacker) create(m *member, name string, contents io.Reader) error {
	target := ""
	if m.kind == hardLink {
		var err error
		if target, err = u.nameOf(m.link); err != nil || target == name { // GNU tar links a file that it adds twice to itself
			return err
		}
	}
	if err := u.makeDirectories(path.Dir(name)); err != nil {
		return err
	}
	if info, err := u.root.Lstat(name); err == nil {
		if m.kind == directory && info.IsDir() {
			return nil
		}
		if err := u.root.Remove(name); err != nil {
			return err
		}
	}
	switch m.kind {
	case directory:
		return u.root.Mkdir(name, 0o755)
	case symlink:
		return u.root.Symlink(m.link, name)
	case hardLink:
		return u.hardLink(target, name)
	}
	return u.write(name, m.executable, contents)
}

// makeDirectories makes a directory and the ones above it. Each new one counts as an entry: otherwise a few bytes of a
// compressed archive could make dozens of directories.
func (u *unpacker) makeDirectories(dir string) error {
	if dir == "." {
		return nil
	}
	info, err := u.root.Lstat(dir)
	if err == nil && info.IsDir() {
		return nil
	}
	if err := u.makeDirectories(path.Dir(dir)); err != nil {
		return err
	}
	if err := u.countEntry(); err != nil {
		return err
	}
	return u.root.Mkdir(dir, 0o755)
}

// hardLink makes a hard link. It counts as a copy of the contents: a Nix archive of the result has the contents once for
// each link, so links to one large file could give it any size.
func (u *unpacker) hardLink(target, name string) error {
	info, err := u.root.Lstat(target)
	if err != nil {
		return err
	}
	if info.Mode().IsRegular() {
		if u.written += info.Size(); u.written > u.limits.Size {
			return &LimitError{"bytes", u.limits.Size}
		}
	}
	return u.root.Link(target, name)
}

// write writes a regular file.
func (u *unpacker) write(name string, executable bool, contents io.Reader) error {
	mode := fs.FileMode(0o644)
	if executable {
		mode = 0o755
	}
	f, err := u.root.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, mode)
	if err != nil {
		return err
	}
	n, err := io.Copy(f, &limitedReader{src: contents, left: u.limits.Size - u.written, max: u.limits.Size})
	u.written += n
	return errors.Join(err, f.Close())
}
