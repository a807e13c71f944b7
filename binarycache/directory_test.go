package binarycache_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"

	"pix/binarycache"
	"pix/internal/testenv"
	"pix/narinfo"
	"pix/nixhash"
	"pix/store"
	"pix/store/memstore"
	"pix/storepath"
)

// chain adds n texts to a new store in memory. Each text refers to the previous one.
func chain(t *testing.T, n int) (*memstore.Store, []storepath.Path) {
	t.Helper()
	src := memstore.New(nil)
	var paths []storepath.Path
	for i := range n {
		var references []storepath.Path
		if i > 0 {
			references = paths[i-1:]
		}
		path, err := src.AddTextToStore(t.Context(), fmt.Sprintf("text%d", i), fmt.Sprint(references)+strings.Repeat("x", i), references)
		if err != nil {
			t.Fatal(err)
		}
		paths = append(paths, path)
	}
	return src, paths
}

func TestOpenURIs(t *testing.T) {
	dir := t.TempDir()
	write(t, filepath.Join(dir, "nokey"), "x")
	for uri, reason := range map[string]string{
		"file://relative":                        "not absolute",
		"file://":                                "not absolute",
		"file://host/dir":                        "not absolute",
		"http://":                                "no host",
		"https:///x":                             "no host",
		"s3://bucket":                            "expected file://",
		"/dir":                                   "expected file://",
		"file://" + dir + "#x":                   "fragment",
		"file://" + dir + "?compression=lzma":    "lzma",
		"file://" + dir + "?compression=bzip2":   "bzip2",
		"file://" + dir + "?store=other":         "store",
		"file://" + dir + "?compression-level=x": "compression-level",
		"file://" + dir + "?write-nar-listing=maybe":        "maybe",
		"file://" + dir + "?secret-key=" + dir + "/none":    "none' with a secret key",
		"file://" + dir + "?secret-keys=" + dir + "/nokey":  "nokey",
		"http://me:secret@host:x/":                          "invalid port",
		"http://me:secret@host/?retry-delay=-1":             "retry-delay: '-1'",
		"http://me:secret@host/?retry-attempts=99999999999": "retry-attempts",
		"https://me:secret@host/?tls-certificate=/nowhere":  "tls-certificate: open /nowhere: no such file",
		"https://me:secret@host/?tls-private-key=" + dir:    "tls-certificate",
		"http://me:secret@host/?compression=bzip2":          "bzip2",
		"http://me:secret@host/?x=%zz":                      "invalid URL escape",
	} {
		_, err := binarycache.Open(t.Context(), uri, nil)
		var bad *binarycache.URIError
		if !errors.As(err, &bad) || !strings.Contains(err.Error(), reason) || strings.Contains(err.Error(), "secret@") {
			t.Errorf("%s: %v, want %q", uri, err, reason)
		}
	}
	for _, params := range []string{"", "?", "?priority=1&want-mass-query=true&trusted=1", "?compression-level=-1&compression=br&store=/nix/store", "?index-debug-info=0&priority=1&priority=x&dubious"} {
		open(t, "file://"+dir+"/a%20b"+params, nil)
	}
	if _, err := os.Stat(dir + "/a b"); err == nil {
		t.Error("opening a cache created it")
	}
}

// Parameters that are unknown to Nix, or that have no effect, cause warnings.
func TestParameterWarnings(t *testing.T) {
	ctx, warned := warnings(t.Context())
	dir := t.TempDir()
	s, err := binarycache.Open(ctx, "file://"+dir+"?what=1&retry-delay=3&index-debug-info=true&store=/other/store", nil)
	if err != nil {
		t.Fatal(err)
	}
	s.Close()
	want := []string{
		"warning: index-debug-info has no effect: pix does not index debug information",
		"warning: unknown setting 'retry-delay'", // a directory has no requests to retry
		"warning: unknown setting 'what'",
	}
	if !slices.Equal(*warned, want) || s.Dir() != "/other/store" {
		t.Errorf("%q for %s", *warned, s.Dir())
	}
}

