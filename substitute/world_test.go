package substitute_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"strings"
	"sync"
	"testing"

	"pix/activity"
	"pix/derivation"
	"pix/localstore"
	"pix/nar"
	"pix/nixhash"
	"pix/signature"
	"pix/store"
	"pix/store/memstore"
	"pix/storepath"
	"pix/substitute"
)

const absent = storepath.Path("/nix/store/g1w7hy3qg1w7hy3qg1w7hy3qg1w7hy3q-absent")

// A substituter is a store in memory that tests can make misbehave.
type substituter struct {
	*memstore.Store

	mu    sync.Mutex
	hook  func(ctx context.Context, path storepath.Path) error // called before an archive is returned
	query func(ctx context.Context, path storepath.Path) error // called before a query is answered
	alter func(archive []byte) []byte
	given map[storepath.Path]int // how often each archive was requested
}

func newSubstituter() *substituter {
	return &substituter{Store: memstore.New(nil), given: make(map[storepath.Path]int)}
}

func (s *substituter) QueryPathInfo(ctx context.Context, path storepath.Path) (*store.PathInfo, error) {
	if s.query != nil {
		if err := s.query(ctx, path); err != nil {
			return nil, err
		}
	}
	return s.Store.QueryPathInfo(ctx, path)
}

func (s *substituter) NARFromPath(ctx context.Context, path storepath.Path) (io.ReadCloser, error) {
	s.mu.Lock()
	s.given[path]++
	s.mu.Unlock()
	if s.hook != nil {
		if err := s.hook(ctx, path); err != nil {
			return nil, err
		}
	}
	archive, err := s.Store.NARFromPath(ctx, path)
	if err != nil || s.alter == nil {
		return archive, err
	}
	b, err := io.ReadAll(archive)
	return io.NopCloser(bytes.NewReader(s.alter(b))), err
}

func (s *substituter) times(path storepath.Path) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.given[path]
}

// newKey returns a key. The stores of tests trust the first one of them.
func newKey(t testing.TB, name string) signature.SecretKey {
	t.Helper()
	key, err := signature.GenerateKey(name)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

// put adds an object whose path does not follow from its contents to a substituter.
func (s *substituter) put(t testing.TB, path storepath.Path, key *signature.SecretKey, refs ...storepath.Path) storepath.Path {
	t.Helper()
	contents := "this is " + string(path)
	for _, ref := range refs {
		contents += " and needs " + string(ref)
	}
	var archive bytes.Buffer
	w := nar.NewWriter(&archive)
	w.WriteEntry(nar.Entry{Kind: nar.Regular, Size: uint64(len(contents))})
	io.WriteString(w, contents)
	w.Close()
	info := &store.PathInfo{
		Path: path, NARHash: nixhash.Sum(nixhash.SHA256, archive.Bytes()), NARSize: uint64(archive.Len()), References: refs,
	}
	if key != nil {
		if err := info.Sign(*key); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.AddToStoreNAR(t.Context(), info, &archive, &store.AddOptions{NoSignatures: true}); err != nil {
		t.Fatal(err)
	}
	return path
}

// named returns a store path with a name.
func named(t testing.TB, name string) storepath.Path {
	t.Helper()
	hash := strings.TrimPrefix(nixhash.Sum(nixhash.SHA256, []byte(name)).WithNix32(), "sha256:")
	path, err := storepath.DefaultDir.Parse("/nix/store/" + hash[:storepath.HashPartLen] + "-" + name)
	if err != nil {
		t.Fatal(err)
	}
	return path
}

// local returns an embedded store with substituters.
func local(t testing.TB, settings *substitute.Settings) *substitute.Store {
	t.Helper()
	below, err := localstore.Open(t.Context(), &localstore.Options{Root: t.TempDir(), NoSync: true})
	if err != nil {
		t.Fatal(err)
	}
	return over(t, below, settings)
}

// over returns a store with substituters above another store.
func over(t testing.TB, below store.Store, settings *substitute.Settings) *substitute.Store {
	s := substitute.New(below, &substitute.Options{
		Settings: func(context.Context) (*substitute.Settings, error) { return settings, nil },
	})
	t.Cleanup(func() { s.Close() })
	return s
}

// from returns settings with these substituters, in this order, and a trusted key.
func from(key signature.SecretKey, subs ...*substituter) *substitute.Settings {
	settings := &substitute.Settings{TrustedKeys: signature.NewKeySet(key.Public())}
	for i, s := range subs {
		settings.Substituters = append(settings.Substituters, substitute.Substituter{
			Store: s, URI: "test://" + string(rune('a'+i)), Priority: i, WantMassQuery: true,
		})
	}
	return settings
}

// A recorder keeps the events that it receives. It fails the test when it receives two at the same time.
type recorder struct {
	t      testing.TB
	mu     sync.Mutex
	events []activity.Event
}

func (l *recorder) HandleEvent(e activity.Event) {
	if !l.mu.TryLock() {
		l.t.Error("two events at once")
		return
	}
	defer l.mu.Unlock()
	l.events = append(l.events, e)
}

// lines returns the log lines, and the texts of activities.
func (l *recorder) lines() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	var lines []string
	for _, e := range l.events {
		switch e := e.(type) {
		case activity.Log:
			lines = append(lines, e.Text)
		case activity.Start:
			if e.Text != "" && e.Type != activity.QueryPathInfo {
				lines = append(lines, e.Text)
			}
		}
	}
	return strings.Join(lines, "\n")
}

// record returns a context and the recorder of its events.
func record(t testing.TB) (context.Context, *recorder) {
	l := &recorder{t: t}
	return activity.WithHandler(t.Context(), l), l
}

func opaque(paths ...storepath.Path) (derived []derivation.DerivedPath) {
	for _, p := range paths {
		derived = append(derived, derivation.Opaque{Path: p})
	}
	return derived
}

// build builds paths and returns a result for each.
func build(t testing.TB, ctx context.Context, s store.Store, paths ...derivation.DerivedPath) []store.KeyedBuildResult {
	t.Helper()
	results, err := store.BuildPathsWithResults(ctx, s, paths, store.BuildNormal)
	if err != nil {
		t.Fatal(err)
	}
	return results
}

func checkValid(t testing.TB, s store.Store, want bool, paths ...storepath.Path) {
	t.Helper()
	for _, p := range paths {
		if valid, err := s.IsValidPath(t.Context(), p); err != nil || valid != want {
			t.Errorf("%s is valid: %t, %v; want %t", p, valid, err, want)
		}
	}
}

var errBroken = errors.New("it is broken")
