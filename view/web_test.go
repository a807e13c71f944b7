package view

import (
	"crypto/sha256"
	"encoding/hex"
	"html"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"pix/store/memstore"
	"pix/storepath"
)

// sources returns the texts of the sources of the page, by name.
func sources(t *testing.T) map[string]string {
	t.Helper()
	texts := make(map[string]string)
	web := os.DirFS("web")
	err := fs.WalkDir(web, "src", func(name string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		text, err := fs.ReadFile(web, name)
		texts[name] = string(text)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return texts
}

// The committed files of the page are made from the committed sources.
func TestAssetsAreCurrent(t *testing.T) {
	texts := sources(t)
	var names []string
	for name := range texts {
		names = append(names, name)
	}
	slices.Sort(names)
	hash := sha256.New()
	for _, name := range slices.Concat([]string{"build.mjs", "package-lock.json"}, names) {
		text, err := os.ReadFile(filepath.Join("web", name))
		if err != nil {
			t.Fatal(err)
		}
		hash.Write([]byte(name + "\x00"))
		hash.Write(text)
		hash.Write([]byte{0})
	}
	if got, want := strings.TrimSpace(asset("sources.sha256")), hex.EncodeToString(hash.Sum(nil)); got != want {
		t.Error("the sources of the page have changed: run scripts/view-assets")
	}
}

// parsers are functions and attributes by which a text becomes markup or code.
var parsers = regexp.MustCompile(`(?i)innerHTML|outerHTML|insertAdjacentHTML|setHTML|document\.write|createContextualFragment|DOMParser|srcdoc|` +
	`\beval\b|new Function|javascript:|importScripts|setAttribute\("on|dangerously`)

// Texts of the store enter the page only as text: nothing in it parses markup.
func TestNoMarkup(t *testing.T) {
	texts := sources(t)
	texts["assets/app.js"] = asset("app.js")
	for name, text := range texts {
		if !strings.HasSuffix(name, ".ts") && !strings.HasSuffix(name, ".js") {
			continue
		}
		if found := parsers.FindString(text); found != "" {
			t.Errorf("%s has %s", name, found)
		}
	}
}

// The page names no other server, and its files can stand in an exported page.
func TestNoNetwork(t *testing.T) {
	names, err := fs.Glob(assets, "assets/*")
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range names {
		text := asset(filepath.Base(name))
		if address := regexp.MustCompile(`(https?:)?//[a-z0-9][a-z0-9.-]*\.[a-z]+`).FindString(strings.ReplaceAll(text, "http://www.w3.org/2000/svg", "")); address != "" {
			t.Errorf("%s has the address %s", name, address)
		}
		if strings.Contains(text, "</script") && name != "assets/index.html" || strings.Contains(text, "</style") {
			t.Errorf("%s has an end tag", name)
		}
		if at := strings.IndexFunc(text, func(r rune) bool { return r > '~' }); at >= 0 {
			t.Errorf("%s is not ASCII at %.20q", name, text[at:])
		}
	}
}

// An exported file has the data as text that a browser does not run, and permits only its own script.
func TestExport(t *testing.T) {
	const hostile = "</script><script>alert(1)</script><!--\u2028\u202e"
	s := memstore.New(nil)
	path, err := s.AddTextToStore(t.Context(), "hello", "hello", nil)
	if err != nil {
		t.Fatal(err)
	}
	var page strings.Builder
	if err := Export(t.Context(), &page, s, &Options{Name: hostile, Roots: []storepath.Path{path}}); err != nil {
		t.Fatal(err)
	}
	text := page.String()
	if strings.Contains(text, "alert(1)</script>") || strings.Contains(text, "<!--") || strings.Contains(text, "\u2028") {
		t.Error("the name is markup")
	}
	if n := strings.Count(text, "<script"); n != 2 {
		t.Errorf("there are %d scripts", n)
	}
	if !strings.Contains(text, `\u003c/script\u003e\u003cscript\u003ealert(1)`) || !strings.Contains(text, path.Base()) {
		t.Error("the data is missing")
	}
	policy := regexp.MustCompile(`Content-Security-Policy" content="([^"]*)"`).FindStringSubmatch(text)
	if policy == nil {
		t.Fatal("there is no policy")
	}
	script := regexp.MustCompile(`(?s)<script>(.*)</script>`).FindStringSubmatch(text)
	style := regexp.MustCompile(`(?s)<style>(.*)</style>`).FindStringSubmatch(text)
	if got, want := html.UnescapeString(policy[1]), exportPolicy(script[1], style[1]); got != want || strings.Contains(got, "unsafe") {
		t.Errorf("the policy is %s, expected %s", got, want)
	}
	var again strings.Builder
	if err := Export(t.Context(), &again, s, &Options{Name: hostile, Roots: []storepath.Path{path}}); err != nil || again.String() != text {
		t.Errorf("the second file differs: %v", err)
	}
}
