package main

import (
	"bytes"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"unicode/utf8"

	"pix/daemontest"
	"pix/derivation"
	"pix/internal/testenv"
	"pix/store"
	"pix/store/memstore"
	"pix/storepath"
)

// showForms are the forms of the output of drv-show: 0 is its own, and the others are the versions of the format of Nix.
var showForms = []int{0, 1, 2, 3, 4}

// sampled is the distance between two derivations that go through the command.
const sampled = 71

// The output of drv-show in each form, and the .drv file itself, go into drv-add and give the same path, for real
// derivations. Sources and inputs are in the store. A few derivations go through the command. The long test checks every
// derivation with the functions below the command, because each command computes the hashes of all inputs again.
func TestDrvRoundTrip(t *testing.T) {
	names, every := []string{"corepkgs-aiohttp", "guix-hello", "nix-features"}, sampled
	if os.Getenv("PIX_LONG") != "" {
		names, every = append(names, "corepkgs-texlive"), 1
	}
	corpora := t.TempDir()
	for _, name := range names {
		archive := filepath.Join(testenv.Corpus(t), name+".tar.zst")
		if out, err := exec.Command("tar", "--zstd", "-xf", archive, "-C", corpora).CombinedOutput(); err != nil {
			t.Fatalf("tar: %v: %s", err, out)
		}
		folders, dir := []string{name}, storepath.DefaultDir
		switch name {
		case "guix-hello":
			dir = "/gnu/store"
		case "nix-features":
			folders = []string{"nix-features/drvs", "nix-features/built/drvs"}
		}
		for _, folder := range folders {
			t.Run(folder, func(t *testing.T) { checkRoundTrips(t, filepath.Join(corpora, folder), dir, every) })
		}
	}
}

// checkRoundTrips checks some derivations in a folder.
func checkRoundTrips(t *testing.T, folder string, dir storepath.Dir, every int) {
	r := newDrvRoundTrip(t, folder, dir)
	files, err := derivation.Directory(folder).Files()
	if err != nil {
		t.Fatal(err)
	}
	for i := 0; i < len(files); i += every {
		if r.add(files[i]) != nil {
			continue
		}
		if every == 1 {
			r.check(files[i], r.show, r.addNamed, showForms...)
		}
		if i%sampled == 0 {
			r.check(files[i], r.showByCommand, r.addByCommand, showForms[i/sampled%len(showForms)])
		}
	}
	if every == 1 {
		r.checkDocuments()
	}
	if r.checked == 0 {
		t.Error("no derivation was checked")
	}
	t.Logf("%d round trips", r.checked)
}

// A drvRoundTrip has the derivations of a folder in a daemon.
type drvRoundTrip struct {
	t       *testing.T
	folder  string
	dir     storepath.Dir
	daemon  *daemontest.Daemon
	added   map[string]error   // by file
	plain   map[string]bool    // files whose closure the formats of Nix can represent
	used    map[string]bool    // inputs of plain files
	hashes  store.ModuloHashes // of derivations that addNamed added, and of their inputs
	checked int
}

func newDrvRoundTrip(t *testing.T, folder string, dir storepath.Dir) *drvRoundTrip {
	return &drvRoundTrip{
		t: t, folder: folder, dir: dir, added: make(map[string]error), plain: make(map[string]bool), used: make(map[string]bool),
		hashes: make(store.ModuloHashes),
		daemon: daemontest.New(t, &daemontest.Options{StoreDir: dir}),
	}
}

// add adds a derivation with its inputs to the store. A derivation with an input that the folder lacks is not added.
func (r *drvRoundTrip) add(file string) error {
	err, done := r.added[file]
	if !done {
		err = r.addNew(file)
		r.added[file] = err
	}
	return err
}

func (r *drvRoundTrip) addNew(file string) error {
	text, err := os.ReadFile(filepath.Join(r.folder, file))
	if err != nil {
		return err
	}
	path, err := r.dir.ParseBase(file)
	if err != nil {
		return err
	}
	d, err := derivation.ParseAt(path, string(text))
	if err != nil {
		return err
	}
	plain := utf8.Valid(text)
	for input := range d.InputDerivations.Keys() {
		if err := r.add(input.Base()); err != nil {
			return err
		}
		plain = plain && r.plain[input.Base()]
	}
	if r.plain[file] = plain; plain {
		for input := range d.InputDerivations.Keys() {
			r.used[input.Base()] = true
		}
	}
	for _, source := range d.InputSources.Slice() {
		if err := r.addSource(source); err != nil {
			return err
		}
	}
	got, err := store.AddText(r.t.Context(), r.daemon.Store, path.Name(), string(text), d.References().Slice())
	if err == nil && got != path {
		r.t.Errorf("%s was added as %s", path, got)
	}
	return err
}

