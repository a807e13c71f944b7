package profile

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"regexp"
	"slices"
	"strings"

	"pix/internal/exactjson"
	"pix/storepath"
)

// ParseManifestJSON parses the manifest.json of 'nix profile' in the versions 1, 2 and 3. Errors are [*ManifestError]s.
func ParseManifestJSON(dir storepath.Dir, text []byte) (*Manifest, error) {
	m, err := parseManifestJSON(dir, text)
	if err != nil {
		return nil, &ManifestError{File: manifestJSON, Err: err}
	}
	return m, nil
}

func parseManifestJSON(dir storepath.Dir, text []byte) (*Manifest, error) {
	members, err := exactjson.Object(text)
	if err != nil {
		return nil, err
	}
	m := new(Manifest)
	if err := decodeMember(members, "version", &m.Version); err != nil {
		return nil, err
	}
	if m.Version < 1 || m.Version > 3 {
		return nil, fmt.Errorf("it has version %d, and pix reads 1, 2 and 3", m.Version)
	}
	named, unnamed, err := splitElements(members["elements"])
	if err != nil {
		return nil, err
	}
	for name, element := range named {
		p, err := parseElement(dir, m.Version, element)
		if err != nil {
			return nil, fmt.Errorf("package %q: %w", name, err)
		}
		p.Name = name
		m.Packages = append(m.Packages, p)
	}
	names := newUniqueNamer()
	for i, element := range unnamed {
		p, err := parseElement(dir, m.Version, element)
		if err != nil {
			return nil, fmt.Errorf("package %d: %w", i+1, err)
		}
		p.Name = names.unique(cmp.Or(p.nameFromURL(), joinNames(p.Paths)))
		m.Packages = append(m.Packages, p)
	}
	slices.SortFunc(m.Packages, func(a, b Package) int { return strings.Compare(a.Name, b.Name) })
	return m, nil
}

// splitElements returns the elements of a manifest: an object with names since version 3, and a list before. Nix accepts
// both in each version.
func splitElements(text json.RawMessage) (named map[string]json.RawMessage, unnamed []json.RawMessage, err error) {
	if len(text) == 0 {
		return nil, nil, errors.New(`it has no member "elements"`)
	}
	if text[0] == '[' {
		err = json.Unmarshal(text, &unnamed)
		return nil, unnamed, err
	}
	named, err = exactjson.Object(text)
	return named, nil, err
}

// parseElement parses a package.
func parseElement(dir storepath.Dir, version int, text json.RawMessage) (p Package, err error) {
	members, err := exactjson.Object(text)
	if err != nil {
		return p, err
	}
	urlName, originalName := "url", "originalUrl"
	if version == 1 {
		urlName, originalName = "uri", "originalUri"
	}
	p.Priority = 5 // the default of Nix
	var paths []string
	for _, m := range []struct {
		name string
		into any
	}{
		{"storePaths", &paths}, {"active", &p.Active}, {"priority", &p.Priority}, {urlName, &p.URL}, {originalName, &p.OriginalURL},
		{"attrPath", &p.AttrPath}, {"outputs", &p.Outputs},
	} {
		if err := decodeMember(members, m.name, m.into); err != nil {
			return p, err
		}
	}
	if _, ok := members["active"]; !ok {
		return p, errors.New(`it has no member "active"`)
	}
	p.Paths, err = parsePaths(dir, paths)
	return p, err
}

// decodeMember decodes a member of an object. It leaves the value if there is no member, or null.
func decodeMember(members map[string]json.RawMessage, name string, into any) error {
	text, ok := members[name]
	if !ok {
		return nil
	}
	if err := json.Unmarshal(text, into); err != nil {
		return fmt.Errorf("member %q is not valid: %s", name, strings.TrimPrefix(err.Error(), "json: "))
	}
	return nil
}

// The patterns of getNameFromURL in src/libflake/url-name.cc of Nix.
var (
	lastAttribute     = regexp.MustCompile(`^((?:[a-zA-Z0-9_-]+\.)*)([a-zA-Z0-9_-]+)(\^.*)?$`)
	lastPathSegment   = regexp.MustCompile(`^.*/([a-zA-Z0-9_-]+)$`)
	secondPathSegment = regexp.MustCompile(`^(?:[a-zA-Z0-9_-]+)/([a-zA-Z0-9_-]+)(?:/.*)?$`)
)

// nameFromURL returns the name that Nix gives a package of a manifest without names, or "".
func (p *Package) nameFromURL() string {
	if p.URL == "" {
		return ""
	}
	u, err := url.Parse(p.OriginalURL)
	if err != nil {
		return ""
	}
	if dir := u.Query().Get("dir"); dir != "" {
		return dir
	}
	if m := lastAttribute.FindStringSubmatch(p.AttrPath); m != nil && m[1] != "defaultPackage." && m[2] != "default" {
		return m[2]
	}
	path := cmp.Or(u.Opaque, u.Path)
	switch u.Scheme {
	case "github", "gitlab", "sourcehut":
		if m := secondPathSegment.FindStringSubmatch(path); m != nil {
			return m[1]
		}
	}
	if m := lastPathSegment.FindStringSubmatch(path); m != nil {
		return m[1]
	}
	return ""
}

func sortedSet(names []string) []string {
	names = slices.Clone(names)
	slices.Sort(names)
	return slices.Compact(names)
}