func TestCacheInfo(t *testing.T) {
	for text, want := range map[string]string{
		"":                     "{ false 50}",
		"StoreDir: /nix/store": "{/nix/store false 50}",
		"no colon\nUnknown: 1\nStoreDir:/x/y\r\nWantMassQuery: 1\nPriority: 7x\nPriority: 40\n": "{/x/y true 40}",
		"WantMassQuery: yes\nPriority: -3": "{ false -3}",
		"Priority: 12 or so":               "{ false 12}",
		"Priority: much":                   "error",
		"Priority: 99999999999":            "error",
		"StoreDir: relative":               "error",
	} {
		info, err := binarycache.ParseCacheInfo(text)
		if got := fmt.Sprint(info); got != want && (err == nil || want != "error") {
			t.Errorf("%q: %s, %v, want %s", text, got, err, want)
		}
	}
	dir := t.TempDir()
	write(t, filepath.Join(dir, "nix-cache-info"), "StoreDir: /other/store\nPriority: 3\n")
	_, err := binarycache.Open(t.Context(), "file://"+dir, nil)
	var bad *binarycache.StoreDirError
	if !errors.As(err, &bad) || bad.Has != "/other/store" {
		t.Error(err)
	}
	s := open(t, "file://"+dir, &binarycache.Options{StoreDir: "/other/store"})
	if s.Info().Priority != 3 {
		t.Error(s.Info())
	}
	if _, err := newFake().tryOpen(t, binarycache.HTTPOptions{}); err != nil {
		t.Error(err)
	}
	if _, err := (&fake{}).tryOpen(t, binarycache.HTTPOptions{}); err == nil || !strings.Contains(err.Error(), "does not appear to be a binary cache") {
		t.Error(err)
	}
}

// Adding writes the same files as Nix would, and leaves no others behind.
func TestAdd(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "deep", "cache")
	src, paths := chain(t, 5)
	s := open(t, "file://"+dir, nil)
	if _, err := s.QueryPathInfo(t.Context(), paths[0]); !errors.Is(err, store.ErrNotFound) || !strings.Contains(err.Error(), "no such directory") {
		t.Error(err)
	}
	copied, err := store.Copy(t.Context(), s, src, paths[4:], nil)
	if err != nil || len(copied) != 5 {
		t.Fatal(len(copied), err)
	}
	files := filesIn(t, dir)
	if files["nix-cache-info"] != "StoreDir: /nix/store\n" || len(files) != 11 {
		t.Errorf("%d files", len(files))
	}
	info, err := os.Stat(filepath.Join(dir, narinfo.FileName(paths[0])))
	if err != nil || info.Mode().Perm()&0o044 == 0 {
		t.Errorf("mode %v, %v: a web server could not read it", info.Mode(), err)
	}
	all, err := s.QueryAllValidPaths(t.Context())
	if err != nil || !slices.Equal(all, slices.Sorted(slices.Values(paths))) {
		t.Errorf("%q, %v", all, err)
	}
	// The second time nothing is read, and nothing changes.
	if err := s.AddToStoreNAR(t.Context(), copied[0], iotestFail{}, nil); err != nil {
		t.Error(err)
	}
	// With repair, the archive is read again.
	n, err := s.NarInfo(t.Context(), paths[0])
	if err != nil {
		t.Fatal(err)
	}
	write(t, filepath.Join(dir, n.URL), "damaged")
	if _, err := readAll(t.Context(), s, paths[0]); err == nil {
		t.Error("a damaged file is accepted")
	}
	archive, err := src.NARFromPath(t.Context(), paths[0])
	if err != nil {
		t.Fatal(err)
	}
	if err := s.AddToStoreNAR(t.Context(), copied[0], archive, &store.AddOptions{Repair: true}); err != nil {
		t.Error(err)
	}
	if _, err := readAll(t.Context(), s, paths[0]); err != nil {
		t.Error(err)
	}
}

// iotestFail fails the test when it is read.
type iotestFail struct{}

func (iotestFail) Read([]byte) (int, error) { return 0, errors.New("it was read") }