// addSource adds an object with other contents under the path of a source.
func (r *drvRoundTrip) addSource(path storepath.Path) error {
	object, err := store.ImportText(r.dir, "source", "any", nil)
	if err != nil {
		return err
	}
	info := &store.PathInfo{Path: path, NARHash: object.Info.NARHash, NARSize: object.Info.NARSize}
	err = store.AddNAR(r.t.Context(), r.daemon.Store, info, object.NAR, &store.AddOptions{NoSignatures: true})
	if errors.Is(err, memstore.ErrFull) {
		r.t.Fatal(err)
	}
	return err
}

// check shows a derivation in forms and adds the output. It adds the file as well.
func (r *drvRoundTrip) check(file string, show func(drv string, form int) string, add func(text, name string) string, forms ...int) {
	r.t.Helper()
	want := string(r.dir) + "/" + file + "\n"
	name := strings.TrimSuffix(file[storepath.HashPartLen+1:], storepath.DerivationExt)
	drv := filepath.Join(r.folder, file)
	text, err := os.ReadFile(drv)
	if err != nil {
		r.t.Fatal(err)
	}
	if !utf8.Valid(text) {
		forms = showForms[:1] // the formats of Nix cannot represent the bytes
	}
	for _, form := range forms {
		r.checked++
		if got := add(show(drv, form), name); got != want {
			r.t.Errorf("%s in the form %d is added as %s", file, form, got)
		}
	}
	r.checked++
	if got := add(string(text), name); got != want {
		r.t.Errorf("the file %s is added as %s", file, got)
	}
}

// showByCommand shows a derivation with the command.
func (r *drvRoundTrip) showByCommand(drv string, form int) string {
	r.t.Helper()
	args := []string{"drv-show", drv}
	if form > 0 {
		args = append(args, "--json-version", strconv.Itoa(form))
	}
	return r.pix("", args...)
}

// addByCommand adds a derivation with the command, and returns the output.
func (r *drvRoundTrip) addByCommand(text, name string) string {
	r.t.Helper()
	return r.pix(text, "drv-add", "--name", name)
}

// show shows a derivation with the functions of drv-show.
func (r *drvRoundTrip) show(drv string, form int) string {
	r.t.Helper()
	return r.showAll([]string{drv}, form, false)
}

func (r *drvRoundTrip) showAll(drvs []string, form int, recursive bool) string {
	r.t.Helper()
	var stdout strings.Builder
	a := newApp(nil, &stdout, io.Discard, r.getenv)
	err := a.withDerivations(func(src *drvSource) error {
		if form == 0 {
			return a.showFiles(r.t.Context(), src, drvs)
		}
		return a.showDocument(r.t.Context(), src, drvs, drvShowOptions{version: form, recursive: recursive})
	})
	if err != nil {
		r.t.Errorf("%s in the form %d: %v", drvs, form, err)
	}
	return stdout.String()
}

// addNamed adds derivations with the functions of drv-add, and returns the lines that drv-add prints. It keeps the modulo
// hashes.
func (r *drvRoundTrip) addNamed(text, name string) string {
	r.t.Helper()
	news, err := parseNews(r.dir, text, name)
	if err != nil {
		r.t.Errorf("%s: %v", name, err)
	}
	var lines strings.Builder
	for _, n := range news {
		path, err := n.add(r.t.Context(), r.daemon.Store, r.hashes)
		if err != nil {
			r.t.Errorf("%s: %v", name, err)
		}
		lines.WriteString(string(path) + "\n")
	}
	return lines.String()
}

// checkDocuments shows all plain derivations in one document, in each version of the format of Nix, and adds it.
func (r *drvRoundTrip) checkDocuments() {
	r.t.Helper()
	var all, tops []string
	for file, plain := range r.plain {
		if !plain || r.added[file] != nil {
			continue
		}
		all = append(all, string(r.dir)+"/"+file+"\n")
		if !r.used[file] {
			tops = append(tops, filepath.Join(r.folder, file))
		}
	}
	slices.Sort(all)
	for _, form := range showForms[1:] {
		got := slices.Sorted(strings.Lines(r.addNamed(r.showAll(tops, form, true), "")))
		if !slices.Equal(got, all) {
			r.t.Errorf("of %d derivations in the form %d, %d were added", len(all), form, len(got))
		}
	}
	r.t.Logf("%d derivations in documents of %d", len(all), len(tops))
}

// pix runs the command and returns its output.
func (r *drvRoundTrip) pix(stdin string, args ...string) string {
	r.t.Helper()
	var stdout, stderr bytes.Buffer
	if code := run(args, strings.NewReader(stdin), &stdout, &stderr, r.getenv); code != 0 {
		r.t.Errorf("pix %s: exit code %d, %s", strings.Join(args, " "), code, stderr.Bytes())
	}
	return stdout.String()
}

// getenv has the environment of the command.
func (r *drvRoundTrip) getenv(name string) string {
	switch name {
	case "NIX_DAEMON_SOCKET_PATH":
		return r.daemon.Socket()
	case "NIX_STORE_DIR":
		return string(r.dir)
	}
	return ""
}
