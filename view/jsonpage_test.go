package view_test

import (
	"encoding/json"
	"io"
	"net/http"
	"os"
	"regexp"
	"strings"
	"testing"
)

// TestJSONPage checks that docs/json.md describes each resource, and its members in the order in which they are sent.
func TestJSONPage(t *testing.T) {
	page, err := os.ReadFile("../docs/json.md")
	if err != nil {
		t.Fatal(err)
	}
	_, section, found := strings.Cut(string(page), "\n### view\n")
	if !found {
		t.Fatal("docs/json.md has no section on view")
	}
	section, _, _ = strings.Cut(section, "\n### ")
	s := newSmallStore(t)
	_, get := newClient(t, s, s.app)
	app, data, drv := string(s.app), string(s.data), string(s.drv)
	for _, resource := range []string{
		"summary", "closure", "sizes", "layout", "neighbourhood?path=" + app + "&up=1&down=1", "why?from=" + data + "&to=" + app,
		"mentions?from=" + app + "&to=" + data, "roots?path=" + data, "compare?before=" + data + "&after=" + app, "derivation?path=" + drv,
		"docs", "docs?q=rollback",
	} {
		code, body := get(resource)
		if code != http.StatusOK {
			t.Fatalf("%s: %d %s", resource, code, body)
		}
		name, _, _ := strings.Cut(resource, "?")
		text := bulletOf(section, name)
		for _, member := range memberOrder(t, body, name == "derivation") {
			_, rest, described := strings.Cut(text, "`"+member+"`")
			if !described {
				t.Errorf("%s: the member %s is not described, or at another place", resource, member)
				continue
			}
			if name != "docs" { // its three answers have the same members
				text = rest
			}
		}
	}
	for _, name := range resourceNames(t) {
		if bulletOf(section, name) == "" {
			t.Errorf("docs/json.md does not describe /api/%s", name)
		}
	}
}

// bulletOf returns the item of the list on a resource.
func bulletOf(section, name string) string {
	m := regexp.MustCompile("(?s)\n- `/api/" + name + "[`?].*?(\n- |$)").FindString(section)
	return strings.TrimSuffix(m, "\n- ")
}

// resourceNames returns the resources that the documentation of the package lists.
func resourceNames(t *testing.T) (names []string) {
	t.Helper()
	source, err := os.ReadFile("doc.go")
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range regexp.MustCompile(`/api/(\w+)`).FindAllStringSubmatch(string(source), -1) {
		names = append(names, m[1])
	}
	if len(names) < 15 {
		t.Fatalf("the documentation lists only %v", names)
	}
	return names
}

// memberOrder returns the names of the members in a JSON text, each once, in their order. With top it does not look into
// the values of the outer object.
func memberOrder(t *testing.T, text string, top bool) (names []string) {
	t.Helper()
	d := json.NewDecoder(strings.NewReader(text))
	seen := map[string]bool{"path": true} // a member of many objects
	var objects []bool                    // whether each enclosing value is an object
	for isName := false; ; {
		token, err := d.Token()
		if err == io.EOF {
			return names
		}
		if err != nil {
			t.Fatal(err)
		}
		switch v := token.(type) {
		case json.Delim:
			if v == '{' || v == '[' {
				objects = append(objects, v == '{')
			} else {
				objects = objects[:len(objects)-1]
			}
		case string:
			if isName && !seen[v] && (!top || len(objects) == 1) {
				seen[v] = true
				names = append(names, v)
			}
		}
		inObject := len(objects) > 0 && objects[len(objects)-1]
		_, isDelim := token.(json.Delim)
		isName = inObject && (isDelim || !isName)
	}
}
