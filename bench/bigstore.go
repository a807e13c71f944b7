package main

import (
	"bytes"
	"context"
	"fmt"
	"iter"
	"math"
	"os"
	"os/exec"
	"strconv"

	"pix/localstore"
	"pix/nar"
	"pix/nixhash"
	"pix/store"
	"pix/storepath"
)

// A bigStore is a world whose store has n small files. Each of them refers to two earlier ones.
type bigStore struct {
	*world
	n    int
	root string // a path whose closure contains the whole store
}

// newBigStore returns a world for n files, and its empty store. The caller must close the store.
func (l *lab) newBigStore(n int) (*bigStore, *localstore.Store) {
	s := &bigStore{l.newWorld(l.shared), n, string(objectPath("root", 0))}
	local, err := localstore.Open(context.Background(), &localstore.Options{Root: s.HostPath("/"), NoSync: true})
	l.shared.check(err)
	return s, local
}

// store returns the shared store with n files.
func (l *lab) store(n int) *bigStore {
	if s, ok := l.stores[n]; ok {
		return s
	}
	t := l.shared
	s, local := l.newBigStore(n)
	defer local.Close()
	objects := smallObjects(n)
	count := 0
	for range objects {
		count++
	}
	t.check(local.AddMultipleToStore(context.Background(), count, objects, &store.AddOptions{NoSignatures: true}))
	l.stores[n] = s
	return s
}

// registeredStore returns the shared store with n files, whose paths are registered and whose files are empty. Commands that read
// no contents work in it, and writing the files of a million objects would take many minutes.
func (l *lab) registeredStore(n int) *bigStore {
	if s, ok := l.registered[n]; ok {
		return s
	}
	t := l.shared
	s, local := l.newBigStore(n)
	defer local.Close()
	var infos []*store.PathInfo
	register := func() {
		t.check(local.RegisterValidPaths(context.Background(), infos))
		infos = infos[:0]
	}
	for object, err := range smallObjects(n) {
		t.check(err)
		t.check(os.WriteFile(s.HostPath(string(object.Info.Path)), nil, 0o444))
		if infos = append(infos, object.Info); len(infos) == 10_000 {
			register()
		}
	}
	register()
	l.registered[n] = s
	return s
}

// objectPath returns the path of an object. The hash parts of different kinds differ, because caches use them as names of files.
func objectPath(kind string, i int) storepath.Path {
	path, err := storepath.DefaultDir.Parse(fmt.Sprintf("/nix/store/%d%031d-%s-%d.0", len(kind), i, kind, i))
	if err != nil {
		panic(err) // the names are valid
	}
	return path
}

// smallObjects returns n small files, and a root. Between them and the root are objects with a thousand references each, because
// a single object with all references would be unusual.
func smallObjects(n int) iter.Seq2[store.Import, error] {
	return func(yield func(store.Import, error) bool) {
		for i := range n {
			var references []storepath.Path
			if i > 0 {
				references = append(references, objectPath("object", (i-1)/2))
			}
			if i > 2 {
				references = append(references, objectPath("object", (i-1)/3))
			}
			if !yield(smallObject(objectPath("object", i), references)) {
				return
			}
		}
		const width = 1000
		var groups []storepath.Path
		for first := (n - 1) / 2; first < n; first += width { // the earlier objects have referrers
			var references []storepath.Path
			for i := first; i < min(n, first+width); i++ {
				references = append(references, objectPath("object", i))
			}
			groups = append(groups, objectPath("group", len(groups)))
			if !yield(smallObject(groups[len(groups)-1], references)) {
				return
			}
		}
		yield(smallObject(objectPath("root", 0), groups))
	}
}

// smallObject returns an object that is a file of a few hundred bytes.
func smallObject(path storepath.Path, references []storepath.Path) (store.Import, error) {
	var contents, archive bytes.Buffer
	for i := range 20 {
		fmt.Fprintf(&contents, "line %d of %s\n", i, path)
	}
	w := nar.NewWriter(&archive)
	err := w.WriteEntry(nar.Entry{Kind: nar.Regular, Size: uint64(contents.Len())})
	if err == nil {
		_, err = w.Write(contents.Bytes())
	}
	if err == nil {
		err = w.Close()
	}
	info := &store.PathInfo{Path: path, NARHash: nixhash.Sum(nixhash.SHA256, archive.Bytes()), NARSize: uint64(archive.Len()), References: references}
	return store.Import{Info: info, NAR: &archive}, err
}

// verbs returns the work of a command of pix and the same command of Nix in the store.
func (s *bigStore) verbs(pix, nix []string) work {
	return work{count(s.n) + " paths", []contender{
		program("pix", func(int) *exec.Cmd { return s.runPix(pix...) }),
		program("Nix", func(int) *exec.Cmd { return s.runNix(nix...) }),
	}}
}

// count returns a number with commas.
func count(n int) string {
	digits := strconv.Itoa(n)
	for i := len(digits) - 3; i > 0; i -= 3 {
		digits = digits[:i] + "," + digits[i:]
	}
	return digits
}

func closureRow(l *lab, t *scope) work {
	s := l.store(l.size(10_000, 100_000))
	return s.verbs([]string{"--store", "local", "closure", s.root}, []string{"nix-store", "-qR", s.root})
}

func daemonClosureRow(l *lab, t *scope) work {
	s := l.store(l.size(10_000, 100_000))
	w := s.verbs([]string{"--store", "daemon", "closure", s.root}, nil)
	w.contenders[1] = program("Nix", func(int) *exec.Cmd {
		return s.Command(context.Background(), "nix-store", "-qR", s.root)
	})
	return w
}

func pathInfoRow(l *lab, t *scope) work {
	s := l.registeredStore(l.size(10_000, 1_000_000))
	return s.verbs([]string{"--store", "local", "path-info", "--json", "-r", s.root}, []string{"nix", "path-info", "--json", "--json-format", "1", "-r", s.root})
}

func validPathsRow(l *lab, t *scope) work {
	s := l.registeredStore(l.size(10_000, 1_000_000))
	return s.verbs([]string{"--store", "local", "valid-paths"}, []string{"nix", "path-info", "--all"})
}

func dryRunRow(l *lab, t *scope) work {
	s := l.registeredStore(l.size(10_000, 1_000_000))
	return s.verbs([]string{"--store", "local", "gc", "--dry-run", "--max-freed", strconv.Itoa(math.MaxInt64)}, []string{"nix-store", "--gc", "--print-dead"})
}

func copyRow(l *lab, t *scope) work {
	s := l.store(l.size(10_000, 100_000))
	return work{count(s.n) + " paths", []contender{
		s.writer("pix", "copy", func(dir string) *exec.Cmd {
			return s.runPix("copy", "--no-check-sigs", "--from", "local", "--to", dir, s.root)
		}),
		s.writer("Nix", "copy", func(dir string) *exec.Cmd {
			return s.runNix("nix", "copy", "--no-check-sigs", "--to", dir, s.root)
		}),
	}}
}
