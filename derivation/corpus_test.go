package derivation_test

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"pix/derivation"
	"pix/internal/testenv"
	"pix/nixhash"
	"pix/storepath"
)

// The corpora are archives of real derivations, with results of Nix itself, in the directory
// PIX_CORPUS.
var corpora = []string{"corepkgs-aiohttp", "corepkgs-texlive", "guix-hello", "nix-features"}

func TestMain(m *testing.M) {
	code := m.Run()
	if unpacked.dir != "" {
		os.RemoveAll(unpacked.dir)
	}
	os.Exit(code)
}

var unpacked struct {
	sync.Mutex
	dir  string
	done map[string]bool
}

// corpus returns the directory to which the archive is unpacked, once for all tests.
func corpus(t testing.TB, name string) string {
	t.Helper()
	folder := testenv.Corpus(t)
	unpacked.Lock()
	defer unpacked.Unlock()
	if unpacked.dir == "" {
		dir, err := os.MkdirTemp("", "pix-corpus-")
		if err != nil {
			t.Fatal(err)
		}
		unpacked.dir, unpacked.done = dir, map[string]bool{}
	}
	if !unpacked.done[name] {
		archive := filepath.Join(folder, name+".tar.zst")
		if _, err := os.Stat(archive); err != nil {
			testenv.Missing(t, "corpus", err.Error())
		}
		if out, err := exec.Command("tar", "--zstd", "-xf", archive, "-C", unpacked.dir).CombinedOutput(); err != nil {
			t.Fatalf("tar: %v: %s", err, out)
		}
		unpacked.done[name] = true
	}
	return filepath.Join(unpacked.dir, name)
}

func read(t testing.TB, elem ...string) string {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(elem...))
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// drvFolders returns the folders of a corpus whose derivations Nix 2.34 accepts.
func drvFolders(t testing.TB, name string) []string {
	dir := corpus(t, name)
	if name != "nix-features" {
		return []string{dir}
	}
	return []string{filepath.Join(dir, "drvs"), filepath.Join(dir, "built", "drvs")}
}

// files returns the derivations in a folder by file name.
func files(t testing.TB, dir string) map[string]string {
	t.Helper()
	names, err := derivation.Directory(dir).Files()
	if err != nil {
		t.Fatal(err)
	}
	all := map[string]string{}
	for _, name := range names {
		all[name] = read(t, dir, name)
	}
	if len(all) == 0 {
		t.Fatalf("%s has no derivations", dir)
	}
	return all
}

// pathOf returns the store path of a file in a corpus.
func pathOf(t testing.TB, file, text string) storepath.Path {
	t.Helper()
	dir := storepath.DefaultDir
	if strings.Contains(text, `"/gnu/store/`) {
		dir = "/gnu/store"
	}
	path, err := dir.ParseBase(file)
	if err != nil {
		t.Fatal(err)
	}
	return path
}

// Every derivation that Nix wrote is canonical and prints as the same bytes.
func TestCorpusRoundTrip(t *testing.T) {
	for _, name := range corpora {
		t.Run(name, func(t *testing.T) {
			for _, folder := range drvFolders(t, name) {
				for file, text := range files(t, folder) {
					d, err := derivation.ParseCanonical(text)
					if err != nil {
						t.Errorf("%s: %v", file, err)
						continue
					}
					if got := d.String(); got != text {
						t.Errorf("%s prints as %s", file, got)
					}
					if c := d.Clone(); !c.Equal(d) || c.String() != text {
						t.Errorf("%s: a clone is not equal", file)
					}
					at, err := derivation.ParseAt(pathOf(t, file, text), text)
					if err != nil {
						t.Errorf("%s: %v", file, err)
						continue
					}
					if path, err := at.Path(); err != nil || path.Base() != file {
						t.Errorf("%s has the path %s, %v", file, path, err)
					}
					if err := at.Validate(); err != nil {
						t.Errorf("%s: %v", file, err)
					}
				}
			}
		})
	}
}

