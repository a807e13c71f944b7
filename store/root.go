package store

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"pix/internal/modes"
	"pix/storepath"
)

// A RootLinkError says why there can be no root under a name.
type RootLinkError struct{ Link, Reason string }

func (e *RootLinkError) Error() string {
	return fmt.Sprintf("cannot make '%s' a root: %s", e.Link, e.Reason)
}

// AddRoot makes a symlink to a valid path at link, and makes that an indirect root of s, a
// [Rooter] and [TempRooter]: as long as the symlink is there, the path is kept from being
// collected. It returns the absolute name of the symlink. s must be a store of this machine, for
// it will look for the symlink.
//
// Directories that are missing are made. A symlink into the store directory is replaced, at
// once; anything else that is there already, and a link within the store directory, is a
// [*RootLinkError]. A path that is not valid is a [*NotFoundError].
//
// The path is a temporary root of s first (use a session: see [InSession]), so there is no moment
// in which it could be collected. If an error ends it, no symlink is left that was not there.
//
// Source: indirect-root-store.cc.
func AddRoot(ctx context.Context, s Store, link string, path storepath.Path) (string, error) {
	roots, ok := As[Rooter](s)
	if !ok {
		return "", unsupported(s, "have roots")
	}
	link, err := rootLink(s.Dir(), link)
	if err != nil {
		return "", err
	}
	if err := holdValid(ctx, s, path); err != nil {
		return "", err
	}
	replaces, err := replaceable(s.Dir(), link)
	if err != nil {
		return "", err
	}
	if err := modes.MkdirAll(filepath.Dir(link)); err != nil {
		return "", err
	}
	if err := replaceLink(link, string(path)); err != nil {
		return "", err
	}
	if err := roots.AddIndirectRoot(ctx, link); err != nil {
		if !replaces {
			os.Remove(link)
		}
		return "", err
	}
	return link, nil
}

// rootLink makes the name of a link absolute, and refuses one in the store directory.
func rootLink(dir storepath.Dir, link string) (string, error) {
	if link == "" {
		return "", &RootLinkError{link, "the name is empty"}
	}
	link, err := filepath.Abs(link)
	if err != nil {
		return "", err
	}
	real, err := filepath.EvalSymlinks(filepath.Dir(link))
	if err != nil {
		real = "" // it has yet to be made
	}
	if isIn(dir, link) || real == string(dir) || isIn(dir, real) {
		return "", &RootLinkError{link, "it lies in the store"}
	}
	return link, nil
}

func isIn(dir storepath.Dir, file string) bool { return strings.HasPrefix(file, string(dir)+"/") }

// holdValid makes a path a temporary root, and then looks whether it is valid.
func holdValid(ctx context.Context, s Store, path storepath.Path) error {
	temp, ok := As[TempRooter](s)
	if !ok {
		return unsupported(s, "keep paths for a while")
	}
	if err := temp.AddTempRoot(ctx, path); err != nil {
		return err
	}
	valid, err := s.IsValidPath(ctx, path)
	if err == nil && !valid {
		err = &NotFoundError{path}
	}
	return err
}

// replaceable reports whether there is a symlink into the store. Anything else must not be
// there.
func replaceable(dir storepath.Dir, link string) (bool, error) {
	info, err := os.Lstat(link)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	if info.Mode().Type() == fs.ModeSymlink {
		if target, err := os.Readlink(link); err != nil || isIn(dir, target) {
			return true, err
		}
	}
	return false, &RootLinkError{link, "there is something already, and it is no symlink into the store"}
}

// replaceLink makes a symlink, at once if there is one already.
func replaceLink(link, target string) error {
	const tries = 100
	for i := 0; ; i++ {
		temp := link + ".tmp-" + strconv.FormatInt(time.Now().UnixNano(), 36)
		err := os.Symlink(target, temp)
		if errors.Is(err, fs.ErrExist) && i < tries {
			continue
		}
		if err == nil {
			if err = os.Rename(temp, link); err != nil {
				os.Remove(temp)
			}
		}
		return err
	}
}
