package derivation

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"

	"pix/storepath"
)

// A Loader loads derivations from a source: a directory, a store, a daemon.
type Loader interface {
	// LoadDerivation returns the text of the .drv file at path. If the file does not exist, the
	// error is [fs.ErrNotExist]. Several goroutines may call it at the same time.
	LoadDerivation(ctx context.Context, path storepath.Path) (string, error)
}

// A LimitedLoader is a [Loader] with its own limits.
type LimitedLoader interface {
	Loader
	// ClosureLimits returns the limits, and the name of the loader for errors.
	ClosureLimits() (l Limits, source string)
}

// LoaderFunc is a function that implements [Loader].
type LoaderFunc func(context.Context, storepath.Path) (string, error)

// LoadDerivation calls f.
func (f LoaderFunc) LoadDerivation(ctx context.Context, path storepath.Path) (string, error) {
	return f(ctx, path)
}

// A Directory is a flat directory of files named <hash>-<name>.drv, such as a store directory. As a
// [Loader] it uses only the last component of a path, so it may be a copy of a store in any place.
type Directory string

// LoadDerivation reads the file whose name is the last component of path. It has at most [MaxFile] bytes.
func (d Directory) LoadDerivation(_ context.Context, path storepath.Path) (string, error) {
	return d.read(path.Base())
}

// ClosureLimits returns [OwnLimits].
func (d Directory) ClosureLimits() (Limits, string) {
	return OwnLimits(), fmt.Sprintf("the directory '%s'", string(d))
}

// Files returns the names of the files that have the name of a derivation, sorted. It ignores all other
// files.
func (d Directory) Files() ([]string, error) {
	f, err := os.Open(string(d))
	if err != nil {
		return nil, err
	}
	defer f.Close()
	all, err := f.Readdirnames(-1)
	if err != nil {
		return nil, err
	}
	files := slices.DeleteFunc(all, func(name string) bool {
		_, err := storepath.DefaultDir.ParseBase(name)
		return err != nil || !strings.HasSuffix(name, storepath.DerivationExt)
	})
	slices.Sort(files)
	return files, nil
}

// read returns the contents of a file of at most [MaxFile] bytes.
func (d Directory) read(name string) (string, error) {
	buf := readBuffers.Get().(*[]byte)
	text, grown, err := readFile(filepath.Join(string(d), name), *buf)
	const most = 4 << 20 // bytes of the buffer that are kept for the next file
	if cap(grown) <= most {
		*buf = grown
		readBuffers.Put(buf)
	}
	return text, err
}

var readBuffers = sync.Pool{New: func() any { return new([]byte) }}

// A LoadError reports that a member of a closure could not be loaded.
type LoadError struct {
	Path     storepath.Path
	NeededBy storepath.Path // the derivation that has it as an input; "" for a root
	Err      error
}

func (e *LoadError) Error() string {
	needed := ""
	if e.NeededBy != "" {
		needed = fmt.Sprintf(" (an input of %s)", e.NeededBy)
	}
	if errors.Is(e.Err, fs.ErrNotExist) {
		return fmt.Sprintf("derivation %s%s is missing", e.Path, needed)
	}
	return fmt.Sprintf("derivation %s%s: %v", e.Path, needed, e.Err)
}

func (e *LoadError) Unwrap() error { return e.Err }

// A CycleError reports that derivations depend on each other in a cycle. None of them could be built.
type CycleError struct {
	Paths []storepath.Path // each has the next one as an input, and the last one has the first
}

func (e *CycleError) Error() string {
	if len(e.Paths) == 1 {
		return fmt.Sprintf("derivation %s has itself as an input", e.Paths[0])
	}
	const most = 10
	names := make([]string, 0, most)
	for _, p := range e.Paths[:min(most, len(e.Paths))] {
		names = append(names, string(p))
	}
	if len(e.Paths) > most {
		names = append(names, fmt.Sprintf("%d more", len(e.Paths)-most))
	}
	return fmt.Sprintf("derivations depend on each other in a cycle: %s, and again the first", strings.Join(names, ", "))
}
