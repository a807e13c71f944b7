package store

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"sort"
	"strconv"
	"strings"
	"time"

	"pix/internal/modes"
	"pix/storepath"
)

// A GCAction is the purpose of a garbage collection.
type GCAction uint8

// The actions of Nix, numbered as in the protocol.
const (
	GCReturnLive     GCAction = iota // return the live paths
	GCReturnDead                     // return the dead paths
	GCDeleteDead                     // delete the dead paths
	GCDeleteSpecific                 // delete the given paths; fail if one of them is live
)

// String returns a name such as "delete-dead".
func (a GCAction) String() string {
	switch a {
	case GCReturnLive:
		return "return-live"
	case GCReturnDead:
		return "return-dead"
	case GCDeleteDead:
		return "delete-dead"
	case GCDeleteSpecific:
		return "delete-specific"
	}
	return fmt.Sprintf("GCAction(%d)", uint8(a))
}

// GCOptions configure a garbage collection.
type GCOptions struct {
	Action GCAction

	// Paths are the paths that [GCDeleteSpecific] deletes. The other actions are limited to
	// Paths, unless it is nil.
	Paths []storepath.Path

	// DeleteReferrers also deletes the dead referrers of Paths.
	DeleteReferrers bool

	// IgnoreLiveness also deletes live paths. No daemon allows this.
	IgnoreLiveness bool

	// MaxFreed is the number of bytes after which the collection stops. math.MaxUint64 means no
	// limit. With 0, Nix 2.34 deletes nothing, and some older versions delete one path.
	MaxFreed uint64
}

// A GCResult is the result of a garbage collection.
type GCResult struct {
	// Paths are the live, dead or deleted paths. They may contain any file in the store
	// directory, such as the remains of a build, so not all are store paths.
	Paths []string

	// BytesFreed is the size of the deleted files in bytes. Files with other hard links do not
	// count.
	BytesFreed uint64

	// ArchiveBytes is the total size of the archives of the dead paths in bytes, for
	// [GCReturnDead]. It is 0 if the store does not report it: a daemon does not.
	ArchiveBytes uint64
}

// A Root protects a path from garbage collection.
type Root struct {
	// Link is the name of a symlink to the path, or a description in braces, such as
	// "{temp:17}" for process 17. Untrusted users get "{censored}" for some.
	Link string
	Path storepath.Path
}

// SortRoots sorts roots by path and link.
func SortRoots(roots []Root) {
	sort.Slice(roots, func(i, j int) bool {
		a, b := roots[i], roots[j]
		return a.Path < b.Path || a.Path == b.Path && a.Link < b.Link
	})
}

// A RootLinkError reports why a root cannot have a name.
type RootLinkError struct{ Link, Reason string }

func (e *RootLinkError) Error() string {
	return fmt.Sprintf("cannot make '%s' a root: %s", e.Link, e.Reason)
}

// AddRoot creates a symlink to a valid path and registers it as an indirect root of s, which
// must be a [Rooter] and [TempRooter]: the path is protected while the symlink exists. It
// returns the absolute name of the symlink. s must be a store of this machine, since it reads
// the symlink.
//
// AddRoot creates missing directories. It atomically replaces a symlink into the store
// directory. Any other existing file, and a link within the store directory, is a
// [*RootLinkError]. An invalid path is a [*NotFoundError].
//
// The path first becomes a temporary root of s (use a session: see [InSession]), so it cannot
// be collected in between. After an error no new symlink remains.
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
	if err := protectValid(ctx, s, path); err != nil {
		return "", err
	}
	replaces, err := isReplaceable(s.Dir(), link)
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

// rootLink returns the absolute name of a link. A link in the store directory is an error.
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
		real = "" // the directory does not exist yet
	}
	if isIn(dir, link) || real == string(dir) || isIn(dir, real) {
		return "", &RootLinkError{link, "it is in the store"}
	}
	return link, nil
}

func isIn(dir storepath.Dir, file string) bool { return strings.HasPrefix(file, string(dir)+"/") }

// protectValid makes a path a temporary root, and then checks that it is valid.
func protectValid(ctx context.Context, s Store, path storepath.Path) error {
	temp, ok := As[TempRooter](s)
	if !ok {
		return unsupported(s, "have temporary roots")
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

// isReplaceable reports whether link is a symlink into the store. Any other existing file is an
// error.
func isReplaceable(dir storepath.Dir, link string) (bool, error) {
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
	return false, &RootLinkError{link, "it exists already and is not a symlink into the store"}
}

// replaceLink creates a symlink, or atomically replaces an existing one.
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

// A LivenessExplainer explains why paths are live.
type LivenessExplainer interface {
	// ExplainLiveness returns why a path is live, or nil if it is dead. The error is a
	// [*NotFoundError] if the path is not valid.
	ExplainLiveness(ctx context.Context, path storepath.Path) (*Liveness, error)
}

// A Liveness explains why a path is live: a root, and a chain from it to the path.
type Liveness struct {
	Root  Root
	Chain []LivenessStep // from the root's path to the path, which may be the same
}

// A LivenessStep is a path, and why the previous step keeps it alive.
type LivenessStep struct {
	Path   storepath.Path
	Needed LivenessReason // [LiveRoot] for the first step
}

// A LivenessReason is the reason why a path keeps another alive.
type LivenessReason uint8

const (
	LiveRoot      LivenessReason = iota // a root refers to it
	LiveReference                       // the previous path refers to it
	LiveDeriver                         // it is the deriver of the previous path (keep-derivations)
	LiveOutput                          // it is an output of the previous path (keep-outputs)
)

// String returns a word such as "reference".
func (r LivenessReason) String() string {
	switch r {
	case LiveRoot:
		return "root"
	case LiveReference:
		return "reference"
	case LiveDeriver:
		return "deriver"
	case LiveOutput:
		return "output"
	}
	return fmt.Sprintf("LivenessReason(%d)", uint8(r))
}

// ExplainLiveness explains why a path in s is live; see [LivenessExplainer]. For other stores it asks for the roots and
// referrers. A daemon shows only some roots to untrusted users, so such a path may be live although the result is nil.
func ExplainLiveness(ctx context.Context, s Store, path storepath.Path) (*Liveness, error) {
	if e, ok := As[LivenessExplainer](s); ok {
		return e.ExplainLiveness(ctx, path)
	}
	return explainByReferrers(ctx, s, path)
}

// InSession calls work with a session of s, and closes the session afterwards. If s is not a
// [Sessioner], it calls work with s. Paths that work adds are protected until it has returned.
func InSession(ctx context.Context, s Store, work func(Store) error) error {
	sessions, ok := As[Sessioner](s)
	if !ok {
		return work(s)
	}
	session, err := sessions.Session(ctx)
	if err != nil {
		return err
	}
	defer session.Close()
	return work(session)
}

// AddTempRoots protects paths from garbage collection while s is open; see [TempRooter]. It
// does nothing if s does not collect garbage.
func AddTempRoots(ctx context.Context, s Store, paths []storepath.Path) error {
	if many, ok := As[ManyTempRooter](s); ok {
		return many.AddTempRoots(ctx, paths)
	}
	r, ok := As[TempRooter](s)
	if !ok {
		return nil
	}
	for _, p := range paths {
		if err := r.AddTempRoot(ctx, p); err != nil {
			return err
		}
	}
	return nil
}