// A failed addition leaves no files behind.
func TestAddFails(t *testing.T) {
	dir := t.TempDir()
	s := open(t, "file://"+dir, nil)
	src, paths := chain(t, 2)
	info := func(i int, change func(*store.PathInfo)) *store.PathInfo {
		got, err := src.QueryPathInfo(t.Context(), paths[i])
		if err != nil {
			t.Fatal(err)
		}
		change(got)
		return got
	}
	cancelled, cancel := context.WithCancel(t.Context())
	cancel()
	archive := archiveOf(t, src, paths[0])
	for name, test := range map[string]struct {
		ctx     context.Context
		info    *store.PathInfo
		archive io.Reader
	}{
		"hash":       {t.Context(), info(0, func(i *store.PathInfo) { i.NARHash = nixhash.Sum(nixhash.SHA256, nil) }), strings.NewReader(archive)},
		"size":       {t.Context(), info(0, func(i *store.PathInfo) { i.NARSize++ }), strings.NewReader(archive)},
		"no hash":    {t.Context(), info(0, func(i *store.PathInfo) { i.NARHash = nixhash.Hash{} }), strings.NewReader(archive)},
		"truncated":  {t.Context(), info(0, func(i *store.PathInfo) {}), strings.NewReader(archive[:50])},
		"no archive": {t.Context(), info(0, func(i *store.PathInfo) {}), strings.NewReader(strings.Repeat("x", 500))},
		"breaks":     {t.Context(), info(0, func(i *store.PathInfo) {}), io.MultiReader(strings.NewReader(archive[:64]), iotestFail{})},
		"reference":  {t.Context(), info(1, func(i *store.PathInfo) {}), strings.NewReader(archiveOf(t, src, paths[1]))},
		"directory":  {t.Context(), info(0, func(i *store.PathInfo) { i.Path = "/other/store/g1w7hy3qg1w7hy3qg1w7hy3qg1w7hy3q-a" }), strings.NewReader(archive)},
		"cancelled":  {cancelled, info(0, func(i *store.PathInfo) {}), strings.NewReader(archive)},
	} {
		if err := s.AddToStoreNAR(test.ctx, test.info, test.archive, nil); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
	if files := filesIn(t, dir); len(files) != 1 {
		t.Errorf("files remain: %q", files)
	}
	c := newFake().open(t, binarycache.HTTPOptions{})
	if _, err := c.QueryAllValidPaths(t.Context()); !errors.Is(err, errors.ErrUnsupported) {
		t.Error(err)
	}
	s.Close()
	if err := s.AddToStoreNAR(t.Context(), info(0, func(*store.PathInfo) {}), strings.NewReader(archive), nil); !errors.Is(err, binarycache.ErrClosed) {
		t.Error(err)
	}
}

// An object that is added by its contents gets the same path and info as in any other store.
func TestAddContents(t *testing.T) {
	s, other := open(t, "file://"+t.TempDir(), nil), memstore.New(nil)
	text, err := s.AddTextToStore(t.Context(), "text", "text", nil)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := other.AddTextToStore(t.Context(), "text", "text", nil); err != nil {
		t.Fatal(err)
	}
	for _, m := range []storepath.Method{storepath.Text, storepath.Flat, storepath.NAR} {
		for _, a := range []nixhash.Algorithm{nixhash.SHA1, nixhash.SHA256, nixhash.SHA512} {
			contents, references := noise(70_000), []storepath.Path(nil)
			if m == storepath.NAR {
				contents = fileNAR(contents)
			}
			if m == storepath.Text || m == storepath.NAR && a == nixhash.SHA256 {
				references = []storepath.Path{text}
			}
			want, failed := other.AddToStore(t.Context(), "x", m, a, references, strings.NewReader(contents), nil)
			got, err := s.AddToStore(t.Context(), "x", m, a, references, strings.NewReader(contents), nil)
			if (err == nil) != (failed == nil) {
				t.Fatalf("%v, %v: %v and %v", m, a, err, failed)
			}
			if err != nil {
				continue
			}
			want.RegistrationTime = got.RegistrationTime
			if fmt.Sprint(got) != fmt.Sprint(want) || archiveOf(t, s, got.Path) != archiveOf(t, other, got.Path) {
				t.Errorf("%v, %v:\n%+v\n%+v", m, a, got, want)
			}
		}
	}
	if _, err := s.AddToStore(t.Context(), "x", storepath.Git, nixhash.SHA1, nil, strings.NewReader(""), nil); !errors.Is(err, errors.ErrUnsupported) {
		t.Error(err)
	}
	if _, err := s.AddToStore(t.Context(), "x", storepath.NAR, nixhash.SHA256, nil, strings.NewReader("no archive"), nil); err == nil {
		t.Error("an invalid archive is accepted")
	}
	drafts, _ := filepath.Glob(filepath.Join(strings.TrimPrefix(s.URI(), "file://"), "nar", ".tmp*"))
	if len(drafts) > 0 {
		t.Errorf("files remain: %q", drafts)
	}
}

// If one of many objects fails, the objects that refer to it are not added.
func TestAddManyFails(t *testing.T) {
	testenv.NoLeak(t)
	src, paths := chain(t, 30)
	for _, large := range []bool{false, true} {
		s := open(t, "file://"+t.TempDir(), nil)
		objects := func(yield func(store.Import, error) bool) {
			for i, path := range paths {
				info, err := src.QueryPathInfo(t.Context(), path)
				if err != nil {
					t.Error(err)
				}
				archive := archiveOf(t, src, path)
				if i == 20 {
					archive = strings.Replace(archive, "xx", "xy", 1)
					if large { // the size is unknown
						info.NARSize = 2 << 20
					}
				}
				if !yield(store.Import{Info: info, NAR: strings.NewReader(archive)}, nil) {
					return
				}
			}
		}
		err := s.AddMultipleToStore(t.Context(), len(paths), objects, nil)
		var mismatch *store.MismatchError
		if !errors.As(err, &mismatch) {
			t.Error(err)
		}
		valid, err := s.QueryValidPaths(t.Context(), paths, false)
		if err != nil || len(valid) > 20 {
			t.Errorf("%d are valid, %v", len(valid), err)
		}
		for _, err := range store.Closure(t.Context(), s, valid...) {
			if err != nil {
				t.Error(err)
			}
		}
		if err := s.AddMultipleToStore(t.Context(), 31, func(yield func(store.Import, error) bool) {}, nil); err == nil {
			t.Error("an empty sequence is accepted as 31 objects")
		}
		info, err := src.QueryPathInfo(t.Context(), paths[29])
		if err != nil {
			t.Fatal(err)
		}
		orphan := func(yield func(store.Import, error) bool) {
			yield(store.Import{Info: info, NAR: strings.NewReader(archiveOf(t, src, paths[29]))}, nil)
		}
		var reference *store.MissingReferenceError
		if err := s.AddMultipleToStore(t.Context(), 1, orphan, nil); !errors.As(err, &reference) || errors.Is(err, store.ErrNotFound) {
			t.Errorf("a path with a missing reference: %v", err)
		}
		reason := errors.New("the source has ended")
		if err := s.AddMultipleToStore(t.Context(), 1, func(yield func(store.Import, error) bool) { yield(store.Import{}, reason) }, nil); !errors.Is(err, reason) {
			t.Error(err)
		}
	}
}

// However many goroutines add objects, readers see only complete objects.
func TestAddAtOnce(t *testing.T) {
	dir := t.TempDir()
	src, paths := chain(t, 40)
	ctx, cancel := context.WithCancel(t.Context())
	watched := make(chan error, 1)
	go func() { watched <- watch(ctx, dir) }()
	var group sync.WaitGroup
	for range 4 {
		group.Go(func() {
			s := open(t, "file://"+dir, nil)
			if _, err := store.Copy(t.Context(), s, src, paths[39:], nil); err != nil {
				t.Error(err)
			}
		})
	}
	group.Wait()
	cancel()
	if err := <-watched; err != nil {
		t.Error(err)
	}
	if n := len(filesIn(t, dir)); n != 81 {
		t.Errorf("%d files", n)
	}
}

// watch reads a cache until its context ends: each path that it finds must be complete, and its references
// must be there.
func watch(ctx context.Context, dir string) error {
	s, err := binarycache.Open(context.Background(), "file://"+dir, nil)
	if err != nil {
		return err
	}
	defer s.Close()
	for ctx.Err() == nil {
		all, err := s.QueryAllValidPaths(context.Background())
		if err != nil {
			return err
		}
		for _, err := range store.Closure(context.Background(), s, all...) {
			if err != nil {
				return err
			}
		}
		for _, path := range all[max(0, len(all)-5):] {
			if _, err := readAll(context.Background(), s, path); err != nil {
				return err
			}
		}
	}
	return nil
}

func TestAddSignatures(t *testing.T) {
	dir := t.TempDir()
	s := open(t, "file://"+dir, nil)
	src, paths := chain(t, 1)
	if _, err := store.Copy(t.Context(), s, src, paths, nil); err != nil {
		t.Fatal(err)
	}
	f, err := os.OpenFile(filepath.Join(dir, narinfo.FileName(paths[0])), os.O_APPEND|os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	io.WriteString(f, "Mine: this\n")
	f.Close()
	for _, sig := range []string{"b-1:eA==", "a-1:eA==", "b-1:eA=="} {
		if err := s.AddSignatures(t.Context(), paths[0], []string{sig}); err != nil {
			t.Fatal(err)
		}
	}
	n, err := s.NarInfo(t.Context(), paths[0])
	if err != nil || !slices.Equal(n.Signatures, []string{"a-1:eA==", "b-1:eA=="}) || len(n.Unknown) != 1 {
		t.Errorf("%+v, %v", n, err)
	}
	if err := s.AddSignatures(t.Context(), "/nix/store/g1w7hy3qg1w7hy3qg1w7hy3qg1w7hy3q-a", nil); !errors.Is(err, store.ErrNotFound) {
		t.Error(err)
	}
	if err := s.AddSignatures(t.Context(), paths[0], []string{"nonsense"}); err == nil {
		t.Error("an invalid signature is accepted")
	}
}

// Files outside of the cache are not read, and special files do not block.
func TestSpecialFiles(t *testing.T) {
	dir := t.TempDir()
	s := open(t, "file://"+dir+"/cache", nil)
	src, paths := chain(t, 1)
	if _, err := store.Copy(t.Context(), s, src, paths, nil); err != nil {
		t.Fatal(err)
	}
	n, err := s.NarInfo(t.Context(), paths[0])
	if err != nil {
		t.Fatal(err)
	}
	archive, err := os.ReadFile(filepath.Join(dir, "cache", n.URL))
	if err != nil {
		t.Fatal(err)
	}
	write(t, filepath.Join(dir, "outside"), string(archive))
	if err := syscall.Mkfifo(filepath.Join(dir, "cache", "pipe"), 0o666); err != nil {
		t.Fatal(err)
	}
	for _, ref := range []string{"../outside", filepath.Join(dir, "outside"), "nar/../../outside", "./" + n.URL, "http://localhost/", "pipe", "nar", "none", "a\x00b"} {
		changed := *n
		changed.URL = ref
		text, err := changed.MarshalText()
		if err != nil {
			t.Fatal(err)
		}
		write(t, filepath.Join(dir, "cache", narinfo.FileName(n.Path)), string(text))
		var bad *binarycache.ArchiveError
		if _, err := readAll(t.Context(), s, n.Path); !errors.As(err, &bad) || errors.Is(err, fs.ErrNotExist) {
			t.Errorf("%q: %v", ref, err)
		}
	}
	file := filepath.Join(dir, "cache", narinfo.FileName(n.Path))
	os.Remove(file)
	if err := syscall.Mkfifo(file, 0o666); err != nil {
		t.Fatal(err)
	}
	if _, err := s.QueryPathInfo(t.Context(), n.Path); err == nil || errors.Is(err, store.ErrNotFound) {
		t.Error(err)
	}
	if _, err := s.QueryAllValidPaths(t.Context()); err == nil {
		t.Error("a cache with a pipe in place of a narinfo lists its paths")
	}
}