// A row is a line of the tables beside the corpora.
type row struct{ kind, sha256, counts, modulo, own string }

func table(t *testing.T, name string) map[string]row {
	t.Helper()
	var text string
	switch name {
	case "corepkgs-texlive":
		out, err := exec.Command("zstd", "-dc", filepath.Join(os.Getenv("PIX_CORPUS"), name+".tsv.zst")).Output()
		if err != nil {
			t.Fatal(err)
		}
		text = string(out)
	case "nix-features":
		text = read(t, corpus(t, name), "verify-2.34.8.tsv") + read(t, corpus(t, name), "built", "verify.tsv")
	default:
		text = read(t, os.Getenv("PIX_CORPUS"), name+".tsv")
	}
	rows := map[string]row{}
	for line := range strings.Lines(text) {
		f := strings.Split(strings.TrimSuffix(line, "\n"), "\t")
		if len(f) != 13 {
			t.Fatalf("%s: a line has %d fields", name, len(f))
		}
		rows[f[0]] = row{f[3], f[2], strings.Join(f[4:10], " "), f[11], f[12]}
	}
	return rows
}

// All derivations are verified, and all hashes equal those in the tables.
func TestCorpusVerify(t *testing.T) {
	for _, name := range corpora {
		t.Run(name, func(t *testing.T) {
			corpus(t, name)
			rows := table(t, name)
			for _, folder := range drvFolders(t, name) {
				dir := derivation.Directory(folder)
				names, err := dir.Files()
				if err != nil {
					t.Fatal(err)
				}
				results, err := derivation.Verify(t.Context(), dir, names, &derivation.VerifyOptions{Hashes: true})
				if err != nil {
					t.Fatal(err)
				}
				if len(results) != len(names) {
					t.Fatalf("%d results for %d files", len(results), len(names))
				}
				for _, r := range results {
					if r.Status != derivation.Verified {
						t.Errorf("%s %s: %v", r.File, r.Status, r.Problems)
						continue
					}
					compareRow(t, r, rows[r.File], read(t, folder, r.File))
				}
			}
		})
	}
}

func compareRow(t *testing.T, r derivation.VerifyResult, want row, text string) {
	t.Helper()
	if want == (row{}) {
		t.Errorf("%s is not in the table", r.File)
		return
	}
	d, err := derivation.Parse(text)
	if err != nil {
		t.Fatal(err)
	}
	longest := 0
	strs := append([]string{d.Platform, d.Builder}, d.Args...)
	for k, v := range d.Env.All() {
		strs = append(strs, k, v)
	}
	for _, s := range strs {
		longest = max(longest, len(s))
	}
	counts := fmt.Sprint(d.Outputs.Len(), d.InputDerivations.Len(), d.InputSources.Len(), len(d.Args), d.Env.Len())
	if got := counts + want.counts[strings.LastIndexByte(want.counts, ' '):]; got != want.counts {
		t.Errorf("%s has counts %s, want %s", r.File, got, want.counts)
	}
	if kind := strings.TrimSuffix(r.Kind.String(), "-addressed"); kind != want.kind {
		t.Errorf("%s is %s, want %s", r.File, kind, want.kind)
	}
	// The table has "-" where one of the inputs is impure.
	if got := r.Modulo.Hash.Base16(); got != want.modulo && want.modulo != "-" {
		t.Errorf("%s has modulo hash %s, want %s", r.File, got, want.modulo)
	}
	if got := r.Own.Hash.Base16(); got != want.own && want.own != "-" {
		t.Errorf("%s has its own modulo hash %s, want %s", r.File, got, want.own)
	}
	if got := nixhash.Sum(nixhash.SHA256, []byte(text)).Base16(); got != want.sha256 {
		t.Errorf("%s has hash %s, want %s", r.File, got, want.sha256)
	}
}

