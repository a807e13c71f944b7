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

// A BatchLoader is a [Loader] that loads several derivations faster than one by one, such as a daemon.
type BatchLoader interface {
	Loader
	// LoadDerivations returns the texts of the .drv files at paths, in their order. A text that it could not load is empty. The caller
	// loads it again with LoadDerivation, which returns the error. Several goroutines may call it at the same time.
	LoadDerivations(ctx context.Context, paths []storepath.Path) []string
}

// batchSize is the largest number of derivations that are loaded at once from a [BatchLoader], and held in memory before they count
// against the limits.
const batchSize = 64

// loadAhead returns a loader that has the derivations at paths in memory, if l is a [BatchLoader]. Otherwise it returns l.
func loadAhead(ctx context.Context, l Loader, paths []storepath.Path) Loader {
	b, ok := l.(BatchLoader)
	if !ok {
		return l
	}
	paths = slices.DeleteFunc(slices.Clone(paths), func(path storepath.Path) bool { return !path.IsDerivation() })
	slices.Sort(paths)
	if paths = slices.Compact(paths); len(paths) < 2 {
		return l
	}
	texts := make(map[storepath.Path]string, len(paths))
	for i, text := range b.LoadDerivations(ctx, paths) {
		texts[paths[i]] = text
	}
	return LoaderFunc(func(ctx context.Context, path storepath.Path) (string, error) {
		if text := texts[path]; text != "" {
			return text, nil
		}
		return l.LoadDerivation(ctx, path)
	})
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
