package profile

import (
	"errors"
	"fmt"
	"strings"

	"pix/storepath"
)

// ParseManifestNix parses the manifest.nix of nix-env: a list of sets, as Nix prints values.
//
//	[ { name = "hello-2.12"; outPath = "/nix/store/…-hello-2.12"; outputs = [ "out" ]; out = { outPath = "…"; }; type = "derivation"; … } ]
//
// The file is a Nix expression, and nix-env evaluates it. ParseManifestNix reads literals alone: strings, numbers, lists
// and sets. Anything else that Nix would evaluate is an error. Errors are [*ManifestError]s.
func ParseManifestNix(dir storepath.Dir, text []byte) (*Manifest, error) {
	m, err := parseManifestNix(dir, string(text))
	if err != nil {
		return nil, &ManifestError{File: manifestNix, Err: err}
	}
	return m, nil
}

func parseManifestNix(dir storepath.Dir, text string) (*Manifest, error) {
	p := &literalParser{text: text}
	v, err := p.value(0)
	if err == nil {
		if p.space(); p.at < len(p.text) {
			err = p.fail("the end of the file")
		}
	}
	if err != nil {
		return nil, err
	}
	list, ok := v.([]any)
	if !ok {
		return nil, errors.New("it is not a list")
	}
	m := &Manifest{Packages: make([]Package, len(list))}
	for i, element := range list {
		set, ok := element.(map[string]any)
		if !ok {
			return nil, fmt.Errorf("package %d is not a set", i+1)
		}
		if m.Packages[i], err = parsePackage(dir, set); err != nil {
			return nil, fmt.Errorf("package %d: %w", i+1, err)
		}
	}
	return m, nil
}

// parsePackage returns the package that a set describes.
func parsePackage(dir storepath.Dir, set map[string]any) (p Package, err error) {
	p.Active = true
	var outPath, drvPath string
	for _, a := range []struct {
		name string
		into *string
	}{{"name", &p.Name}, {"system", &p.System}, {"outPath", &outPath}, {"drvPath", &drvPath}} {
		v, exists := set[a.name]
		text, ok := v.(string)
		if exists && !ok {
			return p, fmt.Errorf("attribute %q is not a string", a.name)
		}
		*a.into = text
	}
	if p.Name == "" || outPath == "" {
		return p, errors.New("it has no name, or no outPath")
	}
	if drvPath != "" {
		if p.Derivation, err = dir.Parse(drvPath); err != nil {
			return p, err
		}
	}
	paths, err := outputPaths(set)
	if err != nil {
		return p, err
	}
	if len(paths) == 0 {
		paths = []string{outPath}
	}
	p.Paths, err = parsePaths(dir, paths)
	return p, err
}

// outputPaths returns the paths of the outputs that are in the profile.
func outputPaths(set map[string]any) (paths []string, err error) {
	outputs, ok := set["outputs"].([]any)
	if _, exists := set["outputs"]; exists && !ok {
		return nil, errors.New(`attribute "outputs" is not a list`)
	}
	for _, v := range outputs {
		name, _ := v.(string)
		output, _ := set[name].(map[string]any)
		path, ok := output["outPath"].(string)
		if !ok {
			return nil, fmt.Errorf("output %q has no outPath", name)
		}
		paths = append(paths, path)
	}
	return paths, nil
}

const (
	maxNesting = 64      // limits the stack of the parser; meta attributes are nested a few levels deep
	maxValues  = 1 << 20 // limits the memory for values; a package has about 50
)

// A literalParser parses literals of the Nix language as Nix prints them. A value is a string, []any, map[string]any or, for
// anything else, [opaque].
type literalParser struct {
	text   string
	at     int
	values int // that were parsed
}

// opaque stands for a value that is not used: a number, a boolean, null or the name of a file.
type opaque struct{}

func (p *literalParser) fail(expected string) error {
	return fmt.Errorf("expected %s at offset %d; pix reads what nix-env writes, and evaluates nothing", expected, p.at)
}

func (p *literalParser) space() {
	for p.at < len(p.text) && strings.IndexByte(" \t\r\n", p.text[p.at]) >= 0 {
		p.at++
	}
}

// take skips a token after space, and reports whether it was there.
func (p *literalParser) take(token string) bool {
	p.space()
	if !strings.HasPrefix(p.text[p.at:], token) {
		return false
	}
	p.at += len(token)
	return true
}

func (p *literalParser) value(depth int) (any, error) {
	switch p.values++; {
	case depth == maxNesting:
		return nil, p.fail(fmt.Sprintf("at most %d nested values", maxNesting))
	case p.values > maxValues:
		return nil, p.fail(fmt.Sprintf("at most %d values", maxValues))
	case p.take("["):
		return p.list(depth)
	case p.take("{"):
		return p.set(depth)
	case p.take(`"`):
		return p.quoted()
	}
	return p.word()
}

func (p *literalParser) list(depth int) (any, error) {
	list := []any{}
	for !p.take("]") {
		v, err := p.value(depth + 1)
		if err != nil {
			return nil, err
		}
		list = append(list, v)
	}
	return list, nil
}

func (p *literalParser) set(depth int) (any, error) {
	set := map[string]any{}
	for !p.take("}") {
		name, err := p.name()
		if err != nil {
			return nil, err
		}
		if _, twice := set[name]; twice {
			return nil, fmt.Errorf("attribute %q is defined twice", name)
		}
		if !p.take("=") {
			return nil, p.fail("=")
		}
		if set[name], err = p.value(depth + 1); err != nil {
			return nil, err
		}
		if !p.take(";") {
			return nil, p.fail(";")
		}
	}
	return set, nil
}

// name parses the name of an attribute, which is an identifier or quoted.
func (p *literalParser) name() (string, error) {
	if p.take(`"`) {
		return p.quoted()
	}
	begin := p.at
	for p.at < len(p.text) && isNameByte(p.text[p.at]) {
		p.at++
	}
	if p.at == begin {
		return "", p.fail("the name of an attribute")
	}
	return p.text[begin:p.at], nil
}

func isNameByte(c byte) bool {
	return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || c == '_' || c == '-' || c == '\''
}

// quoted parses a string after its first quote.
func (p *literalParser) quoted() (string, error) {
	var b strings.Builder
	for ; p.at < len(p.text); p.at++ {
		c := p.text[p.at]
		switch {
		case c == '"':
			p.at++
			return b.String(), nil
		case c == '$' && strings.HasPrefix(p.text[p.at:], "${"):
			return "", p.fail(`a string without ${`)
		case c == '\\' && p.at+1 < len(p.text):
			p.at++
			c = p.text[p.at]
			if i := strings.IndexByte("nrt", c); i >= 0 {
				c = "\n\r\t"[i]
			}
		}
		b.WriteByte(c)
	}
	return "", p.fail(`"`)
}

// word parses a number, a boolean, null or the absolute name of a file.
func (p *literalParser) word() (any, error) {
	begin := p.at
	for p.at < len(p.text) && (isNameByte(p.text[p.at]) || strings.IndexByte("./+", p.text[p.at]) >= 0) {
		p.at++
	}
	word := p.text[begin:p.at]
	switch {
	case word == "true", word == "false", word == "null":
		return opaque{}, nil
	case word != "" && (word[0] >= '0' && word[0] <= '9' || word[0] == '-' || word[0] == '/'):
		return opaque{}, nil
	}
	p.at = begin
	return nil, p.fail("a value")
}
