package view_test

import (
	"bytes"
	"compress/gzip"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"pix/derivation"
	"pix/store"
	"pix/store/memstore"
	"pix/storepath"
	"pix/view"
)

// A smallStore is a store with a path that refers to two others, where one refers to the other, with a derivation, a root
// and running builds.
type smallStore struct {
	*memstore.Store
	app, lib, data, drv storepath.Path

	mu     sync.Mutex
	builds []store.ActiveBuild
}

func newSmallStore(t testing.TB) *smallStore {
	t.Helper()
	s := &smallStore{Store: memstore.New(nil)}
	add := func(name, contents string, refs ...storepath.Path) storepath.Path {
		path, err := s.AddTextToStore(t.Context(), name, contents, refs)
		if err != nil {
			t.Fatal(err)
		}
		return path
	}
	s.data = add("data-1.0", "data")
	s.lib = add("lib-1.0", "it needs "+string(s.data), s.data)
	refs := []storepath.Path{s.data, s.lib}
	if s.lib < s.data {
		refs = []storepath.Path{s.lib, s.data}
	}
	s.app = add("app-1.0", fmt.Sprintf("it needs %s and %s", s.lib, s.data), refs...)
	d := &derivation.Derivation{Name: "app-1.0", Dir: s.Dir(), Platform: "x86_64-linux", Builder: "/bin/sh"}
	d.Outputs.Set("out", derivation.DeferredOutput())
	d.Env.Set("out", "")
	d.InputSources.Add(s.data)
	var err error
	if s.drv, err = store.AddDerivation(t.Context(), s.Store, d); err != nil {
		t.Fatal(err)
	}
	return s
}

// FindRoots implements store.Rooter.
func (s *smallStore) FindRoots(context.Context) ([]store.Root, error) {
	return []store.Root{{Link: "/home/user/</script>", Path: s.app}}, nil
}

// QueryActiveBuilds implements store.ActiveBuildQuerier.
func (s *smallStore) QueryActiveBuilds(context.Context) ([]store.ActiveBuild, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.builds, nil
}

func (s *smallStore) setPhase(phase string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.builds = []store.ActiveBuild{{Derivation: s.drv, Phase: phase, Start: time.Unix(1_700_000_000, 0)}}
}

// newClient returns a handler over a store, and a function that sends a GET request with a bearer.
func newClient(t testing.TB, s store.Store, roots ...storepath.Path) (*view.Handler, func(resource string) (int, string)) {
	t.Helper()
	h, err := view.New(t.Context(), s, &view.Options{Origin: origin, Roots: roots})
	if err != nil {
		t.Fatal(err)
	}
	bearer := bearerOf(t, h)
	return h, func(resource string) (int, string) {
		w := send(h, "GET", "/api/"+resource, "", "Authorization", "Bearer "+bearer, "Sec-Fetch-Site", "same-origin")
		return w.Code, w.Body.String()
	}
}

// Each resource answers its question, as the verb for it does.
func TestResources(t *testing.T) {
	s := newSmallStore(t)
	_, get := newClient(t, s, s.app)
	for _, test := range []struct{ resource, want string }{
		{"summary", `{"name":"","storeDir":"/nix/store","paths":3,"narSize":528,"hasClosure":true,"hasRoots":true,"hasBuilds":true,"hasContents":true}`},
		{"mentions?from=" + string(s.app) + "&to=" + string(s.lib), `{"mentions":[{"file":"/","target":""}],"more":0}`},
		{"mentions?from=" + string(s.data) + "&to=" + string(s.lib), `{"mentions":[],"more":0}`},
		{"why?from=" + string(s.data) + "&to=" + string(s.app), `{"chain":[],"paths":0,"references":0,"graph":null}`},
		{"roots?path=" + string(s.data), fmt.Sprintf(`{"root":"/home/user/\u003c/script\u003e","chain":[{"path":"%s","needed":"root"},{"path":"%s","needed":"reference"}],"roots":[{"link":"/home/user/\u003c/script\u003e","path":"%[1]s"}],"more":0}`, s.app, s.data)},
		{"roots?path=" + string(s.drv), `{"root":null,"chain":[],"roots":[],"more":0}`},
		{"compare?before=" + string(s.lib) + "&after=" + string(s.app), `{"packages":[{"name":"app","before":[],"after":["1.0"],"sizeDelta":232,"pathsBefore":0,"pathsAfter":1,"isRebuild":false}],"pathsAdded":1,"pathsRemoved":0,"sizeBefore":296,"sizeAfter":528}`},
	} {
		code, body := get(test.resource)
		if code != http.StatusOK || body != test.want {
			t.Errorf("%s: %d %s\nexpected %s", test.resource, code, body, test.want)
		}
	}
	for resource, parts := range map[string][]string{
		"path?path=" + string(s.app):                           {`"narSize":232`, `"narHash":"sha256-`, string(s.lib)},
		"neighbourhood?path=" + string(s.lib) + "&up=1&down=1": {s.app.Base(), s.lib.Base(), s.data.Base(), `"simplified":false`},
		"why?from=" + string(s.app) + "&to=" + string(s.data):  {fmt.Sprintf(`"chain":["%s","%s"]`, s.app, s.data), `"paths":3,"references":3`, s.lib.Base()},
		"derivation?path=" + string(s.drv):                     {string(s.drv), `"builder":"/bin/sh"`, string(s.data)},
	} {
		code, body := get(resource)
		if code != http.StatusOK || !json.Valid([]byte(body)) {
			t.Errorf("%s: %d %s", resource, code, body)
		}
		for _, part := range parts {
			if !strings.Contains(body, part) {
				t.Errorf("%s does not have %s: %s", resource, part, body)
			}
		}
	}
}