// A closure returns the same hashes and paths as the verification.
func TestCorpusClosure(t *testing.T) {
	for _, name := range corpora {
		t.Run(name, func(t *testing.T) {
			corpus(t, name)
			rows := table(t, name)
			for _, folder := range drvFolders(t, name) {
				var roots []storepath.Path
				for file, text := range files(t, folder) {
					roots = append(roots, pathOf(t, file, text))
				}
				slices.Sort(roots)
				c, err := derivation.LoadClosure(t.Context(), derivation.Directory(folder), roots, nil)
				if err != nil {
					t.Fatal(err)
				}
				if err := c.Hash(t.Context()); err != nil {
					t.Fatal(err)
				}
				seen := map[storepath.Path]bool{}
				for path, d := range c.All() {
					for input := range d.InputDerivations.Keys() {
						if !seen[input] {
							t.Errorf("%s comes before its input %s", path, input)
						}
					}
					seen[path] = true
					want := rows[path.Base()]
					for mode, want := range map[derivation.HashMode]string{derivation.AsInput: want.modulo, derivation.ForOutputs: want.own} {
						if got, err := c.HashModulo(path, mode); err != nil || got.Hash.Base16() != want && want != "-" {
							t.Errorf("%s has hash %s, %v, want %s", path, got.Hash, err, want)
						}
					}
					inputs, err := c.InputHashes(t.Context())
					if err != nil {
						t.Fatal(err)
					}
					if err := d.CheckOutputPaths(inputs, nil); err != nil {
						t.Errorf("%s: %v", path, err)
					}
				}
				if len(seen) != len(roots) {
					t.Errorf("%d of %d were visited", len(seen), len(roots))
				}
			}
		})
	}
}

// JSON versions 1 to 3 represent every derivation that they can.
func TestCorpusJSON(t *testing.T) {
	for _, name := range []string{"corepkgs-aiohttp", "guix-hello", "nix-features"} {
		for _, folder := range drvFolders(t, name) {
			for file, text := range files(t, folder) {
				path := pathOf(t, file, text)
				d, err := derivation.ParseAt(path, text)
				if err != nil {
					t.Fatal(err)
				}
				for version := derivation.JSONVersion1; version <= derivation.NewestJSONVersion; version++ {
					got, err := d.AppendJSON(nil, version, "  ")
					if err != nil {
						if version < derivation.JSONVersion3 {
							t.Errorf("%s in version %d: %v", file, version, err)
						}
						continue
					}
					again, err := derivation.ParseJSON(string(got), &derivation.JSONOptions{Dir: path.Dir(), Name: d.Name})
					if err != nil {
						t.Errorf("%s in version %d: %v", file, version, err)
						continue
					}
					if version >= derivation.JSONVersion3 {
						if spelled, ok, err := d.NormalizedStructuredAttrs(); ok && err == nil {
							if here, _ := d.Env.Get(derivation.StructuredAttrsKey); here != spelled {
								again.Env.Set(derivation.StructuredAttrsKey, here)
							}
						}
					}
					if again.String() != text {
						t.Errorf("%s in version %d is parsed as %s", file, version, again)
					}
				}
			}
		}
	}
}

// The format of AppendShow represents every derivation, with its name.
func TestCorpusShow(t *testing.T) {
	names := []string{"corepkgs-aiohttp", "guix-hello", "nix-features"}
	if os.Getenv("PIX_LONG") != "" {
		names = corpora
	}
	for _, name := range names {
		for _, folder := range drvFolders(t, name) {
			for file, text := range files(t, folder) {
				path := pathOf(t, file, text)
				d, err := derivation.ParseAt(path, text)
				if err != nil {
					t.Fatal(err)
				}
				again, err := derivation.ParseJSON(string(d.AppendShow(nil, " ")), &derivation.JSONOptions{Dir: path.Dir()})
				if err != nil {
					t.Errorf("%s: %v", file, err)
				} else if got, err := again.Path(); err != nil || got != path || again.String() != text {
					t.Errorf("%s: %s, %v: %s", file, got, err, again)
				}
			}
		}
	}
}
