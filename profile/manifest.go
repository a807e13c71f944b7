package profile

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"strings"

	"pix/nar"
	"pix/store"
	"pix/storepath"
)

// A Manifest lists the packages of a generation.
type Manifest struct {
	// Version is the version of manifest.json, which 'nix profile' writes: 1 to 3. It is 0 for manifest.nix, which
	// nix-env writes.
	Version int

	Packages []Package // sorted by name for 'nix profile', else in the order of the file
}

// A Package is a package in a manifest.
type Package struct {
	Name  string
	Paths []storepath.Path // its outputs in the profile

	// Active is false if the package has no files in the profile. Only 'nix profile' writes it.
	Active   bool
	Priority int // of its files, if two packages have a file with one name; smaller comes first

	// The flake from which 'nix profile' has added it, or "".
	OriginalURL, URL string   // as the user wrote it, and with the revision
	AttrPath         string   // such as "legacyPackages.x86_64-linux.hello"
	Outputs          []string // that the user chose; nil for the outputs that the package chooses, "*" for all

	// Written by nix-env, if it knew them.
	Derivation storepath.Path
	System     string
}

// The names of manifests in a generation.
const (
	manifestJSON = "manifest.json"
	manifestNix  = "manifest.nix"
)

// maxManifest limits the memory for a manifest in bytes. Manifests have less than 1 KB for each package.
var maxManifest = 16 << 20 // less in tests

// A ManifestError reports that a manifest could not be read.
type ManifestError struct {
	Path storepath.Path // of the generation; "" if only the text is known
	File string         // "manifest.json" or "manifest.nix"
	Err  error
}

func (e *ManifestError) Error() string {
	name := e.File
	if e.Path != "" {
		name = string(e.Path) + "/" + e.File
	}
	return fmt.Sprintf("cannot read the packages in '%s': %v", name, e.Err)
}

func (e *ManifestError) Unwrap() error { return e.Err }

// ErrNoManifest is the error of [ReadManifest] for an object without a manifest, such as a NixOS system or another path
// that is the argument of [Profile.Set].
var ErrNoManifest = errors.New("it has no manifest")

// ReadManifest reads the manifest of a generation, whose contents are path, from a store.
//
// Nothing in it is evaluated or trusted: manifest.nix is a Nix expression, and only the form that Nix writes is
// accepted. The result has the packages of the manifest alone: the generation may have files of no package.
func ReadManifest(ctx context.Context, s store.Store, path storepath.Path) (*Manifest, error) {
	file, text, err := readManifestFile(ctx, s, path)
	if err != nil {
		return nil, err
	}
	parse := ParseManifestJSON
	if file == manifestNix {
		parse = ParseManifestNix
	}
	m, err := parse(s.Dir(), text)
	var manifestErr *ManifestError
	if errors.As(err, &manifestErr) {
		manifestErr.Path = path
	}
	return m, err
}

// readManifestFile returns the name and the text of the manifest of an object. manifest.json comes first, as in Nix.
func readManifestFile(ctx context.Context, s store.Store, path storepath.Path) (file string, text []byte, err error) {
	entry, text, err := readEntry(ctx, s, path, manifestJSON, manifestNix)
	if err != nil {
		return "", nil, &ManifestError{path, cmp.Or(entry.Name, manifestJSON), err}
	}
	if entry.Kind == nar.Symlink { // nix-env writes manifest.nix as an object of its own
		target, inside, err := s.Dir().ParseInside(entry.Target)
		if err == nil && inside != "" {
			err = fmt.Errorf("it points into the object '%s'", target)
		}
		if err == nil {
			_, text, err = readEntry(ctx, s, target, "")
		}
		if err != nil {
			return "", nil, &ManifestError{path, entry.Name, err}
		}
	}
	return entry.Name, text, nil
}

// readEntry returns the first of the entries with these names in the archive of an object, and its contents. The name ""
// is the object itself.
func readEntry(ctx context.Context, s store.Store, path storepath.Path, names ...string) (nar.Entry, []byte, error) {
	archive, err := store.ReadNAR(ctx, s, path)
	if err != nil {
		return nar.Entry{}, nil, err
	}
	defer archive.Close()
	r := nar.NewReader(archive)
	for e, err := range r.All() {
		if err != nil {
			return nar.Entry{}, nil, err
		}
		last := names[len(names)-1]
		if last != "" && (e.Depth == 0 && e.Kind != nar.Directory || e.Depth == 1 && e.Name > last) {
			break // entries are sorted
		}
		if !isEntry(e, names) {
			continue
		}
		switch e.Kind {
		case nar.Symlink:
			return e, nil, nil
		case nar.Regular:
			text, err := io.ReadAll(io.LimitReader(r, int64(maxManifest)+1))
			if err == nil && len(text) > maxManifest {
				err = fmt.Errorf("it has more than %d bytes", maxManifest)
			}
			return e, text, err
		}
		return e, nil, errors.New("it is a directory")
	}
	return nar.Entry{}, nil, ErrNoManifest
}

func isEntry(e nar.Entry, names []string) bool {
	for _, name := range names {
		if name == "" && e.Depth == 0 || name != "" && e.Depth == 1 && e.Name == name {
			return true
		}
	}
	return false
}

// parsePaths parses store paths of a manifest.
func parsePaths(dir storepath.Dir, texts []string) ([]storepath.Path, error) {
	paths := make([]storepath.Path, len(texts))
	for i, text := range texts {
		var err error
		if paths[i], err = dir.Parse(text); err != nil {
			return nil, err
		}
	}
	return paths, nil
}

// nameOfPath returns the name of a path without its version, as in Nix: a version begins after the first dash that no
// letter follows.
func nameOfPath(path storepath.Path) string {
	name := path.Name()
	for i := range len(name) - 1 {
		if next := name[i+1] | 0x20; name[i] == '-' && (next < 'a' || next > 'z') {
			return name[:i]
		}
	}
	return name
}

// A uniqueNamer gives each package of a manifest a name of its own.
type uniqueNamer struct {
	taken map[string]bool
	next  map[string]int // by name, the first suffix that may be free: a manifest may have one name a million times
}

func newUniqueNamer() uniqueNamer {
	return uniqueNamer{make(map[string]bool), make(map[string]int)}
}

// unique returns name, or name with the first suffix that no other package has, as in Nix.
func (u uniqueNamer) unique(name string) string {
	unique := name
	for u.taken[unique] {
		u.next[name]++
		unique = fmt.Sprintf("%s-%d", name, u.next[name])
	}
	u.taken[unique] = true
	return unique
}

// joinNames returns the names of paths for a package that has no other name.
func joinNames(paths []storepath.Path) string {
	var names []string
	for _, p := range paths {
		names = append(names, nameOfPath(p))
	}
	return strings.Join(sortedSet(names), ", ")
}