// Wrong requests have a status and a reason.
func TestWrongRequests(t *testing.T) {
	s := newSmallStore(t)
	_, get := newClient(t, s, s.app)
	const absent = "/nix/store/g1w7hy3qg1w7hy3qg1w7hy3qg1w7hy3q-x"
	for resource, want := range map[string]int{
		"path":                                             400,
		"path?path=":                                       400,
		"path?path=/etc/passwd":                            400,
		"path?path=../../etc/passwd":                       400,
		"path?path=" + absent + "/..":                      400,
		"path?path=" + absent:                              404,
		"neighbourhood?path=" + absent:                     404,
		"neighbourhood?path=" + string(s.app) + "&up=7":    400,
		"neighbourhood?path=" + string(s.app) + "&down=-1": 400,
		"neighbourhood?path=" + string(s.app) + "&most=x":  400,
		"mentions?from=" + string(s.app):                   400,
		"mentions?from=" + absent + "&to=" + absent:        404,
		"roots?path=" + absent:                             404,
		"compare?before=" + absent + "&after=" + absent:    404,
		"derivation?path=" + string(s.app):                 404, // without a deriver
		"nothing":                                          404,
		"":                                                 404,
		"session":                                          405,
	} {
		code, body := get(resource)
		var answer struct{ Error string }
		if err := json.Unmarshal([]byte(body), &answer); code != want || err != nil || answer.Error == "" {
			t.Errorf("%s: %d %s, expected %d", resource, code, body, want)
		}
	}
}

// The closure is a graph of indexes, which the sizes and the coordinates fit.
func TestClosureResource(t *testing.T) {
	s := newSmallStore(t)
	_, get := newClient(t, s, s.app)
	var c struct {
		Paths                   []string
		NARSizes, AddedSizes    []uint64
		Dominators, First, Self []int
		References, Roots       []int
		StoreDir                string
	}
	var sizes struct{ ClosureSizes []uint64 }
	var layout struct{ X, Y []float64 }
	for resource, v := range map[string]any{"closure": &c, "sizes": &sizes, "layout": &layout} {
		code, body := get(resource)
		if err := json.Unmarshal([]byte(body), v); code != http.StatusOK || err != nil {
			t.Fatalf("%s: %d %v %s", resource, code, err, body)
		}
	}
	at := func(path storepath.Path) int {
		for i, base := range c.Paths {
			if base == path.Base() {
				return i
			}
		}
		t.Fatalf("%s is not in %v", path, c.Paths)
		return -1
	}
	app, lib, data := at(s.app), at(s.lib), at(s.data)
	refs := func(i int) string { return fmt.Sprint(c.References[c.First[i]:c.First[i+1]]) }
	if refs(lib) != fmt.Sprint([]int{data}) || refs(data) != "[]" || refs(app) != fmt.Sprint([]int{min(lib, data), max(lib, data)}) {
		t.Errorf("the references are %v, %v", c.First, c.References)
	}
	if sizes.ClosureSizes[app] != 528 || sizes.ClosureSizes[data] != c.NARSizes[data] || c.AddedSizes[app] != 528 || c.AddedSizes[lib] != c.NARSizes[lib] {
		t.Errorf("the sizes are %v, %v, %v", c.NARSizes, sizes.ClosureSizes, c.AddedSizes)
	}
	if c.Dominators[app] != -1 || c.Dominators[lib] != app || c.Dominators[data] != app || fmt.Sprint(c.Roots) != fmt.Sprint([]int{app}) {
		t.Errorf("the dominators are %v, the roots %v", c.Dominators, c.Roots)
	}
	if len(layout.X) != 3 || layout.X[app] >= layout.X[lib] || layout.X[lib] >= layout.X[data] {
		t.Errorf("the coordinates are %v", layout)
	}
}

// A large answer is compressed for clients that accept it.
func TestCompressed(t *testing.T) {
	h := newHandler(t)
	plain := send(h, "GET", "/app.js", "").Body.Bytes()
	w := send(h, "GET", "/app.js", "", "Accept-Encoding", "br, gzip;q=0.5")
	z, err := gzip.NewReader(w.Body)
	if err != nil || w.Header().Get("Content-Encoding") != "gzip" {
		t.Fatal(w.Header(), err)
	}
	if text, err := io.ReadAll(z); err != nil || !bytes.Equal(text, plain) {
		t.Errorf("the text differs: %v", err)
	}
	for _, refused := range []string{"", "br", "gzip;q=0", "identity, gzip; q=0"} {
		if w := send(h, "GET", "/app.js", "", "Accept-Encoding", refused); w.Header().Get("Content-Encoding") != "" {
			t.Errorf("with %q it is compressed", refused)
		}
	}
}

