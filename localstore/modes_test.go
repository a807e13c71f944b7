package localstore

import (
	"bytes"
	"cmp"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"pix/internal/realnix"
	"pix/internal/testenv"
	"pix/nixhash"
	"pix/store"
	"pix/storepath"
)

// executableLink is the name in .links of the executable file in the archive of treeNAR.
const executableLink = "0nyr98ymy2l1h2ypj5dxhgx3kjh761hz0y974ydp3ll8p8wy77qz"

// modeOf returns the mode that a file of a store must have, by its name below the root.
func modeOf(name, kind string) string {
	switch {
	case kind == "f" && strings.HasPrefix(name, "nix/store/"):
		if base := filepath.Base(name); base == "run" || base == executableLink {
			return "f0555"
		}
		return "f0444"
	case strings.HasPrefix(name, "nix/store/") && name != "nix/store/.links":
		return "d0555"
	case kind == "d":
		return "d0755"
	case kind == "s":
		return "s0600"
	}
	switch name {
	case "nix/var/nix/db/db.sqlite", "nix/var/nix/db/db.sqlite-wal", "nix/var/nix/db/db.sqlite-shm", "nix/var/nix/db/schema":
		return "f0644"
	}
	if strings.HasPrefix(name, "nix/var/log/") {
		return "f0644"
	}
	return "f0600"
}

// useAll creates every kind of file that a store has.
func useAll(t *testing.T, s *Store, root string) {
	t.Helper()
	text, err := s.AddTextToStore(t.Context(), "text", "text", nil)
	if err != nil {
		t.Fatal(err)
	}
	large := strings.Repeat("0123456789abcdef", smallArchive)
	for name, contents := range map[string]string{"small": "small", "large": large} {
		if _, err := s.AddToStore(t.Context(), name, storepath.Flat, nixhash.SHA256, nil, strings.NewReader(contents), nil); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := s.AddToStore(t.Context(), "tree", storepath.NAR, nixhash.SHA256, nil, bytes.NewReader(treeNAR()), nil); err != nil {
		t.Fatal(err)
	}
	var imports []store.Import
	for name, archive := range map[string][]byte{"small-nar": fileNAR("small"), "tree-nar": treeNAR(), "large-nar": fileNAR(large)} {
		for _, suffix := range []string{"", "-of-many"} {
			info := info(t, name+suffix)
			info.NARHash, info.NARSize = nixhash.Sum(nixhash.SHA256, archive), uint64(len(archive))
			imports = append(imports, store.Import{Info: info, NAR: bytes.NewReader(archive)})
		}
	}
	slices.SortFunc(imports, func(a, b store.Import) int { return cmp.Compare(a.Info.Path.Name(), b.Info.Path.Name()) })
	many := func(yield func(store.Import, error) bool) {
		for i := 1; i < len(imports); i += 2 {
			if !yield(imports[i], nil) {
				return
			}
		}
	}
	opts := &store.AddOptions{NoSignatures: true}
	if err := s.AddMultipleToStore(t.Context(), len(imports)/2, many, opts); err != nil {
		t.Fatal(err)
	}
	for _, repair := range []bool{false, true} {
		opts.Repair = repair
		for i := 0; i < len(imports); i += 2 {
			archive := imports[i].NAR.(*bytes.Reader)
			archive.Seek(0, 0)
			if err := s.AddToStoreNAR(t.Context(), imports[i].Info, archive, opts); err != nil {
				t.Fatal(err)
			}
		}
	}
	if err := s.OptimiseStore(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := s.AddBuildLog(t.Context(), text, strings.NewReader("log")); err != nil {
		t.Fatal(err)
	}
	if _, err := s.AddPermRoot(t.Context(), text, filepath.Join(root, "out/deep/result")); err != nil {
		t.Fatal(err)
	}
	if _, err := s.CollectGarbage(t.Context(), store.GCOptions{Action: store.GCReturnLive}); err != nil {
		t.Fatal(err)
	}
}

// The modes of a store do not depend on the umask of the program.
func TestModes(t *testing.T) {
	testenv.UnderUmasks(t, func(t *testing.T) {
		top := t.TempDir()
		root := filepath.Join(top, "deep/root")
		for _, optimise := range []bool{false, true} {
			s := open(t, Options{Root: root, AutoOptimise: optimise})
			useAll(t, s, root)
			got := testenv.Modes(t, top)
			delete(got, ".")
			for _, name := range []string{"deep", "deep/root", "deep/root/out/deep"} {
				if got[name] != "d0755" {
					t.Errorf("%s has the mode %s", name, got[name])
				}
				delete(got, name)
			}
			if len(got) < 50 {
				t.Errorf("only %d files", len(got))
			}
			for name, mode := range got {
				if want := modeOf(strings.TrimPrefix(name, "deep/root/"), mode[:1]); mode != want {
					t.Errorf("%s has the mode %s, want %s", name, mode, want)
				}
			}
			checkCanonical(t, s)
		}
	})
}

// The modes of a store are the same as in Nix, except for the socket of the garbage collector, to which only the owner
// of the store can connect. Nix sets its umask itself.
func TestModesOfNix(t *testing.T) {
	d := realnix.Start(t, realnix.Get(t, "sid"), nil)
	root := t.TempDir()
	s := open(t, Options{Root: root})
	useAll(t, s, root)
	got := neutralModes(t, root)
	for _, umask := range []string{"000", "002", "077"} {
		runLocal(t, d, "sh", "-euc", `umask `+umask+`; cd /tmp; mkdir -p a-`+umask+` in; cd in; s=/tmp/a-`+umask+`/s
			mkdir -p tree/a tree/empty; printf run > tree/a/run; printf text > tree/a.b; ln -sf a/run tree/link; chmod 755 tree/a/run
			p=$(nix-store --store $s --add tree); printf text > text; nix-store --store $s --add text
			nix-store --store $s --optimise; nix-store --store $s --gc --print-live >/dev/null 2>&1
			nix-store --store $s --realise $p --add-root $s/out/deep/result >/dev/null`)
		want := neutralModes(t, d.HostPath("/tmp/a-"+umask+"/s"))
		if len(want) < 30 {
			t.Errorf("Nix made only %d files", len(want))
		}
		for name, mode := range want {
			if name == "nix/var/nix/gc-socket/socket" {
				mode = "s0600"
			}
			if is, ok := got[name]; ok && is != mode {
				t.Errorf("%s has the mode %s, in Nix %s %s", name, is, d.Version, mode)
			}
			if _, ok := got[name]; !ok && !strings.HasPrefix(name, "nix/store/") && name != "nix/var/nix/builds" {
				t.Errorf("Nix %s makes %s", d.Version, name)
			}
		}
	}
}

// neutralModes returns the modes below a root, with placeholders for the random parts of names.
func neutralModes(t *testing.T, root string) map[string]string {
	t.Helper()
	hashes, numbers := regexp.MustCompile(`\b[0-9a-z]{32}-`), regexp.MustCompile(`(temproots/)[0-9-]+|(gc-socket/socket)\S+`)
	neutral := make(map[string]string)
	for name, mode := range testenv.Modes(t, root) {
		neutral[numbers.ReplaceAllString(hashes.ReplaceAllString(name, "HASH-"), "${1}${2}")] = mode
	}
	delete(neutral, ".")
	return neutral
}
