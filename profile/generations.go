package profile

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path/filepath"
	"slices"
	"syscall"
	"time"

	"pix/storepath"
)

// A Generation is one generation of a profile.
type Generation struct {
	Number uint64
	Link   string // the absolute name of its symlink

	// Target is the text of the symlink. Path is the store path in it, or "" if the symlink does not point into the store.
	Target string
	Path   storepath.Path

	Created time.Time // when the symlink was created
	Current bool      // the profile points to it
}

// maxGenerations limits the memory for a profile: a hostile directory can have millions of symlinks.
const maxGenerations = 1 << 18

// Generations returns the generations of the profile, sorted by number. It takes no lock. A profile that does not exist
// is a [*NotFoundError].
func (p *Profile) Generations(ctx context.Context) ([]Generation, error) {
	st, err := p.read(ctx)
	if err != nil {
		return nil, err
	}
	return st.generations, nil
}

// Generation returns the generation with a number, or a [*GenerationError].
func (p *Profile) Generation(ctx context.Context, n uint64) (Generation, error) {
	st, err := p.read(ctx)
	if err != nil {
		return Generation{}, err
	}
	return st.find(n)
}

// Current returns the generation to which the profile points, or a [*GenerationError].
func (p *Profile) Current(ctx context.Context) (Generation, error) {
	st, err := p.read(ctx)
	if err != nil {
		return Generation{}, err
	}
	i, err := st.currentIndex()
	if err != nil {
		return Generation{}, err
	}
	return st.generations[i], nil
}

// Previous returns the generation to which [Profile.Rollback] switches: the newest one before the current one. If there
// is none, the error is a [*GenerationError].
func (p *Profile) Previous(ctx context.Context) (Generation, error) {
	st, err := p.read(ctx)
	if err != nil {
		return Generation{}, err
	}
	return st.previous()
}

// A state is what a directory says about a profile.
type state struct {
	profile     *Profile
	generations []Generation // sorted by number
	highest     uint64       // of the numbers in the names of all files, also of those that are no symlinks

	target  string  // of the symlink of the profile, or "" if it does not exist
	current *uint64 // the number of the generation to which it points, which need not exist
}

// read returns the state of an existing profile.
func (p *Profile) read(ctx context.Context) (*state, error) {
	dir, err := p.open()
	if errors.Is(err, fs.ErrNotExist) {
		return nil, &NotFoundError{p.Link()}
	}
	if err != nil {
		return nil, err
	}
	defer dir.Close()
	st, err := p.readIn(ctx, dir)
	if err == nil && st.target == "" && len(st.generations) == 0 {
		err = &NotFoundError{p.Link()}
	}
	return st, err
}

// readIn returns the state of a profile whose directory is dir. The profile need not exist.
func (p *Profile) readIn(ctx context.Context, dir *directory) (*state, error) {
	st := &state{profile: p}
	if err := st.readTarget(dir); err != nil {
		return nil, err
	}
	if _, err := dir.Seek(0, io.SeekStart); err != nil { // the directory may have been read before
		return nil, err
	}
	for {
		if ctx.Err() != nil {
			return nil, context.Cause(ctx)
		}
		names, err := dir.Readdirnames(1024)
		for _, name := range names {
			if n, ok := p.parseGeneration(name); ok {
				if err := st.add(dir, name, n); err != nil {
					return nil, err
				}
			}
		}
		if err == io.EOF {
			break
		}
		if err != nil {
			return nil, err
		}
	}
	slices.SortFunc(st.generations, func(a, b Generation) int { return cmp.Compare(a.Number, b.Number) })
	return st, nil
}

// readTarget reads the symlink of the profile.
func (st *state) readTarget(dir *directory) error {
	p := st.profile
	info, err := dir.lstat(p.name)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err == nil && !info.isSymlink() {
		err = &LinkError{p.Link(), "it exists and is not a symlink"}
	}
	if err != nil {
		return err
	}
	if st.target, err = dir.readlink(p.name); err != nil {
		return err
	}
	if n, ok := p.parseGeneration(filepath.Base(st.target)); ok && p.isOwnDir(filepath.Dir(st.target)) {
		st.current = &n
	}
	return nil
}

// isOwnDir reports whether dir, which may be relative to the directory of the profile, is this directory. For a profile of
// another user it compares only the names, because a look at a file of a network file system may take for ever.
func (p *Profile) isOwnDir(dir string) bool {
	own := filepath.Dir(p.Link())
	if !filepath.IsAbs(dir) {
		dir = filepath.Join(own, dir)
	}
	return filepath.Clean(dir) == own || !p.found && sameDir(dir, own)
}

// add adds a generation. It ignores a file that another process has deleted after the directory was read, and files that
// are no symlinks.
func (st *state) add(dir *directory, name string, n uint64) error {
	info, err := dir.lstat(name)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	st.highest = max(st.highest, n)
	if !info.isSymlink() {
		return nil
	}
	target, err := dir.readlink(name)
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.EINVAL) { // EINVAL: replaced by another kind of file
		return nil
	}
	if err != nil {
		return err
	}
	if len(st.generations) == maxGenerations {
		return &LinkError{st.profile.Link(), fmt.Sprintf("it has more than %d generations", maxGenerations)}
	}
	g := Generation{
		Number: n, Target: target, Created: info.time, Current: st.current != nil && *st.current == n,
		Link: st.profile.absolute(name),
	}
	g.Path, _ = st.profile.parseTarget(target)
	st.generations = append(st.generations, g)
	return nil
}

// find returns the generation with a number.
func (st *state) find(n uint64) (Generation, error) {
	i := slices.IndexFunc(st.generations, func(g Generation) bool { return g.Number == n })
	if i < 0 {
		return Generation{}, &GenerationError{st.profile.Link(), n, fmt.Sprintf("has no generation %d", n)}
	}
	return st.generations[i], nil
}

// currentIndex returns the index of the current generation.
func (st *state) currentIndex() (int, error) {
	if i := slices.IndexFunc(st.generations, func(g Generation) bool { return g.Current }); i >= 0 {
		return i, nil
	}
	link := st.profile.Link()
	switch {
	case st.target == "":
		return 0, &GenerationError{link, 0, "has no current generation, since its symlink is missing: switch to a generation first"}
	case st.current != nil:
		return 0, &GenerationError{link, *st.current, fmt.Sprintf("points to generation %d, which is missing: switch to another first", *st.current)}
	}
	return 0, &GenerationError{link, 0, fmt.Sprintf("points to '%s', which is none of its generations: switch to one first", st.target)}
}

// previous returns the newest generation before the current one. The current one may be missing.
func (st *state) previous() (Generation, error) {
	if st.current == nil {
		_, err := st.currentIndex()
		return Generation{}, err
	}
	for _, g := range slices.Backward(st.generations) {
		if g.Number < *st.current {
			return g, nil
		}
	}
	return Generation{}, &GenerationError{st.profile.Link(), 0, fmt.Sprintf("has no generation before the current one, %d", *st.current)}
}