// The stream has a line for each change, needs the page as its origin, and ends with the request.
func TestBuilds(t *testing.T) {
	s := newSmallStore(t)
	h, _ := newClient(t, s, s.app)
	bearer := "Bearer " + bearerOf(t, h)
	if w := send(h, "GET", "/api/builds", "", "Authorization", bearer); w.Code != http.StatusForbidden {
		t.Errorf("without an origin: %d", w.Code)
	}
	srv := httptest.NewServer(h)
	defer srv.Close()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, "GET", srv.URL+"/api/builds", nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Host = strings.TrimPrefix(origin, "http://")
	req.Header.Set("Origin", origin)
	req.Header.Set("Authorization", bearer)
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	lines := json.NewDecoder(resp.Body)
	next := func() string {
		var line struct {
			Now    int64
			Builds []struct{ Derivation, Phase string }
		}
		if err := lines.Decode(&line); err != nil {
			t.Fatal(err)
		}
		if line.Now == 0 {
			t.Error("a line has no time")
		}
		return fmt.Sprint(line.Builds)
	}
	if got := next(); got != "[]" {
		t.Errorf("the first line has %s", got)
	}
	for _, phase := range []string{"unpackPhase", "</script>"} {
		s.setPhase(phase)
		if got, want := next(), fmt.Sprintf("[{%s %s}]", s.drv.Base(), phase); got != want {
			t.Errorf("a line has %s, expected %s", got, want)
		}
	}
	cancel()
	if err := lines.Decode(new(any)); err == nil {
		t.Error("the stream goes on")
	}
}

// A store whose references have a cycle is shown, without closure sizes.
func TestCycle(t *testing.T) {
	s := &infosStore{Store: memstore.New(nil)}
	for _, info := range []struct{ path, ref string }{{"a", "b"}, {"b", "a"}} {
		s.infos = append(s.infos, &store.PathInfo{Path: numbered(t, info.path), NARSize: 5, References: []storepath.Path{numbered(t, info.ref)}})
	}
	for i := range 100 { // few paths have closure sizes in any case
		s.infos = append(s.infos, &store.PathInfo{Path: numbered(t, fmt.Sprint("x", i)), NARSize: 1})
	}
	_, get := newClient(t, s)
	for resource, want := range map[string]string{"sizes": `{"closureSizes":null}`, "closure": `"addedSizes":[`, "layout": `{"x":[`, "why?from=" + string(numbered(t, "a")) + "&to=" + string(numbered(t, "b")): `"chain":["`} {
		if code, body := get(resource); code != http.StatusOK || !strings.HasPrefix(body, want) && !strings.Contains(body, want) {
			t.Errorf("%s: %d %.200s", resource, code, body)
		}
	}
	if code, body := get("neighbourhood?path=" + string(numbered(t, "a"))); code != http.StatusUnprocessableEntity || !strings.Contains(body, "layers") {
		t.Errorf("the neighbours: %d %s", code, body)
	}
}

// Of a path that thousands need, the neighbours are few, with the number of the others.
func TestManyReferrers(t *testing.T) {
	const referrers = 5000
	libc := numbered(t, "glibc")
	s := &infosStore{Store: memstore.New(nil), infos: []*store.PathInfo{{Path: libc, NARSize: 1}}}
	for i := range referrers {
		s.infos = append(s.infos, &store.PathInfo{Path: numbered(t, fmt.Sprint("x", i)), NARSize: uint64(i), References: []storepath.Path{libc}})
	}
	_, get := newClient(t, s)
	_, body := get("neighbourhood?path=" + string(libc) + "&up=3&down=3")
	var graph struct {
		Vertices []struct {
			Path          string
			MoreReferrers int
		}
	}
	if err := json.Unmarshal([]byte(body), &graph); err != nil {
		t.Fatal(err)
	}
	more := -1
	for _, v := range graph.Vertices {
		if v.Path == libc.Base() {
			more = v.MoreReferrers
		}
	}
	if n := len(graph.Vertices); n != 17 || more != referrers-16 {
		t.Errorf("%d vertices, and %d more referrers", n, more)
	}
}

// An infosStore lists infos that no store would accept.
type infosStore struct {
	*memstore.Store
	infos []*store.PathInfo
}

func (s *infosStore) QueryPathInfo(_ context.Context, path storepath.Path) (*store.PathInfo, error) {
	for _, info := range s.infos {
		if info.Path == path {
			return info, nil
		}
	}
	return nil, &store.NotFoundError{Path: path}
}

func (s *infosStore) QueryAllValidPaths(context.Context) (paths []storepath.Path, err error) {
	for _, info := range s.infos {
		paths = append(paths, info.Path)
	}
	return paths, nil
}

// numbered returns a path with a name.
func numbered(t testing.TB, name string) storepath.Path {
	t.Helper()
	path, err := storepath.DefaultDir.ParseBase("00000000000000000000000000000000-" + name)
	if err != nil {
		t.Fatal(err)
	}
	return path
}
