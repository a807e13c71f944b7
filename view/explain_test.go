package view_test

import (
	"encoding/json"
	"net/http"
	"slices"
	"strings"
	"testing"

	"pix/docs"
	"pix/explain"
	"pix/store"
	"pix/view"
)

// The page shows the same explanation as the verb explain.
func TestExplain(t *testing.T) {
	s := newSmallStore(t)
	_, get := newClient(t, s, s.app)
	d, err := store.ReadDerivation(t.Context(), s, s.drv)
	if err != nil {
		t.Fatal(err)
	}
	derivation, err := explain.Derivation(t.Context(), explain.Drv{Path: s.drv, Derivation: d, Inputs: store.Derivations(s)}, nil)
	if err != nil {
		t.Fatal(err)
	}
	info, err := s.QueryPathInfo(t.Context(), s.app)
	if err != nil {
		t.Fatal(err)
	}
	archive, err := store.ReadNAR(t.Context(), s, s.app)
	if err != nil {
		t.Fatal(err)
	}
	defer archive.Close()
	contents, err := explain.Path(info, archive)
	if err != nil {
		t.Fatal(err)
	}
	signatures, err := explain.Signature(info, nil)
	if err != nil {
		t.Fatal(err)
	}
	for resource, want := range map[string]*explain.Explanation{
		"explain?path=" + string(s.drv):                  derivation,
		"explain?path=" + string(s.app):                  contents,
		"explain?about=signatures&path=" + string(s.app): signatures,
		"explain?about=path&path=" + string(s.app):       contents,
	} {
		text, err := json.Marshal(want)
		if err != nil {
			t.Fatal(err)
		}
		if code, body := get(resource); code != http.StatusOK || body != string(text) {
			t.Errorf("%s: %d %s\nexpected %s", resource, code, body, text)
		}
	}
	for resource, want := range map[string]int{
		"explain?path=" + string(s.app) + "&about=else":                              400,
		"explain?path=../etc":                                                        400,
		"explain?path=/nix/store/00000000000000000000000000000000-missing":           404,
		"explain?path=/nix/store/00000000000000000000000000000000-a.drv":             404,
		"explain?about=signatures&path=/nix/store/" + strings.Repeat("0", 32) + "-x": 404,
	} {
		if code, body := get(resource); code != want {
			t.Errorf("%s: %d %s", resource, code, body)
		}
	}
}

// shownTags are the elements that web/src/views/docs.ts shows.
var shownTags = strings.Fields("a h1 h2 h3 h4 h5 h6 p ul ol li blockquote pre code em strong del br hr table thead tbody tr th td")

// Each page of the documentation arrives whole, with elements that the page shows, and links within the page or to the web.
func TestDocs(t *testing.T) {
	h, err := view.NewDocs(&view.Options{Origin: origin, Name: "docs"})
	if err != nil {
		t.Fatal(err)
	}
	bearer := bearerOf(t, h)
	get := func(resource string, v any) int {
		w := send(h, "GET", "/api/"+resource, "", "Authorization", "Bearer "+bearer)
		if w.Code == http.StatusOK {
			if err := json.Unmarshal(w.Body.Bytes(), v); err != nil {
				t.Fatalf("%s: %v", resource, err)
			}
		}
		return w.Code
	}
	var list []struct{ Name, Title string }
	if code := get("docs", &list); code != http.StatusOK || len(list) != len(docs.Pages()) {
		t.Fatalf("%d: %v", code, list)
	}
	for _, p := range list {
		var page struct{ Contents []any }
		if code := get("docs?page="+p.Name, &page); code != http.StatusOK || len(page.Contents) == 0 {
			t.Errorf("%s: %d", p.Name, code)
		}
		checkNodes(t, p.Name, page.Contents)
	}
	var found []struct{ Page, Anchor string }
	if code := get("docs?q=garbage+collection", &found); code != http.StatusOK || len(found) == 0 || found[0].Page != "garbage-collection" {
		t.Errorf("a search: %d %v", code, found)
	}
	if code := get("docs?q=qwertzuiop", &found); code != http.StatusOK || len(found) != 0 {
		t.Errorf("a search for no word: %d %v", code, found)
	}
	for resource, want := range map[string]int{"docs?page=../docs": 404, "docs?page=": 404, "docs?q=" + strings.Repeat("a", 300): 400, "path?path=x": 404, "sizes": 404} {
		if code := get(resource, nil); code != want {
			t.Errorf("%.40s: %d", resource, code)
		}
	}
	var none struct{ First, Roots []int }
	if code := get("closure", &none); code != http.StatusOK || len(none.First) != 1 || len(none.Roots) != 0 {
		t.Errorf("the closure: %d %v", code, none)
	}
	if w := send(h, "GET", "/api/docs", ""); w.Code != http.StatusUnauthorized {
		t.Errorf("without a bearer: %d", w.Code)
	}
}

func checkNodes(t *testing.T, page string, nodes []any) {
	for _, n := range nodes {
		element, ok := n.(map[string]any)
		if !ok {
			continue
		}
		if tag := element["tag"].(string); !slices.Contains(shownTags, tag) {
			t.Errorf("%s has the element %s", page, tag)
		}
		if href, ok := element["href"].(string); ok && !strings.HasPrefix(href, "#/docs/") && !strings.HasPrefix(href, "https://") && !strings.HasPrefix(href, "http://") {
			t.Errorf("%s has a link to %s", page, href)
		}
		children, _ := element["children"].([]any)
		checkNodes(t, page, children)
	}
}

// A browser leaves out the default port of a scheme.
func TestDefaultPort(t *testing.T) {
	for listen, origin := range map[string]string{"http://127.0.0.1:80": "http://127.0.0.1", "https://host.example:443": "https://host.example", "https://host.example": "https://host.example"} {
		h, err := view.NewDocs(&view.Options{Origin: listen})
		if err != nil {
			t.Fatal(err)
		}
		_, host, _ := strings.Cut(origin, "://")
		w := send(h, "POST", "/api/session", `{"token":"`+h.NewToken()+`"}`, "Host", host, "Origin", origin)
		if w.Code != http.StatusOK {
			t.Errorf("%s: %d %s", listen, w.Code, w.Body)
		}
		for _, other := range []string{host + ":8080", host + ":", host + "."} {
			if w := send(h, "GET", "/", "", "Host", other); w.Code != http.StatusMisdirectedRequest {
				t.Errorf("%s, the host %s: %d", listen, other, w.Code)
			}
		}
	}
}
